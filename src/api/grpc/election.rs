//! Election: candidates are keys under a lease, the oldest leads.
//!
//! The rules, and why an answer can be trusted, stand in [`super::contend`]. The value of a candidate's key is its
//! proposal; a leader changes it by proclaiming another.
//!
//! Source: etcd API reference, `v3election.proto`.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tonic::{Request, Response, Status};

use super::Api;
use super::contend::{
    ContendError, Place, Queue, Watching, delete_if_created_at, lease_of, put_if_created_at, session_of,
};
use super::encode::header;
use crate::model::{Event, EventKind, KeyRange, Put, Record, Revision};
use crate::node::Session;
use crate::proto::v3electionpb::election_server::Election;
use crate::proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse,
};

/// etcd's `v3electionpb.Election`.
#[derive(Debug, Clone)]
pub(crate) struct ElectionService(pub(crate) Api);

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(&self, request: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        let session = session_of(&request, &self.0.node).await?;
        Ok(Response::new(run_for_leader(&session, request.into_inner()).await?))
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        let leader = leader_key(request.get_ref().leader.clone())?;
        let session = session_of(&request, &self.0.node).await?;
        Ok(Response::new(change_value(&session, leader, request.into_inner().value).await?))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let session = session_of(&request, &self.0.node).await?;
        Ok(Response::new(present_leader(&session, &request.into_inner()).await?))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    /// The stream ends without an error when the leader cannot be followed any more: its history is compacted, or it
    /// cannot be read. Whoever observes again begins with the leader of that time.
    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        // A caller who is nobody that is known hears as little as one who may not read: the stream ends.
        let session = session_of(&request, &self.0.node).await.ok();
        let observer = session.map(|session| Observer::new(session, Queue::new(&request.into_inner().name)));
        let leaders = stream::unfold(observer, |observer| async {
            let mut observer = observer?;
            let response = observer.next().await?;
            Some((Ok(response), Some(observer)))
        });
        Ok(Response::new(Box::pin(leaders)))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let leader = leader_key(request.get_ref().leader.clone())?;
        let session = session_of(&request, &self.0.node).await?;
        Ok(Response::new(step_down(&session, leader).await?))
    }
}

/// Waits until the caller leads. A caller who goes away meanwhile leaves the queue.
async fn run_for_leader(node: &Session, request: CampaignRequest) -> Result<CampaignResponse, ContendError> {
    let CampaignRequest { name, lease, value } = request;
    let lease = lease_of(node, lease).await?;
    let (mut place, arrival) = Place::take(node, Queue::new(&name), lease, value.clone()).await?;

    // A candidate that was there before may have another value, or another lease by a proclamation.
    let differs = |record: &Record| record.value() != value || !place.is(record);
    if arrival.present.as_ref().is_some_and(differs) {
        let put = Put { key: place.key().clone(), value, lease, ..Put::default() };
        let proclaimed = put_if_created_at(node, put, place.created()).await?;
        proclaimed.ok_or(ContendError::NotLeader)?;
    }
    if !arrival.is_first {
        place.reach_head().await?;
        place.look().await?.ok_or(ContendError::NotLeader)?;
    }

    let leader = LeaderKey { name, key: place.key().clone(), rev: place.created().0, lease: lease.0 };
    place.keep();
    // Of the revision at which the candidate came, not of that at which it won; so in etcd.
    Ok(CampaignResponse { header: Some(header(node.header(), arrival.revision)), leader: Some(leader) })
}

async fn change_value(node: &Session, leader: LeaderKey, value: Bytes) -> Result<ProclaimResponse, ContendError> {
    let LeaderKey { key, rev, lease, .. } = leader;
    let lease = lease_of(node, lease).await?;
    let put = Put { key, value, lease, ..Put::default() };
    let revision = put_if_created_at(node, put, Revision(rev)).await?.ok_or(ContendError::NotLeader)?;
    Ok(ProclaimResponse { header: Some(header(node.header(), revision)) })
}

async fn present_leader(node: &Session, request: &LeaderRequest) -> Result<LeaderResponse, ContendError> {
    let reply = Queue::new(&request.name).head(node).await?;
    let leader = reply.kvs.into_iter().next().ok_or(ContendError::NoLeader)?;
    Ok(response(node, reply.revision, leader))
}

/// Succeeds also for one who does not lead.
async fn step_down(node: &Session, leader: LeaderKey) -> Result<ResignResponse, ContendError> {
    let LeaderKey { key, rev, .. } = leader;
    let revision = delete_if_created_at(node, key, Revision(rev)).await?;
    Ok(ResignResponse { header: Some(header(node.header(), revision)) })
}

/// Before it matters who asks, as in etcd.
fn leader_key(leader: Option<LeaderKey>) -> Result<LeaderKey, ContendError> {
    let leader = leader.ok_or(ContendError::NoLeaderKey)?;
    if leader.key.is_empty() { Err(ContendError::EmptyKey) } else { Ok(leader) }
}

fn response(node: &Session, revision: Revision, leader: Record) -> LeaderResponse {
    LeaderResponse { header: Some(header(node.header(), revision)), kv: Some(leader.into()) }
}

/// Follows the leaders of one election, each with every value that it proclaims.
#[derive(Debug)]
struct Observer {
    node: Session,
    queue: Queue,
    state: Observing,
}

#[derive(Debug)]
enum Observing {
    /// Asks who leads.
    Asking,
    /// Nobody leads: waits for the first candidate.
    Waiting(Watching),
    /// Tells of a leader until its key is deleted.
    Following { watching: Watching, revision: Revision, events: Arc<[Event]>, told: usize },
}

impl Observer {
    fn new(node: Session, queue: Queue) -> Observer {
        Observer { node, queue, state: Observing::Asking }
    }

    /// The next leader or value; `None` if they cannot be followed any more.
    async fn next(&mut self) -> Option<LeaderResponse> {
        loop {
            match &mut self.state {
                Observing::Asking => {
                    let reply = self.queue.head(&self.node).await.ok()?;
                    match reply.kvs.into_iter().next() {
                        Some(leader) => return Some(self.follow(leader, reply.revision).await),
                        None => {
                            let candidates = self.queue.keys();
                            let watching = Watching::changes(&self.node, candidates, reply.revision.next()).await;
                            self.state = Observing::Waiting(watching);
                        }
                    }
                }
                Observing::Waiting(watching) => {
                    let (_, events) = watching.next().await.ok()?;
                    if let Some(first) = events.iter().find(|event| event.kind == EventKind::Put) {
                        return Some(self.follow(first.record.clone(), first.revision()).await);
                    }
                }
                Observing::Following { watching, revision, events, told } => match events.get(*told) {
                    None => (*revision, *events, *told) = next_events(watching).await?,
                    Some(event) if event.kind == EventKind::Delete => self.state = Observing::Asking,
                    Some(event) => {
                        *told += 1;
                        return Some(response(&self.node, *revision, event.record.clone()));
                    }
                },
            }
        }
    }

    /// Tells of `leader` as it was at `revision`, and follows it from there.
    async fn follow(&mut self, leader: Record, revision: Revision) -> LeaderResponse {
        let key = KeyRange::single(Bytes::copy_from_slice(leader.key()));
        let watching = Watching::changes(&self.node, key, revision.next()).await;
        self.state = Observing::Following { watching, revision, events: Arc::new([]), told: 0 };
        response(&self.node, revision, leader)
    }
}

async fn next_events(watching: &Watching) -> Option<(Revision, Arc<[Event]>, usize)> {
    let (revision, events) = watching.next().await.ok()?;
    Some((revision, events, 0))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::api::grpc::testing::{api, soon};
    use crate::model::{Compact, LeaseId};
    use crate::proto::etcdserverpb::ResponseHeader;

    struct Client(ElectionService);

    impl Client {
        async fn new() -> Client {
            Client(ElectionService(soon(api()).await))
        }

        fn node(&self) -> &crate::node::Node {
            &self.0.0.node
        }

        async fn lease(&self, id: i64) {
            self.node().lease_grant(LeaseId(id), 600).await.unwrap();
        }

        fn campaign(
            &self,
            lease: i64,
            value: &'static str,
        ) -> impl Future<Output = Result<CampaignResponse, Status>> + 'static {
            let service = self.0.clone();
            let request = Request::new(CampaignRequest { name: "n".into(), lease, value: value.into() });
            async move { service.campaign(request).await.map(Response::into_inner) }
        }

        async fn proclaim(&self, leader: &LeaderKey, value: &'static str) -> Result<ProclaimResponse, Status> {
            let request = ProclaimRequest { leader: Some(leader.clone()), value: value.into() };
            self.0.proclaim(Request::new(request)).await.map(Response::into_inner)
        }

        async fn resign(&self, leader: &LeaderKey) -> Result<ResignResponse, Status> {
            let request = ResignRequest { leader: Some(leader.clone()) };
            self.0.resign(Request::new(request)).await.map(Response::into_inner)
        }

        async fn leader(&self) -> Result<LeaderResponse, Status> {
            let request = LeaderRequest { name: "n".into() };
            self.0.leader(Request::new(request)).await.map(Response::into_inner)
        }

        async fn observe(&self) -> <ElectionService as Election>::ObserveStream {
            let request = LeaderRequest { name: "n".into() };
            self.0.observe(Request::new(request)).await.unwrap().into_inner()
        }

        async fn at_revision(&self, revision: i64) {
            while self.node().revision() < Revision(revision) {
                tokio::task::yield_now().await;
            }
        }

        async fn stop(self) {
            self.node().stop().await;
        }
    }

    fn revision(header: &Option<ResponseHeader>) -> i64 {
        header.as_ref().unwrap().revision
    }

    fn text(status: &Status) -> (tonic::Code, &str) {
        (status.code(), status.message())
    }

    /// The revision of the header and the value.
    fn told(response: &LeaderResponse) -> (i64, String) {
        let value = response.kv.as_ref().unwrap().record().unwrap().value().to_vec();
        (revision(&response.header), String::from_utf8(value).unwrap())
    }

    #[tokio::test]
    async fn the_first_candidate_leads_and_may_change_its_value() {
        let client = Client::new().await;
        client.lease(0x1f).await;
        let won = soon(client.campaign(0x1f, "a")).await.unwrap();
        let leader = won.leader.unwrap();
        assert_eq!(leader, LeaderKey { name: "n".into(), key: "n/1f".into(), rev: 2, lease: 0x1f });
        assert_eq!(revision(&won.header), 2);
        assert_eq!(told(&client.leader().await.unwrap()), (2, "a".into()));

        let proclaimed = client.proclaim(&leader, "b").await.unwrap();
        assert_eq!(revision(&proclaimed.header), 3);
        let record = client.leader().await.unwrap().kv.unwrap().record().unwrap().clone();
        assert_eq!((record.value(), record.lease()), (&b"b"[..], LeaseId(0x1f)));

        assert_eq!(revision(&client.resign(&leader).await.unwrap().header), 4);
        assert_eq!(text(&client.leader().await.unwrap_err()), (tonic::Code::Unknown, "election: no leader"));
        client.stop().await;
    }

    #[tokio::test]
    async fn who_campaigns_again_proclaims_the_new_value_and_hears_the_revision_before() {
        let client = Client::new().await;
        client.lease(1).await;
        soon(client.campaign(1, "a")).await.unwrap();
        let again = soon(client.campaign(1, "b")).await.unwrap();
        assert_eq!((revision(&again.header), again.leader.unwrap().rev), (2, 2));
        assert_eq!(told(&client.leader().await.unwrap()), (3, "b".into()));
        client.stop().await;
    }

    #[tokio::test]
    async fn only_the_leader_of_that_revision_may_proclaim_but_anybody_resigns() {
        let client = Client::new().await;
        let nobody = LeaderKey { key: "n/1".into(), rev: 9, lease: 1, ..LeaderKey::default() };
        let status = client.proclaim(&nobody, "a").await.unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "election: not leader"));
        assert_eq!(revision(&client.resign(&nobody).await.unwrap().header), 1);
        client.stop().await;
    }

    #[tokio::test]
    async fn requests_without_a_leader_or_its_key_are_refused() {
        let client = Client::new().await;
        let status = client.0.proclaim(Request::new(ProclaimRequest::default())).await.unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "\"leader\" field must be provided"));
        let status = client.0.resign(Request::new(ResignRequest::default())).await.unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "\"leader\" field must be provided"));
        let status = client.proclaim(&LeaderKey::default(), "a").await.unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "etcdserver: key is not provided"));
        let status = soon(client.campaign(9, "a")).await.unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "etcdserver: requested lease not found"));
        client.stop().await;
    }

    #[tokio::test]
    async fn a_campaign_is_answered_when_the_leader_has_resigned() {
        let client = Client::new().await;
        client.lease(1).await;
        client.lease(2).await;
        let first = soon(client.campaign(1, "a")).await.unwrap().leader.unwrap();
        let waiter = tokio::spawn(client.campaign(2, "b"));
        soon(client.at_revision(3)).await;
        assert!(!waiter.is_finished());
        client.resign(&first).await.unwrap();
        let won = soon(waiter).await.unwrap().unwrap();
        assert_eq!((revision(&won.header), won.leader.unwrap().rev), (3, 3));
        client.stop().await;
    }

    #[tokio::test]
    async fn a_candidate_whose_client_goes_away_resigns() {
        let client = Client::new().await;
        client.lease(1).await;
        client.lease(2).await;
        let first = soon(client.campaign(1, "a")).await.unwrap().leader.unwrap();
        let gone = tokio::spawn(client.campaign(2, "b"));
        soon(client.at_revision(3)).await;
        gone.abort();
        soon(client.at_revision(4)).await;
        client.resign(&first).await.unwrap();
        assert_eq!(client.leader().await.unwrap_err().message(), "election: no leader");
        client.stop().await;
    }

    /// etcd would call it the leader.
    #[tokio::test]
    async fn a_candidate_whose_lease_ends_does_not_win() {
        let client = Client::new().await;
        client.lease(1).await;
        client.lease(2).await;
        let first = soon(client.campaign(1, "a")).await.unwrap().leader.unwrap();
        let waiter = tokio::spawn(client.campaign(2, "b"));
        soon(client.at_revision(3)).await;
        client.node().lease_revoke(LeaseId(2)).await.unwrap();
        client.resign(&first).await.unwrap();
        let status = soon(waiter).await.unwrap().unwrap_err();
        assert_eq!(text(&status), (tonic::Code::Unknown, "election: not leader"));
        client.stop().await;
    }

    #[tokio::test]
    async fn an_observer_hears_each_leader_with_each_of_its_values() {
        let client = Client::new().await;
        client.lease(1).await;
        client.lease(2).await;
        let mut leaders = client.observe().await;
        let mut before = Box::pin(leaders.next());
        assert!(futures_util::poll!(&mut before).is_pending());

        let first = soon(client.campaign(1, "a")).await.unwrap().leader.unwrap();
        assert_eq!(told(&soon(before).await.unwrap().unwrap()), (2, "a".into()));
        client.proclaim(&first, "b").await.unwrap();
        client.proclaim(&first, "c").await.unwrap();
        assert_eq!(told(&soon(leaders.next()).await.unwrap().unwrap()), (3, "b".into()));
        assert_eq!(told(&soon(leaders.next()).await.unwrap().unwrap()), (4, "c".into()));

        let second = tokio::spawn(client.campaign(2, "d"));
        soon(client.at_revision(5)).await;
        client.resign(&first).await.unwrap();
        let second = soon(second).await.unwrap().unwrap().leader.unwrap();
        assert_eq!(told(&soon(leaders.next()).await.unwrap().unwrap()), (6, "d".into()));

        client.resign(&second).await.unwrap();
        let mut after = Box::pin(leaders.next());
        assert!(futures_util::poll!(&mut after).is_pending());
        soon(client.campaign(1, "e")).await.unwrap();
        assert_eq!(told(&soon(after).await.unwrap().unwrap()), (8, "e".into()));
        client.stop().await;
    }

    #[tokio::test]
    async fn an_observer_that_comes_late_begins_with_the_present_value() {
        let client = Client::new().await;
        client.lease(1).await;
        let first = soon(client.campaign(1, "a")).await.unwrap().leader.unwrap();
        client.proclaim(&first, "b").await.unwrap();
        client.node().compact(Compact { revision: Revision(3), physical: false }).await.unwrap();
        let mut leaders = client.observe().await;
        assert_eq!(told(&soon(leaders.next()).await.unwrap().unwrap()), (3, "b".into()));
        client.stop().await;
    }

    #[tokio::test]
    async fn an_observer_ends_without_error_when_the_node_stops() {
        let client = Client::new().await;
        client.lease(1).await;
        soon(client.campaign(1, "a")).await.unwrap();
        let mut leaders = client.observe().await;
        assert!(soon(leaders.next()).await.is_some());
        client.stop().await;
        assert!(soon(leaders.next()).await.is_none());
    }
}
