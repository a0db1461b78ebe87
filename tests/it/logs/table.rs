//! The lines that frameworks and operators look for, by the contract: each is brought about, or said why it never comes.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Client, CompactionOptions, GetOptions};
use tokio::time::{sleep, timeout};

use super::Line;
use super::faults::miss_a_part_of_the_log;
use crate::harness::{Cluster, Member, Options, Program, Server, Site};

/// What becomes of a line of the contract.
enum Fate {
    /// [`everything_is_said`] shows it, with these fields.
    Shown(&'static [&'static str]),
    /// Nothing here brings it about.
    Not(&'static str),
}

use Fate::{Not, Shown};

const TABLE: &[(&str, Fate)] = &[
    ("ready to serve client requests", Shown(&[])),
    ("serving client traffic insecurely; this is strongly discouraged!", Shown(&["traffic", "address"])),
    ("serving client traffic securely", Shown(&["traffic", "address"])),
    (
        "now serving peer/client/metrics",
        Shown(&[
            "local-member-id",
            "initial-advertise-peer-urls",
            "listen-peer-urls",
            "advertise-client-urls",
            "listen-client-urls",
            "listen-metrics-urls",
        ]),
    ),
    (
        "starting an etcd server",
        Shown(&[
            "etcd-version",
            "member-initialized",
            "name",
            "data-dir",
            "wal-dir",
            "heartbeat-interval",
            "election-timeout",
            "snapshot-count",
            "snapshot-catchup-entries",
            "initial-cluster",
            "quota-backend-bytes",
            "feature-gates",
            "v2-deprecation",
            "max-learners",
            "downgrade-check-interval",
        ]),
    ),
    ("Running: ", Shown(&["args"])),
    ("published local member to cluster through raft", Shown(&["local-member-id", "cluster-id"])),
    (
        "added member",
        Shown(&["cluster-id", "local-member-id", "added-peer-id", "added-peer-peer-urls", "added-peer-is-learner"]),
    ),
    ("removed member", Shown(&["cluster-id", "local-member-id", "removed-remote-peer-id", "removed-remote-peer-urls"])),
    ("promote member", Shown(&["cluster-id", "local-member-id"])),
    ("updated member", Shown(&["cluster-id", "local-member-id", "updated-remote-peer-id", "updated-remote-peer-urls"])),
    ("set initial cluster version", Shown(&["cluster-id", "local-member-id", "cluster-version"])),
    ("updated cluster version", Shown(&["cluster-id", "local-member-id", "from", "to"])),
    ("enabled capabilities for version", Shown(&["cluster-version"])),
    ("cluster version is updated", Shown(&["cluster-version"])),
    (" became leader at term ", Shown(&["logger"])),
    (" elected leader ", Shown(&["logger"])),
    (
        " changed leader from ",
        Not("a watched value: a change in one step is seldom; the unit test of `raft/elections` has it"),
    ),
    ("triggering snapshot", Shown(&["local-member-applied-index"])),
    ("saved snapshot to disk", Shown(&["snapshot-index"])),
    ("compacted Raft logs", Shown(&["compact-index"])),
    ("sent database snapshot", Shown(&["snapshot-index", "remote-peer-id"])),
    ("applying snapshot", Shown(&["current-applied-index", "incoming-leader-snapshot-index"])),
    ("applied snapshot", Shown(&["current-applied-index", "incoming-leader-snapshot-index"])),
    ("applySnapshot: opened snapshot backend", Shown(&[])),
    ("Recovering from snapshot backend", Not("no start has a received file to move: the install is one rename")),
    ("finished scheduled compaction", Shown(&["compact-revision", "took", "hash", "current-db-size-bytes"])),
    ("storing new hash", Shown(&["hash", "revision", "compact-revision"])),
    ("starting compact hash check", Shown(&[])),
    ("finished compaction hash check", Shown(&[])),
    ("finished peer corruption check", Shown(&["number-of-peers-checked"])),
    ("Detected compaction hash mismatch", Not("no member differs; `cluster/difference` makes one differ")),
    ("starting initial corruption check", Shown(&["local-member-id"])),
    ("initial corruption checking passed; no corruption", Shown(&["local-member-id"])),
    ("checkInitialHashKV failed", Not("no member differs; `cluster/difference` makes one differ")),
    ("apply request took too long", Shown(&["took", "expected-duration", "prefix", "request", "response"])),
    (
        "request stats",
        Shown(&[
            "start time",
            "time spent",
            "remote",
            "response type",
            "request count",
            "request size",
            "response count",
            "response size",
            "request content",
        ]),
    ),
    ("slow fdatasync", Not("no disk here takes a second; `env/real_disk` says it")),
    (
        "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk",
        Shown(&["to", "heartbeat-interval", "expected-duration", "exceeded-duration"]),
    ),
    ("waiting for ReadIndex response took too long, retrying", Shown(&["retry-timeout"])),
    ("the cluster has been downgraded", Not("no member runs another version, so no downgrade comes to its end")),
    ("The server is ready to downgrade", Shown(&["cluster-version"])),
    ("leadership transfer starting", Shown(&["local-member-id", "current-leader-member-id", "transferee-member-id"])),
    (
        "leadership transfer finished",
        Shown(&["local-member-id", "old-leader-member-id", "new-leader-member-id", "took"]),
    ),
    ("leadership transfer failed", Not("every transfer here succeeds")),
    ("received signal; shutting down", Shown(&["signal"])),
    ("closing etcd server", Shown(&["name", "data-dir", "advertise-peer-urls", "advertise-client-urls"])),
    ("closed etcd server", Shown(&["name", "data-dir", "advertise-peer-urls", "advertise-client-urls"])),
    (
        "rejected connection on client endpoint",
        Shown(&["remote-addr", "server-name", "ip-addresses", "dns-names", "error"]),
    ),
    (
        "rejected connection on peer endpoint",
        Shown(&["remote-addr", "server-name", "ip-addresses", "dns-names", "error"]),
    ),
    ("Skipping defragmentation", Not("--bootstrap-defrag-threshold-megabytes is not there yet")),
    ("starting defragment", Shown(&[])),
    ("defragmenting", Shown(&["current-db-size-bytes", "current-db-size-in-use-bytes"])),
    ("finished defragmenting directory", Shown(&["current-db-size-bytes-diff", "current-db-size-bytes", "took"])),
    ("finished defragment", Shown(&[])),
    ("sending database snapshot to client", Shown(&["storage-version"])),
    ("sending database sha256 checksum to client", Shown(&["checksum-size"])),
    ("successfully sent database snapshot to client", Shown(&["storage-version"])),
    ("message exceeded backend quota; raising alarm", Shown(&["quota-size-bytes"])),
    ("enabled backend quota with default value", Shown(&["quota-name", "quota-size-bytes", "quota-size"])),
    ("enabled backend quota", Shown(&["quota-name", "quota-size-bytes", "quota-size"])),
    ("disabled backend quota", Shown(&["quota-name", "quota-size-bytes"])),
    ("quota exceeds the maximum value", Shown(&["quota-size-bytes", "quota-maximum-size-bytes"])),
    ("starting auto periodic compaction", Shown(&["revision", "compact-period"])),
    ("completed auto periodic compaction", Shown(&["revision", "compact-period", "took"])),
    ("failed auto periodic compaction", Not("every compaction here succeeds")),
    ("starting auto revision compaction", Not("it looks once in 5 minutes")),
    ("completed auto revision compaction", Not("the same")),
    ("failed auto revision compaction", Not("the same")),
    ("http2: decoded hpack field", Not("Go's own debugging of HTTP/2")),
    ("notifying init daemon", Shown(&[])),
    ("successfully notified init daemon", Shown(&[])),
];

/// Flags that make members talk.
const FLAGS: [&str; 10] = [
    "--log-level=debug",
    "--snapshot-count=20",
    "--snapshot-catchup-entries=5",
    "--warning-unary-request-duration=1ns",
    "--warning-apply-duration=1ns",
    "--feature-gates=CompactHashCheck=true,InitialCorruptCheck=true",
    "--compact-hash-check-time=200ms",
    "--corrupt-check-time=300ms",
    "--auto-compaction-retention=1s",
    "--max-learners=2",
];
/// Between two looks at the log, and how many there are.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOKS: usize = 400;
/// What nobody may find in a log.
const SECRET: &str = "what-nobody-may-read";

async fn put(client: &mut Client, count: usize) {
    for number in 0..count {
        client.put(format!("key/{number}"), SECRET, None).await.unwrap();
    }
}

/// Waits until a member has said something.
async fn says(cluster: &mut Cluster, member: usize, text: &str) {
    for _ in 0..LOOKS {
        if cluster.process(member).lines().iter().any(|line| line.contains(text)) {
            return;
        }
        sleep(LOOK_AGAIN).await;
    }
    panic!("member {member} does not say {text:?}");
}

/// Every call that says something.
async fn call(cluster: &mut Cluster) {
    let leader = cluster.leader().await;
    let mut client = cluster.client(leader).await;
    put(&mut client, 30).await;
    client.get("key/", Some(GetOptions::new().with_prefix())).await.unwrap();
    let revision = client.get("key/1", None).await.unwrap().header().unwrap().revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
    client.defragment().await.unwrap();
    let mut snapshot = client.snapshot().await.unwrap();
    while snapshot.message().await.unwrap().is_some() {}
    client.alarm(AlarmAction::Get, AlarmType::None, None).await.unwrap();
    says(cluster, leader, "finished compaction hash check").await;
    says(cluster, leader, "finished peer corruption check").await;
    for (path, body) in [
        ("/v3/maintenance/downgrade", r#"{"action":"ENABLE","version":"3.6.0"}"#),
        ("/v3/maintenance/downgrade", r#"{"action":"CANCEL"}"#),
    ] {
        let answer = post(&cluster.endpoint(leader), path, body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn post(endpoint: &str, path: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let address = endpoint.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A learner comes, is promoted, moves and goes.
async fn change_members(cluster: &mut Cluster) {
    let through = cluster.leader().await;
    let (number, id) = cluster.add(through, true).await;
    cluster.launch(number);
    says(cluster, number, "ready to serve client requests").await;
    let mut client = cluster.client(through).await;
    for _ in 0..LOOKS {
        if client.member_promote(id).await.is_ok() {
            break;
        }
        sleep(LOOK_AGAIN).await;
    }
    says(cluster, number, "promote member").await;
    let mut client = cluster.client(through).await;
    client.member_update(id, [format!("{}0", "http://127.0.0.1:1")]).await.unwrap();
    says(cluster, through, "updated member").await;
    client.member_update(id, [cluster.peer_url(number)]).await.unwrap();
    cluster.remove(through, id).await;
    says(cluster, through, "removed member").await;
    cluster.ended(number);
}

/// A leader that stands still for a moment is late with its heartbeats, and one without followers waits for their word.
async fn stall(cluster: &mut Cluster) {
    for _ in 0..LOOKS {
        let leader = cluster.leader().await;
        cluster.pause(leader);
        sleep(Duration::from_millis(450)).await;
        cluster.resume(leader);
        sleep(Duration::from_millis(300)).await;
        if cluster.process(leader).lines().iter().any(|line| line.contains("leader failed to send out heartbeat")) {
            break;
        }
    }
    let leader = cluster.leader().await;
    let followers: Vec<usize> = (0..3).filter(|&member| member != leader).collect();
    for &follower in &followers {
        cluster.pause(follower);
    }
    let mut client = cluster.client(leader).await;
    // It gets no answer, or an error; what is waited for is the line.
    let _ = timeout(Duration::from_secs(2), client.get("key/1", None)).await;
    says(cluster, leader, "waiting for ReadIndex response took too long").await;
    for &follower in &followers {
        cluster.resume(follower);
    }
    cluster.leader().await;
}

/// The lead is handed over by request and by an end; the one that ended starts again, and checks what it has.
async fn hand_over(cluster: &mut Cluster) {
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let to = cluster.view(other).await.unwrap().id;
    cluster.client(leader).await.move_leader(to).await.unwrap();
    says(cluster, leader, "leadership transfer finished").await;
    let leader = cluster.leader().await;
    cluster.terminate(leader);
    cluster.restart(leader).await;
    says(cluster, leader, "initial corruption checking passed; no corruption").await;
}

/// What single servers say of their quota, and of whoever speaks no TLS.
async fn single_servers(lines: &mut Vec<String>) {
    for quota in ["-1", "9663676416", "0"] {
        let flags = vec![format!("--quota-backend-bytes={quota}")];
        let mut server = Server::start(&Options { flags, ..Options::default() });
        server.terminate();
        lines.extend(server.process().lines());
    }
    let temp = tempfile::tempdir().unwrap();
    let site = Site::new(temp.path()).with_flags(["--quota-backend-bytes=65536".to_owned()]);
    let mut member = Member::start(&Program::lodemark(), site).await;
    let mut client = member.client().await;
    let mut puts = 0;
    while client.put("key", vec![b'v'; 4096], None).await.is_ok() {
        puts += 1;
        assert!(puts < 100, "there is no end");
    }
    lines.extend(member.process().lines());
    drop(member);

    let temp = tempfile::tempdir().unwrap();
    let flags = [
        "--listen-client-urls=https://127.0.0.1:0",
        "--advertise-client-urls=https://127.0.0.1:0",
        "--listen-peer-urls=https://127.0.0.1:0",
        "--auto-tls",
        "--peer-auto-tls",
    ];
    let data_dir = format!("--data-dir={}", temp.path().join("data").display());
    let arguments: Vec<_> = flags.iter().copied().chain([data_dir.as_str()]).map(Into::into).collect();
    let mut process = Server::run(&arguments, temp.path());
    let clients = crate::harness::address(&process.wait_for_line("serving client traffic securely", 0));
    let peers = crate::harness::address(&process.wait_for_line("serving peer traffic", 0));
    for address in [&clients, &peers] {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    process.wait_for_line("rejected connection on client endpoint", 0);
    process.wait_for_line("rejected connection on peer endpoint", 0);
    process.terminate();
    process.wait();
    lines.extend(process.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_said() {
    let mut cluster = Cluster::start_with(&Program::lodemark(), 3, &FLAGS).await;
    call(&mut cluster).await;
    miss_a_part_of_the_log(&mut cluster).await;
    change_members(&mut cluster).await;
    stall(&mut cluster).await;
    hand_over(&mut cluster).await;
    // Periodic compaction needs changes to compact.
    let leader = cluster.leader().await;
    for _ in 0..LOOKS {
        put(&mut cluster.client(leader).await, 1).await;
        if cluster.process(leader).lines().iter().any(|line| line.contains("completed auto periodic compaction")) {
            break;
        }
        sleep(LOOK_AGAIN).await;
    }
    for member in 0..3 {
        cluster.terminate(member);
    }
    let mut lines = cluster.lines();
    single_servers(&mut lines).await;

    let texts = lines.iter().filter(|line| line.contains(SECRET)).collect::<Vec<_>>();
    assert!(texts.is_empty(), "{texts:#?}");
    let lines = Line::read_all(&lines);
    let mut missing = Vec::new();
    for (message, fate) in TABLE {
        let said: Vec<&Line> = lines.iter().filter(|line| line.message().contains(message)).collect();
        match fate {
            Shown(fields) => {
                let is_whole = |line: &&&Line| fields.iter().all(|field| !line.field(field).is_null());
                if !said.iter().any(|line| is_whole(&line)) {
                    missing.push(format!("{message:?} with {fields:?}: {:?}", said.first()));
                }
            }
            Not(why) => println!("not here: {message:?}: {why}"),
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
