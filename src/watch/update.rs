//! What a stream says.

use std::sync::Arc;

use super::WatchRefusal;
use crate::model::{Event, Revision, WatchId};

/// What a stream has to say, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchUpdate {
    /// A watcher was made; its first event comes after this.
    Created {
        /// Which.
        id: WatchId,
        /// The store's revision when it was made: a watcher "from now on" hears of everything above it.
        revision: Revision,
    },
    /// A watcher was not made.
    Refused {
        /// Why.
        refusal: WatchRefusal,
        /// The store's revision.
        revision: Revision,
    },
    /// Something happened to the watcher's keys: whole revisions, in order.
    Events {
        /// Which.
        id: WatchId,
        /// The events' revision; the store's, for a watcher that is catching up.
        revision: Revision,
        /// Never empty. `prev` is set only if the watcher asked for it. Watchers that hear the same share it.
        events: Arc<[Event]>,
    },
    /// All events up to a revision were sent.
    Progress {
        /// Which watcher; `None` means all of the stream.
        id: Option<WatchId>,
        /// Up to where.
        revision: Revision,
    },
    /// The watcher has ended because it was asked to.
    Canceled {
        /// Which.
        id: WatchId,
        /// The store's revision.
        revision: Revision,
    },
    /// The watcher has ended because the history that it needs is compacted. Its id stays taken until it is cancelled.
    Compacted {
        /// Which.
        id: WatchId,
        /// The lowest revision that can be watched from.
        compacted: Revision,
    },
}
