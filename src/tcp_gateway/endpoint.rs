//! Members: where they are, and whether they were reached when last somebody tried.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

use super::Error;
use crate::dns::Target;
use crate::env::Random;

/// How long a member may take to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// One connection of so many goes to a member of weight 0 while others have more: seldom. Source: etcd, `TCPProxy.pick`.
const SELDOM: u64 = 100;

/// One member.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// As `host:port`; the name is looked up for every connection.
    pub(super) place: String,
    priority: u16,
    weight: u16,
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
    random: Arc<dyn Random>,
}

impl Endpoints {
    /// All of `targets`, of which at least one is given. None of them is known to be down.
    pub(super) fn new(targets: &[Target], random: Arc<dyn Random>) -> Endpoints {
        let endpoint = |target: &Target| Endpoint {
            place: target.to_string(),
            priority: target.priority,
            weight: target.weight,
            is_active: AtomicBool::new(true),
        };
        Endpoints { all: targets.iter().map(endpoint).collect(), turn: AtomicUsize::new(0), random }
    }

    /// The same, if all of them can be found, and none of them is `listen` itself.
    pub(super) async fn resolve(targets: &[Target], listen: &str, random: Arc<dyn Random>) -> Result<Endpoints, Error> {
        let (host, _) = split(listen).ok_or_else(|| Error::ListenAddress(listen.to_owned()))?;
        let unknown = |source| Error::ListenHost { host: host.to_owned(), source };
        let own: Vec<_> = lookup_host(listen).await.map_err(unknown)?.collect();
        for target in targets {
            let unknown = |source| Error::EndpointHost { host: target.host.clone(), source };
            let mut found = lookup_host((target.host.as_str(), target.port)).await.map_err(unknown)?;
            if let Some(address) = found.find(|address| own.contains(address)) {
                return Err(Error::Itself { endpoint: target.to_string(), address, listen: listen.to_owned() });
            }
        }
        Ok(Endpoints::new(targets, random))
    }

    pub(super) fn all(&self) -> &[Endpoint] {
        &self.all
    }

    /// Who gets the next connection, of those that were reached; `None` if there is none.
    ///
    /// Only those of the lowest priority count. Those with a weight are drawn, each by its share; the others have their turn
    /// one after the other, if nobody has a weight, or seldom. Source: RFC 2782, "Usage rules".
    pub(super) fn next(&self) -> Option<&Endpoint> {
        // Looked at once: whoever is found to be down meanwhile is tried in vain once more.
        let reached: Vec<usize> = (0..self.all.len()).filter(|&number| self.all[number].is_active()).collect();
        let priority = reached.iter().map(|&number| self.all[number].priority).min()?;
        let best = reached.into_iter().filter(|&number| self.all[number].priority == priority);
        let (weighted, others): (Vec<usize>, Vec<usize>) = best.partition(|&number| self.all[number].weight > 0);
        if others.is_empty() || (!weighted.is_empty() && !self.random.next_u64().is_multiple_of(SELDOM)) {
            return Some(self.drawn(&weighted));
        }
        let mut turns = (0..self.all.len()).map(|_| self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len());
        // Turns that others take at the same time may leave none of these to this one.
        let number = turns.find(|turn| others.contains(turn)).unwrap_or(others[0]);
        Some(&self.all[number])
    }

    /// One of `weighted`, each of which has a weight, and of which there is one at least.
    fn drawn(&self, weighted: &[usize]) -> &Endpoint {
        let shares = weighted.iter().map(|&number| (&self.all[number], u64::from(self.all[number].weight)));
        let mut left = self.random.next_u64() % shares.clone().map(|(_, share)| share).sum::<u64>();
        for (endpoint, share) in shares {
            match left.checked_sub(share) {
                Some(rest) => left = rest,
                None => return endpoint,
            }
        }
        unreachable!("what is drawn is less than all shares together")
    }
}

/// Takes `host:port` apart.
fn split(place: &str) -> Option<(&str, u16)> {
    let (host, port) = place.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

/// The member at a place that flags name.
///
/// # Errors
/// [`Error::Endpoint`] if it is none.
pub(super) fn target(place: &str) -> Result<Target, Error> {
    let (host, port) = split(place).ok_or_else(|| Error::Endpoint(place.to_owned()))?;
    Ok(Target::new(host, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::env::{SeededRandom, SystemRandom};

    fn targets(places: &[&str]) -> Result<Vec<Target>, Error> {
        places.iter().map(|place| target(place)).collect()
    }

    #[test]
    fn everybody_has_a_turn_but_those_that_cannot_be_reached() {
        let endpoints = Endpoints::new(&targets(&["a:1", "b:1", "[::1]:1"]).unwrap(), Arc::new(SystemRandom));
        let turns = |count: usize| -> Vec<String> {
            (0..count).filter_map(|_| endpoints.next()).map(|endpoint| endpoint.place.clone()).collect()
        };
        assert_eq!(turns(4), ["a:1", "b:1", "[::1]:1", "a:1"]);
        endpoints.all()[1].set_active(false);
        assert_eq!(turns(3), ["[::1]:1", "a:1", "[::1]:1"]);
        endpoints.all().iter().for_each(|endpoint| endpoint.set_active(false));
        assert!(endpoints.next().is_none());
    }

    #[test]
    fn the_lowest_priority_counts_and_weights_are_shares() {
        let of = |host: &str, priority, weight| Target { priority, weight, ..Target::new(host, 1) };
        let all = [of("a", 1, 30), of("b", 1, 10), of("c", 1, 0), of("d", 2, 0), of("e", 2, 0)];
        let endpoints = Endpoints::new(&all, Arc::new(SeededRandom::new(7)));
        let drawn = || {
            let mut counts = BTreeMap::new();
            for _ in 0..4000 {
                *counts.entry(endpoints.next().unwrap().place.clone()).or_insert(0) += 1;
            }
            counts.into_iter().collect::<Vec<_>>()
        };
        let counts = drawn();
        let [(a, thrice), (b, once), (c, seldom)] = &counts[..] else { panic!("{counts:?}") };
        assert_eq!([a, b, c], ["a:1", "b:1", "c:1"]);
        assert!(
            (2800..3100).contains(thrice) && (900..1100).contains(once) && (10..100).contains(seldom),
            "{counts:?}"
        );
        // One of them is enough.
        endpoints.all()[..2].iter().for_each(|endpoint| endpoint.set_active(false));
        assert_eq!(drawn(), [("c:1".to_owned(), 4000)]);
        endpoints.all()[2].set_active(false);
        assert_eq!(drawn(), [("d:1".to_owned(), 2000), ("e:1".to_owned(), 2000)]);
    }

    #[tokio::test]
    async fn places_that_cannot_be_are_refused() {
        let refused = async |places: &[&str], listen: &str| {
            let targets = targets(places).unwrap();
            Endpoints::resolve(&targets, listen, Arc::new(SystemRandom)).await.unwrap_err().to_string()
        };
        assert!(refused(&["127.0.0.1:1"], "nowhere").await.starts_with("failed to validate listen address: nowhere"));
        assert!(targets(&["127.0.0.1:70000"]).unwrap_err().to_string().starts_with("error parsing endpoint"));
        assert_eq!(
            refused(&["localhost:23790"], "127.0.0.1:23790").await,
            "SRV or endpoint (localhost:23790->127.0.0.1:23790) should not resolve to the gateway listen addr \
             (127.0.0.1:23790)"
        );
        let other = targets(&["127.0.0.1:1"]).unwrap();
        assert!(Endpoints::resolve(&other, "127.0.0.1:23790", Arc::new(SystemRandom)).await.is_ok());
    }
}
