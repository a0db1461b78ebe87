//! A whole state as one stream that checks itself.
//!
//! ```text
//! "LODESNAP" format   chunk: meta   chunks: entries of each table   chunk: footer
//! ```
//!
//! A chunk is its kind, the length of its body, the body, and the CRC32C over all of that. Entries come by table
//! number and key, so that the receiver only appends. The footer tells how many chunks there were and the sum of each
//! table; without it nothing counts. The stream says nothing of redb, and entries carry no checksums of their own.

use std::io::{self, Write};
use std::ops::ControlFlow;

use redb::TableDefinition;

use super::codec;
use super::error::Error;
use super::meta::{self, Sums};
use super::read::{Pin, check_sum, open_if_there, visit};
use super::tables::{RECORDS, Table};
use super::{Meta, TableSum};

pub(super) const MAGIC: [u8; 8] = *b"LODESNAP";
pub(super) const KIND_META: u8 = 1;
pub(super) const KIND_ENTRIES: u8 = 2;
pub(super) const KIND_FOOTER: u8 = 3;
/// Kind and length of a chunk.
pub(super) const HEAD_LEN: usize = 5;
/// The checksum that ends a chunk.
pub(super) const CRC_LEN: usize = 4;
/// A chunk of entries ends with the entry that reaches this length. Large enough that its frame costs nothing.
const CHUNK_BYTES: usize = 256 << 10;
/// The longest body that is read: far above the longest value that a request may carry.
pub(super) const BODY_BYTES_MAX: u32 = 1 << 30;
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
        self.export_table(Table::Records, RECORDS, &mut sums[Table::Records.index()], &mut stream)?;
        for table in Table::small() {
            self.export_table(table, table.rows(), &mut sums[table.index()], &mut stream)?;
        }

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

fn encode_meta(meta: &Meta) -> Vec<u8> {
    let mut body = chunk_body();
    body.extend_from_slice(&codec::encode_log_id(meta.applied));
    body.extend_from_slice(&meta.revision.0.to_le_bytes());
    body.extend_from_slice(&meta.compacted.0.to_le_bytes());
    body.extend_from_slice(&meta.chain.to_le_bytes());
    codec::put_bytes(&mut body, &meta.membership);
    body
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
