//! What was refused had a reason.
//!
//! A refusal carries no revision, so it need only fit somewhere between what was known when it was asked for and what
//! came after it was answered.

use lodemark::machine::Rejection;
use lodemark::model::{Command, Compact, Put, Revision, TxnOp};

use super::history::{History, Moment, Operation, Outcome, Request, compaction};
use super::order::Known;
use super::{Promise, Truth, Violation};

/// Checks every refusal, and that nothing compacted was read.
pub fn check(history: &History, truth: &Truth) -> Vec<Violation> {
    let known = Known::new(history);
    let mut violations = Vec::new();
    for operation in &history.operations {
        let is_right = match &operation.outcome {
            Outcome::Rejected(rejection) => has_reason(history, truth, &known, operation, rejection),
            Outcome::Read(_) => !reads_compacted(history, operation),
            _ => true,
        };
        if !is_right {
            violations.push(Violation::new(Promise::Serializable, format!("there is no reason for {operation:?}")));
        }
    }
    violations
}

fn has_reason(history: &History, truth: &Truth, known: &Known, operation: &Operation, rejection: &Rejection) -> bool {
    match rejection {
        Rejection::KeyNotFound => {
            let window = known.at(operation.begin).0..=ceiling(history, truth, operation.end).0;
            let kept = kept_keys(&operation.request);
            kept.iter().any(|put| window.clone().any(|at| !truth.model.has_key(&put.key, Revision(at))))
        }
        Rejection::Compacted { requested, compacted } => {
            let is_below = match &operation.request {
                Request::Command(Command::Compact(Compact { revision, .. })) => revision <= compacted,
                _ => requested < compacted,
            };
            is_below && history.compaction_asked(operation.end).is_some_and(|asked| *compacted <= asked)
        }
        Rejection::FutureRevision { requested, current } => {
            requested > current && (!operation.is_linearizable() || *current >= known.at(operation.begin))
        }
        // Whether a lease lived is for the check of leases.
        _ => true,
    }
}

/// The highest revision that the store can have had at a moment.
fn ceiling(history: &History, truth: &Truth, moment: Moment) -> Revision {
    let later = history.operations.iter().filter(|operation| operation.begin >= moment);
    later.filter_map(Operation::took_revision).min().map_or(truth.model.revision(), Revision::previous)
}

/// The puts that need their keys to be there.
fn kept_keys(request: &Request) -> Vec<&Put> {
    let keeps = |put: &&Put| put.ignore_value || put.ignore_lease;
    match request {
        Request::Command(Command::Put(put)) => Some(put).into_iter().filter(keeps).collect(),
        Request::Command(Command::Txn(txn)) => {
            let puts = txn.success.iter().chain(&txn.failure).filter_map(|op| match op {
                TxnOp::Put(put) => Some(put),
                _ => None,
            });
            puts.filter(keeps).collect()
        }
        _ => Vec::new(),
    }
}

/// A linearizable read of a revision below one that was compacted before the read was asked for.
fn reads_compacted(history: &History, read: &Operation) -> bool {
    let Request::Range(range) = &read.request else { return false };
    if range.revision <= 0 || range.serializable {
        return false;
    }
    history.operations.iter().any(|earlier| {
        let is_before = earlier.end <= read.begin && matches!(earlier.outcome, Outcome::Changed(_));
        is_before && compaction(&earlier.request).is_some_and(|at| at.0 > range.revision)
    })
}

mod tests {
    use super::super::replay::explain;
    use super::super::samples::*;
    use super::*;

    fn is_right<const N: usize>(operations: [Operation; N]) -> bool {
        let history = history(operations);
        let truth = explain(&history).unwrap();
        check(&history, &truth).is_empty()
    }

    fn keeping(time: (u64, u64)) -> Operation {
        let mut keeping = put("a", "", 0, time);
        let Request::Command(Command::Put(put)) = &mut keeping.request else { panic!() };
        put.ignore_value = true;
        rejected(keeping, Rejection::KeyNotFound)
    }

    #[test]
    fn a_key_that_is_there_all_the_time_is_found() {
        assert!(is_right([keeping((0, 10))]));
        assert!(is_right([put("a", "1", 2, (5, 20)), keeping((0, 10))]), "at the same time");
        assert!(!is_right([put("a", "1", 2, (0, 10)), keeping((10, 20))]));
        assert!(is_right([put("a", "1", 2, (0, 10)), keeping((10, 30)), delete("a", 1, 3, (15, 20))]));
    }

    #[test]
    fn compacted_and_future_revisions_are_refused_and_no_others() {
        let write = put("a", "1", 2, (0, 10));
        let read = |at, time| at_revision(get("a", Some(("1", 2, 2, 1)), 2, time), at);
        let (requested, compacted, current) = (Revision(1), Revision(2), Revision(2));
        let refused = rejected(read(1, (30, 40)), Rejection::Compacted { requested, compacted });
        assert!(is_right([write.clone(), compact(2, 2, (10, 20)), refused.clone()]));
        assert!(!is_right([write.clone(), refused]), "nobody compacted");
        let early = at_revision(get("a", None, 2, (30, 40)), 1);
        assert!(!is_right([write.clone(), compact(2, 2, (10, 20)), early.clone()]), "it is compacted");
        assert!(is_right([write.clone(), compact(2, 2, (10, 20)), serializable(early)]), "not here yet");

        let future = |current| Rejection::FutureRevision { requested: Revision(3), current };
        assert!(is_right([write.clone(), rejected(read(3, (30, 40)), future(current))]));
        assert!(!is_right([write, rejected(read(3, (30, 40)), future(Revision(1)))]), "stale");
    }
}
