//! One run of one seed: a cluster starts, everything goes wrong for a while, heals, and is judged.

use std::time::Duration;

use bytes::Bytes;
use lodemark::env::mistake::{self, Mistake};
use lodemark::model::{Command, Put, Range, Revision};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot::error::TryRecvError;

use super::checks;
use super::checks::agreement::{self, Contents};
use super::checks::history::{Moment, Outcome, Request};
use super::checks::leases::LeaseTerms;
use super::clients::Clients;
use super::faults::Faults;
use super::front::everything;
use super::member::ELECTION_TIMEOUT;
use super::watchers::Watchers;
use super::world::{DRIFT_PERMILLE_MAX, World};

/// How long a new cluster may need until all its members serve.
const BEGIN_MAX: Duration = Duration::from_secs(20);
/// How long things go wrong.
const CHAOS: Duration = Duration::from_secs(40);
/// How long after everything is healed a write on each member may take.
const HEAL_MAX: Duration = Duration::from_secs(10);
/// How long it takes at most, after everything else is healed, until a lost member is replaced.
const REPLACE_MAX: Duration = Duration::from_secs(20);
/// How long the last requests may take: as long as the patience of a client.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// After this all leases that nobody renews must have ended: 5 s, two election timeouts, 2 s, and clocks that are off.
const LEASES_END: Duration = Duration::from_secs(10);
/// After this watchers have heard everything, and members have applied everything.
const QUIET: Duration = Duration::from_secs(4);
/// How long members may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How long something asked for again and again pauses.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// The client that asks to see whether the cluster is well.
const PROBE: u64 = 0;

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Members.
    pub size: u64,
    /// What the members do wrong on purpose.
    pub mistake: Option<Mistake>,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The trace, and how long it is.
    pub trace: (u64, u64),
    /// What must not have happened.
    pub violations: Vec<String>,
    /// What went wrong on purpose.
    pub faults: Vec<String>,
    /// Requests, and those that were answered.
    pub operations: (usize, usize),
    /// The last revision.
    pub revision: Revision,
    /// Simulated time.
    pub lasted: Moment,
}

/// Runs a seed.
pub fn run(plan: &Plan) -> Report {
    mistake::make(plan.mistake);
    let mut seeds = StdRng::seed_from_u64(plan.seed);
    let world = World::new(seeds.random(), plan.size);
    let drift_permille = u32::try_from(DRIFT_PERMILLE_MAX + 1).expect("it is small");
    let terms = LeaseTerms { election_timeout: ELECTION_TIMEOUT, drift_permille, ..LeaseTerms::default() };
    let faults = Faults::new(seeds.random(), world.members.len(), terms);
    let (clients, watchers) = (Clients::new(seeds.random()), Watchers::new(seeds.random()));
    let mut run = Run { world, faults, clients, watchers };
    let must_reach = run.course();
    run.judge(must_reach)
}

struct Run {
    world: World,
    faults: Faults,
    clients: Clients,
    watchers: Watchers,
}

impl Run {
    /// From the first start to the ordered end of all members; gives the revision that everybody must have heard of.
    fn course(&mut self) -> Option<Revision> {
        for place in 0..self.world.members.len() {
            self.world.start(place);
        }
        let are_ready = |run: &Run| {
            run.world.members.iter().all(|member| member.process.as_ref().is_some_and(super::member::Process::is_ready))
        };
        let has_begun = self.until(BEGIN_MAX, Run::step, are_ready);
        self.expect(has_begun, "the cluster does not begin");
        self.faults.terms.troubles.push((Moment::ZERO, self.world.now));

        let end = self.world.now + CHAOS;
        while self.world.now < end && self.world.violations.is_empty() {
            self.faults.act(&mut self.world, &mut self.clients);
            self.step();
        }
        self.faults.heal(&mut self.world, &mut self.clients);
        let end = self.world.now + REPLACE_MAX;
        while !self.faults.go_on(&mut self.world) && self.world.now < end && self.world.violations.is_empty() {
            self.step();
        }
        self.expect(self.world.now < end, "a member cannot be replaced");
        let healed = self.world.now;
        for place in 0..self.world.members.len() {
            let left = (healed + HEAL_MAX).saturating_sub(self.world.now);
            let (request, what) = (probe(place, self.world.now), "a write after everything was healed");
            self.insist(place, &request, left, what);
        }

        self.clients.is_over = true;
        let are_idle = self.until(LAST_ANSWERS, Run::step, |run| run.clients.are_idle());
        self.expect(are_idle, "clients wait for ever");
        self.watchers.is_over = true;
        self.pass(LEASES_END);
        for lease in self.clients.leases() {
            self.insist(0, &Request::TimeToLive(lease), QUIET, "the time to live of a lease");
        }
        let all = Request::Range(Range::of(everything()));
        let mut newest = None;
        for place in 0..self.world.members.len() {
            newest = newest.max(self.insist(place, &all, QUIET, "a read of everything"));
        }
        self.pass(QUIET);
        // Of a run that was broken off nobody expects it.
        if self.world.violations.is_empty() {
            self.compare_contents();
        }
        self.end_in_order();
        newest
    }

    /// Lets a quantum pass, with all that clients do.
    fn step(&mut self) {
        self.world.step();
        self.clients.act(&self.world);
        self.watchers.act(&self.world, &self.clients);
    }

    fn pass(&mut self, duration: Duration) {
        self.until(duration, Run::step, |_| false);
    }

    /// Whether it came in time.
    fn until(&mut self, within: Duration, step: impl Fn(&mut Run), has_come: impl Fn(&Run) -> bool) -> bool {
        let end = self.world.now + within;
        while self.world.now < end && self.world.violations.is_empty() {
            if has_come(self) {
                return true;
            }
            step(self);
        }
        has_come(self)
    }

    fn expect(&mut self, is_so: bool, otherwise: &str) {
        if !is_so && self.world.violations.is_empty() {
            self.world.violations.push(format!("{otherwise}, at {:?}", self.world.now));
        }
    }

    /// Asks one member until it answers; gives the revision of the answer.
    fn insist(&mut self, place: usize, request: &Request, within: Duration, what: &str) -> Option<Revision> {
        let end = self.world.now + within;
        while self.world.now < end && self.world.violations.is_empty() {
            if let Some(asked) = self.clients.ask(&self.world, place, PROBE, request.clone()) {
                let answered = move |run: &Run| run.clients.history.operations[asked].end < Moment::MAX;
                self.until(end.saturating_sub(self.world.now), Run::step, answered);
                let operation = &self.clients.history.operations[asked];
                if !matches!(operation.outcome, Outcome::Unknown | Outcome::NotDone) {
                    return operation.revision();
                }
            }
            self.until(PROBE_PAUSE, Run::step, |_| false);
        }
        let member = self.world.members[place].id;
        self.expect(false, &format!("member {member} does not answer {what} within {within:?}"));
        None
    }

    /// Members that have applied the same must have the same.
    fn compare_contents(&mut self) {
        let range = Range { serializable: true, ..Range::of(everything()) };
        let mut contents = Vec::new();
        for member in &self.world.members {
            let node = member.process.as_ref().and_then(|process| process.node());
            if let Some(Ok(reply)) = node.and_then(|node| node.range_now(&range)) {
                contents.push(Contents { member: member.id.0, revision: reply.revision, pairs: reply.kvs });
            }
        }
        let differences = agreement::check(&contents);
        self.world.violations.extend(differences.iter().map(ToString::to_string));
    }

    fn end_in_order(&mut self) {
        let mut ends = Vec::new();
        for member in &self.world.members {
            let Some(process) = &member.process else { continue };
            let Some(node) = process.node().cloned() else { continue };
            let (tx, rx) = tokio::sync::oneshot::channel::<()>();
            process.spawn(async move {
                node.stop().await;
                // Nobody listens any more if it took too long.
                let _ = tx.send(());
            });
            ends.push(std::cell::RefCell::new(rx));
        }
        let have_ended = |_: &Run| ends.iter().all(|end| end.borrow_mut().try_recv() != Err(TryRecvError::Empty));
        let in_time = self.until(STOP_MAX, |run| run.world.step(), have_ended);
        self.expect(in_time, "members do not stop");
        for place in 0..self.world.members.len() {
            self.world.kill(place);
            self.world.note_checkpoint(place);
        }
    }

    fn judge(self, must_reach: Option<Revision>) -> Report {
        let Run { world, faults, mut clients, watchers } = self;
        clients.history.watchings = watchers.finish(must_reach);
        let mut violations = world.violations;
        // A run that was broken off says nothing of what should have ended well; what was told must be right anyway.
        let (found, truth) = checks::check(&clients.history, &faults.terms);
        violations.extend(found.iter().map(ToString::to_string));
        let operations = &clients.history.operations;
        let answered = operations.iter().filter(|operation| operation.end < Moment::MAX);
        let answered = answered.filter(|operation| !matches!(operation.outcome, Outcome::Unknown | Outcome::NotDone));
        Report {
            trace: world.network.trace(|trace, _| trace.finish()),
            violations,
            faults: faults.told,
            operations: (operations.len(), answered.count()),
            revision: truth.map_or(Revision(0), |truth| truth.model.revision()),
            lasted: world.now,
        }
    }
}

fn probe(place: usize, now: Moment) -> Request {
    let value = Bytes::from(format!("probe-{place}-{}", now.as_millis()));
    Request::Command(Command::Put(Put { key: Bytes::from_static(b"probe"), value, ..Put::default() }))
}
