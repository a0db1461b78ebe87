//! gRPC as bytes: requests that no client library would send, and the equality of the two ways a hot call can take.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request};
use lodemark::proto::etcdserverpb as pb;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::harness::{Options, Server};

/// How long any one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One HTTP/2 connection.
pub struct Wire {
    requests: SendRequest<Bytes>,
    authority: String,
}

/// What came back on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub http: u16,
    pub code: Option<String>,
    pub text: Option<String>,
    body: Bytes,
}

impl Wire {
    pub async fn connect(endpoint: &str) -> Wire {
        let authority = endpoint.trim_start_matches("http://").to_owned();
        let socket = TcpStream::connect(&authority).await.expect("the server accepts");
        Wire::over(socket, authority).await.expect("it speaks HTTP/2")
    }

    /// Speaks HTTP/2 over a connection that is there.
    pub async fn over(
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        authority: String,
    ) -> Result<Wire, h2::Error> {
        let (requests, connection) = h2::client::handshake(socket).await?;
        tokio::spawn(connection);
        Ok(Wire { requests, authority })
    }

    pub async fn call(&self, path: &str, headers: &[(&str, &[u8])], body: Bytes) -> Answer {
        self.attempt(path, headers, body).await.expect("an answer")
    }

    /// As `call`; an error if the server cuts the stream off.
    pub async fn attempt(&self, path: &str, headers: &[(&str, &[u8])], body: Bytes) -> Result<Answer, h2::Error> {
        let mut request = Request::builder().method(Method::POST).uri(format!("http://{}{path}", self.authority));
        let has_type = headers.iter().any(|(name, _)| *name == "content-type");
        if !has_type {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, http::HeaderValue::from_bytes(value).expect("a header's bytes"));
        }
        let answer = async {
            let mut requests = self.requests.clone().ready().await?;
            let request = request.body(()).expect("a request");
            let (response, mut stream) = requests.send_request(request, false)?;
            // An early answer closes the stream for what is still to be sent.
            let _ = stream.send_data(body, true);
            let (head, mut stream) = response.await?.into_parts();
            let mut body = BytesMut::new();
            while let Some(data) = stream.data().await {
                let data = match data {
                    Err(error) if is_end(&error) => break,
                    data => data?,
                };
                stream.flow_control().release_capacity(data.len())?;
                body.extend_from_slice(&data);
            }
            let trailers = match stream.trailers().await {
                Err(error) if is_end(&error) => None,
                trailers => trailers?,
            };
            let trailers = trailers.unwrap_or(head.headers);
            let text = |headers: &HeaderMap, name| {
                headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            Ok(Answer {
                http: head.status.as_u16(),
                code: text(&trailers, "grpc-status"),
                text: text(&trailers, "grpc-message").map(|text| plain(&text)),
                body: body.freeze(),
            })
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.expect("an answer in time")
    }

    pub async fn message(&self, path: &str, message: &impl Message) -> Answer {
        self.call(path, &[], framed(&message.encode_to_vec())).await
    }

    pub async fn is_serving(&self) -> bool {
        let answer = self.message("/etcdserverpb.KV/Range", &range(b"x")).await;
        answer.code.as_deref() == Some("0")
    }
}

/// Lets the ordinary service answer: one of them may mean that messages are compressed, and it looks at the other one.
const ORDINARY: [(&str, &[u8]); 2] = [("grpc-encoding", b"identity"), ("grpc-encoding", b"perhaps")];

/// A server that has answered all may refuse the rest of a request so.
fn is_end(error: &h2::Error) -> bool {
    error.reason() == Some(h2::Reason::NO_ERROR)
}

/// A message of gRPC's trailers without the escapes, which each library has for other letters.
fn plain(text: &str) -> String {
    [("%20", " "), ("%22", "\""), ("%25", "%")].iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

pub fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).expect("a short message"));
    out.put_slice(message);
    out.freeze()
}

pub fn put(key: &[u8], value: Vec<u8>) -> pb::PutRequest {
    pb::PutRequest { key: Bytes::copy_from_slice(key), value: value.into(), prev_kv: true, ..Default::default() }
}

pub fn range(key: &[u8]) -> pb::RangeRequest {
    pb::RangeRequest { key: Bytes::copy_from_slice(key), range_end: Bytes::from_static(b"z"), ..Default::default() }
}

/// The test's requests, each with what must come back: gRPC code and text.
#[tokio::test]
async fn odd_requests_are_refused_and_the_server_lives() {
    let server = Server::start(&Options::default());
    let wire = Wire::connect(&server.endpoint()).await;
    let kv = |method: &str| format!("/etcdserverpb.KV/{method}");

    let refused = |answer: &Answer, code: &str| {
        assert_eq!(answer.code.as_deref(), Some(code), "{answer:?}");
    };
    for method in ["Range", "Put", "DeleteRange", "Txn", "Compact"] {
        let answer = wire.call(&kv(method), &[], framed(&[0xff; 20])).await;
        assert!(answer.code.as_deref() != Some("0"), "malformed {method}: {answer:?}");
    }
    refused(&wire.call("/etcdserverpb.KV/Fly", &[], framed(b"")).await, "12");
    refused(&wire.call("/no.such.Service/At", &[], framed(b"")).await, "12");
    refused(&wire.call(&kv("Range"), &[("hasleader", b"true")], framed(&[])).await, "3");
    refused(&wire.call(&kv("Range"), &[("client-api-version", b"3.\xff")], framed(&[])).await, "3");
    // No message, half a prefix, half a message, two messages, a compressed one.
    for body in [&b""[..], b"\0\0\0", b"\0\0\0\0\x09abc", b"\0\0\0\0\0\0\0\0\0\0", b"\x01\0\0\0\0"] {
        let answer = wire.call(&kv("Put"), &[], Bytes::from_static(body)).await;
        assert!(!matches!(answer.code.as_deref(), None | Some("0")), "{body:?}: {answer:?}");
    }
    // One that says that it is larger than anything may be.
    let answer = wire.call(&kv("Put"), &[], Bytes::from_static(b"\0\x7f\xff\xff\xff")).await;
    refused(&answer, "8");
    assert_eq!(
        answer.text.as_deref(),
        Some("grpc: received message larger than max (2147483647 vs. 2097152)"),
        "{answer:?}"
    );
    refused(&wire.message(&kv("Put"), &put(b"", vec![])).await, "3");
    let large = wire.message(&kv("Put"), &put(b"k", vec![7; 1_572_864])).await;
    refused(&large, "3");
    assert_eq!(large.text.as_deref(), Some("etcdserver: request is too large"));
    let plain = wire.call(&kv("Range"), &[("content-type", b"text/plain")], framed(&[])).await;
    assert_eq!(plain.http, 415);
    assert!(wire.is_serving().await);
}

/// The same requests by the connection's own way and, with a header that a client never sends, by the ordinary service:
/// equal answers, but for the revisions that writes take.
#[tokio::test]
async fn hot_calls_answer_as_the_ordinary_service_does() {
    let server = Server::start(&Options::default());
    let wire = Wire::connect(&server.endpoint()).await;
    wire.message("/etcdserverpb.KV/Put", &put(b"a", vec![1; 300])).await;
    wire.message("/etcdserverpb.KV/Put", &put(b"b", vec![2; 100_000])).await;
    let compare = pb::Compare { key: Bytes::from_static(b"a"), ..Default::default() };
    let read_txn = pb::TxnRequest {
        compare: vec![compare.clone()],
        failure: vec![pb::RequestOp { request: Some(pb::request_op::Request::RequestRange(range(b"a"))) }],
        ..Default::default()
    };
    let delete = pb::DeleteRangeRequest { key: Bytes::from_static(b"zz"), prev_kv: true, ..Default::default() };
    let requests: Vec<(&str, Vec<u8>)> = vec![
        ("Range", range(b"a").encode_to_vec()),
        ("Range", pb::RangeRequest { revision: 99, ..range(b"a") }.encode_to_vec()),
        ("Range", pb::RangeRequest { revision: 2, limit: 1, ..range(b"a") }.encode_to_vec()),
        ("Range", pb::RangeRequest { sort_order: 7, ..range(b"a") }.encode_to_vec()),
        ("Range", pb::RangeRequest { serializable: true, count_only: true, ..range(b"a") }.encode_to_vec()),
        ("Put", put(b"", vec![]).encode_to_vec()),
        ("Put", pb::PutRequest { lease: 77, ..put(b"a", vec![]) }.encode_to_vec()),
        ("Put", pb::PutRequest { ignore_value: true, ..put(b"none", vec![]) }.encode_to_vec()),
        ("DeleteRange", delete.encode_to_vec()),
        ("DeleteRange", pb::DeleteRangeRequest::default().encode_to_vec()),
        ("Txn", read_txn.encode_to_vec()),
        ("Txn", pb::TxnRequest { compare: vec![compare; 129], ..Default::default() }.encode_to_vec()),
        ("Txn", pb::TxnRequest { success: vec![pb::RequestOp::default()], ..Default::default() }.encode_to_vec()),
    ];
    for (method, message) in requests {
        let path = format!("/etcdserverpb.KV/{method}");
        let hot = wire.call(&path, &[], framed(&message)).await;
        let ordinary = wire.call(&path, &ORDINARY, framed(&message)).await;
        assert_eq!(hot, ordinary, "{method} {message:?}");
    }
    // What is no message at all: the same code; the text has the words of whoever reads it.
    for (method, message) in [("Put", vec![0xff; 9]), ("Txn", vec![0x0a, 0xff])] {
        let path = format!("/etcdserverpb.KV/{method}");
        let hot = wire.call(&path, &[], framed(&message)).await;
        let ordinary = wire.call(&path, &ORDINARY, framed(&message)).await;
        assert_eq!((hot.http, &hot.code), (ordinary.http, &ordinary.code), "{method} {message:?}");
    }
    // Writes that take effect: the ordinary answer is one revision later.
    let path = "/etcdserverpb.KV/Put";
    let message = framed(&put(b"a", vec![3]).encode_to_vec());
    let hot = wire.call(path, &[], message.clone()).await;
    let ordinary = wire.call(path, &ORDINARY, message).await;
    let decode = |answer: &Answer| pb::PutResponse::decode(answer.body.slice(5..)).expect("an answer to a put");
    let (hot, ordinary) = (decode(&hot), decode(&ordinary));
    let revision = |answer: &pb::PutResponse| answer.header.as_ref().map_or(0, |header| header.revision);
    assert_eq!(revision(&hot) + 1, revision(&ordinary));
    assert!(hot.prev_kv.is_some() && ordinary.prev_kv.is_some());
}
