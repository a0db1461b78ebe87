//! What `lodemark check` finds.
//!
//! Bits flip in the log, the checkpoint and a snapshot file, and each that is **live** must be found. Whether one is, the
//! checker does not decide:
//!
//! * every bit of the log that means something and was proven to be synced is: all but its last batch, which a crash may
//!   have torn (that of a log which was closed in order is the seal, and holds nothing);
//! * one of the checkpoint is if a read of all rows, by a path that verifies nothing when it opens the file, fails or gives
//!   something else, or if a member does not start on it;
//! * every bit of a snapshot file is.
//!
//! And in folders of members that were started, filled, compacted, killed, stopped, and that received a snapshot, it finds
//! nothing.
//!
//! `LODEMARK_FLIPS=1000` for the long run.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use lodemark::env::{Disk, Image, Random, SeededRandom, SimDisk, SyncSite};
use lodemark::inspect::{Health, Report, StoppedFolder, check_folder};
use lodemark::model::{Revision, SubRevision};
use lodemark::storage::Storage;

use super::member::{self, Right, STATE};
use super::places::{self, Flip, Places};
use super::refusal;
use crate::harness::{Options, Server, number, seed};

/// In all, by default; a third of them in each kind of file.
const FLIPS: u64 = 60;
/// Draws for each live flip of the checkpoint: it has older copies of pages, and much free space.
const DRAWS_MAX: u64 = 60;
const CACHE_BYTES: usize = 1 << 20;
/// Makes the draws of one number differ from those of the next.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn each() -> u64 {
    number("LODEMARK_FLIPS", FLIPS).div_ceil(3)
}

fn check(disk: &SimDisk) -> Report {
    let folder = StoppedFolder::on(Arc::new(disk.clone()));
    catch_unwind(AssertUnwindSafe(|| check_folder(&folder, &mut |_| ()))).expect("it does not panic")
}

/// What a report says is wrong.
fn faults(report: &Report) -> Vec<&str> {
    report.parts.iter().flat_map(|part| &part.findings).map(|finding| finding.message.as_str()).collect()
}

fn flipped(folder: &SimDisk, flip: &Flip) -> SimDisk {
    let disk = member::copy(folder);
    flip.apply(&disk);
    disk
}

/// Draws the n-th flip.
fn draw(places: &Places, seed: u64, n: u64) -> Flip {
    places.draw(&SeededRandom::new(seed.wrapping_add(n.wrapping_mul(SPREAD))))
}

/// Every row of a checkpoint, read as a member reads them later on: pages are not verified first.
fn rows(disk: &SimDisk) -> Result<impl PartialEq + use<>, String> {
    let told = |error: lodemark::storage::Error| error.to_string();
    let storage = Storage::open_built(disk, Path::new(STATE), CACHE_BYTES).map_err(told)?;
    let (from, until) = (SubRevision::default(), SubRevision::first(Revision(i64::MAX)));
    let records = storage.scan(from, until, usize::MAX, usize::MAX).map_err(told)?;
    let small = storage.small_tables().map_err(told)?;
    let meta = storage.meta().map_err(told)?;
    let identity = storage.identity().map_err(told)?;
    Ok((records, small, meta, identity))
}

#[test]
fn every_flipped_bit_of_the_log_is_found() {
    let folder = member::folder();
    let (places, seed) = (places::log_meaning(&folder), seed());
    for n in 0..each() {
        let flip = draw(&places, seed, n);
        let report = check(&flipped(&folder, &flip));
        let context = format!("LODEMARK_SEED={seed}, flip {n}: {flip}");
        assert_eq!(report.health(), Health::Damaged, "{context}");
        let [told] = faults(&report)[..] else { panic!("{context}: {report:?}") };
        refusal::check(told).unwrap_or_else(|wrong| panic!("{context}: {wrong}"));
        let finding = &report.parts[0].findings[0];
        assert!(finding.offset.is_some() && finding.file.starts_with("wal"), "{context}: {finding:?}");
    }
    println!("{} flips of the log were found, seed {seed}", each());
}

#[test]
fn every_flipped_bit_of_the_checkpoint_that_is_live_is_found() {
    let folder = member::folder();
    let right = Right::of(&folder);
    let good = rows(&folder).unwrap_or_else(|told| panic!("a good folder: {told}"));
    let kinds = [places::checkpoint_records(&folder, &right.now), places::checkpoint(&folder)];
    let (seed, mut live, mut reads_other, mut beyond, mut n) = (seed(), 0, 0, 0, 0);
    while live < each() {
        assert!(n < each() * DRAWS_MAX, "{live} of {n} flips are live");
        let flip = draw(&kinds[usize::from(n % 2 == 1)], seed, n);
        n += 1;
        let disk = flipped(&folder, &flip);
        let report = check(&disk);
        // redb may panic over damage where its own threads end; either way nothing was read.
        let reads = catch_unwind(AssertUnwindSafe(|| rows(&disk))).unwrap_or_else(|_| Err("a panic".to_owned()));
        let is_read = reads.map_or(true, |found| found != good);
        let refusal = member::run(right.judge(&flipped(&folder, &flip)));
        let context = format!("LODEMARK_SEED={seed}, flip {n}: {flip}: {:?}", faults(&report));
        let is_refused = refusal.unwrap_or_else(|wrong| panic!("{context}: a member serves: {wrong}")).is_some();
        reads_other += u64::from(is_read);
        if is_read || is_refused {
            live += 1;
            assert_eq!(report.health(), Health::Damaged, "{context}");
            let told = faults(&report);
            refusal::check(told[0]).unwrap_or_else(|wrong| panic!("{context}: {wrong}"));
        } else {
            beyond += u64::from(report.health() == Health::Damaged);
        }
    }
    println!(
        "{live} live flips of the checkpoint were found, of {n}; {reads_other} changed what is read, {beyond} more were \
         found that harm nothing, seed {seed}"
    );
}

#[test]
fn every_flipped_bit_of_a_snapshot_file_is_found() {
    let server = Server::start(&Options::default());
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("s.db");
    let lodemark = |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
        Server::run(&arguments, temp.path()).output()
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut client = etcd_client::Client::connect([server.endpoint()], None).await.unwrap();
        for n in 0..50 {
            client.put(format!("key/{n}"), "value".repeat(n * 7), None).await.unwrap();
        }
    });
    let (status, _, told) = lodemark(&["snapshot", "save", "s.db", "--endpoints", &server.endpoint()]);
    assert_eq!(status, Some(0), "{told}");
    let good = fs::read(&file).unwrap();
    let (status, said, told) = lodemark(&["check", "s.db"]);
    assert_eq!((status, said.ends_with("\nhealthy\n")), (Some(0), true), "{said}{told}");

    let seed = seed();
    let random = SeededRandom::new(seed);
    for n in 0..each() {
        let (at, bit) = (usize::try_from(random.next_u64()).unwrap() % good.len(), random.next_u64() % 8);
        let mut bytes = good.clone();
        bytes[at] ^= 1 << bit;
        fs::write(&file, &bytes).unwrap();
        let (status, said, _) = lodemark(&["check", "s.db"]);
        let context = format!("LODEMARK_SEED={seed}, flip {n}: bit {bit} of byte {at}: {said}");
        assert!(status == Some(1) && said.contains("DAMAGE") && said.contains("s.db"), "{context}");
    }
    println!("{} flips of a snapshot file were found, seed {seed}", each());
    fs::write(&file, &good[..good.len() - 32]).unwrap();
    let (status, said, _) = lodemark(&["check", "s.db"]);
    assert!(status == Some(0) && said.contains("note: it does not end with a digest"), "{said}");
}

#[test]
fn nothing_is_found_in_healthy_folders() {
    let fresh = SimDisk::new();
    member::run(async {
        let node = member::start(&member::options(&fresh)).await.expect("a new member starts");
        node.stop().await;
    });
    let busy = member::folder();
    let received = member::receive(&member::snapshot_of(&busy)).expect("a good snapshot is taken");
    for (what, disk) in [("fresh", &fresh), ("busy", &busy), ("received", &received)] {
        let report = check(disk);
        assert_eq!((report.health(), faults(&report)), (Health::Healthy, vec![]), "{what}: {report:?}");
    }
}

/// Whatever of the unsynced bytes a crash leaves, at whichever sync it comes.
#[test]
fn nothing_is_found_in_folders_of_members_that_lost_power() {
    let sites =
        [SyncSite::WalBatch, SyncSite::WalSegment, SyncSite::WalFolder, SyncSite::Checkpoint, SyncSite::DataFolder];
    let (mut crashes, mut torn) = (0, 0);
    for (site, nth) in sites.into_iter().flat_map(|site| [1, 2, 3, 7, 20, 90].map(|nth| (site, nth))) {
        let disk = SimDisk::new();
        disk.crash_at(site, nth);
        member::run(async {
            if let Ok(node) = member::start(&member::options(&disk)).await {
                // It ends when the disk does.
                let _ = member::fill(&node).await;
                disk.crash_now();
            }
        });
        for (image, seed) in [(Image::Nothing, 0), (Image::Everything, 0), (Image::Torn, nth)]
            .into_iter()
            .chain((0..3).map(|seed| (Image::Subset, nth * 3 + seed)))
        {
            let report = check(&disk.crash_image(image, seed));
            let context = format!("crash at {site:?} {nth}, {image:?} {seed}: {report:?}");
            assert_eq!((report.health(), faults(&report)), (Health::Healthy, vec![]), "{context}");
            torn += u64::from(context.contains("bytes at its end are torn"));
            crashes += 1;
        }
    }
    println!("{crashes} images of crashes are healthy, {torn} of them with a torn end");
    assert!(torn > 0, "no log had a torn end");
}

#[test]
fn a_member_that_must_not_start_is_told_of() {
    let folder = member::folder();
    let file = folder.create(Path::new("differs")).unwrap();
    file.write_all_at(0, b"member 1 differs from the majority").unwrap();
    let report = check(&folder);
    let [told] = faults(&report)[..] else { panic!("{report:?}") };
    assert!(told.contains("member 1 differs") && told.contains("delete its data folder and add it anew"), "{told}");
}

/// Two folders of one member's life are each whole, and do not belong together.
#[test]
fn a_log_and_a_checkpoint_that_do_not_fit_are_found() {
    let (folder, fresh) = (member::folder(), SimDisk::new());
    member::run(async {
        let node = member::start(&member::options(&fresh)).await.expect("a new member starts");
        node.stop().await;
    });
    let mixed = member::copy(&folder);
    mixed.remove(Path::new(STATE)).unwrap();
    let bytes = member::read(&fresh, Path::new(STATE));
    mixed.create(Path::new(STATE)).and_then(|file| file.write_all_at(0, &bytes)).unwrap();
    let report = check(&mixed);
    let [told] = faults(&report)[..] else { panic!("{report:?}") };
    assert!(told.contains("the checkpoint state.redb holds log entry"), "{told}");
}
