//! Maintenance: how this member does.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::access::Credentials;
use super::{Api, encode, guard, snapshot, status};
use crate::api::{ETCD_VERSION, STORAGE_VERSION};
use crate::model::{Alarm, AlarmChange, ClusterVersion, MemberId, Revision};
use crate::node::{Node, NodeError};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::downgrade_request::DowngradeAction;
use crate::proto::etcdserverpb::maintenance_server::Maintenance;

/// What a member says its quota is if it has none. Source: etcd, `server/storage/quota.go`: any number below zero.
const NO_QUOTA: i64 = -1;
/// How long before the client gives up it is told that the lead was not handed over: a little later nobody would listen.
const ANSWER_AHEAD: Duration = Duration::from_millis(10);

/// The service.
#[derive(Debug, Clone)]
pub(super) struct MaintenanceService(pub(super) Api);

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    /// Lists alarms of one kind, or of all; raises one, or lowers it. No kind is nothing to raise or lower, and neither is one
    /// that this version does not know.
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let node = &self.0.node;
        let session = Credentials::of_request(&request).session(node).await?;
        let pb::AlarmRequest { action, member_id, alarm } = request.into_inner();
        let action = AlarmAction::try_from(action);
        let may = if action == Ok(AlarmAction::Get) { session.check_authenticated() } else { session.check_root() };
        may.map_err(|error| status::of(&error))?;
        let action = action.map_err(|_| status::UNKNOWN_ACTION)?;
        let asked = pb::AlarmType::try_from(alarm);
        let named = asked.ok().and_then(pb::AlarmType::kind).map(|kind| Alarm { member: MemberId(member_id), kind });
        let alarms = match (action, named) {
            (AlarmAction::Get, Some(Alarm { kind, .. })) => node.alarms(Some(kind)).await,
            (AlarmAction::Get, None) if asked.is_ok() => node.alarms(None).await,
            (AlarmAction::Get, None) => Ok(Vec::new()),
            (AlarmAction::Activate, Some(alarm)) => changed(node, AlarmChange::Raise(alarm)).await,
            (AlarmAction::Deactivate, Some(alarm)) => changed(node, AlarmChange::Lower(alarm)).await,
            (AlarmAction::Activate | AlarmAction::Deactivate, None) => Ok(Vec::new()),
        };
        let alarms = alarms.map_err(|error| status::of(&error))?;
        let header = Some(encode::header(node.header(), node.revision()));
        Ok(Response::new(pb::AlarmResponse { header, alarms: alarms.into_iter().map(pb::AlarmMember::from).collect() }))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let node = &self.0.node;
        let found = node.status();
        let leaderless = found.leader.is_none().then(|| Status::from(status::NO_LEADER).message().to_owned());
        let errors = leaderless.into_iter().chain(found.alarms.iter().map(alarm_text)).collect();
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
            db_size_quota: quota(found.quota_bytes),
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: found.downgrade.is_some(),
                target_version: found.downgrade.map(|target| target.to_string()).unwrap_or_default(),
            }),
        }))
    }

    /// This member's own file, with or without a leader.
    async fn defragment(&self, _: Request<pb::DefragmentRequest>) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.0.node.defragment().await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::DefragmentResponse { header: None }))
    }

    async fn hash(&self, _: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        let node = &self.0.node;
        let (hash, revision) = node.hash().await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::HashResponse { header: Some(encode::header(node.header(), revision)), hash }))
    }

    async fn hash_kv(&self, request: Request<pb::HashKvRequest>) -> Result<Response<pb::HashKvResponse>, Status> {
        let node = &self.0.node;
        let at = Revision(request.into_inner().revision);
        let found = node.hash_kv(at).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::HashKvResponse {
            header: Some(encode::header(node.header(), found.revision)),
            hash: found.hash,
            compact_revision: found.compacted.0,
            hash_revision: found.at.0,
        }))
    }

    type SnapshotStream = snapshot::Parts;

    /// This member's own state, with or without a leader.
    async fn snapshot(&self, request: Request<pb::SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let headers = request.metadata().clone().into_headers();
        let node = self.0.node.clone();
        let end = async move { guard::stream_end(node, &headers).await };
        Ok(Response::new(snapshot::serve(&self.0, end).await?))
    }

    /// Waits as long as the client does; a client that sets no limit waits until the member leads.
    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let deadline = guard::deadline(&request.metadata().clone().into_headers());
        let moving = self.0.node.move_leader(MemberId(request.into_inner().target_id));
        let moved = match deadline {
            None => moving.await,
            Some(deadline) => tokio::time::timeout(deadline.saturating_sub(ANSWER_AHEAD), moving)
                .await
                .map_err(|_| status::TRANSFER_TIMEOUT)?,
        };
        moved.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::MoveLeaderResponse { header: None }))
    }

    /// Checks whether a downgrade may begin, begins it, or ends it. The end never fails, as in etcd, whatever is in its way.
    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        let node = &self.0.node;
        let pb::DowngradeRequest { action, version } = request.into_inner();
        let target = || ClusterVersion::parse(&version).ok_or(status::DOWNGRADE_VERSION);
        let version = match DowngradeAction::try_from(action).map_err(|_| status::UNKNOWN_ACTION)? {
            DowngradeAction::Validate => node.downgrade_validate(target()?).await,
            DowngradeAction::Enable => node.downgrade_enable(target()?).await,
            DowngradeAction::Cancel => {
                let version = node.cluster_version();
                if let Err(error) = node.downgrade_cancel().await {
                    tracing::warn!(%error, "failed to cancel downgrade");
                }
                Ok(version)
            }
        };
        let version = version.map_err(|error| status::of(&error))?.major_minor();
        let header = Some(encode::header(node.header(), node.revision()));
        Ok(Response::new(pb::DowngradeResponse { header, version }))
    }
}

async fn changed(node: &Node, change: AlarmChange) -> Result<Vec<Alarm>, NodeError> {
    Ok(node.change_alarm(change).await?.into_iter().collect())
}

/// An alarm as etcd's own messages print it.
fn alarm_text(alarm: &Alarm) -> String {
    let kind = pb::AlarmType::from(alarm.kind).as_str_name();
    match alarm.member.0 {
        0 => format!("alarm:{kind}"),
        member => format!("memberID:{member} alarm:{kind}"),
    }
}

fn quota(bytes: Option<u64>) -> i64 {
    bytes.map_or(NO_QUOTA, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::started;
    use crate::model::{Command, Compact, LeaseId, Put};
    use crate::node::Proposal;

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
    async fn the_key_space_is_hashed_at_a_revision() {
        let maintenance = MaintenanceService(started().await);
        let hash_kv = |revision| maintenance.hash_kv(Request::new(pb::HashKvRequest { revision }));
        let put = Put { key: "a".into(), value: "1".into(), ..Put::default() };
        maintenance.0.node.propose(Proposal::from(&Command::Put(put))).await.unwrap();
        // As etcd 3.7.1 has it.
        for (asked, hashed, hash) in [(0, 2, 2_587_454_935), (2, 2, 2_587_454_935), (1, 1, 1_084_519_789)] {
            let found = hash_kv(asked).await.unwrap().into_inner();
            assert_eq!((found.hash, found.hash_revision, found.compact_revision), (hash, hashed, -1));
            assert_eq!(found.header.unwrap().revision, 2);
        }
        let future = hash_kv(3).await.unwrap_err();
        assert_eq!(future.message(), "etcdserver: mvcc: required revision is a future revision");
        maintenance.0.node.compact(Compact { revision: Revision(2), physical: true }).await.unwrap();
        assert_eq!(hash_kv(0).await.unwrap().into_inner().compact_revision, 2);
        let compacted = hash_kv(1).await.unwrap_err();
        assert_eq!(compacted.code(), Code::OutOfRange);
        assert_eq!(compacted.message(), "etcdserver: mvcc: required revision has been compacted");

        let hash = async || maintenance.hash(Request::new(pb::HashRequest {})).await.unwrap().into_inner();
        let before = hash().await;
        assert_eq!((before.hash, before.header.unwrap().revision), (hash().await.hash, 2));
        maintenance.0.node.lease_grant(LeaseId(1), 60).await.unwrap();
        assert_ne!(hash().await.hash, before.hash);
        maintenance.0.node.stop().await;
    }

    #[tokio::test]
    async fn defragmentation_gives_space_back() {
        let maintenance = MaintenanceService(started().await);
        let node = &maintenance.0.node;
        let size = async || maintenance.status(Request::new(pb::StatusRequest {})).await.unwrap().into_inner().db_size;
        let put = |n: usize| Put { key: "a".into(), value: vec![n as u8; 100_000].into(), ..Put::default() };
        for n in 0..100 {
            node.propose(Proposal::from(&Command::Put(put(n)))).await.unwrap();
        }
        // The first lets everything reach the file, the second takes it out again.
        for revision in [Revision(2), node.revision()] {
            node.compact(Compact { revision, physical: true }).await.unwrap();
        }
        let (before, hash) = (size().await, node.hash().await.unwrap());
        let defragment = || maintenance.defragment(Request::new(pb::DefragmentRequest {}));
        let (first, second) = tokio::join!(defragment(), defragment());
        assert_eq!(first.unwrap().into_inner(), pb::DefragmentResponse { header: None });
        second.unwrap();
        assert!(size().await * 2 < before, "{before} -> {}", size().await);
        assert_eq!(node.hash().await.unwrap(), hash);
        node.propose(Proposal::from(&Command::Put(put(1)))).await.unwrap();
        node.stop().await;
        let stopped = defragment().await.unwrap_err();
        assert_eq!((stopped.code(), stopped.message()), (Code::Unavailable, "etcdserver: server stopped"));
    }

    #[tokio::test]
    async fn the_lead_goes_only_to_a_voter() {
        let maintenance = MaintenanceService(started().await);
        let move_to = |target_id, timeout: &'static str| {
            let mut request = Request::new(pb::MoveLeaderRequest { target_id });
            request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
            maintenance.move_leader(request)
        };
        assert_eq!(move_to(2, "5S").await.unwrap().into_inner(), pb::MoveLeaderResponse { header: None });
        let (learner, _) = maintenance.0.node.member_add(vec!["http://a:1".into()], true).await.unwrap();
        for target in [5, learner.id.0] {
            let status = move_to(target, "5S").await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert_eq!(status.message(), "etcdserver: bad leader transferee");
        }
        // A voter that has not started cannot take over. Until it can, this member leads on.
        let (voter, _) = maintenance.0.node.member_add(vec!["http://b:1".into()], false).await.unwrap();
        let status = move_to(voter.id.0, "100m").await.unwrap_err();
        assert_eq!(status.code(), Code::Unknown);
        assert_eq!(status.message(), "etcdserver: request timed out, leader transfer took too long");
        maintenance.0.node.lease_grant(LeaseId(1), 60).await.unwrap();
        maintenance.0.node.stop().await;
    }

    #[tokio::test]
    async fn alarms_are_raised_listed_and_lowered_by_member_and_kind() {
        let maintenance = MaintenanceService(started().await);
        let alarm = async |action, member_id, alarm| {
            let answer = maintenance.alarm(Request::new(pb::AlarmRequest { action, member_id, alarm })).await?;
            let alarms = answer.into_inner().alarms.into_iter().map(|found| (found.member_id, found.alarm));
            Ok::<_, Status>(alarms.collect::<Vec<_>>())
        };
        let (get, raise, lower, nospace, corrupt) = (0, 1, 2, 1, 2);
        for (action, kind) in [(get, 0), (get, nospace), (raise, 0), (lower, nospace), (lower, 0), (get, 9), (raise, 9)]
        {
            assert_eq!(alarm(action, 0, kind).await.unwrap(), []);
        }
        for _ in 0..2 {
            assert_eq!(alarm(raise, 7, nospace).await.unwrap(), [(7, nospace)]);
        }
        assert_eq!(alarm(raise, 0, corrupt).await.unwrap(), [(0, corrupt)]);
        assert_eq!(alarm(get, 5, 0).await.unwrap(), [(0, corrupt), (7, nospace)]);
        assert_eq!(alarm(get, 5, nospace).await.unwrap(), [(7, nospace)]);
        let status = maintenance.status(Request::new(pb::StatusRequest {})).await.unwrap().into_inner();
        assert_eq!(status.errors, ["alarm:CORRUPT", "memberID:7 alarm:NOSPACE"]);
        assert_eq!(alarm(lower, 0, nospace).await.unwrap(), [], "zero stands for no other member");
        assert_eq!(alarm(lower, 0, corrupt).await.unwrap(), [(0, corrupt)]);
        assert_eq!(alarm(lower, 7, nospace).await.unwrap(), [(7, nospace)]);
        assert_eq!(alarm(get, 0, 0).await.unwrap(), []);
        let status = alarm(7, 0, 0).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unknown, "etcdserver: unknown method"));
        maintenance.0.node.stop().await;
    }

    #[tokio::test]
    async fn a_downgrade_goes_one_version_back_and_is_ended() {
        let maintenance = MaintenanceService(started().await);
        let downgrade = async |action, version: &str| {
            let request = pb::DowngradeRequest { action, version: version.into() };
            match maintenance.downgrade(Request::new(request)).await {
                Ok(answer) => answer.into_inner().version,
                Err(status) => format!("{:?} {}", status.code(), status.message()),
            }
        };
        let info = async || {
            let status = maintenance.status(Request::new(pb::StatusRequest {})).await.unwrap().into_inner();
            let info = status.downgrade_info.unwrap();
            (info.enabled, info.target_version)
        };
        let (validate, enable, cancel) = (0, 1, 2);
        let format = "InvalidArgument etcdserver: wrong downgrade target version format";
        let invalid = "InvalidArgument etcdserver: invalid downgrade target version";
        for action in [validate, enable] {
            for (version, answer) in
                [("", format), ("v3.6", format), ("3.7", invalid), ("3.5", invalid), ("2.6", invalid)]
            {
                assert_eq!(downgrade(action, version).await, answer, "{version}");
            }
        }
        assert_eq!(downgrade(validate, "3.6").await, "3.7");
        assert_eq!(downgrade(cancel, "no version").await, "3.7");
        assert_eq!(info().await, (false, String::new()));
        assert_eq!(downgrade(enable, "3.6.4").await, "3.7");
        assert_eq!(info().await, (true, "3.6.0".to_owned()));
        assert_eq!(maintenance.0.node.cluster_version().to_string(), "3.6.0");
        for action in [validate, enable] {
            assert_eq!(downgrade(action, "3.6").await, invalid);
            let under_way = "FailedPrecondition etcdserver: cluster has a downgrade job in progress";
            assert_eq!(downgrade(action, "3.5").await, under_way);
        }
        assert_eq!(downgrade(cancel, "").await, "3.6");
        assert_eq!(downgrade(cancel, "").await, "3.7");
        assert_eq!(info().await, (false, String::new()));
        assert_eq!(downgrade(9, "3.6").await, "Unknown etcdserver: unknown method");
        maintenance.0.node.stop().await;
    }
}
