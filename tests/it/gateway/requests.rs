//! Every path, and every way in which a body can be right or wrong.

use super::Pair;

/// What is asked on every path, in this order.
const WALK: &[(&str, &str)] = &[
    ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmF6","prev_kv":true}"#),
    ("/v3/kv/put", r#"{"key":"Zm9v","ignore_value":true,"value":"YmF6"}"#),
    ("/v3/kv/put", r#"{"key":"Zm9v","lease":"12345"}"#),
    ("/v3/kv/put", "{}"),
    ("/v3/kv/put", r#"{"key":"YQ==","value":"/+8="}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v"}"#),
    ("/v3/kv/range", r#"{"key":"AA==","range_end":"AA==","sort_order":"DESCEND","limit":"1"}"#),
    ("/v3/kv/range", r#"{"key":"AA==","rangeEnd":"AA==","countOnly":true}"#),
    ("/v3/kv/range", r#"{"key":"AA==","rangeEnd":"AA==","keys_only":true,"serializable":true}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","revision":"99"}"#),
    ("/v3/kv/range", r#"{"key":"bm90"}"#),
    (
        "/v3/kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"CREATE","result":"GREATER","create_revision":"0"}],
            "success":[{"request_put":{"key":"Yg==","value":"Yg=="}},{"request_range":{"key":"Yg=="}}],
            "failure":[{"request_delete_range":{"key":"Yg=="}}]}"#,
    ),
    (
        "/v3/kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"VERSION","version":"1"}],"failure":[{"requestTxn":{
            "success":[{"requestDeleteRange":{"key":"Yg==","prevKv":true}}]}}]}"#,
    ),
    ("/v3/kv/txn", r#"{"compare":[{"key":"Zm9v","target":3,"result":1,"value":""}]}"#),
    ("/v3/kv/txn", "{}"),
    ("/v3/kv/txn", r#"{"success":[{"request_put":{"key":"Yg=="}},{"request_put":{"key":"Yg=="}}]}"#),
    ("/v3/kv/deleterange", r#"{"key":"Zm9v","prev_kv":true}"#),
    ("/v3/kv/deleterange", r#"{"key":"Zm9v"}"#),
    ("/v3/kv/compaction", r#"{"revision":"3"}"#),
    ("/v3/kv/compaction", r#"{"revision":"3","physical":true}"#),
    ("/v3/kv/compaction", r#"{"revision":"99"}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
    ("/v3beta/kv/range", r#"{"key":"YQ=="}"#),
    ("/v3alpha/kv/range", r#"{"key":"YQ=="}"#),
    ("/v3/lease/grant", r#"{"ID":"77","TTL":"600"}"#),
    ("/v3/lease/grant", r#"{"ID":"77","TTL":"600"}"#),
    ("/v3/lease/grant", r#"{"ID":"78","TTL":"99999999999"}"#),
    ("/v3/lease/grant", r#"{"ID":79,"TTL":600}"#),
    ("/v3/lease/grant", r#"{"ID":80,"TTL":"600"}"#),
    ("/v3/kv/put", r#"{"key":"bA==","lease":"77"}"#),
    ("/v3/lease/timetolive", r#"{"ID":"77","keys":true}"#),
    ("/v3/kv/lease/timetolive", r#"{"ID":"77"}"#),
    ("/v3/lease/timetolive", r#"{"ID":"5"}"#),
    ("/v3/lease/leases", "{}"),
    ("/v3/kv/lease/leases", ""),
    ("/v3/lease/keepalive", r#"{"ID":"77"}"#),
    ("/v3/lease/keepalive", r#"{"ID":"77"}{"ID":"5"} {"ID":79}"#),
    ("/v3/lease/keepalive", ""),
    ("/v3/lease/revoke", r#"{"ID":"79"}"#),
    ("/v3/kv/lease/revoke", r#"{"ID":"79"}"#),
    ("/v3/lock/lock", r#"{"name":"bG9jaw==","lease":"77"}"#),
    ("/v3/lock/lock", r#"{"name":"bG9jaw==","lease":"99"}"#),
    ("/v3/lock/unlock", r#"{"key":"bG9jay80ZA=="}"#),
    ("/v3/election/campaign", r#"{"name":"ZWxlY3Q=","lease":"77","value":"bWU="}"#),
    ("/v3/election/leader", r#"{"name":"ZWxlY3Q="}"#),
    ("/v3/election/leader", r#"{"name":"bm9uZQ=="}"#),
    ("/v3/election/proclaim", "{}"),
    ("/v3/election/resign", "{}"),
    ("/v3/cluster/member/list", ""),
    ("/v3/cluster/member/list", r#"{"linearizable":true}"#),
    ("/v3/cluster/member/add", r#"{"peerURLs":["no url"]}"#),
    ("/v3/cluster/member/add", "{}"),
    ("/v3/cluster/member/update", r#"{"ID":"5","peerURLs":["http://127.0.0.1:1"]}"#),
    ("/v3/cluster/member/remove", r#"{"ID":"5"}"#),
    ("/v3/cluster/member/promote", r#"{"ID":"5"}"#),
    ("/v3/maintenance/alarm", "{}"),
    ("/v3/maintenance/alarm", r#"{"action":"GET","alarm":"CORRUPT"}"#),
    ("/v3/maintenance/status", "{}"),
    ("/v3/maintenance/hash", "{}"),
    ("/v3/maintenance/hashkv", "{}"),
    ("/v3/maintenance/hashkv", r#"{"revision":"99"}"#),
    ("/v3/maintenance/defragment", "{}"),
    ("/v3/maintenance/transfer-leadership", r#"{"targetID":"5"}"#),
    ("/v3/maintenance/downgrade", r#"{"action":"VALIDATE","version":"x"}"#),
    ("/v3/auth/status", "{}"),
    ("/v3/auth/enable", "{}"),
    ("/v3/auth/disable", "{}"),
    ("/v3/auth/authenticate", r#"{"name":"root","password":"x"}"#),
    ("/v3/auth/user/add", r#"{"name":"u","password":"p"}"#),
    ("/v3/auth/user/add", r#"{"name":"u","password":"p"}"#),
    ("/v3/auth/user/add", r#"{"name":""}"#),
    ("/v3/auth/role/add", r#"{"name":"r"}"#),
    ("/v3/auth/role/grant", r#"{"name":"r","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}"#),
    ("/v3/auth/user/grant", r#"{"user":"u","role":"r"}"#),
    ("/v3/auth/user/get", r#"{"name":"u"}"#),
    ("/v3/auth/user/list", "{}"),
    ("/v3/auth/user/changepw", r#"{"name":"u","password":"q"}"#),
    ("/v3/auth/role/get", r#"{"role":"r"}"#),
    ("/v3/auth/role/list", "{}"),
    ("/v3/auth/role/revoke", r#"{"role":"r","key":"YQ==","range_end":"Yg=="}"#),
    ("/v3/auth/user/revoke", r#"{"name":"u","role":"r"}"#),
    ("/v3/auth/role/delete", r#"{"role":"r"}"#),
    ("/v3/auth/user/delete", r#"{"name":"u"}"#),
    ("/v3/auth/user/get", r#"{"name":"u"}"#),
    ("/v3/election/observe", r#"{"name":5}"#),
    ("/v3/maintenance/snapshot", r#"["#),
];

#[test]
fn every_path_is_answered_as_by_etcd() {
    let Some(pair) = Pair::start(&[]) else { return };
    for (path, body) in WALK {
        pair.post(path, body);
    }
}

/// Bodies of a put.
const PUTS: &[&str] = &[
    "",
    "  \n",
    "{} {}",
    "{} garbage",
    r#"{"key":"Zm9v","value":"YmFy""#,
    r#"{"key":}"#,
    "{key:1}",
    r#"{"key":"Zm9v",}"#,
    r#"{"key":"Zm9v" "value":"x"}"#,
    r#"{"key" "Zm9v"}"#,
    "[1,2",
    "[1,2]",
    "[1}",
    "123",
    "123x",
    "\"x\"",
    "null",
    "true",
    "tru",
    "trux",
    "x",
    "]",
    r#"{"key":123}"#,
    r#"{"key":["Zm9v"]}"#,
    r#"{"key":"Z"}"#,
    r#"{"key":"Zm9v","value":"!!!"}"#,
    r#"{"key":"Zm9v","value":"YQ"}"#,
    r#"{"key":"Zm9v","value":"_-8="}"#,
    r#"{"key":"Zm9v","value":"-_8"}"#,
    r#"{"key":"Zm9v","value":"+_8"}"#,
    r#"{"key":"Zm9v","value":"YR=="}"#,
    r#"{"key":"Zm9v","value":"YQ="}"#,
    r#"{"key":"Zm9v","value":"Y===" }"#,
    r#"{"key":"Zm9v","value":"YQ==YQ=="}"#,
    r#"{"key":"Zm\n9v","value":"Y\r\nQ\n="}"#,
    r#"{"key":"Zm9v","key":"Zm9v"}"#,
    r#"{"key":null,"key":"Zm9v"}"#,
    r#"{"\u006bey":"Zm9v","key":"Zm9v"}"#,
    r#"{"key":"Zm9v","prev_kv":true,"prevKv":true}"#,
    r#"{"key":"Zm9v","bogus":1,"bogus":{"a":[1,{}]}}"#,
    r#"{"key":"Zm9v","[bogus]":1,"":2}"#,
    r#"{"key":"Zm9v","lease":"abc"}"#,
    r#"{"key":"Zm9v","lease":1.5}"#,
    r#"{"key":"Zm9v","lease":1.0}"#,
    r#"{"key":"Zm9v","lease":"1e1"}"#,
    r#"{"key":"Zm9v","lease":" 1"}"#,
    r#"{"key":"Zm9v","lease":"1 x"}"#,
    r#"{"key":"Zm9v","lease":"+1"}"#,
    r#"{"key":"Zm9v","lease":""}"#,
    r#"{"key":"Zm9v","lease":-0}"#,
    r#"{"key":"Zm9v","lease":9223372036854775808}"#,
    r#"{"key":"Zm9v","lease":-9223372036854775808}"#,
    r#"{"key":"Zm9v","lease":"99999999999999999999"}"#,
    r#"{"key":"Zm9v","lease":1e30}"#,
    r#"{"key":"Zm9v","lease":1e99999999999}"#,
    r#"{"key":"Zm9v","lease":true}"#,
    r#"{"key":"Zm9v","lease":01}"#,
    r#"{"key":"Zm9v","lease":-}"#,
    r#"{"key":"Zm9v","lease":1.}"#,
    r#"{"key":"Zm9v","lease":1e}"#,
    r#"{"key":"Zm9v","lease":+1}"#,
    r#"{"key":"Zm9v","prev_kv":"true"}"#,
    r#"{"key":"Zm9v","prev_kv":1}"#,
    r#"{"key":"Zm9v","prev_kv":null,"value":null,"lease":null}"#,
    "{\"key\":\"Zm9v\"\n\n ,\r\n\t\"lease\":\"abc\"}",
    "{\"k\u{e9}\u{1f600}\":\"\",\"lease\":\"abc\"}",
    r#"{"key":"\ud800"}"#,
    r#"{"key":"Zm9v","x":"\ud83d\ude00"}"#,
    r#"{"key":"Zm9v","x":"\ud83d\u0041."}"#,
    r#"{"key":"\x"}"#,
    r#"{"key":"\u00g0"}"#,
    "{\"key\":\"\u{1}\"}",
    "{\"key\":\"\u{7f}\"}",
    "\u{e9}",
    "'",
];

/// Paths, and bodies of other kinds.
const OTHERS: &[(&str, &str)] = &[
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":"ASCEND"}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":"BOGUS"}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":"1"}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":7}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":1.0}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":1.5}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":99999999999}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":true}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":{}}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":null}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":-1}"#),
    ("/v3/kv/txn", r#"{"success":{"request_range":{"key":"Zm9v"}}}"#),
    ("/v3/kv/txn", r#"{"success":[{"request_range":{"key":"Zm9v"},"request_put":{"key":"Zm9v"}}]}"#),
    ("/v3/kv/txn", r#"{"success":[{"request_range":{"key":"Zm9v"},"request_put":null}]}"#),
    ("/v3/kv/txn", r#"{"success":[null]}"#),
    ("/v3/kv/txn", r#"{"success":null}"#),
    ("/v3/kv/txn", r#"{"success":[{"request_range":null}]}"#),
    ("/v3/kv/txn", r#"{"success":[{}]}"#),
    ("/v3/kv/txn", r#"{"success":[[]]}"#),
    ("/v3/kv/txn", r#"{"compare":[{"key":"Zm9v","target":"CREATE","create_revision":"0","version":"1"}]}"#),
    ("/v3/kv/txn", r#"{"compare":[{"key":"Zm9v","target":"CREATE","create_revision":null}]}"#),
    ("/v3/kv/txn", r#"{"compare":["x"]}"#),
    ("/v3/kv/txn", r#"{"compare":5}"#),
    ("/v3/cluster/member/add", r#"{"peerURLs":"http://x:1"}"#),
    ("/v3/cluster/member/add", r#"{"peerURLs":[1]}"#),
    ("/v3/cluster/member/add", r#"{"peerURLs":["x",null]}"#),
    ("/v3/cluster/member/add", r#"{"peer_urls":["http://127.0.0.1:1"]}"#),
    ("/v3/cluster/member/remove", r#"{"ID":-1}"#),
    ("/v3/cluster/member/remove", r#"{"ID":"18446744073709551615"}"#),
    ("/v3/cluster/member/remove", r#"{"ID":"18446744073709551616"}"#),
    ("/v3/cluster/member/remove", r#"{"id":"5"}"#),
];

#[test]
fn every_body_is_read_as_by_etcd() {
    let Some(pair) = Pair::start(&[]) else { return };
    for body in PUTS {
        pair.post("/v3/kv/put", body);
    }
    for (path, body) in OTHERS {
        pair.post(path, body);
    }
    pair.ask("POST", "/v3/kv/put", &[], b"{\"key\":\"a\xff\"}");
}

#[test]
fn depth_has_the_bounds_of_etcd() {
    let Some(pair) = Pair::start(&[]) else { return };
    for depth in [9998, 9999, 10_000, 10_001, 100_000] {
        let body = format!("{{\"key\":\"Zm9v\",\"bogus\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        pair.post("/v3/kv/put", &body);
    }
    let txn =
        |depth| (0..depth).fold("{}".to_owned(), |inner, _| format!("{{\"success\":[{{\"request_txn\":{inner}}}]}}"));
    let answer = super::ask(pair.own.client_address(), "POST", "/v3/kv/txn", &[], txn(20_000).as_bytes());
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, r#"{"code":3,"message":"invalid character '[' exceeded max depth"}"#)
    );
    let answer = super::ask(pair.own.client_address(), "POST", "/v3/kv/txn", &[], txn(60).as_bytes());
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, r#"{"code":3,"message":"proto: exceeded max recursion depth"}"#)
    );
}

#[test]
fn other_methods_and_paths_are_refused_as_by_etcd() {
    let Some(pair) = Pair::start(&[]) else { return };
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
        for path in ["/v3/kv/range", "/v3/watch", "/v3/nope", "/v3/", "/v3/kv/range/", "/v3alpha/kv/range", "/nope"] {
            pair.ask(method, path, &[], b"{}");
        }
    }
    for path in [
        "/v3/nope",
        "/v3/",
        "/v3/kv",
        "/v3/kv/range/",
        "/v3/kv/range/x",
        "/v3/kv/rangestream",
        "/v3/kv/range:x",
        "/v3/KV/Range",
        "/v3/kv/%72ange",
        "/v3/kv/range?x=1&key=2",
        "/v3beta/nope",
        "/v3beta/",
        "/v2/keys",
        "/v3/health/check",
    ] {
        pair.ask("POST", path, &[], br#"{"key":"Zm9v"}"#);
    }
}
