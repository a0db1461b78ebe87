//! What members show each other is replaced under load: certificate, key and authorities, many times, while all connections
//! between them are cut and made anew, and followers are started again. No write fails, and nobody takes the lead.
//!
//! Only what a follower has passed on to the leader, and that is on its way when their connection breaks, may be lost, as with
//! etcd: writers at followers stand still for that moment, those at the leader go on.
//!
//! Members advertise doors that stand before them, which a test can slam:
//!
//! ```text
//! m0 ──> door of m1 ──> m1          slammed: every connection through it breaks, and is made anew with the files of the moment
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::reload::{Generation, Way};
use crate::harness::{Cluster, Program, free_port};

/// How often everything is replaced.
const ROUNDS: u64 = 6;
const MEMBERS: usize = 3;
/// Writers at each member.
const WRITERS: usize = 2;
/// Between two writes of one writer.
const WRITE_PAUSE: Duration = Duration::from_millis(4);
/// Between a certificate and its key, and between two kinds of files: longer than a handshake.
const GAP: Duration = Duration::from_millis(100);
/// Between two looks whether connections are there again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long they may take, on a machine that is busy with other tests.
const CONNECT_MAX: Duration = Duration::from_secs(20);
const FILES: [&str; 2] = ["server.pem", "server.key"];

/// What stands before a member.
struct Door {
    connections: Arc<Mutex<JoinSet<()>>>,
    open: Arc<AtomicUsize>,
    accepting: JoinSet<()>,
}

impl Door {
    /// Leads from one port to another.
    async fn new(from: u16, to: u16) -> Door {
        let listener = TcpListener::bind(("127.0.0.1", from)).await.unwrap();
        let (connections, open) = (Arc::new(Mutex::new(JoinSet::new())), Arc::new(AtomicUsize::new(0)));
        let mut accepting = JoinSet::new();
        let (through, count) = (connections.clone(), open.clone());
        accepting.spawn(async move {
            while let Ok((mut outside, _)) = listener.accept().await {
                let count = count.clone();
                through.lock().spawn(async move {
                    let Ok(mut inside) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let _open = Open::count(count);
                    let _ = copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Door { connections, open, accepting }
    }

    fn slam(&self) {
        self.connections.lock().abort_all();
    }
}

/// A connection through a door.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(open: Arc<AtomicUsize>) -> Open {
        open.fetch_add(1, Ordering::SeqCst);
        Open(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What writers share.
#[derive(Default)]
struct Load {
    /// Of each member: held by its writers while they write, and by whoever takes it down.
    up: [RwLock<()>; MEMBERS],
    is_over: AtomicBool,
    writes: AtomicU64,
    slowest_ms: AtomicU64,
}

impl Load {
    /// Writes through one member, and tries nothing a second time.
    async fn write(&self, member: usize, writer: usize, endpoint: String) {
        let mut client = etcd_client::Client::connect([endpoint], None).await.unwrap();
        for count in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let up = self.up[member].read().await;
            let begun = Instant::now();
            let written = client.put(format!("m{member}/{writer}"), count.to_string(), None).await;
            written.unwrap_or_else(|error| panic!("write {count} through member {member}: {error}"));
            drop(up);
            self.writes.fetch_add(1, Ordering::Relaxed);
            let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
            self.slowest_ms.fetch_max(took, Ordering::Relaxed);
            sleep(WRITE_PAUSE).await;
        }
    }
}

/// A cluster behind doors.
struct Guarded {
    cluster: Cluster,
    doors: Vec<Door>,
    listen: Vec<String>,
}

impl Guarded {
    async fn start(flags: &[&str]) -> Guarded {
        let cluster = Cluster::planned_over_tls(&Program::lodemark(), MEMBERS, flags);
        let (mut doors, mut listen) = (Vec::new(), Vec::new());
        for member in 0..MEMBERS {
            let outside = cluster.peer_url(member).rsplit(':').next().unwrap().parse().unwrap();
            let inside = free_port();
            doors.push(Door::new(outside, inside).await);
            listen.push(format!("--listen-peer-urls=https://127.0.0.1:{inside}"));
        }
        let mut guarded = Guarded { cluster, doors, listen };
        (0..MEMBERS).for_each(|member| guarded.launch(member, &[]));
        for member in 0..MEMBERS {
            guarded.cluster.wait_until_it_serves(member).await;
        }
        guarded
    }

    fn launch(&mut self, member: usize, flags: &[&str]) {
        self.cluster.launch_with(member, &[&[self.listen[member].as_str()], flags].concat());
    }

    async fn restart(&mut self, member: usize) {
        assert!(self.cluster.terminate(member).success());
        self.launch(member, &[]);
        self.cluster.wait_until_it_serves(member).await;
    }

    /// Breaks all connections between members, and waits until each is connected to by all others.
    async fn reconnect(&self, load: &Load, followers: &[usize]) {
        let still = join_all(followers.iter().map(|&follower| load.up[follower].write())).await;
        self.doors.iter().for_each(Door::slam);
        let connected = async {
            while !self.doors.iter().all(|door| door.open.load(Ordering::SeqCst) >= MEMBERS - 1) {
                sleep(LOOK_AGAIN).await;
            }
        };
        // What was broken counts until its task has ended.
        sleep(LOOK_AGAIN).await;
        timeout(CONNECT_MAX, connected).await.expect("members connect again");
        drop(still);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_fails_while_what_members_show_each_other_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut generations = vec![Generation::new(1)];
    FILES.iter().for_each(|file| generations[0].put(file, Way::Renamed, dir.path()));
    let ca = generations[0].authority.write(dir.path());
    let [cert, key] = FILES.map(|file| dir.path().join(file));
    let flags = [
        format!("--peer-cert-file={}", cert.display()),
        format!("--peer-key-file={}", key.display()),
        format!("--peer-trusted-ca-file={}", ca.display()),
        "--peer-client-cert-auth".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut guarded = Guarded::start(&flags).await;
    let leader = guarded.cluster.leader().await;
    let followers: Vec<usize> = (0..MEMBERS).filter(|&member| member != leader).collect();
    let led = guarded.cluster.view(leader).await.unwrap();

    let load = Arc::new(Load::default());
    let mut writers = JoinSet::new();
    for (member, writer) in (0..MEMBERS).flat_map(|member| (0..WRITERS).map(move |writer| (member, writer))) {
        let (load, endpoint) = (load.clone(), guarded.cluster.endpoint(member));
        writers.spawn(async move { load.write(member, writer, endpoint).await });
    }
    let begun = Instant::now();
    for round in 2..2 + ROUNDS {
        let (old, new) = (generations.last().expect("there is a first"), Generation::new(round));
        let way = if round % 2 == 0 { Way::Renamed } else { Way::WrittenOver };
        let both = format!("{}{}", old.authority.pem(), new.authority.pem());
        way.put(&ca, both.as_bytes());
        guarded.reconnect(&load, &followers).await;
        for file in FILES {
            sleep(GAP).await;
            new.put(file, way, dir.path());
        }
        guarded.reconnect(&load, &followers).await;
        sleep(GAP).await;
        way.put(&ca, new.authority.pem().as_bytes());
        guarded.reconnect(&load, &followers).await;
        sleep(GAP).await;
        let restarted = followers[usize::try_from(round).unwrap() % followers.len()];
        let down = load.up[restarted].write().await;
        guarded.restart(restarted).await;
        drop(down);
        generations.push(new);
        if let Some(ended) = writers.try_join_next() {
            ended.expect("no write fails");
        }
    }
    load.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.expect("no write fails");
    }
    let (writes, slowest) = (load.writes.load(Ordering::Relaxed), load.slowest_ms.load(Ordering::Relaxed));
    println!(
        "{writes} writes, the slowest in {slowest} ms, while files were replaced {ROUNDS} times and all connections between \
         members broken {} times, within {:?}",
        3 * ROUNDS,
        begun.elapsed()
    );
    assert!(guarded.doors.iter().all(|door| !door.accepting.is_empty()));
    let view = guarded.cluster.view(leader).await.unwrap();
    assert_eq!((view.leader, view.term), (led.leader, led.term), "nobody else took the lead");
    let refused: Vec<_> =
        guarded.cluster.lines().into_iter().filter(|line| line.contains("invalid peer certificate")).collect();
    assert!(refused.is_empty(), "{refused:#?}");

    // One that has missed it all is out: it shows what the first authority has signed, which nobody trusts any more.
    let stale = followers[0];
    assert!(guarded.cluster.terminate(stale).success());
    let [cert, key] = FILES.map(|file| generations[0].dir.path().join(file).display().to_string());
    let flags = [format!("--peer-cert-file={cert}"), format!("--peer-key-file={key}")];
    guarded.launch(stale, &[&flags[0], &flags[1]]);
    let line = guarded.cluster.process(leader).wait_for_line("rejected connection on peer endpoint", 0);
    let refusal = guarded.cluster.process(leader).wait_for_line("UnknownIssuer", 0);
    assert!(refusal.contains("127.0.0.1") && line.contains("remote-addr"), "{line}{refusal}");
    guarded.cluster.client(followers[1]).await.put("key", "without it", None).await.unwrap();
    guarded.cluster.kill(stale);
    guarded.launch(stale, &[]);
    guarded.cluster.wait_until_it_serves(stale).await;
}
