//! Members come, change and go.

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

/// What is left of a cluster goes on alone, and grows again.
async fn a_forced_cluster_has_one_member_and_all_data(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    cluster.client(0).await.put("kept", "since then", None).await.unwrap();
    // etcd may forget the last writes: it drops what a member does not know to be committed.
    all_write_and_read(&cluster, "before").await;
    for member in 0..3 {
        cluster.kill(member);
    }
    cluster.launch_with(0, &["--force-new-cluster"]);
    cluster.wait_until_it_serves(0).await;
    assert_eq!(names(&cluster, 0).await, ["m0"]);
    assert_eq!(read(&cluster, 0, "kept").await.as_deref(), Some("since then"));

    cluster.terminate(0);
    cluster.restart(0).await;
    assert_eq!(names(&cluster, 0).await, ["m0"], "without the flag it stays so");
    let (added, _) = cluster.add(0, false).await;
    cluster.restart(added).await;
    assert_eq!(names(&cluster, added).await, ["m0", "m3"]);
    assert_eq!(read(&cluster, added, "kept").await.as_deref(), Some("since then"));
}
