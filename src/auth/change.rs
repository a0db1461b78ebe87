//! What a change of users and roles leaves to do.

use crate::model::{Role, User};

/// One row to write, or tokens to end. A change that is carried out gives its list; one that finds nothing to change gives
/// an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Write the user, in place of the one of its name.
    PutUser(User),
    /// Remove the user of this name.
    RemoveUser(String),
    /// Write the role, in place of the one of its name.
    PutRole(Role),
    /// Remove the role of this name.
    RemoveRole(String),
    /// Write whether auth is enabled.
    Enabled(bool),
    /// Write the revision of users and roles.
    Revision(u64),
    /// End simple tokens. Nothing is written: each member has them in memory.
    EndTokens(Ended),
}

/// Whose simple tokens end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Those of this user.
    Of(String),
    /// All.
    All,
}
