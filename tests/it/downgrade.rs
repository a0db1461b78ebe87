//! `etcdctl downgrade`: a real etcd and this server say the same, step by step.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Member, Process, Program, Site, reference};
use crate::process::http;

/// What is asked before anything is begun: exit status and words are the same.
const REFUSED: [&str; 9] = ["3.7", "3.5", "4.6", "2.6", "v3.6", "3", "x", "3.6.x", "3.6.0-a..b"];
const TAKEN: [&str; 5] = ["3.6", "3.6.0", "3.6.9", "03.06", "3.6.0-alpha.1"];
/// How often a version is looked at until it is another. etcd takes some seconds.
const LOOKS: u32 = 300;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Exit status, what is printed, and the last line of what is complained.
fn ctl(member: &Member, arguments: &[&str]) -> (Option<i32>, String, String) {
    let program = reference().expect("the test asked before").join("etcdctl");
    let endpoints = format!("--endpoints={}", member.endpoint());
    let arguments: Vec<OsString> = arguments.iter().copied().chain([endpoints.as_str()]).map(Into::into).collect();
    let (code, stdout, stderr) = Process::start(&program, &arguments, &std::env::temp_dir()).output();
    (code, stdout, stderr.lines().last().unwrap_or_default().to_owned())
}

fn same(members: &[Member; 2], arguments: &[&str]) {
    let [expected, actual] = members.each_ref().map(|member| ctl(member, arguments));
    assert_eq!(actual, expected, "{arguments:?}");
    println!("{arguments:?}: {actual:?}");
}

/// What `Status` says of a downgrade.
fn info(member: &Member) -> Value {
    let (code, stdout, stderr) = ctl(member, &["endpoint", "status", "--write-out=json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let status: Value = serde_json::from_str(&stdout).expect("it is JSON");
    status[0]["Status"]["downgradeInfo"].clone()
}

fn get(url: &str, path: &str) -> String {
    let answer = http(url.trim_start_matches("http://"), "GET", path);
    answer.split_once("\r\n\r\n").expect("it has a body").1.to_owned()
}

/// The version that the cluster has agreed on.
async fn becomes(member: &Member, version: &str) {
    let expected = format!(r#""etcdcluster":"{version}""#);
    for _ in 0..LOOKS {
        if get(&member.endpoint(), "/version").contains(&expected) {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("{} does not come to {version}", member.endpoint());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_sees_the_same_downgrade_from_both_servers() {
    let Some(etcd) = Program::etcd() else { return };
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let sites = folders.each_ref().map(|folder| Site::new(folder.path()));
    let peers = sites.each_ref().map(Site::peer_url);
    let [theirs, ours] = sites;
    let members = [Member::start(&etcd, theirs).await, Member::start(&Program::lodemark(), ours).await];
    let same_enabled = |enabled: &str| {
        assert_eq!(peers.each_ref().map(|peer| get(peer, "/downgrade/enabled")), [enabled; 2]);
        let [expected, actual] = members.each_ref().map(info);
        assert_eq!(actual, expected);
    };

    for version in REFUSED {
        same(&members, &["downgrade", "validate", version]);
        same(&members, &["downgrade", "enable", version]);
    }
    TAKEN.iter().for_each(|version| same(&members, &["downgrade", "validate", version]));
    same(&members, &["downgrade", "cancel"]);
    same_enabled("false");

    same(&members, &["downgrade", "enable", "3.6"]);
    same_enabled("true");
    for member in &members {
        becomes(member, "3.6.0").await;
    }
    for version in ["3.6", "3.5", "3.7", "x"] {
        same(&members, &["downgrade", "validate", version]);
        same(&members, &["downgrade", "enable", version]);
    }

    // It outlives restarts, and is in what is saved.
    let saved = folders[1].path().join("saved.db");
    let (code, _, stderr) = ctl(&members[1], &["snapshot", "save", &saved.display().to_string()]);
    assert_eq!(code, Some(0), "{stderr}");
    let saved = std::fs::read(saved).expect("it was saved");
    let row: &[u8] = br#"clusterVersion3.6.0downgrade{"target-version":"3.6.0","enabled":true}"#;
    assert!(saved.windows(row.len()).any(|bytes| bytes == row), "it is in the bucket of the cluster");
    let [theirs, ours] = members.map(Member::kill);
    let members = [Member::start(&etcd, theirs).await, Member::start(&Program::lodemark(), ours).await];
    let [expected, actual] = members.each_ref().map(info);
    assert_eq!(actual, expected);
    for member in &members {
        becomes(member, "3.6.0").await;
    }

    same(&members, &["downgrade", "cancel"]);
    for member in &members {
        becomes(member, "3.7.0").await;
    }
    same(&members, &["downgrade", "cancel"]);
    let [expected, actual] = members.each_ref().map(info);
    assert_eq!(actual, expected);
    assert_eq!(peers.each_ref().map(|peer| get(peer, "/downgrade/enabled")), ["false"; 2]);
}
