//! Calls that are awaited, or become operations of a [`super::Txn`].
//!
//! Each is a plain request of [`crate::model`] and the door that it goes through. Methods change the request; awaiting the
//! call checks it and sends it.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::Error;
use super::keys;
use crate::model::{
    self, Command, DeleteReply, KeyRange, LeaseId, PutReply, RangeReply, Reply, Revision, SortOrder, SortTarget, TxnOp,
};
use crate::node::{Node, Proposal};

/// A write of one key, made by [`super::Store::put`]. Awaited, it gives the revision, and the pair before if that was asked
/// for.
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::LeaseNotFound`], [`Error::TooLarge`]; [`Error::Timeout`], [`Error::Stopped`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited, or is part of a txn that is"]
pub struct Put {
    node: Node,
    request: model::Put,
}

/// A read of a range of keys, made by [`super::Store::range`]. Awaited, it gives the pairs in the order of their keys.
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::EmptyRange`], [`Error::Compacted`], [`Error::FutureRevision`]; [`Error::Timeout`], [`Error::Stopped`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited, or is part of a txn that is"]
pub struct Range {
    node: Node,
    request: model::Range,
}

/// A deletion of a range of keys, made by [`super::Store::delete`]. Awaited, it tells how many keys are gone.
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::EmptyRange`]; [`Error::Timeout`], [`Error::Stopped`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited, or is part of a txn that is"]
pub struct Delete {
    node: Node,
    request: model::DeleteRange,
}

/// An operation of a [`super::Txn`]: a call that is not awaited by itself.
#[derive(Debug, Clone)]
pub enum Op {
    /// Writes.
    Put(Put),
    /// Reads.
    Range(Range),
    /// Deletes.
    Delete(Delete),
}

impl Put {
    pub(super) fn new(node: Node, key: Bytes, value: Bytes) -> Put {
        Put { node, request: model::Put { key, value, ..model::Put::default() } }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        keys::check_key(&self.request.key)
    }

    pub(super) fn key(&self) -> &Bytes {
        &self.request.key
    }

    /// Attaches the key to a lease: it is deleted when that ends. Without this the key is attached to none.
    pub fn lease(mut self, lease: LeaseId) -> Put {
        self.request.lease = lease;
        self
    }

    /// Tells the pair as it was before, too.
    pub fn with_prev(mut self) -> Put {
        self.request.prev_kv = true;
        self
    }
}

impl Range {
    pub(super) fn new(node: Node, keys: KeyRange) -> Range {
        Range { node, request: model::Range::of(keys) }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        keys::check(&self.request.keys)
    }

    /// Gives at most so many pairs; 0 is all. The reply's `more` tells whether there are others.
    pub fn limit(mut self, pairs: usize) -> Range {
        self.request.limit = i64::try_from(pairs).unwrap_or(i64::MAX);
        self
    }

    /// Reads as it was at a revision. Zero and below are now.
    pub fn at(mut self, revision: Revision) -> Range {
        self.request.revision = revision.0.max(0);
        self
    }

    /// Orders the pairs by something else than the key.
    pub fn sort(mut self, target: SortTarget, order: SortOrder) -> Range {
        (self.request.sort_target, self.request.sort_order) = (target, order);
        self
    }

    /// Leaves the values out.
    pub fn keys_only(mut self) -> Range {
        self.request.keys_only = true;
        self
    }

    /// Gives no pairs, only their `count`.
    pub fn count_only(mut self) -> Range {
        self.request.count_only = true;
        self
    }
}

impl Delete {
    pub(super) fn new(node: Node, keys: KeyRange) -> Delete {
        Delete { node, request: model::DeleteRange { keys, prev_kv: false } }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        keys::check(&self.request.keys)
    }

    pub(super) fn keys(&self) -> &KeyRange {
        &self.request.keys
    }

    /// Tells the pairs as they were before, too.
    pub fn with_prev(mut self) -> Delete {
        self.request.prev_kv = true;
        self
    }
}

impl IntoFuture for Put {
    type Output = Result<PutReply, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.check()?;
            match propose(&self.node, &Command::Put(self.request)).await? {
                Reply::Put(reply) => Ok(reply),
                reply => Err(Error::mismatch("a put", &reply)),
            }
        })
    }
}

impl IntoFuture for Range {
    type Output = Result<RangeReply, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.check()?;
            Ok(self.node.range(&self.request).await?)
        })
    }
}

impl IntoFuture for Delete {
    type Output = Result<DeleteReply, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.check()?;
            match propose(&self.node, &Command::DeleteRange(self.request)).await? {
                Reply::DeleteRange(reply) => Ok(reply),
                reply => Err(Error::mismatch("a delete", &reply)),
            }
        })
    }
}

/// Sends a command through the log and waits for what it did.
pub(super) async fn propose(node: &Node, command: &Command) -> Result<Reply, Error> {
    Ok(node.root().propose(Proposal::from(command)).await?)
}

impl Op {
    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Op::Put(put) => put.check(),
            Op::Range(range) => range.check(),
            Op::Delete(delete) => delete.check(),
        }
    }
}

impl From<Put> for Op {
    fn from(put: Put) -> Op {
        Op::Put(put)
    }
}

impl From<Range> for Op {
    fn from(range: Range) -> Op {
        Op::Range(range)
    }
}

impl From<Delete> for Op {
    fn from(delete: Delete) -> Op {
        Op::Delete(delete)
    }
}

impl From<Op> for TxnOp {
    fn from(op: Op) -> TxnOp {
        match op {
            Op::Put(put) => TxnOp::Put(put.request),
            Op::Range(range) => TxnOp::Range(range.request),
            Op::Delete(delete) => TxnOp::DeleteRange(delete.request),
        }
    }
}
