//! `lodemark snapshot restore`: a data folder of a new cluster.
//!
//! All of the snapshot is checked before anything is made. Members and ids come from the flags, as those of a founded
//! cluster do; keys, history, leases, alarms, users and roles come from the snapshot.

use std::sync::Arc;

use super::arguments::Restore;
use super::error::Error;
use super::folder::{NewFolder, check_empty};
use super::open;
use crate::command::Progress;
use crate::env::RealDisk;
use crate::etcd_file::{self, Revisions, SnapshotFile};
use crate::model::Revision;
use crate::node::{Identity, Restored, Restoring};
use crate::server;
use crate::storage::TableWrite;

pub(super) fn run(restore: &Restore) -> Result<(), Error> {
    let Restore { file, config, wal_dir, check, bump } = restore;
    let refused = |source| Error::Snapshot { path: file.clone(), source };
    check_empty("data-dir", &config.data_dir)?;
    if let Some(wal_dir) = wal_dir {
        // A restored member has no log yet: its first start begins one.
        check_empty("wal-dir", wal_dir)?;
    }
    let snapshot = open(file, *check)?;
    let revisions = snapshot.revisions(bump.is_none()).map_err(refused)?;
    let leases = snapshot.leases().map_err(refused)?;
    let alarms = snapshot.alarms().map_err(refused)?;
    let auth = snapshot.auth().map_err(refused)?;
    let downgrade = snapshot.downgrade().map_err(refused)?;
    let Revisions { newest, compacted } = raised(revisions, *bump)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let founding = runtime.block_on(server::founding(config))?;
    let digest = snapshot.digest();
    let first = u64::from_be_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"));
    let restored = Restored {
        identity: Identity { cluster: founding.cluster, member: founding.member },
        members: founding.members,
        revision: newest,
        compacted,
        chain: first.wrapping_add(bump.unwrap_or(0)),
    };
    let folder = NewFolder::begin(&config.data_dir)?;
    let mut restoring = Restoring::begin(Arc::new(RealDisk::new(folder.unfinished())), restored)?;
    let leases = leases.into_iter().map(TableWrite::Lease);
    let alarms = alarms.into_iter().map(|(member, raised)| TableWrite::Alarms { member, raised });
    let auth = auth.into_iter().map(|(row, content)| TableWrite::Auth { row, content: Some(content) });
    let downgrade = downgrade.map(|target| TableWrite::Downgrade(Some(target)));
    leases.chain(alarms).chain(auth).chain(downgrade).try_for_each(|write| restoring.put(write))?;
    fill(&snapshot, &mut restoring).map_err(|error| match error {
        FillError::Snapshot(source) => refused(source),
        FillError::Storage(error) => error.into(),
    })?;
    restoring.finish()?;
    folder.finish()?;
    eprintln!(
        "restored {} at revision {newest} into {}: member {} of cluster {}",
        file.display(),
        config.data_dir.display(),
        founding.member,
        founding.cluster
    );
    Ok(())
}

/// The revisions of the new store.
fn raised(revisions: Revisions, bump: Option<u64>) -> Result<Revisions, Error> {
    let Some(bump) = bump else { return Ok(revisions) };
    let Revision(revision) = revisions.newest;
    let raised =
        i64::try_from(bump).ok().and_then(|bump| revision.checked_add(bump)).filter(|raised| *raised < i64::MAX);
    let raised = Revision(raised.ok_or(Error::Bump { bump, revision })?);
    Ok(Revisions { newest: raised, compacted: raised })
}

/// Puts all records.
fn fill(snapshot: &SnapshotFile, restoring: &mut Restoring) -> Result<(), FillError> {
    let (mut progress, mut done) = (Progress::new("restored", snapshot.database_bytes()), 0);
    snapshot.each_record(&mut |at, record| {
        // A revision without a change is what the revisions of the store say.
        let Some(record) = record else { return Ok(()) };
        done += record.as_bytes().len() as u64;
        progress.tell(done);
        Ok(restoring.put(TableWrite::Record { at, record })?)
    })
}

/// Why a folder is not filled.
#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Snapshot(#[from] etcd_file::Error),
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_revision_is_compacted_and_does_not_overflow() {
        let revisions = Revisions { newest: Revision(8), compacted: Revision(3) };
        assert_eq!(raised(revisions, None).unwrap(), revisions);
        let expected = Revisions { newest: Revision(108), compacted: Revision(108) };
        assert_eq!(raised(revisions, Some(100)).unwrap(), expected);
        for bump in [u64::MAX, i64::MAX as u64, i64::MAX as u64 - 8] {
            assert!(matches!(raised(revisions, Some(bump)), Err(Error::Bump { revision: 8, .. })), "{bump}");
        }
    }
}
