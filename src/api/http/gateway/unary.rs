//! Calls with one message each way.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use prost_reflect::MessageDescriptor;
use tonic::Status;

use super::messages::{Messages, Text, refusal};
use super::{Asked, Gateway, by, refusal as refused, request_message, response};

/// A longer text is sent as it is made, and cut off if the call fails in the end; of a shorter one it is known first.
/// The same goes for a line of a stream.
pub(super) const WHOLE_BYTES_MAX: usize = 1024 * 1024;

/// The answer to a call, as far as its text is there.
struct Begun {
    head: HeaderMap,
    messages: Messages,
    text: Text,
    /// What was made of it.
    made: Vec<u8>,
    has_ended: bool,
}

impl Gateway {
    /// Answers with the message that answers the first value of the body; what follows that does not count.
    pub(super) async fn unary(&self, asked: Asked) -> Response {
        let (output, deadline) = (asked.method.output(), asked.deadline);
        let begun = match by(deadline, self.begin(asked, &output)).await {
            Ok(begun) => begun,
            Err(status) => return refused::of(&status),
        };
        let head = begun.head.clone();
        let body = if begun.has_ended { Body::from(begun.made) } else { Body::from_stream(rest(begun, output)) };
        response(&head, body)
    }

    async fn begin(&self, mut asked: Asked, output: &MessageDescriptor) -> Result<Begun, Status> {
        let message = request_message(asked.values.next().await?.as_ref(), asked.method)?;
        let answer = self.caller.call(asked.method, asked.metadata, Body::from(message)).await?;
        let (head, body) = answer.into_parts();
        if let Some(status) = refusal(head.status, &head.headers) {
            return Err(status);
        }
        let (messages, text) = (Messages::new(body), Text::default());
        let mut begun = Begun { head: head.headers, messages, text, made: Vec::new(), has_ended: false };
        while begun.made.len() < WHOLE_BYTES_MAX && !begun.has_ended {
            begun.go_on(output).await?;
        }
        Ok(begun)
    }
}

impl Begun {
    async fn go_on(&mut self, output: &MessageDescriptor) -> Result<(), Status> {
        match self.messages.next().await? {
            Some(part) => drop(self.text.write(&part, output, &mut self.made)?),
            None => self.has_ended = true,
        }
        Ok(())
    }
}

/// What is there of the text and what is still to come.
fn rest(begun: Begun, output: MessageDescriptor) -> impl futures_util::Stream<Item = Result<Bytes, Status>> {
    stream::try_unfold((begun, output), |(mut begun, output)| async move {
        while begun.made.is_empty() && !begun.has_ended {
            begun.go_on(&output).await?;
        }
        if begun.made.is_empty() {
            return Ok(None);
        }
        let piece = Bytes::from(std::mem::take(&mut begun.made));
        Ok(Some((piece, (begun, output))))
    })
}
