//! Conditions of a txn.
//!
//! Source: etcd API reference, `Compare`; for what is missing, empty or unknown, what etcd 3.7 does.

use std::cmp::Ordering;

use crate::model::{Compare, CompareResult, CompareTarget, KeyValue, RangeEnd};
use crate::mvcc::Store;

/// Whether a condition holds for every key of its range. A range without keys counts as one key that does not exist.
pub(super) fn holds(compare: &Compare, kv: &Store) -> bool {
    if compare.keys.end == RangeEnd::Single {
        return match kv.latest(&compare.keys.start) {
            Some(record) => holds_for(compare, &record.pair()),
            None => holds_without_key(compare),
        };
    }
    let (mut is_empty, mut all) = (true, true);
    kv.each_latest(&compare.keys, &mut |record| {
        is_empty = false;
        all = holds_for(compare, &record.pair());
        all
    });
    if is_empty { holds_without_key(compare) } else { all }
}

fn holds_without_key(compare: &Compare) -> bool {
    match compare.target {
        // There is no value that could relate to anything in any way.
        CompareTarget::Value(_) => false,
        CompareTarget::Version(_)
        | CompareTarget::Create(_)
        | CompareTarget::Mod(_)
        | CompareTarget::Lease(_)
        | CompareTarget::Unknown => holds_for(compare, &KeyValue::default()),
    }
}

fn holds_for(compare: &Compare, pair: &KeyValue<'_>) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(operand) => pair.version.cmp(operand),
        CompareTarget::Create(operand) => pair.create_revision.0.cmp(operand),
        CompareTarget::Mod(operand) => pair.mod_revision.0.cmp(operand),
        CompareTarget::Value(operand) => pair.value.cmp(operand.as_ref()),
        CompareTarget::Lease(operand) => pair.lease.0.cmp(operand),
        CompareTarget::Unknown => Ordering::Equal,
    };
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Unknown => true,
    }
}
