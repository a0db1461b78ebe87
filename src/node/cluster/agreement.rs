//! Members of which one has another state, and members of which none has.

use std::path::Path;

use super::*;
use crate::node::agreement::{Opinion, Standing};
use crate::node::open::STATE_FILE;
use crate::storage::{Meta, Storage};

const CACHE_BYTES: usize = 1 << 20;

impl Cluster {
    /// Makes the checkpoint of a member that is down say that it did something else.
    fn falsify(&self, index: usize) {
        let storage = Storage::open(Arc::new(self.disks[index].clone()), Path::new(STATE_FILE), CACHE_BYTES).unwrap();
        let meta = storage.meta().unwrap();
        storage.commit(&[], &Meta { chain: meta.chain ^ 1, ..meta }).unwrap();
    }

    async fn write(&self, via: usize, count: usize) {
        for number in 0..count {
            self.node(via).propose(put(&format!("key{number}"), "value")).await.unwrap();
        }
    }

    fn standing(&self, of: usize, in_the_eyes_of: usize) -> Option<Standing> {
        self.node(in_the_eyes_of).agreement.standings().get(&id(of)).copied()
    }

    fn opinion(&self, of: usize, in_the_eyes_of: usize) -> Option<Opinion> {
        self.standing(of, in_the_eyes_of).map(|standing| standing.opinion)
    }

    async fn why_it_stops(&self, index: usize) -> String {
        let stopped = tokio::time::timeout(PATIENCE, self.node(index).stopped()).await.expect("it stops");
        stopped.expect("there is a reason").to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_differs_is_stopped_and_named() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (wrong, other) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.write(other, 5).await;
    cluster.stop(wrong).await;
    cluster.falsify(wrong);
    cluster.write(other, 5).await;
    cluster.boot(wrong).await;

    let why = cluster.why_it_stops(wrong).await;
    assert!(why.starts_with(&format!("member {} differs from the majority", id(wrong))), "{why}");
    let node = cluster.node(wrong);
    let serializable = Range { serializable: true, ..Range::of(KeyRange::single(Bytes::from_static(b"key1"))) };
    assert_eq!(node.range(&serializable).await, Err(NodeError::Stopped));
    assert_eq!(get(node, "key1").await, Err(NodeError::Stopped));
    assert_eq!(node.propose(put("key1", "x")).await, Err(NodeError::Stopped));
    assert_eq!(node.lease_keep_alive(LeaseId(1)).await, Err(NodeError::Stopped));
    cluster.stop(wrong).await;

    // It would be found again; it is not served until then.
    let again = Node::start(cluster.options(wrong)).await;
    assert!(matches!(&again, Err(StartError::Differs(known)) if *known == why), "{again:?}");

    for (member, third) in [(leader, other), (other, leader)] {
        until("it is named", || cluster.opinion(wrong, member) == Some(Opinion::Wrong)).await;
        cluster.node(member).propose(put("after", "x")).await.unwrap();
        assert_eq!(cluster.opinion(third, member), Some(Opinion::Same));
    }
    let unchecked = NodeOptions { agreement_check: false, ..cluster.options(wrong) };
    let node = Node::start(unchecked).await.expect("it starts when it is told to");
    node.stop().await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_differs_is_followed_by_another() {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let other = (old + 1) % 3;
    cluster.write(old, 5).await;
    cluster.node(old).shared.machine.write().falsify();
    let why = cluster.why_it_stops(old).await;
    assert!(why.contains(&format!("member {} differs", id(old))), "{why}");
    assert_eq!(cluster.node(old).propose(put("key", "x")).await, Err(NodeError::Stopped));
    cluster.stop(old).await;
    assert_eq!(cluster.opinion(old, other), Some(Opinion::Wrong), "it has said so before it was gone");
    cluster.node(other).propose(put("after", "x")).await.unwrap();
    assert_eq!(get(cluster.node((old + 2) % 3), "after").await.unwrap().kvs.len(), 1);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_differ_both_go_on_and_say_so() {
    let mut cluster = Cluster::start(2).await;
    cluster.write(0, 5).await;
    cluster.stop(1).await;
    cluster.falsify(1);
    cluster.boot(1).await;
    cluster.ready(1).await;
    for (member, other) in [(0, 1), (1, 0)] {
        until("it is told", || cluster.opinion(other, member) == Some(Opinion::Undecided)).await;
    }
    for index in 0..2 {
        cluster.node(index).propose(put("key", "x")).await.unwrap();
    }
    cluster.stop_all().await;
}

/// More than from one mark to the next, so that marks are compared and not only the ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_differs_through_snapshots_and_restarts() {
    const WRITES: usize = 300;
    let mut cluster = Cluster::start(3).await;
    let away = (cluster.leader().await + 1) % 3;
    let stays = (away + 1) % 3;
    cluster.stop(away).await;
    cluster.outrun(stays).await;
    cluster.boot(away).await;
    cluster.ready(away).await;
    assert!(!cluster.network.snapshots().sendings.is_empty());
    cluster.write(stays, WRITES).await;
    let next = (away + 2) % 3;
    cluster.stop(next).await;
    cluster.boot(next).await;
    cluster.ready(next).await;
    cluster.write(next, WRITES).await;

    for (member, other) in (0..3).flat_map(|member| [(member, (member + 1) % 3), (member, (member + 2) % 3)]) {
        let last = cluster.node(stays).status().applied_index;
        let is_same = |standing| matches!(standing, Some(Standing { opinion: Opinion::Same, index }) if index >= last);
        until("all are the same at the end", || is_same(cluster.standing(other, member))).await;
    }
    let marks: Vec<_> = (0..3).map(|index| cluster.node(index).agreement.marks()).collect();
    for others in &marks {
        assert_eq!(others[0], marks[stays][0], "all are at the same entry");
        assert!(others.len() > 1, "one mark was passed since it began");
        let common = others.iter().filter(|mark| marks[stays].iter().any(|own| own.index == mark.index));
        assert!(common.clone().count() > 1 && common.into_iter().all(|mark| marks[stays].contains(mark)));
    }
    cluster.stop_all().await;
}
