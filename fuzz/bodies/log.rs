//! The log's files.

use std::path::Path;
use std::sync::Arc;

use lodemark::env::{Disk, MemoryDisk, SeededRandom};
use lodemark::wal::{Options, Recovered, Wal};

const SALT: u64 = 0x0123_4567_89ab_cdef;
const SEGMENT_BYTES: u64 = 4096;
/// Segments that [`log_files`] makes.
const SEGMENTS_MAX: usize = 4;

/// Any bytes as a log segment.
pub fn log(bytes: &[u8]) -> bool {
    opens(&[bytes.to_vec()])
}

/// Any bytes as the records of a batch whose checksum is right.
pub fn log_batch(bytes: &[u8]) -> bool {
    let Some((&count, records)) = bytes.split_first() else { return false };
    log(&segment_of(records, u32::from(count)))
}

/// Any bytes as the batches of several segments whose checksums are right, so that the numbers in them are looked at:
///
/// ```text
/// segments = segment, 0xff, segment ...
/// segment  = { batch } with each: tag, records length, records
/// tag      = bits 0-2: its number less the one it should have, and 3; bits 3-4: how far it proves; bit 5: its count is
///            wrong; bit 6: it is damaged
/// ```
pub fn log_files(bytes: &[u8]) -> bool {
    let (mut number, mut files) = (0, Vec::new());
    for (i, mut batches) in bytes.split(|&byte| byte == 0xff).take(SEGMENTS_MAX).enumerate() {
        let mut segment = header(i as u64 + 1);
        while let [tag, len, rest @ ..] = batches {
            let (records, rest) = rest.split_at(rest.len().min(usize::from(*len)));
            batches = rest;
            number = (number + 1 + u64::from(tag & 7)).saturating_sub(3);
            let count = records.first().map_or(0, |_| 1) + u32::from(tag >> 5 & 1);
            let at = segment.len();
            put_batch(number, number.saturating_sub(u64::from(tag >> 3 & 3)), records, count, &mut segment);
            if tag & 64 != 0 {
                // Its number: within what is summed.
                segment[at + 8] ^= 1;
            }
        }
        segment.resize(segment.len() + 64, 0);
        files.push(segment);
    }
    opens(&files)
}

/// The bytes of a segment with one batch, right in all but its records; see `docs/storage-format.md`.
pub fn segment_of(records: &[u8], count: u32) -> Vec<u8> {
    let mut segment = header(1);
    put_batch(1, 0, records, count, &mut segment);
    segment.resize(segment.len() + 64, 0);
    segment
}

/// Opens a log of these segments. Whatever is recovered can be read, and the next opening finds the same. Tells whether
/// anything is.
fn opens(segments: &[Vec<u8>]) -> bool {
    let disk = Arc::new(MemoryDisk::new());
    let options = Options { segment_bytes: 8192, ..Options::default() };
    disk.create_dir_all(&options.dir).expect("a new disk takes a folder");
    for (i, bytes) in segments.iter().enumerate() {
        let name = format!("{:016}.wal", i + 1);
        let segment = disk.create(&options.dir.join(Path::new(&name))).expect("a new disk takes a file");
        segment.write_all_at(0, bytes).expect("a new disk takes bytes");
    }
    let open = || Wal::open(disk.clone(), Arc::new(SeededRandom::new(1)), options.clone());
    let (wal, recovered) = match open() {
        Ok((wal, _, recovered)) => (wal, recovered),
        Err(error) => {
            super::told(Some(&error));
            return false;
        }
    };
    let first = wal.first_index().unwrap_or(1);
    let entries = wal.read(first, u64::MAX, usize::MAX).expect("what was recovered can be read");
    assert_eq!(entries.last().map(|entry| entry.index), recovered.last_index);

    // What was torn is gone: the next opening finds the same and nothing to cut.
    let (_, _, again) = open().expect("what was opened opens again");
    let is_empty = Recovered { torn_bytes: recovered.torn_bytes, ..Recovered::default() } == recovered;
    assert_eq!(again, Recovered { torn_bytes: 0, ..recovered });
    !is_empty
}

fn header(sequence: u64) -> Vec<u8> {
    let mut segment = b"LODEWAL\n".to_vec();
    segment.extend_from_slice(&1u32.to_le_bytes());
    segment.extend_from_slice(&0u32.to_le_bytes());
    for number in [sequence, SALT, SEGMENT_BYTES] {
        segment.extend_from_slice(&number.to_le_bytes());
    }
    let crc = crc32c::crc32c(&segment);
    segment.extend_from_slice(&crc.to_le_bytes());
    segment.resize(4096, 0);
    segment
}

fn put_batch(number: u64, proven: u64, records: &[u8], count: u32, segment: &mut Vec<u8>) {
    let mut summed = Vec::new();
    for number in [number, proven] {
        summed.extend_from_slice(&number.to_le_bytes());
    }
    summed.extend_from_slice(&(records.len() as u32).to_le_bytes());
    summed.extend_from_slice(&count.to_le_bytes());
    summed.extend_from_slice(records);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&SALT.to_le_bytes()), &summed);
    segment.extend_from_slice(&0x4843_5442u32.to_le_bytes());
    segment.extend_from_slice(&crc.to_le_bytes());
    segment.extend_from_slice(&summed);
    segment.resize(segment.len().next_multiple_of(8), 0);
}
