//! A client of the etcd API, as small as what this program itself asks of members: a snapshot to be saved, and the service by
//! which founding members find each other.
//!
//! ```text
//!   Client         several endpoints in turn, until a deadline; the token of a user
//!     Connection     one endpoint: socket, TLS, HTTP/2, pings
//!       Answers        one call: the messages that come, and how it ended
//! ```
//!
//! gRPC is spoken by hand: five bytes before each message, and a status in the trailers. Whoever needs one try and its error
//! uses a [`Connection`]; a [`Client`] tries again what a moment may mend.
//!
//! Source: etcd, `client/v3`; the protocol of gRPC over HTTP/2.

mod answers;
mod connection;
mod endpoint;
mod error;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};

pub use self::answers::Answers;
pub use self::connection::{Connection, Keepalive, Options, Token, Upstream};
pub use self::endpoint::{Endpoint, TlsWish};
pub use self::error::Error;

/// How often one call is tried. Source: etcd, `defaultUnaryMaxRetries`.
const ATTEMPTS_MAX: usize = 100;
/// Between two rounds through all endpoints. Source: etcd, `defaultBackoffWaitBetween`, which is half of it.
const PAUSE: Duration = Duration::from_millis(50);

/// A user with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub name: String,
    /// What proves it.
    pub password: String,
}

/// Passwords stay out of logs.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Asks whichever of several endpoints answers. One call at a time.
#[derive(Debug)]
pub struct Client {
    endpoints: Vec<Endpoint>,
    /// Which of them is asked.
    turn: usize,
    options: Options,
    login: Option<Login>,
    token: Option<Token>,
    connection: Option<Connection>,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Panics
    /// If there is no endpoint.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>, options: Options, login: Option<Login>) -> Client {
        assert!(!endpoints.is_empty(), "a client asks somebody");
        Client { endpoints, turn: 0, options, login, token: None, connection: None }
    }

    /// Proves who this is, if there is anything to prove; calls are made with the token from then on. A cluster without
    /// users wants no proof.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Late`] after `within`.
    pub async fn log_in(&mut self, within: Duration) -> Result<(), Error> {
        self.log_in_until(Instant::now() + within).await
    }

    /// Calls `path` with one message, and gives the one that comes back. An endpoint that cannot be reached, or has no leader,
    /// is tried again after the others: calls must be such that twice is as good as once.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Late`] after `within`, with what went wrong before.
    pub async fn call<A: Message + Default>(
        &mut self,
        path: &str,
        request: &impl Message,
        within: Duration,
    ) -> Result<A, Error> {
        let deadline = Instant::now() + within;
        match self.exchange(path, request, deadline).await {
            Err(error) if self.login.is_some() && error.asks_for_another_token() => {
                self.log_in_until(deadline).await?;
                self.exchange(path, request, deadline).await
            }
            outcome => outcome,
        }
    }

    /// Begins a call whose answers do not end, and keeps this side of it open. A user gets a new token first: the last one may
    /// be old. Tries one endpoint: when it, or the stream, has failed, [`Client::turn_to_the_next`] has the next call try another.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Late`] after `within`.
    pub async fn stream(&mut self, path: &str, request: &impl Message, within: Duration) -> Result<Answers, Error> {
        let deadline = Instant::now() + within;
        self.log_in_until(deadline).await?;
        let begun = timeout_at(deadline, self.begin(path, request, Upstream::StaysOpen)).await;
        begun.unwrap_or(Err(Error::Late { last: None }))
    }

    /// Has the next call try the next endpoint.
    pub fn turn_to_the_next(&mut self) {
        self.connection = None;
        self.turn = (self.turn + 1) % self.endpoints.len();
    }

    async fn log_in_until(&mut self, deadline: Instant) -> Result<(), Error> {
        let Some(login) = self.login.clone() else { return Ok(()) };
        self.token = None;
        match self.exchange(connection::AUTHENTICATE, &connection::proof_of(&login), deadline).await {
            Ok(answer) => {
                self.token = Some(Token::read(self.endpoint(), answer)?);
                Ok(())
            }
            Err(error) if error.says_that_there_are_no_users() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn exchange<A: Message + Default>(
        &mut self,
        path: &str,
        request: &impl Message,
        deadline: Instant,
    ) -> Result<A, Error> {
        let (mut last, mut attempts) = (None, 0);
        loop {
            if attempts > 0 && attempts % self.endpoints.len() == 0 {
                sleep(PAUSE).await;
            }
            attempts += 1;
            let answer = async { self.begin(path, request, Upstream::Ends).await?.only().await };
            match timeout_at(deadline, answer).await {
                Ok(Err(error)) if error.may_pass() && attempts < ATTEMPTS_MAX => last = Some(Box::new(error)),
                Ok(answered) => return answered,
                Err(_) => {
                    self.turn_to_the_next();
                    return Err(Error::Late { last });
                }
            }
            self.turn_to_the_next();
        }
    }

    /// Begins a call at the endpoint whose turn it is.
    async fn begin(&mut self, path: &str, request: &impl Message, upstream: Upstream) -> Result<Answers, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.endpoint(), &self.options).await?,
        };
        let connection = self.connection.insert(connection);
        connection.begin(path, self.token.as_ref(), request, upstream).await
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.turn]
    }
}
