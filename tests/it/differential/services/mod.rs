//! Random calls of every service by several users, sent to a real etcd and to this server.
//!
//! The other sequences (`generate`) ask few calls for everything that they can mean. These ask every call, by gRPC and by
//! the JSON gateway, as `root`, as users who may something or nothing, and as nobody, with tokens that are good, stale or
//! none, while users, roles and passwords change, auth comes and goes, alarms are raised and lifted, learners are added
//! and removed, and both servers restart. Compared is every field of every answer, the code and text of every error, and
//! by way of the gateway the status and the headers. After each sequence everything that there is is compared too: keys,
//! history, leases, users, roles, members, alarms, and what `HashKV` says.
//!
//! ```text
//! generate ──> Call ──> names ──> grpc or gateway ──> Outcome ──> names ──> lane compares ──> generate learns
//! ```
//!
//! The variables are those of the folder above. Which error texts were reached is counted (`texts`).

pub mod call;
mod codec;
mod gateway;
mod generate;
pub mod grpc;
mod lane;
mod names;
pub mod schema;
pub mod side;

use std::thread;

use serde_json::{Value, json};

use self::call::{Call, Front, Outcome};
use self::lane::{Done, Lane};
use self::schema::*;
use self::side::Tokens;
use super::report::Report;
use super::texts::Reached;
use super::{SEED, number_from};
use crate::harness::Program;

/// Calls of the gate.
const CALLS_LEN: u64 = 6_000;
const LANES_LEN: u64 = 4;
/// Runs that are shorter than this need not reach every text.
const CALLS_LEN_THAT_REACH_ALL: u64 = 5_000;
/// Calls in which each planted difference is met.
const PLANTED_CALLS_LEN: u64 = 2_000;

#[test]
fn random_calls_by_several_users_are_answered_as_by_etcd() {
    let Some(etcd) = Program::etcd() else { return };
    let calls_len =
        number_from("LODEMARK_DIFF_REQUESTS").unwrap_or(if super::is_long() { 10 * CALLS_LEN } else { CALLS_LEN });
    let lanes_len = number_from("LODEMARK_DIFF_LANES").unwrap_or(LANES_LEN).max(1);
    let seed = number_from("LODEMARK_DIFF_SEED").unwrap_or(SEED);
    let subject = subject(&etcd);
    println!("{calls_len} calls from seed {seed} on {lanes_len} pairs: {subject:?} against etcd");

    let (mut done, mut report, mut reached) = (Vec::new(), Report::default(), Reached::default());
    thread::scope(|scope| {
        let (etcd, subject) = (&etcd, &subject);
        let lanes: Vec<_> = (0..lanes_len)
            .map(|lane| scope.spawn(move || run_lane([etcd, subject], seed.wrapping_add(lane), calls_len / lanes_len)))
            .collect();
        for lane in lanes {
            let lane = lane.join().expect("a run panics only where the test is wrong");
            done.push(lane.done);
            report.merge(lane.report);
            reached.merge(&lane.reached);
        }
    });

    let sum = |of: fn(&Done) -> u64| done.iter().map(of).sum::<u64>();
    println!(
        "{} calls, {} of them in JSON, in {} sequences with {} restarts: {} differences",
        sum(|done| done.calls),
        sum(|done| done.in_json),
        sum(|done| done.sequences),
        sum(|done| done.restarts),
        report.len()
    );
    println!("errors reached, by text:\n{reached}");
    assert!(report.is_empty(), "{} differences:\n{report}", report.len());
    if calls_len >= CALLS_LEN_THAT_REACH_ALL {
        let missed = reached.missed();
        assert!(missed.is_empty(), "seed {seed} did not reach {missed:#?}");
    }
}

/// Alters answers of every kind of a second etcd, and looks whether each is found.
#[tokio::test]
async fn planted_differences_of_every_service_are_found() {
    let Some(etcd) = Program::etcd() else { return };
    let mut lane = Lane::start([&etcd, &etcd], SEED, Tokens::Simple, String::new()).await;
    lane.sides[1].tamper = Some(plant);
    lane.differences_len_max = u64::MAX;
    lane.run(PLANTED_CALLS_LEN).await;
    // By one of the two ways in: which one a call takes is drawn.
    for (name, field) in [
        ("UserGet", "roles"),
        ("RoleGet", "perm"),
        ("AuthStatus", "authRevision"),
        ("Status", "downgradeInfo.enabled"),
        ("Alarm", "alarms"),
        ("HashKV", "hash"),
        ("MemberList", "members"),
        ("Leader", "kv.create_revision"),
        ("LeaseGrant", "TTL"),
        ("Watch", "events"),
        ("LeaseKeepAlive", "number of messages"),
        ("Range", "PermissionDenied"),
        ("Put in JSON", "status or headers"),
        ("Txn in JSON", "header.member_id"),
    ] {
        let is_found =
            [format!("{name}: {field}"), format!("{name} in JSON: {field}")].iter().any(|kind| lane.report.has(kind));
        assert!(is_found, "not found: {name}, {field}\n{}", lane.report);
    }
}

fn plant(call: &Call, outcome: &mut Outcome) {
    if let (true, Some(failure)) = (call.is(&RANGE), &mut outcome.failure)
        && failure.message.ends_with("permission denied")
    {
        failure.message.push('.');
    }
    if let (true, Some((_, headers))) = (call.is(&PUT) && call.front == Front::Gateway, &mut outcome.head) {
        headers.remove("grpc-metadata-content-type");
    }
    if call.is(&KEEP_ALIVE) {
        outcome.answers.pop();
    }
    let Some(answer) = outcome.answers.first_mut() else { return };
    match call {
        _ if call.is(&USER_GET) => answer["roles"] = json!([]),
        _ if call.is(&ROLE_GET) => answer["perm"] = json!([]),
        _ if call.is(&AUTH_STATUS) => answer["authRevision"] = json!("0"),
        _ if call.is(&STATUS) => answer["downgradeInfo"]["enabled"] = json!(true),
        _ if call.is(&ALARM) => answer["alarms"] = json!([{}]),
        _ if call.is(&HASH_KV) => answer["hash"] = json!(0),
        _ if call.is(&MEMBER_LIST) => answer["members"][0]["isLearner"] = json!(true),
        _ if call.is(&LEADER) => answer["kv"]["create_revision"] = json!("0"),
        _ if call.is(&GRANT) => answer["TTL"] = json!("0"),
        _ if call.is(&TXN) && call.front == Front::Gateway => answer["header"]["member_id"] = json!("1"),
        _ if call.is(&WATCH) => {
            for answer in &mut outcome.answers {
                answer.get_mut("events").and_then(Value::as_array_mut).map(Vec::pop);
            }
        }
        _ => {}
    }
}

/// Makes one run on servers and a runtime of its own. Half of the runs have signed tokens.
fn run_lane(programs: [&Program; 2], seed: u64, calls_len: u64) -> Lane {
    let tokens = if seed.is_multiple_of(2) { Tokens::Signed } else { Tokens::Simple };
    let replay = format!(
        "LODEMARK_DIFF_SEED={seed} LODEMARK_DIFF_LANES=1 LODEMARK_DIFF_REQUESTS={{number}} \
         cargo test --test it differential::services::random"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lane = Lane::start(programs, seed, tokens, replay).await;
        lane.run(calls_len).await;
        lane
    })
}

/// What is compared with etcd: this crate's program, or an etcd (`LODEMARK_DIFF_SUBJECT`).
fn subject(etcd: &Program) -> Program {
    match std::env::var_os("LODEMARK_DIFF_SUBJECT") {
        Some(name) if name == "reference" => etcd.clone(),
        Some(folder) => Program::at(std::path::Path::new(&folder).join("etcd")),
        None => Program::lodemark(),
    }
}
