//! Leaders end, and others follow.

use std::time::Duration;

use etcd_client::Client;
use tokio::time::{Instant, sleep, timeout};

use super::load::{Load, Written};
use super::read;
use crate::harness::{Cluster, Program, number};

/// How soon after SIGTERM a follower names the new leader. The contract says 0.5 s; the machine may be busy.
const HANDED_OVER_MAX: Duration = Duration::from_millis(1500);
/// How soon after SIGTERM the process has ended. The contract says 1.5 s.
const ENDED_MAX: Duration = Duration::from_secs(3);
/// How long a test waits that judges no time.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at who leads.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Writes between two events of a test.
const SOME_WRITES: usize = 100;

on_both_programs!(
    a_killed_leader_is_followed_by_another,
    a_paused_leader_follows_afterwards,
    killed_leaders_lose_nothing_acknowledged,
    restarts_in_turn_are_not_noticed,
);

/// A leader that ends is followed by another, and a member that was down catches up.
async fn a_killed_leader_is_followed_by_another(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    let first = cluster.leader().await;
    cluster.client(first).await.put("key", "before", None).await.unwrap();
    let before = cluster.view(first).await.unwrap();

    cluster.kill(first);
    let second = cluster.leader().await;
    assert_ne!(first, second);
    let after = cluster.view(second).await.unwrap();
    assert!(after.term > before.term, "{before:?}, {after:?}");
    assert_eq!(read(&cluster, second, "key").await.as_deref(), Some("before"));
    cluster.client(second).await.put("key", "after", None).await.unwrap();

    cluster.restart(first).await;
    assert_eq!(read(&cluster, first, "key").await.as_deref(), Some("after"));
    assert_eq!(cluster.running(), [0, 1, 2]);
}

/// A leader that is stopped for a while finds that there is another, and follows.
async fn a_paused_leader_follows_afterwards(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    let first = cluster.leader().await;
    cluster.pause(first);
    let second = cluster.leader().await;
    assert_ne!(first, second);
    cluster.client(second).await.put("key", "while it paused", None).await.unwrap();
    cluster.resume(first);
    let third = cluster.leader().await;
    assert_eq!(read(&cluster, first, "key").await.as_deref(), Some("while it paused"), "{third} leads");
}

async fn killed_leaders_lose_nothing_acknowledged(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    let load = Load::start(cluster.endpoints());
    for _ in 0..2 {
        load.acknowledges(SOME_WRITES).await;
        let leader = cluster.leader().await;
        cluster.kill(leader);
        load.acknowledges(SOME_WRITES).await;
        cluster.restart(leader).await;
    }
    load.acknowledges(SOME_WRITES).await;
    all_are_there(&cluster, &load.end().await).await;
}

/// All members end by SIGTERM and start again, one after the other. No request fails for good.
async fn restarts_in_turn_are_not_noticed(program: &Program) {
    let mut cluster = Cluster::start(program, 3).await;
    let load = Load::start(cluster.endpoints());
    for member in 0..3 {
        load.acknowledges(SOME_WRITES).await;
        cluster.terminate(member);
        load.acknowledges(SOME_WRITES).await;
        cluster.restart(member).await;
    }
    load.acknowledges(SOME_WRITES).await;
    let written = load.end().await;
    println!("{} writes, {} tried again", written.acknowledged.len(), written.retries);
    assert_eq!(written.failures, Vec::<String>::new());
    all_are_there(&cluster, &written).await;
}

/// The lead goes to another member at once and at the next term, and open streams do not hold up the end; etcd waits for
/// them first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_ends_hands_over() {
    let mut cluster = Cluster::start(&Program::lodemark(), 3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let before = cluster.view(leader).await.unwrap();
    let mut client = cluster.client(leader).await;
    let mut watch = client.watch("key", None).await.unwrap();
    assert!(watch.message().await.unwrap().unwrap().created());
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let (mut keeper, mut kept) = client.lease_keep_alive(lease).await.unwrap();
    keeper.keep_alive().await.unwrap();
    kept.message().await.unwrap();
    let mut looking = cluster.client(follower).await;
    looking.status().await.unwrap();

    let asked = Instant::now();
    cluster.process(leader).terminate();
    let (new_leader, term) = timeout(HANDED_OVER_MAX, another_leader(&mut looking, before.id)).await.unwrap();
    let handed_over = asked.elapsed();
    cluster.ended(leader);
    let ended = asked.elapsed();
    println!("another leads after {handed_over:?}, the process has ended after {ended:?}");
    assert_ne!(new_leader, before.id);
    assert_eq!(term, before.term + 1, "one election, which the first candidate wins");
    assert!(ended < ENDED_MAX, "{ended:?}");
    // The client is told, or sees the connection end.
    assert!(!matches!(timeout(ENDED_MAX, watch.message()).await, Ok(Ok(Some(_)))));
}

/// A leader ends under load, again and again (`LODEMARK_ROUNDS` times): no request fails at clients that try again when a
/// member says `Unavailable`, and each time another leads after one election. How long it takes is printed, not judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_ends_under_load_costs_no_request() {
    let rounds = number("LODEMARK_ROUNDS", 3);
    let mut cluster = Cluster::start(&Program::lodemark(), 3).await;
    let load = Load::start(cluster.endpoints());
    let (mut transfers, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        load.acknowledges(SOME_WRITES).await;
        let leader = cluster.leader().await;
        let before = cluster.view(leader).await.unwrap();
        let mut looking = cluster.client((leader + 1) % 3).await;
        looking.status().await.unwrap();

        let asked = Instant::now();
        cluster.process(leader).terminate();
        let (_, term) = timeout(WAIT_MAX, another_leader(&mut looking, before.id)).await.unwrap();
        transfers.push(asked.elapsed());
        assert_eq!(term, before.term + 1, "one election, which the first candidate wins");
        let status = cluster.ended(leader);
        ends.push(asked.elapsed());
        assert!(status.success(), "{status}");
        load.acknowledges(SOME_WRITES).await;
        cluster.restart(leader).await;
    }
    let written = load.end().await;
    println!("{rounds} rounds: {} writes, {} tried again", written.acknowledged.len(), written.retries);
    for (what, times) in [("another leads", &mut transfers), ("the process has ended", &mut ends)] {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1)];
        println!("{what} after {:?} (p50), {:?} (p99), {:?} (max)", at(50), at(99), at(100));
    }
    assert_eq!(written.failures, Vec::<String>::new());
    all_are_there(&cluster, &written).await;
}

/// Waits until a member names a leader other than `old`; gives it and the term.
async fn another_leader(client: &mut Client, old: u64) -> (u64, u64) {
    loop {
        if let Ok(status) = client.status().await
            && status.leader() != old
            && status.leader() != 0
        {
            return (status.leader(), status.raft_term());
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Each member has all that was acknowledged.
async fn all_are_there(cluster: &Cluster, written: &Written) {
    let options = || Some(etcd_client::GetOptions::new().with_prefix().with_keys_only());
    for member in cluster.running() {
        let found = cluster.client(member).await.get("load/", options()).await.unwrap();
        let mut found: Vec<&str> = found.kvs().iter().map(|kv| kv.key_str().unwrap()).collect();
        found.sort_unstable();
        let is_lost = |key: &&String| found.binary_search(&key.as_str()).is_err();
        let lost: Vec<&String> = written.acknowledged.iter().filter(is_lost).collect();
        assert!(lost.is_empty(), "member {member} lost {lost:?}");
    }
}
