//! Power cuts: what was answered survives each of them, and the log goes on.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const IMAGES: [Image; 4] = [Image::Nothing, Image::Everything, Image::Subset, Image::Torn];

/// A log as a plain value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    entries: BTreeMap<u64, (u64, Bytes)>,
    vote: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
}

#[derive(Debug, Clone)]
enum Op {
    /// Lengths of the entries.
    Append(Vec<usize>),
    Vote(u8),
    /// So many of the last entries.
    Truncate(u64),
    /// So many of the first entries.
    Purge(u64),
    /// Notes the last entry as committed.
    Commit,
    Step,
}

impl Model {
    fn last(&self) -> u64 {
        let purged = self.purged.as_ref().map_or(0, |(through, _)| *through);
        self.entries.last_key_value().map_or(purged, |(index, _)| *index)
    }

    fn first(&self) -> u64 {
        self.entries.first_key_value().map_or(self.last() + 1, |(index, _)| *index)
    }

    fn of(log: &Log) -> Model {
        Model {
            entries: log.all().into_iter().map(|entry| (entry.index, (entry.term, entry.payload))).collect(),
            vote: log.recovered.vote.clone(),
            purged: log.recovered.purged.clone(),
        }
    }
}

/// A log and the states that it may come back with.
struct Run {
    log: Log,
    /// The state after each operation that was queued; the first is the one it began with.
    states: Vec<Model>,
    /// Of `states`, the last that was answered.
    answered: usize,
    /// The last entry that was noted as committed; Raft never truncates below.
    committed: u64,
    term: u64,
}

impl Run {
    fn new(disk: &SimDisk, term: u64) -> Run {
        let log = open(disk);
        let states = vec![Model::of(&log)];
        Run { log, states, answered: 0, committed: 0, term }
    }

    /// Does one operation; `false` when the log has ended.
    fn act(&mut self, op: &Op) -> bool {
        let mut model = self.states.last().unwrap().clone();
        let wal = &self.log.wal;
        let queued = match op {
            Op::Append(lengths) => {
                let first = model.last() + 1;
                let entries: Vec<_> =
                    lengths.iter().zip(first..).map(|(&len, index)| entry(index, self.term, len)).collect();
                model.entries.extend(entries.iter().map(|e| (e.index, (e.term, e.payload.clone()))));
                wal.append(entries, Box::new(|_| {}))
            }
            Op::Vote(vote) => {
                let vote = Bytes::from(vec![*vote; 9]);
                model.vote = Some(vote.clone());
                wal.save_vote(vote, Box::new(|_| {}))
            }
            Op::Truncate(count) => {
                let after = model.last().saturating_sub(*count).max(model.first() - 1).max(self.committed);
                model.entries.retain(|index, _| *index <= after);
                wal.truncate_after(after)
            }
            Op::Purge(count) => {
                let through = (model.first() - 1 + count).min(model.last());
                if through == 0 || model.purged.as_ref().is_some_and(|(purged, _)| *purged >= through) {
                    return true;
                }
                model.entries.retain(|index, _| *index > through);
                let mark = Bytes::from(through.to_be_bytes().to_vec());
                model.purged = Some((through, mark.clone()));
                wal.purge(through, mark)
            }
            Op::Commit => {
                self.committed = model.last();
                return wal.save_committed(Bytes::from(model.last().to_be_bytes().to_vec())).is_ok();
            }
            Op::Step if wal.queued_bytes() == 0 && !self.log.writer.has_leftovers() => return true,
            Op::Step => {
                let is_running = self.log.writer.step();
                if is_running {
                    self.answered = self.states.len() - 1;
                }
                return is_running;
            }
        };
        self.states.push(model);
        queued.is_ok()
    }

    /// Checks a log that came back; gives a run that goes on with it.
    fn check(&self, survived: &SimDisk, context: &str) -> Run {
        let log = match open_with(survived.clone(), options(SMALL_SEGMENT_BYTES)) {
            Ok(log) => log,
            Err(error) => panic!("{context}: {error}"),
        };
        let found = Model::of(&log);
        let admissible = &self.states[self.answered..];
        assert!(admissible.contains(&found), "{context}: found {found:?}, admissible {admissible:?}");
        let note = log.recovered.committed.as_deref();
        let committed = note.map_or(0, |note| u64::from_be_bytes(note.try_into().unwrap()));
        assert!(committed <= found.last(), "{context}: {committed} is committed, the last entry is {}", found.last());
        Run { log, states: vec![found], answered: 0, committed, term: self.term + 1 }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => prop::collection::vec(0usize..300, 1..4).prop_map(Op::Append),
        1 => (0u64..4).prop_map(Op::Truncate),
        1 => (1u64..6).prop_map(Op::Purge),
        1 => any::<u8>().prop_map(Op::Vote),
        1 => Just(Op::Commit),
        6 => Just(Op::Step),
    ]
}

fn site() -> impl Strategy<Value = SyncSite> {
    prop_oneof![3 => Just(SyncSite::WalBatch), 1 => Just(SyncSite::WalSegment), 2 => Just(SyncSite::WalFolder)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Three lives, each ended by a power cut at some sync; the next begins with what is left.
    #[test]
    fn a_log_comes_back_as_it_was_after_some_operation_that_is_not_before_the_last_answered_one(
        lives in prop::collection::vec((prop::collection::vec(op(), 1..60), site(), 1u64..12), 3),
        image in prop::sample::select(&IMAGES[..]),
        seed in any::<u64>(),
    ) {
        let mut disk = SimDisk::new();
        let mut run = Run::new(&disk, 1);
        for (life, (ops, site, nth)) in lives.iter().enumerate() {
            disk.crash_at(*site, *nth);
            let mut is_running = true;
            for op in ops {
                is_running = is_running && run.act(op);
            }
            for other in IMAGES {
                drop(run.check(&disk.crash_image(other, seed), &format!("life {life}, {other:?}")).log);
            }
            let survived = disk.crash_image(image, seed);
            run = run.check(&survived, &format!("life {life}, {image:?}"));
            disk = survived;
        }
    }
}

/// A fixed load, cut at each of its syncs in turn, with every image.
#[test]
fn nothing_answered_is_lost_at_any_sync() {
    let load: Vec<Op> = (0..24)
        .flat_map(|i| {
            let more = match i % 6 {
                2 => Op::Vote(i),
                3 => Op::Truncate(1),
                5 => Op::Purge(4),
                _ => Op::Commit,
            };
            [Op::Append(vec![70, 10]), more, Op::Step, Op::Append(vec![120]), Op::Step]
        })
        .collect();
    let undisturbed = SimDisk::new();
    let mut run = Run::new(&undisturbed, 1);
    assert!(load.iter().all(|op| run.act(op)));
    let counts = undisturbed.sync_counts();
    assert!(counts[&SyncSite::WalFolder] > 10 && counts[&SyncSite::WalSegment] > 10, "{counts:?}");

    for (&site, &count) in &counts {
        // The first syncs are those of the opening.
        let opening = SimDisk::new();
        drop(open(&opening));
        for nth in 1..=count - opening.sync_counts().get(&site).copied().unwrap_or(0) {
            let disk = SimDisk::new();
            let mut run = Run::new(&disk, 1);
            disk.crash_at(site, nth);
            assert!(!load.iter().all(|op| run.act(op)), "{site:?} {nth}");
            for image in IMAGES {
                for seed in 0..4 {
                    let context = format!("{site:?} {nth}, {image:?}, seed {seed}");
                    let survived = disk.crash_image(image, seed);
                    let mut again = run.check(&survived, &context);
                    assert!(again.act(&Op::Append(vec![100])) && again.act(&Op::Step), "{context}");
                    let expected = again.states.last().unwrap().entries.clone();
                    drop(again);
                    assert_eq!(Model::of(&open(&survived)).entries, expected, "{context}");
                }
            }
        }
    }
}

/// A power cut while the log is opened: recovery itself writes, removes and syncs.
#[test]
fn nothing_is_lost_when_recovery_is_cut_off_too() {
    for first in 1..=12 {
        let disk = SimDisk::new();
        let mut run = Run::new(&disk, 1);
        disk.crash_at(SyncSite::WalBatch, first);
        for _ in 0..12 {
            run.act(&Op::Append(vec![90, 90]));
            run.act(&Op::Step);
        }
        for image in IMAGES {
            for (site, seed) in [(SyncSite::WalSegment, 1), (SyncSite::WalFolder, 2)] {
                for nth in 1..4 {
                    let torn = disk.crash_image(image, seed);
                    torn.crash_at(site, nth);
                    let cut = open_with(torn.clone(), options(SMALL_SEGMENT_BYTES));
                    drop(cut);
                    for second in IMAGES {
                        let context = format!("batch {first}, {image:?}, {site:?} {nth}, {second:?}");
                        run.check(&torn.crash_image(second, seed + 10), &context);
                    }
                }
            }
        }
    }
}
