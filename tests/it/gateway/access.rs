//! Headers: metadata, time, origins, hosts.

use super::http::ask;
use super::{Answer, Pair};
use crate::harness::{Options, Server};

const RANGE: &[u8] = br#"{"key":"Zm9v"}"#;

#[test]
fn headers_mean_what_they_mean_to_etcd() {
    let Some(pair) = Pair::start(&[]) else { return };
    for headers in [
        &[("Grpc-Metadata-hasleader", "true")][..],
        &[("Grpc-Metadata-Client-Api-Version", "3.7"), ("grpc-metadata-hasleader", "true")],
        &[("Authorization", "no token")],
        &[("Authorization", "Bearer no.token")],
        &[("Grpc-Metadata-Token", "no token")],
        &[("Accept", "text/html"), ("Content-Type", "x/y")],
        &[("Content-Type", "application/grpc")],
        &[("Grpc-Metadata-Te", "x"), ("Grpc-Metadata-Content-Type", "x"), ("Grpc-Metadata-Grpc-Timeout", "1n")],
        &[("Grpc-Metadata-X-Bin", "AQI")],
        &[("Grpc-Metadata-X-Bin", "AQI=")],
        &[("Grpc-Timeout", "10S")],
        &[("Grpc-Timeout", "0S")],
        &[("Grpc-Timeout", "1n")],
        &[("Grpc-Timeout", "-5S")],
        &[("Grpc-Timeout", "x")],
        &[("Grpc-Timeout", "5")],
        &[("Grpc-Timeout", "5x")],
        &[("Grpc-Timeout", "")],
        &[("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
        &[("Host", "anything.example")],
        &[("Origin", "http://evil.example")],
    ] {
        pair.ask("POST", "/v3/kv/range", headers, RANGE);
    }
    for headers in [&[("Grpc-Timeout", "5x")][..], &[("Grpc-Timeout", "-1S")]] {
        pair.ask("POST", "/v3/watch", headers, br#"{"create_request":{"key":"Zm9v"}}"#);
    }
    let own = |value| ask(pair.own.client_address(), "POST", "/v3/kv/range", &[("Grpc-Metadata-X-Bin", value)], RANGE);
    let answer = own("!!");
    assert!(answer.status == 400 && answer.body.contains("invalid binary header"), "{answer:?}");
}

#[test]
fn listed_hosts_are_let_in_on_every_path() {
    let Some(pair) = Pair::start(&["--host-whitelist=good.example,127.0.0.1,::1"]) else { return };
    for path in ["/v3/kv/range", "/version", "/health", "/nowhere"] {
        for method in ["GET", "POST", "OPTIONS"] {
            for host in ["good.example", "good.example:2379", "127.0.0.1:1", "[::1]:2379"] {
                let answer = pair.ask(method, path, &[("Host", host)], RANGE);
                assert_ne!(answer.status, 421, "{host}");
            }
            for host in ["evil.example", "evil.example:2379", "GOOD.example", "[::1]", "good.example.", "localhost"] {
                // The words are our own.
                let own = ask(pair.own.client_address(), method, path, &[("Host", host)], RANGE);
                let etcd = ask(pair.etcd.client_address(), method, path, &[("Host", host)], RANGE);
                assert_eq!((own.status, &own.headers), (etcd.status, &etcd.headers), "{method} {path} {host}");
                assert!(own.status == 421 && own.body.contains(host.trim_end_matches(":2379")), "{own:?}");
                assert!(own.body.contains("--host-whitelist"), "{own:?}");
            }
        }
    }
}

#[test]
fn listed_origins_may_read_answers() {
    let Some(pair) = Pair::start(&["--cors=http://good.example:80,http://other.example:8080"]) else { return };
    for (origin, is_allowed) in [
        ("http://good.example:80", true),
        ("http://other.example:8080", true),
        ("http://good.example", false),
        ("http://evil.example:80", false),
        ("null", false),
    ] {
        for (method, path) in
            [("POST", "/v3/kv/range"), ("OPTIONS", "/v3/kv/range"), ("GET", "/version"), ("OPTIONS", "/")]
        {
            let answer = pair.ask(method, path, &[("Origin", origin)], RANGE);
            let allowed = answer.headers.get("access-control-allow-origin").map(String::as_str);
            assert_eq!(allowed, is_allowed.then_some(origin), "{method} {path}");
        }
    }
    pair.ask("POST", "/v3/kv/range", &[], RANGE);
}

#[test]
fn without_the_gateway_its_paths_are_unknown() {
    let Some(pair) = Pair::start(&["--enable-grpc-gateway=false"]) else { return };
    for path in ["/v3/kv/range", "/v3beta/kv/range", "/v3/", "/v3"] {
        let answer = pair.ask("POST", path, &[], RANGE);
        assert_eq!((answer.status, answer.body.as_str()), (404, "404 page not found\n"));
    }
    pair.ask("GET", "/version", &[], b"");
}

#[test]
fn values_of_the_flags_are_checked_as_by_etcd() {
    for (flag, why) in [
        ("--cors=foo", r#"invalid value "foo" for flag -cors: URL scheme must be http, https, unix, or unixs: foo"#),
        ("--cors=", r#"invalid value "" for flag -cors: URL scheme must be http, https, unix, or unixs: "#),
        (
            "--cors=http://a",
            r#"invalid value "http://a" for flag -cors: URL address does not have the form "host:port": http://a"#,
        ),
        (
            "--cors=*,http://a:1",
            r#"invalid value "*,http://a:1" for flag -cors: URL scheme must be http, https, unix, or unixs: *"#,
        ),
    ] {
        let error = lodemark::config::Invocation::from_args([flag.into()]).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_usage()), (why, true), "{flag}");
    }
}

#[test]
fn requests_may_follow_each_other_on_one_connection() {
    let server = Server::start(&Options::default());
    let answers: Vec<Answer> = super::http::ask_in_a_row(server.client_address(), "/v3/kv/range", &[RANGE, b"", b"{}"]);
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 400, 400]);
}
