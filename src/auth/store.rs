//! Users, roles, and whether they matter.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::permitted::Permitted;
use super::{Change, Error, ROOT};
use crate::model::{Permission, PermissionKind, Role, User};

/// The users and roles, whether auth is enabled, and the revision of all that.
///
/// What it does is spread over files: the switch (`switch`), changes of users (`users`) and of roles (`roles`), and the
/// checks of callers (`check`).
#[derive(Debug)]
pub struct Store {
    pub(super) enabled: bool,
    revision: u64,
    pub(super) users: BTreeMap<String, Entry>,
    pub(super) roles: BTreeMap<String, Role>,
}

/// A user, with what its roles permit together.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) user: User,
    /// Found when it is first asked for, and dropped when the user or one of its roles changes.
    pub(super) permitted: OnceLock<Permitted>,
}

impl Default for Store {
    fn default() -> Store {
        Store::load(false, 1, [], [])
    }
}

impl Store {
    /// The store as it begins: nobody is there, auth is not enabled, the revision is 1.
    #[must_use]
    pub fn new() -> Store {
        Store::default()
    }

    /// Rebuilds the store from its rows.
    #[must_use]
    pub fn load(
        enabled: bool,
        revision: u64,
        users: impl IntoIterator<Item = User>,
        roles: impl IntoIterator<Item = Role>,
    ) -> Store {
        Store {
            enabled,
            revision,
            users: users.into_iter().map(|user| (user.name.clone(), Entry::new(user))).collect(),
            roles: roles.into_iter().map(|role| (role.name.clone(), role)).collect(),
        }
    }

    /// Whether auth is enabled: if not, everybody may do everything.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Counts changes of users and roles. The first is 1.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All users, by ascending name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values().map(|entry| &entry.user)
    }

    /// All roles, by ascending name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// The roles of a user, ascending.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub fn roles_of(&self, user: &str) -> Result<&[String], Error> {
        Ok(&self.user(user)?.roles)
    }

    /// What a role permits, as it is shown. The role `root` always shows that it may do everything, and nothing of what was
    /// granted to it.
    ///
    /// # Errors
    /// [`Error::RoleNotFound`]; the role `root` too is only there if it was made.
    pub fn permissions_of(&self, role: &str) -> Result<Vec<Permission>, Error> {
        let found = self.roles.get(role).ok_or(Error::RoleNotFound)?;
        if role == ROOT {
            let (key, range_end) = (b"".as_slice().into(), b"\0".as_slice().into());
            return Ok(vec![Permission { kind: PermissionKind::ReadWrite, key, range_end }]);
        }
        Ok(found.permissions.clone())
    }

    pub(super) fn user(&self, name: &str) -> Result<&User, Error> {
        Ok(&self.users.get(name).ok_or(Error::UserNotFound)?.user)
    }

    pub(super) fn put_user(&mut self, user: User) -> Change {
        self.users.insert(user.name.clone(), Entry::new(user.clone()));
        Change::PutUser(user)
    }

    pub(super) fn put_role(&mut self, role: Role) -> Change {
        self.forget_permitted_by(&role.name);
        self.roles.insert(role.name.clone(), role.clone());
        Change::PutRole(role)
    }

    /// Drops what is remembered of all users that have the role.
    pub(super) fn forget_permitted_by(&mut self, role: &str) {
        for entry in self.users.values_mut().filter(|entry| entry.user.has_role(role)) {
            entry.permitted.take();
        }
    }

    pub(super) fn next_revision(&mut self) -> Change {
        // It would take longer than there is time to come to the end; a row may still say so.
        self.revision = self.revision.saturating_add(1);
        Change::Revision(self.revision)
    }
}

impl Entry {
    fn new(user: User) -> Entry {
        Entry { user, permitted: OnceLock::new() }
    }
}
