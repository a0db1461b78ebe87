//! A large answer, encoded as it is sent.
//!
//! A message is laid out as what it is made of: bytes that are there, pairs that are shared with the store, and pairs that
//! are read when it is their turn. Only the length of the whole has to be known before. A piece is made when the client
//! has taken the one before, and pairs are let go of as they are copied into one.
//!
//! ```text
//! RangeResponse    [prefix, header] [pair] [pair] [pair] ... [more, count]
//! pieces           |--- 128 KiB ---|--- 128 KiB ---|-- ... --|
//! ```
//!
//! The bytes are those of the message encoded at once; a test holds both equal.

use std::collections::VecDeque;
use std::time::Duration;
use std::vec;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tonic::Status;

use super::{PREFIX_BYTES, SENT_MESSAGE_BYTES_MAX, status};
use crate::node::{Room, Windows};
use crate::proto::KeyValue;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::response_op::Response;

/// Bytes of one piece; more only if a single pair is larger.
const PIECE_BYTES: usize = 128 * 1024;
/// How long compaction waits for an answer that is read as it is sent. Source: ours; a client that takes longer is told if
/// it was overtaken.
const PIN_TIME_MAX: Duration = Duration::from_secs(600);
/// How long an answer that is held whole may take to be sent, besides the time for its bytes.
const HELD_TIME: Duration = Duration::from_secs(30);
/// How many bytes of it a client must take in a second.
const HELD_BYTES_PER_SECOND: usize = 1024 * 1024;

const RANGE_KVS: u32 = 2;
const PUT_PREV_KV: u32 = 2;
const DELETE_RANGE_PREV_KVS: u32 = 3;
const TXN_RESPONSES: u32 = 3;

/// A framed message, to be taken in pieces.
#[derive(Debug)]
pub(crate) struct Parts {
    parts: VecDeque<Part>,
    /// Bytes that were not given.
    left: usize,
    /// How long it may take to be sent before [`Parts::run_out`] is to be called.
    patience: Duration,
    /// Kept until everything was given.
    _room: Option<Room>,
}

/// What a message is made of.
#[derive(Debug)]
enum Part {
    /// Bytes as they are.
    Bytes(Bytes),
    /// Pairs in a field of this number.
    Pairs(u32, vec::IntoIter<KeyValue>),
    /// Pairs that are read when it is their turn.
    Windows(u32, Windows),
}

impl Parts {
    /// The answer to a range.
    pub(super) fn range(message: pb::RangeResponse, room: Option<Room>) -> Result<Parts, Status> {
        Layout::range(message).framed(room)
    }

    /// The answer to a range that is read as it is sent; `message` has all but its pairs.
    pub(super) fn windows(message: pb::RangeResponse, windows: Windows) -> Result<Parts, Status> {
        Layout::windows(message, windows).framed(None)
    }

    /// The answer to a delete.
    pub(super) fn delete_range(message: pb::DeleteRangeResponse) -> Result<Parts, Status> {
        Layout::delete_range(message).framed(None)
    }

    /// The answer to a txn.
    pub(super) fn txn(message: pb::TxnResponse) -> Result<Parts, Status> {
        Layout::txn(message).framed(None)
    }

    /// The next piece; `None` if there is no more. Given up half-way, it cannot go on.
    ///
    /// # Errors
    /// Why the rest cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES.min(self.left));
        while let Some(part) = self.parts.front_mut() {
            match part {
                Part::Bytes(bytes) if piece.is_empty() || bytes.len() <= space(&piece) => {
                    piece.extend_from_slice(bytes)
                }
                Part::Pairs(field, pairs) => {
                    put_pairs(*field, pairs, &mut piece);
                    if !pairs.as_slice().is_empty() {
                        break;
                    }
                }
                Part::Windows(field, windows) => {
                    if let Some(records) = windows.next().await.map_err(|error| status::of(&error))? {
                        let pairs: Vec<KeyValue> = records.into_iter().map(KeyValue::from).collect();
                        let pairs = Part::Pairs(*field, pairs.into_iter());
                        self.parts.push_front(pairs);
                        continue;
                    }
                }
                Part::Bytes(_) => break,
            }
            self.parts.pop_front();
        }
        let left = self.left.checked_sub(piece.len()).filter(|&left| left == 0 || !piece.is_empty());
        // The client was promised as many bytes as were counted.
        self.left = left.ok_or_else(|| Status::internal("an answer has another length than was counted"))?;
        Ok((!piece.is_empty()).then(|| piece.freeze()))
    }

    /// After which time [`Parts::run_out`] is to be called, if it is not sent by then.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// The client has taken its time. What is read as it is sent goes on, but holds compaction back no longer.
    ///
    /// # Errors
    /// Why an answer that is held whole is not sent to its end: others wait for the room.
    pub(crate) fn run_out(&mut self) -> Result<(), Status> {
        let mut goes_on = false;
        for part in &mut self.parts {
            if let Part::Windows(_, windows) = part {
                windows.unpin();
                goes_on = true;
            }
        }
        if goes_on { Ok(()) } else { Err(status::TIMEOUT.into()) }
    }
}

/// What a pair of so many bytes takes in an answer to a range, in bytes.
pub(super) fn pair_bytes(len: usize) -> usize {
    // Each field of pairs has a number below 16: one byte.
    1 + encoded_len_varint(len as u64) + len
}

fn space(piece: &BytesMut) -> usize {
    PIECE_BYTES.saturating_sub(piece.len())
}

/// Puts as many pairs as there is room for, and one at least into an empty piece.
fn put_pairs(field: u32, pairs: &mut vec::IntoIter<KeyValue>, piece: &mut BytesMut) {
    while let Some(pair) = pairs.as_slice().first() {
        let len = pair.encoded_len();
        if pair_bytes(len) > space(piece) {
            if !piece.is_empty() {
                return;
            }
            piece.reserve(pair_bytes(len));
        }
        encode_key(field, WireType::LengthDelimited, piece);
        encode_varint(len as u64, piece);
        pair.encode_raw(piece);
        pairs.next();
    }
}

/// A message, or a part of one, as what it is made of.
#[derive(Debug, Default)]
struct Layout {
    parts: VecDeque<Part>,
    bytes: usize,
}

impl Layout {
    fn range(message: pb::RangeResponse) -> Layout {
        let pb::RangeResponse { header, kvs, more, count } = message;
        let mut layout = Layout::default();
        layout.message(&pb::RangeResponse { header, ..Default::default() });
        layout.pairs(RANGE_KVS, kvs);
        layout.message(&pb::RangeResponse { more, count, ..Default::default() });
        layout
    }

    fn windows(message: pb::RangeResponse, windows: Windows) -> Layout {
        let pb::RangeResponse { header, kvs: _, more, count } = message;
        let mut layout = Layout::default();
        layout.message(&pb::RangeResponse { header, ..Default::default() });
        layout.bytes += windows.bytes();
        layout.parts.push_back(Part::Windows(RANGE_KVS, windows));
        layout.message(&pb::RangeResponse { more, count, ..Default::default() });
        layout
    }

    fn put(message: pb::PutResponse) -> Layout {
        let pb::PutResponse { header, prev_kv } = message;
        let mut layout = Layout::default();
        layout.message(&pb::PutResponse { header, ..Default::default() });
        layout.pairs(PUT_PREV_KV, prev_kv.into_iter().collect());
        layout
    }

    fn delete_range(message: pb::DeleteRangeResponse) -> Layout {
        let pb::DeleteRangeResponse { header, deleted, prev_kvs } = message;
        let mut layout = Layout::default();
        layout.message(&pb::DeleteRangeResponse { header, deleted, ..Default::default() });
        layout.pairs(DELETE_RANGE_PREV_KVS, prev_kvs);
        layout
    }

    fn txn(message: pb::TxnResponse) -> Layout {
        let pb::TxnResponse { header, succeeded, responses } = message;
        let mut layout = Layout::default();
        layout.message(&pb::TxnResponse { header, succeeded, ..Default::default() });
        for op in responses {
            let mut response = Layout::default();
            match op.response {
                None => {}
                Some(Response::ResponseRange(range)) => response.nested(1, Layout::range(range)),
                Some(Response::ResponsePut(put)) => response.nested(2, Layout::put(put)),
                Some(Response::ResponseDeleteRange(delete)) => response.nested(3, Layout::delete_range(delete)),
                Some(Response::ResponseTxn(txn)) => response.nested(4, Layout::txn(txn)),
            }
            layout.nested(TXN_RESPONSES, response);
        }
        layout
    }

    fn message(&mut self, message: &impl Message) {
        self.put_bytes(message.encode_to_vec().into());
    }

    fn pairs(&mut self, field: u32, pairs: Vec<KeyValue>) {
        self.bytes += pairs.iter().map(|pair| pair_bytes(pair.encoded_len())).sum::<usize>();
        self.parts.push_back(Part::Pairs(field, pairs.into_iter()));
    }

    fn nested(&mut self, field: u32, mut inner: Layout) {
        let mut before = BytesMut::new();
        encode_key(field, WireType::LengthDelimited, &mut before);
        encode_varint(inner.bytes as u64, &mut before);
        self.put_bytes(before.freeze());
        self.bytes += inner.bytes;
        self.parts.append(&mut inner.parts);
    }

    fn put_bytes(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.parts.push_back(Part::Bytes(bytes));
    }

    /// The message as it travels.
    fn framed(mut self, room: Option<Room>) -> Result<Parts, Status> {
        let length = u32::try_from(self.bytes).ok().filter(|_| self.bytes <= SENT_MESSAGE_BYTES_MAX);
        let length = length.ok_or_else(|| status::sent_too_large(self.bytes, SENT_MESSAGE_BYTES_MAX))?;
        let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
        prefix.put_u8(0);
        prefix.put_u32(length);
        self.parts.push_front(Part::Bytes(prefix.freeze()));
        let is_read_as_it_is_sent = self.parts.iter().any(|part| matches!(part, Part::Windows(..)));
        let patience = if is_read_as_it_is_sent {
            PIN_TIME_MAX
        } else {
            HELD_TIME + Duration::from_secs((self.bytes / HELD_BYTES_PER_SECOND) as u64)
        };
        Ok(Parts { parts: self.parts, left: PREFIX_BYTES + self.bytes, patience, _room: room })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::hot::frame;
    use super::*;
    use crate::model::{self, LeaseId, Record, Revision};

    /// All pieces, none larger than it should be.
    fn whole(parts: Result<Parts, Status>) -> Vec<u8> {
        let mut parts = parts.unwrap();
        let largest = parts.parts.iter().map(|part| match part {
            Part::Pairs(_, pairs) => pairs.as_slice().iter().map(Message::encoded_len).max().unwrap_or_default(),
            Part::Bytes(_) | Part::Windows(..) => 0,
        });
        let piece_max = PIECE_BYTES.max(largest.max().unwrap_or_default() + 16);
        let mut bytes = Vec::new();
        let mut next = || futures_util::FutureExt::now_or_never(parts.next()).expect("nothing is read");
        while let Some(piece) = next().unwrap() {
            assert!(!piece.is_empty() && piece.len() <= piece_max, "{} of {piece_max}", piece.len());
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(next().unwrap(), None);
        bytes
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), Just(i64::MAX), Just(i64::MIN), any::<i64>(), 0..1000i64]
    }

    fn pair() -> impl Strategy<Value = KeyValue> {
        let value_len = prop_oneof![4 => 0..300usize, 1 => 10_000..200_000usize];
        let pair = (vec(any::<u8>(), 1..20), value_len, number(), number(), number());
        pair.prop_map(|(key, value_len, revision, version, lease)| {
            let revision = Revision(revision);
            let (create_revision, mod_revision, lease) = (revision, revision, LeaseId(lease));
            let value = &vec![7; value_len];
            Record::new(&model::KeyValue { key: &key, value, create_revision, mod_revision, version, lease }).into()
        })
    }

    /// Is not printed: there is too much of it.
    struct Silent<T>(T);

    impl<T> std::fmt::Debug for Silent<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("..")
        }
    }

    prop_compose! {
        fn header()(is_there in any::<bool>(), id in any::<u64>(), revision in number()) -> Option<pb::ResponseHeader> {
            is_there.then_some(pb::ResponseHeader { cluster_id: id, member_id: 1, revision, raft_term: id / 3 })
        }
    }

    prop_compose! {
        fn range()(header in header(), kvs in vec(pair(), 0..20), more: bool, count in number()) -> pb::RangeResponse {
            pb::RangeResponse { header, kvs, more, count }
        }
    }

    prop_compose! {
        fn delete()(header in header(), prev_kvs in vec(pair(), 0..20), deleted in number()) -> pb::DeleteRangeResponse {
            pb::DeleteRangeResponse { header, deleted, prev_kvs }
        }
    }

    fn response() -> impl Strategy<Value = Option<Response>> {
        let put = (header(), proptest::option::of(pair()));
        prop_oneof![
            Just(None),
            range().prop_map(|range| Some(Response::ResponseRange(range))),
            put.prop_map(|(header, prev_kv)| Some(Response::ResponsePut(pb::PutResponse { header, prev_kv }))),
            delete().prop_map(|delete| Some(Response::ResponseDeleteRange(delete))),
        ]
    }

    fn txn() -> impl Strategy<Value = pb::TxnResponse> {
        let of = |response: BoxedStrategy<Option<Response>>| {
            (header(), any::<bool>(), vec(response, 0..4)).prop_map(|(header, succeeded, responses)| {
                let responses = responses.into_iter().map(|response| pb::ResponseOp { response }).collect();
                pb::TxnResponse { header, succeeded, responses }
            })
        };
        let inner = of(response().boxed()).prop_map(|txn| Some(Response::ResponseTxn(txn)));
        of(prop_oneof![response(), inner].boxed())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn pieces_are_the_message_encoded_at_once(
            range in range().prop_map(Silent),
            delete in delete().prop_map(Silent),
            txn in txn().prop_map(Silent),
        ) {
            let (Silent(range), Silent(delete), Silent(txn)) = (range, delete, txn);
            prop_assert!(whole(Parts::range(range.clone(), None)) == frame(&range).unwrap());
            prop_assert!(whole(Parts::delete_range(delete.clone())) == frame(&delete).unwrap());
            prop_assert!(whole(Parts::txn(txn.clone())) == frame(&txn).unwrap());
        }
    }

    #[test]
    fn the_empty_message_and_one_without_fields_are_framed_too() {
        assert_eq!(whole(Parts::range(pb::RangeResponse::default(), None)), [0; PREFIX_BYTES]);
        let pairs = pb::RangeResponse { kvs: vec![KeyValue::default(); 2], ..Default::default() };
        assert_eq!(whole(Parts::range(pairs, None)), [0, 0, 0, 0, 4, 0x12, 0, 0x12, 0]);
    }

    #[test]
    fn an_answer_that_is_held_may_take_a_second_for_each_mebibyte_and_is_then_given_up() {
        let value = vec![7; 3 * HELD_BYTES_PER_SECOND];
        let pair = Record::new(&model::KeyValue { key: b"k", value: &value, ..Default::default() });
        let message = pb::RangeResponse { kvs: vec![pair.into()], ..Default::default() };
        let mut parts = Parts::range(message, None).unwrap();
        assert_eq!(parts.patience(), HELD_TIME + Duration::from_secs(3));
        assert_eq!(parts.run_out().unwrap_err().message(), "etcdserver: request timed out");
    }
}
