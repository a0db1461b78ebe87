//! Calls while auth is enabled, to this program and to a real etcd beside it: `tests/auth.sh` has what etcdctl and curl see;
//! here is what takes more than one fresh member.

mod certificates;
mod cluster;
mod jwt;
mod restart;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::gateway::http::{Answer, ask};
use crate::harness::{Member, Program, Site, reference};

/// Passwords are hashed as quickly as may be.
const CHEAP: &str = "--bcrypt-cost=4";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_sees_the_same_of_users_and_roles() {
    let (Some(folder), Some(etcd)) = (reference(), Program::etcd()) else { return };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let site = |at: usize| Site::new(folders[at].path()).with_flags([CHEAP.to_owned()]);
    let own = Program::lodemark();
    let (expected, actual) = tokio::join!(Member::start(&etcd, site(0)), Member::start(&own, site(1)));

    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/auth.sh"));
    script.arg(folder.join("etcdctl")).args([expected.endpoint(), actual.endpoint()]);
    let output = script.output().expect("the script runs");
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{said}\n{complained}");
}

/// Posts JSON to the gateway of the server at `host:port`, perhaps with a token.
fn post(address: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
    let header = token.map(|token| ("Authorization", token));
    ask(address, "POST", path, header.as_slice(), body.as_bytes())
}

/// The same; gives the code of gRPC and the text of a refusal, or the code 0 and nothing.
fn outcome(address: &str, path: &str, token: Option<&str>, body: &str) -> (u64, String) {
    let answer = post(address, path, token, body);
    if answer.status == 200 {
        return (0, String::new());
    }
    let refusal: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    (refusal["code"].as_u64().unwrap(), refusal["message"].as_str().unwrap().to_owned())
}

/// Makes a user `root` with the password `p`, `alice` with the same, who may do nothing, and enables auth.
fn enable(address: &str) {
    for (path, body) in [
        ("/v3/auth/user/add", r#"{"name":"root","password":"p"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/user/add", r#"{"name":"alice","password":"p"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        assert_eq!(outcome(address, path, None, body), (0, String::new()), "{path}");
    }
}

/// The token that a user gets for the password `p`.
fn token(address: &str, name: &str) -> String {
    let body = format!(r#"{{"name":"{name}","password":"p"}}"#);
    let answer = post(address, "/v3/auth/authenticate", None, &body);
    let parsed: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    parsed["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

const PUT: (&str, &str) = ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#);
const GET: (&str, &str) = ("/v3/kv/range", r#"{"key":"Zm9v"}"#);

fn refusal(code: u64, text: &str) -> (u64, String) {
    (code, text.to_owned())
}
