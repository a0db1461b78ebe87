//! What all requests have in common: how they begin, and what their answers say.
//!
//! Whether a request was delivered is told truthfully, for its sender repeats it only if it surely was not: a request is
//! one message, and nobody acts on a part of it.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use prost::Message;

use super::messages::{Messages, ReadError};
use super::{envelope, refusal};
use crate::peer::{Envelope, PeerError};

/// Begins a request to `path`.
///
/// # Errors
/// [`PeerError::Unreachable`]: nothing was sent.
pub(super) async fn begin(
    requests: SendRequest<Bytes>,
    path: &'static str,
    envelope: Envelope,
) -> Result<(ResponseFuture, SendStream<Bytes>), PeerError> {
    let mut requests = requests.ready().await.map_err(unreachable)?;
    requests.send_request(envelope::request(path, envelope), false).map_err(unreachable)
}

/// Waits until the other side begins to answer.
///
/// # Errors
/// What it says instead of answering, or [`PeerError::Broken`], or [`PeerError::Unreachable`] if the other side says
/// that it has not looked at the request.
pub(super) async fn answer(
    response: impl Future<Output = Result<http::Response<RecvStream>, h2::Error>>,
) -> Result<RecvStream, PeerError> {
    let (head, body) = response.await.map_err(lost)?.into_parts();
    if let Some(outcome) = refusal::outcome(&head.headers) {
        outcome?;
    }
    if head.status != http::StatusCode::OK {
        return Err(PeerError::Broken(format!("the answer is HTTP status {}", head.status).into()));
    }
    Ok(body)
}

/// Reads the only message of an answer.
///
/// # Errors
/// What the other side says instead, or [`PeerError::Broken`].
pub(super) async fn reply<T: Message + Default>(answer: RecvStream, bytes_max: usize) -> Result<T, PeerError> {
    let mut messages = Messages::<T>::new(answer, bytes_max);
    let first = messages.next().await?;
    if first.is_some() && messages.next().await?.is_some() {
        return Err(PeerError::Broken("the answer has more than one message".into()));
    }
    ended(&mut messages).await?;
    first.ok_or_else(|| PeerError::Broken("the answer has no message".into()))
}

/// What is said at the end of an answer.
///
/// # Errors
/// As [`reply`]; also if nothing is said.
pub(super) async fn ended<T: Message + Default>(messages: &mut Messages<T>) -> Result<(), PeerError> {
    let trailers = messages.trailers().await?;
    refusal::outcome(&trailers).unwrap_or_else(|| Err(PeerError::Broken("the answer ends without a status".into())))
}

fn unreachable(error: h2::Error) -> PeerError {
    PeerError::Unreachable(error.to_string().into())
}

/// What it means for a whole request that its stream has failed.
fn lost(error: h2::Error) -> PeerError {
    // Both say that the stream was not looked at. Source: RFC 9113, 8.7.
    let is_untouched = error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
    if is_untouched { unreachable(error) } else { PeerError::Broken(error.to_string().into()) }
}

impl From<ReadError> for PeerError {
    fn from(error: ReadError) -> PeerError {
        PeerError::Broken(error.to_string().into())
    }
}
