//! The private decoders of this folder, for whoever feeds them any bytes: the fuzz targets in `fuzz/`.

use bytes::Bytes;
use http::HeaderMap;
use prost::Message;

use super::messages::Frames;
use super::{PART_BYTES_MAX, envelope, refusal, snapshot};
use crate::peer::{Envelope, PeerError, Refusal};
use crate::proto::lodemarkpb::SnapshotPart;

/// The messages of a stream that comes in these pieces, and whether it ends between two of them.
///
/// # Errors
/// As the stream's reader tells it.
pub fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<Bytes>, bool), String> {
    let (mut frames, mut found) = (Frames::new(PART_BYTES_MAX), Vec::new());
    for piece in pieces {
        frames.push(Bytes::copy_from_slice(piece));
        while let Some(message) = frames.next().map_err(|error| error.to_string())? {
            found.push(message);
        }
    }
    Ok((found, frames.is_between_messages()))
}

/// Who speaks to whom, by the headers of a request.
///
/// # Errors
/// [`Refusal::Malformed`].
pub fn envelope(headers: &HeaderMap) -> Result<Envelope, Refusal> {
    envelope::of(headers)
}

/// What the headers or trailers of an answer say; `None` if they say nothing.
#[must_use]
pub fn outcome(headers: &HeaderMap) -> Option<Result<(), PeerError>> {
    refusal::outcome(headers)
}

/// The headers of a refusal.
#[must_use]
pub fn refusal(refusal: &Refusal) -> HeaderMap {
    refusal::headers(refusal)
}

/// The bytes of a snapshot in one part of its stream.
///
/// # Errors
/// What is wrong with it.
pub fn snapshot_part(bytes: Bytes) -> Result<Bytes, String> {
    let part = SnapshotPart::decode(bytes).map_err(|error| error.to_string())?;
    snapshot::check(part).map_err(str::to_owned)
}
