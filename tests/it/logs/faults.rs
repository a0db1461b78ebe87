//! Whatever happens, every line is a line: members that are killed and come back, whoever knocks with garbage, requests that
//! make no sense, a member that gets a snapshot and one that is removed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use etcd_client::Client;

use super::Line;
use crate::harness::{Cluster, Program};

/// How long whoever is sent garbage may take to hang up.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// How often a follower goes away at most.
const ABSENCES: usize = 20;

fn knock(url: &str, garbage: &[u8]) {
    let address = url.split_once("://").unwrap().1;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).unwrap();
    // It may hang up before it has read everything.
    let _ = stream.write_all(garbage);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

async fn ask_nonsense(mut client: Client) {
    client.put("", "no key", None).await.unwrap_err();
    client.put("quote \" and\nline \u{1}", "v", None).await.unwrap();
    client.get("k", Some(etcd_client::GetOptions::new().with_revision(1 << 40))).await.unwrap_err();
    client.lease_revoke(12345).await.unwrap_err();
    client.compact(1 << 40, None).await.unwrap_err();
    client.member_remove(7).await.unwrap_err();
    client.put("k", vec![0; 2 << 20], None).await.unwrap_err();
}

/// Takes a follower away until it needs the whole state: the leader keeps its log for as long as it waits for an answer.
pub async fn miss_a_part_of_the_log(cluster: &mut Cluster) {
    for _ in 0..ABSENCES {
        let follower = (cluster.leader().await + 1) % 3;
        cluster.kill(follower);
        let leader = cluster.leader().await;
        let mut client = cluster.client(leader).await;
        for number in 0..100 {
            client.put(format!("key/{number}"), "value", None).await.unwrap();
        }
        cluster.restart(follower).await;
        if cluster.process(follower).lines().iter().any(|line| line.contains("applied snapshot")) {
            return;
        }
    }
    panic!("nobody ever needs a snapshot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_a_line_whatever_happens() {
    let flags = [
        "--log-level=debug",
        "--peer-auto-tls",
        "--snapshot-count=20",
        "--snapshot-catchup-entries=5",
        "--warning-apply-duration=1ns",
        "--quota-backend-bytes=1048576",
    ];
    let mut cluster = Cluster::start_over_tls(&Program::lodemark(), 3, &flags).await;
    for member in 0..3 {
        for garbage in [
            &b"GET / HT"[..],
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 half a handshake",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x04\0\0\0\0\0garbage",
            b"\0\xff\r\n\r\n",
        ] {
            knock(&cluster.endpoint(member), garbage);
            knock(&cluster.peer_url(member), garbage);
        }
        ask_nonsense(cluster.client(member).await).await;
    }

    miss_a_part_of_the_log(&mut cluster).await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let next = cluster.leader().await;
    cluster.restart(leader).await;
    cluster.leader().await;
    // Beyond the quota.
    let mut client = cluster.client(next).await;
    for number in 0..20 {
        if client.put(format!("large/{number}"), vec![b'v'; 100_000], None).await.is_err() {
            break;
        }
    }

    let through = cluster.leader().await;
    let other = (through + 1) % 3;
    let id = cluster.view(other).await.unwrap().id;
    cluster.remove(through, id).await;
    let status = cluster.ended(other);
    assert_eq!(status.code(), Some(1));
    // It refuses to start again.
    cluster.launch(other);
    assert_eq!(cluster.ended(other).code(), Some(1));
    for member in cluster.running() {
        cluster.terminate(member);
    }

    let lines = Line::read_all(&cluster.lines());
    let says = |text: &str| lines.iter().any(|line| line.message().contains(text) || line.text("error").contains(text));
    for text in [
        "applied snapshot",
        "rejected connection on peer endpoint",
        "message exceeded backend quota; raising alarm",
        "the member has been permanently removed from the cluster",
        "data-dir used by this member must be removed",
        "closed etcd server",
    ] {
        assert!(says(text), "nobody says {text:?}");
    }
    let grave: Vec<&Line> = lines.iter().filter(|line| line.is_grave()).collect();
    for line in grave {
        // Only a member that was removed has a reason.
        let why = format!("{} {} {}", line.message(), line.text("error"), line.text("reason"));
        assert!(why.contains("permanently removed"), "{line:?}");
    }
}
