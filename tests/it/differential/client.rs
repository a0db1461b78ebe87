//! A client that knows nothing: it sends messages to paths.

use std::pin::Pin;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// How long any one answer may take: far more than the server's own timeout of 7 s.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
/// What a server may send to a narrow client that does not read.
const NARROW_WINDOW_BYTES: u32 = 1024;
/// Requests of a stream that wait for the connection. Each is answered before the next is sent.
const STREAM_QUEUE_LEN: usize = 16;

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    /// It is not the server's answer: there was none.
    pub is_silence: bool,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        // What the client itself makes of a lost connection has a cause.
        let is_silence = std::error::Error::source(&status).is_some();
        Failure { code: status.code(), message: status.message().to_owned(), is_silence }
    }
}

impl Failure {
    /// Takes the size of the request out of the message, if it is the right one: ids that the servers chose, such as
    /// those of leases, are longer in one's requests than in the other's.
    fn without_size(mut self, bytes: usize) -> Failure {
        self.message =
            self.message.replace(&format!("larger than max ({bytes} vs."), "larger than max (<its size> vs.");
        self
    }

    /// There is no answer.
    pub fn silence(message: String) -> Failure {
        Failure { code: Code::Unavailable, message, is_silence: true }
    }
}

/// One connection to one server.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects at the first request.
    pub fn new(endpoint: &str) -> Client {
        Client { channel: endpoint_of(endpoint).connect_lazy() }
    }

    /// As [`Client::new`], but on each stream the server may be ahead of the reader by a few short messages only.
    pub fn narrow(endpoint: &str) -> Client {
        let endpoint = endpoint_of(endpoint).initial_stream_window_size(NARROW_WINDOW_BYTES);
        Client { channel: endpoint.connect_lazy() }
    }

    pub async fn unary<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.ready().await?;
        let bytes = request.encoded_len();
        let asked = grpc.unary(Request::new(request), path_of(path), ProstCodec::default());
        Ok(in_time(asked).await?.map_err(|status| Failure::from(status).without_size(bytes))?.into_inner())
    }

    pub async fn server_streaming<Q, A>(&self, path: &'static str, request: Q) -> Result<Streaming<A>, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.ready().await?;
        let asked = grpc.server_streaming(Request::new(request), path_of(path), ProstCodec::default());
        Ok(in_time(asked).await??.into_inner())
    }

    /// A stream of requests and one of answers. Dropping the sender is the half-close.
    ///
    /// The request goes out when the first answer is waited for: etcd sends no headers before its first message.
    pub fn bidirectional<Q, A>(&self, path: &'static str) -> (mpsc::Sender<Q>, Answers<A>)
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (request_tx, request_rx) = mpsc::channel(STREAM_QUEUE_LEN);
        let client = self.clone();
        let opening = async move {
            let mut grpc = client.ready().await?;
            let requests = Request::new(ReceiverStream::new(request_rx));
            Ok(grpc.streaming(requests, path_of(path), ProstCodec::default()).await?.into_inner())
        };
        (request_tx, Answers::Opening(Box::pin(opening)))
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Failure> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let ready = in_time(grpc.ready()).await?;
        ready.map_err(|error| Failure::silence(format!("not connected: {error:?}")))?;
        Ok(grpc)
    }
}

/// Waits for `answer`; a server that does not answer is a failure like another, so that it can be compared and printed.
pub async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, Failure> {
    let timed_out = |_| Failure::silence(format!("the test waited {ANSWER_TIME_MAX:?} for an answer"));
    tokio::time::timeout(ANSWER_TIME_MAX, answer).await.map_err(timed_out)
}

/// The receiving half of a stream.
pub enum Answers<A> {
    Opening(Pin<Box<dyn Future<Output = Result<Streaming<A>, Failure>> + Send>>),
    Open(Box<Streaming<A>>),
}

impl<A> Answers<A> {
    /// Waits as long as it takes; `None` is the end with OK.
    pub async fn next(&mut self) -> Result<Option<A>, Failure> {
        if let Answers::Opening(opening) = self {
            *self = Answers::Open(Box::new(opening.await?));
        }
        match self {
            Answers::Opening(_) => unreachable!("it was opened above"),
            Answers::Open(stream) => Ok(stream.message().await?),
        }
    }

    /// Waits for the next message of a stream that must go on.
    pub async fn next_in_time(&mut self) -> Result<A, Failure> {
        let ended = || Failure::silence("the stream ended".to_owned());
        in_time(self.next()).await??.ok_or_else(ended)
    }
}

/// Waits for the next message of a stream that must go on.
pub async fn next<A>(stream: &mut Streaming<A>) -> Result<A, Failure> {
    let ended = || Failure::silence("the stream ended".to_owned());
    in_time(stream.message()).await??.ok_or_else(ended)
}

/// All messages of a stream that ends by itself.
pub async fn collect<A>(mut stream: Streaming<A>) -> Result<Vec<A>, Failure> {
    let mut messages = Vec::new();
    while let Some(message) = in_time(stream.message()).await?? {
        messages.push(message);
    }
    Ok(messages)
}

fn endpoint_of(endpoint: &str) -> Endpoint {
    Endpoint::from_shared(endpoint.to_owned()).expect("a URL").tcp_nodelay(true)
}

fn path_of(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}
