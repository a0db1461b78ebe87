//! Opening a log: what is in it, and whether its end is torn or damaged.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::entries::{Place, Slots};
use super::error::{OpenError, at};
use super::format::{
    ALIGNMENT, Batch, HEADER_BYTES, HeaderError, INDEX_MAX, Record, SegmentHeader, decode_batch, decode_header,
};
use super::segment::{Making, Segment, SegmentFile, is_unfinished, path, sequence_of};
use super::{Options, Recovered};
use crate::env::{Disk, Random, SyncSite};

/// A log that can be gone on with.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    pub(super) purged: Option<(u64, Bytes)>,
    pub(super) entries: Slots,
    /// Oldest first; never empty, batches go to the last.
    pub(super) segments: VecDeque<Segment>,
    /// The one that was made ahead.
    pub(super) spare: Option<Segment>,
    /// The number of the last batch.
    pub(super) last_batch: u64,
    torn_bytes: u64,
}

impl Found {
    pub(super) fn summary(&self) -> Recovered {
        Recovered {
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
            last_index: self.entries.last_index(),
            torn_bytes: self.torn_bytes,
        }
    }

    /// Checks that the log begins where the last purge has left it.
    fn check_beginning(&self, dir: &Path) -> Result<(), OpenError> {
        let Some(oldest) = self.segments.front() else { return Ok(()) };
        let corrupt =
            |why| Err(OpenError::Corrupt { file: path(dir, oldest.header.sequence), offset: HEADER_BYTES, why });
        match (&self.purged, self.entries.first_index()) {
            (Some((purged, _)), Some(first)) if *purged > 0 && first != purged + 1 => {
                corrupt("entries are missing after those that were purged")
            }
            // Segments go only when a purge has freed them, and each later one begins with the mark of that.
            (None, _) if oldest.header.sequence > 1 => corrupt("the segments before it are missing"),
            _ => Ok(()),
        }
    }
}

/// Reads the log in `options.dir`, cuts a torn end off, and makes a first segment if there is none.
pub(super) fn recover(disk: &dyn Disk, random: &dyn Random, options: &Options) -> Result<Found, OpenError> {
    let dir = &options.dir;
    tidy(disk, dir).map_err(at(dir))?;

    let files = open_files(disk, dir)?;
    let mut log = Log { found: Found::default(), has_ended: false, cache_bytes_max: options.cache_bytes_max };
    for (i, file) in files.iter().enumerate() {
        log.read_segment(file, &files[i + 1..])?;
    }
    let Log { mut found, .. } = log;
    found.check_beginning(dir)?;
    found.spare = keep_spare(disk, dir, &mut found.segments).map_err(at(dir))?;
    if found.segments.is_empty() {
        let header = SegmentHeader { sequence: 1, salt: random.next_u64(), len: options.segment_bytes };
        found.segments.push_back(Segment::create(disk, dir, header, Making::AtOnce).map_err(at(dir))?);
    }
    // The same for what it has written.
    if let Some(last) = found.segments.back() {
        last.file.sync_data(SyncSite::WalSegment).map_err(at(&last.file.path))?;
    }
    Ok(found)
}

/// Makes the folder if it is not there, and removes what a crash has left unfinished.
fn tidy(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.create_dir_all(dir)?;
    for name in disk.list(dir)?.iter().filter(|name| is_unfinished(name)) {
        disk.remove(&dir.join(name))?;
    }
    // What a killed process has named can be seen and yet be lost by a power cut: from here on it counts as durable.
    disk.sync_dir(dir, SyncSite::WalFolder)
}

/// Segments behind the last one with batches were made ahead and never used. The first of them still serves, also where the
/// disk has no space for another.
fn keep_spare(disk: &dyn Disk, dir: &Path, segments: &mut VecDeque<Segment>) -> io::Result<Option<Segment>> {
    let mut spare: Option<Segment> = None;
    while segments.len() > 1
        && let Some(empty) = segments.pop_back_if(|last| last.offset == HEADER_BYTES)
    {
        if let Some(later) = spare.replace(empty) {
            disk.remove(&path(dir, later.header.sequence))?;
            // One by one, so that a crash cannot leave a later one without an earlier one.
            disk.sync_dir(dir, SyncSite::WalFolder)?;
        }
    }
    Ok(spare)
}

/// A segment as it is on disk.
struct Opened {
    header: SegmentHeader,
    file: Arc<SegmentFile>,
}

impl SegmentFile {
    /// The first `len` bytes.
    fn read(&self, len: u64) -> Result<Vec<u8>, OpenError> {
        let read = || {
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            self.read_exact_at(0, &mut bytes)?;
            Ok(bytes)
        };
        read().map_err(at(&self.path))
    }

    fn read_all(&self) -> Result<Vec<u8>, OpenError> {
        self.read(self.len().map_err(at(&self.path))?)
    }
}

/// Opens all segments in order and checks that each is what its name says, and that none is missing between.
fn open_files(disk: &dyn Disk, dir: &Path) -> Result<Vec<Opened>, OpenError> {
    let mut sequences: Vec<u64> =
        disk.list(dir).map_err(at(dir))?.iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    let mut files: Vec<Opened> = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        let path = path(dir, sequence);
        let file = disk.open(&path).map_err(at(&path))?;
        let file = Arc::new(SegmentFile { path, file });
        let len = file.len().map_err(at(&file.path))?;
        let corrupt = |offset, why| OpenError::Corrupt { file: file.path.clone(), offset, why };
        let header = match decode_header(&file.read(len.min(HEADER_BYTES))?) {
            Ok(header) if header.sequence == sequence => header,
            Ok(_) => return Err(corrupt(0, "it has the name of another segment")),
            Err(HeaderError::Newer(found)) => return Err(OpenError::Newer { file: file.path.clone(), found }),
            Err(HeaderError::Damaged) => return Err(corrupt(0, "its header is damaged")),
        };
        if len < header.len {
            return Err(corrupt(len, "it is shorter than it was made"));
        }
        if files.last().is_some_and(|last| last.header.sequence + 1 != sequence) {
            return Err(corrupt(0, "the segment before it is missing"));
        }
        files.push(Opened { header, file });
    }
    Ok(files)
}

/// The log as far as it was read.
struct Log {
    found: Found,
    /// A torn batch was cut off: nothing can follow it.
    has_ended: bool,
    cache_bytes_max: usize,
}

impl Log {
    /// Reads one segment; `later` are those after it. Only one is in memory at a time.
    fn read_segment(&mut self, segment: &Opened, later: &[Opened]) -> Result<(), OpenError> {
        let Opened { header, file } = segment;
        let corrupt = |offset: usize, why| OpenError::Corrupt { file: file.path.clone(), offset: offset as u64, why };
        let bytes = file.read_all()?;
        let mut offset = HEADER_BYTES as usize;
        let mut last_index = 0;
        while let Some(batch) = bytes.get(offset..).and_then(|rest| decode_batch(rest, header.salt)) {
            // The first batch that a purge has left may have any number.
            let is_oldest_left = self.found.last_batch == 0 && self.found.segments.is_empty() && header.sequence > 1;
            let follows = is_oldest_left || batch.number == self.found.last_batch + 1;
            if self.has_ended || !follows || batch.number > INDEX_MAX {
                return Err(corrupt(offset, "a batch is missing before this one"));
            }
            self.found.last_batch = batch.number;
            let (at, len) = (offset, batch.len);
            self.read_batch(batch, file, at, &mut last_index).map_err(|why| corrupt(at, why))?;
            offset += len;
        }

        let rest = bytes.get(offset..).unwrap_or_default();
        if rest.iter().any(|&byte| byte != 0) {
            if self.has_ended || self.is_proven(rest, header.salt, later)? {
                return Err(corrupt(offset, "a batch that was synced cannot be read"));
            }
            // Torn: nobody was told that it is durable. Zeroed, so that its remains are never taken for a batch.
            let zeroed = file.write_all_at(offset as u64, &vec![0; rest.len()]);
            zeroed.and_then(|()| file.sync_data(SyncSite::WalSegment)).map_err(at(&file.path))?;
            self.found.torn_bytes += rest.len() as u64;
            self.has_ended = true;
        }
        self.found.segments.push_back(Segment {
            header: *header,
            file: file.clone(),
            offset: offset as u64,
            len: bytes.len() as u64,
            last_index,
        });
        Ok(())
    }

    /// Whether any batch after those that were read says that the one which cannot be read was synced.
    fn is_proven(&self, rest: &[u8], salt: u64, later: &[Opened]) -> Result<bool, OpenError> {
        let is_later = |proven| proven > self.found.last_batch;
        if latest_proof(rest, salt).is_some_and(is_later) {
            return Ok(true);
        }
        for segment in later {
            let bytes = segment.file.read_all()?;
            let batches = bytes.get(HEADER_BYTES as usize..).unwrap_or_default();
            if latest_proof(batches, segment.header.salt).is_some_and(is_later) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_batch(
        &mut self,
        batch: Batch,
        file: &Arc<SegmentFile>,
        at: usize,
        last_index: &mut u64,
    ) -> Result<(), &'static str> {
        let entries = &mut self.found.entries;
        for (record, payload_at) in batch.records {
            match record {
                Record::Entry(entry) => {
                    if entries.end().is_some_and(|end| end != entry.index) {
                        return Err("an entry does not follow the one before it");
                    }
                    check_index(entry.index)?;
                    *last_index = (*last_index).max(entry.index);
                    let place = Place { file: file.clone(), offset: (at + payload_at) as u64 };
                    entries.push(&entry, Some(place));
                }
                Record::Vote(vote) => self.found.vote = Some(vote),
                Record::Committed(committed) => self.found.committed = Some(committed),
                Record::Truncate(index) => entries.truncate_after(index),
                Record::Purge(through, mark) => {
                    check_index(through)?;
                    entries.purge(through);
                    self.found.purged = Some((through, mark));
                }
                // Says only that the batches before it are proven, as every batch does.
                Record::Seal => {}
            }
        }
        entries.evict(self.cache_bytes_max);
        Ok(())
    }
}

fn check_index(index: u64) -> Result<(), &'static str> {
    if (1..=INDEX_MAX).contains(&index) { Ok(()) } else { Err("an entry has an index that none can have") }
}

/// The highest batch number that a whole batch anywhere in `bytes` proves.
fn latest_proof(bytes: &[u8], salt: u64) -> Option<u64> {
    (0..bytes.len())
        .step_by(ALIGNMENT)
        .filter_map(|at| decode_batch(&bytes[at..], salt))
        .map(|batch| batch.proven)
        .max()
}
