//! Snapshots of the whole state.
//!
//! The checkpoint is the snapshot: redb holds the state as of its applied entry D, so "building" one means asking for a
//! checkpoint and pinning it. Only sending it, or installing one that was received, moves bytes. What was received is a
//! checkpoint too, built aside and ready to take the place of the present one.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use openraft::RaftSnapshotBuilder;
use parking_lot::Mutex;

use super::checkpoint::Checkpoints;
use super::log_codec::decode_stored_membership;
use super::types::{SnapshotMeta, Tc, theirs};
use crate::model::{Record, SubRevision};
use crate::storage::{self, Frozen};

pub(super) type SnapshotOf = openraft::alias::SnapshotOf<Tc, SnapshotData>;

/// One consistent state of a whole member.
#[derive(Debug, Clone)]
pub enum SnapshotData {
    /// Pinned in this member's storage until dropped.
    Pinned(Pinned),
    /// Received from another member.
    Received(Received),
}

/// A state of this member itself.
#[derive(Debug, Clone)]
pub struct Pinned {
    frozen: Arc<Frozen>,
    /// Hear of it if the state cannot be read.
    checkpoints: Arc<Checkpoints>,
}

/// A checkpoint of another member's state, in a file of its own.
#[derive(Clone)]
pub struct Received {
    /// The file, which has its owner already: it may be found under the name of the checkpoint after a crash.
    pub(super) path: PathBuf,
    /// All of its records until it is installed, unless they are too many. Shared, for openraft asks that snapshots can be
    /// copied.
    pub(super) records: Arc<Mutex<Option<Records>>>,
}

type Records = Vec<(SubRevision, Record)>;

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SnapshotData {
    /// Writes the bytes from `offset` on.
    ///
    /// # Errors
    /// Those of the state and of `out`; a snapshot that was received is not sent on.
    pub(super) fn write_to(&self, offset: u64, out: &mut dyn Write) -> io::Result<()> {
        match self {
            SnapshotData::Pinned(Pinned { frozen, checkpoints }) => {
                frozen.export(&mut Skip { left: offset, out }).map_err(|error| {
                    // Whoever is to have it goes away, or a full disk has closed it under the reader: then it is asked for
                    // again. All else is damage, or a disk that fails.
                    if !matches!(error, storage::Error::Pipe(_) | storage::Error::Closed { .. }) {
                        checkpoints.fail(&error.to_string());
                    }
                    io::Error::other(error)
                })
            }
            SnapshotData::Received(Received { path, .. }) => {
                Err(io::Error::other(format!("the snapshot {} was only received", path.display())))
            }
        }
    }
}

/// Drops the first bytes.
struct Skip<'a> {
    left: u64,
    out: &'a mut dyn Write,
}

impl Write for Skip<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let skipped = usize::try_from(self.left).map_or(data.len(), |left| left.min(data.len()));
        self.left -= skipped as u64;
        if skipped == data.len() && !data.is_empty() {
            return Ok(skipped);
        }
        Ok(skipped + self.out.write(&data[skipped..])?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Builds snapshots by checkpointing.
#[derive(Debug, Clone)]
pub struct SnapshotBuilder {
    pub(super) checkpoints: Arc<Checkpoints>,
}

impl RaftSnapshotBuilder<Tc> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        tracing::info!(
            "local-member-applied-index" = self.checkpoints.latest_applied(),
            "local-member-snapshot-index" = self.checkpoints.applied(),
            "snapshot-forced" = false,
            "triggering snapshot"
        );
        self.checkpoints.flush().await.map_err(|why| io::Error::other(why.to_string()))?;
        let frozen = self.checkpoints.storage().freeze().map_err(io::Error::other)?;
        tracing::info!("snapshot-index" = frozen.meta().applied.index, "saved snapshot to disk");
        snapshot_of(frozen, self.checkpoints.clone())
    }
}

/// Describes a pinned state to openraft.
pub(super) fn snapshot_of(frozen: Frozen, checkpoints: Arc<Checkpoints>) -> io::Result<SnapshotOf> {
    let meta = meta_of(frozen.meta())?;
    let pinned = Pinned { frozen: Arc::new(frozen), checkpoints };
    Ok(SnapshotOf { meta, snapshot: SnapshotData::Pinned(pinned) })
}

/// What a checkpoint means to openraft.
pub(super) fn meta_of(meta: &storage::Meta) -> io::Result<SnapshotMeta> {
    Ok(SnapshotMeta { last_log_id: theirs(meta.applied), last_membership: decode_stored_membership(&meta.membership)? })
}
