//! `lodemark dump`: what a stopped member's log and checkpoint hold, as text or as JSON, a line at a time.
//!
//! Neither is ever in memory as a whole: entries are read in pieces, and keys are looked for a window at a time ([`keys`]).
//! Passwords and their hashes are never printed, values only if that is asked for.

mod keys;
mod log;
mod out;
mod state;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use self::out::Out;
use self::state::Wanted;
use super::error::Error;
use super::folder::StoppedFolder;
use super::{DATA_DIR_DEFAULT, DUMP_USAGE, fail};
use crate::command::{Given, Operands, UsageError, Verb, print, text};

const KEYS_DEFAULT: u64 = 1000;

/// What may be said with it.
pub const DUMP: [Verb; 2] = [
    Verb {
        name: "log",
        values: &["data-dir", "wal-dir", "from", "to"],
        switches: &["values", "json"],
        operands: Operands::None,
    },
    Verb {
        name: "state",
        values: &["data-dir", "wal-dir", "keys", "limit"],
        switches: &["values", "hash", "json"],
        operands: Operands::None,
    },
];

/// Whether values are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// As they are.
    Shown,
    /// Only their lengths.
    Hidden,
}

/// Runs `lodemark dump` with the arguments that follow.
#[must_use]
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match run(&mut arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, DUMP_USAGE),
    }
}

fn run(arguments: &mut dyn Iterator<Item = OsString>) -> Result<(), Error> {
    let what = arguments.next().map(text).transpose()?;
    let verb = match what.as_deref() {
        None | Some("-h" | "--help" | "help") => {
            print(DUMP_USAGE);
            return Ok(());
        }
        Some(name) => DUMP.iter().find(|verb| verb.name == name).ok_or_else(|| {
            UsageError(format!("unknown command {name:?} for \"lodemark dump\": there are log and state"))
        })?,
    };
    let mut given = Given::read(arguments, verb)?;
    if given.wants_help {
        print(DUMP_USAGE);
        return Ok(());
    }
    let values = if given.switch("values") { Values::Shown } else { Values::Hidden };
    let mut out = Out::to_stdout(given.switch("json"));
    let (from, to) = (given.number("from")?.unwrap_or(1), given.number("to")?.unwrap_or(u64::MAX));
    let (prefix, limit) = (given.take("keys"), given.number("limit")?.unwrap_or(KEYS_DEFAULT));
    let data_dir = PathBuf::from(given.take("data-dir").unwrap_or_else(|| DATA_DIR_DEFAULT.to_owned()));
    let wal_dir = given.take("wal-dir").map(PathBuf::from);
    let folder = StoppedFolder::open(&data_dir, wal_dir.as_deref())?;
    match verb.name {
        "log" => log::dump(&folder, from..=to, values, &mut out),
        _ => {
            let limit = if limit == 0 { u64::MAX } else { limit };
            let keys = prefix.map(|prefix| (prefix, limit));
            state::dump(&folder, &Wanted { keys, values, hash: given.switch("hash") }, &mut out)
        }
    }
}
