//! Cluster: who is in it, and changes of that.

use tonic::{Request, Response, Status};

use super::access::Credentials;
use super::peer_urls::peer_urls;
use super::{Api, encode, status};
use crate::model::{Member, MemberId, Revision};
use crate::node::{Consistency, Node};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::cluster_server::Cluster;

/// Answers about members name no revision.
const NO_REVISION: Revision = Revision(0);

/// The service.
#[derive(Debug, Clone)]
pub(super) struct ClusterService(pub(super) Api);

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let (node, credentials) = (&self.0.node, Credentials::of_request(&request));
        let pb::MemberAddRequest { peer_urls: urls, is_learner } = request.into_inner();
        let urls = peer_urls(&urls).ok_or(status::MEMBER_BAD_URLS)?;
        credentials.session(node).await?.check_root().map_err(|error| status::of(&error))?;
        let (added, all) = node.member_add(urls, is_learner).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::MemberAddResponse {
            header: header(node),
            member: Some(member(added)),
            members: members(all),
        }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let node = &self.0.node;
        let id = MemberId(request.into_inner().id);
        let all = node.member_remove(id).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::MemberRemoveResponse { header: header(node), members: members(all) }))
    }

    /// As in etcd, the URLs are not looked at.
    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let node = &self.0.node;
        let pb::MemberUpdateRequest { id, peer_urls } = request.into_inner();
        let all = node.member_update(MemberId(id), peer_urls).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::MemberUpdateResponse { header: header(node), members: members(all) }))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let (node, credentials) = (&self.0.node, Credentials::of_request(&request));
        let linearizable = request.into_inner().linearizable;
        let consistency = if linearizable { Consistency::Linearizable } else { Consistency::Serializable };
        let all = node.members(consistency).await.map_err(|error| status::of(&error))?;
        credentials.session(node).await?.check_authenticated().map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::MemberListResponse { header: header(node), members: members(all) }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let node = &self.0.node;
        let id = MemberId(request.into_inner().id);
        let all = node.member_promote(id).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::MemberPromoteResponse { header: header(node), members: members(all) }))
    }
}

fn header(node: &Node) -> Option<pb::ResponseHeader> {
    Some(encode::header(node.header(), NO_REVISION))
}

fn members(members: Vec<Member>) -> Vec<pb::Member> {
    members.into_iter().map(member).collect()
}

fn member(member: Member) -> pb::Member {
    let Member { id, name, peer_urls, client_urls, is_learner } = member;
    pb::Member { id: id.0, name, peer_urls, client_urls, is_learner }
}

/// What one member answers was tried with etcd 3.7.1, call by call.
#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::started;

    const NOT_FOUND: (Code, &str) = (Code::NotFound, "etcdserver: member not found");
    const URL_EXISTS: (Code, &str) = (Code::FailedPrecondition, "etcdserver: Peer URLs already exists");
    const NOT_ENOUGH_STARTED: (Code, &str) =
        (Code::Unknown, "etcdserver: re-configuration failed due to not enough started members");

    struct Client(ClusterService);

    impl Client {
        async fn new() -> Client {
            Client(ClusterService(started().await))
        }

        async fn add(&self, urls: &[&str], is_learner: bool) -> Result<pb::MemberAddResponse, Status> {
            let peer_urls = urls.iter().map(|&url| url.to_owned()).collect();
            let request = pb::MemberAddRequest { peer_urls, is_learner };
            self.0.member_add(Request::new(request)).await.map(Response::into_inner)
        }

        async fn remove(&self, id: u64) -> Result<pb::MemberRemoveResponse, Status> {
            self.0.member_remove(Request::new(pb::MemberRemoveRequest { id })).await.map(Response::into_inner)
        }

        async fn update(&self, id: u64, url: &str) -> Result<pb::MemberUpdateResponse, Status> {
            let request = pb::MemberUpdateRequest { id, peer_urls: vec![url.to_owned()] };
            self.0.member_update(Request::new(request)).await.map(Response::into_inner)
        }

        async fn promote(&self, id: u64) -> Result<pb::MemberPromoteResponse, Status> {
            self.0.member_promote(Request::new(pb::MemberPromoteRequest { id })).await.map(Response::into_inner)
        }

        async fn list(&self) -> pb::MemberListResponse {
            let request = pb::MemberListRequest { linearizable: true };
            self.0.member_list(Request::new(request)).await.unwrap().into_inner()
        }

        async fn stop(self) {
            self.0.0.node.stop().await;
        }
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
        let status = result.unwrap_err();
        (status.code(), status.message().to_owned())
    }

    fn told((code, text): (Code, &str)) -> (Code, String) {
        (code, text.to_owned())
    }

    #[tokio::test]
    async fn members_are_listed_without_a_revision() {
        let cluster = ClusterService(started().await);
        for linearizable in [true, false] {
            let request = Request::new(pb::MemberListRequest { linearizable });
            let list = cluster.member_list(request).await.unwrap().into_inner();
            let header = list.header.unwrap();
            assert_eq!((header.revision, header.member_id), (0, 2));
            let [member] = list.members.as_slice() else { panic!("one member: {list:?}") };
            assert_eq!((member.id, member.name.as_str(), member.is_learner), (2, "test", false));
            assert_eq!(member.client_urls, ["http://localhost:2379"]);
        }
        cluster.0.node.stop().await;
    }

    #[tokio::test]
    async fn a_learner_is_added_moved_and_removed_for_ever() {
        let client = Client::new().await;
        let added = client.add(&["http://127.0.0.1:1", " HTTP://127.0.0.1:0 "], true).await.unwrap();
        let learner = added.member.unwrap();
        assert_eq!(added.header.unwrap().revision, 0);
        assert_eq!(learner.peer_urls, ["http://127.0.0.1:0", "http://127.0.0.1:1"]);
        assert_eq!((learner.name.as_str(), learner.client_urls.len(), learner.is_learner), ("", 0, true));
        assert_eq!(added.members, client.list().await.members);
        assert!(added.members.is_sorted_by_key(|member| member.id) && added.members.contains(&learner));

        assert_eq!(refusal(client.add(&["http://127.0.0.1:1"], true).await), told(URL_EXISTS));
        let too_many = (Code::FailedPrecondition, "etcdserver: too many learner members in cluster");
        assert_eq!(refusal(client.add(&["http://127.0.0.1:3"], true).await), told(too_many));
        let not_ready =
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader");
        assert_eq!(refusal(client.promote(learner.id).await), told(not_ready));

        assert_eq!(refusal(client.update(learner.id, "http://localhost:2380").await), told(URL_EXISTS));
        let updated = client.update(learner.id, "what").await.unwrap();
        let moved = updated.members.iter().find(|member| member.id == learner.id).unwrap();
        assert_eq!((moved.peer_urls.as_slice(), moved.is_learner), (&["what".to_owned()][..], true));

        let removed = client.remove(learner.id).await.unwrap();
        assert_eq!((removed.members.len(), removed.header.unwrap().revision), (1, 0));
        assert_eq!(refusal(client.remove(learner.id).await), told(NOT_FOUND));
        assert_eq!(refusal(client.update(learner.id, "http://q:1").await), told(NOT_FOUND));
        client.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_in_the_words_of_etcd() {
        let client = Client::new().await;
        let bad_urls = (Code::InvalidArgument, "etcdserver: given member URLs are invalid");
        assert_eq!(refusal(client.add(&[], false).await), told(bad_urls));
        assert_eq!(refusal(client.add(&["http://x"], false).await), told(bad_urls));
        assert_eq!(refusal(client.add(&[" http://localhost:2380 "], false).await), told(URL_EXISTS));
        assert_eq!(refusal(client.remove(5).await), told(NOT_FOUND));
        assert_eq!(refusal(client.update(5, "http://q:1").await), told(NOT_FOUND));
        assert_eq!(refusal(client.promote(5).await), told(NOT_FOUND));
        let not_learner = (Code::FailedPrecondition, "etcdserver: can only promote a learner member");
        assert_eq!(refusal(client.promote(2).await), told(not_learner));
        // The last member cannot go.
        assert_eq!(refusal(client.remove(2).await), told(NOT_ENOUGH_STARTED));
        client.stop().await;
    }

    #[tokio::test]
    async fn while_a_new_voter_has_not_started_no_other_is_taken_in() {
        let client = Client::new().await;
        let first = client.add(&["http://a:1"], false).await.unwrap().member.unwrap();
        assert_eq!(refusal(client.add(&["http://b:1"], false).await), told(NOT_ENOUGH_STARTED));
        assert_eq!(refusal(client.remove(5).await), told(NOT_ENOUGH_STARTED));
        assert_eq!(client.remove(first.id).await.unwrap().members.len(), 1);
        client.stop().await;
    }
}
