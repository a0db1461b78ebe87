//! What the keeper decides, with a clock that stands still; and once with a whole node.

use std::path::Path;

use arc_swap::ArcSwap;

use super::*;
use crate::env::{ManualClock, SeededRandom, SimDisk};
use crate::machine::{Effects, Machine};
use crate::metrics::Metrics;
use crate::model::{ClusterId, LeaseGrant, LogId, MemberId};
use crate::node::{Identity, Node, NodeOptions};
use crate::storage::Storage;

const TERM: u64 = 1;
const EXTENSION: Duration = Duration::from_secs(1);
/// Longer than anything here takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

struct Keeper {
    clock: Arc<ManualClock>,
    keeper: Arc<LeaseKeeper>,
    walk: Walk,
}

impl Keeper {
    fn new() -> Keeper {
        let clock = Arc::new(ManualClock::default());
        let storage = Storage::open(Arc::new(SimDisk::new()), Path::new("state"), 1 << 20).unwrap();
        let machine = parking_lot::RwLock::new(Machine::new());
        let shared = Arc::new(Shared { machine, storage: ArcSwap::from_pointee(storage) });
        let keeper = LeaseKeeper::new(shared, clock.clone(), (EXTENSION, Metrics::default().lease));
        keeper.follow(Some(TERM));
        let walk = keeper.next_walk();
        Keeper { clock, keeper, walk }
    }

    fn apply(&self, command: &Command) {
        let mut effects = Effects::default();
        {
            let mut machine = self.keeper.shared.machine.write();
            let index = machine.applied().index + 1;
            machine.begin_entry(LogId { term: TERM, index }).unwrap();
            machine.apply(command, &self.keeper.shared.storage.load(), &mut effects).unwrap().unwrap();
        }
        self.keeper.applied(&effects.leases);
    }

    fn grant(&self, id: i64, ttl: i64) {
        self.apply(&Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl }));
    }

    fn store(&self, remaining: Vec<(LeaseId, i64)>) {
        self.apply(&Command::LeaseCheckpoint(LeaseCheckpoint {
            remaining,
            term: TERM,
            as_of: self.keeper.applied_index(),
        }));
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn choose(&mut self) -> Vec<(LeaseId, i64)> {
        self.keeper.choose_remaining(TERM, &mut self.walk)
    }

    /// The term that the member leads, as it knows itself.
    fn term(&self) -> Option<u64> {
        self.keeper.ends.lock().term
    }

    fn try_renew(&self, id: i64) -> Renewal {
        self.keeper.try_renew(LeaseId(id), self.term())
    }

    fn left(&self, id: i64) -> i64 {
        match self.keeper.remaining(LeaseQuestion { id: LeaseId(id), with_keys: false }, self.term()) {
            Some(LeaseAnswer::Lives { left, .. }) => left,
            other => panic!("the lease lives: {other:?}"),
        }
    }
}

#[test]
fn a_new_leader_goes_on_from_what_was_stored() {
    let keeper = Keeper::new();
    keeper.grant(1, 1200);
    keeper.grant(2, 1200);
    keeper.store(vec![(LeaseId(1), 500)]);
    assert!(keeper.keeper.follow(None));
    assert!(keeper.keeper.follow(Some(TERM + 1)));
    assert_eq!((keeper.left(1), keeper.left(2)), (501, 1201));
    assert!(!keeper.keeper.follow(Some(TERM + 1)));
}

#[test]
fn who_leads_the_same_term_again_promises_nothing_of_what_it_let_end() {
    let keeper = Keeper::new();
    keeper.grant(1, 10);
    keeper.grant(2, 20);
    keeper.advance(10);
    assert_eq!(keeper.keeper.ends.lock().expire(keeper.clock.now()), [LeaseId(1)]);
    // Cut off for a while; what was proposed may be in the log.
    assert!(keeper.keeper.follow(None));
    assert!(keeper.keeper.follow(Some(TERM)));
    assert!(matches!(keeper.try_renew(1), Renewal::Ending));
    assert_eq!((keeper.left(1), keeper.left(2)), (0, 21));
    assert_eq!(keeper.keeper.ends.lock().expire(keeper.clock.now()), [LeaseId(1)], "it is proposed again");
    // In another term it would be dropped.
    assert!(keeper.keeper.follow(None));
    assert!(keeper.keeper.follow(Some(TERM + 1)));
    assert_eq!(keeper.left(1), 11);
    assert!(matches!(keeper.try_renew(1), Renewal::Renewed(10)));
}

#[test]
fn what_ended_is_doomed_no_more() {
    let keeper = Keeper::new();
    keeper.grant(1, 10);
    keeper.advance(10);
    assert_eq!(keeper.keeper.ends.lock().expire(keeper.clock.now()), [LeaseId(1)]);
    let as_of = keeper.keeper.applied_index();
    keeper.apply(&Command::LeaseExpire(LeaseExpire { ids: vec![LeaseId(1)], term: TERM, as_of }));
    // The id is granted anew.
    keeper.grant(1, 10);
    keeper.keeper.follow(None);
    keeper.keeper.follow(Some(TERM));
    assert!(matches!(keeper.try_renew(1), Renewal::Renewed(10)));
}

#[test]
fn leases_that_would_end_together_after_an_election_are_spread() {
    let keeper = Keeper::new();
    for id in 1..=2000 {
        keeper.grant(id, 60);
    }
    keeper.keeper.follow(Some(TERM + 1));
    let lefts: Vec<i64> = (1..=2000).map(|id| keeper.left(id)).collect();
    let count = |left| lefts.iter().filter(|&&found| found == left).count();
    assert_eq!([61, 62, 63].map(count), [750, 750, 500]);
}

#[test]
fn only_long_leases_that_nobody_has_renewed_for_a_while_are_stored() {
    let mut keeper = Keeper::new();
    keeper.grant(1, 1000);
    keeper.grant(2, 500);
    keeper.grant(3, 1000);
    keeper.advance(299);
    assert_eq!(keeper.choose(), []);
    assert!(matches!(keeper.try_renew(3), Renewal::Renewed(1000)));
    keeper.advance(1);
    // The second has 200 s left, too few; the third has just been renewed.
    assert_eq!(keeper.choose(), [(LeaseId(1), 700)]);
    keeper.store(vec![(LeaseId(1), 700)]);
    assert_eq!(keeper.choose(), []);
    keeper.advance(300);
    assert_eq!(keeper.choose(), [(LeaseId(1), 400), (LeaseId(3), 699)]);
}

#[test]
fn a_lease_whose_time_is_being_stored_is_not_renewed_beside_it() {
    let mut keeper = Keeper::new();
    keeper.grant(1, 1000);
    keeper.advance(300);
    assert_eq!(keeper.choose(), [(LeaseId(1), 700)]);
    assert!(matches!(keeper.try_renew(1), Renewal::Stored(TERM)));
    // It is stored, which shows by itself.
    keeper.store(vec![(LeaseId(1), 700)]);
    keeper.keeper.ends.lock().unmark(TERM, &[(LeaseId(1), 700)]);
    assert!(matches!(keeper.try_renew(1), Renewal::Stored(TERM)));
    assert_eq!(keeper.left(1), 700);
    keeper.store(vec![(LeaseId(1), 0)]);
    assert!(matches!(keeper.try_renew(1), Renewal::Renewed(1000)));
    assert_eq!(keeper.left(1), 1000);
    // What another term marked does not count.
    keeper.advance(300);
    assert_eq!(keeper.choose().len(), 1);
    keeper.keeper.follow(Some(TERM + 1));
    assert!(matches!(keeper.try_renew(1), Renewal::Renewed(1000)));
}

#[test]
fn a_walk_takes_all_leases_in_steps() {
    let mut keeper = Keeper::new();
    for id in 1..=2500 {
        keeper.grant(id, 1000 + id);
    }
    keeper.advance(400);
    let steps = [keeper.choose(), keeper.choose(), keeper.choose()];
    assert_eq!([1000, 1000, 500], [0, 1, 2].map(|step: usize| steps[step].len()));
    let all: Vec<i64> = steps.concat().iter().map(|(id, _)| id.0).collect();
    assert_eq!(all, (1..=2500).collect::<Vec<_>>());
    assert!(keeper.walk.behind.is_none());
}

async fn eventually(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes about");
}

#[tokio::test]
async fn what_is_left_survives_leaders_and_restarts_and_a_keepalive_takes_it_back() {
    let clock = Arc::new(ManualClock::default());
    let (disk, random) = (Arc::new(SimDisk::new()), Arc::new(SeededRandom::new(1)));
    let identity = Identity { cluster: ClusterId(1), member: MemberId(2) };
    let options = NodeOptions { segment_bytes: 1 << 20, ..NodeOptions::new(disk, clock.clone(), random, identity) };
    let node = Node::start(options.clone()).await.unwrap();
    node.ready(&options).await.unwrap();
    node.lease_grant(LeaseId(1), 1200).await.unwrap();
    node.lease_grant(LeaseId(2), 1200).await.unwrap();
    let stored = |id| node.shared.machine.read().lessor.get(LeaseId(id)).unwrap().remaining;

    clock.advance(Duration::from_secs(700));
    eventually(|| stored(1) == 500 && stored(2) == 500).await;
    assert_eq!(node.lease_keep_alive(LeaseId(1)).await.unwrap().1, 1200);
    assert_eq!((stored(1), stored(2)), (0, 500));
    // The next leader goes on from there.
    node.leases.follow(None);
    node.leases.follow(node.leadership.term());
    let left = async |node: &Node, id| node.lease_time_to_live(LeaseId(id), false).await.unwrap().unwrap().seconds;
    assert_eq!((left(&node, 1).await, left(&node, 2).await), (1201, 501));
    node.stop().await;

    // While nobody leads, no time passes for leases.
    clock.advance(Duration::from_secs(300));
    let node = Node::start(options.clone()).await.unwrap();
    node.ready(&options).await.unwrap();
    eventually(|| node.leadership.term().is_some()).await;
    assert_eq!((left(&node, 1).await, left(&node, 2).await), (1201, 501));
    node.stop().await;
}
