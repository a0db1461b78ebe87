//! A client against a server in memory, and against one that says nothing.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Response};
use tokio::net::TcpListener;

use super::*;
use crate::embed::Server;
use crate::proto::WatchResponse;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{
    AuthenticateResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest,
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

/// A server whose first token is refused, and that has no users after `logins_max` of them; tells who called.
async fn forgetful(listener: TcpListener, logins_max: usize) -> Vec<(String, Option<String>)> {
    let mut connection = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
    let (mut logins, mut calls) = (0, Vec::new());
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        let token = request.headers().get("token").map(|token| token.to_str().unwrap().to_owned());
        let refusal = match (path == connection::AUTHENTICATE, token.as_deref()) {
            (true, _) if logins == logins_max => Some("etcdserver: authentication is not enabled"),
            (true, _) => None,
            (false, Some("token 1")) => Some("etcdserver:%20invalid%20auth%20token"),
            (false, _) => None,
        };
        match refusal {
            Some(text) => {
                let head = Response::builder().header("grpc-status", "16").header("grpc-message", text);
                respond.send_response(head.body(()).unwrap(), true).unwrap();
            }
            None => {
                logins += usize::from(path == connection::AUTHENTICATE);
                let token =
                    AuthenticateResponse { token: format!("token {logins}"), ..AuthenticateResponse::default() };
                let message =
                    if path == PUT { answers::framed(&PutResponse::default()) } else { answers::framed(&token) };
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(message, false).unwrap();
                stream
                    .send_trailers(HeaderMap::from_iter([(
                        http::HeaderName::from_static("grpc-status"),
                        HeaderValue::from_static("0"),
                    )]))
                    .unwrap();
            }
        }
        calls.push((path, token));
    }
    calls
}

#[tokio::test]
async fn a_user_whose_token_is_refused_gets_another_one() {
    for (logins_max, tokens) in [
        (2, vec![None, Some("token 1"), None, Some("token 2")]),
        // Then it has no users any more.
        (1, vec![None, Some("token 1"), None, None]),
        (0, vec![None, None]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let server = tokio::spawn(forgetful(listener, logins_max));
        let login = Login { name: "ann".into(), password: "secret".into() };
        assert!(!format!("{login:?}").contains("secret"));
        let mut client = Client::new(vec![endpoint], options(), Some(login));
        client.log_in(LONG).await.unwrap();
        client.call::<PutResponse>(PUT, &put("k", "v"), LONG).await.unwrap();
        drop(client);
        let calls = server.await.unwrap();
        let sent: Vec<Option<&str>> = calls.iter().map(|(_, token)| token.as_deref()).collect();
        assert_eq!(sent, tokens, "{calls:?}");
    }
}
