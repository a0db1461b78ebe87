//! Which keys are meant: text or bytes are one key, and functions make ranges.

use bytes::Bytes;

use super::error::Error;
use crate::model::{KeyRange, RangeEnd};

/// Every key that begins with `prefix`; an empty prefix is every key.
#[must_use]
pub fn prefix(prefix: impl AsRef<[u8]>) -> KeyRange {
    match prefix.as_ref() {
        [] => all(),
        prefix => KeyRange::prefix(Bytes::copy_from_slice(prefix)),
    }
}

/// Every key from `start` on, and below `end`, which must be above it.
#[must_use]
pub fn between(start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> KeyRange {
    let [start, end] = [start.as_ref(), end.as_ref()].map(Bytes::copy_from_slice);
    KeyRange { start, end: RangeEnd::Before(end) }
}

/// Every key from `start` on.
#[must_use]
pub fn from_key(start: impl AsRef<[u8]>) -> KeyRange {
    KeyRange { start: Bytes::copy_from_slice(start.as_ref()), end: RangeEnd::Unbounded }
}

/// Every key.
#[must_use]
pub fn all() -> KeyRange {
    // The lowest key that there can be.
    from_key([0])
}

/// One key.
pub(super) fn single(key: impl AsRef<[u8]>) -> KeyRange {
    KeyRange::single(Bytes::copy_from_slice(key.as_ref()))
}

/// Refuses a range that cannot have a key. In a message its end might mean something else.
pub(super) fn check(keys: &KeyRange) -> Result<(), Error> {
    check_key(&keys.start)?;
    match &keys.end {
        RangeEnd::Before(end) if *end <= keys.start => Err(Error::EmptyRange),
        RangeEnd::Before(_) | RangeEnd::Single | RangeEnd::Unbounded => Ok(()),
    }
}

/// Refuses the key that cannot be.
pub(super) fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

impl From<&str> for KeyRange {
    /// The one key.
    fn from(key: &str) -> KeyRange {
        single(key)
    }
}

impl From<&String> for KeyRange {
    /// The one key.
    fn from(key: &String) -> KeyRange {
        single(key)
    }
}

impl From<String> for KeyRange {
    /// The one key.
    fn from(key: String) -> KeyRange {
        KeyRange::single(key.into())
    }
}

impl From<&[u8]> for KeyRange {
    /// The one key.
    fn from(key: &[u8]) -> KeyRange {
        single(key)
    }
}

impl From<Vec<u8>> for KeyRange {
    /// The one key.
    fn from(key: Vec<u8>) -> KeyRange {
        KeyRange::single(key.into())
    }
}

impl From<Bytes> for KeyRange {
    /// The one key.
    fn from(key: Bytes) -> KeyRange {
        KeyRange::single(key)
    }
}
