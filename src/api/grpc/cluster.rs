//! Cluster: who is in it.

use tonic::{Request, Response, Status};

use super::{Api, encode, status};
use crate::model::{Member, Revision};
use crate::node::Consistency;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::cluster_server::Cluster;

/// Answers about members name no revision.
const NO_REVISION: Revision = Revision(0);

/// The service.
#[derive(Debug, Clone)]
pub(super) struct ClusterService(pub(super) Api);

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_add(&self, _: Request<pb::MemberAddRequest>) -> Result<Response<pb::MemberAddResponse>, Status> {
        Err(status::not_yet("member changes"))
    }

    async fn member_remove(
        &self,
        _: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        Err(status::not_yet("member changes"))
    }

    async fn member_update(
        &self,
        _: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        Err(status::not_yet("member changes"))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let node = &self.0.node;
        let linearizable = request.into_inner().linearizable;
        let consistency = if linearizable { Consistency::Linearizable } else { Consistency::Serializable };
        let members = node.members(consistency).await.map_err(|error| status::of(&error))?;
        let header = Some(encode::header(node.header(), NO_REVISION));
        Ok(Response::new(pb::MemberListResponse { header, members: members.into_iter().map(member).collect() }))
    }

    async fn member_promote(
        &self,
        _: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        Err(status::not_yet("member changes"))
    }
}

fn member(member: Member) -> pb::Member {
    let Member { id, name, peer_urls, client_urls, is_learner } = member;
    pb::Member { id: id.0, name, peer_urls, client_urls, is_learner }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::testing::started;

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
}
