//! The store without a socket.

use std::time::Duration;

use bytes::Bytes;

use super::calls::{Delete, Put, Range};
use super::error::Error;
use super::txn::Txn;
use super::watch::WatchCall;
use crate::model::{Compact, KeyRange, LeaseId, Record, Revision};
use crate::node::Node;

/// A server's store, without a socket between; cheap to clone, and usable from any task of any thread.
///
/// Reads see everything that was acknowledged before they began. Writes are acknowledged when they are applied, and in a
/// folder when they are on disk. What a method returns without being `async` does nothing until it is awaited.
#[derive(Debug, Clone)]
pub struct Store {
    node: Node,
}

/// A lease that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its name, which keys are attached by.
    pub id: LeaseId,
    /// How long it lives unless it is kept alive: whole seconds, at least 2.
    pub ttl: Duration,
}

impl Store {
    pub(super) fn new(node: Node) -> Store {
        Store { node }
    }

    /// Writes `value` under `key`.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Put {
        let [key, value] = [key.as_ref(), value.as_ref()].map(Bytes::copy_from_slice);
        Put::new(self.node.clone(), key, value)
    }

    /// Reads one key; `None` if it is not there.
    ///
    /// # Errors
    /// [`Error::EmptyKey`]; [`Error::Timeout`], [`Error::Stopped`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Record>, Error> {
        Ok(self.range(key.as_ref()).await?.kvs.pop())
    }

    /// Reads keys, in their order: one key, or a range such as [`super::prefix`] makes.
    pub fn range(&self, keys: impl Into<KeyRange>) -> Range {
        Range::new(self.node.clone(), keys.into())
    }

    /// Deletes keys, all of them in one revision.
    pub fn delete(&self, keys: impl Into<KeyRange>) -> Delete {
        Delete::new(self.node.clone(), keys.into())
    }

    /// Does several things as one change, or others if a condition does not hold.
    pub fn txn(&self) -> Txn {
        Txn::new(self.node.clone())
    }

    /// Watches keys: tells each change once and in order, from now on or from a revision.
    pub fn watch(&self, keys: impl Into<KeyRange>) -> WatchCall {
        WatchCall::new(self.node.clone(), keys.into())
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.node.revision()
    }

    /// Forgets what was overwritten or deleted before `revision`, which stays readable itself.
    ///
    /// # Errors
    /// [`Error::Compacted`] if that was done before, [`Error::FutureRevision`]; [`Error::Timeout`], [`Error::Stopped`].
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.node.compact(Compact { revision, physical: false }).await?;
        Ok(())
    }

    /// Makes a lease: unless it is kept alive it ends after `ttl`, and the keys that are attached to it go with it. `ttl` is
    /// rounded up to whole seconds and raised to 2.
    ///
    /// # Errors
    /// [`Error::TtlTooLarge`]; [`Error::Timeout`], [`Error::Stopped`].
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
        let granted = self.node.root().lease_grant(LeaseId::NONE, i64::try_from(seconds).unwrap_or(i64::MAX)).await?;
        Ok(Lease { id: granted.id, ttl: duration(granted.ttl) })
    }

    /// Gives a lease its whole time again, once; tells how long that is.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`] if it has ended; [`Error::Timeout`], [`Error::Stopped`].
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, Error> {
        match self.node.lease_keep_alive(lease).await? {
            (_, ttl) if ttl > 0 => Ok(duration(ttl)),
            _ => Err(Error::LeaseNotFound),
        }
    }

    /// What is left of a lease in whole seconds; `None` if it has ended.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`].
    pub async fn time_to_live(&self, lease: LeaseId) -> Result<Option<Duration>, Error> {
        Ok(self.node.lease_time_to_live(lease, false).await?.map(|left| duration(left.seconds)))
    }

    /// Ends a lease now; its keys go with it.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`] if it has ended; [`Error::Timeout`], [`Error::Stopped`].
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.node.root().lease_revoke(lease).await?;
        Ok(())
    }
}

fn duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
