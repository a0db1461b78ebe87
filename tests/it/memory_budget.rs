//! More data than memory: a process with a budget holds several times as much, answers everything right, and stays within
//! its memory, before and after it was killed.
//!
//! `LODEMARK_VALUES_MIB`, `LODEMARK_BUDGET_MIB` and `LODEMARK_VALUE_BYTES` make it larger; the long run is in
//! `docs/testing.md`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcd_client::{Client, Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, Txn, WatchOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{Options, Server, number};
use crate::memory;

const MIB: u64 = 1024 * 1024;
/// Calls at a time.
const CLIENTS: u64 = 8;
/// Pairs of one page of a listing.
const PAGE: i64 = 200;
/// What the index may take for a key: its history, its name twice, and all of its pair but the value.
const INDEX_BYTES: u64 = 250;
/// What a process takes beside its budget and the index. That of a build for tests is larger; the bound that counts is that
/// of the long run, with another build.
const REST_BYTES: u64 = 64 * MIB;
const REST_BYTES_OF_TEST_BUILD: u64 = 128 * MIB;
/// Keys that are read again and again.
const HOT_KEYS: u64 = 64;
const HOT_READS: u64 = 4_000;

/// What is written, and how much of it.
#[derive(Debug, Clone, Copy)]
struct Data {
    keys: u64,
    value_bytes: usize,
    budget: u64,
}

impl Data {
    fn from_env() -> Data {
        let value_bytes = number("LODEMARK_VALUE_BYTES", 16 * 1024);
        let keys = number("LODEMARK_VALUES_MIB", 320) * MIB / value_bytes;
        Data { keys, value_bytes: value_bytes as usize, budget: number("LODEMARK_BUDGET_MIB", 128) * MIB }
    }

    fn key(n: u64) -> String {
        format!("/values/{n:08}")
    }

    /// The value of a key: its number, and bytes that cannot be made smaller.
    fn value(&self, n: u64) -> Vec<u8> {
        let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let mut value: Vec<u8> = n.to_le_bytes().into_iter().chain(words.flatten().take(self.value_bytes)).collect();
        value.truncate(self.value_bytes);
        value
    }

    fn check(&self, kv: &KeyValue, n: u64) {
        assert_eq!(kv.key(), Data::key(n).as_bytes());
        assert_eq!(kv.value(), self.value(n), "the value of {n}");
        assert_eq!((kv.version(), kv.create_revision()), (1, kv.mod_revision()));
    }

    /// Every key once, in no order: neighbours are far apart.
    fn scattered(&self) -> impl Iterator<Item = u64> + use<> {
        let keys = self.keys;
        let step = (1..).map(|n| keys * 6 / 10 + n).find(|step| gcd(*step, keys) == 1).expect("there are primes");
        (0..keys).map(move |n| n * step % keys)
    }

    fn memory_max(&self) -> u64 {
        let rest = if std::env::var_os("LODEMARK_BIN").is_some() { REST_BYTES } else { REST_BYTES_OF_TEST_BUILD };
        self.budget + self.keys * INDEX_BYTES + rest
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_values_than_memory_are_served() {
    let data = Data::from_env();
    // The long run has as much data as the quota would allow.
    let flags = vec![format!("--memory-budget-bytes={}", data.budget), "--quota-backend-bytes=-1".to_owned()];
    let mut server = Server::start(&Options { flags, ..Options::default() });
    println!("{} keys with {} bytes each, budget {} MiB", data.keys, data.value_bytes, data.budget / MIB);

    let began = Instant::now();
    each(&server, 0..data.keys, move |mut client, n| async move {
        client.put(Data::key(n), data.value(n), None).await.expect("it is written");
    })
    .await;
    println!("written in {:?}", began.elapsed());
    check_memory(&server, data, "all was written");
    read_everything(&server, data).await;
    measure(&server, data).await;
    check_memory(&server, data, "all was read");
    server.kill();

    let began = Instant::now();
    let mut server = server.restart();
    println!("ready again in {:?}", began.elapsed());
    check_memory(&server, data, "started again");
    read_everything(&server, data).await;
    change_what_left_memory(&server, data).await;
    check_memory(&server, data, "all was read again");
    server.terminate();
}

/// Every pair, one by one in no order, and then in pages.
async fn read_everything(server: &Server, data: Data) {
    let scattered: Arc<Vec<u64>> = Arc::new(data.scattered().collect());
    each(server, 0..data.keys, move |mut client, place| {
        let n = scattered[place as usize];
        async move {
            let found = client.get(Data::key(n), None).await.expect("it is read");
            data.check(&found.kvs()[0], n);
        }
    })
    .await;

    let mut client = client_of(server).await;
    let (mut next, mut from) = (0, Data::key(0));
    loop {
        let options = GetOptions::new().with_range(Data::key(data.keys)).with_limit(PAGE);
        let page = client.get(from, Some(options)).await.expect("it is listed");
        for kv in page.kvs() {
            data.check(kv, next);
            next += 1;
        }
        from = Data::key(next);
        if !page.more() {
            break;
        }
    }
    assert_eq!(next, data.keys);
    let options = GetOptions::new().with_range(Data::key(data.keys)).with_keys_only().with_limit(PAGE);
    let keys = client.get(Data::key(0), Some(options)).await.expect("keys are listed");
    assert!(keys.kvs().iter().all(|kv| kv.value().is_empty() && kv.version() == 1));
}

/// Tells how long reads take of what is in memory, and of what is not.
async fn measure(server: &Server, data: Data) {
    let mut client = client_of(server).await;
    let (mut hot, mut cold) = (Vec::new(), Vec::new());
    for n in (0..HOT_KEYS).cycle().take(HOT_READS as usize) {
        let began = Instant::now();
        client.get(Data::key(n * data.keys / HOT_KEYS), None).await.expect("it is read");
        hot.push(began.elapsed());
    }
    // Each is read once, and long after it was read last.
    for n in data.scattered().take(HOT_READS as usize) {
        let began = Instant::now();
        client.get(Data::key(n), None).await.expect("it is read");
        cold.push(began.elapsed());
    }
    for (name, times) in [("hot", &mut hot), ("scattered", &mut cold)] {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        println!("{name} reads: median {:?}, p99 {:?}", at(50), at(99));
    }
}

/// What is asked of a pair before it changes, although its value has left memory.
async fn change_what_left_memory(server: &Server, data: Data) {
    let mut client = client_of(server).await;
    let options = WatchOptions::new().with_prefix().with_prev_key();
    let mut watch = client.watch("/values/", Some(options)).await.expect("it is watched");
    let few = (0..data.keys).step_by((data.keys / 20) as usize);
    let mut changed = Vec::new();
    for (nth, n) in few.enumerate() {
        let prev = match nth % 3 {
            0 => {
                let options = PutOptions::new().with_prev_key();
                let put = client.put(Data::key(n), "new", Some(options)).await.expect("it is written");
                put.prev_key().cloned()
            }
            1 => {
                let options = DeleteOptions::new().with_prev_key();
                let deleted = client.delete(Data::key(n), Some(options)).await.expect("it is deleted");
                deleted.prev_kvs().first().cloned()
            }
            _ => {
                let is_same = Compare::value(Data::key(n), CompareOp::Equal, data.value(n));
                let put = etcd_client::TxnOp::put(Data::key(n), "new", None);
                let txn = client.txn(Txn::new().when([is_same]).and_then([put])).await.expect("it is compared");
                assert!(txn.succeeded(), "the value of {n}");
                None
            }
        };
        if let Some(prev) = prev {
            data.check(&prev, n);
        } else {
            assert_eq!(nth % 3, 2, "there was a pair before");
        }
        changed.push(n);
    }
    let mut told = Vec::new();
    while told.len() < changed.len() {
        let response = watch.message().await.expect("the watch goes on").expect("it does not end");
        for event in response.events() {
            let n = changed[told.len()];
            assert_eq!(event.kv().expect("a pair").key(), Data::key(n).as_bytes());
            data.check(event.prev_kv().expect("with the pair before"), n);
            told.push(n);
        }
    }
}

/// Makes a call for each number, some at a time.
async fn each<F, C>(server: &Server, numbers: Range<u64>, call: F)
where
    F: Fn(Client, u64) -> C + Clone + Send + 'static,
    C: Future<Output = ()> + Send,
{
    let mut clients = JoinSet::new();
    let next = Arc::new(AtomicU64::new(numbers.start));
    for _ in 0..CLIENTS {
        let (client, next, call) = (client_of(server).await, next.clone(), call.clone());
        clients.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= numbers.end {
                    break;
                }
                call(client.clone(), n).await;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client ends well");
    }
}

async fn client_of(server: &Server) -> Client {
    Client::connect([server.endpoint()], None).await.expect("etcd-client connects lazily")
}

/// What a process had in memory at most since it began must be within what is allowed.
fn check_memory(server: &Server, data: Data, when: &str) {
    let (now, most, allowed) = (memory::resident(server.pid()), memory::peak(server.pid()), data.memory_max());
    println!("{when}: {} MiB in memory, at most {}, {} allowed", now / MIB, most / MIB, allowed / MIB);
    assert!(most < allowed, "{when}: at most {most} bytes in memory, {allowed} allowed");
}
