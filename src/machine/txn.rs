//! Txns: compare, check, run.
//!
//! 1. All conditions, those of nested txns on the path taken too, are settled against the state before the txn.
//! 2. Every operation on the path is checked against that same state; the first that cannot be carried out refuses the
//!    whole txn.
//! 3. The operations run in order and see what earlier ones did.
//!
//! A txn that only reads takes the same steps over a [`Read`] instead of a write, without passing through the log.
//!
//! Source: etcd API reference, `TxnRequest`; server/etcdserver/txn of etcd 3.7 for the order of checks.

use super::compare::holds;
use super::error::rejected;
use super::kv::{check_put, run_delete, run_put};
use super::tally::Step as Counted;
use super::{Effects, Fault, Machine, Rejection, Shared, Tally};
use crate::lease::Lessor;
use crate::model::{OpReply, Range, RangeReply, Reply, Revision, Txn, TxnOp, TxnReply};
use crate::mvcc::{self, ReadError, Store, Write};
use crate::storage::{self, Storage};

/// A txn whose conditions are settled: the operations that will run.
struct Path<'t> {
    succeeded: bool,
    steps: Vec<Step<'t>>,
}

enum Step<'t> {
    Op(&'t TxnOp),
    Txn(Path<'t>),
}

impl Machine {
    pub(super) fn txn(&mut self, txn: &Txn, storage: &Storage, effects: &mut Effects) -> super::Applied {
        // What is looked at first, and what is done then, are two steps.
        let (mut looked, mut done) = (Counted::default(), Counted::default());
        let path = settle(txn, &self.kv, storage, &mut looked)?;
        let checked = check(&path, &self.kv, &self.lessor, &mut looked);
        effects.tally.add(looked);
        if let Err(rejection) = checked {
            return Ok(Err(rejection));
        }
        let mut write = self.kv.begin();
        let ran = run(&path, &mut write, &mut self.lessor, (storage, &mut done));
        effects.tally.add(done);
        // Finished in any case: what a fault leaves behind is dropped with the member.
        let revision = write.finish(&mut effects.events, &mut effects.writes);
        let mut reply = match ran? {
            Ok(reply) => reply,
            Err(rejection) => return Ok(Err(rejection)),
        };
        reply.revision = revision;
        Ok(Ok(Reply::Txn(reply)))
    }
}

/// Answers a txn of ranges and conditions from one present state, outside apply; says what was done for it.
///
/// # Errors
/// [`Fault`] if an older record could not be read; the inner error is a range that cannot be answered.
///
/// The state is held for reading throughout, also while storage is asked for older revisions: rare in a txn, and short.
pub fn read_txn(shared: &Shared, txn: &Txn) -> Result<(Result<TxnReply, Rejection>, Tally), Fault> {
    let (mut counted, mut tally) = (Counted::default(), Tally::default());
    let reply = read(shared, txn, &mut counted)?;
    tally.add(counted);
    Ok((reply, tally))
}

fn read(shared: &Shared, txn: &Txn, counted: &mut Counted) -> Result<Result<TxnReply, Rejection>, Fault> {
    let machine = shared.machine.read();
    // After the lock: an installed snapshot swaps both under it.
    let storage = shared.storage.load_full();
    let path = settle(txn, &machine.kv, &storage, counted)?;
    if let Err(rejection) = check(&path, &machine.kv, &machine.lessor, counted) {
        return Ok(Err(rejection));
    }
    let revision = machine.kv.revision();
    let mut responses = Vec::with_capacity(path.steps.len());
    for step in &path.steps {
        // The door sends only txns of ranges here; for anything else there is nothing to answer.
        let Step::Op(TxnOp::Range(range)) = step else { continue };
        counted.ranges += 1;
        // A negative revision has passed the check as a number and reads as the newest, as in a write.
        match mvcc::range(&machine.kv, &storage, range) {
            Ok(reply) => responses.push(OpReply::Range(reply)),
            Err(error) => return rejected(error).map(Err),
        }
    }
    Ok(Ok(TxnReply { revision, succeeded: path.succeeded, responses }))
}

fn settle<'t>(txn: &'t Txn, kv: &Store, storage: &Storage, counted: &mut Counted) -> Result<Path<'t>, storage::Error> {
    let mut succeeded = true;
    for compare in &txn.compare {
        counted.ranges += 1;
        succeeded = holds(compare, kv, storage)?;
        if !succeeded {
            break;
        }
    }
    let ops = if succeeded { &txn.success } else { &txn.failure };
    let steps = ops.iter().map(|op| match op {
        TxnOp::Txn(nested) => settle(nested, kv, storage, counted).map(Step::Txn),
        TxnOp::Range(_) | TxnOp::Put(_) | TxnOp::DeleteRange(_) => Ok(Step::Op(op)),
    });
    Ok(Path { succeeded, steps: steps.collect::<Result<_, _>>()? })
}

fn check(path: &Path<'_>, kv: &Store, lessor: &Lessor, counted: &mut Counted) -> Result<(), Rejection> {
    for step in &path.steps {
        match step {
            Step::Op(TxnOp::Range(range)) => check_range(range, kv)?,
            Step::Op(TxnOp::Put(put)) => {
                counted.ranges += u64::from(put.ignore_value || put.ignore_lease || put.prev_kv);
                check_put(put, kv, lessor)?;
            }
            Step::Op(TxnOp::DeleteRange(_) | TxnOp::Txn(_)) => {}
            Step::Txn(nested) => check(nested, kv, lessor, counted)?,
        }
    }
    Ok(())
}

/// Zero is the newest; any other revision, a negative one too, is compared as a number.
fn check_range(range: &Range, kv: &Store) -> Result<(), Rejection> {
    if range.revision == 0 {
        return Ok(());
    }
    kv.check_readable(Revision(range.revision)).map_err(|error| match error {
        ReadError::Compacted { requested, compacted } => Rejection::Compacted { requested, compacted },
        ReadError::Future { requested, current } => Rejection::FutureRevision { requested, current },
        ReadError::Storage(_) => unreachable!("a check of revisions reads nothing"),
    })
}

fn run(
    path: &Path<'_>,
    write: &mut Write<'_>,
    lessor: &mut Lessor,
    (storage, counted): (&Storage, &mut Counted),
) -> Result<Result<TxnReply, Rejection>, Fault> {
    let mut responses = Vec::with_capacity(path.steps.len());
    for step in &path.steps {
        responses.push(match step {
            Step::Op(TxnOp::Range(range)) => {
                counted.ranges += 1;
                match run_range(range, write, storage)? {
                    Ok(reply) => OpReply::Range(reply),
                    Err(rejection) => return Ok(Err(rejection)),
                }
            }
            Step::Op(TxnOp::Put(put)) => OpReply::Put(run_put(put, write, lessor, (storage, counted))?),
            Step::Op(TxnOp::DeleteRange(delete)) => {
                OpReply::DeleteRange(run_delete(delete, write, lessor, (storage, counted))?)
            }
            Step::Op(TxnOp::Txn(_)) => unreachable!("a nested txn is a step of its own"),
            Step::Txn(nested) => match run(nested, write, lessor, (storage, counted))? {
                Ok(reply) => OpReply::Txn(reply),
                Err(rejection) => return Ok(Err(rejection)),
            },
        });
    }
    Ok(Ok(TxnReply { revision: write.revision(), succeeded: path.succeeded, responses }))
}

fn run_range(range: &Range, write: &Write<'_>, storage: &Storage) -> Result<Result<RangeReply, Rejection>, Fault> {
    match write.range(storage, range) {
        Ok(reply) => Ok(Ok(reply)),
        Err(error) => rejected(error).map(Err),
    }
}
