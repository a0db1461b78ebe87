//! The way in by the JSON gateway: one connection that is kept, as clients do.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tonic::Code;

use super::super::client::{Failure, in_time};
use super::call::{Call, Outcome, Until, is_enough};

/// Headers about connection and time.
const OF_THE_CONNECTION: [&str; 4] = ["date", "content-length", "transfer-encoding", "connection"];

/// One connection to one server.
pub struct GatewayFront {
    /// `host:port`.
    address: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl GatewayFront {
    /// Connects at the first call.
    pub fn new(endpoint: &str) -> GatewayFront {
        GatewayFront { address: endpoint.trim_start_matches("http://").to_owned(), connection: None }
    }

    pub async fn ask(&mut self, call: &Call) -> Outcome {
        match in_time(self.read(call)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) | Err(failure) => {
                self.connection = None;
                Outcome::of_failure(failure)
            }
        }
    }

    async fn read(&mut self, call: &Call) -> Result<Outcome, Failure> {
        let mut connection = self.connection().await?;
        let response = connection.send_request(self.request(call)).await.map_err(broken)?;
        let head = Some(head_of(&response));
        let status = response.status();
        let mut outcome = Outcome { head, answers: Vec::new(), failure: None };
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            text.extend_from_slice(&data);
            if call.until == Until::End {
                continue;
            }
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if take(call, status, &line, &mut outcome)? {
                    // The stream would go on, and with it the connection.
                    return Ok(outcome);
                }
            }
        }
        take(call, status, &text, &mut outcome)?;
        self.connection = Some(connection);
        Ok(outcome)
    }

    async fn connection(&mut self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let stream = TcpStream::connect(&self.address).await.map_err(|error| Failure::silence(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| Failure::silence(error.to_string()))?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(driver);
        Ok(sender)
    }

    fn request(&self, call: &Call) -> http::Request<Full<Bytes>> {
        let body: Vec<String> = call.requests.iter().map(Value::to_string).collect();
        let mut request = http::Request::post(call.rpc.gateway).header("host", &self.address);
        match call.caller.metadata() {
            Some(("token", token)) => request = request.header("grpc-metadata-token", token),
            Some((name, token)) => request = request.header(name, token),
            None => {}
        }
        for (name, value) in call.metadata {
            request = request.header(format!("grpc-metadata-{name}"), *value);
        }
        request.body(Full::from(body.join("\n"))).expect("what may stand in a header")
    }
}

fn broken(error: hyper::Error) -> Failure {
    Failure::silence(format!("the connection broke: {error:?}"))
}

fn head_of(response: &Response<Incoming>) -> (u16, BTreeMap<String, String>) {
    let told = response.headers().iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()));
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    (response.status().as_u16(), told.map(|(name, value)| (name.to_string(), text(value))).collect())
}

/// Takes the JSON values of `text` as answers, or as the failure. True if that is enough.
fn take(call: &Call, status: StatusCode, text: &[u8], outcome: &mut Outcome) -> Result<bool, Failure> {
    for value in serde_json::Deserializer::from_slice(text).into_iter::<Value>() {
        let told = || format!("{} {}: no JSON: {}", call.kind(), status, String::from_utf8_lossy(text));
        let value = value.map_err(|_| Failure::silence(told()))?;
        let failure = if status == StatusCode::OK { &value["error"] } else { &value };
        let failure = if failure["error"].is_object() { &failure["error"] } else { failure };
        if failure.is_object() {
            let code = failure["code"].as_i64().and_then(|code| i32::try_from(code).ok());
            let message = failure["message"].as_str().unwrap_or_default().to_owned();
            let code = code.map_or(Code::Unknown, Code::from_i32);
            outcome.failure = Some(Failure { code, message, is_silence: false });
            return Ok(true);
        }
        let answer = if value["result"].is_object() { value["result"].clone() } else { value };
        let is_last = is_enough(call.until, &answer);
        outcome.answers.push(answer);
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}
