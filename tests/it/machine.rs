//! The machine against the reference model: random commands, reads at any revision, checkpoints, compaction in steps,
//! restarts from the checkpoint with the log after it, and snapshots that another member goes on with.
//!
//! A failure prints the smallest steps that show it, and the seed. `SEED=n` runs one seed, `LONG=1` takes a fresh one
//! and many more cases.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use lodemark::model::{Command, Compact, Put, Reply, Revision};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use crate::generate::{command, range, ranges_txn};
use crate::model::Model;
use crate::pair::{LONG_VALUE, Pair, Step, all_keys};

const CASES: u32 = 600;
const CASES_LONG: u32 = 20_000;
const STEPS_MAX: usize = 60;

#[test]
fn the_machine_does_what_the_model_promises() {
    let long = std::env::var("LONG").is_ok();
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) if long => RandomState::new().hash_one(0),
        Err(_) => 1,
    };
    let mut runner = TestRunner::new(Config {
        cases: if long { CASES_LONG } else { CASES },
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    });
    // Everything stays in memory, or a few values do, or none that a checkpoint has.
    let values_max = prop_oneof![Just(usize::MAX), Just(2 * LONG_VALUE.len()), Just(0)];
    let outcome = runner.run(&(values_max, vec(step(), 1..STEPS_MAX)), |(values_max, steps)| {
        let mut pair = Pair::new(values_max);
        for step in &steps {
            pair.take(step);
        }
        pair.compare_everything();
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, (values_max, steps))) => {
            panic!("SEED={seed} fails: {why}\nwith {values_max} bytes of values in memory, smallest steps: {steps:#?}")
        }
        Err(TestError::Abort(why)) => panic!("SEED={seed} was given up: {why}"),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let new_term = proptest::bool::weighted(0.02);
    prop_oneof![
        12 => (vec(command(), 0..4), new_term).prop_map(|(commands, new_term)| Step::Entry { commands, new_term }),
        6 => range().prop_map(Step::Read),
        1 => ranges_txn().prop_map(Step::ReadTxn),
        2 => Just(Step::Checkpoint),
        3 => (1..9usize).prop_map(|keys_max| Step::Sweep { keys_max }),
        1 => Just(Step::Pin),
        2 => (1..9usize).prop_map(|keys_max| Step::Evict { keys_max }),
        1 => Just(Step::Restart),
        1 => Just(Step::Snapshot),
    ]
}

/// The replies of the model itself, in a few cases that can be read.
#[test]
fn the_model_itself_follows_the_documentation() {
    let mut model = Model::new();
    let mut put = |value: &'static str| {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(value.as_bytes()));
        model.apply(&Command::Put(Put { key, value, prev_kv: true, ..Put::default() })).unwrap()
    };
    let Reply::Put(first) = put("1") else { panic!() };
    assert_eq!((first.revision, first.prev), (Revision(2), None));
    let Reply::Put(second) = put("2") else { panic!() };
    assert_eq!((second.revision, second.prev.unwrap().value()), (Revision(3), &b"1"[..]));

    let kvs = model.range(&all_keys(2)).unwrap().kvs;
    assert_eq!(kvs[0].value(), b"1");
    assert_eq!(
        model.range(&all_keys(4)).unwrap_err().to_string(),
        "required revision 4 is a future revision (current: 3)"
    );
    let compact = |at| Command::Compact(Compact { revision: Revision(at), physical: false });
    model.apply(&compact(3)).unwrap();
    assert!(
        model.apply(&compact(3)).is_err() && model.range(&all_keys(2)).is_err() && model.range(&all_keys(3)).is_ok()
    );
}
