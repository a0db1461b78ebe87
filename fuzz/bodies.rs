//! What each target does with its bytes: an error or a value, never a panic, and what was read can be written and read
//! again. The targets call these with what the fuzzer finds, `tests/it/decoders.rs` with generated and mutated inputs.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lodemark::env::{Disk, SeededRandom, SimDisk};
use lodemark::model::{Record, Txn};
use lodemark::proto::etcdserverpb::TxnRequest;
use lodemark::raft::{Proposal, decode_commands};
use lodemark::storage::{self, Storage};
use lodemark::wal::{Options, Wal};
use prost::Message;

/// Any bytes: either no record, or one that writes the same again.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = Record::from_bytes(bytes) {
        let again = Record::new(&record.pair());
        assert_eq!(again.pair(), record.pair());
    }
}

/// Any bytes as a txn request: what can be decoded survives the way to our values and back.
pub fn txn_request(bytes: &[u8]) {
    if let Ok(request) = TxnRequest::decode(bytes) {
        let txn = Txn::from(request);
        assert_eq!(Txn::from(TxnRequest::from(&txn)), txn);
    }
}

/// Any bytes as the payload of a log entry: what is read as commands reads back after it was written anew.
pub fn commands(bytes: &[u8]) {
    let Ok(commands) = decode_commands(Bytes::copy_from_slice(bytes)) else { return };
    let proposals: Vec<Proposal> = commands.iter().map(Proposal::from).collect();
    let again = lodemark::raft::encode_commands(proposals.iter());
    assert_eq!(decode_commands(again).expect("what was written can be read"), commands);
}

/// Any bytes as a log segment.
pub fn log(bytes: &[u8]) {
    let disk = Arc::new(SimDisk::new());
    let options = Options { segment_bytes: 8192, ..Options::default() };
    disk.create_dir_all(&options.dir).expect("a new disk takes a folder");
    let segment = disk.create(&options.dir.join("0000000000000001.wal")).expect("a new disk takes a file");
    segment.write_all_at(0, bytes).expect("a new disk takes bytes");
    let open = || Wal::open(disk.clone(), Arc::new(SeededRandom::new(1)), options.clone());
    let Ok((wal, _, recovered)) = open() else { return };
    let first = wal.first_index().unwrap_or(1);
    let entries = wal.read(first, u64::MAX, usize::MAX).expect("what was recovered can be read");
    assert_eq!(entries.last().map(|entry| entry.index), recovered.last_index);

    // What was torn is gone: the next opening finds the same and nothing to cut.
    let (_, _, again) = open().expect("what was opened opens again");
    assert_eq!(again, lodemark::wal::Recovered { torn_bytes: 0, ..recovered });
}

/// The bytes of a segment with one batch, right in all but its records; see `docs/storage-format.md`.
pub fn segment_of(records: &[u8], count: u32) -> Vec<u8> {
    const SALT: u64 = 0x0123_4567_89ab_cdef;
    let mut segment = b"LODEWAL\n".to_vec();
    segment.extend_from_slice(&1u32.to_le_bytes());
    segment.extend_from_slice(&0u32.to_le_bytes());
    for number in [1, SALT, 4096] {
        segment.extend_from_slice(&number.to_le_bytes());
    }
    let crc = crc32c::crc32c(&segment);
    segment.extend_from_slice(&crc.to_le_bytes());
    segment.resize(4096, 0);

    let mut summed = Vec::new();
    for number in [1u64, 0] {
        summed.extend_from_slice(&number.to_le_bytes());
    }
    summed.extend_from_slice(&(records.len() as u32).to_le_bytes());
    summed.extend_from_slice(&count.to_le_bytes());
    summed.extend_from_slice(records);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&SALT.to_le_bytes()), &summed);
    segment.extend_from_slice(&0x4843_5442u32.to_le_bytes());
    segment.extend_from_slice(&crc.to_le_bytes());
    segment.extend_from_slice(&summed);
    segment.resize(segment.len().next_multiple_of(8) + 64, 0);
    segment
}

/// Any bytes as the records of a batch whose checksum is right.
pub fn log_batch(bytes: &[u8]) {
    let Some((&count, records)) = bytes.split_first() else { return };
    log(&segment_of(records, u32::from(count)));
}

/// Any bytes as a snapshot stream, in pieces whose length the first byte says: it is refused, or becomes a file that
/// opens.
pub fn snapshot(bytes: &[u8]) {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let path = Path::new("incoming");
    let piece_bytes = bytes.first().map_or(1, |len| usize::from(*len) + 1);
    match storage::Import::of_pieces(disk.clone(), path, bytes.chunks(piece_bytes)) {
        Ok(imported) => {
            let storage = Storage::open(disk, path, 1 << 16).expect("what was imported opens");
            assert_eq!(storage.meta().expect("it has meta"), imported.meta);
            let records = storage.load_records(2, Vec::with_capacity).expect("it is whole").concat();
            assert_eq!(Some(records), imported.records);
            storage.small_tables().expect("it is whole");
        }
        Err(_) => assert!(
            Storage::open(disk.clone(), path, 1 << 16)
                .is_ok_and(|made| made.meta().is_ok_and(|meta| meta == storage::Meta::default())),
            "nothing is left of it"
        ),
    }
}

/// A chunk of a snapshot stream with its checksum.
pub fn chunk(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind];
    chunk.extend_from_slice(&(body.len() as u32).to_le_bytes());
    chunk.extend_from_slice(body);
    let crc = crc32c::crc32c(&chunk);
    chunk.extend_from_slice(&crc.to_le_bytes());
    chunk
}

/// Any bytes as chunks of a snapshot stream whose checksums are right: each is a kind, a length, and so many bytes.
pub fn snapshot_chunks(mut bytes: &[u8]) {
    let mut stream = b"LODESNAP\x01\0\0\0".to_vec();
    while let [kind, len, rest @ ..] = bytes {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        stream.extend_from_slice(&chunk(kind % 5, body));
        bytes = rest;
    }
    snapshot(&stream);
}
