//! Conditions of a txn.
//!
//! Source: etcd API reference, `Compare`; for what is missing, empty or unknown, what etcd 3.7 does.

use std::cmp::Ordering;

use crate::model::{Compare, CompareResult, CompareTarget, KeyValue, RangeEnd};
use crate::mvcc::{Head, Newest, Store};
use crate::storage::{self, Storage};

/// Whether a condition holds for every key of its range. A range without keys counts as one key that does not exist.
///
/// # Errors
/// If it is about a value that only storage has, and that cannot be read.
pub(super) fn holds(compare: &Compare, kv: &Store, storage: &Storage) -> Result<bool, storage::Error> {
    if compare.keys.end == RangeEnd::Single {
        return match kv.newest(&compare.keys.start) {
            Some(pair) => holds_for_pair(compare, &pair, storage),
            None => Ok(holds_without_key(compare)),
        };
    }
    let mut is_empty = true;
    for pair in kv.each_newest(&compare.keys) {
        is_empty = false;
        if !holds_for_pair(compare, &pair, storage)? {
            return Ok(false);
        }
    }
    Ok(!is_empty || holds_without_key(compare))
}

fn holds_for_pair(compare: &Compare, pair: &Newest, storage: &Storage) -> Result<bool, storage::Error> {
    if matches!(compare.target, CompareTarget::Value(_)) {
        return Ok(holds_for(compare, &pair.read(storage)?.pair()));
    }
    let Head { key, create_revision, mod_revision, version, lease } = pair.head();
    Ok(holds_for(compare, &KeyValue { key, value: &[], create_revision, mod_revision, version, lease }))
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
