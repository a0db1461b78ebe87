//! Txns: all looks at the state before it come first, then the operations run.

use std::cmp::Ordering;

use lodemark::machine::Rejection;
use lodemark::model::{Compare, CompareResult, CompareTarget, OpReply, Txn, TxnOp, TxnReply};

use super::{Model, NEWEST, Pair};

impl Model {
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnReply, Rejection> {
        self.check_ops(txn)?;
        Ok(self.run(txn))
    }

    /// Refuses what cannot be carried out, on the path that will be taken and in its order.
    fn check_ops(&self, txn: &Txn) -> Result<(), Rejection> {
        for op in self.branch(txn) {
            match op {
                TxnOp::Range(range) if range.revision != 0 => self.check_readable(range.revision)?,
                TxnOp::Range(_) | TxnOp::DeleteRange(_) => {}
                TxnOp::Put(put) => self.check_put(put)?,
                TxnOp::Txn(nested) => self.check_ops(nested)?,
            }
        }
        Ok(())
    }

    fn run(&mut self, txn: &Txn) -> TxnReply {
        let mut responses = Vec::new();
        for op in self.branch(txn) {
            responses.push(match op {
                // What is below zero has been compared as a number already; there is nothing to read there but the newest.
                TxnOp::Range(range) if range.revision <= 0 => OpReply::Range(self.answer(range, NEWEST)),
                TxnOp::Range(range) => OpReply::Range(self.answer(range, range.revision)),
                TxnOp::Put(put) => OpReply::Put(self.put(put)),
                TxnOp::DeleteRange(delete) => OpReply::DeleteRange(self.delete(delete)),
                TxnOp::Txn(nested) => OpReply::Txn(self.run(nested)),
            });
        }
        TxnReply { revision: self.now(), succeeded: self.holds_all(txn), responses }
    }

    fn branch<'t>(&self, txn: &'t Txn) -> &'t [TxnOp] {
        if self.holds_all(txn) { &txn.success } else { &txn.failure }
    }

    fn holds_all(&self, txn: &Txn) -> bool {
        txn.compare.iter().all(|compare| self.holds(compare))
    }

    /// Conditions look at nothing but the state before the outermost txn: what it changes has the next revision.
    fn holds(&self, compare: &Compare) -> bool {
        let pairs = self.pairs_at(&compare.keys, self.revision);
        if pairs.is_empty() {
            let nothing = Pair { value: Vec::new(), created: 0, modified: 0, version: 0, lease: 0 };
            return !matches!(compare.target, CompareTarget::Value(_)) && relates(compare, &nothing);
        }
        pairs.iter().all(|(_, pair)| relates(compare, pair))
    }
}

fn relates(compare: &Compare, pair: &Pair) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(operand) => pair.version.cmp(operand),
        CompareTarget::Create(operand) => pair.created.cmp(operand),
        CompareTarget::Mod(operand) => pair.modified.cmp(operand),
        CompareTarget::Value(operand) => pair.value[..].cmp(&operand[..]),
        CompareTarget::Lease(operand) => pair.lease.cmp(operand),
        CompareTarget::Unknown => Ordering::Equal,
    };
    match compare.result {
        CompareResult::Equal => ordering == Ordering::Equal,
        CompareResult::Greater => ordering == Ordering::Greater,
        CompareResult::Less => ordering == Ordering::Less,
        CompareResult::NotEqual => ordering != Ordering::Equal,
        CompareResult::Unknown => true,
    }
}

/// Whether there is a put in it, on either branch.
pub(super) fn has_put(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Txn(nested) => has_put(nested),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
    })
}

/// Whether there are only ranges in it, none of them in a txn within it: it changes nothing, and needs no log.
pub(super) fn is_of_ranges(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, TxnOp::Range(_)))
}
