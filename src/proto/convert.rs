//! The way from etcd's messages to our values and back.
//!
//! Both the front, which checks requests, and the log, which carries them, read the same bytes through these. Nothing is
//! refused here: a number that etcd does not know becomes the value that stands for what etcd does with it.

use bytes::Bytes;

use super::authpb;
use super::etcdserverpb as pb;
use super::etcdserverpb::compare::{CompareResult as PbResult, CompareTarget as PbTarget, TargetUnion};
use super::etcdserverpb::range_request::{SortOrder as PbOrder, SortTarget as PbSort};
use super::etcdserverpb::request_op::Request;
use crate::model::{
    Alarm, AlarmKind, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, LeaseId, Permission,
    PermissionKind, Put, Range, SortOrder, SortTarget, Txn, TxnOp,
};

impl From<Permission> for authpb::Permission {
    fn from(permission: Permission) -> authpb::Permission {
        let Permission { kind, key, range_end } = permission;
        authpb::Permission { perm_type: kind.number(), key, range_end }
    }
}

impl From<authpb::Permission> for Permission {
    fn from(permission: authpb::Permission) -> Permission {
        let authpb::Permission { perm_type, key, range_end } = permission;
        Permission { kind: PermissionKind::from_number(perm_type), key, range_end }
    }
}

impl From<AlarmKind> for pb::AlarmType {
    fn from(kind: AlarmKind) -> pb::AlarmType {
        match kind {
            AlarmKind::NoSpace => pb::AlarmType::Nospace,
            AlarmKind::Corrupt => pb::AlarmType::Corrupt,
        }
    }
}

impl pb::AlarmType {
    /// The kind of alarm that is meant; `None` is none, or all.
    #[must_use]
    pub fn kind(self) -> Option<AlarmKind> {
        match self {
            pb::AlarmType::None => None,
            pb::AlarmType::Nospace => Some(AlarmKind::NoSpace),
            pb::AlarmType::Corrupt => Some(AlarmKind::Corrupt),
        }
    }
}

impl From<Alarm> for pb::AlarmMember {
    fn from(alarm: Alarm) -> pb::AlarmMember {
        pb::AlarmMember { member_id: alarm.member.0, alarm: pb::AlarmType::from(alarm.kind).into() }
    }
}

impl From<pb::PutRequest> for Put {
    fn from(request: pb::PutRequest) -> Put {
        let pb::PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease } = request;
        Put { key, value, lease: LeaseId(lease), prev_kv, ignore_value, ignore_lease }
    }
}

impl From<&Put> for pb::PutRequest {
    fn from(put: &Put) -> pb::PutRequest {
        let Put { key, value, lease, prev_kv, ignore_value, ignore_lease } = put.clone();
        pb::PutRequest { key, value, lease: lease.0, prev_kv, ignore_value, ignore_lease }
    }
}

impl From<pb::DeleteRangeRequest> for DeleteRange {
    fn from(request: pb::DeleteRangeRequest) -> DeleteRange {
        DeleteRange { keys: KeyRange::new(request.key, request.range_end), prev_kv: request.prev_kv }
    }
}

impl From<&DeleteRange> for pb::DeleteRangeRequest {
    fn from(delete: &DeleteRange) -> pb::DeleteRangeRequest {
        let DeleteRange { keys, prev_kv } = delete;
        pb::DeleteRangeRequest { key: keys.start.clone(), range_end: keys.range_end(), prev_kv: *prev_kv }
    }
}

/// An order or target that etcd does not know reads as the default; the front refuses it before.
impl From<pb::RangeRequest> for Range {
    fn from(request: pb::RangeRequest) -> Range {
        let sort_order = match request.sort_order() {
            PbOrder::None => SortOrder::None,
            PbOrder::Ascend => SortOrder::Ascend,
            PbOrder::Descend => SortOrder::Descend,
        };
        let sort_target = match request.sort_target() {
            PbSort::Key => SortTarget::Key,
            PbSort::Version => SortTarget::Version,
            PbSort::Create => SortTarget::Create,
            PbSort::Mod => SortTarget::Mod,
            PbSort::Value => SortTarget::Value,
        };
        Range {
            keys: KeyRange::new(request.key, request.range_end),
            limit: request.limit,
            revision: request.revision,
            sort_order,
            sort_target,
            serializable: request.serializable,
            keys_only: request.keys_only,
            count_only: request.count_only,
            min_mod_revision: request.min_mod_revision,
            max_mod_revision: request.max_mod_revision,
            min_create_revision: request.min_create_revision,
            max_create_revision: request.max_create_revision,
        }
    }
}

impl From<&Range> for pb::RangeRequest {
    fn from(range: &Range) -> pb::RangeRequest {
        let sort_order = match range.sort_order {
            SortOrder::None => PbOrder::None,
            SortOrder::Ascend => PbOrder::Ascend,
            SortOrder::Descend => PbOrder::Descend,
        };
        let sort_target = match range.sort_target {
            SortTarget::Key => PbSort::Key,
            SortTarget::Version => PbSort::Version,
            SortTarget::Create => PbSort::Create,
            SortTarget::Mod => PbSort::Mod,
            SortTarget::Value => PbSort::Value,
        };
        pb::RangeRequest {
            key: range.keys.start.clone(),
            range_end: range.keys.range_end(),
            limit: range.limit,
            revision: range.revision,
            sort_order: sort_order.into(),
            sort_target: sort_target.into(),
            serializable: range.serializable,
            keys_only: range.keys_only,
            count_only: range.count_only,
            min_mod_revision: range.min_mod_revision,
            max_mod_revision: range.max_mod_revision,
            min_create_revision: range.min_create_revision,
            max_create_revision: range.max_create_revision,
        }
    }
}

impl From<pb::TxnRequest> for Txn {
    fn from(request: pb::TxnRequest) -> Txn {
        let ops = |ops: Vec<pb::RequestOp>| ops.into_iter().filter_map(op).collect();
        Txn {
            compare: request.compare.into_iter().map(Compare::from).collect(),
            success: ops(request.success),
            failure: ops(request.failure),
        }
    }
}

/// `None` for an operation without a request; the front refuses it before.
fn op(op: pb::RequestOp) -> Option<TxnOp> {
    Some(match op.request? {
        Request::RequestRange(range) => TxnOp::Range(range.into()),
        Request::RequestPut(put) => TxnOp::Put(put.into()),
        Request::RequestDeleteRange(delete) => TxnOp::DeleteRange(delete.into()),
        Request::RequestTxn(txn) => TxnOp::Txn(txn.into()),
    })
}

impl From<&Txn> for pb::TxnRequest {
    fn from(txn: &Txn) -> pb::TxnRequest {
        let ops = |ops: &[TxnOp]| ops.iter().map(pb::RequestOp::from).collect();
        pb::TxnRequest {
            compare: txn.compare.iter().map(pb::Compare::from).collect(),
            success: ops(&txn.success),
            failure: ops(&txn.failure),
        }
    }
}

impl From<&TxnOp> for pb::RequestOp {
    fn from(op: &TxnOp) -> pb::RequestOp {
        let request = match op {
            TxnOp::Range(range) => Request::RequestRange(range.into()),
            TxnOp::Put(put) => Request::RequestPut(put.into()),
            TxnOp::DeleteRange(delete) => Request::RequestDeleteRange(delete.into()),
            TxnOp::Txn(txn) => Request::RequestTxn(txn.into()),
        };
        pb::RequestOp { request: Some(request) }
    }
}

/// An operand of another kind than the target counts as zero or empty.
impl From<pb::Compare> for Compare {
    fn from(compare: pb::Compare) -> Compare {
        let result = match PbResult::try_from(compare.result) {
            Ok(PbResult::Equal) => CompareResult::Equal,
            Ok(PbResult::Greater) => CompareResult::Greater,
            Ok(PbResult::Less) => CompareResult::Less,
            Ok(PbResult::NotEqual) => CompareResult::NotEqual,
            Err(_) => CompareResult::Unknown,
        };
        let operand = compare.target_union;
        let target = match PbTarget::try_from(compare.target) {
            Ok(PbTarget::Version) => CompareTarget::Version(match operand {
                Some(TargetUnion::Version(version)) => version,
                _ => 0,
            }),
            Ok(PbTarget::Create) => CompareTarget::Create(match operand {
                Some(TargetUnion::CreateRevision(revision)) => revision,
                _ => 0,
            }),
            Ok(PbTarget::Mod) => CompareTarget::Mod(match operand {
                Some(TargetUnion::ModRevision(revision)) => revision,
                _ => 0,
            }),
            Ok(PbTarget::Value) => CompareTarget::Value(match operand {
                Some(TargetUnion::Value(value)) => value,
                _ => Bytes::new(),
            }),
            Ok(PbTarget::Lease) => CompareTarget::Lease(match operand {
                Some(TargetUnion::Lease(lease)) => lease,
                _ => 0,
            }),
            Err(_) => CompareTarget::Unknown,
        };
        Compare { keys: KeyRange::new(compare.key, compare.range_end), result, target }
    }
}

impl From<&Compare> for pb::Compare {
    fn from(compare: &Compare) -> pb::Compare {
        /// A number that no version of etcd gives a meaning to.
        const UNKNOWN: i32 = i32::MAX;
        let result = match compare.result {
            CompareResult::Equal => PbResult::Equal.into(),
            CompareResult::Greater => PbResult::Greater.into(),
            CompareResult::Less => PbResult::Less.into(),
            CompareResult::NotEqual => PbResult::NotEqual.into(),
            CompareResult::Unknown => UNKNOWN,
        };
        let (target, target_union) = match &compare.target {
            CompareTarget::Version(version) => (PbTarget::Version.into(), Some(TargetUnion::Version(*version))),
            CompareTarget::Create(revision) => (PbTarget::Create.into(), Some(TargetUnion::CreateRevision(*revision))),
            CompareTarget::Mod(revision) => (PbTarget::Mod.into(), Some(TargetUnion::ModRevision(*revision))),
            CompareTarget::Value(value) => (PbTarget::Value.into(), Some(TargetUnion::Value(value.clone()))),
            CompareTarget::Lease(lease) => (PbTarget::Lease.into(), Some(TargetUnion::Lease(*lease))),
            CompareTarget::Unknown => (UNKNOWN, None),
        };
        let (key, range_end) = (compare.keys.start.clone(), compare.keys.range_end());
        pb::Compare { result, target, key, range_end, target_union }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::model::RangeEnd;

    fn range() -> Range {
        Range {
            keys: KeyRange::prefix(Bytes::from_static(b"dir/")),
            limit: -1,
            revision: 2,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            serializable: true,
            keys_only: true,
            count_only: true,
            min_mod_revision: 3,
            max_mod_revision: 4,
            min_create_revision: 5,
            max_create_revision: 6,
        }
    }

    fn put() -> Put {
        Put {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            lease: LeaseId(-7),
            prev_kv: true,
            ignore_value: true,
            ignore_lease: true,
        }
    }

    fn compare(result: CompareResult, target: CompareTarget) -> Compare {
        Compare { keys: KeyRange::new(Bytes::from_static(b"a"), Bytes::from_static(&[0])), result, target }
    }

    /// The message, written and read as on the wire.
    fn sent<M: Message + Default>(message: M) -> M {
        M::decode(message.encode_to_vec().as_slice()).expect("it was just encoded")
    }

    #[test]
    fn ranges_survive_in_every_order() {
        for sort_order in [SortOrder::None, SortOrder::Ascend, SortOrder::Descend] {
            for sort_target in
                [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value]
            {
                let range = Range { sort_order, sort_target, ..range() };
                assert_eq!(Range::from(sent(pb::RangeRequest::from(&range))), range);
            }
        }
    }

    #[test]
    fn comparisons_survive() {
        let targets = [
            CompareTarget::Version(1),
            CompareTarget::Create(2),
            CompareTarget::Mod(-3),
            CompareTarget::Value(Bytes::from_static(b"v")),
            CompareTarget::Lease(0),
            CompareTarget::Unknown,
        ];
        let results = [
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
            CompareResult::Unknown,
        ];
        for target in targets {
            for result in results {
                let compare = compare(result, target.clone());
                assert_eq!(Compare::from(sent(pb::Compare::from(&compare))), compare);
            }
        }
    }

    #[test]
    fn an_operand_of_another_kind_is_zero_or_empty() {
        for (target, expected) in [
            (PbTarget::Version, CompareTarget::Version(0)),
            (PbTarget::Create, CompareTarget::Create(0)),
            (PbTarget::Mod, CompareTarget::Mod(0)),
            (PbTarget::Value, CompareTarget::Value(Bytes::new())),
        ] {
            let target_union = Some(TargetUnion::Lease(9));
            let message = pb::Compare { target: target.into(), target_union, ..pb::Compare::default() };
            assert_eq!(Compare::from(message).target, expected);
        }
    }

    #[test]
    fn nested_txns_survive() {
        let delete = |keys| TxnOp::DeleteRange(DeleteRange { keys, prev_kv: true });
        let inner =
            Txn { compare: vec![], success: vec![TxnOp::Put(put())], failure: vec![TxnOp::Txn(Txn::default())] };
        let txn = Txn {
            compare: vec![compare(CompareResult::Less, CompareTarget::Mod(8))],
            success: vec![TxnOp::Range(range()), TxnOp::Txn(inner), TxnOp::Put(Put::default())],
            failure: vec![
                delete(KeyRange::single(Bytes::from_static(b"k"))),
                delete(KeyRange { start: Bytes::new(), end: RangeEnd::Unbounded }),
            ],
        };
        assert_eq!(Txn::from(sent(pb::TxnRequest::from(&txn))), txn);
    }

    #[test]
    fn what_etcd_has_no_meaning_for_is_passed_over() {
        let range = Range::from(pb::RangeRequest { sort_order: 9, sort_target: -1, ..pb::RangeRequest::default() });
        assert_eq!((range.sort_order, range.sort_target), (SortOrder::None, SortTarget::Key));
        let txn = pb::TxnRequest { success: vec![pb::RequestOp { request: None }], ..pb::TxnRequest::default() };
        assert_eq!(Txn::from(txn), Txn::default());
    }
}
