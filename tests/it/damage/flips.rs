//! Single bits that flip in the files of a stopped member, and in a snapshot on its way.
//!
//! `LODEMARK_FLIPS=1000` for the long run: so many within records, and so many anywhere. A failure prints the line that
//! does the same flip again, and no other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lodemark::env::{SeededRandom, SimDisk};

use super::member::{self, Right};
use super::places::{self, Flip, Places};
use super::refusal;
use crate::harness::{number, seed};

/// How many, by default.
const FLIPS: u64 = 300;
/// Does only this one.
const ONLY: &str = "LODEMARK_FLIP";
/// Makes the draws of one number differ from those of the next.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Log, checkpoint and snapshot of one member, and the state that all of them stand for.
struct Good {
    folder: SimDisk,
    stream: Vec<u8>,
    right: Right,
}

impl Good {
    fn new() -> Good {
        let folder = member::folder();
        let (stream, right) = (member::snapshot_of(&folder), Right::of(&folder));
        let good = Good { folder, stream, right };
        assert_eq!(good.received(&good.stream), Ok(None), "a good snapshot is taken");
        good
    }

    /// Flips a bit and starts a member on what is left: what it says if it refuses, `None` if all is right.
    ///
    /// # Errors
    /// What is wrong.
    fn flipped(&self, flip: &Flip) -> Result<Option<String>, String> {
        let started = catch_unwind(AssertUnwindSafe(|| match flip.file {
            Some(_) => {
                let disk = member::copy(&self.folder);
                flip.apply(&disk);
                member::run(self.right.judge(&disk))
            }
            None => {
                let mut stream = self.stream.clone();
                stream[flip.offset] = flip.of(stream[flip.offset]);
                self.received(&stream)
            }
        }));
        let told = started.unwrap_or_else(|panic| Err(format!("it panics: {}", words(&*panic))))?;
        told.map(|told| refusal::check(&told).map(|()| told)).transpose()
    }

    fn received(&self, stream: &[u8]) -> Result<Option<String>, String> {
        match member::receive(stream) {
            Err(error) => Ok(Some(error.to_string())),
            Ok(disk) => member::run(self.right.judge(&disk)),
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word")
}

/// Flips bits of each of several kinds in turn; gives how many were refused, by kind.
fn flip_all(test: &str, good: &Good, kinds: &[(&'static str, Places)]) -> BTreeMap<&'static str, u64> {
    let (seed, count) = (seed(), number("LODEMARK_FLIPS", FLIPS));
    let only = std::env::var(ONLY).is_ok().then(|| number(ONLY, 0));
    let (mut refused, mut failed) = (BTreeMap::new(), Vec::new());
    for n in (0..count.max(only.map_or(0, |n| n + 1))).filter(|n| only.is_none_or(|only| only == *n)) {
        let (kind, places) = &kinds[usize::try_from(n).expect("it is small") % kinds.len()];
        let flip = places.draw(&SeededRandom::new(seed.wrapping_add(n.wrapping_mul(SPREAD))));
        match good.flipped(&flip) {
            Ok(told) => *refused.entry(*kind).or_default() += u64::from(told.is_some()),
            Err(wrong) => failed.push(format!(
                "{flip}: {wrong}\n  again: LODEMARK_SEED={seed} {ONLY}={n} cargo test --test it damage::flips::{test}"
            )),
        }
    }
    println!("{count} flips with seed {seed}, refused: {refused:?}");
    assert!(failed.is_empty(), "{} of {count} flips:\n{}", failed.len(), failed.join("\n"));
    if only.is_some() { kinds.iter().map(|(kind, _)| (*kind, u64::MAX)).collect() } else { refused }
}

#[test]
fn a_bit_of_a_record_that_flips_is_refused_or_does_no_harm() {
    let good = Good::new();
    let kinds = [
        ("log", places::log_records(&good.folder)),
        ("checkpoint", places::checkpoint_records(&good.folder, &good.right.now)),
        ("snapshot", places::stream_records(&good.stream)),
    ];
    for (kind, places) in &kinds {
        println!("{kind}: {} bytes of records in {} pieces", places.bytes(), places.spans());
        assert!(places.bytes() > 50_000, "{kind} has too few records");
    }
    let refused = flip_all("a_bit_of_a_record", &good, &kinds);
    let each = number("LODEMARK_FLIPS", FLIPS) / 3;
    // Every bit of these counts.
    assert!(refused["log"] >= each && refused["snapshot"] >= each, "{refused:?}");
    // Some are of older copies of pages, which nothing reads.
    assert!(refused["checkpoint"] >= each / 4, "{refused:?}");
}

#[test]
fn a_bit_anywhere_that_flips_is_refused_or_does_no_harm() {
    let good = Good::new();
    let kinds = [
        ("log", places::log(&good.folder)),
        ("checkpoint", places::checkpoint(&good.folder)),
        ("snapshot", places::stream(&good.stream)),
    ];
    let refused = flip_all("a_bit_anywhere", &good, &kinds);
    assert!(refused["snapshot"] >= number("LODEMARK_FLIPS", FLIPS) / 3, "every bit of a stream counts: {refused:?}");
}

/// redb's first page says which pages are the newest commit's, and has no checksum over all of it.
#[test]
fn every_bit_that_flips_in_the_head_of_the_checkpoint_is_refused_or_does_no_harm() {
    let good = Good::new();
    let mut failed = Vec::new();
    for offset in 0..320 {
        // One bit of each byte by default, in turn; all of them in the long run.
        let bits = if number("LODEMARK_FLIPS", FLIPS) > FLIPS { 0..8 } else { offset % 8..offset % 8 + 1 };
        for bit in bits {
            let bit = u8::try_from(bit).expect("it is below 8");
            let flip = Flip { file: Some(member::STATE.into()), offset, bit };
            if let Err(wrong) = good.flipped(&flip) {
                failed.push(format!("{flip}: {wrong}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Else a number would not name the same flip again.
#[test]
fn the_same_life_leaves_the_same_files() {
    if !cfg!(tokio_unstable) {
        return crate::harness::skip("it needs --cfg tokio_unstable");
    }
    let (one, other) = (member::folder(), member::folder());
    let mut files = member::segments(&one);
    assert!(files.len() >= 3, "{files:?}");
    assert_eq!(files, member::segments(&other));
    files.push(member::STATE.into());
    for file in files {
        assert!(member::read(&one, &file) == member::read(&other, &file), "{} differs", file.display());
    }
}
