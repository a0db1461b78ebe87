//! Snapshots of etcd's: what either program saves, both look at and restore, and it is the same store.
//!
//! `LODEMARK_SNAPSHOT_KEYS` makes the stores larger; the long runs are in `docs/testing.md`.

mod auth;
mod members;
mod memory;
mod refusals;
mod state;
mod tools;

use std::path::Path;

use etcd_client::{Client, WatchOptions};

use self::state::{State, fill};
use self::tools::{lodemark, of_etcd};
use crate::harness::{Member, Program, Site, number, reference};

/// The two programs that save and restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Lodemark,
    Etcd,
}

impl By {
    fn program(self) -> Program {
        match self {
            By::Lodemark => Program::lodemark(),
            By::Etcd => Program::etcd().expect("the test asked before"),
        }
    }

    /// Saves what `endpoint` has, each with its own command.
    fn save(self, endpoint: &str, file: &Path) {
        self.save_as(None, endpoint, file);
    }

    /// As a user, who is `name:password`.
    fn save_as(self, user: Option<&str>, endpoint: &str, file: &Path) {
        let flags: Vec<String> =
            [format!("--endpoints={endpoint}")].into_iter().chain(user.map(|user| format!("--user={user}"))).collect();
        let arguments = ["snapshot".as_ref(), "save".as_ref(), file.as_os_str()];
        let arguments = arguments.into_iter().chain(flags.iter().map(String::as_ref));
        let (code, stdout, stderr) = match self {
            By::Lodemark => lodemark(arguments),
            By::Etcd => of_etcd("etcdctl", arguments),
        };
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(stdout, format!("Snapshot saved at {}\nServer version 3.7.0\n", file.display()));
    }

    fn status(self, file: &Path, write_out: &str) -> String {
        let write_out = format!("--write-out={write_out}");
        let arguments = ["snapshot".as_ref(), "status".as_ref(), file.as_os_str(), write_out.as_ref()];
        let (code, stdout, stderr) = match self {
            By::Lodemark => lodemark(arguments),
            By::Etcd => of_etcd("etcdutl", arguments),
        };
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    }

    /// Restores the member of `site`.
    fn restore(self, file: &Path, site: &Site, more: &[&str]) {
        let peer = site.peer_url();
        let flags = [
            format!("--data-dir={}", site.data_dir().display()),
            "--name=m1".to_owned(),
            format!("--initial-cluster=m1={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
        ];
        let arguments = ["snapshot".as_ref(), "restore".as_ref(), file.as_os_str()];
        let flags = flags.iter().map(String::as_ref).chain(more.iter().map(|flag| flag.as_ref()));
        let arguments = arguments.into_iter().chain(flags);
        let (code, _, stderr) = match self {
            By::Lodemark => lodemark(arguments),
            By::Etcd => of_etcd("etcdutl", arguments),
        };
        assert_eq!(code, Some(0), "{stderr}");
    }
}

/// Saves from `from`, restores with `to`, and compares.
async fn moves(from: By, to: By) {
    if reference().is_none() {
        return;
    }
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let member = Member::start(&from.program(), Site::new(folders[0].path())).await;
    let mut client = member.client().await;
    fill(&mut client, number("LODEMARK_SNAPSHOT_KEYS", 3000)).await;
    let before = State::of(&mut client).await;

    // Both clients get the same from a server, and both tools see the same in it.
    let files = [folders[0].path().join("1.db"), folders[0].path().join("2.db")];
    By::Lodemark.save(&member.endpoint(), &files[0]);
    By::Etcd.save(&member.endpoint(), &files[1]);
    for write_out in ["simple", "table", "json", "fields"] {
        let told = files.each_ref().map(|file| [By::Lodemark, By::Etcd].map(|by| by.status(file, write_out)));
        assert_eq!(told[0][0], told[0][1]);
        assert_eq!(told[1][0], told[1][1]);
        println!("{}", told[0][0]);
    }
    drop(member);

    for (n, file) in files.iter().enumerate() {
        let site = Site::new(&folders[1].path().join(n.to_string()));
        std::fs::create_dir(folders[1].path().join(n.to_string())).expect("a new folder");
        to.restore(file, &site, &[]);
        let restored = Member::start(&to.program(), site).await;
        let mut client = restored.client().await;
        before.assert_eq(&State::of(&mut client).await);
        goes_on(&mut client, before.revision).await;
        restored.terminate();
    }
}

/// The store takes writes, with revisions that go on.
async fn goes_on(client: &mut Client, revision: i64) {
    let put = client.put("after", "1", None).await.expect("it takes writes");
    assert_eq!(put.header().expect("it has a header").revision(), revision + 1);
    client.compact(revision + 1, None).await.expect("it can be compacted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_becomes_etcds() {
    moves(By::Lodemark, By::Etcd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcds_becomes_ours() {
    moves(By::Etcd, By::Lodemark).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_becomes_ours() {
    moves(By::Lodemark, By::Lodemark).await;
}

/// Clients that knew later revisions than the snapshot has are told to begin anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_revision_is_compacted_in_both() {
    if reference().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved.db");
    let member = Member::start(&Program::lodemark(), Site::new(folder.path())).await;
    fill(&mut member.client().await, 200).await;
    let before = State::of(&mut member.client().await).await;
    By::Lodemark.save(&member.endpoint(), &file);
    drop(member);

    for by in [By::Lodemark, By::Etcd] {
        let folder = tempfile::tempdir().expect("a folder");
        let site = Site::new(folder.path());
        by.restore(&file, &site, &["--bump-revision=1000", "--mark-compacted"]);
        let restored = Member::start(&by.program(), site).await;
        let mut client = restored.client().await;
        let after = State::of_newest(&mut client).await;
        assert_eq!(after.revision, before.revision + 1000, "{by:?}");
        assert!(after.pairs == before.pairs && after.leases == before.leases, "{by:?}: the keys are the same");

        let options = WatchOptions::new().with_start_revision(before.revision);
        let mut watch = client.watch("any", Some(options)).await.expect("a watch can be asked for");
        let told = loop {
            let told = watch.message().await.expect("it is answered").expect("it does not end");
            if told.canceled() {
                break told;
            }
        };
        assert_eq!(told.compact_revision(), before.revision + 1000, "{by:?}");
        let error = client.get("any", Some(etcd_client::GetOptions::new().with_revision(before.revision))).await;
        assert!(error.expect_err("it is compacted").to_string().contains("compacted"));
        goes_on(&mut client, after.revision).await;
        restored.terminate();
    }
}
