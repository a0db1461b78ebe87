//! JSON in and out, for whoever feeds it any bytes: the fuzz targets in `fuzz/`.

use prost_reflect::MessageDescriptor;

use super::read;
use super::scan::Scanner;
use super::write::Writer;
use crate::proto::descriptors;

/// Any bytes as the body of a call: its first value as the message of that number.
///
/// # Errors
/// What the client is told.
pub fn read(message: u8, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut scanner = Scanner::default();
    let found = scanner.scan(body).map_err(|error| error.to_string())?;
    let value = match found {
        Some(len) => &body[..len],
        None if scanner.end().map_err(|error| error.to_string())? => body,
        None => return Ok(Vec::new()),
    };
    read::message(value, &numbered(message)).map_err(|error| error.to_string())
}

/// Any bytes as the message of that number, which comes in pieces: its text, if it is one.
#[must_use]
pub fn write(message: u8, bytes: &[u8], piece_bytes: usize) -> Option<String> {
    let mut out = Vec::new();
    let mut writer = Writer::new(numbered(message), bytes.len() as u64, &mut out);
    for piece in bytes.chunks(piece_bytes.max(1)) {
        writer.write(piece, &mut out).ok()?;
    }
    writer.is_done().then(|| String::from_utf8(out).ok())?
}

/// The number of a message.
#[must_use]
pub fn number(name: &str) -> Option<u8> {
    descriptors().all_messages().position(|message| message.full_name() == name)?.try_into().ok()
}

/// Any message of the contract.
fn numbered(number: u8) -> MessageDescriptor {
    let count = descriptors().all_messages().len();
    descriptors().all_messages().nth(usize::from(number) % count).expect("it is one of them")
}
