//! Requests: checked once, and made our values.
//!
//! Each function takes the bytes of the message as its client sent them. What changes the state is checked here and then
//! travels into the log as those same bytes: apply reads them by the same code, so it sees what was checked.
//!
//! Checks come in etcd's order, since the first one that fails decides the answer.
//!
//! Source: etcd, `server/etcdserver/api/v3rpc/key.go`.

use bytes::Bytes;
use prost::Message;
use tonic::Status;

use super::status::{self, Row};
use super::txn_overlap;
use crate::model::{Compact, Range, Revision, SortOrder as Order, SortTarget as Target, Txn};
use crate::node::{Consistency, Proposal};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;

/// How a txn is to be carried out.
#[derive(Debug)]
pub(crate) enum TxnCall {
    /// It may change something: it goes through the log.
    Write(Proposal),
    /// It has only ranges, in both branches: it is read from the local state.
    Read(Txn, Consistency),
}

/// Reads a `RangeRequest`.
///
/// # Errors
/// A key is missing, or a sort order or target has no meaning.
pub(crate) fn range(body: Bytes) -> Result<Range, Status> {
    let request = message::<pb::RangeRequest>(body)?;
    check_range(&request)?;
    Ok(request.into())
}

/// Reads a `RangeRequest` that is to be answered in chunks.
///
/// # Errors
/// As [`range`]; then pairs are wanted in another order than that of keys, or only those of some revisions.
pub(crate) fn range_stream(body: Bytes) -> Result<Range, Status> {
    let range = range(body)?;
    // Without an order any target will do: etcd then sorts each chunk by itself.
    if !matches!((range.sort_order, range.sort_target), (Order::None, _) | (Order::Ascend, Target::Key)) {
        return Err(status::STREAM_IN_ORDER.into());
    }
    if range.has_filter() {
        return Err(status::STREAM_WITH_FILTERS.into());
    }
    Ok(range)
}

/// Reads a `PutRequest`.
///
/// # Errors
/// The key is missing, or a value or lease is given that is to be kept as it is.
pub(crate) fn put(body: Bytes) -> Result<Proposal, Status> {
    check_put(&message(body.clone())?)?;
    Ok(Proposal::put(body))
}

/// Reads a `DeleteRangeRequest`.
///
/// # Errors
/// The key is missing.
pub(crate) fn delete_range(body: Bytes) -> Result<Proposal, Status> {
    check_delete(&message(body.clone())?)?;
    Ok(Proposal::delete_range(body))
}

/// Reads a `TxnRequest` with at most `ops_max` operations.
///
/// A txn without any operation counts as serializable, whatever it compares: so it does in etcd.
///
/// # Errors
/// Too many operations, a fault in one of them, or two that may write the same key.
pub(crate) fn txn(body: Bytes, ops_max: usize) -> Result<TxnCall, Status> {
    let request = message::<pb::TxnRequest>(body.clone())?;
    check_txn(&request, ops_max)?;
    if txn_overlap::writes_a_key_twice(&request.success) || txn_overlap::writes_a_key_twice(&request.failure) {
        return Err(status::DUPLICATE_KEY.into());
    }
    Ok(match read_consistency(&request) {
        Some(consistency) => TxnCall::Read(request.into(), consistency),
        None => TxnCall::Write(Proposal::txn(body)),
    })
}

/// Reads a `CompactionRequest`; every number is one.
///
/// # Errors
/// Only if the bytes are no such message.
pub(crate) fn compact(body: Bytes) -> Result<Compact, Status> {
    let pb::CompactionRequest { revision, physical } = message(body)?;
    Ok(Compact { revision: Revision(revision), physical })
}

/// Reads a message. It is nested at most as deep as prost allows (100 messages, which is about 50 txns within one
/// another), so whatever walks it by recursion ends well within its stack.
fn message<M: Message + Default>(body: Bytes) -> Result<M, Status> {
    M::decode(body).map_err(|error| status::malformed(&error))
}

fn check_range(request: &pb::RangeRequest) -> Result<(), Row> {
    if request.key.is_empty() {
        return Err(status::EMPTY_KEY);
    }
    if SortOrder::try_from(request.sort_order).is_err() || SortTarget::try_from(request.sort_target).is_err() {
        return Err(status::INVALID_SORT_OPTION);
    }
    Ok(())
}

fn check_put(request: &pb::PutRequest) -> Result<(), Row> {
    if request.key.is_empty() {
        return Err(status::EMPTY_KEY);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(status::VALUE_PROVIDED);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(status::LEASE_PROVIDED);
    }
    Ok(())
}

fn check_delete(request: &pb::DeleteRangeRequest) -> Result<(), Row> {
    if request.key.is_empty() { Err(status::EMPTY_KEY) } else { Ok(()) }
}

/// A txn within a txn may have only as many operations as the outer one leaves of `ops_max`.
fn check_txn(request: &pb::TxnRequest, ops_max: usize) -> Result<(), Row> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(ops_left) = ops_max.checked_sub(ops) else {
        return Err(status::TOO_MANY_OPS);
    };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(status::EMPTY_KEY);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => check_delete(delete)?,
            Some(Request::RequestTxn(nested)) => check_txn(nested, ops_left)?,
            None => return Err(status::KEY_NOT_FOUND),
        }
    }
    Ok(())
}

/// What a txn of ranges alone must have seen; `None` if it has anything else.
fn read_consistency(request: &pb::TxnRequest) -> Option<Consistency> {
    let mut consistency = Consistency::Serializable;
    for op in request.success.iter().chain(&request.failure) {
        let Some(Request::RequestRange(range)) = &op.request else { return None };
        if !range.serializable {
            consistency = Consistency::Linearizable;
        }
    }
    Some(consistency)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const OPS_MAX: usize = 128;

    fn key(key: &'static str) -> Bytes {
        Bytes::from_static(key.as_bytes())
    }

    fn bytes(message: &impl Message) -> Bytes {
        message.encode_to_vec().into()
    }

    fn range_op(serializable: bool) -> pb::RequestOp {
        let range = pb::RangeRequest { key: key("k"), serializable, ..Default::default() };
        pb::RequestOp { request: Some(Request::RequestRange(range)) }
    }

    fn put_op(name: &'static str) -> pb::RequestOp {
        let put = pb::PutRequest { key: key(name), ..Default::default() };
        pb::RequestOp { request: Some(Request::RequestPut(put)) }
    }

    fn txn_op(txn: pb::TxnRequest) -> pb::RequestOp {
        pb::RequestOp { request: Some(Request::RequestTxn(txn)) }
    }

    fn success(ops: Vec<pb::RequestOp>) -> pb::TxnRequest {
        pb::TxnRequest { success: ops, ..Default::default() }
    }

    fn compares(count: usize) -> Vec<pb::Compare> {
        vec![pb::Compare { key: key("k"), ..Default::default() }; count]
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Status>, row: Row) {
        let (found, expected) = (result.expect_err("it is refused"), Status::from(row));
        assert_eq!((found.code(), found.message()), (expected.code(), expected.message()));
    }

    #[test]
    fn a_range_needs_a_key_before_it_needs_a_sort_order_with_a_meaning() {
        let odd = pb::RangeRequest { sort_order: 3, ..Default::default() };
        refused(range(bytes(&odd)), status::EMPTY_KEY);
        let odd = pb::RangeRequest { key: key("k"), ..odd };
        refused(range(bytes(&odd)), status::INVALID_SORT_OPTION);
        let odd = pb::RangeRequest { sort_order: 2, sort_target: 5, ..odd };
        refused(range(bytes(&odd)), status::INVALID_SORT_OPTION);
        let odd = pb::RangeRequest { sort_order: -1, sort_target: 0, ..odd };
        refused(range(bytes(&odd)), status::INVALID_SORT_OPTION);
        let even = pb::RangeRequest { sort_order: 2, sort_target: 4, limit: -1, ..odd };
        assert_eq!(range(bytes(&even)).unwrap(), Range::from(even));
    }

    #[test]
    fn a_range_in_chunks_is_in_key_order_and_has_no_filter() {
        let odd = pb::RangeRequest { sort_order: 2, max_mod_revision: 1, ..Default::default() };
        refused(range_stream(bytes(&odd)), status::EMPTY_KEY);
        let odd = pb::RangeRequest { key: key("k"), ..odd };
        refused(range_stream(bytes(&pb::RangeRequest { sort_target: 5, ..odd.clone() })), status::INVALID_SORT_OPTION);
        refused(range_stream(bytes(&pb::RangeRequest { sort_order: 3, ..odd.clone() })), status::INVALID_SORT_OPTION);
        for (sort_order, sort_target) in [(2, 0), (2, 1), (1, 1), (1, 2), (1, 3), (1, 4)] {
            let odd = pb::RangeRequest { sort_order, sort_target, ..odd.clone() };
            refused(range_stream(bytes(&odd)), status::STREAM_IN_ORDER);
        }
        let even = pb::RangeRequest { sort_order: 1, max_mod_revision: 0, ..odd };
        for filtered in [
            pb::RangeRequest { min_mod_revision: 1, ..even.clone() },
            pb::RangeRequest { max_mod_revision: -1, ..even.clone() },
            pb::RangeRequest { min_create_revision: 1, ..even.clone() },
            pb::RangeRequest { max_create_revision: 1, ..even.clone() },
        ] {
            refused(range_stream(bytes(&filtered)), status::STREAM_WITH_FILTERS);
        }
        for (sort_order, sort_target) in [(0, 0), (0, 1), (0, 4), (1, 0)] {
            let even = pb::RangeRequest { sort_order, sort_target, ..even.clone() };
            assert_eq!(range_stream(bytes(&even)).unwrap(), Range::from(even));
        }
    }

    #[test]
    fn a_put_is_checked_for_key_then_value_then_lease() {
        let mut request =
            pb::PutRequest { value: key("v"), lease: 1, ignore_value: true, ignore_lease: true, ..Default::default() };
        refused(put(bytes(&request)), status::EMPTY_KEY);
        request.key = key("k");
        refused(put(bytes(&request)), status::VALUE_PROVIDED);
        request.value.clear();
        refused(put(bytes(&request)), status::LEASE_PROVIDED);
        request.lease = 0;
        put(bytes(&request)).unwrap();
    }

    #[test]
    fn a_delete_needs_a_key() {
        let request = pb::DeleteRangeRequest { range_end: key("z"), ..Default::default() };
        refused(delete_range(bytes(&request)), status::EMPTY_KEY);
        delete_range(bytes(&pb::DeleteRangeRequest { key: key("k"), ..request })).unwrap();
    }

    #[test]
    fn what_a_client_sent_is_proposed_byte_for_byte() {
        let mut sent = pb::PutRequest { key: key("k"), ..Default::default() }.encode_to_vec();
        // A field of a later version, and a second key, which counts instead of the first.
        prost::encoding::string::encode(99, &"later".to_owned(), &mut sent);
        prost::encoding::string::encode(1, &"other".to_owned(), &mut sent);
        let proposal = put(sent.clone().into()).unwrap();
        assert_eq!(format!("{proposal:?}"), format!("{:?}", Proposal::put(sent.into())));
    }

    #[test]
    fn malformed_messages_are_an_internal_error() {
        let status = range(Bytes::from_static(b"\x0a")).unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().starts_with("grpc: error unmarshalling request: "), "{}", status.message());
    }

    #[test]
    fn the_longest_list_of_a_txn_counts() {
        let request = pb::TxnRequest { compare: compares(OPS_MAX), ..Default::default() };
        txn(bytes(&request), OPS_MAX).unwrap();
        let request = pb::TxnRequest { compare: compares(OPS_MAX + 1), ..Default::default() };
        refused(txn(bytes(&request), OPS_MAX), status::TOO_MANY_OPS);
        refused(txn(bytes(&success(vec![range_op(true); 3])), 2), status::TOO_MANY_OPS);
        let request = pb::TxnRequest { failure: vec![range_op(true); 3], ..Default::default() };
        refused(txn(bytes(&request), 2), status::TOO_MANY_OPS);
    }

    #[test]
    fn a_nested_txn_has_what_the_outer_one_leaves() {
        let nested = |count| success(vec![txn_op(pb::TxnRequest { compare: compares(count), ..Default::default() })]);
        txn(bytes(&nested(2)), 3).unwrap();
        refused(txn(bytes(&nested(3)), 3), status::TOO_MANY_OPS);
        // Nothing is left, and an empty one takes nothing.
        txn(bytes(&success(vec![txn_op(pb::TxnRequest::default())])), 1).unwrap();
    }

    #[test]
    fn comparisons_are_checked_before_operations_and_success_before_failure() {
        let bad_sort = pb::RangeRequest { key: key("k"), sort_order: 9, ..Default::default() };
        let bad_sort = pb::RequestOp { request: Some(Request::RequestRange(bad_sort)) };
        let nothing = pb::RequestOp { request: None };
        let mut request =
            pb::TxnRequest { compare: vec![pb::Compare::default()], success: vec![bad_sort], failure: vec![nothing] };
        refused(txn(bytes(&request), OPS_MAX), status::EMPTY_KEY);
        request.compare.clear();
        refused(txn(bytes(&request), OPS_MAX), status::INVALID_SORT_OPTION);
        request.success.clear();
        refused(txn(bytes(&request), OPS_MAX), status::KEY_NOT_FOUND);
    }

    #[test]
    fn an_operation_is_checked_before_duplicates() {
        let request = success(vec![put_op("k"), put_op("k"), put_op("")]);
        refused(txn(bytes(&request), OPS_MAX), status::EMPTY_KEY);
        refused(txn(bytes(&success(vec![put_op("k"), put_op("k")])), OPS_MAX), status::DUPLICATE_KEY);
        let request = pb::TxnRequest { failure: vec![put_op("k"), put_op("k")], ..Default::default() };
        refused(txn(bytes(&request), OPS_MAX), status::DUPLICATE_KEY);
        let request = pb::TxnRequest { success: vec![put_op("k")], failure: vec![put_op("k")], ..Default::default() };
        assert!(matches!(txn(bytes(&request), OPS_MAX).unwrap(), TxnCall::Write(_)));
    }

    #[test]
    fn only_a_txn_of_ranges_is_read_locally() {
        let consistency = |request: &pb::TxnRequest| match txn(bytes(request), OPS_MAX).unwrap() {
            TxnCall::Read(read, consistency) => {
                assert_eq!(read, Txn::from(request.clone()));
                Some(consistency)
            }
            TxnCall::Write(_) => None,
        };
        let branches = |success, failure| pb::TxnRequest { compare: compares(1), success, failure };
        assert_eq!(consistency(&branches(vec![], vec![])), Some(Consistency::Serializable));
        let serializable = branches(vec![range_op(true)], vec![range_op(true)]);
        assert_eq!(consistency(&serializable), Some(Consistency::Serializable));
        let linearizable = branches(vec![range_op(true)], vec![range_op(false)]);
        assert_eq!(consistency(&linearizable), Some(Consistency::Linearizable));
        assert_eq!(consistency(&branches(vec![range_op(true)], vec![put_op("k")])), None);
        let nested_read = branches(vec![txn_op(success(vec![range_op(true)]))], vec![]);
        assert_eq!(consistency(&nested_read), None);
    }

    /// A txn in a txn in a txn, as deep as a message can hold them, must end in an answer and not in a stack overflow.
    #[test]
    fn endless_nesting_is_refused() {
        let mut request = pb::TxnRequest::default();
        for _ in 0..40 {
            request = success(vec![txn_op(request)]);
        }
        assert!(matches!(txn(bytes(&request), OPS_MAX).unwrap(), TxnCall::Write(_)));
        refused(txn(bytes(&request), 39), status::TOO_MANY_OPS);

        // Written from the inside out: a message of this depth cannot be built as a value.
        let mut sent = Vec::new();
        for _ in 0..20_000 {
            let mut op = Vec::new();
            prost::encoding::bytes::encode(4, &sent, &mut op);
            sent.clear();
            prost::encoding::bytes::encode(2, &op, &mut sent);
        }
        assert_eq!(txn(sent.into(), usize::MAX).unwrap_err().code(), Code::Internal);
    }
}
