//! What the state was at one place of the log, in a few bytes.

/// The chain of effects after one log entry. Members that have applied the same log have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainMark {
    /// The entry's index; first is 1.
    pub index: u64,
    /// The chain after it.
    pub chain: u64,
}
