//! What goes well has no line of level error or above: start, a second of load, stop.

use std::time::Duration;

use etcd_client::Client;
use tokio::time::{Instant, sleep};

use super::Line;
use crate::harness::{Cluster, Program};

const LOAD_TIME: Duration = Duration::from_secs(1);

/// Puts, reads, watches and keeps a lease for a while.
async fn load(mut client: Client) {
    let mut watch = client.watch("k", None).await.unwrap();
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let (mut keeper, mut kept) = client.lease_keep_alive(lease).await.unwrap();
    let end = Instant::now() + LOAD_TIME;
    let mut count = 0;
    while Instant::now() < end {
        client.put("k", format!("{count}"), None).await.unwrap();
        client.get("k", None).await.unwrap();
        watch.message().await.unwrap();
        count += 1;
        sleep(Duration::from_millis(1)).await;
    }
    keeper.keep_alive().await.unwrap();
    kept.message().await.unwrap();
    client.delete("k", None).await.unwrap();
}

async fn is_quiet(mut cluster: Cluster) {
    for member in 0..cluster.size() {
        load(cluster.client(member).await).await;
    }
    for member in 0..cluster.size() {
        let status = cluster.terminate(member);
        assert!(status.success(), "{status}");
    }
    let lines = cluster.lines();
    let grave: Vec<Line> = Line::read_all(&lines).into_iter().filter(Line::is_grave).collect();
    assert!(grave.is_empty(), "{grave:#?}");
    assert!(lines.len() > 20, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_has_nothing_to_complain_about() {
    is_quiet(Cluster::start_with(&Program::lodemark(), 1, &["--log-level=debug"]).await).await;
}

/// Not even to itself.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_connects_to_nobody() {
    let mut cluster = Cluster::start_with(&Program::lodemark(), 1, &["--log-level=debug"]).await;
    load(cluster.client(0).await).await;
    let port: u16 = cluster.peer_url(0).rsplit(':').next().unwrap().parse().unwrap();
    // Each socket is a line: its number, both ends and its state, in hexadecimal digits. One that was closed stays a while.
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = |line: &&str| line.contains(&format!(":{port:04X} "));
    let states: Vec<&str> = sockets.lines().filter(ends).filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(states, ["0A"], "it listens there, and nothing else: {sockets}");
    assert!(cluster.terminate(0).success());
    let lines = cluster.lines();
    assert!(!lines.iter().any(|line| line.contains("peer became")), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_have_nothing_to_complain_about() {
    is_quiet(Cluster::start_with(&Program::lodemark(), 3, &["--log-level=debug"]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_with_certificates_of_their_own_have_nothing_to_complain_about() {
    let flags = ["--log-level=debug", "--peer-auto-tls", "--auto-tls"];
    is_quiet(Cluster::start_over_tls(&Program::lodemark(), 3, &flags).await).await;
}
