//! openraft's log storage over the write-ahead log.
//!
//! Entries, votes and marks go into the one ordered stream of [`Wal`]; only votes are waited for here. openraft is told
//! of durable entries by the log's own thread.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::log_codec::{decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote};
use super::log_times::LogTimes;
use super::types::{Entry, Tc, TheirLogId, Vote, ours, theirs};
use crate::env::Mistake;
use crate::model::LogId;
use crate::wal::{LogEntry, Recovered, Wal};

/// The most bytes of entries that one read for replication answers; at least one entry is answered.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A handle on the log; clones share it.
#[derive(Debug, Clone)]
pub struct LogStore {
    wal: Wal,
    marks: Arc<Mutex<Marks>>,
    times: Arc<LogTimes>,
}

/// What the log says beside its entries, as last written.
#[derive(Debug)]
struct Marks {
    vote: Option<Vote>,
    committed: Option<TheirLogId>,
    purged: Option<TheirLogId>,
}

impl LogStore {
    /// Serves a log that was just opened.
    ///
    /// # Errors
    /// If what it holds beside entries cannot be read.
    pub(super) fn new(wal: Wal, recovered: &Recovered, times: Arc<LogTimes>) -> io::Result<LogStore> {
        let log_id = |bytes: &[u8]| decode_log_id(bytes).map(theirs);
        let purged = recovered.purged.as_ref().map_or(0, |(index, _)| *index);
        let mut last = recovered.last_index.unwrap_or(purged);
        if Mistake::TruncateDurable.is_made() && last > purged {
            last -= 1;
            wal.truncate_after(last)?;
        }
        let marks = Marks {
            vote: recovered.vote.as_deref().map(decode_vote).transpose()?,
            // Only a hint, so one that is ahead of the entries is dropped: openraft would take what is missing for applied.
            committed: recovered
                .committed
                .as_deref()
                .map(log_id)
                .transpose()?
                .flatten()
                .filter(|id| ours(id).index <= last),
            purged: recovered.purged.as_ref().map(|(_, mark)| log_id(mark)).transpose()?.flatten(),
        };
        Ok(LogStore { wal, marks: Arc::new(Mutex::new(marks)), times })
    }

    fn read(&self, from: u64, until: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        self.wal.read(from, until, bytes_max)?.into_iter().map(decode_entry).collect()
    }
}

impl RaftLogReader<Tc> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, until) = positions(&range);
        // A beginning that was purged may be missing here; see `limited_get_log_entries` for where it may not.
        let from = from.max(self.wal.first_index().unwrap_or(from));
        self.read(from, until, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.marks.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        // Beginning exactly at `start` or nothing: replication sends what it gets after the entry before `start`.
        self.read(start + 1, end.saturating_add(1), READ_BYTES_MAX)
    }
}

impl RaftLogStorage<Tc> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Tc>> {
        let purged = self.marks.lock().purged;
        let last = self.wal.last().and_then(|(index, term)| theirs(LogId { term, index }));
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        if Mistake::VoteTwice.is_made() {
            self.marks.lock().vote = Some(*vote);
            return Ok(());
        }
        let (done_tx, done_rx) = oneshot::channel();
        self.wal.save_vote(
            encode_vote(vote),
            Box::new(move |result| {
                // The receiver is gone only if the whole member is.
                let _ = done_tx.send(result);
            }),
        )?;
        done_rx.await.map_err(|_| io::Error::other("the log has stopped"))??;
        self.marks.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<TheirLogId>) -> io::Result<()> {
        let Some(id) = committed else { return Ok(()) };
        self.wal.save_committed(encode_log_id(ours(&id)))?;
        self.marks.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<TheirLogId>> {
        Ok(self.marks.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Tc>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().map(encode_entry).collect();
        let (last, times) = (entries.last().map(|entry| entry.index), self.times.clone());
        if Mistake::AnswerBeforeDurable.is_made() {
            callback.io_completed(Ok(()));
            return self.wal.append(entries, Box::new(|_| ()));
        }
        let done = move |result: io::Result<()>| {
            if let (Ok(()), Some(last)) = (&result, last) {
                times.note(last);
            }
            callback.io_completed(result);
        };
        self.wal.append(entries, Box::new(done))
    }

    async fn truncate_after(&mut self, last: Option<TheirLogId>) -> io::Result<()> {
        self.wal.truncate_after(last.map_or(0, |id| ours(&id).index))
    }

    async fn purge(&mut self, through: TheirLogId) -> io::Result<()> {
        let id = ours(&through);
        self.wal.purge(id.index, encode_log_id(id))?;
        tracing::debug!("compact-index" = id.index, "compacted Raft logs");
        self.marks.lock().purged = Some(through);
        Ok(())
    }
}

/// Turns openraft's range into our first and one past our last index.
fn positions(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(&index) => index + 1,
        Bound::Excluded(&index) => index + 2,
        Bound::Unbounded => 0,
    };
    let until = match range.end_bound() {
        Bound::Included(&index) => index.saturating_add(2),
        Bound::Excluded(&index) => index.saturating_add(1),
        Bound::Unbounded => u64::MAX,
    };
    (from, until)
}
