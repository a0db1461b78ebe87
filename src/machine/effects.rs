//! What applied commands leave to be done outside.

use super::{AuthEffect, Tally};
use crate::model::{AlarmKind, ClusterVersion, Event, LeaseId, Member, MemberId, Revision};
use crate::storage::TableWrite;

/// What a run of commands leaves to be done; each apply adds to it.
#[derive(Debug, Default)]
pub struct Effects {
    /// For watchers, in order.
    pub events: Vec<Event>,
    /// For the checkpoint, in order.
    pub writes: Vec<TableWrite>,
    /// For the leader's expiry clock, in order.
    pub leases: Vec<LeaseChange>,
    /// The newest compaction.
    pub compacted: Option<Revision>,
    /// Members were added, removed or changed, in order.
    pub members: Vec<MemberChange>,
    /// The cluster has agreed on a version.
    pub version: Option<VersionChange>,
    /// For tokens, and whoever remembers who may do what, in order.
    pub auth: Vec<AuthEffect>,
    /// For those who count.
    pub tally: Tally,
}

/// A lease began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseChange {
    /// It was granted.
    Granted {
        /// Which.
        id: LeaseId,
        /// Its time to live in seconds.
        ttl: i64,
    },
    /// It was revoked or has expired.
    Ended {
        /// Which.
        id: LeaseId,
    },
}

/// What became of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// It was taken in.
    Added(Member),
    /// It was removed for ever; this is what it was.
    Removed(Member),
    /// It has got its vote.
    Promoted(Member),
    /// It is found elsewhere.
    Moved(Member),
    /// It has told its name and where it serves clients.
    Named,
}

impl MemberChange {
    /// What became of a member that was `before`.
    pub(super) fn of(before: Option<&Member>, now: &Member) -> MemberChange {
        match before {
            None => MemberChange::Added(now.clone()),
            Some(before) if before.is_learner && !now.is_learner => MemberChange::Promoted(now.clone()),
            Some(before) if before.peer_urls != now.peer_urls => MemberChange::Moved(now.clone()),
            Some(_) => MemberChange::Named,
        }
    }
}

/// The cluster has agreed on a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionChange {
    /// What it was before; `None` if the cluster begins.
    pub from: Option<ClusterVersion>,
    /// What it is now.
    pub to: ClusterVersion,
}

/// A place in the effects: what comes after it belongs to one command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    writes: usize,
    compacted: Option<Revision>,
}

impl Effects {
    pub(super) fn mark(&self) -> Mark {
        Mark { writes: self.writes.len(), compacted: self.compacted }
    }

    /// Adds one link to the chain: a digest of what one command changed, over that of all before it. Members that have
    /// applied the same log have the same chain; physical compaction is not in it.
    pub(super) fn chain(&self, chain: u64, revision: Revision, mark: Mark) -> u64 {
        let digest = self.writes[mark.writes..].iter().fold(0, digest);
        let compacted = if self.compacted == mark.compacted { 0 } else { self.compacted.map_or(0, |at| at.0) };
        [u64::from(digest), revision.0.cast_unsigned(), compacted.cast_unsigned()].into_iter().fold(chain, mix)
    }
}

/// Takes one write into a digest: all of it, so that no difference between members can hide.
pub(super) fn digest(digest: u32, write: &TableWrite) -> u32 {
    let number = |digest: u32, number: i64| crc32c::crc32c_append(digest, &number.to_le_bytes());
    let id = |digest: u32, id: MemberId| number(digest, id.0.cast_signed());
    // With its length, so that what is in one text cannot pass for being in the next.
    let length = |digest: u32, len: usize| crc32c::crc32c_append(digest, &(len as u64).to_le_bytes());
    let text = |digest: u32, text: &String| crc32c::crc32c_append(length(digest, text.len()), text.as_bytes());
    let texts = |digest: u32, texts: &[String]| texts.iter().fold(length(digest, texts.len()), text);
    match write {
        TableWrite::Record { record, .. } => crc32c::crc32c_append(digest, record.as_bytes()),
        // Not where it was granted: that is the number of the entry itself, and a lease that an earlier version granted has
        // none in the checkpoint of one member and one in the log of another.
        TableWrite::Lease(lease) => number(number(number(digest, lease.id.0), lease.ttl), lease.remaining),
        TableWrite::RemoveLease { id } => number(digest, id.0),
        TableWrite::Member(member) => {
            let digest = text(id(digest, member.id), &member.name);
            let digest = texts(texts(digest, &member.peer_urls), &member.client_urls);
            number(digest, i64::from(member.is_learner))
        }
        TableWrite::RemoveMember(member) | TableWrite::Removed(member) => id(digest, *member),
        TableWrite::Auth { row, content } => {
            let digest = number(digest, row.cast_signed());
            content.as_ref().map_or(digest, |content| crc32c::crc32c_append(digest, &content.to_bytes()))
        }
        TableWrite::Alarms { member, raised } => {
            let flags = AlarmKind::ALL.map(|kind| i64::from(raised.has(kind)));
            flags.into_iter().fold(id(digest, *member), number)
        }
        TableWrite::Downgrade(target) => {
            let numbers = target.map(|ClusterVersion { major, minor }| [major, minor]);
            numbers.into_iter().flatten().fold(digest, |digest, part| number(digest, part.cast_signed()))
        }
        TableWrite::RemoveRecord { .. } => digest,
    }
}

/// Folds a word into the chain: multiply and shift, so that every bit moves many.
fn mix(chain: u64, word: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (chain ^ word).wrapping_mul(ODD);
    mixed ^ (mixed >> 32)
}
