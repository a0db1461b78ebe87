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
//! A cluster of one needs no network (`no_peers`); nothing else here assumes a single member.

mod batch;
mod checkpoint;
mod command;
mod consensus;
mod log_codec;
mod log_store;
mod no_peers;
mod proposal;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod suite;
mod types;

pub use batch::{decode_commands, encode_commands};
pub use checkpoint::{Checkpointer, Checkpoints};
pub use command::DecodeError;
pub use consensus::{Answer, Consensus, ConsensusOptions, ProposeError, RaftStatus, ReadError, StartError};
pub use proposal::Proposal;
pub use state_machine::{Observer, Run, StateFiles};
