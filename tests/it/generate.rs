//! Random commands and ranges over a handful of keys, so that they meet.

use bytes::Bytes;
use lodemark::model::{
    Alarm, AlarmChange, AlarmKind, Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange,
    LeaseCheckpoint, LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke, Member, MemberId, Put, Range, Revision, SortOrder,
    SortTarget, Txn, TxnOp,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::pair::{KEYS, LONG_VALUE};

/// Revisions are asked for below this one: above what most sequences reach, so that some ask for the future.
pub const REVISION_MAX: i64 = 30;

const VALUES: &[&[u8]] = &[b"", b"x", b"y", b"yy", LONG_VALUE.as_bytes()];

fn key() -> impl Strategy<Value = Bytes> {
    proptest::sample::select(KEYS).prop_map(Bytes::from_static)
}

pub fn keys() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![
        3 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
        2 => key(),
    ];
    (key(), end).prop_map(|(key, end)| KeyRange::new(key, end))
}

fn value() -> impl Strategy<Value = Bytes> {
    proptest::sample::select(VALUES).prop_map(Bytes::from_static)
}

/// Small numbers, and now and then the ends.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![20 => -2..REVISION_MAX, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

/// Zero mostly: most requests do not ask for it.
fn seldom() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 1 => number()]
}

fn lease() -> impl Strategy<Value = LeaseId> {
    prop_oneof![1 => Just(0), 1 => 1..4i64, 1 => Just(-1)].prop_map(LeaseId)
}

fn put() -> impl Strategy<Value = Put> {
    let flags = (any::<bool>(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.2));
    (key(), value(), lease(), flags).prop_map(|(key, value, lease, (prev_kv, ignore_value, ignore_lease))| Put {
        key,
        // The door refuses both a value and the wish to keep the present one.
        value: if ignore_value { Bytes::new() } else { value },
        lease: if ignore_lease { LeaseId::NONE } else { lease },
        prev_kv,
        ignore_value,
        ignore_lease,
    })
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (keys(), any::<bool>()).prop_map(|(keys, prev_kv)| DeleteRange { keys, prev_kv })
}

/// A range, at any revision.
pub fn range() -> impl Strategy<Value = Range> {
    let order = proptest::sample::select(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend][..]);
    let target = proptest::sample::select(
        &[SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value][..],
    );
    let revision = prop_oneof![1 => Just(0), 2 => number()];
    let limit = prop_oneof![2 => Just(0), 4 => 1..4i64, 1 => Just(-1), 1 => Just(i64::MAX)];
    let flags = (proptest::bool::weighted(0.2), proptest::bool::weighted(0.2));
    let bounds = (seldom(), seldom(), seldom(), seldom());
    (keys(), limit, revision, order, target, flags, bounds).prop_map(
        |(keys, limit, revision, sort_order, sort_target, (keys_only, count_only), bounds)| Range {
            keys,
            limit,
            revision,
            sort_order,
            sort_target,
            serializable: false,
            keys_only,
            count_only,
            min_mod_revision: bounds.0,
            max_mod_revision: bounds.1,
            min_create_revision: bounds.2,
            max_create_revision: bounds.3,
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let result = proptest::sample::select(
        &[
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
            CompareResult::Unknown,
        ][..],
    );
    let target = prop_oneof![
        (0..4i64).prop_map(CompareTarget::Version),
        number().prop_map(CompareTarget::Create),
        number().prop_map(CompareTarget::Mod),
        value().prop_map(CompareTarget::Value),
        lease().prop_map(|lease| CompareTarget::Lease(lease.0)),
        Just(CompareTarget::Unknown),
    ];
    (keys(), result, target).prop_map(|(keys, result, target)| Compare { keys, result, target })
}

fn txn() -> impl Strategy<Value = Txn> {
    let op = prop_oneof![
        range().prop_map(TxnOp::Range),
        put().prop_map(TxnOp::Put),
        put().prop_map(TxnOp::Put),
        delete().prop_map(TxnOp::DeleteRange),
    ];
    let flat = txn_of(op.clone().boxed(), 0..3);
    let nested = prop_oneof![3 => op.clone(), 1 => flat.prop_map(TxnOp::Txn)];
    let once = txn_of(nested.boxed(), 0..4);
    let twice = prop_oneof![3 => op, 1 => once.prop_map(TxnOp::Txn)];
    txn_of(twice.boxed(), 0..4)
}

/// A txn that only reads.
pub fn ranges_txn() -> impl Strategy<Value = Txn> {
    txn_of(range().prop_map(TxnOp::Range).boxed(), 0..3)
}

fn txn_of(op: BoxedStrategy<TxnOp>, len: std::ops::Range<usize>) -> impl Strategy<Value = Txn> + Clone {
    let compare = vec(compare().boxed(), 0..3).boxed();
    let ops = vec(op, len);
    (compare, ops.clone(), ops).prop_map(|(compare, success, failure)| Txn { compare, success, failure })
}

/// An alarm that is raised, or, more often, lowered: else nothing would be written any more.
fn alarm() -> impl Strategy<Value = AlarmChange> {
    let kind = prop_oneof![Just(AlarmKind::NoSpace), Just(AlarmKind::Corrupt)];
    let alarm = (0..2u64, kind).prop_map(|(member, kind)| Alarm { member: MemberId(member), kind });
    prop_oneof![1 => alarm.clone().prop_map(AlarmChange::Raise), 12 => alarm.prop_map(AlarmChange::Lower)]
}

/// Any command.
pub fn command() -> impl Strategy<Value = Command> {
    let ids = vec(lease(), 0..4);
    let ttl = prop_oneof![8 => Just(3600), 1 => Just(9_000_000_000), 1 => Just(9_000_000_001)];
    prop_oneof![
        8 => put().prop_map(Command::Put),
        3 => delete().prop_map(Command::DeleteRange),
        8 => txn().prop_map(Command::Txn),
        2 => number().prop_map(|at| Command::Compact(Compact { revision: Revision(at), physical: false })),
        5 => (lease().prop_filter("a proposer never asks for it", |id| !id.is_none()), ttl)
            .prop_map(|(id, ttl)| Command::LeaseGrant(LeaseGrant { id, ttl })),
        1 => lease().prop_map(|id| Command::LeaseRevoke(LeaseRevoke { id })),
        1 => (ids, 1..3u64).prop_map(|(ids, term)| Command::LeaseExpire(LeaseExpire { ids, term, as_of: 0 })),
        1 => (vec((lease(), 0..3600i64), 0..4), 1..3u64)
            .prop_map(|(remaining, term)| Command::LeaseCheckpoint(LeaseCheckpoint { remaining, term, as_of: 0 })),
        1 => alarm().prop_map(Command::Alarm),
        1 => Just(Command::MemberSet(Member { id: MemberId(1), name: "m".into(), ..Member::default() })),
    ]
}
