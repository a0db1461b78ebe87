//! Whoever does not belong to a cluster and reaches its ports all the same.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::all_write_and_read;
use crate::harness::{Cluster, Program};

/// How long one connection with garbage is listened to.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The leader and its term, which nobody may change.
async fn reign(cluster: &Cluster) -> (usize, u64) {
    let leader = cluster.leader().await;
    (leader, cluster.view(leader).await.unwrap().term)
}

/// A member with the same flags but for the token: its cluster has the same URLs and another id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_another_cluster_at_our_urls_disturbs_nobody() {
    let mut cluster = Cluster::start(&Program::lodemark(), 3).await;
    let follower = (cluster.leader().await + 1) % 3;
    cluster.kill(follower);
    let before = reign(&cluster).await;

    let elsewhere = format!("--data-dir={}", cluster.folder().join("elsewhere").display());
    cluster.launch_with(follower, &["--initial-cluster-token=another", "--log-level=debug", &elsewhere]);
    // It looks for a leader of its own, and nobody answers.
    cluster.process(follower).wait_for_line("failed to publish local member to cluster through raft", 0);
    let others: Vec<usize> = cluster.running().into_iter().filter(|&member| member != follower).collect();
    for &member in &others {
        cluster.process(member).wait_for_line("request is of cluster", 0);
        cluster.client(member).await.put("key", "undisturbed", None).await.unwrap();
    }
    let leader = cluster.leader_of(&others).await;
    assert_eq!((leader, cluster.view(leader).await.unwrap().term), before);

    cluster.terminate(follower);
    cluster.restart(follower).await;
    assert_eq!(reign(&cluster).await, before);
    all_write_and_read(&cluster, "of three").await;
}

/// The same member twice: with its ports taken, and with its URLs but ports and folder of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_member_under_the_same_urls_is_refused() {
    let program = Program::lodemark();
    let mut cluster = Cluster::start(&program, 3).await;
    let before = reign(&cluster).await;
    let list: Vec<String> = (0..3).map(|member| format!("m{member}={}", cluster.peer_url(member))).collect();
    let (client, peer) = (cluster.endpoint(0), cluster.peer_url(0));
    let nowhere = "http://127.0.0.1:0";
    for (listen_client, listen_peer, text) in [
        (client.as_str(), peer.as_str(), "Address already in use"),
        (nowhere, nowhere, "has already been bootstrapped"),
    ] {
        let flags = [
            "--name=m0".to_owned(),
            format!("--listen-client-urls={listen_client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={listen_peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", list.join(",")),
            format!("--data-dir={}", cluster.folder().join("second").display()),
        ];
        let mut second = program.start(flags.map(Into::into), cluster.folder());
        second.wait_for_line(text, 0);
        assert_eq!(second.wait().code(), Some(1));
    }
    assert_eq!(reign(&cluster).await, before);
    all_write_and_read(&cluster, "undisturbed").await;
    assert!(cluster.process(0).is_running());
}

/// Bytes of no protocol, of a protocol that breaks off, and requests of nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_peer_ports_disturbs_nobody() {
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let garbage: [&[u8]; 7] = [
        b"",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 TLS is not spoken here",
        b"POST /lodemarkpb.Peer/Call HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /members HTTP/1.1\r\n\r\n",
        preface,
        &[preface, b"\xff\xff\xff\x04\0\0\0\0\0 a frame without end"].concat(),
        &[preface, b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x05\x01\x05\0\0\0\x01\x83\x86\x44\x01\x2a"].concat(),
    ];
    let mut cluster = Cluster::start(&Program::lodemark(), 3).await;
    let before = reign(&cluster).await;
    for member in 0..3 {
        let address = cluster.peer_url(member).replace("http://", "");
        for bytes in garbage {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
            // It may hang up before it has read everything.
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    assert_eq!(reign(&cluster).await, before);
    all_write_and_read(&cluster, "undisturbed").await;
    for member in 0..3 {
        let lines = cluster.process(member).lines();
        let is_bad = |line: &&String| [r#""level":"error""#, "panic"].iter().any(|bad| line.contains(bad));
        assert_eq!(lines.iter().find(is_bad), None);
    }
}
