//! The log through its doors: what is synced, answered, kept, removed and read again.

mod crash;
mod damage;
mod failure;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::format::{BATCH_HEADER_BYTES, HEADER_BYTES};
use super::*;
use crate::env::{DAMAGE_REMEDY, Image, RealDisk, SeededRandom, SimDisk, SyncSite};

/// Room for about three batches of the entries that these tests write.
const SMALL_SEGMENT_BYTES: u64 = HEADER_BYTES + 768;

struct Log {
    wal: Wal,
    writer: Writer,
    recovered: Recovered,
}

fn options(segment_bytes: u64) -> Options {
    Options { dir: PathBuf::from("log"), segment_bytes, cache_bytes_max: 1 << 20, ..Options::default() }
}

fn open_with(disk: impl Disk, options: Options) -> Result<Log, OpenError> {
    let (wal, writer, recovered) = Wal::open(Arc::new(disk), Arc::new(SeededRandom::new(7)), options)?;
    Ok(Log { wal, writer, recovered })
}

fn open(disk: &SimDisk) -> Log {
    open_with(disk.clone(), options(SMALL_SEGMENT_BYTES)).unwrap()
}

fn entry(index: u64, term: u64, len: usize) -> LogEntry {
    LogEntry { index, term, payload: vec![index as u8 ^ term as u8; len].into() }
}

/// What was answered: a name and whether it was good.
#[derive(Debug, Clone, Default)]
struct Answers(Arc<Mutex<Vec<(String, bool)>>>);

impl Answers {
    fn done(&self, name: impl Into<String>) -> Done {
        let (answers, name) = (self.0.clone(), name.into());
        Box::new(move |result| answers.lock().push((name, result.is_ok())))
    }

    fn taken(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Log {
    /// Appends one entry after the last one, of term 1, and does not wait.
    fn append(&self, len: usize, done: Done) -> u64 {
        let index = self.wal.last().map_or(1, |(index, _)| index + 1);
        self.wal.append(vec![entry(index, 1, len)], done).unwrap();
        index
    }

    /// Appends entries of 100 bytes, each a batch of its own.
    fn fill(&mut self, count: usize) {
        for _ in 0..count {
            self.append(100, Box::new(|result| result.unwrap()));
            assert!(self.writer.step());
        }
    }

    fn all(&self) -> Vec<LogEntry> {
        let Some(first) = self.wal.first_index() else { return Vec::new() };
        self.wal.read(first, u64::MAX, usize::MAX).unwrap()
    }

    fn close(mut self) {
        self.wal.close();
        assert!(!self.writer.step());
    }
}

fn segments(disk: &dyn Disk) -> Vec<String> {
    disk.list(Path::new("log")).unwrap()
}

fn batch_syncs(disk: &SimDisk) -> u64 {
    disk.sync_counts().get(&SyncSite::WalBatch).copied().unwrap_or(0)
}

#[test]
fn everything_that_waits_is_synced_once_and_answered_in_order() {
    let disk = SimDisk::new();
    let mut log = open_with(disk.clone(), options(1 << 20)).unwrap();
    let answers = Answers::default();
    for i in 0..100 {
        log.append(10, answers.done(format!("entry {i}")));
        log.wal.save_vote(vec![i].into(), answers.done(format!("vote {i}"))).unwrap();
    }
    assert_eq!(answers.taken(), []);
    assert_eq!((log.wal.last(), log.wal.synced_index()), (Some((100, 1)), 0), "readable, and not durable yet");
    assert!(log.wal.queued_bytes() > 1000);

    assert!(log.writer.step());
    assert_eq!(batch_syncs(&disk), 1);
    let expected: Vec<_> = (0..100).flat_map(|i| [(format!("entry {i}"), true), (format!("vote {i}"), true)]).collect();
    assert_eq!(answers.taken(), expected);
    assert_eq!((log.wal.synced_index(), log.wal.queued_bytes()), (100, 0));
}

#[test]
fn a_log_reopens_with_exactly_what_was_synced() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    assert_eq!(log.recovered, Recovered::default());
    log.wal.save_vote(Bytes::from_static(b"vote"), Box::new(|_| {})).unwrap();
    log.wal.save_committed(Bytes::from_static(b"committed")).unwrap();
    log.fill(3);
    log.append(100, Box::new(|_| panic!("nobody syncs this one")));
    log.wal.save_vote(Bytes::from_static(b"later"), Box::new(|_| panic!("nor this one"))).unwrap();
    let synced = log.all()[..3].to_vec();

    let survived = disk.crash_image(Image::Nothing, 1);
    let again = open(&survived);
    assert_eq!(again.all(), synced);
    let expected = Recovered {
        vote: Some(Bytes::from_static(b"vote")),
        committed: Some(Bytes::from_static(b"committed")),
        last_index: Some(3),
        ..Recovered::default()
    };
    assert_eq!(again.recovered, expected);
    assert_eq!((again.wal.synced_index(), again.wal.last()), (3, Some((3, 1))));
    std::mem::forget(log);
}

#[test]
fn a_note_of_what_is_committed_wakes_nobody_and_goes_with_the_last_batch() {
    let disk = SimDisk::new();
    // Each of these is a batch of its own.
    let big = 3 * 1024 * 1024;
    let roomy = options(7 << 20);
    let mut log = open_with(disk.clone(), roomy.clone()).unwrap();
    log.append(big, Box::new(|_| {}));
    log.append(big, Box::new(|_| {}));
    log.wal.save_committed(Bytes::from_static(b"2")).unwrap();
    disk.crash_at(SyncSite::WalBatch, 1);
    assert!(!log.writer.step());

    let mut lengths = Vec::new();
    for seed in 0..3 {
        for image in [Image::Torn, Image::Subset, Image::Everything] {
            let again = open_with(disk.crash_image(image, seed), roomy.clone()).unwrap();
            let last = again.wal.last().map_or(0, |(index, _)| index);
            assert_eq!(again.recovered.committed.is_some(), last == 2, "a note never goes before its entry");
            lengths.push(last);
        }
    }
    assert!(lengths.contains(&1) && lengths.contains(&2), "{lengths:?}");
}

#[test]
fn entries_roll_over_segments_and_are_read_back_from_all_of_them() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(20);
    assert!(segments(&disk).len() > 5, "{:?}", segments(&disk));
    let expected: Vec<_> = (1..=20).map(|index| entry(index, 1, 100)).collect();
    assert_eq!(log.all(), expected);
    log.close();
    let again = open(&disk);
    assert_eq!(again.all(), expected);
    assert_eq!(again.recovered.torn_bytes, 0);
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_larger_one() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(1);
    log.append(50_000, Box::new(|result| result.unwrap()));
    assert!(log.writer.step());
    log.fill(2);
    let expected = log.all();
    log.close();
    assert_eq!(open(&disk).all(), expected);
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(2);
    for wrong in [vec![entry(2, 1, 1)], vec![entry(4, 1, 1)], vec![entry(3, 1, 1), entry(5, 1, 1)]] {
        let error = log.wal.append(wrong, Box::new(|_| panic!("it was not taken"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(log.wal.last(), Some((2, 1)));
    log.fill(1);
    assert_eq!(log.all().len(), 3);
}

#[test]
fn an_empty_log_may_begin_anywhere() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.wal.append(vec![entry(40, 3, 5)], Box::new(|_| {})).unwrap();
    assert!(log.writer.step());
    log.close();
    let again = open(&disk);
    assert_eq!((again.wal.first_index(), again.wal.last()), (Some(40), Some((40, 3))));
}

#[test]
fn truncated_entries_are_gone_and_others_take_their_place() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(6);
    log.wal.truncate_after(3).unwrap();
    assert_eq!((log.wal.last(), log.wal.synced_index()), (Some((3, 1)), 3));
    log.wal.append(vec![entry(4, 2, 7)], Box::new(|_| {})).unwrap();
    assert_eq!(log.wal.synced_index(), 3, "the new entry 4 is not the old one");
    assert!(log.writer.step());
    assert_eq!(log.wal.synced_index(), 4);
    let expected: Vec<_> = (1..=3).map(|index| entry(index, 1, 100)).chain([entry(4, 2, 7)]).collect();
    assert_eq!(log.all(), expected);
    log.wal.truncate_after(0).unwrap();
    assert_eq!(log.wal.last(), None);
    log.wal.append(vec![entry(1, 3, 1)], Box::new(|_| {})).unwrap();
    assert!(log.writer.step());
    log.close();
    assert_eq!(open(&disk).all(), [entry(1, 3, 1)]);
}

#[test]
fn an_entry_written_while_its_place_is_truncated_does_not_count_as_durable() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(2);
    log.append(10, Box::new(|_| {}));
    // The truncation waits behind the entry, in the next batch of the thread.
    let wal = log.wal.clone();
    log.wal.save_vote(Bytes::new(), Box::new(move |_| wal.truncate_after(2).unwrap())).unwrap();
    assert!(log.writer.step());
    assert_eq!(log.wal.synced_index(), 2);
    log.wal.append(vec![entry(3, 2, 10)], Box::new(|_| {})).unwrap();
    assert_eq!(log.wal.synced_index(), 2);
    assert!(log.writer.step());
    assert_eq!((log.wal.synced_index(), log.wal.last()), (3, Some((3, 2))));
}

#[test]
fn reads_begin_where_they_are_asked_to_or_give_nothing() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(9);
    log.wal.purge(3, Bytes::new()).unwrap();
    let indices = |from, until, bytes_max| {
        let entries = log.wal.read(from, until, bytes_max).unwrap();
        entries.iter().map(|entry| entry.index).collect::<Vec<_>>()
    };
    assert_eq!(indices(3, 9, usize::MAX), [0; 0], "a purged beginning is not skipped");
    assert_eq!(indices(4, 7, usize::MAX), [4, 5, 6]);
    assert_eq!(indices(8, 100, usize::MAX), [8, 9]);
    assert_eq!(indices(10, 11, usize::MAX), [0; 0]);
    assert_eq!(indices(5, 5, usize::MAX), [0; 0]);
    assert_eq!(indices(4, 9, 0), [4], "at least one");
    assert_eq!(indices(4, 9, 250), [4, 5]);
}

#[test]
fn old_entries_leave_memory_and_are_read_from_their_files() {
    let disk = SimDisk::new();
    let cache_bytes_max = 350;
    let small_cache = Options { cache_bytes_max, ..options(SMALL_SEGMENT_BYTES) };
    let mut log = open_with(disk.clone(), small_cache.clone()).unwrap();
    for i in 0..10 {
        log.append(100, Box::new(|_| {}));
        assert_eq!(log.wal.entries.cached_bytes(), 100 * (i.min(3) + 1), "what is not written must stay");
        assert!(log.writer.step());
        assert!(log.wal.entries.cached_bytes() <= cache_bytes_max);
    }
    let expected: Vec<_> = (1..=10).map(|index| entry(index, 1, 100)).collect();
    assert_eq!(log.all(), expected);
    log.close();

    let again = open_with(disk.clone(), small_cache).unwrap();
    assert!(again.wal.entries.cached_bytes() <= cache_bytes_max, "recovery keeps to it too");
    assert_eq!(again.all(), expected);
}

#[test]
fn an_entry_damaged_after_it_left_memory_is_not_served() {
    let disk = SimDisk::new();
    let mut log = open_with(disk.clone(), Options { cache_bytes_max: 0, ..options(1 << 16) }).unwrap();
    log.fill(3);
    let file = disk.open(Path::new("log/0000000000000001.wal")).unwrap();
    let payload_at = HEADER_BYTES + BATCH_HEADER_BYTES as u64 + 25;
    file.write_all_at(payload_at + 50, b"x").unwrap();
    let error = log.wal.read(1, 2, usize::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let place = format!("log/0000000000000001.wal is damaged at byte {payload_at}: log entry 1");
    assert_eq!(error.to_string(), format!("{place} does not have its checksum; {DAMAGE_REMEDY}"));
    assert_eq!(log.wal.read(2, 4, usize::MAX).unwrap().len(), 2);
    file.set_len(payload_at + 10).unwrap();
    let error = log.wal.read(1, 2, usize::MAX).unwrap_err();
    assert_eq!(error.to_string(), format!("{place} is cut short; {DAMAGE_REMEDY}"));
}

#[test]
fn a_purge_removes_files_only_when_its_mark_is_durable() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(12);
    let before = segments(&disk);
    log.wal.purge(9, Bytes::from_static(b"mark")).unwrap();
    assert_eq!(log.wal.first_index(), Some(10), "readers see it at once");
    assert_eq!(segments(&disk), before);

    disk.crash_at(SyncSite::WalBatch, 1);
    assert!(!log.writer.step());
    for image in [Image::Nothing, Image::Everything] {
        let mut again = open(&disk.crash_image(image, 1));
        let has_mark = again.recovered.purged == Some((9, Bytes::from_static(b"mark")));
        assert_eq!(has_mark, image == Image::Everything);
        assert_eq!(again.wal.first_index(), Some(if has_mark { 10 } else { 1 }));
        again.fill(1);
    }
}

#[test]
fn purged_files_go_one_by_one_and_all_of_them() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(20);
    let count = segments(&disk).len();
    assert!(count >= 6);
    log.wal.purge(19, Bytes::from_static(b"mark")).unwrap();
    assert!(log.writer.step());
    assert_eq!(segments(&disk).len(), count - 1, "nobody waits for more than one");
    // Idle steps do the rest.
    while log.writer.can_remove() {
        assert!(log.writer.step());
    }
    assert!(segments(&disk).len() <= 2, "{:?}", segments(&disk));
    log.close();

    let again = open(&disk);
    assert_eq!(again.recovered.purged, Some((19, Bytes::from_static(b"mark"))));
    assert_eq!(again.all(), [entry(20, 1, 100)]);
}

#[test]
fn purged_files_go_beside_the_thread_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    let mut log = open_with(disk.clone(), options(SMALL_SEGMENT_BYTES)).unwrap();
    log.fill(20);
    assert!(segments(&disk).len() >= 6);
    let Log { wal, writer, .. } = log;
    let thread = std::thread::spawn(move || writer.run());
    wal.purge(19, Bytes::from_static(b"mark")).unwrap();
    for _ in 0..1000 {
        if segments(&disk).len() <= 3 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(segments(&disk).len() <= 3, "the last, and one that was made ahead: {:?}", segments(&disk));
    wal.close();
    thread.join().unwrap();
    let again = open_with(disk, options(SMALL_SEGMENT_BYTES)).unwrap();
    assert_eq!(again.all(), [entry(20, 1, 100)]);
}

#[test]
fn a_log_that_ends_does_not_wait_for_files_that_go() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    let mut log = open_with(disk.clone(), options(SMALL_SEGMENT_BYTES)).unwrap();
    log.fill(60);
    let Log { wal, writer, .. } = log;
    wal.purge(59, Bytes::from_static(b"mark")).unwrap();
    wal.close();
    writer.run();
    // Whatever is left goes when the log is open again.
    let mut again = open_with(disk.clone(), options(SMALL_SEGMENT_BYTES)).unwrap();
    again.fill(1);
    while again.writer.can_remove() {
        assert!(again.writer.step());
    }
    assert!(segments(&disk).len() <= 3, "two in use, and one that was made ahead: {:?}", segments(&disk));
    assert_eq!(again.recovered.purged, Some((59, Bytes::from_static(b"mark"))));
    assert_eq!(again.all(), [entry(60, 1, 100), entry(61, 1, 100)]);
}

#[test]
fn marks_survive_the_segments_that_they_were_written_to() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.wal.save_vote(Bytes::from_static(b"vote"), Box::new(|_| {})).unwrap();
    log.wal.save_committed(Bytes::from_static(b"committed")).unwrap();
    log.fill(12);
    log.wal.purge(12, Bytes::from_static(b"mark")).unwrap();
    while log.writer.can_remove() || log.wal.queued_bytes() > 0 {
        assert!(log.writer.step());
    }
    let again = open(&disk.crash_image(Image::Nothing, 1));
    assert_eq!(again.recovered.vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(again.recovered.committed.as_deref(), Some(&b"committed"[..]));
    assert_eq!((again.recovered.last_index, again.wal.synced_index()), (None, 12));
    // What follows is 13.
    assert!(again.wal.append(vec![entry(13, 2, 1)], Box::new(|_| {})).is_ok());
    std::mem::forget(log);
}

#[test]
fn a_purge_beyond_the_end_leaves_an_empty_log_that_goes_on_behind_it() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(3);
    log.wal.purge(50, Bytes::from_static(b"mark")).unwrap();
    assert_eq!((log.wal.first_index(), log.wal.last(), log.wal.synced_index()), (None, None, 50));
    log.wal.append(vec![entry(51, 2, 100)], Box::new(|_| {})).unwrap();
    assert!(log.writer.step());
    log.close();
    let again = open(&disk);
    assert_eq!(again.all(), [entry(51, 2, 100)]);
    assert_eq!(again.recovered.purged.map(|(through, _)| through), Some(50));
}

#[test]
fn an_idle_log_proves_its_last_batch_without_a_sync() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(1);
    let syncs = batch_syncs(&disk);
    assert!(log.writer.step(), "nothing waits: this is the idle step");
    assert_eq!(batch_syncs(&disk), syncs);
    let survived = disk.crash_image(Image::Everything, 1);
    damage::flip(&survived, "0000000000000001.wal", HEADER_BYTES + 20);
    assert!(matches!(open_with(survived, options(SMALL_SEGMENT_BYTES)), Err(OpenError::Corrupt { .. })));
}

#[test]
fn a_closed_log_refuses_and_answers_what_came_too_late() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    let answers = Answers::default();
    log.append(10, answers.done("before"));
    log.wal.close();
    assert!(log.wal.save_vote(Bytes::new(), answers.done("refused")).is_err());
    assert!(log.writer.step(), "what was queued is written");
    assert!(!log.writer.step());
    // As if the check had been passed just before the end.
    log.wal.queue.push([Record::Vote(Bytes::new())], Some(answers.done("late")));
    assert_eq!(answers.taken(), [("before".to_owned(), true), ("late".to_owned(), false)]);
    assert!(log.wal.wait_synced(1));
    assert!(!log.wal.wait_synced(2), "nobody waits for what never comes");
}

#[test]
fn on_a_real_disk_many_threads_share_syncs_and_the_log_reopens() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    let Log { wal, writer, .. } = open_with(disk.clone(), options(64 * 1024)).unwrap();
    let thread = std::thread::spawn(move || writer.run());
    let (answered, order) = (AtomicUsize::new(0), Mutex::new(()));
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (wal, answered, order) = (&wal, &answered, &order);
            scope.spawn(move || {
                for _ in 0..100 {
                    let (tx, rx) = std::sync::mpsc::channel();
                    {
                        // Appending is for one caller at a time.
                        let _order = order.lock();
                        let index = wal.last().map_or(1, |(index, _)| index + 1);
                        let done = Box::new(move |result: io::Result<()>| tx.send(result).unwrap());
                        wal.append(vec![entry(index, writer, 500)], done).unwrap();
                    }
                    rx.recv().unwrap().unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let written = wal.read(1, u64::MAX, usize::MAX).unwrap();
    wal.close();
    thread.join().unwrap();
    assert_eq!((answered.into_inner(), written.len()), (800, 800));
    let names = segments(&disk);
    assert!(names.iter().all(|name| name.ends_with(".wal")), "no thread goes on making segments: {names:?}");
    let again = open_with(disk, options(64 * 1024)).unwrap();
    assert_eq!(again.all(), written);
}

#[test]
fn the_next_segment_is_made_once_there_is_something_in_the_last_one() {
    const SEGMENT_BYTES: u64 = 4 << 20;
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    let Log { wal, writer, .. } = open_with(disk.clone(), options(SEGMENT_BYTES)).unwrap();
    let thread = std::thread::spawn(move || writer.run());
    let append = |index| {
        wal.append(vec![entry(index, 1, SEGMENT_BYTES as usize / 4)], Box::new(|result| result.unwrap())).unwrap();
        assert!(wal.wait_synced(index));
    };
    assert_eq!(segments(&disk).len(), 1, "nothing is in it");
    append(1);
    let both = ["0000000000000001.wal", "0000000000000002.wal"];
    for _ in 0..1000 {
        if segments(&disk) == both {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(segments(&disk), both);
    (2..=5).for_each(append);
    let written = wal.read(1, u64::MAX, usize::MAX).unwrap();
    wal.close();
    thread.join().unwrap();
    assert_eq!(written.len(), 5);
    let again = open_with(disk.clone(), options(SEGMENT_BYTES)).unwrap();
    assert_eq!((again.all(), segments(&disk).len()), (written, 3), "two in use, and one to come");
}
