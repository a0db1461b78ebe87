//! One budget of memory, and who gets what of it.
//!
//! What grows with the data or with its users is bounded; what is left is for the values of the newest pairs, which fall
//! out of memory when they are more (see `mvcc`). The index, about 150 bytes and the key itself for each key, is not in
//! the budget: it has to fit.

/// Bytes of memory for each of those who share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Newest pairs.
    pub values: usize,
    /// What the storage library keeps of the checkpoint's pages.
    pub pages: usize,
    /// Changes that are not in the checkpoint yet, with the tail of the history; then proposals wait.
    pub pending: usize,
    /// Answers that must be in memory whole; then those who ask wait.
    pub answers: usize,
    /// Log entries for followers that are a little behind.
    pub log_cache: usize,
    /// Log entries that wait for the disk; then proposals wait.
    pub log_queue: usize,
}

const MIB: usize = 1024 * 1024;

impl MemoryBudget {
    /// The least that can be shared, in bytes.
    pub const MIN: usize = 128 * MIB;

    /// Shares `total` bytes, or [`MemoryBudget::MIN`] if that is more: each part gets what serves it well, or a fixed share
    /// if that is less; values get the rest.
    #[must_use]
    pub fn of(total: usize) -> MemoryBudget {
        let total = total.max(MemoryBudget::MIN);
        let pages = (64 * MIB).min(total / 8);
        // A checkpoint is due at 16 MiB; the next one fills while it is written.
        let pending = (total / 8).clamp(32 * MIB, 256 * MIB);
        let answers = (128 * MIB).min(total / 8);
        let log_cache = (8 * MIB).min(total / 32);
        let log_queue = (64 * MIB).min(total / 16);
        let values = total - pages - pending - answers - log_cache - log_queue;
        MemoryBudget { values, pages, pending, answers, log_cache, log_queue }
    }

    /// No bound for values; the most for all others.
    #[must_use]
    pub fn unbounded() -> MemoryBudget {
        MemoryBudget { values: usize::MAX, ..MemoryBudget::of(usize::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole_and_values_get_most() {
        for total in [MemoryBudget::MIN, 256 * MIB, 1024 * MIB, 1 << 40] {
            let MemoryBudget { values, pages, pending, answers, log_cache, log_queue } = MemoryBudget::of(total);
            assert_eq!(values + pages + pending + answers + log_cache + log_queue, total);
            assert!(values >= total / 3, "{total}");
        }
        assert_eq!(MemoryBudget::of(0), MemoryBudget::of(MemoryBudget::MIN));
        let large = MemoryBudget::unbounded();
        assert_eq!((large.pages, large.pending, large.values), (64 * MIB, 256 * MIB, usize::MAX));
    }
}
