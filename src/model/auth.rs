//! Who may do what: users, roles, and what roles permit.

use std::fmt;

use bytes::Bytes;

/// A user: somebody who may ask.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Never empty.
    pub name: String,
    /// The bcrypt hash of the password; empty if there is none, and then no password fits.
    pub password: Bytes,
    /// What the user may do; ascending, none twice.
    pub roles: Vec<String>,
    /// The user was made to have no password: it proves who it is by a certificate.
    pub no_password: bool,
}

impl User {
    /// Whether the user has the role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.binary_search_by(|own| own.as_str().cmp(role)).is_ok()
    }
}

/// Hashes of passwords stay out of logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("roles", &self.roles)
            .field("no_password", &self.no_password)
            .finish_non_exhaustive()
    }
}

/// A role: a name for what may be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    /// Never empty.
    pub name: String,
    /// By ascending key; among those of one key the one that was granted first.
    pub permissions: Vec<Permission>,
}

/// What a role permits: one kind of access to a range of keys, as the client gave it.
///
/// Source: etcd, `authpb.Permission`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// To do what.
    pub kind: PermissionKind,
    /// The first key; empty only in what is shown of the role root.
    pub key: Bytes,
    /// Empty for one key, the byte zero for every key from `key` on, else the first key that is not meant any more.
    pub range_end: Bytes,
}

/// What may be done to keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PermissionKind {
    /// Read, compare and watch them.
    Read,
    /// Write and delete them.
    Write,
    /// Both.
    ReadWrite,
    /// A number that etcd does not know: is kept and shown, and permits nothing.
    Unknown(i32),
}

impl PermissionKind {
    /// The kind that etcd's messages mean by a number.
    #[must_use]
    pub fn from_number(number: i32) -> PermissionKind {
        match number {
            0 => PermissionKind::Read,
            1 => PermissionKind::Write,
            2 => PermissionKind::ReadWrite,
            other => PermissionKind::Unknown(other),
        }
    }

    /// The number that etcd's messages write for it.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            PermissionKind::Read => 0,
            PermissionKind::Write => 1,
            PermissionKind::ReadWrite => 2,
            PermissionKind::Unknown(number) => number,
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Its name. A certificate or a token may carry one that is empty, or that nobody has.
    pub user: String,
    /// The revision of the users and roles as of which that was established; zero only from a token that says so, and
    /// then whoever asks for keys is nobody.
    pub revision: u64,
}

/// A change of users, roles, or of whether they matter. Passwords are hashed before they come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthChange {
    /// From now on everybody has to prove who they are.
    Enable,
    /// Nobody has to any more.
    Disable,
    /// Makes a user.
    UserAdd {
        /// Its name.
        name: String,
        /// The hash of its password; `None` if it is to have none.
        password: Option<PasswordHash>,
    },
    /// Removes a user.
    UserDelete {
        /// Its name.
        name: String,
    },
    /// Replaces a password.
    UserChangePassword {
        /// Whose.
        name: String,
        /// The hash of the new one; `None` if what was given is none.
        password: Option<PasswordHash>,
    },
    /// Gives a role to a user.
    UserGrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Takes a role from a user.
    UserRevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Makes a role.
    RoleAdd {
        /// Its name.
        name: String,
    },
    /// Removes a role, from all users too.
    RoleDelete {
        /// Its name.
        name: String,
    },
    /// Adds a permission to a role.
    RoleGrantPermission {
        /// The role.
        role: String,
        /// `None` if the request has none, which is refused.
        permission: Option<Permission>,
    },
    /// Takes a permission from a role.
    RoleRevokePermission {
        /// The role.
        role: String,
        /// The first key, as it was granted.
        key: Bytes,
        /// The end, as it was granted.
        range_end: Bytes,
    },
}

/// A bcrypt hash. It stays out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Bytes);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// Gives a token to a user that has proved who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Authenticate {
    /// Its name.
    pub user: String,
    /// The letters that a simple token begins with; empty if tokens are signed. Who knows them is the user.
    pub prefix: String,
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate").field("user", &self.user).finish_non_exhaustive()
    }
}
