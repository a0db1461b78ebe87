//! The way in by gRPC, for messages that are bytes already.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::super::client::{Failure, in_time};
use super::call::{Call, Outcome, Until, is_enough};
use super::codec::{decode, encode};

/// One connection to one server.
#[derive(Debug, Clone)]
pub struct GrpcFront {
    channel: Channel,
}

impl GrpcFront {
    /// Connects at the first call.
    pub fn new(endpoint: &str) -> GrpcFront {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).expect("a URL").tcp_nodelay(true);
        GrpcFront { channel: endpoint.connect_lazy() }
    }

    /// Unary calls look like streams of one message.
    pub async fn ask(&self, call: &Call) -> Outcome {
        let mut outcome = Outcome { head: None, answers: Vec::new(), failure: None };
        if let Err(failure) = self.read(call, &mut outcome).await {
            outcome.failure = Some(failure);
        }
        outcome
    }

    async fn read(&self, call: &Call, outcome: &mut Outcome) -> Result<(), Failure> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let ready = in_time(grpc.ready()).await?;
        ready.map_err(|error| Failure::silence(format!("not connected: {error:?}")))?;
        let messages: Vec<Vec<u8>> = call.requests.iter().map(|value| encode(call.rpc.request, value)).collect();
        let mut request = Request::new(tokio_stream::iter(messages));
        if let Some((name, token)) = call.caller.metadata() {
            request.metadata_mut().insert(name, token.parse().expect("a token is plain text"));
        }
        for (name, value) in call.metadata {
            let value = MetadataValue::try_from(*value).expect("what may stand in a header");
            request.metadata_mut().insert(*name, value);
        }
        let path = PathAndQuery::from_static(call.rpc.path);
        let mut stream = in_time(grpc.streaming(request, path, Raw)).await??.into_inner();
        while let Some(bytes) = in_time(stream.message()).await?? {
            let answer = decode(call.rpc.answer, &bytes).map_err(Failure::silence)?;
            let is_last = is_enough(call.until, &answer);
            outcome.answers.push(answer);
            if is_last {
                return Ok(());
            }
        }
        match call.until {
            Until::End => Ok(()),
            Until::First | Until::Revision(_) => Err(Failure::silence("the stream ended".to_owned())),
        }
    }
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
