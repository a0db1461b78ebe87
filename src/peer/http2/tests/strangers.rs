//! Others on the port of members: tools that may, and those that lost their way.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Says something, reads until the connection is closed.
async fn say(address: SocketAddr, words: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(words).await.unwrap();
    listen(socket).await
}

/// As [`say`], and says that there is no more.
async fn say_last(address: SocketAddr, words: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(words).await.unwrap();
    // It may be closed already.
    let _ = socket.shutdown().await;
    listen(socket).await
}

async fn listen(mut socket: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset is a close, too.
    let _ = socket.read_to_end(&mut heard).await;
    heard
}

#[tokio::test]
async fn plain_http_is_answered_by_the_router() {
    let server = Server::start().await;
    let heard = soon(say(server.address, b"GET /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("\r\n\r\nplain"), "{heard}");

    // The same over HTTP/2.
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    for (path, status, text) in [("/version", 200, "plain"), ("/nowhere", 404, "")] {
        let request = http::Request::get(format!("http://a{path}")).body(()).unwrap();
        let (response, _) = requests.clone().ready().await.unwrap().send_request(request, true).unwrap();
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), status);
        let (mut stream, mut found) = (response.into_body(), Vec::new());
        while let Some(data) = soon(stream.data()).await {
            found.extend_from_slice(&data.unwrap());
        }
        assert_eq!(found, text.as_bytes());
    }
    server.stop().await;
}

#[tokio::test]
async fn garbage_is_closed_and_disturbs_nobody() {
    let server = Server::start().await;
    let transport = transport_to(&[&server.url]);
    let mut pipe = transport.append(envelope()).await.unwrap();
    let noise: Vec<u8> = (0..10_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bad_frame = [PREFACE, SETTINGS, &[0xff; 64]].concat();
    let tls_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
    for words in [&noise[..], b"SSH-2.0-x\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &bad_frame, &tls_hello] {
        soon(say_last(server.address, words)).await;
        pipe.requests.send(body("a")).await.unwrap();
        assert_eq!(soon(pipe.answers.next()).await, Some(Ok(body("a"))));
    }
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn half_open_connections_are_closed_after_a_deadline() {
    let server = Server::start().await;
    let begun = Instant::now();
    for words in [&b""[..], b"PRI", b"GET /ver", b"PRI * HTTP/2.0\r\n", PREFACE, &[PREFACE, SETTINGS].concat()] {
        timeout(2 * server::FIRST_BYTES_TIMEOUT, say(server.address, words)).await.expect("it is closed");
    }
    assert!(begun.elapsed() >= server::FIRST_BYTES_TIMEOUT);
    server.stop().await;
}

#[tokio::test]
async fn odd_requests_are_refused_on_a_connection_that_lives_on() {
    let server = Server::start().await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let message = |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
    for (path, has_envelope, bytes, why) in [
        (CALL_PATH, false, message(&[0, 0, 0, 0, 0]), "lodemark-cluster is missing"),
        (CALL_PATH, true, None, "ends before its message"),
        (CALL_PATH, true, message(&[0, 0, 0, 0, 9, 1]), "ends within a message"),
        (CALL_PATH, true, message(&[0, 0, 0, 0, 1, 0xff]), "decode"),
        (CALL_PATH, true, message(&[0, 0, 0, 0, 2, 8, 99]), "unknown method 99"),
        (CALL_PATH, true, message(&[1, 0, 0, 0, 0]), "compressed"),
        (CALL_PATH, true, message(&[0, 0xff, 0, 0, 0]), "the limit is"),
        (APPEND_PATH, true, message(&[0, 0, 0, 0, 1, 0xff]), "decode"),
        (SNAPSHOT_PATH, true, message(&[0, 0, 0, 0, 0]), "without a head"),
        ("/lodemarkpb.Peer/Other", true, None, "unknown request /lodemarkpb.Peer/Other"),
    ] {
        let mut request = super::super::envelope::request(path, envelope());
        if !has_envelope {
            request.headers_mut().remove("lodemark-cluster");
        }
        let (response, mut stream) = requests.clone().ready().await.unwrap().send_request(request, false).unwrap();
        stream.send_data(bytes.unwrap_or_default(), true).unwrap();
        let outcome = match soon(request::answer(response)).await {
            Err(error) => error,
            // An append stream begins before its first request is read.
            Ok(answer) => request::reply::<crate::proto::lodemarkpb::AppendReply>(answer, 64).await.unwrap_err(),
        };
        let PeerError::Refused(Refusal::Malformed(text)) = outcome else { panic!("{path}: {outcome:?}") };
        assert!(text.contains(why), "{path}: {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_of_something_else_is_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let web = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
        }
    });
    let outcome = ping(&transport_to(&[&url])).await;
    assert!(matches!(outcome, Err(PeerError::Unreachable(_))), "{outcome:?}");
    web.abort();
}
