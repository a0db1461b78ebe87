//! One key-value pair at one revision, kept as the bytes that clients receive.
//!
//! A [`Record`] is the protobuf encoding of etcd's `mvccpb.KeyValue` in one right-sized, shared allocation. It is made
//! once, when the write is applied, and is then only copied: into answers, events and the checkpoint. Fields are
//! written in field order and zero fields are left out, so equal pairs have equal bytes.
//!
//! ```text
//! field  1 key   2 create_revision   3 mod_revision   4 version   5 value   6 lease
//! ```
//!
//! A **tombstone**, the record of a deletion, has only key and `mod_revision`; a live pair always has `version >= 1`.

use std::fmt;
use std::sync::Arc;

use super::{LeaseId, Revision};

const TAG_KEY: u8 = 0x0a;
const TAG_CREATE_REVISION: u8 = 0x10;
const TAG_MOD_REVISION: u8 = 0x18;
const TAG_VERSION: u8 = 0x20;
const TAG_VALUE: u8 = 0x2a;
const TAG_LEASE: u8 = 0x30;

/// A key-value pair as it was written, encoded once and shared.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Record(Arc<[u8]>);

/// The fields of a [`Record`], borrowed from it or about to become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyValue<'a> {
    /// The key; never empty in the store.
    pub key: &'a [u8],
    /// The value; may be empty.
    pub value: &'a [u8],
    /// The revision that created the key's present incarnation; zero in a tombstone.
    pub create_revision: Revision,
    /// The revision of this write.
    pub mod_revision: Revision,
    /// How often the key was written since it was created, first is 1; zero in a tombstone.
    pub version: i64,
    /// The lease that the key is attached to.
    pub lease: LeaseId,
}

/// Bytes that are no [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an encoded key-value pair: {0}")]
pub struct RecordError(pub &'static str);

impl Record {
    /// Encodes a pair.
    #[must_use]
    pub fn new(pair: &KeyValue<'_>) -> Record {
        let mut bytes = Vec::with_capacity(encoded_len(pair));
        put_bytes(&mut bytes, TAG_KEY, pair.key);
        put_number(&mut bytes, TAG_CREATE_REVISION, pair.create_revision.0);
        put_number(&mut bytes, TAG_MOD_REVISION, pair.mod_revision.0);
        put_number(&mut bytes, TAG_VERSION, pair.version);
        put_bytes(&mut bytes, TAG_VALUE, pair.value);
        put_number(&mut bytes, TAG_LEASE, pair.lease.0);
        Record(bytes.into())
    }

    /// Encodes the deletion of `key` at `at`.
    #[must_use]
    pub fn tombstone(key: &[u8], at: Revision) -> Record {
        Record::new(&KeyValue { key, mod_revision: at, ..KeyValue::default() })
    }

    /// Takes bytes that [`Record::as_bytes`] gave out, checking them.
    ///
    /// # Errors
    /// If they are no key-value pair in this module's form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Record, RecordError> {
        let pair = parse(bytes)?;
        if pair.key.is_empty() {
            return Err(RecordError("it has no key"));
        }
        Ok(Record(bytes.into()))
    }

    /// The protobuf encoding of `mvccpb.KeyValue`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The fields.
    #[must_use]
    pub fn pair(&self) -> KeyValue<'_> {
        // Only `new` and `from_bytes` make records, and both leave well-formed bytes.
        parse(&self.0).expect("a record holds well-formed bytes")
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.pair().key
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.pair().value
    }

    /// The revision of this write.
    #[must_use]
    pub fn mod_revision(&self) -> Revision {
        self.pair().mod_revision
    }

    /// The lease of the key, [`LeaseId::NONE`] if it has none.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.pair().lease
    }

    /// Tells whether this is the record of a deletion.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.pair().version == 0
    }

    /// The same pair without its value.
    #[must_use]
    pub fn without_value(&self) -> Record {
        Record::new(&KeyValue { value: &[], ..self.pair() })
    }

    /// The key alone: a deletion as etcd stores it.
    #[must_use]
    pub fn bare(&self) -> Record {
        Record::new(&KeyValue { key: self.key(), ..KeyValue::default() })
    }

    /// The same pair without value and lease: what etcd answers to `keys_only` since 3.7.
    #[must_use]
    pub fn keys_only(&self) -> Record {
        Record::new(&KeyValue { value: &[], lease: LeaseId::NONE, ..self.pair() })
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = self.pair();
        write!(
            f,
            "{}={} created={} modified={} version={} lease={}",
            pair.key.escape_ascii(),
            pair.value.escape_ascii(),
            pair.create_revision,
            pair.mod_revision,
            pair.version,
            pair.lease.0
        )
    }
}

fn encoded_len(pair: &KeyValue<'_>) -> usize {
    bytes_len(pair.key)
        + bytes_len(pair.value)
        + number_len(pair.create_revision.0)
        + number_len(pair.mod_revision.0)
        + number_len(pair.version)
        + number_len(pair.lease.0)
}

fn bytes_len(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { 1 + varint_len(bytes.len() as u64) + bytes.len() }
}

fn number_len(number: i64) -> usize {
    if number == 0 { 0 } else { 1 + varint_len(number.cast_unsigned()) }
}

fn varint_len(value: u64) -> usize {
    // Seven bits a byte; zero still takes one.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(tag);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_number(out: &mut Vec<u8>, tag: u8, number: i64) {
    if number != 0 {
        out.push(tag);
        put_varint(out, number.cast_unsigned());
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn parse(mut bytes: &[u8]) -> Result<KeyValue<'_>, RecordError> {
    let mut pair = KeyValue::default();
    while let Some((&tag, rest)) = bytes.split_first() {
        let (number, rest) = varint(rest)?;
        bytes = rest;
        match tag {
            TAG_KEY | TAG_VALUE => {
                let len = usize::try_from(number).map_err(|_| RecordError("a length is too large"))?;
                let (field, rest) = bytes.split_at_checked(len).ok_or(RecordError("it ends within a field"))?;
                bytes = rest;
                if tag == TAG_KEY {
                    pair.key = field;
                } else {
                    pair.value = field;
                }
            }
            TAG_CREATE_REVISION => pair.create_revision = Revision(number.cast_signed()),
            TAG_MOD_REVISION => pair.mod_revision = Revision(number.cast_signed()),
            TAG_VERSION => pair.version = number.cast_signed(),
            TAG_LEASE => pair.lease = LeaseId(number.cast_signed()),
            _ => return Err(RecordError("it has an unknown field")),
        }
    }
    Ok(pair)
}

fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), RecordError> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok((value, &bytes[i + 1..]));
        }
    }
    Err(RecordError("a number does not end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back_and_the_allocation_fits() {
        let pair = KeyValue {
            key: b"k",
            value: &[7; 300],
            create_revision: Revision(3),
            mod_revision: Revision(i64::MAX),
            version: 200,
            lease: LeaseId(-1),
        };
        let record = Record::new(&pair);
        assert_eq!(record.pair(), pair);
        assert_eq!(record.as_bytes().len(), encoded_len(&pair));
        assert_eq!(Record::from_bytes(record.as_bytes()), Ok(record));
    }

    #[test]
    fn a_tombstone_holds_key_and_revision_only() {
        let record = Record::tombstone(b"k", Revision(5));
        assert!(record.is_tombstone());
        assert_eq!(record.as_bytes(), [0x0a, 1, b'k', 0x18, 5]);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for bytes in [&b""[..], b"\x0a\x05k", b"\x0a", b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x42\x00"]
        {
            assert!(Record::from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }
}
