//! Which keys a request means.

use bytes::Bytes;

/// Selects keys: one, an interval, or everything from a key on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key that may be in the range.
    pub start: Bytes,
    /// Where it ends.
    pub end: RangeEnd,
}

/// Where a [`KeyRange`] ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// Only the start itself is meant.
    Single,
    /// Every key below this one; nothing if it is not above the start.
    Before(Bytes),
    /// Every key from the start on.
    Unbounded,
}

impl KeyRange {
    /// Reads etcd's pair: `range_end` empty means one key, the single byte zero means "from key", anything else is the
    /// exclusive end.
    ///
    /// Source: etcd API reference, `RangeRequest.range_end`.
    #[must_use]
    pub fn new(key: Bytes, range_end: Bytes) -> KeyRange {
        let end = match range_end.as_ref() {
            [] => RangeEnd::Single,
            [0] => RangeEnd::Unbounded,
            _ => RangeEnd::Before(range_end),
        };
        KeyRange { start: key, end }
    }

    /// Selects one key.
    #[must_use]
    pub fn single(key: Bytes) -> KeyRange {
        KeyRange { start: key, end: RangeEnd::Single }
    }

    /// Selects every key that begins with `prefix`; an empty prefix selects all.
    #[must_use]
    pub fn prefix(prefix: Bytes) -> KeyRange {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return KeyRange { start: prefix, end: RangeEnd::Before(end.into()) };
            }
        }
        KeyRange { start: prefix, end: RangeEnd::Unbounded }
    }

    /// Tells whether `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
            RangeEnd::Unbounded => key >= self.start.as_ref(),
        }
    }

    /// The `range_end` that etcd's messages write for this range.
    #[must_use]
    pub fn range_end(&self) -> Bytes {
        match &self.end {
            RangeEnd::Single => Bytes::new(),
            RangeEnd::Before(end) => end.clone(),
            RangeEnd::Unbounded => Bytes::from_static(&[0]),
        }
    }
}

impl RangeEnd {
    /// The same as [`KeyRange::range_end`], borrowed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            RangeEnd::Single => &[],
            RangeEnd::Before(end) => end,
            RangeEnd::Unbounded => &[0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends_at_the_next_sibling() {
        let range = KeyRange::prefix(Bytes::from_static(b"a\xff\xff"));
        assert_eq!(range.end, RangeEnd::Before(Bytes::from_static(b"b")));
        assert_eq!(KeyRange::prefix(Bytes::from_static(b"\xff")).end, RangeEnd::Unbounded);
        assert_eq!(KeyRange::prefix(Bytes::new()).end, RangeEnd::Unbounded);
    }

    #[test]
    fn a_range_that_ends_before_it_starts_is_empty() {
        let range = KeyRange::new(Bytes::from_static(b"b"), Bytes::from_static(b"a"));
        assert!(!range.contains(b"a") && !range.contains(b"b"));
    }

    #[test]
    fn range_end_reads_back() {
        for end in [&b""[..], b"\0", b"z"] {
            let end = Bytes::copy_from_slice(end);
            assert_eq!(KeyRange::new(Bytes::from_static(b"k"), end.clone()).range_end(), end);
        }
    }
}
