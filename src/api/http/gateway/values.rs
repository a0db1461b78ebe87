//! The JSON values of a request's body, one after another, as they come.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tonic::Status;

use super::scan::{Scanner, is_space};
use crate::api::grpc::status;

/// How long the rest of a body that is refused may take to come.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// The values of one body.
pub(super) struct Values {
    body: BodyDataStream,
    /// What has come and was not given out.
    come: BytesMut,
    /// How much of it the scanner has seen.
    scanned: usize,
    scanner: Scanner,
    /// The bytes that one value may take.
    bytes_max: usize,
    has_ended: bool,
}

impl Values {
    pub(super) fn new(body: Body, bytes_max: usize) -> Values {
        let (body, come) = (body.into_data_stream(), BytesMut::new());
        Values { body, come, scanned: 0, scanner: Scanner::default(), bytes_max, has_ended: false }
    }

    /// Waits for the next value; `None` at the end of the body. Cancel safe.
    ///
    /// # Errors
    /// If it is no JSON, too long, or the body broke off.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(len) = self.scan()? {
                self.scanned = 0;
                self.scanner = Scanner::default();
                let value = self.come.split_to(len).freeze();
                let start = value.iter().take_while(|&&byte| is_space(byte)).count();
                return Ok(Some(value.slice(start..)));
            }
            if self.has_ended {
                return Ok(None);
            }
            if self.come.len() > self.bytes_max {
                let refused = status::message_too_large(self.come.len(), self.bytes_max);
                // Bounded in time, and in bytes by the value's bound once more.
                let _ = tokio::time::timeout(REST_TIMEOUT, self.pass_over_rest()).await;
                return Err(refused);
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.come.extend_from_slice(&piece),
                Some(Err(error)) => return Err(Status::invalid_argument(error.to_string())),
                None => self.has_ended = true,
            }
        }
    }

    /// Reads on without keeping anything: most clients look for an answer only when they have sent everything.
    async fn pass_over_rest(&mut self) {
        self.come.clear();
        let mut left = self.bytes_max;
        while let Some(Ok(piece)) = self.body.next().await {
            let Some(rest) = left.checked_sub(piece.len()) else { return };
            left = rest;
        }
    }

    /// How much of what has come is a whole value.
    fn scan(&mut self) -> Result<Option<usize>, Status> {
        let refused = |error: super::scan::SyntaxError| Status::invalid_argument(error.to_string());
        let from = std::mem::replace(&mut self.scanned, self.come.len());
        if let Some(len) = self.scanner.scan(&self.come[from..]).map_err(refused)? {
            return Ok(Some(from + len));
        }
        if self.has_ended && self.scanner.end().map_err(refused)? {
            return Ok(Some(self.come.len()));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// All values of a body that comes in pieces of so many bytes, and what is wrong with the first that is none.
    async fn values(text: &'static str, piece_bytes: usize, bytes_max: usize) -> (Vec<String>, Option<String>) {
        let pieces = text.as_bytes().chunks(piece_bytes).map(Bytes::from_static).map(Ok::<_, Infallible>);
        let mut values = Values::new(Body::from_stream(futures_util::stream::iter(pieces)), bytes_max);
        let mut found = Vec::new();
        loop {
            match values.next().await {
                Ok(Some(value)) => found.push(String::from_utf8(value.to_vec()).unwrap()),
                Ok(None) => return (found, None),
                Err(status) => return (found, Some(status.message().to_owned())),
            }
        }
    }

    #[tokio::test]
    async fn values_stand_one_after_another() {
        for piece_bytes in 1..12 {
            let found = values(r#" {"a":[1]}{} "x""#, piece_bytes, 100).await;
            assert_eq!(found, (vec![r#"{"a":[1]}"#.into(), "{}".into(), "\"x\"".into()], None));
            assert_eq!(values("1 23", piece_bytes, 100).await, (vec!["1".into(), "23".into()], None));
            assert_eq!(values(" \n", piece_bytes, 100).await, (vec![], None));
            let (found, why) = values("{} {", piece_bytes, 100).await;
            assert_eq!((found.len(), why.as_deref()), (1, Some("unexpected EOF")));
        }
        assert_eq!(values("", 1, 1).await, (vec![], None));
    }

    #[tokio::test]
    async fn a_value_has_a_bound_and_the_body_none() {
        let (found, why) = values("[1][1][1][1111", 1, 4).await;
        assert_eq!((found.len(), why), (3, Some("grpc: received message larger than max (5 vs. 4)".to_owned())));
    }
}
