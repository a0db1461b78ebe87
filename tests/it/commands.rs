//! The program's commands beside the server, as an operator calls them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use etcd_client::{Client, PutOptions};
use serde_json::Value;

use crate::harness::{Authority, Options, Server, address};

/// Status, stdout and stderr of the program.
fn lodemark(arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    Server::run(&arguments, folder).output()
}

/// All files below a folder, with their bytes and when they were changed.
fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let changed = path.metadata().unwrap().modified().unwrap();
                found.insert(path.clone(), (fs::read(&path).unwrap(), changed));
            }
        }
    }
    found
}

/// A server with a bit of everything.
async fn filled() -> Server {
    let server = Server::start(&Options::default());
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    let lease = client.lease_grant(600, None).await.unwrap().id();
    for n in 0..30 {
        client.put(format!("a/{n:02}"), format!("opensesame-{n}"), None).await.unwrap();
    }
    client.put("leased", "x", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    client.delete("a/07", None).await.unwrap();
    client.compact(12, None).await.unwrap();
    client.user_add("ann", "opensesame", None).await.unwrap();
    client.role_add("readers").await.unwrap();
    client.user_grant_role("ann", "readers").await.unwrap();
    server
}

#[tokio::test]
async fn check_reads_a_stopped_member_and_leaves_no_trace() {
    let mut server = filled().await;
    let data_dir = server.data_dir();
    let here = data_dir.to_str().unwrap().to_owned();
    let check = |more: &[&str]| lodemark(&[&["check", "--data-dir", &here], more].concat(), Path::new("/"));

    let (status, said, told) = check(&[]);
    assert_eq!(status, Some(2), "{said}{told}");
    assert!(told.contains("a member runs on") && told.contains("stop it first"), "{told}");

    server.kill();
    let before = files(&data_dir);
    let (status, said, told) = check(&[]);
    assert_eq!((status, said.ends_with("\nhealthy\n")), (Some(0), true), "{said}{told}");
    let (status, said, _) = check(&["--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &report["health"]), (Some(0), &"healthy".into()), "{said}");
    let parts: Vec<&str> =
        report["parts"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["log", "checkpoint", "log and checkpoint together"]);
    assert!(before == files(&data_dir), "something was written");

    // A log on another disk: where its segments are is all that counts.
    let apart = tempfile::tempdir().unwrap();
    fs::rename(data_dir.join("member/wal"), apart.path().join("log")).unwrap();
    let wal_dir = apart.path().join("log");
    assert_eq!(check(&["--wal-dir", wal_dir.to_str().unwrap()]).0, Some(0));
    let (status, said, _) = check(&[]);
    assert!(status == Some(1) && said.contains("files are missing, damaged or of another member"), "{said}");
    // Or the member itself has noted where it is.
    fs::write(data_dir.join("member/wal-dir"), wal_dir.to_str().unwrap()).unwrap();
    let (status, said, _) = check(&[]);
    assert!(status == Some(0) && said.contains(&format!("log {}: healthy", wal_dir.display())), "{said}");
    fs::remove_file(data_dir.join("member/wal-dir")).unwrap();
    fs::rename(wal_dir, data_dir.join("member/wal")).unwrap();

    // Damage in both files is told in one go.
    let state = data_dir.join("member/state.redb");
    let segment = data_dir.join("member/wal/0000000000000001.wal");
    for (file, at) in [(&state, 4096), (&segment, 4096 + 40)] {
        let mut bytes = fs::read(file).unwrap();
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
    }
    let (status, said, _) = check(&["--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    let log = &report["parts"][0];
    assert_eq!((status, &report["health"], &log["health"]), (Some(1), &"damaged".into(), &"damaged".into()), "{said}");
    assert_eq!(log["findings"][0]["offset"], 4096, "{said}");
    assert_eq!(log["findings"][0]["file"], segment.to_str().unwrap(), "{said}");
    assert!(log["findings"][0]["message"].as_str().unwrap().contains("delete its data folder"), "{said}");
}

#[test]
fn check_says_what_it_cannot_check() {
    let temp = tempfile::tempdir().unwrap();
    let etcd = temp.path().join("etcd/member/snap");
    fs::create_dir_all(&etcd).unwrap();
    fs::write(etcd.join("db"), "x").unwrap();
    fs::write(temp.path().join("file"), "x").unwrap();
    for (arguments, status, text) in [
        (&["check", "--data-dir=nowhere"][..], 2, "holds no member"),
        (&["check", "--data-dir=etcd"], 2, "holds a member of etcd"),
        (&["check", "nothing.db"], 2, "No such file"),
        (&["check", "--data-dir=x", "s.db"], 2, "a snapshot file is checked by itself"),
        (&["check", "a", "b"], 2, "check takes one snapshot file"),
        (&["check", "--nope"], 2, "unknown flag: --nope"),
        (&["dump"], 0, "lodemark dump log"),
        (&["dump", "lgo"], 2, "unknown command \"lgo\""),
        (&["dump", "log", "x"], 2, "unexpected argument \"x\""),
        (&["dump", "log", "--from=x"], 2, "it is no number"),
        (&["dump", "state", "--data-dir=nowhere"], 2, "holds no member"),
        (&["check", "file"], 1, "file"),
    ] {
        let (found, said, told) = lodemark(arguments, temp.path());
        assert!(
            found == Some(status) && (told.clone() + &said).contains(text),
            "{arguments:?}: {found:?} {said}{told}"
        );
    }
}

#[tokio::test]
async fn dump_tells_log_and_state_without_secrets() {
    let mut server = filled().await;
    let data_dir = server.data_dir();
    let here = data_dir.to_str().unwrap().to_owned();
    assert_eq!(server.terminate(), Some(0));
    let before = files(&data_dir);
    let dump = |arguments: &[&str]| {
        let (status, said, told) = lodemark(&[&["dump"], arguments, &["--data-dir", &here]].concat(), Path::new("/"));
        assert_eq!(status, Some(0), "{told}");
        said
    };

    let log = dump(&["log"]);
    assert!(log.starts_with("log segments="), "{log}");
    for text in [
        "kind=blank",
        "kind=membership voters=[[",
        "commands=[put key=\"a/03\" value_bytes=12]",
        "delete key=\"a/07\"",
        "lease-grant lease=",
        "compact revision=12 physical=false",
        "user-add name=\"ann\" has_password=true",
        "user-grant-role name=\"ann\" role=\"readers\"",
        "member-attributes id=",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
    let state = dump(&["state", "--keys="]);
    for text in [
        "state cluster=",
        "revision=33 compacted=12",
        "raft since=",
        "lease id=",
        "ttl=600",
        "user name=\"ann\" roles=[\"readers\"] has_password=true",
        "role name=\"readers\" permissions=[]",
        "key key=\"a/03\" create_revision=5 mod_revision=5 version=1 value_bytes=12",
    ] {
        assert!(state.contains(text), "{text}: {state}");
    }
    assert_eq!(state.matches("\nkey key=").count(), 30, "{state}");
    assert!(!state.contains("a/07"), "it was deleted: {state}");
    for text in [&log, &state] {
        assert!(!text.contains("opensesame") && !text.contains("$2"), "{text}");
    }

    let lines = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let some = lines(&dump(&["log", "--json", "--from=5", "--to=6"]));
    let indexes: Vec<u64> = some[1..].iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [5, 6]);
    let few = lines(&dump(&["state", "--json", "--keys=a/", "--limit=2", "--values"]));
    let keys: Vec<&Value> = few.iter().filter(|line| line["what"] == "key").collect();
    assert_eq!((keys.len(), &keys[0]["key"], &keys[0]["value"]), (2, &"YS8wMA==".into(), &"b3BlbnNlc2FtZS0w".into()));
    assert_eq!(few.last().unwrap()["what"], "more");
    assert!(before == files(&data_dir), "something was written");
    // Its owner may keep it from being written, too.
    fs::set_permissions(data_dir.join("member/state.redb"), fs::Permissions::from_mode(0o400)).unwrap();
    dump(&["state"]);
}

/// A folder that a restore has made, which was never started: there is no log, and no lock.
#[tokio::test]
async fn a_restored_folder_is_healthy_before_its_first_start() {
    let server = filled().await;
    let temp = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let (status, said, told) = lodemark(arguments, temp.path());
        assert_eq!(status, Some(0), "{arguments:?}: {said}{told}");
        said
    };
    run(&["snapshot", "save", "s.db", "--endpoints", &server.endpoint()]);
    run(&["snapshot", "restore", "s.db", "--data-dir=restored"]);
    run(&["snapshot", "restore", "s.db", "--data-dir=raised", "--bump-revision=1000", "--mark-compacted"]);
    for folder in ["restored", "raised"] {
        let said = run(&["check", "--data-dir", folder]);
        assert!(said.contains("note: there is no log"), "{said}");
        assert!(!temp.path().join(folder).join("member/wal").exists());
    }
    assert!(run(&["dump", "state", "--data-dir=raised"]).contains("revision=1033 compacted=1033"));
}

#[tokio::test]
async fn defrag_gives_space_back_and_keeps_everything() {
    let mut server = Server::start(&Options::default());
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    for n in 0..60 {
        client.put(format!("key/{}", n % 4), vec![b'x'; 200_000], None).await.unwrap();
    }
    // All of it is in the file then.
    assert_eq!(server.terminate(), Some(0));
    server = server.restart();
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    let revision = client.get("key/0", None).await.unwrap().header().unwrap().revision();
    client.compact(revision, Some(etcd_client::CompactionOptions::new().with_physical())).await.unwrap();
    let data_dir = server.data_dir();
    let run = |arguments: &[&str]| {
        lodemark(&[arguments, &["--data-dir", data_dir.to_str().unwrap()]].concat(), Path::new("/"))
    };
    let (status, _, told) = run(&["defrag"]);
    assert!(status == Some(2) && told.contains("a member runs on"), "{told}");
    let hash = client.hash_kv(0).await.unwrap().hash();
    assert_eq!(server.terminate(), Some(0));

    let len = || fs::metadata(data_dir.join("member/state.redb")).unwrap().len();
    let before = len();
    let told_hash = format!("hash hash={hash} revision={revision} compacted={revision}\n");
    assert!(run(&["dump", "state", "--hash"]).1.ends_with(&told_hash), "{told_hash}");
    let (status, said, told) = run(&["defrag"]);
    assert!(status == Some(0) && said.starts_with("defragmented "), "{said}{told}");
    assert!(len() < before / 2, "{before} bytes, now {}", len());
    assert!(run(&["dump", "state", "--hash"]).1.ends_with(&told_hash), "{told_hash}");
    assert_eq!(run(&["check"]).0, Some(0));
    let server = server.restart();
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    assert_eq!(client.get("key/3", None).await.unwrap().kvs()[0].value().len(), 200_000);
}

#[test]
fn commands_explain_themselves() {
    let here = Path::new("/");
    let (status, said, _) = lodemark(&["help"], here);
    assert_eq!(status, Some(0));
    for name in ["snapshot", "check", "dump", "defrag", "health", "completion"] {
        assert!(said.contains(&format!("\n  {name} ")), "{said}");
        let explained = lodemark(&["help", name], here);
        assert_eq!(explained.0, Some(0));
        assert!(explained.1.contains(&format!("lodemark {name}")), "{}", explained.1);
        let own = lodemark(&[name, "--help"], here);
        assert_eq!((own.0, &own.1), (Some(0), &explained.1), "{name}");
    }
    let (status, _, told) = lodemark(&["chekc"], here);
    assert_eq!(status, Some(1));
    assert!(told.contains("did you mean \"lodemark check\"?") && told.contains("is not a valid flag"), "{told}");
    let (status, _, told) = lodemark(&["help", "dmup"], here);
    assert!(status == Some(2) && told.contains("did you mean \"dump\"?"), "{told}");
}

#[test]
fn health_asks_a_member_whether_it_is_ready() {
    let mut server = Server::start(&Options::default());
    let ask =
        |endpoint: &str, more: &[&str]| lodemark(&[&["health", "--endpoint", endpoint], more].concat(), Path::new("/"));
    let (status, said, told) = ask(&server.endpoint(), &[]);
    assert_eq!((status, said.trim()), (Some(0), "ok"), "{told}");
    let (status, said, _) = ask(server.client_address(), &["--path=/health"]);
    assert!(status == Some(0) && said.contains("\"health\":\"true\""), "{said}");
    let (status, _, told) = ask(&server.endpoint(), &["--path=/nothing"]);
    assert!(status == Some(1) && told.contains("status 404"), "{told}");
    let endpoint = server.endpoint();
    server.kill();
    let (status, _, told) = ask(&endpoint, &["--timeout=2"]);
    assert!(status == Some(1) && told.contains("refused"), "{told}");
    assert_eq!(ask(&endpoint, &["--nope"]).0, Some(2));
}

#[test]
fn health_speaks_tls_with_a_certificate_if_it_has_to() {
    let (temp, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let folder = temp.path();
    let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
    authority.write(folder);
    authority.issue(folder, "server", "server", 1, &["127.0.0.1"]);
    authority.issue(folder, "alice", "alice", 2, &["alice.example"]);
    let flags = [
        "--listen-client-urls=https://127.0.0.1:0".to_owned(),
        "--advertise-client-urls=https://127.0.0.1:0".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        "--client-cert-auth".to_owned(),
        format!("--cert-file={}", path("server.pem")),
        format!("--key-file={}", path("server.key")),
        format!("--trusted-ca-file={}", path("ca.pem")),
    ];
    let flags: Vec<OsString> = flags.into_iter().map(OsString::from).collect();
    let server = Server::run(&flags, folder);
    let endpoint = format!("https://{}", address(&server.wait_for_line("serving client traffic securely", 0)));
    let ask = |more: &[&str]| lodemark(&[&["health", "--endpoint", &endpoint], more].concat(), folder);
    let all = ["--cacert=ca.pem", "--cert=alice.pem", "--key=alice.key"];
    let (status, said, told) = ask(&all);
    assert_eq!((status, said.trim()), (Some(0), "ok"), "{told}");
    for (more, status) in [(&all[..1], 1), (&all[1..], 1), (&all[..2], 2)] {
        assert_eq!(ask(more).0, Some(status), "{more:?}");
    }
}
