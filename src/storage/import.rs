//! Building a file from a snapshot stream, piece by piece as it arrives.
//!
//! ```text
//!   pieces ── push ──> rest ── whole chunks, checked ──> arrived ── IMPORT_COMMIT_BYTES ──> redb
//! ```
//!
//! So a stream is in the file almost as soon as its last byte came, and is never on the disk twice. Its records stay in
//! memory as well, for they are about to be served: the file is not read back, and the system need not cache it. Until
//! the footer has agreed with what came, the file has no format number: nothing opens it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use redb::Database;

use super::checkpoint::{self, Changes};
use super::codec::{self, Cursor};
use super::error::{Damage, Error, Fault, StreamDamage, guarded};
use super::meta::Sums;
use super::snapshot::{BODY_BYTES_MAX, CRC_LEN, HEAD_LEN, KIND_ENTRIES, KIND_FOOTER, KIND_META, MAGIC};
use super::tables::{IdKey, RecordKey, Table};
use super::{FORMAT, Meta};
use crate::env::{Disk, File, SyncSite};
use crate::model::{MemberId, Record, Revision, SubRevision};

/// What is written at a time: it and redb's pages for it stay in memory until then.
const IMPORT_COMMIT_BYTES: usize = 16 << 20;
/// redb's cache while a file is built; appending needs little.
const IMPORT_CACHE_BYTES: usize = 32 << 20;
/// Magic and format.
const PREAMBLE_LEN: usize = MAGIC.len() + 4;
const TOO_LONG: &str = "it goes on after its end";

/// A new file that is being built from an exported stream. Dropped before [`Import::finish`] it is removed again, and if
/// the process stops before, [`super::Storage::open`] refuses it.
pub struct Import {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn File>,
    /// `None` once it is closed.
    database: Option<Database>,
    /// What came and is no whole chunk yet.
    rest: BytesMut,
    /// Bytes of the stream that were taken from `rest`.
    offset: u64,
    /// Chunks that were taken.
    chunks: u64,
    expects: Expects,
    arrived: Arrived,
    /// Over the entries that are in the file.
    sums: Sums,
    /// The records that are in the file.
    records: Vec<(SubRevision, Record)>,
    /// The file is whole and closed.
    is_finished: bool,
}

/// A state that came as a stream and is in a file now.
#[derive(Debug)]
pub struct Imported {
    /// The state as of which it is.
    pub meta: Meta,
    /// All of its records, by revision: whoever serves the state need not read them back.
    pub records: Vec<(SubRevision, Record)>,
}

/// What comes next in the stream.
#[derive(Debug)]
enum Expects {
    Preamble,
    Meta { format: u32 },
    Entries { format: u32, meta: Meta },
    Nothing { meta: Meta },
}

impl Import {
    /// Makes a new file at `path`, in place of one that is there.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn begin(disk: Arc<dyn Disk>, path: &Path) -> Result<Import, Error> {
        let file = checkpoint::create_file(disk.as_ref(), path)?;
        let mut import = Import {
            disk,
            path: path.to_path_buf(),
            file: file.clone(),
            database: None,
            rest: BytesMut::new(),
            offset: 0,
            chunks: 0,
            expects: Expects::Preamble,
            arrived: Arrived::default(),
            sums: Sums::default(),
            records: Vec::new(),
            is_finished: false,
        };
        // What fails from here on leaves no file behind.
        let database = checkpoint::create_database(file, path, SyncSite::Snapshot, IMPORT_CACHE_BYTES)?;
        import.database = Some(database);
        Ok(import)
    }

    /// Takes the next piece of the stream, of any length.
    ///
    /// # Errors
    /// After one the import can only be dropped.
    /// - [`Error::Stream`] if the stream is damaged, [`Error::Newer`] if a newer version wrote it.
    /// - [`Error::Full`], [`Error::Io`].
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.rest.extend_from_slice(piece);
        if matches!(self.expects, Expects::Preamble) {
            if self.rest.len() < PREAMBLE_LEN {
                return Ok(());
            }
            let preamble = self.take(PREAMBLE_LEN);
            self.expects = Expects::Meta { format: self.check_preamble(&preamble)? };
        }
        while let Some((kind, body)) = self.chunk()? {
            self.take_in(kind, body)?;
        }
        Ok(())
    }

    /// Ends the stream and gives what the file holds. The file is durable when this returns, but for its name:
    /// the caller renames it into place and syncs the folder. It has no identity.
    ///
    /// # Errors
    /// - [`Error::Stream`] if the stream ends early.
    /// - [`Error::Full`], [`Error::Io`].
    pub fn finish(mut self) -> Result<Imported, Error> {
        let Expects::Nothing { meta } = &self.expects else { return Err(self.damaged(StreamDamage::Truncated)) };
        if !self.rest.is_empty() {
            return Err(self.damaged(StreamDamage::Malformed(TOO_LONG)));
        }
        let meta = meta.clone();
        self.close()?;
        self.is_finished = true;
        Ok(Imported { meta, records: std::mem::take(&mut self.records) })
    }

    /// How many bytes of the stream were taken so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.offset + self.rest.len() as u64
    }

    /// Gives the format of the stream.
    fn check_preamble(&self, preamble: &[u8]) -> Result<u32, Error> {
        let (magic, format) = preamble.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(self.damaged(StreamDamage::Magic));
        }
        match Cursor(format).u32() {
            Ok(found) if found > FORMAT => Err(Error::Newer { file: self.path.clone(), found }),
            Ok(format) if format > 0 => Ok(format),
            _ => Err(self.damaged(StreamDamage::Malformed("there is no format 0"))),
        }
    }

    /// The next chunk's kind and body, once it is whole.
    fn chunk(&mut self) -> Result<Option<(u8, Bytes)>, Error> {
        let Some((&[kind, ref len @ ..], _)) = self.rest.split_first_chunk::<HEAD_LEN>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len);
        if len > BODY_BYTES_MAX {
            return Err(self.damaged(StreamDamage::Malformed("a chunk is too long")));
        }
        let sealed = HEAD_LEN + len as usize;
        // Room is made as the bytes come: a damaged length takes no memory.
        if self.rest.len() < sealed + CRC_LEN {
            return Ok(None);
        }
        let mut body = self.take(sealed + CRC_LEN);
        let crc = body.split_off(sealed);
        if crc.as_ref() != crc32c::crc32c(&body).to_le_bytes() {
            return Err(self.damaged(StreamDamage::Checksum));
        }
        body.advance(HEAD_LEN);
        self.chunks += 1;
        Ok(Some((kind, body)))
    }

    fn take(&mut self, len: usize) -> Bytes {
        self.offset += len as u64;
        self.rest.split_to(len).freeze()
    }

    fn take_in(&mut self, kind: u8, body: Bytes) -> Result<(), Error> {
        match (&self.expects, kind) {
            (Expects::Meta { format }, KIND_META) => {
                let format = *format;
                let meta = decode_meta(&body).map_err(|why| self.damaged(malformed(why)))?;
                self.expects = Expects::Entries { format, meta };
            }
            (Expects::Entries { .. }, KIND_ENTRIES) => {
                self.arrived.push(body);
                if self.arrived.bytes >= IMPORT_COMMIT_BYTES {
                    self.write(None)?;
                }
            }
            (Expects::Entries { meta, .. }, KIND_FOOTER) => {
                let meta = meta.clone();
                self.write(Some(&body))?;
                self.expects = Expects::Nothing { meta };
            }
            (Expects::Preamble | Expects::Meta { .. }, _) => {
                return Err(self.damaged(StreamDamage::Malformed("it does not begin with its meta")));
            }
            (Expects::Entries { .. }, _) => {
                return Err(self.damaged(StreamDamage::Malformed("a chunk is out of place")));
            }
            (Expects::Nothing { .. }, _) => {
                return Err(self.damaged(StreamDamage::Malformed(TOO_LONG)));
            }
        }
        Ok(())
    }

    /// Writes what has arrived into the file, and with the footer what makes it one that opens.
    fn write(&mut self, footer: Option<&[u8]>) -> Result<(), Error> {
        let Import { path, file, database, offset, chunks, expects, arrived, sums, records, .. } = self;
        let fault = |why| Fault::Stream { offset: *offset, why };
        guarded(path, || {
            let database = database.as_ref().ok_or_else(Fault::closed)?;
            match (footer, &*expects) {
                (Some(footer), Expects::Entries { format, meta }) => checkpoint::transact(database, |transaction| {
                    checkpoint::write_tables(transaction, arrived.changes(records).map_err(fault)?, sums)?;
                    // The entries before this chunk and the footer must agree.
                    check_footer(*format, footer, *chunks - 1, sums).map_err(fault)?;
                    checkpoint::finish(transaction, meta, sums)
                }),
                _ => checkpoint::transact_part(database, |transaction| {
                    checkpoint::write_tables(transaction, arrived.changes(records).map_err(fault)?, sums)
                }),
            }
        })?;
        arrived.forget();
        // It is durable, and nobody reads it soon.
        file.forget_cached();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(database) = self.database.take() else { return Ok(()) };
        guarded(&self.path, || Ok(database.close()?))
    }

    fn damaged(&self, why: StreamDamage) -> Error {
        Error::Stream { offset: self.offset, why }
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
        f.debug_struct("Import").field("path", &self.path).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// Chunks of entries that came and are not yet in the file.
#[derive(Debug, Default)]
struct Arrived {
    bodies: Vec<Bytes>,
    bytes: usize,
    /// The entry before them.
    last: Option<(Table, Vec<u8>)>,
}

impl Arrived {
    fn push(&mut self, body: Bytes) {
        self.bytes += body.len();
        self.bodies.push(body);
    }

    fn forget(&mut self) {
        self.bodies.clear();
        self.bytes = 0;
    }

    /// Decodes and checks the entries; gives the records among them to `records` too.
    fn changes(&mut self, records: &mut Vec<(SubRevision, Record)>) -> Result<Changes<'_>, StreamDamage> {
        let mut changes = Changes::default();
        let mut last = self.last.as_ref().map(|(table, key)| (*table, key.as_slice()));
        for body in &self.bodies {
            let mut from = Cursor(body);
            let table = from.u8().map_err(malformed)?;
            let table = Table::of_number(table).ok_or(StreamDamage::Malformed("a table is unknown"))?;
            while !from.is_empty() {
                let key = from.bytes().map_err(malformed)?;
                let payload = from.bytes().map_err(malformed)?;
                if last.is_some_and(|last| last >= (table, key)) {
                    return Err(StreamDamage::Malformed("entries are out of order"));
                }
                last = Some((table, key));
                put(&mut changes, records, table, key, payload).map_err(malformed)?;
            }
        }
        self.last = last.map(|(table, key)| (table, key.to_vec()));
        Ok(changes)
    }
}

fn put<'a>(
    changes: &mut Changes<'a>,
    records: &mut Vec<(SubRevision, Record)>,
    table: Table,
    key: &[u8],
    payload: &'a [u8],
) -> Result<(), Damage> {
    let short = |_| Damage::Undecodable("a key has the wrong length");
    match table {
        Table::Records => {
            let key: RecordKey = key.try_into().map_err(short)?;
            records.push((codec::sub_revision(&key), Record::from_bytes(payload)?));
            changes.records.push((key, Some(payload)));
        }
        Table::Leases => {
            let key: IdKey = key.try_into().map_err(short)?;
            codec::decode_lease(payload)?;
            changes.leases.push((key, Some(payload.to_vec())));
        }
        Table::Members => {
            let key: IdKey = key.try_into().map_err(short)?;
            codec::decode_member(MemberId(u64::from_be_bytes(key)), payload)?;
            changes.members.push((key, Some(payload.to_vec())));
        }
        Table::Removed => {
            let key: IdKey = key.try_into().map_err(short)?;
            codec::decode_removed(payload)?;
            changes.removed.push((key, Some(Vec::new())));
        }
    }
    Ok(())
}

fn decode_meta(body: &[u8]) -> Result<Meta, Damage> {
    Cursor(body).whole(|from| {
        Ok(Meta {
            applied: codec::decode_log_id(&from.array::<16>()?)?,
            revision: Revision(from.i64()?),
            compacted: Revision(from.i64()?),
            chain: from.u64()?,
            membership: codec::owned(from.bytes()?),
        })
    })
}

fn check_footer(format: u32, body: &[u8], chunks: u64, came: &Sums) -> Result<(), StreamDamage> {
    let (chunks_sent, sent) = decode_footer(format, body).map_err(malformed)?;
    if chunks_sent != chunks {
        return Err(StreamDamage::Malformed("chunks are missing"));
    }
    for table in Table::ALL {
        let (sent, came) = (sent[table.index()], came[table.index()]);
        if sent != came {
            return Err(StreamDamage::Sum { table, sent: Box::new(sent), came: Box::new(came) });
        }
    }
    Ok(())
}

fn decode_footer(format: u32, body: &[u8]) -> Result<(u64, Sums), Damage> {
    Cursor(body).whole(|from| {
        let chunks = from.u64()?;
        let mut sums = Sums::default();
        for table in Table::of_format(format) {
            if from.u8()? != table.number() {
                return Err(Damage::Undecodable("the footer names another table"));
            }
            sums[table.index()] = codec::decode_sum(&from.array::<24>()?)?;
        }
        Ok((chunks, sums))
    })
}

/// Damage within a chunk whose checksum was right.
fn malformed(why: Damage) -> StreamDamage {
    let Damage::Undecodable(why) = why else { return StreamDamage::Malformed("a field is cut short") };
    StreamDamage::Malformed(why)
}
