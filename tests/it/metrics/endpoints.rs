//! What probes and tools are told over plain HTTP: the same as by a real etcd, in each state.

use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Both;
use crate::gateway::http::{Answer, ask};
use crate::harness::{Cluster, Program, free_port, reference};

/// Far longer than anything takes.
const WAIT_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Paths whose whole answer is compared.
const PATHS: &[&str] = &[
    "/version",
    "/health",
    "/health?serializable=true",
    "/health?exclude=NOSPACE",
    "/health?exclude=CORRUPT&exclude=NOSPACE",
    "/livez",
    "/livez?verbose",
    "/livez/serializable_read",
    "/livez/linearizable_read",
    "/livez?exclude=serializable_read&verbose",
    "/readyz",
    "/readyz?verbose=true",
    "/readyz?exclude=linearizable_read&exclude=nothing&verbose",
    "/readyz/data_corruption",
    "/readyz/serializable_read?verbose",
    "/readyz/linearizable_read",
    "/readyz/non_learner",
    "/readyz/nothing",
    "/debug",
    "/debug/",
    "/debug/pprof/",
    "/debug/pprof/heap",
    "/debug/requests",
    "/debug/events",
    "/nothing",
];
/// Paths of which only the status and the headers are.
const HEADS: &[&str] = &["/metrics", "/debug/vars"];
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];

/// etcd tells of several checks in any order.
fn in_order(mut answer: Answer) -> Answer {
    if answer.body.contains("]data_corruption") {
        let mut lines: Vec<&str> = answer.body.lines().collect();
        let checks = lines.iter().take_while(|line| line.starts_with('[')).count();
        lines[..checks].sort_unstable();
        answer.body = lines.join("\n");
    }
    answer
}

fn compare(own: &str, etcd: &str, methods: &[&str]) {
    for (paths, with_body) in [(PATHS, true), (HEADS, false)] {
        for path in paths {
            for method in methods {
                let mut answers = [own, etcd].map(|address| in_order(ask(address, method, path, &[], b"")));
                if !with_body {
                    answers.iter_mut().for_each(|answer| answer.body.clear());
                }
                let [own, etcd] = answers;
                assert_eq!(own, etcd, "{method} {path}");
            }
        }
    }
}

#[test]
fn a_healthy_member_and_one_with_an_alarm_answer_as_etcd_does() {
    let (Some(both), Some(reference)) = (Both::start(&["--quota-backend-bytes=200000"]), reference()) else { return };
    let (own, etcd) = (both.own.client_address(), both.etcd.client_address());
    compare(own, etcd, METHODS);

    // Fills both up to the quota, until a put is refused.
    for address in [own, etcd] {
        let put = |key: usize| {
            let mut command = Command::new(reference.join("etcdctl"));
            let value = "x".repeat(100_000);
            command.args([&format!("--endpoints={address}"), "put", &format!("k{key}"), &value]).output().unwrap()
        };
        assert!((0..20).any(|key| !put(key).status.success()), "the quota is reached");
    }
    let told = ask(own, "GET", "/health", &[], b"");
    assert_eq!((told.status, told.body.as_str()), (503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n"));
    compare(own, etcd, &["GET"]);
}

/// The answers of a member that has lost all others.
async fn without_a_leader(program: &Program) -> Vec<(String, Answer)> {
    let mut cluster = Cluster::start(program, 3).await;
    let leader = cluster.leader().await;
    let left = (leader + 1) % 3;
    for member in (0..3).filter(|&member| member != left) {
        cluster.kill(member);
    }
    let address = cluster.endpoint(left).trim_start_matches("http://").to_owned();
    let is_leaderless = || ask(&address, "GET", "/health", &[], b"").body.contains("RAFT NO LEADER");
    let give_up = Instant::now() + WAIT_MAX;
    while !is_leaderless() {
        assert!(Instant::now() < give_up, "{left} notices that it is alone");
        sleep(LOOK_AGAIN).await;
    }
    let paths = [
        "/version",
        "/health",
        "/health?serializable=true",
        "/livez?verbose",
        "/readyz/serializable_read",
        "/readyz/linearizable_read",
        "/readyz?verbose",
        "/readyz?exclude=linearizable_read&verbose",
    ];
    paths.iter().map(|&path| (path.to_owned(), in_order(ask(&address, "GET", path, &[], b"")))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_a_leader_answers_as_etcd_does() {
    let Some(etcd) = Program::etcd() else { return };
    let (own, etcd) = tokio::join!(without_a_leader_of(Program::lodemark()), without_a_leader_of(etcd));
    assert_eq!(own, etcd);
}

async fn without_a_leader_of(program: Program) -> Vec<(String, Answer)> {
    without_a_leader(&program).await
}

/// The answers of a member that is shutting down, and cannot yet: it has lost all others, and a client's put waits for them.
/// Nobody is let in any more where clients are served; who watches over it is.
async fn shutting_down(program: Program) -> Vec<(&'static str, Answer)> {
    let (mut cluster, watched) = (Cluster::planned(&program, 3, &[]), format!("127.0.0.1:{}", free_port()));
    for member in 0..3 {
        let metrics = [format!("--listen-metrics-urls=http://{watched}")];
        let flags = metrics.each_ref().map(String::as_str);
        cluster.launch_with(member, if member == 0 { &flags } else { &[] });
    }
    for member in 0..3 {
        cluster.wait_until_it_serves(member).await;
    }
    let mut client = cluster.client(0).await;
    (1..3).for_each(|member| cluster.kill(member));
    let is_leaderless = || ask(&watched, "GET", "/health", &[], b"").body.contains("RAFT NO LEADER");
    let give_up = Instant::now() + WAIT_MAX;
    while !is_leaderless() {
        assert!(Instant::now() < give_up, "it notices that it is alone");
        sleep(LOOK_AGAIN).await;
    }
    let put = tokio::spawn(async move { client.put("k", "v", None).await });
    // Long enough for the put to be there, and far shorter than it waits.
    sleep(Duration::from_millis(500)).await;
    cluster.process(0).terminate();
    let address = cluster.endpoint(0).trim_start_matches("http://").to_owned();
    while std::net::TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < give_up, "clients are let in still");
        sleep(Duration::from_millis(5)).await;
    }
    // Not `/readyz`: its linearizable read waits in both.
    let paths = [
        "/health",
        "/health?serializable=true",
        "/livez?verbose",
        "/readyz/serializable_read",
        "/readyz/data_corruption",
        "/readyz?exclude=linearizable_read&verbose",
        "/version",
    ];
    let answers = paths.map(|path| (path, in_order(ask(&watched, "GET", path, &[], b"")))).to_vec();
    cluster.kill(0);
    assert!(put.await.expect("the put does not panic").is_err(), "there is nobody who could agree");
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_shutting_down_answers_as_etcd_does() {
    let Some(etcd) = Program::etcd() else { return };
    // One after the other: there is a second for the questions.
    let etcd = shutting_down(etcd).await;
    assert_eq!(shutting_down(Program::lodemark()).await, etcd);
}

#[test]
fn profiles_are_answered_by_where_to_look_instead() {
    for flag in ["--enable-pprof", "--log-level=debug"] {
        let Some(both) = Both::start(&[flag]) else { return };
        let told = ask(both.own.client_address(), "GET", "/debug/pprof/heap", &[], b"");
        assert_eq!(told.status, 501, "{flag}");
        assert!(told.body.contains("perf record") && told.body.contains("/metrics"), "{}", told.body);
        assert_eq!(ask(both.etcd.client_address(), "GET", "/debug/pprof/cmdline", &[], b"").status, 200, "{flag}");
    }
}

#[test]
fn variables_tell_how_the_process_was_started() {
    let Some(both) = Both::start(&[]) else { return };
    for address in [both.own.client_address(), both.etcd.client_address()] {
        let told = ask(address, "GET", "/debug/vars", &[], b"");
        let vars: serde_json::Value = serde_json::from_str(&told.body).expect("it is JSON");
        let command_line = vars["cmdline"].as_array().expect("it is a list");
        assert!(
            command_line
                .iter()
                .any(|argument| argument == "data" || argument == "--data-dir" || argument == "--data-dir=data")
        );
    }
}
