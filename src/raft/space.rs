//! Whether the disk of this member has space for what is proposed to it, or replicated.
//!
//! openraft takes an error of the log for its end, so it is asked before anything reaches openraft: by whoever proposes,
//! and by whoever takes appends. Two things can be short, and either is enough: segments of the log (`wal`), and space for
//! the checkpoint, whose reserve was given away ([`crate::storage::Reserve`]).
//!
//! It is local, and over by itself: no alarm is replicated, and nobody has to disarm one.

use std::sync::Arc;

use super::Checkpoints;
use crate::wal::{Demand, Fit, Wal};

/// What is asked; clones share it.
#[derive(Debug, Clone)]
pub struct Space {
    wal: Wal,
    checkpoints: Arc<Checkpoints>,
}

impl Space {
    /// Of a log and what becomes of it.
    #[must_use]
    pub fn new(wal: Wal, checkpoints: Arc<Checkpoints>) -> Space {
        Space { wal, checkpoints }
    }

    /// Whether there is space for entries of so many bytes.
    #[must_use]
    pub fn fit(&self, demand: Demand, bytes: usize) -> Fit {
        if self.checkpoints.takes(demand) { self.wal.fit(demand, bytes) } else { Fit::Full }
    }

    /// Whether what makes the data grow is refused.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.fit(Demand::Growing, 0) == Fit::Full
    }
}
