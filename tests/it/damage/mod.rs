//! Damage is never served: bits that flip in a member's files, and logs that end too early.
//!
//! A member is filled until it has all that a member can have: several log segments, checkpoints, compactions, leases,
//! members, large values, and the stream that it would send as a snapshot. Its whole state, read through the door that
//! clients come through, is the right one. Then its files are changed, and a member is started on them:
//!
//! ```text
//! folder ── copy ── flip a bit ──> start ── refused ──> does the message say file, place and remedy?
//!    |                               └── serves ──> read the whole state ── write ── start again ── read it all
//!    └── right state, before and after that write <────── equal? ──────────────┘
//! ```
//!
//! It refuses, or it has the right state and keeps it: there is nothing between. A panic is a failure, and so is a message
//! that leaves an operator without the file, the place or the remedy.
//!
//! Everything runs in one thread and by a clock of its own, so a seed and a number name a flip for ever: [`flips`] prints
//! the line that does it again. [`live`] flips bits under a member that runs, [`cuts`] takes the end of the log away.

mod checked;
mod cuts;
mod flips;
mod live;
mod member;
mod places;
mod refusal;
