//! Many commands in one log entry.
//!
//! A put costs one Raft entry, one append and one wake-up of openraft's core if it travels alone. Commands that wait at
//! the same time travel together instead:
//!
//! ```text
//! batch    = kind (u8, 1: commands), command*
//!          | kind (u8, 3: commands of a follower), number (u64, little-endian), command*
//! command  = length (varint), InternalRaftRequest of that many bytes
//! ```
//!
//! A follower that passes its clients' commands on gives the batch a number of its own choice. When it applies an entry
//! with that number it knows whom to answer.
//!
//! The inner message has the layout of etcd's own log requests around the client's own bytes: nothing is encoded anew. While
//! auth is enabled a header with who asks stands before the command.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use super::Proposal;
use super::command::{self, DecodeError};
use super::types::Batch;
use crate::model::Request;

/// The first byte of an entry that carries commands; see [`super::log_codec`].
pub(super) const KIND_COMMANDS: u8 = 1;

/// The first byte of an entry that carries commands which a follower passed on.
pub(super) const KIND_FORWARDED: u8 = 3;

/// Puts proposals into one entry, in order; with a number if a follower passes them on.
pub(super) fn encode<'a>(number: Option<u64>, proposals: impl Iterator<Item = &'a Proposal> + Clone) -> Batch {
    let framed_len = |p: &Proposal| encoded_len_varint(p.encoded_len() as u64) + p.encoded_len();
    let head_len = 1 + number.map_or(0, |_| size_of::<u64>());
    let len = head_len + proposals.clone().map(framed_len).sum::<usize>();
    let mut out = BytesMut::with_capacity(len);
    match number {
        None => out.put_u8(KIND_COMMANDS),
        Some(number) => {
            out.put_u8(KIND_FORWARDED);
            out.put_u64_le(number);
        }
    }
    for proposal in proposals {
        encode_varint(proposal.encoded_len() as u64, &mut out);
        proposal.encode(&mut out);
    }
    debug_assert_eq!(out.len(), len, "a batch is allocated once");
    Batch(out.freeze())
}

/// Reads the commands of an entry back, with their number if a follower passed them on.
///
/// # Errors
/// [`DecodeError`] if the entry holds something this version does not know. That is a fault: other members may have
/// applied it.
pub(super) fn decode(batch: &Batch) -> Result<(Option<u64>, Vec<Request>), DecodeError> {
    let (number, mut rest) = head(batch)?;
    let mut commands = Vec::new();
    while !rest.is_empty() {
        commands.push(command::decode(next(&mut rest)?)?);
    }
    Ok((number, commands))
}

/// Reads what was proposed, without what it means.
pub(super) fn proposals(batch: &Batch) -> Result<Vec<Proposal>, DecodeError> {
    let (_, mut rest) = head(batch)?;
    let mut proposals = Vec::new();
    while !rest.is_empty() {
        proposals.push(Proposal::decode(next(&mut rest)?)?);
    }
    Ok(proposals)
}

/// Takes the head off: the number, if there is one, and the commands.
fn head(batch: &Batch) -> Result<(Option<u64>, Bytes), DecodeError> {
    let mut rest = batch.0.clone();
    let number = match rest.try_get_u8() {
        Ok(KIND_COMMANDS) => None,
        Ok(KIND_FORWARDED) => Some(rest.try_get_u64_le().map_err(|_| DecodeError::Truncated)?),
        _ => return Err(DecodeError::Kind),
    };
    Ok((number, rest))
}

/// Takes the next command off.
fn next(rest: &mut Bytes) -> Result<Bytes, DecodeError> {
    let len = decode_varint(rest)?;
    let len = usize::try_from(len).ok().filter(|&len| len <= rest.len()).ok_or(DecodeError::Truncated)?;
    Ok(rest.split_to(len))
}

/// Reads the payload of a log entry as apply does; for tools and fuzzing.
///
/// # Errors
/// [`DecodeError`] if it holds no commands, or any that this version does not know.
pub fn decode_commands(payload: Bytes) -> Result<Vec<Request>, DecodeError> {
    decode(&Batch(payload)).map(|(_, commands)| commands)
}

/// Writes the payload of a log entry as the proposer does; for tools and fuzzing.
pub fn encode_commands<'a>(proposals: impl Iterator<Item = &'a Proposal> + Clone) -> Bytes {
    encode(None, proposals).0
}

/// The bytes that a field of `len` bytes takes with its tag.
pub(super) fn field_len(field: u32, len: usize) -> usize {
    prost::encoding::key_len(field) + encoded_len_varint(len as u64) + len
}

/// Writes tag, length and bytes of a field.
pub(super) fn put_field(field: u32, body: &[u8], out: &mut BytesMut) {
    prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, out);
    encode_varint(body.len() as u64, out);
    out.put_slice(body);
}
