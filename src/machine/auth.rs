//! Users and roles: changes, and the tokens that they give and take.
//!
//! Whether the caller may do it was checked before: for every command at one place, [`Machine::apply_by`].

use std::collections::BTreeMap;

use super::{Effects, Machine, Rejection};
use crate::auth::{self, Change, Ended};
use crate::model::{AuthChange, Authenticate, Reply};
use crate::storage::{AuthRow, TableWrite};

/// What a command leaves to be done about tokens, which members have in memory, and about who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthEffect {
    /// A user gets a token.
    Given {
        /// Who.
        user: String,
        /// What a simple token begins with.
        prefix: String,
        /// The log entry that gives it.
        index: u64,
    },
    /// Users or roles have changed, or whether they matter.
    Changed,
    /// Simple tokens end.
    Ended(Ended),
}

/// Under which numbers users and roles are stored: each under the auth revision that made it, which made nothing else.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    users: BTreeMap<String, u64>,
    roles: BTreeMap<String, u64>,
}

impl Machine {
    /// Everybody's permissions as a checkpoint has them.
    pub(super) fn load_auth(rows: Vec<(u64, AuthRow)>) -> (auth::Store, Numbers) {
        let (mut enabled, mut revision) = (false, auth::Store::new().revision());
        let (mut users, mut roles, mut numbers) = (Vec::new(), Vec::new(), Numbers::default());
        for (number, row) in rows {
            match row {
                AuthRow::State { enabled: is_enabled, revision: present } => {
                    (enabled, revision) = (is_enabled, present)
                }
                AuthRow::User(user) => {
                    numbers.users.insert(user.name.clone(), number);
                    users.push(user);
                }
                AuthRow::Role(role) => {
                    numbers.roles.insert(role.name.clone(), number);
                    roles.push(role);
                }
            }
        }
        (auth::Store::load(enabled, revision, users, roles), numbers)
    }

    pub(super) fn change_auth(&mut self, change: &AuthChange, effects: &mut Effects) -> Result<Reply, Rejection> {
        let auth = &mut self.auth;
        let changes = match change {
            AuthChange::Enable => auth.enable(),
            AuthChange::Disable => Ok(auth.disable()),
            AuthChange::UserAdd { name, password } => auth.user_add(name, password.as_ref().map(|hash| hash.0.clone())),
            AuthChange::UserDelete { name } => auth.user_delete(name),
            AuthChange::UserChangePassword { name, password } => {
                auth.user_change_password(name, password.as_ref().map(|hash| hash.0.clone()))
            }
            AuthChange::UserGrantRole { user, role } => auth.user_grant_role(user, role),
            AuthChange::UserRevokeRole { user, role } => auth.user_revoke_role(user, role),
            AuthChange::RoleAdd { name } => auth.role_add(name),
            AuthChange::RoleDelete { name } => auth.role_delete(name),
            AuthChange::RoleGrantPermission { role, permission } => {
                auth.role_grant_permission(role, permission.clone())
            }
            AuthChange::RoleRevokePermission { role, key, range_end } => {
                auth.role_revoke_permission(role, key, range_end)
            }
        };
        for change in changes.map_err(Rejection::Auth)? {
            self.note_auth(change, effects);
        }
        Ok(Reply::Done { revision: self.kv.revision() })
    }

    fn note_auth(&mut self, change: Change, effects: &mut Effects) {
        let revision = self.auth.revision();
        let (row, content) = match change {
            Change::PutUser(user) => {
                let row = *self.auth_numbers.users.entry(user.name.clone()).or_insert(revision);
                (row, Some(AuthRow::User(user)))
            }
            Change::PutRole(role) => {
                let row = *self.auth_numbers.roles.entry(role.name.clone()).or_insert(revision);
                (row, Some(AuthRow::Role(role)))
            }
            Change::RemoveUser(name) => match self.auth_numbers.users.remove(&name) {
                Some(row) => (row, None),
                None => return,
            },
            Change::RemoveRole(name) => match self.auth_numbers.roles.remove(&name) {
                Some(row) => (row, None),
                None => return,
            },
            Change::Enabled(_) | Change::Revision(_) => (AuthRow::STATE, Some(self.auth_state())),
            Change::EndTokens(ended) => return effects.auth.push(AuthEffect::Ended(ended)),
        };
        effects.writes.push(TableWrite::Auth { row, content });
        effects.auth.push(AuthEffect::Changed);
    }

    fn auth_state(&self) -> AuthRow {
        AuthRow::State { enabled: self.auth.is_enabled(), revision: self.auth.revision() }
    }

    pub(super) fn authenticate(&self, given: &Authenticate, effects: &mut Effects) -> Result<Reply, Rejection> {
        self.auth.check_authenticate(&given.user).map_err(Rejection::Auth)?;
        let index = self.applied().index;
        let Authenticate { user, prefix } = given.clone();
        effects.auth.push(AuthEffect::Given { user, prefix, index });
        Ok(Reply::Authenticate { revision: self.kv.revision(), index, auth_revision: self.auth.revision() })
    }

    /// All that is stored of users and roles, by number; nothing as long as nobody has made any.
    pub(super) fn auth_rows(&self) -> impl Iterator<Item = (u64, AuthRow)> {
        let is_fresh = self.auth.revision() == auth::Store::new().revision() && !self.auth.is_enabled();
        let state = (!is_fresh).then(|| (AuthRow::STATE, self.auth_state()));
        let users = self.auth.users().map(|user| (self.auth_numbers.users[&user.name], AuthRow::User(user.clone())));
        let roles = self.auth.roles().map(|role| (self.auth_numbers.roles[&role.name], AuthRow::Role(role.clone())));
        state.into_iter().chain(users).chain(roles)
    }
}
