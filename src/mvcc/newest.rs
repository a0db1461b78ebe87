//! The newest pair of a key that lives: whole, or without its value.
//!
//! Values may fall out of memory once a checkpoint has them (see `evict`); everything else that a pair says stays in the
//! index. So most of what is asked of a pair, whether it is there, how old it is, which lease it has, never needs the
//! disk.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::{KeyValue, LeaseId, Record, Revision, SubRevision};
use crate::storage::{self, Storage};

/// The newest pair of a key, as the index keeps it.
#[derive(Debug)]
pub(super) enum Kept {
    /// All of it.
    Whole {
        record: Record,
        /// It was read since the hand of the clock last came by.
        is_used: AtomicBool,
    },
    /// All but the value, which is in storage.
    Bare {
        /// The record, as if its value were empty.
        rest: Record,
        /// The bytes of the whole record.
        len: u32,
    },
}

impl Kept {
    pub(super) fn whole(record: Record) -> Kept {
        Kept::Whole { record, is_used: AtomicBool::new(false) }
    }

    pub(super) fn bare(record: &Record) -> Kept {
        // A request, and so a record, is smaller than 4 GiB.
        Kept::Bare { rest: record.without_value(), len: record.as_bytes().len() as u32 }
    }

    /// Notes that somebody read it.
    pub(super) fn touch(&self) {
        if let Kept::Whole { is_used, .. } = self
            // Reading first: most are noted already, and readers should not take each other's cache lines.
            && !is_used.load(Ordering::Relaxed)
        {
            is_used.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn head(&self) -> Head<'_> {
        match self {
            Kept::Whole { record, .. } | Kept::Bare { rest: record, .. } => Head::of(record),
        }
    }

    /// The bytes of the whole record.
    pub(super) fn len(&self) -> usize {
        match self {
            Kept::Whole { record, .. } => record.as_bytes().len(),
            Kept::Bare { len, .. } => *len as usize,
        }
    }

    /// The whole record, if it is here.
    pub(super) fn here(&self) -> Option<&Record> {
        match self {
            Kept::Whole { record, .. } => Some(record),
            Kept::Bare { .. } => None,
        }
    }
}

/// The newest pair of a key that lives.
#[derive(Debug, Clone)]
pub struct Newest {
    at: SubRevision,
    /// Whole, or as if its value were empty.
    record: Record,
    is_whole: bool,
    /// The bytes of the whole record.
    len: usize,
}

/// A pair but for its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The revision that created the key's present incarnation.
    pub create_revision: Revision,
    /// The revision of the write.
    pub mod_revision: Revision,
    /// How often the key was written since it was created, first is 1.
    pub version: i64,
    /// The lease that the key is attached to.
    pub lease: LeaseId,
}

impl Head<'_> {
    fn of(record: &Record) -> Head<'_> {
        let KeyValue { key, value: _, create_revision, mod_revision, version, lease } = record.pair();
        Head { key, create_revision, mod_revision, version, lease }
    }
}

impl Newest {
    pub(super) fn new(at: SubRevision, kept: &Kept) -> Newest {
        match kept {
            Kept::Whole { record, .. } => Newest::whole(at, record.clone()),
            Kept::Bare { rest, len } => Newest::bare(at, rest.clone(), *len),
        }
    }

    pub(super) fn of(at: SubRevision, kept: Kept) -> Newest {
        match kept {
            Kept::Whole { record, .. } => Newest::whole(at, record),
            Kept::Bare { rest, len } => Newest::bare(at, rest, len),
        }
    }

    fn whole(at: SubRevision, record: Record) -> Newest {
        Newest { at, len: record.as_bytes().len(), record, is_whole: true }
    }

    fn bare(at: SubRevision, rest: Record, len: u32) -> Newest {
        Newest { at, len: len as usize, record: rest, is_whole: false }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The pair but for its value.
    #[must_use]
    pub fn head(&self) -> Head<'_> {
        Head::of(&self.record)
    }

    /// The whole pair, if memory has it.
    #[must_use]
    pub fn here(&self) -> Option<&Record> {
        self.is_whole.then_some(&self.record)
    }

    /// The whole pair. `storage` is the one beside the store that this is of, and nothing was written since.
    ///
    /// # Errors
    /// If storage had to be asked and could not be read.
    pub fn read(&self, storage: &Storage) -> Result<Record, storage::Error> {
        if self.is_whole {
            return Ok(self.record.clone());
        }
        storage.record(self.at)?.ok_or_else(|| storage.missing(self.at))
    }
}
