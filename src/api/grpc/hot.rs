//! The calls that most requests are: Range, Put, DeleteRange, Txn.
//!
//! They take the same steps as the ordinary service in `kv` (`decode`, a verb of the node, `encode`), but are run by the
//! task of the connection itself, which keeps many of them on their way without a task for each. A test holds both ways
//! equal.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tonic::Status;

use super::decode::{self, TxnCall};
use super::{Api, PREFIX_BYTES, SENT_MESSAGE_BYTES_MAX, encode, guard, status};
use crate::model::{Range, RangeReply, Reply};
use crate::node::{Node, NodeError, Outcome, Proposal};

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hot {
    /// `KV/Range`
    Range,
    /// `KV/Put`
    Put,
    /// `KV/DeleteRange`
    DeleteRange,
    /// `KV/Txn`
    Txn,
}

impl Hot {
    /// The call of a path, if it is a hot one.
    pub(crate) fn of(path: &str) -> Option<Hot> {
        match path.strip_prefix("/etcdserverpb.KV/")? {
            "Range" => Some(Hot::Range),
            "Put" => Some(Hot::Put),
            "DeleteRange" => Some(Hot::DeleteRange),
            "Txn" => Some(Hot::Txn),
            _ => None,
        }
    }
}

/// How a call goes on.
pub(crate) enum Answer {
    /// This is the answer: a framed message.
    Now(Result<Bytes, Status>),
    /// The answer needs time.
    Later(Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>),
    /// This is to be proposed; [`finish`] makes the answer of its outcome.
    Propose(Proposal),
    /// This must pass the barrier first; then [`read`] answers it.
    Read(Box<Range>),
}

/// Begins a call.
pub(crate) fn start(hot: Hot, message: Bytes, api: &Api) -> Answer {
    let checked = match hot {
        Hot::Range => range(message, api),
        Hot::Put => decode::put(message).map(Answer::Propose),
        Hot::DeleteRange => decode::delete_range(message).map(Answer::Propose),
        Hot::Txn => txn(message, api),
    };
    checked.unwrap_or_else(|status| Answer::Now(Err(status)))
}

fn range(message: Bytes, api: &Api) -> Result<Answer, Status> {
    let query = decode::range(message)?;
    guard::admit_range(&api.node, &query)?;
    if let Some(reply) = api.node.range_now(&query) {
        return Ok(Answer::Now(range_answer(reply, &api.node)));
    }
    Ok(if query.serializable { read_long(query, api) } else { Answer::Read(Box::new(query)) })
}

/// Answers a read that has passed the barrier.
pub(crate) fn read(query: Range, api: &Api) -> Answer {
    match api.node.range_now_behind_barrier(&query) {
        Some(reply) => Answer::Now(range_answer(reply, &api.node)),
        None => read_long(query, api),
    }
}

fn read_long(query: Range, api: &Api) -> Answer {
    let node = api.node.clone();
    Answer::Later(Box::pin(async move { range_answer(node.range_long(&query).await, &node) }))
}

fn range_answer(reply: Result<RangeReply, NodeError>, node: &Node) -> Result<Bytes, Status> {
    let reply = reply.map_err(|error| status::of(&error))?;
    frame(&encode::range(reply, node.header()))
}

fn txn(message: Bytes, api: &Api) -> Result<Answer, Status> {
    let (txn, consistency) = match decode::txn(message, api.limits.txn_ops_max)? {
        TxnCall::Write(proposal) => return Ok(Answer::Propose(proposal)),
        TxnCall::Read(txn, consistency) => (txn, consistency),
    };
    let node = api.node.clone();
    Ok(Answer::Later(Box::pin(async move {
        let reply = node.read_txn(&txn, consistency).await.map_err(|error| status::of(&error))?;
        frame(&encode::txn(reply, node.header()))
    })))
}

/// Makes the answer of an outcome.
pub(crate) fn finish(outcome: Outcome, api: &Api) -> Result<Bytes, Status> {
    let header = api.node.header();
    match outcome.map_err(|error| status::of(&error))? {
        Reply::Put(reply) => frame(&encode::put(reply, header)),
        Reply::DeleteRange(reply) => frame(&encode::delete_range(reply, header)),
        Reply::Txn(reply) => frame(&encode::txn(reply, header)),
        reply @ (Reply::Compact { .. } | Reply::LeaseGrant(_) | Reply::LeaseRevoke { .. } | Reply::Done { .. }) => {
            Err(Status::internal(format!("a call was answered with {reply:?}")))
        }
    }
}

/// A message as it travels: not compressed, length, bytes. One allocation.
fn frame(message: &impl Message) -> Result<Bytes, Status> {
    let len = message.encoded_len();
    let length = u32::try_from(len).ok().filter(|_| len <= SENT_MESSAGE_BYTES_MAX);
    let length = length.ok_or_else(|| status::sent_too_large(len, SENT_MESSAGE_BYTES_MAX))?;
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + len);
    out.put_u8(0);
    out.put_u32(length);
    message.encode_raw(&mut out);
    Ok(out.freeze())
}
