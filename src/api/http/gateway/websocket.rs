//! The same over a WebSocket: frames of text are the request's body, and each line of the answer is a frame.
//!
//! A browser cannot set the headers of a WebSocket, so a token comes as a protocol that is asked for
//! (`Sec-WebSocket-Protocol: Bearer, <token>`) or as the cookie `token`.
//!
//! Source: `grpc-websocket-proxy/wsproxy`.

use axum::body::{Body, BodyDataStream};
use axum::extract::ws::{CloseCode, CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::sync::mpsc;

use super::Gateway;

/// A line that is longer ends the connection: a frame of text must be whole before it is sent.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Frames that wait for the call to take them.
const FRAMES_MAX: usize = 4;

/// Tells whether a request wants to become a WebSocket.
pub(super) fn is_asked_for(request: &Request) -> bool {
    let has = |name, token: &str| {
        let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket")
}

/// Makes it one, and serves it in a task of its own.
pub(super) async fn upgrade(gateway: Gateway, request: Request) -> Response {
    let (mut head, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
        Ok(upgrade) => upgrade,
        Err(refused) => return refused.into_response(),
    };
    let mut asked = Request::new(Body::empty());
    *asked.method_mut() = Method::POST;
    *asked.uri_mut() = head.uri;
    if let Some(token) = token(&head.headers) {
        asked.headers_mut().insert(header::AUTHORIZATION, token);
    }
    upgrade
        .protocols(["Bearer"])
        .max_message_size(gateway.value_bytes_max)
        .max_frame_size(gateway.value_bytes_max)
        .on_upgrade(|socket| serve(socket, gateway, asked))
}

/// The token as it would stand in `Authorization`.
fn token(headers: &HeaderMap) -> Option<HeaderValue> {
    let of_cookie = headers
        .get_all(header::COOKIE)
        .iter()
        .find_map(|cookies| cookies.to_str().ok()?.split(';').find_map(|cookie| cookie.trim().strip_prefix("token=")));
    let of_protocol = || headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?.split_once("Bearer,");
    let token = of_cookie.or_else(|| Some(of_protocol()?.1.trim()))?;
    HeaderValue::from_str(&format!("Bearer {token}")).ok()
}

/// Serves one until the call or the client ends it.
async fn serve(mut socket: WebSocket, gateway: Gateway, asked: Request) {
    let (frames_tx, frames_rx) = mpsc::channel::<Bytes>(FRAMES_MAX);
    let frames = stream::unfold(frames_rx, |mut frames_rx| async move {
        let frame = frames_rx.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), frames_rx))
    });
    let answer = gateway.post(asked.map(|_| Body::from_stream(frames)));
    let answer =
        async { Lines { body: answer.await.into_body().into_data_stream(), come: BytesMut::new(), scanned: 0 } };
    tokio::pin!(answer);
    let (mut lines, mut room) = (None, None);
    let end = loop {
        tokio::select! {
            // A frame is taken in only when there is room for it.
            permit = frames_tx.reserve(), if room.is_none() && !frames_tx.is_closed() => room = permit.ok(),
            frame = socket.recv(), if room.is_some() || frames_tx.is_closed() => match frame {
                Some(Ok(Message::Text(text))) => give(&mut room, text.into()),
                Some(Ok(Message::Binary(bytes))) => give(&mut room, bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                // The client has gone: dropping the call is what tells the server.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            begun = &mut answer, if lines.is_none() => lines = Some(begun),
            line = next_line(&mut lines) => match line {
                Ok(Some(line)) => match std::str::from_utf8(&line) {
                    Ok(text) if socket.send(Message::text(text)).await.is_ok() => {}
                    // Nobody is there to hear it.
                    _ => return,
                },
                Ok(None) => break close(close_code::NORMAL, ""),
                Err(end) => break end,
            },
        }
    };
    // The client may have gone, too.
    let _ = socket.send(Message::Close(Some(end))).await;
}

/// Hands a frame to the call. A number ends only with what follows it, so each is followed by a newline.
fn give(room: &mut Option<mpsc::Permit<'_, Bytes>>, frame: Bytes) {
    let mut frame = BytesMut::from(frame);
    frame.extend_from_slice(b"\n");
    // Without room the call has ended, and takes nothing any more.
    if let Some(room) = room.take() {
        room.send(frame.freeze());
    }
}

fn close(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

async fn next_line(lines: &mut Option<Lines>) -> Result<Option<Bytes>, CloseFrame> {
    match lines {
        Some(lines) => lines.next().await,
        None => std::future::pending().await,
    }
}

/// The lines of an answer, as they come.
struct Lines {
    body: BodyDataStream,
    /// What has come of the next ones.
    come: BytesMut,
    /// How much of it has no end of a line.
    scanned: usize,
}

impl Lines {
    /// Waits for the next line that is not empty; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// Why there is no more, for the client.
    async fn next(&mut self) -> Result<Option<Bytes>, CloseFrame> {
        loop {
            if let Some(len) = self.come[self.scanned..].iter().position(|&byte| byte == b'\n') {
                let line = self.come.split_to(self.scanned + len).freeze();
                self.come.advance(1);
                self.scanned = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.scanned = self.come.len();
            if self.come.len() > LINE_BYTES_MAX {
                return Err(close(close_code::SIZE, "the answer is too long for one frame"));
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.come.extend_from_slice(&piece),
                Some(Err(_)) => return Err(close(close_code::ERROR, "the answer broke off")),
                None if self.come.is_empty() => return Ok(None),
                None => {
                    self.scanned = 0;
                    return Ok(Some(self.come.split().freeze()));
                }
            }
        }
    }
}
