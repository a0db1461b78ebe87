//! Replies made messages.
//!
//! Pairs are stored as the bytes that clients receive: a message here only refers to them.

use crate::model::{DeleteReply, OpReply, PutReply, RangeReply, Record, Revision, TxnReply};
use crate::node::Header;
use crate::proto::KeyValue;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::response_op::Response;

/// Who answers, and at which revision.
pub(crate) fn header(h: Header, revision: Revision) -> pb::ResponseHeader {
    pb::ResponseHeader { cluster_id: h.cluster.0, member_id: h.member.0, revision: revision.0, raft_term: h.term }
}

/// The answer to a range.
pub(crate) fn range(reply: RangeReply, h: Header) -> pb::RangeResponse {
    let header = header(h, reply.revision);
    range_with(reply, header)
}

/// Pairs of an answer to a range that is not at its end.
pub(crate) fn range_part(kvs: Vec<Record>) -> pb::RangeResponse {
    pb::RangeResponse { kvs: pairs(kvs), ..pb::RangeResponse::default() }
}

/// The answer to a put.
pub(crate) fn put(reply: PutReply, h: Header) -> pb::PutResponse {
    let header = header(h, reply.revision);
    put_with(reply, header)
}

/// The answer to a delete.
pub(crate) fn delete_range(reply: DeleteReply, h: Header) -> pb::DeleteRangeResponse {
    let header = header(h, reply.revision);
    delete_range_with(reply, header)
}

/// The answer to a txn.
pub(crate) fn txn(reply: TxnReply, h: Header) -> pb::TxnResponse {
    let header = header(h, reply.revision);
    txn_with(reply, header)
}

fn range_with(reply: RangeReply, header: pb::ResponseHeader) -> pb::RangeResponse {
    let RangeReply { revision: _, kvs, more, count } = reply;
    pb::RangeResponse { header: Some(header), kvs: pairs(kvs), more, count }
}

fn put_with(reply: PutReply, header: pb::ResponseHeader) -> pb::PutResponse {
    pb::PutResponse { header: Some(header), prev_kv: reply.prev.map(KeyValue::from) }
}

fn delete_range_with(reply: DeleteReply, header: pb::ResponseHeader) -> pb::DeleteRangeResponse {
    let DeleteReply { revision: _, deleted, prev } = reply;
    pb::DeleteRangeResponse { header: Some(header), deleted, prev_kvs: pairs(prev) }
}

fn txn_with(reply: TxnReply, header: pb::ResponseHeader) -> pb::TxnResponse {
    let TxnReply { revision: _, succeeded, responses } = reply;
    pb::TxnResponse { header: Some(header), succeeded, responses: responses.into_iter().map(op).collect() }
}

/// Within a txn a header has only the revision; that of a nested txn is there, and empty.
fn op(reply: OpReply) -> pb::ResponseOp {
    let at = |revision: Revision| pb::ResponseHeader { revision: revision.0, ..pb::ResponseHeader::default() };
    let response = match reply {
        OpReply::Range(reply) => {
            let header = at(reply.revision);
            Response::ResponseRange(range_with(reply, header))
        }
        OpReply::Put(reply) => {
            let header = at(reply.revision);
            Response::ResponsePut(put_with(reply, header))
        }
        OpReply::DeleteRange(reply) => {
            let header = at(reply.revision);
            Response::ResponseDeleteRange(delete_range_with(reply, header))
        }
        OpReply::Txn(reply) => Response::ResponseTxn(txn_with(reply, pb::ResponseHeader::default())),
    };
    pb::ResponseOp { response: Some(response) }
}

fn pairs(records: Vec<Record>) -> Vec<KeyValue> {
    records.into_iter().map(KeyValue::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, ClusterId, LeaseId, MemberId};

    const H: Header = Header { cluster: ClusterId(7), member: MemberId(u64::MAX), term: 3 };

    fn record() -> Record {
        Record::new(&model::KeyValue {
            key: b"k",
            value: b"v",
            create_revision: Revision(2),
            mod_revision: Revision(4),
            version: 2,
            lease: LeaseId(9),
        })
    }

    fn whole(revision: i64) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { cluster_id: 7, member_id: u64::MAX, revision, raft_term: 3 })
    }

    fn only(revision: i64) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { revision, ..Default::default() })
    }

    #[test]
    fn replies_keep_what_they_say() {
        let reply = RangeReply { revision: Revision(5), kvs: vec![record()], more: true, count: 8 };
        let message = range(reply, H);
        assert_eq!((message.header, message.more, message.count), (whole(5), true, 8));
        assert_eq!(message.kvs, [KeyValue::from(record())]);

        let message = put(PutReply { revision: Revision(6), prev: None }, H);
        assert_eq!((message.header, message.prev_kv), (whole(6), None));
        let message = put(PutReply { revision: Revision(6), prev: Some(record()) }, H);
        assert_eq!(message.prev_kv, Some(record().into()));

        let message = delete_range(DeleteReply { revision: Revision(7), deleted: 1, prev: vec![record()] }, H);
        assert_eq!((message.header, message.deleted), (whole(7), 1));
        assert_eq!(message.prev_kvs, [KeyValue::from(record())]);
    }

    #[test]
    fn headers_within_a_txn_have_only_the_revision_and_those_of_nested_txns_nothing() {
        let nested = TxnReply {
            revision: Revision(9),
            succeeded: true,
            responses: vec![OpReply::Put(PutReply { revision: Revision(9), prev: None })],
        };
        let reply = TxnReply {
            revision: Revision(9),
            succeeded: false,
            responses: vec![
                OpReply::Range(RangeReply { revision: Revision(8), kvs: vec![], more: false, count: 0 }),
                OpReply::DeleteRange(DeleteReply { revision: Revision(9), deleted: 2, prev: vec![] }),
                OpReply::Txn(nested),
            ],
        };
        let message = txn(reply, H);
        assert_eq!((message.header, message.succeeded), (whole(9), false));
        let responses: Vec<_> = message.responses.into_iter().map(|op| op.response.unwrap()).collect();
        let [Response::ResponseRange(range), Response::ResponseDeleteRange(delete), Response::ResponseTxn(nested)] =
            responses.as_slice()
        else {
            panic!("one answer of the right kind for each operation: {responses:?}");
        };
        assert_eq!((range.header, delete.header, nested.header), (only(8), only(9), only(0)));
        let Some(Response::ResponsePut(put)) = &nested.responses[0].response else { panic!("a put: {nested:?}") };
        assert_eq!(put.header, only(9));
    }
}
