//! KV as an ordinary tonic service.
//!
//! Most calls of this service are answered by the connection that they came on; this is the way of all others. Both go
//! through `decode` and `encode`, so the messages are brought back to bytes first.

use prost::Message;
use tonic::{Request, Response, Status};

use super::access::Credentials;
use super::decode::{self, TxnCall};
use super::range_stream::{self, Chunks};
use super::{Api, encode, guard, hot, status};
use crate::model::Reply;
use crate::node::Proposal;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::kv_server::Kv;

/// The service.
#[derive(Debug, Clone)]
pub(super) struct KvService(pub(super) Api);

impl KvService {
    async fn propose(&self, credentials: Credentials, proposal: Proposal) -> Result<Reply, Status> {
        let session = credentials.session(&self.0.node).await?;
        session.propose(proposal).await.map_err(|error| status::of(&error))
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let (node, credentials) = (&self.0.node, Credentials::of_request(&request));
        let query = decode::range(bytes_of(request))?;
        guard::admit_range(node, &query)?;
        let session = credentials.session(node).await?;
        let reply = session.range(&query).await.map_err(|error| status::of(&error))?;
        let message = encode::range(reply, node.header());
        // What answers most requests sends it as the client takes it; here it would be copied whole.
        let bytes = message.encoded_len();
        if bytes > hot::WHOLE_BYTES_MAX {
            return Err(status::sent_too_large(bytes, hot::WHOLE_BYTES_MAX));
        }
        Ok(Response::new(message))
    }

    type RangeStreamStream = Chunks;

    async fn range_stream(&self, request: Request<pb::RangeRequest>) -> Result<Response<Chunks>, Status> {
        let (node, headers) = (self.0.node.clone(), request.metadata().clone().into_headers());
        let credentials = Credentials::of_request(&request);
        let query = decode::range_stream(bytes_of(request))?;
        let session = credentials.session(&node).await?;
        let end = async move { guard::stream_end(node, &headers).await };
        Ok(Response::new(range_stream::serve(session, query, self.0.limits, end).await?))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let credentials = Credentials::of_request(&request);
        match self.propose(credentials, decode::put(bytes_of(request))?).await? {
            Reply::Put(reply) => Ok(Response::new(encode::put(reply, self.0.node.header()))),
            _ => Err(status::mismatch("a put")),
        }
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let credentials = Credentials::of_request(&request);
        match self.propose(credentials, decode::delete_range(bytes_of(request))?).await? {
            Reply::DeleteRange(reply) => Ok(Response::new(encode::delete_range(reply, self.0.node.header()))),
            _ => Err(status::mismatch("a delete")),
        }
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let (node, credentials) = (&self.0.node, Credentials::of_request(&request));
        let reply = match decode::txn(bytes_of(request), self.0.limits.txn_ops_max)? {
            TxnCall::Read(txn, consistency) => {
                let session = credentials.session(node).await?;
                session.read_txn(&txn, consistency).await.map_err(|error| status::of(&error))?
            }
            TxnCall::Write(proposal) => match self.propose(credentials, proposal).await? {
                Reply::Txn(reply) => reply,
                _ => return Err(status::mismatch("a txn")),
            },
        };
        Ok(Response::new(encode::txn(reply, node.header())))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let node = &self.0.node;
        let compact = decode::compact(bytes_of(request))?;
        let revision = node.compact(compact).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(pb::CompactionResponse { header: Some(encode::header(node.header(), revision)) }))
    }
}

fn bytes_of(request: Request<impl Message>) -> bytes::Bytes {
    request.into_inner().encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tonic::Code;

    use super::*;
    use crate::api::grpc::testing::started;
    use crate::proto::etcdserverpb::request_op::Request as Op;
    use crate::proto::etcdserverpb::response_op::Response as OpResponse;

    fn key(key: &'static str) -> Bytes {
        Bytes::from_static(key.as_bytes())
    }

    fn put(name: &'static str, value: &'static str) -> pb::PutRequest {
        pb::PutRequest { key: key(name), value: key(value), prev_kv: true, ..Default::default() }
    }

    fn get(name: &'static str) -> pb::RangeRequest {
        pb::RangeRequest { key: key(name), ..Default::default() }
    }

    #[tokio::test]
    async fn what_is_put_is_read_changed_and_deleted() {
        let kv = KvService(started().await);
        let first = kv.put(Request::new(put("k", "a"))).await.unwrap().into_inner();
        assert_eq!((first.header.unwrap().revision, first.prev_kv), (2, None));
        let second = kv.put(Request::new(put("k", "b"))).await.unwrap().into_inner();
        assert_eq!(second.prev_kv.unwrap().record().unwrap().value(), b"a");

        let read = kv.range(Request::new(get("k"))).await.unwrap().into_inner();
        let header = read.header.unwrap();
        assert_eq!((header.cluster_id, header.member_id, header.revision, read.count), (1, 2, 3, 1));
        assert!(header.raft_term > 0);
        let pair = read.kvs[0].record().unwrap();
        assert_eq!((pair.value(), pair.mod_revision().0), (&b"b"[..], 3));

        let delete = pb::DeleteRangeRequest { key: key("k"), prev_kv: true, ..Default::default() };
        let deleted = kv.delete_range(Request::new(delete)).await.unwrap().into_inner();
        assert_eq!((deleted.deleted, deleted.header.unwrap().revision, deleted.prev_kvs.len()), (1, 4, 1));
        let read = kv.range(Request::new(get("k"))).await.unwrap().into_inner();
        assert_eq!((read.count, read.kvs.len(), read.header.unwrap().revision), (0, 0, 4));
        kv.0.node.stop().await;
    }

    #[tokio::test]
    async fn txns_write_through_the_log_and_read_beside_it() {
        let kv = KvService(started().await);
        let op = |request| pb::RequestOp { request: Some(request) };
        let write = pb::TxnRequest {
            compare: vec![pb::Compare { key: key("k"), ..Default::default() }],
            success: vec![op(Op::RequestPut(put("k", "v"))), op(Op::RequestRange(get("k")))],
            failure: vec![],
        };
        let reply = kv.txn(Request::new(write)).await.unwrap().into_inner();
        assert!(reply.succeeded);
        assert_eq!((reply.header.unwrap().revision, reply.responses.len()), (2, 2));
        let read = pb::TxnRequest { success: vec![op(Op::RequestRange(get("k")))], ..Default::default() };
        let reply = kv.txn(Request::new(read)).await.unwrap().into_inner();
        assert_eq!(reply.header.unwrap().revision, 2);
        let Some(OpResponse::ResponseRange(range)) = &reply.responses[0].response else { panic!("{reply:?}") };
        assert_eq!((range.count, range.header.unwrap().member_id), (1, 0));
        kv.0.node.stop().await;
    }

    #[tokio::test]
    async fn compacted_and_future_revisions_are_out_of_range() {
        let kv = KvService(started().await);
        for value in ["a", "b", "c"] {
            kv.put(Request::new(put("k", value))).await.unwrap();
        }
        let compact = |revision| Request::new(pb::CompactionRequest { revision, physical: true });
        assert_eq!(kv.compact(compact(3)).await.unwrap().into_inner().header.unwrap().revision, 4);
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        let future = "etcdserver: mvcc: required revision is a future revision";
        let refused = [
            (kv.compact(compact(3)).await.map(|_| ()), compacted),
            (kv.compact(compact(9)).await.map(|_| ()), future),
            (kv.range(Request::new(pb::RangeRequest { revision: 2, ..get("k") })).await.map(|_| ()), compacted),
            (kv.range(Request::new(pb::RangeRequest { revision: 9, ..get("k") })).await.map(|_| ()), future),
        ];
        for (result, text) in refused {
            let status = result.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::OutOfRange, text));
        }
        let read = kv.range(Request::new(pb::RangeRequest { revision: 3, ..get("k") })).await.unwrap();
        assert_eq!(read.into_inner().kvs[0].record().unwrap().value(), b"b");
        kv.0.node.stop().await;
    }

    #[tokio::test]
    async fn a_lease_that_is_not_there_refuses_the_put() {
        let kv = KvService(started().await);
        let status = kv.put(Request::new(pb::PutRequest { lease: 5, ..put("k", "v") })).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "etcdserver: requested lease not found"));
        let keep = pb::PutRequest { key: key("k"), ignore_value: true, ..Default::default() };
        let status = kv.put(Request::new(keep)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "etcdserver: key not found"));
        kv.0.node.stop().await;
    }
}
