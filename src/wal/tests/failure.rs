//! Disks that refuse: the first error of a write or a sync ends the log, for everybody, and is not tried again. Disks that
//! are full: a log with a thread waits for them.

use super::*;
use crate::env::{Disk, File};

/// What a disk is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Write,
    Sync,
    SyncDir,
    Create,
    Rename,
    Remove,
}

/// A simulated disk that refuses one call, once, and notes all of them.
#[derive(Debug, Clone)]
struct FaultyDisk {
    inner: SimDisk,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    calls: Vec<Call>,
    /// Refuse this one after so many more.
    refuse: Option<(Call, usize, io::ErrorKind)>,
}

impl FaultyDisk {
    fn new() -> FaultyDisk {
        FaultyDisk { inner: SimDisk::new(), plan: Arc::default() }
    }

    fn refuse(&self, call: Call, after: usize, kind: io::ErrorKind) {
        self.plan.lock().refuse = Some((call, after, kind));
    }

    fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.plan.lock().calls)
    }

    fn call(&self, call: Call) -> io::Result<()> {
        let mut plan = self.plan.lock();
        plan.calls.push(call);
        match plan.refuse {
            Some((refused, 0, kind)) if refused == call => {
                plan.refuse = None;
                Err(kind.into())
            }
            Some((refused, after, kind)) if refused == call => {
                plan.refuse = Some((refused, after - 1, kind));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn file(&self, inner: Box<dyn File>) -> Box<dyn File> {
        Box::new(FaultyFile { inner, disk: self.clone() })
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn File>,
    disk: FaultyDisk,
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.inner.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.call(Call::Create)?;
        Ok(self.file(self.inner.create(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Remove)?;
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path, site: SyncSite) -> io::Result<()> {
        self.call(Call::SyncDir)?;
        self.inner.sync_dir(dir, site)
    }
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact_at(offset, out)
    }

    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.call(Call::Write)?;
        self.inner.write_all_at(offset, data)
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        self.disk.call(Call::Sync)?;
        self.inner.sync_data(site)
    }
}

fn open_faulty(disk: &FaultyDisk) -> Log {
    open_with(disk.clone(), options(SMALL_SEGMENT_BYTES)).unwrap()
}

/// One refused call ends the log: all that waits and all that comes is answered with the error, and the disk is left alone.
fn refused_once_is_refused_for_ever(call: Call, kind: io::ErrorKind) {
    let disk = FaultyDisk::new();
    let mut log = open_faulty(&disk);
    log.fill(1);
    let answers = Answers::default();
    log.append(100, answers.done("first"));
    log.wal.save_vote(Bytes::new(), answers.done("second")).unwrap();
    disk.take_calls();
    disk.refuse(call, 0, kind);
    assert!(!log.writer.step(), "{call:?}");
    assert_eq!(answers.taken(), [("first".to_owned(), false), ("second".to_owned(), false)], "{call:?}");
    let calls = disk.take_calls();
    assert_eq!(calls.last(), Some(&call), "nothing follows the refusal: {calls:?}");

    assert_eq!(log.wal.append(vec![entry(3, 1, 1)], answers.done("late")).unwrap_err().kind(), kind);
    assert_eq!(log.wal.save_vote(Bytes::new(), answers.done("late")).unwrap_err().kind(), kind);
    assert!(log.wal.save_committed(Bytes::new()).is_err());
    assert!(log.wal.truncate_after(1).is_err());
    assert!(log.wal.purge(1, Bytes::new()).is_err());
    assert!(!log.wal.wait_synced(2));
    assert!(log.wal.wait_synced(1), "what was durable is");
    drop(log);
    assert_eq!(disk.take_calls(), [], "no retry, no goodbye");
    assert_eq!(answers.taken(), []);
}

#[test]
fn a_failed_sync_ends_the_log() {
    refused_once_is_refused_for_ever(Call::Sync, io::ErrorKind::Other);
}

#[test]
fn a_failed_write_ends_the_log() {
    refused_once_is_refused_for_ever(Call::Write, io::ErrorKind::StorageFull);
}

/// Runs the log's thread; the handle, and the thread.
fn run(log: Log) -> (Wal, std::thread::JoinHandle<()>) {
    let Log { wal, writer, .. } = log;
    (wal, std::thread::spawn(move || writer.run()))
}

fn append_to(wal: &Wal, len: usize, done: Done) -> u64 {
    let index = wal.last().map_or(1, |(index, _)| index + 1);
    wal.append(vec![entry(index, 1, len)], done).unwrap();
    index
}

/// Waits for another thread to come so far.
fn until(reached: impl Fn() -> bool) {
    while !reached() {
        std::thread::yield_now();
    }
}

#[test]
fn a_log_with_a_thread_waits_for_space_and_loses_nothing() {
    let disk = SimDisk::new();
    let (wal, thread) = run(open(&disk));
    disk.set_full(true);
    let answers = Answers::default();
    // Alone each fits into a segment, but not all of them into those that are there.
    let indexes: Vec<u64> = (0..20).map(|n| append_to(&wal, 300, answers.done(format!("{n}")))).collect();
    let last = indexes[19];
    until(|| wal.is_short());
    assert!(!wal.is_settled(last), "nobody was told that it is durable");
    assert_eq!(wal.fit(Demand::Freeing, 1), Fit::Full);
    disk.set_full(false);
    assert!(wal.wait_synced(last));
    until(|| answers.0.lock().len() == 20);
    assert!(answers.taken().iter().all(|(_, was_good)| *was_good));
    until(|| !wal.is_short());
    wal.close();
    thread.join().unwrap();
    assert_eq!(open(&disk).wal.last(), Some((last, 1)));
}

#[test]
fn a_log_that_is_closed_while_it_waits_for_space_ends_and_keeps_what_it_has_acknowledged() {
    let disk = SimDisk::new();
    let (wal, thread) = run(open(&disk));
    let kept = append_to(&wal, 100, Box::new(|result| result.unwrap()));
    assert!(wal.wait_synced(kept));
    disk.set_full(true);
    let answers = Answers::default();
    append_to(&wal, 50_000, answers.done("too large"));
    until(|| wal.is_short());
    wal.close();
    thread.join().unwrap();
    assert_eq!(answers.taken(), [("too large".to_owned(), false)]);
    assert_eq!(open(&disk).wal.last(), Some((kept, 1)));
}

#[test]
fn a_segment_made_ahead_serves_after_a_restart_too_where_there_is_no_space_for_another() {
    let disk = SimDisk::new();
    let (wal, thread) = run(open(&disk));
    let last = append_to(&wal, 400, Box::new(|result| result.unwrap()));
    assert!(wal.wait_synced(last));
    until(|| segments(&disk).len() == 2);
    wal.close();
    thread.join().unwrap();
    disk.set_full(true);
    let mut again = open(&disk);
    assert_eq!(segments(&disk).len(), 2, "it was not given away");
    let answers = Answers::default();
    let last = again.append(400, answers.done("in the spare one"));
    assert!(again.writer.step());
    assert_eq!(answers.taken(), [("in the spare one".to_owned(), true)]);
    again.append(400, answers.done("nowhere"));
    assert!(!again.writer.step());
    drop(again);
    disk.set_full(false);
    assert_eq!(open(&disk).wal.last(), Some((last, 1)));
}

/// Whether a sync fails for want of space or for another reason: nothing is known then, and it is not tried again.
#[test]
fn a_sync_of_a_new_segment_that_fails_is_no_full_disk() {
    let disk = FaultyDisk::new();
    let (wal, thread) = run(open_faulty(&disk));
    disk.refuse(Call::SyncDir, 0, io::ErrorKind::StorageFull);
    let mut synced = 0;
    loop {
        let answers = Answers::default();
        let index = wal.last().map_or(1, |(index, _)| index + 1);
        if wal.append(vec![entry(index, 1, 100)], answers.done("")).is_err() || !wal.wait_synced(index) {
            break;
        }
        synced = index;
    }
    assert!(!wal.is_short());
    thread.join().unwrap();
    assert_eq!(open_faulty(&disk).wal.last(), Some((synced, 1)));
}

/// Where nothing can wait: in a simulation.
#[test]
fn a_disk_that_is_full_when_a_segment_is_made_ends_a_log_without_a_thread_and_loses_nothing() {
    for call in [Call::Create, Call::Write, Call::Rename, Call::SyncDir] {
        let disk = FaultyDisk::new();
        let mut log = open_faulty(&disk);
        let answers = Answers::default();
        log.fill(2);
        disk.take_calls();
        let full = log.wal.last().unwrap().0;
        // The third does not fit: the next write is the new segment's first.
        disk.refuse(call, 0, io::ErrorKind::StorageFull);
        log.append(400, answers.done("no room"));
        assert!(!log.writer.step(), "{call:?}");
        assert_eq!(answers.taken(), [("no room".to_owned(), false)], "{call:?}");
        drop(log);
        // There is space again, and the process has started again.
        let mut again = open_faulty(&disk);
        assert_eq!(again.wal.last(), Some((full, 1)), "{call:?}");
        again.fill(5);
        again.close();
        assert_eq!(open_faulty(&disk).wal.last(), Some((full + 5, 1)), "{call:?}");
    }
}

#[test]
fn a_purge_whose_removal_fails_ends_the_log() {
    for call in [Call::Remove, Call::SyncDir] {
        let disk = FaultyDisk::new();
        let mut log = open_faulty(&disk);
        log.fill(8);
        log.wal.purge(7, Bytes::new()).unwrap();
        disk.refuse(call, 0, io::ErrorKind::Other);
        assert!(!log.writer.step(), "{call:?}");
        assert!(log.wal.save_committed(Bytes::new()).is_err());
    }
}

#[test]
fn a_removal_that_fails_beside_the_thread_of_the_log_ends_it_though_nothing_is_written() {
    let disk = FaultyDisk::new();
    let mut log = open_faulty(&disk);
    log.fill(8);
    let Log { wal, writer, .. } = log;
    wal.purge(7, Bytes::new()).unwrap();
    disk.refuse(Call::Remove, 0, io::ErrorKind::Other);
    // It ends by itself.
    writer.run();
    assert!(wal.save_committed(Bytes::new()).is_err());
    let removals = disk.take_calls().into_iter().filter(|call| *call == Call::Remove);
    assert_eq!(removals.count(), 1, "nothing is removed after it");
}

#[test]
fn files_are_removed_after_the_sync_of_the_mark() {
    let disk = FaultyDisk::new();
    let mut log = open_faulty(&disk);
    log.fill(8);
    log.wal.purge(7, Bytes::new()).unwrap();
    disk.take_calls();
    assert!(log.writer.step());
    assert_eq!(disk.take_calls(), [Call::Write, Call::Sync, Call::Remove, Call::SyncDir]);
}

#[test]
fn a_segment_has_its_name_only_when_it_is_whole() {
    let disk = FaultyDisk::new();
    let log = open_faulty(&disk);
    let calls = disk.take_calls();
    let expected = [Call::SyncDir, Call::Create, Call::Write, Call::Write, Call::Sync, Call::Rename, Call::SyncDir];
    assert_eq!(calls[..expected.len()], expected);
    log.close();
}

/// A process is killed between naming the first segment and syncing its folder. The next one finds the file and uses it;
/// it must make the name durable itself, or a power cut takes the whole log.
#[test]
fn a_segment_that_a_killed_process_has_named_is_durable_when_it_is_used() {
    let disk = FaultyDisk::new();
    disk.refuse(Call::SyncDir, 1, io::ErrorKind::Other);
    assert!(open_with(disk.clone(), options(SMALL_SEGMENT_BYTES)).is_err(), "the folder's sync after the rename");
    assert_eq!(segments(&disk), ["0000000000000001.wal"]);
    let mut log = open_faulty(&disk);
    log.fill(3);
    let survived = disk.inner.crash_image(Image::Nothing, 1);
    assert_eq!(open(&survived).wal.last(), Some((3, 1)));
}

/// A thread that panics, in a callback for instance, must not leave anybody waiting.
#[test]
fn a_writer_that_goes_away_answers_everybody() {
    let disk = SimDisk::new();
    let mut log = open(&disk);
    log.fill(1);
    let answers = Answers::default();
    log.append(10, answers.done("waiting"));
    let (wal, waiting) = (log.wal.clone(), log.wal.clone());
    let waiter = std::thread::spawn(move || waiting.wait_synced(2));
    drop(log);
    assert!(!waiter.join().unwrap());
    assert_eq!(answers.taken(), [("waiting".to_owned(), false)]);
    assert!(wal.save_vote(Bytes::new(), answers.done("late")).is_err());
}
