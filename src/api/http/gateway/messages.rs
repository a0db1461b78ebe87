//! The messages of a call's answer, piece by piece as they come, and how the call ends.

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost_reflect::MessageDescriptor;
use tonic::{Code, Status};

use super::write::{Malformed, Writer};
use crate::api::grpc::PREFIX_BYTES;

/// What has come of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// A message begins, and has so many bytes.
    Message(u64),
    /// More of it.
    Piece(Bytes),
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Messages {
    body: Incoming,
    /// What has come and was not given out.
    come: Bytes,
    /// The part of a prefix that has come.
    prefix: Vec<u8>,
    /// What is to come of the message at hand.
    left: u64,
}

/// What is wrong with an answer that has a head of this kind; `None` if messages follow.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap) -> Option<Status> {
    if let Some(refusal) = Status::from_header_map(headers) {
        return Some(refusal);
    }
    (status != StatusCode::OK).then(|| Status::internal(format!("unexpected HTTP status code: {status}")))
}

impl Messages {
    pub(super) fn new(body: Incoming) -> Messages {
        Messages { body, come: Bytes::new(), prefix: Vec::with_capacity(PREFIX_BYTES), left: 0 }
    }

    /// Waits for more; `None` if the call has ended well. Cancel safe.
    ///
    /// # Errors
    /// How the call has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, Status> {
        loop {
            if self.left > 0 && !self.come.is_empty() {
                // It is at most what has come.
                let len = self.left.min(self.come.len() as u64);
                self.left -= len;
                return Ok(Some(Part::Piece(self.come.split_to(len as usize))));
            }
            while self.left == 0 && !self.come.is_empty() {
                self.prefix.push(self.come.get_u8());
                if let &[_, a, b, c, d] = self.prefix.as_slice() {
                    self.left = u32::from_be_bytes([a, b, c, d]).into();
                    self.prefix.clear();
                    return Ok(Some(Part::Message(self.left)));
                }
            }
            let Some(frame) = self.body.frame().await else {
                return Err(Status::internal("the call ended without a status"));
            };
            match frame.map_err(|error| broken_off(&error))?.into_data() {
                Ok(data) => self.come = data,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let status = Status::from_header_map(&trailers)
                        .unwrap_or_else(|| Status::internal("the call ended without a status"));
                    return if status.code() == Code::Ok { Ok(None) } else { Err(status) };
                }
            }
        }
    }
}

/// The connection on which the call was made has ended, or the call itself.
pub(super) fn broken_off(error: &hyper::Error) -> Status {
    Status::unavailable(format!("the call broke off: {error}"))
}

/// The text of the message at hand.
#[derive(Debug, Default)]
pub(super) struct Text {
    writer: Option<Writer>,
}

impl Text {
    /// Goes on with the text; tells whether its message has ended.
    pub(super) fn write(&mut self, part: &Part, of: &MessageDescriptor, out: &mut Vec<u8>) -> Result<bool, Status> {
        let malformed = |malformed: Malformed| Status::internal(malformed.to_string());
        let writer = match part {
            Part::Message(bytes) => self.writer.insert(Writer::new(of.clone(), *bytes, out)),
            Part::Piece(piece) => {
                let writer = self.writer.as_mut().ok_or(Malformed).map_err(malformed)?;
                writer.write(piece, out).map_err(malformed)?;
                writer
            }
        };
        Ok(writer.is_done())
    }
}
