//! Every family that a real etcd has is here, with the same kind, labels and buckets, or on a list with the reason.

use std::process::Command;

use super::Both;
use super::scrape::Scrape;
use crate::harness::{Cluster, Program, reference};

/// What begins so is looked at.
const PREFIXES: &[&str] = &["etcd_", "grpc_", "process_", "os_", "promhttp_"];

/// What is not here, and why.
const ABSENT: &[(&str, &str)] = &[];

fn compare(etcd: &Scrape, own: &Scrape) -> Vec<String> {
    let mut differences = Vec::new();
    let theirs = etcd.0.iter().filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    for (name, theirs) in theirs {
        if ABSENT.iter().any(|(absent, _)| absent == name) {
            continue;
        }
        let Some(own) = own.0.get(name) else {
            differences.push(format!("{name}, a {}, is missing", theirs.kind));
            continue;
        };
        let shape = |family: &super::scrape::Family| {
            let labels = family.label_names().into_iter().map(str::to_owned).collect::<Vec<_>>();
            (family.kind.clone(), labels, family.bounds())
        };
        if shape(theirs) != shape(own) {
            differences.push(format!("{name} is {:?}, etcd's is {:?}", shape(own), shape(theirs)));
        }
    }
    differences
}

/// A little of everything, so that families with labels have samples.
fn use_everything(endpoint: &str) {
    let Some(reference) = reference() else { return };
    let etcdctl = |arguments: &[&str]| {
        let mut command = Command::new(reference.join("etcdctl"));
        command.arg(format!("--endpoints={endpoint}")).args(arguments).output().expect("etcdctl runs")
    };
    for arguments in [
        &["put", "a", "1"][..],
        &["get", "a"],
        &["get", "a", "--rev=1000"],
        &["del", "a"],
        &["put", "x", "y", "--lease=77"],
        &["lease", "grant", "60"],
        &["user", "add", "u:p"],
        &["compact", "2"],
        &["alarm", "list"],
        &["auth", "status"],
        &["defrag"],
        &["endpoint", "hashkv"],
    ] {
        etcdctl(arguments);
    }
    let address = endpoint.trim_start_matches("http://");
    for path in ["/health", "/livez", "/readyz"] {
        crate::gateway::http::ask(address, "GET", path, &[], b"");
    }
}

#[test]
fn one_member_has_what_etcd_has() {
    let Some(Both { own, etcd }) = Both::start(&["--metrics=extensive"]) else { return };
    use_everything(&own.endpoint());
    use_everything(&etcd.endpoint());
    let (own, etcd) = (Scrape::of(own.client_address()), Scrape::of(etcd.client_address()));
    let differences = compare(&etcd, &own);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // All methods and codes are there before anybody calls.
    for series in etcd.0["grpc_server_handled_total"].samples.iter() {
        let labels: Vec<(&str, &str)> = series.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        let is_here = own.samples("grpc_server_handled_total").any(|sample| sample.has(&labels));
        assert!(is_here, "{labels:?}");
    }
    assert!(own.0.keys().all(|name| !name.starts_with("go_")), "it is not Go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_cluster_have_what_those_of_etcd_have() {
    let Some(program) = Program::etcd() else { return };
    let theirs = Cluster::start(&program, 3).await;
    let own = Cluster::start(&Program::lodemark(), 3).await;
    for cluster in [&theirs, &own] {
        let follower = (cluster.leader().await + 1) % 3;
        cluster.client(follower).await.put("key", "value", None).await.unwrap();
    }
    // A round of pings, each 30 s in etcd, is not waited for: what it measures is there before.
    for member in 0..3 {
        let address = |cluster: &Cluster| cluster.endpoint(member).trim_start_matches("http://").to_owned();
        let differences = compare(&Scrape::of(&address(&theirs)), &Scrape::of(&address(&own)));
        assert!(differences.is_empty(), "member {member}:\n{}", differences.join("\n"));
    }
}
