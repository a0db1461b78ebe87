//! What other members say.

use bytes::Bytes;
use lodemark::peer::http2::any_bytes;
use lodemark::peer::member_calls::{HashKvAnswer, Ping, PromoteAnswer, decode_hash_kv, decode_promote};
use lodemark::peer::member_calls::{encode_hash_kv, encode_promote};
use lodemark::peer::{
    LeaseAnswer, LeaseQuestion, Method, PeerError, ProposeAnswer, Refusal, decode_read_index, encode_read_index,
};
use lodemark::proto::lodemarkpb as pb;
use lodemark::raft;
use prost::Message;

use super::words::header_map;

/// Any bytes as one of Raft's messages, or as what the log and the checkpoint keep of Raft.
pub fn raft_message(bytes: &[u8]) -> bool {
    let Some((read, message)) = super::chosen(bytes, raft::any_bytes::READERS) else { return false };
    let read = read(Bytes::copy_from_slice(message));
    super::told(read.as_ref().err());
    read.is_ok()
}

type Reader = fn(Bytes) -> Result<(), Refusal>;

/// The bodies of the calls that are not Raft's, and of their answers.
const READERS: &[(&str, Reader)] = &[
    ("promote", |body| there_and_back(body, decode_promote, encode_promote)),
    ("promote answer", |body| there_and_back(body, PromoteAnswer::decode, PromoteAnswer::encode)),
    ("hash", |body| there_and_back(body, decode_hash_kv, encode_hash_kv)),
    ("hash answer", |body| there_and_back(body, HashKvAnswer::decode, HashKvAnswer::encode)),
    ("ping", |body| there_and_back(body, Ping::decode, Ping::encode)),
    ("propose answer", |body| there_and_back(body, ProposeAnswer::decode, ProposeAnswer::encode)),
    ("read index", |body| there_and_back(body, decode_read_index, encode_read_index)),
    ("lease", |body| there_and_back(body, LeaseQuestion::decode, LeaseQuestion::encode)),
    ("lease answer", |body| there_and_back(body, LeaseAnswer::decode, LeaseAnswer::encode)),
];

/// Any bytes as the body of a call that is not Raft's, or of its answer.
pub fn peer_message(bytes: &[u8]) -> bool {
    let Some((read, body)) = super::chosen(bytes, READERS) else { return false };
    let read = read(Bytes::copy_from_slice(body));
    super::told(read.as_ref().err());
    read.is_ok()
}

fn there_and_back<T: Clone + PartialEq + std::fmt::Debug>(
    body: Bytes,
    decode: impl Fn(Bytes) -> Result<T, Refusal>,
    encode: impl Fn(T) -> Bytes,
) -> Result<(), Refusal> {
    let value = decode(body)?;
    assert_eq!(decode(encode(value.clone())).as_ref(), Ok(&value));
    Ok(())
}

/// Any bytes as a stream of messages, in pieces whose length the first byte says: however it is cut, the same messages
/// come of it. Each is then read as what the three kinds of streams carry.
pub fn peer_stream(bytes: &[u8]) -> bool {
    let Some((&piece_bytes, stream)) = bytes.split_first() else { return false };
    let found = any_bytes::messages([stream]);
    assert_eq!(any_bytes::messages(stream.chunks(usize::from(piece_bytes) + 1)), found);
    super::told(found.as_ref().err());
    let Ok((messages, _)) = found else { return false };
    for message in &messages {
        if let Ok(call) = pb::CallRequest::decode(message.clone()) {
            let method = Method::of_number(call.method);
            assert!(method.is_none_or(|method| method as u32 == call.method));
        }
        let _ = pb::AppendRequest::decode(message.clone());
        super::told(any_bytes::snapshot_part(message.clone()).as_ref().err());
    }
    !messages.is_empty()
}

/// Any lines as the headers of a request or the trailers of an answer.
pub fn peer_headers(bytes: &[u8]) -> bool {
    let headers = header_map(bytes);
    let envelope = any_bytes::envelope(&headers);
    super::told(envelope.as_ref().err());
    let outcome = any_bytes::outcome(&headers);
    let is_read = envelope.is_ok() || outcome.is_some();
    if let Some(Err(error)) = outcome {
        super::told(Some(&error));
        if let PeerError::Refused(refusal) = error {
            // A text may be cut, or be none that can be a header; that it is a refusal is always told.
            let again = any_bytes::outcome(&any_bytes::refusal(&refusal));
            let is_same_kind = |error: &PeerError| match error {
                PeerError::Refused(again) => std::mem::discriminant(again) == std::mem::discriminant(&refusal),
                PeerError::Unreachable(_) | PeerError::Timeout | PeerError::Broken(_) => false,
            };
            assert!(again.is_some_and(|again| again.is_err_and(|error| is_same_kind(&error))), "{refusal}");
        }
    }
    is_read
}
