//! Snapshots of the whole state.
//!
//! The checkpoint is the snapshot: redb holds the state as of its applied entry D, so "building" one means asking for a
//! checkpoint and pinning it. Only sending it, or installing one that was received, moves bytes.

use std::io;
use std::sync::Arc;

use openraft::RaftSnapshotBuilder;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};

use super::checkpoint::Checkpoints;
use super::log_codec::decode_stored_membership;
use super::types::{Tc, theirs};
use crate::storage::{self, Frozen};

/// One consistent state of the whole member, pinned in its storage until dropped.
#[derive(Debug, Clone)]
pub struct SnapshotData(pub(super) Arc<Frozen>);

/// Builds snapshots by checkpointing.
#[derive(Debug, Clone)]
pub struct SnapshotBuilder {
    pub(super) checkpoints: Arc<Checkpoints>,
}

impl RaftSnapshotBuilder<Tc> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Tc, SnapshotData>> {
        self.checkpoints.flush().await.map_err(|why| io::Error::other(why.to_string()))?;
        let frozen = self.checkpoints.storage().freeze().map_err(io::Error::other)?;
        snapshot_of(frozen)
    }
}

/// Describes a pinned state to openraft.
pub(super) fn snapshot_of(frozen: Frozen) -> io::Result<SnapshotOf<Tc, SnapshotData>> {
    let meta = meta_of(frozen.meta())?;
    Ok(SnapshotOf::<Tc, _> { meta, snapshot: SnapshotData(Arc::new(frozen)) })
}

/// What a checkpoint means to openraft.
pub(super) fn meta_of(meta: &storage::Meta) -> io::Result<SnapshotMetaOf<Tc>> {
    Ok(SnapshotMetaOf::<Tc> {
        last_log_id: theirs(meta.applied),
        last_membership: decode_stored_membership(&meta.membership)?,
    })
}
