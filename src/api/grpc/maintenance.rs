//! Maintenance: how this member does.

use futures_util::stream;
use tonic::{Request, Response, Status};

use super::{Api, encode, status};
use crate::api::{ETCD_VERSION, STORAGE_VERSION};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::maintenance_server::Maintenance;

/// What a member without a setting of its own says its space is, in bytes: etcd's default.
const QUOTA_BYTES: i64 = 2 * 1024 * 1024 * 1024;

/// The service.
#[derive(Debug, Clone)]
pub(super) struct MaintenanceService(pub(super) Api);

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    /// No alarm can be raised in this version, so there is none to list and none to lower.
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let pb::AlarmRequest { action, member_id: _, alarm } = request.into_inner();
        match AlarmAction::try_from(action) {
            Ok(AlarmAction::Get | AlarmAction::Deactivate) => {}
            // As in etcd, no alarm is nothing to raise.
            Ok(AlarmAction::Activate) if alarm == i32::from(pb::AlarmType::None) => {}
            Ok(AlarmAction::Activate) => return Err(status::not_yet("raising alarms")),
            Err(_) => return Err(status::UNKNOWN_ACTION.into()),
        }
        let node = &self.0.node;
        let header = Some(encode::header(node.header(), node.revision()));
        Ok(Response::new(pb::AlarmResponse { header, alarms: Vec::new() }))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let node = &self.0.node;
        let found = node.status();
        let errors = match found.leader {
            Some(_) => Vec::new(),
            None => vec![Status::from(status::NO_LEADER).message().to_owned()],
        };
        Ok(Response::new(pb::StatusResponse {
            header: Some(encode::header(node.header(), node.revision())),
            version: ETCD_VERSION.into(),
            db_size: i64::try_from(found.db_bytes).unwrap_or(i64::MAX),
            leader: found.leader.map_or(0, |leader| leader.0),
            raft_index: found.raft_index,
            raft_term: found.raft_term,
            raft_applied_index: found.applied_index,
            errors,
            db_size_in_use: i64::try_from(found.db_bytes_in_use).unwrap_or(i64::MAX),
            is_learner: found.is_learner,
            storage_version: STORAGE_VERSION.into(),
            db_size_quota: QUOTA_BYTES,
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }))
    }

    async fn defragment(&self, _: Request<pb::DefragmentRequest>) -> Result<Response<pb::DefragmentResponse>, Status> {
        Err(status::not_yet("Defragment"))
    }

    async fn hash(&self, _: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        Err(status::not_yet("Hash"))
    }

    async fn hash_kv(&self, _: Request<pb::HashKvRequest>) -> Result<Response<pb::HashKvResponse>, Status> {
        Err(status::not_yet("HashKV"))
    }

    type SnapshotStream = stream::Empty<Result<pb::SnapshotResponse, Status>>;

    async fn snapshot(&self, _: Request<pb::SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(status::not_yet("Snapshot"))
    }

    async fn move_leader(&self, _: Request<pb::MoveLeaderRequest>) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        Err(status::not_yet("MoveLeader"))
    }

    async fn downgrade(&self, _: Request<pb::DowngradeRequest>) -> Result<Response<pb::DowngradeResponse>, Status> {
        Err(status::not_yet("Downgrade"))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::started;

    #[tokio::test]
    async fn status_is_complete() {
        let maintenance = MaintenanceService(started().await);
        let found = maintenance.status(Request::new(pb::StatusRequest {})).await.unwrap().into_inner();
        let header = found.header.unwrap();
        assert_eq!((header.cluster_id, header.member_id, header.revision), (1, 2, 1));
        assert_eq!((found.version.as_str(), found.storage_version.as_str()), ("3.7.1", "3.7.0"));
        assert_eq!((found.leader, found.is_learner, found.errors.len()), (2, false, 0));
        assert_eq!((found.raft_term, found.db_size_quota), (header.raft_term, 2_147_483_648));
        assert_eq!(found.downgrade_info, Some(pb::DowngradeInfo::default()));
        assert!(found.raft_applied_index > 0 && found.raft_applied_index <= found.raft_index);
        assert!(found.db_size > 0);
        maintenance.0.node.stop().await;
    }

    #[tokio::test]
    async fn there_is_no_alarm_to_list_or_lower_and_none_can_be_raised() {
        let maintenance = MaintenanceService(started().await);
        let alarm = |action, alarm| {
            let request = pb::AlarmRequest { action, member_id: 0, alarm };
            maintenance.alarm(Request::new(request))
        };
        for (action, kind) in [(0, 0), (0, 1), (1, 0), (2, 1), (2, 0)] {
            assert_eq!(alarm(action, kind).await.unwrap().into_inner().alarms, []);
        }
        assert_eq!(alarm(1, 1).await.unwrap_err().code(), Code::Unimplemented);
        let status = alarm(7, 0).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unknown, "etcdserver: unknown method"));
        maintenance.0.node.stop().await;
    }
}
