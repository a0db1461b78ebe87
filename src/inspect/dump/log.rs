//! `lodemark dump log`: the entries.

use std::io;
use std::ops::RangeInclusive;

use super::super::error::Error;
use super::super::folder::StoppedFolder;
use super::super::opened::OpenedLog;
use super::Values;
use super::out::{Line, Out, Told};
use super::words::{participants, request};
use crate::model::LogId;
use crate::raft::{EntryContent, LastVote, read_entry};
use crate::wal::LogEntry;

pub(super) fn dump(
    folder: &StoppedFolder,
    range: RangeInclusive<u64>,
    values: Values,
    out: &mut Out,
) -> Result<(), Error> {
    let in_log = |source| Error::Log { path: folder.log_root.clone(), source };
    let log = OpenedLog::open(folder)?;
    out.line(&summary(&log));
    // Who reads has seen enough if a line finds nobody: then the rest is only checked.
    let mut each = |entry: LogEntry| {
        let at = LogId { term: entry.term, index: entry.index };
        let content =
            read_entry(entry).map_err(|error| in_log(io::Error::other(format!("log entry {at}: {error}"))))?;
        out.line(&line(at, &content, values));
        Ok(())
    };
    log.each(*range.start(), *range.end(), &mut each, in_log)
}

/// What the log is, before its entries.
fn summary(log: &OpenedLog) -> Line {
    let LastVote { term, member, is_committed } =
        log.marks.vote.unwrap_or(LastVote { term: 0, member: crate::model::MemberId(0), is_committed: false });
    Line::new("log")
        .with("segments", log.segments)
        .with("first", log.wal.first_index().unwrap_or(0))
        .with("last", log.wal.last().map_or(0, |(index, _)| index))
        .with("purged", log.purged())
        .with("committed", log.marks.committed.map_or(0, |id| id.index))
        .with("vote_term", term)
        .with("vote_member", Told::Id(member.0))
        .with("vote_committed", is_committed)
        .with("torn_bytes", log.recovered.torn_bytes)
}

fn line(at: LogId, content: &EntryContent, values: Values) -> Line {
    let line = Line::new("entry").with("index", at.index).with("term", at.term);
    match content {
        EntryContent::Blank => line.with("kind", "blank"),
        EntryContent::Membership(who) => {
            let (voters, learners) = participants(who);
            line.with("kind", "membership").with("voters", voters).with("learners", learners)
        }
        EntryContent::Commands(number, requests) => {
            let commands: Vec<Told> = requests.iter().map(|asked| Told::Line(request(asked, values))).collect();
            line.with("kind", "commands").with_some("passed_on_as", *number).with("commands", commands)
        }
    }
}
