//! One order that explains all answers.
//!
//! The reference model does what the history says, in order of revision. For each revision somebody must have made it:
//! whoever was answered with it, and the model must answer the same; or else, at a **gap**, one of those who were never
//! answered, or the end of a lease. After each revision everybody who was told of it without having made it (reads,
//! deletes of nothing, txns that changed nothing, grants) must be answered by the model as they were.
//!
//! At a gap there may be several who fit. They are tried one after another: first those that agree with what watches
//! heard of that revision, or, where they heard nothing, with what was read later. When a later
//! answer cannot be explained, the search comes back to the last gap and tries the next; the model is taken back with it.
//! Values that are never written twice keep this short.
//!
//! What was heard and read need not be true, for that is checked elsewhere. It nearly always is, so a first search takes
//! nobody who contradicts it: else a wrong choice that shows only after twenty gaps is not found among all that could be
//! chosen at each of them. Only if there is no such order a second one takes everybody.

use std::collections::BTreeMap;

use lodemark::machine::Rejection;
use lodemark::model::{
    Command, Event, EventKind, LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke, Reply, Revision, TxnOp,
};

use super::history::{Heard, History, Operation, Outcome, Request, pairs};
use super::order::Known;
use super::seen::{Seen, Sight};
use super::{Promise, Violation};
use crate::model::{Mark, Model};

/// Candidates that are tried in all, before the search gives up: seconds of work.
const TRIES_MAX: usize = 200_000;

/// The order of changes that explains a history.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The store after all of them.
    pub model: Model,
    /// The revisions that ended leases with keys took.
    pub lease_ends: BTreeMap<LeaseId, Revision>,
}

/// Finds an order that explains all answers.
///
/// # Errors
/// The answer that came furthest and cannot be explained if what was heard and read is true.
pub fn explain(history: &History) -> Result<Truth, Violation> {
    let trusting = Search::new(history, true)?.run();
    trusting.or_else(|why| Search::new(history, false)?.run().map_err(|_| why))
}

struct Search<'h> {
    known: Known,
    /// Nobody is taken who contradicts what was heard or read.
    is_trusting: bool,
    /// Who was answered with a revision of its own.
    makers: BTreeMap<Revision, &'h Operation>,
    /// Who was told of a revision and made none.
    tellers: BTreeMap<Revision, Vec<&'h Operation>>,
    /// Who may have made one, and whether that is taken as the explanation of a gap at present.
    unanswered: Vec<(&'h Operation, bool)>,
    /// What reads showed.
    seen: Seen<'h>,
    /// What watches heard.
    heard: BTreeMap<Revision, Vec<&'h Event>>,
    model: Model,
    /// In order of revision.
    lease_ends: Vec<(LeaseId, Revision)>,
    gaps: Vec<Gap>,
    tries: usize,
    /// Why the search could not go on, where it came furthest.
    furthest: (Revision, String),
}

/// A revision that nobody was told to have made.
struct Gap {
    revision: Revision,
    /// The state before it.
    mark: Mark,
    lease_ends: usize,
    /// The best last.
    candidates: Vec<Candidate>,
    /// The one that is taken at present.
    taken: Option<usize>,
}

/// How well a candidate agrees with what watches heard, or with what was read; the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Agreement {
    /// It does something else.
    None,
    /// Something else must have undone it before anybody looked.
    Doubtful,
    /// Nobody heard anything, or not of all that it does.
    Possible,
    /// It does what was heard and nothing else.
    Full,
}

#[derive(Debug, Clone, Copy)]
enum Candidate {
    /// By its place in `unanswered`.
    Unanswered(usize),
    LeaseEnd(LeaseId),
}

impl<'h> Search<'h> {
    fn new(history: &'h History, is_trusting: bool) -> Result<Search<'h>, Violation> {
        let mut makers: BTreeMap<Revision, &Operation> = BTreeMap::new();
        let mut tellers: BTreeMap<Revision, Vec<&Operation>> = BTreeMap::new();
        let mut unanswered = Vec::new();
        for operation in &history.operations {
            if let Some(revision) = operation.took_revision() {
                if let Some(other) = makers.insert(revision, operation) {
                    let what = format!("revision {revision} was given to two: {other:?} and {operation:?}");
                    return Err(Violation::new(Promise::Serializable, what));
                }
            } else if let Some(revision) = operation.revision() {
                tellers.entry(revision).or_default().push(operation);
            } else if operation.outcome == Outcome::Unknown && changes_keys(&operation.request) {
                unanswered.push((operation, false));
            }
        }
        for tellers in tellers.values_mut() {
            // Grants before those who may use the lease; compactions in the only order that lets all succeed.
            tellers.sort_by_key(|operation| match &operation.request {
                Request::Command(Command::LeaseGrant(_)) => (0, 0),
                Request::Command(Command::LeaseRevoke(_)) => (1, 0),
                Request::Command(Command::Compact(compact)) => (3, compact.revision.0),
                _ => (2, 0),
            });
        }
        Ok(Search {
            known: Known::new(history),
            is_trusting,
            makers,
            tellers,
            unanswered,
            seen: Seen::new(history),
            heard: heard(history),
            model: Model::new(),
            lease_ends: Vec::new(),
            gaps: Vec::new(),
            tries: 0,
            furthest: (Revision(0), String::new()),
        })
    }

    fn run(mut self) -> Result<Truth, Violation> {
        if let Err(why) = self.settle(Revision::FRESH) {
            return Err(Violation::new(Promise::Serializable, why));
        }
        let newest = self.known.newest();
        while self.model.revision() < newest {
            let next = self.model.revision().next();
            let made = match self.makers.get(&next) {
                Some(maker) => self.make(maker).and_then(|()| self.settle(next)),
                None => {
                    self.open_gap(next);
                    Err(format!("nobody can have made revision {next}, of which {:?} was told", self.heard.get(&next)))
                }
            };
            let Err(why) = made else { continue };
            self.note(next, why);
            if !self.go_back() {
                return Err(Violation::new(Promise::Serializable, self.furthest.1));
            }
        }
        Ok(Truth { model: self.model, lease_ends: self.lease_ends.into_iter().collect() })
    }

    fn note(&mut self, at: Revision, why: String) {
        // The later of two reasons at one place: the first is only that the gap was empty yet.
        if at >= self.furthest.0 {
            self.furthest = (at, why);
        }
    }

    /// Takes the next candidate of the last gap that has one. `false` if there is none left.
    fn go_back(&mut self) -> bool {
        while let Some(gap) = self.gaps.last_mut() {
            self.model.rewind(&gap.mark);
            self.lease_ends.truncate(gap.lease_ends);
            if let Some(taken) = gap.taken.take() {
                self.unanswered[taken].1 = false;
            }
            let revision = gap.revision;
            let Some(candidate) = gap.candidates.pop() else {
                self.gaps.pop();
                continue;
            };
            self.tries += 1;
            if self.tries > TRIES_MAX {
                let why = format!("no explanation within {TRIES_MAX} tries; furthest: {}", self.furthest.1);
                self.furthest.1 = why;
                return false;
            }
            if !self.take(candidate, revision) {
                continue;
            }
            match self.settle(revision) {
                Ok(()) => return true,
                Err(why) => self.note(revision, why),
            }
        }
        false
    }

    /// Lets a candidate explain a gap; `false` if it does not make that revision.
    fn take(&mut self, candidate: Candidate, revision: Revision) -> bool {
        match candidate {
            Candidate::Unanswered(place) => {
                let Request::Command(command) = &self.unanswered[place].0.request else { return false };
                let has_changed = self.model.apply(command).is_ok() && self.model.revision() == revision;
                if has_changed {
                    self.unanswered[place].1 = true;
                    self.gaps.last_mut().expect("a candidate belongs to a gap").taken = Some(place);
                }
                has_changed
            }
            Candidate::LeaseEnd(id) => {
                let expire = LeaseExpire { ids: vec![id], term: self.model.term, as_of: 0 };
                let has_changed =
                    self.model.apply(&Command::LeaseExpire(expire)).is_ok() && self.model.revision() == revision;
                if has_changed {
                    self.lease_ends.push((id, revision));
                }
                has_changed
            }
        }
    }

    fn open_gap(&mut self, revision: Revision) {
        let told = self.known.first_told(revision);
        // Whoever asked only after the revision was known cannot have made it.
        let in_time = |operation: &Operation| told.is_none_or(|told| operation.begin < told);
        let unanswered = self.unanswered.iter().enumerate();
        let unanswered = unanswered.filter(|(_, (operation, is_taken))| !is_taken && in_time(operation));
        let unanswered: Vec<Candidate> = unanswered.map(|(place, _)| Candidate::Unanswered(place)).collect();
        // First, so that of two who agree as well the lease comes last: its end would accuse the cluster if it is early.
        let leases = self.model.leases().into_iter().filter(|(_, _, keys)| !keys.is_empty());
        let mut candidates: Vec<Candidate> = leases.map(|(id, _, _)| Candidate::LeaseEnd(id)).collect();
        candidates.extend(unanswered);
        let (mark, lease_ends) = (self.model.mark(), self.lease_ends.len());
        self.gaps.push(Gap { revision, mark, lease_ends, candidates: Vec::new(), taken: None });
        let mut judged: Vec<(Agreement, Candidate)> =
            candidates.into_iter().map(|candidate| (self.agreement(candidate, revision), candidate)).collect();
        judged.retain(|(agreement, _)| !self.is_trusting || *agreement != Agreement::None);
        judged.sort_by_key(|(agreement, _)| *agreement);
        let candidates = judged.into_iter().map(|(_, candidate)| candidate).collect();
        self.gaps.last_mut().expect("it was pushed").candidates = candidates;
    }

    /// How well a candidate agrees with what is known of a revision.
    fn agreement(&mut self, candidate: Candidate, revision: Revision) -> Agreement {
        let heard = self.heard.get(&revision).cloned();
        if let (Candidate::Unanswered(place), Some(heard)) = (candidate, &heard)
            && !heard.iter().all(|event| can_cause(&self.unanswered[place].0.request, event))
        {
            return Agreement::None;
        }
        let Some(made) = self.would_make(candidate, revision) else { return Agreement::None };
        let Some(heard) = heard else {
            return match self.seen.sight(revision, &made) {
                Sight::Contradicted => Agreement::None,
                Sight::Doubtful => Agreement::Doubtful,
                Sight::Open => Agreement::Possible,
                Sight::Shown => Agreement::Full,
            };
        };
        let is_made = |event: &&Event| made.iter().any(|other| other.record == event.record);
        if !heard.iter().all(is_made) {
            Agreement::None
        } else if made.len() > heard.len() {
            Agreement::Possible
        } else {
            Agreement::Full
        }
    }

    /// What a candidate would do as this revision; `None` if it does not make it.
    fn would_make(&mut self, candidate: Candidate, revision: Revision) -> Option<Vec<Event>> {
        let mark = self.model.mark();
        let lease_ends = self.lease_ends.len();
        let has_changed = self.take(candidate, revision);
        let made = self.model.changes_from(revision);
        self.model.rewind(&mark);
        self.lease_ends.truncate(lease_ends);
        if let Candidate::Unanswered(place) = candidate {
            self.unanswered[place].1 = false;
            self.gaps.last_mut().expect("a candidate belongs to a gap").taken = None;
        }
        has_changed.then_some(made)
    }

    /// Lets the model do what somebody was answered to have done.
    fn make(&mut self, maker: &Operation) -> Result<(), String> {
        let (Request::Command(command), Outcome::Changed(reply)) = (&maker.request, &maker.outcome) else {
            return Err(format!("no change has this answer: {maker:?}"));
        };
        let promised = self.model.apply(command);
        if promised.as_ref() == Ok(reply) { Ok(()) } else { Err(differs(maker, &promised)) }
    }

    /// Compares everybody who was told of the present revision.
    fn settle(&mut self, revision: Revision) -> Result<(), String> {
        let Some(tellers) = self.tellers.get(&revision) else { return Ok(()) };
        for &teller in tellers {
            match (&teller.request, &teller.outcome) {
                (Request::Range(range), Outcome::Read(reply)) => {
                    let at = if range.revision <= 0 { revision } else { Revision(range.revision) };
                    let promised = self.model.range_at(range, at);
                    if at > revision || promised != *reply {
                        let (found, promised) = (pairs(&reply.kvs), pairs(&promised.kvs));
                        return Err(format!("{teller:?} found [{found}], at revision {at} there was [{promised}]"));
                    }
                }
                // Whoever grants chooses the id, and raises the time to live.
                (Request::Command(Command::LeaseGrant(_)), Outcome::Changed(Reply::LeaseGrant(reply))) => {
                    let grant = LeaseGrant { id: reply.id, ttl: reply.ttl };
                    let promised = self.model.apply(&Command::LeaseGrant(grant));
                    if promised != Ok(Reply::LeaseGrant(*reply)) {
                        return Err(differs(teller, &promised));
                    }
                }
                (Request::Command(Command::LeaseRevoke(LeaseRevoke { id })), Outcome::Changed(_))
                    if self.lease_ends.contains(&(*id, revision)) => {}
                (Request::Command(command), Outcome::Changed(reply)) => {
                    let promised = self.model.apply(command);
                    if promised.as_ref() != Ok(reply) || self.model.revision() != revision {
                        return Err(differs(teller, &promised));
                    }
                }
                _ => return Err(format!("no request has this answer: {teller:?}")),
            }
        }
        Ok(())
    }
}

fn differs(operation: &Operation, promised: &Result<Reply, Rejection>) -> String {
    format!("{operation:?}, at this place in the order it would be {promised:?}")
}

/// Whether a change may take a revision and is nobody's but the client's.
fn changes_keys(request: &Request) -> bool {
    matches!(request, Request::Command(Command::Put(_) | Command::DeleteRange(_) | Command::Txn(_)))
}

/// What watches heard of each revision, each event once.
fn heard(history: &History) -> BTreeMap<Revision, Vec<&Event>> {
    let mut found: BTreeMap<Revision, Vec<&Event>> = BTreeMap::new();
    for session in history.watchings.iter().flat_map(|watching| &watching.sessions) {
        for (_, heard) in &session.heard {
            let Heard::Events(events) = heard else { continue };
            for event in events {
                let of_revision = found.entry(event.revision()).or_default();
                if !of_revision.iter().any(|other| other.key() == event.key() && other.kind == event.kind) {
                    of_revision.push(event);
                }
            }
        }
    }
    found
}

/// Whether a request can be what an event tells of.
fn can_cause(request: &Request, event: &Event) -> bool {
    let Request::Command(command) = request else { return false };
    match command {
        Command::Put(put) => causes(&TxnOp::Put(put.clone()), event),
        Command::DeleteRange(delete) => causes(&TxnOp::DeleteRange(delete.clone()), event),
        Command::Txn(txn) => causes(&TxnOp::Txn(txn.clone()), event),
        _ => false,
    }
}

fn causes(op: &TxnOp, event: &Event) -> bool {
    match op {
        TxnOp::Put(put) => {
            let has_value = put.ignore_value || put.value == event.record.value();
            event.kind == EventKind::Put && put.key == event.key() && has_value
        }
        TxnOp::DeleteRange(delete) => event.kind == EventKind::Delete && delete.keys.contains(event.key()),
        TxnOp::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|op| causes(op, event)),
        TxnOp::Range(_) => false,
    }
}

mod tests {
    use super::super::samples::*;
    use super::*;
    use bytes::Bytes;
    use lodemark::model::{
        Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, OpReply, Put, PutReply, Txn, TxnReply,
    };

    fn is_explained(history: &History) -> bool {
        explain(history).is_ok()
    }

    /// Sets `b` to `2` if `a` was written once.
    fn swap(reply: TxnReply, time: (u64, u64)) -> Operation {
        let keys = KeyRange::single(Bytes::from_static(b"a"));
        let compare = Compare { keys, result: CompareResult::Equal, target: CompareTarget::Version(1) };
        let put = Put { key: Bytes::from_static(b"b"), value: Bytes::from_static(b"2"), ..Put::default() };
        txn(Txn { compare: vec![compare], success: vec![TxnOp::Put(put)], failure: Vec::new() }, reply, time)
    }

    #[test]
    fn answers_in_order_of_revision_are_explained() {
        let done = OpReply::Put(PutReply { revision: Revision(3), prev: None });
        let swapped = TxnReply { revision: Revision(3), succeeded: true, responses: vec![done] };
        let history = history([
            get("a", None, 1, (0, 5)),
            put("a", "1", 2, (0, 10)),
            swap(swapped, (10, 20)),
            get("b", Some(("2", 3, 3, 1)), 3, (20, 30)),
            at_revision(get("b", None, 3, (30, 40)), 2),
            delete("a", 1, 4, (40, 50)),
            delete("a", 0, 4, (50, 60)),
        ]);
        assert!(is_explained(&history));
    }

    #[test]
    fn a_wrong_answer_is_rejected() {
        let first = put("a", "1", 2, (0, 10));
        let not_swapped = TxnReply { revision: Revision(2), succeeded: false, responses: Vec::new() };
        for wrong in [
            get("a", Some(("2", 2, 2, 1)), 2, (10, 20)),
            get("a", None, 2, (10, 20)),
            get("a", Some(("1", 2, 2, 2)), 2, (10, 20)),
            serializable(get("a", None, 2, (10, 20))),
            at_revision(get("a", Some(("1", 2, 2, 1)), 2, (10, 20)), 1),
            delete("a", 0, 2, (10, 20)),
            delete("a", 2, 3, (10, 20)),
            swap(not_swapped, (10, 20)),
            // One revision for two.
            put("b", "2", 2, (10, 20)),
        ] {
            let history = history([first.clone(), wrong]);
            assert!(!is_explained(&history), "{:?}", history.operations[1]);
        }
    }

    #[test]
    fn a_lost_write_is_rejected() {
        // Revision 2 was acknowledged, and then another member gave it to somebody else.
        let history = history([
            put("a", "1", 2, (0, 10)),
            get("a", None, 2, (10, 20)),
            unknown(put("b", "2", 0, (0, 10))),
            get("b", Some(("2", 2, 2, 1)), 2, (10, 20)),
        ]);
        assert!(!is_explained(&history));
    }

    #[test]
    fn whoever_was_not_answered_may_explain_a_gap_once() {
        let lost = unknown(put("a", "1", 0, (0, 10)));
        let seen = get("a", Some(("1", 2, 2, 1)), 2, (20, 30));
        assert!(is_explained(&history([lost.clone(), seen.clone()])));
        assert!(is_explained(&history([lost.clone()])), "it need not take effect");
        assert!(!is_explained(&history([seen.clone()])), "nobody made it");
        // Twice.
        let again = get("a", Some(("1", 2, 3, 2)), 3, (30, 40));
        assert!(!is_explained(&history([lost, seen.clone(), again])));
        // Asked for only after it was seen.
        assert!(!is_explained(&history([seen, unknown(put("a", "1", 0, (40, 50)))])));
    }

    #[test]
    fn the_search_comes_back_to_a_gap_that_it_explained_wrongly() {
        // Three who were not answered; only the order 2, 3, 1 explains what is read at the end.
        let candidates = ["1", "2", "3"].map(|value| unknown(put("a", value, 0, (0, 10))));
        let mut operations = candidates.to_vec();
        operations.push(get("a", Some(("1", 2, 4, 3)), 4, (20, 30)));
        operations.push(at_revision(get("a", Some(("2", 2, 2, 1)), 4, (20, 30)), 2));
        let truth = explain(&history_of(operations)).unwrap();
        let values =
            truth.model.changes_from(Revision(2)).iter().map(|e| e.record.value().to_vec()).collect::<Vec<_>>();
        assert_eq!(values, [b"2", b"3", b"1"]);
    }

    #[test]
    fn a_lease_that_ends_explains_a_gap_if_it_has_keys() {
        let attached = [grant(7, 5, 1, (0, 5)), put_with_lease("a", "1", 7, 2, (5, 10))];
        let gone = get("a", None, 3, (20, 30));
        let mut operations = attached.to_vec();
        operations.push(gone.clone());
        let truth = explain(&history_of(operations.clone())).unwrap();
        assert_eq!(truth.lease_ends, BTreeMap::from([(LeaseId(7), Revision(3))]));
        operations.push(revoke(7, 3, (15, 40)));
        assert!(is_explained(&history_of(operations.clone())), "the revoke is what ended it");
        operations[3] = revoke(7, 2, (15, 40));
        assert!(!is_explained(&history_of(operations)), "it had a key when it was revoked");
        assert!(!is_explained(&history([put("a", "1", 2, (5, 10)), gone])), "a key without a lease stays");
    }

    #[test]
    fn a_put_needs_a_lease_that_lives() {
        let put = put_with_lease("a", "1", 7, 2, (20, 30));
        assert!(!is_explained(&history([put.clone()])));
        assert!(!is_explained(&history([grant(7, 5, 1, (0, 5)), revoke(7, 1, (5, 10)), put])));
    }

    #[test]
    fn who_did_just_what_was_heard_is_tried_before_who_did_that_and_more() {
        // Of the two who were not answered only one deletes nothing else. The other would be contradicted only far away,
        // after many gaps each of which has many who fit.
        let mut operations: Vec<Operation> = (0..8).map(|n| put(&format!("a{n}"), "1", 2 + n, (0, 10))).collect();
        let all = DeleteRange { keys: KeyRange::prefix(Bytes::from_static(b"a")), prev_kv: false };
        let all = operation(Request::Command(Command::DeleteRange(all)), Outcome::Unknown, (20, 30));
        operations.push(unknown(delete("a0", 1, 0, (20, 30))));
        operations.push(all);
        operations.extend((0..16).map(|n| unknown(put(&format!("b{n}"), "1", 0, (20, 30)))));
        operations.push(get("a7", Some(("1", 9, 9, 1)), 18, (40, 50)));
        let mut history = history_of(operations);
        history.watchings.push(watching(vec![(20, created(9)), (35, events(vec![delete_event("a0", 10, None)]))]));
        assert!(is_explained(&history));
    }

    #[test]
    fn a_wrong_choice_between_two_who_did_what_was_heard_is_found_after_many_gaps() {
        // The lease's end deleted the key first, and a delete that was not answered the second time, sixteen gaps later.
        let mut operations = vec![grant(7, 5, 1, (0, 5)), put_with_lease("a", "1", 7, 2, (5, 10))];
        operations.push(unknown(delete("a", 1, 0, (10, 20))));
        operations.extend((0..16).map(|n| unknown(put(&format!("b{n}"), "1", 0, (10, 20)))));
        operations.push(put("a", "2", 20, (10, 40)));
        operations.push(get("a", None, 21, (40, 50)));
        let mut heard = vec![(20, created(2)), (35, events(vec![delete_event("a", 3, None)]))];
        let put_of = |n: i64| events(vec![put_event(&format!("b{n}"), "1", n + 4, n + 4, 1, None)]);
        heard.extend((0..16).map(|n| (35, put_of(n))));
        heard.push((36, events(vec![delete_event("a", 21, None)])));
        let mut history = history_of(operations);
        history.watchings.push(watching(heard));
        let truth = explain(&history).unwrap();
        assert_eq!(truth.lease_ends, BTreeMap::from([(LeaseId(7), Revision(3))]));
        assert!(Search::new(&history, false).unwrap().run().is_err(), "trusting nobody it is not found in time");
    }

    #[test]
    fn what_was_read_later_leads_where_no_watch_heard() {
        // Eight of 48 took effect, and nobody was told of one of them: only the last read says which.
        let lost = |n: usize| unknown(put(&format!("k{n:02}"), "1", 0, (0, 10)));
        let mut operations: Vec<Operation> = (0..48).map(lost).collect();
        let read = |n: i64| get(&format!("k{:02}", n * 5), Some(("1", n + 2, n + 2, 1)), 9, (20, 30));
        operations.extend((0..8).map(read));
        let others = (0..48).filter(|n| n % 5 > 0 || *n >= 40);
        operations.extend(others.map(|n| get(&format!("k{n:02}"), None, 9, (20, 30))));
        assert!(is_explained(&history_of(operations)));
    }

    #[test]
    fn keys_that_were_gone_when_somebody_looked_are_doubtful() {
        // The eight whose keys nobody looked at took effect, in whatever order.
        let mut operations: Vec<Operation> = (0..8).map(|n| unknown(put(&format!("a{n}"), "1", 0, (0, 10)))).collect();
        operations.extend((0..48).map(|n| unknown(put(&format!("k{n:02}"), "1", 0, (0, 10)))));
        operations.extend((0..48).map(|n| get(&format!("k{n:02}"), None, 9, (20, 30))));
        assert!(is_explained(&history_of(operations)));
    }

    #[test]
    fn watches_choose_among_those_who_fit() {
        let mut history = history_of(vec![unknown(put("a", "1", 0, (0, 10))), unknown(put("a", "2", 0, (0, 10)))]);
        history
            .watchings
            .push(watching(vec![(20, created(1)), (21, events(vec![put_event("a", "2", 2, 2, 1, None)]))]));
        let truth = explain(&history).unwrap();
        assert_eq!(truth.model.changes_from(Revision(2))[0].record.value(), b"2");
    }
}
