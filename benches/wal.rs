//! What does an append to the log cost, and how does group commit scale with the number of writers?
//!
//! On a real disk, below the system's folder for temporary files (`TMPDIR` chooses another): each figure holds a real
//! `fdatasync`. One writer pays a whole sync for each entry; many share it, so that entries per second should grow almost
//! with their number until the disk's bandwidth or the processor is the limit.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lodemark::env::{RealDisk, SystemRandom};
use lodemark::wal::{LogEntry, Options, Wal};

/// A put of a small value in an entry of its own.
const PAYLOAD_BYTES: usize = 300;
/// So many entries gather before they are purged.
const ENTRIES_KEPT: u64 = 20_000;

struct Log {
    wal: Wal,
    thread: Option<JoinHandle<()>>,
    next: u64,
    purged: u64,
    _dir: tempfile::TempDir,
}

impl Log {
    fn new() -> Log {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let disk = Arc::new(RealDisk::new(dir.path()));
        let options = Options { dir: PathBuf::from("log"), ..Options::default() };
        let (wal, writer, _) = Wal::open(disk, Arc::new(SystemRandom), options).expect("a new log opens");
        let thread = std::thread::spawn(move || writer.run());
        Log { wal, thread: Some(thread), next: 1, purged: 0, _dir: dir }
    }

    /// Appends one entry for each of so many writers, which all wait at the same time, and waits for all of them.
    fn append(&mut self, writers: u64, payload: &Bytes) {
        let (done_tx, done_rx) = mpsc::sync_channel(usize::try_from(writers).expect("writers are few"));
        for _ in 0..writers {
            let entry = LogEntry { index: self.next, term: 1, payload: payload.clone() };
            let done_tx = done_tx.clone();
            let done = Box::new(move |result| done_tx.send(result).expect("somebody waits"));
            self.wal.append(vec![entry], done).expect("the log runs");
            self.next += 1;
        }
        for _ in 0..writers {
            done_rx.recv().expect("everybody is answered").expect("the disk does not fail");
        }
    }

    /// Lets old entries go, as a member does behind a checkpoint.
    fn trim(&mut self) {
        if self.next - self.purged > ENTRIES_KEPT {
            self.purged = self.next - 1;
            self.wal.purge(self.purged, Bytes::new()).expect("the log runs");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.wal.close();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the log's thread ends");
        }
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append and sync");
    for payload_bytes in [PAYLOAD_BYTES, 4096, 64 * 1024] {
        let payload = Bytes::from(vec![7; payload_bytes]);
        group.throughput(Throughput::Bytes(payload_bytes as u64));
        group.bench_with_input(BenchmarkId::from_parameter(payload_bytes), &payload, |b, payload| {
            let mut log = Log::new();
            b.iter(|| {
                log.append(1, payload);
                log.trim();
            });
        });
    }
    group.finish();
}

fn group_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("group commit");
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    for writers in [1, 4, 16, 64, 256, 1024] {
        group.throughput(Throughput::Elements(writers));
        group.bench_with_input(BenchmarkId::new("writers", writers), &writers, |b, &writers| {
            let mut log = Log::new();
            b.iter(|| {
                log.append(writers, &payload);
                log.trim();
            });
        });
    }
    group.finish();
}

/// Reading back for a follower that is late: from memory, and from files.
fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read 1000 entries");
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let mut log = Log::new();
    // More than the cache of 8 MiB, so that the first are on disk only.
    for _ in 0..60 {
        log.append(1000, &payload);
    }
    group.throughput(Throughput::Elements(1000));
    for (name, from) in [("from files", 20_001), ("from memory", log.next - 1000)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let entries = log.wal.read(from, from + 1000, usize::MAX).expect("they are there");
                assert_eq!(entries.len(), 1000);
                black_box(entries)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, group_commit, read);
criterion_main!(benches);
