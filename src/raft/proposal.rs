//! A command on its way into the log.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::batch::{field_len, put_field};
use super::command::{self, DecodeError};
use crate::model::{Caller, Command, Request};
use crate::wal::Demand;

/// A command in the form that travels through the log: one field of etcd's `InternalRaftRequest`, holding the client's
/// own bytes where the client's message is the command.
///
/// The bytes are shared with whoever received them and copied once, into the log entry.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Who asks, encoded; empty for nobody.
    header: Bytes,
    field: u32,
    body: Bytes,
}

/// What etcd's request header with a request id takes beside the request; counted so that the size limit is etcd's.
const ETCD_HEADER_BYTES: usize = 14;

/// No byte of a request costs more: a put in a txn has at least a key of one byte, with a tag and a length, twice.
const COST_BYTES_MAX: u64 = 256;

impl Proposal {
    /// Wraps a put as its client sent it: an encoded, validated `PutRequest`.
    #[must_use]
    pub fn put(request: Bytes) -> Proposal {
        Proposal::of_field(command::FIELD_PUT, request)
    }

    /// Wraps an encoded, validated `DeleteRangeRequest`.
    #[must_use]
    pub fn delete_range(request: Bytes) -> Proposal {
        Proposal::of_field(command::FIELD_DELETE_RANGE, request)
    }

    /// Wraps an encoded, validated `TxnRequest`.
    #[must_use]
    pub fn txn(request: Bytes) -> Proposal {
        Proposal::of_field(command::FIELD_TXN, request)
    }

    /// Takes one out of a batch.
    ///
    /// # Errors
    /// [`DecodeError`] if it is no command.
    pub(super) fn decode(request: Bytes) -> Result<Proposal, DecodeError> {
        let command::Parts { caller, field, body } = command::parts(request)?;
        Ok(Proposal::of_field(field, body).by(caller.as_ref()))
    }

    fn of_field(field: u32, body: Bytes) -> Proposal {
        Proposal { header: Bytes::new(), field, body }
    }

    /// The same, asked for by `caller`.
    #[must_use]
    pub fn by(self, caller: Option<&Caller>) -> Proposal {
        Proposal { header: caller.map_or_else(Bytes::new, command::encode_caller), ..self }
    }

    pub(super) fn of_message(field: u32, message: &impl Message) -> Proposal {
        Proposal::of_field(field, message.encode_to_vec().into())
    }

    /// The size that `--max-request-bytes` is compared with: as etcd counts it, with its request header.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.encoded_len() + ETCD_HEADER_BYTES
    }

    /// What it does to the data, as etcd tells it for its quota: puts, txns that may put, and grants of leases add to it.
    #[must_use]
    pub fn demand(&self) -> Demand {
        command::demand(self.field, &self.body)
    }

    /// What it asks for; `None` if that cannot be read. Not for hot paths: it is decoded.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        let mut bytes = BytesMut::with_capacity(self.encoded_len());
        self.encode(&mut bytes);
        command::decode(bytes.freeze()).ok().map(|request| request.command)
    }

    /// What etcd's quota counts it as, in bytes: a put is its key, its value and 256; a txn the dearer of its branches; a grant
    /// of a lease 64; all else nothing.
    #[must_use]
    pub fn cost(&self) -> u64 {
        command::cost(self.field, &self.body)
    }

    /// More than that, without a look at it.
    #[must_use]
    pub fn cost_max(&self) -> u64 {
        COST_BYTES_MAX * (self.body.len() as u64 + 1)
    }

    pub(super) fn encoded_len(&self) -> usize {
        self.header.len() + field_len(self.field, self.body.len())
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.header);
        put_field(self.field, &self.body, out);
    }
}

impl From<&Request> for Proposal {
    fn from(Request { caller, command }: &Request) -> Proposal {
        Proposal::from(command).by(caller.as_ref())
    }
}

impl From<&Command> for Proposal {
    fn from(command: &Command) -> Proposal {
        command::encode(command)
    }
}
