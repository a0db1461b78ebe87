//! Connections: each is taken to a member, and what either side says to the other.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::endpoint::Endpoints;

/// Connections at a time; more wait in the system's queue. Each has two sockets.
const CONNECTIONS_MAX: usize = 16_384;
/// How long it waits after the system had no socket for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Forwards whoever connects to `listener`, and tries members that were not reached again every `retry_delay`.
pub(super) async fn run(listener: TcpListener, endpoints: Endpoints, retry_delay: Duration) -> Infallible {
    let (endpoints, room) = (Arc::new(endpoints), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    tokio::spawn(try_again(endpoints.clone(), retry_delay));
    loop {
        let permit = room.clone().acquire_owned().await.expect("nobody closes it");
        match listener.accept().await {
            Ok((client, _)) => {
                let endpoints = endpoints.clone();
                tokio::spawn(async move {
                    forward(client, &endpoints, retry_delay).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Takes a client to the first member that can be reached, until either has ended. Without one the connection is closed.
async fn forward(mut client: TcpStream, endpoints: &Endpoints, retry_delay: Duration) {
    while let Some(endpoint) = endpoints.next() {
        match endpoint.connect().await {
            Ok(mut member) => {
                // Small answers leave at once; a connection that cannot be told so works all the same.
                let _ = client.set_nodelay(true);
                // How it ended is known to both.
                let _ = copy_bidirectional(&mut client, &mut member).await;
                return;
            }
            Err(error) => {
                endpoint.set_active(false);
                tracing::warn!(address = endpoint.place, interval = ?retry_delay, %error, "deactivated endpoint");
            }
        }
    }
}

/// Tries members that were not reached, again and again.
async fn try_again(endpoints: Arc<Endpoints>, retry_delay: Duration) {
    loop {
        tokio::time::sleep(retry_delay).await;
        for endpoint in endpoints.all().iter().filter(|endpoint| !endpoint.is_active()) {
            match endpoint.connect().await {
                Ok(_) => {
                    endpoint.set_active(true);
                    tracing::info!(address = endpoint.place, "activated");
                }
                Err(error) => tracing::warn!(
                    address = endpoint.place,
                    interval = ?retry_delay,
                    %error,
                    "failed to activate endpoint (stay inactive for another interval)"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::env::SystemRandom;
    use crate::tcp_gateway::endpoint::target;

    /// Answers every connection with its name, and then with what it hears.
    async fn member(name: &'static str) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let serve = async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    stream.write_all(name.as_bytes()).await.unwrap();
                    let mut heard = Vec::new();
                    stream.read_to_end(&mut heard).await.unwrap();
                    stream.write_all(&heard).await.unwrap();
                });
            }
        };
        (place, tokio::spawn(serve))
    }

    async fn start(places: &[String], retry_delay: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let targets: Vec<_> = places.iter().map(|place| target(place).unwrap()).collect();
        tokio::spawn(run(listener, Endpoints::new(&targets, Arc::new(SystemRandom)), retry_delay));
        address
    }

    /// What comes back of a connection that says `x` and ends.
    async fn answer(address: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        heard
    }

    /// An address that nobody listens at.
    async fn nowhere() -> String {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
    }

    #[tokio::test]
    async fn connections_go_to_members_in_turn_with_all_they_say() {
        let places = [member("a").await.0, member("b").await.0];
        let gateway = start(&places, Duration::from_secs(60)).await;
        assert_eq!([answer(&gateway).await, answer(&gateway).await, answer(&gateway).await], ["ax", "bx", "ax"]);
    }

    #[tokio::test]
    async fn a_member_that_cannot_be_reached_is_left_out_and_tried_again() {
        let down = nowhere().await;
        let gateway = start(&[down.clone(), member("b").await.0], Duration::from_millis(20)).await;
        assert_eq!([answer(&gateway).await, answer(&gateway).await], ["bx", "bx"]);
        // It comes up where it was expected.
        let listener = TcpListener::bind(&down).await.unwrap();
        let (mut tried, _) = listener.accept().await.unwrap();
        // That was the gateway, to see whether somebody is there.
        let mut nothing = [0; 1];
        assert_eq!(tried.read(&mut nothing).await.unwrap(), 0);
        let (client, member) = tokio::join!(
            async {
                // One of two goes there.
                let (first, second) = tokio::join!(answer(&gateway), answer(&gateway));
                [first, second]
            },
            async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"a").await.unwrap();
            }
        );
        let () = member;
        assert!(client.contains(&"bx".to_owned()), "{client:?}");
        assert!(client.contains(&"a".to_owned()), "{client:?}");
    }

    #[tokio::test]
    async fn without_a_member_connections_are_closed() {
        let gateway = start(&[nowhere().await], Duration::from_secs(60)).await;
        let mut stream = TcpStream::connect(&gateway).await.unwrap();
        let mut heard = Vec::new();
        // Closed in order, or cut off.
        assert_eq!(stream.read_to_end(&mut heard).await.unwrap_or(0), 0);
    }
}
