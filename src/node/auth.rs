//! Who asks: from a token or a certificate to a caller, and from a password to a token; and the verbs of users and roles.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::Node;
use super::applied::Applied;
use super::error::NodeError;
use super::proposer::REQUEST_TIMEOUT;
use super::session::{Proof, Session};
use crate::auth::password::{self, Cost, PasswordTooLong};
use crate::auth::token::{Moment, Tokens};
use crate::auth::{self, Error};
use crate::env::{Clock, unix_time};
use crate::machine::{AuthEffect, Rejection, Shared};
use crate::model::{AuthChange, Authenticate, Caller, Command, PasswordHash, Permission, Reply, Revision};
use crate::raft::Proposal;

/// How often a token is asked for again because users or roles have changed since the password was looked at.
const AUTHENTICATE_TRIES: u32 = 10;

/// How long a simple token lives after its last use. Source: etcd, `simpleTokenTTLDefault`.
const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(300);

/// How callers prove who they are.
#[derive(Debug, Clone)]
pub struct AuthOptions {
    /// What they get for a password.
    pub tokens: Arc<Tokens>,
    /// What passwords are hashed with.
    pub cost: Cost,
}

impl Default for AuthOptions {
    /// Simple tokens that live for five minutes after their last use, as etcd's.
    fn default() -> AuthOptions {
        AuthOptions { tokens: Arc::new(Tokens::simple(TOKEN_TTL_DEFAULT)), cost: Cost::default() }
    }
}

/// What a member knows of callers beside the replicated state.
#[derive(Debug)]
pub(super) struct Authenticator {
    options: AuthOptions,
    /// As the replicated state says, for whoever must not wait for that.
    is_enabled: AtomicBool,
    shared: Arc<Shared>,
    applied: Arc<Applied>,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    pub(super) fn new(
        options: AuthOptions,
        (shared, applied): (Arc<Shared>, Arc<Applied>),
        clock: Arc<dyn Clock>,
    ) -> Arc<Authenticator> {
        let is_enabled = shared.machine.read().auth.is_enabled().into();
        Arc::new(Authenticator { options, is_enabled, shared, applied, clock })
    }

    /// A run was applied. Called before anybody is answered: whoever gets a token finds it known.
    pub(super) fn applied(&self, effects: &[AuthEffect]) {
        for effect in effects {
            match effect {
                AuthEffect::Given { user, prefix, index } => {
                    if let Tokens::Simple(_) = &*self.options.tokens {
                        // Every member remembers it; one that signs makes it only for whoever asks there.
                        let _ = self.options.tokens.assign(user, 0, prefix, *index, self.now());
                    }
                }
                AuthEffect::Changed => self.look(),
                AuthEffect::Ended(ended) => self.options.tokens.end(ended),
            }
        }
    }

    /// The state was replaced, or changed.
    pub(super) fn look(&self) {
        // Release: whoever sees it enabled finds the users.
        self.is_enabled.store(self.shared.machine.read().auth.is_enabled(), Ordering::Release);
    }

    fn now(&self) -> Moment {
        Moment { tick: self.clock.now(), since_epoch: unix_time() }
    }
}

impl Node {
    /// Whether callers have to prove who they are. Asked for each call of a client.
    #[must_use]
    pub fn is_auth_enabled(&self) -> bool {
        self.auth.is_enabled.load(Ordering::Acquire)
    }

    /// The node for whoever shows this token, or else this verified name of a certificate.
    ///
    /// A token that a log entry gives is waited for until that is applied here, as long as a request may take.
    ///
    /// # Errors
    /// [`Error::InvalidAuthToken`] for a token that is none, whatever the certificate says.
    pub async fn session(&self, token: Option<&str>, certified: Option<&str>) -> Result<Session, NodeError> {
        if let Some(index) =
            token.filter(|_| self.is_auth_enabled()).and_then(|token| self.auth.options.tokens.index_of(token))
        {
            let reached = timeout(REQUEST_TIMEOUT, self.auth.applied.reach(index)).await;
            reached.map_err(|_| Rejection::Auth(Error::InvalidAuthToken))?;
        }
        self.session_of(token, certified)
    }

    /// As [`Node::session`], if that is done at once: `None` for a token that may have to be waited for, or that is signed,
    /// which takes a while to check.
    #[must_use]
    pub fn session_now(&self, token: Option<&str>, certified: Option<&str>) -> Option<Result<Session, NodeError>> {
        if let Some(token) = token {
            let tokens = &self.auth.options.tokens;
            let is_known = tokens.index_of(token).is_none_or(|index| self.auth.applied.has_reached(index));
            if matches!(**tokens, Tokens::Jwt(_)) || !is_known {
                return None;
            }
        }
        Some(self.session_of(token, certified))
    }

    fn session_of(&self, token: Option<&str>, certified: Option<&str>) -> Result<Session, NodeError> {
        let proof = match (token, certified) {
            (Some(token), _) => Proof::Token(token.into()),
            (None, Some(name)) => Proof::Certificate(name.into()),
            (None, None) => Proof::Nothing,
        };
        if !self.is_auth_enabled() {
            return Ok(Session::new(self.clone(), None, proof));
        }
        let revision = self.shared.machine.read().auth.revision();
        let caller = match token {
            Some(token) => {
                let caller = self.auth.options.tokens.caller(token, revision, self.auth.now());
                Some(caller.map_err(Rejection::Auth)?)
            }
            None => certified.map(|name| Caller { user: name.to_owned(), revision }),
        };
        Ok(Session::new(self.clone(), caller, proof))
    }

    /// The node for a caller that has shown nothing.
    #[must_use]
    pub fn nobody(&self) -> Session {
        Session::new(self.clone(), None, Proof::Nothing)
    }

    /// The node for this program itself, which may do everything.
    #[must_use]
    pub fn root(&self) -> Session {
        // Newer than any: what a program may do to its own store does not depend on when it began.
        let caller = Caller { user: auth::ROOT.to_owned(), revision: u64::MAX };
        Session::new(self.clone(), self.is_auth_enabled().then_some(caller), Proof::Program)
    }

    /// Gives a token for a password, with the store's revision.
    ///
    /// # Errors
    /// [`NodeError::Rejected`]: auth is not enabled, or user and password do not fit.
    pub async fn authenticate(&self, user: &str, password: &str) -> Result<(String, Revision), NodeError> {
        let tokens = self.auth.options.tokens.clone();
        for _ in 0..AUTHENTICATE_TRIES {
            self.barrier.pass().await?;
            let (hash, looked_at) = {
                let auth = &self.shared.machine.read().auth;
                (auth.password_of(user).map_err(Rejection::Auth)?.cloned(), auth.revision())
            };
            let (cost, password) = (self.auth.options.cost, password.to_owned());
            // A twentieth of a second, on purpose.
            let fits = self.threading.blocking(move || password::fits(hash.as_deref(), &password, cost)).await;
            if !fits.map_err(|_| NodeError::Stopped)? {
                return Err(Rejection::Auth(Error::AuthFailed).into());
            }
            let prefix = tokens.prefix(|| self.random.next_u64());
            let given = Authenticate { user: user.to_owned(), prefix: prefix.clone() };
            let reply = self.propose(Proposal::from(&Command::Authenticate(given))).await?;
            let Reply::Authenticate { revision, index, auth_revision } = reply else {
                return Err(super::leases::mismatch("a password", &reply));
            };
            if auth_revision == looked_at {
                let token = tokens.assign(user, auth_revision, &prefix, index, self.auth.now());
                return Ok((token.map_err(Rejection::Auth)?, revision));
            }
        }
        Err(Rejection::Auth(Error::OldRevision).into())
    }

    /// Hashes a password, off the async workers.
    ///
    /// # Errors
    /// [`PasswordTooLong`] within, [`NodeError::Stopped`] at the end.
    pub async fn hash_password(&self, password: String) -> Result<Result<PasswordHash, PasswordTooLong>, NodeError> {
        let salt = [self.random.next_u64().to_ne_bytes(), self.random.next_u64().to_ne_bytes()];
        let salt = *salt.as_flattened().first_chunk().expect("two words are sixteen bytes");
        let cost = self.auth.options.cost;
        let hash = self.threading.blocking(move || password::hash(&password, cost, salt)).await;
        Ok(hash.map_err(|_| NodeError::Stopped)?.map(PasswordHash))
    }
}

impl Session {
    /// Changes users or roles, or whether they matter; gives the store's revision.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] as [`auth::Store`] refuses it; else as [`Node::propose`].
    pub async fn change_auth(&self, change: AuthChange) -> Result<Revision, NodeError> {
        self.propose(Proposal::from(&Command::Auth(change))).await.map(|reply| reply.revision())
    }

    /// Whether auth is enabled, and the revision of users and roles; linearizable. Anybody may know.
    ///
    /// # Errors
    /// As every linearizable read.
    pub async fn auth_status(&self) -> Result<(bool, u64), NodeError> {
        self.node().barrier.pass_in_order().await?;
        self.ask(|auth, _| Ok((auth.is_enabled(), auth.revision())))
    }

    /// The roles of a user.
    ///
    /// # Errors
    /// [`NodeError::Rejected`] for a caller that may not know, and if there is no such user; else as every linearizable read.
    pub async fn user_get(&self, name: &str) -> Result<Vec<String>, NodeError> {
        self.node().barrier.pass_in_order().await?;
        self.ask(|auth, caller| {
            auth.check_user_get(caller, name)?;
            auth.roles_of(name).map(<[String]>::to_vec)
        })
    }

    /// The names of all users, ascending.
    ///
    /// # Errors
    /// As [`Session::user_get`].
    pub async fn user_list(&self) -> Result<Vec<String>, NodeError> {
        self.node().barrier.pass_in_order().await?;
        self.ask(|auth, caller| {
            auth.check_root(caller)?;
            Ok(auth.users().map(|user| user.name.clone()).collect())
        })
    }

    /// What a role permits.
    ///
    /// # Errors
    /// As [`Session::user_get`], of roles.
    pub async fn role_get(&self, name: &str) -> Result<Vec<Permission>, NodeError> {
        self.node().barrier.pass_in_order().await?;
        self.ask(|auth, caller| {
            auth.check_role_get(caller, name)?;
            auth.permissions_of(name)
        })
    }

    /// The names of all roles, ascending.
    ///
    /// # Errors
    /// As [`Session::user_get`].
    pub async fn role_list(&self) -> Result<Vec<String>, NodeError> {
        self.node().barrier.pass_in_order().await?;
        self.ask(|auth, caller| {
            auth.check_root(caller)?;
            Ok(auth.roles().map(|role| role.name.clone()).collect())
        })
    }

    /// Checks that the caller is root.
    ///
    /// # Errors
    /// [`NodeError::Rejected`].
    pub fn check_root(&self) -> Result<(), NodeError> {
        self.ask(|auth, caller| auth.check_root(caller))
    }

    /// Checks that the caller is somebody.
    ///
    /// # Errors
    /// [`NodeError::Rejected`].
    pub fn check_authenticated(&self) -> Result<(), NodeError> {
        self.ask(|auth, caller| auth.check_authenticated(caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{ManualClock, SeededRandom, SimDisk};
    use crate::model::{ClusterId, MemberId};
    use crate::node::NodeOptions;
    use crate::storage::Identity;

    const CHEAPEST: u64 = 4;

    /// What can be measured from outside says nothing of who is a user: each answer takes one run of bcrypt.
    #[tokio::test]
    async fn a_wrong_name_takes_as_much_work_as_a_wrong_password_and_a_right_one() {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        let auth = AuthOptions { cost: Cost::new(CHEAPEST).unwrap(), ..AuthOptions::default() };
        let options = NodeOptions {
            auth,
            segment_bytes: 1 << 20,
            ..NodeOptions::new(Arc::new(SimDisk::new()), clock, random, identity)
        };
        let node = Node::start(options.clone()).await.unwrap();
        node.ready(&options).await.unwrap();

        let right = "the right password of this test";
        let password = node.hash_password(right.to_owned()).await.unwrap().unwrap();
        let root = || auth::ROOT.to_owned();
        for change in [
            AuthChange::UserAdd { name: root(), password: Some(password) },
            AuthChange::UserGrantRole { user: root(), role: root() },
            AuthChange::Enable,
        ] {
            node.root().change_auth(change).await.unwrap();
        }
        for (user, given, is_let_in) in [
            (auth::ROOT, right, true),
            (auth::ROOT, "a wrong password of this test", false),
            ("nobody of this name", "the password of nobody of this test", false),
        ] {
            let before = password::counting::runs(given);
            let answer = node.authenticate(user, given).await;
            assert_eq!(password::counting::runs(given) - before, 1, "{user}: {answer:?}");
            match answer {
                Ok(_) => assert!(is_let_in, "{user}"),
                Err(NodeError::Rejected(Rejection::Auth(Error::AuthFailed))) => assert!(!is_let_in, "{user}"),
                Err(error) => panic!("{user}: {error}"),
            }
        }
        node.stop().await;
    }
}
