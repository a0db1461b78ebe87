//! A node as one caller sees it: every verb asks first whether the caller may.
//!
//! ```text
//! token or certificate ──> Node::session ──> Session ──authorize──> the verb of the node ──check_unchanged──> answer
//! ```
//!
//! What goes through the log is checked by apply, with the name and the auth revision that travel with the command; what is
//! read is checked here, before, and once more after: users and roles may have changed in between. As long as auth is not
//! enabled nobody is asked for anything.
//!
//! Source: etcd, `server/etcdserver/v3_server.go`.

use std::fmt;
use std::sync::Arc;

use super::Node;
use super::error::{NodeError, Outcome};
use super::reads::Consistency;
use super::status::Header;
use crate::auth::{self, LeaseCall, Needs};
use crate::machine::Rejection;
use crate::model::{Caller, Compact, GrantReply, LeaseId, Range, RangeReply, Revision, Txn, TxnReply};
use crate::mvcc::{PartLimits, RangePart, RangePlace};
use crate::node::lease_keeper::Remaining;
use crate::raft::Proposal;

/// A node for one caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session {
    node: Node,
    /// `None` is nobody.
    caller: Option<Caller>,
    proof: Proof,
}

/// What a caller has shown, to be looked at again by calls that last.
#[derive(Clone)]
pub(super) enum Proof {
    Nothing,
    Token(Arc<str>),
    Certificate(Arc<str>),
    /// It is this program.
    Program,
}

impl fmt::Debug for Proof {
    /// Without the token, which is a secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Proof::Nothing => "Nothing",
            Proof::Token(_) => "Token",
            Proof::Certificate(_) => "Certificate",
            Proof::Program => "Program",
        })
    }
}

impl Session {
    /// The node for whoever it is.
    pub(super) fn new(node: Node, caller: Option<Caller>, proof: Proof) -> Session {
        Session { node, caller, proof }
    }

    /// The same caller as of now. A caller is refused once users or roles have changed since it was established; a call that
    /// waits for others renews it for each of its steps, as if each were a call of its own.
    ///
    /// # Errors
    /// As [`Node::session`].
    pub async fn renewed(&self) -> Result<Session, NodeError> {
        match &self.proof {
            Proof::Nothing => Ok(self.node.nobody()),
            Proof::Token(token) => self.node.session(Some(token), None).await,
            Proof::Certificate(name) => self.node.session(None, Some(name)).await,
            Proof::Program => Ok(self.node.root()),
        }
    }

    /// The node itself, for what needs no permission.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Who answers.
    #[must_use]
    pub fn header(&self) -> Header {
        self.node.header()
    }

    /// Refuses what the caller may not do.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] with the reason.
    pub fn authorize(&self, request: &impl Needs) -> Result<(), NodeError> {
        if !self.node.is_auth_enabled() {
            return Ok(());
        }
        let machine = self.node.shared.machine.read();
        Ok(machine
            .auth
            .check(self.caller.as_ref(), request, |lease| machine.lessor.keys(lease))
            .map_err(Rejection::Auth)?)
    }

    /// Asks the store of users and roles for anything else.
    pub(super) fn ask<R>(
        &self,
        look: impl FnOnce(&auth::Store, Option<&Caller>) -> Result<R, auth::Error>,
    ) -> Result<R, NodeError> {
        let machine = self.node.shared.machine.read();
        Ok(look(&machine.auth, self.caller.as_ref()).map_err(Rejection::Auth)?)
    }

    /// Refuses an answer that was read while users or roles changed.
    ///
    /// # Errors
    /// [`NodeError::Rejected`].
    pub fn check_unchanged(&self) -> Result<(), NodeError> {
        if self.caller.is_none() {
            return Ok(());
        }
        self.ask(|auth, caller| auth.check_unchanged(caller))
    }

    /// As [`Node::propose`]; apply asks whether the caller may.
    ///
    /// # Errors
    /// As there.
    pub async fn propose(&self, proposal: Proposal) -> Outcome {
        self.node.propose(self.signed(proposal)).await
    }

    /// A proposal with who asks for it.
    #[must_use]
    pub fn signed(&self, proposal: Proposal) -> Proposal {
        proposal.by(self.caller.as_ref())
    }

    /// As [`Node::range`].
    ///
    /// # Errors
    /// As there.
    pub async fn range(&self, query: &Range) -> Result<RangeReply, NodeError> {
        self.begin_range(query).await?;
        let reply = match self.node.range_now_behind_barrier(query) {
            Some(reply) => reply?,
            None => self.node.range_long(query).await?,
        };
        self.check_unchanged()?;
        Ok(reply)
    }

    /// Passes the barrier, if the query must, and asks for permission: in this order, as etcd does. Whoever reads then has
    /// [`Session::check_unchanged`] to come.
    ///
    /// # Errors
    /// As every read.
    pub async fn begin_range(&self, query: &Range) -> Result<(), NodeError> {
        let consistency = if query.serializable { Consistency::Serializable } else { Consistency::Linearizable };
        self.node.pass_barrier(consistency).await?;
        self.authorize(query)
    }

    /// As [`Node::range_part`].
    ///
    /// # Errors
    /// As there.
    pub async fn range_part(
        &self,
        query: &Range,
        place: &RangePlace,
        limits: PartLimits,
    ) -> Result<RangePart, NodeError> {
        if place.is_beginning() {
            self.begin_range(query).await?;
        } else {
            self.authorize(query)?;
        }
        let part = self.node.range_part_behind_barrier(query, place, limits).await?;
        self.check_unchanged()?;
        Ok(part)
    }

    /// As [`Node::read_txn`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_txn(&self, txn: &Txn, consistency: Consistency) -> Result<TxnReply, NodeError> {
        self.node.pass_barrier(consistency).await?;
        self.authorize(txn)?;
        let reply = self.node.read_txn(txn, Consistency::Serializable).await?;
        self.check_unchanged()?;
        Ok(reply)
    }

    /// As [`Node::compact`]. Whether the caller may was asked at the door.
    ///
    /// # Errors
    /// As there.
    pub async fn compact(&self, compact: Compact) -> Result<Revision, NodeError> {
        self.node.compact(compact).await
    }

    /// As [`Node::lease_grant`].
    ///
    /// # Errors
    /// As there.
    pub async fn lease_grant(&self, id: LeaseId, ttl: i64) -> Result<GrantReply, NodeError> {
        self.node.lease_grant_by(self.caller.as_ref(), id, ttl).await
    }

    /// As [`Node::lease_revoke`].
    ///
    /// # Errors
    /// As there.
    pub async fn lease_revoke(&self, id: LeaseId) -> Result<Revision, NodeError> {
        self.node.lease_revoke_by(self.caller.as_ref(), id).await
    }

    /// As [`Node::lease_keep_alive`].
    ///
    /// # Errors
    /// As there.
    pub async fn lease_keep_alive(&self, id: LeaseId) -> Result<(Revision, i64), NodeError> {
        self.authorize(&LeaseCall::KeepAlive(id))?;
        self.node.lease_keep_alive(id).await
    }

    /// As [`Node::lease_time_to_live`].
    ///
    /// # Errors
    /// As there.
    pub async fn lease_time_to_live(&self, id: LeaseId, keys: bool) -> Result<Option<Remaining>, NodeError> {
        // What counts is that nothing changes meanwhile, not as of when the caller is: it is asked for its keys alone.
        let before = self.ask(|auth, _| Ok(auth.revision()))?;
        self.authorize(&LeaseCall::TimeToLive { id, keys })?;
        let remaining = self.node.lease_time_to_live(id, keys).await?;
        self.ask(|auth, _| match keys && auth.is_enabled() && auth.revision() != before {
            true => Err(auth::Error::OldRevision),
            false => Ok(()),
        })?;
        Ok(remaining)
    }

    /// As [`Node::leases`].
    ///
    /// # Errors
    /// As there.
    pub fn leases(&self) -> Result<Vec<LeaseId>, NodeError> {
        let leases = self.node.leases()?;
        self.authorize(&LeaseCall::Leases(&leases))?;
        Ok(leases)
    }
}
