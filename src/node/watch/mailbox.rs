//! A stream's queue, and the two that may wait at it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::watch::{Outlet, Queue, Taken, UpdateClass, WatchUpdate};

/// What a stream has to say, for the task that takes it.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    /// Something came, or the stream has ended. Keeps one wake-up for a task that comes later.
    arrived: Notify,
    /// There is room for an answer again.
    has_room: Notify,
}

impl Mailbox {
    /// Wakes the task that takes. Once for all that was offered: it takes until nothing is left.
    pub(super) fn announce(&self) {
        self.arrived.notify_one();
    }

    /// Waits for the next update; tells whether watchers that are behind can come back. `None` if the stream has ended.
    ///
    /// Cancel safe: an update is taken without waiting after it. A wake-up that is cancelled goes to the next caller.
    pub(super) async fn next(&self) -> Option<(WatchUpdate, bool)> {
        loop {
            let taken = self.queue.lock().take();
            match taken {
                Taken::Update(update, freed) => {
                    if freed.answers {
                        self.has_room.notify_waiters();
                    }
                    return Some((update, freed.cursors));
                }
                Taken::Nothing => self.arrived.notified().await,
                Taken::Closed => return None,
            }
        }
    }

    /// Events that nobody took yet.
    pub(super) fn pending_events(&self) -> usize {
        self.queue.lock().pending_events()
    }

    /// Calls `attempt` until it finds room: now, and each time that there may be some.
    pub(super) async fn when_room(&self, mut attempt: impl FnMut() -> bool) {
        loop {
            let mut has_room = std::pin::pin!(self.has_room.notified());
            // Listens before it looks, so that room made in between is heard of.
            has_room.as_mut().enable();
            if attempt() {
                return;
            }
            has_room.await;
        }
    }
}

impl Outlet for Arc<Mailbox> {
    fn offer(&self, update: WatchUpdate, bytes: usize, class: UpdateClass) -> bool {
        self.queue.lock().offer(update, bytes, class)
    }

    fn close(&self) {
        self.queue.lock().close();
        self.announce();
        self.has_room.notify_waiters();
    }
}
