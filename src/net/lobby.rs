//! Those who have connected and have not shown yet what they want: a handshake is under way, or the first bytes have to come.
//!
//! Anybody can connect and say nothing. A lobby has so many places; when they are all taken, whoever has been there longest
//! is shown out for whoever comes. A client that means it is through in a moment, so those who go are those who only sit
//! there, and they keep nobody else from coming in.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Places to wait in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lobby {
    places_max: usize,
    waiting: Arc<Mutex<Waiting>>,
}

/// In the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    shown_out: BTreeMap<u64, Arc<Notify>>,
}

/// A place in a [`Lobby`], given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    shown_out: Arc<Notify>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Lobby {
    /// A lobby with `places_max` places, one at least.
    #[must_use]
    pub fn new(places_max: usize) -> Lobby {
        Lobby { places_max: places_max.max(1), waiting: Arc::default() }
    }

    /// Takes a place, if need be from whoever has had one for longest.
    #[must_use]
    pub fn enter(&self) -> Place {
        let shown_out = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock();
        if waiting.shown_out.len() >= self.places_max
            && let Some((_, oldest)) = waiting.shown_out.pop_first()
        {
            oldest.notify_one();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.shown_out.insert(number, shown_out.clone());
        drop(waiting);
        Place { number, shown_out, waiting: self.waiting.clone() }
    }
}

impl Place {
    /// Waits until the place is taken by somebody else.
    pub async fn shown_out(&self) {
        self.shown_out.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().shown_out.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn whoever_came_first_goes_first_and_only_if_there_is_no_place() {
        let lobby = Lobby::new(2);
        let (one, two) = (lobby.enter(), lobby.enter());
        assert!(one.shown_out().now_or_never().is_none());
        let three = lobby.enter();
        assert!(one.shown_out().now_or_never().is_some());
        assert!(two.shown_out().now_or_never().is_none());
        // Who was shown out has no place to give back.
        drop(one);
        drop(three);
        let four = lobby.enter();
        assert!(two.shown_out().now_or_never().is_none() && four.shown_out().now_or_never().is_none());
        let _five = lobby.enter();
        assert!(two.shown_out().now_or_never().is_some() && four.shown_out().now_or_never().is_none());
    }
}
