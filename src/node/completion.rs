//! Ways for an outcome to reach whoever waits for it.
//!
//! A connection that has hundreds of puts on their way would be woken hundreds of times if each had a channel of its
//! own. [`Completions`] is one queue for the whole connection: an apply run fills it, and [`Wakes`] wakes its owner once
//! after the run.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::Outcome;

/// Outcomes that wait to be taken by one connection. It never holds more than the connection has asked for.
#[derive(Debug, Default)]
pub struct Completions {
    ready: Mutex<Vec<(u64, Outcome)>>,
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
    pub fn poll_take(&self, cx: &mut Context<'_>, out: &mut Vec<(u64, Outcome)>) -> Poll<()> {
        if self.take(out) {
            return Poll::Ready(());
        }
        self.owner.register(cx.waker());
        // Once more: something may have come between the look and the registration.
        if self.take(out) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take(&self, out: &mut Vec<(u64, Outcome)>) -> bool {
        let mut ready = self.ready.lock();
        let any = !ready.is_empty();
        out.append(&mut ready);
        any
    }

    /// Adds an outcome; tells whether the owner must be woken for it.
    fn push(&self, token: u64, outcome: Outcome) -> bool {
        let mut ready = self.ready.lock();
        ready.push((token, outcome));
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
            Waiter::Connection(completions, token) => {
                if completions.push(token, outcome) {
                    self.0.lock().push(completions);
                }
            }
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
