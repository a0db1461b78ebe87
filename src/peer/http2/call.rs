//! One request, one answer.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::link::Link;
use super::messages::{frame, send_last};
use super::{CALL_BYTES_MAX, CALL_PATH, request};
use crate::peer::{Envelope, Method, PeerError};
use crate::proto::lodemarkpb::{CallReply, CallRequest};

/// Calls a member. Dropping the future takes the call back.
///
/// # Errors
/// [`PeerError::Unreachable`] as long as the last byte was not given to the connection: whoever receives a part of a
/// request does nothing. After that [`PeerError::Timeout`] or [`PeerError::Broken`].
pub(super) async fn call(
    link: &Link,
    envelope: Envelope,
    method: Method,
    body: Bytes,
    within: Duration,
) -> Result<Bytes, PeerError> {
    let mut is_sent = false;
    match timeout(within, exchange(link, envelope, method, body, &mut is_sent)).await {
        Ok(outcome) => outcome,
        Err(_) if is_sent => Err(PeerError::Timeout),
        Err(_) => Err(PeerError::Unreachable(format!("the request could not be sent within {within:?}").into())),
    }
}

async fn exchange(
    link: &Link,
    envelope: Envelope,
    method: Method,
    body: Bytes,
    is_sent: &mut bool,
) -> Result<Bytes, PeerError> {
    let _place = link.place(method).await;
    let (mut response, mut stream) = request::begin(link.requests().await?, CALL_PATH, envelope).await?;
    let message = frame(&CallRequest { method: method as u32, body });
    let response = tokio::select! {
        biased;
        sent = send_last(&mut stream, message) => {
            // If it could not be sent, the answer says why: it may have come early, and be a refusal.
            *is_sent = sent.is_ok();
            response.await
        }
        early = &mut response => early,
    };
    let answer = match request::answer(std::future::ready(response)).await {
        Err(PeerError::Broken(why)) if !*is_sent => return Err(PeerError::Unreachable(why)),
        answer => answer?,
    };
    Ok(request::reply::<CallReply>(answer, CALL_BYTES_MAX).await?.body)
}
