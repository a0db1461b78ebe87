//! The newest part of the history: records that no checkpoint holds yet.

use std::collections::VecDeque;

use crate::model::{Record, Revision, SubRevision};

/// Records in order of their place. They share their bytes with the index.
#[derive(Debug, Default)]
pub(super) struct Tail {
    records: VecDeque<(SubRevision, Record)>,
    bytes: usize,
}

/// What a record in the tail is counted as beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 48;

impl Tail {
    pub(super) fn push(&mut self, at: SubRevision, record: Record) {
        debug_assert!(self.records.back().is_none_or(|(last, _)| *last < at), "records come in order");
        self.bytes += record.as_bytes().len() + RECORD_OVERHEAD_BYTES;
        self.records.push_back((at, record));
    }

    pub(super) fn get(&self, at: SubRevision) -> Option<&Record> {
        let i = self.records.binary_search_by_key(&at, |(place, _)| *place).ok()?;
        Some(&self.records[i].1)
    }

    /// The records of revisions `from..=through` in order: whole revisions, at most `revisions_max` of them and about
    /// `bytes_max` bytes, but at least one if there is any.
    pub(super) fn take(
        &self,
        from: Revision,
        through: Revision,
        revisions_max: usize,
        bytes_max: usize,
    ) -> Vec<(SubRevision, Record)> {
        let start = self.records.partition_point(|(place, _)| place.main < from);
        let mut taken: Vec<(SubRevision, Record)> = Vec::new();
        let (mut revisions, mut bytes) = (0, 0);
        for (at, record) in self.records.range(start..).take_while(|(at, _)| at.main <= through) {
            if taken.last().is_none_or(|(last, _)| last.main != at.main) {
                if revisions > 0 && (revisions >= revisions_max || bytes >= bytes_max) {
                    break;
                }
                revisions += 1;
            }
            bytes += record.as_bytes().len();
            taken.push((*at, record.clone()));
        }
        taken
    }

    /// The first revision in the tail.
    pub(super) fn start(&self) -> Option<Revision> {
        self.records.front().map(|(place, _)| place.main)
    }

    /// Lets go of the records at and below `through`.
    pub(super) fn release(&mut self, through: Revision) {
        while let Some((_, record)) = self.records.pop_front_if(|(place, _)| place.main <= through) {
            self.bytes -= record.as_bytes().len() + RECORD_OVERHEAD_BYTES;
        }
        if self.records.is_empty() {
            self.records.shrink_to(1024);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
