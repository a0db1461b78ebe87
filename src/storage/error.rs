//! What can go wrong with the checkpoint, and the boundary that every call of redb goes through.
//!
//! redb trusts what it reads: no page is checked, and a damaged one may make it panic. [`guarded`] is the one place
//! where that ends: a panic becomes [`Error::Corrupt`], and redb's many error types become [`Error`], which knows the
//! file. Inside the boundary functions answer [`Fault`], which does not.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{FORMAT, Identity, Table, TableSum};
use crate::env::{DAMAGE_REMEDY, lacks_space};
use crate::model::RecordError;

/// Why the checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no space for a write. What was committed before is whole, and the storage stays usable.
    #[error("no space is left to write {}: {source}", file.display())]
    Full {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused a read, a write or a sync. Never retry: stop.
    #[error("cannot use {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file does not hold what was written to it.
    #[error("{} is damaged{place}: {why}; {DAMAGE_REMEDY}",
        file.display(), place = place(*.table, .key.as_deref(), .near.as_deref()))]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The table, if known.
        table: Option<Table>,
        /// The key within it, if known, as a person would write it.
        key: Option<String>,
        /// If neither is known: in which table redb was, and where it read last.
        near: Option<String>,
        /// What is wrong.
        why: Damage,
    },
    /// The file was made by something else, or its making was cut short.
    #[error("{} is not a checkpoint of this store: {why}; if it was one, {DAMAGE_REMEDY}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file or stream has a format that this version does not know.
    #[error("{} was written by a newer version: it has format {found}, this version reads up to {FORMAT}; start a later version",
        file.display())]
    Newer {
        /// The file, or the one that a stream was to become.
        file: PathBuf,
        /// Its format number.
        found: u32,
    },
    /// The file belongs to another member or cluster.
    #[error("{} belongs to member {} of cluster {}, not to member {} of cluster {}",
        file.display(), found.member, found.cluster, given.member, given.cluster)]
    Identity {
        /// The file.
        file: PathBuf,
        /// Whom it belongs to.
        found: Identity,
        /// Whom it was to belong to.
        given: Identity,
    },
    /// An earlier error or a reopening closed the file under a read that was going on.
    #[error("{} is closed after an earlier error", file.display())]
    Closed {
        /// The file.
        file: PathBuf,
    },
    /// A snapshot stream ends early or is damaged. What was built from it so far cannot be opened.
    #[error("the snapshot stream for {} is damaged near byte {offset}: {why}; nothing was taken from it, it must be sent again",
        file.display())]
    Stream {
        /// The file that it was to become.
        file: PathBuf,
        /// How many bytes of it had been read.
        offset: u64,
        /// What is wrong.
        why: StreamDamage,
    },
    /// The writer of a snapshot stream failed.
    #[error("cannot pass on the snapshot stream: {0}")]
    Pipe(#[source] io::Error),
    /// redb refused a call for a reason that ours never give it.
    #[error("cannot use {}: {source}", file.display())]
    Engine {
        /// The file.
        file: PathBuf,
        /// What redb said.
        #[source]
        source: Box<redb::Error>,
    },
}

/// What is wrong with a damaged file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// An entry does not have the checksum that stands before it.
    #[error("its checksum does not match")]
    Checksum,
    /// An entry is shorter than a checksum, or a field ends within itself.
    #[error("it is cut short")]
    Short,
    /// An entry has the right checksum and yet makes no sense.
    #[error("it cannot be decoded: {0}")]
    Undecodable(&'static str),
    /// An entry does not come after the one before it, or a look-up does not lead to it.
    #[error("it stands in the wrong place")]
    Misplaced,
    /// The entries of a table are not those that were written.
    #[error(
        "entries were lost, revived or changed: {} entries with hash {:032x} were written, {} with {:032x} are there",
        written.count, written.hash, found.count, found.hash
    )]
    Sum {
        /// The sum kept beside the table.
        written: Box<TableSum>,
        /// The sum over what is there.
        found: Box<TableSum>,
    },
    /// A value of the `meta` table is not there.
    #[error("it is not there")]
    Missing,
    /// The file ends before a page that belongs to it.
    #[error("the file is too short")]
    FileShort,
    /// redb found it itself.
    #[error("{0}")]
    Engine(String),
    /// redb panicked over it.
    #[error("reading it failed badly: {0}")]
    Panic(String),
}

/// What is wrong with a snapshot stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamDamage {
    /// The first bytes are others.
    #[error("it does not begin as a snapshot does")]
    Magic,
    /// It ends before its footer.
    #[error("it ends too early")]
    Truncated,
    /// A chunk does not have the checksum that follows it.
    #[error("the checksum of a chunk does not match")]
    Checksum,
    /// A chunk has the right checksum and yet makes no sense.
    #[error("{0}")]
    Malformed(&'static str),
    /// The entries are not those that were sent.
    #[error("table {table} should have {} entries with hash {:032x}, {} with {:032x} came",
        sent.count, sent.hash, came.count, came.hash)]
    Sum {
        /// The table.
        table: Table,
        /// The sum in the footer.
        sent: Box<TableSum>,
        /// The sum over what came.
        came: Box<TableSum>,
    },
}

/// An error inside the boundary: all of [`Error`] but the file.
#[derive(Debug)]
pub(super) enum Fault {
    Engine(Box<redb::Error>),
    Corrupt { table: Option<Table>, key: Option<String>, why: Damage },
    Foreign(String),
    Newer(u32),
    Stream { offset: u64, why: StreamDamage },
}

impl Fault {
    /// Damage of one entry of a table.
    pub(super) fn entry(table: Table, key: &[u8], why: Damage) -> Fault {
        Fault::Corrupt { table: Some(table), key: Some(table.name_key(key)), why }
    }

    /// Damage of one value of the `meta` table.
    pub(super) fn meta(key: &str, why: Damage) -> Fault {
        Fault::Corrupt { table: None, key: Some(format!("meta/{key}")), why }
    }

    /// The database was closed by an earlier error.
    pub(super) fn closed() -> Fault {
        Fault::Engine(Box::new(redb::Error::DatabaseClosed))
    }

    fn at(self, file: &Path) -> Error {
        let file = file.to_path_buf();
        match self {
            Fault::Engine(error) => engine(*error, file),
            Fault::Corrupt { table, key, why } => {
                let near = if table.is_none() && key.is_none() { near() } else { None };
                Error::Corrupt { file, table, key, near, why }
            }
            Fault::Foreign(why) => Error::Foreign { file, why },
            Fault::Newer(found) => Error::Newer { file, found },
            Fault::Stream { offset, why } => Error::Stream { file, offset, why },
        }
    }
}

macro_rules! from_engine {
    ($($kind:ident),*) => {
        $(impl From<redb::$kind> for Fault {
            fn from(error: redb::$kind) -> Fault {
                Fault::Engine(Box::new(error.into()))
            }
        })*
    };
}

from_engine!(StorageError, TableError, TransactionError, CommitError, DatabaseError, CursorError, SetDurabilityError);

impl From<RecordError> for Damage {
    fn from(error: RecordError) -> Damage {
        Damage::Undecodable(error.0)
    }
}

thread_local! {
    /// Where the call that goes on is, on this thread: the table, and the byte that it read last. redb does not tell where
    /// it finds damage, but it looks at a page when it has read it.
    static WHERE: Cell<(Option<&'static str>, Option<u64>)> = const { Cell::new((None, None)) };
}

/// The call that goes on has to do with a table from here on, or with none.
pub(super) fn note_table(table: Option<&'static str>) {
    WHERE.set((table, WHERE.get().1));
}

/// The call that goes on reads there.
pub(super) fn note_read(offset: u64) {
    WHERE.set((WHERE.get().0, Some(offset)));
}

/// Where the call that goes on is, in words.
fn near() -> Option<String> {
    match WHERE.get() {
        (Some(table), Some(byte)) => Some(format!("in table {table} near byte {byte}")),
        // The page was in memory.
        (Some(table), None) => Some(format!("in table {table}")),
        (None, Some(byte)) => Some(format!("near byte {byte}")),
        (None, None) => None,
    }
}

/// Runs `call` with a floor under it: a panic and every error come out as an [`Error`] about `file`.
///
/// Nothing that a panic could leave half-changed is used afterwards: transactions are dropped, and redb refuses to go
/// on by itself.
pub(super) fn guarded<R>(file: &Path, call: impl FnOnce() -> Result<R, Fault>) -> Result<R, Error> {
    WHERE.set((None, None));
    let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let why = Damage::Panic(panic_message(panic.as_ref()));
        Err(Fault::Corrupt { table: None, key: None, why })
    });
    result.map_err(|fault| fault.at(file))
}

/// An error of [`crate::env`] about `file`.
pub(super) fn disk(file: &Path, source: io::Error) -> Error {
    let file = file.to_path_buf();
    if lacks_space(&source) { Error::Full { file, source } } else { Error::Io { file, source } }
}

fn engine(error: redb::Error, file: PathBuf) -> Error {
    let corrupt = |why| Error::Corrupt { file: file.clone(), table: None, key: None, near: near(), why };
    match error {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => corrupt(Damage::FileShort),
        redb::Error::Io(source) => disk(&file, source),
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => Error::Closed { file },
        redb::Error::Corrupted(why) => corrupt(Damage::Engine(why)),
        // A lock is poisoned by a panic, which only damage causes; the same holds for a poisoned transaction. The
        // tables were made with the file, so a missing or different one was lost.
        error @ (redb::Error::LockPoisoned(_)
        | redb::Error::TransactionPoisoned
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }) => corrupt(Damage::Engine(error.to_string())),
        error => Error::Engine { file, source: Box::new(error) },
    }
}

fn place(table: Option<Table>, key: Option<&str>, near: Option<&str>) -> String {
    match (table, key) {
        (Some(table), Some(key)) => format!(" at {table}/{key}"),
        (Some(table), None) => format!(" in table {table}"),
        (None, Some(key)) => format!(" at {key}"),
        (None, None) => near.map_or_else(String::new, |near| format!(" {near}")),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
