//! Writing the file anew, beside everything else.
//!
//! redb keeps the pages of what was removed, for later; a file that was once large stays large. A rewrite copies what
//! is there into a new file, which then takes the place of the old one under its name. Commits and reads go on meanwhile:
//!
//! ```text
//! old file  ── commits ──────────────────────────────────────────────────────────>|
//!             pin 1 │ copied in batches         pin 2 │ what came since   pin 3 │ │ swap
//! new file          └─────────────> … ───────>        └───────────>             └─┴──> commits
//! ```
//!
//! Records never change and come in ascending order, so each round copies those behind the last one copied, as of a pin
//! of its own, and then takes out what was removed since the pin before, which commits note down. Rounds become short.
//! The last one keeps commits away, copies the small tables as well, and compares the sums of all tables with those of the
//! old file: a rewrite that lost or revived anything does not take its place.

use std::ffi::OsString;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;

use super::checkpoint::{self, Change, Changes, Storage};
use super::codec;
use super::error::{self, Error, Fault, guarded};
use super::meta::{self, Sums};
use super::pace::Pace;
use super::read::{Pin, check_sum, open_if_there, visit};
use super::tables::{IdKey, RECORDS, RecordKey, Table};
use crate::env::{Disk, File, SyncSite};
use crate::model::SubRevision;

/// Records of one batch, in bytes: one commit of the new file.
const BATCH_BYTES: usize = if cfg!(test) { 4 << 10 } else { 2 << 20 };
/// Removals that one commit takes.
const BATCH_REMOVALS: usize = 1000;
/// A round that copied no more than this is followed by the last one, which keeps commits away.
const LAST_ROUND_BYTES: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };
/// So many rounds are enough: on a machine that writes faster than this copies the last one is long.
const ROUNDS_MAX: usize = 8;
/// redb's cache while the file is built; appending needs little.
const CACHE_BYTES: usize = 32 << 20;
/// What the new file is called until it takes the place of the old one.
const SUFFIX: &str = ".rewrite";

/// A new file that is being filled from one that is in use. Dropped before [`Rewrite::finish`] it is removed again.
pub struct Rewrite {
    storage: Arc<Storage>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn File>,
    /// `None` once it is closed.
    database: Option<Database>,
    /// Over what the new file holds.
    sums: Sums,
    round: Round,
    rounds: usize,
    /// The last record that was copied.
    copied: Option<RecordKey>,
    pace: Arc<Pace>,
    is_finished: bool,
}

/// How much a rewrite asks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Somebody waits for it.
    Quick,
    /// It works in short bursts and rests in between until its last moment. Several times as long.
    Gentle,
}

/// What is copied as of one commit.
#[derive(Debug)]
struct Round {
    pin: Pin,
    /// Removed between the pin before and this one.
    removed: Vec<SubRevision>,
    /// The last record copied in the rounds before: those removed behind it are not in the new file.
    before: Option<RecordKey>,
    bytes: usize,
}

/// Why a rewritten file did not take its place.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The old file is in use as before.
    #[error(transparent)]
    Kept(Error),
    /// It is unknown which of the two a start after a crash would find. Stop.
    #[error(transparent)]
    Unknown(Error),
}

impl From<Error> for SwapError {
    fn from(error: Error) -> SwapError {
        SwapError::Kept(error)
    }
}

impl Rewrite {
    /// Begins. One at a time: what an earlier one noted down is gone.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn begin(storage: Arc<Storage>, disk: Arc<dyn Disk>, haste: Haste) -> Result<Rewrite, Error> {
        let path = path_of(storage.path());
        let file = checkpoint::create_file(disk.as_ref(), &path)?;
        let round = {
            let _commits = storage.commits.lock();
            *storage.removals.lock() = Some(Vec::new());
            storage.pin().map(|pin| Round { pin, removed: Vec::new(), before: None, bytes: 0 })
        };
        // What fails from here on leaves no file behind.
        let forget = || forget(&storage, disk.as_ref(), &path);
        let round = round.inspect_err(|_| forget())?;
        let pace = Arc::new(match haste {
            Haste::Quick => Pace::default(),
            Haste::Gentle => Pace::gentle(),
        });
        *storage.rewrite_pace.lock() = Arc::downgrade(&pace);
        let database = checkpoint::create_database(file.clone(), &path, SyncSite::Snapshot, CACHE_BYTES, pace.clone())
            .inspect_err(|_| forget())?;
        let (sums, database) = (Sums::default(), Some(database));
        let (rounds, copied, is_finished) = (1, None, false);
        Ok(Rewrite { storage, disk, path, file, database, sums, round, rounds, copied, pace, is_finished })
    }

    /// Copies the next batch; `false` once little enough is left to [`Rewrite::finish`].
    ///
    /// # Errors
    /// After one the rewrite can only be dropped; the old file is as it was.
    /// - [`Error::Full`]: there is no space for two files.
    /// - [`Error::Closed`]: the old file was opened again, because its disk is full.
    /// - [`Error::Corrupt`], [`Error::Io`].
    pub fn step(&mut self) -> Result<bool, Error> {
        if self.copy_batch()? || self.remove_batch()? {
            return Ok(true);
        }
        if self.round.bytes <= LAST_ROUND_BYTES || self.rounds == ROUNDS_MAX {
            return Ok(false);
        }
        let storage = self.storage.clone();
        let _commits = storage.commits.lock();
        self.next_round()?;
        Ok(true)
    }

    /// Copies what is left while commits wait, and puts the new file in the place of the old one. Whoever reads on a pin
    /// keeps the old one until it is dropped.
    ///
    /// # Errors
    /// [`SwapError`].
    pub fn finish(mut self) -> Result<(), SwapError> {
        self.pace.hurry();
        let storage = self.storage.clone();
        let commits = storage.commits.lock();
        self.next_round()?;
        while self.copy_batch()? || self.remove_batch()? {}
        self.copy_rest()?;
        self.close()?;
        let database = checkpoint::open_swapped(&storage, &self.file)?;
        let at = |error| error::disk(&self.path, error);
        self.disk.rename(&self.path, storage.path()).map_err(at)?;
        // From here on it is no longer the name of what would have to be removed.
        self.is_finished = true;
        *storage.removals.lock() = None;
        let named = checkpoint::sync_folder(self.disk.as_ref(), storage.path()).map_err(SwapError::Unknown);
        storage.swap(self.file.clone(), database, named.is_ok());
        drop(commits);
        // Its own pin was the last one, perhaps.
        drop(self);
        storage.drop_retired();
        named
    }

    /// Takes what was removed until now, and pins the state as it is. Commits must be kept away.
    fn next_round(&mut self) -> Result<(), Error> {
        let removed = self.storage.removals.lock().as_mut().map(std::mem::take).unwrap_or_default();
        self.round = Round { pin: self.storage.pin()?, removed, before: self.copied, bytes: 0 };
        self.rounds += 1;
        Ok(())
    }

    /// Copies the next records of this round; `false` if there was none.
    fn copy_batch(&mut self) -> Result<bool, Error> {
        let from = match self.copied {
            Some(copied) => match codec::next_key(copied) {
                Some(next) => Some(next),
                None => return Ok(false),
            },
            None => None,
        };
        let (mut records, mut bytes) = (Vec::new(), 0);
        self.round.pin.look(|transaction| {
            visit(&transaction.open_table(RECORDS)?, Table::Records, from, |key, payload| {
                bytes += payload.len();
                records.push((*key, payload.to_vec()));
                Ok(if bytes < BATCH_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })
        })?;
        let Some((last, _)) = records.last() else { return Ok(false) };
        self.copied = Some(*last);
        self.round.bytes += bytes;
        let records = records.iter().map(|(key, payload)| (*key, Some(payload.as_slice()))).collect();
        self.write(Changes { records, ..Changes::default() })?;
        Ok(true)
    }

    /// Takes out the next records that were removed before this round; `false` if there was none.
    fn remove_batch(&mut self) -> Result<bool, Error> {
        let removed = &mut self.round.removed;
        if removed.is_empty() {
            return Ok(false);
        }
        let batch = removed.split_off(removed.len().saturating_sub(BATCH_REMOVALS));
        let before = self.round.before;
        let keys = batch.into_iter().map(codec::record_key).filter(|key| before.is_some_and(|before| *key <= before));
        let records = keys.map(|key| (key, None)).collect();
        self.write(Changes { records, ..Changes::default() })?;
        Ok(true)
    }

    fn write(&mut self, changes: Changes<'_>) -> Result<(), Error> {
        let Rewrite { database, sums, path, pace, .. } = self;
        guarded(path, || {
            let database = database.as_ref().ok_or_else(Fault::closed)?;
            checkpoint::transact_part(database, |transaction| {
                checkpoint::write_tables(transaction, changes, sums, pace).map(drop)
            })
        })?;
        // It is durable, and nobody reads it soon.
        self.file.forget_cached();
        Ok(())
    }

    /// Copies everything but the records, and makes the file one that opens, if it is what the old one is.
    fn copy_rest(&mut self) -> Result<(), Error> {
        let (small, state, written) = self.round.pin.look(|transaction| {
            let rows = Table::small().map(|table| Ok((table, rows(transaction, table)?)));
            let small = Changes { records: Vec::new(), rows: rows.collect::<Result<_, Fault>>()? };
            let mut written = Sums::default();
            for table in Table::ALL {
                written[table.index()] = meta::sum(transaction, table)?;
            }
            Ok((small, meta::Whole::read(transaction)?, written))
        })?;
        let Rewrite { database, sums, .. } = self;
        guarded(&self.path, || {
            let database = database.as_ref().ok_or_else(Fault::closed)?;
            checkpoint::transact(database, |transaction| {
                checkpoint::write_tables(transaction, small, sums, &Pace::default())?;
                Table::ALL
                    .into_iter()
                    .try_for_each(|table| check_sum(table, written[table.index()], sums[table.index()]))?;
                checkpoint::finish(transaction, &state.meta, sums)?;
                state.put_origin(transaction)
            })
        })
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(database) = self.database.take() else { return Ok(()) };
        guarded(&self.path, || Ok(database.close()?))
    }
}

/// All rows of a small table.
fn rows(transaction: &redb::ReadTransaction, table: Table) -> Result<Vec<Change<IdKey, Vec<u8>>>, Fault> {
    let mut rows = Vec::new();
    if let Some(open) = open_if_there(transaction, table.rows())? {
        visit(&open, table, None, |key, payload| {
            rows.push((*key, Some(payload.to_vec())));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(rows)
}

/// What the new file of the one at `path` is called until it takes its place.
pub(super) fn path_of(path: &Path) -> PathBuf {
    let mut unfinished = OsString::from(path);
    unfinished.push(SUFFIX);
    PathBuf::from(unfinished)
}

/// Undoes what a rewrite has begun that does not come about.
fn forget(storage: &Storage, disk: &dyn Disk, path: &Path) {
    *storage.removals.lock() = None;
    // What is left of the file could not be opened; it only takes space, and the next start removes it.
    let _ = disk.remove(path);
}

impl Drop for Rewrite {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = self.close();
            forget(&self.storage, self.disk.as_ref(), &self.path);
        }
    }
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrite").field("path", &self.path).field("round", &self.rounds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::storage::testing::*;
    use crate::storage::{Founding, Identity, TableWrite};

    fn begin(disk: &Arc<MemoryDisk>, storage: &Arc<Storage>) -> Result<Rewrite, Error> {
        Rewrite::begin(storage.clone(), disk.clone(), Haste::Quick)
    }

    fn rewrite(disk: &Arc<MemoryDisk>, storage: &Arc<Storage>) -> Result<(), SwapError> {
        let mut rewrite = begin(disk, storage)?;
        while rewrite.step()? {}
        rewrite.finish()
    }

    fn removals(mains: std::ops::Range<i64>) -> Vec<TableWrite> {
        mains.map(|main| TableWrite::RemoveRecord { at: at(main, 0) }).collect()
    }

    fn names(disk: &MemoryDisk) -> Vec<String> {
        disk.list(Path::new("")).unwrap()
    }

    #[test]
    fn the_file_becomes_small_and_holds_the_same() {
        let disk = MemoryDisk::new();
        let storage = Arc::new(filled(&disk));
        let founding = Founding::New(vec![member(1)]);
        let identity = Identity { cluster: crate::model::ClusterId(5), member: crate::model::MemberId(1) };
        storage.claim(identity, &founding).unwrap();
        storage.commit(&records(121..=3000), &meta(3000)).unwrap();
        storage.commit(&removals(121..3000), &meta(3001)).unwrap();
        storage
            .commit(
                &(121..3000).map(|main| TableWrite::RemoveRecord { at: at(main, 1) }).collect::<Vec<_>>(),
                &meta(3002),
            )
            .unwrap();
        let (before, large) = (content(&storage).unwrap(), storage.file_bytes().unwrap());

        rewrite(&disk, &storage).unwrap();
        assert_eq!(content(&storage).unwrap(), before);
        assert!(storage.file_bytes().unwrap() * 2 < large, "{large} -> {}", storage.file_bytes().unwrap());
        assert_eq!(names(&disk), [PATH]);
        assert_eq!((storage.identity().unwrap(), storage.founding().unwrap()), (Some(identity), Some(founding)));
        assert!(storage.retired.lock().is_empty(), "nobody reads the old one");

        // It goes on from there, and a crash finds it.
        storage.commit(&records(3001..=3010), &meta(3010)).unwrap();
        let after = content(&storage).unwrap();
        let crashed = MemoryDisk::with_file(disk.durable(PATH));
        assert_eq!(content(&open(&crashed).unwrap()).unwrap(), after);
    }

    #[test]
    fn commits_go_on_meanwhile() {
        let (disk, twin_disk) = (MemoryDisk::new(), MemoryDisk::new());
        let (storage, twin) = (Arc::new(filled(&disk)), filled(&twin_disk));
        let frozen = storage.freeze().unwrap();
        let at_first = content(&storage).unwrap();
        let mut rewrite = begin(&disk, &storage).unwrap();
        let mut next = 121;
        let mut steps = 0;
        loop {
            // New ones, and removals of some that are copied, of some that are not, and of some that are quite new.
            let mut writes = records(next..=next + 1);
            writes.extend(removals(next - 90..next - 88));
            writes.extend(removals(next - 2..next - 1));
            writes.push(lease(7, next));
            for storage in [&*storage, &twin] {
                storage.commit(&writes, &meta(next + 1)).unwrap();
            }
            next += 2;
            steps += 1;
            if !rewrite.step().unwrap() {
                break;
            }
        }
        let rounds = rewrite.rounds;
        rewrite.finish().unwrap();
        assert!(steps > 10 && rounds > 2, "{steps} steps, {rounds} rounds");
        let expected = content(&twin).unwrap();
        assert_eq!(content(&storage).unwrap(), expected);

        // A pin from before still shows what it showed.
        assert_eq!(imported(&exported(&frozen)).unwrap(), at_first);
        assert_eq!(storage.retired.lock().len(), 1);
        drop(frozen);
        storage.commit(&records(next..=next), &meta(next)).unwrap();
        assert!(storage.retired.lock().is_empty(), "the old one goes with its last reader");
    }

    #[test]
    fn whatever_fails_the_old_file_goes_on() {
        let changes = {
            let disk = MemoryDisk::new();
            let storage = Arc::new(filled(&disk));
            let started = disk.changes();
            rewrite(&disk, &storage).unwrap();
            disk.changes() - started
        };
        assert!(changes > 10, "{changes}");
        let mut kept = 0;
        for (failing, kind) in
            (0..changes).flat_map(|at| [(at, io::ErrorKind::Other), (at, io::ErrorKind::StorageFull)])
        {
            let disk = MemoryDisk::new();
            let storage = Arc::new(filled(&disk));
            let before = content(&storage).unwrap();
            disk.fail(failing, u64::MAX, kind);
            let outcome = rewrite(&disk, &storage);
            // The last changes are those of the old file, which is closed then.
            assert!(matches!(outcome, Ok(()) | Err(SwapError::Kept(_))), "{failing}: {outcome:?}");
            kept += u64::from(outcome.is_err());
            let crashed = MemoryDisk::with_file(disk.durable(PATH));
            disk.heal();
            assert_eq!(names(&disk), [PATH], "{failing}");
            for storage in [&*storage, &open(&crashed).unwrap()] {
                assert_eq!(content(storage).unwrap(), before, "{failing}");
                storage.commit(&records(121..=140), &meta(140)).unwrap();
            }
        }
        assert!(kept * 10 > 2 * changes * 9, "{kept} of {}", 2 * changes);
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let disk = MemoryDisk::new();
        let before = content(&filled(&disk)).unwrap();
        drop(disk.create(&path_of(Path::new(PATH))).unwrap());
        assert_eq!(names(&disk).len(), 2);
        assert_eq!(content(&open(&disk).unwrap()).unwrap(), before);
        assert_eq!(names(&disk), [PATH]);
    }

    #[test]
    fn a_rewrite_that_would_lose_something_is_refused() {
        let disk = MemoryDisk::new();
        let storage = Arc::new(filled(&disk));
        let before = content(&storage).unwrap();
        let mut rewrite = begin(&disk, &storage).unwrap();
        while rewrite.step().unwrap() {}
        // As if one had been removed too many.
        storage.removals.lock().as_mut().unwrap().push(at(100, 1));
        let outcome = rewrite.finish();
        assert!(matches!(outcome, Err(SwapError::Kept(Error::Corrupt { .. }))), "{outcome:?}");
        assert_eq!(content(&storage).unwrap(), before);
    }
}
