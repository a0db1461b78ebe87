//! Calls that have a task of their own.

use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::Service;

use super::Shared;
use super::body::{Incoming, SendError, ok_trailers, send_body, send_data, trailers};
use crate::api::grpc::hot::Framed;
use crate::api::grpc::meter::LateCall;
use crate::api::grpc::parts::Parts;
use crate::api::grpc::{guard, status};

/// What a call may still take when the server stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Answers one call by the service that it names, within its deadline.
pub(super) async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, shared: Shared) {
    let begun = Instant::now();
    let deadline = guard::deadline(request.headers());
    let (path, log) = (request.uri().path().to_owned(), shared.log.clone());
    let answer = answer(request, &mut respond, shared);
    let sent = match deadline {
        None => answer.await,
        Some(deadline) => match tokio::time::timeout(deadline, answer).await {
            Ok(sent) => sent,
            Err(_) => refuse(&mut respond, status::deadline_exceeded()),
        },
    };
    log.tell_other(&path, begun.elapsed());
    tell(sent);
}

/// Answers a request that is no call: what HTTP/1.1 would answer.
pub(super) async fn serve_plain(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, mut shared: Shared) {
    let answer = async {
        let Ok(response) = shared.router.call(request.map(|body| axum::body::Body::new(Incoming::new(body)))).await;
        let (head, body) = response.into_parts();
        let is_whole = http_body::Body::is_end_stream(&body);
        let stream = respond.send_response(Response::from_parts(head, ()), is_whole)?;
        if is_whole { Ok(()) } else { send_body(stream, body, overdue(&shared.leave)).await }
    };
    tell(answer.await);
}

/// Answers a hot call that waits for something, or whose answer is long, in a task of its own.
pub(super) fn answer_later(
    outcome: impl Future<Output = Result<Framed, Status>> + Send + 'static,
    respond: SendResponse<Bytes>,
    counted: LateCall,
) {
    tokio::spawn(async move { tell(finish(outcome, respond, counted).await) });
}

fn tell(sent: Result<(), SendError>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "a call was not answered to its end");
    }
}

async fn answer(
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
    mut shared: Shared,
) -> Result<(), SendError> {
    let call = shared.services.call(request.map(Incoming::new));
    let response = tokio::select! {
        response = call => response.unwrap_or_else(|never| match never {}),
        // Dropping the call is what tells the service.
        reset = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return Err(SendError::Reset(reset?)),
        // Some calls wait for another client: for a lock, say.
        () = overdue(&shared.leave) => return refuse(respond, status::STOPPED.into()),
    };
    let (head, body) = response.into_parts();
    let is_whole = http_body::Body::is_end_stream(&body);
    let stream = respond.send_response(Response::from_parts(head, ()), is_whole)?;
    if is_whole {
        return Ok(());
    }
    let stop = shared.leave;
    send_body(stream, body, stop.cancelled()).await
}

/// Waits until the server stops, and then as long as it waits for calls.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}

async fn finish(
    outcome: impl Future<Output = Result<Framed, Status>>,
    mut respond: SendResponse<Bytes>,
    counted: LateCall,
) -> Result<(), SendError> {
    let outcome = tokio::select! {
        outcome = outcome => outcome,
        reset = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return Err(SendError::Reset(reset?)),
    };
    match outcome {
        Ok(Framed::Whole(message)) => {
            let (mut stream, bytes) = (respond.send_response(head(), false)?, message.len());
            send_data(&mut stream, message).await?;
            counted.end(Ok(bytes));
            Ok(stream.send_trailers(ok_trailers())?)
        }
        Ok(Framed::Parts(parts)) => {
            let mut stream = respond.send_response(head(), false)?;
            let end = match send_parts(&mut stream, *parts).await? {
                Ok(bytes) => {
                    counted.end(Ok(bytes));
                    ok_trailers()
                }
                Err(status) => {
                    counted.end(Err(status.code()));
                    trailers(&status)
                }
            };
            Ok(stream.send_trailers(end)?)
        }
        Err(status) => {
            counted.end(Err(status.code()));
            refuse(&mut respond, status)
        }
    }
}

/// Sends a message piece by piece, each made when the client has taken the one before; gives its bytes, or why it broke off.
async fn send_parts(stream: &mut SendStream<Bytes>, mut parts: Parts) -> Result<Result<usize, Status>, SendError> {
    let patience = tokio::time::sleep(parts.patience());
    tokio::pin!(patience);
    let (mut has_run_out, mut bytes) = (false, 0);
    loop {
        let piece = match parts.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Ok(bytes)),
            Err(status) => return Ok(Err(status)),
        };
        bytes += piece.len();
        let sent = send_data(stream, piece);
        tokio::pin!(sent);
        loop {
            tokio::select! {
                sent = &mut sent => break sent?,
                () = &mut patience, if !has_run_out => {
                    has_run_out = true;
                    if let Err(status) = parts.run_out() {
                        return Ok(Err(status));
                    }
                }
            }
        }
    }
}

/// Ends a call with a status. One whose answer has begun is reset instead.
pub(super) fn refuse(respond: &mut SendResponse<Bytes>, status: Status) -> Result<(), SendError> {
    if let Err(error) = respond.send_response(status.into_http::<()>(), true) {
        respond.send_reset(h2::Reason::CANCEL);
        return Err(error.into());
    }
    Ok(())
}

/// The head of an answer that has a message.
pub(super) fn head() -> Response<()> {
    let mut head = Response::new(());
    let grpc = http::HeaderValue::from_static("application/grpc");
    head.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    head
}
