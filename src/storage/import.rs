//! Building a file from a snapshot stream, batch by batch as it arrives.
//!
//! So a stream is in the file almost as soon as its last byte came, and is never on the disk twice. Its records stay in
//! memory as well, if there is room, for they are about to be served: then the file is not read back, and the system need
//! not cache it. Until the footer has agreed with what came, the file has no format number: nothing opens it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;

use super::Meta;
use super::arrival::{Arrival, Batch, Footer};
use super::checkpoint;
use super::error::{Error, Fault, StreamDamage, guarded};
use super::meta::Sums;
use super::pace::Pace;
use crate::env::{Disk, File, SyncSite};
use crate::model::{Record, SubRevision};

/// redb's cache while a file is built; appending needs little.
const IMPORT_CACHE_BYTES: usize = 32 << 20;

/// A new file that is being built from an exported stream. Dropped before [`Import::finish`] it is removed again, and if
/// the process stops before, [`super::Storage::open`] refuses it.
pub struct Import {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn File>,
    /// `None` once it is closed.
    database: Option<Database>,
    /// Over the entries that are in the file.
    sums: Sums,
    /// The records that are in the file; `None` once they are more than `records_max`.
    records: Option<Vec<(SubRevision, Record)>>,
    /// Bytes of records that may still be kept.
    records_max: usize,
    /// Of the state that the file is, once the footer has agreed.
    meta: Option<Meta>,
    /// Where the stream was when the last batch ended.
    offset: u64,
    /// The file is whole and closed.
    is_finished: bool,
}

/// A state that came as a stream and is in a file now.
#[derive(Debug)]
pub struct Imported {
    /// The state as of which it is.
    pub meta: Meta,
    /// All of its records, by revision: whoever serves the state need not read them back. `None` if they were more than could
    /// be kept.
    pub records: Option<Vec<(SubRevision, Record)>>,
}

impl Import {
    /// Makes a new file at `path`, in place of one that is there. Keeps at most about `records_max` bytes of records in
    /// memory.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn begin(disk: Arc<dyn Disk>, path: &Path, records_max: usize) -> Result<Import, Error> {
        let file = checkpoint::create_file(disk.as_ref(), path)?;
        let mut import = Import {
            disk,
            path: path.to_path_buf(),
            file: file.clone(),
            database: None,
            sums: Sums::default(),
            records: Some(Vec::new()),
            records_max,
            meta: None,
            offset: 0,
            is_finished: false,
        };
        // What fails from here on leaves no file behind.
        let database = checkpoint::create_database(file, path, SyncSite::Snapshot, IMPORT_CACHE_BYTES, Arc::default())?;
        import.database = Some(database);
        Ok(import)
    }

    /// Makes a new file at `path` of a stream that is there in pieces.
    ///
    /// # Errors
    /// As [`Arrival::push`], [`Import::write`] and [`Import::finish`]; there is no file then.
    pub fn of_pieces<'a>(
        disk: Arc<dyn Disk>,
        path: &Path,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Imported, Error> {
        let (mut arrival, mut import) = (Arrival::new(path), Import::begin(disk, path, usize::MAX)?);
        for piece in pieces {
            if let Some(batch) = arrival.push(piece)? {
                import.write(batch)?;
            }
        }
        arrival.end()?;
        import.finish()
    }

    /// Writes the next batch of the stream, and with its footer what makes the file one that opens.
    ///
    /// # Errors
    /// After one the import can only be dropped.
    /// - [`Error::Stream`] if what came does not add up.
    /// - [`Error::Full`], [`Error::Io`].
    pub fn write(&mut self, mut batch: Batch) -> Result<(), Error> {
        let (offset, footer) = (batch.offset, batch.footer.take());
        guarded(&self.path, || {
            let database = self.database.as_ref().ok_or_else(Fault::closed)?;
            let (changes, pace) = (batch.changes(), Pace::default());
            match &footer {
                Some(footer) => checkpoint::transact(database, |transaction| {
                    checkpoint::write_tables(transaction, changes, &mut self.sums, &pace)?;
                    footer.check(&self.sums).map_err(|why| Fault::Stream { offset, why })?;
                    checkpoint::finish(transaction, &footer.meta, &self.sums)
                }),
                None => checkpoint::transact_part(database, |transaction| {
                    checkpoint::write_tables(transaction, changes, &mut self.sums, &pace).map(drop)
                }),
            }
        })?;
        self.keep(&mut batch.records);
        self.meta = footer.map(|Footer { meta, .. }| meta);
        self.offset = offset;
        // It is durable, and nobody reads it soon.
        self.file.forget_cached();
        Ok(())
    }

    /// Gives what the file holds after the last batch. The file is durable when this returns, but for its name:
    /// the caller renames it into place and syncs the folder. It has no identity.
    ///
    /// # Errors
    /// - [`Error::Stream`] if the footer has not come.
    /// - [`Error::Full`], [`Error::Io`].
    pub fn finish(mut self) -> Result<Imported, Error> {
        let Some(meta) = self.meta.take() else {
            return Err(Error::Stream { file: self.path.clone(), offset: self.offset, why: StreamDamage::Truncated });
        };
        self.close()?;
        self.is_finished = true;
        Ok(Imported { meta, records: self.records.take() })
    }

    fn keep(&mut self, records: &mut Vec<(SubRevision, Record)>) {
        let len = records.iter().map(|(_, record)| record.as_bytes().len()).sum();
        match (&mut self.records, self.records_max.checked_sub(len)) {
            (Some(kept), Some(left)) => {
                self.records_max = left;
                kept.append(records);
            }
            _ => self.records = None,
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(database) = self.database.take() else { return Ok(()) };
        guarded(&self.path, || Ok(database.close()?))
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        if !self.is_finished {
            // What is left of the file could not be opened; it only takes space.
            let _ = self.close();
            let _ = self.disk.remove(&self.path);
        }
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("path", &self.path).field("offset", &self.offset).finish_non_exhaustive()
    }
}
