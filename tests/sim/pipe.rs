//! One end of a stream of messages inside the simulation.
//!
//! Unlike a channel of tokio it has no bound of its own and wakes nobody but its reader: what may be in it is bounded by
//! whoever fills it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use parking_lot::Mutex;

struct State<T> {
    queue: VecDeque<T>,
    reader: Option<Waker>,
    has_ended: bool,
    is_abandoned: bool,
}

/// Where messages go in.
pub struct Inlet<T>(Arc<Mutex<State<T>>>);

/// Where they come out, in order. Ends after the last one when the inlet was ended.
pub struct Outlet<T>(Arc<Mutex<State<T>>>);

/// Makes both ends.
pub fn pipe<T>() -> (Inlet<T>, Outlet<T>) {
    let state = State { queue: VecDeque::new(), reader: None, has_ended: false, is_abandoned: false };
    let state = Arc::new(Mutex::new(state));
    (Inlet(state.clone()), Outlet(state))
}

impl<T> Inlet<T> {
    /// Adds a message; it is dropped if nobody reads any more or the end was told.
    pub fn push(&self, message: T) {
        let mut state = self.0.lock();
        if !state.is_abandoned && !state.has_ended {
            state.queue.push_back(message);
            wake(&mut state);
        }
    }

    /// Says that there will be no more.
    pub fn end(&self) {
        let mut state = self.0.lock();
        state.has_ended = true;
        wake(&mut state);
    }

    /// The reader is gone.
    pub fn is_abandoned(&self) -> bool {
        self.0.lock().is_abandoned
    }
}

fn wake<T>(state: &mut State<T>) {
    if let Some(reader) = state.reader.take() {
        reader.wake();
    }
}

impl<T> Stream for Outlet<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        match state.queue.pop_front() {
            Some(message) => Poll::Ready(Some(message)),
            None if state.has_ended => Poll::Ready(None),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Outlet<T> {
    fn drop(&mut self) {
        self.0.lock().is_abandoned = true;
    }
}
