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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::completion::{Completions, Wakes};
use super::error::NodeError;
use super::leadership::Leadership;
use super::peers::Peers;
use super::proposer::REQUEST_TIMEOUT;
use super::readers::{Reader, Waiting};
use crate::env::{Mistake, go_duration};
use crate::metrics::Metrics;
use crate::peer::{Method, decode_read_index};
use crate::raft::{Consensus, ReadError};

/// So many reads in one round are a crowd: then the next round is worth waiting for.
const CROWD: usize = 8;
/// How long after a crowded round began the next one waits, at most, until as many have come again: rounds cost the same for
/// few reads and for many.
const CROWDED_PERIOD: Duration = Duration::from_millis(1);
/// How often it is looked whose time is over, while a round takes long.
const SWEEP_PERIOD: Duration = Duration::from_millis(100);
/// A round that takes so many of these is slow, and so again after as many more. Source: etcd asks again after 500 ms.
const SWEEPS_SLOW: u32 = 5;
/// How long a round that failed waits before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a follower waits for the leader's answer before it asks again.
const READ_INDEX_TIMEOUT: Duration = Duration::from_millis(500);

/// The reads that wait for the next round, and what a round takes.
#[derive(Debug)]
pub(super) struct Barrier {
    waiting: Mutex<Waiting>,
    wanted: Notify,
    leadership: Arc<Leadership>,
    consensus: Consensus,
    peers: Peers,
    applied: Arc<Applied>,
    is_closed: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Barrier {
    pub(super) fn new(
        leadership: Arc<Leadership>,
        consensus: Consensus,
        peers: Peers,
        (applied, metrics): (Arc<Applied>, Arc<Metrics>),
    ) -> Arc<Barrier> {
        let (waiting, wanted, is_closed) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Arc::new(Barrier { waiting, wanted, leadership, consensus, peers, applied, is_closed, metrics })
    }

    /// Tells whether a read that begins now needs no round.
    pub(super) fn is_open(&self) -> bool {
        self.leadership.is_sole_leader() || Mistake::ReadWithoutBarrier.is_made()
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
        if self.is_open() {
            return Ok(());
        }
        let pass = async {
            let index = self.round().await?;
            self.applied.reach(index).await;
            Ok(())
        };
        tokio::time::timeout(REQUEST_TIMEOUT, pass).await.unwrap_or(Err(NodeError::Timeout))
    }

    /// As [`Barrier::pass`], for a read that etcd puts through its log: without a leader its client is told what it is told
    /// of a write.
    ///
    /// # Errors
    /// As [`Barrier::pass`], but [`NodeError::NotProposed`] if nobody leads when the time is over.
    pub(super) async fn pass_in_order(&self) -> Result<(), NodeError> {
        match self.pass().await {
            Err(NodeError::Timeout) if self.leadership.leader().is_none() => Err(NodeError::NotProposed),
            passed => passed,
        }
    }

    /// Joins the next round: gives the index up to which everything was acknowledged when this was called, or later.
    ///
    /// # Errors
    /// As [`Barrier::pass`].
    async fn round(&self) -> Result<u64, NodeError> {
        let (tx, rx) = oneshot::channel();
        self.join(Reader::Task(tx)).map_err(|(error, _)| error)?;
        rx.await.unwrap_or(Err(NodeError::Stopped))
    }

    /// As [`Barrier::pass`], for a connection that is told under a token.
    pub(super) fn pass_into(&self, completions: &Arc<Completions>, token: u64) {
        let reader = Reader::Connection(completions.clone(), token, Instant::now() + REQUEST_TIMEOUT);
        let outcome = match self.check_running() {
            Ok(()) if self.is_open() => return self.tell(|wakes| wakes.let_read(completions.clone(), token, Ok(()))),
            Ok(()) => self.join(reader),
            Err(error) => Err((error, reader)),
        };
        if let Err((error, reader)) = outcome {
            self.refuse([reader], &error);
        }
    }

    /// Lets a reader wait for the next round, if there is room and will be one.
    fn join(&self, reader: Reader) -> Result<(), (NodeError, Reader)> {
        if self.waiting.lock().join(reader)? {
            self.wanted.notify_one();
        }
        Ok(())
    }

    fn tell(&self, what: impl FnOnce(&Wakes)) {
        let wakes = Wakes::default();
        what(&wakes);
        wakes.wake();
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
        let _: Option<()> = stop.run_until_cancelled(self.run_rounds()).await;
        let readers = self.waiting.lock().end_all();
        self.refuse(readers, &NodeError::Stopped);
    }

    async fn run_rounds(self: &Arc<Self>) {
        let mut begins = Instant::now();
        loop {
            self.wanted.notified().await;
            if Instant::now() < begins && self.waiting.lock().is_less_than_before() {
                tokio::select! {
                    () = self.wanted.notified() => {}
                    () = tokio::time::sleep_until(begins) => {}
                }
            }
            let began = Instant::now();
            let len = self.waiting.lock().begin();
            if len == 0 {
                // Whoever asked was taken into the round before.
                continue;
            }
            self.metrics.own.rounds.inc();
            self.metrics.own.round_reads.observe(f64::from(u32::try_from(len).unwrap_or(u32::MAX)));
            begins = if len < CROWD { began } else { began + CROWDED_PERIOD };
            let (mut confirm, mut sweeps) = (std::pin::pin!(self.confirm()), 0);
            let result = loop {
                tokio::select! {
                    biased;
                    result = &mut confirm => break result,
                    // Some have waited for the round before, too.
                    () = tokio::time::sleep(SWEEP_PERIOD) => {
                        let late = self.waiting.lock().take_late(Instant::now());
                        self.refuse(late, &NodeError::Timeout);
                        sweeps += 1;
                        if sweeps % SWEEPS_SLOW == 0 {
                            self.metrics.server.slow_reads.inc();
                        }
                    }
                }
            };
            let readers = self.waiting.lock().end();
            match result {
                Ok(index) => self.let_through(readers, index),
                Err(error) => {
                    self.metrics.server.failed_reads.inc();
                    self.refuse(readers, &error);
                }
            }
        }
    }

    fn refuse(&self, readers: impl IntoIterator<Item = Reader>, error: &NodeError) {
        self.tell(|wakes| readers.into_iter().for_each(|reader| reader.refuse(error, wakes)));
    }

    /// Ends a round that succeeded. Connections are told once apply has come as far as it says.
    fn let_through(self: &Arc<Self>, readers: Vec<Reader>, index: u64) {
        let mut reading = Vec::with_capacity(readers.len());
        for reader in readers {
            match reader {
                // A receiver that is gone has given up waiting.
                Reader::Task(tx) => drop(tx.send(Ok(index))),
                Reader::Connection(completions, token, _) => reading.push((completions, token)),
            }
        }
        let release = |passed: Result<(), NodeError>| {
            move |wakes: &Wakes| {
                for (completions, token) in reading {
                    wakes.let_read(completions, token, passed.clone());
                }
            }
        };
        if self.applied.has_reached(index) {
            return self.tell(release(Ok(())));
        }
        let barrier = self.clone();
        tokio::spawn(async move {
            let reached = tokio::time::timeout(REQUEST_TIMEOUT, barrier.applied.reach(index)).await;
            let passed = reached.map_err(|_| NodeError::Timeout).and_then(|()| barrier.check_running());
            barrier.tell(release(passed));
        });
    }

    /// One round: tried again until it succeeds or the request timeout is over.
    async fn confirm(&self) -> Result<u64, NodeError> {
        let leader_before = self.consensus.leader();
        let attempt = async {
            let mut told = Instant::now();
            loop {
                if let Some(index) = self.read_index().await? {
                    return Ok(index);
                }
                // A member that starts waits for its first leader, which is nothing to tell of.
                if leader_before.is_some() && told.elapsed() >= READ_INDEX_TIMEOUT {
                    told = Instant::now();
                    tracing::warn!(
                        "retry-timeout" = go_duration(READ_INDEX_TIMEOUT),
                        "waiting for ReadIndex response took too long, retrying"
                    );
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
