//! Clusters of several members from one snapshot.

use super::By;
use super::state::{State, fill};
use super::tools::lodemark;
use crate::harness::{Cluster, Member, Program, Site};

/// Restores a member of a planned cluster.
fn restore(cluster: &Cluster, member: usize, file: &std::path::Path) {
    let list: Vec<String> =
        (0..cluster.size()).map(|member| format!("m{member}={}", cluster.peer_url(member))).collect();
    let flags = [
        format!("--data-dir={}", cluster.data_dir(member).display()),
        format!("--name=m{member}"),
        format!("--initial-cluster={}", list.join(",")),
        format!("--initial-advertise-peer-urls={}", cluster.peer_url(member)),
    ];
    let arguments = ["snapshot".as_ref(), "restore".as_ref(), file.as_os_str()];
    let (code, _, stderr) = lodemark(arguments.into_iter().chain(flags.iter().map(String::as_ref)));
    assert_eq!(code, Some(0), "{stderr}");
}

/// Raft would not notice: their logs are the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_restored_from_another_snapshot_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [folder.path().join("1.db"), folder.path().join("2.db")];
    let member = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
    let mut client = member.client().await;
    for file in &files {
        client.put("key", file.display().to_string(), None).await.expect("it is written");
        By::Lodemark.save(&member.endpoint(), file);
    }
    drop(member);

    let mut cluster = Cluster::planned(&Program::lodemark(), 3, &[]);
    for member in 0..3 {
        restore(&cluster, member, &files[usize::from(member == 2)]);
        cluster.launch(member);
    }
    assert!(!cluster.ended(2).success());
    cluster.wait_until_it_serves(0).await;
    let found = cluster.client(0).await.get("key", None).await.expect("it is there");
    assert_eq!(found.kvs()[0].value(), files[0].display().to_string().as_bytes());
}

/// Each member has the state though none has a log of it; whoever joins later, and whoever was started without it, gets it
/// from the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_begin_with_the_same_state_and_a_fourth_receives_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved.db");
    let member = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
    fill(&mut member.client().await, 500).await;
    let before = State::of(&mut member.client().await).await;
    By::Lodemark.save(&member.endpoint(), &file);
    drop(member);

    let mut cluster = Cluster::planned(&Program::lodemark(), 3, &[]);
    for member in 0..3 {
        restore(&cluster, member, &file);
        cluster.launch(member);
    }
    for member in 0..3 {
        cluster.wait_until_it_serves(member).await;
        before.assert_eq(&State::of(&mut cluster.client(member).await).await);
    }
    let put = cluster.client(1).await.put("after", "1", None).await.expect("it takes writes");
    assert_eq!(put.header().expect("it has a header").revision(), before.revision + 1);

    let (fourth, _) = cluster.add(0, false).await;
    cluster.launch(fourth);
    cluster.wait_until_it_serves(fourth).await;
    let expected = State::of(&mut cluster.client(0).await).await;
    expected.assert_eq(&State::of(&mut cluster.client(fourth).await).await);
    cluster.kill(2);
    cluster.restart(2).await;
    expected.assert_eq(&State::of(&mut cluster.client(2).await).await);
}
