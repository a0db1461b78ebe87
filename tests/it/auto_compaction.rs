//! History that goes by itself, beside a real etcd.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::{Client, GetOptions};
use serde_json::Value;

use crate::harness::{Etcd, Options, Server, reference};

/// The shortest retention that leaves both servers time to do something else.
const FLAGS: [&str; 1] = ["--auto-compaction-retention=1s"];
/// Between two puts: a look is a tenth of the retention.
const PUT_EVERY: Duration = Duration::from_millis(50);

fn read(line: &str) -> Value {
    serde_json::from_str(line).expect("log lines are JSON")
}

/// The names of the fields of a log line.
fn fields(line: &Value) -> BTreeSet<&str> {
    line.as_object().expect("a line is an object").keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_goes_each_second_and_the_log_says_what_etcds_says() {
    let Some(reference) = reference() else { return };
    let own = Options { flags: FLAGS.map(str::to_owned).to_vec(), ..Options::default() };
    let (mut own, mut etcd) = (Server::start(&own), Etcd::start(&reference, &FLAGS));
    let mut told: Vec<Vec<Value>> = Vec::new();
    for (endpoint, process) in [(own.endpoint(), own.process()), (etcd.endpoint(), etcd.process())] {
        let mut client = Client::connect([&endpoint], None).await.unwrap();
        let puts = async {
            loop {
                client.put("k", "v", None).await.unwrap();
                tokio::time::sleep(PUT_EVERY).await;
            }
        };
        // Three periods.
        let _ = tokio::time::timeout(Duration::from_millis(3200), puts).await;
        let compacted = read(&process.wait_for_line("completed auto periodic compaction", 2));
        let started = read(&process.wait_for_line("starting auto periodic compaction", 2));
        let revision = compacted["revision"].as_i64().expect("a number");
        assert!(revision > 1 && started["revision"] == compacted["revision"], "{endpoint}: {started} {compacted}");

        let at = |revision| Some(GetOptions::new().with_revision(revision));
        let refused = client.get("k", at(revision - 1)).await.unwrap_err().to_string();
        assert!(refused.contains("required revision has been compacted"), "{endpoint}: {refused}");
        told.push(vec![started, compacted]);
    }
    let [own, etcd] = &told[..] else { panic!("both were asked") };
    for (own, etcd) in own.iter().zip(etcd) {
        assert_eq!(fields(own), fields(etcd));
        assert_eq!((&own["msg"], &own["compact-period"]), (&etcd["msg"], &etcd["compact-period"]));
    }
}
