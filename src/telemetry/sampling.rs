//! What is said too often: of each line of the program the first hundred in a second are written, and then each hundredth, so
//! that a member under a storm of slow requests does not drown in telling of them.
//!
//! Source: etcd, `logutil.DefaultZapLoggerConfig`.

use std::collections::HashMap;

use parking_lot::Mutex;
use tracing::callsite::Identifier;

/// Lines of one kind in a second that are all written.
const FIRST: u64 = 100;
/// Of those that follow, each so manieth is.
const THEREAFTER: u64 = 100;

/// Counts lines; as many kinds as there are places in the program that speak.
#[derive(Debug, Default)]
pub(super) struct Sampler(Mutex<HashMap<Identifier, Count>>);

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    second: u64,
    lines: u64,
}

impl Sampler {
    /// Whether a line of `place` is written that is said in this second.
    pub(super) fn admits(&self, place: Identifier, second: u64) -> bool {
        self.0.lock().entry(place).or_default().admits(second)
    }
}

impl Count {
    fn admits(&mut self, second: u64) -> bool {
        if self.second != second {
            *self = Count { second, lines: 0 };
        }
        self.lines += 1;
        self.lines <= FIRST || (self.lines - FIRST).is_multiple_of(THEREAFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_thinned_out_and_the_next_second_begins_anew() {
        let mut count = Count::default();
        let mut written = |second, lines| (0..lines).filter(|_| count.admits(second)).count();
        assert_eq!(written(1, 100), 100);
        assert_eq!(written(1, 1000), 10);
        assert_eq!(written(2, 150), 100);
    }
}
