//! A client's connections, one to each member, made anew when they break.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use tokio::time::timeout;

use super::checks::history::{Outcome, Request};
use super::journal::Journal;
use super::wire;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Between two pings on a connection, and how long the answer may take.
const PING: Duration = Duration::from_secs(2);

/// The connections of one client.
pub struct Connections {
    /// Who it is.
    pub client: u64,
    journal: Arc<Journal>,
    endpoints: Arc<[String]>,
    clients: Vec<Option<Client>>,
}

impl Connections {
    /// None is made yet.
    pub fn new(client: u64, journal: Arc<Journal>, endpoints: Arc<[String]>) -> Connections {
        let clients = endpoints.iter().map(|_| None).collect();
        Connections { client, journal, endpoints, clients }
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.endpoints.len()
    }

    /// Where things are written down.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Asks one member, waits so long at most, and writes down what came of it.
    pub async fn ask(&mut self, member: usize, request: &Request, patience: Duration) -> Outcome {
        // Whether a connection is there or is to be made: the clock runs.
        let place = self.journal.begin(self.client, member, request.clone());
        let client = self.client(member).await;
        let outcome = match timeout(patience, wire::serve(client, request)).await {
            Ok((outcome, is_usable)) => {
                if !is_usable {
                    self.give_up(member);
                }
                outcome
            }
            Err(_) => Outcome::Unknown,
        };
        self.journal.end(place, outcome.clone());
        outcome
    }

    /// A connection to a member.
    pub async fn client(&mut self, member: usize) -> &mut Client {
        if self.clients[member].is_none() {
            self.clients[member] = Some(connect(&self.endpoints[member]).await);
        }
        self.clients[member].as_mut().expect("it was just made")
    }

    /// Gives a connection up.
    pub fn give_up(&mut self, member: usize) {
        self.clients[member] = None;
    }
}

/// A client that notices when nobody answers any more. Members are started so that it may ping that often while it waits
/// for an answer; without a call nobody may.
pub async fn connect(endpoint: &str) -> Client {
    let options = ConnectOptions::new().with_connect_timeout(CONNECT_MAX).with_keep_alive(PING, PING);
    Client::connect([endpoint], Some(options)).await.expect("etcd-client connects lazily")
}
