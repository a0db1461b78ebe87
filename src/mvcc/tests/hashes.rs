//! Hashes of the key space, and of compactions; the numbers are what etcd 3.7.1 answers.

use crate::model::{KeyRange, LeaseId, Revision};
use crate::mvcc::testing::empty_storage;
use crate::mvcc::{HashStart, Store};
use crate::storage::{Meta, Storage, TableWrite};

struct Kv {
    store: Store,
    storage: Storage,
    pending: Vec<TableWrite>,
}

impl Kv {
    fn new() -> Kv {
        Kv { store: Store::new(), storage: empty_storage(), pending: Vec::new() }
    }

    fn put(&mut self, key: &str, value: &str) {
        let mut write = self.store.begin();
        write.put(key.as_bytes(), value.as_bytes(), LeaseId::NONE);
        write.finish(&mut Vec::new(), &mut self.pending);
    }

    fn delete(&mut self, key: &'static str) {
        let mut write = self.store.begin();
        write.delete_range(&KeyRange::single(key.into()));
        write.finish(&mut Vec::new(), &mut self.pending);
    }

    /// Frees what is compacted, as far as `keys` keys.
    fn sweep(&mut self, keys: usize) {
        let removed = self.store.compact_step(keys).into_iter().flatten();
        self.pending.extend(removed.map(|at| TableWrite::RemoveRecord { at }));
    }

    fn checkpoint(&mut self) {
        let meta = Meta { revision: self.store.revision(), compacted: self.store.compacted(), ..Meta::default() };
        self.storage.commit(&self.pending, &meta).unwrap();
        self.pending.clear();
        self.store.release_tail(self.store.revision());
    }

    fn hash(&self, at: i64) -> (u32, i64) {
        let found = match self.store.begin_hash(Revision(at)).unwrap() {
            HashStart::Known(hash) => hash,
            HashStart::Take(hashing) => hashing.run(&self.store, &self.storage).unwrap(),
        };
        assert_eq!(found.at.0, if at == 0 { self.store.revision().0 } else { at });
        assert_eq!(found.revision, self.store.revision());
        (found.hash, found.compacted.0)
    }

    fn refusal(&self, at: i64) -> String {
        self.store.begin_hash(Revision(at)).unwrap_err().to_string()
    }
}

/// What etcd 3.7.1 answers at each step, wherever the records are here and whatever of them is freed.
fn check_against_etcd(mut after_each: impl FnMut(&mut Kv)) {
    let mut kv = Kv::new();
    assert_eq!((kv.hash(0), kv.hash(-1)), ((1_084_519_789, -1), (1_084_519_789, -1)));
    kv.put("a", "1");
    kv.put("b", "2");
    kv.put("a", "3");
    kv.delete("b");
    kv.put("c", "4");
    after_each(&mut kv);
    let hashes: Vec<u32> = (1..=6).map(|at| kv.hash(at).0).collect();
    assert_eq!(hashes, [1_084_519_789, 2_587_454_935, 1_827_592_406, 2_069_675_932, 1_125_682_900, 2_750_537_463]);
    assert!(kv.refusal(7).contains("future revision"));

    kv.store.compact(Revision(5)).unwrap();
    assert_eq!(kv.hash(0), (168_415_639, 5));
    after_each(&mut kv);
    assert_eq!(kv.hash(6), (168_415_639, 5));
    assert!(kv.refusal(4).contains("compacted"));

    kv.put("a", "9");
    kv.delete("c");
    kv.put("e", "1");
    after_each(&mut kv);
    let hashes = [7, 8, 9].map(|at| kv.hash(at));
    assert_eq!(hashes, [(248_874_205, 5), (771_122_557, 5), (2_931_403_547, 5)]);

    kv.store.compact(Revision(8)).unwrap();
    after_each(&mut kv);
    assert_eq!(kv.hash(9), (1_588_389_886, 8));
}

#[test]
fn hashes_are_those_of_etcd_wherever_the_records_are() {
    check_against_etcd(|_| {});
    check_against_etcd(|kv| kv.sweep(usize::MAX));
    check_against_etcd(|kv| kv.sweep(1));
    check_against_etcd(Kv::checkpoint);
    check_against_etcd(|kv| {
        kv.sweep(2);
        kv.checkpoint();
        kv.sweep(1);
    });
}

#[test]
fn nothing_that_a_hash_needs_is_freed_while_it_is_taken() {
    let mut kv = Kv::new();
    for value in 0..5 {
        kv.put("k", &value.to_string());
    }
    kv.store.compact(Revision(3)).unwrap();
    let expected = kv.hash(6);
    let hashing = kv.store.begin_fresh_hash(Revision(6)).unwrap();
    kv.store.compact(Revision(6)).unwrap();
    kv.sweep(usize::MAX);
    kv.checkpoint();
    assert!(!kv.store.is_compaction_done());
    let found = hashing.run(&kv.store, &kv.storage).unwrap();
    assert_eq!((found.hash, found.compacted.0), expected);
    kv.sweep(usize::MAX);
    assert!(kv.store.is_compaction_done());
}

#[test]
fn a_long_history_takes_several_chunks() {
    let mut kv = Kv::new();
    for n in 0..2500 {
        kv.put(&format!("k{}", n % 7), &n.to_string());
    }
    let in_memory = kv.hash(0);
    kv.checkpoint();
    for n in 0..10 {
        kv.put("more", &n.to_string());
    }
    assert_eq!(kv.hash(2501), in_memory);
    assert_ne!(kv.hash(0), in_memory);
}

impl Kv {
    fn put_many(&mut self, pairs: &[(&str, &str)]) {
        pairs.iter().for_each(|(key, value)| self.put(key, value));
    }

    fn delete_all(&mut self) {
        let mut write = self.store.begin();
        write.delete_range(&KeyRange::prefix("".into()));
        write.finish(&mut Vec::new(), &mut self.pending);
    }

    /// A whole compaction, as the compactor does it.
    fn compact(&mut self, at: i64) {
        self.store.compact(Revision(at)).unwrap();
        self.hash_compaction();
        self.sweep(usize::MAX);
    }

    fn hash_compaction(&mut self) {
        if let Some(mut hashing) = self.store.begin_compaction_hash() {
            while hashing.step(&self.store, &self.storage).unwrap().is_some() {}
            self.store.finish_compaction_hash(hashing);
        }
    }

    fn remembered(&self) -> Vec<i64> {
        self.store.compaction_hashes().iter().map(|hash| hash.at.0).collect()
    }
}

#[test]
fn what_a_compaction_found_is_the_answer_for_its_revision() {
    for checkpoints in [false, true] {
        let mut kv = Kv::new();
        let step = |kv: &mut Kv| {
            if checkpoints {
                kv.checkpoint();
            }
        };
        for n in 1..=6 {
            kv.put_many(&[("a", &n.to_string()), (&format!("b{n}"), "x")]);
        }
        assert_eq!((kv.hash(0), kv.hash(5)), ((4_239_913_008, -1), (207_564_241, -1)));
        step(&mut kv);
        kv.compact(5);
        assert_eq!([kv.hash(5), kv.hash(6), kv.hash(0)], [(207_564_241, -1), (783_051_846, 5), (159_350_949, 5)]);
        kv.compact(8);
        step(&mut kv);
        assert!(kv.refusal(4).contains("compacted") && kv.refusal(6).contains("compacted"));
        assert_eq!([kv.hash(5), kv.hash(8), kv.hash(9)], [(207_564_241, -1), (353_804_869, 5), (1_751_848_482, 8)]);
        assert_eq!(kv.hash(0), (903_160_322, 8));
        // No key lives: what the compaction left counts as well.
        kv.delete_all();
        assert_eq!(kv.hash(0), (1_336_218_098, 8));
        kv.compact(14);
        assert_eq!((kv.hash(14), kv.hash(0)), ((4_089_116_132, 8), (1_084_519_789, 14)));
        kv.put("z", "1");
        step(&mut kv);
        assert_eq!((kv.hash(14), kv.hash(0)), ((4_089_116_132, 8), (3_695_226_861, 14)));
    }
}

#[test]
fn a_compaction_that_comes_before_the_last_one_has_ended_leaves_no_hash() {
    let mut kv = Kv::new();
    for n in 0..8 {
        kv.put("k", &n.to_string());
    }
    kv.compact(3);
    kv.store.compact(Revision(4)).unwrap();
    kv.store.compact(Revision(5)).unwrap();
    kv.hash_compaction();
    kv.sweep(usize::MAX);
    assert_eq!(kv.remembered(), [3], "nothing is known of 4, nor of what began with it");
    kv.compact(6);
    assert_eq!(kv.remembered(), [6, 3]);

    // It is known once everything is freed, not before.
    kv.store.compact(Revision(7)).unwrap();
    kv.hash_compaction();
    assert_eq!(kv.remembered(), [6, 3]);
    assert!(kv.store.begin_compaction_hash().is_none(), "once is enough");
    kv.sweep(usize::MAX);
    assert_eq!(kv.remembered(), [7, 6, 3]);
}

#[test]
fn nothing_is_freed_while_a_compaction_is_hashed_and_ten_are_remembered() {
    let mut kv = Kv::new();
    for n in 0..14 {
        kv.put("k", &n.to_string());
    }
    kv.store.compact(Revision(2)).unwrap();
    let hashing = kv.store.begin_compaction_hash().expect("nothing was compacted before");
    assert!(kv.store.compact_step(usize::MAX).is_none());
    drop(hashing);
    kv.sweep(usize::MAX);
    assert!(kv.remembered().is_empty(), "it was given up");
    (3..=14).for_each(|at| kv.compact(at));
    assert_eq!(kv.remembered(), (5..=14).rev().collect::<Vec<_>>());
}

/// Its pins hold nothing of the store that has taken the place of the first.
#[test]
fn the_hash_of_another_store_is_not_remembered() {
    let (mut kv, mut other) = (Kv::new(), Kv::new());
    kv.put("k", "1");
    other.put("k", "1");
    kv.store.compact(Revision(2)).unwrap();
    other.store.compact(Revision(2)).unwrap();
    other.store.finish_compaction_hash(kv.store.begin_compaction_hash().expect("it is the first"));
    other.sweep(usize::MAX);
    assert!(other.remembered().is_empty());
}
