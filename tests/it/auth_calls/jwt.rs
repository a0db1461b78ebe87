//! Signed tokens: members take those of the other kind, since both say the same with the same key.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{CHEAP, GET, PUT, enable, outcome, refusal, token};
use crate::gateway::Pair;
use crate::harness::{has_program, skip};

const OLD_REVISION: &str = "etcdserver: revision of auth store is old";
const INVALID_TOKEN: &str = "etcdserver: invalid auth token";

/// Both servers; asks both the same and compares.
struct Signing(Pair);

impl Signing {
    fn start(option: &str) -> Option<Signing> {
        Pair::start(&[&format!("--auth-token={option}"), CHEAP]).map(Signing)
    }

    fn addresses(&self) -> [&str; 2] {
        [self.0.own.client_address(), self.0.etcd.client_address()]
    }

    fn both(&self, path: &str, token: Option<&str>, body: &str) -> (u64, String) {
        let [own, etcd] = self.addresses().map(|address| outcome(address, path, token, body));
        assert_eq!(own, etcd, "{path} {body}");
        own
    }
}

/// Makes tokens with a key that both have; everything that may happen to one of them happens.
fn walk(signing: &Signing) {
    signing.addresses().into_iter().for_each(enable);
    let ok = refusal(0, "");
    let tokens = signing.addresses().map(|address| token(address, "root"));
    for token in &tokens {
        // Whoever made it.
        assert_eq!(signing.both(PUT.0, Some(token), PUT.1), ok);
        assert_eq!(signing.both(GET.0, Some(&format!("Bearer {token}")), GET.1), ok);
        assert_eq!(signing.both(GET.0, Some(&token[..token.len() - 4]), GET.1), refusal(16, INVALID_TOKEN));
    }
    let alice = token(signing.addresses()[0], "alice");
    assert_eq!(signing.both(GET.0, Some(&alice), GET.1), refusal(7, "etcdserver: permission denied"));
    assert_eq!(signing.both(GET.0, Some("a.b.c"), GET.1), refusal(16, INVALID_TOKEN));
    assert_eq!(signing.both(GET.0, Some("abcdefghijklmnop.1"), GET.1), refusal(16, INVALID_TOKEN));

    let [root, _] = &tokens;
    let change = r#"{"name":"alice","password":"other"}"#;
    assert_eq!(signing.both("/v3/auth/user/changepw", Some(root), change), ok);
    // Of an older revision: no keys. Root stays root for what is not about keys.
    for (path, body) in [PUT, GET, ("/v3/kv/deleterange", r#"{"key":"eA=="}"#), ("/v3/lease/leases", "{}")] {
        signing.both(path, Some(root), body);
        signing.both(path, Some(&alice), body);
    }
    assert_eq!(signing.both(PUT.0, Some(root), PUT.1), refusal(3, OLD_REVISION));
    assert_eq!(signing.both(GET.0, Some(&alice), GET.1), refusal(3, OLD_REVISION));
    for (path, body) in [
        ("/v3/auth/user/list", "{}"),
        ("/v3/auth/user/get", r#"{"name":"alice"}"#),
        ("/v3/auth/role/add", r#"{"name":"r"}"#),
        ("/v3/cluster/member/list", "{}"),
        ("/v3/maintenance/status", "{}"),
        ("/v3/maintenance/alarm", "{}"),
        ("/v3/lease/grant", r#"{"TTL":"60","ID":"7"}"#),
        ("/v3/lease/timetolive", r#"{"ID":"7"}"#),
        ("/v3/lease/timetolive", r#"{"ID":"7","keys":true}"#),
        ("/v3/lease/leases", "{}"),
        ("/v3/lease/revoke", r#"{"ID":"7"}"#),
        ("/v3/kv/compaction", r#"{"revision":"1"}"#),
    ] {
        signing.both(path, Some(&alice), body);
        signing.both(path, Some(root), body);
    }

    // Its user goes, and auth goes and comes: what is signed stays signed, and old.
    assert_eq!(signing.both("/v3/auth/user/delete", Some(root), r#"{"name":"alice"}"#), ok);
    assert_eq!(signing.both("/v3/maintenance/status", Some(&alice), "{}"), ok);
    assert_eq!(signing.both("/v3/auth/disable", Some(root), "{}"), ok);
    assert_eq!(signing.both(PUT.0, Some("garbage"), PUT.1), ok);
    assert_eq!(signing.both("/v3/auth/enable", None, "{}"), ok);
    assert_eq!(signing.both(PUT.0, Some(root), PUT.1), refusal(3, OLD_REVISION));
    let tokens = signing.addresses().map(|address| token(address, "root"));
    assert_eq!(signing.both(PUT.0, Some(&tokens[1]), PUT.1), ok);
}

#[test]
fn tokens_that_are_signed_with_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "nobody knows this secret but those who sign").unwrap();
    let Some(signing) = Signing::start(&format!("jwt,priv-key={},sign-method=HS256", secret.display())) else { return };
    walk(&signing);
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn tokens_that_are_signed_with_a_key_of_rsa() {
    if !has_program("openssl") {
        return skip("there is no openssl");
    }
    let dir = tempfile::tempdir().unwrap();
    openssl(dir.path(), &["genrsa", "-out", "key.pem", "2048"]);
    openssl(dir.path(), &["rsa", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    let path = dir.path().display();
    let files = format!("jwt,pub-key={path}/public.pem,priv-key={path}/key.pem,sign-method=RS256");
    let Some(signing) = Signing::start(&files) else { return };
    walk(&signing);
    let signed = token(signing.addresses()[0], "root");

    // With the public key alone nobody gets a token, and those that others made are good.
    let Some(verifying) = Signing::start(&format!("jwt,pub-key={path}/public.pem,sign-method=RS256")) else { return };
    verifying.addresses().into_iter().for_each(enable);
    let verify_only = refusal(2, "auth: token signing attempted with verify-only key");
    assert_eq!(verifying.both("/v3/auth/authenticate", None, r#"{"name":"root","password":"p"}"#), verify_only);
    let wrong = refusal(3, "etcdserver: authentication failed, invalid user ID or password");
    assert_eq!(verifying.both("/v3/auth/authenticate", None, r#"{"name":"root","password":"q"}"#), wrong);
    // It is of a revision that is to come here: it may write, and what it reads is not told.
    assert_eq!(verifying.both(PUT.0, Some(&signed), PUT.1), refusal(0, ""));
    assert_eq!(verifying.both(GET.0, Some(&signed), GET.1), refusal(3, OLD_REVISION));
}
