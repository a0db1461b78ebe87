//! Real time: whoever asks after somebody was told must not be told less.
//!
//! A revision that was told to anybody, by whichever member, is committed; so every later linearizable answer has at
//! least that revision, and every later change a higher one. It needs no replay: revisions and times say it all.

use super::history::{History, Moment, Operation, Outcome, Server};
use super::{Promise, Violation};
use lodemark::model::Revision;
use std::collections::BTreeMap;

/// What was known when.
#[derive(Debug)]
pub struct Known {
    /// In order of time, each with the highest revision told up to then.
    highest: Vec<(Moment, Revision)>,
}

impl Known {
    /// Gathers what a history tells.
    pub fn new(history: &History) -> Known {
        let mut sightings = history.sightings();
        sightings.sort();
        let mut highest: Vec<(Moment, Revision)> = Vec::new();
        for (at, revision) in sightings {
            let before = highest.last().map_or(Revision::FRESH, |&(_, revision)| revision);
            highest.push((at, revision.max(before)));
        }
        Known { highest }
    }

    /// The highest revision that anybody was told at or before a moment.
    pub fn at(&self, moment: Moment) -> Revision {
        let told = self.highest.partition_point(|&(at, _)| at <= moment);
        told.checked_sub(1).map_or(Revision::FRESH, |last| self.highest[last].1)
    }

    /// When anybody was first told of a revision or a later one.
    pub fn first_told(&self, revision: Revision) -> Option<Moment> {
        let before = self.highest.partition_point(|&(_, highest)| highest < revision);
        self.highest.get(before).map(|&(at, _)| at)
    }

    /// The highest revision of all.
    pub fn newest(&self) -> Revision {
        self.highest.last().map_or(Revision::FRESH, |&(_, revision)| revision)
    }
}

/// Checks that no answer is older than what was known when it was asked for, and that no server goes back.
pub fn check(history: &History) -> Vec<Violation> {
    let known = Known::new(history);
    let mut violations = Vec::new();
    for operation in &history.operations {
        let Some(revision) = operation.revision() else { continue };
        let floor = known.at(operation.begin);
        let is_stale = match operation.took_revision() {
            Some(taken) => taken <= floor,
            None => operation.is_linearizable() && revision < floor,
        };
        if is_stale {
            let what = format!("revision {floor} was known before {operation:?}");
            violations.push(Violation::new(Promise::Fresh, what));
        }
    }
    violations.extend(check_servers(history));
    violations
}

/// One server's reads of whatever it has never go back.
fn check_servers(history: &History) -> Vec<Violation> {
    let mut of_server: BTreeMap<Server, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        if matches!(operation.outcome, Outcome::Read(_)) {
            of_server.entry(operation.server).or_default().push(operation);
        }
    }
    let mut violations = Vec::new();
    for operations in of_server.values_mut() {
        let mut ended = operations.clone();
        ended.sort_by_key(|operation| operation.end);
        let mut ended = ended.into_iter().peekable();
        let mut highest = Revision::FRESH;
        for operation in operations.iter() {
            while let Some(earlier) = ended.next_if(|earlier| earlier.end <= operation.begin) {
                highest = highest.max(earlier.revision().unwrap_or(Revision::FRESH));
            }
            if operation.revision().is_some_and(|revision| revision < highest) {
                let what = format!("the same server told revision {highest} before {operation:?}");
                violations.push(Violation::new(Promise::Monotonic, what));
            }
        }
    }
    violations
}

mod tests {
    use super::super::samples::*;
    use super::*;

    fn promises(history: &History) -> Vec<Promise> {
        check(history).into_iter().map(|violation| violation.promise).collect()
    }

    #[test]
    fn a_read_that_misses_an_acknowledged_write_is_rejected() {
        let mut history = history([put("a", "1", 2, (0, 10)), get("a", None, 1, (10, 20))]);
        assert_eq!(promises(&history), [Promise::Fresh]);
        // While the write is under way either is right.
        history.operations[1].begin = ms(9);
        assert_eq!(promises(&history), []);
    }

    #[test]
    fn a_serializable_read_may_be_old_but_no_server_goes_back() {
        let old = serializable(get("a", None, 1, (10, 20)));
        let history = history([put("a", "1", 2, (0, 10)), old.clone()]);
        assert_eq!(promises(&history), []);
        let mut history = history_of(vec![serializable(get("a", Some(("1", 2, 2, 1)), 2, (5, 8))), old]);
        assert_eq!(promises(&history), [Promise::Monotonic]);
        history.operations[0].server = Server { member: 1, start: 2 };
        assert_eq!(promises(&history), [], "another start of the member may have less");
    }

    #[test]
    fn a_revision_is_not_given_to_a_later_write() {
        let history = history([put("a", "1", 3, (0, 10)), put("b", "2", 2, (10, 20))]);
        assert_eq!(promises(&history), [Promise::Fresh]);
    }

    #[test]
    fn what_a_watch_was_told_is_known_too() {
        let mut history = history([get("a", None, 1, (10, 20))]);
        history.watchings.push(watching(vec![(5, created(1)), (6, events(vec![put_event("a", "1", 2, 2, 1, None)]))]));
        assert_eq!(promises(&history), [Promise::Fresh]);
    }
}
