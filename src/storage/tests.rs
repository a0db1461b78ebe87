//! The folder through its face.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::testing::*;
use super::*;
use crate::env::{DAMAGE_REMEDY, Disk};
use crate::model::{CLUSTER_VERSION, Member};

#[test]
fn a_fresh_file_holds_the_state_before_any_entry() {
    let disk = MemoryDisk::new();
    for _ in 0..2 {
        let storage = open(&disk).unwrap();
        assert_eq!(storage.identity().unwrap(), None);
        let expected = Content { meta: Meta::default(), records: Vec::new(), small: SmallTables::default() };
        assert_eq!(content(&storage).unwrap(), expected);
    }
    assert_eq!(disk.list(Path::new("")).unwrap(), [PATH]);
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let before = content(&storage).unwrap();
    assert_eq!(before.meta, meta(120));
    assert_eq!(before.records.len(), 119 * 2 - 20);
    assert!(before.records.is_sorted_by_key(|(at, _)| *at));
    assert!(before.records.iter().all(|(place, record)| *record == testing::record(place.main.0, place.sub)));
    let leases: Vec<i64> = before.small.leases.iter().map(|lease| lease.id.0).collect();
    assert_eq!(leases, [-2, -1, 0, 1]);
    assert_eq!(before.small.members, [member(1), member(3)]);
    assert_eq!(before.small.removed, [MemberId(2)]);
    assert_eq!(storage.file_bytes().unwrap(), disk.live(PATH).len() as u64);

    drop(storage);
    assert_eq!(content(&open(&disk).unwrap()).unwrap(), before);
}

#[test]
fn every_commit_survives_a_crash_without_a_clean_end() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let before = content(&storage).unwrap();
    let crashed = MemoryDisk::with_file(disk.durable(PATH));
    assert_eq!(content(&open(&crashed).unwrap()).unwrap(), before);
}

#[test]
fn of_several_changes_of_one_key_the_last_counts() {
    let disk = MemoryDisk::new();
    let storage = open(&disk).unwrap();
    let writes = [
        put(3, 0),
        put(2, 0),
        TableWrite::RemoveRecord { at: at(3, 0) },
        put(4, 0),
        TableWrite::RemoveRecord { at: at(9, 0) },
        TableWrite::Record { at: at(4, 0), record: testing::record(4, 1) },
        lease(7, 1),
        lease(7, 2),
    ];
    storage.commit(&writes, &meta(4)).unwrap();
    storage.commit(&[put(3, 0), lease(7, 3)], &meta(5)).unwrap();
    let content = content(&storage).unwrap();
    let expected =
        [(at(2, 0), testing::record(2, 0)), (at(3, 0), testing::record(3, 0)), (at(4, 0), testing::record(4, 1))];
    assert_eq!(content.records, expected);
    assert_eq!(content.small.leases, [LeaseRow { id: LeaseId(7), ttl: 3, remaining: 1, granted_at: 3 }]);
}

#[test]
fn single_records_are_found_or_not() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    assert_eq!(storage.record(at(50, 1)).unwrap(), Some(record(50, 1)));
    assert_eq!(storage.record(at(50, 2)).unwrap(), None);
    assert_eq!(storage.record(at(15, 1)).unwrap(), None);
    let several = storage.records(&[at(120, 0), at(15, 1), at(2, 0)]).unwrap();
    assert_eq!(several, [Some(record(120, 0)), None, Some(record(2, 0))]);
}

#[test]
fn several_records_come_up_to_the_one_that_is_too_much() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let places = [at(120, 0), at(15, 1), at(2, 0), at(50, 1)];
    let first = record(120, 0).as_bytes().len();
    let second = record(2, 0).as_bytes().len();
    for (bytes_max, count) in [(0, 1), (first, 1), (first + 1, 3), (first + second, 3), (usize::MAX, 4)] {
        let found = storage.records_within(&places, bytes_max).unwrap();
        assert_eq!(found, storage.records(&places[..count]).unwrap(), "{bytes_max}");
    }
}

#[test]
fn a_scan_gives_whole_revisions_within_its_bounds() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let scan = |from, until, revisions_max, bytes_max| -> Vec<SubRevision> {
        let scanned = storage.scan(from, until, revisions_max, bytes_max).unwrap();
        assert!(scanned.iter().all(|(place, record)| *record == testing::record(place.main.0, place.sub)));
        scanned.into_iter().map(|(at, _)| at).collect()
    };
    let all = (usize::MAX, usize::MAX);

    assert_eq!(scan(at(40, 1), at(42, 1), all.0, all.1), [at(40, 1), at(41, 0), at(41, 1), at(42, 0)]);
    assert_eq!(scan(at(40, 0), at(90, 0), 2, all.1), [at(40, 0), at(40, 1), at(41, 0), at(41, 1)]);
    assert_eq!(scan(at(40, 0), at(90, 0), 0, 0), [at(40, 0), at(40, 1)]);
    let one = record(40, 0).as_bytes().len() + record(40, 1).as_bytes().len();
    assert_eq!(scan(at(40, 0), at(90, 0), all.0, one).len(), 2);
    assert_eq!(scan(at(40, 0), at(90, 0), all.0, one + 1).len(), 4);
    assert_eq!(scan(at(121, 0), at(i64::MAX, 0), all.0, all.1), []);
    assert_eq!(scan(at(50, 0), at(50, 0), all.0, all.1), []);
    assert_eq!(scan(at(-1, 0), at(i64::MAX, u32::MAX), all.0, all.1).len(), 119 * 2 - 20);
}

#[test]
fn an_owner_is_written_once_with_the_cluster_that_it_began_with() {
    let disk = MemoryDisk::new();
    let storage = open(&disk).unwrap();
    assert_eq!((storage.identity().unwrap(), storage.founding().unwrap()), (None, None));
    let ours = Identity { cluster: ClusterId(0xabc), member: MemberId(0xdef) };
    let founding = Founding::New(vec![member(0xdef), Member { is_learner: true, ..member(1) }]);
    storage.claim(ours, &founding).unwrap();
    storage.claim(ours, &Founding::Join(vec![member(7)])).unwrap();
    let error = storage.claim(Identity { member: MemberId(1), ..ours }, &founding).unwrap_err();
    assert_eq!(error.to_string(), "checkpoint belongs to member def of cluster abc, not to member 1 of cluster abc");
    storage.commit(&[], &meta(2)).unwrap();
    drop(storage);
    let storage = open(&disk).unwrap();
    assert_eq!((storage.identity().unwrap(), storage.founding().unwrap()), (Some(ours), Some(founding)));
}

#[test]
fn both_ways_to_begin_read_back_and_others_are_damage() {
    for founding in [
        Founding::New(Vec::new()),
        Founding::New(vec![member(1)]),
        Founding::Join((1..=5).map(member).collect()),
        Founding::Join(Vec::new()),
    ] {
        let bytes = codec::encode_founding(&founding);
        assert_eq!(codec::decode_founding(&bytes).unwrap(), founding);
        for len in 0..bytes.len() {
            assert!(codec::decode_founding(&bytes[..len]).is_err(), "{founding:?} cut to {len}");
        }
    }
    assert!(codec::decode_founding(&[3, 0, 0, 0, 0]).is_err());
    // A count that lies asks for no memory.
    assert!(codec::decode_founding(&[1, 255, 255, 255, 255]).is_err());
}

#[test]
fn a_downgrade_that_is_under_way_is_there_until_it_ends() {
    let disk = MemoryDisk::new();
    for (n, target) in [(2, CLUSTER_VERSION.before()), (3, None)] {
        let storage = open(&disk).unwrap();
        storage.commit(&[TableWrite::Downgrade(target)], &meta(n)).unwrap();
        drop(storage);
        assert_eq!(open(&disk).unwrap().small_tables().unwrap().downgrade, target);
    }
}

#[test]
fn an_imported_file_takes_over_its_owner_before_it_takes_a_place() {
    let disk = MemoryDisk::new();
    let storage = open(&disk).unwrap();
    let ours = Identity { cluster: ClusterId(1), member: MemberId(2) };
    let founding = Founding::Join(vec![member(2), member(3)]);
    storage.claim(ours, &founding).unwrap();
    storage.commit(&[], &meta(9)).unwrap();
    let mut stream = Vec::new();
    storage.freeze().unwrap().export(&mut stream).unwrap();
    let incoming = Path::new("incoming");
    import(disk.clone(), incoming, &stream, 4096).unwrap();
    assert_eq!(Storage::identity_of(disk.as_ref(), incoming).unwrap(), None);
    Storage::open(disk.clone(), incoming, 0).unwrap().succeed(&storage).unwrap();
    let imported = Storage::open(disk, incoming, 0).unwrap();
    assert_eq!((imported.identity().unwrap(), imported.founding().unwrap()), (Some(ours), Some(founding)));
    assert_eq!(imported.meta().unwrap(), meta(9));
    assert_eq!((storage.installed().unwrap(), imported.installed().unwrap()), (LogId::default(), meta(9).applied));
}

#[test]
fn a_newer_format_is_refused() {
    let disk = MemoryDisk::new();
    let storage = open(&disk).unwrap();
    storage
        .with_database(|database| checkpoint::transact(database, |transaction| super::meta::put_format(transaction, 7)))
        .unwrap();
    drop(storage);
    let error = open(&disk).unwrap_err();
    let text =
        "checkpoint was written by a newer version: it has format 7, this version reads up to 3; start a later version";
    assert_eq!(error.to_string(), text);
}

#[test]
fn other_files_are_refused() {
    for bytes in [Vec::new(), vec![0; 10], b"#!/bin/sh\n".repeat(1000), vec![0; 1 << 20]] {
        let error = open(&MemoryDisk::with_file(bytes)).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
    }
    // Another program's redb file.
    let disk = MemoryDisk::new();
    let path = Path::new(PATH);
    let file = checkpoint::create_file(disk.as_ref(), path).unwrap();
    drop(
        checkpoint::create_database(file, path, crate::env::SyncSite::Checkpoint, CACHE_BYTES, Arc::default()).unwrap(),
    );
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

/// The writes that the failing commit of the next tests makes.
fn second_commit() -> Vec<TableWrite> {
    let mut writes = records(121..=140);
    writes.extend((40..60).map(|main| TableWrite::RemoveRecord { at: at(main, 0) }));
    writes.push(lease(9, 9));
    writes
}

#[test]
fn a_commit_is_all_or_nothing_whichever_write_or_sync_fails() {
    let (before, after, changes) = {
        let disk = MemoryDisk::new();
        let storage = filled(&disk);
        let before = content(&storage).unwrap();
        let started = disk.changes();
        storage.commit(&second_commit(), &meta(140)).unwrap();
        (before, content(&storage).unwrap(), disk.changes() - started)
    };
    assert!(changes > 3, "{changes}");
    assert_ne!(before, after);

    for failing in 0..changes {
        let disk = MemoryDisk::new();
        let storage = filled(&disk);
        disk.fail(failing, u64::MAX, io::ErrorKind::Other);
        let committed = storage.commit(&second_commit(), &meta(140));
        drop(storage);
        // A write of a page that was only made early may fail without harm, but not when all writes after it fail.
        assert!(matches!(committed, Err(Error::Io { .. })), "{failing}: {committed:?}");
        for left in [disk.durable(PATH), disk.live(PATH)] {
            let found = content(&open(&MemoryDisk::with_file(left)).unwrap()).unwrap();
            assert!(found == before || found == after, "{failing}");
        }
    }
}

#[test]
fn a_full_disk_leaves_the_storage_usable() {
    let changes = {
        let disk = MemoryDisk::new();
        let storage = filled(&disk);
        let started = disk.changes();
        storage.commit(&second_commit(), &meta(140)).unwrap();
        disk.changes() - started
    };

    let (mut full, mut stopped) = (0, 0);
    for failing in 0..changes {
        let disk = MemoryDisk::new();
        let storage = filled(&disk);
        let before = content(&storage).unwrap();
        disk.fail(failing, 1, io::ErrorKind::StorageFull);
        match storage.commit(&second_commit(), &meta(140)) {
            Err(Error::Full { .. }) => {
                full += 1;
                assert_eq!(content(&storage).unwrap(), before, "{failing}");
                storage.commit(&second_commit(), &meta(140)).unwrap();
                assert_eq!(content(&storage).unwrap().meta, meta(140));
            }
            Err(Error::Io { .. }) => {
                // A sync: whatever the reason, nothing is known then.
                stopped += 1;
                assert!(matches!(storage.commit(&second_commit(), &meta(140)), Err(Error::Closed { .. })));
                let meta = storage.meta();
                assert!(matches!(&meta, Err(Error::Closed { .. })) || meta.unwrap() == before.meta, "{failing}");
            }
            other => panic!("{failing}: {other:?}"),
        }
    }
    assert!(full > 0 && stopped > 0, "{full} {stopped}");
}

#[test]
fn a_disk_that_stays_full_can_be_read_and_opened() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let before = content(&storage).unwrap();
    disk.limit(disk.live(PATH).len());
    for _ in 0..3 {
        let full = storage.commit(&records(121..=3000), &meta(3000));
        assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
        assert_eq!(content(&storage).unwrap(), before);
    }
    let crashed = MemoryDisk::with_file(disk.durable(PATH));
    drop(storage);
    for disk in [disk, crashed] {
        disk.limit(disk.live(PATH).len());
        let storage = open(&disk).unwrap();
        assert_eq!(content(&storage).unwrap(), before);
        disk.heal();
        storage.commit(&records(121..=3000), &meta(3000)).unwrap();
        assert_eq!(content(&storage).unwrap().meta, meta(3000));
    }
}

#[test]
fn a_frozen_state_does_not_change_and_ends_with_a_reopening() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let before = content(&storage).unwrap();
    let frozen = storage.freeze().unwrap();
    storage.commit(&second_commit(), &meta(140)).unwrap();
    assert_eq!(*frozen.meta(), meta(120));
    assert_eq!(imported(&exported(&frozen)).unwrap(), before);

    disk.fail(0, 1, io::ErrorKind::StorageFull);
    let error = storage.commit(&second_commit(), &meta(141)).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(matches!(frozen.export(&mut Vec::new()), Err(Error::Closed { .. })));
    assert_eq!(storage.meta().unwrap(), meta(140));
}

#[test]
fn a_gentle_commit_writes_the_same() {
    let contents = [Storage::commit, Storage::commit_gently].map(|commit| {
        let storage = filled(&MemoryDisk::new());
        commit(&storage, &second_commit(), &meta(140)).unwrap();
        content(&storage).unwrap()
    });
    assert_eq!(contents[0], contents[1]);
}

#[test]
fn an_export_imports_as_the_same_state() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let stream = exported(&storage.freeze().unwrap());
    let before = content(&storage).unwrap();
    assert_eq!(imported(&stream).unwrap(), before);
    // However it is cut.
    for piece_bytes in [1, 7, 1000] {
        let disk = MemoryDisk::new();
        let imported = import(disk.clone(), Path::new(PATH), &stream, piece_bytes).unwrap();
        assert_eq!((imported.meta, content(&open(&disk).unwrap()).unwrap()), (storage.meta().unwrap(), before.clone()));
    }
    // Nothing may follow the footer, neither a whole chunk nor a byte.
    for more in [&stream[12..], b"x"] {
        let error = imported(&[stream.as_slice(), more].concat()).unwrap_err();
        assert!(matches!(error, Error::Stream { why: StreamDamage::Malformed(_), .. }), "{error}");
    }
}

#[test]
fn a_state_without_removed_members_is_written_as_the_first_version_did() {
    let disk = MemoryDisk::new();
    let storage = open(&disk).unwrap();
    storage.commit(&[TableWrite::Member(member(1)), TableWrite::Member(member(2))], &meta(5)).unwrap();
    let tables = |storage: &Storage| {
        let names = |database: &redb::Database| {
            let transaction = redb::ReadableDatabase::begin_read(database)?;
            let tables = transaction.list_tables()?;
            Ok(tables.map(|table| redb::TableHandle::name(&table).to_owned()).collect::<Vec<_>>())
        };
        storage.with_database(names).unwrap()
    };
    let stream = exported(&storage.freeze().unwrap());
    assert_eq!(tables(&storage), ["leases", "members", "meta", "records"]);
    assert_eq!(stream[8..12], 1u32.to_le_bytes());
    assert_eq!(imported(&stream).unwrap(), content(&storage).unwrap());

    // The first removal makes it a file that the first version refuses.
    storage.commit(&[TableWrite::RemoveMember(MemberId(2)), TableWrite::Removed(MemberId(2))], &meta(6)).unwrap();
    drop(storage);
    let storage = open(&disk).unwrap();
    let stream = exported(&storage.freeze().unwrap());
    assert_eq!(tables(&storage), ["leases", "members", "meta", "records", "removed"]);
    assert_eq!(stream[8..12], 2u32.to_le_bytes());
    let whole = content(&storage).unwrap();
    assert_eq!(
        (whole.small.members.as_slice(), whole.small.removed.as_slice()),
        (&[member(1)][..], &[MemberId(2)][..])
    );
    assert_eq!(imported(&stream).unwrap(), whole);
    storage.commit(&[], &meta(7)).unwrap();
    assert_eq!(content(&storage).unwrap().small, whole.small);
}

#[test]
fn a_large_export_takes_several_chunks_and_commits() {
    let disk = MemoryDisk::new();
    let storage = open(&disk).unwrap();
    let value = vec![7; 100_000];
    let writes: Vec<TableWrite> = (2..402)
        .map(|main| {
            let pair = crate::model::KeyValue {
                key: b"large",
                value: &value,
                create_revision: Revision(2),
                mod_revision: Revision(main),
                version: main - 1,
                lease: LeaseId::NONE,
            };
            TableWrite::Record { at: at(main, 0), record: Record::new(&pair) }
        })
        .collect();
    storage.commit(&writes, &meta(401)).unwrap();
    let stream = exported(&storage.freeze().unwrap());
    assert!(stream.len() > 40_000_000);
    assert_eq!(imported(&stream).unwrap(), content(&storage).unwrap());
}

#[test]
fn a_truncated_or_damaged_stream_is_refused() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let stream = exported(&storage.freeze().unwrap());
    let step = stream.len() / 97;

    let ends = (0..40).chain((40..stream.len()).step_by(step)).chain(stream.len() - 40..stream.len());
    for end in ends {
        let error = imported(&stream[..end]).unwrap_err();
        assert!(matches!(error, Error::Stream { why: StreamDamage::Truncated, .. }), "{end}: {error}");
    }
    for place in (0..40).chain((40..stream.len()).step_by(step)).chain(stream.len() - 100..stream.len()) {
        let mut damaged = stream.clone();
        damaged[place] ^= 0x10;
        let error = imported(&damaged).unwrap_err();
        assert!(matches!(error, Error::Stream { .. } | Error::Newer { .. }), "{place}: {error}");
        assert!(error.to_string().contains(PATH), "{place}: {error}");
    }
}

#[test]
fn an_import_that_fails_at_any_write_leaves_nothing_that_opens() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let stream = exported(&storage.freeze().unwrap());
    let path = Path::new(PATH);
    let changes = {
        let disk = MemoryDisk::new();
        import(Arc::clone(&disk) as Arc<dyn Disk>, path, &stream, 4096).unwrap();
        disk.changes()
    };
    for failing in 0..changes {
        let disk = MemoryDisk::new();
        disk.fail(failing, u64::MAX, io::ErrorKind::StorageFull);
        let result = import(Arc::clone(&disk) as Arc<dyn Disk>, path, &stream, 4096);
        if result.is_ok() {
            // All commits were done; only closing failed, and that redb keeps to itself.
            disk.heal();
            assert_eq!(open(&disk).unwrap().meta().unwrap(), meta(120));
        } else {
            assert!(!disk.exists(path).unwrap());
        }
    }
}

/// Whether a message about a damaged file says where, and what to do. Damage that redb found was told without a place.
fn names_place_and_remedy(error: &Error) -> bool {
    let told = error.to_string();
    let places = [" at records/", " at leases/", " at members/", " at removed/", " at meta/", " in table ", " byte "];
    let is_placed = places.iter().any(|place| told.contains(place)) || matches!(error, Error::Foreign { .. });
    is_placed && told.contains(DAMAGE_REMEDY)
}

/// Places in a file and bits to change there.
fn damages(len: usize, step: usize) -> impl Iterator<Item = (usize, u8)> {
    (0..512).chain((512..len).step_by(step)).zip([0x01, 0x80, 0xff, 0x10].into_iter().cycle())
}

#[test]
fn a_damaged_file_gives_an_error_or_what_was_committed() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    let before = content(&storage).unwrap();
    let crashed = disk.durable(PATH);
    drop(storage);
    let closed = disk.live(PATH);
    let storage = open(&disk).unwrap();
    storage.commit(&second_commit(), &meta(140)).unwrap();
    let after = content(&storage).unwrap();

    for (bytes, name) in [(closed, "closed"), (crashed, "crashed")] {
        let (mut refused, mut whole) = (0, 0);
        for (offset, bits) in damages(bytes.len(), 613) {
            let disk = MemoryDisk::with_file(bytes.clone());
            disk.damage(offset, bits);
            match look_and_commit(disk, &before, &after) {
                Ok(()) => whole += 1,
                Err(error @ (Error::Corrupt { .. } | Error::Foreign { .. })) => {
                    assert!(names_place_and_remedy(&error), "{name} {offset}: {error}");
                    refused += 1;
                }
                Err(error) => panic!("{name} {offset}: {error}"),
            }
        }
        assert!(refused > 50 && whole > 50, "{name}: {refused} {whole}");
    }
}

/// Opening would find the damage, so it comes later here; then only our own checks and the boundary stand against it.
#[test]
fn a_file_damaged_after_opening_gives_an_error_or_what_was_committed() {
    let disk = MemoryDisk::new();
    drop(filled(&disk));
    let bytes = disk.live(PATH);
    let (mut refused, mut whole) = (0, 0);
    for (offset, bits) in damages(bytes.len(), 211) {
        let disk = MemoryDisk::with_file(bytes.clone());
        let storage = open(&disk).unwrap();
        let before = content(&storage).unwrap();
        disk.damage(offset, bits);
        match storage.reopen().and_then(|()| content(&storage)) {
            Ok(found) => {
                assert!(found == before, "{offset}");
                whole += 1;
            }
            Err(error @ (Error::Corrupt { .. } | Error::Foreign { .. })) => {
                assert!(names_place_and_remedy(&error), "{offset}: {error}");
                refused += 1;
            }
            Err(error) => panic!("{offset}: {error}"),
        }
        // A removal must not miss what is there.
        let lost = storage.commit(&second_commit(), &meta(140)).and_then(|()| content(&storage));
        assert!(lost.is_err() || lost.is_ok_and(|found| found.records.len() == before.records.len() + 20), "{offset}");
    }
    assert!(refused > 50 && whole > 50, "{refused} {whole}");
}

/// Opens a damaged file, which must hold `before`; then commits to it, for the damage may lie in what only commits use,
/// and opens it again, when it must hold `after`.
fn look_and_commit(disk: Arc<MemoryDisk>, before: &Content, after: &Content) -> Result<(), Error> {
    let storage = open(&disk)?;
    assert_eq!(content(&storage)?, *before);
    let committed = storage.commit(&second_commit(), &meta(140));
    drop(storage);
    let found = content(&open(&disk)?)?;
    assert!(found == *after || committed.is_err() && found == *before);
    Ok(())
}

#[test]
fn readers_do_not_notice_a_reopening() {
    let disk = MemoryDisk::new();
    let storage = filled(&disk);
    std::thread::scope(|threads| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                threads.spawn(|| {
                    for main in (2..=120).cycle().take(2000) {
                        assert_eq!(storage.record(at(main, 0)).unwrap(), Some(record(main, 0)));
                    }
                })
            })
            .collect();
        while !readers.iter().all(|reader| reader.is_finished()) {
            disk.fail(0, 1, io::ErrorKind::StorageFull);
            let full = storage.commit(&records(121..=125), &meta(125));
            disk.heal();
            assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
        }
    });
}

#[test]
fn a_lost_or_revived_record_is_found() {
    use super::tables::{RECORDS, Table};
    let change: [fn(&redb::WriteTransaction); 2] = [
        |transaction| {
            let mut records = transaction.open_table(RECORDS).unwrap();
            records.remove(&codec::record_key(at(50, 0))).unwrap().unwrap();
        },
        |transaction| {
            let mut records = transaction.open_table(RECORDS).unwrap();
            let key = codec::record_key(at(15, 1));
            let mut sealed = Vec::new();
            codec::seal(&key, record(15, 1).as_bytes(), &mut sealed);
            records.insert(&key, sealed.as_slice()).unwrap();
        },
    ];
    for change in change {
        let disk = MemoryDisk::new();
        let storage = filled(&disk);
        storage
            .with_database(|database| {
                checkpoint::transact(database, |transaction| {
                    change(transaction);
                    Ok(())
                })
            })
            .unwrap();
        let error = content(&storage).unwrap_err();
        let Error::Corrupt { table: Some(Table::Records), why: Damage::Sum { .. }, .. } = &error else {
            panic!("{error}")
        };
        assert!(error.to_string().contains("do not serve"), "{error}");
        let export = storage.freeze().unwrap().export(&mut Vec::new());
        assert!(matches!(export, Err(Error::Corrupt { .. })));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(i64, u32, u32),
    Remove(i64, u32),
}

fn step() -> impl Strategy<Value = Step> {
    let (main, sub) = (2..12i64, 0..2u32);
    prop_oneof![
        (main.clone(), sub.clone(), 0..5u32).prop_map(|(main, sub, other)| Step::Put(main, sub, other)),
        (main, sub).prop_map(|(main, sub)| Step::Remove(main, sub)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Commits of any writes in any order do what a map does, and keep the sum true.
    #[test]
    fn commits_behave_as_a_map(batches in proptest::collection::vec(proptest::collection::vec(step(), 0..12), 1..6)) {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let mut expected = BTreeMap::new();
        for batch in batches {
            let mut writes = Vec::new();
            for step in batch {
                match step {
                    Step::Put(main, sub, other) => {
                        expected.insert(at(main, sub), record(main, other));
                        writes.push(TableWrite::Record { at: at(main, sub), record: record(main, other) });
                    }
                    Step::Remove(main, sub) => {
                        expected.remove(&at(main, sub));
                        writes.push(TableWrite::RemoveRecord { at: at(main, sub) });
                    }
                }
            }
            storage.commit(&writes, &meta(9)).unwrap();
            let found: BTreeMap<_, _> = content(&storage).unwrap().records.into_iter().collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}
