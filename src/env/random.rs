//! Randomness: ids and salts.

use parking_lot::Mutex;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};

/// Gives random numbers.
pub trait Random: std::fmt::Debug + Send + Sync + 'static {
    /// A number, each equally likely.
    fn next_u64(&self) -> u64;
}

/// The operating system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn next_u64(&self) -> u64 {
        // The system's source fails only where no program can run safely; then an id from the clock is no better.
        SysRng.try_next_u64().expect("the operating system gives random numbers")
    }
}

/// A sequence that depends on its seed alone.
#[derive(Debug)]
pub struct SeededRandom {
    rng: Mutex<StdRng>,
}

impl SeededRandom {
    /// Starts the sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom { rng: Mutex::new(StdRng::seed_from_u64(seed)) }
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        self.rng.lock().next_u64()
    }
}
