//! Commands for the folder of a stopped member: `lodemark check`, whether all of it is right; `lodemark dump`, what it holds;
//! `lodemark defrag`, which writes its checkpoint anew.
//!
//! The first two see what the member would see if it started: they open log and checkpoint by the same functions. Those put things in
//! order first, and nothing may be written here, so they work on an [`crate::env::Overlay`]: what is written stays in
//! memory.
//!
//! ```text
//! <data-dir>/member  <── only read ── Overlay <── Wal::open, Storage::open, Machine::load ── check, dump
//! ```
//!
//! A folder that a process has locked is refused: what is read while it changes means nothing.

mod check;
mod defrag;
mod dump;
mod error;
mod folder;
mod opened;

use std::process::ExitCode;

pub use self::check::{CHECK, Finding, Health, Part, Report, check_folder, main as check};
pub use self::defrag::{DEFRAG, main as defrag};
pub use self::dump::{DUMP, main as dump};
pub use self::error::Error;
pub use self::folder::StoppedFolder;

/// How `lodemark check` is called.
pub const CHECK_USAGE: &str = "\
Usage:

  lodemark check [--data-dir=DIR] [--wal-dir=DIR] [--json]
    Check all that a stopped member keeps: its log, its checkpoint, and whether they fit together. Writes nothing.
      --data-dir          The member's folder. Default default.etcd.
      --wal-dir           The folder of its log, if it is another one than the member itself has noted.
      --json              Tell it as one JSON object.

  lodemark check FILE [--json]
    Check a snapshot, of Lodemark or of etcd: its digest, every page and every row.

The exit status is 0 if all is right, 1 if something is damaged, 2 if it could not be checked.
";

/// How `lodemark dump` is called.
pub const DUMP_USAGE: &str = "\
Usage:

  lodemark dump log [--data-dir=DIR] [--wal-dir=DIR] [--from=INDEX] [--to=INDEX] [--values] [--json]
    Print the entries of a stopped member's log, one a line: index, term, and what they ask for. Writes nothing.
      --from, --to        Only entries from this one, up to this one.
      --values            Print values too; without it only their lengths are told. Passwords never are.

  lodemark dump state [--data-dir=DIR] [--wal-dir=DIR] [--keys=PREFIX] [--limit=N] [--values] [--hash] [--json]
    Print what its checkpoint holds: members, leases, alarms, users and roles, revisions, sizes. Writes nothing. What is
    only in the log is not in it: a member that was stopped in order has all of it in its checkpoint.
      --hash              And the hash that \"etcdctl endpoint hashkv\" tells of the same revision.
      --keys              And the keys that begin with this; --keys= for all of them.
      --limit             So many keys at most. Default 1000; 0 is no limit.

  Both: --data-dir is the member's folder (default default.etcd), --wal-dir that of its log, if it is another one;
  --json prints one JSON object a line.

The exit status is 0 if it was printed, 1 if it is damaged, 2 if it could not be read.
";

/// How `lodemark defrag` is called.
pub const DEFRAG_USAGE: &str = "\
Usage:

  lodemark defrag [--data-dir=DIR]
    Write the checkpoint of a stopped member anew, without what is free in it. Needs as much space beside it as there is
    data. A member that runs does it by itself, or by \"etcdctl defrag\", while everything goes on.
      --data-dir          The member's folder. Default default.etcd.

The exit status is 0 if it was done, 1 if the checkpoint is damaged, 2 if it could not be done; then it is as it was.
";

/// Where the server keeps its data if nothing is said.
const DATA_DIR_DEFAULT: &str = "default.etcd";
/// It could not be done.
const EXIT_UNDONE: u8 = 2;

/// The status for an error that ended a command.
fn fail(error: &Error, usage: &str) -> ExitCode {
    match error {
        Error::Usage(_) => eprintln!("Error: {error}\n{usage}"),
        _ => eprintln!("Error: {error}"),
    }
    if error.is_damage() { ExitCode::FAILURE } else { ExitCode::from(EXIT_UNDONE) }
}
