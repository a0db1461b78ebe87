//! Ways for an outcome to reach whoever waits for it.
//!
//! A connection that has hundreds of puts on their way would be woken hundreds of times if each had a channel of its
//! own. [`Completions`] is one queue for the whole connection: an apply run fills it, or a round of the read barrier, and
//! [`Wakes`] wakes its owner once after the run.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::{NodeError, Outcome};

/// What a connection waited for.
#[derive(Debug)]
pub enum Completed {
    /// A command was applied, or refused.
    Command(Outcome),
    /// A read may now be answered from the local state, or not at all.
    Barrier(Result<(), NodeError>),
}

/// What waits to be taken by one connection. It never holds more than the connection has asked for.
#[derive(Debug, Default)]
pub struct Completions {
    ready: Mutex<Vec<(u64, Completed)>>,
    owner: AtomicWaker,
}

impl Completions {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Arc<Completions> {
        Arc::default()
    }

    /// Moves what is there to `out`, with the tokens it was asked for under. Pending if there is nothing; the task is
    /// woken when there is.
    pub fn poll_take(&self, cx: &mut Context<'_>, out: &mut Vec<(u64, Completed)>) -> Poll<()> {
        if self.take(out) {
            return Poll::Ready(());
        }
        self.owner.register(cx.waker());
        // Once more: something may have come between the look and the registration.
        if self.take(out) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take(&self, out: &mut Vec<(u64, Completed)>) -> bool {
        let mut ready = self.ready.lock();
        let any = !ready.is_empty();
        out.append(&mut ready);
        any
    }

    /// Adds something; tells whether the owner must be woken for it.
    fn push(&self, token: u64, completed: Completed) -> bool {
        let mut ready = self.ready.lock();
        ready.push((token, completed));
        ready.len() == 1
    }
}

/// Whoever waits for the outcome of one command.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A task of its own.
    Task(oneshot::Sender<Outcome>),
    /// A connection that has many.
    Connection(Arc<Completions>, u64),
}

/// Connections that have something to take and are still to be woken.
#[derive(Debug, Default)]
pub(super) struct Wakes(Mutex<Vec<Arc<Completions>>>);

impl Wakes {
    /// Hands an outcome over. A connection is only noted: [`Wakes::wake`] wakes it.
    pub(super) fn complete(&self, waiter: Waiter, outcome: Outcome) {
        match waiter {
            Waiter::Task(tx) => {
                // A receiver that is gone has given up waiting.
                let _ = tx.send(outcome);
            }
            Waiter::Connection(completions, token) => self.note(completions, token, Completed::Command(outcome)),
        }
    }

    /// Tells a connection whether the read under this token may be answered. It is only noted, too.
    pub(super) fn let_read(&self, completions: Arc<Completions>, token: u64, passed: Result<(), NodeError>) {
        self.note(completions, token, Completed::Barrier(passed));
    }

    fn note(&self, completions: Arc<Completions>, token: u64, completed: Completed) {
        if completions.push(token, completed) {
            self.0.lock().push(completions);
        }
    }

    /// Wakes each noted connection once.
    pub(super) fn wake(&self) {
        let noted = std::mem::take(&mut *self.0.lock());
        for completions in noted {
            completions.owner.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::model::{Reply, Revision};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_run_of_outcomes_wakes_the_connection_once() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let (completions, wakes, mut out) = (Completions::new(), Wakes::default(), Vec::new());
        assert!(completions.poll_take(&mut cx, &mut out).is_pending());
        for token in 0..100 {
            let reply = Reply::Done { revision: Revision(2) };
            wakes.complete(Waiter::Connection(completions.clone(), token), Ok(reply));
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        wakes.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(completions.poll_take(&mut cx, &mut out).is_ready());
        assert_eq!(out.len(), 100);
    }
}
