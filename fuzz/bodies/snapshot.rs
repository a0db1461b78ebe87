//! Snapshot streams.

use std::path::Path;
use std::sync::Arc;

use lodemark::env::{Disk, MemoryDisk};
use lodemark::storage::{Arrival, Import, Storage};

/// Of so many streams that cannot be read, one is given to an import all the same: making its file takes a hundred times
/// as long as reading it.
const IMPORTED_ONE_IN: u32 = 64;

/// Any bytes as a snapshot stream, in pieces whose length the first byte says: it is refused, or becomes a file that
/// opens.
pub fn snapshot(bytes: &[u8]) -> bool {
    let path = Path::new("incoming");
    let piece_bytes = bytes.first().map_or(1, |len| usize::from(*len) + 1);
    let is_read = arrives(path, bytes.chunks(piece_bytes));
    if !is_read && !crc32c::crc32c(bytes).is_multiple_of(IMPORTED_ONE_IN) {
        return false;
    }
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    match Import::of_pieces(disk.clone(), path, bytes.chunks(piece_bytes)) {
        Ok(imported) => {
            assert!(is_read);
            let storage = Storage::open(disk, path, 1 << 16).expect("what was imported opens");
            assert_eq!(storage.meta().expect("it has meta"), imported.meta);
            let records = storage.load_records(2, Vec::with_capacity).expect("it is whole").concat();
            assert_eq!(Some(records), imported.records);
            storage.small_tables().expect("it is whole");
            true
        }
        Err(error) => {
            super::told(Some(&error));
            assert!(!disk.exists(path).expect("memory does not fail"), "nothing is left of it");
            false
        }
    }
}

/// Reads the stream; whether the entries are those that its footer sums up shows only when they are in a file.
fn arrives<'a>(path: &Path, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut arrival = Arrival::new(path);
    for piece in pieces {
        if arrival.push(piece).is_err() {
            return false;
        }
    }
    arrival.end().is_ok()
}

/// A chunk of a snapshot stream with its checksum.
fn chunk(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind];
    chunk.extend_from_slice(&(body.len() as u32).to_le_bytes());
    chunk.extend_from_slice(body);
    let crc = crc32c::crc32c(&chunk);
    chunk.extend_from_slice(&crc.to_le_bytes());
    chunk
}

/// Any bytes as chunks of a snapshot stream whose checksums are right: each is a kind, a length, and so many bytes.
pub fn snapshot_chunks(mut bytes: &[u8]) -> bool {
    let mut stream = b"LODESNAP\x01\0\0\0".to_vec();
    while let [kind, len, rest @ ..] = bytes {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        stream.extend_from_slice(&chunk(kind % 5, body));
        bytes = rest;
    }
    snapshot(&stream)
}
