//! The private decoders of this folder, for whoever feeds them any bytes: the fuzz targets in `fuzz/`.

use std::fmt;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest, VoteRequest, VoteResponse,
};

use super::Forwarded;
use super::log_codec;
use super::types::Tc;
use super::wire::{SnapshotHead, Wire};
use crate::wal::LogEntry;

/// Reads one kind of message, or of what the log and the checkpoint keep.
///
/// # Errors
/// What is wrong with it.
///
/// # Panics
/// If what was read reads back otherwise after it was written: a fault of the decoder or the encoder.
pub type Reader = fn(Bytes) -> Result<(), String>;

/// Everything that is read here, by name.
pub const READERS: &[(&str, Reader)] = &[
    ("append", wire::<AppendEntriesRequest<Tc>>),
    ("append answer", wire::<StreamAppendResult<Tc>>),
    ("vote request", wire::<VoteRequest<Tc>>),
    ("vote answer", wire::<VoteResponse<Tc>>),
    ("transfer", wire::<TransferLeaderRequest<Tc>>),
    ("snapshot answer", wire::<SnapshotResponse<Tc>>),
    ("snapshot head", wire::<SnapshotHead>),
    ("forwarded batch", |bytes| Forwarded::decode(bytes).map(drop).map_err(|error| error.to_string())),
    ("log entry", |payload| {
        let entry = |payload| log_codec::decode_entry(LogEntry { index: 7, term: 3, payload });
        there_and_back(payload, entry, |entry| log_codec::encode_entry(entry).payload)
    }),
    ("kept vote", |bytes| {
        there_and_back(bytes, |bytes| log_codec::decode_vote(&bytes), |vote| log_codec::encode_vote(&vote))
    }),
    ("log id", |bytes| there_and_back(bytes, |bytes| log_codec::decode_log_id(&bytes), log_codec::encode_log_id)),
    ("membership", |bytes| {
        there_and_back(
            bytes,
            |bytes| log_codec::decode_stored_membership(&bytes),
            |membership| log_codec::encode_stored_membership(&membership),
        )
    }),
];

fn wire<M: Wire + fmt::Debug>(bytes: Bytes) -> Result<(), String> {
    there_and_back(bytes, M::decode, M::encode)
}

/// openraft's messages cannot all be compared: what they show of themselves is.
fn there_and_back<T: fmt::Debug, E: fmt::Display>(
    bytes: Bytes,
    decode: impl Fn(Bytes) -> Result<T, E>,
    encode: impl Fn(T) -> Bytes,
) -> Result<(), String> {
    let value = decode(bytes).map_err(|error| error.to_string())?;
    let shown = format!("{value:?}");
    match decode(encode(value)) {
        Ok(again) => assert_eq!(format!("{again:?}"), shown),
        Err(error) => panic!("what was written cannot be read: {error}"),
    }
    Ok(())
}
