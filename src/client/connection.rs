//! A connection to one endpoint.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use http::{HeaderValue, Request, StatusCode, header};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Login;
use super::answers::{Answers, broken, check_status, framed};
use super::endpoint::Endpoint;
use super::error::Error;
use crate::net::{Io, Protocol, Tls};
use crate::proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};

/// The call that gives a token for a password.
pub(super) const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
/// The header that says who asks. Source: etcd, `api/v3rpc/rpctypes`, `TokenFieldNameGRPC`.
const TOKEN: &str = "token";
/// Bytes that may be on their way.
const WINDOW_BYTES: u32 = 4 << 20;

/// How connections are made and kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long it may take to connect, TLS included.
    pub dial_timeout: Duration,
    /// Pings while a call is under way; `None` is never.
    pub keepalive: Option<Keepalive>,
    /// How TLS is spoken; `None` if it is not.
    pub tls: Option<Tls>,
    /// How long an answer may make one wait between two of its parts; `None` is for ever.
    pub silence_max: Option<Duration>,
}

/// How it is found out that a connection leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Between two pings.
    pub time: Duration,
    /// How long each may stay without an answer.
    pub timeout: Duration,
}

/// Whether more messages may follow the first one of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// It is the only one.
    Ends,
    /// The call is open for as long as its [`Answers`] are: a watch ends when nobody could add to it.
    StaysOpen,
}

/// What a member gave for a password.
#[derive(Debug, Clone)]
pub struct Token(HeaderValue);

impl Token {
    pub(super) fn read(endpoint: &Endpoint, answer: AuthenticateResponse) -> Result<Token, Error> {
        let token = HeaderValue::try_from(answer.token);
        let mut token = token.map_err(|error| broken(&endpoint.to_string(), &error))?;
        token.set_sensitive(true);
        Ok(Token(token))
    }
}

/// A connection to one endpoint. It ends with this value, and so do its calls.
#[derive(Debug)]
pub struct Connection {
    requests: SendRequest<Bytes>,
    endpoint: Endpoint,
    authority: String,
    silence_max: Option<Duration>,
    /// Calls that are under way have a clone.
    under_way: Arc<()>,
    /// The connection has to be driven meanwhile.
    _driver: JoinSet<()>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Connect`]; [`Error::Broken`] if HTTP/2 is not spoken there.
    pub async fn open(endpoint: &Endpoint, options: &Options) -> Result<Connection, Error> {
        let io = dial(endpoint, options).await?;
        let mut client = h2::client::Builder::new();
        client.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let handshake = client.handshake::<_, Bytes>(io).await;
        let (requests, mut connection) = handshake.map_err(|error| broken(&endpoint.to_string(), &error))?;
        let under_way = Arc::new(());
        let pings = options.keepalive.zip(connection.ping_pong());
        let calls = Arc::downgrade(&under_way);
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            tokio::select! {
                // Calls that are under way are told why.
                _ = connection => {}
                () = until_a_ping_fails(pings, calls) => {}
            }
        });
        Ok(Connection {
            requests,
            endpoint: endpoint.clone(),
            authority: endpoint.authority(),
            silence_max: options.silence_max,
            under_way,
            _driver: driver,
        })
    }

    /// Proves who somebody is.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] if that was no proof.
    pub async fn authenticate(&mut self, login: &Login) -> Result<Token, Error> {
        let answers = self.begin(AUTHENTICATE, None, &proof_of(login), Upstream::Ends).await?;
        Token::read(&self.endpoint, answers.only().await?)
    }

    /// Begins a call.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] if the member ends it at once.
    pub async fn begin(
        &mut self,
        path: &str,
        token: Option<&Token>,
        message: &impl Message,
        upstream: Upstream,
    ) -> Result<Answers, Error> {
        let endpoint = self.endpoint.to_string();
        let mut request = Request::post(format!("http://{}{path}", self.authority))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        if let Some(Token(token)) = token {
            request = request.header(TOKEN, token);
        }
        let request = request.body(()).map_err(|error| broken(&endpoint, &error))?;
        let under_way = self.under_way.clone();
        let mut requests = self.requests.clone().ready().await.map_err(|error| broken(&endpoint, &error))?;
        let sent = requests.send_request(request, false);
        let (response, mut stream) = sent.map_err(|error| broken(&endpoint, &error))?;
        let is_last = upstream == Upstream::Ends;
        stream.send_data(framed(message), is_last).map_err(|error| broken(&endpoint, &error))?;
        let response = match self.silence_max {
            Some(max) => timeout(max, response).await.map_err(|late| broken(&endpoint, &late))?,
            None => response.await,
        };
        let response = response.map_err(|error| broken(&endpoint, &error))?;
        if response.status() != StatusCode::OK {
            return Err(broken(&endpoint, &format!("the status is {}", response.status())));
        }
        check_status(&endpoint, response.headers())?;
        Ok(Answers {
            endpoint,
            body: response.into_body(),
            _upstream: (!is_last).then_some(stream),
            rest: BytesMut::new(),
            silence_max: self.silence_max,
            _under_way: under_way,
        })
    }
}

pub(super) fn proof_of(login: &Login) -> AuthenticateRequest {
    AuthenticateRequest { name: login.name.clone(), password: login.password.clone() }
}

async fn dial(endpoint: &Endpoint, options: &Options) -> Result<Box<dyn Io>, Error> {
    let failed = |why: &dyn std::fmt::Display| Error::Connect { endpoint: endpoint.to_string(), why: why.to_string() };
    let address = &endpoint.address;
    let connecting = async {
        let socket = address.connect().await?;
        Ok::<Box<dyn Io>, io::Error>(match &options.tls {
            None => Box::new(socket),
            Some(tls) => Box::new(tls.connect(socket, address.server_name(), Protocol::Http2).await?),
        })
    };
    match timeout(options.dial_timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| failed(&error)),
        Err(_) => Err(failed(&format!("no answer within {:?}", options.dial_timeout))),
    }
}

/// Pings for as long as each is answered. A connection without a call is left alone: servers take pings on those amiss.
async fn until_a_ping_fails(pings: Option<(Keepalive, PingPong)>, calls: Weak<()>) {
    /// The connection's own.
    const REFERENCES_WITHOUT_CALL: usize = 1;
    let Some((Keepalive { time, timeout: answer_max }, mut pings)) = pings else {
        return std::future::pending().await;
    };
    loop {
        sleep(time).await;
        if calls.strong_count() <= REFERENCES_WITHOUT_CALL {
            continue;
        }
        match timeout(answer_max, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
