//! A whole state as one stream that checks itself.
//!
//! ```text
//! "LODESNAP" format   chunk: meta   chunks: entries of records, leases, members, removed   chunk: footer
//! ```
//!
//! A chunk is its kind, the length of its body, the body, and the CRC32C over all of that. Entries come by table
//! number and key, so that the receiver only appends. The footer tells how many chunks there were and the sum of each
//! table; without it nothing counts. The stream says nothing of redb, and entries carry no checksums of their own.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, TableDefinition};

use super::checkpoint::{self, Changes};
use super::codec::{self, Cursor};
use super::error::{Damage, Error, Fault, StreamDamage, guarded};
use super::meta::{self, Sums};
use super::read::{Pin, check_sum, open_if_there, visit};
use super::tables::{IdKey, LEASES, MEMBERS, RECORDS, REMOVED, RecordKey, Table};
use super::{FORMAT, Meta, TableSum};
use crate::env::{Disk, SyncSite};
use crate::model::{MemberId, Record, Revision};

const MAGIC: [u8; 8] = *b"LODESNAP";
const KIND_META: u8 = 1;
const KIND_ENTRIES: u8 = 2;
const KIND_FOOTER: u8 = 3;
/// Kind and length of a chunk.
const HEAD_LEN: usize = 5;
/// A chunk of entries ends with the entry that reaches this length. Large enough that its frame costs nothing.
const CHUNK_BYTES: usize = 256 << 10;
/// The longest body that is read: far above the longest value that a request may carry.
const BODY_BYTES_MAX: u32 = 1 << 30;
/// An import commits when this many bytes of entries wait: they and redb's pages for them stay in memory until then.
const IMPORT_COMMIT_BYTES: usize = 16 << 20;
/// redb's cache while a file is built; appending needs little.
const IMPORT_CACHE_BYTES: usize = 32 << 20;

/// One commit, pinned: later commits do not change what it gives.
#[derive(Debug)]
pub struct Frozen {
    pub(super) pin: Pin,
    pub(super) meta: Meta,
}

impl Frozen {
    /// The state as of which it is.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Writes the whole state as one stream that checks itself.
    ///
    /// # Errors
    /// - [`Error::Pipe`] if `out` fails.
    /// - [`Error::Corrupt`] if the tables are damaged; the stream then has no footer and cannot be imported.
    /// - [`Error::Closed`] if the storage ran out of space meanwhile and reopened its file.
    pub fn export(&self, out: &mut dyn Write) -> Result<(), Error> {
        let format = self.pin.look(|transaction| {
            let mut sums = Sums::default();
            for table in Table::ALL {
                sums[table.index()] = meta::sum(transaction, table)?;
            }
            Ok(meta::format_for(&sums))
        })?;
        let mut stream = Outgoing { out, chunks: 0 };
        stream.write(&MAGIC)?;
        stream.write(&format.to_le_bytes())?;
        stream.chunk(KIND_META, encode_meta(&self.meta))?;

        let mut sums = Sums::default();
        let [records, leases, members, removed] = &mut sums;
        self.export_table(Table::Records, RECORDS, records, &mut stream)?;
        self.export_table(Table::Leases, LEASES, leases, &mut stream)?;
        self.export_table(Table::Members, MEMBERS, members, &mut stream)?;
        self.export_table(Table::Removed, REMOVED, removed, &mut stream)?;

        let footer = encode_footer(format, stream.chunks, &sums);
        stream.chunk(KIND_FOOTER, footer)?;
        stream.out.flush().map_err(Error::Pipe)
    }

    fn export_table<const N: usize>(
        &self,
        table: Table,
        definition: TableDefinition<'_, &'static [u8; N], &'static [u8]>,
        sum: &mut TableSum,
        stream: &mut Outgoing<'_>,
    ) -> Result<(), Error> {
        let mut from = Some([0; N]);
        while let Some(key) = from {
            let mut body = chunk_body();
            body.push(table.number());
            let empty = body.len();
            from = self.pin.look(|transaction| {
                let mut next = None;
                let Some(open) = open_if_there(transaction, definition)? else { return Ok(None) };
                visit(&open, table, Some(key), |key, payload| {
                    codec::put_bytes(&mut body, key);
                    codec::put_bytes(&mut body, payload);
                    sum.add(table.number(), key, payload);
                    if body.len() < CHUNK_BYTES {
                        return Ok(ControlFlow::Continue(()));
                    }
                    next = codec::next_key(*key);
                    Ok(ControlFlow::Break(()))
                })?;
                Ok(next)
            })?;
            if body.len() > empty {
                stream.chunk(KIND_ENTRIES, body)?;
            }
        }
        self.pin.look(|transaction| check_sum(table, meta::sum(transaction, table)?, *sum))
    }
}

/// Builds a new file at `path` from an exported stream and gives the state that it holds.
///
/// A file that is at `path` is replaced. The new one is durable when this returns, but for its name: the caller renames
/// it into place and syncs the folder. It has no identity. Reads no further than the stream's footer.
///
/// # Errors
/// The file is removed again, and if the process stops before, [`super::Storage::open`] refuses it.
/// - [`Error::Stream`] if the stream is damaged or ends early, [`Error::Newer`] if a newer version wrote it.
/// - [`Error::Pipe`] if `from` fails.
/// - [`Error::Full`], [`Error::Io`].
pub fn import(disk: Arc<dyn Disk>, path: &Path, from: &mut dyn Read) -> Result<Meta, Error> {
    let built = build(disk.as_ref(), path, &mut Incoming { from, offset: 0, chunks: 0 });
    if built.is_err() {
        // What is left of it could not be opened; it only takes space.
        let _ = disk.remove(path);
    }
    built
}

fn build(disk: &dyn Disk, path: &Path, stream: &mut Incoming<'_>) -> Result<Meta, Error> {
    let database = checkpoint::create_database(disk, path, SyncSite::Snapshot, IMPORT_CACHE_BYTES)?;
    let filled = fill(&database, path, stream);
    let closed = guarded(path, || Ok(database.close()?));
    filled.and_then(|meta| closed.map(|()| meta))
}

/// Writes what comes into the file, and last of all what makes it one that opens.
fn fill(database: &Database, path: &Path, stream: &mut Incoming<'_>) -> Result<Meta, Error> {
    let format = stream.preamble(path)?;
    let (KIND_META, body) = stream.chunk()? else {
        return Err(stream.damaged(StreamDamage::Malformed("it does not begin with its meta")));
    };
    let meta = decode_meta(&body).map_err(|why| stream.damaged(malformed(why)))?;
    let mut sums = Sums::default();
    let mut arrived = Arrived::default();

    loop {
        let (kind, body) = stream.chunk()?;
        let offset = stream.offset;
        let fault = |why| Fault::Stream { offset, why };
        match kind {
            KIND_ENTRIES => {
                arrived.push(body);
                if arrived.bytes >= IMPORT_COMMIT_BYTES {
                    guarded(path, || {
                        checkpoint::transact(database, |transaction| {
                            checkpoint::write_tables(transaction, arrived.changes().map_err(fault)?, &mut sums)
                        })
                    })?;
                    arrived.forget();
                }
            }
            KIND_FOOTER => {
                // The entries before this chunk and the footer must agree before the file becomes one that opens.
                let chunks = stream.chunks - 1;
                return guarded(path, || {
                    checkpoint::transact(database, |transaction| {
                        checkpoint::write_tables(transaction, arrived.changes().map_err(fault)?, &mut sums)?;
                        check_footer(format, &body, chunks, &sums).map_err(fault)?;
                        checkpoint::finish(transaction, &meta, &sums)
                    })?;
                    Ok(meta)
                });
            }
            _ => return Err(stream.damaged(StreamDamage::Malformed("a chunk is out of place"))),
        }
    }
}

/// The stream being written.
struct Outgoing<'a> {
    out: &'a mut dyn Write,
    chunks: u64,
}

impl Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::Pipe)
    }

    /// Writes a chunk whose body was appended to a [`chunk_body`].
    fn chunk(&mut self, kind: u8, mut chunk: Vec<u8>) -> Result<(), Error> {
        let len = u32::try_from(chunk.len() - HEAD_LEN).ok().filter(|len| *len <= BODY_BYTES_MAX);
        let len = len.ok_or_else(|| Error::Pipe(io::Error::other("an entry is too long for a snapshot stream")))?;
        chunk[0] = kind;
        chunk[1..HEAD_LEN].copy_from_slice(&len.to_le_bytes());
        let crc = crc32c::crc32c(&chunk);
        chunk.extend_from_slice(&crc.to_le_bytes());
        self.chunks += 1;
        self.write(&chunk)
    }
}

/// A chunk without its head, to append a body to.
fn chunk_body() -> Vec<u8> {
    vec![0; HEAD_LEN]
}

/// The stream being read.
struct Incoming<'a> {
    from: &'a mut dyn Read,
    /// Bytes read so far.
    offset: u64,
    /// Chunks read so far.
    chunks: u64,
}

impl Incoming<'_> {
    /// Gives the format of the stream.
    fn preamble(&mut self, path: &Path) -> Result<u32, Error> {
        if self.array()? != MAGIC {
            return Err(self.damaged(StreamDamage::Magic));
        }
        match u32::from_le_bytes(self.array()?) {
            0 => Err(self.damaged(StreamDamage::Malformed("there is no format 0"))),
            found if found > FORMAT => Err(Error::Newer { file: path.to_path_buf(), found }),
            format => Ok(format),
        }
    }

    /// The next chunk's kind and body.
    fn chunk(&mut self) -> Result<(u8, Vec<u8>), Error> {
        let head: [u8; HEAD_LEN] = self.array()?;
        let [kind, len @ ..] = head;
        let len = u32::from_le_bytes(len);
        if len > BODY_BYTES_MAX {
            return Err(self.damaged(StreamDamage::Malformed("a chunk is too long")));
        }

        // Grows with what comes, so that a damaged length takes no memory.
        let mut body = Vec::new();
        (&mut *self.from).take(u64::from(len)).read_to_end(&mut body).map_err(Error::Pipe)?;
        self.offset += body.len() as u64;
        if body.len() as u64 != u64::from(len) {
            return Err(self.damaged(StreamDamage::Truncated));
        }
        let crc = u32::from_le_bytes(self.array()?);
        if crc != crc32c::crc32c_append(crc32c::crc32c(&head), &body) {
            return Err(self.damaged(StreamDamage::Checksum));
        }
        self.chunks += 1;
        Ok((kind, body))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(StreamDamage::Truncated),
            _ => Error::Pipe(error),
        })?;
        self.offset += N as u64;
        Ok(bytes)
    }

    fn damaged(&self, why: StreamDamage) -> Error {
        Error::Stream { offset: self.offset, why }
    }
}

/// Chunks of entries that came and are not yet in the file.
#[derive(Debug, Default)]
struct Arrived {
    bodies: Vec<Vec<u8>>,
    bytes: usize,
    /// The entry before them.
    last: Option<(Table, Vec<u8>)>,
}

impl Arrived {
    fn push(&mut self, body: Vec<u8>) {
        self.bytes += body.len();
        self.bodies.push(body);
    }

    fn forget(&mut self) {
        self.bodies.clear();
        self.bytes = 0;
    }

    /// Decodes and checks the entries.
    fn changes(&mut self) -> Result<Changes<'_>, StreamDamage> {
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
                put(&mut changes, table, key, payload).map_err(malformed)?;
            }
        }
        self.last = last.map(|(table, key)| (table, key.to_vec()));
        Ok(changes)
    }
}

fn put<'a>(changes: &mut Changes<'a>, table: Table, key: &[u8], payload: &'a [u8]) -> Result<(), Damage> {
    let short = |_| Damage::Undecodable("a key has the wrong length");
    match table {
        Table::Records => {
            let key: RecordKey = key.try_into().map_err(short)?;
            Record::from_bytes(payload)?;
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

fn encode_meta(meta: &Meta) -> Vec<u8> {
    let mut body = chunk_body();
    body.extend_from_slice(&codec::encode_log_id(meta.applied));
    body.extend_from_slice(&meta.revision.0.to_le_bytes());
    body.extend_from_slice(&meta.compacted.0.to_le_bytes());
    body.extend_from_slice(&meta.chain.to_le_bytes());
    codec::put_bytes(&mut body, &meta.membership);
    body
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

fn encode_footer(format: u32, chunks: u64, sums: &Sums) -> Vec<u8> {
    let mut body = chunk_body();
    body.extend_from_slice(&chunks.to_le_bytes());
    for table in Table::of_format(format) {
        body.push(table.number());
        body.extend_from_slice(&codec::encode_sum(sums[table.index()]));
    }
    body
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
