//! Answers to long ranges, with a bound on what they hold in memory.
//!
//! ```text
//! short      whole: nobody would notice it
//! long       in windows, each read when the one before was taken; a pin keeps them one state
//! sorted     whole, once there is room for it
//! ```

use super::Node;
use super::error::NodeError;
use super::room::Room;
use crate::metrics::Stopwatch;
use crate::model::{Range, RangeReply, Record};
use crate::mvcc::{self, LongRange, PairBytes};

/// What a range is answered with.
#[derive(Debug)]
pub enum RangeAnswer {
    /// It is short.
    Short(RangeReply),
    /// It is read as it is sent.
    Long(Windows),
    /// It had to be sorted. The room is to be kept as long as the pairs are.
    Sorted(RangeReply, Room),
}

/// The pairs of a long range, to be taken one window after another.
#[derive(Debug)]
pub struct Windows {
    node: Node,
    /// `None` if reading it was given up half-way.
    range: Option<Box<LongRange>>,
    reply: RangeReply,
    bytes: usize,
}

impl Node {
    /// Reads a range that [`Node::range_now_behind_barrier`] does not answer, as [`Node::range_long`] does, but holds only
    /// a part of a long answer in memory. `pair_bytes` tells what a pair takes in the answer.
    ///
    /// # Errors
    /// [`NodeError::Compacted`], [`NodeError::FutureRevision`]; [`NodeError::Timeout`] if it is to be sorted and there is
    /// no room for it within the request timeout.
    pub async fn range_bounded(&self, query: &Range, pair_bytes: PairBytes) -> Result<RangeAnswer, NodeError> {
        let (shared, query) = (self.shared.clone(), query.clone());
        // Not on an async worker.
        let (survey, watch) = (move || shared.bounded_range(&query, pair_bytes), Stopwatch::start());
        let answer = self.threading.blocking(survey).await.map_err(|_| NodeError::Stopped)?;
        self.ranged(answer.is_ok(), watch);
        let unsorted = match answer.map_err(|error| self.unread(error))? {
            mvcc::RangeAnswer::Short(reply) => return Ok(RangeAnswer::Short(reply)),
            mvcc::RangeAnswer::Long(range) => return Ok(RangeAnswer::Long(Windows::new(self.clone(), range))),
            mvcc::RangeAnswer::Unsorted(unsorted) => unsorted,
        };
        let mut room = self.rooms.take(unsorted.bytes()).await?;
        let shared = self.shared.clone();
        let reply = self.threading.blocking(move || shared.sorted_range(&unsorted)).await;
        let reply = reply.map_err(|_| NodeError::Stopped)?.map_err(|error| self.unread(error))?;
        room.shrink(reply.kvs.iter().map(|record| pair_bytes(record.as_bytes().len())).sum());
        Ok(RangeAnswer::Sorted(reply, room))
    }
}

impl Windows {
    fn new(node: Node, range: LongRange) -> Windows {
        Windows { node, reply: range.reply(), bytes: range.bytes(), range: Some(Box::new(range)) }
    }

    /// What is to be said of the whole range, besides its pairs.
    #[must_use]
    pub fn reply(&self) -> &RangeReply {
        &self.reply
    }

    /// What all pairs take in the answer, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The pairs that come next; `None` if there are no more. Given up half-way, it cannot go on.
    ///
    /// # Errors
    /// [`NodeError::Compacted`] after [`Windows::unpin`], or if this member was given another state meanwhile.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, NodeError> {
        let mut range = self.range.take().ok_or(NodeError::Stopped)?;
        if range.is_over() {
            self.range = Some(range);
            return Ok(None);
        }
        if let Some(first) = range.take_first() {
            self.range = Some(range);
            return Ok(Some(first));
        }
        let shared = self.node.shared.clone();
        // Not on an async worker.
        let read = move || shared.next_window(&mut range).map(|kvs| (range, kvs));
        let read = self.node.threading.blocking(read).await.map_err(|_| NodeError::Stopped)?;
        let (range, kvs) = read.map_err(|error| self.node.unread(error))?;
        self.range = Some(range);
        Ok(Some(kvs))
    }

    /// Holds compaction back no longer.
    pub fn unpin(&mut self) {
        if let Some(range) = &mut self.range {
            range.unpin();
        }
    }
}
