//! Members come, change and go.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{all_write_and_read, read};
use crate::harness::{Cluster, Program};

/// What a member that was removed says, and then what is to be done.
const REMOVED: &str = "the member has been permanently removed from the cluster";
const DATA_TO_REMOVE: &str = "data-dir used by this member must be removed";
/// How long a learner may take until it can be promoted.
const PROMOTED_MAX: Duration = Duration::from_secs(20);
/// Between two attempts to promote it.
const TRY_AGAIN: Duration = Duration::from_millis(50);

on_both_programs!(
    members_come_and_go,
    a_learner_is_promoted_when_it_has_caught_up,
    a_member_moves_to_another_url,
    a_forced_cluster_has_one_member_and_all_data,
    a_forced_cluster_of_new_members_is_founded_as_any,
);

/// The members' names, as one of them lists them.
async fn names(cluster: &Cluster, by: usize) -> Vec<String> {
    let list = cluster.client(by).await.member_list().await.unwrap();
    let mut names: Vec<String> = list.members().iter().map(|member| member.name().to_owned()).collect();
    names.sort_unstable();
    names
}

/// A member that is added, started, removed: it ends, and cannot be started again.
async fn members_come_and_go(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    let leader = cluster.leader().await;
    let (added, id) = cluster.add(leader, false).await;
    cluster.restart(added).await;
    assert_eq!(cluster.view(added).await.unwrap().id, id);
    assert_eq!(names(&cluster, added).await, ["m0", "m1", "m2", "m3"]);
    all_write_and_read(&cluster, "of four").await;

    let other = (leader + 1) % 3;
    cluster.remove(other, id).await;
    for attempt in 0..2 {
        if attempt > 0 {
            cluster.launch(added);
        }
        cluster.process(added).wait_for_line(REMOVED, 0);
        cluster.process(added).wait_for_line(DATA_TO_REMOVE, 0);
        cluster.ended(added);
        assert_eq!(names(&cluster, other).await, ["m0", "m1", "m2"]);
    }
    all_write_and_read(&cluster, "of three").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_leader_ends_with_status_1_and_another_leads() {
    let mut cluster = Cluster::start(&Program::lodemark(), 3).await;
    let leader = cluster.leader().await;
    let id = cluster.view(leader).await.unwrap().id;
    cluster.remove(leader, id).await;
    assert_eq!(cluster.ended(leader).code(), Some(1));
    assert_ne!(cluster.leader().await, leader);
    all_write_and_read(&cluster, "of two").await;
    cluster.launch(leader);
    cluster.process(leader).wait_for_line(REMOVED, 0);
    assert_eq!(cluster.ended(leader).code(), Some(1));
}

async fn a_learner_is_promoted_when_it_has_caught_up(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    let (learner, id) = cluster.add(0, true).await;
    let mut client = cluster.client(1).await;
    let refused = client.member_promote(id).await.unwrap_err().to_string();
    assert!(refused.contains("can only promote a learner member which is in sync with leader"), "{refused}");

    cluster.launch(learner);
    let promoted = async {
        while let Err(error) = client.member_promote(id).await {
            assert!(error.to_string().contains("in sync with leader"), "{error}");
            sleep(TRY_AGAIN).await;
        }
    };
    timeout(PROMOTED_MAX, promoted).await.expect("it catches up");
    cluster.wait_until_it_serves(learner).await;
    let list = client.member_list().await.unwrap();
    assert_eq!(list.members().iter().filter(|member| member.is_learner()).count(), 0);
    let refused = client.member_promote(id).await.unwrap_err().to_string();
    assert!(refused.contains("can only promote a learner member"), "{refused}");

    // Its vote counts: three of four is the quorum.
    let down = (cluster.leader().await + 1) % 3;
    cluster.kill(down);
    cluster.wait_until_it_serves(learner).await;
    all_write_and_read(&cluster, "with its vote").await;
}

async fn a_member_moves_to_another_url(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    let id = cluster.view(1).await.unwrap().id;
    cluster.kill(1);
    cluster.leader().await;
    cluster.move_peers(1);
    let moved = cluster.peer_url(1);
    cluster.client(0).await.member_update(id, [moved.clone()]).await.unwrap();
    cluster.restart(1).await;
    let list = cluster.client(1).await.member_list().await.unwrap();
    let urls = list.members().iter().find(|member| member.id() == id).unwrap().peer_urls().to_vec();
    assert_eq!(urls, [moved]);
    // It is reached there: without one of the others the two that are left need each other.
    cluster.kill(2);
    cluster.wait_until_it_serves(0).await;
    all_write_and_read(&cluster, "of two").await;
}

/// What is left of a cluster goes on alone, with its ids and its data; the others are removed members, and it grows again.
async fn a_forced_cluster_has_one_member_and_all_data(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    cluster.client(0).await.put("kept", "since then", None).await.unwrap();
    // etcd may forget the last writes: it drops what a member does not know to be committed.
    all_write_and_read(&cluster, "before").await;
    let (learner, _) = cluster.add(0, true).await;
    cluster.launch(learner);
    cluster.process(learner).wait_for_line("published local member to cluster through raft", 0);
    let (before, members) = (cluster_id(&cluster, 0).await, ids(&cluster, 0).await);
    let (id, revision) = cluster.view(0).await.map(|view| (view.id, view.revision)).unwrap();
    (0..4).for_each(|member| cluster.kill(member));

    cluster.launch_with(0, &["--force-new-cluster"]);
    cluster.wait_until_it_serves(0).await;
    assert_eq!(names(&cluster, 0).await, ["m0"]);
    assert_eq!((cluster_id(&cluster, 0).await, ids(&cluster, 0).await), (before, BTreeSet::from([id])));
    let view = cluster.view(0).await.unwrap();
    assert_eq!((view.id, view.leader), (id, id));
    assert!(view.revision == revision || !program.is_lodemark() && view.revision <= revision, "{view:?} {revision}");
    assert_eq!(read(&cluster, 0, "kept").await.as_deref(), Some("since then"));
    let said = Said::by(&mut cluster, 0, "forcing restart member");
    assert_eq!((said.id("cluster-id"), said.id("local-member-id")), (before, id));
    assert!(said.0["wal-commit-index"].as_u64() <= said.0["commit-index"].as_u64(), "{said:?}");
    let removed = (0..3).map(|nth| Said::nth_by(&mut cluster, 0, "\"removed member\"", nth));
    let removed: BTreeSet<u64> = removed.map(|said| said.id("removed-remote-peer-id")).collect();
    assert_eq!(removed, members.into_iter().filter(|&member| member != id).collect());

    // One of the others comes back with its data.
    cluster.launch(1);
    cluster.process(1).wait_for_line(REMOVED, 0);
    cluster.process(1).wait_for_line(DATA_TO_REMOVE, 0);
    cluster.ended(1);
    cluster.process(0).wait_for_line("rejected stream from remote peer because it was removed", 0);
    cluster.client(0).await.put("kept", "after that", None).await.unwrap();

    cluster.terminate(0);
    cluster.launch_with(0, &["--force-new-cluster"]);
    cluster.wait_until_it_serves(0).await;
    assert_eq!(
        Said::by(&mut cluster, 0, "forcing restart member").id("local-member-id"),
        id,
        "said again it is done again"
    );
    assert_eq!(names(&cluster, 0).await, ["m0"]);

    cluster.terminate(0);
    cluster.restart(0).await;
    assert_eq!(Said::by(&mut cluster, 0, "restarting local member").id("cluster-id"), before);
    assert_eq!(names(&cluster, 0).await, ["m0"], "without the flag it stays so");
    let (added, _) = cluster.add(0, false).await;
    cluster.restart(added).await;
    assert_eq!(names(&cluster, added).await, ["m0", "m4"]);
    assert_eq!(read(&cluster, added, "kept").await.as_deref(), Some("after that"));
}

/// New members have nothing that could be forced.
async fn a_forced_cluster_of_new_members_is_founded_as_any(program: &Program) {
    let cluster = Cluster::start_with(program, 3, &["--force-new-cluster"]).await;
    assert_eq!(names(&cluster, 2).await, ["m0", "m1", "m2"]);
    all_write_and_read(&cluster, "of three").await;
}

/// A learner that is all that is left has the vote then. An etcd ends with a panic: nobody would be left who votes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_is_forced_votes() {
    let mut cluster = Cluster::start(&Program::lodemark(), 1).await;
    cluster.client(0).await.put("kept", "since then", None).await.unwrap();
    let (learner, id) = cluster.add(0, true).await;
    cluster.launch(learner);
    cluster.process(learner).wait_for_line("published local member to cluster through raft", 0);
    cluster.kill(0);
    cluster.kill(learner);
    cluster.launch_with(learner, &["--force-new-cluster"]);
    cluster.wait_until_it_serves(learner).await;
    assert_eq!(ids(&cluster, learner).await, BTreeSet::from([id]));
    let list = cluster.client(learner).await.member_list().await.unwrap();
    assert!(!list.members()[0].is_learner());
    assert_eq!(read(&cluster, learner, "kept").await.as_deref(), Some("since then"));
    cluster.client(learner).await.put("kept", "by itself", None).await.unwrap();
}

/// The ids of members, as one of them lists them.
async fn ids(cluster: &Cluster, by: usize) -> BTreeSet<u64> {
    let list = cluster.client(by).await.member_list().await.unwrap();
    list.members().iter().map(|member| member.id()).collect()
}

async fn cluster_id(cluster: &Cluster, by: usize) -> u64 {
    cluster.client(by).await.status().await.unwrap().header().unwrap().cluster_id()
}

/// A line of a log.
#[derive(Debug)]
struct Said(serde_json::Value);

impl Said {
    fn by(cluster: &mut Cluster, member: usize, text: &str) -> Said {
        Said::nth_by(cluster, member, text, 0)
    }

    fn nth_by(cluster: &mut Cluster, member: usize, text: &str, nth: usize) -> Said {
        Said(serde_json::from_str(&cluster.process(member).wait_for_line(text, nth)).unwrap())
    }

    /// The id in a field.
    fn id(&self, field: &str) -> u64 {
        u64::from_str_radix(self.0[field].as_str().unwrap(), 16).unwrap()
    }
}
