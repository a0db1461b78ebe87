//! Golden scripts, and a comparison with a naive model.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use super::testing::{Change, World};
use super::watchers::WATCHERS_MAX;
use super::{QUEUE_UPDATES_MAX, WatchRefusal, WatchSpec, WatchUpdate};
use crate::model::{Event, EventKind, KeyRange, RangeEnd, Record, Revision, WatchId};
use crate::mvcc::Store;

// Scripts.

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/watch/testscripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut Script(World::new(QUEUE_UPDATES_MAX)), &path).unwrap();
    }
}

#[test]
fn a_stream_has_a_bound_on_its_watchers() {
    let mut world = World::new(QUEUE_UPDATES_MAX);
    let spec = WatchSpec::of(KeyRange::single("key".into()), 0);
    let answer = |world: &mut World, stream| {
        assert!(world.create(stream, &spec));
        world.take(stream).expect("an answer")
    };
    for _ in 0..WATCHERS_MAX {
        assert!(matches!(answer(&mut world, 0), WatchUpdate::Created { .. }));
    }
    assert!(matches!(answer(&mut world, 0), WatchUpdate::Refused { refusal: WatchRefusal::TooMany, .. }));
    assert!(matches!(answer(&mut world, 1), WatchUpdate::Created { .. }), "another stream has its own");
    world.cancel(0, WatchId(7));
    assert!(matches!(world.take(0), Some(WatchUpdate::Canceled { .. })));
    assert!(matches!(answer(&mut world, 0), WatchUpdate::Created { .. }), "one has made room");
}

/// A pair that has left memory is told all the same: its watcher reads it, and everything after it in order.
#[test]
fn a_pair_before_that_left_memory_is_read_for_those_who_want_it() {
    let mut world = World::of(Store::with_values_max(0), QUEUE_UPDATES_MAX);
    let put = |value: &str| [Change::Put("key".into(), value.repeat(200).into())];
    world.write(&put("a"));
    world.publish();
    for (stream, prev_kv) in [(0, true), (1, false)] {
        let spec = WatchSpec { prev_kv, ..WatchSpec::of(KeyRange::single("key".into()), 0) };
        assert!(world.create(stream, &spec));
        assert!(matches!(world.take(stream), Some(WatchUpdate::Created { .. })));
    }
    world.checkpoint();
    world.write(&put("b"));
    assert_eq!(world.history[1].prev, None, "it has left memory");
    world.publish();
    world.write(&put("c"));
    world.publish();

    let letter = |record: &Record| char::from(record.value()[0]);
    let told = |world: &mut World, stream| {
        let mut told = Vec::new();
        while let Some(WatchUpdate::Events { events, .. }) = world.take(stream) {
            told.extend(events.iter().map(|event| (letter(&event.record), event.prev.as_ref().map(letter))));
        }
        told
    };
    assert_eq!((told(&mut world, 0), told(&mut world, 1)), (vec![], vec![('b', None), ('c', None)]));
    world.round();
    assert_eq!(told(&mut world, 0), [('b', Some('a')), ('c', Some('b'))]);
}

struct Script(World);

/// What a script can say. Streams are numbered from 0 and opened when they are first named.
#[derive(goldenscript::Command)]
enum Command {
    /// Writes keys at one revision and publishes it.
    Put(BTreeMap<String, String>),
    /// Deletes keys at one revision and publishes it.
    Delete(Vec<String>),
    /// As `put`, but what it wrote is visible only: `publish` comes later.
    Write(BTreeMap<String, String>),
    /// Writes one key many times.
    Repeat {
        key: String,
        #[arg(key)]
        times: usize,
    },
    Publish,
    /// The state was replaced by a later one.
    Resync,
    Compact(i64),
    /// Moves the history to the disk, and removes what is compacted.
    Checkpoint,
    Watch {
        key: String,
        /// As in etcd's messages; `0` stands for the byte zero.
        #[arg(key, optional)]
        end: String,
        #[arg(key, optional)]
        rev: i64,
        #[arg(key)]
        id: Option<i64>,
        #[arg(key, optional)]
        prev: bool,
        #[arg(key, optional)]
        notify: bool,
        #[arg(key, optional)]
        no_put: bool,
        #[arg(key, optional)]
        no_delete: bool,
        #[arg(key, optional)]
        stream: usize,
    },
    Cancel {
        id: i64,
        #[arg(key, optional)]
        stream: usize,
    },
    Progress {
        #[arg(key, optional)]
        stream: usize,
    },
    Tick {
        #[arg(key, optional)]
        stream: usize,
    },
    /// One round for those who are behind.
    Round,
    /// What the stream says: all of it, or so many updates.
    Take {
        #[arg(key)]
        max: Option<usize>,
        #[arg(key, optional)]
        stream: usize,
    },
    /// Takes so many updates of events, and says nothing of them.
    Skip(usize),
}

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        let world = &mut self.0;
        let puts = |pairs: &BTreeMap<String, String>| -> Vec<Change> {
            pairs.iter().map(|(key, value)| Change::Put(key.clone().into(), value.clone().into())).collect()
        };
        let mut out = String::new();
        match command {
            Command::Put(pairs) => {
                world.write(&puts(pairs));
                world.publish();
            }
            Command::Write(pairs) => world.write(&puts(pairs)),
            Command::Delete(keys) => {
                let single = |key: &String| Change::Delete(KeyRange::single(key.clone().into()));
                world.write(&keys.iter().map(single).collect::<Vec<_>>());
                world.publish();
            }
            Command::Repeat { key, times } => {
                for i in 0..*times {
                    world.write(&[Change::Put(key.clone().into(), i.to_string().into())]);
                    world.publish();
                }
            }
            Command::Publish => world.publish(),
            Command::Resync => world.resync(),
            Command::Compact(at) => assert!(world.compact(Revision(*at)), "it can be compacted"),
            Command::Checkpoint => {
                for _ in 0..10 {
                    world.sweep();
                }
                world.checkpoint();
            }
            Command::Watch { key, end, rev, id, prev, notify, no_put, no_delete, stream } => {
                let end = if end == "0" { "\0".to_owned() } else { end.clone() };
                let spec = WatchSpec {
                    keys: KeyRange::new(key.clone().into(), end.into()),
                    start_revision: *rev,
                    id: id.map(WatchId),
                    prev_kv: *prev,
                    progress_notify: *notify,
                    no_put: *no_put,
                    no_delete: *no_delete,
                    is_denied: false,
                };
                out.push_str(if world.create(*stream, &spec) { "" } else { "no room\n" });
            }
            Command::Cancel { id, stream } => {
                out.push_str(if world.cancel(*stream, WatchId(*id)) { "" } else { "no room\n" });
            }
            Command::Progress { stream } => {
                out.push_str(if world.request_progress(*stream) { "" } else { "no room\n" });
            }
            Command::Tick { stream } => world.tick(*stream),
            Command::Round => world.round(),
            Command::Take { max, stream } => {
                for _ in 0..max.unwrap_or(usize::MAX) {
                    let Some(update) = world.take(*stream) else {
                        break;
                    };
                    describe(&update, &mut out);
                }
                if out.is_empty() {
                    out.push_str("nothing\n");
                }
            }
            Command::Skip(count) => {
                for i in 0..*count {
                    let update = world.take(0);
                    assert!(matches!(update, Some(WatchUpdate::Events { .. })), "update {i} is {update:?}");
                }
            }
        }
        Ok(out)
    }
}

fn describe(update: &WatchUpdate, out: &mut String) {
    match update {
        WatchUpdate::Created { id, revision } => writeln!(out, "{}: created revision={revision}", id.0),
        WatchUpdate::Refused { refusal, revision } => writeln!(out, "refused revision={revision}: {refusal}"),
        WatchUpdate::Canceled { id, revision } => writeln!(out, "{}: canceled revision={revision}", id.0),
        WatchUpdate::Compacted { id, compacted } => writeln!(out, "{}: compacted at={compacted}", id.0),
        WatchUpdate::Progress { id: None, revision } => writeln!(out, "all: progress revision={revision}"),
        WatchUpdate::Progress { id: Some(id), revision } => writeln!(out, "{}: progress revision={revision}", id.0),
        WatchUpdate::Events { id, revision, events } if events.len() > 5 => {
            let (first, last) = (events[0].revision(), events[events.len() - 1].revision());
            writeln!(out, "{}: revision={revision} {} events of revisions {first}..={last}", id.0, events.len())
        }
        WatchUpdate::Events { id, revision, events } => {
            let told: Vec<String> = events.iter().map(describe_event).collect();
            writeln!(out, "{}: revision={revision} {}", id.0, told.join(", "))
        }
    }
    .unwrap();
}

fn describe_event(event: &Event) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let what = match event.kind {
        EventKind::Put => format!("put {}={}", text(event.key()), text(event.record.value())),
        EventKind::Delete => format!("delete {}", text(event.key())),
    };
    let before = event.prev.as_ref().map(|prev| format!(" was {}@{}", text(prev.value()), prev.mod_revision()));
    format!("{what}@{}{}", event.revision(), before.unwrap_or_default())
}

// The model.

#[derive(Debug, Clone)]
enum Action {
    Write(Vec<(u8, bool)>),
    DeleteRange(KeyRange),
    Publish,
    Resync,
    /// So many revisions below the newest.
    Compact(i64),
    Sweep,
    Checkpoint,
    /// The start counts from the newest revision; `None` is "from now on".
    Create(usize, WatchSpec, Option<i64>),
    Cancel(usize, i64),
    Progress(usize),
    Tick(usize),
    Round,
    Take(usize, usize),
}

const STREAMS: usize = 2;
/// Two places for events.
const SHORT_QUEUE: usize = 10;

fn key(number: u8) -> Bytes {
    Bytes::from(vec![b'a' + number % 3, b'a' + number / 3 % 2])
}

fn keys() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        (0u8..6).prop_map(|number| KeyRange::single(key(number))),
        (0u8..3).prop_map(|number| KeyRange::prefix(vec![b'a' + number].into())),
        (0u8..6).prop_map(|number| KeyRange { start: key(number), end: RangeEnd::Unbounded }),
        (0u8..6).prop_map(|number| KeyRange { start: key(number), end: RangeEnd::Before("cb".into()) }),
    ]
}

fn spec() -> impl Strategy<Value = WatchSpec> {
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let id = prop::option::weighted(0.3, (-2i64..6).prop_map(WatchId));
    (keys(), id, flags).prop_map(|(keys, id, (prev_kv, progress_notify, no_put, no_delete))| WatchSpec {
        keys,
        start_revision: 0,
        id,
        prev_kv,
        progress_notify,
        no_put,
        no_delete,
        is_denied: false,
    })
}

fn action() -> impl Strategy<Value = Action> {
    let stream = 0..STREAMS;
    prop_oneof![
        12 => prop::collection::vec((0u8..6, prop::bool::weighted(0.7)), 1..4).prop_map(Action::Write),
        2 => keys().prop_map(Action::DeleteRange),
        8 => Just(Action::Publish),
        1 => Just(Action::Resync),
        2 => (0i64..8).prop_map(Action::Compact),
        2 => Just(Action::Sweep),
        2 => Just(Action::Checkpoint),
        4 => (stream.clone(), spec(), prop::option::of(-12i64..4)).prop_map(|(s, spec, at)| Action::Create(s, spec, at)),
        2 => (stream.clone(), -2i64..6).prop_map(|(stream, id)| Action::Cancel(stream, id)),
        2 => stream.clone().prop_map(Action::Progress),
        2 => stream.clone().prop_map(Action::Tick),
        5 => Just(Action::Round),
        6 => (stream, 1usize..6).prop_map(|(stream, count)| Action::Take(stream, count)),
    ]
}

/// What a client of one watcher knows.
#[derive(Debug)]
struct Client {
    spec: WatchSpec,
    /// The first revision it must hear of.
    start: Revision,
    heard: Vec<Event>,
    has_ended: bool,
}

impl Client {
    /// Everything that it must hear, in order.
    fn expected<'a>(&'a self, history: &'a [Event]) -> impl Iterator<Item = &'a Event> {
        history.iter().filter(|event| {
            let is_wanted = match event.kind {
                EventKind::Put => !self.spec.no_put,
                EventKind::Delete => !self.spec.no_delete,
            };
            is_wanted && event.revision() >= self.start && self.spec.keys.contains(event.key())
        })
    }
}

/// Clients that check all that they hear.
#[derive(Debug, Default)]
struct Clients {
    asked: [Vec<WatchSpec>; STREAMS],
    watchers: [BTreeMap<WatchId, Client>; STREAMS],
}

impl Clients {
    fn hear(&mut self, stream: usize, update: &WatchUpdate, world: &World) {
        let watchers = &mut self.watchers[stream];
        match update {
            WatchUpdate::Created { id, revision } => {
                let spec = self.asked[stream].remove(0);
                assert!(spec.id.is_none_or(|wish| wish == *id), "the client's id is used");
                let start = if spec.start_revision == 0 { revision.next() } else { Revision(spec.start_revision) };
                let known = watchers.insert(*id, Client { spec, start, heard: Vec::new(), has_ended: false });
                assert!(known.is_none(), "{id:?} was free");
            }
            WatchUpdate::Refused { .. } => drop(self.asked[stream].remove(0)),
            WatchUpdate::Events { id, revision, events } => {
                let client = watchers.get_mut(id).expect("it was created before and is not cancelled");
                assert!(!client.has_ended && !events.is_empty());
                let last = client.heard.last().map(Event::revision);
                assert!(last.is_none_or(|last| last < events[0].revision()), "revisions are whole and in order");
                assert!(events[events.len() - 1].revision() <= *revision);
                client.heard.extend(events.iter().cloned());
                for (heard, expected) in client.heard.iter().zip(client.expected(&world.history)) {
                    assert_eq!((&heard.record, heard.kind), (&expected.record, expected.kind), "watcher {id:?}");
                    let is_lost = heard.prev.is_none() && heard.revision().previous() < world.compacted();
                    let prev = expected.prev.as_ref().filter(|_| client.spec.prev_kv);
                    assert!(is_lost || heard.prev.as_ref() == prev, "watcher {id:?}: {heard:?}, not {prev:?}");
                }
                assert!(client.heard.len() <= client.expected(&world.history).count(), "nothing comes twice");
            }
            WatchUpdate::Progress { id, revision } => {
                assert!(!watchers.is_empty());
                for (_, client) in watchers.iter().filter(|(known, _)| id.is_none_or(|id| id == **known)) {
                    assert!(!client.has_ended && client.start.previous() <= *revision);
                    let until = client.expected(&world.history).filter(|event| event.revision() <= *revision).count();
                    assert!(client.heard.len() >= until, "progress at {revision} comes after its events");
                }
            }
            WatchUpdate::Canceled { id, .. } => drop(watchers.remove(id).expect("it was there")),
            WatchUpdate::Compacted { id, compacted } => {
                let client = watchers.get_mut(id).expect("it was there");
                assert!(!client.has_ended && client.start < *compacted && *compacted <= world.compacted());
                assert!(client.heard.last().is_none_or(|last| last.revision() < *compacted));
                client.has_ended = true;
            }
        }
    }
}

fn run(actions: &[Action]) {
    let (mut world, mut clients) = (World::new(SHORT_QUEUE), Clients::default());
    for action in actions {
        match action {
            Action::Write(ops) => {
                // A txn may not change a key twice.
                let ops: BTreeMap<u8, bool> = ops.iter().copied().collect();
                let value = Bytes::from(world.revision().to_string());
                let change = |(&number, &is_put): (&u8, &bool)| match is_put {
                    true => Change::Put(key(number), value.clone()),
                    false => Change::Delete(KeyRange::single(key(number))),
                };
                world.write(&ops.iter().map(change).collect::<Vec<_>>());
            }
            Action::DeleteRange(keys) => world.write(&[Change::Delete(keys.clone())]),
            Action::Publish => world.publish(),
            Action::Resync => world.resync(),
            Action::Compact(below) => drop(world.compact(Revision(world.revision().0 - below))),
            Action::Sweep => world.sweep(),
            Action::Checkpoint => world.checkpoint(),
            Action::Create(stream, spec, start) => {
                let start_revision = start.map_or(0, |start| (world.revision().0 + start).max(1));
                let spec = WatchSpec { start_revision, ..spec.clone() };
                if world.create(*stream, &spec) {
                    clients.asked[*stream].push(spec);
                }
            }
            Action::Cancel(stream, id) => drop(world.cancel(*stream, WatchId(*id))),
            Action::Progress(stream) => drop(world.request_progress(*stream)),
            Action::Tick(stream) => world.tick(*stream),
            Action::Round => world.round(),
            Action::Take(stream, count) => {
                for _ in 0..*count {
                    let Some(update) = world.take(*stream) else { break };
                    clients.hear(*stream, &update, &world);
                }
            }
        }
    }

    // In the end everybody has heard everything.
    world.publish();
    loop {
        let mut is_idle = true;
        for stream in 0..STREAMS {
            while let Some(update) = world.take(stream) {
                clients.hear(stream, &update, &world);
                is_idle = false;
            }
        }
        if is_idle && !world.watchers.lock().has_ready() {
            break;
        }
        world.round();
    }
    for (id, client) in clients.watchers.iter().flatten().filter(|(_, client)| !client.has_ended) {
        assert_eq!(client.heard.len(), client.expected(&world.history).count(), "watcher {id:?} has a gap: {client:?}");
    }
    // Then each stream is told of progress, unless a watcher has ended or starts in the future.
    for stream in 0..STREAMS {
        let all = &clients.watchers[stream];
        let is_told = !all.is_empty() && all.values().all(|c| !c.has_ended && c.start.previous() <= world.revision());
        let has_future = all.values().any(|client| client.start > world.revision());
        assert!(world.request_progress(stream));
        let update = world.take(stream);
        if !has_future {
            assert_eq!(update.is_some(), is_told, "stream {stream}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_watcher_hears_what_a_filter_of_the_whole_history_gives(
        actions in prop::collection::vec(action(), 1..120),
    ) {
        run(&actions);
    }
}
