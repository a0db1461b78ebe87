//! The shared read barrier.
//!
//! A linearizable read must not be answered from a state that is older than the read. Asking a quorum for each read
//! would be dear, so reads that wait at the same time share one round: whoever comes while a round runs waits for the
//! next one, which begins after it came.
//!
//! A leader that is the only voter needs no round: nobody else can have acknowledged anything, and everything that it
//! acknowledged is applied here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::error::NodeError;
use super::leadership::Leadership;
use super::proposer::REQUEST_TIMEOUT;
use crate::raft::{Consensus, ReadError};

/// Reads that may wait for the next round; more are refused at once.
const WAITING_MAX: usize = 64 * 1024;
/// How long a round that failed waits before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The reads that wait for the next round.
#[derive(Debug)]
pub(super) struct Barrier {
    waiting: Mutex<Vec<oneshot::Sender<Result<(), NodeError>>>>,
    wanted: Notify,
    leadership: Arc<Leadership>,
    is_closed: AtomicBool,
}

impl Barrier {
    pub(super) fn new(leadership: Arc<Leadership>) -> Arc<Barrier> {
        let (waiting, wanted, is_closed) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Arc::new(Barrier { waiting, wanted, leadership, is_closed })
    }

    /// Tells whether a read that begins now needs no round.
    pub(super) fn is_open(&self) -> bool {
        self.leadership.is_sole_leader()
    }

    /// The claim to lead that opens the barrier.
    pub(super) fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// Lets no read through from now on: the node has stopped or failed.
    pub(super) fn close(&self) {
        // Relaxed: it orders nothing but itself.
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Refuses any read once the barrier is closed.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub(super) fn check_running(&self) -> Result<(), NodeError> {
        if self.is_closed.load(Ordering::Relaxed) { Err(NodeError::Stopped) } else { Ok(()) }
    }

    /// Waits until a read that began before this call may be answered from the local state.
    ///
    /// # Errors
    /// [`NodeError::Timeout`] without a quorum, [`NodeError::Stopped`] at the end.
    pub(super) async fn pass(&self) -> Result<(), NodeError> {
        self.check_running()?;
        if self.is_open() {
            return Ok(());
        }
        let (tx, rx) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= WAITING_MAX {
                waiting.retain(|tx| !tx.is_closed());
                if waiting.len() >= WAITING_MAX {
                    return Err(NodeError::TooManyRequests);
                }
            }
            waiting.push(tx);
        }
        self.wanted.notify_one();
        match tokio::time::timeout(REQUEST_TIMEOUT, rx).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(NodeError::Stopped),
            Err(_) => Err(NodeError::Timeout),
        }
    }

    /// Runs rounds until `stop`.
    pub(super) async fn run(self: Arc<Self>, consensus: Consensus, stop: CancellationToken) {
        while stop.run_until_cancelled(self.wanted.notified()).await.is_some() {
            let round = std::mem::take(&mut *self.waiting.lock());
            let Some(result) = stop.run_until_cancelled(confirm(&consensus)).await else { break };
            for tx in round {
                // A receiver that is gone has given up waiting.
                let _ = tx.send(result.clone());
            }
        }
        self.waiting.lock().clear();
    }
}

/// One round: tried again until it succeeds or the request timeout is over.
async fn confirm(consensus: &Consensus) -> Result<(), NodeError> {
    let attempt = async {
        loop {
            match consensus.read_barrier().await {
                Ok(()) => return Ok(()),
                Err(ReadError::NotLeader(_) | ReadError::NoQuorum) => tokio::time::sleep(RETRY_PAUSE).await,
                Err(ReadError::Stopped(_)) => return Err(NodeError::Stopped),
            }
        }
    };
    tokio::time::timeout(REQUEST_TIMEOUT, attempt).await.unwrap_or(Err(NodeError::Timeout))
}
