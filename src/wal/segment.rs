//! One file of the log.

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{HEADER_BYTES, SegmentHeader, encode_header};
use crate::env::{Disk, File, Mistake, SyncSite, lacks_space};

/// Zeros are written in pieces of this size.
const FILL_BYTES: usize = 1024 * 1024;
const SUFFIX: &str = ".wal";
/// A segment that is being made; it holds nothing.
const UNFINISHED_SUFFIX: &str = ".wal.new";

/// Who waits while a segment is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Making {
    /// The log: it is to be there soon.
    AtOnce,
    /// Nobody, but batches are synced meanwhile: each may have to wait for a piece of zeros, not for all of them.
    Ahead,
}

/// A segment's file, with its path for messages.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn File>,
}

impl Deref for SegmentFile {
    type Target = dyn File;

    fn deref(&self) -> &(dyn File + 'static) {
        &*self.file
    }
}

/// A segment that batches can be written to.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<SegmentFile>,
    /// Where the next batch goes.
    pub(super) offset: u64,
    pub(super) len: u64,
    /// The highest index of an entry that was written to it.
    pub(super) last_index: u64,
}

impl Segment {
    /// Makes a segment: filled with zeros, synced, and its name too. It gets its name last, so that a file of that name is
    /// always whole.
    ///
    /// # Errors
    /// One that [`lacks_space`] leaves no file behind and can be tried again. A failed sync is never such an error.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, header: SegmentHeader, making: Making) -> io::Result<Segment> {
        let unfinished = dir.join(format!("{:016}{UNFINISHED_SUFFIX}", header.sequence));
        let made = Segment::create_as(disk, dir, &unfinished, header, making);
        if made.as_ref().is_err_and(lacks_space) && disk.exists(&unfinished)? {
            disk.remove(&unfinished)?;
        }
        made
    }

    fn create_as(
        disk: &dyn Disk,
        dir: &Path,
        unfinished: &Path,
        header: SegmentHeader,
        making: Making,
    ) -> io::Result<Segment> {
        let len = header.len;
        let file = disk.create(unfinished)?;
        // A full disk says so here, not after most of it was written.
        file.allocate(len)?;
        let zeros = vec![0; FILL_BYTES];
        let mut offset = 0;
        while offset < len {
            let piece = FILL_BYTES.min(usize::try_from(len - offset).unwrap_or(FILL_BYTES));
            file.write_all_at(offset, &zeros[..piece])?;
            offset += piece as u64;
            if making == Making::Ahead && offset < len {
                file.sync_data(SyncSite::WalSegment).map_err(unsynced)?;
            }
        }
        file.write_all_at(0, &encode_header(header))?;
        file.sync_data(SyncSite::WalSegment).map_err(unsynced)?;
        file.forget_cached();
        let path = path(dir, header.sequence);
        disk.rename(unfinished, &path)?;
        if !Mistake::LoseFolderSync.is_made() {
            disk.sync_dir(dir, SyncSite::WalFolder).map_err(unsynced)?;
        }
        let file = Arc::new(SegmentFile { path, file });
        Ok(Segment { header, file, offset: HEADER_BYTES, len, last_index: 0 })
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.offset + bytes as u64 <= self.len
    }
}

/// After a failed sync, for whatever reason, nothing is known: it must not look like a full disk.
fn unsynced(error: io::Error) -> io::Error {
    io::Error::other(format!("sync: {error}"))
}

pub(super) fn path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016}{SUFFIX}"))
}

/// The sequence that a file's name says; `None` for other files.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|sequence| format!("{sequence:016}") == digits)
}

/// Whether the name is of a segment whose making was cut short.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED_SUFFIX)
}
