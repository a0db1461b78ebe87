//! What a call does with its message before it asks the node, for whoever feeds it any bytes: the fuzz targets in
//! `fuzz/`.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use prost::Message;
use tonic::Status;

use super::decode::{self, TxnCall};
use super::peer_urls::peer_urls;
use super::{encode, guard, status, watch};
use crate::model::{ClusterId, Compact, MemberId, Range, RangeReply, Reply, Txn};
use crate::node::{Header, Proposal, WatchSpec};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::{healthpb, v3electionpb, v3lockpb};

/// What the node is asked for.
#[derive(Debug)]
pub enum Asked {
    /// To change something.
    Propose(Proposal),
    /// To read.
    Range(Range),
    /// To read with conditions.
    ReadTxn(Txn),
    /// To compact.
    Compact(Compact),
    /// To watch.
    Watch(WatchSpec),
    /// For a new member at these URLs.
    MemberAt(Vec<String>),
    /// For what needs no more than the numbers of the message, which the node checks.
    Other,
}

/// Reads the message of one call.
///
/// # Errors
/// What the client is told.
pub type Reader = fn(Bytes) -> Result<Asked, Status>;

/// Operations on one level of a txn; the default of the server.
const TXN_OPS_MAX: usize = 128;

/// Every call that has a message, by path.
pub const READERS: &[(&str, Reader)] = &[
    ("/etcdserverpb.KV/Range", |message| decode::range(message).map(Asked::Range)),
    ("/etcdserverpb.KV/RangeStream", |message| decode::range_stream(message).map(Asked::Range)),
    ("/etcdserverpb.KV/Put", |message| decode::put(message).map(Asked::Propose)),
    ("/etcdserverpb.KV/DeleteRange", |message| decode::delete_range(message).map(Asked::Propose)),
    ("/etcdserverpb.KV/Txn", |message| {
        Ok(match decode::txn(message, TXN_OPS_MAX)? {
            TxnCall::Write(proposal) => Asked::Propose(proposal),
            TxnCall::Read(txn, _) => Asked::ReadTxn(txn),
        })
    }),
    ("/etcdserverpb.KV/Compact", |message| decode::compact(message).map(Asked::Compact)),
    ("/etcdserverpb.Watch/Watch", |message| {
        Ok(match read::<pb::WatchRequest>(message)?.request_union {
            Some(RequestUnion::CreateRequest(create)) => Asked::Watch(watch::spec(&create)),
            Some(RequestUnion::CancelRequest(_) | RequestUnion::ProgressRequest(_)) | None => Asked::Other,
        })
    }),
    ("/etcdserverpb.Lease/LeaseGrant", other::<pb::LeaseGrantRequest>),
    ("/etcdserverpb.Lease/LeaseRevoke", other::<pb::LeaseRevokeRequest>),
    ("/etcdserverpb.Lease/LeaseKeepAlive", other::<pb::LeaseKeepAliveRequest>),
    ("/etcdserverpb.Lease/LeaseTimeToLive", other::<pb::LeaseTimeToLiveRequest>),
    ("/etcdserverpb.Lease/LeaseLeases", other::<pb::LeaseLeasesRequest>),
    ("/etcdserverpb.Cluster/MemberAdd", |message| {
        let urls = peer_urls(&read::<pb::MemberAddRequest>(message)?.peer_urls);
        Ok(Asked::MemberAt(urls.ok_or(status::MEMBER_BAD_URLS)?))
    }),
    ("/etcdserverpb.Cluster/MemberRemove", other::<pb::MemberRemoveRequest>),
    ("/etcdserverpb.Cluster/MemberUpdate", other::<pb::MemberUpdateRequest>),
    ("/etcdserverpb.Cluster/MemberList", other::<pb::MemberListRequest>),
    ("/etcdserverpb.Cluster/MemberPromote", other::<pb::MemberPromoteRequest>),
    ("/etcdserverpb.Maintenance/Alarm", other::<pb::AlarmRequest>),
    ("/etcdserverpb.Maintenance/Status", other::<pb::StatusRequest>),
    ("/etcdserverpb.Maintenance/Defragment", other::<pb::DefragmentRequest>),
    ("/etcdserverpb.Maintenance/Hash", other::<pb::HashRequest>),
    ("/etcdserverpb.Maintenance/HashKV", other::<pb::HashKvRequest>),
    ("/etcdserverpb.Maintenance/Snapshot", other::<pb::SnapshotRequest>),
    ("/etcdserverpb.Maintenance/MoveLeader", other::<pb::MoveLeaderRequest>),
    ("/etcdserverpb.Maintenance/Downgrade", other::<pb::DowngradeRequest>),
    ("/v3lockpb.Lock/Lock", other::<v3lockpb::LockRequest>),
    ("/v3lockpb.Lock/Unlock", other::<v3lockpb::UnlockRequest>),
    ("/v3electionpb.Election/Campaign", other::<v3electionpb::CampaignRequest>),
    ("/v3electionpb.Election/Proclaim", other::<v3electionpb::ProclaimRequest>),
    ("/v3electionpb.Election/Leader", other::<v3electionpb::LeaderRequest>),
    ("/v3electionpb.Election/Observe", other::<v3electionpb::LeaderRequest>),
    ("/v3electionpb.Election/Resign", other::<v3electionpb::ResignRequest>),
    ("/grpc.health.v1.Health/Check", other::<healthpb::HealthCheckRequest>),
    ("/grpc.health.v1.Health/Watch", other::<healthpb::HealthCheckRequest>),
];

fn other<M: Message + Default>(message: Bytes) -> Result<Asked, Status> {
    read::<M>(message).map(|_| Asked::Other)
}

fn read<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|error| status::malformed(&error))
}

/// The bytes that answer a range.
#[must_use]
pub fn answer_range(reply: RangeReply) -> Vec<u8> {
    encode::range(reply, HEADER).encode_to_vec()
}

/// The bytes that answer a call of KV; none if the call is not of KV.
#[must_use]
pub fn answer(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Put(reply) => encode::put(reply, HEADER).encode_to_vec(),
        Reply::DeleteRange(reply) => encode::delete_range(reply, HEADER).encode_to_vec(),
        Reply::Txn(reply) => encode::txn(reply, HEADER).encode_to_vec(),
        Reply::Compact { .. }
        | Reply::LeaseGrant(_)
        | Reply::LeaseRevoke { .. }
        | Reply::Alarm { .. }
        | Reply::Authenticate { .. }
        | Reply::Done { .. } => Vec::new(),
    }
}

const HEADER: Header = Header { cluster: ClusterId(1), member: MemberId(2), term: 3 };

/// How long the client of a call with these headers waits.
#[must_use]
pub fn deadline(headers: &HeaderMap) -> Option<Duration> {
    guard::deadline(headers)
}
