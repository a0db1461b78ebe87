//! The bytes that etcd knows a change by: in its database, and in the hash of the key space.
//!
//! ```text
//! revision (8 bytes, big-endian)   '_'   place within it (8 bytes, big-endian)   't', if it is a deletion
//! ```
//!
//! In the order of these bytes changes are in the order in which they happened.
//!
//! Source: etcd, `server/storage/mvcc/revision.go`.

use super::{Revision, SubRevision};

const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';
/// Of a change that is no deletion.
const LEN: usize = 17;

/// One change as etcd's database names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordKey {
    bytes: [u8; LEN + 1],
    is_tombstone: bool,
}

impl RecordKey {
    /// Names the change at a place.
    #[must_use]
    pub fn new(at: SubRevision, is_tombstone: bool) -> RecordKey {
        let mut bytes = [0; LEN + 1];
        bytes[..8].copy_from_slice(&at.main.0.to_be_bytes());
        bytes[8] = SEPARATOR;
        bytes[9..LEN].copy_from_slice(&u64::from(at.sub).to_be_bytes());
        bytes[LEN] = TOMBSTONE;
        RecordKey { bytes, is_tombstone }
    }

    /// Names a whole revision: of a compaction, which has no place within one.
    #[must_use]
    pub fn of_revision(at: Revision) -> RecordKey {
        RecordKey::new(SubRevision::first(at), false)
    }

    /// Reads one; `None` if the bytes are none, or name a place that no txn can have.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<RecordKey> {
        let (main, rest) = bytes.split_first_chunk::<8>()?;
        let (&separator, rest) = rest.split_first()?;
        let (sub, mark) = rest.split_first_chunk::<8>()?;
        let is_tombstone = match mark {
            [] => false,
            [TOMBSTONE] => true,
            _ => return None,
        };
        let main = Revision(i64::from_be_bytes(*main));
        let sub = u32::try_from(u64::from_be_bytes(*sub)).ok()?;
        (separator == SEPARATOR && main.0 >= 0).then(|| RecordKey::new(SubRevision { main, sub }, is_tombstone))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..LEN + usize::from(self.is_tombstone)]
    }

    /// The place of the change.
    #[must_use]
    pub fn at(&self) -> SubRevision {
        let number = |at: usize| u64::from_be_bytes(*self.bytes[at..].first_chunk().expect("it has all its bytes"));
        let sub = u32::try_from(number(9)).expect("it was made of one");
        SubRevision { main: Revision(number(0).cast_signed()), sub }
    }

    /// Whether the change is a deletion.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.is_tombstone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_back_and_sort_by_their_place() {
        let places = [(1, 0, false), (1, 1, true), (2, 0, false), (2, u32::MAX, false), (i64::MAX, 7, true)];
        let keys = places.map(|(main, sub, is_tombstone)| {
            let at = SubRevision { main: Revision(main), sub };
            let key = RecordKey::new(at, is_tombstone);
            assert_eq!((key.at(), key.is_tombstone()), (at, is_tombstone));
            assert_eq!(RecordKey::from_bytes(key.as_bytes()), Some(key));
            key.as_bytes().to_vec()
        });
        assert!(keys.is_sorted());
        assert_eq!(keys[1], b"\0\0\0\0\0\0\0\x01_\0\0\0\0\0\0\0\x01t");
    }

    #[test]
    fn other_bytes_are_none() {
        let good = RecordKey::new(SubRevision::first(Revision(5)), true).as_bytes().to_vec();
        for len in (0..17).chain([19]) {
            let mut bytes = good.clone();
            bytes.resize(len, b't');
            assert_eq!(RecordKey::from_bytes(&bytes), None, "{len} bytes");
        }
        for (at, byte) in [(0, 0x80), (8, b'-'), (9, 1), (17, b'x')] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert_eq!(RecordKey::from_bytes(&bytes), None, "byte {at}");
        }
    }
}
