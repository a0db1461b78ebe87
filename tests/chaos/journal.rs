//! What all clients write down together: one history on one clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::checks::history::{History, Hold, Moment, Operation, Outcome, Request, Server, Watching};

/// Starts that are no real ones begin here; see [`Journal::end`].
const UNCERTAIN_STARTS: u64 = 1 << 32;

/// The history of a run while it is made.
#[derive(Debug)]
pub struct Journal {
    begun: Instant,
    history: Mutex<History>,
    /// Of each member, how often it was started or killed: both begin something new.
    starts: Vec<AtomicU64>,
}

impl Journal {
    /// Nothing has happened yet.
    pub fn new(members: usize) -> Arc<Journal> {
        let starts = (0..members).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Journal { begun: Instant::now(), history: Mutex::default(), starts })
    }

    /// Since the beginning of the run.
    pub fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    /// A member is about to be killed, has ended, or is about to be started.
    pub fn turn(&self, member: usize) {
        self.starts[member].fetch_add(1, Ordering::SeqCst);
    }

    /// Which process a member is now. Members are counted from 1 here.
    pub fn server(&self, member: usize) -> Server {
        Server { member: member as u64 + 1, start: self.starts[member].load(Ordering::SeqCst) }
    }

    /// A client is about to ask; gives the place of the operation. Until it ends, nobody knows what becomes of it.
    pub fn begin(&self, client: u64, member: usize, request: Request) -> usize {
        let server = self.server(member);
        let mut history = self.history.lock();
        let operations = &mut history.operations;
        let (begin, end, outcome) = (self.now(), Moment::MAX, Outcome::Unknown);
        operations.push(Operation { client, server, begin, end, request, outcome });
        operations.len() - 1
    }

    /// A client has an answer, or has given up.
    pub fn end(&self, place: usize, outcome: Outcome) {
        let end = self.now();
        let mut history = self.history.lock();
        let operation = &mut history.operations[place];
        let member = usize::try_from(operation.server.member - 1).expect("it was one of ours");
        if self.server(member) != operation.server {
            // The process before or the one after may have answered: neither is held to it.
            operation.server.start = UNCERTAIN_STARTS + place as u64;
        }
        (operation.end, operation.outcome) = (end, outcome);
    }

    /// A client holds a lock.
    pub fn hold(&self, hold: Hold) {
        self.history.lock().holds.push(hold);
    }

    /// Everything so far, and what watches were told.
    pub fn history(&self, watchings: Vec<Watching>) -> History {
        History { watchings, ..self.history.lock().clone() }
    }
}
