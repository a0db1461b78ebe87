//! Answers in lines: watches, keepalives, elections, locks.

use std::io::Write;

use super::http::{Open, ask, connect, mask};
use super::{Pair, told, until};

/// What ends a stream whose time is over.
const OVER: &str = "context deadline exceeded";
/// What etcd says instead if its server was the first to notice.
const CUT_OFF: &str = "stream terminated by RST_STREAM with error code: CANCEL";

/// What is done to both, and what is heard then.
struct Streams {
    own: Open,
    etcd: Open,
}

impl Streams {
    fn begin(pair: &Pair, path: &str, headers: &[(&str, &str)], body: &str) -> Streams {
        let begin = |address| Open::begin(address, "POST", path, headers, body.as_bytes());
        let streams = Streams { own: begin(pair.own.client_address()), etcd: begin(pair.etcd.client_address()) };
        let heads = [&streams.own, &streams.etcd].map(|open| {
            let mut headers = open.headers.clone();
            headers.remove("date");
            // A last line that is all there is has a length here.
            headers.remove("content-length");
            headers.remove("transfer-encoding");
            headers.remove("connection");
            (open.status, headers)
        });
        assert_eq!(heads[0], heads[1], "{path} {body}");
        streams
    }

    /// The next line of both.
    fn line(&mut self) -> Option<String> {
        let [own, etcd] = [&mut self.own, &mut self.etcd].map(|open| open.line().map(|line| mask(&line)));
        let etcd = etcd.map(|line| line.replace(CUT_OFF, OVER));
        assert_eq!(own, etcd);
        own
    }
}

#[test]
fn watches_tell_what_those_of_etcd_tell() {
    let Some(pair) = Pair::start(&[]) else { return };
    let mut watch =
        Streams::begin(&pair, "/v3/watch", &[], r#"{"create_request":{"key":"Zm9v","prev_kv":true,"watch_id":"7"}}"#);
    assert!(watch.line().expect("it is created").contains(r#""created":true"#));
    for body in [r#"{"key":"Zm9v","value":"YmFy"}"#, r#"{"key":"Zm9v"}"#] {
        pair.post("/v3/kv/put", body);
        assert!(watch.line().expect("it hears of a put").contains(r#""events":[{"kv":{"#));
    }
    pair.post("/v3/kv/deleterange", r#"{"key":"Zm9v"}"#);
    assert!(watch.line().expect("it hears of a delete").contains(r#""type":"DELETE""#));

    let mut history = Streams::begin(
        &pair,
        "/v3/watch",
        &[("Grpc-Timeout", "3S")],
        r#"{"create_request":{"key":"AA==","range_end":"AA==","start_revision":"2","filters":["NODELETE"]}}"#,
    );
    assert!(history.line().is_some());
    assert!(history.line().expect("it hears of the past").contains("YmFy"));
    assert_eq!(history.line().as_deref(), Some("{\"error\":{\"code\":4,\"message\":\"context deadline exceeded\"}}\n"));
    assert_eq!(history.line(), None);

    pair.post("/v3/kv/compaction", r#"{"revision":"4"}"#);
    let mut compacted =
        Streams::begin(&pair, "/v3/watch", &[], r#"{"create_request":{"key":"Zm9v","start_revision":1}}"#);
    assert!(compacted.line().is_some());
    assert!(compacted.line().expect("it is told").contains(r#""compact_revision":"4""#));
    let mut refused =
        Streams::begin(&pair, "/v3/watch", &[], r#"{"create_request":{"key":"Zm9v","start_revision":-1}}"#);
    assert!(refused.line().expect("it is refused").contains(r#""canceled":true"#));
}

/// There are clients that take each chunk for a line.
#[test]
fn a_line_is_one_chunk() {
    let Some(pair) = Pair::start(&[]) else { return };
    let body = r#"{"create_request":{"key":"Zm9v","prev_kv":true}}"#;
    let mut watch = Streams::begin(&pair, "/v3/watch", &[], body);
    let value = "YmFy".repeat(100_000);
    for _ in 0..2 {
        for open in [&mut watch.own, &mut watch.etcd] {
            let chunk = open.chunk().expect("the watch goes on");
            // The newline of a long one comes from etcd by itself.
            let line = chunk.trim_ascii_end();
            assert!(line.starts_with(b"{\"result\":{\"header\"") && line.ends_with(b"}}"), "{}", told(&chunk));
        }
        pair.post("/v3/kv/put", &format!(r#"{{"key":"Zm9v","value":"{value}"}}"#));
    }
}

#[test]
fn a_body_may_have_several_messages() {
    let Some(pair) = Pair::start(&[]) else { return };
    let mut watches = Streams::begin(
        &pair,
        "/v3/watch",
        &[],
        "{\"create_request\":{\"key\":\"YQ==\"}}{\"create_request\":{\"key\":\"Yg==\"}}\n{\"cancel_request\":{\"watch_id\":1}} ",
    );
    let lines = [watches.line(), watches.line(), watches.line()].map(|line| line.expect("each is answered"));
    assert!(lines[0].contains("created") && lines[1].contains("created") && lines[2].contains("canceled"), "{lines:?}");
    pair.post("/v3/kv/put", r#"{"key":"Yg=="}"#);
    pair.post("/v3/kv/put", r#"{"key":"YQ=="}"#);
    assert!(watches.line().expect("the first one goes on").contains(r#""key":"YQ==""#));
}

/// What etcd makes of HTTP/1.1 lets a client speak only before it listens.
#[test]
fn messages_may_come_while_answers_go_out() {
    let server = crate::harness::Server::start(&crate::harness::Options::default());
    let mut stream = connect(server.client_address());
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    stream.write_all(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    stream.write_all(chunk(r#"{"create_request":{"key":"YQ=="}}"#).as_bytes()).unwrap();
    let mut open = Open::read_head(stream.try_clone().unwrap());
    assert!(open.line().unwrap().contains("created"));
    // A message comes in two pieces.
    stream.write_all(chunk(r#"{"create_request":{"#).as_bytes()).unwrap();
    stream.write_all(chunk(r#""key":"Yg=="}}"#).as_bytes()).unwrap();
    assert!(open.line().unwrap().contains(r#""watch_id":"1""#));
    stream.write_all(chunk(r#"{"create_request":5}"#).as_bytes()).unwrap();
    let error = r#"{"error":{"code":3,"message":"proto: syntax error (line 1:19): unexpected token 5"}}"#;
    assert_eq!(open.line().unwrap().trim_end(), error);
    assert_eq!(open.line(), None);
}

/// Where etcd waits for ever, or says that all is well.
#[test]
fn a_message_that_cannot_be_read_ends_a_stream() {
    let server = crate::harness::Server::start(&crate::harness::Options::default());
    for (path, body, why) in [
        ("/v3/watch", "garbage", "invalid character 'g' looking for beginning of value"),
        ("/v3/watch", "{", "unexpected EOF"),
        ("/v3/lease/keepalive", r#"{"ID":"x"}"#, r#"proto: (line 1:7): invalid value for uint64 field ID: \"x\""#),
    ] {
        let answer = ask(server.client_address(), "POST", path, &[], body.as_bytes());
        let why = why.replace("uint64", "int64");
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body, format!("{{\"error\":{{\"code\":3,\"message\":\"{why}\"}}}}\n"));
    }
}

#[test]
fn observers_hear_of_every_leader() {
    let Some(pair) = Pair::start(&[]) else { return };
    pair.post("/v3/lease/grant", r#"{"ID":"77","TTL":"600"}"#);
    let campaign = pair.post("/v3/election/campaign", r#"{"name":"ZQ==","lease":"77","value":"YQ=="}"#);
    let mut observer = Streams::begin(&pair, "/v3/election/observe", &[], r#"{"name":"ZQ=="}"#);
    assert!(observer.line().expect("there is a leader").contains(r#""value":"YQ==""#));
    let leader: serde_json::Value = serde_json::from_str(&campaign.body).unwrap();
    let leader = &leader["leader"];
    let proclaim = serde_json::json!({ "leader": leader, "value": "Yg==" }).to_string();
    assert_eq!(pair.post("/v3/election/proclaim", &proclaim).status, 200);
    assert!(observer.line().expect("it says something new").contains(r#""value":"Yg==""#));
    assert_eq!(pair.post("/v3/election/resign", &serde_json::json!({ "leader": leader }).to_string()).status, 200);
}

#[test]
fn a_lock_waits_for_the_one_before() {
    let Some(pair) = Pair::start(&[]) else { return };
    for id in [77, 78] {
        pair.post("/v3/lease/grant", &format!(r#"{{"ID":"{id}","TTL":"600"}}"#));
    }
    assert_eq!(pair.post("/v3/lock/lock", r#"{"name":"bA==","lease":"77"}"#).status, 200);
    let second: &[u8] = br#"{"name":"bA==","lease":"78"}"#;
    let late = pair.ask("POST", "/v3/lock/lock", &[("Grpc-Timeout", "500m")], second);
    assert_eq!(late.status, 504);
    let addresses = [pair.own.client_address(), pair.etcd.client_address()];
    wait_for_contenders(&addresses, 1);
    std::thread::scope(|scope| {
        let waiting = addresses.map(|address| scope.spawn(move || ask(address, "POST", "/v3/lock/lock", &[], second)));
        wait_for_contenders(&addresses, 2);
        assert_eq!(pair.post("/v3/lock/unlock", r#"{"key":"bC80ZA=="}"#).status, 200);
        for (waiting, address) in waiting.into_iter().zip(addresses) {
            let answer = waiting.join().unwrap();
            assert!(answer.status == 200 && answer.body.contains(r#""key":"bC80ZQ==""#), "{address} {answer:?}");
        }
    });
}

/// Waits until so many have a key for the lock `l`.
fn wait_for_contenders(addresses: &[&str], count: usize) {
    let all = br#"{"key":"bC8=","range_end":"bDA=","keys_only":true}"#;
    for address in addresses {
        until(|| ask(address, "POST", "/v3/kv/range", &[], all).body.matches("\"key\"").count() == count);
    }
}
