//! Auth: who may do what.
//!
//! A **user** has **roles**, a role has **permissions**, and a permission is a kind of access to a range of keys. The user
//! that has the role `root` may do everything. Nothing is checked until auth is enabled, for which there must be such a
//! user named `root`.
//!
//! ```text
//! alice -- readers -- read      [/a/, /a0)  \
//!       \- owners  -- readwrite [/a0, /b)    } read: [/a/, /b)   write: [/a0, /b), c
//!                  \- write     c           /
//! ```
//!
//! A request is settled in two steps. What it [`Needs`] is found by one walk over it. Whether the [`Caller`] has that is
//! asked of the [`Store`]: the permissions of all of a user's roles count together, and a range must be covered whole by
//! their union.
//!
//! The store is replicated and changes only through applied commands; what each leaves to write comes back as [`Change`]s.
//! Each change of users or roles takes a **revision** of its own count. A caller carries the revision as of which it was
//! established, and one that is older than the present one is refused: what it was allowed may have changed.
//!
//! How callers prove who they are is apart from all that: by a [`password`], and then by a [`token`]. Neither is replicated
//! but as values that commands carry. Time and randomness come from outside.
//!
//! [`Caller`]: crate::model::Caller

mod change;
mod check;
mod error;
mod needs;
pub mod password;
mod permitted;
mod roles;
mod store;
mod switch;
pub mod token;
mod users;

#[cfg(test)]
mod tests;

pub use self::change::{Change, Ended};
pub use self::error::Error;
pub use self::needs::{Access, LeaseCall, Need, Needs};
pub use self::store::Store;

/// The name of the user that must be there while auth is enabled, and of the role that may do everything.
pub const ROOT: &str = "root";
