//! Where bits flip: in the records that a member lives by, or anywhere.
//!
//! The bytes of the log and of a snapshot stream are found by the words of `docs/storage-format.md`. The checkpoint is
//! redb's, so there the records are found by what they hold; it may hold older copies of them too, which nothing reads.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lodemark::env::{Random, SeededRandom, SimDisk};

use super::member::{self, MARK, STATE, Whole};

/// Where the batches of a segment begin.
pub const HEADER_BYTES: usize = 4096;
/// What a segment says of itself.
const SEGMENT_HEAD_BYTES: usize = 44;
const BATCH_MAGIC: [u8; 4] = 0x4843_5442_u32.to_le_bytes();
const BATCH_HEADER_BYTES: usize = 32;
const BATCH_ALIGNMENT: usize = 8;
/// Magic and format of a stream.
const STREAM_HEAD_BYTES: usize = 12;
/// Kind and length of a chunk.
const CHUNK_HEAD_BYTES: usize = 5;
const CRC_BYTES: usize = 4;
const KIND_ENTRIES: u8 = 2;

/// A bit that flips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    /// `None`: in the stream.
    pub file: Option<PathBuf>,
    pub offset: usize,
    pub bit: u8,
}

impl Flip {
    /// The byte as it is afterwards.
    pub fn of(&self, byte: u8) -> u8 {
        byte ^ 1 << self.bit
    }

    /// Flips it in a folder; once more, and it is as before. A running member may have made the file shorter: then there
    /// is no such bit.
    pub fn apply(&self, disk: &SimDisk) {
        let Some(file) = &self.file else { return };
        if let Some(&byte) = member::read(disk, file).get(self.offset) {
            member::overwrite(disk, file, self.offset as u64, &[self.of(byte)]);
        }
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or(Path::new("the snapshot stream"));
        write!(f, "bit {} of byte {} of {}", self.bit, self.offset, file.display())
    }
}

/// Some bytes of one file.
type Span = (Option<PathBuf>, Range<usize>);

/// Bytes to draw from, each equally likely.
#[derive(Debug, Default)]
pub struct Places {
    spans: Vec<Span>,
    bytes: usize,
}

impl Places {
    fn add(&mut self, file: Option<&Path>, span: Range<usize>) {
        self.bytes += span.len();
        self.spans.push((file.map(Path::to_path_buf), span));
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many spans they are in.
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// The first bit of each span.
    pub fn one_of_each(&self) -> impl Iterator<Item = Flip> {
        self.spans.iter().map(|(file, span)| Flip { file: file.clone(), offset: span.start, bit: 0 })
    }

    /// Draws one bit of them.
    pub fn draw(&self, random: &SeededRandom) -> Flip {
        let mut at = below(random, self.bytes);
        for (file, span) in &self.spans {
            if at < span.len() {
                let bit = u8::try_from(below(random, 8)).expect("it is below 8");
                return Flip { file: file.clone(), offset: span.start + at, bit };
            }
            at -= span.len();
        }
        unreachable!("what was drawn is below the sum of all spans")
    }
}

fn below(random: &SeededRandom, end: usize) -> usize {
    usize::try_from(random.next_u64() % end as u64).expect("it is below a length")
}

/// A batch of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub start: usize,
    /// Where its records end; padding follows.
    pub end: usize,
    /// How many records it has.
    pub records: u32,
}

/// The batches of a segment.
pub fn batches(segment: &[u8]) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut start = HEADER_BYTES;
    while segment.get(start..start + 4) == Some(&BATCH_MAGIC[..]) {
        let number = |at: usize| u32::from_le_bytes(segment[start + at..start + at + 4].try_into().expect("four"));
        let end = start + BATCH_HEADER_BYTES + number(24) as usize;
        batches.push(Batch { start, end, records: number(28) });
        start = end.next_multiple_of(BATCH_ALIGNMENT);
    }
    batches
}

/// The records in the log of a stopped member. All are proven to have been synced; only the seal is not.
pub fn log_records(disk: &SimDisk) -> Places {
    let mut places = Places::default();
    for (path, batch) in proven_batches(disk).iter().filter(|(_, batch)| batch.records > 0) {
        places.add(Some(path), batch.start + BATCH_HEADER_BYTES..batch.end);
    }
    places
}

/// All that means something in the log of a stopped member: what its segments say of themselves, and batches with their
/// heads, but for the last one. Paddings and what was not written are no part of it.
pub fn log_meaning(disk: &SimDisk) -> Places {
    let mut places = Places::default();
    for path in member::segments(disk) {
        places.add(Some(&path), 0..SEGMENT_HEAD_BYTES);
    }
    for (path, batch) in proven_batches(disk) {
        places.add(Some(&path), batch.start..batch.end);
    }
    places
}

fn proven_batches(disk: &SimDisk) -> Vec<(PathBuf, Batch)> {
    let mut found: Vec<(PathBuf, Batch)> = Vec::new();
    for path in member::segments(disk) {
        let batches = batches(&member::read(disk, &path));
        found.extend(batches.into_iter().map(|batch| (path.clone(), batch)));
    }
    found.pop();
    found
}

/// Every copy in the checkpoint of a record that is to be read, with the checksum before it.
pub fn checkpoint_records(disk: &SimDisk, whole: &Whole) -> Places {
    let known: BTreeMap<&[u8], &[u8]> = whole
        .history
        .iter()
        .map(|event| &event.record)
        .chain(whole.reads.iter().flat_map(|(_, read)| &read.kvs))
        .filter_map(|record| Some((mark_in(record.value())?, record.as_bytes())))
        .collect();
    let bytes = member::read(disk, Path::new(STATE));
    let mut places = Places::default();
    let marks = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK.as_bytes());
    for (at, _) in marks {
        let Some(record) = mark_in(&bytes[at..]).and_then(|mark| known.get(mark)) else { continue };
        let Some(before) = record.windows(MARK.len()).position(|window| window == MARK.as_bytes()) else { continue };
        let start = at - before;
        if bytes.get(start..start + record.len()) == Some(*record) {
            places.add(Some(Path::new(STATE)), start - CRC_BYTES..start + record.len());
        }
    }
    places
}

/// The beginning of a value, which no other has.
fn mark_in(value: &[u8]) -> Option<&[u8]> {
    value.get(..MARK.len() + 7).filter(|mark| mark.starts_with(MARK.as_bytes()))
}

/// The entries in a snapshot stream.
pub fn stream_records(stream: &[u8]) -> Places {
    let mut places = Places::default();
    let mut at = STREAM_HEAD_BYTES;
    while let Some(&[kind, a, b, c, d]) = stream.get(at..at + CHUNK_HEAD_BYTES) {
        let body = at + CHUNK_HEAD_BYTES..at + CHUNK_HEAD_BYTES + u32::from_le_bytes([a, b, c, d]) as usize;
        at = body.end + CRC_BYTES;
        if kind == KIND_ENTRIES {
            places.add(None, body);
        }
    }
    places
}

/// All of the log.
pub fn log(disk: &SimDisk) -> Places {
    let mut places = Places::default();
    for path in member::segments(disk) {
        places.add(Some(&path), 0..member::read(disk, &path).len());
    }
    places
}

/// All of the checkpoint.
pub fn checkpoint(disk: &SimDisk) -> Places {
    let mut places = Places::default();
    places.add(Some(Path::new(STATE)), 0..member::read(disk, Path::new(STATE)).len());
    places
}

/// All of a stream.
pub fn stream(stream: &[u8]) -> Places {
    let mut places = Places::default();
    places.add(None, 0..stream.len());
    places
}
