//! Members: where they are, and whether they were reached when last somebody tried.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

use super::Error;

/// How long a member may take to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// One member.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// As `host:port`; the name is looked up for every connection.
    pub(super) place: String,
    is_active: AtomicBool,
}

impl Endpoint {
    /// Connects, within a time.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let stream = tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect(&self.place)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    // Relaxed here and below: each value stands for itself, and a connection that takes an old one tries once more.

    pub(super) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    pub(super) fn set_active(&self, is_active: bool) {
        self.is_active.store(is_active, Ordering::Relaxed);
    }
}

/// All members.
#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    /// Whose turn it is, counted on and on.
    turn: AtomicUsize,
}

impl Endpoints {
    /// All at `places`, of which at least one is given. None of them is known to be down.
    pub(super) fn new(places: &[String]) -> Endpoints {
        let endpoint = |place: &String| Endpoint { place: place.clone(), is_active: AtomicBool::new(true) };
        Endpoints { all: places.iter().map(endpoint).collect(), turn: AtomicUsize::new(0) }
    }

    /// The same, if all of them can be found, and none of them is `listen` itself.
    pub(super) async fn resolve(places: &[String], listen: &str) -> Result<Endpoints, Error> {
        let (host, _) = split(listen).ok_or_else(|| Error::ListenAddress(listen.to_owned()))?;
        let unknown = |source| Error::ListenHost { host: host.to_owned(), source };
        let own: Vec<_> = lookup_host(listen).await.map_err(unknown)?.collect();
        for place in places {
            let (host, _) = split(place).ok_or_else(|| Error::Endpoint(place.clone()))?;
            let unknown = |source| Error::EndpointHost { host: host.to_owned(), source };
            let mut found = lookup_host(place).await.map_err(unknown)?;
            if let Some(address) = found.find(|address| own.contains(address)) {
                return Err(Error::Itself { endpoint: place.clone(), address, listen: listen.to_owned() });
            }
        }
        Ok(Endpoints::new(places))
    }

    pub(super) fn all(&self) -> &[Endpoint] {
        &self.all
    }

    /// Whose turn it is, of those that were reached; `None` if there is none.
    pub(super) fn next(&self) -> Option<&Endpoint> {
        let turns = (0..self.all.len()).map(|_| self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len());
        turns.map(|turn| &self.all[turn]).find(|endpoint| endpoint.is_active())
    }
}

/// Takes `host:port` apart.
fn split(place: &str) -> Option<(&str, u16)> {
    let (host, port) = place.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(places: &[&str]) -> Vec<String> {
        places.iter().copied().map(String::from).collect()
    }

    #[test]
    fn everybody_has_a_turn_but_those_that_cannot_be_reached() {
        let endpoints = Endpoints::new(&endpoints(&["a:1", "b:1", "c:1"]));
        let turns = |count: usize| -> Vec<String> {
            (0..count).filter_map(|_| endpoints.next()).map(|endpoint| endpoint.place.clone()).collect()
        };
        assert_eq!(turns(4), ["a:1", "b:1", "c:1", "a:1"]);
        endpoints.all()[1].set_active(false);
        assert_eq!(turns(3), ["c:1", "a:1", "c:1"]);
        endpoints.all().iter().for_each(|endpoint| endpoint.set_active(false));
        assert!(endpoints.next().is_none());
    }

    #[tokio::test]
    async fn places_that_cannot_be_are_refused() {
        let refused = async |places: &[&str], listen: &str| {
            Endpoints::resolve(&endpoints(places), listen).await.unwrap_err().to_string()
        };
        assert!(refused(&["127.0.0.1:1"], "nowhere").await.starts_with("failed to validate listen address: nowhere"));
        assert!(refused(&["127.0.0.1:70000"], "127.0.0.1:0").await.starts_with("error parsing endpoint"));
        assert_eq!(
            refused(&["localhost:23790"], "127.0.0.1:23790").await,
            "SRV or endpoint (localhost:23790->127.0.0.1:23790) should not resolve to the gateway listen addr \
             (127.0.0.1:23790)"
        );
        assert!(Endpoints::resolve(&endpoints(&["127.0.0.1:1"]), "127.0.0.1:23790").await.is_ok());
    }
}
