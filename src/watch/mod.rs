//! Watching, without channels and sockets: which watcher gets which events.
//!
//! A client opens a **stream** and makes **watchers** on it, each for some keys from some revision on. [`Watchers`] knows
//! all of them. A watcher is in one of two places:
//!
//! ```text
//!                    has read all that was published
//!          ┌───────────────────────────────────────────────┐
//!          │                                               ▼
//!        behind                                          synced
//!   a cursor: reads the history,                  in the index: hears of
//!   some windows at a time (`round`)              each run as it is published
//!          ▲                                               │
//!          └───────────────────────────────────────────────┘
//!             its stream's queue is full, or the state was replaced
//! ```
//!
//! Both change under one lock, at one place: **published**, the revision up to which runs were dealt out. Synced means to
//! have heard everything up to it. The store itself may be ahead by a run that is on its way; that run comes to all synced
//! watchers, the newest ones included, so it does not matter when exactly a watcher was made.
//!
//! Publishing never waits. Each stream has one bounded [`Queue`]; an event that finds no room turns its watcher into a
//! cursor, which holds nothing but a revision. It can be late, it cannot miss anything: either it reads on, or compaction
//! overtakes it and it is told so.
//!
//! Invariants, for each watcher: events come in order of revision, once each, whole revisions at a time; the first comes
//! after the note that it was made, none after the note that it has ended. A note of progress at R follows all events up
//! to R.
//!
//! Source: etcd's `rpc.proto` (`Watch`) and `server/storage/mvcc/watchable_store.go`, whose words these are.

mod arena;
mod index;
mod interval;
mod parcel;
mod queue;
mod replay;
mod spec;
mod update;
mod watchers;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use arena::Key;
pub use queue::{Freed, QUEUE_BYTES_MAX, QUEUE_UPDATES_MAX, Queue, Taken, UpdateClass};
pub use replay::{History, round};
pub use spec::{WatchRefusal, WatchSpec};
pub use update::WatchUpdate;
pub use watchers::{Full, Outlet, Stream, StreamKey, Watchers};
