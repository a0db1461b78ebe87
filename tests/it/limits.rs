//! What a client may ask for at most: limits that flags set, beside a real etcd, and those that bound what nobody asks for.

use std::process::Command;
use std::time::Duration;

use etcd_client::{Client, GetOptions, WatchOptions};
use lodemark::proto::etcdserverpb as pb;
use prost::Message;
use tokio::time::Instant;

use crate::harness::frames::{Frame, Frames, GOAWAY, SETTINGS};
use crate::harness::{Etcd, Options, Server, reference};
use crate::wire::{Answer, Wire, framed, put, range};

/// Names a setting. Source: RFC 9113, section 6.5.2.
const MAX_CONCURRENT_STREAMS: u16 = 3;
/// Longer than anything here takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn own(flags: &[&str]) -> Server {
    let flags = flags.iter().copied().map(str::to_owned).collect();
    Server::start(&Options { flags, ..Options::default() })
}

/// What both servers are to say alike: code and text. Some say that there is no text.
fn said(answer: &Answer) -> (Option<&str>, &str) {
    (answer.code.as_deref(), answer.text.as_deref().unwrap_or_default())
}

/// What the server's settings say of `name`.
fn setting(address: &str, name: u16) -> Option<u32> {
    let settings = Frames::connect(address).next_of(&[SETTINGS]).expect("settings come first");
    let (pairs, _) = settings.payload.as_chunks::<6>();
    pairs
        .iter()
        .find(|pair| pair[..2] == name.to_be_bytes())
        .map(|&[_, _, a, b, c, d]| u32::from_be_bytes([a, b, c, d]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_bound_requests_as_those_of_etcd() {
    let Some(reference) = reference() else { return };
    let flags = ["--max-txn-ops=2", "--max-request-bytes=1000", "--max-concurrent-streams=3"];
    let (own, etcd) = (own(&flags), Etcd::start(&reference, &flags));
    assert_eq!(setting(own.client_address(), MAX_CONCURRENT_STREAMS), Some(3));
    assert_eq!(setting(etcd.client_address(), MAX_CONCURRENT_STREAMS), Some(3));

    let op = || pb::RequestOp { request: Some(pb::request_op::Request::RequestRange(range(b"a"))) };
    let txn = |ops| pb::TxnRequest { success: (0..ops).map(|_| op()).collect(), ..Default::default() };
    let nested = pb::TxnRequest {
        success: vec![pb::RequestOp { request: Some(pb::request_op::Request::RequestTxn(txn(2))) }],
        ..Default::default()
    };
    let own_wire = Wire::connect(&own.endpoint()).await;
    let etcd_wire = Wire::connect(&etcd.endpoint()).await;
    let limit = 1000 + 512 * 1024;
    for (path, message, code) in [
        ("/etcdserverpb.KV/Txn", txn(2).encode_to_vec(), "0"),
        ("/etcdserverpb.KV/Txn", txn(3).encode_to_vec(), "3"),
        ("/etcdserverpb.KV/Txn", nested.encode_to_vec(), "3"),
        ("/etcdserverpb.KV/Put", put(b"k", vec![7; 900]).encode_to_vec(), "0"),
        ("/etcdserverpb.KV/Put", put(b"k", vec![7; 1000]).encode_to_vec(), "3"),
        ("/etcdserverpb.KV/Put", put(b"k", vec![7; limit]).encode_to_vec(), "8"),
        ("/etcdserverpb.Lock/Lock", vec![0; limit + 1], "12"),
        ("/etcdserverpb.Lease/LeaseGrant", vec![0; limit + 1], "8"),
    ] {
        let own = own_wire.call(path, &[], framed(&message)).await;
        let etcd = etcd_wire.call(path, &[], framed(&message)).await;
        assert_eq!(said(&own), said(&etcd), "{path} of {}", message.len());
        assert_eq!(own.code.as_deref(), Some(code), "{path} of {}", message.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_comes_as_often_as_the_flag_says() {
    let Some(reference) = reference() else { return };
    let flags = ["--watch-progress-notify-interval=300ms"];
    let (own, etcd) = (own(&flags), Etcd::start(&reference, &flags));
    for endpoint in [own.endpoint(), etcd.endpoint()] {
        let mut client = Client::connect([&endpoint], None).await.unwrap();
        let mut watch = client.watch("k", Some(WatchOptions::new().with_progress_notify())).await.unwrap();
        let begun = Instant::now();
        for _ in 0..4 {
            let told = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
            assert!(told.events().is_empty() && !told.canceled(), "{endpoint}: {told:?}");
        }
        let taken = begun.elapsed();
        assert!(taken > Duration::from_millis(700), "{endpoint}: {taken:?}");
    }
}

/// The time that a client gives to a call counts here too, and what the call held is free then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_with_its_time() {
    let server = own(&[]);
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    client.lock("name", None).await.unwrap();
    let wire = Wire::connect(&server.endpoint()).await;
    // LockRequest { name: "name" }
    let lock = framed(b"\x0a\x04name");
    let begun = Instant::now();
    let late = wire.call("/v3lockpb.Lock/Lock", &[("grpc-timeout", b"300m")], lock).await;
    assert_eq!(late.code.as_deref(), Some("4"), "{late:?}");
    assert!(begun.elapsed() >= Duration::from_millis(290));
    // It waits in the queue no more.
    let mut waiting = async || client.get("name", Some(GetOptions::new().with_prefix())).await.unwrap().count() - 1;
    let gone = async {
        while waiting().await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("its key goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_headers_of_a_call_have_a_bound() {
    let server = own(&[]);
    let wire = Wire::connect(&server.endpoint()).await;
    let message = framed(&range(b"a").encode_to_vec());
    let call = async |bytes| {
        let value = vec![b'x'; bytes];
        wire.call("/etcdserverpb.KV/Range", &[("x-any", &value)], message.clone()).await
    };
    assert_eq!(call(60 * 1024).await.code.as_deref(), Some("0"));
    assert_eq!(call(70 * 1024).await.http, 431);
    assert!(wire.is_serving().await);
}

/// Calls that are begun and taken back do not count for the streams that may be open.
#[test]
fn a_client_may_not_take_back_one_call_after_another() {
    let server = own(&["--max-concurrent-streams=100"]);
    let mut connection = Frames::connect(server.client_address());
    let taken_back = |first: u32, count: u32| -> Vec<Frame> {
        (first..first + count)
            .flat_map(|number| [Frame::call(2 * number + 1, "/etcdserverpb.Watch/Watch"), Frame::reset(2 * number + 1)])
            .collect()
    };
    for batch in 0..3 {
        connection.send(&taken_back(batch * 300, 300));
        connection.settle().expect("so many are borne");
    }
    // The budget grows a little meanwhile.
    let last = (3..30).find_map(|batch| {
        connection.send(&taken_back(batch * 300, 300));
        connection.settle().err()
    });
    let last = last.expect("more are not").expect("the server says why");
    assert!(last.kind == GOAWAY && last.payload.ends_with(b"\x0btoo_many_resets"), "{last:?}");
    connection.send(&taken_back(30 * 300, 300));
    assert_eq!(connection.next_of(&[SETTINGS, GOAWAY]), None);
    // Others are served.
    Frames::connect(server.client_address()).settle().expect("they are");
}

/// With everything logged that can be: passwords and tokens stand nowhere, whether they are right or wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_not_logged() {
    const RIGHT: &str = "right-and-secret";
    const WRONG: &str = "wrong-and-secret";
    const CHANGED: &str = "changed-and-secret";
    let mut server = own(&["--log-level=debug", "--bcrypt-cost=4"]);
    let endpoint = server.endpoint();
    let mut client = Client::connect([&endpoint], None).await.unwrap();
    client.user_add("root", RIGHT, None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();

    let post = |path: &str, body: String| {
        let address = server.client_address();
        let headers = [("Content-Type", "application/json")];
        crate::gateway::http::ask(address, "POST", path, &headers, body.as_bytes()).body
    };
    let authenticate =
        |password: &str| post("/v3/auth/authenticate", format!(r#"{{"name":"root","password":"{password}"}}"#));
    let answer: serde_json::Value = serde_json::from_str(&authenticate(RIGHT)).unwrap();
    let token = answer["token"].as_str().expect("a token").to_owned();
    let refusal = authenticate(WRONG);
    assert!(!refusal.contains(WRONG), "{refusal}");
    let misshapen = post("/v3/auth/authenticate", format!(r#"{{"name":"root","password":["{WRONG}"]}}"#));
    assert!(misshapen.contains("\"code\":3"), "{misshapen}");

    let wire = Wire::connect(&endpoint).await;
    let change =
        pb::AuthUserChangePasswordRequest { name: "root".into(), password: CHANGED.into(), ..Default::default() };
    let headers: [(&str, &[u8]); 1] = [("token", token.as_bytes())];
    let changed = wire.call("/etcdserverpb.Auth/UserChangePassword", &headers, framed(&change.encode_to_vec())).await;
    assert_eq!(changed.code.as_deref(), Some("0"), "{changed:?}");
    let ended = wire.call("/etcdserverpb.KV/Range", &headers, framed(&range(b"a").encode_to_vec())).await;
    assert_eq!(ended.code.as_deref(), Some("16"), "{ended:?}");
    assert!(!ended.text.unwrap_or_default().contains(&token));

    server.terminate();
    let lines = server.process().lines().join("\n");
    assert!(lines.contains("\"level\":\"debug\""), "debug is on");
    for secret in [RIGHT, WRONG, CHANGED, token.split('.').next().expect("a token"), "$2a$"] {
        assert!(!lines.contains(secret), "{secret} was logged");
    }
}

/// A command line is no place for a secret, and the log is none for the command line.
#[test]
fn a_key_that_signs_tokens_is_not_logged() {
    let temp = tempfile::tempdir().unwrap();
    let key = temp.path().join("secret");
    std::fs::write(&key, "the-secret-that-signs").unwrap();
    let flag = format!("--auth-token=jwt,sign-method=HS256,priv-key={},ttl=5m", key.display());
    let mut server = own(&[&flag, "--log-level=debug"]);
    server.terminate();
    assert!(!server.process().lines().join("\n").contains("the-secret-that-signs"));
}

/// What the operator says of compaction is obeyed: one key, and then a rest of an hour.
#[test]
fn a_compaction_takes_the_steps_that_it_is_told_to() {
    let Some(reference) = reference() else { return };
    let mut server = own(&["--compaction-batch-limit=1", "--compaction-sleep-interval=1h"]);
    let endpoints = format!("--endpoints={}", server.endpoint());
    let ctl = |arguments: &[&str]| {
        let output = Command::new(reference.join("etcdctl")).arg(&endpoints).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for key in ["a", "b", "a", "b"] {
        assert!(ctl(&["put", key, "v"]).0);
    }
    // Readers are not held up, and whoever waits for the space waits.
    assert!(ctl(&["compaction", "4"]).0);
    assert!(ctl(&["get", "a"]).0);
    let (is_answered, said) = ctl(&["compaction", "5", "--physical", "--command-timeout=1s"]);
    assert!(!is_answered && said.contains("deadline exceeded"), "{said}");
    // Nor does it hold up the end.
    assert_eq!(server.terminate(), Some(0));
}
