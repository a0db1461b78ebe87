//! What each target does with its bytes: an error or a value, never a panic, and what was read can be written and read
//! again. The targets call these with what the fuzzer finds, `tests/it/decoders` with generated and mutated inputs.
//!
//! A body tells whether it read the bytes as something. Which of several decoders they are for is the first byte.

mod call;
mod etcd_file;
mod gateway;
mod log;
mod peer;
mod request;
mod snapshot;
mod token;
mod words;

use bytes::Bytes;
use lodemark::model::{Record, Txn};
use lodemark::proto::etcdserverpb::TxnRequest;
use lodemark::raft::{Proposal, decode_commands};
use lodemark::storage;
use prost::Message;

pub use self::call::call;
pub use self::etcd_file::{etcd_pages, etcd_snapshot};
pub use self::gateway::{json, json_of_message};
pub use self::log::{log, log_batch, log_files, segment_of};
pub use self::peer::{peer_headers, peer_message, peer_stream, raft_message};
pub use self::request::request;
pub use self::snapshot::{snapshot, snapshot_chunks};
pub use self::token::{token, token_options};
pub use self::words::{addresses, config_file, flags, headers};

/// Any bytes: either no record, or one that writes the same again.
pub fn record(bytes: &[u8]) -> bool {
    let Ok(record) = Record::from_bytes(bytes) else { return false };
    let again = Record::new(&record.pair());
    assert_eq!(again.pair(), record.pair());
    true
}

/// Any bytes as a row of a table of the checkpoint, or as what it says of itself.
pub fn row(bytes: &[u8]) -> bool {
    let Some((read, payload)) = chosen(bytes, storage::any_bytes::READERS) else { return false };
    let read = read(payload);
    told(read.as_ref().err());
    read.is_ok()
}

/// Any bytes as a txn request: what can be decoded survives the way to our values and back.
pub fn txn_request(bytes: &[u8]) -> bool {
    let Ok(request) = TxnRequest::decode(bytes) else { return false };
    let txn = Txn::from(request);
    assert_eq!(Txn::from(TxnRequest::from(&txn)), txn);
    true
}

/// Any bytes as the payload of a log entry: what is read as commands reads back after it was written anew.
pub fn commands(bytes: &[u8]) -> bool {
    let Ok(commands) = decode_commands(Bytes::copy_from_slice(bytes)) else { return false };
    let proposals: Vec<Proposal> = commands.iter().map(Proposal::from).collect();
    let again = lodemark::raft::encode_commands(proposals.iter());
    assert_eq!(decode_commands(again).expect("what was written can be read"), commands);
    true
}

/// What the first byte chooses, and the bytes after it.
fn chosen<'a, T>(bytes: &'a [u8], all: &'static [(&'static str, T)]) -> Option<(&'static T, &'a [u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (_, chosen) = &all[usize::from(first) % all.len()];
    Some((chosen, rest))
}

/// Says an error as an operator or a client would read it: that must not fail either.
fn told(error: Option<&impl std::fmt::Display>) {
    if let Some(error) = error {
        assert!(!error.to_string().is_empty());
    }
}
