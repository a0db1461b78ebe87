//! The bytes of a segment.
//!
//! ```text
//! segment  = header (4096 bytes), batch *, zeros
//! header   = magic [8], format u32, 0 u32, sequence u64, salt u64, length u64,
//!            crc32c u32 over the bytes before it, zeros
//! batch    = magic u32, crc u32, number u64, proven u64, payload length u32, record count u32, record *, zeros to 8 bytes
//! record   = kind u8, body
//! entry    = 1, index u64, term u64, length u32, crc32c u32 of the payload, payload
//! vote     = 2, length u32, bytes          committed = 3, length u32, bytes
//! truncate = 4, index u64                  purge     = 5, index u64, length u32, bytes
//! seal     = 6
//! ```
//!
//! All numbers are little-endian. A batch's checksum begins with the segment's salt and covers everything after it up to
//! the padding, so bytes of an older file in the same place are never taken for a batch. `number` counts batches over all
//! segments; `proven` is the number of the last batch that was synced when this one was written. `length` is what the file
//! was made with: it may grow, but a shorter one has lost something.

use bytes::Bytes;

use super::LogEntry;

pub(super) const FORMAT: u32 = 1;
pub(super) const HEADER_BYTES: u64 = 4096;
pub(super) const BATCH_HEADER_BYTES: usize = 32;
/// Batches begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"LODEWAL\n";
const BATCH_MAGIC: u32 = 0x4843_5442;
const HEADER_USED: usize = 44;

const KIND_ENTRY: u8 = 1;
const KIND_VOTE: u8 = 2;
const KIND_COMMITTED: u8 = 3;
const KIND_TRUNCATE: u8 = 4;
const KIND_PURGE: u8 = 5;
const KIND_SEAL: u8 = 6;

/// The highest index of an entry and number of a batch: one may be added without a thought.
pub(super) const INDEX_MAX: u64 = u64::MAX >> 1;

/// Bytes of an entry record beside its payload.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 25;

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Entry(LogEntry),
    Vote(Bytes),
    Committed(Bytes),
    /// Entries after this index are gone.
    Truncate(u64),
    /// Entries up to this index are gone; the bytes are the caller's mark for it.
    Purge(u64, Bytes),
    /// The log was closed in order: nothing follows.
    Seal,
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) sequence: u64,
    pub(super) salt: u64,
    /// The length of the file when it was made, in bytes.
    pub(super) len: u64,
}

/// Why bytes are no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    Damaged,
    Newer(u32),
}

pub(super) fn encode_header(header: SegmentHeader) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES as usize);
    out.extend_from_slice(&SEGMENT_MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&header.sequence.to_le_bytes());
    out.extend_from_slice(&header.salt.to_le_bytes());
    out.extend_from_slice(&header.len.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.resize(HEADER_BYTES as usize, 0);
    out
}

pub(super) fn decode_header(bytes: &[u8]) -> Result<SegmentHeader, HeaderError> {
    let mut read = Reader(bytes.get(..HEADER_USED).ok_or(HeaderError::Damaged)?);
    let magic = read.take(SEGMENT_MAGIC.len()).ok_or(HeaderError::Damaged)?;
    let mut fields = || {
        let format = read.u32()?;
        read.u32()?;
        Some((format, read.u64()?, read.u64()?, read.u64()?, read.u32()?))
    };
    let (format, sequence, salt, len, crc) = fields().ok_or(HeaderError::Damaged)?;
    if magic != SEGMENT_MAGIC || crc32c::crc32c(&bytes[..HEADER_USED - 4]) != crc {
        return Err(HeaderError::Damaged);
    }
    if format > FORMAT {
        return Err(HeaderError::Newer(format));
    }
    Ok(SegmentHeader { sequence, salt, len })
}

/// A batch that is being built; its bytes are appended to one buffer that is used again.
pub(super) struct BatchWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    count: u32,
}

impl<'a> BatchWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> BatchWriter<'a> {
        let start = out.len();
        out.resize(start + BATCH_HEADER_BYTES, 0);
        BatchWriter { out, start, count: 0 }
    }

    /// Adds a record; for an entry, gives where its payload is, counted from the start of the batch.
    pub(super) fn push(&mut self, record: &Record) -> usize {
        self.count += 1;
        let out = &mut *self.out;
        let put_bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        match record {
            Record::Entry(entry) => {
                out.push(KIND_ENTRY);
                out.extend_from_slice(&entry.index.to_le_bytes());
                out.extend_from_slice(&entry.term.to_le_bytes());
                out.extend_from_slice(&(entry.payload.len() as u32).to_le_bytes());
                out.extend_from_slice(&crc32c::crc32c(&entry.payload).to_le_bytes());
                let payload_at = out.len() - self.start;
                out.extend_from_slice(&entry.payload);
                return payload_at;
            }
            Record::Vote(bytes) => {
                out.push(KIND_VOTE);
                put_bytes(out, bytes);
            }
            Record::Committed(bytes) => {
                out.push(KIND_COMMITTED);
                put_bytes(out, bytes);
            }
            Record::Truncate(index) => {
                out.push(KIND_TRUNCATE);
                out.extend_from_slice(&index.to_le_bytes());
            }
            Record::Purge(index, mark) => {
                out.push(KIND_PURGE);
                out.extend_from_slice(&index.to_le_bytes());
                put_bytes(out, mark);
            }
            Record::Seal => out.push(KIND_SEAL),
        }
        0
    }

    pub(super) fn finish(self, salt: u64, number: u64, proven: u64) {
        let payload_len = self.out.len() - self.start - BATCH_HEADER_BYTES;
        let header = &mut self.out[self.start..self.start + BATCH_HEADER_BYTES];
        header[0..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        header[8..16].copy_from_slice(&number.to_le_bytes());
        header[16..24].copy_from_slice(&proven.to_le_bytes());
        header[24..28].copy_from_slice(&(payload_len as u32).to_le_bytes());
        header[28..32].copy_from_slice(&self.count.to_le_bytes());
        let crc = checksum(salt, &self.out[self.start + 8..]);
        self.out[self.start + 4..self.start + 8].copy_from_slice(&crc.to_le_bytes());
        let padded = (self.out.len() - self.start).next_multiple_of(ALIGNMENT);
        self.out.resize(self.start + padded, 0);
    }
}

/// A batch that was read, with all its checks passed.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) proven: u64,
    /// Its bytes in the file, padding included.
    pub(super) len: usize,
    /// Each record, and where the payload of an entry is, counted from the start of the batch.
    pub(super) records: Vec<(Record, usize)>,
}

/// Reads the batch that `bytes` begin with; `None` if they do not begin with a whole one of this salt.
pub(super) fn decode_batch(bytes: &[u8], salt: u64) -> Option<Batch> {
    let mut header = Reader(bytes.get(..BATCH_HEADER_BYTES)?);
    if header.u32()? != BATCH_MAGIC {
        return None;
    }
    let (crc, number, proven) = (header.u32()?, header.u64()?, header.u64()?);
    let (payload_len, count) = (header.u32()? as usize, header.u32()?);
    let end = BATCH_HEADER_BYTES.checked_add(payload_len)?;
    // Cheap, and true of every batch: bytes that only look like one are mostly found out before they are summed.
    if proven >= number {
        return None;
    }
    if checksum(salt, bytes.get(8..end)?) != crc {
        return None;
    }
    let payload = &bytes[BATCH_HEADER_BYTES..end];
    let mut read = Reader(payload);
    let mut records = Vec::new();
    for _ in 0..count {
        let record = decode_record(&mut read)?;
        let payload_at = match &record {
            Record::Entry(entry) => end - read.0.len() - entry.payload.len(),
            Record::Vote(_) | Record::Committed(_) | Record::Truncate(_) | Record::Purge(..) | Record::Seal => 0,
        };
        records.push((record, payload_at));
    }
    read.0.is_empty().then_some(Batch { number, proven, len: end.next_multiple_of(ALIGNMENT), records })
}

fn decode_record(read: &mut Reader<'_>) -> Option<Record> {
    Some(match read.take(1)?[0] {
        KIND_ENTRY => {
            let (index, term, len, crc) = (read.u64()?, read.u64()?, read.u32()? as usize, read.u32()?);
            let payload = read.take(len)?;
            if crc32c::crc32c(payload) != crc {
                return None;
            }
            // A copy of its own: a slice would hold the whole segment.
            Record::Entry(LogEntry { index, term, payload: Bytes::copy_from_slice(payload) })
        }
        KIND_VOTE => Record::Vote(read.bytes()?),
        KIND_COMMITTED => Record::Committed(read.bytes()?),
        KIND_TRUNCATE => Record::Truncate(read.u64()?),
        KIND_PURGE => Record::Purge(read.u64()?, read.bytes()?),
        KIND_SEAL => Record::Seal,
        _ => return None,
    })
}

fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = self.u32()? as usize;
        Some(Bytes::copy_from_slice(self.take(len)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        vec![
            Record::Entry(LogEntry { index: 7, term: 2, payload: Bytes::from_static(b"hello") }),
            Record::Vote(Bytes::from_static(b"v")),
            Record::Committed(Bytes::new()),
            Record::Truncate(6),
            Record::Purge(5, Bytes::from_static(b"mark")),
            Record::Seal,
        ]
    }

    fn batch() -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = BatchWriter::new(&mut out);
        for record in &records() {
            writer.push(record);
        }
        writer.finish(99, 12, 11);
        out
    }

    #[test]
    fn a_batch_reads_back() {
        let bytes = batch();
        let read = decode_batch(&bytes, 99).unwrap();
        assert_eq!((read.number, read.proven, read.len), (12, 11, bytes.len()));
        let (found, places): (Vec<_>, Vec<_>) = read.records.into_iter().unzip();
        assert_eq!(found, records());
        assert_eq!(&bytes[places[0]..places[0] + 5], b"hello");
    }

    #[test]
    fn any_flipped_bit_and_any_other_salt_is_seen() {
        let bytes = batch();
        assert!(decode_batch(&bytes, 98).is_none());
        let used = BATCH_HEADER_BYTES + u32::from_le_bytes(bytes[24..28].try_into().unwrap()) as usize;
        for bit in 0..used * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_batch(&damaged, 99).is_none(), "bit {bit}");
        }
        for len in 0..used {
            assert!(decode_batch(&bytes[..len], 99).is_none(), "length {len}");
        }
    }

    #[test]
    fn a_header_reads_back_and_a_newer_one_is_told_apart() {
        let header = SegmentHeader { sequence: 3, salt: 4, len: 65536 };
        let bytes = encode_header(header);
        assert_eq!(decode_header(&bytes), Ok(header));
        let mut damaged = bytes.clone();
        damaged[17] ^= 1;
        assert_eq!(decode_header(&damaged), Err(HeaderError::Damaged));
        let mut newer = bytes;
        newer[8..12].copy_from_slice(&9u32.to_le_bytes());
        let crc = crc32c::crc32c(&newer[..HEADER_USED - 4]);
        newer[HEADER_USED - 4..HEADER_USED].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode_header(&newer), Err(HeaderError::Newer(9)));
    }
}
