//! RangeStream: a range in chunks.
//!
//! Put together, the chunks are the answer to the same Range: pairs in all of them, header, `more` and `count` in the
//! last. A chunk is read when the client has taken the one before. In between only the place is kept where to go on, so a
//! client that takes its time costs no memory and holds nothing back; a compaction that overtakes it ends the stream.
//!
//! ```text
//!   client takes a chunk ──> Reading ── Session::range_part ──> the next chunk, and where it ended
//!                               └── so many keys: 10, then what makes chunks about as large as the largest request
//! ```
//!
//! Source: etcd API reference, `RangeStreamResponse`; server/etcdserver/v3_server.go of etcd 3.7.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt};
use prost::Message;
use tokio::task::JoinSet;
use tonic::Status;

use super::{Limits, encode, status};
use crate::model::Range;
use crate::node::{PartLimits, RangePart, RangePlace, Session};
use crate::proto::etcdserverpb as pb;

/// Keys of the first chunk. Source: etcd, `initialStreamChunkLimit`.
const FIRST_KEYS: usize = 10;

/// The chunks of one call.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send>>;

/// Reads `query` in chunks, until `end` says why not to any more. `decode` has checked it.
///
/// The first chunk is read at once: a range that is refused is refused before the answer begins.
///
/// # Errors
/// Why there is no first chunk.
pub(super) async fn serve(
    session: Session,
    query: Range,
    limits: Limits,
    end: impl Future<Output = Status> + Send + 'static,
) -> Result<Chunks, Status> {
    let (first, rest) = Reading::begin(session, query, limits, end).next().await?;
    let rest = stream::try_unfold(rest, |reading| async {
        let Some(reading) = reading else { return Ok(None) };
        reading.next().await.map(Some)
    });
    Ok(Box::pin(stream::once(std::future::ready(Ok(first))).chain(rest)))
}

/// A range that is being read.
struct Reading {
    node: Session,
    query: Range,
    /// Where the next chunk begins.
    place: RangePlace,
    /// Pairs that it may have.
    keys: usize,
    /// How large chunks should be.
    bytes: usize,
    /// The task that waits for what ends the call from outside: it must see that also while the client takes nothing.
    end: JoinSet<Status>,
}

impl Reading {
    fn begin(
        session: Session,
        query: Range,
        limits: Limits,
        end: impl Future<Output = Status> + Send + 'static,
    ) -> Reading {
        let mut task = JoinSet::new();
        task.spawn(end);
        Reading {
            node: session,
            query,
            place: RangePlace::default(),
            keys: FIRST_KEYS,
            bytes: limits.request_bytes_max,
            end: task,
        }
    }

    /// Reads the next chunk; gives itself back if another follows.
    async fn next(mut self) -> Result<(pb::RangeStreamResponse, Option<Reading>), Status> {
        // Pairs may be much larger than those before: then the chunk ends where etcd would find it too large.
        let limits = PartLimits { keys: self.keys, bytes: self.bytes.saturating_mul(2) };
        let part = tokio::select! {
            biased;
            Some(end) = self.end.join_next() => {
                return Err(end.unwrap_or_else(|error| Status::internal(error.to_string())));
            }
            part = self.node.range_part(&self.query, &self.place, limits) => part.map_err(|error| status::of(&error))?,
        };
        Ok(match part {
            RangePart::Last(reply) => (chunk(encode::range(reply, self.node.header())), None),
            RangePart::More { kvs, next } => {
                let part = encode::range_part(kvs);
                self.keys = keys_of_next(self.keys, part.encoded_len(), self.bytes);
                self.place = next;
                (chunk(part), Some(self))
            }
        })
    }
}

fn chunk(part: pb::RangeResponse) -> pb::RangeStreamResponse {
    pb::RangeStreamResponse { range_response: Some(part) }
}

/// How many keys come after a chunk that could have had `keys` and has `bytes`, so that chunks of `aim` bytes come near.
///
/// Source: etcd, `adjustChunkLimit`.
fn keys_of_next(keys: usize, bytes: usize, aim: usize) -> usize {
    if bytes < aim / 2 {
        keys.saturating_mul(2)
    } else if bytes > aim.saturating_mul(2) {
        (keys / 2).max(1)
    } else {
        keys
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;
    use tonic::{Code, Request};

    use super::*;
    use crate::api::grpc::kv::KvService;
    use crate::api::grpc::testing::{CLUSTER, MEMBER, api, soon};
    use crate::model::{Command, Compact, DeleteRange, KeyRange, LeaseId, Put, RangeEnd, Revision, Txn, TxnOp};
    use crate::node::Proposal;
    use crate::proto::etcdserverpb::kv_server::Kv;

    /// Keys that the store of a test begins with.
    const KEYS: i64 = 300;

    fn name(key: i64) -> Bytes {
        format!("{key:04}").into()
    }

    fn put(key: i64, value: &[u8]) -> Put {
        let lease = if key % 3 == 0 { LeaseId(1) } else { LeaseId::NONE };
        Put { key: name(key), value: Bytes::copy_from_slice(value), lease, ..Put::default() }
    }

    fn all() -> pb::RangeRequest {
        pb::RangeRequest { key: Bytes::from_static(&[0]), range_end: Bytes::from_static(&[0]), ..Default::default() }
    }

    struct Client(KvService);

    impl Client {
        /// A store with a key of each number below [`KEYS`], all of revision 2.
        async fn new() -> Client {
            let api = soon(api()).await;
            api.node.lease_grant(LeaseId(1), 600).await.unwrap();
            let client = Client(KvService(api));
            let puts = (0..KEYS).map(|key| TxnOp::Put(put(key, b"first"))).collect();
            client.propose(&Command::Txn(Txn { success: puts, ..Txn::default() })).await;
            client
        }

        /// The same, whose chunks should have so many bytes.
        async fn with_chunks_of(bytes: usize) -> Client {
            let mut client = Client::new().await;
            client.0.0.limits.request_bytes_max = bytes;
            client
        }

        fn node(&self) -> &crate::node::Node {
            &self.0.0.node
        }

        async fn propose(&self, command: &Command) {
            self.node().propose(Proposal::from(command)).await.unwrap();
        }

        async fn put(&self, key: i64, value: &[u8]) {
            self.propose(&Command::Put(put(key, value))).await;
        }

        async fn delete(&self, keys: std::ops::Range<i64>) {
            let keys = KeyRange { start: name(keys.start), end: RangeEnd::Before(name(keys.end)) };
            self.propose(&Command::DeleteRange(DeleteRange { keys, prev_kv: false })).await;
        }

        async fn compact(&self, revision: i64) {
            self.node().compact(Compact { revision: Revision(revision), physical: true }).await.unwrap();
        }

        async fn open(&self, request: pb::RangeRequest) -> Result<Chunks, Status> {
            self.0.range_stream(Request::new(request)).await.map(tonic::Response::into_inner)
        }

        async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
            self.0.range(Request::new(request)).await.map(tonic::Response::into_inner)
        }

        /// All chunks.
        async fn stream(&self, request: pb::RangeRequest) -> Result<Vec<pb::RangeResponse>, Status> {
            let mut chunks = self.open(request).await?;
            let mut parts = Vec::new();
            while let Some(chunk) = soon(chunks.next()).await {
                parts.push(chunk?.range_response.unwrap());
            }
            Ok(parts)
        }

        async fn stop(self) {
            self.node().stop().await;
        }
    }

    async fn next(chunks: &mut Chunks) -> Result<pb::RangeResponse, Status> {
        soon(chunks.next()).await.expect("the stream goes on").map(|chunk| chunk.range_response.unwrap())
    }

    fn merged(parts: Vec<pb::RangeResponse>) -> pb::RangeResponse {
        let (last, others) = parts.split_last().expect("there is a chunk at least");
        for part in others {
            assert_eq!(
                (part.header, part.more, part.count),
                (None, false, 0),
                "only the last chunk has more than pairs"
            );
            assert!(!part.kvs.is_empty());
        }
        let kvs = parts.iter().flat_map(|part| part.kvs.iter().cloned()).collect();
        pb::RangeResponse { kvs, ..last.clone() }
    }

    fn text(status: &Status) -> (Code, &str) {
        (status.code(), status.message())
    }

    /// Ranges of many shapes: with and without keys, limits below, at and above what there is, of several revisions.
    fn shapes() -> Vec<pb::RangeRequest> {
        let key = Bytes::from_static;
        let mut shapes = Vec::new();
        let ranges: [(&[u8], &[u8]); 6] =
            [(b"\0", b"\0"), (b"0005", b"0100"), (b"0017", b"0021"), (b"0290", b"\0"), (b"0009", b""), (b"z", b"a")];
        for (start, end) in ranges {
            for limit in [0, -1, 1, 9, 10, 11, 30, 31, 259, 261, 400] {
                for revision in [0, -7, 2, 4, 7] {
                    for (keys_only, count_only) in [(false, false), (true, false), (false, true)] {
                        shapes.push(pb::RangeRequest {
                            key: key(start),
                            range_end: key(end),
                            limit,
                            revision,
                            sort_order: i32::from(keys_only),
                            serializable: limit % 2 == 0,
                            keys_only,
                            count_only,
                            ..Default::default()
                        });
                    }
                }
            }
        }
        shapes
    }

    #[tokio::test]
    async fn chunks_put_together_are_the_answer_to_the_range() {
        let mut client = Client::new().await;
        for key in [5, 9, 17, 200] {
            client.put(key, &[b'v'; 700]).await;
        }
        client.delete(20..60).await;
        client.put(30, b"again").await;
        let mut several = 0;
        // One pair a chunk, some, as many as usual.
        for bytes in [1, 400, 1_572_864] {
            client.0.0.limits.request_bytes_max = bytes;
            for request in shapes() {
                let parts = client.stream(request.clone()).await.unwrap();
                several += usize::from(parts.len() > 1);
                assert_eq!(merged(parts), client.range(request.clone()).await.unwrap(), "{bytes}: {request:?}");
            }
        }
        assert!(several > 500, "many answers have several chunks: {several}");
        client.stop().await;
    }

    #[tokio::test]
    async fn the_first_chunk_is_small_and_later_ones_come_near_to_their_size() {
        let sizes = async |client: &Client| -> Vec<usize> {
            client.stream(all()).await.unwrap().iter().map(|part| part.kvs.len()).collect()
        };
        let client = Client::with_chunks_of(1_572_864).await;
        assert_eq!(sizes(&client).await, [10, 20, 40, 80, 150]);
        client.stop().await;

        // Ten of these pairs have less than half of 800 bytes, twenty have more.
        let client = Client::with_chunks_of(800).await;
        assert_eq!(sizes(&client).await[..4], [10, 20, 20, 20]);
        // A chunk ends with the pair that takes it above 1600 bytes; then half as many keys are asked for.
        for key in 10..50 {
            client.put(key, &[b'v'; 900]).await;
        }
        assert_eq!(sizes(&client).await[..8], [10, 2, 2, 2, 2, 1, 1, 1]);
        for key in 10..50 {
            client.put(key, &[b'v'; 3000]).await;
        }
        assert_eq!(sizes(&client).await[..5], [10, 1, 1, 1, 1]);
        client.stop().await;
    }

    #[test]
    fn the_number_of_keys_follows_the_size_of_the_chunk_before() {
        let aim = 1000;
        let table =
            [(10, 0, 20), (10, 499, 20), (10, 500, 10), (10, 2000, 10), (10, 2001, 5), (1, 2001, 1), (0, 2001, 1)];
        for (keys, bytes, expected) in table {
            assert_eq!(keys_of_next(keys, bytes, aim), expected, "{keys} keys of {bytes} bytes");
        }
        assert_eq!(keys_of_next(usize::MAX, 0, aim), usize::MAX);
    }

    #[tokio::test]
    async fn header_more_and_count_come_last() {
        let client = Client::new().await;
        let parts = client.stream(pb::RangeRequest { limit: 25, ..all() }).await.unwrap();
        assert_eq!(parts.iter().map(|part| part.kvs.len()).collect::<Vec<_>>(), [10, 15]);
        let whole = merged(parts);
        let header = whole.header.unwrap();
        assert_eq!((header.cluster_id, header.member_id, header.revision), (CLUSTER.0, MEMBER.0, 2));
        assert!(header.raft_term > 0);
        assert_eq!((whole.more, whole.count), (true, KEYS));

        for request in [
            pb::RangeRequest { key: name(KEYS), ..Default::default() },
            pb::RangeRequest { count_only: true, limit: 3, ..all() },
        ] {
            let parts = client.stream(request.clone()).await.unwrap();
            let [only] = parts.as_slice() else { panic!("one chunk: {parts:?}") };
            let count = if request.count_only { KEYS } else { 0 };
            assert_eq!((only.kvs.len(), only.more, only.count), (0, false, count));
            assert_eq!(only.header.unwrap().revision, 2);
        }
        client.stop().await;
    }

    /// Nothing was read ahead, and yet nothing of what came between is seen.
    #[tokio::test]
    async fn a_slow_reader_sees_the_state_of_its_first_chunk() {
        let client = Client::new().await;
        let expected = client.range(all()).await.unwrap();
        let mut chunks = client.open(all()).await.unwrap();
        let mut parts = Vec::new();
        while let Some(chunk) = soon(chunks.next()).await {
            parts.push(chunk.unwrap().range_response.unwrap());
            client.put(250, b"later").await;
            client.put(KEYS + 7, b"later").await;
            client.delete(260..270).await;
        }
        assert!(parts.len() > 3);
        assert!(client.range(all()).await.unwrap().header.unwrap().revision > 2);
        assert_eq!(merged(parts), expected);
        client.stop().await;
    }

    #[tokio::test]
    async fn a_compaction_between_two_chunks_ends_the_stream() {
        let client = Client::new().await;
        client.put(1, b"second").await;
        client.put(1, b"third").await;
        for asks_for_a_revision in [false, true] {
            let revision = if asks_for_a_revision { client.node().revision().0 } else { 0 };
            let mut chunks = client.open(pb::RangeRequest { revision, ..all() }).await.unwrap();
            assert_eq!(next(&mut chunks).await.unwrap().kvs.len(), 10);
            assert_eq!(next(&mut chunks).await.unwrap().kvs.len(), 20);
            client.put(1, b"newer").await;
            client.compact(client.node().revision().0).await;
            let status = next(&mut chunks).await.unwrap_err();
            assert_eq!(text(&status), (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"));
            assert!(soon(chunks.next()).await.is_none());
        }
        // What was compacted before, and what is still to come, have no chunk at all.
        let status = client.open(pb::RangeRequest { revision: 3, ..all() }).await.map(drop).unwrap_err();
        assert_eq!(text(&status), (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"));
        let status = client.open(pb::RangeRequest { revision: 99, ..all() }).await.map(drop).unwrap_err();
        assert_eq!(text(&status), (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision"));
        client.stop().await;
    }

    #[tokio::test]
    async fn without_an_order_each_chunk_is_sorted_by_itself() {
        let client = Client::new().await;
        client.put(4, b"a").await;
        let by_value = |range_end| pb::RangeRequest { range_end, sort_target: 4, keys_only: true, ..all() };
        let few = by_value(name(10));
        assert_eq!(merged(client.stream(few.clone()).await.unwrap()), client.range(few).await.unwrap());
        // No pair is left out, and none comes twice.
        let mut keys: Vec<_> = merged(client.stream(by_value(Bytes::from_static(&[0]))).await.unwrap())
            .kvs
            .iter()
            .map(|kv| kv.record().unwrap().key().to_vec())
            .collect();
        assert_eq!(keys[0], name(4));
        keys.sort();
        assert_eq!(keys, (0..KEYS).map(name).collect::<Vec<_>>());
        client.stop().await;
    }

    #[tokio::test]
    async fn what_the_client_may_not_ask_is_said_before_anything_is_read() {
        let client = Client::new().await;
        for (request, code, expected) in [
            (pb::RangeRequest::default(), Code::InvalidArgument, "etcdserver: key is not provided"),
            (pb::RangeRequest { sort_order: 7, ..all() }, Code::InvalidArgument, "etcdserver: invalid sort option"),
            (
                pb::RangeRequest { sort_order: 2, min_mod_revision: 1, revision: 99, ..all() },
                Code::Unimplemented,
                "RangeStream does not support custom sort orders",
            ),
            (
                pb::RangeRequest { min_mod_revision: 1, revision: 99, ..all() },
                Code::Unimplemented,
                "RangeStream does not support revision filters",
            ),
        ] {
            let status = client.open(request).await.map(drop).unwrap_err();
            assert_eq!(text(&status), (code, expected));
        }
        client.stop().await;
    }

    #[tokio::test]
    async fn a_stream_that_is_to_end_ends_at_the_next_chunk() {
        let client = Client::new().await;
        let (end_tx, end_rx) = oneshot::channel();
        let end = async move { end_rx.await.unwrap() };
        let mut chunks = serve(client.0.0.node.nobody(), Range::from(all()), client.0.0.limits, end).await.unwrap();
        next(&mut chunks).await.unwrap();
        end_tx.send(Status::from(status::NO_LEADER)).unwrap();
        // The task that waits for the end has to run first.
        let status = loop {
            tokio::task::yield_now().await;
            if let Err(status) = next(&mut chunks).await {
                break status;
            }
        };
        assert_eq!(text(&status), (Code::Unavailable, "etcdserver: no leader"));
        assert!(soon(chunks.next()).await.is_none());

        let mut chunks = client.open(all()).await.unwrap();
        next(&mut chunks).await.unwrap();
        client.node().stop().await;
        let status = next(&mut chunks).await.unwrap_err();
        assert_eq!(text(&status), (Code::Unavailable, "etcdserver: server stopped"));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_takes_its_task_along() {
        let client = Client::new().await;
        let (end_tx, end_rx) = oneshot::channel::<Status>();
        let end = async move { end_rx.await.unwrap() };
        let mut chunks = serve(client.0.0.node.nobody(), Range::from(all()), client.0.0.limits, end).await.unwrap();
        next(&mut chunks).await.unwrap();
        drop(chunks);
        let mut end_tx = end_tx;
        soon(end_tx.closed()).await;
        client.stop().await;
    }
}
