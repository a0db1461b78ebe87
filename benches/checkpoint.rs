//! What does a checkpoint cost? Commits, and at start opening the file and loading all records.
//!
//! The disk is memory, so that the figures are the work of redb and of the checks, without the system's syncs.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lodemark::env::{Disk, MemoryDisk};
use lodemark::model::{KeyValue, LeaseId, Record, Revision, SubRevision};
use lodemark::storage::{Meta, Storage, TableWrite};

const PATH: &str = "checkpoint";
const CACHE_BYTES: usize = 64 << 20;
/// Together with a key of 24 bytes a record takes about 300.
const VALUE_BYTES: usize = 256;

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    group.sample_size(20);
    for count in [1000, 10_000] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} new records after 100000"), |b| {
            let (storage, mut next) = filled(100_000);
            b.iter_batched(
                || {
                    let writes = records(next, count);
                    next += count.cast_signed();
                    writes
                },
                |writes| storage.commit(&writes, &Meta::default()).expect("memory does not fail"),
                BatchSize::PerIteration,
            );
        });
    }
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1000 removals among 100000", |b| {
        let (storage, mut next) = filled(100_000);
        let mut round = 0;
        b.iter_batched(
            || {
                storage.commit(&records(next, 1000), &Meta::default()).expect("memory does not fail");
                next += 1000;
                // Every fourth record of 4000, four times: as when some keys change more often than others.
                let first = round / 4 * 4000 + round % 4;
                round += 1;
                let mains = (first..).step_by(4).take(1000);
                let removal = |main| TableWrite::RemoveRecord { at: SubRevision::first(Revision(main)) };
                mains.map(removal).collect::<Vec<_>>()
            },
            |writes| storage.commit(&writes, &Meta::default()).expect("memory does not fail"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn load(c: &mut Criterion) {
    const COUNT: u64 = 100_000;
    let (storage, _) = filled(COUNT);
    let mut group = c.benchmark_group("load");
    group.sample_size(20);
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function(format!("open {COUNT} records"), |b| {
        let disk = Arc::new(MemoryDisk::new());
        drop(filled_on(Arc::clone(&disk), COUNT));
        b.iter(|| {
            Storage::open(Arc::clone(&disk) as Arc<dyn Disk>, Path::new(PATH), CACHE_BYTES).expect("it is whole")
        });
    });
    group.bench_function(format!("{COUNT} records"), |b| {
        b.iter(|| black_box(storage.load_records(2, Vec::with_capacity).expect("memory does not fail")));
    });
    group.finish();
}

/// A storage with records of the revisions from 0, and the next revision.
fn filled(count: u64) -> (Storage, i64) {
    filled_on(Arc::new(MemoryDisk::new()), count)
}

fn filled_on(disk: Arc<MemoryDisk>, count: u64) -> (Storage, i64) {
    let storage = Storage::open(disk, Path::new(PATH), CACHE_BYTES).expect("memory does not fail");
    let mut next = 0;
    while next < count.cast_signed() {
        storage.commit(&records(next, 10_000), &Meta::default()).expect("memory does not fail");
        next += 10_000;
    }
    (storage, next)
}

fn records(first: i64, count: u64) -> Vec<TableWrite> {
    let value = [0x5a; VALUE_BYTES];
    let record = |main| {
        let key = format!("/registry/services/{main:05}");
        Record::new(&KeyValue {
            key: key.as_bytes(),
            value: &value,
            create_revision: Revision(main + 1),
            mod_revision: Revision(main + 1),
            version: 1,
            lease: LeaseId::NONE,
        })
    };
    let mains = first..first + count.cast_signed();
    mains.map(|main| TableWrite::Record { at: SubRevision::first(Revision(main)), record: record(main) }).collect()
}

criterion_group!(benches, commit, load);
criterion_main!(benches);
