//! JSON in: a value becomes the bytes of a message.
//!
//! The rules are those of protobuf's JSON mapping as etcd's gateway has them set:
//!
//! * a field has its name in the contract or the lowerCamelCase of that; what is no field is passed over;
//! * `null` leaves a field as if it were not there; a field, or a second one of a oneof, must not come again;
//! * bytes are base64 of either alphabet, padded or not; numbers may be texts; enum values may be numbers, and a name
//!   that is none leaves the field alone.
//!
//! Source: `protobuf-go/encoding/protojson/decode.go`, which also words the errors.

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::number::{whole, whole_in_text};
use super::token::{Token, Tokens, Unreadable, What};

/// Messages in each other: what the decoder of messages takes.
const DEPTH_MAX: usize = 100;

/// Makes the bytes of a message of a JSON value; `json` is well formed.
///
/// # Errors
/// What is wrong with the first part that does not fit.
pub(super) fn message(json: &[u8], descriptor: &MessageDescriptor) -> Result<Vec<u8>, Unreadable> {
    let mut out = Vec::with_capacity(json.len());
    let mut tokens = Tokens::of(json);
    let first = tokens.next()?;
    Reader { tokens, depth: 0 }.message(&first, descriptor, &mut out)?;
    Ok(out)
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Reads the message that begins with `first`.
    fn message(
        &mut self,
        first: &Token<'a>,
        descriptor: &MessageDescriptor,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        if self.depth == DEPTH_MAX {
            return Err(Unreadable::too_deep());
        }
        if first.what != What::ObjectOpen {
            return Err(self.tokens.unexpected(first));
        }
        self.depth += 1;
        let (mut seen, mut seen_oneofs) = (Vec::new(), Vec::new());
        loop {
            let name = self.tokens.next()?;
            let text = match &name.what {
                What::ObjectClose => break,
                What::Text(text) => text,
                _ => return Err(self.tokens.unexpected(&name)),
            };
            let field = descriptor.get_field_by_json_name(text).or_else(|| descriptor.get_field_by_name(text));
            let Some(field) = field else {
                self.tokens.skip_value()?;
                continue;
            };
            if seen.contains(&field.number()) {
                return Err(self.tokens.wrong(&name, format!("duplicate field {}", name.raw())));
            }
            seen.push(field.number());
            let value = self.tokens.next()?;
            if value.what == What::Null {
                continue;
            }
            if let Some(oneof) = field.containing_oneof() {
                if seen_oneofs.contains(&oneof) {
                    let why = format!("error parsing {}, oneof {} is already set", name.raw(), oneof.full_name());
                    return Err(self.tokens.wrong(&name, why));
                }
                seen_oneofs.push(oneof);
            }
            if field.is_list() { self.list(&value, &field, out)? } else { self.single(&value, &field, out)? }
        }
        self.depth -= 1;
        Ok(())
    }

    fn single(&mut self, value: &Token<'a>, field: &FieldDescriptor, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if let Kind::Message(descriptor) = field.kind() {
            return self.part(value, field, &descriptor, out);
        }
        match self.scalar(value, field)? {
            None => {}
            // Only a field of a oneof is there when it is zero.
            Some(scalar) if scalar.is_zero() && !field.supports_presence() => {}
            Some(scalar) => scalar.write(field.number(), out),
        }
        Ok(())
    }

    fn list(&mut self, value: &Token<'a>, field: &FieldDescriptor, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if value.what != What::ArrayOpen {
            return Err(self.tokens.unexpected(value));
        }
        let mut packed = Vec::new();
        loop {
            let item = self.tokens.next()?;
            if item.what == What::ArrayClose {
                break;
            }
            if let Kind::Message(descriptor) = field.kind() {
                self.part(&item, field, &descriptor, out)?;
            } else if let Some(scalar) = self.scalar(&item, field)? {
                match scalar {
                    Scalar::Varint(value) if field.is_packed() => encode_varint(value, &mut packed),
                    scalar => scalar.write(field.number(), out),
                }
            }
        }
        if !packed.is_empty() {
            Scalar::Bytes(packed).write(field.number(), out);
        }
        Ok(())
    }

    fn part(
        &mut self,
        value: &Token<'a>,
        field: &FieldDescriptor,
        descriptor: &MessageDescriptor,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let mut part = Vec::new();
        self.message(value, descriptor, &mut part)?;
        Scalar::Bytes(part).write(field.number(), out);
        Ok(())
    }

    /// Reads a value; `None` for the name of an enum's value that is none.
    fn scalar(&self, value: &Token<'a>, field: &FieldDescriptor) -> Result<Option<Scalar>, Unreadable> {
        // A negative number takes all bits, as if it had 64.
        let varint = |number: i128| Scalar::Varint(number as u64);
        let (kind, scalar) = match (field.kind(), &value.what) {
            (Kind::Bool, What::Bool(value)) => ("bool", Some(Scalar::Varint(u64::from(*value)))),
            (Kind::Bool, _) => ("bool", None),
            (Kind::Int32, value) => ("int32", integer(value, i32::MIN, i32::MAX).map(varint)),
            (Kind::Int64, value) => ("int64", integer(value, i64::MIN, i64::MAX).map(varint)),
            (Kind::Uint32, value) => ("uint32", integer(value, u32::MIN, u32::MAX).map(varint)),
            (Kind::Uint64, value) => ("uint64", integer(value, u64::MIN, u64::MAX).map(varint)),
            (Kind::Enum(of), What::Text(name)) => match of.get_value_by_name(name) {
                Some(value) => ("enum", Some(varint(value.number().into()))),
                None => return Ok(None),
            },
            (Kind::Enum(_), What::Number(number)) => {
                let number = whole(number).filter(|number| i32::try_from(*number).is_ok());
                ("enum", number.map(varint))
            }
            (Kind::Enum(_), _) => ("enum", None),
            (Kind::String, What::Text(text)) => ("string", Some(Scalar::Bytes(text.as_bytes().to_vec()))),
            (Kind::String, _) => ("string", None),
            (Kind::Bytes, What::Text(text)) => ("bytes", of_base64(text).map(Scalar::Bytes)),
            (Kind::Bytes, _) => ("bytes", None),
            // No message of the contract has such a field, as a test shows.
            (_, _) => ("unknown", None),
        };
        let wrong = || {
            let why = format!("invalid value for {kind} field {}: {}", field.json_name(), value.raw());
            self.tokens.wrong(value, why)
        };
        scalar.map(Some).ok_or_else(wrong)
    }
}

/// What stands in a field.
enum Scalar {
    Varint(u64),
    Bytes(Vec<u8>),
}

impl Scalar {
    fn is_zero(&self) -> bool {
        match self {
            Scalar::Varint(value) => *value == 0,
            Scalar::Bytes(bytes) => bytes.is_empty(),
        }
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) {
        match self {
            Scalar::Varint(value) => {
                encode_key(number, WireType::Varint, out);
                encode_varint(*value, out);
            }
            Scalar::Bytes(bytes) => {
                encode_key(number, WireType::LengthDelimited, out);
                encode_varint(bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            }
        }
    }
}

fn integer(value: &What<'_>, min: impl Into<i128>, max: impl Into<i128>) -> Option<i128> {
    let number = match value {
        What::Number(number) => whole(number),
        What::Text(text) => whole_in_text(text),
        _ => None,
    };
    number.filter(|number| (min.into()..=max.into()).contains(number))
}

/// Reads base64 as Go does: line ends do not count, bits that are left over neither, and a text has all of its padding or,
/// if its length is not that of a padded one, none.
fn of_base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let padding =
        if text.len().is_multiple_of(4) { DecodePaddingMode::RequireCanonical } else { DecodePaddingMode::RequireNone };
    let decode = |text: &[u8]| lenient(alphabet, padding).decode(text).ok();
    if !text.contains(['\r', '\n']) {
        return decode(text.as_bytes());
    }
    decode(text.replace(['\r', '\n'], "").as_bytes())
}

fn lenient(alphabet: &Alphabet, padding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(padding);
    GeneralPurpose::new(alphabet, config)
}
