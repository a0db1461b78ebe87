//! What a watcher asks for, and why it may be refused.

use crate::model::{KeyRange, RangeEnd, WatchId};

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchSpec {
    /// Which keys.
    pub keys: KeyRange,
    /// The first revision to hear of; zero is "from now on", a negative one is refused.
    pub start_revision: i64,
    /// The id that the client chose; `None` takes the next free one from 0 on.
    pub id: Option<WatchId>,
    /// Tell each pair as it was before, too.
    pub prev_kv: bool,
    /// Tell of progress now and then while there are no events.
    pub progress_notify: bool,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletes out.
    pub no_delete: bool,
    /// The caller may not read the keys: it is refused.
    pub is_denied: bool,
}

/// Why a watcher was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchRefusal {
    /// The start revision is negative.
    #[error("required revision has been compacted")]
    NegativeStart,
    /// The caller may not read the keys.
    #[error("permission denied")]
    Denied,
    /// The range ends before it starts.
    #[error("watcher range is empty")]
    EmptyRange,
    /// The client's id is in use on this stream.
    #[error("duplicate watch ID provided on the WatchStream")]
    DuplicateId,
    /// The stream has as many watchers as it may have.
    #[error("too many watchers on one stream")]
    TooMany,
}

impl WatchSpec {
    /// Everything that happens to `keys` from `start_revision` on, and no more than that.
    #[must_use]
    pub fn of(keys: KeyRange, start_revision: i64) -> WatchSpec {
        WatchSpec {
            keys,
            start_revision,
            id: None,
            prev_kv: false,
            progress_notify: false,
            no_put: false,
            no_delete: false,
            is_denied: false,
        }
    }

    /// Checks what can be checked without the stream.
    pub(super) fn check(&self) -> Result<(), WatchRefusal> {
        if self.start_revision < 0 {
            return Err(WatchRefusal::NegativeStart);
        }
        if self.is_denied {
            return Err(WatchRefusal::Denied);
        }
        match &self.keys.end {
            RangeEnd::Before(end) if *end <= self.keys.start => Err(WatchRefusal::EmptyRange),
            RangeEnd::Before(_) | RangeEnd::Single | RangeEnd::Unbounded => Ok(()),
        }
    }
}
