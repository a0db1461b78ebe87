//! What only members of a cluster refuse: three of etcd and three of ours are asked the same.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::client::Failure;
use super::services::call::{Call, Until};
use super::services::grpc::GrpcFront;
use super::services::schema::*;
use super::services::side::Side;
use super::texts::{Reach, Reached, TEXTS};
use crate::harness::{Cluster, Program};

/// Between two looks at something that must come, and how long it may take.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// After so long every member of either kind knows that another has gone.
const NOTICED_TIME: Duration = Duration::from_secs(3);
/// How often a member is added twice until both times are within one second.
const ATTEMPTS_LEN: u64 = 10;

/// What each step came to.
type Steps = Vec<(&'static str, Option<Failure>)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_cluster_refuse_as_those_of_etcd() {
    let Some(etcd) = Program::etcd() else { return };
    let own = Program::lodemark();
    let (expected, actual) = tokio::join!(refusals(&etcd), refusals(&own));
    let mut reached = Reached::default();
    expected.iter().filter_map(|(_, failure)| failure.as_ref()).for_each(|failure| reached.note(failure));
    let counts: BTreeMap<&str, u64> = TEXTS.iter().map(|row| (row.text, reached.count_of(row.text))).collect();
    println!("{expected:#?}");
    assert_eq!(actual, expected);
    for row in TEXTS {
        if matches!(row.reach, Reach::Test(_, "members_of_a_cluster_refuse_as_those_of_etcd")) {
            assert!(counts[row.text] > 0, "not reached: {}", row.text);
        }
    }
}

/// The id of a member is a hash of its URLs and of the second.
#[tokio::test]
async fn a_member_added_twice_within_a_second_has_one_id() {
    let Some(etcd) = Program::etcd() else { return };
    for program in [etcd, Program::lodemark()] {
        let mut side = Side::start(&program, &[]).await;
        let mut seen = Vec::new();
        for attempt in 1..=ATTEMPTS_LEN {
            let request = json!({"peerURLs": [format!("http://127.0.1.1:{attempt}")], "isLearner": true});
            let add = Call::plain(&MEMBER_ADD, request);
            let (first, second) = (side.ask(&add).await, side.ask(&add).await);
            let id = first.answer().unwrap_or_else(|| panic!("{first:?}"))["member"]["ID"].clone();
            let removed = side.ask(&Call::plain(&MEMBER_REMOVE, json!({"ID": id}))).await;
            assert!(removed.is_ok(), "{removed:?}");
            seen.push(second.message().to_owned());
            if second.message() == "etcdserver: member ID already exist" {
                break;
            }
        }
        assert_eq!(seen.last().map(String::as_str), Some("etcdserver: member ID already exist"), "{seen:?}");
        let by_url = |text: &String| text == "etcdserver: Peer URLs already exists";
        assert!(seen[..seen.len() - 1].iter().all(by_url), "{seen:?}");
    }
}

/// Asks a cluster of `program` for all that it must refuse.
async fn refusals(program: &Program) -> Steps {
    let mut cluster = Cluster::start(program, 3).await;
    let leader = cluster.leader().await;
    let [first, second] = [(leader + 1) % 3, (leader + 2) % 3];
    let mut steps = Steps::new();

    let unknown = json!({"targetID": 404_404});
    note(&mut steps, "a follower moves the lead", &cluster, first, Call::plain(&MOVE_LEADER, unknown.clone())).await;
    note(&mut steps, "the lead goes to nobody", &cluster, leader, Call::plain(&MOVE_LEADER, unknown)).await;

    let (learner, id) = cluster.add(leader, true).await;
    let to_learner = json!({"targetID": id.to_string()});
    note(&mut steps, "the lead goes to a learner", &cluster, leader, Call::plain(&MOVE_LEADER, to_learner)).await;
    for (what, member) in [("a leader promotes early", leader), ("a follower promotes early", first)] {
        note(&mut steps, what, &cluster, member, Call::plain(&MEMBER_PROMOTE, json!({"ID": id.to_string()}))).await;
    }
    let another = json!({"peerURLs": ["http://127.0.1.1:1"], "isLearner": true});
    // A follower may hear later than the leader that all are well.
    let another = Call::plain(&MEMBER_ADD, another);
    until("all are well", async || !is_unhealthy(&cluster, first, &another).await).await;
    note(&mut steps, "another learner", &cluster, first, another).await;

    cluster.launch(learner);
    until_it_is_a_learner(&cluster, learner).await;
    for (what, call) in of_a_learner() {
        note(&mut steps, what, &cluster, learner, call).await;
    }
    cluster.remove(leader, id).await;
    cluster.kill(learner);

    let active = cluster.view(first).await.expect("it runs").id.to_string();
    cluster.kill(second);
    sleep(NOTICED_TIME).await;
    let voter = json!({"peerURLs": ["http://127.0.1.1:2"]});
    note(&mut steps, "a voter beside one that is down", &cluster, leader, Call::plain(&MEMBER_ADD, voter)).await;
    let remove = Call::plain(&MEMBER_REMOVE, json!({"ID": active}));
    note(&mut steps, "an active voter goes beside one that is down", &cluster, leader, remove).await;

    cluster.kill(first);
    until_nobody_leads(&cluster, leader).await;
    without_a_leader(&cluster, leader, &mut steps).await;
    steps
}

fn range() -> Value {
    json!({"key": "YQ=="})
}

/// What a learner refuses, and what it does not.
fn of_a_learner() -> Vec<(&'static str, Call)> {
    let serializable = json!({"key": "YQ==", "serializable": true});
    let watch = Call { until: Until::First, ..Call::plain(&WATCH, json!({"create_request": range()})) };
    vec![
        ("learner: Put", Call::plain(&PUT, range())),
        ("learner: Range", Call::plain(&RANGE, range())),
        ("learner: Range, serializable", Call::plain(&RANGE, serializable.clone())),
        ("learner: RangeStream", Call::plain(&RANGE_STREAM, serializable)),
        ("learner: Txn", Call::plain(&TXN, json!({}))),
        ("learner: Watch", watch),
        ("learner: LeaseGrant", Call::plain(&GRANT, json!({"TTL": 60}))),
        ("learner: LeaseKeepAlive", Call::plain(&KEEP_ALIVE, json!({"ID": 1}))),
        ("learner: MemberList", Call::plain(&MEMBER_LIST, json!({}))),
        ("learner: Alarm", Call::plain(&ALARM, json!({}))),
        ("learner: HashKV", Call::plain(&HASH_KV, json!({}))),
        ("learner: Status", Call::plain(&STATUS, json!({}))),
        ("learner: Snapshot", Call::plain(&SNAPSHOT, json!({}))),
        ("learner: AuthStatus", Call::plain(&AUTH_STATUS, json!({}))),
        ("learner: MoveLeader", Call::plain(&MOVE_LEADER, json!({}))),
        ("learner: Lock", Call::plain(&LOCK, json!({"name": "YQ=="}))),
        ("learner: Leader", Call::plain(&LEADER, json!({"name": "YQ=="}))),
        ("learner: Health", Call::plain(&HEALTH, json!({}))),
    ]
}

/// All at once: each waits for the whole time that a request may take.
async fn without_a_leader(cluster: &Cluster, member: usize, steps: &mut Steps) {
    let with_leader = |call: Call| Call { metadata: &[("hasleader", b"true")], ..call };
    let watch = Call { until: Until::First, ..Call::plain(&WATCH, json!({"create_request": range()})) };
    let calls = [
        ("no leader: Range", Call::plain(&RANGE, range())),
        ("no leader: Put", Call::plain(&PUT, range())),
        ("no leader: Txn", Call::plain(&TXN, json!({"success": [{"request_put": range()}]}))),
        ("no leader: LeaseGrant", Call::plain(&GRANT, json!({"TTL": 60}))),
        ("no leader: MemberList", Call::plain(&MEMBER_LIST, json!({"linearizable": true}))),
        ("no leader: Alarm", Call::plain(&ALARM, json!({}))),
        ("no leader: AuthStatus", Call::plain(&AUTH_STATUS, json!({}))),
        ("no leader: MoveLeader", Call::plain(&MOVE_LEADER, json!({"targetID": 404_404}))),
        ("no leader: Status", Call::plain(&STATUS, json!({}))),
        ("no leader: Watch", watch.clone()),
        ("hasleader: Put", with_leader(Call::plain(&PUT, range()))),
        ("hasleader: Watch", with_leader(watch)),
        ("hasleader: LeaseKeepAlive", with_leader(Call::plain(&KEEP_ALIVE, json!({"ID": 1})))),
    ];
    let front = GrpcFront::new(&cluster.endpoint(member));
    let asked = calls.map(|(what, call)| {
        let front = front.clone();
        (what, tokio::spawn(async move { front.ask(&call).await.failure }))
    });
    for (what, failure) in asked {
        steps.push((what, failure.await.expect("calls do not panic")));
    }
}

async fn note(steps: &mut Steps, what: &'static str, cluster: &Cluster, member: usize, call: Call) {
    let outcome = GrpcFront::new(&cluster.endpoint(member)).ask(&call).await;
    steps.push((what, outcome.failure));
}

/// Whether a change that is refused anyway is refused for the health of the cluster.
async fn is_unhealthy(cluster: &Cluster, member: usize, call: &Call) -> bool {
    let outcome = GrpcFront::new(&cluster.endpoint(member)).ask(call).await;
    outcome.message() == "etcdserver: unhealthy cluster"
}

async fn until_it_is_a_learner(cluster: &Cluster, member: usize) {
    let status = Call::plain(&STATUS, json!({}));
    let is_learner = async || {
        let outcome = GrpcFront::new(&cluster.endpoint(member)).ask(&status).await;
        outcome.answer().is_some_and(|answer| answer["isLearner"] == true && answer["leader"].is_string())
    };
    until("it is a learner that knows its leader", is_learner).await;
}

async fn until_nobody_leads(cluster: &Cluster, member: usize) {
    let ask = Call { metadata: &[("hasleader", b"true")], ..Call::plain(&HASH_KV, json!({})) };
    let is_refused = async || !GrpcFront::new(&cluster.endpoint(member)).ask(&ask).await.is_ok();
    until("nobody leads", is_refused).await;
}

async fn until(what: &str, has_come: impl AsyncFn() -> bool) {
    let come = async {
        while !has_come().await {
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(WAIT_MAX, come).await.unwrap_or_else(|_| panic!("{what}"));
}
