//! Random sequences of requests, sent to a real etcd and to this server: every answer must be the same.
//!
//! A sequence is made from a seed and runs on a pair of servers of its own, since revisions count for a whole server.
//! Several pairs run at once. Compared is every field of every answer and the code and text of every error; what two
//! servers need not share is taken out first (`request`, [`request::Blur`]), and what etcd leaves open is made equal
//! (`compare`). Watchers are compared with each other and with the history (`watchers`).
//!
//! Needs etcd 3.7.1 in the folder `LODEMARK_REFERENCE_BIN`; without it the tests say so and pass, unless
//! `LODEMARK_NO_SKIP=1`. More:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `LODEMARK_DIFF_REQUESTS` | requests of all sequences together |
//! | `LODEMARK_DIFF_SEED` | seed of the first sequence; each further one has the next |
//! | `LODEMARK_DIFF_LANES` | sequences that run at once |
//! | `LODEMARK_DIFF_SUBJECT` | folder of another etcd to compare, in place of this crate's program; `reference` is the same one |
//! | `LODEMARK_DIFF_WATCHES=0` | leaves watches out |
//! | `LODEMARK_DIFF_TOLD=1` | prints each call of several users (`services`) |
//! | `LONG=1` | ten times the requests |

pub mod client;
mod cluster;
mod compare;
mod generate;
mod inbox;
mod lane;
mod overload;
mod process;
mod report;
mod request;
mod rules;
mod script;
mod services;
mod side;
mod texts;
mod watchers;
pub mod wire;

use std::thread;
use std::time::Duration;

use bytes::Bytes;

use self::client::Client;
use self::compare::Leniency;
use self::lane::Lane;
use self::process::{Process, Program, subject};
use self::report::Report;
use self::request::{Answer, Request};
use self::rules::Reached;
use self::script::Script;
use self::side::Tamper;
use crate::harness;

const REQUESTS_LEN: u64 = 50_000;
const LANES_LEN: u64 = 4;
/// Sequences that are shorter than this together need not reach every rule.
const REQUESTS_LEN_THAT_REACHES_ALL: u64 = 40_000;
const SEED: u64 = 1;
/// One message of so many may be late: each is, if watchers that have caught up are not told at once.
const LATE_PART: u64 = 1_000;
/// How long a server may take to serve.
const READY_TIME_MAX: Duration = Duration::from_secs(60);

#[test]
fn random_requests_are_answered_as_by_etcd() {
    let Some(reference) = harness::reference() else { return };
    let requests_len =
        number_from("LODEMARK_DIFF_REQUESTS").unwrap_or(if is_long() { 10 * REQUESTS_LEN } else { REQUESTS_LEN });
    let lanes_len = number_from("LODEMARK_DIFF_LANES").unwrap_or(LANES_LEN).max(1);
    let seed = number_from("LODEMARK_DIFF_SEED").unwrap_or(SEED);
    let subject = subject(&reference);
    println!("{requests_len} requests from seed {seed} on {lanes_len} pairs: {subject:?} against etcd");

    let etcd = Program::Etcd(reference);
    let (mut done, mut report, mut reached) = (0, Report::default(), Reached::default());
    let mut leniency = Leniency::default();
    thread::scope(|scope| {
        let run = |seed| {
            let (etcd, subject) = (&etcd, &subject);
            scope.spawn(move || run_lane(etcd, subject, seed, requests_len / lanes_len))
        };
        let lanes: Vec<_> = (0..lanes_len).map(|lane| run(seed.wrapping_add(lane))).collect();
        for lane in lanes {
            let (of_lane, lane) = lane.join().expect("a sequence panics only where the test is wrong");
            done += of_lane;
            report.merge(lane.report);
            reached.add(&lane.reached);
            leniency.add(lane.leniency);
        }
    });

    let Leniency { ties, messages, late } = leniency;
    println!("{done} requests, {} differences, {ties} answers compared up to the order of ties", report.len());
    println!("{messages} messages with events, {late} of them late to watchers that had caught up");
    println!("reached, by rule:\n{}", reached.of(rules::ALL));
    assert!(report.is_empty(), "{} differences:\n{report}", report.len());
    assert!(late * LATE_PART <= messages, "{late} of {messages} messages are late");
    let has_watches = number_from("LODEMARK_DIFF_WATCHES") != Some(0);
    if has_watches && requests_len >= REQUESTS_LEN_THAT_REACHES_ALL {
        let missed = reached.missed(rules::ALL);
        assert!(missed.is_empty(), "seed {seed} did not reach {missed:#?}");
    }
}

#[tokio::test]
async fn locks_elections_alarms_expiry_and_overload_are_answered_as_by_etcd() {
    let Some(reference) = harness::reference() else { return };
    let pair = Pair::start(&Program::Etcd(reference.clone()), &subject(&reference)).await;
    let replay = "cargo test --test it differential::locks";
    let mut script = Script::new([&pair.reference.endpoint(), &pair.subject.endpoint()], replay);
    script.run().await;
    println!("{} differences", script.report.len());
    println!("reached, by rule:\n{}", script.reached.of(rules::SCRIPTED));
    assert!(script.report.is_empty(), "{} differences:\n{}", script.report.len(), script.report);
    let missed = script.reached.missed(rules::SCRIPTED);
    assert!(missed.is_empty(), "not reached: {missed:#?}");
}

/// etcd 3.7.1 stops at both of these, which its check for duplicate keys lets through.
///
/// * A txn that deletes a key and then puts it with `ignore_value` or `ignore_lease` panics. Here the key is one that is
///   not there: the put stands.
/// * After a txn that deletes a key and puts it again, a compaction to exactly its revision loses the key.
#[tokio::test]
async fn what_stops_etcd_is_answered() {
    let subject = Process::start(&Program::Own);
    ready(&subject).await;
    let client = Client::new(&subject.endpoint());
    let (key, all) = (Bytes::from_static(b"k"), Bytes::from_static(b"\0"));
    let put = wire::PutRequest { key: key.clone(), value: Bytes::from_static(b"v"), ..Default::default() };
    let written: Result<wire::PutResponse, _> = client.unary("/etcdserverpb.KV/Put", put.clone()).await;
    assert!(written.is_ok(), "{written:?}");
    for (ignore_value, ignore_lease) in [(true, false), (false, true), (true, true), (false, false)] {
        let value = if ignore_value { Bytes::new() } else { put.value.clone() };
        let touch = wire::PutRequest { ignore_value, ignore_lease, value: value.clone(), ..put.clone() };
        let delete = wire::DeleteRangeRequest { key: all.clone(), range_end: all.clone(), prev_kv: false };
        let success = [wire::Op::DeleteRange(delete), wire::Op::Put(touch)];
        let success = success.map(|op| wire::RequestOp { request: Some(op) }).into();
        let txn = wire::TxnRequest { success, ..Default::default() };
        let answer: Result<wire::TxnResponse, _> = client.unary("/etcdserverpb.KV/Txn", txn).await;
        let header = answer.as_ref().ok().and_then(|answer| answer.header.clone());
        let revision = header.unwrap_or_else(|| panic!("{answer:?}")).revision;

        let compact = wire::CompactionRequest { revision, physical: true };
        let compacted: Result<wire::OnlyHeader, _> = client.unary("/etcdserverpb.KV/Compact", compact).await;
        assert!(compacted.is_ok(), "{compacted:?}");
        let read = wire::RangeRequest { key: key.clone(), ..Default::default() };
        let read: Result<wire::RangeResponse, _> = client.unary("/etcdserverpb.KV/Range", read).await;
        let expected = wire::KeyValue {
            key: key.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            value,
            lease: 0,
        };
        assert_eq!(read.map(|read| read.kvs), Ok(vec![expected]), "after the txn of {revision}");
    }
}

/// Alters one answer of the second etcd after the other, and looks whether that is found.
#[tokio::test]
async fn planted_differences_are_found() {
    let Some(reference) = harness::reference() else { return };
    let etcd = Program::Etcd(reference);
    let plants: [(&str, Tamper); 6] = [
        ("Range: count", |_, outcome| {
            if let Ok(Answer::Range(answer)) = outcome {
                answer.count += 1;
            }
        }),
        ("Put: lease", |_, outcome| {
            if let Ok(Answer::Put(wire::PutResponse { prev_kv: Some(kv), .. })) = outcome {
                kv.lease += 1;
            }
        }),
        ("Txn: succeeded", |_, outcome| {
            if let Ok(Answer::Txn(answer)) = outcome {
                answer.succeeded = !answer.succeeded;
            }
        }),
        ("Put: message", |request, outcome| {
            if let (Request::Put(_), Err(failure)) = (request, outcome) {
                failure.message.push('.');
            }
        }),
        ("LeaseGrant: revision", |_, outcome| {
            if let Ok(Answer::Grant(answer)) = outcome {
                answer.header.iter_mut().for_each(|header| header.revision += 1);
            }
        }),
        ("DeleteRange: member_id", |_, outcome| {
            if let Ok(Answer::DeleteRange(answer)) = outcome {
                answer.header.iter_mut().for_each(|header| header.member_id = 0);
            }
        }),
    ];
    for (kind, tamper) in plants {
        let pair = Pair::start(&etcd, &etcd).await;
        let mut lane = pair.lane(SEED);
        lane.sides[1].tamper = Some(tamper);
        lane.run(SEED, 300).await;
        assert!(lane.report.has(kind), "not found: {kind}\n{}", lane.report);
    }
    let pair = Pair::start(&etcd, &etcd).await;
    let mut lane = pair.lane(SEED);
    lane.sides[1].tamper_events = Some(|events| {
        events.pop();
    });
    lane.run(SEED, 1_000).await;
    assert!(lane.report.has("Watch events"), "not found: a missing event\n{}", lane.report);
}

/// Runs one sequence on servers and a runtime of its own. Returns how many requests were sent.
fn run_lane(reference: &Program, subject: &Program, seed: u64, requests_len: u64) -> (u64, Lane) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let pair = Pair::start(reference, subject).await;
        let mut lane = pair.lane(seed);
        lane.watches = number_from("LODEMARK_DIFF_WATCHES") != Some(0);
        (lane.run(seed, requests_len).await, lane)
    })
}

/// Two servers of one member each.
struct Pair {
    reference: Process,
    subject: Process,
}

impl Pair {
    async fn start(reference: &Program, subject: &Program) -> Pair {
        let pair = Pair { reference: Process::start(reference), subject: Process::start(subject) };
        tokio::join!(ready(&pair.reference), ready(&pair.subject));
        pair
    }

    fn lane(&self, seed: u64) -> Lane {
        let replay = format!(
            "LODEMARK_DIFF_SEED={seed} LODEMARK_DIFF_LANES=1 LODEMARK_DIFF_REQUESTS={{number}} \
             cargo test --test it differential::random_requests"
        );
        Lane::new([&self.reference.endpoint(), &self.subject.endpoint()], replay)
    }
}

/// Waits until a server answers a linearizable read.
async fn ready(server: &Process) {
    let client = Client::new(&server.endpoint());
    let answers = async {
        let range = wire::RangeRequest { key: Bytes::from_static(b"\0"), ..Default::default() };
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        loop {
            pause.tick().await;
            let answer: Result<wire::RangeResponse, _> = client.unary("/etcdserverpb.KV/Range", range.clone()).await;
            if answer.is_ok() {
                return;
            }
        }
    };
    let answered = tokio::time::timeout(READY_TIME_MAX, answers).await;
    assert!(answered.is_ok(), "{} does not serve", server.endpoint());
}

fn is_long() -> bool {
    std::env::var("LONG").as_deref() == Ok("1")
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}
