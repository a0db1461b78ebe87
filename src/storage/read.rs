//! Reading: each call sees the newest commit, and every entry that leaves is checked.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::error::{Damage, Error, Fault, guarded, note_table};
use super::room::entry_bytes;
use super::tables::{RECORDS, RecordKey, Table};
use super::{Founding, Frozen, Identity, Meta, SmallTables, Storage, TableSum, codec, meta};
use crate::model::{LogId, Record, Revision, SubRevision};

/// Room that is made for records before they are seen: a damaged count must not ask for all memory.
const EXPECTED_RECORDS_MAX: usize = 1 << 24;

/// What is made of the records of one span, on the thread that reads them.
pub trait Collect: Send {
    /// Takes the next one.
    fn add(&mut self, at: SubRevision, record: Record);
    /// All were taken.
    fn end(&mut self) {}
}

impl Collect for Vec<(SubRevision, Record)> {
    fn add(&mut self, at: SubRevision, record: Record) {
        self.push((at, record));
    }
}

impl Storage {
    /// The entry as of which the file was received from another member; the default if it was not. A log that ends
    /// before it is not damaged: it was to be purged up to there when the process ended.
    ///
    /// # Errors
    /// As [`Storage::meta`].
    pub fn installed(&self) -> Result<LogId, Error> {
        self.read(meta::installed)
    }

    /// Whom the file belongs to; `None` until [`Storage::claim`], and after an import.
    ///
    /// # Errors
    /// As every read: [`Error::Corrupt`], [`Error::Io`], or [`Error::Closed`] after an error that closed the file.
    pub fn identity(&self) -> Result<Option<Identity>, Error> {
        self.read(meta::identity)
    }

    /// The cluster that the folder began with; `None` until [`Storage::claim`], after an import, and if version 0.1 made
    /// the folder: then its member was alone.
    ///
    /// # Errors
    /// As every read.
    pub fn founding(&self) -> Result<Option<Founding>, Error> {
        self.read(meta::founding)
    }

    /// The state that the newest commit left; that of a fresh store if there was none.
    ///
    /// # Errors
    /// As every read.
    pub fn meta(&self) -> Result<Meta, Error> {
        self.read(meta::read)
    }

    /// All that is in the small tables, each by its id, checked against the sums of their tables.
    ///
    /// # Errors
    /// As every read.
    pub fn small_tables(&self) -> Result<SmallTables, Error> {
        self.read(|transaction| {
            let mut small = SmallTables::default();
            for table in Table::small() {
                let mut found = TableSum::default();
                if let Some(open) = open_if_there(transaction, table.rows())? {
                    visit(&open, table, None, |key, payload| {
                        codec::decode_row(table, *key, payload)
                            .map(|row| small.add(row))
                            .map_err(|why| Fault::entry(table, key, why))?;
                        found.add(table.number(), key, payload);
                        Ok(ControlFlow::Continue(()))
                    })?;
                }
                check_sum(table, meta::sum(transaction, table)?, found)?;
            }

            // Keys order ids as unsigned numbers.
            small.leases.sort_unstable_by_key(|lease| lease.id);
            Ok(small)
        })
    }

    /// Reads every record, all of one commit, on `parts` threads. Each takes a span of revisions and gives its records, in
    /// order, to a collection of its own, begun with about how many will come; these come back in order of their spans.
    /// Checks each checksum and, at the end, the sum of the table.
    ///
    /// # Errors
    /// As every read.
    pub fn load_records<C: Collect>(&self, parts: usize, begin: impl Fn(usize) -> C + Sync) -> Result<Vec<C>, Error> {
        let pin = self.pin()?;
        let (starts, count) = pin.look(|transaction| {
            let starts = starts(&transaction.open_table(RECORDS)?, parts)?;
            Ok((starts, meta::sum(transaction, Table::Records)?.count))
        })?;
        let share = usize::try_from(count).unwrap_or(usize::MAX) / starts.len().max(1);
        let load = &|part: usize| {
            let until = starts.get(part + 1).copied().flatten();
            pin.load_span(starts[part], until, begin(share.min(EXPECTED_RECORDS_MAX)))
        };
        let loaded: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..starts.len()).map(|part| scope.spawn(move || load(part))).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });

        let (mut collected, mut found, mut bytes) = (Vec::with_capacity(loaded.len()), TableSum::default(), 0);
        for part in loaded {
            let (part, sum, part_bytes) = part?;
            collected.push(part);
            found = found.plus(sum);
            bytes += part_bytes;
        }
        pin.look(|transaction| check_sum(Table::Records, meta::sum(transaction, Table::Records)?, found))?;
        self.loaded(bytes);
        Ok(collected)
    }

    /// The record at one place; `None` if it is not there, because it was compacted or not yet committed.
    ///
    /// A damaged tree may hide a record from a single look-up; a caller that knows that it must be there should treat
    /// `None` as damage.
    ///
    /// # Errors
    /// As every read.
    pub fn record(&self, at: SubRevision) -> Result<Option<Record>, Error> {
        self.read(|transaction| find(&transaction.open_table(RECORDS)?, at))
    }

    /// What is to be said when a record that must be there is not.
    pub fn missing(&self, at: SubRevision) -> Error {
        Error::Corrupt {
            file: self.path().to_path_buf(),
            table: Some(Table::Records),
            key: Some(at.to_string()),
            near: None,
            why: Damage::Missing,
        }
    }

    /// The records at several places, all of one commit; as [`Storage::record`].
    ///
    /// # Errors
    /// As every read.
    pub fn records(&self, at: &[SubRevision]) -> Result<Vec<Option<Record>>, Error> {
        self.records_within(at, usize::MAX)
    }

    /// As [`Storage::records`], but ends with the record that makes `bytes_max` or more bytes of them: fewer may come back
    /// than were asked for, and at least one.
    ///
    /// # Errors
    /// As every read.
    pub fn records_within(&self, at: &[SubRevision], bytes_max: usize) -> Result<Vec<Option<Record>>, Error> {
        self.read(|transaction| {
            let open = transaction.open_table(RECORDS)?;
            let (mut found, mut bytes) = (Vec::with_capacity(at.len()), 0);
            for &at in at {
                let record = find(&open, at)?;
                bytes += record.as_ref().map_or(0, |record| record.as_bytes().len());
                found.push(record);
                if bytes >= bytes_max {
                    break;
                }
            }
            Ok(found)
        })
    }

    /// The records from `from` (inclusive) to `until` (exclusive) in order, as they are in one commit.
    ///
    /// Ends before the revision that would be number `revisions_max + 1`, or that begins when `bytes_max` or more bytes
    /// of records were taken. Revisions are never split, and at least one is given if there is any.
    ///
    /// # Errors
    /// As every read.
    pub fn scan(
        &self,
        from: SubRevision,
        until: SubRevision,
        revisions_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(SubRevision, Record)>, Error> {
        let (first, until) = (codec::record_key(from), codec::record_key(until));
        self.read(|transaction| {
            let mut taken: Vec<(SubRevision, Record)> = Vec::new();
            let (mut revisions, mut bytes) = (0, 0);
            visit(&transaction.open_table(RECORDS)?, Table::Records, Some(first), |key, payload| {
                let at = codec::sub_revision(key);
                if *key >= until {
                    return Ok(ControlFlow::Break(()));
                }
                if taken.last().is_none_or(|(last, _)| last.main != at.main) {
                    if revisions > 0 && (revisions >= revisions_max || bytes >= bytes_max) {
                        return Ok(ControlFlow::Break(()));
                    }
                    revisions += 1;
                }
                bytes += payload.len();
                taken.push((at, record(key, payload)?));
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(taken)
        })
    }

    /// Pins the newest commit for an export. Space that later commits free stays taken while it lives.
    ///
    /// # Errors
    /// As every read.
    pub fn freeze(&self) -> Result<Frozen, Error> {
        let pin = self.pin()?;
        let meta = pin.look(meta::read)?;
        Ok(Frozen { pin, meta })
    }

    fn read<R>(&self, look: impl Fn(&ReadTransaction) -> Result<R, Fault>) -> Result<R, Error> {
        self.with_database(|database| look(&database.begin_read()?))
    }

    pub(super) fn pin(&self) -> Result<Pin, Error> {
        // Taken first: if the file is replaced in between, the old one is kept for nothing for a while, and not the other way
        // round.
        let open = self.pins();
        let transaction = self.with_database(|database| Ok(database.begin_read()?))?;
        Ok(Pin { path: self.path().to_path_buf(), transaction: Some(transaction), _open: open })
    }
}

/// One commit, kept readable over several calls.
#[derive(Debug)]
pub(super) struct Pin {
    path: PathBuf,
    /// `None` only while it is dropped.
    transaction: Option<ReadTransaction>,
    /// Keeps the file open if another takes its place.
    _open: Arc<()>,
}

impl Pin {
    /// Looks at the commit from within the boundary.
    pub(super) fn look<R>(&self, look: impl FnOnce(&ReadTransaction) -> Result<R, Fault>) -> Result<R, Error> {
        guarded(&self.path, || match &self.transaction {
            Some(transaction) => look(transaction),
            None => Err(Fault::closed()),
        })
    }
}

impl Pin {
    /// Collects the records from `from` (the first if `None`) to `until` (exclusive; all if `None`), their sum, and what
    /// they need in the file.
    fn load_span<C: Collect>(
        &self,
        from: Option<RecordKey>,
        until: Option<RecordKey>,
        mut collection: C,
    ) -> Result<(C, TableSum, u64), Error> {
        let (sum, bytes) = self.look(|transaction| {
            let (mut sum, mut bytes) = (TableSum::default(), 0);
            visit(&transaction.open_table(RECORDS)?, Table::Records, from, |key, payload| {
                if until.is_some_and(|until| *key >= until) {
                    return Ok(ControlFlow::Break(()));
                }
                sum.add(Table::Records.number(), key, payload);
                bytes += entry_bytes(payload.len());
                collection.add(codec::sub_revision(key), record(key, payload)?);
                Ok(ControlFlow::Continue(()))
            })?;
            Ok((sum, bytes))
        })?;
        collection.end();
        Ok((collection, sum, bytes))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let transaction = self.transaction.take();
        // After damage was met even letting go may panic; there is nothing left to save then.
        let _ = guarded(&self.path, || {
            drop(transaction);
            Ok(())
        });
    }
}

/// An open table of data with keys of `N` bytes.
type Open<const N: usize> = ReadOnlyTable<&'static [u8; N], &'static [u8]>;

/// Opens a table that is made when it is first written to.
pub(super) fn open_if_there<const N: usize>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, &'static [u8; N], &'static [u8]>,
) -> Result<Option<Open<N>>, Fault> {
    match transaction.open_table(definition) {
        Ok(open) => Ok(Some(open)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Calls `each` with key and checked payload of the entries at and after `from` (all if `None`), until it breaks; checks
/// that they are in order.
pub(super) fn visit<const N: usize>(
    open: &impl ReadableTable<&'static [u8; N], &'static [u8]>,
    table: Table,
    from: Option<[u8; N]>,
    mut each: impl FnMut(&[u8; N], &[u8]) -> Result<ControlFlow<()>, Fault>,
) -> Result<(), Fault> {
    note_table(Some(table.name()));
    // The first key is not sought: walking the whole table then does not rest on what leads to a key.
    let entries = match &from {
        Some(from) => open.range::<&[u8; N]>(from..)?,
        None => open.iter()?,
    };
    let mut last: Option<[u8; N]> = None;
    for entry in entries {
        let (key, sealed) = entry?;
        let key = key.value();
        if last.is_some_and(|last| last >= *key) || from.is_some_and(|from| from > *key) {
            return Err(Fault::entry(table, key, Damage::Misplaced));
        }
        last = Some(*key);
        let payload = codec::unseal(key, sealed.value()).map_err(|why| Fault::entry(table, key, why))?;
        if each(key, payload)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Where each of `parts` spans of about as many revisions begins; the first at the very beginning.
fn starts(
    open: &impl ReadableTable<&'static RecordKey, &'static [u8]>,
    parts: usize,
) -> Result<Vec<Option<RecordKey>>, Fault> {
    let main = |entry: Option<(redb::AccessGuard<'_, &'static RecordKey>, _)>| {
        entry.map_or(
            0,
            |(key, _): (redb::AccessGuard<'_, &'static RecordKey>, redb::AccessGuard<'_, &'static [u8]>)| {
                codec::sub_revision(key.value()).main.0
            },
        )
    };
    let (first, last) = (main(open.first()?), main(open.last()?));
    // A damaged key may say anything; the visits then find it out of its place.
    let step = last.saturating_sub(first).max(0) / i64::try_from(parts).unwrap_or(i64::MAX).max(1) + 1;
    let start = |part: i64| codec::record_key(SubRevision::first(Revision(first.saturating_add(step * part))));
    let later = (1..).take(parts.saturating_sub(1)).map(|part| Some(start(part)));
    Ok(std::iter::once(None).chain(later).collect())
}

/// Compares the sum kept beside a table with that of what was found in it.
pub(super) fn check_sum(table: Table, written: TableSum, found: TableSum) -> Result<(), Fault> {
    if written == found {
        return Ok(());
    }
    let why = Damage::Sum { written: Box::new(written), found: Box::new(found) };
    Err(Fault::Corrupt { table: Some(table), key: None, why })
}

fn find(
    open: &impl ReadableTable<&'static RecordKey, &'static [u8]>,
    at: SubRevision,
) -> Result<Option<Record>, Fault> {
    note_table(Some(Table::Records.name()));
    let key = codec::record_key(at);
    let Some(sealed) = open.get(&key)? else { return Ok(None) };
    let payload = codec::unseal(&key, sealed.value()).map_err(|why| Fault::entry(Table::Records, &key, why))?;
    record(&key, payload).map(Some)
}

fn record(key: &RecordKey, payload: &[u8]) -> Result<Record, Fault> {
    Record::from_bytes(payload).map_err(|error| Fault::entry(Table::Records, key, error.into()))
}
