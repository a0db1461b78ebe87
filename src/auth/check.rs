//! Whether a caller may do what it asks for.
//!
//! Everybody may do everything while auth is not enabled. No caller, `None`, is nobody.
//!
//! Source: etcd, `server/auth/store.go` (`isOpPermitted`, `IsAdminPermitted`) for what comes before what.

use bytes::Bytes;

use super::permitted::Permitted;
use super::store::Entry;
use super::{Access, Error, Need, Needs, ROOT, Store};
use crate::model::{Caller, LeaseId, User};

impl Store {
    /// Checks everything that a request needs. `keys_of` tells the keys of a lease; it is asked only if they matter.
    ///
    /// # Errors
    /// Of the first need that is not met.
    pub fn check<Keys>(
        &self,
        caller: Option<&Caller>,
        request: &impl Needs,
        keys_of: impl Fn(LeaseId) -> Keys,
    ) -> Result<(), Error>
    where
        Keys: IntoIterator<Item: AsRef<[u8]>>,
    {
        if !self.enabled {
            return Ok(());
        }
        request.each_need(&mut |need| match need {
            Need::Authenticated => self.check_authenticated(caller),
            Need::Root => self.check_root(caller),
            Need::Keys { access, key, range_end } => self.check_range(caller, access, key, range_end),
            Need::LeaseKeys { access, lease } => {
                // Even one of an old revision: what it may do to keys is not asked.
                if self.check_root(caller).is_ok() {
                    return Ok(());
                }
                keys_of(lease).into_iter().try_for_each(|key| self.check_range(caller, access, key.as_ref(), &[]))
            }
        })
    }

    /// Checks that the caller has access to a whole range of keys, given as clients give it.
    ///
    /// # Errors
    /// [`Error::UserEmpty`] for nobody, [`Error::OldRevision`] if users or roles have changed since, and
    /// [`Error::PermissionDenied`] for users that are not there, too.
    pub fn check_range(
        &self,
        caller: Option<&Caller>,
        access: Access,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        let caller = caller.filter(|caller| caller.revision != 0).ok_or(Error::UserEmpty)?;
        if caller.revision < self.revision() {
            return Err(Error::OldRevision);
        }
        let entry = self.users.get(&caller.user).ok_or(Error::PermissionDenied)?;
        if entry.user.has_role(ROOT) || self.permitted(entry).covers(access, key, range_end) {
            return Ok(());
        }
        Err(Error::PermissionDenied)
    }

    /// Checks that the caller has the role `root`. Its revision does not matter.
    ///
    /// # Errors
    /// [`Error::UserEmpty`] for nobody and for an empty name, [`Error::UserNotFound`], [`Error::PermissionDenied`].
    pub fn check_root(&self, caller: Option<&Caller>) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        let caller = caller.filter(|caller| !caller.user.is_empty()).ok_or(Error::UserEmpty)?;
        if self.user(&caller.user)?.has_role(ROOT) { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    /// Checks that the caller is somebody. Whether there is still a user of that name does not matter.
    ///
    /// # Errors
    /// [`Error::UserEmpty`].
    pub fn check_authenticated(&self, caller: Option<&Caller>) -> Result<(), Error> {
        if self.enabled && caller.is_none() { Err(Error::UserEmpty) } else { Ok(()) }
    }

    /// Checks that the caller may see the roles of a user: it has the role `root`, or is that user.
    ///
    /// # Errors
    /// As [`Store::check_root`].
    pub fn check_user_get(&self, caller: Option<&Caller>, user: &str) -> Result<(), Error> {
        self.check_root(caller).or_else(|error| if name_of(caller) == user { Ok(()) } else { Err(error) })
    }

    /// Checks that the caller may see the permissions of a role: it has the role `root`, or that role.
    ///
    /// # Errors
    /// As [`Store::check_root`].
    pub fn check_role_get(&self, caller: Option<&Caller>, role: &str) -> Result<(), Error> {
        self.check_root(caller).or_else(|error| match self.user(name_of(caller)) {
            Ok(user) if user.has_role(role) => Ok(()),
            _ => Err(error),
        })
    }

    /// Checks, when a read is done, that users and roles are as they were when the caller was established: else what was read
    /// may be what it should not see.
    ///
    /// # Errors
    /// [`Error::OldRevision`].
    pub fn check_unchanged(&self, caller: Option<&Caller>) -> Result<(), Error> {
        match caller {
            Some(caller) if caller.revision != 0 && caller.revision != self.revision() => Err(Error::OldRevision),
            _ => Ok(()),
        }
    }

    /// Checks that a user may be given a token: auth is enabled, and the user is there and has a password. Whether it fits was
    /// settled before.
    ///
    /// # Errors
    /// [`Error::AuthNotEnabled`], [`Error::AuthFailed`], [`Error::NoPasswordUser`].
    pub fn check_authenticate(&self, name: &str) -> Result<(), Error> {
        match self.password_of(name)? {
            Some(_) => Ok(()),
            None => Err(Error::AuthFailed),
        }
    }

    /// The hash of a user's password; `None` if there is no such user, which whoever asks should find out no sooner than that
    /// the password is wrong.
    ///
    /// # Errors
    /// [`Error::AuthNotEnabled`], [`Error::NoPasswordUser`].
    pub fn password_of(&self, name: &str) -> Result<Option<&Bytes>, Error> {
        if !self.enabled {
            return Err(Error::AuthNotEnabled);
        }
        match self.user(name) {
            Ok(User { no_password: true, .. }) => Err(Error::NoPasswordUser),
            Ok(user) => Ok(Some(&user.password)),
            Err(_) => Ok(None),
        }
    }

    fn permitted<'s>(&'s self, entry: &'s Entry) -> &'s Permitted {
        entry.permitted.get_or_init(|| {
            let roles = entry.user.roles.iter().filter_map(|role| self.roles.get(role));
            Permitted::union(roles.flat_map(|role| &role.permissions))
        })
    }
}

fn name_of(caller: Option<&Caller>) -> &str {
    caller.map_or("", |caller| &caller.user)
}
