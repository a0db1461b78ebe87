//! How long something takes, for nobody but those who read metrics.

use std::time::{Duration, Instant};

/// Runs from when it was made. Nothing may be decided by it: in a simulation it shows the time of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "what is measured decides nothing")]
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The same in seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }

    /// The time since then, and begins anew.
    pub fn lap(&mut self) -> Duration {
        let next = Stopwatch::start();
        let lap = next.0.saturating_duration_since(self.0);
        *self = next;
        lap
    }
}
