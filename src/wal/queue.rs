//! What waits to be written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::Done;
use super::format::{ENTRY_OVERHEAD_BYTES, Record};

/// Operations in order. It has no bound of its own: openraft takes an error for the end of the log, so the callers look
/// at [`Queue::bytes`] before they propose.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    operations: Vec<Operation>,
    /// The newest note of what is committed: it wakes nobody and goes with the next batch.
    committed: Option<Bytes>,
    bytes: usize,
    is_closed: bool,
    failure: Option<Arc<io::Error>>,
}

/// Records that go together, and who hears of it.
pub(super) struct Operation {
    pub(super) records: Vec<Record>,
    pub(super) done: Option<Done>,
    pub(super) bytes: usize,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

/// What the writer has to do next.
#[derive(Debug)]
pub(super) enum Work {
    /// Write these.
    Operations(Vec<Operation>, Option<Bytes>),
    /// Nothing came for a while.
    Idle,
    /// Nothing will come any more.
    Closed(Option<Bytes>),
}

impl Waiting {
    fn take(&mut self) -> Option<Work> {
        if !self.operations.is_empty() {
            let operations = std::mem::take(&mut self.operations);
            return Some(Work::Operations(operations, self.committed.take()));
        }
        self.is_closed.then(|| Work::Closed(self.committed.take()))
    }
}

impl Queue {
    /// # Errors
    /// If the log has failed or was closed.
    pub(super) fn check(&self) -> io::Result<()> {
        let waiting = self.waiting.lock();
        match &waiting.failure {
            Some(failure) => Err(copy(failure)),
            None if waiting.is_closed => Err(io::Error::other("the log is closed")),
            None => Ok(()),
        }
    }

    pub(super) fn push(&self, records: impl IntoIterator<Item = Record>, done: Option<Done>) {
        let records: Vec<Record> = records.into_iter().collect();
        let bytes = records.iter().map(bytes_of).sum();
        let mut waiting = self.waiting.lock();
        if let Some(failure) = waiting.failure.clone() {
            // It failed or ended since the caller checked.
            drop(waiting);
            if let Some(done) = done {
                done(Err(copy(&failure)));
            }
            return;
        }
        waiting.bytes += bytes;
        waiting.operations.push(Operation { records, done, bytes });
        let is_first = waiting.operations.len() == 1;
        drop(waiting);
        if is_first {
            self.changed.notify_one();
        }
    }

    pub(super) fn note_committed(&self, committed: Bytes) {
        self.waiting.lock().committed = Some(committed);
    }

    pub(super) fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Nothing is written any more: gives what still waits, which must hear of it, and so does all that comes later.
    pub(super) fn end(&self) -> Vec<Operation> {
        self.fail(io::Error::other("the log is closed")).1
    }

    /// Waits for work; with `patience` not longer than that.
    pub(super) fn wait(&self, patience: Option<Duration>) -> Work {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(work) = waiting.take() {
                return work;
            }
            match patience {
                None => self.changed.wait(&mut waiting),
                Some(patience) => {
                    let timed_out = self.changed.wait_for(&mut waiting, patience).timed_out();
                    if timed_out && waiting.operations.is_empty() && !waiting.is_closed {
                        return Work::Idle;
                    }
                }
            }
        }
    }

    /// What there is to do now.
    pub(super) fn take(&self) -> Work {
        self.waiting.lock().take().unwrap_or(Work::Idle)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.waiting.lock().failure.is_some()
    }

    /// Operations of so many bytes are written.
    pub(super) fn wrote(&self, bytes: usize) {
        self.waiting.lock().bytes -= bytes;
    }

    /// Notes the error that ended the log, if it is the first; gives what still waits, which must hear of it.
    pub(super) fn fail(&self, error: io::Error) -> (Arc<io::Error>, Vec<Operation>) {
        let mut waiting = self.waiting.lock();
        let failure = waiting.failure.get_or_insert_with(|| Arc::new(error)).clone();
        (failure, std::mem::take(&mut waiting.operations))
    }
}

/// The same error again: errors of the system cannot be cloned.
pub(super) fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn bytes_of(record: &Record) -> usize {
    ENTRY_OVERHEAD_BYTES
        + match record {
            Record::Entry(entry) => entry.payload.len(),
            Record::Vote(bytes) | Record::Committed(bytes) | Record::Purge(_, bytes) => bytes.len(),
            Record::Truncate(_) | Record::Seal => 0,
        }
}
