//! History by time: what is younger than a period stays.
//!
//! The newest revision is remembered ten times a period, or ten times an hour if the period is longer; as many are kept as
//! reach back for a period. The oldest is where history may begin:
//!
//! ```text
//! looks       0    1    2  ...  9   10   11  ...  20   ...
//! remembered  r0   r1   r2      r9   r10  r11     r20
//! compacts                           r0           r9        period of an hour or less
//! ```
//!
//! The first compaction is due after a whole period, the next ones after a period or an hour, whichever is shorter.

use std::collections::VecDeque;
use std::time::Duration;

use crate::env::Tick;
use crate::model::Revision;

/// Longer periods are compacted as often as this one.
const INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);
/// Looks in one interval. Source: etcd, `retryDivisor`.
const LOOKS: u32 = 10;
/// A period can be as short as anybody likes; looks are not.
const LOOK_PERIOD_MIN: Duration = Duration::from_millis(1);

/// What is kept, and what it was a while ago.
#[derive(Debug)]
pub(super) struct Periodic {
    period: Duration,
    /// Newest revisions of former looks, oldest first; never empty.
    remembered: VecDeque<Revision>,
    /// Nothing is due before.
    earliest: Tick,
    done: Revision,
}

impl Periodic {
    /// Keeps what is younger than `period`; the newest revision is `newest` now.
    pub(super) fn new(period: Duration, now: Tick, newest: Revision) -> Periodic {
        Periodic { period, remembered: VecDeque::from([newest]), earliest: now.after(period), done: Revision(0) }
    }

    /// What lies between two looks.
    pub(super) fn look_period(&self) -> Duration {
        (self.interval() / LOOKS).max(LOOK_PERIOD_MIN)
    }

    /// Up to where history goes now, if it does.
    pub(super) fn due(&self, now: Tick) -> Option<Revision> {
        let oldest = *self.remembered.front().expect("there is one from the beginning, and the newest stays");
        (now >= self.earliest && oldest != self.done).then_some(oldest)
    }

    /// History went as far as `revision`.
    pub(super) fn done(&mut self, revision: Revision, now: Tick) {
        self.done = revision;
        self.earliest = now.after(self.interval());
    }

    /// Remembers the newest revision; belongs to each look, after what was due.
    pub(super) fn remember(&mut self, newest: Revision) {
        self.remembered.push_back(newest);
        let kept = self.period.as_nanos() / self.look_period().as_nanos() + 1;
        if self.remembered.len() as u128 > kept {
            self.remembered.pop_front();
        }
    }

    /// What lies between two compactions.
    fn interval(&self) -> Duration {
        self.period.min(INTERVAL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Clock, ManualClock};

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    /// A plan, and a store whose revision is one more at each look.
    struct Run {
        clock: ManualClock,
        plan: Periodic,
        newest: i64,
    }

    impl Run {
        fn new(period: Duration) -> Run {
            let clock = ManualClock::default();
            let plan = Periodic::new(period, clock.now(), Revision(1));
            Run { clock, plan, newest: 1 }
        }

        /// So many looks; gives those at which something was due, counted from 1, with what.
        fn looks(&mut self, count: usize, is_done: bool) -> Vec<(usize, i64)> {
            let mut all = Vec::new();
            for look in 1..=count {
                self.clock.advance(self.plan.look_period());
                if let Some(due) = self.plan.due(self.clock.now()) {
                    all.push((look, due.0));
                    if is_done {
                        self.plan.done(due, self.clock.now());
                    }
                }
                self.newest += 1;
                self.plan.remember(Revision(self.newest));
            }
            all
        }
    }

    #[test]
    fn a_short_period_is_compacted_once_in_each() {
        for period in [Duration::from_secs(5), 5 * MINUTE, 59 * MINUTE, HOUR] {
            let mut run = Run::new(period);
            assert_eq!(run.plan.look_period(), period / 10);
            assert_eq!(run.looks(40, true), [(10, 1), (20, 10), (30, 20), (40, 30)], "{period:?}");
        }
    }

    #[test]
    fn a_long_period_is_compacted_once_an_hour_when_it_has_passed() {
        for hours in [2, 24] {
            let mut run = Run::new(hours * HOUR);
            assert_eq!(run.plan.look_period(), 6 * MINUTE);
            let first = usize::try_from(hours).unwrap() * 10;
            assert_eq!(run.looks(first + 30, true), [(first, 1), (first + 10, 10), (first + 20, 20), (first + 30, 30)]);
        }
    }

    #[test]
    fn one_that_failed_is_due_at_the_next_look() {
        let mut run = Run::new(HOUR);
        assert_eq!(run.looks(13, false), [(10, 1), (11, 1), (12, 2), (13, 3)]);
        assert_eq!(run.looks(11, true), [(1, 4), (11, 14)], "an hour after it worked");
    }

    #[test]
    fn nothing_is_due_while_nothing_changes() {
        let mut run = Run::new(HOUR);
        assert_eq!(run.looks(10, true).len(), 1);
        for _ in 0..100 {
            run.clock.advance(run.plan.look_period());
            run.plan.remember(Revision(1));
        }
        assert_eq!(run.plan.due(run.clock.now()), None);
        run.plan.remember(Revision(2));
        assert_eq!(run.plan.due(run.clock.now()), None, "it is not a period old");
        for _ in 0..10 {
            run.plan.remember(Revision(2));
        }
        assert_eq!(run.plan.due(run.clock.now()), Some(Revision(2)));
    }

    #[test]
    fn what_is_remembered_reaches_back_for_a_period() {
        for (period, kept) in [(HOUR, 11), (2 * HOUR, 21), (150 * MINUTE, 26), (Duration::from_nanos(1), 1)] {
            let mut run = Run::new(period);
            run.looks(100, true);
            assert_eq!(run.plan.remembered.len(), kept, "{period:?}");
        }
    }
}
