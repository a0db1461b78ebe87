//! What do a write, a read and a compaction cost in the key space itself, without Raft, log and network?
//!
//! The store has 100000 keys of 24 bytes with values of 256 bytes, as a registry of some thousand services may have.
//! All of it is memory, but for the reads of older revisions, which come from a checkpoint on a disk in memory.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lodemark::env::{Clock, SimDisk, SystemClock};
use lodemark::model::{KeyRange, LeaseId, Range, RangeEnd, SortOrder, SortTarget};
use lodemark::mvcc::{Store, range, range_now};
use lodemark::storage::{Meta, Storage};

const KEYS: u64 = 100_000;
const VALUE: &[u8] = &[b'v'; 256];
const CACHE_BYTES: usize = 64 << 20;
/// After so many writes the store is brought back to its size, outside the measurement.
const WRITES_BETWEEN_CLEANUPS: u64 = 10_000;

fn writes(c: &mut Criterion) {
    let mut group = c.benchmark_group("mvcc write");
    group.throughput(Throughput::Elements(1));
    group.bench_function("put a new key", |b| {
        let mut store = filled();
        b.iter_custom(|iters| {
            measure(
                iters,
                &mut store,
                |store, i| put(store, &key(KEYS + i)),
                |store| {
                    let mut write = store.begin();
                    write.delete_range(&KeyRange { start: key(KEYS), end: RangeEnd::Unbounded });
                    write.finish(&mut Vec::new(), &mut Vec::new());
                },
            )
        });
    });
    group.bench_function("put over a key", |b| {
        let mut store = filled();
        b.iter_custom(|iters| measure(iters, &mut store, |store, i| put(store, &key(scattered(i))), |_| {}));
    });
    group.bench_function("delete a key", |b| {
        let mut store = filled();
        b.iter_custom(|iters| {
            measure(
                iters,
                &mut store,
                |store, i| {
                    let mut write = store.begin();
                    black_box(write.delete_range(&KeyRange::single(key(scattered(i)))));
                    write.finish(&mut Vec::new(), &mut Vec::new());
                },
                // Those that were deleted, and no others.
                |store| (0..WRITES_BETWEEN_CLEANUPS).for_each(|i| put(store, &key(scattered(i)))),
            )
        });
    });
    group.finish();
}

fn reads(c: &mut Criterion) {
    let (store, storage) = (filled(), empty_storage());
    let mut group = c.benchmark_group("mvcc read");
    group.throughput(Throughput::Elements(1));
    group.bench_function("get", |b| {
        let mut i = 0;
        b.iter(|| {
            i += 1;
            let query = Range { keys: KeyRange::single(key(scattered(i))), ..all() };
            range_now(&store, &query, 1000)
        });
    });
    let thousand = KeyRange { start: key(50_000), end: RangeEnd::Before(key(51_000)) };
    let cases = [
        ("range of 1000", Range { keys: thousand.clone(), ..all() }, 1000),
        ("range of 1000, keys only", Range { keys: thousand.clone(), keys_only: true, ..all() }, 1000),
        ("range of 1000, by mod revision", by_mod(Range { keys: thousand, ..all() }), 1000),
        ("range of 100000", all(), KEYS),
        ("range of 100000, only counted", Range { count_only: true, ..all() }, KEYS),
        ("first 500 of 100000", Range { limit: 500, ..all() }, 500),
    ];
    for (name, query, elements) in cases {
        group.throughput(Throughput::Elements(elements));
        group.bench_function(name, |b| b.iter(|| range(&store, &storage, &query).expect("it can be read")));
    }
    group.finish();
}

/// Every key was written twice; the first writes are only in storage.
fn older_reads(c: &mut Criterion) {
    let (mut store, storage) = (Store::new(), empty_storage());
    let mut writes = Vec::new();
    for round in 0..2u64 {
        for i in 0..KEYS {
            let mut write = store.begin();
            write.put(&key(i), if round == 0 { VALUE } else { b"newer" }, LeaseId::NONE);
            write.finish(&mut Vec::new(), &mut writes);
        }
    }
    storage.commit(&writes, &Meta { revision: store.revision(), ..Meta::default() }).expect("memory does not fail");
    store.release_tail(store.revision());
    let at = 1 + KEYS.cast_signed();

    let mut group = c.benchmark_group("mvcc read of an older revision");
    for count in [1, 1000] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("range of {count}"), |b| {
            let keys = KeyRange { start: key(50_000), end: RangeEnd::Before(key(50_000 + count)) };
            let query = Range { keys, revision: at, ..all() };
            b.iter(|| range(&store, &storage, &query).expect("it can be read"));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("mvcc start");
    group.sample_size(10);
    group.throughput(Throughput::Elements(2 * KEYS));
    group.bench_function("load 100000 keys of 2 changes", |b| {
        let meta = storage.meta().expect("memory does not fail");
        b.iter(|| Store::load(&storage, &meta, usize::MAX, &mut |_, _| {}).expect("it is whole"));
    });
    group.finish();
}

fn compaction(c: &mut Criterion) {
    let mut group = c.benchmark_group("mvcc compaction");
    group.sample_size(10);
    group.throughput(Throughput::Elements(KEYS));
    group.bench_function("sweep 100000 keys of 2 changes", |b| {
        b.iter_batched(
            || {
                let mut store = filled();
                (0..KEYS).for_each(|i| put(&mut store, &key(i)));
                store.compact(store.revision()).expect("it was never compacted");
                store
            },
            |mut store| {
                while let Some(removed) = store.compact_step(1000) {
                    black_box(removed);
                }
                store
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Runs `write` so often, and now and then, outside the measurement, `restore` and all that keeps a store small.
fn measure(
    iters: u64,
    store: &mut Store,
    mut write: impl FnMut(&mut Store, u64),
    mut restore: impl FnMut(&mut Store),
) -> Duration {
    let clock = SystemClock::new();
    let (mut done, mut taken) = (0, Duration::ZERO);
    while done < iters {
        let count = WRITES_BETWEEN_CLEANUPS.min(iters - done);
        let start = clock.now();
        (0..count).for_each(|i| write(store, i));
        taken += clock.now().since(start);
        done += count;

        restore(store);
        store.release_tail(store.revision());
        let _ = store.compact(store.revision());
        while store.compact_step(usize::MAX).is_some() {}
    }
    taken
}

fn filled() -> Store {
    let mut store = Store::new();
    (0..KEYS).for_each(|i| put(&mut store, &key(i)));
    store.release_tail(store.revision());
    store
}

fn put(store: &mut Store, key: &[u8]) {
    let mut write = store.begin();
    black_box(write.put(key, VALUE, LeaseId::NONE));
    write.finish(&mut Vec::new(), &mut Vec::new());
}

fn key(i: u64) -> Bytes {
    Bytes::from(format!("/services/web/{i:010}"))
}

/// Visits all keys once, far from each other.
fn scattered(i: u64) -> u64 {
    i * 61_681 % KEYS
}

fn all() -> Range {
    Range::of(KeyRange { start: Bytes::from_static(b"\0"), end: RangeEnd::Unbounded })
}

fn by_mod(query: Range) -> Range {
    Range { sort_order: SortOrder::Descend, sort_target: SortTarget::Mod, ..query }
}

fn empty_storage() -> Storage {
    Storage::open(Arc::new(SimDisk::new()), Path::new("state"), CACHE_BYTES).expect("memory does not fail")
}

criterion_group!(benches, writes, reads, older_reads, compaction);
criterion_main!(benches);
