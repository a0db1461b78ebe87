//! How many connections clients may have: each takes a file descriptor, and the member needs some for itself.

use rustix::process::{Resource, getrlimit};

use super::Error;

/// File descriptors that are not for connections of clients. Source: etcd, `reservedInternalFDNum`.
const RESERVED: u64 = 150;

/// The number of connections that all clients together may have.
///
/// # Errors
/// [`Error::FewFiles`] if there would be none.
pub(super) fn connections_max() -> Result<usize, Error> {
    match getrlimit(Resource::Nofile).current {
        // No limit is beyond any that a queue could have.
        None => Ok(tokio::sync::Semaphore::MAX_PERMITS),
        Some(limit) => connections_of(limit),
    }
}

fn connections_of(limit: u64) -> Result<usize, Error> {
    match limit.checked_sub(RESERVED) {
        None | Some(0) => Err(Error::FewFiles { limit, recommended: RESERVED }),
        Some(rest) => Ok(usize::try_from(rest).unwrap_or(usize::MAX).min(tokio::sync::Semaphore::MAX_PERMITS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_keeps_some_for_itself() {
        assert_eq!((connections_of(151).unwrap(), connections_of(1024).unwrap()), (1, 874));
        for few in [0, 149, 150] {
            assert!(matches!(connections_of(few), Err(Error::FewFiles { .. })), "{few}");
        }
    }
}
