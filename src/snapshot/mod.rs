//! `lodemark snapshot`: saves, looks at and restores etcd's snapshots, ours and those of a real etcd alike.
//!
//! ```text
//! lodemark snapshot save FILE --endpoints=...          from a running member, as etcdctl does
//! lodemark snapshot status FILE                        what is in it, as etcdutl tells
//! lodemark snapshot restore FILE --data-dir=...        a data folder of a new cluster, as etcdutl makes one
//! ```
//!
//! So the way from etcd and back is one command each: what either has saved, both restore.
//!
//! Source: etcd, `etcdctl/ctlv3/command/snapshot_command.go`, `etcdutl/etcdutl/snapshot_command.go`.

mod arguments;
mod error;
mod folder;
mod restore;
mod save;
mod status;

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

pub use self::arguments::USAGE;
pub(crate) use self::arguments::VERBS;
use self::arguments::{Command, command};
pub use self::error::Error;
use crate::command::{Progress, print};
use crate::env;
use crate::etcd_file::{DigestCheck, SnapshotFile};

/// The arguments are wrong. Source: etcd, `pkg/cobrautl`.
const EXIT_USAGE: u8 = 128;

/// Runs `lodemark snapshot` with the arguments that follow.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let ran = command(arguments).and_then(|command| match command {
        Command::Help => {
            print(USAGE);
            Ok(())
        }
        Command::Save(save) => save::run(&save),
        Command::Status(status) => status::run(&status),
        Command::Restore(restore) => restore::run(&restore),
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ Error::Usage(_)) => {
            eprintln!("Error: {error}\n{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Opens a snapshot and checks all of it.
fn open(path: &Path, check: DigestCheck) -> Result<SnapshotFile, Error> {
    let at = |source| Error::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(at)?;
    let len = file.metadata().map_err(at)?.len();
    let mut progress = Progress::new("checked", len.saturating_mul(2));
    let file: Arc<dyn env::File> = Arc::new(env::RealFile::from(file));
    let opened = SnapshotFile::open(file, check, &mut |done| progress.tell(done));
    opened.map_err(|source| Error::Snapshot { path: path.to_owned(), source })
}
