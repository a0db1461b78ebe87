//! Giving space back to the disk: the checkpoint's file is written anew while everything else goes on.
//!
//! Source of the lines that are logged: etcd, `server/etcdserver/api/v3rpc/maintenance.go`.

use std::fs::File;
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use super::Node;
use super::error::NodeError;
use super::options::NodeOptions;
use crate::env::Disk;
use crate::raft::Checkpoints;

/// Lets one rewrite follow another.
#[derive(Debug)]
pub(super) struct Defragmenter {
    checkpoints: Arc<Checkpoints>,
    disk: Arc<dyn Disk>,
    /// The lock on the data folder, which the thread holds as well while it runs. A node that has ended holds none.
    folder_lock: Weak<File>,
    /// Held by the thread that rewrites: whoever asked may be gone before it has ended.
    turn: Arc<Mutex<()>>,
}

impl Defragmenter {
    pub(super) fn new(checkpoints: Arc<Checkpoints>, options: &NodeOptions) -> Defragmenter {
        let disk = options.disk.clone();
        let folder_lock = options.folder_lock.as_ref().map(Arc::downgrade).unwrap_or_default();
        Defragmenter { checkpoints, disk, folder_lock, turn: Arc::default() }
    }

    /// Waits until nothing is being rewritten. Checkpoints must be closed, so that nothing begins after it.
    pub(super) async fn ended(&self) {
        drop(self.turn.lock().await);
    }
}

impl Node {
    /// Makes the checkpoint's file as small as what is in it. Local: it needs no quorum. What is compacted and not yet freed
    /// stays; writes and reads go on meanwhile. Several that ask at once are served one after the other.
    ///
    /// # Errors
    /// [`NodeError::Stopped`]; [`NodeError::Fault`] in words if the file could not be written, for want of space for a
    /// second one for example. It is as it was then; if it turned out to be damaged, the node stops.
    pub async fn defragment(&self) -> Result<(), NodeError> {
        let fault = |error: &dyn std::fmt::Display| NodeError::Fault(format!("failed to defragment: {error}").into());
        let Defragmenter { checkpoints, disk, folder_lock, turn } = &self.defragmenter;
        let turn = turn.clone().lock_owned().await;
        let (checkpoints, disk, lock) = (checkpoints.clone(), disk.clone(), folder_lock.upgrade());
        // What was freed and waits to be taken out counts as well.
        checkpoints.flush().await.map_err(|why| fault(&why))?;
        tracing::info!("starting defragment");
        let file_bytes = || self.shared.storage.load().file_bytes().unwrap_or(0);
        let before = file_bytes();
        let rewrite = move || {
            let _held = (turn, lock);
            checkpoints.rewrite(disk)
        };
        let rewritten = self.threading.background("defragment", rewrite).await.map_err(|error| fault(&error))?;
        match rewritten {
            Ok(true) => {
                tracing::info!("db-size-bytes-before" = before, "db-size-bytes" = file_bytes(), "finished defragment");
                Ok(())
            }
            Ok(false) => Err(NodeError::Stopped),
            Err(error) => {
                tracing::error!(%error, "failed to defragment");
                Err(fault(&error))
            }
        }
    }
}
