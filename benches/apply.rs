//! What does the state machine add to a write: checks, replies, leases, events, table writes, the chain of digests?
//!
//! One core applies everything, so its speed bounds a member's writes. The machine has 100000 keys of 24 bytes with
//! values of 256 bytes.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lodemark::env::{Clock, SimDisk, SystemClock};
use lodemark::machine::{Effects, Machine};
use lodemark::model::{
    Command, Compact, Compare, CompareResult, CompareTarget, KeyRange, LeaseGrant, LeaseId, LeaseRevoke, LogId, Put,
    Txn, TxnOp,
};
use lodemark::storage::Storage;

const KEYS: u64 = 100_000;
const CACHE_BYTES: usize = 64 << 20;
/// Commands of one run: about what waits under load while the log syncs.
const RUN: u64 = 64;
/// After so many runs the machine is brought back to its size, outside the measurement.
const RUNS_BETWEEN_CLEANUPS: u64 = 200;

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply a run of 64");
    group.throughput(Throughput::Elements(RUN));
    group.bench_function("puts over keys", |b| bench(b, |i| put(scattered(i), LeaseId::NONE)));
    group.bench_function("puts over keys with a lease", |b| bench(b, |i| put(scattered(i), LeaseId(1))));
    group.bench_function("puts with the pair before", |b| {
        bench(b, |i| match put(scattered(i), LeaseId::NONE) {
            Command::Put(put) => Command::Put(Put { prev_kv: true, ..put }),
            other => other,
        });
    });
    group.bench_function("compare and swap", |b| bench(b, |i| swap(scattered(i))));
    group.finish();

    let mut group = c.benchmark_group("apply the end of a lease");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1000));
    group.bench_function("with 1000 keys", |b| {
        let mut bench = Bench::new();
        b.iter_custom(|iters| {
            let mut taken = Duration::ZERO;
            for _ in 0..iters {
                bench.run((0..1000).map(|i| put(scattered(i), LeaseId(1))));
                taken += bench.run([Command::LeaseRevoke(LeaseRevoke { id: LeaseId(1) })]);
                bench.run([grant()]);
                bench.clean();
            }
            taken
        });
    });
    group.finish();
}

fn bench(b: &mut criterion::Bencher<'_>, command: impl Fn(u64) -> Command) {
    let mut bench = Bench::new();
    let mut next = 0;
    b.iter_custom(|iters| {
        let mut taken = Duration::ZERO;
        for i in 1..=iters {
            taken += bench.run((next..next + RUN).map(&command));
            next += RUN;
            if i % RUNS_BETWEEN_CLEANUPS == 0 {
                bench.clean();
            }
        }
        bench.clean();
        taken
    });
}

struct Bench {
    machine: Machine,
    storage: Storage,
    clock: SystemClock,
}

impl Bench {
    fn new() -> Bench {
        let disk = Arc::new(SimDisk::new());
        let storage = Storage::open(disk, Path::new("state"), CACHE_BYTES).expect("memory does not fail");
        let mut bench = Bench { machine: Machine::new(), storage, clock: SystemClock::new() };
        bench.run([grant()]);
        bench.run((0..KEYS).map(|i| put(i, LeaseId::NONE)));
        bench.clean();
        bench
    }

    /// Applies commands as one entry; the time it takes without making them and without dropping what they left.
    fn run(&mut self, commands: impl IntoIterator<Item = Command>) -> Duration {
        let commands: Vec<Command> = commands.into_iter().collect();
        let (mut effects, mut replies) = (Effects::default(), Vec::with_capacity(commands.len()));
        let start = self.clock.now();
        let at = LogId { term: 1, index: self.machine.applied().index + 1 };
        self.machine.begin_entry(at).expect("entries follow each other");
        for command in &commands {
            replies.push(self.machine.apply(command, &self.storage, &mut effects).expect("memory does not fail"));
        }
        let taken = self.clock.now().since(start);
        assert!(replies.iter().all(Result::is_ok), "nothing is refused");
        black_box((effects, replies));
        taken
    }

    /// Forgets the history.
    fn clean(&mut self) {
        let revision = self.machine.kv.revision();
        if revision == self.machine.kv.compacted() {
            return;
        }
        self.run([Command::Compact(Compact { revision, physical: false })]);
        self.machine.kv.release_tail(revision);
        while self.machine.kv.compact_step(usize::MAX).is_some() {}
    }
}

fn grant() -> Command {
    Command::LeaseGrant(LeaseGrant { id: LeaseId(1), ttl: 60 })
}

fn put(i: u64, lease: LeaseId) -> Command {
    let value = Bytes::from_static(&[b'v'; 256]);
    Command::Put(Put { key: key(i), value, lease, ..Put::default() })
}

/// Writes a key if it is there and is what it was; always true here.
fn swap(i: u64) -> Command {
    let keys = KeyRange::single(key(i));
    let target = CompareTarget::Value(Bytes::from_static(&[b'v'; 256]));
    let Command::Put(put) = put(i, LeaseId::NONE) else { unreachable!("a put is a put") };
    Command::Txn(Txn {
        compare: vec![Compare { keys, result: CompareResult::Equal, target }],
        success: vec![TxnOp::Put(put)],
        failure: Vec::new(),
    })
}

fn key(i: u64) -> Bytes {
    Bytes::from(format!("/services/web/{i:010}"))
}

/// Visits all keys once, far from each other.
fn scattered(i: u64) -> u64 {
    i * 61_681 % KEYS
}

criterion_group!(benches, apply);
criterion_main!(benches);
