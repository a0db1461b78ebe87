//! Users, roles and alarms move with the keys, from either program to either.

use etcd_client::{AlarmAction, AlarmType, GetOptions};

use super::By;
use super::tools::{Output, of_etcd};
use crate::harness::{Member, Site, reference};

const ROOT: &str = "root:secret of root";
const ANN: &str = "ann:secret of ann";

/// What makes users with a password and without, and a role with permissions of every kind and form.
const MADE_BY: [&[&str]; 14] = [
    &["user", "add", ROOT],
    &["user", "grant-role", "root", "root"],
    &["user", "add", ANN],
    &["user", "add", "bob", "--no-password"],
    &["user", "add", "gone:x"],
    &["role", "add", "plain"],
    &["role", "add", "empty"],
    &["role", "grant-permission", "plain", "read", "a"],
    &["role", "grant-permission", "plain", "write", "b", "c"],
    &["role", "grant-permission", "plain", "readwrite", "k/", "--prefix"],
    &["role", "grant-permission", "plain", "read", "z", "--from-key"],
    &["user", "grant-role", "ann", "plain"],
    &["user", "delete", "gone"],
    &["auth", "enable"],
];

/// What is asked before and after, and by whom.
const ASKED: [(&str, &[&str]); 15] = [
    (ROOT, &["auth", "status"]),
    (ROOT, &["user", "list"]),
    (ROOT, &["user", "get", "ann", "--detail"]),
    (ROOT, &["user", "get", "bob"]),
    (ROOT, &["role", "list"]),
    (ROOT, &["role", "get", "plain"]),
    (ROOT, &["role", "get", "empty"]),
    (ROOT, &["alarm", "list"]),
    (ROOT, &["get", "", "--from-key"]),
    (ANN, &["get", "a"]),
    (ANN, &["get", "k/1"]),
    (ANN, &["get", "other"]),
    (ANN, &["user", "list"]),
    ("ann:wrong", &["get", "a"]),
    ("bob:any", &["get", "a"]),
];

fn ctl(member: &Member, user: Option<&str>, arguments: &[&str]) -> Output {
    let flags = [format!("--endpoints={}", member.endpoint())].into_iter();
    let flags: Vec<String> = flags.chain(user.map(|user| format!("--user={user}"))).collect();
    of_etcd("etcdctl", arguments.iter().map(|argument| argument.as_ref()).chain(flags.iter().map(String::as_ref)))
}

fn must(member: &Member, user: Option<&str>, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = ctl(member, user, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    stdout
}

/// All answers; of an error the last line, which says what it is.
fn answers(member: &Member) -> Vec<String> {
    let answer = |&(user, arguments): &(&str, &[&str])| {
        let (code, stdout, stderr) = ctl(member, Some(user), arguments);
        format!("{user} {arguments:?}: {code:?} {stdout} {}", stderr.lines().last().unwrap_or_default())
    };
    let hash = must(member, Some(ROOT), &["endpoint", "hashkv"]);
    let (_, hash) = hash.split_once(',').expect("the endpoint comes first");
    ASKED.iter().map(answer).chain([hash.to_owned()]).collect()
}

async fn moves(from: By, to: By) {
    if reference().is_none() {
        return;
    }
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let member = Member::start(&from.program(), Site::new(folders[0].path())).await;
    let mut client = member.client().await;
    for key in ["a", "b", "k/1", "other", "z"] {
        client.put(key, "value", None).await.expect("it is written");
    }
    client.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.expect("it is raised");
    MADE_BY.iter().for_each(|arguments| drop(must(&member, None, arguments)));
    let before = answers(&member);

    // etcdctl proves who it is, and so does ours.
    for by in [By::Etcd, By::Lodemark] {
        let folder = folders[1].path().join(format!("{by:?}"));
        std::fs::create_dir(&folder).expect("a new folder");
        let file = folder.join("saved.db");
        by.save_as(Some(ROOT), &member.endpoint(), &file);
        let site = Site::new(&folder);
        to.restore(&file, &site, &[]);
        let restored = Member::start(&to.program(), site).await;
        assert_eq!(answers(&restored), before);
        let denied = restored.client().await.get("a", Some(GetOptions::new())).await;
        assert!(denied.expect_err("it has not said who it is").to_string().contains("user name is empty"));

        // It goes on: the alarm is over, and a user is made under a number that no other has.
        must(&restored, Some(ROOT), &["alarm", "disarm"]);
        must(&restored, Some(ROOT), &["user", "add", "new:new"]);
        must(&restored, Some(ROOT), &["user", "grant-role", "new", "plain"]);
        must(&restored, Some("new:new"), &["put", "b", "2"]);
        restored.terminate();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_roles_and_alarms_of_ours_become_etcds() {
    moves(By::Lodemark, By::Etcd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_roles_and_alarms_of_etcds_become_ours() {
    moves(By::Etcd, By::Lodemark).await;
}
