//! What a stream has to say and nobody took yet.
//!
//! One bounded queue a stream. Nobody who fills it waits for room while holding something: an event that finds no room
//! is left to the history, from which its watcher reads it later; an answer is made only once there is room for it. The
//! queue notes who went away empty-handed, and taking from it tells when to come back.

use std::collections::VecDeque;

use super::WatchUpdate;

/// How many updates a stream may have waiting; etcd's figure.
pub const QUEUE_UPDATES_MAX: usize = 128;
/// How many bytes of events a stream may have waiting: the last update may go beyond. The bytes of a record are shared
/// with the history, so this bounds what a slow client keeps alive, not what it costs.
pub const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Places that events leave to answers, so that a busy stream can still create and cancel.
const ANSWERS_RESERVED: usize = 8;
/// Watchers that fell behind come back when only this part of the queue is taken: one by one would be dear.
const RESUME_PART: usize = 2;

/// A stream's queue.
#[derive(Debug)]
pub struct Queue {
    updates_max: usize,
    /// Each with what it counts as.
    updates: VecDeque<(WatchUpdate, usize)>,
    bytes: usize,
    /// A watcher is behind because there was no room.
    cursors_wait: bool,
    /// An answer waits for room.
    answers_wait: bool,
    is_closed: bool,
}

/// What an update is to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateClass {
    /// Can be said later, or from the history.
    Event,
    /// Somebody waits until it is said.
    Answer,
}

/// What taking an update gave.
#[derive(Debug)]
pub enum Taken {
    /// The next update, and who can come back.
    Update(WatchUpdate, Freed),
    /// Nothing is waiting now.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

/// For whom there is room again. Each is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freed {
    /// For watchers that are behind.
    pub cursors: bool,
    /// For an answer.
    pub answers: bool,
}

impl Queue {
    /// A queue of another length than [`QUEUE_UPDATES_MAX`]: a short one is soon full.
    #[must_use]
    pub fn with_updates_max(updates_max: usize) -> Queue {
        let updates = VecDeque::new();
        Queue { updates_max, updates, bytes: 0, cursors_wait: false, answers_wait: false, is_closed: false }
    }

    /// Takes an update if there is room, or notes that there was none. A closed queue forgets what it is given.
    pub fn offer(&mut self, update: WatchUpdate, bytes: usize, class: UpdateClass) -> bool {
        if self.is_closed {
            return true;
        }
        let has_room = match class {
            UpdateClass::Event => {
                self.updates.len() < self.updates_max.saturating_sub(ANSWERS_RESERVED) && self.bytes < QUEUE_BYTES_MAX
            }
            UpdateClass::Answer => self.updates.len() < self.updates_max,
        };
        if has_room {
            self.bytes += bytes;
            self.updates.push_back((update, bytes));
        } else {
            match class {
                UpdateClass::Event => self.cursors_wait = true,
                UpdateClass::Answer => self.answers_wait = true,
            }
        }
        has_room
    }

    /// Takes the next update.
    pub fn take(&mut self) -> Taken {
        if self.is_closed {
            return Taken::Closed;
        }
        let Some((update, bytes)) = self.updates.pop_front() else { return Taken::Nothing };
        self.bytes -= bytes;
        let may_resume =
            self.updates.len() <= self.updates_max / RESUME_PART && self.bytes <= QUEUE_BYTES_MAX / RESUME_PART;
        let freed = Freed { cursors: self.cursors_wait && may_resume, answers: self.answers_wait };
        self.cursors_wait &= !freed.cursors;
        self.answers_wait = false;
        Taken::Update(update, freed)
    }

    /// Events that nobody took yet.
    #[must_use]
    pub fn pending_events(&self) -> usize {
        let events = |(update, _): &(WatchUpdate, usize)| match update {
            WatchUpdate::Events { events, .. } => events.len(),
            WatchUpdate::Created { .. }
            | WatchUpdate::Refused { .. }
            | WatchUpdate::Progress { .. }
            | WatchUpdate::Canceled { .. }
            | WatchUpdate::Compacted { .. } => 0,
        };
        self.updates.iter().map(events).sum()
    }

    /// Ends the stream; what is still waiting is dropped.
    pub fn close(&mut self) {
        *self = Queue { is_closed: true, ..Queue::default() };
    }
}

impl Default for Queue {
    fn default() -> Self {
        Queue::with_updates_max(QUEUE_UPDATES_MAX)
    }
}
