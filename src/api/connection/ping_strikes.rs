//! Clients that ping too often.
//!
//! Pings keep a path open that forgets idle connections. Each wakes the server, so they have a pace: one in
//! [`KeepaliveOptions::ping_gap_min`] while a call is open, and next to none without one. One that comes sooner is a
//! strike; anything that is sent of an answer forgives all of them, and the ping after it. With the third strike the
//! connection ends, and `too_many_pings` is its last word, by which client libraries know to ping less often.
//!
//! Source: grpc-go, `internal/transport/http2_server.go`, `handlePing`.
//!
//! [`KeepaliveOptions::ping_gap_min`]: crate::api::KeepaliveOptions::ping_gap_min

use std::time::Duration;

use tokio::time::Instant;

use super::traffic::Pings;

/// What a client is told that pings too often.
pub(super) const TOO_MANY_PINGS: &str = "too_many_pings";
/// Strikes that a client may have.
const STRIKES_MAX: u32 = 2;
/// What must lie between two pings while no call is open: as much as between pings that nobody asked for.
const IDLE_GAP_MIN: Duration = Duration::from_secs(2 * 60 * 60);

/// The strikes of one client.
#[derive(Debug)]
pub(super) struct PingStrikes {
    gap_min: Duration,
    count: u32,
    last_ping_at: Option<Instant>,
}

/// Whether calls are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    Open,
    None,
}

/// The client has pinged too often.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyPings;

impl PingStrikes {
    /// None yet, for a client that may ping every `gap_min`.
    pub(super) fn new(gap_min: Duration) -> PingStrikes {
        PingStrikes { gap_min, count: 0, last_ping_at: None }
    }

    /// Counts pings that came just now.
    ///
    /// # Errors
    /// [`TooManyPings`]
    pub(super) fn count(&mut self, pings: Pings, calls: Calls) -> Result<(), TooManyPings> {
        let now = Instant::now();
        let gap_min = match calls {
            Calls::Open => self.gap_min,
            Calls::None => IDLE_GAP_MIN,
        };
        for nth in 0..pings.count {
            let last = self.last_ping_at.replace(now);
            if nth == 0 && pings.follow_answer {
                self.count = 0;
            } else if last.is_some_and(|last| now < last + gap_min) {
                self.count += 1;
            }
            if self.count > STRIKES_MAX {
                return Err(TooManyPings);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP_MIN: Duration = Duration::from_secs(5);
    const ONE: Pings = Pings { count: 1, follow_answer: false };

    async fn after(wait: Duration, strikes: &mut PingStrikes, calls: Calls) -> Result<(), TooManyPings> {
        tokio::time::advance(wait).await;
        strikes.count(ONE, calls)
    }

    #[tokio::test(start_paused = true)]
    async fn three_pings_that_come_too_soon_are_too_many() {
        let mut strikes = PingStrikes::new(GAP_MIN);
        let soon = GAP_MIN - Duration::from_millis(1);
        for _ in 0..3 {
            assert_eq!(after(soon, &mut strikes, Calls::Open).await, Ok(()), "the first one never comes too soon");
        }
        assert_eq!(after(soon, &mut strikes, Calls::Open).await, Err(TooManyPings));
        assert_eq!(PingStrikes::new(GAP_MIN).count(Pings { count: 4, ..ONE }, Calls::Open), Err(TooManyPings));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_keeps_the_pace_may_ping_for_ever() {
        let mut strikes = PingStrikes::new(GAP_MIN);
        for _ in 0..100 {
            assert_eq!(after(GAP_MIN, &mut strikes, Calls::Open).await, Ok(()));
        }
        // Strikes are not forgiven by that.
        for _ in 0..2 {
            assert_eq!(after(Duration::ZERO, &mut strikes, Calls::Open).await, Ok(()));
            assert_eq!(after(GAP_MIN, &mut strikes, Calls::Open).await, Ok(()));
        }
        assert_eq!(after(Duration::ZERO, &mut strikes, Calls::Open).await, Err(TooManyPings));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_call_hours_must_pass() {
        let mut strikes = PingStrikes::new(GAP_MIN);
        for _ in 0..3 {
            assert_eq!(after(IDLE_GAP_MIN, &mut strikes, Calls::None).await, Ok(()));
        }
        for _ in 0..2 {
            assert_eq!(after(GAP_MIN * 100, &mut strikes, Calls::None).await, Ok(()));
        }
        assert_eq!(after(GAP_MIN * 100, &mut strikes, Calls::None).await, Err(TooManyPings));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_of_an_answer_forgives() {
        let mut strikes = PingStrikes::new(GAP_MIN);
        for _ in 0..10 {
            // The first is forgiven, and two are borne.
            assert_eq!(strikes.count(Pings { count: 3, follow_answer: true }, Calls::None), Ok(()));
        }
        assert_eq!(strikes.count(ONE, Calls::None), Err(TooManyPings));
    }
}
