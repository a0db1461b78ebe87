//! One client's stream.

use std::sync::Arc;

use super::hub::{StreamKey, WatchHub};
use super::mailbox::Mailbox;
use super::{WatchSpec, WatchUpdate};
use crate::model::WatchId;
use crate::node::Node;

/// One client's stream of watchers. Dropping it ends them.
#[derive(Debug)]
pub struct WatchStream {
    hub: Arc<WatchHub>,
    key: StreamKey,
    mailbox: Arc<Mailbox>,
}

impl Node {
    /// Opens a stream of watchers.
    #[must_use]
    pub fn watch(&self) -> WatchStream {
        WatchStream::open(self.hub.clone())
    }
}

impl WatchStream {
    pub(super) fn open(hub: Arc<WatchHub>) -> WatchStream {
        let (key, mailbox) = hub.open();
        WatchStream { hub, key, mailbox }
    }

    /// Makes a watcher; the stream then says whether it was made.
    ///
    /// As [`WatchStream::cancel`] and [`WatchStream::request_progress`] it waits for room to say so, which is made by
    /// whoever calls [`WatchStream::next`]. Cancelled while it waits, it has done nothing.
    pub async fn create(&self, spec: WatchSpec) {
        self.mailbox.when_room(|| self.hub.create(self.key, &spec)).await;
        self.mailbox.announce();
    }

    /// Ends a watcher; the stream then says so. Nothing happens if there is no such watcher.
    pub async fn cancel(&self, id: WatchId) {
        self.mailbox.when_room(|| self.hub.cancel(self.key, id)).await;
        self.mailbox.announce();
    }

    /// Asks for one note of progress for all watchers. It comes only if all of them have heard everything.
    pub async fn request_progress(&self) {
        self.mailbox.when_room(|| self.hub.request_progress(self.key)).await;
        self.mailbox.announce();
    }

    /// What comes next; `None` when the node stops, or when the history that a watcher needs cannot be read. Cancel safe.
    /// One caller at a time.
    pub async fn next(&self) -> Option<WatchUpdate> {
        let (update, can_resume) = self.mailbox.next().await?;
        if can_resume {
            self.hub.make_ready(self.key);
        }
        Some(update)
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.hub.remove(self.key);
    }
}
