//! Users and roles: the rows of three buckets, and what our table holds.
//!
//! ```text
//! bucket       key            value
//! auth         authEnabled    one byte: 1 if everybody has to say who they are
//!              authRevision   8 bytes, big-endian
//! authUsers    name           `User`, with the bcrypt hash of its password
//! authRoles    name           `Role`
//! ```
//!
//! Names are bytes to etcd's database and texts to its API; here they are texts.
//!
//! Source: etcd, `server/storage/schema/auth.go`, `auth_users.go`, `auth_roles.go`.

use super::bucket;
use super::contents::SmallRow;
use super::error::{Error, RowDamage};
use super::snapshot_file::SnapshotFile;
use crate::model::{Role, User};
use crate::proto::{authpb, from_row, to_row};
use crate::storage::AuthRow;

const ENABLED: &[u8] = b"authEnabled";
const REVISION: &[u8] = b"authRevision";

/// A store that says no more revisions than this can go on for longer than anybody asks.
const REVISION_MAX: u64 = i64::MAX.cast_unsigned();
/// The first user or role that a store makes. Those that it made before it was saved have lower numbers than all to come.
const FIRST_NUMBER: u64 = AuthRow::STATE + 1;

/// Rows of the three buckets.
#[derive(Debug, Default)]
pub(super) struct AuthBuckets {
    pub(super) state: Vec<SmallRow>,
    pub(super) roles: Vec<SmallRow>,
    pub(super) users: Vec<SmallRow>,
}

impl AuthBuckets {
    pub(super) fn of(rows: &[AuthRow]) -> AuthBuckets {
        let mut buckets = AuthBuckets::default();
        for row in rows {
            match row {
                AuthRow::State { enabled, revision } => buckets.state.extend([
                    (ENABLED.to_vec(), vec![u8::from(*enabled)]),
                    (REVISION.to_vec(), revision.to_be_bytes().to_vec()),
                ]),
                AuthRow::User(user) => buckets.users.push((user.name.as_bytes().to_vec(), encode_user(user))),
                AuthRow::Role(role) => buckets.roles.push((role.name.as_bytes().to_vec(), encode_role(role))),
            }
        }
        buckets
    }
}

impl SnapshotFile {
    /// Users, roles, and what holds for all of them, with the numbers under which a new store has them; nothing if nobody has
    /// made any.
    ///
    /// # Errors
    /// Why a row cannot be read.
    pub fn auth(&self) -> Result<Vec<(u64, AuthRow)>, Error> {
        let (mut enabled, mut revision) = (false, 0);
        self.each_row(bucket::AUTH, |key, value| {
            match key {
                ENABLED => {
                    enabled = match value {
                        [0] => false,
                        [1] => true,
                        _ => return Err(RowDamage::Value),
                    }
                }
                REVISION => {
                    let told = u64::from_be_bytes(value.try_into().map_err(|_| RowDamage::Value)?);
                    revision = Some(told).filter(|told| *told < REVISION_MAX).ok_or(RowDamage::LastRevision)?;
                }
                _ => {}
            }
            Ok(())
        })?;
        let mut made = Vec::new();
        self.each_row(bucket::AUTH_USERS, |key, value| {
            made.push(AuthRow::User(decode_user(key, value)?));
            Ok(())
        })?;
        self.each_row(bucket::AUTH_ROLES, |key, value| {
            made.push(AuthRow::Role(decode_role(key, value)?));
            Ok(())
        })?;
        // Each took a revision, so that this is not more than the store says, unless somebody has written the file by hand.
        let revision = revision.max(made.len() as u64).max(1);
        let state = (enabled || revision > 1).then_some((AuthRow::STATE, AuthRow::State { enabled, revision }));
        Ok(state.into_iter().chain((FIRST_NUMBER..).zip(made)).collect())
    }
}

/// As etcd writes it, which tells in any case whether the user may have a password.
fn encode_user(user: &User) -> Vec<u8> {
    let User { name, password, roles, no_password } = user.clone();
    let options = Some(authpb::UserAddOptions { no_password });
    to_row(&authpb::User { name: name.into(), password, roles, options })
}

fn decode_user(key: &[u8], value: &[u8]) -> Result<User, RowDamage> {
    let name = name_of(key)?;
    let authpb::User { name: told, password, mut roles, options } = from_row(value).ok_or(RowDamage::Value)?;
    if told != name {
        return Err(RowDamage::Value);
    }
    roles.sort_unstable();
    roles.dedup();
    Ok(User { name, password, roles, no_password: options.is_some_and(|options| options.no_password) })
}

fn encode_role(role: &Role) -> Vec<u8> {
    let Role { name, permissions } = role.clone();
    let key_permission = permissions.into_iter().map(authpb::Permission::from).collect();
    to_row(&authpb::Role { name: name.into(), key_permission })
}

fn decode_role(key: &[u8], value: &[u8]) -> Result<Role, RowDamage> {
    let name = name_of(key)?;
    let authpb::Role { name: told, mut key_permission } = from_row(value).ok_or(RowDamage::Value)?;
    if told != name {
        return Err(RowDamage::Value);
    }
    // Stable: those of one key stay as they were granted.
    key_permission.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(Role { name, permissions: key_permission.into_iter().map(Into::into).collect() })
}

fn name_of(key: &[u8]) -> Result<String, RowDamage> {
    std::str::from_utf8(key).map(str::to_owned).map_err(|_| RowDamage::Name)
}
