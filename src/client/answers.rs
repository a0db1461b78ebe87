//! What comes back of a call: messages, each behind its length, and then how the call ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use percent_encoding::percent_decode;
use prost::Message;
use tokio::time::timeout;

use super::error::Error;

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The largest message that is taken: many times what etcd sends.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// gRPC's code for what has none.
const UNKNOWN: u32 = 2;

/// The messages of an answer. The call ends with this value.
#[derive(Debug)]
pub struct Answers {
    pub(super) endpoint: String,
    pub(super) body: RecvStream,
    /// Our side of the call, if it stays open.
    pub(super) _upstream: Option<SendStream<Bytes>>,
    /// What came and is no whole message yet.
    pub(super) rest: BytesMut,
    /// How long the other side may be silent.
    pub(super) silence_max: Option<Duration>,
    /// Tells the connection that a call is under way.
    pub(super) _under_way: Arc<()>,
}

impl Answers {
    /// The next message; `None` when the call has ended well. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Broken`]; [`Error::Refused`] if the call ended so.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Error> {
        match self.next_bytes().await.map_err(|why| broken(&self.endpoint, &why))? {
            Some(bytes) => M::decode(bytes).map(Some).map_err(|error| broken(&self.endpoint, &error)),
            None => {
                let trailers = self.body.trailers().await.map_err(|error| broken(&self.endpoint, &error))?;
                check_status(&self.endpoint, &trailers.unwrap_or_default())?;
                Ok(None)
            }
        }
    }

    /// The message of a call that has exactly one.
    ///
    /// # Errors
    /// As [`Answers::next`]; [`Error::Broken`] if there is none, or a second one.
    pub async fn only<M: Message + Default>(mut self) -> Result<M, Error> {
        let first = self.next::<M>().await?.ok_or_else(|| broken(&self.endpoint, &"there is no message"))?;
        match self.next::<M>().await? {
            None => Ok(first),
            Some(_) => Err(broken(&self.endpoint, &"there is more than one message")),
        }
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let data = match self.silence_max {
                Some(max) => timeout(max, self.body.data()).await.map_err(|late| late.to_string())?,
                None => self.body.data().await,
            };
            let Some(data) = data else {
                return if self.rest.is_empty() { Ok(None) } else { Err("it ends within a message".to_owned()) };
            };
            let data = data.map_err(|error| error.to_string())?;
            self.body.flow_control().release_capacity(data.len()).map_err(|error| error.to_string())?;
            self.rest.extend_from_slice(&data);
        }
    }

    /// The next message, once it is whole.
    fn take(&mut self) -> Result<Option<Bytes>, String> {
        let Some((&[compressed, ref len @ ..], _)) = self.rest.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*len) as usize;
        if compressed != 0 || len > MESSAGE_BYTES_MAX {
            return Err(format!("a message of {len} bytes cannot be read"));
        }
        if self.rest.len() < PREFIX_BYTES + len {
            return Ok(None);
        }
        self.rest.advance(PREFIX_BYTES);
        Ok(Some(self.rest.split_to(len).freeze()))
    }
}

/// A message as it is sent; only short ones are.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + bytes.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(bytes.len()).expect("what comes of flags is shorter than 4 GiB"));
    framed.put_slice(&bytes);
    framed.freeze()
}

/// What gRPC says of how a call ended; nothing is fine, as it comes in the trailers too.
pub(super) fn check_status(endpoint: &str, headers: &HeaderMap) -> Result<(), Error> {
    let Some(code) = headers.get("grpc-status") else { return Ok(()) };
    let code = code.to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN);
    if code == 0 {
        return Ok(());
    }
    let message = headers.get("grpc-message").map(|text| percent_decode(text.as_bytes()).decode_utf8_lossy());
    Err(Error::Refused { endpoint: endpoint.to_owned(), code, message: message.unwrap_or_default().into_owned() })
}

pub(super) fn broken(endpoint: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Broken { endpoint: endpoint.to_owned(), why: why.to_string() }
}
