//! JSON out: the bytes of a message become text while they come.
//!
//! An answer may be many times what memory has room for, so no message is ever held: of one that arrives in pieces each
//! piece is turned into text by itself. All that is kept in between is which messages and lists are open, and what of a
//! number or of three bytes of base64 is still missing.
//!
//! ```text
//! 0a 0d                        {"header":{             a part: its length is kept, its end closes it
//!       08 95 9a ef 3a           "cluster_id":"12345"    64 bits are a text
//! 12 07 0a 03 66 6f 6f        },"kvs":[{"key":"Zm9v"}  the first of a list opens it, the next field closes it
//! ```
//!
//! A field that is zero is left out. Fields come in the order of their numbers, as the encoders write them; in the contract
//! that is the order in which they are declared, which is the gateway's.
//!
//! Source: `protobuf-go/encoding/protojson/encode.go`.

use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// Messages in each other; more than any message of the contract has that the server sends.
const DEPTH_MAX: usize = 100;
/// The bytes of a varint.
const VARINT_BYTES_MAX: u32 = 10;
/// The bytes that base64 takes at a time.
const GROUP_BYTES: usize = 3;

/// Bytes that are no such message: a mistake of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is malformed")]
pub(super) struct Malformed;

/// One message on its way.
#[derive(Debug)]
pub(super) struct Writer {
    /// The messages that are open, outermost first.
    open: Vec<Level>,
    step: Step,
    varint: Varint,
}

/// A message that has not ended.
#[derive(Debug)]
struct Level {
    message: MessageDescriptor,
    /// Bytes to come.
    left: u64,
    has_fields: bool,
    /// The field whose list is open.
    list: Option<u32>,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Step {
    /// Which field comes.
    Key,
    /// A number.
    Value(FieldDescriptor),
    /// How long a field is.
    Length(FieldDescriptor),
    /// Numbers of a list, so many bytes of them.
    Packed(FieldDescriptor, u64),
    /// So many bytes that become base64; those of a group that is not whole.
    Base64(u64, Vec<u8>),
    /// So many bytes of a text.
    Text(u64),
    /// So many bytes of something that is not known.
    Unknown(u64),
    /// A number of something that is not known.
    UnknownValue,
    /// How long something is that is not known.
    UnknownLength,
}

/// The part of a varint that has come.
#[derive(Debug, Default)]
struct Varint {
    value: u64,
    bytes: u32,
}

impl Writer {
    /// Begins a message of so many bytes.
    pub(super) fn new(message: MessageDescriptor, bytes: u64, out: &mut Vec<u8>) -> Writer {
        let mut writer = Writer { open: Vec::new(), step: Step::Key, varint: Varint::default() };
        writer.enter(message, bytes, out);
        writer
    }

    /// Goes on with a piece of the message; the last one ends the text.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(super) fn write(&mut self, mut piece: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        while !piece.is_empty() {
            let taken = self.take(piece, out)?;
            piece = &piece[taken..];
        }
        Ok(())
    }

    /// Tells whether the message has ended.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes some of the bytes; gives how many.
    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<usize, Malformed> {
        let level = self.open.last_mut().ok_or(Malformed)?;
        if let Step::Base64(left, _) | Step::Text(left) | Step::Unknown(left) = &mut self.step {
            // It is at most what the piece has.
            let taken = (*left).min(piece.len() as u64) as usize;
            *left -= taken as u64;
            let is_last = *left == 0;
            level.left -= taken as u64;
            match &mut self.step {
                Step::Base64(_, group) => write_base64(group, &piece[..taken], is_last, out),
                Step::Text(_) => write_escaped(&piece[..taken], out),
                _ => {}
            }
            if is_last {
                if !matches!(self.step, Step::Unknown(_)) {
                    out.push(b'"');
                }
                self.ended(out);
            }
            return Ok(taken);
        }
        level.left = level.left.checked_sub(1).ok_or(Malformed)?;
        if let Step::Packed(_, left) = &mut self.step {
            *left = left.checked_sub(1).ok_or(Malformed)?;
        }
        if let Some(value) = self.varint.push(piece[0])? {
            self.number(value, out)?;
        } else if self.open.last().is_some_and(|level| level.left == 0) {
            return Err(Malformed);
        }
        Ok(1)
    }

    /// A number has come.
    fn number(&mut self, number: u64, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match std::mem::replace(&mut self.step, Step::Key) {
            Step::Key => self.key(number)?,
            Step::Value(field) => {
                if number != 0 || field.supports_presence() || field.is_list() {
                    self.name(&field, out);
                    write_number(&field.kind(), number, out);
                }
                self.ended(out);
            }
            Step::Packed(field, left) => {
                self.name(&field, out);
                write_number(&field.kind(), number, out);
                if left == 0 { self.ended(out) } else { self.step = Step::Packed(field, left) }
            }
            Step::Length(field) => self.length(&field, number, out)?,
            Step::UnknownLength if number > 0 => {
                self.fits(number)?;
                self.step = Step::Unknown(number);
            }
            Step::UnknownLength | Step::UnknownValue => self.ended(out),
            Step::Base64(..) | Step::Text(_) | Step::Unknown(_) => return Err(Malformed),
        }
        Ok(())
    }

    fn key(&mut self, key: u64) -> Result<(), Malformed> {
        let level = self.open.last().ok_or(Malformed)?;
        if level.left == 0 {
            return Err(Malformed);
        }
        let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        self.step = match (level.message.get_field(number), key & 7) {
            (Some(field), 0) => Step::Value(field),
            (Some(field), 2) => Step::Length(field),
            (None, 0) => Step::UnknownValue,
            (None, 2) => Step::UnknownLength,
            (_, 1) => Step::Unknown(8),
            (_, 5) => Step::Unknown(4),
            (_, _) => return Err(Malformed),
        };
        if let Step::Unknown(bytes) = self.step {
            self.fits(bytes)?;
        }
        Ok(())
    }

    /// The length of a field has come.
    fn length(&mut self, field: &FieldDescriptor, bytes: u64, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.fits(bytes)?;
        let is_shown = bytes > 0 || field.supports_presence() || field.is_list();
        match field.kind() {
            Kind::Message(message) => {
                if self.open.len() == DEPTH_MAX {
                    return Err(Malformed);
                }
                self.name(field, out);
                if let Some(level) = self.open.last_mut() {
                    level.left -= bytes;
                }
                self.enter(message, bytes, out);
            }
            kind @ (Kind::Bytes | Kind::String) => {
                if is_shown {
                    self.name(field, out);
                    out.push(b'"');
                }
                match kind {
                    _ if bytes == 0 => {
                        if is_shown {
                            out.push(b'"');
                        }
                        self.ended(out);
                    }
                    Kind::Bytes => self.step = Step::Base64(bytes, Vec::with_capacity(GROUP_BYTES)),
                    _ => self.step = Step::Text(bytes),
                }
            }
            _ if bytes == 0 => self.ended(out),
            _ => self.step = Step::Packed(field.clone(), bytes),
        }
        Ok(())
    }

    /// What is said to come must be in the message that it is in.
    fn fits(&self, bytes: u64) -> Result<(), Malformed> {
        let left = self.open.last().map_or(0, |level| level.left);
        if bytes > left { Err(Malformed) } else { Ok(()) }
    }

    fn enter(&mut self, message: MessageDescriptor, bytes: u64, out: &mut Vec<u8>) {
        out.push(b'{');
        self.open.push(Level { message, left: bytes, has_fields: false, list: None });
        self.ended(out);
    }

    /// A field has ended, or a message has begun: closes what ends with it.
    fn ended(&mut self, out: &mut Vec<u8>) {
        self.step = Step::Key;
        while let Some(level) = self.open.pop_if(|level| level.left == 0) {
            if level.list.is_some() {
                out.push(b']');
            }
            out.push(b'}');
        }
    }

    /// Writes what stands before a field's value.
    fn name(&mut self, field: &FieldDescriptor, out: &mut Vec<u8>) {
        let Some(level) = self.open.last_mut() else { return };
        if level.list == Some(field.number()) {
            out.push(b',');
            return;
        }
        if level.list.take().is_some() {
            out.push(b']');
        }
        if level.has_fields {
            out.push(b',');
        }
        level.has_fields = true;
        out.push(b'"');
        out.extend_from_slice(field.name().as_bytes());
        out.extend_from_slice(b"\":");
        if field.is_list() {
            out.push(b'[');
            level.list = Some(field.number());
        }
    }
}

impl Varint {
    /// Takes a byte; gives the number if that was its last.
    fn push(&mut self, byte: u8) -> Result<Option<u64>, Malformed> {
        if self.bytes == VARINT_BYTES_MAX {
            return Err(Malformed);
        }
        // Bits beyond the last are lost, as in every decoder.
        self.value |= u64::from(byte & 0x7f) << (7 * self.bytes);
        self.bytes += 1;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        Ok(Some(std::mem::take(self).value))
    }
}

fn write_number(kind: &Kind, number: u64, out: &mut Vec<u8>) {
    // What was written as a negative number of 64 bits is one again.
    let written = match kind {
        Kind::Bool => write!(out, "{}", number != 0),
        Kind::Int64 => write!(out, "\"{}\"", number.cast_signed()),
        Kind::Uint64 => write!(out, "\"{number}\""),
        Kind::Uint32 => write!(out, "{}", number as u32),
        Kind::Enum(of) => match of.get_value(number as i32) {
            Some(value) => write!(out, "\"{}\"", value.name()),
            None => write!(out, "{}", number as i32),
        },
        _ => write!(out, "{}", number as i32),
    };
    written.expect("memory takes all that is written");
}

/// Writes bytes as base64, a group at a time; with the last ones, what is left of a group too.
fn write_base64(group: &mut Vec<u8>, mut bytes: &[u8], is_last: bool, out: &mut Vec<u8>) {
    if !group.is_empty() {
        let (missing, rest) = bytes.split_at(bytes.len().min(GROUP_BYTES - group.len()));
        group.extend_from_slice(missing);
        bytes = rest;
        if group.len() < GROUP_BYTES && !is_last {
            return;
        }
        append_base64(group, out);
        group.clear();
    }
    let whole = if is_last { bytes.len() } else { bytes.len() / GROUP_BYTES * GROUP_BYTES };
    append_base64(&bytes[..whole], out);
    group.extend_from_slice(&bytes[whole..]);
}

fn append_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(GROUP_BYTES) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("each group makes four characters");
}

/// Writes what stands in a text. Its bytes are UTF-8, of which only ASCII is ever escaped.
fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..b' ' => write!(out, "\\u{byte:04x}").expect("memory takes all that is written"),
            _ => out.push(byte),
        }
    }
}
