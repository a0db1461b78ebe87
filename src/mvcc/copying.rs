//! The key space as of one moment, to be walked as often as is needed while everything goes on.
//!
//! What is copied is what a compaction of the compacted revision leaves, whether this member has freed the rest already or
//! not: so it is the same each time, and on each member. In the order of changes, a chunk at a time; a pin keeps all of it.

use super::changes::{Limits, history};
use super::pins::Pin;
use super::store::{ReadError, Source, Store};
use crate::model::{Record, Revision, SubRevision};
use crate::storage::Storage;

/// What one look takes at most: bounds memory, and how long apply waits for it.
const CHUNK: Limits = Limits { revisions: 1000, bytes: 256 * 1024 };

/// Keys that are looked up at a time.
const LOOKED_UP_MAX: usize = 100;

/// The key space as of one moment. Nothing of it is freed as long as this lives.
#[derive(Debug)]
pub struct Copying {
    at: Revision,
    compacted: Revision,
    pin: Pin,
}

impl Store {
    /// Begins to copy the key space as it is now.
    #[must_use]
    pub fn begin_copy(&self) -> Copying {
        let (at, compacted) = (self.revision(), self.compacted());
        // Held at the compacted revision, not at `at`: the changes in between are copied too.
        Copying { at, compacted, pin: self.pin(compacted) }
    }

    /// Whether a compaction of `floor` leaves the change at `place` of a key, which is not above it.
    pub(super) fn leaves(&self, key: &[u8], place: SubRevision, floor: Revision) -> bool {
        self.index.get(key).is_some_and(|history| history.leaves(place, floor))
    }
}

impl Copying {
    /// The newest revision of it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.at
    }

    /// The compacted revision of it.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Gives every change in order.
    ///
    /// # Errors
    /// What `each` says; [`ReadError::Storage`]; [`ReadError::Compacted`] if the store was replaced by that of another member
    /// meanwhile, which holds no pins of this one.
    pub fn walk<E: From<ReadError>>(
        &self,
        source: &impl Source,
        storage: &Storage,
        each: &mut dyn FnMut(SubRevision, &Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let Copying { at, compacted, ref pin } = *self;
        let check = |store: &Store| match store.has_pinned(pin) {
            true => Ok(()),
            false => Err(ReadError::Compacted { requested: at, compacted: store.compacted() }),
        };
        let mut from = Revision::FRESH;
        while from <= at {
            let changes = history(source, storage, from, at, CHUNK, check)?;
            let Some((last, _)) = changes.last() else { break };
            from = last.main.next();
            // Whoever applies waits for a look: none is taken for changes that are surely left.
            let (old, new) = changes.split_at(changes.partition_point(|(place, _)| place.main <= compacted));
            for old in old.chunks(LOOKED_UP_MAX) {
                let left = source.with(|store| {
                    check(store)?;
                    let leaves =
                        |(place, record): &(SubRevision, Record)| store.leaves(record.key(), *place, compacted);
                    Ok::<_, ReadError>(old.iter().map(leaves).collect::<Vec<_>>())
                })?;
                for ((place, record), _) in old.iter().zip(left).filter(|(_, is_left)| *is_left) {
                    each(*place, record)?;
                }
            }
            new.iter().try_for_each(|(place, record)| each(*place, record))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyRange, LeaseId};
    use crate::mvcc::testing::empty_storage;
    use crate::storage::{Meta, TableWrite};

    fn copied(copying: &Copying, store: &Store, storage: &Storage) -> Vec<(i64, Vec<u8>)> {
        let mut copied = Vec::new();
        let walked = copying.walk::<ReadError>(store, storage, &mut |at, record| {
            copied.push((at.main.0, record.as_bytes().to_vec()));
            Ok(())
        });
        walked.unwrap();
        copied
    }

    #[test]
    fn a_copy_stays_the_same_while_the_store_is_compacted_and_written() {
        let (mut store, storage, mut pending) = (Store::new(), empty_storage(), Vec::new());
        let put = |store: &mut Store, pending: &mut Vec<TableWrite>, key: &str| {
            let mut write = store.begin();
            write.put(key.as_bytes(), b"value", LeaseId::NONE);
            write.finish(&mut Vec::new(), pending);
        };
        for key in ["a", "b", "a", "c", "a"] {
            put(&mut store, &mut pending, key);
        }
        let mut write = store.begin();
        write.delete_range(&KeyRange::single("c".into()));
        write.finish(&mut Vec::new(), &mut pending);
        // Revisions 2 to 7; the delete is 7.
        store.compact(Revision(5)).unwrap();
        let copying = store.begin_copy();
        let first = copied(&copying, &store, &storage);
        // Of `a` at 2 and 4 the newer one; `b` at 3; `c` at 5; `a` at 6; the delete.
        assert_eq!(first.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);

        put(&mut store, &mut pending, "b");
        store.compact(Revision(8)).unwrap();
        for _ in 0..10 {
            let removed = store.compact_step(1).into_iter().flatten();
            pending.extend(removed.map(|at| TableWrite::RemoveRecord { at }));
            let meta = Meta { revision: store.revision(), compacted: store.compacted(), ..Meta::default() };
            storage.commit(&pending, &meta).unwrap();
            pending.clear();
            store.release_tail(store.revision());
            assert_eq!(copied(&copying, &store, &storage), first);
        }
        drop(copying);
        while store.compact_step(1).is_some() {}
        assert_eq!(copied(&store.begin_copy(), &store, &storage).len(), 2);
    }

    #[test]
    fn a_store_that_was_replaced_ends_the_copy() {
        let (store, storage) = (Store::new(), empty_storage());
        let copying = store.begin_copy();
        let mut other = Store::new();
        let mut write = other.begin();
        write.put(b"k", b"v", LeaseId::NONE);
        write.finish(&mut Vec::new(), &mut Vec::new());
        let walked = copying.walk::<ReadError>(&other, &storage, &mut |_, _| Ok(()));
        assert!(matches!(walked, Err(ReadError::Compacted { .. })));
    }
}
