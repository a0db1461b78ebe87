//! Opening the data folder: checkpoint and log, whose they are, and whether they fit together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::founders::Founders;
use super::options::{Founding, NodeOptions};
use super::quarantine;
use super::start::StartError;
use crate::machine::{Machine, Shared};
use crate::model::LogId;
use crate::raft::{self, StateFiles};
use crate::storage::{self, Identity, Reserve, Storage};
use crate::wal::{self, Recovered, Wal};

/// The folder of log segments, below the data folder.
pub const LOG_DIR: &str = "wal";
/// The checkpoint.
pub const STATE_FILE: &str = "state.redb";
/// Space for a disk that is full.
const RESERVE_FILE: &str = "reserve";

/// What the data folder holds.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) meta: storage::Meta,
    pub(super) wal: Wal,
    pub(super) writer: wal::Writer,
    pub(super) recovered: Recovered,
    pub(super) files: StateFiles,
    pub(super) reserve: Reserve,
    /// Whom the folder began with.
    pub(super) founders: Founders,
}

/// Opens or makes the folder. Nothing runs yet.
///
/// # Errors
/// [`StartError`].
pub(super) fn open(options: &NodeOptions) -> Result<Opened, StartError> {
    if let Some(why) = quarantine::reason(&*options.disk)? {
        if options.agreement_check {
            return Err(StartError::Differs(why));
        }
        tracing::warn!(why, "this member was found to differ from the others, and starts all the same");
    }
    let files = StateFiles {
        disk: options.disk.clone(),
        dir: PathBuf::from("."),
        state: PathBuf::from(STATE_FILE),
        // A page of 4 KiB and what is kept of it beside take 5 KiB.
        cache_bytes: options.memory.pages / 5 * 4,
        values_max: options.memory.values,
    };
    let reserve = Reserve::new(options.disk.clone(), Path::new(RESERVE_FILE));
    let open_storage = || Storage::open(options.disk.clone(), &files.state, files.cache_bytes);
    let storage = match open_storage() {
        // After a crash redb writes before it can be read.
        Err(storage::Error::Full { .. }) if reserve.give()? => open_storage()?,
        opened => opened?,
    };
    let is_new = claim(&storage, Identity { cluster: options.cluster, member: options.member }, &options.founding)?;
    let (log_disk, log_dir) = match &options.log_place {
        Some(place) => (place.disk.clone(), PathBuf::from(".")),
        None => (options.disk.clone(), PathBuf::from(LOG_DIR)),
    };
    let wal_options = wal::Options {
        dir: log_dir,
        segment_bytes: options.segment_bytes,
        cache_bytes_max: options.memory.log_cache,
        metrics: options.metrics.wal.clone(),
    };
    let (wal, writer, recovered) = Wal::open(log_disk, options.random.clone(), wal_options)?;
    let meta = storage.meta()?;
    check_agreement(&meta, storage.installed()?, &recovered, wal.first_index())?;
    if !is_new {
        go_on(options, &wal, (&recovered, &meta))?;
    }
    let founders = Founders::of(options, &storage)?;
    let machine = Machine::load(&storage, files.values_max)?;
    tracing::info!(
        revision = machine.kv.revision().0,
        applied_index = meta.applied.index,
        log_last_index = recovered.last_index,
        "opened the data folder"
    );
    let shared = Arc::new(Shared { machine: RwLock::new(machine), storage: ArcSwap::from_pointee(storage) });
    Ok(Opened { shared, meta, wal, writer, recovered, files, reserve, founders })
}

/// A member that was started before goes on as what it was, or as the only one of its cluster; says so in etcd's words.
fn go_on(options: &NodeOptions, wal: &Wal, before: (&Recovered, &storage::Meta)) -> Result<(), StartError> {
    let (recovered, meta) = before;
    // As far as this member knows.
    let noted = raft::read_marks(recovered)?.committed.map_or(0, |id| id.index);
    let committed = noted.max(meta.applied.index);
    if options.force_new_cluster {
        raft::force_alone(wal, recovered, meta, options.member)?;
        tracing::info!(
            "cluster-id" = %options.cluster,
            "local-member-id" = %options.member,
            "wal-commit-index" = committed,
            // Nobody is left to be asked: all that the log holds counts.
            "commit-index" = wal.last().map_or(committed, |(index, _)| index),
            "forcing restart member"
        );
    } else {
        tracing::info!(
            "cluster-id" = %options.cluster,
            "local-member-id" = %options.member,
            "commit-index" = committed,
            "restarting local member"
        );
    }
    Ok(())
}

/// Makes the folder that of `identity`, if it is nobody's yet; tells whether it was.
fn claim(storage: &Storage, identity: Identity, founding: &Founding) -> Result<bool, StartError> {
    match storage.identity()? {
        None => {
            storage.claim(identity, founding)?;
            Ok(true)
        }
        Some(found) if found == identity => Ok(false),
        Some(found) => Err(StartError::Foreign {
            cluster: identity.cluster,
            member: identity.member,
            found_cluster: found.cluster,
            found_member: found.member,
        }),
    }
}

/// Checks `purged <= snapshot <= D <= synced`: the log must go on where the checkpoint ends. The checkpoint is the snapshot,
/// and what an opened log holds is synced.
///
/// A checkpoint that was received from another member may be ahead of the log: it was put in its place just before the
/// log was to be purged up to there. Raft does that again when it starts.
///
/// # Errors
/// [`StartError::Disagreement`].
pub fn check_agreement(
    meta: &storage::Meta,
    installed: LogId,
    recovered: &Recovered,
    first: Option<u64>,
) -> Result<(), StartError> {
    let purged = recovered.purged.as_ref().map_or(0, |(index, _)| *index);
    let last = recovered.last_index.unwrap_or(purged);
    let applied = meta.applied.index;
    let first = first.unwrap_or(purged + 1);
    if purged <= applied && applied <= last && first <= applied + 1 {
        return Ok(());
    }
    if purged <= applied && applied > last && meta.applied == installed {
        return Ok(());
    }
    Err(StartError::Disagreement { applied, first, last })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_log_must_go_on_where_the_checkpoint_ends() {
        // The last purged entry, the first and the last in the log, D, and whether they fit.
        let cases = [
            (0, None, None, 0, true),
            (0, Some(1), Some(9), 0, true),
            (0, Some(1), Some(9), 9, true),
            (5, Some(6), Some(9), 5, true),
            (5, Some(6), Some(9), 7, true),
            (9, None, None, 9, true),
            // The log is gone, or has lost its end.
            (0, None, None, 3, false),
            (0, Some(1), Some(9), 10, false),
            (5, None, None, 7, false),
            // The checkpoint is older than what was purged.
            (5, Some(6), Some(9), 4, false),
            (9, None, None, 0, false),
            // The log has lost its beginning.
            (0, Some(50), Some(60), 0, false),
            (0, Some(50), Some(60), 20, false),
        ];
        for (purged, first, last, applied, fits) in cases {
            let purged_mark = (purged > 0).then(|| (purged, Bytes::new()));
            let recovered = Recovered { purged: purged_mark, last_index: last, ..Recovered::default() };
            let meta = storage::Meta { applied: LogId { term: 1, index: applied }, ..storage::Meta::default() };
            let result = check_agreement(&meta, LogId::default(), &recovered, first);
            assert_eq!(result.is_ok(), fits, "purged {purged}, {first:?} to {last:?}, D {applied}");
        }
        // Received just before the log was to be purged.
        let recovered = Recovered { last_index: Some(9), ..Recovered::default() };
        let meta = storage::Meta { applied: LogId { term: 1, index: 50 }, ..storage::Meta::default() };
        assert!(check_agreement(&meta, meta.applied, &recovered, Some(1)).is_ok());
        assert!(check_agreement(&meta, LogId { term: 1, index: 40 }, &recovered, Some(1)).is_err());
    }
}
