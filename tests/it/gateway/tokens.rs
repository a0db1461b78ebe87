//! A request of the gateway is its caller's: who calls is said by a token, wherever that stands.

use super::Pair;
use super::http::ask;

#[test]
fn a_token_counts_wherever_it_stands() {
    let Some(pair) = Pair::start(&[]) else { return };
    for (path, body) in [
        ("/v3/auth/user/add", r#"{"name":"root","password":"p"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/user/add", r#"{"name":"nobody","password":"p"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        pair.post(path, body);
    }
    let tokens = |name: &str| {
        let body = format!(r#"{{"name":"{name}","password":"p"}}"#);
        [pair.own.client_address(), pair.etcd.client_address()].map(|address| {
            let answer = ask(address, "POST", "/v3/auth/authenticate", &[], body.as_bytes());
            let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            answer["token"].as_str().unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
        })
    };
    let put: &[u8] = br#"{"key":"Zm9v"}"#;
    let put_with = |header: &str, values: &[String; 2]| {
        let addresses = [pair.own.client_address(), pair.etcd.client_address()];
        let [own, etcd] =
            [0, 1].map(|at| ask(addresses[at], "POST", "/v3/kv/put", &[(header, &values[at])], put).masked());
        assert_eq!(own, etcd, "{header}");
        own.status
    };
    assert_eq!(pair.ask("POST", "/v3/kv/put", &[], put).status, 400);
    let (root, nobody) = (tokens("root"), tokens("nobody"));
    let bearer = |tokens: &[String; 2]| tokens.each_ref().map(|token| format!("Bearer {token}"));
    for (header, values) in
        [("Authorization", root.clone()), ("Authorization", bearer(&root)), ("Grpc-Metadata-Token", root.clone())]
    {
        assert_eq!(put_with(header, &values), 200);
    }
    assert_eq!(put_with("Authorization", &nobody), 403);
    assert_eq!(put_with("Authorization", &["no".into(), "no".into()]), 401);
    assert_eq!(put_with("Cookie", &root.map(|token| format!("token={token}"))), 400);
}
