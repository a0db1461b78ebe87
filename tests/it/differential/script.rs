//! What random sequences do not reach: locks, elections, members, maintenance, alarms, leases that expire, and overload.
//!
//! One fixed sequence on one pair. Calls that wait, as `Lock` does, begin on both servers; the script goes on when their
//! keys are there on both.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::task::JoinHandle;
use tonic::{Code, Streaming};

use super::client::{ANSWER_TIME_MAX, Client, Failure, collect, in_time, next};
use super::compare::first_difference;
use super::overload;
use super::report::{Difference, Report};
use super::request::{Blur, LeaseNames};
use super::rules::{self, Reached};
use super::wire::*;

const LOCK: &str = "/v3lockpb.Lock/Lock";
const UNLOCK: &str = "/v3lockpb.Lock/Unlock";
const CAMPAIGN: &str = "/v3electionpb.Election/Campaign";
const PROCLAIM: &str = "/v3electionpb.Election/Proclaim";
const LEADER: &str = "/v3electionpb.Election/Leader";
const OBSERVE: &str = "/v3electionpb.Election/Observe";
const RESIGN: &str = "/v3electionpb.Election/Resign";
const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const DELETE_RANGE: &str = "/etcdserverpb.KV/DeleteRange";
const TXN: &str = "/etcdserverpb.KV/Txn";
const COMPACT: &str = "/etcdserverpb.KV/Compact";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const TIME_TO_LIVE: &str = "/etcdserverpb.Lease/LeaseTimeToLive";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const ALARM: &str = "/etcdserverpb.Maintenance/Alarm";

/// Actions on alarms, and the alarms.
const GET: i32 = 0;
const ACTIVATE: i32 = 1;
const DEACTIVATE: i32 = 2;
const NONE: i32 = 0;
const NOSPACE: i32 = 1;
const CORRUPT: i32 = 2;

/// The leases of the locks and elections. The third one's keys end with a sign.
const LEASES: [i64; 3] = [0x10, 0x11, -7];
/// Elections whose observer does not read, one for each attempt.
const OBSERVED_NAMES: [&str; 4] = ["o1", "o2", "o3", "o4"];
/// Proclamations that it misses: more than the 128 that this server keeps for it, but so short that etcd's 64 KiB for a
/// stream take them all.
const MISSED_VALUES_LEN: usize = 300;
/// Leaders that it misses after that: the value of one fills those 64 KiB, and two more wait.
const MISSED_LEADERS_LEN: usize = 5;
const LONG_VALUE_LEN: usize = 64 * 1024;
/// How long each of them leads: etcd's observer must see three, and may need 100 ms to catch up with one.
const TERM_TIME: Duration = Duration::from_millis(200);
/// It is proclaimed after the compaction: only an observer that was not overtaken sees it.
const UNMISSABLE: &str = "not to be missed";
/// No lease has this id, and no member.
const MISSING: i64 = 404_404;

/// A pair of servers, and what was different so far.
pub struct Script {
    endpoints: [String; 2],
    clients: [Client; 2],
    pub report: Report,
    pub reached: Reached,
    replay: &'static str,
}

type Two<A> = [Result<A, Failure>; 2];

impl Script {
    pub fn new(endpoints: [&str; 2], replay: &'static str) -> Script {
        Script {
            endpoints: endpoints.map(str::to_owned),
            clients: endpoints.map(Client::new),
            report: Report::default(),
            reached: Reached::default(),
            replay,
        }
    }

    pub async fn run(&mut self) {
        for id in LEASES {
            self.grant(id, 3_600).await;
        }
        self.locks().await;
        self.locks_that_wait().await;
        self.elections().await;
        self.elections_that_fail().await;
        self.observers_that_do_not_read().await;
        self.members().await;
        self.maintenance().await;
        self.alarms().await;
        self.expiry().await;
        // The last: how much a server takes before it refuses is its own affair.
        self.overload().await;
    }

    async fn locks(&mut self) {
        let [first, second, signed] = LEASES;
        let _ = self.ask::<_, LockResponse>(LOCK, lock("l", first)).await;
        // Again: the same answer, and no write.
        let _ = self.ask::<_, LockResponse>(LOCK, lock("l", first)).await;
        let _ = self.ask::<_, LockResponse>(LOCK, lock("negative", signed)).await;
        let _ = self.ask::<_, LockResponse>(LOCK, lock("", second)).await;
        let _ = self.ask::<_, LockResponse>(LOCK, lock("l", MISSING)).await;
        self.all_keys().await;
        let _ = self.ask::<_, OnlyHeader>(UNLOCK, name("l/10")).await;
        let _ = self.ask::<_, OnlyHeader>(UNLOCK, name("l/10")).await;
        let _ = self.ask::<_, OnlyHeader>(UNLOCK, name("")).await;
        // The server's own lease is seen in the key alone.
        let owned = self.ask::<_, LockResponse>(LOCK, lock("own", 0)).await;
        for (client, owned) in self.clients.clone().iter().zip(owned) {
            let key = owned.map(|owned| owned.key).unwrap_or_default();
            let hex = key.strip_prefix(b"own/").and_then(|hex| std::str::from_utf8(hex).ok());
            let id = hex.and_then(|hex| i64::from_str_radix(hex, 16).ok());
            self.expect(
                "the key of a lock ends with its lease",
                hex.is_some() && id.map(|id| format!("{id:x}")).as_deref() == hex,
                &key,
            );
            let lease = LeaseTimeToLiveRequest { id: id.unwrap_or(0), keys: true };
            let lease: Result<LeaseTimeToLiveResponse, _> = client.unary(TIME_TO_LIVE, lease).await;
            let is_of_60_seconds =
                lease.as_ref().is_ok_and(|lease| lease.granted_ttl == 60 && lease.keys == [key.clone()]);
            self.expect("a lock without a lease has one of 60 s", is_of_60_seconds, &lease);
            let unlocked: Result<OnlyHeader, _> = client.unary(UNLOCK, NameRequest { name: key }).await;
            self.expect("it can be unlocked", unlocked.is_ok(), &unlocked);
        }
        self.all_keys().await;
    }

    async fn locks_that_wait(&mut self) {
        let [first, second, _] = LEASES;
        let _ = self.ask::<_, LockResponse>(LOCK, lock("w", first)).await;
        let waiting = self.begin::<_, LockResponse>(LOCK, lock("w", second), "w/11").await;
        let _ = self.ask::<_, OnlyHeader>(UNLOCK, name("w/10")).await;
        self.end("Lock that waited", waiting).await;
        let _ = self.ask::<_, OnlyHeader>(UNLOCK, name("w/11")).await;

        // A key that is not of a lock counts too.
        let put = PutRequest { key: "f/foreign".into(), ..PutRequest::default() };
        let _ = self.ask::<_, PutResponse>(PUT, put).await;
        let waiting = self.begin::<_, LockResponse>(LOCK, lock("f", first), "f/10").await;
        let delete = DeleteRangeRequest { key: "f/foreign".into(), ..DeleteRangeRequest::default() };
        let _ = self.ask::<_, DeleteRangeResponse>(DELETE_RANGE, delete).await;
        self.end("Lock behind a foreign key", waiting).await;

        // Its own key goes while it waits.
        let waiting = self.begin::<_, LockResponse>(LOCK, lock("f", second), "f/11").await;
        let _ = self.ask::<_, OnlyHeader>(REVOKE, LeaseRequest { id: second }).await;
        let _ = self.ask::<_, OnlyHeader>(UNLOCK, name("f/10")).await;
        self.end("Lock whose lease was revoked", waiting).await;
        self.grant(second, 3_600).await;
        self.all_keys().await;
    }

    async fn elections(&mut self) {
        let [first, second, signed] = LEASES;
        let _ = self.ask::<_, CampaignResponse>(CAMPAIGN, campaign("e", first, "v1")).await;
        let [old, _] = self.ask::<_, LeaderResponse>(LEADER, name("e")).await;
        let mut observed = observe(&self.clients, "e").await;
        self.observed(&mut observed).await;
        let leader =
            |lease: i64, rev: i64| LeaderKey { name: "e".into(), key: format!("e/{lease:x}").into(), rev, lease };
        let old = leader(first, old.ok().and_then(|old| old.kv).map_or(0, |kv| kv.create_revision));
        let proclaim = |leader: &LeaderKey, value: &'static str| LeaderKeyRequest {
            leader: Some(leader.clone()),
            value: value.into(),
        };
        let _ = self.ask::<_, OnlyHeader>(PROCLAIM, proclaim(&old, "v2")).await;
        self.observed(&mut observed).await;
        // Campaigning again with another value proclaims it.
        let _ = self.ask::<_, CampaignResponse>(CAMPAIGN, campaign("e", first, "v3")).await;
        self.observed(&mut observed).await;
        let _ = self.ask::<_, CampaignResponse>(CAMPAIGN, campaign("e", first, "v3")).await;

        let waiting = self.begin::<_, CampaignResponse>(CAMPAIGN, campaign("e", second, "w"), "e/11").await;
        let _ = self.ask::<_, OnlyHeader>(RESIGN, proclaim(&old, "")).await;
        self.end("Campaign that waited", waiting).await;
        self.observed(&mut observed).await;
        let _ = self.ask::<_, LeaderResponse>(LEADER, name("e")).await;
        let _ = self.ask::<_, OnlyHeader>(PROCLAIM, proclaim(&old, "too late")).await;
        let _ = self.ask::<_, OnlyHeader>(RESIGN, proclaim(&old, "")).await;

        // Nobody leads for a while.
        let delete = DeleteRangeRequest { key: "e/11".into(), ..DeleteRangeRequest::default() };
        let _ = self.ask::<_, DeleteRangeResponse>(DELETE_RANGE, delete).await;
        let _ = self.ask::<_, LeaderResponse>(LEADER, name("e")).await;
        let put = PutRequest { key: "e/x".into(), lease: signed, value: "by hand".into(), ..PutRequest::default() };
        let _ = self.ask::<_, PutResponse>(PUT, put).await;
        self.observed(&mut observed).await;
        let _ = self.ask::<_, LeaderResponse>(LEADER, name("e")).await;
        self.all_keys().await;
    }

    async fn elections_that_fail(&mut self) {
        let no_leader = LeaderKeyRequest { leader: None, value: "v".into() };
        let _ = self.ask::<_, OnlyHeader>(PROCLAIM, no_leader.clone()).await;
        let _ = self.ask::<_, OnlyHeader>(RESIGN, no_leader).await;
        let empty = LeaderKeyRequest { leader: Some(LeaderKey::default()), value: "v".into() };
        let _ = self.ask::<_, OnlyHeader>(PROCLAIM, empty.clone()).await;
        let _ = self.ask::<_, OnlyHeader>(RESIGN, empty).await;
        let _ = self.ask::<_, LeaderResponse>(LEADER, name("nobody")).await;
        let _ = self.ask::<_, LeaderResponse>(LEADER, name("")).await;
        let _ = self.ask::<_, CampaignResponse>(CAMPAIGN, campaign("e", MISSING, "v")).await;
        let wrong_lease = LeaderKey { name: "e".into(), key: "missing".into(), rev: 0, lease: MISSING };
        let wrong_lease = LeaderKeyRequest { leader: Some(wrong_lease), value: "v".into() };
        let _ = self.ask::<_, OnlyHeader>(PROCLAIM, wrong_lease).await;
        self.all_keys().await;
    }

    /// A compaction overtakes an observer that does not read.
    async fn observers_that_do_not_read(&mut self) {
        let narrow = self.endpoints.each_ref().map(|endpoint| Client::narrow(endpoint));
        for name in OBSERVED_NAMES {
            let [old, _] = self.ask::<_, CampaignResponse>(CAMPAIGN, campaign(name, LEASES[0], "first")).await;
            let streams = observe(&narrow, name).await;
            self.overtake(name, old.ok().and_then(|old| old.leader)).await;
            let [left, right] = streams;
            let (left, right) = tokio::join!(ends_before(left, UNMISSABLE), ends_before(right, UNMISSABLE));
            // One was quicker than the compaction.
            if matches!((&left, &right), (Ok(false), Ok(_)) | (Ok(_), Ok(false))) {
                continue;
            }
            self.compare("the end of Observe", &name, &left, &right);
            if left == Ok(true) {
                self.reached.hit(rules::OBSERVE_ENDS);
            }
            return;
        }
    }

    /// Writes what an observer must have read when the compaction comes, in both ways in which one is lost:
    ///
    /// * Ours follows a leader through a bounded queue, and is lost when that has run over: many values do it.
    /// * etcd's keeps everything of one leader in memory, and is lost only between two: it asks who leads, waits until
    ///   that is on its way, and then watches from there. Long values make it wait.
    async fn overtake(&mut self, name: &'static str, leader: Option<LeaderKey>) {
        let proclaim = |leader: &Option<LeaderKey>, value: &'static str| LeaderKeyRequest {
            leader: leader.clone(),
            value: value.into(),
        };
        for _ in 0..MISSED_VALUES_LEN {
            let _ = self.ask::<_, OnlyHeader>(PROCLAIM, proclaim(&leader, "short")).await;
        }
        let _ = self.ask::<_, OnlyHeader>(RESIGN, proclaim(&leader, "")).await;
        for _ in 0..MISSED_LEADERS_LEN {
            let long = Bytes::from(vec![b'v'; LONG_VALUE_LEN]);
            let [leader, _] = self.ask::<_, CampaignResponse>(CAMPAIGN, campaign(name, LEASES[0], long)).await;
            let leader = leader.ok().and_then(|leader| leader.leader);
            tokio::time::sleep(TERM_TIME).await;
            let _ = self.ask::<_, OnlyHeader>(RESIGN, proclaim(&leader, "")).await;
        }
        let [last, _] = self.ask::<_, CampaignResponse>(CAMPAIGN, campaign(name, LEASES[1], "last")).await;
        let revision = last.as_ref().ok().and_then(|last| last.header.as_ref()).map_or(0, |header| header.revision);
        let _ = self.ask::<_, OnlyHeader>(COMPACT, CompactionRequest { revision, physical: false }).await;
        let leader = last.ok().and_then(|last| last.leader);
        let _ = self.ask::<_, OnlyHeader>(PROCLAIM, proclaim(&leader, UNMISSABLE)).await;
    }

    /// More writes than each server takes.
    async fn overload(&mut self) {
        let mut refusals = Vec::new();
        for endpoint in self.endpoints.clone() {
            refusals.push(overload::refusal(&endpoint).await);
            let after = overload::write_after(&endpoint).await;
            self.expect("writes are taken again after an overload", after.is_ok(), &(endpoint, after));
        }
        let [left, right] = [refusals.swap_remove(0), refusals.swap_remove(0)];
        self.compare("the refusal of a server that has too much to do", &"many puts", &left, &right);
        if left.is_some_and(|refusal| refusal.code == Code::Unknown) {
            self.reached.hit(rules::TOO_MANY_REQUESTS);
        }
    }

    async fn members(&mut self) {
        for linearizable in [false, true] {
            let _ = self
                .ask::<_, MembersResponse>("/etcdserverpb.Cluster/MemberList", MemberListRequest { linearizable })
                .await;
        }
        let missing = MemberRequest { id: 404_404 };
        for path in ["/etcdserverpb.Cluster/MemberRemove", "/etcdserverpb.Cluster/MemberPromote"] {
            let _ = self.ask::<_, MembersResponse>(path, missing.clone()).await;
        }
        let update = Member { id: 404_404, name: "http://127.0.0.1:1".into(), ..Member::default() };
        let _ = self.ask::<_, MembersResponse>("/etcdserverpb.Cluster/MemberUpdate", update).await;
        let _ = self.ask::<_, OnlyHeader>("/etcdserverpb.Maintenance/MoveLeader", missing).await;
    }

    async fn maintenance(&mut self) {
        let _ = self.ask::<_, OnlyHeader>("/etcdserverpb.Maintenance/Defragment", Nothing {}).await;
        let _ = self.ask::<_, StatusResponse>("/etcdserverpb.Maintenance/Status", Nothing {}).await;
        let mut revision = 0;
        for _ in 0..3 {
            let put = PutRequest { key: "k".into(), ..Default::default() };
            let [answer, _] = self.ask::<_, PutResponse>(PUT, put).await;
            revision = answer.ok().and_then(|answer| answer.header).map_or(0, |header| header.revision);
        }
        let compact = CompactionRequest { revision: revision - 1, physical: true };
        let _ = self.ask::<_, OnlyHeader>(COMPACT, compact).await;
        // Not that of the compaction itself: there etcd answers what it found then (docs/compatibility.md).
        for revision in [0, revision, revision - 2, revision + 1, -1] {
            let path = "/etcdserverpb.Maintenance/HashKV";
            let _ = self.ask::<_, HashKvResponse>(path, CompactionRequest { revision, physical: false }).await;
        }
        for (client, side) in self.clients.clone().iter().zip(["reference", "subject"]) {
            let snapshot = client.server_streaming("/etcdserverpb.Maintenance/Snapshot", Nothing {}).await;
            let chunks: Result<Vec<SnapshotResponse>, Failure> = match snapshot {
                Ok(stream) => collect(stream).await,
                Err(failure) => Err(failure),
            };
            let outline = chunks.map(|chunks| {
                let has_header = chunks.iter().any(|chunk| chunk.header.is_some());
                let bytes: usize = chunks.iter().map(|chunk| chunk.blob.len()).sum();
                (has_header, bytes > 0, chunks.last().map(|chunk| chunk.remaining_bytes))
            });
            let is_right = outline == Ok((false, true, Some(0)));
            self.expect("a snapshot has bytes, no headers, and nothing remains", is_right, &(side, outline));
        }
    }

    async fn alarms(&mut self) {
        let alarm = |action, member_id, alarm| AlarmRequest { action, member_id, alarm };
        self.writes_under_alarms().await;
        for request in [
            alarm(GET, 0, NONE),
            alarm(ACTIVATE, 5, NONE),
            alarm(ACTIVATE, 77, NOSPACE),
            alarm(ACTIVATE, 77, NOSPACE),
            alarm(GET, 0, NONE),
            alarm(GET, 0, NOSPACE),
            alarm(GET, 0, CORRUPT),
            // Zero is not every member.
            alarm(DEACTIVATE, 0, NOSPACE),
            alarm(DEACTIVATE, 77, CORRUPT),
            alarm(DEACTIVATE, 77, NONE),
        ] {
            let _ = self.ask::<_, AlarmResponse>(ALARM, request).await;
        }
        self.writes_under_alarms().await;
        let _ = self.ask::<_, AlarmResponse>(ALARM, alarm(ACTIVATE, 0, CORRUPT)).await;
        let _ = self.ask::<_, AlarmResponse>(ALARM, alarm(GET, 0, NONE)).await;
        self.writes_under_alarms().await;
        let _ = self.ask::<_, AlarmResponse>(ALARM, alarm(DEACTIVATE, 77, NOSPACE)).await;
        self.writes_under_alarms().await;
        let _ = self.ask::<_, AlarmResponse>(ALARM, alarm(DEACTIVATE, 0, CORRUPT)).await;
        let _ = self.ask::<_, AlarmResponse>(ALARM, alarm(GET, 0, NONE)).await;
        self.writes_under_alarms().await;
    }

    /// One of each kind that an alarm may refuse.
    async fn writes_under_alarms(&mut self) {
        let put = PutRequest { key: "alarm".into(), ..PutRequest::default() };
        let delete = DeleteRangeRequest { key: "alarm".into(), ..DeleteRangeRequest::default() };
        let range = RangeRequest { key: "alarm".into(), ..RangeRequest::default() };
        let txn = |op| TxnRequest { success: vec![RequestOp { request: Some(op) }], ..TxnRequest::default() };
        let _ = self.ask::<_, PutResponse>(PUT, put.clone()).await;
        let _ = self.ask::<_, TxnResponse>(TXN, txn(Op::Put(put.clone()))).await;
        let nested = Op::Txn(TxnRequest { failure: txn(Op::Put(put)).success, ..TxnRequest::default() });
        let _ = self.ask::<_, TxnResponse>(TXN, txn(nested)).await;
        let _ = self.ask::<_, TxnResponse>(TXN, txn(Op::DeleteRange(delete.clone()))).await;
        let _ = self.ask::<_, TxnResponse>(TXN, txn(Op::Range(range.clone()))).await;
        let _ = self.ask::<_, DeleteRangeResponse>(DELETE_RANGE, delete).await;
        let _ = self.ask::<_, RangeResponse>(RANGE, range).await;
        let [header, _] = self.ask::<_, RangeResponse>(RANGE, all()).await;
        let revision = header.ok().and_then(|answer| answer.header).map_or(0, |header| header.revision);
        let _ = self.ask::<_, OnlyHeader>(COMPACT, CompactionRequest { revision, physical: false }).await;
        self.grant(0x20, 3_600).await;
        let _ = self.ask::<_, OnlyHeader>(REVOKE, LeaseRequest { id: 0x20 }).await;
    }

    async fn expiry(&mut self) {
        self.grant(0x21, 1).await;
        for key in ["x/2", "x/1", "x/3"] {
            let put = PutRequest { key: key.into(), lease: 0x21, ..PutRequest::default() };
            let _ = self.ask::<_, PutResponse>(PUT, put).await;
        }
        let _ = self
            .ask::<_, LeaseTimeToLiveResponse>(TIME_TO_LIVE, LeaseTimeToLiveRequest { id: 0x21, keys: false })
            .await;
        // Past the 2 s of the smallest lease, perhaps before its revoke: a keepalive must not bring it back either way.
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        for _ in 0..2 {
            self.keep_alive(0x21).await;
        }
        let _ =
            self.ask::<_, LeaseTimeToLiveResponse>(TIME_TO_LIVE, LeaseTimeToLiveRequest { id: 0x21, keys: true }).await;
        let _ = self.ask::<_, OnlyHeader>(REVOKE, LeaseRequest { id: 0x21 }).await;
        self.all_keys().await;

        let watch =
            WatchCreate { key: "x/".into(), range_end: "x0".into(), start_revision: 1, ..WatchCreate::default() };
        let watch = WatchCreate { start_revision: self.compacted_after_expiry().await, ..watch };
        let mut deleted = Vec::new();
        for client in self.clients.clone() {
            deleted.push(deletes_of(&client, watch.clone(), 3).await);
        }
        let [left, right] = [deleted.swap_remove(0), deleted.swap_remove(0)];
        self.compare("the events of an expired lease", &watch, &left, &right);
    }

    /// The lowest revision that can be watched.
    async fn compacted_after_expiry(&mut self) -> i64 {
        let [answer, _] = self.ask::<_, RangeResponse>(RANGE, all()).await;
        let revision = answer.ok().and_then(|answer| answer.header).map_or(0, |header| header.revision);
        // The three puts and the revoke.
        revision - 3
    }

    async fn grant(&mut self, id: i64, ttl: i64) {
        let _ = self.ask::<_, LeaseGrantResponse>(GRANT, LeaseGrantRequest { ttl, id }).await;
    }

    async fn all_keys(&mut self) {
        let _ = self.ask::<_, RangeResponse>(RANGE, all()).await;
    }

    async fn keep_alive(&mut self, id: i64) {
        let mut answers = Vec::new();
        for client in &self.clients {
            let (request_tx, mut stream) = client.bidirectional::<_, LeaseKeepAliveResponse>(KEEP_ALIVE);
            let _ = request_tx.send(LeaseRequest { id }).await;
            let mut answer = stream.next_in_time().await;
            drop(request_tx);
            let end = stream.next().await;
            answer = answer.and_then(|answer| end.map(|_| answer));
            answers.push(answer.map(|answer| (answer.id, answer.ttl)));
        }
        let [left, right] = [answers.swap_remove(0), answers.swap_remove(0)];
        self.compare("LeaseKeepAlive", &id, &left, &right);
    }

    /// The next value that both observers see.
    async fn observed(&mut self, streams: &mut [Observed; 2]) {
        let [left, right] = streams;
        let see = async |stream: &mut Observed| match stream {
            Ok(stream) => next(stream).await,
            Err(failure) => Err(failure.clone()),
        };
        let (left, right) = tokio::join!(see(left), see(right));
        self.compare_blurred("Observe", &"the next value", left, right);
    }

    /// Starts a call that waits, and waits for the key by which it queues.
    async fn begin<Q, A>(&mut self, path: &'static str, request: Q, key: &'static str) -> [Waiting<A>; 2]
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let waiting = self.clients.clone().map(|client| {
            let request = request.clone();
            tokio::spawn(async move { client.unary(path, request).await })
        });
        for client in self.clients.clone() {
            let mut pause = tokio::time::interval(Duration::from_millis(10));
            let queued = async {
                loop {
                    pause.tick().await;
                    let range = RangeRequest { key: key.into(), ..RangeRequest::default() };
                    let answer: Result<RangeResponse, _> = client.unary(RANGE, range).await;
                    if answer.is_ok_and(|answer| answer.count == 1) {
                        return;
                    }
                }
            };
            let queued = tokio::time::timeout(ANSWER_TIME_MAX, queued).await;
            self.expect("a call that waits has its key", queued.is_ok(), &(path, key));
        }
        waiting
    }

    async fn end<A>(&mut self, what: &str, waiting: [Waiting<A>; 2])
    where
        A: Blur + PartialEq + Debug,
    {
        let [left, right] = waiting;
        let (left, right) = tokio::join!(left, right);
        let (left, right) = (left.expect("calls do not panic"), right.expect("calls do not panic"));
        self.compare_blurred(what, &"a call that waited", left, right);
    }

    async fn ask<Q, A>(&mut self, path: &'static str, request: Q) -> Two<A>
    where
        Q: Message + Clone + Debug + 'static,
        A: Message + Default + Blur + Clone + PartialEq + Debug + 'static,
    {
        let [left, right] = &self.clients;
        let (left, right): (Result<A, _>, Result<A, _>) =
            tokio::join!(left.unary(path, request.clone()), right.unary(path, request.clone()));
        let answers = [left.clone(), right.clone()];
        self.compare_blurred(path, &request, left, right);
        answers
    }

    fn compare_blurred<A>(
        &mut self,
        what: &str,
        request: &impl Debug,
        left: Result<A, Failure>,
        right: Result<A, Failure>,
    ) where
        A: Blur + PartialEq + Debug,
    {
        let (mut left, mut right) = (left, right);
        for answer in [&mut left, &mut right].into_iter().flatten() {
            answer.blur(&LeaseNames::default());
        }
        self.compare(what, request, &left, &right);
    }

    fn compare<T: PartialEq + Debug>(&mut self, what: &str, request: &impl Debug, left: &T, right: &T) {
        if left != right {
            let kind = format!("{what}: {}", first_difference(left, right));
            self.report.add(Difference::new(kind, request, left, right), self.replay);
        }
    }

    /// A rule for both servers.
    fn expect(&mut self, rule: &str, holds: bool, found: &impl Debug) {
        if !holds {
            self.report.add(Difference { kind: rule.to_owned(), text: format!("{found:?}") }, self.replay);
        }
    }
}

type Waiting<A> = JoinHandle<Result<A, Failure>>;

type Observed = Result<Streaming<LeaderResponse>, Failure>;

/// Begins to observe on both servers.
async fn observe([left, right]: &[Client; 2], election: &'static str) -> [Observed; 2] {
    let (left, right) =
        tokio::join!(left.server_streaming(OBSERVE, name(election)), right.server_streaming(OBSERVE, name(election)));
    [left, right]
}

/// Reads until the stream ends with OK, or until `value` comes; tells whether it ended.
async fn ends_before(stream: Observed, value: &str) -> Result<bool, Failure> {
    let mut stream = stream?;
    while let Some(answer) = in_time(stream.message()).await?? {
        if answer.kv.is_some_and(|kv| kv.value == value) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first `len` DELETE events that a watch sees: key and revision, counted from the first.
async fn deletes_of(client: &Client, watch: WatchCreate, len: usize) -> Result<Vec<(Bytes, i64)>, Failure> {
    let (request_tx, mut answers) = client.bidirectional::<_, WatchResponse>("/etcdserverpb.Watch/Watch");
    let _ = request_tx.send(WatchRequest { union: Some(WatchUnion::Create(watch)) }).await;
    let mut deletes = Vec::new();
    while deletes.len() < len {
        let answer = answers.next_in_time().await?;
        let events = answer.events.into_iter().filter(|event| event.kind == DELETE);
        deletes.extend(events.filter_map(|event| event.kv).map(|kv| (kv.key, kv.mod_revision)));
    }
    Ok(deletes)
}

fn all() -> RangeRequest {
    let all = Bytes::from_static(b"\0");
    RangeRequest { key: all.clone(), range_end: all, ..RangeRequest::default() }
}

fn name(name: &'static str) -> NameRequest {
    NameRequest { name: name.into() }
}

fn lock(name: &'static str, lease: i64) -> ContendRequest {
    ContendRequest { name: name.into(), lease, value: Bytes::new() }
}

fn campaign(name: &'static str, lease: i64, value: impl Into<Bytes>) -> ContendRequest {
    ContendRequest { name: name.into(), lease, value: value.into() }
}

impl Blur for LockResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        // A lease that the server chose: checked by itself.
        if self.key.starts_with(b"own/") {
            self.key = "own/".into();
        }
    }
}

impl Blur for CampaignResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
    }
}

impl Blur for LeaseGrantResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
    }
}

impl Blur for LeaseTimeToLiveResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        self.keys.sort();
    }
}

impl Blur for MembersResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        for member in &mut self.members {
            member.id = member.id.min(1);
            member.peer_urls.iter_mut().chain(&mut member.client_urls).for_each(|url| *url = "a URL".to_owned());
        }
    }
}

impl Blur for AlarmResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        self.alarms.sort_by_key(|alarm| (alarm.member_id, alarm.alarm));
    }
}

impl Blur for StatusResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        for number in [&mut self.leader, &mut self.raft_index, &mut self.raft_term, &mut self.raft_applied_index] {
            *number = (*number).min(1);
        }
        for bytes in [&mut self.db_size, &mut self.db_size_in_use] {
            *bytes = (*bytes).min(1);
        }
    }
}

impl Blur for HashKvResponse {
    fn blur(&mut self, names: &LeaseNames) {
        self.header.blur(names);
        // Ids of leases that the servers chose are in what is hashed; `services` compares the value.
        self.hash = 1;
    }
}
