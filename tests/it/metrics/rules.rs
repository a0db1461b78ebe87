//! What alert rules and boards ask for is there: those that etcd publishes, and ours in `contrib/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::expressions::series_in;
use super::published::{AMONG_OTHERS, OF_EACH, Used};
use super::scrape::Scrape;
use crate::harness::{Cluster, Program};

fn contrib(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The expressions of our rules: each stands on the lines after `expr:`, one level deeper, or behind it.
fn rule_expressions() -> Vec<String> {
    let text = contrib("prometheus/lodemark.rules.yml");
    let mut lines = text.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(first) = line.trim_start().strip_prefix("expr:") else { continue };
        let depth = line.len() - line.trim_start().len();
        let mut expression = first.trim().trim_start_matches(['|', '>']).trim_start_matches('-').to_owned();
        while let Some(more) = lines.next_if(|next| next.len() - next.trim_start().len() > depth) {
            expression.push(' ');
            expression.push_str(more.trim());
        }
        found.push(expression);
    }
    found
}

/// The expressions of our board.
fn board_expressions() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(expression) if name == "expr" => found.push(expression.to_owned()),
                        _ => collect(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let board: Value = serde_json::from_str(&contrib("grafana/lodemark.json")).expect("the board is JSON");
    let mut found = Vec::new();
    collect(&board, &mut found);
    found
}

fn assert_is_there(scrape: &Scrape, (name, labels): &Used) {
    let samples: Vec<_> = scrape.samples(name).collect();
    assert!(!samples.is_empty(), "{name} is not there");
    for sample in samples {
        assert!(labels.iter().all(|label| sample.labels.contains_key(*label)), "{sample:?} lacks one of {labels:?}");
    }
}

/// What is not told by a healthy member: `up` is Prometheus' own, an alarm is there while it is raised.
const NOT_TOLD: &[&str] = &["up", "etcd_debugging_server_alarms"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_and_boards_find_their_series() {
    let cluster = Cluster::start_with(&Program::lodemark(), 3, &["--metrics=extensive"]).await;
    let leader = cluster.leader().await;
    cluster.client((leader + 1) % 3).await.put("key", "value", None).await.unwrap();
    let used: Vec<String> = rule_expressions().into_iter().chain(board_expressions()).collect();
    assert!(used.len() > 30, "the files have rules and panels: {used:?}");
    let ours: BTreeSet<String> = used.iter().flat_map(|expression| series_in(expression)).collect();
    for member in 0..3 {
        let scrape = Scrape::of(cluster.endpoint(member).trim_start_matches("http://"));
        OF_EACH.iter().chain(AMONG_OTHERS).for_each(|used| assert_is_there(&scrape, used));
        for name in ours.iter().filter(|name| !NOT_TOLD.contains(&name.as_str())) {
            assert_is_there(&scrape, &(Box::leak(name.clone().into_boxed_str()), &[]));
        }
        // Pings are answered all the time.
        let round_trips = scrape.value("etcd_network_peer_round_trip_time_seconds_count", &[]);
        assert!(round_trips > 0.0, "member {member} has pinged others");
        let bytes = scrape.value("etcd_network_peer_sent_bytes_total", &[]);
        assert!(bytes > 0.0 && scrape.value("etcd_network_peer_received_bytes_total", &[]) > 0.0, "member {member}");
        let is_leader = scrape.value("etcd_server_is_leader", &[]);
        assert_eq!(is_leader, f64::from(u8::from(member == leader)), "member {member}");
    }
}
