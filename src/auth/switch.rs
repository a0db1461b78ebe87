//! Enabling and disabling auth.

use super::{Change, Ended, Error, ROOT, Store};

impl Store {
    /// Has callers checked from now on. Nothing, if they are already. The revision stays.
    ///
    /// The user `root` must have the role `root`; that role need not have been made.
    ///
    /// # Errors
    /// [`Error::RootUserNotExist`], [`Error::RootRoleNotExist`].
    pub fn enable(&mut self) -> Result<Vec<Change>, Error> {
        if self.enabled {
            return Ok(Vec::new());
        }
        let root = self.user(ROOT).map_err(|_| Error::RootUserNotExist)?;
        if !root.has_role(ROOT) {
            return Err(Error::RootRoleNotExist);
        }
        self.enabled = true;
        Ok(vec![Change::Enabled(true)])
    }

    /// Lets everybody do everything from now on. Nothing, if they may already. All simple tokens end.
    pub fn disable(&mut self) -> Vec<Change> {
        if !self.enabled {
            return Vec::new();
        }
        self.enabled = false;
        vec![Change::Enabled(false), self.next_revision(), Change::EndTokens(Ended::All)]
    }
}
