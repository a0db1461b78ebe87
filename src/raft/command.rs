//! Commands in the log: the layout of etcd's `InternalRaftRequest`, one field a command.
//!
//! Fields below 2000 are etcd's, with its messages; from 2000 on they are ours (`proto/lodemark/log.proto`). What the
//! proposer stamps (a chosen lease id, the effective TTL, a term) is in the message; all else is the client's own bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::Proposal;
use crate::model::{
    Alarm, AlarmChange, AuthChange, Authenticate, Caller, ClusterVersion, Command, Compact, LeaseCheckpoint,
    LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke, Member, MemberAdd, MemberAttributes, MemberId, MemberUpdate,
    PasswordHash, Permission, Request, Revision,
};
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::{authpb, etcdserverpb as pb, lodemarkpb};
use crate::wal::Demand;

pub(super) const FIELD_PUT: u32 = 4;
pub(super) const FIELD_DELETE_RANGE: u32 = 5;
pub(super) const FIELD_TXN: u32 = 6;
const FIELD_COMPACTION: u32 = 7;
const FIELD_LEASE_GRANT: u32 = 8;
const FIELD_LEASE_REVOKE: u32 = 9;
const FIELD_ALARM: u32 = 10;
const FIELD_HEADER: u32 = 100;
const FIELD_AUTH_ENABLE: u32 = 1000;
const FIELD_AUTH_DISABLE: u32 = 1011;
const FIELD_AUTHENTICATE: u32 = 1012;
const FIELD_USER_ADD: u32 = 1100;
const FIELD_USER_DELETE: u32 = 1101;
const FIELD_USER_CHANGE_PASSWORD: u32 = 1103;
const FIELD_USER_GRANT_ROLE: u32 = 1104;
const FIELD_USER_REVOKE_ROLE: u32 = 1105;
const FIELD_ROLE_ADD: u32 = 1200;
const FIELD_ROLE_DELETE: u32 = 1201;
const FIELD_ROLE_GRANT_PERMISSION: u32 = 1203;
const FIELD_ROLE_REVOKE_PERMISSION: u32 = 1204;
const FIELD_DOWNGRADE: u32 = 1302;
const FIELD_LEASE_EXPIRE: u32 = 2000;
const FIELD_MEMBER_SET: u32 = 2001;
const FIELD_MEMBERS_FOUND: u32 = 2002;
const FIELD_MEMBER_ADD: u32 = 2003;
const FIELD_MEMBER_REMOVE: u32 = 2004;
const FIELD_MEMBER_UPDATE: u32 = 2005;
const FIELD_MEMBER_PROMOTE: u32 = 2006;
const FIELD_MEMBER_ATTRIBUTES: u32 = 2007;
const FIELD_LEASE_CHECKPOINT: u32 = 2008;
const FIELD_MEMBERS_REDUCE: u32 = 2009;

/// Stands for a password hash that is none.
const NO_HASH: &str = "-";

/// Why a log entry cannot be read as commands.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The entry does not begin as one with commands does.
    #[error("the entry holds no commands")]
    Kind,
    /// A command is longer than the entry.
    #[error("a command is cut off")]
    Truncated,
    /// The bytes of a command are no message.
    #[error("a command is malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// An alarm is changed in a way that is not known to this version.
    #[error("a change of alarms is not known to this version")]
    Alarm,
    /// A downgrade goes to what is no version.
    #[error("a downgrade goes to {0:?}, which is no version")]
    Version(String),
    /// A newer version wrote it.
    #[error("a command of kind {0} is not known to this version")]
    Unknown(u32),
}

/// Writes a command that did not come as a client's message.
pub(super) fn encode(command: &Command) -> Proposal {
    match command {
        Command::Put(put) => Proposal::of_message(FIELD_PUT, &pb::PutRequest::from(put)),
        Command::DeleteRange(delete) => Proposal::of_message(FIELD_DELETE_RANGE, &pb::DeleteRangeRequest::from(delete)),
        Command::Txn(txn) => Proposal::of_message(FIELD_TXN, &pb::TxnRequest::from(txn)),
        Command::Compact(compact) => Proposal::of_message(
            FIELD_COMPACTION,
            &pb::CompactionRequest { revision: compact.revision.0, physical: compact.physical },
        ),
        Command::LeaseGrant(grant) => {
            Proposal::of_message(FIELD_LEASE_GRANT, &pb::LeaseGrantRequest { ttl: grant.ttl, id: grant.id.0 })
        }
        Command::LeaseRevoke(revoke) => {
            Proposal::of_message(FIELD_LEASE_REVOKE, &pb::LeaseRevokeRequest { id: revoke.id.0 })
        }
        Command::Alarm(change) => Proposal::of_message(FIELD_ALARM, &encode_alarm(*change)),
        Command::Downgrade(target) => Proposal::of_message(
            FIELD_DOWNGRADE,
            &lodemarkpb::DowngradeInfoSet {
                enabled: target.is_some(),
                ver: target.map(|target| target.to_string()).unwrap_or_default(),
            },
        ),
        Command::Auth(change) => encode_auth(change.clone()),
        Command::Authenticate(Authenticate { user, prefix }) => Proposal::of_message(
            FIELD_AUTHENTICATE,
            &lodemarkpb::Authenticate { name: user.clone(), password: String::new(), simple_token: prefix.clone() },
        ),
        Command::LeaseExpire(expire) => Proposal::of_message(
            FIELD_LEASE_EXPIRE,
            &lodemarkpb::LeaseExpire {
                ids: expire.ids.iter().map(|id| id.0).collect(),
                term: expire.term,
                as_of: expire.as_of,
            },
        ),
        Command::LeaseCheckpoint(checkpoint) => {
            let &LeaseCheckpoint { ref remaining, term, as_of } = checkpoint;
            let left = |&(id, ttl): &(LeaseId, i64)| lodemarkpb::lease_checkpoint::Remaining { id: id.0, ttl };
            Proposal::of_message(
                FIELD_LEASE_CHECKPOINT,
                &lodemarkpb::LeaseCheckpoint { remaining: remaining.iter().map(left).collect(), term, as_of },
            )
        }
        Command::MembersReduce(id) => {
            Proposal::of_message(FIELD_MEMBERS_REDUCE, &lodemarkpb::MembersReduce { id: id.0 })
        }
        Command::MemberSet(member) => Proposal::of_message(FIELD_MEMBER_SET, &encode_member(member)),
        Command::MembersFound(members) => Proposal::of_message(
            FIELD_MEMBERS_FOUND,
            &lodemarkpb::MembersFound { members: members.iter().map(encode_member).collect() },
        ),
        Command::MemberAdd(MemberAdd { member, learners_max }) => Proposal::of_message(
            FIELD_MEMBER_ADD,
            &lodemarkpb::MemberAdd { member: Some(encode_member(member)), learners_max: *learners_max as u64 },
        ),
        Command::MemberRemove(id) => Proposal::of_message(FIELD_MEMBER_REMOVE, &lodemarkpb::MemberRemove { id: id.0 }),
        Command::MemberUpdate(MemberUpdate { id, peer_urls }) => Proposal::of_message(
            FIELD_MEMBER_UPDATE,
            &lodemarkpb::MemberUpdate { id: id.0, peer_urls: peer_urls.clone() },
        ),
        Command::MemberPromote(id) => {
            Proposal::of_message(FIELD_MEMBER_PROMOTE, &lodemarkpb::MemberPromote { id: id.0 })
        }
        Command::MemberAttributes(MemberAttributes { id, name, client_urls }) => Proposal::of_message(
            FIELD_MEMBER_ATTRIBUTES,
            &lodemarkpb::MemberAttributes { id: id.0, name: name.clone(), client_urls: client_urls.clone() },
        ),
    }
}

/// Reads a command.
///
/// # Errors
/// [`DecodeError`]; the command is then not known to this version, and the member must stop.
pub(super) fn decode(request: Bytes) -> Result<Request, DecodeError> {
    let Parts { caller, field, body: request } = parts(request)?;
    let command = match field {
        FIELD_PUT => Command::Put(pb::PutRequest::decode(request)?.into()),
        FIELD_DELETE_RANGE => Command::DeleteRange(pb::DeleteRangeRequest::decode(request)?.into()),
        FIELD_TXN => Command::Txn(pb::TxnRequest::decode(request)?.into()),
        FIELD_COMPACTION => {
            let pb::CompactionRequest { revision, physical } = Message::decode(request)?;
            Command::Compact(Compact { revision: Revision(revision), physical })
        }
        FIELD_LEASE_GRANT => {
            let pb::LeaseGrantRequest { ttl, id } = Message::decode(request)?;
            Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl })
        }
        FIELD_LEASE_REVOKE => {
            let pb::LeaseRevokeRequest { id } = Message::decode(request)?;
            Command::LeaseRevoke(LeaseRevoke { id: LeaseId(id) })
        }
        FIELD_ALARM => Command::Alarm(decode_alarm(&Message::decode(request)?)?),
        FIELD_DOWNGRADE => {
            let lodemarkpb::DowngradeInfoSet { enabled, ver } = Message::decode(request)?;
            let target =
                if enabled { Some(ClusterVersion::parse(&ver).ok_or(DecodeError::Version(ver))?) } else { None };
            Command::Downgrade(target)
        }
        FIELD_LEASE_EXPIRE => {
            let lodemarkpb::LeaseExpire { ids, term, as_of } = Message::decode(request)?;
            Command::LeaseExpire(LeaseExpire { ids: ids.into_iter().map(LeaseId).collect(), term, as_of })
        }
        FIELD_MEMBERS_REDUCE => {
            let lodemarkpb::MembersReduce { id } = Message::decode(request)?;
            Command::MembersReduce(MemberId(id))
        }
        FIELD_MEMBER_SET => Command::MemberSet(decode_member(Message::decode(request)?)),
        FIELD_MEMBERS_FOUND => {
            let lodemarkpb::MembersFound { members } = Message::decode(request)?;
            Command::MembersFound(members.into_iter().map(decode_member).collect())
        }
        FIELD_MEMBER_ADD => {
            let lodemarkpb::MemberAdd { member, learners_max } = Message::decode(request)?;
            let learners_max = usize::try_from(learners_max).unwrap_or(usize::MAX);
            Command::MemberAdd(MemberAdd { member: decode_member(member.unwrap_or_default()), learners_max })
        }
        FIELD_MEMBER_REMOVE => {
            let lodemarkpb::MemberRemove { id } = Message::decode(request)?;
            Command::MemberRemove(MemberId(id))
        }
        FIELD_MEMBER_UPDATE => {
            let lodemarkpb::MemberUpdate { id, peer_urls } = Message::decode(request)?;
            Command::MemberUpdate(MemberUpdate { id: MemberId(id), peer_urls })
        }
        FIELD_MEMBER_PROMOTE => {
            let lodemarkpb::MemberPromote { id } = Message::decode(request)?;
            Command::MemberPromote(MemberId(id))
        }
        FIELD_MEMBER_ATTRIBUTES => {
            let lodemarkpb::MemberAttributes { id, name, client_urls } = Message::decode(request)?;
            Command::MemberAttributes(MemberAttributes { id: MemberId(id), name, client_urls })
        }
        FIELD_LEASE_CHECKPOINT => {
            let lodemarkpb::LeaseCheckpoint { remaining, term, as_of } = Message::decode(request)?;
            let left = |left: lodemarkpb::lease_checkpoint::Remaining| (LeaseId(left.id), left.ttl);
            let remaining = remaining.into_iter().map(left).collect();
            Command::LeaseCheckpoint(LeaseCheckpoint { remaining, term, as_of })
        }
        FIELD_AUTHENTICATE => {
            let lodemarkpb::Authenticate { name, password: _, simple_token } = Message::decode(request)?;
            Command::Authenticate(Authenticate { user: name, prefix: simple_token })
        }
        _ => Command::Auth(decode_auth(field, request)?),
    };
    Ok(Request { caller, command })
}

/// What a command is made of.
pub(super) struct Parts {
    /// Who asks for it.
    pub(super) caller: Option<Caller>,
    /// Which it is.
    pub(super) field: u32,
    /// Its message.
    pub(super) body: Bytes,
}

/// Takes a command apart.
pub(super) fn parts(mut request: Bytes) -> Result<Parts, DecodeError> {
    let (mut field, mut len) = head(&mut request)?;
    let mut caller = None;
    if field == FIELD_HEADER {
        let header = (len <= request.len()).then(|| request.split_to(len)).ok_or(DecodeError::Truncated)?;
        let lodemarkpb::RequestHeader { username, auth_revision } = Message::decode(header)?;
        caller = Some(Caller { user: username, revision: auth_revision });
        (field, len) = head(&mut request)?;
    }
    if len != request.len() {
        return Err(DecodeError::Truncated);
    }
    Ok(Parts { caller, field, body: request })
}

/// Reads which field comes, and how long it is.
fn head(request: &mut Bytes) -> Result<(u32, usize), DecodeError> {
    let (field, wire_type) = decode_key(request)?;
    if wire_type != WireType::LengthDelimited {
        return Err(DecodeError::Unknown(field));
    }
    let len = usize::try_from(decode_varint(request)?).map_err(|_| DecodeError::Truncated)?;
    Ok((field, len))
}

/// Who asks, as it stands before the command.
pub(super) fn encode_caller(caller: &Caller) -> Bytes {
    let header = lodemarkpb::RequestHeader { username: caller.user.clone(), auth_revision: caller.revision };
    let mut out = bytes::BytesMut::new();
    super::batch::put_field(FIELD_HEADER, &header.encode_to_vec(), &mut out);
    out.freeze()
}

/// What a command does to the data.
pub(super) fn demand(field: u32, body: &Bytes) -> Demand {
    let grows = match field {
        FIELD_PUT | FIELD_LEASE_GRANT => true,
        // It was checked when it came; one that cannot be read will not be applied either.
        FIELD_TXN => pb::TxnRequest::decode(body.clone()).is_ok_and(|txn| may_put(&txn)),
        _ => false,
    };
    if grows { Demand::Growing } else { Demand::Freeing }
}

/// What a command counts as beside key and value, in bytes. Source: etcd, `server/storage/quota.go`.
const PUT_COST_BYTES: u64 = 256;
const LEASE_COST_BYTES: u64 = 64;

/// What etcd's quota counts a command as. Nothing for what cannot be read: it is refused for that.
pub(super) fn cost(field: u32, body: &Bytes) -> u64 {
    match field {
        FIELD_PUT => pb::PutRequest::decode(body.clone()).as_ref().map_or(0, put_cost),
        FIELD_TXN => pb::TxnRequest::decode(body.clone()).as_ref().map_or(0, txn_cost),
        FIELD_LEASE_GRANT => LEASE_COST_BYTES,
        _ => 0,
    }
}

fn put_cost(put: &pb::PutRequest) -> u64 {
    PUT_COST_BYTES + (put.key.len() + put.value.len()) as u64
}

fn txn_cost(txn: &pb::TxnRequest) -> u64 {
    use pb::request_op::Request;
    let cost = |op: &pb::RequestOp| match &op.request {
        Some(Request::RequestPut(put)) => put_cost(put),
        Some(Request::RequestTxn(txn)) => txn_cost(txn),
        Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
    };
    let branch = |ops: &[pb::RequestOp]| ops.iter().map(cost).sum::<u64>();
    branch(&txn.success).max(branch(&txn.failure))
}

fn may_put(txn: &pb::TxnRequest) -> bool {
    use pb::request_op::Request;
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(txn)) => may_put(txn),
        Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => false,
    })
}

fn encode_auth(change: AuthChange) -> Proposal {
    let hash = |PasswordHash(hash)| BASE64.encode(hash);
    match change {
        AuthChange::Enable => Proposal::of_message(FIELD_AUTH_ENABLE, &pb::AuthEnableRequest {}),
        AuthChange::Disable => Proposal::of_message(FIELD_AUTH_DISABLE, &pb::AuthDisableRequest {}),
        AuthChange::UserAdd { name, password } => Proposal::of_message(
            FIELD_USER_ADD,
            &pb::AuthUserAddRequest {
                name,
                password: String::new(),
                options: password.is_none().then_some(authpb::UserAddOptions { no_password: true }),
                hashed_password: password.map(hash).unwrap_or_default(),
            },
        ),
        AuthChange::UserDelete { name } => Proposal::of_message(FIELD_USER_DELETE, &pb::AuthUserDeleteRequest { name }),
        AuthChange::UserChangePassword { name, password } => Proposal::of_message(
            FIELD_USER_CHANGE_PASSWORD,
            &pb::AuthUserChangePasswordRequest {
                name,
                password: String::new(),
                // A text that is no base64 is no hash, to etcd too.
                hashed_password: password.map_or_else(|| NO_HASH.to_owned(), hash),
            },
        ),
        AuthChange::UserGrantRole { user, role } => {
            Proposal::of_message(FIELD_USER_GRANT_ROLE, &pb::AuthUserGrantRoleRequest { user, role })
        }
        AuthChange::UserRevokeRole { user, role } => {
            Proposal::of_message(FIELD_USER_REVOKE_ROLE, &pb::AuthUserRevokeRoleRequest { name: user, role })
        }
        AuthChange::RoleAdd { name } => Proposal::of_message(FIELD_ROLE_ADD, &pb::AuthRoleAddRequest { name }),
        AuthChange::RoleDelete { name } => {
            Proposal::of_message(FIELD_ROLE_DELETE, &pb::AuthRoleDeleteRequest { role: name })
        }
        AuthChange::RoleGrantPermission { role, permission } => Proposal::of_message(
            FIELD_ROLE_GRANT_PERMISSION,
            &pb::AuthRoleGrantPermissionRequest { name: role, perm: permission.map(authpb::Permission::from) },
        ),
        AuthChange::RoleRevokePermission { role, key, range_end } => Proposal::of_message(
            FIELD_ROLE_REVOKE_PERMISSION,
            &pb::AuthRoleRevokePermissionRequest { role, key, range_end },
        ),
    }
}

fn decode_auth(field: u32, request: Bytes) -> Result<AuthChange, DecodeError> {
    let hash = |text: String| BASE64.decode(text).ok().map(|hash| PasswordHash(hash.into()));
    Ok(match field {
        FIELD_AUTH_ENABLE => AuthChange::Enable,
        FIELD_AUTH_DISABLE => AuthChange::Disable,
        FIELD_USER_ADD => {
            let pb::AuthUserAddRequest { name, options, hashed_password, .. } = Message::decode(request)?;
            let has_none = options.is_some_and(|options| options.no_password);
            AuthChange::UserAdd { name, password: if has_none { None } else { hash(hashed_password) } }
        }
        FIELD_USER_DELETE => {
            let pb::AuthUserDeleteRequest { name } = Message::decode(request)?;
            AuthChange::UserDelete { name }
        }
        FIELD_USER_CHANGE_PASSWORD => {
            let pb::AuthUserChangePasswordRequest { name, hashed_password, .. } = Message::decode(request)?;
            AuthChange::UserChangePassword { name, password: hash(hashed_password) }
        }
        FIELD_USER_GRANT_ROLE => {
            let pb::AuthUserGrantRoleRequest { user, role } = Message::decode(request)?;
            AuthChange::UserGrantRole { user, role }
        }
        FIELD_USER_REVOKE_ROLE => {
            let pb::AuthUserRevokeRoleRequest { name, role } = Message::decode(request)?;
            AuthChange::UserRevokeRole { user: name, role }
        }
        FIELD_ROLE_ADD => {
            let pb::AuthRoleAddRequest { name } = Message::decode(request)?;
            AuthChange::RoleAdd { name }
        }
        FIELD_ROLE_DELETE => {
            let pb::AuthRoleDeleteRequest { role } = Message::decode(request)?;
            AuthChange::RoleDelete { name: role }
        }
        FIELD_ROLE_GRANT_PERMISSION => {
            let pb::AuthRoleGrantPermissionRequest { name, perm } = Message::decode(request)?;
            AuthChange::RoleGrantPermission { role: name, permission: perm.map(Permission::from) }
        }
        FIELD_ROLE_REVOKE_PERMISSION => {
            let pb::AuthRoleRevokePermissionRequest { role, key, range_end } = Message::decode(request)?;
            AuthChange::RoleRevokePermission { role, key, range_end }
        }
        _ => return Err(DecodeError::Unknown(field)),
    })
}

fn encode_alarm(change: AlarmChange) -> pb::AlarmRequest {
    let (action, Alarm { member, kind }) = match change {
        AlarmChange::Raise(alarm) => (AlarmAction::Activate, alarm),
        AlarmChange::Lower(alarm) => (AlarmAction::Deactivate, alarm),
    };
    pb::AlarmRequest { action: action.into(), member_id: member.0, alarm: pb::AlarmType::from(kind).into() }
}

fn decode_alarm(request: &pb::AlarmRequest) -> Result<AlarmChange, DecodeError> {
    let kind = request.alarm().kind().ok_or(DecodeError::Alarm)?;
    let alarm = Alarm { member: MemberId(request.member_id), kind };
    match AlarmAction::try_from(request.action) {
        Ok(AlarmAction::Activate) => Ok(AlarmChange::Raise(alarm)),
        Ok(AlarmAction::Deactivate) => Ok(AlarmChange::Lower(alarm)),
        Ok(AlarmAction::Get) | Err(_) => Err(DecodeError::Alarm),
    }
}

fn encode_member(member: &Member) -> lodemarkpb::Member {
    let Member { id, name, peer_urls, client_urls, is_learner } = member.clone();
    lodemarkpb::Member { id: id.0, name, peer_urls, client_urls, is_learner }
}

fn decode_member(member: lodemarkpb::Member) -> Member {
    let lodemarkpb::Member { id, name, peer_urls, client_urls, is_learner } = member;
    Member { id: MemberId(id), name, peer_urls, client_urls, is_learner }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AlarmKind, CLUSTER_VERSION};
    use crate::raft::{decode_commands, encode_commands};

    fn member() -> Member {
        Member {
            id: MemberId(7),
            name: "n".into(),
            peer_urls: vec!["p".into(), "q".into()],
            client_urls: vec!["c".into()],
            is_learner: true,
        }
    }

    fn bytes_of(command: &Command) -> Vec<u8> {
        encode_commands([Proposal::from(command)].iter()).to_vec()
    }

    #[test]
    fn puts_and_leases_make_data_grow_wherever_they_stand() {
        let op = |request| pb::RequestOp { request: Some(request) };
        let put = || op(pb::request_op::Request::RequestPut(pb::PutRequest::default()));
        let delete = || op(pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest::default()));
        let txn = |success, failure| pb::TxnRequest { success, failure, ..pb::TxnRequest::default() };
        let nested = |inner| op(pb::request_op::Request::RequestTxn(inner));
        let of = |txn: pb::TxnRequest| Proposal::txn(txn.encode_to_vec().into()).demand();
        assert_eq!(of(txn(vec![delete()], vec![delete()])), Demand::Freeing);
        assert_eq!(of(txn(vec![delete()], vec![put()])), Demand::Growing);
        assert_eq!(of(txn(vec![nested(txn(vec![], vec![put()]))], vec![])), Demand::Growing);
        let of = |command: Command| Proposal::from(&command).demand();
        assert_eq!(of(Command::LeaseGrant(LeaseGrant { id: LeaseId(1), ttl: 1 })), Demand::Growing);
        assert_eq!(of(Command::LeaseRevoke(LeaseRevoke { id: LeaseId(1) })), Demand::Freeing);
        assert_eq!(of(Command::MemberSet(member())), Demand::Freeing);
        assert_eq!(Proposal::put(Bytes::new()).demand(), Demand::Growing);
        assert_eq!(Proposal::delete_range(Bytes::new()).demand(), Demand::Freeing);
    }

    #[test]
    fn commands_about_members_leases_and_the_cluster_read_back_and_keep_their_bytes() {
        // Logs hold them: a change of these bytes is a change of the format. After kind and length come the tag of the
        // field, as a varint of (number << 3 | 2), the length of the message, and the message.
        const ROW: &[u8] = b"\x08\x07\x12\x01n\x1a\x01p\x1a\x01q\x22\x01c\x28\x01";
        let add = MemberAdd { member: member(), learners_max: 1 };
        let update = MemberUpdate { id: MemberId(7), peer_urls: vec!["p".into()] };
        let attributes = MemberAttributes { id: MemberId(7), name: "n".into(), client_urls: vec!["c".into()] };
        let checkpoint =
            |as_of| LeaseCheckpoint { remaining: vec![(LeaseId(4), 300), (LeaseId(5), 0)], term: 3, as_of };
        let expire = |as_of| LeaseExpire { ids: vec![LeaseId(4), LeaseId(5)], term: 3, as_of };
        let alarm = Alarm { member: MemberId(7), kind: AlarmKind::NoSpace };
        let cases: [(Command, u32, Vec<u8>); 16] = [
            (Command::Downgrade(CLUSTER_VERSION.before()), 1302, b"\x08\x01\x12\x053.6.0".into()),
            (Command::Downgrade(None), 1302, Vec::new()),
            (Command::Alarm(AlarmChange::Raise(alarm)), 10, b"\x08\x01\x10\x07\x18\x01".into()),
            (Command::Alarm(AlarmChange::Lower(alarm)), 10, b"\x08\x02\x10\x07\x18\x01".into()),
            (Command::MemberSet(member()), 2001, ROW.into()),
            (Command::MembersFound(vec![member(), Member::default()]), 2002, [b"\x0a\x10", ROW, b"\x0a\x00"].concat()),
            (Command::MemberAdd(add), 2003, [b"\x0a\x10", ROW, b"\x10\x01"].concat()),
            (Command::MemberRemove(MemberId(7)), 2004, b"\x08\x07".into()),
            (Command::MemberUpdate(update), 2005, b"\x08\x07\x12\x01p".into()),
            (Command::MemberPromote(MemberId(7)), 2006, b"\x08\x07".into()),
            (Command::MembersReduce(MemberId(7)), 2009, b"\x08\x07".into()),
            (Command::MemberAttributes(attributes), 2007, b"\x08\x07\x12\x01n\x1a\x01c".into()),
            // As the first versions wrote them, and as they are now.
            (Command::LeaseExpire(expire(0)), 2000, b"\x0a\x02\x04\x05\x10\x03".into()),
            (Command::LeaseExpire(expire(9)), 2000, b"\x0a\x02\x04\x05\x10\x03\x18\x09".into()),
            (
                Command::LeaseCheckpoint(checkpoint(0)),
                2008,
                b"\x0a\x05\x08\x04\x10\xac\x02\x0a\x02\x08\x05\x10\x03".into(),
            ),
            (
                Command::LeaseCheckpoint(checkpoint(9)),
                2008,
                b"\x0a\x05\x08\x04\x10\xac\x02\x0a\x02\x08\x05\x10\x03\x18\x09".into(),
            ),
        ];
        for (command, field, message) in cases {
            let mut request = bytes::BytesMut::new();
            crate::raft::batch::put_field(field, &message, &mut request);
            let bytes = bytes_of(&command);
            assert_eq!(bytes[2..], request[..], "{command:?}");
            assert_eq!(decode_commands(bytes.into()).unwrap(), [command.into()]);
        }
    }
}
