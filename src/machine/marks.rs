//! Marks: what the chain was, for comparing it with what others say of theirs.
//!
//! Members that are busy are hardly ever at the same entry, so each keeps what its chain was at the same places of the
//! log: after every 256th entry, for the newest of those. The present state is a mark too, by which members compare that
//! have nothing to do. The ring is memory only: it begins anew with a state that was loaded or received.

use std::collections::VecDeque;

use crate::model::ChainMark;

/// From one mark to the next, in entries; the same on all members, or they find nothing to compare.
const DISTANCE: u64 = 256;
/// Marks that are kept. Together 8192 entries: the log of more than a second of full load, while members tell each other
/// every quarter of an election timeout.
const MARKS_MAX: usize = 32;

/// The newest marks behind the present entry.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<ChainMark>);

impl Marks {
    /// The chain after entry `index`, and no other before it, was this.
    pub(super) fn pass(&mut self, index: u64, chain: u64) {
        if index == 0 || !index.is_multiple_of(DISTANCE) {
            return;
        }
        if self.0.len() == MARKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(ChainMark { index, chain });
    }

    /// The marks, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = ChainMark> {
        self.0.iter().rev().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_marks_are_kept() {
        let mut marks = Marks::default();
        for index in 0..=DISTANCE * (MARKS_MAX as u64 + 3) {
            marks.pass(index, index + 1);
        }
        let kept: Vec<ChainMark> = marks.newest_first().collect();
        let newest = DISTANCE * (MARKS_MAX as u64 + 3);
        assert_eq!(kept.len(), MARKS_MAX);
        assert_eq!(kept[0], ChainMark { index: newest, chain: newest + 1 });
        assert_eq!(kept[MARKS_MAX - 1].index, newest - DISTANCE * (MARKS_MAX as u64 - 1));
    }

    #[test]
    fn the_state_before_any_entry_is_no_mark() {
        let mut marks = Marks::default();
        marks.pass(0, 0);
        marks.pass(DISTANCE - 1, 1);
        marks.pass(DISTANCE + 1, 1);
        assert_eq!(marks.newest_first().count(), 0);
    }
}
