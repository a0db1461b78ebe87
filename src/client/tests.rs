//! A client against a server in memory, and against one that says nothing.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::*;
use crate::embed::Server;
use crate::proto::WatchResponse;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest,
};

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const LONG: Duration = Duration::from_secs(30);

fn options() -> Options {
    Options { dial_timeout: LONG, keepalive: None, tls: None, silence_max: Some(LONG) }
}

fn client(endpoints: &[&str], options: Options) -> Client {
    let endpoints = endpoints.iter().map(|endpoint| Endpoint::parse(endpoint).unwrap()).collect();
    Client::new(endpoints, options, None)
}

async fn server() -> (Server, String) {
    let server = Server::in_memory().client_addr("127.0.0.1:0").start().await.unwrap();
    let endpoint = server.endpoints()[0].clone();
    (server, endpoint)
}

/// Somewhere that nobody listens at.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() }
}

#[tokio::test]
async fn the_endpoint_that_answers_is_asked() {
    let (server, endpoint) = server().await;
    let mut client = client(&[&nowhere().await.to_string(), &endpoint], options());
    client.log_in(LONG).await.unwrap();
    client.call::<PutResponse>(PUT, &put("k", "v"), LONG).await.unwrap();
    let request = RangeRequest { key: "k".into(), ..RangeRequest::default() };
    let found: RangeResponse = client.call(RANGE, &request, LONG).await.unwrap();
    assert_eq!(found.kvs[0].record().unwrap().pair().value, b"v");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_the_member() {
    let (server, endpoint) = server().await;
    let mut client = client(&[&endpoint], options());
    let error = client.call::<PutResponse>(PUT, &put("", "v"), LONG).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { code: 3, message, .. } if message == "etcdserver: key is not provided"),
        "{error}"
    );
    let error = client.call::<PutResponse>("/nobody.Knows/It", &put("k", "v"), LONG).await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: 12, .. }), "{error}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_tells_what_happens_until_it_is_dropped() {
    let (server, endpoint) = server().await;
    let mut watcher = client(&[&endpoint], options());
    let create = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let mut answers = watcher.stream(WATCH, &request, LONG).await.unwrap();
    assert!(answers.next::<WatchResponse>().await.unwrap().unwrap().created);
    client(&[&endpoint], options()).call::<PutResponse>(PUT, &put("k", "v"), LONG).await.unwrap();
    let told = answers.next::<WatchResponse>().await.unwrap().unwrap();
    assert_eq!(told.events[0].record.pair().value, b"v");
    drop(answers);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn nobody_is_waited_for_beyond_the_deadline() {
    let nowhere = nowhere().await.to_string();
    let within = Duration::from_millis(300);
    let error = client(&[&nowhere], options()).call::<PutResponse>(PUT, &put("k", "v"), within).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("context deadline exceeded: cannot connect to "), "{text}");
    // Somebody is there, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let error = client(&[&endpoint], options()).call::<PutResponse>(PUT, &put("k", "v"), within).await.unwrap_err();
    assert!(matches!(error, Error::Late { last: None }), "{error}");
}

#[tokio::test]
async fn a_server_that_leaves_pings_without_an_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
        let call = connection.accept().await.unwrap().unwrap();
        // From here on nobody reads what comes.
        tokio::time::sleep(LONG * 2).await;
        drop((call, connection));
    });
    let ping = Duration::from_millis(50);
    let keepalive = Some(Keepalive { time: ping, timeout: ping });
    let options = Options { keepalive, silence_max: None, ..options() };
    let mut connection = Connection::open(&Endpoint::parse(&endpoint).unwrap(), &options).await.unwrap();
    let begun = tokio::time::timeout(LONG, connection.begin(PUT, None, &put("k", "v"), Upstream::Ends)).await;
    assert!(matches!(begun.expect("the connection is given up"), Err(Error::Broken { .. })));
    server.abort();
}
