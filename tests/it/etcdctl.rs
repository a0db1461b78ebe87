//! A real etcdctl sees the same from Lodemark as from a real etcd: `tests/etcdctl.sh` has the steps for one member,
//! `tests/cluster.sh` those for three.

use std::path::Path;
use std::process::Command;

use crate::harness::{Member, Program, Site, reference};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_sees_the_same_from_both_servers() {
    let (Some(folder), Some(etcd)) = (reference(), Program::etcd()) else { return };
    let folders = [tempfile::tempdir().expect("a temporary folder"), tempfile::tempdir().expect("a temporary folder")];
    let expected = Member::start(&etcd, Site::new(folders[0].path())).await;
    let actual = Member::start(&Program::lodemark(), Site::new(folders[1].path())).await;

    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/etcdctl.sh"));
    script.arg(folder.join("etcdctl")).args([expected.endpoint(), actual.endpoint()]);
    // Each step has a deadline of its own.
    let output = script.output().expect("the script runs");
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{said}\n{complained}");
}

#[test]
#[ignore = "takes a minute: two clusters, one after the other"]
fn etcdctl_sees_the_same_from_both_clusters() {
    let Some(folder) = reference() else { return };
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster.sh"));
    script.arg(folder.join("etcdctl")).arg(folder.join("etcd")).arg(env!("CARGO_BIN_EXE_lodemark"));
    let output = script.output().expect("the script runs");
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{said}\n{complained}");
}
