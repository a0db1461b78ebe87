//! Who may do what, in plain lines: whether a range is covered is asked key by key, of every permission.

use std::collections::{BTreeMap, BTreeSet};

use lodemark::auth::{Access, Error};
use lodemark::model::{Caller, Command, KeyRange, Permission, PermissionKind, Put, TxnOp};

/// Users, roles and the switch.
#[derive(Debug, Default)]
pub struct AuthModel {
    pub enabled: bool,
    /// How often it has changed; etcd counts from one.
    pub changes: u64,
    /// A user's roles.
    pub users: BTreeMap<String, BTreeSet<String>>,
    pub no_password: BTreeSet<String>,
    pub roles: BTreeMap<String, Vec<Permission>>,
    /// The keys of each lease.
    pub leases: BTreeMap<i64, Vec<Vec<u8>>>,
}

/// A change that somebody asks for.
#[derive(Debug, Clone)]
pub enum Manage {
    Enable,
    Disable,
    UserAdd {
        name: String,
        no_password: bool,
    },
    UserDelete(String),
    /// With a hash that can be read, or one that cannot.
    UserPassword {
        name: String,
        readable: bool,
    },
    UserGrant {
        name: String,
        role: String,
    },
    UserRevoke {
        name: String,
        role: String,
    },
    RoleAdd(String),
    RoleDelete(String),
    RoleGrant {
        role: String,
        permission: Option<Permission>,
    },
    RoleRevoke {
        role: String,
        permission: Permission,
    },
}

impl AuthModel {
    /// What etcd makes of it: whether there was something to change.
    pub fn manage(&mut self, asked: &Manage) -> Result<bool, Error> {
        let changed = match asked {
            Manage::Enable => {
                let root = self.users.get("root").ok_or(Error::RootUserNotExist);
                if !self.enabled && !root?.contains("root") {
                    return Err(Error::RootRoleNotExist);
                }
                // The only change that is not counted.
                return Ok(!std::mem::replace(&mut self.enabled, true));
            }
            Manage::Disable => std::mem::take(&mut self.enabled),
            Manage::UserAdd { name, .. } if name.is_empty() => return Err(Error::UserEmpty),
            Manage::UserAdd { name, .. } if self.users.contains_key(name) => return Err(Error::UserAlreadyExist),
            Manage::UserAdd { name, no_password } => {
                if *no_password {
                    self.no_password.insert(name.clone());
                }
                self.users.insert(name.clone(), BTreeSet::new()).is_none()
            }
            Manage::UserDelete(name) if self.enabled && name == "root" => return Err(Error::InvalidAuthMgmt),
            Manage::UserDelete(name) => {
                self.no_password.remove(name);
                self.users.remove(name).map(|_| true).ok_or(Error::UserNotFound)?
            }
            Manage::UserPassword { name, readable } => {
                self.users.get(name).ok_or(Error::UserNotFound)?;
                if !readable && !self.no_password.contains(name) {
                    return Err(Error::NoPasswordUser);
                }
                true
            }
            Manage::UserGrant { name, role } => {
                let user = self.users.get_mut(name).ok_or(Error::UserNotFound)?;
                if role != "root" && !self.roles.contains_key(role) {
                    return Err(Error::RoleNotFound);
                }
                user.insert(role.clone())
            }
            Manage::UserRevoke { name, role } if self.enabled && name == "root" && role == "root" => {
                return Err(Error::InvalidAuthMgmt);
            }
            Manage::UserRevoke { name, role } => {
                let removed = self.users.get_mut(name).ok_or(Error::UserNotFound)?.remove(role);
                removed.then_some(true).ok_or(Error::RoleNotGranted)?
            }
            Manage::RoleAdd(name) if name.is_empty() => return Err(Error::RoleEmpty),
            Manage::RoleAdd(name) if self.roles.contains_key(name) => return Err(Error::RoleAlreadyExist),
            Manage::RoleAdd(name) => self.roles.insert(name.clone(), Vec::new()).is_none(),
            Manage::RoleDelete(name) if self.enabled && name == "root" => return Err(Error::InvalidAuthMgmt),
            Manage::RoleDelete(name) => {
                self.roles.remove(name).ok_or(Error::RoleNotFound)?;
                self.users.values_mut().for_each(|roles| roles.retain(|own| own != name));
                true
            }
            Manage::RoleGrant { permission: None, .. } => return Err(Error::PermissionNotGiven),
            Manage::RoleGrant { role, permission: Some(given) } => {
                let end = given.range_end.as_ref();
                if given.key.is_empty() || (!matches!(end, b"" | b"\0") && end <= given.key.as_ref()) {
                    return Err(Error::InvalidAuthMgmt);
                }
                let role = self.roles.get_mut(role).ok_or(Error::RoleNotFound)?;
                match role.iter_mut().find(|own| own.key >= given.key) {
                    Some(own) if own.key == given.key && own.range_end == given.range_end => own.kind = given.kind,
                    _ => role.push(given.clone()),
                }
                role.sort_by(|a, b| a.key.cmp(&b.key));
                true
            }
            Manage::RoleRevoke { role, permission } => {
                let role = self.roles.get_mut(role).ok_or(Error::RoleNotFound)?;
                let before = role.len();
                role.retain(|own| (&own.key, &own.range_end) != (&permission.key, &permission.range_end));
                (role.len() < before).then_some(true).ok_or(Error::PermissionNotGranted)?
            }
        };
        self.changes += u64::from(changed);
        Ok(changed)
    }

    pub fn revision(&self) -> u64 {
        self.changes + 1
    }

    /// What etcd says of a request.
    pub fn judge(&self, caller: Option<&Caller>, command: &Command) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        match command {
            Command::Put(put) => self.put(caller, put),
            Command::DeleteRange(delete) => {
                self.range(caller, Access::Write, &delete.keys)?;
                if delete.prev_kv { self.range(caller, Access::Read, &delete.keys) } else { Ok(()) }
            }
            Command::Txn(txn) => {
                for compare in &txn.compare {
                    self.range(caller, Access::Read, &compare.keys)?;
                }
                for op in txn.success.iter().chain(&txn.failure) {
                    match op {
                        TxnOp::Range(range) => self.range(caller, Access::Read, &range.keys)?,
                        TxnOp::Put(put) => self.put(caller, put)?,
                        TxnOp::DeleteRange(delete) => self.judge(caller, &Command::DeleteRange(delete.clone()))?,
                        TxnOp::Txn(txn) => self.judge(caller, &Command::Txn(txn.clone()))?,
                    }
                }
                Ok(())
            }
            Command::LeaseGrant(_) => caller.map(|_| ()).ok_or(Error::UserEmpty),
            Command::LeaseRevoke(revoke) => {
                caller.ok_or(Error::UserEmpty)?;
                self.keys_of(caller, Access::Write, revoke.id.0)
            }
            _ => Ok(()),
        }
    }

    fn put(&self, caller: Option<&Caller>, put: &Put) -> Result<(), Error> {
        let key = KeyRange::single(put.key.clone());
        self.range(caller, Access::Write, &key)?;
        self.keys_of(caller, Access::Write, put.lease.0)?;
        if put.prev_kv { self.range(caller, Access::Read, &key) } else { Ok(()) }
    }

    pub fn keys_of(&self, caller: Option<&Caller>, access: Access, lease: i64) -> Result<(), Error> {
        if self.root(caller).is_ok() {
            return Ok(());
        }
        for key in self.leases.get(&lease).into_iter().flatten() {
            self.range(caller, access, &KeyRange::single(key.clone().into()))?;
        }
        Ok(())
    }

    pub fn root(&self, caller: Option<&Caller>) -> Result<(), Error> {
        let name = caller.map_or("", |caller| &caller.user);
        match self.users.get(name) {
            _ if name.is_empty() => Err(Error::UserEmpty),
            None => Err(Error::UserNotFound),
            Some(roles) if roles.contains("root") => Ok(()),
            Some(_) => Err(Error::PermissionDenied),
        }
    }

    pub fn range(&self, caller: Option<&Caller>, access: Access, keys: &KeyRange) -> Result<(), Error> {
        let caller = caller.filter(|caller| caller.revision > 0).ok_or(Error::UserEmpty)?;
        if caller.revision < self.revision() {
            return Err(Error::OldRevision);
        }
        let roles = self.users.get(&caller.user).ok_or(Error::PermissionDenied)?;
        if roles.contains("root") {
            return Ok(());
        }
        let permissions: Vec<&Permission> = roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .flatten()
            .filter(|permission| match permission.kind {
                PermissionKind::Read => access == Access::Read,
                PermissionKind::Write => access == Access::Write,
                PermissionKind::ReadWrite => true,
                PermissionKind::Unknown(_) => false,
            })
            .collect();
        let permits = |key: &[u8]| permissions.iter().any(|own| range_of(own).contains(key));
        // Where a key is permitted and a later one is not, the first that is not is the end of a permission.
        let ends = permissions.iter().map(|own| match own.range_end.as_ref() {
            [] => [&own.key, &b"\0"[..]].concat(),
            end => end.to_vec(),
        });
        let is_whole = ends.filter(|end| end != b"\0" && keys.contains(end)).all(|end| permits(&end));
        if permits(&keys.start) && is_whole { Ok(()) } else { Err(Error::PermissionDenied) }
    }
}

fn range_of(permission: &Permission) -> KeyRange {
    KeyRange::new(permission.key.clone(), permission.range_end.clone())
}
