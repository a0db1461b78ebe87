//! Sizes, and how many at a time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Pair;
use super::http::{Open, ask};
use crate::harness::{Options, Server};

fn put(key: &str, value_bytes: usize) -> String {
    format!(r#"{{"key":"{}","value":"{}"}}"#, STANDARD.encode(key), STANDARD.encode(vec![7; value_bytes]))
}

#[test]
fn a_message_has_a_size_in_the_gateway_too() {
    let Some(pair) = Pair::start(&[]) else { return };
    let limit = 1_572_864;
    let largest = pair.post("/v3/kv/put", &put("a", limit - 100));
    assert_eq!(largest.status, 200);
    let too_large = pair.post("/v3/kv/put", &put("a", limit));
    assert!(too_large.status == 400 && too_large.body.contains("etcdserver: request is too large"), "{too_large:?}");
    let no_message = pair.post("/v3/kv/put", &put("a", limit + 512 * 1024));
    assert!(no_message.status == 429 && no_message.body.contains("grpc: received message larger than max"));

    // What no message can be is not kept, and is told all the same.
    let huge = ask(pair.own.client_address(), "POST", "/v3/kv/put", &[], put("a", 5 << 20).as_bytes());
    assert!(huge.status == 429 && huge.body.contains("\"code\":8"), "{huge:?}");
    assert_eq!(pair.post("/v3/kv/put", &put("a", 1)).status, 200);
}

/// The answer has 24 MiB, which is made as it is taken.
#[test]
fn long_answers_are_those_of_etcd() {
    let Some(pair) = Pair::start(&[]) else { return };
    for key in 0..24 {
        pair.post("/v3/kv/put", &put(&format!("{key:04}"), 750_000 + key));
    }
    for body in [
        r#"{"key":"AA==","range_end":"AA=="}"#,
        r#"{"key":"AA==","range_end":"AA==","sort_order":"DESCEND","limit":3}"#,
    ] {
        let answer = pair.post("/v3/kv/range", body);
        assert!(answer.body.len() > 3_000_000);
    }
    let deleted = pair.post("/v3/kv/deleterange", r#"{"key":"AA==","range_end":"AA==","prev_kv":true}"#);
    assert!(deleted.body.len() > 24_000_000);
}

/// All calls of the gateway share one connection, and with it the bound on calls at a time, as in etcd.
#[test]
fn one_call_too_many_waits_until_its_time_is_over() {
    let Some(pair) = Pair::start(&["--max-concurrent-streams=3"]) else { return };
    let watch = br#"{"create_request":{"key":"Zm9v"}}"#;
    for address in [pair.own.client_address(), pair.etcd.client_address()] {
        let mut watches: Vec<Open> = (0..3).map(|_| Open::begin(address, "POST", "/v3/watch", &[], watch)).collect();
        assert!(watches.iter_mut().all(|watch| watch.line().is_some_and(|line| line.contains("created"))));
        let range = || ask(address, "POST", "/v3/kv/range", &[("Grpc-Timeout", "500m")], br#"{"key":"Zm9v"}"#);
        assert_eq!(range().status, 504);
        watches.pop();
        // That the watch has gone is noticed a little later.
        assert!((0..10).any(|_| range().status == 200));
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let server = Server::start(&Options::default());
    let address = server.client_address();
    for key in 0..40 {
        assert_eq!(ask(address, "POST", "/v3/kv/put", &[], put(&format!("{key:04}"), 500_000).as_bytes()).status, 200);
    }
    let all = br#"{"key":"AA==","range_end":"AA=="}"#;
    let idle: Vec<Open> = (0..30).map(|_| Open::begin(address, "POST", "/v3/kv/range", &[], all)).collect();
    assert!(idle.iter().all(|answer| answer.status == 200));
    let answer = ask(address, "POST", "/v3/kv/range", &[("Grpc-Timeout", "5S")], br#"{"key":"MDAwMA=="}"#);
    assert_eq!(answer.status, 200);
    drop(idle);
}

/// All of them share one connection to the server, which one client alone may not use like that.
#[test]
fn clients_may_go_away_as_often_as_they_like() {
    let server = Server::start(&Options { flags: vec!["--max-concurrent-streams=100".into()], ..Options::default() });
    let address = server.client_address();
    let watch = br#"{"create_request":{"key":"Zm9v"}}"#;
    for _ in 0..30 {
        let watches: Vec<Open> = (0..50).map(|_| Open::begin(address, "POST", "/v3/watch", &[], watch)).collect();
        assert!(watches.iter().all(|watch| watch.status == 200));
    }
    assert_eq!(ask(address, "POST", "/v3/kv/put", &[], put("a", 1).as_bytes()).status, 200);
}

#[test]
fn a_server_that_stops_ends_its_streams() {
    let mut server = Server::start(&Options::default());
    let mut watch =
        Open::begin(server.client_address(), "POST", "/v3/watch", &[], br#"{"create_request":{"key":"Zm9v"}}"#);
    assert!(watch.line().is_some_and(|line| line.contains("created")));
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(watch.line().as_deref(), Some("{\"error\":{\"code\":14,\"message\":\"etcdserver: server stopped\"}}\n"));
    assert_eq!(watch.line(), None);
}
