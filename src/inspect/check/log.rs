//! The log by itself.

use std::io;

use super::super::error::Error;
use super::super::folder::StoppedFolder;
use super::super::opened::OpenedLog;
use super::report::Part;
use crate::raft::read_entry;

/// Checks the log; gives it if it is whole.
pub(super) fn check(folder: &StoppedFolder) -> (Part, Option<OpenedLog>) {
    let mut part = Part::new("log", folder.log_root.clone());
    let checked = OpenedLog::open(folder).and_then(|log| {
        each_entry(folder, &log)?;
        Ok(log)
    });
    match checked {
        Ok(log) => {
            describe(&log, &mut part);
            (part, Some(log))
        }
        Err(error) => {
            part.error(folder, &error);
            (part, None)
        }
    }
}

fn describe(log: &OpenedLog, part: &mut Part) {
    part.fact("segments", log.segments);
    part.fact("first entry", log.wal.first_index().unwrap_or(0));
    part.fact("last entry", log.wal.last().map_or(0, |(index, _)| index));
    part.fact("last term", log.wal.last().map_or(0, |(_, term)| term));
    part.fact("purged", log.purged());
    part.fact("committed", log.marks.committed.map_or(0, |id| id.index));
    if log.recovered.torn_bytes > 0 {
        part.note(format!(
            "{} bytes at its end are torn: a batch that was being written when the process ended, of which nobody was \
             told; the next start cuts them off",
            log.recovered.torn_bytes
        ));
    }
    if log.segments == 0 {
        part.note("there is no log: the next start begins one");
    }
}

/// Reads every entry as apply would. Opening has checked that they follow each other in index.
fn each_entry(folder: &StoppedFolder, log: &OpenedLog) -> Result<(), Error> {
    let in_log = |source| Error::Log { path: folder.log_root.clone(), source };
    let mut last_term = log.marks.purged.map_or(0, |id| id.term);
    let mut read = |entry: crate::wal::LogEntry| {
        let (index, term) = (entry.index, entry.term);
        if term < last_term {
            let why = format!("log entry {index} is of term {term}, and the one before it of {last_term}");
            return Err(in_log(io::Error::other(why)));
        }
        last_term = term;
        read_entry(entry)
            .map(drop)
            .map_err(|error| in_log(io::Error::other(format!("log entry {index} of term {term}: {error}"))))
    };
    log.each(0, u64::MAX, &mut read, in_log)
}
