//! How far this member has applied the log, for those who wait for it.

use tokio::sync::watch;

/// The last applied index; written by apply.
#[derive(Debug)]
pub(super) struct Applied {
    index_tx: watch::Sender<u64>,
}

impl Applied {
    pub(super) fn new(index: u64) -> Applied {
        Applied { index_tx: watch::Sender::new(index) }
    }

    pub(super) fn set(&self, index: u64) {
        self.index_tx.send_replace(index);
    }

    /// Up to where everything is applied and visible here.
    pub(super) fn index(&self) -> u64 {
        *self.index_tx.borrow()
    }

    /// Whether everything up to `index` is applied and visible here.
    pub(super) fn has_reached(&self, index: u64) -> bool {
        self.index() >= index
    }

    /// Waits until everything up to `index` is applied and visible here.
    pub(super) async fn reach(&self, index: u64) {
        let mut index_rx = self.index_tx.subscribe();
        // An error is impossible while `self` holds the sender.
        let _ = index_rx.wait_for(|&applied| applied >= index).await;
    }
}
