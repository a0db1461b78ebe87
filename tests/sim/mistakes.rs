//! Shows that the simulation sees mistakes: members make one on purpose until a seed fails for it.

use std::ops::Range;

use lodemark::env::Mistake;

use super::run::{Plan, run};
use super::seeds::{number, plan};

/// The first seed that shows each, as `SIM_MISTAKES=200` found it. What clients ask for, and so what a seed does, changes
/// with the code: then one of the next seeds may be the first.
const SHOWN_BY: [(Mistake, u64); Mistake::ALL.len()] = [
    (Mistake::AnswerBeforeDurable, 2),
    (Mistake::AppliedIndexApart, 2),
    (Mistake::ReadWithoutBarrier, 0),
    (Mistake::SkipAtCompaction, 0),
    (Mistake::EventTwice, 0),
    (Mistake::OldLeaderExpires, 6),
    (Mistake::VoteTwice, 0),
    (Mistake::TruncateDurable, 0),
    (Mistake::LoseFolderSync, 0),
    (Mistake::AcceptStranger, 0),
];
/// Seeds that are tried from that one on.
const TRIES: u64 = 40;

/// The first of the seeds that fails with the mistake, and how.
fn first_to_show(mistake: Mistake, seeds: Range<u64>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let plan = Plan { mistake: Some(mistake), ..plan(seed) };
        // Of some it is openraft's own assertions that see them first: then a member panics.
        let how = run(&plan).violations.into_iter().next()?;
        Some((seed, how))
    })
}

#[test]
fn every_mistake_is_seen() {
    if !cfg!(debug_assertions) {
        let why = "members make mistakes only in a build with debug assertions";
        eprintln!("SKIPPED: {why}");
        assert!(std::env::var("LODEMARK_NO_SKIP").as_deref() != Ok("1"), "{why}");
        return;
    }
    assert!(Mistake::ALL.iter().all(|mistake| SHOWN_BY.iter().any(|(shown, _)| shown == mistake)), "none is left out");
    let halves = SHOWN_BY.chunks(SHOWN_BY.len().div_ceil(2));
    let unseen: Vec<String> = std::thread::scope(|scope| {
        let searches: Vec<_> = halves.map(|half| scope.spawn(|| search(half))).collect();
        searches.into_iter().flat_map(|search| search.join().expect("a search does not panic")).collect()
    });
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}

/// Tells which seeds show the mistakes; gives those that none shows.
fn search(mistakes: &[(Mistake, u64)]) -> Vec<String> {
    let mut unseen = Vec::new();
    for &(mistake, first) in mistakes {
        let seeds = number("SIM_MISTAKES").map_or(first..first + TRIES, |seeds| 0..seeds);
        match first_to_show(mistake, seeds.clone()) {
            Some((seed, how)) => println!("{mistake:?}: seed {seed} shows it: {how}"),
            None => unseen.push(format!("{mistake:?}: none of the seeds {seeds:?} shows it")),
        }
    }
    unseen
}
