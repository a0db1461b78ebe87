//! The transport and the server, against each other and against those who misbehave, over loopback.

mod appends;
mod calls;
mod connections;
mod secure;
mod snapshots;
mod strangers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::model::{ClusterId, MemberId};
use crate::net::{Listener, Tls};
use crate::peer::{BoxFuture, BoxStream, Envelope, Handler, Method, PeerError, Refusal, Transport};

const CLUSTER: ClusterId = ClusterId(0xc1);
const US: MemberId = MemberId(1);
const THEM: MemberId = MemberId(2);
/// How long anything may take that is not about time.
const SOON: Duration = Duration::from_secs(5);

fn envelope() -> Envelope {
    Envelope { cluster: CLUSTER, from: US, to: THEM }
}

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Waits for something that comes soon.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it comes soon")
}

/// A member that echoes: calls, each append, and the length of a snapshot.
#[derive(Debug)]
struct Echo {
    /// What happened.
    seen: watch::Sender<Seen>,
    /// Whether snapshots are read on; they wait while not.
    reads_snapshots: watch::Sender<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    calls_begun: usize,
    calls_dropped: usize,
    appends: usize,
    /// How each append stream ended.
    streams_ended: Vec<String>,
    /// What broke snapshots off.
    snapshots_broken: Vec<PeerError>,
}

impl Echo {
    fn new() -> Arc<Echo> {
        Arc::new(Echo { seen: watch::Sender::default(), reads_snapshots: watch::Sender::new(true) })
    }

    /// Waits until what was seen is as it should be.
    async fn until(&self, is_so: impl FnMut(&Seen) -> bool) -> Seen {
        soon(self.seen.subscribe().wait_for(is_so)).await.unwrap().clone()
    }

    fn check(&self, envelope: Envelope) -> Result<(), Refusal> {
        if envelope.cluster != CLUSTER {
            return Err(Refusal::WrongCluster { expected: CLUSTER, found: envelope.cluster });
        }
        if envelope.to != THEM {
            return Err(Refusal::WrongMember { expected: THEM, found: envelope.to });
        }
        if envelope.from == US { Ok(()) } else { Err(Refusal::Stranger(envelope.from)) }
    }
}

/// Tells when it is dropped.
struct Dropped<F: FnMut()>(F);

impl<F: FnMut()> Drop for Dropped<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Handler for Echo {
    fn call(&self, envelope: Envelope, method: Method, body: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        let checked = self.check(envelope);
        let seen = self.seen.clone();
        Box::pin(async move {
            checked?;
            seen.send_modify(|seen| seen.calls_begun += 1);
            let _dropped = Dropped(|| seen.send_modify(|seen| seen.calls_dropped += 1));
            match method {
                // Never answers.
                Method::Propose => std::future::pending().await,
                Method::Vote => Err(Refusal::Stopped("tired".into())),
                _ => Ok(body),
            }
        })
    }

    fn append(
        &self,
        envelope: Envelope,
        requests: BoxStream<Result<Bytes, PeerError>>,
    ) -> Result<BoxStream<Result<Bytes, Refusal>>, Refusal> {
        self.check(envelope)?;
        let seen = self.seen.clone();
        let end = Arc::new(Mutex::new("dropped".to_owned()));
        let dropped = {
            let (seen, end) = (seen.clone(), end.clone());
            Dropped(move || seen.send_modify(|seen| seen.streams_ended.push(end.lock().clone())))
        };
        Ok(Box::pin(requests.filter_map(move |request| {
            let _keep = &dropped;
            seen.send_modify(|seen| seen.appends += 1);
            let answer = match request {
                Ok(request) if request == "refuse" => Some(Err(Refusal::Stopped("no more".into()))),
                Ok(request) => Some(Ok(request)),
                Err(error) => {
                    *end.lock() = error.to_string();
                    None
                }
            };
            std::future::ready(answer)
        })))
    }

    fn snapshot(
        &self,
        envelope: Envelope,
        head: Bytes,
        mut chunks: BoxStream<Result<Bytes, PeerError>>,
    ) -> BoxFuture<Result<Bytes, Refusal>> {
        let checked = self.check(envelope);
        let (seen, mut reads) = (self.seen.clone(), self.reads_snapshots.subscribe());
        Box::pin(async move {
            checked?;
            let (mut len, mut sum) = (0, 0);
            loop {
                reads.wait_for(|&reads| reads).await.map_err(Refusal::malformed)?;
                match chunks.next().await {
                    Some(Ok(chunk)) => {
                        len += chunk.len();
                        sum = crc32c::crc32c_append(sum, &chunk);
                    }
                    Some(Err(error)) => {
                        seen.send_modify(|seen| seen.snapshots_broken.push(error));
                        return Err(Refusal::malformed("the snapshot broke off"));
                    }
                    None => return Ok(format!("{} {len} {sum:x}", String::from_utf8_lossy(&head)).into()),
                }
            }
        })
    }
}

/// A member that is served.
struct Server {
    handler: Arc<Echo>,
    url: String,
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Server {
        Server::start_at("127.0.0.1:0".parse().unwrap(), None)
    }

    fn start_at(address: SocketAddr, tls: Option<Tls>) -> Server {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        Server::of(Listener::Tcp(listener), format!("{scheme}://{address}"), address, tls)
    }

    fn start_in(dir: &std::path::Path, tls: Option<Tls>) -> Server {
        let path = dir.join("peer.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let scheme = if tls.is_some() { "unixs" } else { "unix" };
        let url = format!("{scheme}://{}", path.display());
        Server::of(Listener::Unix(listener), url, ([0, 0, 0, 0], 0).into(), tls)
    }

    fn of(listener: Listener, url: String, address: SocketAddr, tls: Option<Tls>) -> Server {
        let (handler, stop) = (Echo::new(), CancellationToken::new());
        let plain = Router::new().route("/version", get(async || "plain"));
        let task = tokio::spawn(serve(listener, handler.clone(), plain, tls, stop.clone()));
        Server { handler, url, address, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        soon(self.task).await.unwrap();
    }
}

/// TLS of a member that has no certificate.
fn no_certificate() -> Tls {
    Tls::without_certificate(None).unwrap()
}

/// A transport that knows where one member is.
fn transport_to(urls: &[&str]) -> Arc<Http2Transport> {
    let transport = Http2Transport::new(Http2Options { runtime: Handle::current(), tls: no_certificate() });
    move_to(&transport, urls);
    transport
}

fn move_to(transport: &Http2Transport, urls: &[&str]) {
    transport.set_addresses(BTreeMap::from([(THEM, urls.iter().map(|&url| url.to_owned()).collect())]));
}

async fn ping(transport: &Http2Transport) -> Result<Bytes, PeerError> {
    transport.call(envelope(), Method::Ping, body("ping"), SOON).await
}

/// Calls until the member answers.
async fn until_reached(transport: &Http2Transport) {
    soon(async {
        while let Err(error) = ping(transport).await {
            assert!(matches!(error, PeerError::Unreachable(_) | PeerError::Broken(_)), "{error}");
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Accepts and never says anything.
async fn black_hole() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    (url, task)
}
