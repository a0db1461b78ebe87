//! How large the file would be if it were written anew.
//!
//! redb tells how many of its pages are free only after a walk over all the others. So what the records need is counted
//! instead: when they are loaded or received, and then by each commit that succeeds. An entry counts as its share of a
//! page that holds only such as itself:
//!
//! ```text
//! payload of 300 bytes: 12 to a page of 4096, so 341 bytes      payload of 5000 bytes: a page of 8192 for itself
//! ```
//!
//! Other tables are small and do not count.

use std::sync::atomic::{AtomicU64, Ordering};

/// redb's page; larger ones are twice, four times … as large.
const PAGE_BYTES: u64 = 4096;
/// What a leaf page has beside its entries.
const LEAF_BYTES: u64 = 4;
/// What an entry takes beside its payload: key, checksum, and where it ends.
const ENTRY_BYTES: u64 = 20;
/// For one leaf there is an entry of a branch, less than a hundredth as large.
const BRANCH_SHARE: u64 = 64;
/// What an empty file has in use.
const EMPTY_BYTES: u64 = 64 << 10;

/// What the records need, in bytes.
#[derive(Debug, Default)]
pub(super) struct Room(AtomicU64);

// Relaxed everywhere: the value orders nothing but itself.
impl Room {
    /// All records were seen.
    pub(super) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// A commit has succeeded that changes it by so much.
    pub(super) fn change(&self, bytes: i64) {
        self.0.fetch_add(bytes.cast_unsigned(), Ordering::Relaxed);
    }

    /// What the records take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.0.load(Ordering::Relaxed);
        // Below zero if nobody has counted what was there at first.
        if bytes > i64::MAX.cast_unsigned() { 0 } else { bytes }
    }

    /// About the size of a file with nothing but these records.
    pub(super) fn file_bytes(&self) -> u64 {
        let bytes = self.bytes();
        EMPTY_BYTES + bytes + bytes / BRANCH_SHARE
    }
}

/// What a record with a payload of so many bytes takes in the file.
#[must_use]
pub fn entry_bytes(payload: usize) -> u64 {
    let bytes = payload as u64 + ENTRY_BYTES;
    match (PAGE_BYTES - LEAF_BYTES) / bytes {
        0 => ((bytes + LEAF_BYTES).div_ceil(PAGE_BYTES)).next_power_of_two() * PAGE_BYTES,
        to_a_page => PAGE_BYTES / to_a_page,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::PAGE_BYTES;
    use crate::model::{KeyValue, LeaseId, Record};
    use crate::storage::testing::*;
    use crate::storage::{Haste, Import, Rewrite, Storage, TableWrite};

    fn puts(mains: std::ops::RangeInclusive<i64>, value: usize) -> Vec<TableWrite> {
        let record = |main| {
            let (at, value) = (at(main, 0), vec![7; value]);
            let pair = KeyValue {
                key: b"key",
                value: &value,
                create_revision: at.main,
                mod_revision: at.main,
                version: 1,
                lease: LeaseId(0),
            };
            TableWrite::Record { at, record: Record::new(&pair) }
        };
        mains.map(record).collect()
    }

    fn filled_with(disk: &Arc<MemoryDisk>, records: i64, value: usize) -> Arc<Storage> {
        let storage = Arc::new(open(disk).unwrap());
        storage.commit(&puts(2..=records + 1, value), &meta(records + 1)).unwrap();
        storage
    }

    /// What a rewritten file takes, without what was never written.
    fn rewritten(disk: &Arc<MemoryDisk>, storage: &Arc<Storage>) -> u64 {
        let mut rewrite = Rewrite::begin(storage.clone(), disk.clone(), Haste::Gentle).unwrap();
        while rewrite.step().unwrap() {}
        rewrite.finish().unwrap();
        let pages = disk.live(PATH);
        let pages = pages.chunks(PAGE_BYTES as usize).filter(|page| page.iter().any(|byte| *byte != 0));
        pages.count() as u64 * PAGE_BYTES
    }

    #[test]
    fn it_is_about_what_a_rewritten_file_takes() {
        for (records, value) in
            [(40_000, 0), (20_000, 300), (4_000, 1_400), (3_000, 2_200), (1_500, 5_000), (100, 200_000)]
        {
            let disk = MemoryDisk::new();
            let storage = filled_with(&disk, records, value);
            let (needed, taken) = (storage.needed_bytes(), rewritten(&disk, &storage));
            assert!(needed * 2 > taken && needed * 10 < taken * 13, "values of {value}: {needed}, {taken}");
        }
    }

    #[test]
    fn it_is_the_same_however_the_records_came() {
        let disk = MemoryDisk::new();
        let storage = filled_with(&disk, 1000, 300);
        let whole = storage.needed_bytes();
        let removals = (2..=800).map(|main| TableWrite::RemoveRecord { at: at(main, 0) }).collect::<Vec<_>>();
        storage.commit(&removals, &meta(1001)).unwrap();
        let rest = storage.needed_bytes();
        assert!(rest * 2 < whole, "{rest} of {whole}");
        storage.commit(&puts(900..=910, 300), &meta(1001)).unwrap();
        assert_eq!(storage.needed_bytes(), rest, "the same in the place of the same");

        let reopened = open(&disk).unwrap();
        reopened.load_records::<Vec<_>>(3, Vec::with_capacity).unwrap();
        assert_eq!(reopened.needed_bytes(), rest);

        let (other, mut stream) = (MemoryDisk::new(), Vec::new());
        storage.freeze().unwrap().export(&mut stream).unwrap();
        let imported = Import::of_pieces(other.clone(), Path::new(PATH), [stream.as_slice()]).unwrap();
        let received = Storage::open_built(&*other, Path::new(PATH), CACHE_BYTES).unwrap();
        received.count(imported.records.as_ref().unwrap());
        assert_eq!(received.needed_bytes(), rest);
    }

    #[test]
    fn a_commit_that_fails_does_not_count() {
        let disk = MemoryDisk::new();
        let storage = filled_with(&disk, 100, 300);
        let before = storage.needed_bytes();
        disk.fail(0, u64::MAX, std::io::ErrorKind::StorageFull);
        storage.commit(&puts(200..=10_000, 300), &meta(10_000)).unwrap_err();
        assert_eq!(storage.needed_bytes(), before);
    }
}
