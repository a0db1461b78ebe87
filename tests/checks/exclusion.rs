//! Locks and elections: one holder at a time, in the order of revisions.
//!
//! Whoever wants a lock writes a key below its prefix; whose key is oldest holds it, until that key is deleted. In real
//! time two may believe to hold it, for one of them need not know yet that its lease has ended; in the order of revisions
//! they may not: whoever was told that it holds was told of a revision at which every earlier holder's key was gone.

use std::collections::BTreeMap;

use lodemark::model::{EventKind, Revision};

use super::history::{History, Hold};
use super::{Promise, Truth, Violation};

/// Checks that no two hold one lock at one revision.
pub fn check(history: &History, truth: &Truth) -> Vec<Violation> {
    let mut deletions: BTreeMap<&[u8], Vec<Revision>> = BTreeMap::new();
    let changes = truth.model.changes_from(Revision(0));
    for event in changes.iter().filter(|event| event.kind == EventKind::Delete) {
        deletions.entry(event.key()).or_default().push(event.revision());
    }
    // The first revision at which a holder holds no more.
    let end = |hold: &Hold| {
        let of_key = deletions.get(hold.key.as_slice()).map_or(&[][..], Vec::as_slice);
        of_key.get(of_key.partition_point(|&at| at < hold.acquired)).copied().unwrap_or(Revision(i64::MAX))
    };
    let mut by_lock: BTreeMap<&[u8], Vec<&Hold>> = BTreeMap::new();
    for hold in &history.holds {
        by_lock.entry(&hold.lock).or_default().push(hold);
    }
    let mut violations = Vec::new();
    for holds in by_lock.values_mut() {
        holds.sort_by_key(|hold| hold.acquired);
        for pair in holds.windows(2) {
            if end(pair[0]) > pair[1].acquired {
                let what = format!("{:?} held it up to revision {}, and so did {:?}", pair[0], end(pair[0]), pair[1]);
                violations.push(Violation::new(Promise::Exclusive, what));
            }
        }
        // A key that was gone when its owner was told that it holds.
        let is_held = |hold: &&Hold| truth.model.has_key(&hold.key, hold.acquired);
        let without = holds.iter().filter(|hold| !is_held(hold));
        violations.extend(without.map(|hold| Violation::new(Promise::Exclusive, format!("there is no key: {hold:?}"))));
    }
    violations
}

mod tests {
    use super::super::replay::explain;
    use super::super::samples::*;
    use super::*;

    fn judge(holds: Vec<Hold>) -> usize {
        let operations = [put("l/1", "1", 2, (0, 10)), put("l/2", "2", 3, (0, 20)), delete("l/1", 1, 4, (30, 40))];
        let mut history = history(operations);
        let truth = explain(&history).unwrap();
        history.holds = holds;
        check(&history, &truth).len()
    }

    fn hold(client: u64, acquired: i64) -> Hold {
        let key = format!("l/{client}").into_bytes();
        Hold { client, lock: b"l/".to_vec(), key, acquired: Revision(acquired) }
    }

    #[test]
    fn the_second_holds_when_the_first_ones_key_is_gone() {
        assert_eq!(judge(vec![hold(1, 2), hold(2, 4)]), 0);
        assert_eq!(judge(vec![hold(1, 2), hold(2, 3)]), 1, "the first still held it");
        assert_eq!(judge(vec![hold(1, 4)]), 1, "without a key");
        let other = Hold { lock: b"m/".to_vec(), ..hold(2, 3) };
        assert_eq!(judge(vec![hold(1, 2), other]), 0, "another lock");
    }
}
