//! The shared read barrier.
//!
//! A linearizable read must not be answered from a state that is older than the read. Asking a quorum for each read
//! would be dear, so reads that wait at the same time share one round: whoever comes while a round runs waits for the
//! next one, which begins after it came.
//!
//! In a round the leader has a quorum confirm that it still leads, and says up to which entry everything was acknowledged
//! by then; a follower asks it to. The reads go on once this member has applied that entry.
//!
//! A leader that is the only voter needs no round: nobody else can have acknowledged anything, and everything that it
//! acknowledged is applied here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::error::NodeError;
use super::leadership::Leadership;
use super::peers::Peers;
use super::proposer::REQUEST_TIMEOUT;
use crate::env::Mistake;
use crate::peer::{Method, decode_read_index};
use crate::raft::{Consensus, ReadError};

/// Reads that may wait for the next round; more are refused at once.
const WAITING_MAX: usize = 64 * 1024;
/// How long a round that failed waits before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a follower waits for the leader's answer before it asks again.
const READ_INDEX_TIMEOUT: Duration = Duration::from_millis(500);

/// The reads that wait for the next round.
#[derive(Debug)]
pub(super) struct Barrier {
    waiting: Mutex<Vec<oneshot::Sender<Result<u64, NodeError>>>>,
    wanted: Notify,
    leadership: Arc<Leadership>,
    consensus: Consensus,
    peers: Peers,
    applied: Arc<Applied>,
    is_closed: AtomicBool,
}

impl Barrier {
    pub(super) fn new(
        leadership: Arc<Leadership>,
        consensus: Consensus,
        peers: Peers,
        applied: Arc<Applied>,
    ) -> Arc<Barrier> {
        let (waiting, wanted, is_closed) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Arc::new(Barrier { waiting, wanted, leadership, consensus, peers, applied, is_closed })
    }

    /// Tells whether a read that begins now needs no round.
    pub(super) fn is_open(&self) -> bool {
        self.leadership.is_sole_leader()
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
    /// [`NodeError::Timeout`] without a quorum, [`NodeError::LeaderChanged`] if another leads before it is answered,
    /// [`NodeError::Stopped`] at the end.
    pub(super) async fn pass(&self) -> Result<(), NodeError> {
        self.check_running()?;
        if self.is_open() || Mistake::ReadWithoutBarrier.is_made() {
            return Ok(());
        }
        let pass = async {
            let index = self.round().await?;
            self.applied.reach(index).await;
            Ok(())
        };
        tokio::time::timeout(REQUEST_TIMEOUT, pass).await.unwrap_or(Err(NodeError::Timeout))
    }

    /// Joins the next round: gives the index up to which everything was acknowledged when this was called, or later.
    ///
    /// # Errors
    /// As [`Barrier::pass`].
    async fn round(&self) -> Result<u64, NodeError> {
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
        rx.await.unwrap_or(Err(NodeError::Stopped))
    }

    /// Answers a follower's readers: they join a round of this member's own. `None` if it does not lead, or no quorum
    /// confirms that it does.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub(super) async fn round_for_follower(&self) -> Result<Option<u64>, NodeError> {
        if !self.leadership.leads() {
            return Ok(None);
        }
        match self.round().await {
            Ok(index) => Ok(Some(index)),
            Err(NodeError::Stopped) => Err(NodeError::Stopped),
            Err(_) => Ok(None),
        }
    }

    /// Runs rounds until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.wanted.notified()).await.is_some() {
            let round = std::mem::take(&mut *self.waiting.lock());
            let Some(result) = stop.run_until_cancelled(self.confirm()).await else { break };
            for tx in round {
                // A receiver that is gone has given up waiting.
                let _ = tx.send(result.clone());
            }
        }
        self.waiting.lock().clear();
    }

    /// One round: tried again until it succeeds or the request timeout is over.
    async fn confirm(&self) -> Result<u64, NodeError> {
        let leader_before = self.consensus.leader();
        let attempt = async {
            loop {
                if let Some(index) = self.read_index().await? {
                    return Ok(index);
                }
                let leader = self.consensus.leader();
                if leader_before.is_some() && leader.is_some() && leader != leader_before {
                    return Err(NodeError::LeaderChanged);
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, attempt).await.unwrap_or(Err(NodeError::Timeout))
    }

    /// Up to where this member must have applied; `None` if nobody could tell.
    async fn read_index(&self) -> Result<Option<u64>, NodeError> {
        if self.leadership.leads() {
            return match self.consensus.read_index().await {
                Ok(index) => Ok(Some(index)),
                Err(ReadError::NotLeader(_) | ReadError::NoQuorum) => Ok(None),
                Err(ReadError::Stopped(_)) => Err(NodeError::Stopped),
            };
        }
        let Some(leader) = self.leadership.other_leader() else { return Ok(None) };
        let answer = self.peers.ask(leader, Method::ReadIndex, Bytes::new(), READ_INDEX_TIMEOUT).await;
        // Whatever went wrong: it is asked again.
        Ok(answer.ok().and_then(|bytes| decode_read_index(bytes).ok()).flatten())
    }
}
