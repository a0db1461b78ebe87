//! Lease: grant, revoke, keep alive, look.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use super::access::Credentials;
use super::{Api, encode, guard, status};
use crate::model::{Command, LeaseGrant, LeaseId};
use crate::node::{Node, Proposal, Session};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::lease_server::Lease;

/// What a lease that is gone has left.
const TTL_GONE: i64 = -1;

/// The service.
#[derive(Debug, Clone)]
pub(super) struct LeaseService(pub(super) Api);

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let (node, &pb::LeaseGrantRequest { ttl, id }) = (&self.0.node, request.get_ref());
        let id = LeaseId(id);
        let session = match somebody(&request, node).await {
            // The quota comes before all other checks, as it does for what writes keys.
            Err(_) if node.is_over_quota(Proposal::from(&Command::LeaseGrant(LeaseGrant { id, ttl })).cost()) => {
                return Err(status::of(&node.refuse_for_quota().await));
            }
            admitted => admitted?,
        };
        let reply = session.lease_grant(id, ttl).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::LeaseGrantResponse {
            header: Some(encode::header(node.header(), reply.revision)),
            id: reply.id.0,
            ttl: reply.ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let node = somebody(&request, &self.0.node).await?;
        let id = LeaseId(request.into_inner().id);
        let revision = node.lease_revoke(id).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::LeaseRevokeResponse { header: Some(encode::header(node.header(), revision)) }))
    }

    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let node = self.0.node.clone();
        let headers = request.metadata().clone().into_headers();
        let end = stream::once({
            let node = node.clone();
            async move { Err(guard::stream_end(node, &headers).await) }
        });
        // Whichever speaks first: the end is an error, and an error is the last thing a stream says.
        let credentials = Credentials::of_request(&request);
        let answers = keep_alive(node, credentials, request.into_inner()).map(Some).chain(stream::iter([None]));
        let answers = stream::select(answers, end.map(Some)).take_while(|item| std::future::ready(item.is_some()));
        Ok(Response::new(Box::pin(answers.filter_map(std::future::ready))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let node = &self.0.node;
        let session = session(&request, node).await?;
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let remaining = session.lease_time_to_live(LeaseId(id), keys).await.map_err(|error| status::of(&error))?;
        let header = Some(encode::header(node.header(), node.revision()));
        Ok(Response::new(match remaining {
            Some(remaining) => pb::LeaseTimeToLiveResponse {
                header,
                id,
                ttl: remaining.seconds,
                granted_ttl: remaining.granted,
                keys: remaining.keys,
            },
            None => pb::LeaseTimeToLiveResponse { header, id, ttl: TTL_GONE, ..Default::default() },
        }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let node = &self.0.node;
        let leases = session(&request, node).await?.leases().map_err(|error| status::of(&error))?;
        let leases = leases.into_iter().map(|id| pb::LeaseStatus { id: id.0 }).collect();
        let header = Some(encode::header(node.header(), node.revision()));
        Ok(Response::new(pb::LeaseLeasesResponse { header, leases }))
    }
}

/// Only somebody may change leases. That comes before alarms, which apply looks at.
async fn somebody<T>(request: &Request<T>, node: &Node) -> Result<Session, Status> {
    let session = session(request, node).await?;
    session.check_authenticated().map_err(|error| status::of(&error))?;
    Ok(session)
}

async fn session<T>(request: &Request<T>, node: &Node) -> Result<Session, Status> {
    Credentials::of_request(request).session(node).await
}

/// Answers each request in turn: the next is read when the answer has been taken, so nothing piles up here. Ends without
/// an error when the client sends no more.
fn keep_alive<R>(
    node: Node,
    credentials: Credentials,
    requests: R,
) -> impl Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send
where
    R: Stream<Item = Result<pb::LeaseKeepAliveRequest, Status>> + Send + Unpin,
{
    requests.then(move |request| {
        let (node, credentials) = (node.clone(), credentials.clone());
        async move {
            let id = request.inspect_err(|error| guard::count_broken(&node, "lease-keepalive", error))?.id;
            // Asked anew each time: users and roles may change while the stream is open.
            let session = credentials.session(&node).await?;
            let (revision, ttl) = session.lease_keep_alive(LeaseId(id)).await.map_err(|error| status::of(&error))?;
            Ok(pb::LeaseKeepAliveResponse { header: Some(encode::header(node.header(), revision)), id, ttl })
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::started;
    use crate::model::{Command, Put};
    use crate::node::Proposal;

    async fn grant(lease: &LeaseService, id: i64, ttl: i64) -> Result<pb::LeaseGrantResponse, Status> {
        lease.lease_grant(Request::new(pb::LeaseGrantRequest { ttl, id })).await.map(Response::into_inner)
    }

    async fn time_to_live(lease: &LeaseService, id: i64) -> pb::LeaseTimeToLiveResponse {
        let request = pb::LeaseTimeToLiveRequest { id, keys: true };
        lease.lease_time_to_live(Request::new(request)).await.unwrap().into_inner()
    }

    #[tokio::test]
    async fn a_lease_is_granted_looked_at_and_revoked() {
        let lease = LeaseService(started().await);
        let granted = grant(&lease, 0, 60).await.unwrap();
        assert!(granted.id > 0);
        assert_eq!((granted.ttl, granted.header.unwrap().revision), (60, 1));
        let put = Put { key: Bytes::from_static(b"k"), lease: LeaseId(granted.id), ..Put::default() };
        lease.0.node.propose(Proposal::from(&Command::Put(put))).await.unwrap();

        let left = time_to_live(&lease, granted.id).await;
        assert_eq!((left.ttl, left.granted_ttl, left.keys), (60, 60, vec![Bytes::from_static(b"k")]));
        let leases = lease.lease_leases(Request::new(pb::LeaseLeasesRequest {})).await.unwrap().into_inner();
        assert_eq!(leases.leases, [pb::LeaseStatus { id: granted.id }]);

        let revoke = || lease.lease_revoke(Request::new(pb::LeaseRevokeRequest { id: granted.id }));
        assert_eq!(revoke().await.unwrap().into_inner().header.unwrap().revision, 3);
        let status = revoke().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "etcdserver: requested lease not found"));
        lease.0.node.stop().await;
    }

    #[tokio::test]
    async fn ids_are_free_to_choose_once_and_times_are_bounded() {
        let lease = LeaseService(started().await);
        let granted = grant(&lease, i64::MIN, -5).await.unwrap();
        assert_eq!((granted.id, granted.ttl), (i64::MIN, 2));
        let status = grant(&lease, i64::MIN, 5).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "etcdserver: lease already exists"));
        let status = grant(&lease, i64::MIN, 9_000_000_001).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::OutOfRange, "etcdserver: too large lease TTL"));
        lease.0.node.stop().await;
    }

    #[tokio::test]
    async fn a_lease_that_is_gone_has_no_time_left() {
        let lease = LeaseService(started().await);
        let left = time_to_live(&lease, 5).await;
        assert_eq!((left.id, left.ttl, left.granted_ttl), (5, -1, 0));
        lease.0.node.stop().await;
    }

    #[tokio::test]
    async fn keepalives_are_answered_in_order_and_end_with_the_client() {
        let lease = LeaseService(started().await);
        grant(&lease, 7, 60).await.unwrap();
        let requests = [7, 8, 7].map(|id| Ok(pb::LeaseKeepAliveRequest { id }));
        let answers = keep_alive(lease.0.node.clone(), Credentials::default(), stream::iter(requests));
        let answers: Vec<_> =
            answers.map(|answer| answer.map(|answer| (answer.id, answer.ttl)).unwrap()).collect().await;
        assert_eq!(answers, [(7, 60), (8, 0), (7, 60)]);
        lease.0.node.stop().await;
    }
}
