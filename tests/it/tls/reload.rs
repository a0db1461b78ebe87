//! Files that are replaced under load: certificates, keys, authorities and the list of revoked ones, many times, while calls
//! go on over connections that are made anew all the time. No call fails.
//!
//! What is replaced is replaced as a careful operator does it: first both authorities are trusted, then certificates change,
//! then the old authority goes. Files are renamed into place, or written over; a key follows its certificate a little later.
//! Callers read the same files for each connection, so all that is of the old authority has ended when that goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lodemark::net::{Address, CertificateFiles, Protocol, Tls, TlsOptions};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{ASKS, HERE, OWN, TRUSTS, launch, some_url};
use crate::harness::{Authority, own_program};
use crate::wire::{Wire, framed, put};

/// How often everything is replaced.
const ROUNDS: u64 = 40;
/// Callers, each with one connection at a time.
const CALLERS: u64 = 12;
/// Between two calls of one caller: all of them together make a thousand calls a second, if the machine can.
const CALL_PAUSE: Duration = Duration::from_millis(8);
/// Calls over one connection.
const CALLS_MAX: usize = 80;
/// Between a certificate and its key, and between two kinds of files.
const GAP: Duration = Duration::from_millis(15);
/// How long connecting may take on a busy machine: as long as a server waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a file is replaced.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Renamed,
    WrittenOver,
}

impl Way {
    pub(super) fn put(self, path: &Path, contents: &[u8]) {
        match self {
            Way::WrittenOver => fs::write(path, contents).unwrap(),
            Way::Renamed => {
                let unfinished = path.with_extension("new");
                fs::write(&unfinished, contents).unwrap();
                fs::rename(unfinished, path).unwrap();
            }
        }
    }
}

/// An authority, and what it has given out: kept beside the files that are read.
pub(super) struct Generation {
    pub(super) authority: Authority,
    pub(super) dir: tempfile::TempDir,
}

impl Generation {
    pub(super) fn new(number: u64) -> Generation {
        let (authority, dir) = (Authority::new(&format!("generation {number}")), tempfile::tempdir().unwrap());
        authority.issue(dir.path(), "server", "server", 2 * number + 1, HERE);
        authority.issue(dir.path(), "caller", "caller", 2 * number + 2, HERE);
        // Those of the generation before are revoked.
        authority.revoke(&dir.path().join("crl.der"), &[2 * number - 1, 2 * number]);
        Generation { authority, dir }
    }

    pub(super) fn put(&self, file: &str, way: Way, into: &Path) {
        way.put(&into.join(file), &fs::read(self.dir.path().join(file)).unwrap());
    }
}

/// What all callers share.
struct Load {
    dir: PathBuf,
    url: String,
    /// Held by whoever connects: when nobody does, everything old has ended.
    connecting: RwLock<()>,
    is_over: AtomicBool,
    calls: AtomicU64,
    connections: AtomicU64,
}

impl Load {
    /// Connects with the files of the moment.
    async fn connect(&self) -> Wire {
        let _connecting = self.connecting.read().await;
        let file = |name: &str| self.dir.join(name);
        let options = TlsOptions {
            certificate: Some(CertificateFiles { cert: file("caller.pem"), key: file("caller.key") }),
            trusted_ca_file: Some(file("ca.pem")),
            ..TlsOptions::default()
        };
        // Files may change between this look at them and the handshake, which looks again, and for longer.
        let tls = loop {
            match Tls::new(options.clone()) {
                Ok(tls) => break tls,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        };
        let address = Address::parse(&self.url).unwrap();
        let connecting = async {
            let socket = address.connect().await.expect("the port is there");
            let stream = tls.connect(socket, address.server_name(), Protocol::Http2).await.expect("a handshake");
            let wire = Wire::over(stream, "localhost".to_owned()).await.expect("HTTP/2");
            // With TLS 1.3 whoever connects may be refused after its part of the handshake.
            assert!(wire.is_serving().await);
            wire
        };
        let wire = timeout(CONNECT_TIMEOUT, connecting).await.expect("a connection in time");
        self.connections.fetch_add(1, Ordering::Relaxed);
        wire
    }

    async fn call(&self, caller: u64) {
        let mut ticks = interval(CALL_PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.is_over.load(Ordering::Relaxed) {
            let wire = self.connect().await;
            for call in 0..CALLS_MAX {
                ticks.tick().await;
                let message = put(format!("k{caller}").as_bytes(), call.to_string().into_bytes());
                let body = framed(&prost::Message::encode_to_vec(&message));
                let answer = wire.attempt("/etcdserverpb.KV/Put", &[], body).await.expect("no connection is dropped");
                assert_eq!(answer.code.as_deref(), Some("0"), "{answer:?}");
                self.calls.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Replaces everything that `old` has given out.
    async fn replace(&self, old: &Generation, new: &Generation, way: Way) {
        let both = format!("{}{}", old.authority.pem(), new.authority.pem());
        way.put(&self.dir.join("ca.pem"), both.as_bytes());
        // Whoever has read that the old one alone is trusted has to be through before certificates are of the new one.
        drop(self.connecting.write().await);
        for file in ["server.pem", "server.key", "caller.pem", "caller.key"] {
            new.put(file, way, &self.dir);
            sleep(GAP).await;
        }
        drop(self.connecting.write().await);
        new.put("crl.der", way, &self.dir);
        way.put(&self.dir.join("ca.pem"), new.authority.pem().as_bytes());
        sleep(GAP).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_everything_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Generation::new(1);
    for file in ["server.pem", "server.key", "caller.pem", "caller.key", "crl.der"] {
        old.put(file, Way::Renamed, dir.path());
    }
    old.authority.write(dir.path());
    let url = some_url("https");
    let flags = [&OWN[..], &[TRUSTS, ASKS, "--client-crl-file=crl.der"]].concat();
    let process = launch(&own_program(), dir.path(), &url, "http://127.0.0.1:0", &flags);
    process.wait_for_line("ready to serve client requests", 0);

    let load = Arc::new(Load {
        dir: dir.path().to_owned(),
        url,
        connecting: RwLock::default(),
        is_over: AtomicBool::new(false),
        calls: AtomicU64::new(0),
        connections: AtomicU64::new(0),
    });
    let mut callers = JoinSet::new();
    let begun = Instant::now();
    for caller in 0..CALLERS {
        let load = load.clone();
        callers.spawn(async move { load.call(caller).await });
    }
    for round in 2..2 + ROUNDS {
        let new = Generation::new(round);
        let way = if round % 2 == 0 { Way::Renamed } else { Way::WrittenOver };
        load.replace(&old, &new, way).await;
        old = new;
        sleep(GAP).await;
        if let Some(ended) = callers.try_join_next() {
            ended.expect("no call fails");
        }
    }
    load.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.expect("no call fails");
    }
    let (calls, connections) = (load.calls.load(Ordering::Relaxed), load.connections.load(Ordering::Relaxed));
    let rate = calls as f64 / begun.elapsed().as_secs_f64();
    println!("{calls} calls ({rate:.0}/s) over {connections} connections while files were replaced {ROUNDS} times");
    assert!(connections >= ROUNDS, "connections were made meanwhile");
    let refused = process.lines().iter().filter(|line| line.contains("rejected connection")).count();
    assert_eq!(refused, 0);
}

/// Who is revoked, or signed by an authority that is no longer trusted, is out from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_replaced_counts_from_the_next_connection_on() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Generation::new(1), Generation::new(2));
    for file in ["server.pem", "server.key", "caller.pem", "caller.key", "crl.der"] {
        one.put(file, Way::Renamed, dir.path());
    }
    one.authority.write(dir.path());
    let url = some_url("https");
    let flags = [&OWN[..], &[TRUSTS, ASKS, "--client-crl-file=crl.der"]].concat();
    let process = launch(&own_program(), dir.path(), &url, "http://127.0.0.1:0", &flags);
    process.wait_for_line("ready to serve client requests", 0);
    let caller = one.dir.path();
    let tls = Tls::new(TlsOptions {
        certificate: Some(CertificateFiles { cert: caller.join("caller.pem"), key: caller.join("caller.key") }),
        trusted_ca_file: Some(one.authority.write(caller)),
        ..TlsOptions::default()
    })
    .unwrap();
    let address = Address::parse(&url).unwrap();
    let is_let_in = async || {
        let socket = address.connect().await.unwrap();
        let Ok(stream) = tls.connect(socket, address.server_name(), Protocol::Http2).await else { return false };
        let Ok(wire) = Wire::over(stream, "localhost".to_owned()).await else { return false };
        wire.attempt("/etcdserverpb.KV/Put", &[], framed(&prost::Message::encode_to_vec(&put(b"k", vec![]))))
            .await
            .is_ok()
    };
    assert!(is_let_in().await);
    // The list of the second generation has the serial numbers of the first.
    two.put("crl.der", Way::Renamed, dir.path());
    assert!(!is_let_in().await, "it is revoked");
    process.wait_for_line("transport: certificate serial 04 revoked", 0);
    one.put("crl.der", Way::Renamed, dir.path());
    assert!(is_let_in().await);
    two.authority.write(dir.path());
    assert!(!is_let_in().await, "it is of an authority that is no longer trusted");
    one.authority.write(dir.path());
    assert!(is_let_in().await);
}
