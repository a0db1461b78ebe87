//! Message bodies on HTTP/2 streams.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tonic::Status;

use crate::api::grpc::status;

/// What of one answer may wait in the connection at a time; the rest waits for the client to take it.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// A request's body, as it comes in.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: RecvStream,
    has_data: bool,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream) -> Incoming {
        Incoming { stream, has_data: true }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_data {
            if let Some(data) = ready!(self.stream.poll_data(cx)?) {
                // What was read may be sent again; what is read on is bounded by the message's limit.
                self.stream.flow_control().release_capacity(data.len())?;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.has_data = false;
        }
        let trailers = ready!(self.stream.poll_trailers(cx)?);
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// Sends a body to its end, no faster than the client takes it. When the server stops, a body that has nothing to send at
/// that moment ends there.
///
/// # Errors
/// If the stream or the connection has ended, or the body failed: then the stream is reset.
pub(super) async fn send_body<B>(
    mut stream: SendStream<Bytes>,
    mut body: B,
    stop: impl Future<Output = ()>,
) -> Result<(), SendError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut stop = std::pin::pin!(stop);
    loop {
        let frame = tokio::select! {
            // What is there goes out first, also when the server stops.
            biased;
            frame = body.frame() => frame,
            reset = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return Err(SendError::Reset(reset?)),
            () = stop.as_mut() => {
                stream.send_trailers(trailers(&status::STOPPED.into()))?;
                return Ok(());
            }
        };
        match frame {
            None => {
                stream.send_data(Bytes::new(), true)?;
                return Ok(());
            }
            Some(Err(error)) => {
                stream.send_reset(h2::Reason::INTERNAL_ERROR);
                return Err(SendError::Body(error.into()));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => send_data(&mut stream, data).await?,
                Err(frame) => {
                    // The last frame of a body.
                    stream.send_trailers(frame.into_trailers().unwrap_or_default())?;
                    return Ok(());
                }
            },
        }
    }
}

/// Sends bytes as the client's window lets them through.
pub(super) async fn send_data(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), SendError> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len().min(CHUNK_BYTES_MAX));
        while stream.capacity() == 0 {
            // `None`: the stream has ended.
            std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(SendError::Ended)??;
        }
        let len = stream.capacity().min(data.len());
        stream.send_data(data.split_to(len), false)?;
    }
    Ok(())
}

/// Why an answer did not reach its client.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The client does not want it any more.
    #[error("the client has reset the stream: {0}")]
    Reset(h2::Reason),
    /// There is nowhere to send it.
    #[error("the stream has ended")]
    Ended,
    /// The connection broke.
    #[error(transparent)]
    Connection(#[from] h2::Error),
    /// There is no more to send.
    #[error("the answer broke off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// The trailers of a call that ends with a status.
pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Metadata that is no header: the code says enough.
        trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(status.code() as i32));
    }
    trailers
}

/// The trailers of a call that went well.
pub(super) fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("0"));
    trailers
}
