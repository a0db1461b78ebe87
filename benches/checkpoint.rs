//! What does a checkpoint cost? Commits, and at start opening the file and loading all records.
//!
//! The disk is memory, so that the figures are the work of redb and of the checks, without the system's syncs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lodemark::env::{Disk, File, SyncSite};
use lodemark::model::{KeyValue, LeaseId, Record, Revision, SubRevision};
use lodemark::storage::{Meta, Storage, TableWrite};
use parking_lot::{Mutex, RwLock};

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
        let disk = Arc::new(MemoryDisk::default());
        drop(filled_on(Arc::clone(&disk), COUNT));
        b.iter(|| {
            Storage::open(Arc::clone(&disk) as Arc<dyn Disk>, Path::new(PATH), CACHE_BYTES).expect("it is whole")
        });
    });
    group.bench_function(format!("{COUNT} records"), |b| {
        b.iter(|| black_box(storage.load_records::<Vec<_>>(2).expect("memory does not fail")));
    });
    group.finish();
}

/// A storage with records of the revisions from 0, and the next revision.
fn filled(count: u64) -> (Storage, i64) {
    filled_on(Arc::new(MemoryDisk::default()), count)
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

#[derive(Debug, Default)]
struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, MemoryFile>>,
}

#[derive(Debug, Clone, Default)]
struct MemoryFile(Arc<RwLock<Vec<u8>>>);

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(self.files.lock().get(path).ok_or(io::ErrorKind::NotFound)?.clone()))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(self.files.lock().entry(path.to_path_buf()).or_default().clone()))
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().map(|path| path.display().to_string()).collect())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.files.lock().contains_key(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path, _site: SyncSite) -> io::Result<()> {
        Ok(())
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.write().resize(position(len)?, 0);
        Ok(())
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = position(offset)?;
        out.copy_from_slice(self.0.read().get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.write();
        let start = position(offset)?;
        let end = start + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }

    fn sync_data(&self, _site: SyncSite) -> io::Result<()> {
        Ok(())
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

criterion_group!(benches, commit, load);
criterion_main!(benches);
