//! Changes of roles.

use super::{Change, Error, ROOT, Store};
use crate::model::{Permission, Role, User};

impl Store {
    /// Makes a role that permits nothing.
    ///
    /// # Errors
    /// [`Error::RoleEmpty`], [`Error::RoleAlreadyExist`].
    pub fn role_add(&mut self, name: &str) -> Result<Vec<Change>, Error> {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(Error::RoleAlreadyExist);
        }
        let role = Role { name: name.to_owned(), permissions: Vec::new() };
        Ok(vec![self.put_role(role), self.next_revision()])
    }

    /// Removes a role, from all users too.
    ///
    /// # Errors
    /// [`Error::InvalidAuthMgmt`] for the role `root` while auth is enabled, [`Error::RoleNotFound`].
    pub fn role_delete(&mut self, name: &str) -> Result<Vec<Change>, Error> {
        if self.enabled && name == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        self.roles.remove(name).ok_or(Error::RoleNotFound)?;
        let mut changes = vec![Change::RemoveRole(name.to_owned())];
        let bereft: Vec<User> = self.users().filter(|user| user.has_role(name)).cloned().collect();
        for mut user in bereft {
            user.roles.retain(|own| own != name);
            changes.push(self.put_user(user));
        }
        changes.push(self.next_revision());
        Ok(changes)
    }

    /// Lets a role do something; a permission for the same range changes its kind.
    ///
    /// As etcd does it: of several permissions that begin with the same key only the one that was granted first can change
    /// its kind. What equals a later one is added again.
    ///
    /// # Errors
    /// [`Error::PermissionNotGiven`], [`Error::InvalidAuthMgmt`] if the range has no keys, [`Error::RoleNotFound`].
    pub fn role_grant_permission(&mut self, name: &str, permission: Option<Permission>) -> Result<Vec<Change>, Error> {
        let permission = permission.ok_or(Error::PermissionNotGiven)?;
        if !has_keys(&permission) {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut role = self.roles.get(name).ok_or(Error::RoleNotFound)?.clone();
        let of_key = role.permissions.partition_point(|own| own.key < permission.key);
        match role.permissions.get_mut(of_key) {
            Some(first) if is_for(first, &permission.key, &permission.range_end) => first.kind = permission.kind,
            _ => {
                let behind_key = role.permissions.partition_point(|own| own.key <= permission.key);
                role.permissions.insert(behind_key, permission);
            }
        }
        Ok(vec![self.put_role(role), self.next_revision()])
    }

    /// Takes from a role all permissions for exactly this range, given as the permission was.
    ///
    /// # Errors
    /// [`Error::RoleNotFound`], [`Error::PermissionNotGranted`].
    pub fn role_revoke_permission(&mut self, name: &str, key: &[u8], range_end: &[u8]) -> Result<Vec<Change>, Error> {
        let mut role = self.roles.get(name).ok_or(Error::RoleNotFound)?.clone();
        let before = role.permissions.len();
        role.permissions.retain(|own| !is_for(own, key, range_end));
        if role.permissions.len() == before {
            return Err(Error::PermissionNotGranted);
        }
        Ok(vec![self.put_role(role), self.next_revision()])
    }
}

fn is_for(permission: &Permission, key: &[u8], range_end: &[u8]) -> bool {
    permission.key == key && permission.range_end == range_end
}

fn has_keys(Permission { key, range_end, .. }: &Permission) -> bool {
    !key.is_empty() && (range_end.is_empty() || range_end.as_ref() == [0] || key < range_end)
}
