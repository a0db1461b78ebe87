//! Reads: each waits for the barrier if it must be linearizable, then looks at the local state.

use std::sync::Arc;

use super::Node;
use super::completion::Completions;
use super::error::NodeError;
use crate::machine::{self, Fault};
use crate::metrics::Stopwatch;
use crate::model::{Member, Range, RangeReply, Txn, TxnReply};
use crate::mvcc::{self, PartLimits, RangePart, RangePlace, ReadError};

/// Keys that a read on an async worker may visit without leaving it; about 100 us.
const KEYS_NOW_MAX: usize = 1000;

/// What a read must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Everything that was acknowledged before it began.
    Linearizable,
    /// Whatever this member has.
    Serializable,
}

impl Node {
    /// Reads a range.
    ///
    /// # Errors
    /// [`NodeError::Compacted`], [`NodeError::FutureRevision`]; [`NodeError::Timeout`] without a quorum.
    pub async fn range(&self, query: &Range) -> Result<RangeReply, NodeError> {
        self.pass_barrier(consistency(query)).await?;
        if let Some(reply) = self.range_now_behind_barrier(query) {
            return reply;
        }
        self.range_long(query).await
    }

    /// Reads a range that [`Node::range_now_behind_barrier`] does not answer: long, or in need of the disk.
    ///
    /// # Errors
    /// [`NodeError::Compacted`], [`NodeError::FutureRevision`].
    pub async fn range_long(&self, query: &Range) -> Result<RangeReply, NodeError> {
        let shared = self.shared.clone();
        let query = query.clone();
        // Not on an async worker.
        let (read, watch) = (move || shared.range(&query), Stopwatch::start());
        let reply = self.threading.blocking(read).await.map_err(|_| NodeError::Stopped)?;
        self.ranged(reply.is_ok(), watch);
        reply.map_err(|error| self.unread(error))
    }

    /// Reads the part of a range that begins at `place`; several parts are one state. Only the first passes the barrier.
    ///
    /// Nothing is kept for the next part: whoever wants it asks with the place that this one gave, or not at all.
    ///
    /// # Errors
    /// As [`Node::range`]; [`NodeError::Compacted`] also if that happened since the part before.
    pub async fn range_part(
        &self,
        query: &Range,
        place: &RangePlace,
        limits: PartLimits,
    ) -> Result<RangePart, NodeError> {
        let consistency = if place.is_beginning() { consistency(query) } else { Consistency::Serializable };
        self.pass_barrier(consistency).await?;
        self.range_part_behind_barrier(query, place, limits).await
    }

    pub(super) async fn range_part_behind_barrier(
        &self,
        query: &Range,
        place: &RangePlace,
        limits: PartLimits,
    ) -> Result<RangePart, NodeError> {
        self.barrier.check_running()?;
        let (shared, query, place) = (self.shared.clone(), query.clone(), place.clone());
        // Not on an async worker.
        let (read, watch) = (move || shared.range_part(&query, &place, limits), Stopwatch::start());
        let part = self.threading.blocking(read).await.map_err(|_| NodeError::Stopped)?;
        self.ranged(part.is_ok(), watch);
        part.map_err(|error| self.unread(error))
    }

    /// Answers a range that needs no waiting at all: no barrier round, few keys, all in memory. `None` if this one does;
    /// [`Node::range`] then answers the same.
    #[must_use]
    pub fn range_now(&self, query: &Range) -> Option<Result<RangeReply, NodeError>> {
        if let Err(stopped) = self.barrier.check_running() {
            return Some(Err(stopped));
        }
        if !query.serializable && !self.barrier.is_open() {
            return None;
        }
        self.range_now_behind_barrier(query)
    }

    /// As [`Node::range_now`], for whoever has passed the barrier.
    #[must_use]
    pub fn range_now_behind_barrier(&self, query: &Range) -> Option<Result<RangeReply, NodeError>> {
        let watch = Stopwatch::start();
        let reply = mvcc::range_now(&self.shared.machine.read().kv, query, KEYS_NOW_MAX)?;
        self.ranged(reply.is_ok(), watch);
        Some(reply.map_err(NodeError::from))
    }

    /// Waits until a linearizable read that began before this call may be answered from the local state.
    ///
    /// # Errors
    /// [`NodeError::Timeout`] without a quorum.
    pub async fn pass_barrier_now(&self) -> Result<(), NodeError> {
        self.barrier.pass().await
    }

    /// Tells `completions` under `token` when a linearizable read that began before this call may be answered from the
    /// local state, or why it never may. Many of one connection are told at once.
    pub fn pass_barrier_into(&self, completions: &Arc<Completions>, token: u64) {
        self.barrier.pass_into(completions, token);
    }

    /// Answers a txn that only reads, from one state.
    ///
    /// # Errors
    /// As [`Node::range`]; a range in it is refused as apply would refuse it.
    pub async fn read_txn(&self, txn: &Txn, consistency: Consistency) -> Result<TxnReply, NodeError> {
        self.pass_barrier(consistency).await?;
        let (shared, txn) = (self.shared.clone(), txn.clone());
        let read = move || machine::read_txn(&shared, &txn);
        let reply = self.threading.blocking(read).await.map_err(|_| NodeError::Stopped)?;
        let (reply, tally) = reply.map_err(|fault| self.ended_by(fault))?;
        self.metrics.mvcc.ranges.inc_by(tally.ranges);
        self.metrics.mvcc.txns.inc_by(tally.txns);
        Ok(reply?)
    }

    /// The members of the cluster, in order of id; before it was founded, those who shall found it.
    ///
    /// # Errors
    /// [`NodeError::Timeout`] without a quorum, if it must be linearizable.
    pub async fn members(&self, consistency: Consistency) -> Result<Vec<Member>, NodeError> {
        self.pass_barrier(consistency).await?;
        Ok(self.founders.or_table(&self.shared.machine.read()))
    }

    /// Counts a range, and how long it took to read it.
    pub(super) fn ranged(&self, succeeded: bool, watch: Stopwatch) {
        self.metrics.mvcc.ranges.inc();
        self.metrics.server.ranged(succeeded, watch.elapsed());
    }

    /// What a client is told of a read that failed. If it is this member that failed, it ends.
    pub(super) fn unread(&self, error: ReadError) -> NodeError {
        match error {
            ReadError::Storage(error) => self.ended_by(error.into()),
            ReadError::Compacted { .. } | ReadError::Future { .. } => error.into(),
        }
    }

    /// Ends this member: what it would have to tell cannot be read, and whatever else it has may be damaged as well.
    fn ended_by(&self, fault: Fault) -> NodeError {
        self.failure.set(fault.to_string().into());
        fault.into()
    }

    pub(super) async fn pass_barrier(&self, consistency: Consistency) -> Result<(), NodeError> {
        match consistency {
            Consistency::Serializable => self.barrier.check_running(),
            Consistency::Linearizable => self.barrier.pass().await,
        }
    }
}

fn consistency(query: &Range) -> Consistency {
    if query.serializable { Consistency::Serializable } else { Consistency::Linearizable }
}
