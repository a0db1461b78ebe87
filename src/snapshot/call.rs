//! Calls to a member: two are needed, so they are made by hand over HTTP/2.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::arguments::Save;
use super::error::Error;
use crate::net::{Address, CertificateFiles, Io, Protocol, Tls, TlsOptions};
use crate::proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};

const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
/// The header that says who asks. Source: etcd, `api/v3rpc/rpctypes`, `TokenFieldNameGRPC`.
const TOKEN: &str = "token";
/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The largest message that is taken: many times what etcd sends.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes that may be on their way.
const WINDOW_BYTES: u32 = 4 << 20;
/// How long a member may be silent: one with much data finds out its length first.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// A connection to a member.
pub(super) struct Calls {
    requests: SendRequest<Bytes>,
    endpoint: String,
    authority: String,
    token: Option<HeaderValue>,
    /// The connection has to be driven meanwhile; it ends with this set.
    _driver: JoinSet<Result<(), h2::Error>>,
}

impl Calls {
    pub(super) async fn connect(save: &Save) -> Result<Calls, Error> {
        let endpoint = save.endpoint.clone();
        let io = connect(save).await?;
        let mut client = h2::client::Builder::new();
        client.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (requests, connection) =
            client.handshake::<_, Bytes>(io).await.map_err(|error| broken(&endpoint, &error))?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let authority = endpoint.split_once("://").map_or("localhost", |(_, rest)| rest.trim_end_matches('/'));
        let authority = if endpoint.starts_with("unix") { "localhost" } else { authority }.to_owned();
        Ok(Calls { requests, endpoint, authority, token: None, _driver: driver })
    }

    /// Makes all further calls those of a user.
    pub(super) async fn authenticate(&mut self, name: &str, password: &str) -> Result<(), Error> {
        let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
        let mut answers = self.call(AUTHENTICATE, &request).await?;
        let mut token = None;
        while let Some(AuthenticateResponse { token: given, .. }) = answers.next().await? {
            token = Some(given);
        }
        let token = token.ok_or_else(|| broken(&self.endpoint, &"there is no token"))?;
        let mut token = HeaderValue::try_from(token).map_err(|error| broken(&self.endpoint, &error))?;
        token.set_sensitive(true);
        self.token = Some(token);
        Ok(())
    }

    /// Begins a call; its only message is `message`.
    pub(super) async fn call(&mut self, path: &str, message: &impl Message) -> Result<Answers, Error> {
        let endpoint = self.endpoint.clone();
        let mut request = Request::post(format!("http://{}{path}", self.authority))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        if let Some(token) = &self.token {
            request = request.header(TOKEN, token);
        }
        let request = request.body(()).map_err(|error| broken(&endpoint, &error))?;
        let mut requests = self.requests.clone().ready().await.map_err(|error| broken(&endpoint, &error))?;
        let sent = requests.send_request(request, false);
        let (response, mut stream) = sent.map_err(|error| broken(&endpoint, &error))?;
        stream.send_data(framed(message), true).map_err(|error| broken(&endpoint, &error))?;
        let response = timeout(SILENCE_MAX, response).await.map_err(|late| broken(&endpoint, &late))?;
        let response = response.map_err(|error| broken(&endpoint, &error))?;
        if response.status() != StatusCode::OK {
            return Err(broken(&endpoint, &format!("the status is {}", response.status())));
        }
        check_status(&endpoint, response.headers())?;
        Ok(Answers { endpoint, body: response.into_body(), rest: BytesMut::new() })
    }
}

/// A message as it is sent; only short ones are.
fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + bytes.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(bytes.len()).expect("arguments of a command are shorter than 4 GiB"));
    framed.put_slice(&bytes);
    framed.freeze()
}

fn broken(endpoint: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Stream { endpoint: endpoint.to_owned(), why: why.to_string() }
}

async fn connect(save: &Save) -> Result<Box<dyn Io>, Error> {
    let failed = |why: &dyn std::fmt::Display| Error::Connect { endpoint: save.endpoint.clone(), why: why.to_string() };
    let address = Address::parse(&save.endpoint).map_err(|error| failed(&error))?;
    let tls = match (address.is_secure, &save.cert) {
        (false, _) => None,
        (true, None) => Some(Tls::without_certificate(save.cacert.clone()).map_err(|error| failed(&error))?),
        (true, Some((cert, key))) => {
            let certificate = Some(CertificateFiles { cert: cert.clone(), key: key.clone() });
            let options = TlsOptions { certificate, trusted_ca_file: save.cacert.clone(), ..TlsOptions::default() };
            Some(Tls::new(options).map_err(|error| failed(&error))?)
        }
    };
    let connecting = async {
        let socket = address.connect().await?;
        Ok::<Box<dyn Io>, io::Error>(match tls {
            None => Box::new(socket),
            Some(tls) => Box::new(tls.connect(socket, address.server_name(), Protocol::Http2).await?),
        })
    };
    match timeout(save.dial_timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| failed(&error)),
        Err(_) => Err(failed(&format!("no answer within {:?}", save.dial_timeout))),
    }
}

/// What gRPC says of how a call ended; nothing is fine, as it comes in the trailers too.
fn check_status(endpoint: &str, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status") {
        Some(code) if code != "0" => {
            let message = text("grpc-message").unwrap_or_default();
            Err(Error::Refused { endpoint: endpoint.to_owned(), code, message })
        }
        _ => Ok(()),
    }
}

/// The messages of an answer.
pub(super) struct Answers {
    endpoint: String,
    body: RecvStream,
    /// What came and is no whole message yet.
    rest: BytesMut,
}

impl Answers {
    /// The next message; `None` when the call has ended well.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Error> {
        match self.next_bytes().await.map_err(|why| broken(&self.endpoint, &why))? {
            Some(bytes) => M::decode(bytes).map(Some).map_err(|error| broken(&self.endpoint, &error)),
            None => {
                let trailers = self.body.trailers().await.map_err(|error| broken(&self.endpoint, &error))?;
                check_status(&self.endpoint, &trailers.unwrap_or_default())?;
                Ok(None)
            }
        }
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let data = timeout(SILENCE_MAX, self.body.data()).await.map_err(|late| late.to_string())?;
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
