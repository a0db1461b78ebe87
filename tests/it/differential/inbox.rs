//! One watch stream of one server, and all that came from it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::client::{ANSWER_TIME_MAX, Answers, Client, Failure};
use super::wire::*;

const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// A stream that is read at once by a task of its own.
pub struct WatchStream {
    /// `None` once half-closed.
    request_tx: Option<mpsc::Sender<WatchRequest>>,
    received: Arc<Mutex<Received>>,
    changed_rx: watch::Receiver<()>,
    reader: JoinHandle<()>,
}

/// What came, sorted by what it answers.
#[derive(Debug, Default)]
pub struct Received {
    /// Answers to create requests, refusals among them.
    pub created: VecDeque<WatchResponse>,
    /// Answers to cancel requests.
    pub canceled: VecDeque<WatchResponse>,
    /// Answers to progress requests, each with the number of events that each watcher had by then.
    pub progress: VecDeque<(WatchResponse, Vec<usize>)>,
    /// In order of creation; those that are closed stay.
    pub watchers: Vec<Delivered>,
    /// What no server may send.
    pub faults: Vec<String>,
    pub end: Option<Result<(), Failure>>,
}

/// What came for one watcher.
#[derive(Debug, Default)]
pub struct Delivered {
    pub id: i64,
    /// Those that were not taken yet.
    pub events: Vec<Event>,
    pub events_len_total: usize,
    /// One for each message with events.
    pub batches: Vec<Batch>,
    /// The server's own cancel.
    pub canceled: Option<WatchResponse>,
    /// Its client cancelled it.
    pub is_closed: bool,
}

/// The outline of one message with events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub header_revision: i64,
    /// The revisions of the first and the last event, and how many distinct ones there are.
    pub first: i64,
    pub last: i64,
    pub revisions_len: usize,
    pub fragment: bool,
}

impl WatchStream {
    pub fn open(client: &Client) -> WatchStream {
        let (request_tx, answers) = client.bidirectional::<WatchRequest, WatchResponse>(WATCH);
        let (changed_tx, changed_rx) = watch::channel(());
        let received = Arc::default();
        let reader = tokio::spawn(read(answers, Arc::clone(&received), changed_tx));
        WatchStream { request_tx: Some(request_tx), received, changed_rx, reader }
    }

    pub async fn send(&self, union: Option<WatchUnion>) {
        if let Some(request_tx) = &self.request_tx {
            // A stream that ended says so in `received`.
            let _ = request_tx.send(WatchRequest { union }).await;
        }
    }

    pub fn half_close(&mut self) {
        self.request_tx = None;
    }

    pub fn received<T>(&self, look: impl FnOnce(&mut Received) -> T) -> T {
        look(&mut self.received.lock())
    }

    /// Waits until `look` finds something; `None` if it does not come in time, or the stream ended.
    pub async fn wait<T>(&self, mut look: impl FnMut(&mut Received) -> Option<T>) -> Option<T> {
        let mut changed_rx = self.changed_rx.clone();
        let found = async {
            loop {
                changed_rx.mark_unchanged();
                if let Some(found) = look(&mut self.received.lock()) {
                    return Some(found);
                }
                if changed_rx.changed().await.is_err() {
                    // The reader is gone: what it wrote last counts.
                    return look(&mut self.received.lock());
                }
            }
        };
        tokio::time::timeout(ANSWER_TIME_MAX, found).await.ok().flatten()
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut answers: Answers<WatchResponse>, received: Arc<Mutex<Received>>, changed_tx: watch::Sender<()>) {
    loop {
        let answer = answers.next().await;
        let mut received = received.lock();
        match answer {
            Ok(Some(response)) => received.take(response),
            Ok(None) => received.end = Some(Ok(())),
            Err(failure) => received.end = Some(Err(failure)),
        }
        let has_ended = received.end.is_some();
        drop(received);
        changed_tx.send_replace(());
        if has_ended {
            return;
        }
    }
}

impl Received {
    fn take(&mut self, response: WatchResponse) {
        if response.created {
            if !response.events.is_empty() {
                self.faults.push(format!("created with events: {response:?}"));
            }
            if !response.canceled {
                self.watchers.push(Delivered { id: response.watch_id, ..Delivered::default() });
            }
            self.created.push_back(response);
            return;
        }
        if response.watch_id == -1 && !response.canceled {
            let delivered = self.watchers.iter().map(|watcher| watcher.events_len_total).collect();
            self.progress.push_back((response, delivered));
            return;
        }
        let Some(watcher) =
            self.watchers.iter_mut().rev().find(|watcher| watcher.id == response.watch_id && !watcher.is_closed)
        else {
            self.faults.push(format!("for a watcher that is not there: {response:?}"));
            return;
        };
        if response.canceled {
            if !response.events.is_empty() {
                self.faults.push(format!("canceled with events: {response:?}"));
            }
            if response.compact_revision != 0 || !response.cancel_reason.is_empty() {
                watcher.canceled = Some(response);
            } else {
                watcher.is_closed = true;
                self.canceled.push_back(response);
            }
            return;
        }
        if watcher.canceled.is_some() || response.events.is_empty() {
            self.faults.push(format!("neither events nor an answer: {response:?}"));
        }
        watcher.take_events(response);
    }
}

impl Delivered {
    fn take_events(&mut self, response: WatchResponse) {
        let revisions: Vec<i64> = response.events.iter().map(revision_of).collect();
        let (Some(first), Some(last)) = (revisions.first(), revisions.last()) else { return };
        self.batches.push(Batch {
            header_revision: response.header.as_ref().map_or(0, |header| header.revision),
            first: *first,
            last: *last,
            revisions_len: revisions.chunk_by(|a, b| a == b).count(),
            fragment: response.fragment,
        });
        self.events_len_total += response.events.len();
        self.events.extend(response.events);
    }
}

/// The revision of an event.
pub fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
