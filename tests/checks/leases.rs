//! Leases: they live as long as was promised, and not much longer.
//!
//! **A lease lives** at least its time to live from the moment at which its grant or any renewal was *asked for*: whoever
//! answered it did so later. So nobody may be told of its end before that, unless somebody asked to revoke it.
//!
//! **A lease ends** when nobody renews it: at most its time to live, two election timeouts and two seconds after the last
//! renewal that may have been heard (of one that was not answered: when it can still have been), or after the last
//! trouble, for a new leader gives every lease its whole time again. And once it has ended it is never seen again.
//!
//! Members measure time by their own clocks. How far these may be off is in [`LeaseTerms`].

use std::collections::BTreeMap;
use std::time::Duration;

use lodemark::machine::Rejection;
use lodemark::model::{Command, LeaseGrant, LeaseId, LeaseRevoke, Reply};

use super::history::{History, Moment, Operation, Outcome, Request};
use super::order::Known;
use super::{Promise, Truth, Violation};

/// How long a lease that nobody renews may be seen after its time, beside two election timeouts.
const GRACE: Duration = Duration::from_secs(2);
/// How long a renewal that was not answered may still be on its way: the request timeout of 7 s and a second to travel.
const ON_ITS_WAY_MAX: Duration = Duration::from_secs(8);

/// What the check must know of the cluster.
#[derive(Debug, Clone, Default)]
pub struct LeaseTerms {
    /// The cluster's.
    pub election_timeout: Duration,
    /// How much faster or slower than true time a member's clock runs at most, in parts of a thousand.
    pub drift_permille: u32,
    /// When a member's clock jumped ahead, and by how much.
    pub jumps: Vec<(Moment, Duration)>,
    /// From when to when something was wrong with the cluster: a leader may have changed, renewals may have been late.
    pub troubles: Vec<(Moment, Moment)>,
}

impl LeaseTerms {
    fn shorter(&self, time: Duration, from: Moment, to: Moment) -> Duration {
        let jumped = self.jumps.iter().filter(|(at, _)| (from..=to).contains(at)).map(|(_, by)| *by);
        (time - self.drift(time)).saturating_sub(jumped.sum())
    }

    fn longer(&self, time: Duration) -> Duration {
        time + self.drift(time) + 2 * self.election_timeout + GRACE
    }

    fn drift(&self, time: Duration) -> Duration {
        time * self.drift_permille / 1000
    }

    /// The end of the last trouble that began before a moment; the moment itself while there is trouble.
    fn calm_since(&self, moment: Moment) -> Moment {
        let before = self.troubles.iter().filter(|(from, _)| *from <= moment);
        before.map(|&(_, to)| to.min(moment)).max().unwrap_or_default()
    }
}

/// What was heard of one lease.
#[derive(Debug, Default)]
struct Lease {
    ttl: Duration,
    /// When it was granted or surely renewed: from asking to the answer.
    renewals: Vec<(Moment, Moment)>,
    /// When it was asked to be renewed, and nobody knows whether it was.
    attempts: Vec<Moment>,
    /// When somebody was told that it is not there.
    gone: Vec<(Moment, String)>,
    /// When somebody asked and was then told that it is there.
    alive: Vec<(Moment, String)>,
    /// When somebody first asked to revoke it.
    revoked: Option<Moment>,
}

/// Checks all leases whose grant was answered.
pub fn check(history: &History, truth: &Truth, terms: &LeaseTerms) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (id, lease) in gather(history, truth) {
        if lease.renewals.is_empty() {
            continue;
        }
        let wrong = lives(&lease, terms).map(|what| (Promise::LeaseLives, what));
        let wrong = wrong.or_else(|| ends(&lease, terms).map(|what| (Promise::LeaseEnds, what)));
        violations.extend(wrong.map(|(promise, what)| Violation::new(promise, format!("lease {id}: {what}"))));
    }
    violations
}

fn lives(lease: &Lease, terms: &LeaseTerms) -> Option<String> {
    for (gone, how) in &lease.gone {
        if lease.revoked.is_some_and(|revoked| revoked < *gone) {
            continue;
        }
        let asked_before = lease.renewals.iter().filter(|(asked, _)| asked < gone);
        for &(asked, _) in asked_before {
            let end = asked + terms.shorter(lease.ttl, asked, *gone);
            if *gone < end {
                return Some(format!("{how} at {gone:?}, but at {asked:?} it was given time until {end:?} or later"));
            }
        }
    }
    None
}

fn ends(lease: &Lease, terms: &LeaseTerms) -> Option<String> {
    let gone_first = lease.gone.iter().min_by_key(|(at, _)| *at);
    for (asked, how) in &lease.alive {
        if let Some((gone, why)) = gone_first.filter(|(gone, _)| gone <= asked) {
            return Some(format!("{how}, asked at {asked:?}, after it had ended: {why} at {gone:?}"));
        }
        let renewals = lease.renewals.iter().filter(|(begin, _)| begin <= asked).map(|&(_, end)| end.min(*asked));
        let attempts = lease.attempts.iter().filter(|begin| *begin <= asked);
        let attempts = attempts.map(|&begin| (begin + ON_ITS_WAY_MAX).min(*asked));
        let last = renewals.chain(attempts).max().unwrap_or_default().max(terms.calm_since(*asked));
        let end = last + terms.longer(lease.ttl);
        if *asked > end {
            return Some(format!("{how}, asked at {asked:?}; it should have ended until {end:?}"));
        }
    }
    None
}

fn gather(history: &History, truth: &Truth) -> BTreeMap<LeaseId, Lease> {
    let mut leases: BTreeMap<LeaseId, Lease> = BTreeMap::new();
    for operation in &history.operations {
        hear(operation, &mut leases);
    }
    let known = Known::new(history);
    for (&id, &revision) in &truth.lease_ends {
        if let Some(told) = known.first_told(revision) {
            leases.entry(id).or_default().gone.push((told, format!("its keys were gone at revision {revision}")));
        }
    }
    leases
}

fn hear(operation: &Operation, leases: &mut BTreeMap<LeaseId, Lease>) {
    let (begin, end) = (operation.begin, operation.end);
    match (&operation.request, &operation.outcome) {
        (Request::Command(Command::LeaseGrant(LeaseGrant { .. })), Outcome::Changed(Reply::LeaseGrant(reply))) => {
            let lease = leases.entry(reply.id).or_default();
            lease.ttl = seconds(reply.ttl);
            lease.renewals.push((begin, end));
        }
        (Request::Command(Command::LeaseRevoke(LeaseRevoke { id })), outcome) => {
            let lease = leases.entry(*id).or_default();
            match outcome {
                Outcome::Changed(_) => lease.gone.push((end, "it was revoked".into())),
                Outcome::Rejected(Rejection::LeaseNotFound) => {
                    lease.gone.push((end, "it could not be revoked".into()));
                    // The request itself has ended nothing.
                    return;
                }
                _ => {}
            }
            if *outcome != Outcome::NotDone {
                lease.revoked = Some(lease.revoked.map_or(begin, |earlier| earlier.min(begin)));
            }
        }
        (Request::KeepAlive(id), Outcome::KeptAlive(0)) => {
            leases.entry(*id).or_default().gone.push((end, "it could not be renewed".into()));
        }
        (Request::KeepAlive(id), Outcome::KeptAlive(_)) => {
            let lease = leases.entry(*id).or_default();
            lease.alive.push((begin, "it was renewed".into()));
            lease.renewals.push((begin, end));
        }
        (Request::KeepAlive(id), Outcome::Unknown) => leases.entry(*id).or_default().attempts.push(begin),
        (Request::TimeToLive(id), Outcome::Granted(None)) => {
            leases.entry(*id).or_default().gone.push((end, "it had no time to live".into()));
        }
        (Request::TimeToLive(id), Outcome::Granted(Some(_))) => {
            leases.entry(*id).or_default().alive.push((begin, "it had time to live".into()));
        }
        (Request::Command(Command::Put(put)), Outcome::Rejected(Rejection::LeaseNotFound)) => {
            leases.entry(put.lease).or_default().gone.push((end, "a put did not find it".into()));
        }
        (Request::Command(Command::Put(put)), Outcome::Changed(_)) if !put.lease.is_none() => {
            leases.entry(put.lease).or_default().alive.push((begin, "a put found it".into()));
        }
        (Request::Range(range), Outcome::Read(reply)) if range.revision <= 0 && !range.serializable => {
            for lease in reply.kvs.iter().map(|record| record.lease()).filter(|lease| !lease.is_none()) {
                leases.entry(lease).or_default().alive.push((begin, "it had a key".into()));
            }
        }
        _ => {}
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

mod tests {
    use super::super::replay::explain;
    use super::super::samples::*;
    use super::*;

    /// Five seconds, and two elections of a second.
    fn terms() -> LeaseTerms {
        LeaseTerms { election_timeout: Duration::from_secs(1), ..LeaseTerms::default() }
    }

    fn judge(operations: Vec<Operation>, terms: &LeaseTerms) -> Vec<Promise> {
        let history = history_of(operations);
        let truth = explain(&history).unwrap();
        check(&history, &truth, terms).into_iter().map(|violation| violation.promise).collect()
    }

    fn granted(mut more: Vec<Operation>) -> Vec<Operation> {
        more.insert(0, grant(7, 5, 1, (100, 200)));
        more
    }

    #[test]
    fn an_early_end_is_rejected_and_a_timely_one_is_not() {
        for gone in [
            |time| keep_alive(7, 0, time),
            |time| time_to_live(7, None, time),
            |time| rejected(put_with_lease("a", "1", 7, 0, time), Rejection::LeaseNotFound),
        ] {
            assert_eq!(judge(granted(vec![gone((5000, 5099))]), &terms()), [Promise::LeaseLives]);
            assert_eq!(judge(granted(vec![gone((5000, 5100))]), &terms()), []);
            let renewed = granted(vec![keep_alive(7, 5, (3000, 3100)), gone((7000, 7900))]);
            assert_eq!(judge(renewed, &terms()), [Promise::LeaseLives]);
        }
    }

    #[test]
    fn keys_that_go_early_are_rejected() {
        let until = |ms| granted(vec![put_with_lease("a", "1", 7, 2, (300, 400)), get("a", None, 3, (ms - 10, ms))]);
        assert_eq!(judge(until(5000), &terms()), [Promise::LeaseLives]);
        assert_eq!(judge(until(6000), &terms()), []);
    }

    #[test]
    fn a_key_that_somebody_may_have_deleted_accuses_no_lease() {
        let with_key = put_with_lease("a", "1", 7, 2, (300, 400));
        let deleted = unknown(delete("a", 1, 3, (500, 600)));
        assert_eq!(judge(granted(vec![with_key, deleted, get("a", None, 3, (990, 1000))]), &terms()), []);
    }

    #[test]
    fn who_revokes_may_end_it_at_any_time() {
        let gone = time_to_live(7, None, (1000, 1100));
        assert_eq!(judge(granted(vec![revoke(7, 1, (900, 950)), gone.clone()]), &terms()), []);
        assert_eq!(judge(granted(vec![unknown(revoke(7, 1, (900, 950))), gone.clone()]), &terms()), []);
        assert_eq!(judge(granted(vec![gone, revoke(7, 1, (2000, 2100))]), &terms()), [Promise::LeaseLives]);
    }

    #[test]
    fn a_lease_that_outlives_its_time_is_rejected() {
        // 5 s, 2 elections of 1 s, 2 s: until 9.2 s.
        let seen = |begin| granted(vec![time_to_live(7, Some(5), (begin, begin + 10))]);
        assert_eq!(judge(seen(9200), &terms()), []);
        assert_eq!(judge(seen(9201), &terms()), [Promise::LeaseEnds]);
        let mut with_key = granted(vec![put_with_lease("a", "1", 7, 2, (300, 400))]);
        let mut read = get("a", None, 2, (9500, 9600));
        let kvs = vec![record("a", ("1", 2, 2, 1), 7)];
        read.outcome = Outcome::Read(lodemark::model::RangeReply {
            revision: lodemark::model::Revision(2),
            kvs,
            more: false,
            count: 1,
        });
        with_key.push(read);
        assert_eq!(judge(with_key, &terms()), [Promise::LeaseEnds]);
    }

    #[test]
    fn renewals_and_troubles_move_the_end() {
        let seen = time_to_live(7, Some(5), (12_000, 12_010));
        let renewed = granted(vec![keep_alive(7, 5, (4000, 4100)), seen.clone()]);
        assert_eq!(judge(renewed, &terms()), []);
        let attempted = granted(vec![unknown(keep_alive(7, 5, (4000, 4100))), seen.clone()]);
        assert_eq!(judge(attempted, &terms()), []);
        let troubled = LeaseTerms { troubles: vec![(ms(2000), ms(4000))], ..terms() };
        assert_eq!(judge(granted(vec![seen]), &troubled), []);
        let late = time_to_live(7, Some(5), (14_000, 14_010));
        assert_eq!(judge(granted(vec![late]), &troubled), [Promise::LeaseEnds]);
    }

    #[test]
    fn a_lease_that_comes_back_is_rejected() {
        let back = vec![keep_alive(7, 0, (6000, 6100)), keep_alive(7, 5, (6100, 6200))];
        assert_eq!(judge(granted(back), &terms()), [Promise::LeaseEnds]);
        let back = vec![revoke(7, 1, (1000, 1100)), keep_alive(7, 5, (1100, 1200))];
        assert_eq!(judge(granted(back), &terms()), [Promise::LeaseEnds]);
    }

    #[test]
    fn clocks_that_are_off_are_allowed_for() {
        let early = granted(vec![time_to_live(7, None, (4000, 4100))]);
        let jumped = LeaseTerms { jumps: vec![(ms(2000), ms(1000))], ..terms() };
        assert_eq!(judge(early.clone(), &jumped), []);
        let fast = LeaseTerms { drift_permille: 200, ..terms() };
        assert_eq!(judge(early.clone(), &fast), []);
        let jumped_before = LeaseTerms { jumps: vec![(ms(50), ms(1000))], ..terms() };
        assert_eq!(judge(early, &jumped_before), [Promise::LeaseLives]);
    }
}
