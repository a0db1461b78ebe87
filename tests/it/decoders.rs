//! Decoders of bytes that may come from a damaged disk, a peer or a client: generated and mutated inputs give an error or a
//! value, never a panic, in bounded time. The fuzz targets run the same bodies (`fuzz/bodies.rs`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lodemark::env::{Clock, Disk, SeededRandom, SimDisk, SystemClock};
use lodemark::model::{
    Command, Compact, DeleteRange, KeyRange, KeyValue, LeaseCheckpoint, LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke,
    LogId, Member, MemberAdd, MemberAttributes, MemberId, MemberUpdate, Put, Record, Revision, SubRevision,
};
use lodemark::raft::{Proposal, encode_commands};
use lodemark::storage::{LeaseRow, Meta, Storage, TableWrite};
use lodemark::wal::{LogEntry, Options, Wal};
use proptest::prelude::*;

#[path = "../../fuzz/bodies.rs"]
mod bodies;

/// What one input may take, on a slow and busy machine.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);
const CASES: u32 = 300;

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    /// A number, wherever a length may be.
    Number(prop::sample::Index, u32),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    let numbers = prop_oneof![Just(0), Just(1), Just(u32::MAX), Just(u32::MAX >> 1), any::<u32>()];
    prop_oneof![
        4 => (at(), 1u8..).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        1 => at().prop_map(Mutation::Cut),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (at(), 1usize..20).prop_map(|(at, len)| Mutation::Remove(at, len)),
        2 => (at(), numbers).prop_map(|(at, number)| Mutation::Number(at, number)),
    ]
}

fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(seeds), prop::collection::vec(mutation(), 0..4)).prop_map(|(mut bytes, mutations)| {
        for mutation in mutations {
            if bytes.is_empty() {
                break;
            }
            let len = bytes.len();
            match mutation {
                Mutation::Flip(at, bits) => bytes[at.index(len)] ^= bits,
                Mutation::Cut(at) => bytes.truncate(at.index(len)),
                Mutation::Insert(at, more) => {
                    let at = at.index(len);
                    bytes.splice(at..at, more);
                }
                Mutation::Remove(at, count) => {
                    let at = at.index(len);
                    bytes.drain(at..len.min(at + count));
                }
                Mutation::Number(at, number) => {
                    let at = at.index(len);
                    let count = (len - at).min(4);
                    bytes[at..at + count].copy_from_slice(&number.to_le_bytes()[..count]);
                }
            }
        }
        bytes
    })
}

/// Runs a body on mutations of well-formed inputs and on any bytes.
fn try_all(body: fn(&[u8]), seeds: Vec<Vec<u8>>) {
    let clock = SystemClock::default();
    let inputs = prop_oneof![4 => mutated(seeds), 1 => prop::collection::vec(any::<u8>(), 0..300)];
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let tried = proptest::test_runner::TestRunner::new(config).run(&inputs, |bytes| {
        let deadline = clock.now().after(INPUT_TIME_MAX);
        body(&bytes);
        prop_assert!(clock.now() < deadline, "{} bytes took too long", bytes.len());
        Ok(())
    });
    if let Err(failure) = tried {
        panic!("{failure}");
    }
}

fn record() -> Record {
    Record::new(&KeyValue {
        key: b"key",
        value: &[7; 40],
        create_revision: Revision(3),
        mod_revision: Revision(300),
        version: 2,
        lease: LeaseId(-1),
    })
}

fn member() -> Member {
    Member {
        id: MemberId(9),
        name: "name".into(),
        peer_urls: vec!["http://localhost:2380".into()],
        client_urls: Vec::new(),
        is_learner: true,
    }
}

fn all_commands() -> Vec<Command> {
    let key = Bytes::from_static(b"key");
    vec![
        Command::Put(Put { key: key.clone(), value: key.clone(), lease: LeaseId(4), ..Put::default() }),
        Command::DeleteRange(DeleteRange { keys: KeyRange::prefix(key), prev_kv: true }),
        Command::Compact(Compact { revision: Revision(8), physical: true }),
        Command::LeaseGrant(LeaseGrant { id: LeaseId(4), ttl: 60 }),
        Command::LeaseRevoke(LeaseRevoke { id: LeaseId(4) }),
        Command::LeaseExpire(LeaseExpire { ids: vec![LeaseId(4), LeaseId(-4)], term: 3, as_of: 8 }),
        Command::LeaseCheckpoint(LeaseCheckpoint {
            remaining: vec![(LeaseId(4), 600), (LeaseId(-4), 0)],
            term: 3,
            as_of: 8,
        }),
        Command::MemberSet(member()),
        Command::MembersFound(vec![member(), Member { id: MemberId(10), is_learner: false, ..member() }]),
        Command::MemberAdd(MemberAdd { member: member(), learners_max: 1 }),
        Command::MemberRemove(MemberId(u64::MAX)),
        Command::MemberUpdate(MemberUpdate { id: MemberId(9), peer_urls: vec!["http://a:1".into(), "b".into()] }),
        Command::MemberPromote(MemberId(9)),
        Command::MembersReduce(MemberId(9)),
        Command::MemberAttributes(MemberAttributes {
            id: MemberId(9),
            name: "name".into(),
            client_urls: vec!["http://localhost:2379".into()],
        }),
    ]
}

fn entry_of(commands: &[Command]) -> Vec<u8> {
    let proposals: Vec<Proposal> = commands.iter().map(Proposal::from).collect();
    encode_commands(proposals.iter()).to_vec()
}

/// A segment as the log leaves it.
fn segment() -> Vec<u8> {
    let disk = SimDisk::new();
    let options = Options { segment_bytes: 8192, ..Options::default() };
    let (wal, mut writer, _) =
        Wal::open(Arc::new(disk.clone()), Arc::new(SeededRandom::new(3)), options.clone()).expect("a new log opens");
    for index in 1..=6 {
        let entry = LogEntry { index, term: 1, payload: entry_of(&all_commands()).into() };
        wal.append(vec![entry], Box::new(|_| {})).expect("the log runs");
        wal.save_vote(Bytes::from_static(b"vote"), Box::new(|_| {})).expect("the log runs");
        assert!(writer.step());
    }
    wal.truncate_after(5).expect("the log runs");
    wal.purge(2, Bytes::from_static(b"mark")).expect("the log runs");
    wal.close();
    while writer.step() {}
    let file = disk.open(&options.dir.join("0000000000000001.wal")).expect("it is there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("it has a length")).expect("it is small")];
    file.read_exact_at(0, &mut bytes).expect("it can be read");
    bytes
}

/// The records of a batch, by the words of `docs/storage-format.md`, after their count.
fn records() -> Vec<u8> {
    let mut out = vec![6];
    let payload = entry_of(&all_commands());
    for index in [4u64, 5] {
        out.push(1);
        out.extend_from_slice(&index.to_le_bytes());
        out.extend_from_slice(&7u64.to_le_bytes());
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
        out.extend_from_slice(&payload);
    }
    out.extend_from_slice(b"\x02\x04\0\0\0vote");
    out.extend_from_slice(b"\x03\x04\0\0\0note");
    out.extend_from_slice(b"\x05\x03\0\0\0\0\0\0\0\x04\0\0\0mark");
    out.push(6);
    out
}

/// A stream as a member exports it.
fn stream() -> Vec<u8> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let storage = Storage::open(disk, "state".as_ref(), 1 << 16).expect("a new file opens");
    let at = |main| SubRevision { main: Revision(main), sub: 0 };
    let writes = [
        TableWrite::Record { at: at(300), record: record() },
        TableWrite::Record { at: at(301), record: Record::tombstone(b"key", Revision(301)) },
        TableWrite::Lease(LeaseRow { id: LeaseId(4), ttl: 60, remaining: 0, granted_at: 7 }),
        TableWrite::Member(member()),
    ];
    let meta = Meta { applied: LogId { term: 1, index: 7 }, revision: Revision(301), ..Meta::default() };
    storage.commit(&writes, &meta).expect("memory does not fail");
    let mut stream = Vec::new();
    storage.freeze().expect("it opens").export(&mut stream).expect("it is whole");
    stream
}

/// The chunks of a stream as [`bodies::snapshot_chunks`] takes them.
fn chunks(stream: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), &stream[12..]);
    while let [kind, a, b, c, d, more @ ..] = rest {
        let len = u32::from_le_bytes([*a, *b, *c, *d]);
        out.extend_from_slice(&[*kind, u8::try_from(len).expect("chunks of the test are short")]);
        out.extend_from_slice(&more[..len as usize]);
        rest = &more[len as usize + 4..];
    }
    out
}

#[test]
fn records_of_any_bytes() {
    let tombstone = Record::tombstone(b"key", Revision(5));
    try_all(bodies::record, vec![record().as_bytes().to_vec(), tombstone.as_bytes().to_vec()]);
}

#[test]
fn txn_requests_of_any_bytes() {
    let bytes =
        b"\x0a\x0b\x08\x00\x10\x01\x1a\x03key\x28\x02\x12\x0b\x12\x09\x0a\x03key\x12\x02vv\x1a\x07\x0a\x05\x0a\x03key";
    try_all(bodies::txn_request, vec![bytes.to_vec()]);
}

#[test]
fn commands_of_any_bytes() {
    let mut seeds: Vec<_> = all_commands().iter().map(|command| entry_of(std::slice::from_ref(command))).collect();
    seeds.push(entry_of(&all_commands()));
    seeds.iter().for_each(|seed| bodies::commands(seed));
    try_all(bodies::commands, seeds);
}

#[test]
fn log_segments_of_any_bytes() {
    let seed = segment();
    bodies::log(&seed);
    try_all(bodies::log, vec![seed]);
}

#[test]
fn log_batches_of_any_records() {
    try_all(bodies::log_batch, vec![records()]);
}

#[test]
fn snapshots_of_any_bytes() {
    try_all(bodies::snapshot, vec![stream()]);
}

#[test]
fn snapshots_of_any_chunks() {
    try_all(bodies::snapshot_chunks, vec![chunks(&stream())]);
}

/// A segment made by the words of `docs/storage-format.md` alone opens as what it says.
#[test]
fn the_page_about_the_format_tells_how_to_write_a_segment() {
    let records = records();
    let disk = Arc::new(SimDisk::new());
    let options = Options::default();
    disk.create_dir_all(&options.dir).expect("a new disk takes a folder");
    let file = disk.create(&options.dir.join("0000000000000001.wal")).expect("a new disk takes a file");
    file.write_all_at(0, &bodies::segment_of(&records[1..], 6)).expect("a new disk takes bytes");
    let (wal, _, recovered) = Wal::open(disk, Arc::new(SeededRandom::new(3)), options).expect("it is a segment");
    assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(recovered.committed.as_deref(), Some(&b"note"[..]));
    assert_eq!(recovered.purged, Some((3, Bytes::from_static(b"mark"))));
    let entries = wal.read(4, 9, usize::MAX).expect("they are there");
    assert_eq!(entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>(), [(4, 7), (5, 7)]);
    assert_eq!(entries[0].payload, entry_of(&all_commands()));
}
