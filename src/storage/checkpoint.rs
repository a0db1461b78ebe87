//! Opening the file and committing to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::backend::{Backend, Unsynced};
use super::error::{self, Damage, Error, Fault, guarded};
use super::meta::Sums;
use super::pace::Pace;
use super::read::visit;
use super::retired::Retired;
use super::room::{Room, entry_bytes};
use super::tables::{IdKey, RECORDS, RecordKey, SETTING_DOWNGRADE, Table};
use super::{Founding, Identity, Meta, TableSum, TableWrite, codec, meta, rewrite};
use crate::env::{Disk, File, Mistake, SyncSite};
use crate::model::{Record, SubRevision};

/// What a change counts beside its payload, as if it were bytes: a guess, so that many small ones rest as well.
const CHANGE_COST_BYTES: usize = 128;
/// The same for a removal: neighbors take a microsecond each.
const REMOVAL_COST_BYTES: usize = 256;

/// The checkpoint: one redb file. All methods may be called from several threads; one commit runs at a time.
pub struct Storage {
    path: PathBuf,
    cache_bytes: usize,
    /// Held to read by whoever uses the database, to write by a reopening or a swap.
    open: RwLock<Opened>,
    /// Counts reopenings.
    generation: AtomicU64,
    /// Nothing opens it again.
    is_closed: AtomicBool,
    /// Held by a commit until the database is usable again. Taken before `open`.
    pub(super) commits: Mutex<()>,
    /// What commits removed since a [`super::Rewrite`] last took it; `None` if there is none.
    pub(super) removals: Mutex<Option<Vec<SubRevision>>>,
    /// Files that were replaced, as long as somebody reads on a pin of theirs.
    pub(super) retired: Mutex<Vec<Retired>>,
    /// What the records need.
    room: Room,
    /// That of the commit that runs.
    pace: Arc<Pace>,
    /// That of the [`super::Rewrite`] that runs.
    pub(super) rewrite_pace: Mutex<Weak<Pace>>,
}

impl Storage {
    /// Opens the file at `path`, or makes it if there is none, with about `cache_bytes` of memory for pages.
    ///
    /// A new file appears under its name only when it is whole; what an earlier attempt left behind is replaced.
    /// After a crash the file is as the last finished commit left it.
    ///
    /// # Errors
    /// - [`Error::Newer`] if a newer version wrote it.
    /// - [`Error::Foreign`] if it is something else, or an import that did not end.
    /// - [`Error::Corrupt`] if it is damaged. Opening reads the whole file to verify redb's checksums of its pages; our own are
    ///   checked when it is read.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, cache_bytes: usize) -> Result<Storage, Error> {
        if disk.exists(path).map_err(|error| error::disk(path, error))? {
            // A killed process may have given it its name and not made that durable.
            sync_folder(disk.as_ref(), path)?;
        } else {
            make(disk.as_ref(), path)?;
        }
        remove_leftover(disk.as_ref(), path)?;
        Storage::open_checked(disk.as_ref(), path, cache_bytes, Check::EveryPage)
    }

    /// Opens the file at `path` that this process has just built with an [`super::Import`], without verifying its pages:
    /// each was written with its checksum moments ago. Our own checksums are checked as ever, when it is read.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub fn open_built(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Storage, Error> {
        Storage::open_checked(disk, path, cache_bytes, Check::Nothing)
    }

    fn open_checked(disk: &dyn Disk, path: &Path, cache_bytes: usize, check: Check) -> Result<Storage, Error> {
        let file: Arc<dyn File> = Arc::from(disk.open(path).map_err(|error| error::disk(path, error))?);
        let (pace, unsynced) = (Arc::new(Pace::default()), Arc::new(Unsynced::default()));
        let database = Some(open_database(&file, path, cache_bytes, check, (&pace, &unsynced))?);
        Ok(Storage {
            path: path.to_path_buf(),
            cache_bytes,
            open: RwLock::new(Opened { file, database, pins: Arc::default(), unsynced }),
            generation: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            commits: Mutex::new(()),
            removals: Mutex::new(None),
            retired: Mutex::new(Vec::new()),
            room: Room::default(),
            pace,
            rewrite_pace: Mutex::default(),
        })
    }

    /// Tells whom the file at `path` belongs to, without verifying its pages; `None` if there is no file, or it was not
    /// said yet.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub fn identity_of(disk: &dyn Disk, path: &Path) -> Result<Option<Identity>, Error> {
        if !disk.exists(path).map_err(|error| error::disk(path, error))? {
            return Ok(None);
        }
        let file: Arc<dyn File> = Arc::from(disk.open(path).map_err(|error| error::disk(path, error))?);
        refuse_empty(&file, path)?;
        // Without a write: a file that nobody has verified must not be written to, and redb writes when it closes one that may
        // be. With damage in its record of free pages that ends the process.
        let found = guarded(path, || {
            let backend = Backend::new(Arc::clone(&file), SyncSite::Checkpoint);
            let database = match Builder::new().set_cache_size(0).open_read_only_with_backend(backend) {
                Ok(database) => database,
                Err(redb::DatabaseError::RepairAborted) => return Ok(None),
                Err(error) => return Err(unopened(error)),
            };
            let transaction = database.begin_read()?;
            meta::check_format(&transaction)?;
            meta::identity(&transaction).map(Some)
        })?;
        if let Some(identity) = found {
            return Ok(identity);
        }
        // It has to be put in order first.
        let database = open_database(&file, path, 0, Check::EveryPage, (&Arc::default(), &Arc::default()))?;
        guarded(path, || {
            let identity = meta::identity(&database.begin_read()?)?;
            database.close()?;
            Ok(identity)
        })
    }

    /// Writes whom the file belongs to, and the cluster that its folder begins with, in one durable transaction. Claiming
    /// it as the same again does nothing: a folder begins once.
    ///
    /// # Errors
    /// - [`Error::Identity`] if it belongs to another.
    /// - As [`Storage::commit`].
    pub fn claim(&self, identity: Identity, founding: &Founding) -> Result<(), Error> {
        match self.identity()? {
            Some(found) if found == identity => Ok(()),
            Some(found) => Err(Error::Identity { file: self.path.clone(), found, given: identity }),
            None => self.transact(|transaction| {
                meta::put_identity(transaction, identity)?;
                meta::put_founding(transaction, founding)
            }),
        }
    }

    /// As [`Storage::claim`], for a new file that was made of a snapshot: its log begins behind that, see
    /// [`Storage::installed`].
    ///
    /// # Errors
    /// As [`Storage::commit`].
    pub fn claim_received(&self, identity: Identity, founding: &Founding) -> Result<(), Error> {
        let received = self.meta()?.applied;
        self.transact(|transaction| {
            meta::put_identity(transaction, identity)?;
            meta::put_founding(transaction, founding)?;
            meta::put_installed(transaction, received)
        })
    }

    /// Makes a file that was received the successor of `earlier`, in one durable transaction: it belongs to the same
    /// member, whose folder began in the same way. To be done before it takes the place of the other: under the name of the
    /// checkpoint a file without an owner would be taken for a new one after a crash. It also gets the entry as of
    /// which it was received, see [`Storage::installed`].
    ///
    /// # Errors
    /// As [`Storage::commit`].
    pub fn succeed(&self, earlier: &Storage) -> Result<(), Error> {
        let (identity, founding, received) = (earlier.identity()?, earlier.founding()?, self.meta()?.applied);
        self.transact(|transaction| {
            identity.map_or(Ok(()), |identity| meta::put_identity(transaction, identity))?;
            founding.map_or(Ok(()), |founding| meta::put_founding(transaction, &founding))?;
            meta::put_installed(transaction, received)
        })
    }

    /// Applies `writes` in order and replaces the meta, in one durable transaction: all of it or nothing.
    ///
    /// Many writes at once are cheap, most so if records come in ascending order, and if those that are removed are
    /// neighbors. Removing what is not there does nothing, but within the span of a table's keys it makes this walk the
    /// whole table.
    ///
    /// # Errors
    /// The tables stay as they were, and:
    /// - [`Error::Full`]: no space. The file has been opened again and can be read and committed to; a [`super::Frozen`]
    ///   taken before is closed.
    /// - [`Error::Io`]: it is unknown what is durable; stop.
    /// - [`Error::Corrupt`]: a record to be replaced or removed is damaged, or redb found damage.
    pub fn commit(&self, writes: &[TableWrite], meta: &Meta) -> Result<(), Error> {
        if Mistake::AppliedIndexApart.is_made() {
            self.commit_at_once(writes, &self.meta()?)?;
            return self.commit_at_once(&[], meta);
        }
        self.commit_at_once(writes, meta)
    }

    /// The same in short bursts with rests in between, so that who waits for an answer meanwhile hardly notices: for
    /// whoever has the time. See [`Storage::hurry`].
    ///
    /// # Errors
    /// As [`Storage::commit`].
    pub fn commit_gently(&self, writes: &[TableWrite], meta: &Meta) -> Result<(), Error> {
        let _gently = self.pace.gently();
        self.commit(writes, meta)
    }

    /// Lets a gentle commit that runs go on without rests.
    pub fn hurry(&self) {
        self.pace.hurry();
    }

    /// Lets a gentle [`super::Rewrite`] that runs go on without rests.
    pub fn hurry_rewrite(&self) {
        if let Some(pace) = self.rewrite_pace.lock().upgrade() {
            pace.hurry();
        }
    }

    fn commit_at_once(&self, writes: &[TableWrite], meta: &Meta) -> Result<(), Error> {
        let _commits = self.commits.lock();
        let mut growth = 0;
        self.transact_alone(|transaction| {
            let mut sums = meta::sums(transaction)?;
            growth = write_tables(transaction, Changes::of(writes), &mut sums, &self.pace)?;
            meta::write(transaction, meta, &sums)
        })?;
        self.room.change(growth);
        if let Some(removals) = self.removals.lock().as_mut() {
            removals.extend(writes.iter().filter_map(|write| match write {
                TableWrite::RemoveRecord { at } => Some(*at),
                _ => None,
            }));
        }
        self.drop_retired();
        Ok(())
    }

    /// The length of the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn file_bytes(&self) -> Result<u64, Error> {
        self.open.read().file.len().map_err(|error| error::disk(&self.path, error))
    }

    /// What the file takes on the disk, in bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn disk_bytes(&self) -> Result<u64, Error> {
        self.open.read().file.disk_bytes().map_err(|error| error::disk(&self.path, error))
    }

    /// What a file would take that holds the same and was written anew, more or less, in bytes. Known once the records were
    /// loaded or counted.
    pub fn needed_bytes(&self) -> u64 {
        self.room.file_bytes()
    }

    /// What the records take in the file, in bytes: the sum of [`super::entry_bytes`]. Known once they were loaded or counted.
    pub fn record_bytes(&self) -> u64 {
        self.room.bytes()
    }

    /// Counts the records of a file that nobody loads, because they are in memory: all of them.
    pub fn count(&self, records: &[(SubRevision, Record)]) {
        self.room.set(records.iter().map(|(_, record)| entry_bytes(record.as_bytes().len())).sum());
    }

    pub(super) fn loaded(&self, record_bytes: u64) {
        self.room.set(record_bytes);
    }

    /// Closes the file, so that another may open it, whoever still has this; from then on there is only [`Error::Closed`].
    ///
    /// redb writes when it closes. Left to the last who lets go, that could come when the next life of the member had the
    /// file already, and take back what that had committed.
    pub fn close(&self) {
        let _commits = self.commits.lock();
        self.is_closed.store(true, Ordering::Release);
        let retired = std::mem::take(&mut *self.retired.lock()).into_iter().map(|retired| retired.database);
        let database = self.open.write().database.take();
        for database in database.into_iter().chain(retired) {
            // Nothing is lost if closing fails: every commit was durable when it returned.
            let _ = guarded(&self.path, || Ok(database.close()?));
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `call` on the database. A call whose database a reopening closed is run again.
    pub(super) fn with_database<R>(&self, call: impl Fn(&Database) -> Result<R, Fault>) -> Result<R, Error> {
        let once = || {
            guarded(&self.path, || match self.open.read().database.as_ref() {
                Some(database) => call(database),
                None => Err(Fault::closed()),
            })
        };
        loop {
            // Acquire pairs with the release in `reopen`, though the lock around the database orders them as well.
            let generation = self.generation.load(Ordering::Acquire);
            match once() {
                // For good; whoever asks may have the lock that reopening takes.
                Err(closed @ Error::Closed { .. }) if self.is_closed.load(Ordering::Acquire) => return Err(closed),
                Err(Error::Closed { .. }) => {
                    // A commit that ran out of space holds this until the database is open again.
                    drop(self.commits.lock());
                    if self.generation.load(Ordering::Acquire) == generation {
                        return Err(Error::Closed { file: self.path.clone() });
                    }
                }
                result => return result,
            }
        }
    }

    /// A token of the database that is open; a file that is replaced is kept as long as somebody has it.
    pub(super) fn pins(&self) -> Arc<()> {
        self.open.read().pins.clone()
    }

    /// Goes on with another file that holds the same, and has its name already; `is_named` if that is durable. Commits must
    /// be kept away.
    pub(super) fn swap(&self, file: Arc<dyn File>, (database, unsynced): (Database, Arc<Unsynced>), is_named: bool) {
        let new = Opened { file, database: Some(database), pins: Arc::default(), unsynced };
        let Opened { file, database, pins, unsynced: _ } = std::mem::replace(&mut *self.open.write(), new);
        self.generation.fetch_add(1, Ordering::Release);
        // As long as a crash could find the old file under the name it must stay as it is.
        let file = is_named.then_some(file);
        self.retired.lock().extend(database.map(|database| Retired { database, file, pins }));
    }

    /// Closes the databases that nobody reads any more, and gives the space of their files back.
    pub(super) fn drop_retired(&self) {
        let gone = self.retired.lock().extract_if(.., |retired| !retired.is_read()).collect::<Vec<_>>();
        gone.into_iter().for_each(|retired| retired.end(&self.path));
    }

    fn transact(&self, write: impl FnOnce(&WriteTransaction) -> Result<(), Fault>) -> Result<(), Error> {
        let _commits = self.commits.lock();
        self.transact_alone(write)
    }

    /// The same for who holds `commits`.
    fn transact_alone(&self, write: impl FnOnce(&WriteTransaction) -> Result<(), Fault>) -> Result<(), Error> {
        let done = guarded(&self.path, || {
            let open = self.open.read();
            transact(open.database.as_ref().ok_or_else(Fault::closed)?, write)
        });
        if let Err(Error::Full { .. }) = &done {
            self.reopen().map_err(|error| match error {
                // The database is gone now, which is more than a full disk.
                Error::Full { file, source } => Error::Io { file, source },
                error => error,
            })?;
        }
        done
    }

    /// Opens the file anew: after a failed write redb refuses everything, reads too.
    pub(super) fn reopen(&self) -> Result<(), Error> {
        let mut open = self.open.write();
        if let Some(failed) = open.database.take() {
            // It cannot write any more, so what it says at its end is the error we know.
            let _ = guarded(&self.path, || Ok(failed.close()?));
        }
        // An error: then the space stays taken.
        let _ = open.unsynced.give_back(&*open.file);
        let watched = (&self.pace, &open.unsynced);
        let database = open_database(&open.file, &self.path, self.cache_bytes, Check::Nothing, watched)?;
        open.database = Some(database);
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The file that is in use.
struct Opened {
    file: Arc<dyn File>,
    /// `None` only after a reopening that failed.
    database: Option<Database>,
    /// Each pin has a clone.
    pins: Arc<()>,
    /// Of this file alone.
    unsynced: Arc<Unsynced>,
}

/// Removes what a rewrite left behind that the process did not live to end.
fn remove_leftover(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let leftover = rewrite::path_of(path);
    let at = |error| error::disk(&leftover, error);
    if disk.exists(&leftover).map_err(at)? { disk.remove(&leftover).map_err(at) } else { Ok(()) }
}

/// Opens a file that was filled from the one of `storage` and is about to take its place.
pub(super) fn open_swapped(storage: &Storage, file: &Arc<dyn File>) -> Result<(Database, Arc<Unsynced>), Error> {
    let unsynced = Arc::new(Unsynced::default());
    let watched = (&storage.pace, &unsynced);
    let database = open_database(file, &storage.path, storage.cache_bytes, Check::Nothing, watched)?;
    Ok((database, unsynced))
}

/// Makes an empty file that can be opened, and gives it its name last.
fn make(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let mut unfinished = OsString::from(path);
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let at = |error| error::disk(path, error);

    let file = create_file(disk, &unfinished)?;
    let database = create_database(file, &unfinished, SyncSite::Checkpoint, 0, Arc::default())?;
    let filled =
        guarded(path, || transact(&database, |transaction| finish(transaction, &Meta::default(), &Sums::default())));
    let closed = guarded(path, || Ok(database.close()?));
    filled.and(closed)?;
    disk.rename(&unfinished, path).map_err(at)?;
    sync_folder(disk, path)
}

/// Makes the name of the file durable.
pub(super) fn sync_folder(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    disk.sync_dir(folder, SyncSite::DataFolder).map_err(|error| error::disk(path, error))
}

/// Makes a new, empty file, in place of one that is there.
pub(super) fn create_file(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn File>, Error> {
    let at = |error| error::disk(path, error);
    if disk.exists(path).map_err(at)? {
        disk.remove(path).map_err(at)?;
    }
    Ok(Arc::from(disk.create(path).map_err(at)?))
}

/// Makes an empty database of an empty file.
pub(super) fn create_database(
    file: Arc<dyn File>,
    path: &Path,
    site: SyncSite,
    cache_bytes: usize,
    pace: Arc<Pace>,
) -> Result<Database, Error> {
    let backend = Backend { file, site, pace, unsynced: Arc::default() };
    guarded(path, || Ok(Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?))
}

/// What is done before a file is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// redb's checksum of every page is verified, and the record of free pages made anew from the tables: redb trusts
    /// it as it is, and commits with a wrong one panic or overwrite live pages.
    EveryPage,
    /// Only what recovery needs. For a file that this process wrote: one whose disk is full, where the full check takes
    /// time and space, or one that was just built.
    Nothing,
}

fn open_database(
    file: &Arc<dyn File>,
    path: &Path,
    cache_bytes: usize,
    check: Check,
    (pace, unsynced): (&Arc<Pace>, &Arc<Unsynced>),
) -> Result<Database, Error> {
    refuse_empty(file, path)?;
    guarded(path, || {
        let (pace, unsynced) = (Arc::clone(pace), Arc::clone(unsynced));
        let backend = Backend { file: Arc::clone(file), site: SyncSite::Checkpoint, pace, unsynced };
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes).set_check_integrity_on_open(check == Check::EveryPage);
        let database = builder.create_with_backend(backend).map_err(unopened)?;
        meta::check_format(&database.begin_read()?)?;
        Ok(database)
    })
}

/// redb would make a new database of an empty file.
fn refuse_empty(file: &Arc<dyn File>, path: &Path) -> Result<(), Error> {
    if file.is_empty().map_err(|error| error::disk(path, error))? {
        return Err(Error::Foreign { file: path.to_path_buf(), why: "it is empty".to_owned() });
    }
    Ok(())
}

fn unopened(error: redb::DatabaseError) -> Fault {
    match error {
        // So redb tells that the first bytes are not its own.
        redb::DatabaseError::Storage(redb::StorageError::Io(error))
            if error.kind() == std::io::ErrorKind::InvalidData =>
        {
            Fault::Foreign(format!("it does not begin as one, at byte 0: {error}"))
        }
        error @ redb::DatabaseError::UpgradeRequired(_) => {
            Fault::Foreign(format!("its head, at byte 0, is of another version of redb: {error}"))
        }
        error => error.into(),
    }
}

/// Runs `write` in one durable transaction.
pub(super) fn transact(
    database: &Database,
    write: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    // Keeps the allocator's state in the commit, so that a start after a crash need not walk the whole file.
    transaction.set_quick_repair(true);
    write(&transaction)?;
    error::note_table(None);
    Ok(transaction.commit()?)
}

/// Runs `write` in a transaction of a file that is being built, which only the last one makes whole: what a start after
/// a crash would need is not written.
pub(super) fn transact_part(
    database: &Database,
    write: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    write(&transaction)?;
    error::note_table(None);
    Ok(transaction.commit()?)
}

/// Writes what makes a file whole: the tables that every format has, the meta, and the format number.
pub(super) fn finish(transaction: &WriteTransaction, meta: &Meta, sums: &Sums) -> Result<(), Fault> {
    transaction.open_table(RECORDS)?;
    transaction.open_table(Table::Leases.rows())?;
    transaction.open_table(Table::Members.rows())?;
    meta::write(transaction, meta, sums)?;
    meta::put_format(transaction, meta::format_for(sums))
}

/// Changes by table. A value of `None` removes; of several changes of a key the last one counts.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    pub(super) records: Vec<Change<RecordKey, &'a [u8]>>,
    pub(super) rows: Rows,
}

/// Changes of the small tables.
pub(super) type Rows = BTreeMap<Table, Vec<Change<IdKey, Vec<u8>>>>;

/// A key and its new payload.
pub(super) type Change<K, P> = (K, Option<P>);

impl<'a> Changes<'a> {
    fn of(writes: &'a [TableWrite]) -> Changes<'a> {
        let mut changes = Changes::default();
        for write in writes {
            let (table, id, payload) = match write {
                TableWrite::Record { at, record } => {
                    debug_assert!(at.main.0 >= 0, "revisions in the store are not negative");
                    changes.records.push((codec::record_key(*at), Some(record.as_bytes())));
                    continue;
                }
                TableWrite::RemoveRecord { at } => {
                    changes.records.push((codec::record_key(*at), None));
                    continue;
                }
                TableWrite::Lease(lease) => {
                    (Table::Leases, lease.id.0.cast_unsigned(), Some(codec::encode_lease(lease)))
                }
                TableWrite::RemoveLease { id } => (Table::Leases, id.0.cast_unsigned(), None),
                TableWrite::Member(member) => (Table::Members, member.id.0, Some(codec::encode_member(member))),
                TableWrite::RemoveMember(id) => (Table::Members, id.0, None),
                TableWrite::Removed(id) => (Table::Removed, id.0, Some(Vec::new())),
                TableWrite::Alarms { member, raised } => {
                    (Table::Alarms, member.0, (!raised.is_empty()).then(|| codec::encode_alarms(*raised)))
                }
                TableWrite::Downgrade(target) => {
                    (Table::Settings, SETTING_DOWNGRADE, target.map(codec::encode_version))
                }
                TableWrite::Auth { row, content } => (Table::Auth, *row, content.as_ref().map(codec::encode_auth)),
            };
            changes.rows.entry(table).or_default().push((id.to_be_bytes(), payload));
        }
        changes
    }
}

/// Applies changes to the tables and to their sums. Gives by how much that changes what the records need, in bytes.
pub(super) fn write_tables(
    transaction: &WriteTransaction,
    changes: Changes<'_>,
    sums: &mut Sums,
    pace: &Pace,
) -> Result<i64, Fault> {
    let records = &mut sums[Table::Records.index()];
    let growth = write_table(transaction, Table::Records, RECORDS, changes.records, records, pace)?;
    for (table, rows) in changes.rows {
        write_table(transaction, table, table.rows(), rows, &mut sums[table.index()], pace)?;
    }
    Ok(growth)
}

fn write_table<const N: usize, P: AsRef<[u8]>>(
    transaction: &WriteTransaction,
    table: Table,
    definition: TableDefinition<'_, &'static [u8; N], &'static [u8]>,
    mut changes: Vec<Change<[u8; N], P>>,
    sum: &mut TableSum,
    pace: &Pace,
) -> Result<i64, Fault> {
    if changes.is_empty() {
        return Ok(0);
    }
    let mut growth = 0;
    error::note_table(Some(table.name()));
    // Stable, so that changes of one key stay in order; in order already, nearly always. Then only the last of each
    // key is kept.
    changes.sort_by_key(|(key, _)| *key);
    changes.reverse();
    changes.dedup_by_key(|(key, _)| *key);
    changes.reverse();

    let mut open = transaction.open_table(definition)?;
    let last = open.last()?.map(|(key, _)| *key.value());
    let (within, beyond) = changes.split_at(changes.partition_point(|(key, _)| last.is_some_and(|last| *key <= last)));
    let mut sealed = Vec::new();
    let mut missed = Vec::new();

    for (key, payload) in within {
        pace.spend(cost(payload.as_ref()));
        let before = match payload {
            Some(payload) => {
                codec::seal(key, payload.as_ref(), &mut sealed);
                open.insert(key, sealed.as_slice())?
            }
            None => {
                let before = open.remove(key)?;
                if before.is_none() {
                    missed.push(*key);
                }
                before
            }
        };
        if let Some(before) = before {
            let before = codec::unseal(key, before.value()).map_err(|why| Fault::entry(table, key, why))?;
            sum.remove(table.number(), key, before);
            growth -= entry_bytes(before.len()).cast_signed();
        }
        if let Some(payload) = payload {
            sum.add(table.number(), key, payload.as_ref());
            growth += entry_bytes(payload.as_ref().len()).cast_signed();
        }
    }

    check_absent(&open, table, &missed)?;

    // What lies beyond the last key is appended through a cursor: redb then builds whole pages at once instead of
    // descending the tree for each entry. Removals there find nothing.
    let mut end = open.upper_bound_mut(Bound::<&[u8; N]>::Unbounded)?;
    for (key, payload) in beyond {
        pace.spend(cost(payload.as_ref()));
        if let Some(payload) = payload {
            codec::seal(key, payload.as_ref(), &mut sealed);
            end.insert_before(key, sealed.as_slice())?;
            sum.add(table.number(), key, payload.as_ref());
            growth += entry_bytes(payload.as_ref().len()).cast_signed();
        }
    }
    end.close()?;
    Ok(growth)
}

/// What a change costs, in bytes of work.
fn cost(payload: Option<&impl AsRef<[u8]>>) -> usize {
    payload.map_or(REMOVAL_COST_BYTES, |payload| CHANGE_COST_BYTES + payload.as_ref().len())
}

/// Checks that keys that were to be removed and not found are really not there.
///
/// A damaged inner page leads look-ups astray, while walking the table finds the entry still. The sum cannot tell: an
/// entry that was not removed was not taken out of it either, and would live on.
fn check_absent<const N: usize>(
    open: &impl ReadableTable<&'static [u8; N], &'static [u8]>,
    table: Table,
    missed: &[[u8; N]],
) -> Result<(), Fault> {
    if missed.is_empty() {
        return Ok(());
    }
    visit(open, table, None, |key, _| match missed.binary_search(key) {
        Ok(_) => Err(Fault::entry(table, key, Damage::Misplaced)),
        Err(_) => Ok(ControlFlow::Continue(())),
    })
}
