//! The bytes of votes, log ids, memberships and entries in the write-ahead log and the checkpoint.
//!
//! Everything is little-endian and of fixed width; the log checks the bytes, so these forms carry no checksum.
//!
//! ```text
//! vote        term u64, member u64, committed u8
//! log id      term u64, index u64
//! membership  log id (0-0: none), count u32, { count u32, member u64 * }, count u32, member u64 *
//! payload     kind u8: 0 blank | 1 or 3 commands, batch | 2 membership
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::{EmptyNode, EntryPayload};

use super::batch::{KIND_COMMANDS, KIND_FORWARDED};
use super::types::{Batch, Entry, Membership, Payload, StoredMembership, Vote, ours, theirs};
use crate::model::LogId;
use crate::wal::LogEntry;

const KIND_BLANK: u8 = 0;
const KIND_MEMBERSHIP: u8 = 2;

pub(super) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = BytesMut::with_capacity(17);
    out.put_u64_le(vote.leader_id().term);
    out.put_u64_le(vote.leader_id().voted_for);
    out.put_u8(u8::from(vote.is_committed()));
    out.freeze()
}

pub(super) fn decode_vote(mut bytes: &[u8]) -> io::Result<Vote> {
    let (term, member, committed) = (u64_of(&mut bytes)?, u64_of(&mut bytes)?, u8_of(&mut bytes)?);
    Ok(if committed == 0 { Vote::new(term, member) } else { Vote::new_committed(term, member) })
}

pub(super) fn encode_log_id(id: LogId) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    out.put_u64_le(id.term);
    out.put_u64_le(id.index);
    out.freeze()
}

pub(super) fn decode_log_id(mut bytes: &[u8]) -> io::Result<LogId> {
    Ok(LogId { term: u64_of(&mut bytes)?, index: u64_of(&mut bytes)? })
}

pub(super) fn encode_stored_membership(stored: &StoredMembership) -> Bytes {
    let mut out = BytesMut::new();
    let id = stored.log_id().as_ref().map(ours).unwrap_or_default();
    out.put_slice(&encode_log_id(id));
    put_membership(stored.membership(), &mut out);
    out.freeze()
}

/// Reads a membership; no bytes at all are the membership of a member that was never set up.
pub(super) fn decode_stored_membership(mut bytes: &[u8]) -> io::Result<StoredMembership> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let id = LogId { term: u64_of(&mut bytes)?, index: u64_of(&mut bytes)? };
    Ok(StoredMembership::new(theirs(id), membership_of(&mut bytes)?))
}

pub(super) fn encode_entry(entry: Entry) -> LogEntry {
    let id = ours(&entry.log_id);
    let payload = match entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[KIND_BLANK]),
        // The batch begins with its kind already: the entry's bytes are shared, not copied.
        EntryPayload::Normal(Batch(bytes)) => bytes,
        EntryPayload::Membership(membership) => {
            let mut out = BytesMut::new();
            out.put_u8(KIND_MEMBERSHIP);
            put_membership(&membership, &mut out);
            out.freeze()
        }
    };
    LogEntry { index: id.index, term: id.term, payload }
}

pub(super) fn decode_entry(entry: LogEntry) -> io::Result<Entry> {
    let id = LogId { term: entry.term, index: entry.index };
    let log_id = theirs(id).ok_or_else(|| bad("a log entry at index 0"))?;
    Ok(Entry { log_id, payload: decode_payload(entry.payload)? })
}

fn decode_payload(bytes: Bytes) -> io::Result<Payload> {
    match bytes.first() {
        None => Err(bad("an empty log entry")),
        Some(&KIND_BLANK) => Ok(EntryPayload::Blank),
        Some(&(KIND_COMMANDS | KIND_FORWARDED)) => Ok(EntryPayload::Normal(Batch(bytes))),
        Some(&KIND_MEMBERSHIP) => Ok(EntryPayload::Membership(membership_of(&mut &bytes[1..])?)),
        Some(_) => Err(bad("a log entry of a kind that this version does not know")),
    }
}

fn put_membership(membership: &Membership, out: &mut BytesMut) {
    let configs = membership.get_joint_config();
    out.put_u32_le(u32::try_from(configs.len()).expect("a membership has at most two configurations"));
    for config in configs {
        out.put_u32_le(u32::try_from(config.len()).expect("members are few"));
        config.iter().for_each(|&member| out.put_u64_le(member));
    }
    let nodes: Vec<u64> = membership.nodes().map(|(&id, _)| id).collect();
    out.put_u32_le(u32::try_from(nodes.len()).expect("members are few"));
    nodes.into_iter().for_each(|member| out.put_u64_le(member));
}

fn membership_of(bytes: &mut &[u8]) -> io::Result<Membership> {
    let mut configs = Vec::new();
    for _ in 0..u32_of(bytes)? {
        let mut config = BTreeSet::new();
        for _ in 0..u32_of(bytes)? {
            config.insert(u64_of(bytes)?);
        }
        configs.push(config);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..u32_of(bytes)? {
        nodes.insert(u64_of(bytes)?, EmptyNode::new());
    }
    Membership::new(configs, nodes).map_err(|error| bad(&error.to_string()))
}

fn u64_of(bytes: &mut &[u8]) -> io::Result<u64> {
    bytes.try_get_u64_le().map_err(|_| bad("a number is cut off"))
}

fn u32_of(bytes: &mut &[u8]) -> io::Result<u32> {
    bytes.try_get_u32_le().map_err(|_| bad("a number is cut off"))
}

fn u8_of(bytes: &mut &[u8]) -> io::Result<u8> {
    bytes.try_get_u8().map_err(|_| bad("a number is cut off"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the log holds {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
        Membership::new(configs, BTreeMap::from([1, 2, 3, 4].map(|id| (id, EmptyNode::new())))).expect("valid")
    }

    #[test]
    fn everything_reads_back() {
        for vote in [Vote::new(3, 7), Vote::new_committed(u64::MAX, 0)] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
        let stored = StoredMembership::new(theirs(LogId { term: 2, index: 9 }), membership());
        assert_eq!(decode_stored_membership(&encode_stored_membership(&stored)).unwrap(), stored);
        assert_eq!(decode_stored_membership(b"").unwrap(), StoredMembership::default());
        let log_id = theirs(LogId { term: 2, index: 1 }).unwrap();
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Batch(Bytes::from_static(b"\x01xyz"))),
            EntryPayload::Membership(membership()),
        ] {
            let entry = Entry { log_id, payload };
            assert_eq!(decode_entry(encode_entry(entry.clone())).unwrap(), entry);
        }
    }

    #[test]
    fn cut_off_bytes_are_errors() {
        let stored = encode_stored_membership(&StoredMembership::new(None, membership()));
        for len in 1..stored.len() {
            assert!(decode_stored_membership(&stored[..len]).is_err(), "{len}");
        }
        assert!(decode_vote(&[0; 16]).is_err());
        assert!(decode_payload(Bytes::new()).is_err());
        assert!(decode_payload(Bytes::from_static(&[9])).is_err());
    }
}
