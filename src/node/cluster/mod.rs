//! Several members in one process, over a network that is a map.

mod agreement;
mod auto_compact;
mod corruption;
mod full_disk;
mod local;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::local::LocalNetwork;
use super::*;
use crate::env::{Disk, SeededRandom, SimDisk, SystemClock};
use crate::model::{Command, KeyRange, LeaseId, Member, Put, Range, RangeReply};

/// Longer than anything here takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

struct Cluster {
    /// Members that found it.
    size: usize,
    network: Arc<LocalNetwork>,
    disks: Vec<SimDisk>,
    nodes: Vec<Option<Node>>,
}

fn id(index: usize) -> MemberId {
    MemberId(index as u64 + 1)
}

impl Cluster {
    async fn start(size: usize) -> Cluster {
        let network = LocalNetwork::new();
        let mut cluster = Cluster { size, network, disks: Vec::new(), nodes: Vec::new() };
        for _ in 0..size {
            cluster.disks.push(SimDisk::new());
            cluster.nodes.push(None);
        }
        for index in 0..size {
            cluster.boot(index).await;
        }
        for index in 0..size {
            cluster.ready(index).await;
        }
        cluster
    }

    fn options(&self, index: usize) -> NodeOptions {
        let member = |index: usize| Member {
            id: id(index),
            name: format!("m{index}"),
            peer_urls: vec![format!("http://m{index}:2380")],
            ..Member::default()
        };
        let identity = Identity { cluster: ClusterId(7), member: id(index) };
        let (disk, random) = (Arc::new(self.disks[index].clone()), Arc::new(SeededRandom::new(index as u64)));
        NodeOptions {
            name: format!("m{index}"),
            founding: Founding::New((0..self.size).map(member).collect()),
            strict_reconfig: false,
            transport: self.network.clone(),
            segment_bytes: 64 * 1024,
            snapshot_entries: 50,
            catchup_entries: 20,
            heartbeat: Duration::from_millis(50),
            election_timeout: Duration::from_millis(500),
            ..NodeOptions::new(disk, Arc::new(SystemClock::new()), random, identity)
        }
    }

    async fn boot(&mut self, index: usize) {
        let node = Node::start(self.options(index)).await.expect("the member starts");
        self.network.join(id(index), Arc::new(node.clone()));
        self.nodes[index] = Some(node);
    }

    /// Adds a member with an empty folder; gives its id, for it has its own place but not its own number.
    async fn join(&mut self, is_learner: bool) -> (usize, NodeOptions) {
        let index = self.nodes.len();
        self.disks.push(SimDisk::new());
        self.nodes.push(None);
        let via = self.leader().await;
        let (member, members) =
            self.node(via).member_add(vec![format!("http://m{index}:2380")], is_learner).await.expect("it is added");
        let options = NodeOptions {
            member: member.id,
            founding: Founding::Join(members),
            name: format!("m{index}"),
            ..self.options(index)
        };
        let node = Node::start(options.clone()).await.expect("the member starts");
        self.network.join(member.id, Arc::new(node.clone()));
        self.nodes[index] = Some(node);
        self.ready_with(index, &options).await;
        (index, options)
    }

    async fn ready_with(&self, index: usize, options: &NodeOptions) {
        let ready = async {
            while let Err(error) = self.node(index).ready(options).await {
                assert!(matches!(error, NodeError::LeaderChanged | NodeError::Timeout), "{error}");
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the member gets ready");
    }

    async fn ready(&self, index: usize) {
        self.ready_with(index, &self.options(index)).await;
    }

    fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().expect("the member runs")
    }

    async fn leader(&self) -> usize {
        let look = async {
            loop {
                let running = self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_ref()?)));
                for (index, node) in running {
                    if node.leadership.term().is_some() {
                        return index;
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("somebody leads")
    }

    async fn stop(&mut self, index: usize) {
        self.network.leave(id(index));
        if let Some(node) = self.nodes[index].take() {
            node.stop().await;
        }
    }

    /// Writes through a member until the log has let go of everything that whoever is away has: it needs a snapshot then.
    async fn outrun(&self, via: usize) {
        let leader = self.leader().await;
        let known = self.node(via).status().applied_index;
        let write = async {
            let mut n = 0;
            while n < 200 || self.node(leader).consensus.purged() <= known {
                self.node(via).propose(put(&format!("key{n}"), &"x".repeat(1000))).await.unwrap();
                n += 1;
            }
        };
        tokio::time::timeout(PATIENCE, write).await.expect("the log is let go of");
    }

    async fn stop_all(mut self) {
        for index in 0..self.nodes.len() {
            self.stop(index).await;
        }
    }
}

fn put(key: &str, value: &str) -> Proposal {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Proposal::from(&Command::Put(Put { key, value, ..Put::default() }))
}

async fn get(node: &Node, key: &str) -> Result<RangeReply, NodeError> {
    node.range(&Range::of(KeyRange::single(Bytes::copy_from_slice(key.as_bytes())))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_takes_writes_and_reads_what_others_wrote() {
    let cluster = Cluster::start(3).await;
    for index in 0..3 {
        let key = format!("key{index}");
        cluster.node(index).propose(put(&key, "value")).await.unwrap();
        for reader in 0..3 {
            let found = get(cluster.node(reader), &key).await.unwrap();
            assert_eq!(found.kvs.len(), 1, "member {reader} reads what {index} wrote");
        }
    }
    cluster.stop_all().await;
}

/// What `completions` are told of so many reads, in order of token.
async fn passed(completions: &Completions, reads: usize) -> Vec<(u64, Result<(), NodeError>)> {
    let (mut taken, mut passed) = (Vec::new(), Vec::new());
    let take = async {
        while passed.len() < reads {
            std::future::poll_fn(|cx| completions.poll_take(cx, &mut taken)).await;
            passed.extend(taken.drain(..).map(|(token, completed)| match completed {
                Completed::Barrier(passed) => (token, passed),
                Completed::Command(outcome) => panic!("nothing was proposed: {outcome:?}"),
            }));
        }
    };
    tokio::time::timeout(PATIENCE, take).await.expect("all are told");
    passed.sort_by_key(|(token, _)| *token);
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_of_a_connection_see_what_others_wrote_before() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (writer, reader) = ((leader + 1) % 3, (leader + 2) % 3);
    let completions = Completions::new();
    for round in 0..50 {
        let key = format!("key{round}");
        cluster.node(writer).propose(put(&key, "value")).await.unwrap();
        for token in 0..20 {
            cluster.node(reader).pass_barrier_into(&completions, token);
        }
        let all: Vec<_> = (0..20).map(|token| (token, Ok(()))).collect();
        assert_eq!(passed(&completions, 20).await, all);
        let query = Range::of(KeyRange::single(key.into()));
        let found = cluster.node(reader).range_now_behind_barrier(&query).unwrap().unwrap();
        assert_eq!(found.kvs.len(), 1, "round {round}");
    }
    let stopped = cluster.node(reader).clone();
    cluster.stop(reader).await;
    stopped.pass_barrier_into(&completions, 7);
    assert_eq!(passed(&completions, 1).await, [(7, Err(NodeError::Stopped))]);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_goes_on_without_its_leader_and_the_leader_catches_up() {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let other = (old + 1) % 3;
    cluster.node(other).propose(put("before", "x")).await.unwrap();
    cluster.stop(old).await;
    cluster.outrun(other).await;
    assert_ne!(cluster.leader().await, old);
    assert_eq!(get(cluster.node((old + 2) % 3), "before").await.unwrap().kvs.len(), 1);
    cluster.boot(old).await;
    cluster.ready(old).await;
    assert!(!cluster.network.snapshots().sendings.is_empty());
    assert_eq!(get(cluster.node(old), "key199").await.unwrap().kvs.len(), 1);
    let files = cluster.disks[old].list(std::path::Path::new(".")).unwrap();
    assert!(!files.iter().any(|name| name.starts_with("snapshot-")), "nothing of the transfer is left: {files:?}");
    let chains: Vec<_> = (0..3).map(|index| cluster.node(index).revision()).collect();
    assert_eq!(chains, [chains[0]; 3]);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_breaks_off_goes_on_where_it_broke() {
    const BREAKS: usize = 3;
    let mut cluster = Cluster::start(3).await;
    let away = (cluster.leader().await + 1) % 3;
    let stays = (away + 1) % 3;
    cluster.stop(away).await;
    cluster.outrun(stays).await;
    cluster.network.break_snapshots(BREAKS);
    cluster.boot(away).await;
    cluster.ready(away).await;
    assert_eq!(get(cluster.node(away), "key0").await.unwrap().kvs.len(), 1);
    let told = cluster.network.snapshots();
    // The first that was begun, however old; a newer one may have followed.
    let of_one = told.sendings.get(..=BREAKS).unwrap_or_else(|| panic!("{told:?}"));
    assert!(of_one[0].bytes > 10_000, "{told:?}");
    for (broken, next) in of_one.iter().zip(&of_one[1..]) {
        assert_eq!(next.bytes, broken.bytes - broken.arrived, "no byte comes twice: {told:?}");
    }
    let files = cluster.disks[away].list(std::path::Path::new(".")).unwrap();
    assert!(!files.iter().any(|name| name.starts_with("snapshot-")), "nothing of the transfer is left: {files:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_kept_through_any_member() {
    let cluster = Cluster::start(3).await;
    let lease = cluster.node(0).lease_grant(LeaseId(5), 10).await.unwrap();
    for index in 0..3 {
        assert_eq!(cluster.node(index).lease_keep_alive(lease.id).await.unwrap().1, 10, "member {index}");
        let left = cluster.node(index).lease_time_to_live(lease.id, false).await.unwrap().unwrap();
        assert!((8..=10).contains(&left.seconds), "{left:?}");
    }
    cluster.node(1).lease_revoke(lease.id).await.unwrap();
    assert_eq!(cluster.node(2).lease_keep_alive(lease.id).await.unwrap().1, 0);
    cluster.stop_all().await;
}

/// The leader may apply a grant after the follower that was asked for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_granted_is_known_to_the_leader_at_once() {
    let cluster = Cluster::start(3).await;
    for number in 0..300 {
        let node = cluster.node(number % 3);
        let lease = node.lease_grant(LeaseId::NONE, 10).await.unwrap();
        if number % 2 == 0 {
            assert_eq!(node.lease_keep_alive(lease.id).await.unwrap().1, 10, "lease {number}");
        } else {
            assert!(node.lease_time_to_live(lease.id, false).await.unwrap().is_some(), "lease {number}");
        }
    }
    cluster.stop_all().await;
}

/// Waits for something that must come true.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_added_votes_and_is_removed() {
    let mut cluster = Cluster::start(1).await;
    for n in 0..100 {
        cluster.node(0).propose(put(&format!("key{n}"), "x")).await.unwrap();
    }
    let (second, options) = cluster.join(false).await;
    let voters = cluster.node(second).consensus.voters();
    assert!(voters.voters.len() == 2 && !voters.is_changing, "it is ready when it has its vote: {voters:?}");
    assert_eq!(get(cluster.node(second), "key99").await.unwrap().kvs.len(), 1);
    cluster.node(second).propose(put("from the second", "x")).await.unwrap();

    cluster.node(0).member_remove(options.member).await.unwrap();
    let stopped = tokio::time::timeout(PATIENCE, cluster.node(second).stopped()).await.expect("it stops");
    assert_eq!(stopped.as_deref(), Some(REMOVED));
    assert_eq!(cluster.node(0).consensus.voters().voters.len(), 1);
    cluster.node(0).propose(put("alone again", "x")).await.unwrap();
    cluster.stop(second).await;
    let again = Node::start(options).await;
    assert!(matches!(again, Err(StartError::Removed)) || again.is_ok(), "{again:?}");
    if let Ok(node) = again {
        // It had not heard of its removal; it does now.
        let stopped = tokio::time::timeout(PATIENCE, node.stopped()).await.expect("it stops");
        assert_eq!(stopped.as_deref(), Some(REMOVED));
        node.stop().await;
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_is_promoted_once_it_is_in_sync() {
    let mut cluster = Cluster::start(1).await;
    let (learner, options) = cluster.join(true).await;
    assert!(cluster.node(learner).is_learner());
    let promote = async {
        // Of a log this short a single entry is more than the part that it may lack.
        while let Err(error) = cluster.node(learner).member_promote(options.member).await {
            assert!(matches!(error, NodeError::LearnerNotReady), "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, promote).await.expect("it gets in sync");
    until("it gets a vote", || !cluster.node(learner).is_learner()).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_hands_the_lead_over() {
    let cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let other = (old + 1) % 3;
    let left = cluster.node(other).member_remove(id(old)).await.unwrap();
    assert_eq!(left.len(), 2);
    let stopped = tokio::time::timeout(PATIENCE, cluster.node(old).stopped()).await.expect("it stops");
    assert_eq!(stopped.as_deref(), Some(REMOVED));
    cluster.node(other).propose(put("key", "x")).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_the_lead_over_at_the_next_term() {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let other = (old + 1) % 3;
    until("they know each other", || {
        (0..3).all(|index| cluster.node(other).contacts.connected_for(id(index)).is_some() || index == other)
    })
    .await;
    let term = cluster.node(old).header().term;
    let stopped = cluster.nodes[old].take().expect("it runs");
    stopped.stop().await;
    cluster.network.leave(id(old));
    assert_eq!(cluster.node(other).header().term, term + 1, "one campaign was enough");
    assert!(cluster.node(other).has_leader());
    cluster.stop(other).await;
    cluster.stop((old + 2) % 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_goes_on_alone_when_it_is_forced_to() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).propose(put("key", "value")).await.unwrap();
    assert_eq!(get(cluster.node(0), "key").await.unwrap().kvs.len(), 1);
    for index in 0..3 {
        cluster.stop(index).await;
    }
    for _ in 0..2 {
        let options = NodeOptions { force_new_cluster: true, ..cluster.options(0) };
        let node = Node::start(options.clone()).await.unwrap();
        node.ready(&options).await.unwrap();
        assert_eq!(get(&node, "key").await.unwrap().kvs.len(), 1);
        let members = node.members(Consistency::Linearizable).await.unwrap();
        assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [id(0)]);
        node.propose(put("key", "after")).await.unwrap();
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_its_quorum_says_so() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for index in (0..3).filter(|&index| index != leader) {
        cluster.stop(index).await;
    }
    let alone = cluster.node(leader);
    until("it notices", || !alone.has_leader()).await;
    assert_eq!(alone.leadership.term(), None, "it has no licence any more");
    let completions = Completions::new();
    alone.pass_barrier_into(&completions, 1);
    assert_eq!(get(alone, "key").await, Err(NodeError::Timeout));
    assert_eq!(passed(&completions, 1).await, [(1, Err(NodeError::Timeout))]);
    let refused = alone.propose(put("key", "x")).await.unwrap_err();
    assert_eq!(refused, NodeError::NotProposed, "nobody took it");
    let look = alone.lease_time_to_live(LeaseId(7), false).await;
    assert!(matches!(look, Err(NodeError::NoLeader)), "nobody can be asked");
    cluster.stop_all().await;
}
