//! The `meta` table: what the file says of itself, value by value.
//!
//! A file is whole when it has a format number; a fresh file and an import get it in their last transaction.

use redb::{ReadTransaction, ReadableTable, TableError, WriteTransaction};

use super::error::{Damage, Fault};
use super::tables::{META, Table};
use super::{FORMAT, Identity, Meta, TableSum, codec};
use crate::model::Revision;

const FORMAT_KEY: &str = "format";
const IDENTITY: &str = "identity";
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
    let format = find(&meta, FORMAT_KEY, |payload| codec::Cursor(payload).whole(codec::Cursor::u32))?;
    match format {
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

/// The sum of one table.
pub(super) fn sum(transaction: &ReadTransaction, table: Table) -> Result<TableSum, Fault> {
    get(&transaction.open_table(META)?, table.sum_key(), codec::decode_sum)
}

/// The sums of all tables, within a write transaction.
pub(super) fn sums(transaction: &WriteTransaction) -> Result<Sums, Fault> {
    let meta = transaction.open_table(META)?;
    let mut sums = Sums::default();
    for table in Table::ALL {
        sums[table.index()] = get(&meta, table.sum_key(), codec::decode_sum)?;
    }
    Ok(sums)
}

/// Writes all that a commit says: the state, and the sums of the tables.
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
    for table in Table::ALL {
        put(transaction, &[(table.sum_key(), &codec::encode_sum(sums[table.index()]))])?;
    }
    Ok(())
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
    let Some(sealed) = meta.get(key)? else { return Ok(None) };
    let value = codec::unseal(key.as_bytes(), sealed.value()).and_then(decode);
    value.map(Some).map_err(|why| Fault::meta(key, why))
}
