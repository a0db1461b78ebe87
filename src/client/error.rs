//! Why a call has no answer.

use crate::net::AddressError;

/// gRPC's code for a member that cannot answer now. Source: gRPC, status codes.
const UNAVAILABLE: u32 = 14;
/// How a member refuses a token, in etcd's words; they are the contract. Source: etcd, `api/v3rpc/rpctypes`.
const TOKEN_REFUSALS: [&str; 3] =
    ["etcdserver: invalid auth token", "etcdserver: revision of auth store is old", "etcdserver: user name is empty"];
/// Nobody has to prove anything.
const NO_USERS: &str = "etcdserver: authentication is not enabled";

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody could connect there.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A member cannot be reached.
    #[error("cannot connect to {endpoint}: {why}")]
    Connect {
        /// As given.
        endpoint: String,
        /// Why not.
        why: String,
    },
    /// The connection broke, or what came is no answer.
    #[error("{endpoint} does not answer: {why}")]
    Broken {
        /// As given.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// The member refused, in its own words.
    #[error("{endpoint} refuses: {message} (code {code})")]
    Refused {
        /// As given.
        endpoint: String,
        /// gRPC's code.
        code: u32,
        /// The text.
        message: String,
    },
    /// There was no answer in time. The words are Go's.
    #[error("context deadline exceeded{}", last.as_ref().map(|last| format!(": {last}")).unwrap_or_default())]
    Late {
        /// What went wrong before, if anything did.
        last: Option<Box<Error>>,
    },
}

impl Error {
    /// Whether it may be another one in a moment, or at another endpoint.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Broken { .. } => true,
            Error::Refused { code, .. } => *code == UNAVAILABLE,
            Error::Address(_) | Error::Late { .. } => false,
        }
    }

    /// Whether the token was refused, and not what was asked with it. Source: etcd, `Client.shouldRefreshToken`.
    pub(super) fn asks_for_another_token(&self) -> bool {
        matches!(self, Error::Refused { message, .. } if TOKEN_REFUSALS.contains(&message.as_str()))
    }

    /// Whether the answer to a proof is that there are no users.
    pub(super) fn says_that_there_are_no_users(&self) -> bool {
        matches!(self, Error::Refused { message, .. } if message == NO_USERS)
    }
}
