//! Clients that watch: over connections that break now and then, each going on where the last one ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{EventType, WatchFilterType, WatchOptions, WatchResponse, WatchStream};
use lodemark::model::{Event, EventKind, KeyRange, Revision};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, timeout_at};

use super::checks::history::{Heard, Session, Watching};
use super::connections::connect;
use super::journal::Journal;
use super::wire::{everything, range_end, record};

/// How long a connection lasts, in milliseconds.
const SESSION_MS: std::ops::Range<u64> = 500..12_000;
/// How long a watcher waits before it connects again, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 0..500;
/// How long a watch may take to be made.
const OPEN_MAX: Duration = Duration::from_secs(2);
/// How long a slow watcher takes for what it was told.
const SLOWNESS: Duration = Duration::from_millis(30);
/// How long a watcher that was told nothing waits until it asks how far it is.
const SILENCE: Duration = Duration::from_secs(1);

/// What watchers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Their connections end by chance.
    Unsteady,
    /// Each makes one more connection, which stays.
    Steady,
    /// They end.
    Over,
}

/// One watcher.
#[derive(Debug, Clone)]
pub struct Watcher {
    watching: Watching,
    is_slow: bool,
}

/// What is watched in a run.
pub fn watchers() -> Vec<Watcher> {
    let some = watching(KeyRange::prefix(Bytes::from_static(b"k/1")), true);
    let one = watching(KeyRange::single(Bytes::from_static(b"k/07")), false);
    vec![
        Watcher { watching: watching(everything(), true), is_slow: false },
        Watcher { watching: watching(everything(), false), is_slow: true },
        Watcher { watching: some.clone(), is_slow: false },
        Watcher { watching: Watching { no_put: true, ..some }, is_slow: false },
        Watcher { watching: Watching { no_delete: true, ..one }, is_slow: true },
    ]
}

fn watching(keys: KeyRange, prev_kv: bool) -> Watching {
    Watching { keys, prev_kv, no_put: false, no_delete: false, sessions: Vec::new(), must_reach: None }
}

impl Watcher {
    /// Watches until it is over; gives everything that it was told.
    pub async fn watch(
        mut self,
        journal: Arc<Journal>,
        endpoints: Arc<[String]>,
        seed: u64,
        mut stage: Receiver<Stage>,
    ) -> Watching {
        let mut random = StdRng::seed_from_u64(seed);
        // The first revision that it has not heard of; zero: from now on.
        let mut next = 0;
        while *stage.borrow_and_update() != Stage::Over {
            let member = random.random_range(0..endpoints.len());
            let lasts = Duration::from_millis(random.random_range(SESSION_MS));
            let is_steady = *stage.borrow() == Stage::Steady;
            let until = Instant::now() + if is_steady { Duration::from_secs(3600) } else { lasts };
            let server = journal.server(member);
            self.watching.sessions.push(Session { server, from: next, heard: Vec::new() });
            tokio::select! {
                () = self.session(&journal, &endpoints[member], &mut next, until) => {}
                _ = stage.changed() => {}
            }
            sleep(Duration::from_millis(random.random_range(PAUSE_MS))).await;
        }
        self.watching
    }

    /// Hears what one connection brings, until its end.
    async fn session(&mut self, journal: &Journal, endpoint: &str, next: &mut i64, until: Instant) {
        let mut client = connect(endpoint).await;
        let options = self.options(*next);
        let opened = client.watch(self.watching.keys.start.to_vec(), Some(options));
        let Ok(Ok(mut stream)) = timeout_at(Instant::now() + OPEN_MAX, opened).await else { return };
        while let Some(response) = next_message(&mut stream, until).await {
            let Some(heard) = heard(&response) else { return };
            let mut has_ended = false;
            match &heard {
                // From the first time on it knows where it stands.
                Heard::Created(revision) if *next == 0 => *next = revision.next().0,
                Heard::Created(_) => {}
                Heard::Events(events) => *next = events.last().map_or(*next, |event| event.revision().next().0),
                Heard::Progress(revision) => *next = (*next).max(revision.next().0),
                Heard::Compacted(compacted) => {
                    *next = compacted.0;
                    has_ended = true;
                }
            }
            let session = self.watching.sessions.last_mut().expect("who hears something has a session");
            session.heard.push((journal.now(), heard));
            if has_ended {
                return;
            }
            if self.is_slow {
                sleep(SLOWNESS).await;
            }
        }
    }

    fn options(&self, from: i64) -> WatchOptions {
        let Watching { keys, prev_kv, no_put, no_delete, .. } = &self.watching;
        let mut options = WatchOptions::new().with_start_revision(from);
        if let Some(end) = range_end(keys) {
            options = options.with_range(end);
        }
        if *prev_kv {
            options = options.with_prev_key();
        }
        let filters = [(*no_put, WatchFilterType::NoPut), (*no_delete, WatchFilterType::NoDelete)];
        let filters: Vec<_> = filters.into_iter().filter_map(|(is_set, filter)| is_set.then_some(filter)).collect();
        options.with_filters(filters)
    }
}

/// What comes next until a moment; asks for a note of progress whenever nothing comes for a while.
async fn next_message(stream: &mut WatchStream, until: Instant) -> Option<WatchResponse> {
    loop {
        let deadline = until.min(Instant::now() + SILENCE);
        match timeout_at(deadline, stream.message()).await {
            Ok(response) => return response.ok().flatten(),
            Err(_) if Instant::now() >= until => return None,
            // Nobody listens any more if it fails, and then the stream says so.
            Err(_) => {
                let _ = stream.request_progress().await;
            }
        }
    }
}

/// What a message tells; nothing if the watch has ended for another reason than a compaction.
fn heard(response: &WatchResponse) -> Option<Heard> {
    let revision = Revision(response.header().expect("every message has a header").revision());
    if response.compact_revision() > 0 {
        return Some(Heard::Compacted(Revision(response.compact_revision())));
    }
    if response.canceled() {
        return None;
    }
    if response.created() {
        return Some(Heard::Created(revision));
    }
    if response.events().is_empty() {
        return Some(Heard::Progress(revision));
    }
    Some(Heard::Events(response.events().iter().map(event).collect()))
}

fn event(event: &etcd_client::Event) -> Event {
    let kind = match event.event_type() {
        EventType::Put => EventKind::Put,
        EventType::Delete => EventKind::Delete,
    };
    let record_of = record(event.kv().expect("every event has a pair"));
    Event { kind, record: record_of, prev: event.prev_kv().map(record) }
}
