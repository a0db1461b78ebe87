//! What compaction has found and the tables still hold.
//!
//! Compaction visits keys in their order, a table has records in the order of their revisions. Removals that were passed on
//! as they are found would touch nearly every page of a large table in each checkpoint, and a page is written whole
//! whatever was taken out of it. So they wait here until all keys were visited:
//!
//! ```text
//! step of compaction --push--> runs, each in order --ripen--> take --> Merge --next--> a checkpoint each
//! ```
//!
//! Merged by revision they empty one page after the other, and what is left of a page is written once.
//!
//! Nothing here is durable: what a restart cuts short, or a last checkpoint leaves out, the next start finds again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::model::SubRevision;
use crate::storage::Storage;

/// So many removals are passed on before all keys were visited: 64 MiB of them.
const REMOVALS_MAX: usize = 4 << 20;

/// Removals that wait, in memory.
#[derive(Debug, Default)]
pub(super) struct Removals(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// The tables that hold them; those that were received since hold others.
    tables: Weak<Storage>,
    /// Each with its lowest revision last.
    runs: Vec<Vec<SubRevision>>,
    /// How many there are in `runs`, and how many were taken and are not yet written.
    waiting: usize,
    taken: usize,
    is_ripe: bool,
}

impl Removals {
    /// Adds what one step of compaction has found. Called while the machine is held, whose tables are `tables`.
    pub(super) fn push(&self, mut run: Vec<SubRevision>, tables: &Arc<Storage>) {
        run.sort_unstable_by_key(|at| Reverse(*at));
        let mut found = self.0.lock();
        if !std::ptr::eq(found.tables.as_ptr(), Arc::as_ptr(tables)) {
            *found = Found { tables: Arc::downgrade(tables), ..Found::default() };
        }
        found.waiting += run.len();
        if !run.is_empty() {
            found.runs.push(run);
        }
    }

    /// All keys were visited, or nothing more is to be found for now.
    pub(super) fn ripen(&self) {
        let mut found = self.0.lock();
        found.is_ripe = found.waiting > 0;
    }

    /// Too many wait.
    pub(super) fn are_full(&self) -> bool {
        self.0.lock().waiting >= REMOVALS_MAX
    }

    /// There are some that can be taken.
    pub(super) fn are_ripe(&self) -> bool {
        self.0.lock().is_ripe
    }

    /// Every one was taken and is written.
    pub(super) fn are_done(&self) -> bool {
        let found = self.0.lock();
        found.waiting == 0 && found.taken == 0
    }

    /// Takes those that are ripe.
    fn take(&self) -> Option<(Vec<Vec<SubRevision>>, Weak<Storage>)> {
        let mut found = self.0.lock();
        if !std::mem::take(&mut found.is_ripe) {
            return None;
        }
        found.taken += std::mem::take(&mut found.waiting);
        Some((std::mem::take(&mut found.runs), found.tables.clone()))
    }

    /// So many that were taken from `tables` are written.
    pub(super) fn wrote(&self, count: usize, tables: &Arc<Storage>) {
        let mut found = self.0.lock();
        if std::ptr::eq(found.tables.as_ptr(), Arc::as_ptr(tables)) {
            found.taken = found.taken.saturating_sub(count);
        }
    }
}

/// Removals that were taken, in order.
#[derive(Debug, Default)]
pub(super) struct Merge {
    tables: Weak<Storage>,
    runs: Vec<Vec<SubRevision>>,
    /// The lowest of each run, and which run it is.
    heads: BinaryHeap<Reverse<(SubRevision, usize)>>,
}

impl Merge {
    /// Nothing is left of what was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Gives at most `max` removals from `tables`, the lowest first; takes those that are ripe when it has no others.
    pub(super) fn next(&mut self, removals: &Removals, tables: &Arc<Storage>, max: usize) -> Vec<SubRevision> {
        if !std::ptr::eq(self.tables.as_ptr(), Arc::as_ptr(tables)) {
            *self = Merge::default();
        }
        if self.is_empty() {
            let Some((runs, of)) = removals.take() else { return Vec::new() };
            *self = Merge::new(runs, of);
            if !std::ptr::eq(self.tables.as_ptr(), Arc::as_ptr(tables)) {
                *self = Merge::default();
            }
        }
        let mut next = Vec::with_capacity(max.min(self.runs.iter().map(Vec::len).sum()));
        while next.len() < max
            && let Some(Reverse((at, run))) = self.heads.pop()
        {
            next.push(at);
            match self.runs[run].pop() {
                Some(head) => self.heads.push(Reverse((head, run))),
                // Its memory, before all the others have come to their end.
                None => self.runs[run] = Vec::new(),
            }
        }
        next
    }

    fn new(mut runs: Vec<Vec<SubRevision>>, tables: Weak<Storage>) -> Merge {
        let heads = runs.iter_mut().enumerate().filter_map(|(run, all)| Some(Reverse((all.pop()?, run)))).collect();
        Merge { tables, runs, heads }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::env::SimDisk;
    use crate::model::Revision;

    fn tables() -> Arc<Storage> {
        Arc::new(Storage::open(Arc::new(SimDisk::new()), Path::new("state"), 0).unwrap())
    }

    fn revisions(mains: &[i64]) -> Vec<SubRevision> {
        mains.iter().map(|main| SubRevision::first(Revision(*main))).collect()
    }

    #[test]
    fn they_come_by_revision_however_they_were_found() {
        let (removals, tables, mut merge) = (Removals::default(), tables(), Merge::default());
        removals.push(revisions(&[9, 2, 5]), &tables);
        removals.push(revisions(&[]), &tables);
        removals.push(revisions(&[1, 7, 3]), &tables);
        assert!(merge.next(&removals, &tables, 10).is_empty(), "more may be found that is lower");
        removals.ripen();
        assert!(removals.are_ripe() && !removals.are_done());
        assert_eq!(merge.next(&removals, &tables, 4), revisions(&[1, 2, 3, 5]));
        // What is found meanwhile is for later.
        removals.push(revisions(&[4]), &tables);
        removals.ripen();
        assert_eq!(merge.next(&removals, &tables, 4), revisions(&[7, 9]));
        assert!(merge.is_empty());
        assert_eq!(merge.next(&removals, &tables, 4), revisions(&[4]));
        removals.wrote(6, &tables);
        assert!(!removals.are_done());
        removals.wrote(1, &tables);
        assert!(removals.are_done() && !removals.are_ripe());
        removals.ripen();
        assert!(!removals.are_ripe(), "there are none");
    }

    #[test]
    fn those_of_tables_that_were_replaced_are_forgotten() {
        let (removals, [old, new], mut merge) = (Removals::default(), [tables(), tables()], Merge::default());
        removals.push(revisions(&[1, 2]), &old);
        removals.ripen();
        assert_eq!(merge.next(&removals, &old, 1), revisions(&[1]));
        assert!(merge.next(&removals, &new, 1).is_empty());
        removals.push(revisions(&[3]), &old);
        removals.push(revisions(&[4]), &new);
        removals.ripen();
        assert_eq!(merge.next(&removals, &new, 9), revisions(&[4]));
        removals.wrote(1, &old);
        assert!(!removals.are_done());
        removals.wrote(1, &new);
        assert!(removals.are_done());
    }
}
