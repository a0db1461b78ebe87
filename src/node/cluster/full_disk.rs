//! Members whose disks are full beside others whose are not.

use super::*;
use crate::model::DeleteRange;

/// Far more than is made ahead of a log whose segments have 64 KiB.
const PUTS: usize = 400;
const VALUE_BYTES: usize = 1000;

fn key(n: usize) -> String {
    format!("key{n}")
}

fn large(n: usize) -> Proposal {
    put(&key(n), &"v".repeat(VALUE_BYTES))
}

fn delete(n: usize) -> Proposal {
    let keys = KeyRange::single(key(n).into_bytes().into());
    Proposal::from(&Command::DeleteRange(DeleteRange { keys, prev_kv: false }))
}

async fn has(node: &Node, n: usize) -> bool {
    let range = Range { serializable: true, ..Range::of(KeyRange::single(key(n).into_bytes().into())) };
    !node.range(&range).await.unwrap().kvs.is_empty()
}

/// Waits until a member has applied what another has.
async fn catches_up(cluster: &Cluster, behind: usize, ahead: usize) {
    let applied = |index: usize| cluster.node(index).status().applied_index;
    let target = applied(ahead);
    until("it catches up", || applied(behind) >= target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_full_holds_nobody_up_and_catches_up_later() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let full = (leader + 1) % 3;
    cluster.disks[full].set_full(true);
    for n in 0..PUTS {
        cluster.node(leader).propose(large(n)).await.unwrap();
    }
    until("it takes no entries", || cluster.node(full).consensus.space().is_short()).await;
    let refused = async { while cluster.node(full).propose(large(PUTS)).await != Err(NodeError::NoSpace) {} };
    tokio::time::timeout(PATIENCE, refused).await.expect("it says so itself");
    assert!(cluster.node(full).has_leader() && has(cluster.node(full), 0).await, "it lives, and reads what it has");
    assert_eq!(cluster.leader().await, leader);

    cluster.disks[full].set_full(false);
    catches_up(&cluster, full, leader).await;
    for n in 0..PUTS {
        assert!(has(cluster.node(full), n).await, "key {n} was acknowledged");
    }
    until("it takes puts", || !cluster.node(full).consensus.space().is_short()).await;
    cluster.node(full).propose(large(PUTS)).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_refuses_through_others_too_and_still_deletes() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.node((leader + 1) % 3);
    cluster.disks[leader].set_full(true);
    let mut acknowledged = 0;
    let refused = loop {
        match follower.propose(large(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < PUTS, "the leader's disk is full");
    };
    assert_eq!(refused, NodeError::NoSpace);
    // Side by side, so that some travel together: each is answered by what it is.
    let asked = (0..20).map(|n| {
        let proposal = if n % 2 == 0 { delete(n) } else { large(n) };
        let follower = follower.clone();
        tokio::spawn(async move { follower.propose(proposal).await })
    });
    for (n, answer) in asked.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = answer.await.unwrap();
        // The log frees some room itself, so that a put may be taken.
        assert!(answer.is_ok() || (n % 2 == 1 && answer == Err(NodeError::NoSpace)), "{n}: {answer:?}");
    }
    cluster.disks[leader].set_full(false);
    let taken = async {
        while let Err(error) = follower.propose(large(acknowledged)).await {
            assert_eq!(error, NodeError::NoSpace);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("it is over by itself");
    for index in 0..3 {
        catches_up(&cluster, index, leader).await;
        for n in (1..20).step_by(2).chain(20..=acknowledged) {
            assert!(has(cluster.node(index), n).await, "member {index} has key {n}");
        }
    }
    cluster.stop_all().await;
}
