//! Several things as one change.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::calls::{Op, propose};
use super::error::Error;
use super::keys;
use crate::model::{
    self, Command, Compare, CompareResult, CompareTarget, KeyRange, LeaseId, Reply, Revision, TxnOp, TxnReply,
};
use crate::node::{Consistency, Node};

/// Conditions, and what is done if they hold or not, as one change in one revision; made by [`super::Store::txn`].
///
/// Operations are calls that are not awaited. Awaited, the txn tells which branch ran, with one answer for each operation.
///
/// ```
/// # use lodemark::embed::{Compare, Server};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = Server::in_memory().start().await?;
/// # let store = server.store();
/// let txn = store.txn().when(Compare::missing("leader")).then(store.put("leader", "me")).or_else(store.range("leader"));
/// assert!(txn.await?.succeeded);
/// # server.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::DuplicateKey`], [`Error::LeaseNotFound`], [`Error::Compacted`],
/// [`Error::FutureRevision`], [`Error::TooLarge`]: nothing was changed. [`Error::Timeout`], [`Error::Stopped`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is awaited"]
pub struct Txn {
    node: Node,
    conditions: Vec<Compare>,
    success: Vec<Op>,
    failure: Vec<Op>,
}

impl Txn {
    pub(super) fn new(node: Node) -> Txn {
        Txn { node, conditions: Vec::new(), success: Vec::new(), failure: Vec::new() }
    }

    /// Adds a condition; all of them must hold.
    pub fn when(mut self, condition: Compare) -> Txn {
        self.conditions.push(condition);
        self
    }

    /// Adds what is done if all conditions hold.
    pub fn then(mut self, op: impl Into<Op>) -> Txn {
        self.success.push(op.into());
        self
    }

    /// Adds what is done otherwise.
    pub fn or_else(mut self, op: impl Into<Op>) -> Txn {
        self.failure.push(op.into());
        self
    }

    /// Refuses what may not enter the log.
    fn check(&self) -> Result<(), Error> {
        self.conditions.iter().try_for_each(|condition| keys::check(&condition.keys))?;
        self.success.iter().chain(&self.failure).try_for_each(Op::check)?;
        check_writes(&self.success)?;
        check_writes(&self.failure)
    }

    fn only_reads(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| matches!(op, Op::Range(_)))
    }
}

impl IntoFuture for Txn {
    type Output = Result<TxnReply, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.check()?;
            let only_reads = self.only_reads();
            let Txn { node, conditions, success, failure } = self;
            let [success, failure] = [success, failure].map(|ops| ops.into_iter().map(TxnOp::from).collect());
            let request = model::Txn { compare: conditions, success, failure };
            if only_reads {
                return Ok(node.read_txn(&request, Consistency::Linearizable).await?);
            }
            match propose(&node, &Command::Txn(request)).await? {
                Reply::Txn(reply) => Ok(reply),
                reply => Err(Error::mismatch("a txn", &reply)),
            }
        })
    }
}

/// A branch may put a key once, and not delete it beside that.
fn check_writes(branch: &[Op]) -> Result<(), Error> {
    let deletes: Vec<&KeyRange> = branch
        .iter()
        .filter_map(|op| match op {
            Op::Delete(delete) => Some(delete.keys()),
            Op::Put(_) | Op::Range(_) => None,
        })
        .collect();
    let mut puts = HashSet::new();
    for op in branch {
        if let Op::Put(put) = op
            && (deletes.iter().any(|deleted| deleted.contains(put.key())) || !puts.insert(put.key()))
        {
            return Err(Error::DuplicateKey(put.key().clone()));
        }
    }
    Ok(())
}

/// Comparisons with one key. A key that is not there has the create revision, mod revision and lease 0, and no value.
impl Compare {
    /// The key is not there.
    pub fn missing(key: impl AsRef<[u8]>) -> Compare {
        compare(key, CompareResult::Equal, CompareTarget::Create(0))
    }

    /// The key is there.
    pub fn exists(key: impl AsRef<[u8]>) -> Compare {
        compare(key, CompareResult::Greater, CompareTarget::Create(0))
    }

    /// The key has this value.
    pub fn value_is(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Compare {
        compare(key, CompareResult::Equal, CompareTarget::Value(Bytes::copy_from_slice(value.as_ref())))
    }

    /// The key was made by this revision: it is still the same one.
    pub fn created_at(key: impl AsRef<[u8]>, revision: Revision) -> Compare {
        compare(key, CompareResult::Equal, CompareTarget::Create(revision.0))
    }

    /// The key was written last by this revision: nobody has changed it since.
    pub fn modified_at(key: impl AsRef<[u8]>, revision: Revision) -> Compare {
        compare(key, CompareResult::Equal, CompareTarget::Mod(revision.0))
    }

    /// The key is attached to this lease.
    pub fn lease_is(key: impl AsRef<[u8]>, lease: LeaseId) -> Compare {
        compare(key, CompareResult::Equal, CompareTarget::Lease(lease.0))
    }
}

fn compare(key: impl AsRef<[u8]>, result: CompareResult, target: CompareTarget) -> Compare {
    Compare { keys: keys::single(key), result, target }
}
