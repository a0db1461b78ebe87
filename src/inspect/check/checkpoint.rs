//! The checkpoint by itself.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::error::Error;
use super::super::folder::StoppedFolder;
use super::super::opened::open_state;
use super::history::History;
use super::report::{Finding, Part};
use crate::env::{DAMAGE_REMEDY, Disk};
use crate::model::LogId;
use crate::node::STATE_FILE;
use crate::raft::read_membership;
use crate::storage::{Meta, Storage};

/// A checkpoint that is whole.
#[derive(Debug)]
pub(super) struct CheckedState {
    pub(super) storage: Storage,
    pub(super) meta: Meta,
    pub(super) installed: LogId,
}

/// Checks the checkpoint; gives it if it is whole.
pub(super) fn check(folder: &StoppedFolder) -> (Part, Option<CheckedState>) {
    let mut part = Part::new("checkpoint", folder.root.join(STATE_FILE));
    match find_faults(folder, &mut part) {
        Ok(state) => {
            let is_whole = part.findings.is_empty();
            (part, Some(state).filter(|_| is_whole))
        }
        Err(error) => {
            part.error(folder, &error);
            (part, None)
        }
    }
}

fn find_faults(folder: &StoppedFolder, part: &mut Part) -> Result<CheckedState, Error> {
    let in_folder = |source| Error::Io { path: folder.root.clone(), source };
    if !folder.disk.exists(Path::new(STATE_FILE)).map_err(in_folder)? {
        part.note("there is no checkpoint: the next start begins one, and applies the log from its first entry");
    }
    for name in folder.disk.list(Path::new("")).map_err(in_folder)? {
        if name.starts_with("snapshot-") || name.ends_with(".new") || name.ends_with(".rewrite") {
            part.note(format!("{name} is what a process that ended has left of its work: the next start removes it"));
        }
    }
    // redb's checksums of all pages, and the format.
    let storage = open_state(folder)?;
    let (meta, installed, identity) = (storage.meta()?, storage.installed()?, storage.identity()?);
    storage.founding()?;
    let (_, participants) = read_membership(&meta.membership)
        .map_err(|error| damaged(part, "meta/membership", &format!("it cannot be decoded: {error}")))
        .unwrap_or_default();
    let small = storage.small_tables()?;
    let history = storage.load_records(1, |_| History::of(&meta))?.pop().expect("one part was asked for");
    let history = history.end();
    for (at, why) in &history.faults {
        let place = format!("records/{at}");
        damaged(part, &place, why);
    }

    if let Some(identity) = identity {
        part.fact("member", identity.member.to_string());
        part.fact("cluster", identity.cluster.to_string());
    }
    part.fact("entry", meta.applied.index);
    part.fact("revision", meta.revision.0);
    part.fact("compacted", meta.compacted.0);
    part.fact("records", history.records);
    part.fact("keys", history.keys);
    part.fact("leases", small.leases.len());
    part.fact("members", small.members.len());
    part.fact("voters", participants.voters.last().map_or(0, BTreeSet::len));
    let leases: BTreeSet<_> = small.leases.iter().map(|lease| lease.id).collect();
    let orphans = history.leased.iter().filter(|(lease, _)| !leases.contains(lease)).map(|(_, keys)| keys).sum::<u64>();
    if orphans > 0 {
        part.note(format!("{orphans} keys name a lease that is not there: they stay until they are deleted"));
    }
    Ok(CheckedState { storage, meta, installed })
}

/// Adds a finding about a row.
fn damaged(part: &mut Part, place: &str, why: &str) {
    let file = part.path.clone();
    let message = format!("{STATE_FILE} is damaged at {place}: {why}; {DAMAGE_REMEDY}");
    part.damage(Finding { file, offset: None, place: Some(place.to_owned()), message, is_damage: true });
}
