//! Snapshots: a head, then bytes in chunks that each carry their checksum.
//!
//! ```text
//!   thread: source ── chunks ──> a queue of CHUNKS_QUEUED ──> the stream's window ──> the other side's disk
//! ```
//!
//! Nothing here holds more than a few chunks: each stage waits for the next one.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::dial::Connection;
use super::messages::{self, frame};
use super::{CALL_BYTES_MAX, CHUNK_BYTES, SNAPSHOT_PATH, request};
use crate::env::spawn_background;
use crate::peer::{Envelope, PeerError, SnapshotSource};
use crate::proto::lodemarkpb::{SnapshotChunk, SnapshotPart, SnapshotReply, snapshot_part::Part};

/// Chunks that wait for the stream: enough that the thread reads while the network sends.
const CHUNKS_QUEUED: usize = 2;

/// Sends a snapshot over a connection of its own, and waits for the answer for as long as the connection lives. Dropping
/// the future breaks it off.
///
/// # Errors
/// [`PeerError::Unreachable`] if nothing was sent, the other side's refusal, or [`PeerError::Broken`], also if the
/// source cannot be read.
pub(super) async fn send(
    connection: Connection,
    envelope: Envelope,
    head: Bytes,
    source: Arc<dyn SnapshotSource>,
    runtime: &Handle,
) -> Result<Bytes, PeerError> {
    let requests = connection.requests.clone();
    let _connection = AbortOnDropHandle::new(runtime.spawn(connection.run()));
    let (mut response, mut stream) = request::begin(requests, SNAPSHOT_PATH, envelope).await?;

    let sending = async {
        let head = SnapshotPart { part: Some(Part::Head(head)) };
        // Here and below an error means that the stream has ended; the answer says why.
        let Ok(()) = messages::send(&mut stream, frame(&head)).await else { return Ok(()) };
        let (chunks_tx, mut chunks_rx) = mpsc::channel(CHUNKS_QUEUED);
        let (written_tx, written) = oneshot::channel();
        let write = move || {
            let mut chunks = Chunks { queue: chunks_tx, data: Vec::with_capacity(CHUNK_BYTES) };
            let _ = written_tx.send(source.write_to(0, &mut chunks).and_then(|()| chunks.finish()));
        };
        spawn_background("snapshot", write).map_err(unreadable)?;
        while let Some(chunk) = chunks_rx.recv().await {
            let Ok(()) = messages::send(&mut stream, chunk).await else { return Ok(()) };
        }
        match written.await {
            Ok(Ok(())) => drop(stream.send_data(Bytes::new(), true)),
            Ok(Err(error)) => return Err(unreadable(error)),
            Err(panicked) => return Err(unreadable(panicked)),
        }
        Ok(())
    };
    let response = tokio::select! {
        biased;
        // The stream is reset as its halves are dropped, so that the other side knows that this is not all.
        sent = sending => { sent?; response.await }
        early = &mut response => early,
    };
    let answer = request::answer(std::future::ready(response)).await?;
    Ok(request::reply::<SnapshotReply>(answer, CALL_BYTES_MAX).await?.body)
}

fn unreadable(error: impl std::fmt::Display) -> PeerError {
    PeerError::Broken(format!("the snapshot cannot be read: {error}").into())
}

/// Cuts what is written into chunks and waits until each has a place in the queue.
struct Chunks {
    queue: mpsc::Sender<Bytes>,
    data: Vec<u8>,
}

impl Chunks {
    /// Sends what is left.
    fn finish(mut self) -> io::Result<()> {
        if self.data.is_empty() { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> io::Result<()> {
        let data = std::mem::replace(&mut self.data, Vec::with_capacity(CHUNK_BYTES));
        self.queue.blocking_send(frame(&chunk(data.into()))).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for Chunks {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = data.len().min(CHUNK_BYTES - self.data.len());
        self.data.extend_from_slice(&data[..len]);
        if self.data.len() == CHUNK_BYTES {
            self.send()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A chunk with its checksum.
pub(super) fn chunk(data: Bytes) -> SnapshotPart {
    let crc32c = crc32c::crc32c(&data);
    SnapshotPart { part: Some(Part::Chunk(SnapshotChunk { data, crc32c })) }
}

/// The bytes of a part that is an undamaged chunk.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(part: SnapshotPart) -> Result<Bytes, &'static str> {
    match part.part {
        Some(Part::Chunk(SnapshotChunk { data, crc32c })) if crc32c == crc32c::crc32c(&data) => Ok(data),
        Some(Part::Chunk(_)) => Err("a chunk was damaged on its way"),
        Some(Part::Head(_)) | None => Err("a part of the snapshot is no chunk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_chunk_is_found() {
        let good = chunk(Bytes::from_static(b"data"));
        assert_eq!(check(good.clone()), Ok(Bytes::from_static(b"data")));
        let Some(Part::Chunk(mut damaged)) = good.part else { panic!() };
        damaged.data = Bytes::from_static(b"dbta");
        assert!(check(SnapshotPart { part: Some(Part::Chunk(damaged)) }).is_err());
        assert!(check(SnapshotPart { part: Some(Part::Head(Bytes::new())) }).is_err());
        assert!(check(SnapshotPart { part: None }).is_err());
    }
}
