//! Changes of users.

use bytes::Bytes;

use super::{Change, Ended, Error, ROOT, Store};
use crate::model::User;

impl Store {
    /// Makes a user that has no roles. `password` is the hash; `None` makes a user that has no password.
    ///
    /// # Errors
    /// [`Error::UserEmpty`], [`Error::UserAlreadyExist`].
    pub fn user_add(&mut self, name: &str, password: Option<Bytes>) -> Result<Vec<Change>, Error> {
        if name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.users.contains_key(name) {
            return Err(Error::UserAlreadyExist);
        }
        let no_password = password.is_none();
        let password = password.unwrap_or_default();
        let user = User { name: name.to_owned(), password, roles: Vec::new(), no_password };
        Ok(vec![self.put_user(user), self.next_revision()])
    }

    /// Removes a user. Its simple tokens end.
    ///
    /// # Errors
    /// [`Error::InvalidAuthMgmt`] for the user `root` while auth is enabled, [`Error::UserNotFound`].
    pub fn user_delete(&mut self, name: &str) -> Result<Vec<Change>, Error> {
        if self.enabled && name == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        self.users.remove(name).ok_or(Error::UserNotFound)?;
        let removed = Change::RemoveUser(name.to_owned());
        Ok(vec![removed, self.next_revision(), Change::EndTokens(Ended::Of(name.to_owned()))])
    }

    /// Gives a user another password, of which `password` is the hash; `None` says that what the client gave as the hash
    /// cannot be read. A user that has no password goes on without one. Its simple tokens end in any case.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::NoPasswordUser`] if the hash cannot be read.
    pub fn user_change_password(&mut self, name: &str, password: Option<Bytes>) -> Result<Vec<Change>, Error> {
        let mut user = self.user(name)?.clone();
        user.password = match password {
            _ if user.no_password => Bytes::new(),
            Some(password) => password,
            None => return Err(Error::NoPasswordUser),
        };
        Ok(vec![self.put_user(user), self.next_revision(), Change::EndTokens(Ended::Of(name.to_owned()))])
    }

    /// Gives a user a role; nothing, if it has it. The role `root` may be given before it is made.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::RoleNotFound`].
    pub fn user_grant_role(&mut self, name: &str, role: &str) -> Result<Vec<Change>, Error> {
        let mut user = self.user(name)?.clone();
        if role != ROOT && !self.roles.contains_key(role) {
            return Err(Error::RoleNotFound);
        }
        let Err(place) = user.roles.binary_search_by(|own| own.as_str().cmp(role)) else { return Ok(Vec::new()) };
        user.roles.insert(place, role.to_owned());
        Ok(vec![self.put_user(user), self.next_revision()])
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// [`Error::InvalidAuthMgmt`] for the role `root` of the user `root` while auth is enabled, [`Error::UserNotFound`],
    /// [`Error::RoleNotGranted`].
    pub fn user_revoke_role(&mut self, name: &str, role: &str) -> Result<Vec<Change>, Error> {
        if self.enabled && name == ROOT && role == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut user = self.user(name)?.clone();
        if !user.has_role(role) {
            return Err(Error::RoleNotGranted);
        }
        user.roles.retain(|own| own != role);
        Ok(vec![self.put_user(user), self.next_revision()])
    }
}
