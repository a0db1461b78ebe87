//! Passwords: only their bcrypt hashes are kept.
//!
//! Hashing takes a twentieth of a second or more, on purpose: never in apply, and not on a thread that others wait for.
//! Salt comes from outside.
//!
//! Source: etcd, `server/auth/store.go` and `server/etcdserver/v3_server.go`, over Go's `golang.org/x/crypto/bcrypt`.

use bcrypt::Version;
use bytes::Bytes;

/// What a password is hashed with. Two to this power is how much work that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost(u32);

/// The least and the most that bcrypt knows.
const COST_MIN: u32 = 4;
const COST_MAX: u32 = 31;
/// What bcrypt looks at.
const PASSWORD_BYTES_MAX: usize = 72;

/// A password that bcrypt would cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bcrypt: password length exceeds {PASSWORD_BYTES_MAX} bytes")]
pub struct PasswordTooLong;

impl Cost {
    /// What `--bcrypt-cost` says; `None` for one that bcrypt does not know.
    #[must_use]
    pub fn new(cost: u64) -> Option<Cost> {
        let cost = u32::try_from(cost).ok()?;
        (COST_MIN..=COST_MAX).contains(&cost).then_some(Cost(cost))
    }
}

impl Default for Cost {
    /// Go's.
    fn default() -> Cost {
        Cost(10)
    }
}

/// Hashes a password. Slow.
///
/// # Errors
/// [`PasswordTooLong`].
pub fn hash(password: &str, cost: Cost, salt: [u8; 16]) -> Result<Bytes, PasswordTooLong> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordTooLong);
    }
    let parts = bcrypt::hash_with_salt(password, cost.0, salt).expect("the cost was checked");
    // Go's name of the version; all of them are the same today.
    Ok(parts.format_for_version(Version::TwoA).into_bytes().into())
}

/// Whether a password is the one of a hash. Slow, and as slow if there is no hash, as for a user that is not there: else
/// whoever asks could find out who is.
#[must_use]
pub fn fits(hash: Option<&[u8]>, password: &str, cost: Cost) -> bool {
    let hash = hash.and_then(|hash| std::str::from_utf8(hash).ok());
    match hash.map(|hash| bcrypt::verify(password, hash)) {
        Some(Ok(fits)) => {
            has_run(password);
            fits
        }
        // What is no hash fits nothing, and no work was done for it yet.
        Some(Err(_)) | None => {
            let _ = bcrypt::hash_with_salt(password, cost.0, [0; 16]);
            has_run(password);
            false
        }
    }
}

/// bcrypt has run for a password: what takes its time, and what tests count.
fn has_run(_password: &str) {
    #[cfg(test)]
    counting::count(_password);
}

/// How often bcrypt was run, by password: tests that run beside each other have their own.
#[cfg(test)]
pub(crate) mod counting {
    use std::collections::HashMap;

    use parking_lot::Mutex;

    static RUNS: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

    pub(super) fn count(password: &str) {
        *RUNS.lock().get_or_insert_default().entry(password.to_owned()).or_default() += 1;
    }

    /// The runs for `password` so far.
    pub(crate) fn runs(password: &str) -> u32 {
        RUNS.lock().as_ref().and_then(|runs| runs.get(password).copied()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost(COST_MIN);

    #[test]
    fn a_password_fits_its_own_hash() {
        let hash = hash("secret", CHEAP, [7; 16]).unwrap();
        assert!(hash.starts_with(b"$2a$04$") && hash.len() == 60, "{hash:?}");
        assert!(fits(Some(&hash), "secret", CHEAP));
        for (hash, password) in [(Some(&hash[..]), "Secret"), (Some(&hash[..]), ""), (None, ""), (Some(&b"x"[..]), "x")]
        {
            assert!(!fits(hash, password, CHEAP), "{password}");
        }
    }

    #[test]
    fn every_answer_is_the_same_work() {
        let hash = hash("other", CHEAP, [7; 16]).unwrap();
        let cut = &hash[..50];
        for (nth, hash) in
            [Some(&hash[..]), Some(cut), Some(b"x"), Some(b""), Some(b"\xff"), None].into_iter().enumerate()
        {
            let password = format!("a password of this test, {nth}");
            assert!(!fits(hash, &password, CHEAP));
            assert_eq!(counting::runs(&password), 1, "{hash:?}");
        }
    }

    #[test]
    fn hashes_that_go_made_fit() {
        let made_by_go = b"$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga";
        assert!(fits(Some(made_by_go), "allmine", CHEAP));
    }

    #[test]
    fn nothing_is_cut_off() {
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        assert_eq!(hash(&long, CHEAP, [0; 16]).unwrap_err().to_string(), "bcrypt: password length exceeds 72 bytes");
        let whole = &long[1..];
        assert!(fits(Some(&hash(whole, CHEAP, [0; 16]).unwrap()), whole, CHEAP));
        assert!(fits(Some(&hash("", CHEAP, [0; 16]).unwrap()), "", CHEAP));
    }

    #[test]
    fn costs_are_those_of_bcrypt() {
        assert_eq!((Cost::new(3), Cost::new(32), Cost::new(1 << 40)), (None, None, None));
        assert_eq!(Cost::new(10), Some(Cost::default()));
    }
}
