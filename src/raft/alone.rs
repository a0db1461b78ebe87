//! Making a member the only one of its cluster, for operators who have lost the quorum for good.
//!
//! Two entries are put behind the log before Raft starts: a membership in which this member alone votes, which counts as
//! soon as it is in the log, and the command that removes the others from the table. As the only voter the member then
//! elects itself and commits all that its log holds. Entries that were not committed before are kept: whether somebody
//! was told that they are, this member cannot know.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::{EmptyNode, EntryPayload};

use super::log_codec::{decode_entry, decode_stored_membership, decode_vote, encode_entry};
use super::types::{Batch, Entry, Membership, theirs};
use super::{Proposal, batch};
use crate::model::{Command, LogId, MemberId};
use crate::storage;
use crate::wal::{Recovered, Wal};

/// Entries that are looked through at a time.
const SCAN_ENTRIES: u64 = 1024;
/// Bytes that are looked through at a time; one entry may have more.
const SCAN_BYTES: usize = 16 * 1024 * 1024;

/// Reduces the membership in the log to `member`; does nothing if it is alone already. What was put there is durable no later
/// than anything that Raft writes.
///
/// # Errors
/// If the log cannot be read or written.
pub fn force_alone(wal: &Wal, recovered: &Recovered, meta: &storage::Meta, member: MemberId) -> io::Result<()> {
    let present = last_membership(wal, meta)?;
    let voters = BTreeSet::from([member.0]);
    let alone =
        Membership::new(vec![voters], BTreeMap::from([(member.0, EmptyNode::new())])).map_err(io::Error::other)?;
    if present.as_ref() == Some(&alone) {
        return Ok(());
    }
    let (last_index, last_term) = wal.last().unwrap_or((meta.applied.index, meta.applied.term));
    let voted_term = match &recovered.vote {
        Some(vote) => decode_vote(vote)?.leader_id().term,
        None => 0,
    };
    let term = last_term.max(voted_term);
    let reduce = Proposal::from(&Command::MembersReduce(member));
    let Batch(commands) = batch::encode(None, [&reduce].into_iter());
    let entries = [EntryPayload::Membership(alone), EntryPayload::Normal(Batch(commands))];
    let entries = (last_index + 1..).zip(entries).map(|(index, payload)| {
        let log_id = theirs(LogId { term, index }).ok_or_else(|| io::Error::other("an entry before the first"))?;
        Ok(encode_entry(Entry { log_id, payload }))
    });
    wal.append(entries.collect::<io::Result<Vec<_>>>()?, Box::new(|_| {}))
}

/// The newest membership in the log, or else that of the checkpoint.
fn last_membership(wal: &Wal, meta: &storage::Meta) -> io::Result<Option<Membership>> {
    let stored = decode_stored_membership(&meta.membership)?;
    let mut newest = stored.log_id().is_some().then(|| stored.membership().clone());
    let (Some(mut from), Some((last, _))) = (wal.first_index(), wal.last()) else { return Ok(newest) };
    while from <= last {
        let entries = wal.read(from, (from + SCAN_ENTRIES).min(last + 1), SCAN_BYTES)?;
        from += entries.len().max(1) as u64;
        for entry in entries {
            if let EntryPayload::Membership(membership) = decode_entry(entry)?.payload {
                newest = Some(membership);
            }
        }
    }
    Ok(newest)
}
