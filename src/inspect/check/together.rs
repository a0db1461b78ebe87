//! Log and checkpoint together: whether the one goes on where the other ends.

use std::io;

use super::super::error::Error;
use super::super::folder::StoppedFolder;
use super::super::opened::OpenedLog;
use super::checkpoint::CheckedState;
use super::report::{Finding, Part};
use crate::machine::{Effects, Machine};
use crate::model::{LogId, Request};
use crate::node::check_agreement;
use crate::raft::{EntryContent, read_entry};
use crate::wal::LogEntry;

/// Newest pairs that are kept in memory meanwhile; the others are read again when they are needed.
const VALUES_BYTES_MAX: usize = 64 << 20;

pub(super) fn check(folder: &StoppedFolder, log: &OpenedLog, state: &CheckedState) -> Part {
    let mut part = Part::new("log and checkpoint together", folder.root.clone());
    let CheckedState { meta, installed, .. } = state;
    if let Err(error) = check_agreement(meta, *installed, &log.recovered, log.wal.first_index()) {
        let (file, message) = (part.path.clone(), error.to_string());
        part.damage(Finding { file, offset: None, place: None, message, is_damage: true });
        return part;
    }
    match apply_committed(folder, log, state) {
        Ok(applied) => {
            part.fact("applied behind the checkpoint", applied);
            let waiting = log.last_index().saturating_sub(meta.applied.index + applied);
            part.fact("not known to be committed", waiting);
        }
        Err(error) => part.error(folder, &error),
    }
    part
}

/// Applies what the next start would apply before it hears from a leader; gives how many entries that were.
fn apply_committed(folder: &StoppedFolder, log: &OpenedLog, state: &CheckedState) -> Result<u64, Error> {
    let in_log = |source| Error::Log { path: folder.log_root.clone(), source };
    let CheckedState { storage, meta, .. } = state;
    let mut machine = Machine::load(storage, VALUES_BYTES_MAX)?;
    let applied = meta.applied.index;
    let committed = log.marks.committed.map_or(0, |id| id.index).min(log.last_index());
    let mut each = |entry: LogEntry| {
        let at = LogId { term: entry.term, index: entry.index };
        let fault = |why: String| in_log(io::Error::other(format!("log entry {at}: {why}")));
        // The last of the checkpoint, which must be the same in both.
        if at.index == applied {
            return if at.term == meta.applied.term {
                Ok(())
            } else {
                Err(fault(format!("the checkpoint holds it as of term {}", meta.applied.term)))
            };
        }
        machine.begin_entry(at).map_err(|error| fault(error.to_string()))?;
        if let EntryContent::Commands(_, requests) = read_entry(entry).map_err(|error| fault(error.to_string()))? {
            for Request { caller, command } in requests {
                let mut effects = Effects::default();
                let applied = machine.apply_by(caller.as_ref(), &command, storage, &mut effects);
                applied.map(drop).map_err(|error| fault(error.to_string()))?;
            }
        }
        Ok(())
    };
    log.each(applied.max(1), committed.max(applied), &mut each, in_log)?;
    Ok(committed.saturating_sub(applied))
}
