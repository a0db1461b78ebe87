//! `lodemark check`: whether all that a stopped member keeps is right.
//!
//! | part | what is checked |
//! | --- | --- |
//! | log | headers and sequence of segments; checksum, number and order of batches; that entries follow each other, in index and in term; that each can be decoded |
//! | checkpoint | redb's checksum of every page; ours of every row; the sum of every table; that every row can be decoded; that the history above the compacted revision has no gap, and that the writes of each key follow each other |
//! | both | `purged <= D <= last entry`; that D has the same term in both; that what is committed behind D can be applied |
//!
//! Each part is checked by itself, so that damage of one does not hide that of the other; together they are looked at when
//! both are right. A torn end of the log is no damage: nobody was told of what it held.

mod checkpoint;
mod history;
mod log;
mod report;
mod snapshot_file;
mod together;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

pub use self::report::{Finding, Health, Part, Report};
use super::error::Error;
use super::folder::StoppedFolder;
use super::{CHECK_USAGE, DATA_DIR_DEFAULT, EXIT_UNDONE, fail};
use crate::command::{Given, Operands, UsageError, Verb, print};
use crate::node::reason_not_to_start;

/// What may be said with it.
pub const CHECK: Verb =
    Verb { name: "", values: &["data-dir", "wal-dir"], switches: &["json"], operands: Operands::Files };

/// Runs `lodemark check` with the arguments that follow.
#[must_use]
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match run(&mut arguments) {
        Ok(None) => {
            print(CHECK_USAGE);
            ExitCode::SUCCESS
        }
        Ok(Some(Health::Healthy)) => ExitCode::SUCCESS,
        Ok(Some(Health::Damaged)) => ExitCode::FAILURE,
        Ok(Some(Health::Unread)) => ExitCode::from(EXIT_UNDONE),
        Err(error) => fail(&error, CHECK_USAGE),
    }
}

fn run(arguments: &mut dyn Iterator<Item = OsString>) -> Result<Option<Health>, Error> {
    let mut given = Given::read(arguments, &CHECK)?;
    if given.wants_help {
        return Ok(None);
    }
    let is_json = given.switch("json");
    let file = given.optional_operand("check takes one snapshot file, or a folder by --data-dir")?;
    let (data_dir, wal_dir) = (given.take("data-dir"), given.take("wal-dir"));
    let report = match file {
        Some(_) if data_dir.is_some() || wal_dir.is_some() => {
            return Err(UsageError(
                "a snapshot file is checked by itself: leave out --data-dir and --wal-dir".to_owned(),
            )
            .into());
        }
        Some(file) => Report { parts: vec![snapshot_file::check(&PathBuf::from(file))] },
        None => {
            let data_dir = PathBuf::from(data_dir.unwrap_or_else(|| DATA_DIR_DEFAULT.to_owned()));
            let folder = StoppedFolder::open(&data_dir, wal_dir.map(PathBuf::from).as_deref())?;
            check_folder(&folder, &mut report::tell_on_terminal)
        }
    };
    print(&if is_json { report.to_json() } else { report.to_text() });
    Ok(Some(report.health()))
}

/// Checks a stopped member's folder. `told` hears what is about to be checked.
pub fn check_folder(folder: &StoppedFolder, told: &mut dyn FnMut(&'static str)) -> Report {
    let mut parts = Vec::new();
    if let Some(part) = start(folder) {
        parts.push(part);
    }
    told("log");
    let (log_part, log) = log::check(folder);
    told("checkpoint");
    let (state_part, state) = checkpoint::check(folder);
    parts.extend([log_part, state_part]);
    if let (Some(log), Some(state)) = (log, state) {
        told("log and checkpoint together");
        parts.push(together::check(folder, &log, &state));
    }
    told("");
    Report { parts }
}

/// A member that was found to differ from the others does not start, however whole its files are.
fn start(folder: &StoppedFolder) -> Option<Part> {
    let mut part = Part::new("member", folder.root.clone());
    match reason_not_to_start(&folder.disk) {
        Ok(None) => return None,
        Ok(Some(why)) => part.damage(Finding {
            file: folder.root.join("differs"),
            offset: None,
            place: None,
            message: format!(
                "the member was found to differ from the others, and does not start with this data: {why}; remove the \
                 member, delete its data folder and add it anew"
            ),
            is_damage: true,
        }),
        Err(source) => part.error(folder, &Error::Io { path: folder.root.join("differs"), source }),
    }
    Some(part)
}
