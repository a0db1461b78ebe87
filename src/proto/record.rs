//! A stored pair as a message.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{self, DecodeContext, WireType, int64, skip_field};
use prost::{DecodeError, Message};

use crate::model::{self, LeaseId, Record, Revision};

/// `mvccpb.KeyValue`: holds the encoded [`Record`] and writes it as it is.
///
/// Decoding it is for tests and tools; each field that is read encodes the pair anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct KeyValue(
    /// `None` is the message without any field.
    Option<Record>,
);

impl KeyValue {
    /// The pair; `None` if the message has no field.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.0.as_ref()
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], Record::as_bytes)
    }
}

impl From<Record> for KeyValue {
    fn from(record: Record) -> KeyValue {
        KeyValue(Some(record))
    }
}

impl Message for KeyValue {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(self.as_bytes());
    }

    fn encoded_len(&self) -> usize {
        self.as_bytes().len()
    }

    fn clear(&mut self) {
        self.0 = None;
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut pair = self.0.as_ref().map(Record::pair).unwrap_or_default();
        let (mut field, mut number) = (Bytes::new(), 0);
        match tag {
            1 | 5 => encoding::bytes::merge(wire_type, &mut field, buf, context)?,
            2 | 3 | 4 | 6 => int64::merge(wire_type, &mut number, buf, context)?,
            _ => return skip_field(wire_type, tag, buf, context),
        }
        match tag {
            1 => pair.key = &field,
            2 => pair.create_revision = Revision(number),
            3 => pair.mod_revision = Revision(number),
            4 => pair.version = number,
            5 => pair.value = &field,
            _ => pair.lease = LeaseId(number),
        }
        let record = (pair != model::KeyValue::default()).then(|| Record::new(&pair));
        self.0 = record;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::mvccpb::Event;

    /// The same message as a generator would write it.
    #[derive(Clone, PartialEq, Message)]
    struct Plain {
        #[prost(bytes = "bytes", tag = "1")]
        key: Bytes,
        #[prost(int64, tag = "2")]
        create_revision: i64,
        #[prost(int64, tag = "3")]
        mod_revision: i64,
        #[prost(int64, tag = "4")]
        version: i64,
        #[prost(bytes = "bytes", tag = "5")]
        value: Bytes,
        #[prost(int64, tag = "6")]
        lease: i64,
    }

    fn record() -> Record {
        Record::new(&model::KeyValue {
            key: b"k",
            value: &[7; 300],
            create_revision: Revision(3),
            mod_revision: Revision(i64::MAX),
            version: 200,
            lease: LeaseId(-1),
        })
    }

    fn plain() -> Plain {
        Plain {
            key: Bytes::from_static(b"k"),
            create_revision: 3,
            mod_revision: i64::MAX,
            version: 200,
            value: vec![7; 300].into(),
            lease: -1,
        }
    }

    #[test]
    fn has_the_bytes_of_the_plain_message() {
        let tombstone = Record::tombstone(b"k", Revision(9));
        let plain_tombstone = Plain { key: Bytes::from_static(b"k"), mod_revision: 9, ..Plain::default() };
        for (record, plain) in [(record(), plain()), (tombstone, plain_tombstone)] {
            let message = KeyValue::from(record);
            assert_eq!(message.encoded_len(), plain.encoded_len());
            assert_eq!(message.encode_to_vec(), plain.encode_to_vec());
            assert_eq!(Plain::decode(message.encode_to_vec().as_slice()), Ok(plain.clone()));
            assert_eq!(KeyValue::decode(plain.encode_to_vec().as_slice()), Ok(message));
        }
    }

    #[test]
    fn fields_may_come_in_any_order_and_the_last_one_counts() {
        let mut bytes = Vec::new();
        encoding::int64::encode(6, &-1, &mut bytes);
        encoding::bytes::encode(5, &b"superseded".to_vec(), &mut bytes);
        encoding::bytes::encode(5, &vec![7; 300], &mut bytes);
        encoding::string::encode(77, &"from a later version".to_owned(), &mut bytes);
        encoding::int64::encode(4, &200, &mut bytes);
        encoding::bytes::encode(1, &b"k".to_vec(), &mut bytes);
        encoding::int64::encode(3, &i64::MAX, &mut bytes);
        encoding::int64::encode(2, &3, &mut bytes);
        assert_eq!(KeyValue::decode(bytes.as_slice()), Ok(record().into()));
    }

    #[test]
    fn stands_within_other_messages() {
        let event = Event { r#type: 0, kv: Some(record().into()), prev_kv: Some(KeyValue::default()) };
        let bytes = event.encode_to_vec();
        assert_eq!(bytes.len(), event.encoded_len());
        assert_eq!(Event::decode(bytes.as_slice()), Ok(event));
    }

    #[test]
    fn nothing_and_zeros_are_the_empty_message() {
        let empty = KeyValue::default();
        assert!(empty.encode_to_vec().is_empty());
        assert_eq!(empty.record(), None);
        assert_eq!(KeyValue::decode(&[0x18, 0][..]), Ok(empty.clone()));
        let mut cleared = KeyValue::from(record());
        cleared.clear();
        assert_eq!(cleared, empty);
    }

    #[test]
    fn malformed_bytes_are_refused() {
        for bytes in [&b"\x0a\x05k"[..], b"\x0a", b"\x08\x01", b"\x1a\x01k", b"\x18\xff"] {
            assert!(KeyValue::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
