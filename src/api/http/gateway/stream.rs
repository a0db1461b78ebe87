//! Calls that are answered by any number of messages: each becomes a line, and so does an error.
//!
//! A line is sent at once, unless it is long: there are clients that take each chunk of HTTP/1.1 for a line.
//!
//! A call that takes any number of messages too gets those of the body as they come, and hears of its end. A value that
//! cannot be read ends the call.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::HeaderMap;
use prost_reflect::{MessageDescriptor, MethodDescriptor};
use tokio::time::Instant;
use tonic::Status;

use super::messages::{Messages, Part, Text, refusal};
use super::unary::WHOLE_BYTES_MAX;
use super::values::Values;
use super::{Asked, Gateway, by, refusal as refused, request_message, response};

/// What was wrong with the body of a request.
type Unreadable = Arc<OnceLock<Status>>;

/// An answer of which one line after another is made.
struct Lines {
    messages: Messages,
    /// What has come and is in no line yet.
    next: Option<Part>,
    output: MessageDescriptor,
    text: Text,
    deadline: Option<Instant>,
    unreadable: Unreadable,
    /// A part of the line is sent already.
    is_cut: bool,
    has_ended: bool,
}

impl Gateway {
    /// Answers with a line for each message.
    pub(super) async fn stream(&self, asked: Asked) -> Response {
        let Asked { method, metadata, deadline, mut values } = asked;
        let unreadable = Unreadable::default();
        let body = if method.is_client_streaming() {
            Body::from_stream(requests(values, method, unreadable.clone()))
        } else {
            let message = by(deadline, async { request_message(values.next().await?.as_ref(), method) }).await;
            match message {
                Ok(message) => Body::from(message),
                Err(status) => return refused::of(&status),
            }
        };
        match by(deadline, self.first(method, metadata, body)).await {
            Ok((head, messages, Some(next))) => {
                let (output, text) = (method.output(), Text::default());
                let next = Some(next);
                let lines =
                    Lines { messages, next, output, text, deadline, unreadable, is_cut: false, has_ended: false };
                response(&head, Body::from_stream(lines.pieces()))
            }
            // Nothing was said, and all went well.
            Ok((_, _, None)) => Response::new(Body::from_stream(stream::empty::<Result<Bytes, Status>>())),
            Err(status) => refused::only_line(unreadable.get().unwrap_or(&status)),
        }
    }

    /// Makes the call and waits until something comes of it: only then it is known how the answer begins.
    async fn first(
        &self,
        method: &MethodDescriptor,
        metadata: HeaderMap,
        body: Body,
    ) -> Result<(HeaderMap, Messages, Option<Part>), Status> {
        let (head, body) = self.caller.call(method, metadata, body).await?.into_parts();
        if let Some(status) = refusal(head.status, &head.headers) {
            return Err(status);
        }
        let mut messages = Messages::new(body);
        let next = messages.next().await?;
        Ok((head.headers, messages, next))
    }
}

impl Lines {
    fn pieces(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        stream::unfold(self, |mut lines| async move {
            if lines.has_ended {
                return None;
            }
            let mut out = Vec::new();
            if let Err(status) = lines.piece(&mut out).await {
                lines.has_ended = true;
                let status = lines.unreadable.get().unwrap_or(&status);
                if !lines.is_cut {
                    out.clear();
                }
                out.extend_from_slice(&refused::line(status));
            }
            (!out.is_empty()).then(|| (Ok(Bytes::from(out)), lines))
        })
    }

    /// Makes the line, or as much of it as is sent at once; nothing is written if the call has ended.
    async fn piece(&mut self, out: &mut Vec<u8>) -> Result<(), Status> {
        while out.len() < WHOLE_BYTES_MAX {
            let part = match self.next.take() {
                Some(part) => part,
                None => match by(self.deadline, self.messages.next()).await? {
                    Some(part) => part,
                    None => return Ok(()),
                },
            };
            if let Part::Message(_) = part {
                out.extend_from_slice(b"{\"result\":");
            }
            if self.text.write(&part, &self.output, out)? {
                out.extend_from_slice(b"}\n");
                self.is_cut = false;
                return Ok(());
            }
        }
        self.is_cut = true;
        Ok(())
    }
}

/// The messages of a body, as they come.
fn requests(
    values: Values,
    method: &'static MethodDescriptor,
    unreadable: Unreadable,
) -> impl Stream<Item = Result<Bytes, Status>> {
    stream::try_unfold((values, unreadable), move |(mut values, unreadable)| async move {
        let message = match values.next().await {
            Ok(None) => return Ok(None),
            Ok(Some(value)) => request_message(Some(&value), method),
            Err(status) => Err(status),
        };
        match message {
            Ok(message) => Ok(Some((message, (values, unreadable)))),
            Err(status) => {
                // Whoever waits for the answer learns from this why there is none.
                let _ = unreadable.set(status.clone());
                Err(status)
            }
        }
    })
}
