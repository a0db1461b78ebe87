//! Calls of clients over a real connection to a server in memory.

use std::cell::RefCell;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use lodemark::api::grpc::any_bytes::READERS;
use lodemark::embed::Server;
use lodemark::proto::etcdserverpb::MemberAddRequest;
use prost::Message;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// How long an answer is waited for: a lock that another holds, or the next event, may never come.
const PATIENCE: Duration = Duration::from_millis(1);
/// The client's library ends a connection on which too many short answers come to calls that were given up. Here most calls
/// are, and that says nothing of the server.
const SMALL_FRAMES_MAX: usize = usize::MAX >> 1;
/// A server that has answered so many calls is stopped in order, and another one is asked.
const CALLS_MAX: u32 = 10_000;

/// Any bytes as a call: which one, how it is sent, and its messages. It is answered with a status, or waits; the
/// connection and the server live on.
///
/// ```text
/// call = path, how, rest
/// how  = bit 0: rest is sent as it is; else it is one message, or with bit 1 many, each after a byte of its length
///        bit 2: it comes in two pieces; bit 3: it does not end; bit 4: it has a deadline
/// ```
pub fn call(bytes: &[u8]) -> bool {
    let [path, how, rest @ ..] = bytes else { return false };
    let (path, _) = READERS[usize::from(*path) % READERS.len()];
    let message = match how & 3 {
        1 | 3 => rest.to_vec(),
        0 => frame(&harmless(path, rest)),
        _ => frames(path, rest),
    };
    FRONT.with_borrow_mut(|front| {
        if front.as_ref().is_none_or(|front| front.calls == CALLS_MAX) {
            front.take().into_iter().for_each(Front::stop);
        }
        front.get_or_insert_with(Front::start).call(path, *how, message.into())
    })
}

/// A voter that never starts would leave the server without a quorum.
fn harmless(path: &str, message: &[u8]) -> Vec<u8> {
    match MemberAddRequest::decode(message) {
        Ok(add) if path.ends_with("/MemberAdd") => MemberAddRequest { is_learner: true, ..add }.encode_to_vec(),
        _ => message.to_vec(),
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.into()
}

fn frames(path: &str, mut messages: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while let [len, rest @ ..] = messages {
        let (message, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        frames.extend(frame(&harmless(path, message)));
        messages = rest;
    }
    frames
}

thread_local! {
    static FRONT: RefCell<Option<Front>> = const { RefCell::new(None) };
}

/// A server in memory, and a connection to it.
struct Front {
    runtime: Runtime,
    server: Server,
    requests: SendRequest<Bytes>,
    calls: u32,
}

impl Front {
    fn start() -> Front {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime is made");
        let (server, requests) = runtime.block_on(async {
            let server = Server::in_memory().client_addr("127.0.0.1:0").start().await.expect("it starts");
            let address = server.endpoints()[0].strip_prefix("http://").expect("it is not secure").to_owned();
            let socket = TcpStream::connect(address).await.expect("it is there");
            socket.set_nodelay(true).expect("it is a socket");
            let handshake = h2::client::Builder::new().data_frame_budget(SMALL_FRAMES_MAX).handshake(socket);
            let (requests, connection) = handshake.await.expect("it speaks HTTP/2");
            tokio::spawn(connection);
            (server, requests)
        });
        Front { runtime, server, requests, calls: 0 }
    }

    fn stop(self) {
        let Front { runtime, server, requests, .. } = self;
        drop(requests);
        runtime.block_on(server.stop()).expect("it ran until now");
    }

    fn call(&mut self, path: &str, how: u8, message: Bytes) -> bool {
        self.calls += 1;
        let uri = format!("http://server{path}");
        let mut request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        if how & 16 != 0 {
            request = request.header("grpc-timeout", "1m");
        }
        let request = request.body(()).expect("the parts of a request are right");
        let requests = self.requests.clone();
        self.runtime.block_on(async {
            let mut requests = requests.ready().await.expect("the connection lives");
            let (response, mut stream) = requests.send_request(request, false).expect("the connection lives");
            let (first, second) = message.split_at(if how & 4 == 0 { 0 } else { message.len() / 2 });
            let ends = how & 8 == 0;
            // No empty ones but the last: the library takes a hundred of them for an attack. An error: it was answered
            // already.
            if !first.is_empty() {
                let _ = stream.send_data(Bytes::copy_from_slice(first), false);
                tokio::task::yield_now().await;
            }
            if !second.is_empty() || ends {
                let _ = stream.send_data(Bytes::copy_from_slice(second), ends);
            }

            let answered = tokio::time::timeout(PATIENCE, answer(response)).await;
            tokio::select! {
                biased;
                why = self.server.failed() => panic!("the server has failed: {why}"),
                () = std::future::ready(()) => answered.unwrap_or(false),
            }
        })
    }
}

/// Reads an answer to its end; tells whether it has a message.
///
/// # Panics
/// If it is cut off: whoever answered has panicked.
async fn answer(response: h2::client::ResponseFuture) -> bool {
    let mut has_message = false;
    let (head, mut body) = response.await.expect("a call is answered").into_parts();
    assert_eq!(head.status, http::StatusCode::OK);
    if head.headers.contains_key("grpc-status") {
        return false;
    }
    while let Some(data) = body.data().await {
        let data = data.expect("an answer is not cut off");
        has_message |= !data.is_empty();
        body.flow_control().release_capacity(data.len()).expect("it was received");
    }
    let trailers = body.trailers().await.expect("an answer is not cut off");
    assert!(trailers.is_some_and(|trailers| trailers.contains_key("grpc-status")));
    has_message
}
