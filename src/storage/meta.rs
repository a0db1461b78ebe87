//! The `meta` table: what the file says of itself, value by value.
//!
//! A file is whole when it has a format number; a fresh file and an import get it in their last transaction.

use redb::{ReadTransaction, ReadableTable, TableError, WriteTransaction};

use super::error::{Damage, Fault, note_table};
use super::tables::{META, Table};
use super::{FORMAT, Founding, Identity, Meta, TableSum, codec};
use crate::model::{LogId, Revision};

/// The format of a file that needs no other.
const FIRST_FORMAT: u32 = 1;

const FORMAT_KEY: &str = "format";
const IDENTITY: &str = "identity";
const INSTALLED: &str = "installed";
const FOUNDING: &str = "founding";
const APPLIED: &str = "applied";
const MEMBERSHIP: &str = "membership";
const REVISION: &str = "revision";
const COMPACTED: &str = "compacted";
const CHAIN: &str = "chain";

/// The sums of all tables, in the order of [`Table::ALL`].
pub(super) type Sums = [TableSum; Table::ALL.len()];

/// Checks that this version may read the file.
pub(super) fn check_format(transaction: &ReadTransaction) -> Result<(), Fault> {
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Err(Fault::Foreign("it has no table meta".to_owned())),
        Err(error) => return Err(error.into()),
    };
    match format(&meta)? {
        None => Err(Fault::Foreign("it has no format number, so its making was cut short".to_owned())),
        Some(0) => Err(Fault::meta(FORMAT_KEY, Damage::Undecodable("there is no format 0"))),
        Some(found) if found > FORMAT => Err(Fault::Newer(found)),
        Some(_) => Ok(()),
    }
}

/// Writes the format number, which makes the file one that can be opened.
pub(super) fn put_format(transaction: &WriteTransaction, format: u32) -> Result<(), Fault> {
    put(transaction, &[(FORMAT_KEY, &format.to_le_bytes())])
}

/// Whom the file belongs to; `None` until it was said.
pub(super) fn identity(transaction: &ReadTransaction) -> Result<Option<Identity>, Fault> {
    find(&transaction.open_table(META)?, IDENTITY, codec::decode_identity)
}

/// Writes whom the file belongs to.
pub(super) fn put_identity(transaction: &WriteTransaction, identity: Identity) -> Result<(), Fault> {
    put(transaction, &[(IDENTITY, &codec::encode_identity(identity))])
}

/// The entry as of which the file was received; the default if it was not.
pub(super) fn installed(transaction: &ReadTransaction) -> Result<LogId, Fault> {
    Ok(find(&transaction.open_table(META)?, INSTALLED, codec::decode_log_id)?.unwrap_or_default())
}

/// Writes the entry as of which the file was received.
pub(super) fn put_installed(transaction: &WriteTransaction, at: LogId) -> Result<(), Fault> {
    put(transaction, &[(INSTALLED, &codec::encode_log_id(at))])
}

/// The cluster that the folder began with; `None` until it was said, and in files of version 0.1.
pub(super) fn founding(transaction: &ReadTransaction) -> Result<Option<Founding>, Fault> {
    find(&transaction.open_table(META)?, FOUNDING, codec::decode_founding)
}

/// Writes the cluster that the folder began with.
pub(super) fn put_founding(transaction: &WriteTransaction, founding: &Founding) -> Result<(), Fault> {
    put(transaction, &[(FOUNDING, &codec::encode_founding(founding))])
}

/// The state as of which the tables are.
pub(super) fn read(transaction: &ReadTransaction) -> Result<Meta, Fault> {
    let meta = transaction.open_table(META)?;
    let number = |payload: &[u8]| codec::Cursor(payload).whole(codec::Cursor::i64);
    Ok(Meta {
        applied: get(&meta, APPLIED, codec::decode_log_id)?,
        membership: get(&meta, MEMBERSHIP, |payload| Ok(codec::owned(payload)))?,
        revision: Revision(get(&meta, REVISION, number)?),
        compacted: Revision(get(&meta, COMPACTED, number)?),
        chain: get(&meta, CHAIN, |payload| codec::Cursor(payload).whole(codec::Cursor::u64))?,
    })
}

/// All that a file says of itself beside its sums.
pub(super) struct Whole {
    pub(super) meta: Meta,
    identity: Option<Identity>,
    founding: Option<Founding>,
    installed: Option<LogId>,
}

impl Whole {
    pub(super) fn read(transaction: &ReadTransaction) -> Result<Whole, Fault> {
        let installed = find(&transaction.open_table(META)?, INSTALLED, codec::decode_log_id)?;
        Ok(Whole {
            meta: read(transaction)?,
            identity: identity(transaction)?,
            founding: founding(transaction)?,
            installed,
        })
    }

    /// Writes whose the file is and how it began.
    pub(super) fn put_origin(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        self.identity.map_or(Ok(()), |identity| put_identity(transaction, identity))?;
        self.founding.as_ref().map_or(Ok(()), |founding| put_founding(transaction, founding))?;
        self.installed.map_or(Ok(()), |at| put_installed(transaction, at))
    }
}

/// The sum of one table.
pub(super) fn sum(transaction: &ReadTransaction, table: Table) -> Result<TableSum, Fault> {
    sum_in(&transaction.open_table(META)?, table)
}

/// The sums of all tables, within a write transaction.
pub(super) fn sums(transaction: &WriteTransaction) -> Result<Sums, Fault> {
    let meta = transaction.open_table(META)?;
    let mut sums = Sums::default();
    for table in Table::ALL {
        sums[table.index()] = sum_in(&meta, table)?;
    }
    Ok(sums)
}

/// The lowest format that has every table that is not empty.
pub(super) fn format_for(sums: &Sums) -> u32 {
    let filled = Table::ALL.into_iter().filter(|table| sums[table.index()] != TableSum::default());
    filled.map(Table::since).fold(FIRST_FORMAT, u32::max)
}

/// Writes all that a commit says: the state, and the sums of the tables. Raises the format of a file that begins to
/// need a newer one.
pub(super) fn write(transaction: &WriteTransaction, meta: &Meta, sums: &Sums) -> Result<(), Fault> {
    put(
        transaction,
        &[
            (APPLIED, &codec::encode_log_id(meta.applied)),
            (MEMBERSHIP, &meta.membership),
            (REVISION, &meta.revision.0.to_le_bytes()),
            (COMPACTED, &meta.compacted.0.to_le_bytes()),
            (CHAIN, &meta.chain.to_le_bytes()),
        ],
    )?;
    // Never a lower one than before: the sum of a table that was emptied has to say so.
    let present = format(&transaction.open_table(META)?)?.unwrap_or(FIRST_FORMAT);
    let format = format_for(sums).max(present);
    for table in Table::of_format(format) {
        put(transaction, &[(table.sum_key(), &codec::encode_sum(sums[table.index()]))])?;
    }
    if format > FIRST_FORMAT { put_format(transaction, format) } else { Ok(()) }
}

fn put(transaction: &WriteTransaction, values: &[(&str, &[u8])]) -> Result<(), Fault> {
    let mut meta = transaction.open_table(META)?;
    let mut sealed = Vec::new();
    for (key, payload) in values {
        codec::seal(key.as_bytes(), payload, &mut sealed);
        meta.insert(*key, sealed.as_slice())?;
    }
    Ok(())
}

fn format(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<u32>, Fault> {
    find(meta, FORMAT_KEY, |payload| codec::Cursor(payload).whole(codec::Cursor::u32))
}

/// A table that the file's format does not have is empty.
fn sum_in(meta: &impl ReadableTable<&'static str, &'static [u8]>, table: Table) -> Result<TableSum, Fault> {
    match find(meta, table.sum_key(), codec::decode_sum)? {
        Some(sum) => Ok(sum),
        None if format(meta)?.is_some_and(|format| format < table.since()) => Ok(TableSum::default()),
        None => Err(Fault::meta(table.sum_key(), Damage::Missing)),
    }
}

fn get<R>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
    decode: impl FnOnce(&[u8]) -> Result<R, Damage>,
) -> Result<R, Fault> {
    find(meta, key, decode)?.ok_or_else(|| Fault::meta(key, Damage::Missing))
}

fn find<R>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
    decode: impl FnOnce(&[u8]) -> Result<R, Damage>,
) -> Result<Option<R>, Fault> {
    note_table(Some("meta"));
    let Some(sealed) = meta.get(key)? else { return Ok(None) };
    let value = codec::unseal(key.as_bytes(), sealed.value()).and_then(decode);
    value.map(Some).map_err(|why| Fault::meta(key, why))
}
