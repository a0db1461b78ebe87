//! What a request needs of whoever asks.
//!
//! One walk over the request, in the order in which etcd checks it, tells each [`Need`] to a visitor; the first that the
//! visitor refuses ends it. Nothing is copied. Both branches of a txn are walked, whichever will be taken: who may not do
//! what a txn might do may not ask for it.
//!
//! Source: etcd, `server/etcdserver/apply/apply_auth.go` and `server/etcdserver/txn/txn.go` of 3.7.

use crate::model::{Command, Compare, DeleteRange, KeyRange, LeaseId, LeaseRevoke, Put, Range, Txn, TxnOp};

/// What is done to keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// They are read, compared or watched.
    Read,
    /// They are written or deleted.
    Write,
}

/// One thing that the caller must be, or be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// To be somebody.
    Authenticated,
    /// To have the role `root`.
    Root,
    /// Access to a range of keys, given as clients give it.
    Keys {
        /// Which access.
        access: Access,
        /// The first key.
        key: &'a [u8],
        /// Empty for one key, the byte zero for all from `key` on, else the exclusive end.
        range_end: &'a [u8],
    },
    /// The same access to each key that is attached to a lease, or the role `root`. A lease that is not there has no keys.
    LeaseKeys {
        /// Which access.
        access: Access,
        /// Which lease.
        lease: LeaseId,
    },
}

/// A request that needs something of its caller.
pub trait Needs {
    /// Tells each need to `visit`, until that refuses one.
    ///
    /// # Errors
    /// What `visit` refuses with.
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E>;
}

/// Reading or watching these keys.
impl Needs for KeyRange {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        visit(access(Access::Read, self))
    }
}

impl Needs for Range {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        self.keys.each_need(visit)
    }
}

impl Needs for Compare {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        self.keys.each_need(visit)
    }
}

/// Who puts a key under a lease must be able to end that lease, which deletes the keys that it has: else those who may
/// would delete what they may not write.
impl Needs for Put {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        let one = |access| Need::Keys { access, key: &self.key, range_end: &[] };
        visit(one(Access::Write))?;
        if !self.lease.is_none() {
            visit(Need::LeaseKeys { access: Access::Write, lease: self.lease })?;
        }
        if self.prev_kv {
            visit(one(Access::Read))?;
        }
        Ok(())
    }
}

impl Needs for DeleteRange {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        visit(access(Access::Write, &self.keys))?;
        if self.prev_kv {
            visit(access(Access::Read, &self.keys))?;
        }
        Ok(())
    }
}

impl Needs for Txn {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        for compare in &self.compare {
            compare.each_need(visit)?;
        }
        for op in self.success.iter().chain(&self.failure) {
            match op {
                TxnOp::Range(range) => range.each_need(visit)?,
                TxnOp::Put(put) => put.each_need(visit)?,
                TxnOp::DeleteRange(delete) => delete.each_need(visit)?,
                TxnOp::Txn(txn) => txn.each_need(visit)?,
            }
        }
        Ok(())
    }
}

impl Needs for LeaseRevoke {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        visit(Need::Authenticated)?;
        visit(Need::LeaseKeys { access: Access::Write, lease: self.id })
    }
}

/// What is asked about leases beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseCall<'a> {
    /// To keep it alive.
    KeepAlive(LeaseId),
    /// How long it lives, and if `keys` which keys it has.
    TimeToLive {
        /// Which lease.
        id: LeaseId,
        /// Its keys are asked for.
        keys: bool,
    },
    /// Which leases there are: these.
    Leases(&'a [LeaseId]),
}

impl Needs for LeaseCall<'_> {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        visit(Need::Authenticated)?;
        match *self {
            LeaseCall::KeepAlive(lease) => visit(Need::LeaseKeys { access: Access::Write, lease }),
            LeaseCall::TimeToLive { id, keys: true } => visit(Need::LeaseKeys { access: Access::Read, lease: id }),
            LeaseCall::TimeToLive { keys: false, .. } => Ok(()),
            LeaseCall::Leases(ids) => {
                ids.iter().try_for_each(|&lease| visit(Need::LeaseKeys { access: Access::Read, lease }))
            }
        }
    }
}

impl Needs for Command {
    fn each_need<E>(&self, visit: &mut impl FnMut(Need<'_>) -> Result<(), E>) -> Result<(), E> {
        match self {
            Command::Put(put) => put.each_need(visit),
            Command::DeleteRange(delete) => delete.each_need(visit),
            Command::Txn(txn) => txn.each_need(visit),
            Command::LeaseGrant(_) => visit(Need::Authenticated),
            Command::LeaseRevoke(revoke) => revoke.each_need(visit),
            Command::Auth(_) => visit(Need::Root),
            // Whoever has proved who it is may have a token.
            Command::Authenticate(_)
            // Members do these by themselves, too; who asks for one must be root, which is checked where it is asked for
            // (`api/grpc/access`).
            | Command::Compact(_)
            | Command::Alarm(_)
            | Command::Downgrade(_)
            | Command::MemberAdd(_)
            | Command::MemberRemove(_)
            | Command::MemberUpdate(_)
            | Command::MemberPromote(_)
            // Members make these of themselves.
            | Command::LeaseExpire(_)
            | Command::LeaseCheckpoint(_)
            | Command::MemberSet(_)
            | Command::MembersFound(_)
            | Command::MembersReduce(_)
            | Command::MemberAttributes(_) => Ok(()),
        }
    }
}

fn access(access: Access, keys: &KeyRange) -> Need<'_> {
    Need::Keys { access, key: &keys.start, range_end: keys.end.as_bytes() }
}
