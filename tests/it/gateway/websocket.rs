//! The same over a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::Pair;
use super::http::{ask, mask};
use crate::harness::{Options, Server};

const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens one; gives the protocol that was agreed on, too.
async fn open(address: &str, path: &str, protocol: Option<&'static str>) -> Result<(Socket, Option<String>), u16> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    if let Some(protocol) = protocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol));
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, response)) => {
            let agreed = response.headers().get("Sec-WebSocket-Protocol");
            Ok((socket, agreed.map(|protocol| protocol.to_str().unwrap().to_owned())))
        }
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}

/// The next frame of text; `None` when the server has ended it.
async fn hear(socket: &mut Socket) -> Option<String> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame in time") {
            Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_over_a_websocket_is_that_of_etcd() {
    let Some(pair) = Pair::start(&[]) else { return };
    let addresses = [pair.own.client_address(), pair.etcd.client_address()];
    let mut heard = [Vec::new(), Vec::new()];
    for (address, heard) in addresses.into_iter().zip(&mut heard) {
        let (mut socket, _) = open(address, "/v3/watch", None).await.unwrap();
        say(&mut socket, r#"{"create_request":{"key":"Zm9v"}}"#).await;
        heard.push(mask(&hear(&mut socket).await.unwrap()));
        say(&mut socket, r#"{"create_request":{"key":"YQ=="}}"#).await;
        heard.push(mask(&hear(&mut socket).await.unwrap()));
        assert_eq!(ask(address, "POST", "/v3/kv/put", &[], br#"{"key":"Zm9v","value":"YmFy"}"#).status, 200);
        heard.push(mask(&hear(&mut socket).await.unwrap()));
        socket.send(Message::binary(br#"{"cancel_request":{"watch_id":"0"}}"#.to_vec())).await.unwrap();
        heard.push(mask(&hear(&mut socket).await.unwrap()));
    }
    assert_eq!(heard[0], heard[1]);
    assert!(heard[0][2].contains("YmFy") && heard[0][3].contains("canceled"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_can_be_a_websocket() {
    let server = Server::start(&Options::default());
    let address = server.client_address();
    let (mut socket, agreed) = open(address, "/v3/kv/put", Some("Bearer, token")).await.unwrap();
    assert_eq!(agreed.as_deref(), Some("Bearer"));
    say(&mut socket, r#"{"key":"Zm9v"}"#).await;
    assert!(hear(&mut socket).await.unwrap().contains(r#""revision":"2""#));
    assert_eq!(hear(&mut socket).await, None);

    for (path, message, answer) in [
        ("/v3/nope", "{}", r#"{"code":5,"message":"Not Found"}"#),
        ("/v3/kv/put", "x", r#"{"code":3,"message":"invalid character 'x' looking for beginning of value"}"#),
        (
            "/v3beta/watch",
            "x",
            r#"{"error":{"code":3,"message":"invalid character 'x' looking for beginning of value"}}"#,
        ),
    ] {
        let (mut socket, _) = open(address, path, None).await.unwrap();
        say(&mut socket, message).await;
        assert_eq!(hear(&mut socket).await.as_deref(), Some(answer));
        assert_eq!(hear(&mut socket).await, None);
    }
    assert_eq!(open(address, "/version", None).await.map(|_| ()), Err(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn keepalives_go_on_over_one_websocket() {
    let server = Server::start(&Options::default());
    let address = server.client_address();
    assert_eq!(ask(address, "POST", "/v3/lease/grant", &[], br#"{"ID":"7","TTL":"60"}"#).status, 200);
    let (mut socket, _) = open(address, "/v3/lease/keepalive", None).await.unwrap();
    for _ in 0..100 {
        say(&mut socket, r#"{"ID":"7"}"#).await;
        assert!(hear(&mut socket).await.unwrap().contains(r#""TTL":"60""#));
    }
    // A frame that is no message, and one that is too large.
    say(&mut socket, "{").await;
    say(&mut socket, "]").await;
    assert!(hear(&mut socket).await.unwrap().contains("\"error\""));
    let (mut socket, _) = open(address, "/v3/kv/put", None).await.unwrap();
    let _ = socket.send(Message::text(" ".repeat(8 << 20))).await;
    assert_eq!(hear(&mut socket).await, None);
    assert_eq!(ask(address, "POST", "/v3/kv/range", &[], br#"{"key":"Zm9v"}"#).status, 200);
}

/// A watch that nobody hears any more is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_call_along() {
    let server = Server::start(&Options { flags: vec!["--max-concurrent-streams=2".into()], ..Options::default() });
    for _ in 0..20 {
        let (mut socket, _) = open(server.client_address(), "/v3/watch", None).await.unwrap();
        say(&mut socket, r#"{"create_request":{"key":"Zm9v"}}"#).await;
        assert!(hear(&mut socket).await.unwrap().contains("created"));
        socket.close(None).await.unwrap();
    }
}
