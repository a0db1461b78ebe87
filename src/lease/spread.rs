//! Leases that would end all at once, spread out.
//!
//! A new leader gives every lease its time anew, so leases that were renewed at different moments come to end at the same
//! one. Ending thousands in one moment would hold up everything else, and whoever lost a lease by the change of leaders
//! asks for a new one at once. So ends are moved, only ever later, until no second has more than [`ENDS_PER_SECOND`].
//!
//! Source: etcd, `server/lease/lessor.go`, `Promote`.

use std::time::Duration;

use crate::env::Tick;
use crate::model::LeaseId;

/// With fewer leases than this there is no rush. Source: etcd, `leaseRevokeRate`.
const SPREAD_FROM: usize = 1000;
/// Ends within any second; three quarters of what etcd ends at most, so that those which end anyway find room.
const ENDS_PER_SECOND: usize = 750;

/// Puts ends in order and moves those that come too thick.
pub fn spread(ends: &mut [(Tick, LeaseId)]) {
    ends.sort_unstable();
    if ends.len() < SPREAD_FROM {
        return;
    }
    for i in ENDS_PER_SECOND..ends.len() {
        let earliest = ends[i - ENDS_PER_SECOND].0.after(Duration::from_secs(1));
        ends[i].0 = ends[i].0.max(earliest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(seconds: u64) -> Tick {
        Tick(Duration::from_secs(seconds))
    }

    #[test]
    fn a_few_leases_end_when_they_should() {
        let mut ends: Vec<_> = (0..999).map(|id| (tick(60), LeaseId(id))).collect();
        spread(&mut ends);
        assert!(ends.iter().all(|(end, _)| *end == tick(60)));
    }

    #[test]
    fn many_that_end_together_end_over_a_while() {
        let mut ends: Vec<_> = (0..3000).map(|id| (tick(60), LeaseId(id))).collect();
        ends.push((tick(10), LeaseId(-1)));
        ends.push((tick(61), LeaseId(-2)));
        ends.push((tick(1000), LeaseId(-3)));
        spread(&mut ends);
        assert!(ends.is_sorted());
        for within in ends.windows(ENDS_PER_SECOND + 1) {
            let (first, last) = (within[0].0, within[ENDS_PER_SECOND].0);
            assert!(last.since(first) >= Duration::from_secs(1), "{first:?} to {last:?}");
        }
        // Nobody ends earlier, and nobody later than needed.
        let end_of = |id| ends.iter().find(|(_, lease)| *lease == LeaseId(id)).unwrap().0;
        assert_eq!((end_of(-1), end_of(0), end_of(748), end_of(2999)), (tick(10), tick(60), tick(60), tick(63)));
        assert_eq!((end_of(-2), end_of(-3)), (tick(64), tick(1000)));
    }
}
