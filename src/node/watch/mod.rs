//! Watch: events of applied runs to the streams that asked for them, or history to those that are behind.
//!
//! The rules are in [`crate::watch`]; here they get their lock, their clock and their wake-ups.
//!
//! ```text
//!   apply ──> publish ──┐                        ┌──> mailbox ──> WatchStream::next
//!                       ├──> Watchers (one lock) ┤
//!   run: rounds, ticks ─┘                        └──> mailbox ──> WatchStream::next
//! ```
//!
//! Each stream has a **mailbox**: its queue behind a lock of its own, so a client that takes updates never waits for
//! those who deal them out. The hub's lock is taken before a mailbox's, never after. Nobody waits for room while holding
//! either: publishing turns watchers into cursors, and answers are made again when there is room.

mod hub;
mod mailbox;
mod stream;
mod ticker;

#[cfg(test)]
mod tests;

pub(super) use self::hub::{Census, HubOptions, WatchHub};
pub use self::stream::WatchStream;
pub use crate::watch::{WatchRefusal, WatchSpec, WatchUpdate};
