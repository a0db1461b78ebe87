//! Reading a snapshot stream as it arrives, in pieces of any length.
//!
//! ```text
//!   pieces ── push ──> rest ── whole chunks, checked ──> entries ── BATCH_BYTES ──> batches, for an Import
//! ```
//!
//! What leaves here has the right checksums and is in order. That it is all, and adds up, only the footer tells, which
//! travels in the last batch.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};

use super::checkpoint::{Changes, Rows};
use super::codec::{self, Cursor};
use super::error::{Damage, Error, StreamDamage};
use super::meta::Sums;
use super::snapshot::{BODY_BYTES_MAX, CRC_LEN, HEAD_LEN, KIND_ENTRIES, KIND_FOOTER, KIND_META, MAGIC};
use super::tables::{IdKey, RecordKey, Table};
use super::{FORMAT, Meta};
use crate::model::{Record, Revision, SubRevision};

/// Entries that make a batch: one commit, which with redb's pages for it stays in memory until it is written.
const BATCH_BYTES: usize = 8 << 20;
/// Magic and format.
const PREAMBLE_LEN: usize = MAGIC.len() + 4;
const TOO_LONG: &str = "it goes on after its end";

/// A stream that is arriving.
pub struct Arrival {
    /// The file that it is for.
    path: PathBuf,
    /// What came and is no whole chunk yet.
    rest: BytesMut,
    /// Bytes of the stream that were taken from `rest`.
    offset: u64,
    /// Chunks that were taken.
    chunks: u64,
    expects: Expects,
    /// The last entry that came.
    last: Option<(Table, Vec<u8>)>,
    batch: Batch,
}

/// Entries in order, to be written in one transaction; with the footer in the last one.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) records: Vec<(SubRevision, Record)>,
    rows: Rows,
    bytes: usize,
    /// Where it ends in the stream.
    pub(super) offset: u64,
    pub(super) footer: Option<Footer>,
}

/// What the end of the stream says of all of it.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) meta: Meta,
    sums: Sums,
}

/// What comes next in the stream.
#[derive(Debug)]
enum Expects {
    Preamble,
    Meta { format: u32 },
    Entries { format: u32, meta: Meta },
    Nothing,
}

impl Arrival {
    /// Begins a stream that will become the file at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Arrival {
        Arrival {
            path: path.to_path_buf(),
            rest: BytesMut::new(),
            offset: 0,
            chunks: 0,
            expects: Expects::Preamble,
            last: None,
            batch: Batch::default(),
        }
    }

    /// Takes the next piece of the stream, of any length; gives a batch when there is enough for one, and at the end.
    ///
    /// # Errors
    /// After one there is nothing more to come of it: [`Error::Stream`] if the stream is damaged, [`Error::Newer`] if a
    /// newer version wrote it.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<Batch>, Error> {
        self.rest.extend_from_slice(piece);
        if matches!(self.expects, Expects::Preamble) {
            if self.rest.len() < PREAMBLE_LEN {
                return Ok(None);
            }
            let preamble = self.take(PREAMBLE_LEN);
            self.expects = Expects::Meta { format: self.check_preamble(&preamble)? };
        }
        while let Some((kind, body)) = self.chunk()? {
            self.take_in(kind, &body).map_err(|why| self.damaged(why))?;
        }
        let is_whole = self.batch.footer.is_some() || self.batch.bytes >= BATCH_BYTES;
        self.batch.offset = self.offset;
        Ok(is_whole.then(|| std::mem::take(&mut self.batch)))
    }

    /// Tells that nothing more comes.
    ///
    /// # Errors
    /// [`Error::Stream`] if the stream ends early.
    pub fn end(self) -> Result<(), Error> {
        match self.expects {
            Expects::Nothing if self.rest.is_empty() => Ok(()),
            Expects::Nothing => Err(self.damaged(StreamDamage::Malformed(TOO_LONG))),
            _ => Err(self.damaged(StreamDamage::Truncated)),
        }
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

    fn take_in(&mut self, kind: u8, body: &[u8]) -> Result<(), StreamDamage> {
        match (&self.expects, kind) {
            (Expects::Meta { format }, KIND_META) => {
                self.expects = Expects::Entries { format: *format, meta: decode_meta(body).map_err(malformed)? };
                Ok(())
            }
            (Expects::Entries { .. }, KIND_ENTRIES) => self.take_entries(body),
            (Expects::Entries { format, meta }, KIND_FOOTER) => {
                let (chunks, sums) = decode_footer(*format, body).map_err(malformed)?;
                // Those before this one.
                if chunks != self.chunks - 1 {
                    return Err(StreamDamage::Malformed("chunks are missing"));
                }
                self.batch.footer = Some(Footer { meta: meta.clone(), sums });
                self.expects = Expects::Nothing;
                Ok(())
            }
            (Expects::Preamble | Expects::Meta { .. }, _) => {
                Err(StreamDamage::Malformed("it does not begin with its meta"))
            }
            (Expects::Entries { .. }, _) => Err(StreamDamage::Malformed("a chunk is out of place")),
            (Expects::Nothing, _) => Err(StreamDamage::Malformed(TOO_LONG)),
        }
    }

    /// Decodes and checks the entries of a chunk.
    fn take_entries(&mut self, body: &[u8]) -> Result<(), StreamDamage> {
        let mut from = Cursor(body);
        let table = from.u8().map_err(malformed)?;
        let table = Table::of_number(table).ok_or(StreamDamage::Malformed("a table is unknown"))?;
        let mut last = self.last.as_ref().map(|(table, key)| (*table, key.as_slice()));
        while !from.is_empty() {
            let key = from.bytes().map_err(malformed)?;
            let payload = from.bytes().map_err(malformed)?;
            if last.is_some_and(|last| last >= (table, key)) {
                return Err(StreamDamage::Malformed("entries are out of order"));
            }
            last = Some((table, key));
            self.batch.put(table, key, payload).map_err(malformed)?;
        }
        self.last = last.map(|(table, key)| (table, key.to_vec()));
        Ok(())
    }

    fn damaged(&self, why: StreamDamage) -> Error {
        Error::Stream { file: self.path.clone(), offset: self.offset, why }
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("path", &self.path).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Batch {
    /// What to write. Of the records everything stays here, of the rest nothing.
    pub(super) fn changes(&mut self) -> Changes<'_> {
        Changes {
            records: self
                .records
                .iter()
                .map(|(at, record)| (codec::record_key(*at), Some(record.as_bytes())))
                .collect(),
            rows: std::mem::take(&mut self.rows),
        }
    }

    fn put(&mut self, table: Table, key: &[u8], payload: &[u8]) -> Result<(), Damage> {
        let short = |_| Damage::Undecodable("a key has the wrong length");
        self.bytes += key.len() + payload.len();
        if table == Table::Records {
            let key: RecordKey = key.try_into().map_err(short)?;
            self.records.push((codec::sub_revision(&key), Record::from_bytes(payload)?));
            return Ok(());
        }
        let key: IdKey = key.try_into().map_err(short)?;
        codec::decode_row(table, key, payload)?;
        self.rows.entry(table).or_default().push((key, Some(payload.to_vec())));
        Ok(())
    }
}

impl Footer {
    /// Compares with the sums of what came.
    pub(super) fn check(&self, came: &Sums) -> Result<(), StreamDamage> {
        for table in Table::ALL {
            let (sent, came) = (self.sums[table.index()], came[table.index()]);
            if sent != came {
                return Err(StreamDamage::Sum { table, sent: Box::new(sent), came: Box::new(came) });
            }
        }
        Ok(())
    }
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
