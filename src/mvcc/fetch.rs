//! What a read has found, made records: those that memory lacks come from storage.

use std::ops::ControlFlow;
use std::vec;

use super::select::Found;
use super::store::ReadError;
use crate::model::{Record, SubRevision};
use crate::storage::Storage;

/// Bytes of records that are read from storage at a time, more or less.
const STORED_BYTES: usize = 1024 * 1024;

/// Adds the records of what was selected to `records`, in order; tells how many of them memory did not have.
pub(super) fn fetch(found: Vec<Found>, storage: &Storage, records: &mut Vec<Record>) -> Result<usize, ReadError> {
    let stored = found.iter().filter_map(Found::stored).count();
    let _ = for_each(found, storage, |record| {
        records.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(stored)
}

/// Hands the records of what was selected to `take`, in order, until it has enough. Of those that memory lacks not many
/// are held at a time.
pub(super) fn for_each(
    found: Vec<Found>,
    storage: &Storage,
    mut take: impl FnMut(Record) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let places: Vec<SubRevision> = found.iter().filter_map(Found::stored).collect();
    let mut stored = Stored::new(storage, &places);
    for found in found {
        let record = match found {
            Found::Here(record) => record,
            Found::Stored { at, .. } => stored.next(at)?,
        };
        if take(record).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Records that memory lacks, read a few at a time: however large they are, not many are held.
pub(super) struct Stored<'a> {
    storage: &'a Storage,
    /// Those that were not read.
    places: &'a [SubRevision],
    /// Those that were read and not taken.
    read: vec::IntoIter<Option<Record>>,
}

impl<'a> Stored<'a> {
    pub(super) fn new(storage: &'a Storage, places: &'a [SubRevision]) -> Stored<'a> {
        Stored { storage, places, read: Vec::new().into_iter() }
    }

    /// The record at the next place, which is `at`.
    pub(super) fn next(&mut self, at: SubRevision) -> Result<Record, ReadError> {
        if self.read.len() == 0 {
            let read = self.storage.records_within(self.places, STORED_BYTES)?;
            self.places = &self.places[read.len()..];
            self.read = read.into_iter();
        }
        Ok(self.read.next().flatten().ok_or_else(|| self.storage.missing(at))?)
    }
}
