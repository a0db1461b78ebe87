//! Well-formed inputs, from which others are made.

use std::sync::Arc;

use bytes::Bytes;
use lodemark::api::grpc;
use lodemark::api::http::gateway;
use lodemark::bolt::{self, WriteError};
use lodemark::env::{Disk, Random, SeededRandom, SimDisk};
use lodemark::etcd_file::Contents;
use lodemark::model::{
    Alarm, AlarmKind, CLUSTER_VERSION, Command, Compact, DeleteRange, KeyRange, KeyValue, LeaseCheckpoint, LeaseExpire,
    LeaseGrant, LeaseId, LeaseRevoke, LogId, Member, MemberAdd, MemberAttributes, MemberId, MemberUpdate, Permission,
    PermissionKind, Put, Record, Revision, Role, SubRevision, User,
};
use lodemark::proto::etcdserverpb as etcd;
use lodemark::proto::etcdserverpb::watch_request::RequestUnion;
use lodemark::proto::lodemarkpb as pb;
use lodemark::proto::lodemarkpb::append_entries_response::Outcome;
use lodemark::proto::{healthpb, v3electionpb, v3lockpb};
use lodemark::raft::{self, Proposal, encode_commands};
use lodemark::storage::{self, AuthRow, LeaseRow, Meta, Storage, TableWrite};
use lodemark::wal::{LogEntry, Options, Wal};
use prost::Message;

pub fn record() -> Record {
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

pub fn all_commands() -> Vec<Command> {
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
        Command::Downgrade(CLUSTER_VERSION.before()),
        Command::Downgrade(None),
        Command::MembersReduce(MemberId(9)),
        Command::MemberAttributes(MemberAttributes {
            id: MemberId(9),
            name: "name".into(),
            client_urls: vec!["http://localhost:2379".into()],
        }),
    ]
}

pub fn entry_of(commands: &[Command]) -> Vec<u8> {
    let proposals: Vec<Proposal> = commands.iter().map(Proposal::from).collect();
    encode_commands(proposals.iter()).to_vec()
}

/// A segment as the log leaves it.
pub fn segment() -> Vec<u8> {
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
pub fn batch() -> Vec<u8> {
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

/// A stream as a member exports it; each table has something.
pub fn stream() -> Vec<u8> {
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

/// The chunks of a stream as the body takes them.
pub fn chunks(stream: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), &stream[12..]);
    while let [kind, a, b, c, d, more @ ..] = rest {
        let len = u32::from_le_bytes([*a, *b, *c, *d]);
        out.extend_from_slice(&[*kind, u8::try_from(len).expect("chunks of the test are short")]);
        out.extend_from_slice(&more[..len as usize]);
        rest = &more[len as usize + 4..];
    }
    out
}

/// A database of etcd's with pages of 512 bytes, and so many keys.
fn etcd_database(keys: i64) -> Vec<u8> {
    let records = |each: &mut dyn FnMut(SubRevision, &Record) -> Result<(), WriteError>| {
        (2..2 + keys).try_for_each(|main| {
            let at = Revision(main);
            let pair =
                KeyValue { key: b"key", create_revision: at, mod_revision: at, version: 1, ..KeyValue::default() };
            each(SubRevision::first(at), &Record::new(&pair))
        })
    };
    let lease = LeaseRow { id: LeaseId(4), ttl: 60, remaining: 5, granted_at: 0 };
    let alarms = vec![Alarm { member: MemberId(7), kind: AlarmKind::NoSpace }];
    let user = User { name: "u".into(), password: "hash".into(), roles: vec!["r".into()], no_password: false };
    let permission = Permission { kind: PermissionKind::Read, key: "a".into(), range_end: "b".into() };
    let role = Role { name: "r".into(), permissions: vec![permission] };
    let auth = vec![AuthRow::State { enabled: true, revision: 3 }, AuthRow::User(user), AuthRow::Role(role)];
    let contents = Contents { leases: vec![lease], members: vec![member()], alarms, auth, ..Contents::default() };
    let layout = bolt::plan(512, |writer| contents.fill(&records, writer)).expect("it can be written");
    let mut bytes = Vec::new();
    bolt::write(layout, &mut bytes, |writer| contents.fill(&records, writer)).expect("memory does not fail");
    bytes
}

/// All of it.
pub fn etcd_snapshot(keys: i64) -> Vec<u8> {
    etcd_database(keys)
}

/// Its pages behind the metas, and which of them is the root: the last one.
pub fn etcd_pages(keys: i64) -> Vec<u8> {
    let database = etcd_database(keys);
    let root = u8::try_from(database.len() / 512 - 1).expect("it has few pages");
    [&[root][..], &database[1024..]].concat()
}

pub fn records() -> Vec<Vec<u8>> {
    vec![record().as_bytes().to_vec(), Record::tombstone(b"key", Revision(5)).as_bytes().to_vec()]
}

pub fn entries() -> Vec<Vec<u8>> {
    let all = all_commands();
    all.iter().map(|command| entry_of(std::slice::from_ref(command))).chain([entry_of(&all)]).collect()
}

/// Bytes after the number of the decoder that they are for, which is given by its name.
fn numbered<T>(readers: &[(&str, T)], name: &str, bytes: &[u8]) -> Vec<u8> {
    let number = readers.iter().position(|(other, _)| *other == name).expect("there is such a decoder");
    [&[u8::try_from(number).expect("they are few")], bytes].concat()
}

/// What each kind of row is made of, by the words of `docs/storage-format.md`.
pub fn rows() -> Vec<Vec<u8>> {
    let number = |number: u64| number.to_le_bytes();
    let member = b"\x01\x04\0\0\0name\x01\0\0\0\x0a\0\0\0http://p:1\0\0\0\0";
    let founding = [&b"\x02\x01\0\0\0"[..], &number(9), &(member.len() as u32).to_le_bytes(), member].concat();
    let sealed = [&crc32c::crc32c(b"keyvalue").to_le_bytes()[..], b"value"].concat();
    let row = |name, payload: &[u8]| numbered(storage::any_bytes::READERS, name, payload);
    vec![
        row("record", record().as_bytes()),
        row("lease", &[number(60), number(7)].concat()),
        row("lease", &[number(60), number(7), number(12)].concat()),
        row("member", member),
        row("removed", b""),
        row("log id", &[number(3), number(7)].concat()),
        row("identity", &[number(1), number(2)].concat()),
        row("founding", &founding),
        row("sum", &[number(1), number(2), number(3)].concat()),
        row("sealed value", &sealed),
    ]
}

/// Several segments as the body takes them: in order, one of them torn at its end, one whose log was cut and purged.
pub fn log_files() -> Vec<Vec<u8>> {
    let entry = |index: u64| {
        let mut out = vec![1];
        out.extend_from_slice(&index.to_le_bytes());
        out.extend_from_slice(&1u64.to_le_bytes());
        out.extend_from_slice(&2u32.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(b"xy").to_le_bytes());
        out.extend_from_slice(b"xy");
        out
    };
    let batch = |tag: u8, record: &[u8]| [&[tag, record.len() as u8], record].concat();
    let good = 3 | 1 << 3;
    let vote = batch(good, b"\x02\x04\0\0\0vote");
    let truncate = batch(good, b"\x04\x01\0\0\0\0\0\0\0");
    let purge = batch(good, b"\x05\x02\0\0\0\0\0\0\0\x04\0\0\0mark");
    let entries: Vec<Vec<u8>> = (1..5).map(|index| batch(good, &entry(index))).collect();
    let next = [0xff];
    vec![
        [&vote[..], &entries[0], &entries[1], &next, &entries[2], &purge, &next, &entries[3]].concat(),
        [&vote[..], &entries[0], &next, &entries[1], &batch(good | 64, &entry(3))].concat(),
        [&vote[..], &entries[0], &entries[1], &truncate, &entries[1]].concat(),
    ]
}

pub fn raft_messages() -> Vec<Vec<u8>> {
    let message = |name, bytes: &[u8]| numbered(raft::any_bytes::READERS, name, bytes);
    let vote = pb::Vote { term: 3, member: 7, committed: true };
    let at = |index| Some(pb::LogId { term: 2, index });
    // Two configurations of one member each, three members.
    let mut membership = [2u64, 9].map(u64::to_le_bytes).concat();
    for number in [2u32, 1, 7, 0, 1, 8, 0, 3, 7, 0, 8, 0, 9, 0] {
        membership.extend_from_slice(&number.to_le_bytes());
    }
    let entry = |index, payload: &[u8]| pb::Entry { term: 2, index, payload: Bytes::copy_from_slice(payload) };
    let of_members = [&[2], &membership[16..]].concat();
    let entries = vec![entry(5, b"\0"), entry(6, &entry_of(&all_commands())), entry(7, &of_members)];
    let append = pb::AppendEntriesRequest { vote: Some(vote), prev: at(4), entries, committed: at(3) };
    let outcome = |outcome| pb::AppendEntriesResponse { outcome: Some(outcome) }.encode_to_vec();
    let (last_log, membership_bytes) = (at(9), Bytes::from(membership.clone()));
    let head =
        pb::SnapshotHead { vote: Some(vote), last_log, membership: membership_bytes, sending: 1 << 40, offset: 9 };
    let mut forwarded = [&[3][..], &77u64.to_le_bytes()].concat();
    forwarded.extend_from_slice(&entry_of(&all_commands())[1..]);
    vec![
        message("append", &append.encode_to_vec()),
        message("append answer", &outcome(Outcome::Matching(at(9).unwrap()))),
        message("append answer", &outcome(Outcome::Conflict(at(9).unwrap()))),
        message("append answer", &outcome(Outcome::Higher(vote))),
        message("vote request", &pb::VoteRequest { vote: Some(vote), last_log, transfer: true }.encode_to_vec()),
        message("vote answer", &pb::VoteResponse { vote: Some(vote), granted: true, last_log }.encode_to_vec()),
        message("transfer", &pb::TransferRequest { leader: Some(vote), to: 8, last_log }.encode_to_vec()),
        message("snapshot answer", &pb::SnapshotResponse { vote: Some(vote) }.encode_to_vec()),
        message("snapshot head", &head.encode_to_vec()),
        message("forwarded batch", &forwarded),
        message("log entry", &of_members),
        message("log entry", &forwarded),
        message("kept vote", &[&3u64.to_le_bytes()[..], &7u64.to_le_bytes(), &[1]].concat()),
        message("log id", &[3u64.to_le_bytes(), 7u64.to_le_bytes()].concat()),
        message("membership", &membership),
    ]
}

pub fn peer_messages() -> Vec<Vec<u8>> {
    let marks = (0..3).map(|index| pb::ChainMark { index, chain: u64::MAX - index }).collect();
    let confession = Some(pb::Confession { index: 1, own: 2, right: 3 });
    let of_member = pb::Member { id: 9, name: "n".into(), peer_urls: vec!["http://p:1".into()], ..Default::default() };
    let messages: Vec<Vec<u8>> = vec![
        pb::PromoteRequest { id: 7 }.encode_to_vec(),
        pb::PromoteAnswer { outcome: 1, members: vec![of_member], why: "w".into() }.encode_to_vec(),
        pb::HashKvRequest { revision: -1 }.encode_to_vec(),
        pb::HashKvAnswer { outcome: 1, hash: 7, at: 3, compacted: -1, revision: 9, why: "w".into() }.encode_to_vec(),
        pb::PingRequest { marks, confession }.encode_to_vec(),
        pb::ProposeResponse { not_leading: true, overloaded: true, no_space: true }.encode_to_vec(),
        pb::ReadIndexResponse { index: 1 << 40 }.encode_to_vec(),
        pb::LeaseRequest { id: -4, with_keys: true }.encode_to_vec(),
        pb::LeaseResponse { left: 3, granted: 60, keys: vec![Bytes::from_static(b"k")], ..Default::default() }
            .encode_to_vec(),
    ];
    messages.into_iter().enumerate().map(|(i, message)| [&[i as u8], &message[..]].concat()).collect()
}

pub fn peer_streams() -> Vec<Vec<u8>> {
    let data = Bytes::from_static(b"a piece of a snapshot");
    let chunk = pb::SnapshotChunk { crc32c: crc32c::crc32c(&data), data };
    let messages: [Vec<u8>; 4] = [
        pb::CallRequest { method: 11, body: Bytes::from_static(b"body") }.encode_to_vec(),
        pb::AppendRequest { body: Bytes::from_static(b"body") }.encode_to_vec(),
        pb::SnapshotPart { part: Some(pb::snapshot_part::Part::Head(Bytes::from_static(b"head"))) }.encode_to_vec(),
        pb::SnapshotPart { part: Some(pb::snapshot_part::Part::Chunk(chunk)) }.encode_to_vec(),
    ];
    let mut stream = vec![3];
    for message in messages {
        stream.push(0);
        stream.extend_from_slice(&(message.len() as u32).to_be_bytes());
        stream.extend_from_slice(&message);
    }
    vec![stream]
}

pub fn peer_headers() -> Vec<Vec<u8>> {
    [
        "lodemark-cluster: cdf818194e3a8c32\nlodemark-from: 1\nlodemark-to: 8e9e05c52164694d",
        "grpc-status: 9\ngrpc-message: request%20is of cluster 1\nlodemark-refusal: 1 cdf818194e3a8c32 1",
        "grpc-status: 3\ngrpc-message: malformed%0A\nlodemark-refusal: 5 0 0\ngrpc-status-details-bin: AA=",
        "grpc-status: 14\ngrpc-message: not running\nlodemark-refusal: 6 0 0",
        "grpc-status: 0",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn txn_requests() -> Vec<Vec<u8>> {
    vec![txn().encode_to_vec()]
}

/// A txn with all kinds of operations, within another.
fn txn() -> etcd::TxnRequest {
    use etcd::request_op::Request;
    let key = || Bytes::from_static(b"key");
    let op = |request| etcd::RequestOp { request: Some(request) };
    let put = |name: &'static [u8]| {
        op(Request::RequestPut(etcd::PutRequest {
            key: Bytes::from_static(name),
            value: key(),
            lease: 4,
            prev_kv: true,
            ..Default::default()
        }))
    };
    let range =
        etcd::RangeRequest { key: key(), range_end: Bytes::from_static(b"kez"), limit: 2, ..Default::default() };
    let delete = etcd::DeleteRangeRequest { key: Bytes::from_static(b"kez"), prev_kv: true, ..Default::default() };
    let compare = etcd::Compare {
        result: 2,
        target: 3,
        key: key(),
        target_union: Some(etcd::compare::TargetUnion::Value(Bytes::from_static(b"vv"))),
        ..Default::default()
    };
    let nested = etcd::TxnRequest {
        compare: vec![compare.clone()],
        success: vec![put(b"a"), op(Request::RequestDeleteRange(delete))],
        failure: vec![op(Request::RequestRange(range.clone()))],
    };
    let success = vec![put(b"key"), op(Request::RequestRange(range)), op(Request::RequestTxn(nested))];
    etcd::TxnRequest { compare: vec![compare], success, failure: vec![put(b"b")] }
}

/// A message for every call.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let key = || Bytes::from_static(b"key");
    let range = etcd::RangeRequest { key: key(), range_end: Bytes::from_static(b"\0"), limit: 1, ..Default::default() };
    let sorted =
        etcd::RangeRequest { revision: 2, sort_order: 2, sort_target: 4, min_mod_revision: 1, ..range.clone() };
    let put = etcd::PutRequest { key: key(), value: key(), lease: 4, prev_kv: true, ..Default::default() };
    let keeping = etcd::PutRequest { key: key(), ignore_value: true, ignore_lease: true, ..Default::default() };
    let delete = etcd::DeleteRangeRequest { key: key(), range_end: Bytes::from_static(b"l"), prev_kv: true };
    let watch = |union| etcd::WatchRequest { request_union: Some(union) }.encode_to_vec();
    let create = etcd::WatchCreateRequest {
        key: key(),
        range_end: Bytes::from_static(b"kez"),
        start_revision: 1,
        progress_notify: true,
        filters: vec![0, 1],
        prev_kv: true,
        watch_id: 5,
        fragment: true,
    };
    let read = etcd::TxnRequest {
        success: vec![etcd::RequestOp {
            request: Some(etcd::request_op::Request::RequestRange(etcd::RangeRequest {
                serializable: true,
                ..range.clone()
            })),
        }],
        ..Default::default()
    };
    let of_leader = v3electionpb::LeaderKey { name: key(), key: key(), rev: 2, lease: 4 };
    let urls = || vec!["http://10.0.0.1:2380".to_owned(), "unix:///run/p.sock".to_owned()];
    vec![
        ("/etcdserverpb.KV/Range", range.encode_to_vec()),
        ("/etcdserverpb.KV/Range", sorted.encode_to_vec()),
        ("/etcdserverpb.KV/RangeStream", range.encode_to_vec()),
        ("/etcdserverpb.KV/Put", put.encode_to_vec()),
        ("/etcdserverpb.KV/Put", keeping.encode_to_vec()),
        ("/etcdserverpb.KV/DeleteRange", delete.encode_to_vec()),
        ("/etcdserverpb.KV/Txn", txn().encode_to_vec()),
        ("/etcdserverpb.KV/Txn", read.encode_to_vec()),
        ("/etcdserverpb.KV/Compact", etcd::CompactionRequest { revision: 3, physical: true }.encode_to_vec()),
        ("/etcdserverpb.Watch/Watch", watch(RequestUnion::CreateRequest(create))),
        ("/etcdserverpb.Watch/Watch", watch(RequestUnion::CancelRequest(etcd::WatchCancelRequest { watch_id: 5 }))),
        ("/etcdserverpb.Watch/Watch", watch(RequestUnion::ProgressRequest(etcd::WatchProgressRequest {}))),
        ("/etcdserverpb.Lease/LeaseGrant", etcd::LeaseGrantRequest { ttl: 60, id: 4 }.encode_to_vec()),
        ("/etcdserverpb.Lease/LeaseRevoke", etcd::LeaseRevokeRequest { id: 4 }.encode_to_vec()),
        ("/etcdserverpb.Lease/LeaseKeepAlive", etcd::LeaseKeepAliveRequest { id: 4 }.encode_to_vec()),
        ("/etcdserverpb.Lease/LeaseTimeToLive", etcd::LeaseTimeToLiveRequest { id: 4, keys: true }.encode_to_vec()),
        ("/etcdserverpb.Lease/LeaseLeases", Vec::new()),
        (
            "/etcdserverpb.Cluster/MemberAdd",
            etcd::MemberAddRequest { peer_urls: urls(), is_learner: true }.encode_to_vec(),
        ),
        ("/etcdserverpb.Cluster/MemberRemove", etcd::MemberRemoveRequest { id: 7 }.encode_to_vec()),
        ("/etcdserverpb.Cluster/MemberUpdate", etcd::MemberUpdateRequest { id: 7, peer_urls: urls() }.encode_to_vec()),
        ("/etcdserverpb.Cluster/MemberList", etcd::MemberListRequest { linearizable: true }.encode_to_vec()),
        ("/etcdserverpb.Cluster/MemberPromote", etcd::MemberPromoteRequest { id: 7 }.encode_to_vec()),
        ("/etcdserverpb.Maintenance/Alarm", etcd::AlarmRequest { action: 1, member_id: 7, alarm: 1 }.encode_to_vec()),
        ("/etcdserverpb.Maintenance/Status", Vec::new()),
        ("/etcdserverpb.Maintenance/Defragment", Vec::new()),
        ("/etcdserverpb.Maintenance/Hash", Vec::new()),
        ("/etcdserverpb.Maintenance/HashKV", etcd::HashKvRequest { revision: 2 }.encode_to_vec()),
        ("/etcdserverpb.Maintenance/Snapshot", Vec::new()),
        ("/etcdserverpb.Maintenance/MoveLeader", etcd::MoveLeaderRequest { target_id: 7 }.encode_to_vec()),
        (
            "/etcdserverpb.Maintenance/Downgrade",
            etcd::DowngradeRequest { action: 1, version: "3.6".into() }.encode_to_vec(),
        ),
        ("/v3lockpb.Lock/Lock", v3lockpb::LockRequest { name: key(), lease: 4 }.encode_to_vec()),
        ("/v3lockpb.Lock/Unlock", v3lockpb::UnlockRequest { key: key() }.encode_to_vec()),
        (
            "/v3electionpb.Election/Campaign",
            v3electionpb::CampaignRequest { name: key(), lease: 4, value: key() }.encode_to_vec(),
        ),
        (
            "/v3electionpb.Election/Proclaim",
            v3electionpb::ProclaimRequest { leader: Some(of_leader.clone()), value: key() }.encode_to_vec(),
        ),
        ("/v3electionpb.Election/Leader", v3electionpb::LeaderRequest { name: key() }.encode_to_vec()),
        ("/v3electionpb.Election/Observe", v3electionpb::LeaderRequest { name: key() }.encode_to_vec()),
        ("/v3electionpb.Election/Resign", v3electionpb::ResignRequest { leader: Some(of_leader) }.encode_to_vec()),
        ("/grpc.health.v1.Health/Check", healthpb::HealthCheckRequest { service: String::new() }.encode_to_vec()),
        ("/grpc.health.v1.Health/Watch", healthpb::HealthCheckRequest { service: "etcd".into() }.encode_to_vec()),
    ]
}

pub fn requests() -> Vec<Vec<u8>> {
    let readers = grpc::any_bytes::READERS;
    let all = messages();
    assert!(readers.iter().all(|(path, _)| all.iter().any(|(other, _)| other == path)), "each call has a message");
    all.iter().map(|(path, message)| numbered(readers, path, message)).collect()
}

/// The same as calls, and streams of several messages.
pub fn calls() -> Vec<Vec<u8>> {
    let readers = grpc::any_bytes::READERS;
    let all = messages();
    let mut calls: Vec<_> =
        all.iter().map(|(path, message)| numbered(readers, path, &[&[0], &message[..]].concat())).collect();
    let streamed = |path: &str| {
        let of_path = all.iter().filter(|(other, _)| *other == path);
        let messages: Vec<u8> =
            of_path.flat_map(|(_, message)| [&[message.len() as u8], &message[..]].concat()).collect();
        numbered(readers, path, &[&[2], &messages[..]].concat())
    };
    calls.extend([streamed("/etcdserverpb.Watch/Watch"), streamed("/etcdserverpb.Lease/LeaseKeepAlive")]);
    calls
}

/// Bodies of the JSON gateway, behind the number of their message.
pub fn json() -> Vec<Vec<u8>> {
    [
        ("PutRequest", r#"{"key":"Zm9v","value":"/+8=","lease":"7587","prev_kv":true,"ignore_value":null}"#),
        ("RangeRequest", r#"{"key":"_-8","rangeEnd":"YQ==","limit":1.5e1,"sort_order":"DESCEND","sortTarget":3}"#),
        (
            "TxnRequest",
            r#"{"compare":[{"key":"Zm9v","target":"CREATE","result":1,"create_revision":"0"}],"success":[{"request_put":
                {"key":"YQ"}},{"request_txn":{"failure":[{"request_range":{"key":"Zm9v"}}]}}],"x":[{},[1,"\u00e9"],-0.5]}"#,
        ),
        ("WatchRequest", r#"{"create_request":{"key":"AA==","range_end":"AA==","filters":["NOPUT",1],"watch_id":-1}}"#),
        ("MemberAddRequest", r#"{"peerURLs":["http://a:1","\ud83d\ude00\n\"\\"],"isLearner":true}"#),
        ("AlarmRequest", r#"{"action":"ACTIVATE","memberID":"18446744073709551615","alarm":"NOSPACE"} {}"#),
        ("HashResponse", r#"{"header":{"cluster_id":1,"revision":"-1"},"hash":4294967295}"#),
    ]
    .map(|(name, json)| [&[json_number(name)], json.as_bytes()].concat())
    .to_vec()
}

/// Messages that become JSON, behind their number and the size of the pieces in which they come.
pub fn messages_for_json() -> Vec<Vec<u8>> {
    let header = etcd::ResponseHeader { cluster_id: u64::MAX, member_id: 1, revision: -1, raft_term: 300 };
    let kv = lodemark::proto::KeyValue::from(record());
    let range = etcd::RangeResponse { header: Some(header), kvs: vec![kv.clone(), kv], more: true, count: 2 };
    let texts = etcd::AuthUserListResponse { header: Some(header), users: vec![String::new(), "a\n\"\u{e9}".into()] };
    [
        ("RangeResponse", 3, range.encode_to_vec()),
        ("AuthUserListResponse", 1, texts.encode_to_vec()),
        // Two filters, packed; a field that is not known.
        ("WatchCreateRequest", 2, vec![0x2a, 2, 0, 1, 0xb2, 0x06, 1, 0xff]),
    ]
    .map(|(name, piece_bytes, message)| [&[json_number(name), piece_bytes], &message[..]].concat())
    .to_vec()
}

fn json_number(name: &str) -> u8 {
    gateway::any_bytes::number(&format!("etcdserverpb.{name}")).expect("there is such a message")
}

pub fn headers() -> Vec<Vec<u8>> {
    [
        "grpc-timeout: 99999999H",
        "grpc-timeout: 5S\nhasleader: true\nclient-api-version: 3.7",
        "x-etcd-cluster-id: 6451b2d193b04a03\nx-lodemark-version: 0.1.0\n\n[{\"id\":9,\"peerURLs\":[\"http://10.0.0.1:2380\"],\
         \"isLearner\":true,\"name\":\"n\",\"clientURLs\":[\"http://a:1\"]}]",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn flags() -> Vec<Vec<u8>> {
    [
        "--",
        "--name=n\0--data-dir\0d\0--listen-client-urls=http://127.0.0.1:1,unix://s\0--advertise-client-urls=http://a:1",
        "--name=n\0--initial-cluster=n=http://10.0.0.1:2,m=http://b:2\0--initial-advertise-peer-urls=http://10.0.0.1:2\0\
         --initial-cluster-token=t\0--listen-peer-urls=http://10.0.0.1:2",
        "--initial-cluster=default=http://a:1\0--initial-advertise-peer-urls=http://10.0.0.1:1",
        "--snapshot-count=0x10\0--heartbeat-interval=100\0--election-timeout=1000\0--max-learners=3\0--pre-vote=F",
        "--max-request-bytes=0\0--max-txn-ops=1\0--max-concurrent-streams=9\0--watch-progress-notify-interval=1h30m.5s",
        "--peer-auto-tls\0--listen-peer-urls=https://[::1]:2\0--initial-cluster=default=https://[::1]:2\0\
         --initial-advertise-peer-urls=https://[::1]:2\0--log-level=warn",
        "--peer-cert-file=c\0--peer-key-file=k\0--peer-client-cert-auth\0--peer-trusted-ca-file=t\0--force-new-cluster",
        "--listen-client-urls=https://[::1]:2,unixs://s\0--advertise-client-urls=https://a:1\0--cert-file=c\0--key-file=k\0\
         --client-cert-auth\0--auth-token=jwt,sign-method=ES512\0--bcrypt-cost=4\0--auth-token-ttl=9",
        "--experimental-max-learners=3\0--strict-reconfig-check=false\0--agreement-check=0\0--initial-cluster-state=existing",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn config_files() -> Vec<Vec<u8>> {
    [
        "name: n\ndata-dir: 'a b'\nlisten-client-urls: http://127.0.0.1:1,unix://s\nsnapshot-count: 0x10\npre-vote: no\n",
        "{\"name\": \"n\", \"heartbeat-interval\": 50, \"cors\": \"*\", \"corrupt-check-time\": 5000000000}",
        "client-transport-security: &tls\n  cert-file: c\n  key-file: k\n  allowed-cn: [a, 'b,c']\n  auto-tls: false\n\
         peer-transport-security: *tls\nfeature-gates: InitialCorruptCheck=true\n",
        "# remark\nauto-compaction-retention: \"1h\"\nquota-backend-bytes: -1\nproxy: 'off'\ninitial-cluster-token: |\n  t\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Of members' memory, and of each method that etcd knows; and claims.
pub fn tokens() -> Vec<Vec<u8>> {
    let made_by_etcd = include_str!("../../../src/auth/token/testdata/made_by_etcd.txt");
    let kept = ["HS256", "RS256", "ES256", "ES512", "EdDSA"];
    let signed = made_by_etcd.lines().filter_map(|line| line.split_once(' '));
    let signed = signed.filter(|(method, _)| kept.contains(method)).map(|(_, token)| token);
    let others = ["QmFzZTabcdefGHIJ.4711", "\0{\"exp\":1900000000,\"nbf\":5.5,\"revision\":7,\"username\":\"a\"}"];
    signed.chain(others).map(|text| text.as_bytes().to_vec()).collect()
}

/// What follows `--auth-token=`, and keys.
pub fn token_options() -> Vec<Vec<u8>> {
    let texts = ["simple", "", "jwt,sign-method=RS256,pub-key=a,priv-key=b,ttl=1h5m", "jwt,sign-method=EdDSA,x=y"];
    let texts = texts.map(|text| [b"\0", text.as_bytes()].concat());
    // The methods, counted from HS256 on; from 128 on, which is 11 more than a multiple of 13, keys are public.
    let keys: [(u8, &[u8]); 8] = [
        (13, include_bytes!("../../../src/auth/token/testdata/hmac.txt")),
        (3, include_bytes!("../../../src/auth/token/testdata/rsa.pem")),
        (9, include_bytes!("../../../src/auth/token/testdata/p256.pem")),
        (10, include_bytes!("../../../src/auth/token/testdata/p384.pem")),
        (11, include_bytes!("../../../src/auth/token/testdata/p521.pem")),
        (12, include_bytes!("../../../src/auth/token/testdata/ed25519.pem")),
        (130 + 6, include_bytes!("../../../src/auth/token/testdata/rsa.pub.pem")),
        (130 + 9, include_bytes!("../../../src/auth/token/testdata/p256.cert.pem")),
    ];
    texts.into_iter().chain(keys.map(|(first, key)| [&[first], key].concat())).collect()
}

pub fn addresses() -> Vec<Vec<u8>> {
    ["http://10.0.0.1:2380", "https://[::1]:2380/", " HTTP://m1.example.com:1", "unix:///run/e.sock", "unixs://l:20"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

/// Steps need no form: these are long enough for a history.
pub fn steps() -> Vec<Vec<u8>> {
    let random = SeededRandom::new(5);
    (0..16).map(|_| (0..24).flat_map(|_| random.next_u64().to_le_bytes()).collect()).collect()
}
