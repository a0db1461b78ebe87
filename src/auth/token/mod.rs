//! Tokens: what a caller shows instead of its password.
//!
//! | kind | what it is | known to | ends |
//! | --- | --- | --- | --- |
//! | **simple** | letters drawn by who proposed it, and the log index that made it | members that have applied that index, in memory | some time after its last use there; with its user, its password, or auth |
//! | **JWT** | a signed text that names the user and the revision of auth | everybody who has the key | at the time that it says, or as soon as users or roles change |
//!
//! Or there are none: then nobody can prove who they are but by a certificate.
//!
//! Time and letters come from outside. Keys and tokens show nothing of themselves in a log.
//!
//! Source: etcd, `server/auth/simple_token.go`, `jwt.go`, `options.go`.

pub mod any_bytes;
mod jwt;
mod key;
mod key_file;
mod simple;

use std::time::Duration;

use parking_lot::Mutex;

pub use self::jwt::{Jwt, JwtOptions, TokenError};
pub use self::key::{KeyError, SignMethod};
pub use self::simple::{SimpleTokens, index_of, letters};
use super::{Ended, Error};
use crate::env::Tick;
use crate::model::Caller;

/// The present, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the member's own clock, for tokens that end when nobody uses them.
    pub tick: Tick,
    /// Since 1970, for tokens that others look at too.
    pub since_epoch: Duration,
}

/// The tokens of one member, of the kind that `--auth-token` says.
#[derive(Debug)]
pub enum Tokens {
    /// There are none.
    Absent,
    /// Tokens that members remember. The lock is held for one look-up.
    Simple(Mutex<SimpleTokens>),
    /// Tokens that are signed.
    Jwt(Box<Jwt>),
}

impl Tokens {
    /// Simple tokens, each of which ends `ttl` after its last use.
    #[must_use]
    pub fn simple(ttl: Duration) -> Tokens {
        Tokens::Simple(Mutex::new(SimpleTokens::new(ttl)))
    }

    /// What the member that proposes to make a token adds to the command, for all members to make the same: letters, or
    /// nothing if the token needs none. `random` gives numbers, each equally likely.
    pub fn prefix(&self, random: impl FnMut() -> u64) -> String {
        match self {
            Tokens::Simple(_) => letters(random),
            Tokens::Absent | Tokens::Jwt(_) => String::new(),
        }
    }

    /// Makes a token for a user that has proved who it is. `prefix` came with the command, `index` is that of its log entry,
    /// `revision` that of auth.
    ///
    /// # Errors
    /// [`Error::AuthFailed`] if there are no tokens, [`Error::VerifyOnly`] if those of others can only be checked here.
    pub fn assign(&self, user: &str, revision: u64, prefix: &str, index: u64, now: Moment) -> Result<String, Error> {
        match self {
            Tokens::Absent => Err(Error::AuthFailed),
            Tokens::Simple(tokens) => Ok(tokens.lock().assign(user, prefix, index, now.tick)),
            Tokens::Jwt(jwt) => jwt.issue(user, revision, now.since_epoch),
        }
    }

    /// The log index that must have been applied before [`Tokens::caller`] can know a token; `None` if it need not wait, be
    /// it because the token is none.
    #[must_use]
    pub fn index_of(&self, token: &str) -> Option<u64> {
        match self {
            Tokens::Simple(_) => index_of(token),
            Tokens::Absent | Tokens::Jwt(_) => None,
        }
    }

    /// Who shows a token. `revision` is that of auth, as of which simple tokens are always.
    ///
    /// # Errors
    /// [`Error::InvalidAuthToken`].
    pub fn caller(&self, token: &str, revision: u64, now: Moment) -> Result<Caller, Error> {
        match self {
            Tokens::Absent => Err(Error::InvalidAuthToken),
            Tokens::Simple(tokens) => {
                let mut tokens = tokens.lock();
                let user = tokens.user_of(token, now.tick).ok_or(Error::InvalidAuthToken)?.to_owned();
                Ok(Caller { user, revision })
            }
            Tokens::Jwt(jwt) => jwt.verify(token, now.since_epoch).map_err(|odd| {
                tracing::warn!(error = %odd, "failed to parse a JWT token");
                Error::InvalidAuthToken
            }),
        }
    }

    /// Ends simple tokens. Signed ones cannot be taken back: what ends them is the revision.
    pub fn end(&self, ended: &Ended) {
        match self {
            Tokens::Simple(tokens) => tokens.lock().end(ended),
            Tokens::Absent | Tokens::Jwt(_) => {}
        }
    }
}
