//! Commands in the log: the layout of etcd's `InternalRaftRequest`, one field a command.
//!
//! Fields below 2000 are etcd's, with its messages; from 2000 on they are ours (`proto/lodemark/log.proto`). What the
//! proposer stamps (a chosen lease id, the effective TTL, a term) is in the message; all else is the client's own bytes.

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::Proposal;
use crate::model::{Command, Compact, LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke, Member, MemberId, Revision};
use crate::proto::{etcdserverpb as pb, lodemarkpb};

pub(super) const FIELD_PUT: u32 = 4;
pub(super) const FIELD_DELETE_RANGE: u32 = 5;
pub(super) const FIELD_TXN: u32 = 6;
const FIELD_COMPACTION: u32 = 7;
const FIELD_LEASE_GRANT: u32 = 8;
const FIELD_LEASE_REVOKE: u32 = 9;
const FIELD_LEASE_EXPIRE: u32 = 2000;
const FIELD_MEMBER_SET: u32 = 2001;

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
        Command::LeaseExpire(expire) => Proposal::of_message(
            FIELD_LEASE_EXPIRE,
            &lodemarkpb::LeaseExpire { ids: expire.ids.iter().map(|id| id.0).collect(), term: expire.term },
        ),
        Command::MemberSet(member) => Proposal::of_message(
            FIELD_MEMBER_SET,
            &lodemarkpb::Member {
                id: member.id.0,
                name: member.name.clone(),
                peer_urls: member.peer_urls.clone(),
                client_urls: member.client_urls.clone(),
                is_learner: member.is_learner,
            },
        ),
    }
}

/// Reads a command.
///
/// # Errors
/// [`DecodeError`]; the command is then not known to this version, and the member must stop.
pub(super) fn decode(mut request: Bytes) -> Result<Command, DecodeError> {
    let (field, wire_type) = decode_key(&mut request)?;
    if wire_type != WireType::LengthDelimited {
        return Err(DecodeError::Unknown(field));
    }
    if decode_varint(&mut request)? != request.len() as u64 {
        return Err(DecodeError::Truncated);
    }
    Ok(match field {
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
        FIELD_LEASE_EXPIRE => {
            let lodemarkpb::LeaseExpire { ids, term } = Message::decode(request)?;
            Command::LeaseExpire(LeaseExpire { ids: ids.into_iter().map(LeaseId).collect(), term })
        }
        FIELD_MEMBER_SET => {
            let lodemarkpb::Member { id, name, peer_urls, client_urls, is_learner } = Message::decode(request)?;
            Command::MemberSet(Member { id: MemberId(id), name, peer_urls, client_urls, is_learner })
        }
        _ => return Err(DecodeError::Unknown(field)),
    })
}
