//! Clients that take back one call after another.
//!
//! A call that is begun and taken back costs its client next to nothing, and does not count for the streams that it may
//! have open. So it has a budget: all that it can have open may be taken back at once, and some calls each second.
//!
//! Source: the attack is known as rapid reset, CVE-2023-44487.

use tokio::time::Instant;

/// What a client that has spent it is told.
pub(super) const TOO_MANY_RESETS: &str = "too_many_resets";
/// Calls that may be taken back each second, for as long as one likes.
const RESETS_PER_SECOND: u32 = 1000;

/// What one client may still take back.
#[derive(Debug)]
pub(super) struct ResetBudget {
    most: u32,
    left: u32,
    /// Up to when the budget has grown again.
    grown_at: Instant,
}

/// The budget is spent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spent;

impl ResetBudget {
    /// A whole one: so many at once.
    pub(super) fn new(most: u32) -> ResetBudget {
        let most = most.max(RESETS_PER_SECOND);
        ResetBudget { most, left: most, grown_at: Instant::now() }
    }

    /// Takes off what was taken back just now.
    ///
    /// # Errors
    /// [`Spent`] if that is more than is left.
    pub(super) fn spend(&mut self, resets: u32) -> Result<(), Spent> {
        if resets == 0 {
            return Ok(());
        }
        let seconds = u32::try_from(self.grown_at.elapsed().as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.left = self.left.saturating_add(seconds.saturating_mul(RESETS_PER_SECOND)).min(self.most);
            self.grown_at = Instant::now();
        }
        self.left = self.left.checked_sub(resets).ok_or(Spent)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MOST: u32 = 5000;

    #[tokio::test(start_paused = true)]
    async fn all_at_once_or_some_each_second_but_not_both() {
        let mut budget = ResetBudget::new(MOST);
        assert_eq!(budget.spend(MOST), Ok(()));
        assert_eq!(budget.spend(0), Ok(()));
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(budget.spend(RESETS_PER_SECOND), Ok(()));
        }
        assert_eq!(budget.spend(1), Err(Spent));
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_to_what_it_was_and_no_further() {
        let mut budget = ResetBudget::new(MOST);
        assert_eq!(budget.spend(MOST), Ok(()));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(budget.spend(MOST + 1), Err(Spent));
        assert_eq!(ResetBudget::new(1).spend(RESETS_PER_SECOND), Ok(()), "few streams can be used often");
    }
}
