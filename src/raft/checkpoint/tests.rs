//! Checkpoints of a member whose log is written by hand, on a simulated disk.

use std::path::Path;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::*;
use crate::env::{Disk, SeededRandom, SimDisk};
use crate::machine::{Effects, Machine};
use crate::metrics::CheckpointMetrics;
use crate::model::{Command, Compact, LogId, Put, Revision};
use crate::raft::snapshot::snapshot_of;
use crate::wal::{self, LogEntry, Writer};

/// More than a new file has room for.
const LARGE_BYTES: usize = 8 << 20;

struct Member {
    disk: SimDisk,
    shared: Arc<Shared>,
    wal: Wal,
    writer: Writer,
    checkpoints: Arc<Checkpoints>,
    checkpointer: Checkpointer,
}

fn member() -> Member {
    member_that_caches(1 << 20)
}

fn member_that_caches(cache_bytes: usize) -> Member {
    let disk = SimDisk::new();
    let options = wal::Options { segment_bytes: 64 * 1024, ..wal::Options::default() };
    let (wal, writer, _) = Wal::open(Arc::new(disk.clone()), Arc::new(SeededRandom::new(1)), options).unwrap();
    let storage = Storage::open(Arc::new(disk.clone()), Path::new("state"), cache_bytes).unwrap();
    let meta = storage.meta().unwrap();
    let machine = RwLock::new(Machine::load(&storage, usize::MAX).unwrap());
    let shared = Arc::new(Shared { machine, storage: ArcSwap::from_pointee(storage) });
    let reserve = Reserve::new(Arc::new(disk.clone()), Path::new("reserve"));
    let checkpoints = Checkpoints::new(shared.clone(), wal.clone(), (&meta, reserve), CheckpointMetrics::default());
    let checkpointer = Checkpointer::new(checkpoints.clone());
    Member { disk, shared, wal, writer, checkpoints, checkpointer }
}

impl Member {
    /// Appends an entry and applies it, before it is durable.
    fn apply(&self, command: &Command, membership: &'static [u8]) {
        let mut machine = self.shared.machine.write();
        let at = LogId { term: 1, index: machine.applied().index + 1 };
        let entry = LogEntry { index: at.index, term: at.term, payload: Bytes::new() };
        self.wal.append(vec![entry], Box::new(|_| {})).unwrap();
        machine.begin_entry(at).unwrap();
        let mut effects = Effects::default();
        machine.apply(command, &self.shared.storage.load(), &mut effects).unwrap().unwrap();
        self.checkpoints.add(&mut effects.writes, machine.meta(Bytes::from_static(membership)));
    }

    fn put(&self, value: impl Into<Bytes>) {
        let (key, value) = (Bytes::from_static(b"key"), value.into());
        self.apply(&Command::Put(Put { key, value, ..Put::default() }), b"voters");
    }

    /// The first byte of each value in the tables.
    fn values(&self) -> Vec<u8> {
        let mut values = Vec::new();
        let storage = self.shared.storage.load();
        for part in storage.load_records(2, Vec::with_capacity).unwrap() {
            values.extend(part.iter().map(|(_, record)| record.value()[0]));
        }
        values
    }
}

#[test]
fn a_checkpoint_waits_until_the_log_is_durable_that_far() {
    let Member { shared, mut writer, checkpoints, mut checkpointer, .. } = {
        let member = member();
        member.put("a");
        member
    };
    let thread = std::thread::spawn(move || checkpointer.step());
    while checkpoints.pending.lock().bytes > 0 {
        std::thread::yield_now();
    }
    assert_eq!((checkpoints.applied(), shared.storage.load().meta().unwrap().applied.index), (0, 0));
    assert!(writer.step());
    assert!(thread.join().unwrap());
    assert_eq!((checkpoints.applied(), shared.storage.load().meta().unwrap().applied.index), (1, 1));
}

#[test]
fn a_log_that_fails_ends_checkpoints_before_they_are_ahead_of_it() {
    let mut member = member();
    member.put("a");
    drop(member.writer);
    assert!(!member.checkpointer.step());
    assert_eq!(member.shared.storage.load().meta().unwrap().applied.index, 0);
}

/// Compaction found the buffer empty while a checkpoint with a new membership was on its way, and took the membership
/// of the tables, which was the old one. The next checkpoint wrote it over the new one.
#[test]
fn removals_do_not_bring_an_older_membership_back() {
    let member = member();
    member.put("a");
    member.put("b");
    member.apply(&Command::Compact(Compact { revision: Revision(3), physical: false }), b"new voters");
    let Member { shared, mut writer, checkpoints, mut checkpointer, .. } = member;
    let thread = std::thread::spawn(move || (checkpointer.step(), checkpointer));
    while checkpoints.pending.lock().bytes > 0 {
        std::thread::yield_now();
    }
    assert!(!checkpoints.compact_step(1000).has_more, "it has visited all");
    assert!(writer.step());
    let (is_running, mut checkpointer) = thread.join().unwrap();
    assert!(is_running && checkpointer.step());
    assert_eq!(shared.storage.load().meta().unwrap().membership, Bytes::from_static(b"new voters"));
}

#[test]
fn what_compaction_finds_goes_with_later_checkpoints_but_not_with_the_last() {
    let mut member = member();
    for value in ["a", "b", "c"] {
        member.put(value);
    }
    member.apply(&Command::Compact(Compact { revision: Revision(4), physical: false }), b"voters");
    assert!(member.writer.step() && member.checkpointer.step());
    assert_eq!((member.values(), member.checkpointer.has_work()), (b"abc".to_vec(), Some(false)));
    assert!(!member.checkpoints.compact_step(1000).has_more);
    assert_eq!(member.checkpointer.has_work(), Some(true));
    assert!(!member.checkpoints.removals.are_done());
    assert!(member.checkpointer.step());
    assert_eq!((member.values(), member.checkpointer.has_work()), (b"c".to_vec(), Some(false)));
    assert!(member.checkpoints.removals.are_done());

    member.put("d");
    member.apply(&Command::Compact(Compact { revision: Revision(5), physical: false }), b"voters");
    assert!(!member.checkpoints.compact_step(1000).has_more);
    member.checkpoints.close();
    assert!(member.writer.step() && member.checkpointer.step());
    assert_eq!((member.values(), member.checkpointer.has_work()), (b"cd".to_vec(), None));
    // The next start finds it again.
    let storage = member.shared.storage.load();
    let mut loaded = Machine::load(&storage, usize::MAX).unwrap();
    assert_eq!(loaded.kv.compact_step(1000).map(|removed| removed.len()), Some(1));
}

#[test]
fn removals_that_found_no_space_are_not_joined_by_others() {
    let mut member = member();
    for value in [vec![b'a'; 10], vec![b'b'; 10]] {
        member.put(value);
    }
    member.apply(&Command::Compact(Compact { revision: Revision(3), physical: false }), b"voters");
    assert!(member.writer.step() && member.checkpointer.step());
    assert!(!member.checkpoints.compact_step(1000).has_more);
    member.put(vec![b'c'; LARGE_BYTES]);
    assert!(member.writer.step());
    member.disk.set_full(true);
    assert!(member.checkpointer.step() && member.checkpointer.step());
    assert_eq!(member.checkpoints.pending.lock().removals, 1);
    member.disk.set_full(false);
    assert!(member.checkpointer.step());
    assert_eq!((member.values(), member.checkpoints.removals.are_done()), (b"bc".to_vec(), true));
}

/// A leader whose checkpoint was damaged began to send it again and again, and went on otherwise.
#[test]
fn a_snapshot_that_cannot_be_read_ends_the_member() {
    let mut member = member_that_caches(0);
    let command = Put { key: Bytes::from_static(b"key"), value: Bytes::from_static(b"value"), ..Put::default() };
    member.apply(&Command::Put(command), b"");
    assert!(member.writer.step() && member.checkpointer.step());
    let failed = || member.checkpoints.progress.borrow().failed.clone();
    let pinned = snapshot_of(member.checkpoints.storage().freeze().unwrap(), member.checkpoints.clone());
    let pinned = pinned.unwrap().snapshot;
    pinned.write_to(0, &mut Vec::new()).unwrap();
    // Whoever is to have it is gone: that is no damage.
    pinned.write_to(0, &mut [0_u8; 20].as_mut_slice()).unwrap_err();
    assert_eq!(failed(), None);

    let file = member.disk.open(Path::new("state")).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(0, &mut bytes).unwrap();
    for (at, _) in bytes.windows(5).enumerate().filter(|(_, window)| window == b"value") {
        file.write_all_at(at as u64, b"other").unwrap();
    }
    pinned.write_to(0, &mut Vec::new()).unwrap_err();
    let told = failed().unwrap();
    assert!(told.starts_with("state is damaged at records/2_0: its checksum does not match"), "{told}");
}

#[test]
fn a_full_disk_makes_checkpoints_wait_and_loses_nothing() {
    let mut member = member();
    member.put("a");
    assert!(member.writer.step() && member.checkpointer.step());
    member.put(vec![b'b'; LARGE_BYTES]);
    assert!(member.writer.step());
    member.disk.set_full(true);
    assert!(member.checkpointer.step(), "it is no end");
    assert_eq!((member.checkpoints.applied(), member.values()), (1, vec![b'a']));
    assert!(member.checkpoints.pending_bytes() > 0);
    member.disk.set_full(false);
    member.put("c");
    assert!(member.writer.step() && member.checkpointer.step());
    assert_eq!(member.checkpoints.applied(), 3);
    assert_eq!(member.values(), b"abc");
    assert_eq!(member.checkpoints.pending_bytes(), 0);
}

#[test]
fn a_checkpoint_without_space_gets_the_reserve_and_nothing_grows_until_that_is_back() {
    let mut member = member();
    assert!(member.checkpointer.keep_reserve());
    let takes = |member: &Member| [Demand::Growing, Demand::Freeing].map(|demand| member.checkpoints.takes(demand));
    member.put(vec![b'a'; LARGE_BYTES]);
    assert!(member.writer.step());
    member.disk.set_full(true);
    assert_eq!(takes(&member), [true, true], "nobody has asked the disk for anything");
    assert!(member.checkpointer.step());
    assert_eq!((member.checkpoints.applied(), member.checkpoints.pending_bytes()), (1, 0), "the reserve was enough");
    assert_eq!(takes(&member), [false, true]);

    member.put(vec![b'b'; PENDING_BYTES_FULL]);
    assert!(member.writer.step() && member.checkpointer.keep_reserve() && member.checkpointer.step());
    assert_eq!(takes(&member), [false, false], "so much waits that what frees space has to wait too");
    member.disk.set_full(false);
    assert!(member.checkpointer.keep_reserve() && member.checkpointer.step());
    assert_eq!((member.checkpoints.applied(), takes(&member)), (2, [true, true]));
}

#[tokio::test]
async fn who_does_not_wait_for_space_hears_that_there_is_none() {
    let mut member = member();
    member.put(vec![b'a'; LARGE_BYTES]);
    assert!(member.writer.step());
    member.disk.set_full(true);
    assert!(member.checkpointer.step());
    let why = member.checkpoints.flush_if_there_is_space().await.unwrap_err();
    assert_eq!(&*why, "no space is left on the disk");
    member.disk.set_full(false);
    assert!(member.checkpointer.step());
    member.checkpoints.flush_if_there_is_space().await.unwrap();
}

#[test]
fn the_last_checkpoint_does_not_wait_for_space() {
    let mut member = member();
    member.put(vec![b'a'; LARGE_BYTES]);
    assert!(member.writer.step());
    member.disk.set_full(true);
    member.checkpoints.close();
    assert!(!member.checkpointer.step());
    assert_eq!(member.checkpoints.applied(), 0);
}
