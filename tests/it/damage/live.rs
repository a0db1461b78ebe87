//! Bits that flip under a member that runs. redb may cache nothing here, so every record that memory lacks is read from
//! the file as it is now.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use lodemark::env::{SeededRandom, SimDisk};
use lodemark::model::{Command, Compact, KeyRange, Range, Revision, Txn, TxnOp};
use lodemark::mvcc::{PartLimits, RangePlace};
use lodemark::node::{Consistency, MemoryBudget, Node, NodeError, NodeOptions};

use super::member::{self, Right, Whole};
use super::places::{self, Flip, Places};
use super::refusal;
use crate::harness::{number, seed};

const FLIPS: u64 = 300;

fn options(disk: &SimDisk) -> NodeOptions {
    NodeOptions { memory: MemoryBudget { pages: 0, ..MemoryBudget::unbounded() }, ..member::options(disk) }
}

/// What a running member says that meets a flip: `None` if it answers as if nothing had happened.
///
/// # Errors
/// What is wrong.
async fn meet(node: &Node, right: &Whole) -> Result<Option<String>, String> {
    match Whole::read(node).await {
        Ok(found) if found == *right => Ok(None),
        Ok(found) => Err(right.difference(&found)),
        Err(error) => {
            let told = member::why(node, error).await;
            refusal::check(&told)?;
            // It has stopped for good.
            match node.range(&Range::of(KeyRange::single(Bytes::from_static(b"key/00")))).await {
                Err(NodeError::Stopped) => Ok(Some(told)),
                other => Err(format!("after its fault it answers {other:?}")),
            }
        }
    }
}

/// Lets bits flip under members, one after another; a member that stops is followed by a new one on the same folder.
/// Gives how many members have stopped.
fn flip_under_members(folder: &SimDisk, right: &Whole, flips: &[Flip]) -> Result<usize, String> {
    let (mut rest, mut stopped) = (flips, 0);
    while !rest.is_empty() {
        let disk = member::copy(folder);
        let life = async {
            let node = member::start(&options(&disk)).await?;
            while let Some((flip, later)) = rest.split_first() {
                rest = later;
                flip.apply(&disk);
                match meet(&node, right).await.map_err(|wrong| format!("{flip}: {wrong}"))? {
                    None => flip.apply(&disk),
                    Some(_) => {
                        stopped += 1;
                        break;
                    }
                }
            }
            node.stop().await;
            Ok::<_, String>(())
        };
        let lived = catch_unwind(AssertUnwindSafe(|| member::run(life)));
        lived.unwrap_or_else(|_| Err("it panics".into()))?;
    }
    Ok(stopped)
}

fn draw(places: &Places, seed: u64) -> Vec<Flip> {
    let random = SeededRandom::new(seed);
    (0..number("LODEMARK_FLIPS", FLIPS)).map(|_| places.draw(&random)).collect()
}

#[test]
fn a_bit_that_flips_under_a_running_member_stops_it_or_does_no_harm() {
    let folder = member::folder();
    let right = Right::of(&folder).now;
    let records = places::checkpoint_records(&folder, &right);
    let (seed, anywhere) = (seed(), places::checkpoint(&folder));
    for (what, places) in [("records", records), ("anywhere", anywhere)] {
        let flips = draw(&places, seed);
        let stopped = flip_under_members(&folder, &right, &flips).unwrap_or_else(|wrong| {
            panic!("{wrong}\n  again: LODEMARK_SEED={seed} cargo test --test it damage::live::a_bit")
        });
        println!("{} flips in {what} with seed {seed}, {stopped} stopped the member", flips.len());
        assert!(stopped > 0, "no flip in {what} was met");
    }
}

/// A running member on a folder in which every record of the checkpoint is damaged, after it was opened.
async fn on_damaged_records(right: &Whole, folder: &SimDisk) -> Node {
    let disk = member::copy(folder);
    let node = member::start(&options(&disk)).await.expect("the folder is good");
    for flip in places::checkpoint_records(&disk, right).one_of_each() {
        flip.apply(&disk);
    }
    node
}

/// Those who may meet damage.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Range,
    ReadOnlyTxn,
    AppliedTxn,
    Hash,
    Compaction,
    RangeInParts,
    Defragmentation,
}

impl Ask {
    async fn ask(self, node: &Node, at: Revision) -> Result<(), NodeError> {
        let range = Range { revision: at.0, ..Range::of(KeyRange::prefix(Bytes::from_static(b"key"))) };
        let txn = Txn { success: vec![TxnOp::Range(range.clone())], ..Txn::default() };
        match self {
            Ask::Range => node.range(&range).await.map(drop),
            Ask::ReadOnlyTxn => node.read_txn(&txn, Consistency::Linearizable).await.map(drop),
            Ask::AppliedTxn => member::propose(node, Command::Txn(txn)).await.map(drop),
            Ask::Hash => node.hash().await.map(drop),
            Ask::Compaction => node.compact(Compact { revision: at, physical: true }).await.map(drop),
            Ask::RangeInParts => {
                let limits = PartLimits { keys: 1000, bytes: usize::MAX };
                node.range_part(&range, &RangePlace::default(), limits).await.map(drop)
            }
            Ask::Defragmentation => node.defragment().await,
        }
    }
}

#[test]
fn whoever_meets_damage_stops_the_member_and_says_why() {
    let folder = member::folder();
    let right = Right::of(&folder).now;
    let at = Revision(right.revision.0 - 10);
    let reads = [Ask::Range, Ask::RangeInParts, Ask::ReadOnlyTxn, Ask::AppliedTxn, Ask::Hash];
    for ask in reads.into_iter().chain([Ask::Compaction, Ask::Defragmentation]) {
        member::run(async {
            let node = on_damaged_records(&right, &folder).await;
            let Err(error) = ask.ask(&node, at).await else { panic!("{ask:?} is answered") };
            let told = member::why(&node, error).await;
            refusal::check(&told).unwrap_or_else(|wrong| panic!("{ask:?}: {wrong}"));
            assert!(told.contains("records/"), "{ask:?}: {told}");
            node.stop().await;
        });
    }
}
