//! Logs that end too early.
//!
//! What a crash may take from a log is the batch that was being written, from any byte on: nobody was told of it. What was
//! acknowledged was synced before, and a disk keeps that. A log that has lost more is damaged, and then two things can be
//! told from it: a batch that is whole was written, and the checkpoint says how far the log has been. So:
//!
//! | the member | its log is cut | it |
//! | --- | --- | --- |
//! | lost power while it wrote | within that batch | starts with everything acknowledged |
//! | was killed | anywhere behind its checkpoint | starts with everything acknowledged that stands before the cut |
//! | was stopped | anywhere | starts with everything, or refuses: its checkpoint is ahead of the log |
//! | any | the file is shorter | refuses: segments are made in their full length |
//! | was stopped | in the middle, a sector is lost | refuses, or starts with everything |
//! | was killed | not, but a bit of it flips | refuses: a later batch proves that this one was synced |
//!
//! A segment is filled with zeros when it is made: what was not written is zeros, and so a cut is made of zeros here.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lodemark::env::{Disk, Image, Random, SeededRandom, SimDisk, SyncSite};
use lodemark::model::{Command, KeyRange, LeaseId, Put, Range as Query};
use lodemark::node::{Node, NodeOptions};
use lodemark::wal::{self, Wal};

use super::member::{self, LOG, MARK};
use super::places::{Batch, HEADER_BYTES, batches};
use super::refusal;
use crate::harness::{number, seed};

/// So much of the log's end is cut off, byte by byte.
const CUT_BYTES: usize = 4096;
/// A whole member is started at each cut in the long run, and at one in so many else. The log alone is opened at each.
const STEP: u64 = 61;
const SECTOR_BYTES: usize = 512;
/// Room for everything in one segment.
const SEGMENT_BYTES: u64 = 128 * 1024;
const WRITES: usize = 40;
/// By default.
const FLIPS: u64 = 100;
/// Longer than any life.
const NEVER: Duration = Duration::from_secs(1 << 20);
/// Larger than what is cut off, with what stands around a value in the log.
const LARGE_BYTES: usize = 6000;

fn options(disk: &SimDisk, checkpoint_pause: Duration) -> NodeOptions {
    NodeOptions { segment_bytes: SEGMENT_BYTES, snapshot_entries: 10_000, ..member::paced(disk, checkpoint_pause) }
}

/// How a member ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
    /// While it wrote one more.
    NoPower,
}

/// A member that has ended, and the writes that it was asked for.
struct Ended {
    disk: SimDisk,
    /// The only segment of its log.
    segment: PathBuf,
    bytes: Vec<u8>,
    batches: Vec<Batch>,
    /// The revision before the first write.
    before: i64,
}

impl Ended {
    fn new(end: End) -> Ended {
        let disk = SimDisk::new();
        member::run(async {
            let node = member::start(&options(&disk, Duration::from_millis(1))).await.expect("a new member starts");
            node.stop().await;
        });
        let pause = if end == End::Stopped { Duration::from_millis(1) } else { NEVER };
        let before = member::run(async {
            let node = member::start(&options(&disk, pause)).await.expect("it starts again");
            let before = node.revision().0;
            for n in 0..WRITES {
                member::propose(&node, put(n, n * 11 % 130)).await.expect("it takes writes");
            }
            match end {
                End::Stopped => node.stop().await,
                End::Killed => disk.crash_now(),
                End::NoPower => {
                    disk.crash_at(SyncSite::WalBatch, 1);
                    assert!(member::propose(&node, put(WRITES, LARGE_BYTES)).await.is_err(), "nobody is told");
                }
            }
            before
        });
        let disk = disk.crash_image(Image::Everything, 0);
        let segments = member::segments(&disk);
        let [segment] = &segments[..] else { panic!("one segment has room for it: {segments:?}") };
        let bytes = member::read(&disk, segment);
        let batches = batches(&bytes);
        Ended { segment: segment.clone(), bytes, batches, before, disk }
    }

    /// The last bytes of the log that were written.
    fn end(&self) -> Range<usize> {
        let end = self.batches.last().expect("it has batches").end;
        assert!(end - CUT_BYTES > HEADER_BYTES);
        end - CUT_BYTES..end
    }

    /// Where a member is started: at the borders of batches, and at others. The cut takes the byte itself too.
    fn cuts(&self) -> impl Iterator<Item = usize> {
        let step = if number("LODEMARK_FLIPS", 0) >= 1000 { 1 } else { STEP as usize };
        let borders: Vec<usize> =
            self.batches.iter().flat_map(|batch| [batch.start, batch.end - 1, batch.end]).collect();
        let end = self.end();
        (end.start..=end.end).filter(move |cut| (end.end - cut).is_multiple_of(step) || borders.contains(cut))
    }

    /// How many writes stand before a cut, whole. Zeros that are cut off are still there.
    fn writes_before(&self, cut: usize) -> usize {
        let is_whole = |batch: &&Batch| self.bytes[cut.min(batch.end)..batch.end].iter().all(|byte| *byte == 0);
        let whole = self.batches.iter().filter(is_whole);
        whole.filter(|batch| mark_in(&self.bytes[batch.start..batch.end])).count()
    }

    /// The log's bytes without those from a cut on.
    fn cut(&self, cut: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[cut..].fill(0);
        bytes
    }

    /// A folder with another log.
    fn with(&self, log: &[u8]) -> SimDisk {
        let disk = member::copy(&self.disk);
        member::overwrite(&disk, &self.segment, 0, log);
        disk
    }
}

fn mark_in(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

fn put(n: usize, len: usize) -> Command {
    let (key, value) = (Bytes::from(format!("cut/{n:02}")), format!("{MARK}{n:06}:{}", "x".repeat(len)));
    Command::Put(Put { key, value: value.into(), lease: LeaseId::NONE, ..Put::default() })
}

/// Starts a member; gives how many of the writes it has, which must be the first ones, each at its revision.
fn writes_of(ended: &Ended, disk: &SimDisk) -> Result<usize, String> {
    member::run(async {
        let node = member::start(&options(disk, Duration::from_millis(1))).await?;
        let found = count_writes(&node, ended.before).await;
        node.stop().await;
        Ok(found)
    })
}

async fn count_writes(node: &Node, before: i64) -> usize {
    let all = node.range(&Query::of(KeyRange::prefix(Bytes::from_static(b"cut/")))).await.expect("it serves");
    for (n, record) in all.kvs.iter().enumerate() {
        assert_eq!(record.key(), format!("cut/{n:02}").as_bytes());
        assert_eq!(record.mod_revision().0, before + 1 + n as i64);
        assert!(record.value().starts_with(format!("{MARK}{n:06}:").as_bytes()));
    }
    assert_eq!(all.revision.0, before + all.kvs.len() as i64);
    all.kvs.len()
}

/// Opens only the log; gives how many of the writes are in it.
fn writes_in_log(ended: &Ended, log: &[u8]) -> usize {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(LOG)).expect("memory does not fail");
    disk.create(&ended.segment).and_then(|file| file.write_all_at(0, log)).expect("memory does not fail");
    let options = wal::Options { dir: LOG.into(), segment_bytes: SEGMENT_BYTES, ..wal::Options::default() };
    let opened = Wal::open(Arc::new(disk), Arc::new(SeededRandom::new(1)), options);
    let (log, _, _) = opened.unwrap_or_else(|error| panic!("{error}"));
    let entries = log.read(log.first_index().unwrap_or(1), u64::MAX, usize::MAX).expect("they are there");
    entries.iter().filter(|entry| mark_in(&entry.payload)).count()
}

#[test]
fn a_member_that_lost_power_while_it_wrote_has_everything_acknowledged_wherever_that_was_cut() {
    let ended = Ended::new(End::NoPower);
    let written = ended.batches.last().expect("it has batches");
    assert!(ended.end().start > written.start, "all of the cuts are within what was not acknowledged");
    assert_eq!((ended.writes_before(ended.end().start), ended.writes_before(written.end)), (WRITES, WRITES + 1));
    for cut in ended.end().start..=ended.end().end {
        let found = writes_in_log(&ended, &ended.cut(cut));
        assert!(found >= WRITES && found == ended.writes_before(cut), "cut at {cut}: {found} writes");
    }
    for cut in ended.cuts() {
        assert_eq!(writes_of(&ended, &ended.with(&ended.cut(cut))), Ok(ended.writes_before(cut)), "cut at {cut}");
    }
}

#[test]
fn a_killed_member_has_everything_acknowledged_that_stands_before_a_cut() {
    let ended = Ended::new(End::Killed);
    let (first, last) = (ended.writes_before(ended.end().start), ended.writes_before(ended.end().end));
    assert!(last == WRITES && first > 0 && first < WRITES / 2, "{first} to {last} writes");
    for cut in ended.end().start..=ended.end().end {
        assert_eq!(writes_in_log(&ended, &ended.cut(cut)), ended.writes_before(cut), "cut at {cut}");
    }
    for cut in ended.cuts() {
        assert_eq!(writes_of(&ended, &ended.with(&ended.cut(cut))), Ok(ended.writes_before(cut)), "cut at {cut}");
    }
}

#[test]
fn a_stopped_member_has_everything_or_refuses_wherever_its_log_is_cut() {
    let ended = Ended::new(End::Stopped);
    let (mut served, mut refused) = (0, 0);
    for cut in ended.cuts() {
        match writes_of(&ended, &ended.with(&ended.cut(cut))) {
            Ok(found) => {
                assert_eq!((found, ended.writes_before(cut)), (WRITES, WRITES), "cut at {cut}");
                served += 1;
            }
            Err(told) => {
                assert!(ended.writes_before(cut) < WRITES, "cut at {cut}: everything is there: {told}");
                refusal::check(&told).unwrap_or_else(|wrong| panic!("cut at {cut}: {wrong}"));
                refused += 1;
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
}

#[test]
fn a_log_whose_file_is_shorter_is_refused() {
    for end in [End::Killed, End::Stopped] {
        let ended = Ended::new(end);
        for cut in ended.cuts() {
            let disk = member::copy(&ended.disk);
            disk.open(&ended.segment).and_then(|file| file.set_len(cut as u64)).expect("memory does not fail");
            let told = writes_of(&ended, &disk).expect_err("it is shorter than it was made");
            refusal::check(&told).unwrap_or_else(|wrong| panic!("{end:?}, cut at {cut}: {wrong}"));
        }
    }
}

#[test]
fn a_sector_that_is_lost_within_a_sealed_log_is_refused() {
    let ended = Ended::new(End::Stopped);
    let mut refused = 0;
    for start in ended.end().step_by(SECTOR_BYTES) {
        let mut log = ended.bytes.clone();
        let lost = start / SECTOR_BYTES * SECTOR_BYTES..(start / SECTOR_BYTES + 1) * SECTOR_BYTES;
        log[lost.clone()].fill(0);
        match writes_of(&ended, &ended.with(&log)) {
            Ok(found) => assert_eq!(found, WRITES, "{lost:?} is lost"),
            Err(told) => {
                refusal::check(&told).unwrap_or_else(|wrong| panic!("{lost:?} is lost: {wrong}"));
                refused += 1;
            }
        }
    }
    assert!(refused >= CUT_BYTES / SECTOR_BYTES - 1, "{refused} were refused");
}

/// Here the log alone has the writes: its bytes make the state.
#[test]
fn a_bit_that_flips_in_a_log_ahead_of_its_checkpoint_is_refused() {
    let ended = Ended::new(End::Killed);
    let (seed, (_, proven)) = (seed(), ended.batches.split_last().expect("it has batches"));
    let random = SeededRandom::new(seed);
    let below = |end: usize| usize::try_from(random.next_u64() % end as u64).expect("it is small");
    for _ in 0..number("LODEMARK_FLIPS", FLIPS) {
        let batch = &proven[below(proven.len())];
        let (at, bit) = (batch.start + below(batch.end - batch.start), below(8));
        let mut log = ended.bytes.clone();
        log[at] ^= 1 << bit;
        let context = format!("LODEMARK_SEED={seed}, bit {bit} of byte {at}");
        let told = writes_of(&ended, &ended.with(&log)).expect_err(&context);
        refusal::check(&told).unwrap_or_else(|wrong| panic!("{context}: {wrong}"));
    }
}
