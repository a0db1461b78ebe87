//! Raft: the only folder that knows openraft.
//!
//! [`Consensus`] is the handle that `node` holds. Behind it stand openraft's core and three adapters of ours:
//!
//! ```text
//! propose -> batch (many commands, one entry) -> openraft core -> log_store -> wal       durable, replicated
//!                                                     | committed
//!                                                     v
//!            answers <- state_machine -> machine::apply -> checkpoint (pending table writes) -> storage
//! ```
//!
//! What may never leave this folder: openraft's types. Its log ids are ours minus one (see `types`).
//!
//! To the other members: `network` (what openraft sends) and `inbound` (what it is sent) over the transport of
//! [`crate::peer`], in the bytes of `wire`.

mod alone;
#[doc(hidden)]
pub mod any_bytes;
mod background;
mod batch;
mod checkpoint;
mod command;
mod consensus;
mod elections;
mod inbound;
mod log_codec;
mod log_store;
mod log_times;
mod membership;
mod network;
mod occupancy;
mod progress;
mod proposal;
mod reading;
mod removals;
mod runtime;
mod snapshot;
mod space;
mod state_machine;
#[cfg(test)]
mod suite;
mod types;
mod wire;

pub use alone::force_alone;
pub use batch::{decode_commands, encode_commands};
pub use checkpoint::{Checkpointer, Checkpoints, CompactionStep};
pub use command::DecodeError;
pub use consensus::{Answer, Consensus, ConsensusOptions, Forwarded, ProposeError, RaftStatus, ReadError, StartError};
pub use membership::{Voters, VotersChange, membership_of};
pub use network::{Network, Permission};
pub use proposal::Proposal;
pub use reading::{EntryContent, LastVote, LogMarks, Participants, read_entry, read_marks, read_membership};
pub use runtime::seed_thread;
pub use space::Space;
pub use state_machine::{Observer, Run, StateFiles};
