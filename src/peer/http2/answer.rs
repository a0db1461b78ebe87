//! Answering one stream of another member.
//!
//! A request that cannot be read is refused with a status; its connection and all other streams live on. When the other
//! side takes a call or an append stream back, whatever the handler does for it is dropped; the handler of a snapshot finds
//! the break in its chunks.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::messages::{self, Messages, ReadError, frame};
use super::server::Shared;
use super::{
    APPEND_BYTES_MAX, APPEND_PATH, CALL_BYTES_MAX, CALL_PATH, PART_BYTES_MAX, SERVICES_PATH, SNAPSHOT_PATH, envelope,
    refusal, snapshot,
};
use crate::peer::{BoxStream, Envelope, Handler, Method, PeerError, Refusal};
use crate::proto::lodemarkpb::{
    AppendReply, AppendRequest, CallReply, CallRequest, SnapshotPart, SnapshotReply, snapshot_part::Part,
};

/// Answers one stream to its end.
pub(super) async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    remote: Arc<str>,
    shared: Shared,
) {
    if !request.uri().path().starts_with(SERVICES_PATH) {
        return answer_plain(request, respond, shared.plain).await;
    }
    let (head, body) = request.into_parts();
    let envelope = envelope::of(&head.headers);
    let outcome = match (envelope.clone(), head.uri.path()) {
        (Ok(envelope), CALL_PATH) => {
            let answer = tokio::select! {
                biased;
                _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => Err(NoAnswer::Gone),
                answer = call(envelope, body, &*shared.handler) => answer,
            };
            send_answer(answer, &mut respond).await
        }
        (Ok(envelope), APPEND_PATH) => append(envelope, body, &mut respond, &*shared.handler).await,
        (Ok(envelope), SNAPSHOT_PATH) => {
            // If the other side gives up, the chunks say so; and one that has come whole may be installed.
            let answer = take_snapshot(envelope, body, &*shared.handler).await;
            send_answer(answer, &mut respond).await
        }
        (Ok(_), unknown) => Err(refuse(&mut respond, Refusal::malformed(format_args!("unknown request {unknown}")))),
        (Err(refusal), _) => Err(refuse(&mut respond, refusal)),
    };
    if let Err(NoAnswer::Refused(refusal)) = outcome {
        shared.refusals.tell(&remote, envelope.ok(), &refusal);
    }
}

/// Why a stream has no answer, or does not get any more of them.
enum NoAnswer {
    /// Nobody waits for it any more.
    Gone,
    Refused(Refusal),
}

impl From<Refusal> for NoAnswer {
    fn from(refusal: Refusal) -> NoAnswer {
        NoAnswer::Refused(refusal)
    }
}

impl From<ReadError> for NoAnswer {
    fn from(error: ReadError) -> NoAnswer {
        match error {
            ReadError::Broken(_) => NoAnswer::Gone,
            ReadError::TooLarge { .. } | ReadError::Malformed(_) => Refusal::malformed(error).into(),
        }
    }
}

impl From<messages::Ended> for NoAnswer {
    fn from(_: messages::Ended) -> NoAnswer {
        NoAnswer::Gone
    }
}

impl From<h2::Error> for NoAnswer {
    fn from(_: h2::Error) -> NoAnswer {
        NoAnswer::Gone
    }
}

async fn call(envelope: Envelope, body: RecvStream, handler: &dyn Handler) -> Result<Bytes, NoAnswer> {
    let request = Messages::<CallRequest>::new(body, CALL_BYTES_MAX).only().await?;
    let Some(method) = Method::of_number(request.method) else {
        return Err(Refusal::malformed(format_args!("unknown method {}", request.method)).into());
    };
    let body = handler.call(envelope, method, request.body).await?;
    Ok(frame(&CallReply { body }))
}

async fn take_snapshot(envelope: Envelope, body: RecvStream, handler: &dyn Handler) -> Result<Bytes, NoAnswer> {
    let mut parts = Messages::<SnapshotPart>::new(body, PART_BYTES_MAX);
    let Some(Part::Head(head)) = parts.only().await?.part else {
        return Err(Refusal::malformed("the snapshot begins without a head").into());
    };
    let chunks = until_error(parts, |part| snapshot::check(part).map_err(|why| PeerError::Broken(why.into())));
    let body = handler.snapshot(envelope, head, chunks).await?;
    Ok(frame(&SnapshotReply { body }))
}

/// Sends one answer, or says why there is none.
async fn send_answer(answer: Result<Bytes, NoAnswer>, respond: &mut SendResponse<Bytes>) -> Result<(), NoAnswer> {
    match answer {
        Ok(message) => {
            let mut stream = respond.send_response(head(), false)?;
            messages::send(&mut stream, message).await?;
            Ok(stream.send_trailers(refusal::success())?)
        }
        Err(NoAnswer::Refused(refusal)) => Err(refuse(respond, refusal)),
        Err(NoAnswer::Gone) => Err(NoAnswer::Gone),
    }
}

async fn append(
    envelope: Envelope,
    body: RecvStream,
    respond: &mut SendResponse<Bytes>,
    handler: &dyn Handler,
) -> Result<(), NoAnswer> {
    // What is wrong with a request, for the end of the stream: answers to those before it come first.
    let fault = Arc::new(OnceLock::new());
    let requests = {
        let fault = fault.clone();
        let requests = Messages::<AppendRequest>::new(body, APPEND_BYTES_MAX);
        until_error(requests, |request| Ok(request.body)).inspect(move |request| {
            if let Err(PeerError::Refused(refusal)) = request {
                // Nothing comes after the first.
                let _ = fault.set(refusal.clone());
            }
        })
    };
    let mut answers = match handler.append(envelope, Box::pin(requests)) {
        Ok(answers) => answers,
        Err(refusal) => return Err(refuse(respond, refusal)),
    };
    let mut stream = respond.send_response(head(), false)?;
    let refusal = loop {
        let answer = tokio::select! {
            biased;
            _ = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return Err(NoAnswer::Gone),
            answer = answers.next() => answer,
        };
        match answer {
            Some(Ok(body)) => messages::send(&mut stream, frame(&AppendReply { body })).await?,
            Some(Err(refusal)) => break fault.get().cloned().unwrap_or(refusal),
            None => match fault.get() {
                Some(refusal) => break refusal.clone(),
                None => return Ok(stream.send_trailers(refusal::success())?),
            },
        }
    };
    end(&mut stream, refusal::headers(&refusal));
    Err(refusal.into())
}

/// The messages of a stream, each turned into what the handler takes, up to the first error.
fn until_error<T: prost::Message + Default + 'static>(
    messages: Messages<T>,
    take: impl Fn(T) -> Result<Bytes, PeerError> + Send + Copy + 'static,
) -> BoxStream<Result<Bytes, PeerError>> {
    Box::pin(futures_util::stream::unfold(Some(messages), move |messages| async move {
        let mut messages = messages?;
        let message = match messages.next().await {
            Ok(message) => message.map(take)?,
            Err(error @ ReadError::Broken(_)) => Err(error.into()),
            Err(error @ (ReadError::TooLarge { .. } | ReadError::Malformed(_))) => {
                Err(Refusal::malformed(error).into())
            }
        };
        let rest = message.is_ok().then_some(messages);
        Some((message, rest))
    }))
}

fn refuse(respond: &mut SendResponse<Bytes>, refusal: Refusal) -> NoAnswer {
    let mut response = head();
    response.headers_mut().extend(refusal::headers(&refusal));
    // An error: the other side has gone, and nobody misses the answer.
    let _ = respond.send_response(response, true);
    refusal.into()
}

fn end(stream: &mut SendStream<Bytes>, trailers: HeaderMap) {
    // As above.
    let _ = stream.send_trailers(trailers);
}

/// The head of an answer that has messages.
fn head() -> Response<()> {
    let mut head = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    head
}

/// Answers what is none of ours, which some tools ask over HTTP/2.
async fn answer_plain(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, router: Router) {
    let request = request.map(|mut body| {
        Body::from_stream(futures_util::stream::poll_fn(move |cx| {
            let data = body.poll_data(cx);
            if let std::task::Poll::Ready(Some(Ok(data))) = &data {
                // An error: the next read says so.
                let _ = body.flow_control().release_capacity(data.len());
            }
            data
        }))
    });
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    let (head, body) = response.into_parts();
    // Our own answers are short, and in memory already; an error could only be one of their making.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    // Errors: the other side has gone.
    if let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), body.is_empty())
        && !body.is_empty()
    {
        let _ = messages::send_last(&mut stream, body).await;
    }
}
