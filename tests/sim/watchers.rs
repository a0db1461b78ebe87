//! Clients that watch: over connections that break now and then, each going on where the last one ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lodemark::model::{Event, KeyRange, MemberId, Revision};
use lodemark::node::{Node, WatchSpec, WatchUpdate};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::AbortHandle;

use super::checks::history::{Heard, Moment, Server, Session, Watching};
use super::clients::Clients;
use super::front::everything;
use super::world::World;

/// How long a connection lasts, in milliseconds.
const SESSION_MS: std::ops::Range<u64> = 500..12_000;
/// How long a watcher waits before it connects again, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 0..500;
/// How long a slow watcher takes for what it was told.
const SLOWNESS: Duration = Duration::from_millis(30);

/// All watchers.
pub struct Watchers {
    watchers: Vec<Watcher>,
    random: StdRng,
    /// No connection ends by chance any more.
    pub is_over: bool,
}

struct Watcher {
    watching: Watching,
    progress_notify: bool,
    is_slow: bool,
    /// The first revision that it has not heard of; zero: from now on.
    next: i64,
    state: State,
}

enum State {
    Apart { until: Moment },
    Connected { server: Server, until: Moment, feed: Feed, task: AbortHandle },
}

/// What a connection has brought since it was last looked at; `None` at the end of the stream.
type Feed = Arc<Mutex<Vec<Option<Heard>>>>;

impl Watchers {
    /// Watchers that have not connected yet.
    pub fn new(seed: u64) -> Watchers {
        let all = |prev_kv| watching(everything(), prev_kv);
        let some = watching(KeyRange::prefix(Bytes::from_static(b"k/1")), true);
        let one = watching(KeyRange::single(Bytes::from_static(b"k/07")), false);
        let watchers = vec![
            Watcher::new(all(true), true, false),
            Watcher::new(all(false), false, true),
            Watcher::new(some.clone(), true, false),
            Watcher::new(Watching { no_put: true, ..some }, false, false),
            Watcher::new(Watching { no_delete: true, ..one }, true, true),
        ];
        Watchers { watchers, random: StdRng::seed_from_u64(seed), is_over: false }
    }

    /// Takes what came, breaks connections, makes new ones.
    pub fn act(&mut self, world: &World, clients: &Clients) {
        for place in 0..self.watchers.len() {
            self.act_one(world, clients, place);
        }
    }

    fn act_one(&mut self, world: &World, clients: &Clients, place: usize) {
        let watcher = &mut self.watchers[place];
        let is_broken = match &watcher.state {
            State::Apart { until } => {
                if *until <= world.now {
                    let target = self.random.random_range(0..world.members.len());
                    let lasts = Duration::from_millis(self.random.random_range(SESSION_MS));
                    if !clients.unreachable.contains(&world.members[target].id) {
                        watcher.connect(world, target, lasts);
                    }
                }
                return;
            }
            State::Connected { server, until, feed, task } => {
                let is_cut = clients.unreachable.contains(&MemberId(server.member));
                let heard = std::mem::take(&mut *feed.lock());
                let mut has_ended = (*until <= world.now && !self.is_over) || !world.is_up(*server);
                if is_cut {
                    // What was sent meanwhile is lost with the connection.
                    has_ended = true;
                } else {
                    for heard in heard {
                        has_ended |= watcher_hears(&mut watcher.watching, &mut watcher.next, world, heard, place);
                    }
                }
                if has_ended {
                    task.abort();
                }
                has_ended
            }
        };
        if is_broken {
            let pause = Duration::from_millis(self.random.random_range(PAUSE_MS));
            watcher.state = State::Apart { until: world.now + pause };
        }
    }

    /// What all of them were told. They must have heard everything up to `must_reach`.
    pub fn finish(self, must_reach: Option<Revision>) -> Vec<Watching> {
        let all = self.watchers.into_iter().map(|watcher| watcher.watching);
        all.map(|watching| Watching { must_reach, ..watching }).collect()
    }
}

/// Whether the connection has ended with it.
fn watcher_hears(watching: &mut Watching, next: &mut i64, world: &World, heard: Option<Heard>, place: usize) -> bool {
    let Some(heard) = heard else { return true };
    world.network.trace(|trace, now| trace.tell(now, format_args!("watcher {place} {heard:?}")));
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
    let session = watching.sessions.last_mut().expect("who hears something has a session");
    session.heard.push((world.now, heard));
    has_ended
}

impl Watcher {
    fn new(watching: Watching, progress_notify: bool, is_slow: bool) -> Watcher {
        let state = State::Apart { until: Moment::ZERO };
        Watcher { watching, progress_notify, is_slow, next: 0, state }
    }

    fn connect(&mut self, world: &World, target: usize, lasts: Duration) {
        let Some(process) = world.awake(target) else { return };
        let Some(node) = process.node() else { return };
        let feed = Feed::default();
        let spec = WatchSpec {
            keys: self.watching.keys.clone(),
            start_revision: self.next,
            id: None,
            prev_kv: self.watching.prev_kv,
            progress_notify: self.progress_notify,
            no_put: self.watching.no_put,
            no_delete: self.watching.no_delete,
            is_denied: false,
        };
        let disk = world.members[target].disk.clone();
        let into = feed.clone();
        let tell = move |heard| {
            if !disk.is_crashed() {
                into.lock().push(heard);
            }
        };
        let task = process.spawn(watch(node.clone(), spec, self.is_slow, tell));
        let server = process.server;
        self.watching.sessions.push(Session { server, from: self.next, heard: Vec::new() });
        self.state = State::Connected { server, until: world.now + lasts, feed, task };
    }
}

async fn watch(node: Node, spec: WatchSpec, is_slow: bool, tell: impl Fn(Option<Heard>)) {
    let stream = node.watch();
    stream.create(spec).await;
    while let Some(update) = stream.next().await {
        match update {
            WatchUpdate::Created { revision, .. } => tell(Some(Heard::Created(revision))),
            WatchUpdate::Events { events, .. } => tell(Some(Heard::Events(events.iter().map(Event::clone).collect()))),
            WatchUpdate::Progress { revision, .. } => tell(Some(Heard::Progress(revision))),
            WatchUpdate::Compacted { compacted, .. } => tell(Some(Heard::Compacted(compacted))),
            WatchUpdate::Refused { .. } | WatchUpdate::Canceled { .. } => tell(None),
        }
        if is_slow {
            tokio::time::sleep(SLOWNESS).await;
        }
    }
    tell(None);
}

fn watching(keys: KeyRange, prev_kv: bool) -> Watching {
    Watching { keys, prev_kv, no_put: false, no_delete: false, sessions: Vec::new(), must_reach: None }
}
