//! A snapshot file: digest, pages and rows.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::super::error::Error;
use super::report::{Finding, Part};
use crate::command::Progress;
use crate::env;
use crate::etcd_file::{self, Digest, DigestCheck, Revisions, SnapshotFile};

/// Checks a snapshot file.
pub(super) fn check(path: &Path) -> Part {
    let mut part = Part::new("snapshot", path.to_path_buf());
    if let Err(error) = find_faults(path, &mut part) {
        let is_damage = error.is_damage();
        let mut message = error.to_string();
        if is_damage {
            message.push_str("; do not restore it: take another snapshot");
        }
        part.damage(Finding { file: path.to_path_buf(), offset: None, place: None, message, is_damage });
    }
    part
}

fn find_faults(path: &Path, part: &mut Part) -> Result<(), Error> {
    let at = |source| Error::Io { path: path.to_path_buf(), source };
    let refused = |source: etcd_file::Error| Error::Snapshot { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(at)?;
    let len = file.metadata().map_err(at)?.len();
    let check = if Digest::is_at_end(len) { DigestCheck::Required } else { DigestCheck::Skipped };
    let mut progress = Progress::new("checked", len.saturating_mul(2));
    let file: Arc<dyn env::File> = Arc::new(env::RealFile::from(file));
    let snapshot = SnapshotFile::open(file, check, &mut |done| progress.tell(done)).map_err(refused)?;
    drop(progress);

    let Revisions { newest, compacted } = snapshot.revisions(true).map_err(refused)?;
    let status = snapshot.status(&mut |_| ()).map_err(refused)?;
    let leases = snapshot.leases().map_err(refused)?;
    snapshot.alarms().map_err(refused)?;
    snapshot.auth().map_err(refused)?;
    snapshot.downgrade().map_err(refused)?;
    part.fact("bytes", status.bytes);
    part.fact("revision", newest.0);
    part.fact("compacted", compacted.0);
    part.fact("keys", status.keys);
    part.fact("leases", leases.len());
    part.fact("version", status.version);
    if check == DigestCheck::Skipped {
        part.note(
            "it does not end with a digest: it is a copy of a database, and only its structure could be checked; a value \
             that was changed in it cannot be told",
        );
    }
    Ok(())
}
