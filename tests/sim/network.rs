//! The simulated network between members.
//!
//! Each start of a member speaks through a [`Wire`]. What it says becomes a parcel that is due at some later moment; the
//! world delivers what is due between two quanta ([`Network::deliver`]), to the [`Handler`] of whoever it is for. So
//! messages cross only at the boundaries of quanta, in an order that the seed decides.
//!
//! What may go wrong is what may go wrong over TCP and HTTP/2:
//!
//! | what is sent | on a cut link | lost by the weather |
//! | --- | --- | --- |
//! | call, answer of a call | never arrives: the caller runs out of time | the same |
//! | part of a stream | the stream stalls, and breaks later | sent again: it and all after it are late |
//!
//! Parts of one stream arrive in order; calls and different streams overtake each other. Raft's own messages (votes,
//! appends) may besides arrive a second time, late: an append as a **ghost**, a stream of its own whose answers nobody
//! hears. Everything else travels at most once. And a **stranger** may send an append again, under the name of another
//! cluster or to another member than it is meant for: whoever takes it offends.
//!
//! A process that has died refuses connections. If its machine has died with it nobody answers at all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lodemark::env::SimDisk;
use lodemark::model::{ClusterId, MemberId};
use lodemark::peer::{
    APPEND_QUEUE_LEN, AppendPipe, BoxFuture, Envelope, Handler, Method, PeerError, Refusal, SnapshotSource, Transport,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::checks::history::{Moment, Server};
use super::pipe::{Inlet, Outlet, pipe};
use super::trace::Trace;

/// How long a connection to nowhere is waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long after it stalled a stream breaks, in milliseconds: keepalives of a connection find out.
const STALL_MS: Range<u64> = 300..3000;
/// How long TCP takes to send again what was lost, in milliseconds.
const RESEND_MS: Range<u64> = 200..800;
/// Bytes of one part of a snapshot: so few that it takes several, between which a sending may break off.
const SNAPSHOT_CHUNK_BYTES: usize = 4 * 1024;
/// The peer URL of a simulated member.
const URL_PREFIX: &str = "http://member-";

/// The peer URL of a member: the network knows members by it.
pub fn url_of(member: MemberId) -> String {
    format!("{URL_PREFIX}{}:2380", member.0)
}

/// How messages fare that are not on a cut link.
#[derive(Debug, Clone)]
pub struct Weather {
    /// How long they travel, in milliseconds.
    pub latency_ms: Range<u64>,
    /// The share that is lost.
    pub loss: f64,
    /// The share that is late, by how much more in milliseconds.
    pub late: (f64, Range<u64>),
    /// The share of Raft's messages that arrive twice.
    pub duplicate: f64,
    /// The share of appends that somebody sends again who is no member, or who means another.
    pub strange: f64,
}

impl Weather {
    /// A local network on a good day.
    pub fn calm() -> Weather {
        Weather { latency_ms: 0..2, loss: 0.0, late: (0.0, 0..1), duplicate: 0.0, strange: 0.0 }
    }
}

/// The network; clones share it.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    random: StdRng,
    now: Moment,
    /// Numbers everything that is sent, calls and streams.
    sequence: u64,
    /// The processes that run.
    up: BTreeMap<MemberId, Server>,
    /// Those whose machines are gone: nobody refuses a connection.
    silent: BTreeSet<MemberId>,
    /// Those that are stopped for a while: what comes waits.
    asleep: BTreeMap<MemberId, Vec<Parcel>>,
    cut: BTreeSet<(MemberId, MemberId)>,
    weather: Weather,
    /// Whom each process has an address of.
    addresses: BTreeMap<Server, BTreeSet<MemberId>>,
    flying: BTreeMap<(Moment, u64), Parcel>,
    calls: BTreeMap<u64, Call>,
    streams: BTreeMap<u64, Stream>,
    /// What members took that they must not.
    offences: Vec<String>,
    trace: Trace,
}

struct Parcel {
    to: Server,
    content: Content,
}

enum Content {
    /// `answer_to`: the number of the call; `None` for one that comes a second time.
    Call {
        answer_to: Option<u64>,
        envelope: Envelope,
        method: Method,
        body: Bytes,
    },
    CallAnswer {
        call: u64,
        result: Result<Bytes, PeerError>,
    },
    Part {
        stream: u64,
        body: Bytes,
    },
    Finish {
        stream: u64,
    },
    StreamAnswer {
        stream: u64,
        result: Result<Bytes, PeerError>,
    },
    StreamEnd {
        stream: u64,
    },
    /// The end of a stream that has broken, for both sides.
    Break {
        stream: u64,
    },
    /// An append that comes a second time.
    Ghost {
        envelope: Envelope,
        body: Bytes,
    },
    /// An append of somebody who is no member, or who means another.
    Stranger {
        envelope: Envelope,
        body: Bytes,
    },
}

/// A call that waits for its answer.
struct Call {
    caller: Server,
    callee: Server,
    answer: oneshot::Sender<Result<Bytes, PeerError>>,
}

/// An append stream or a snapshot on its way.
struct Stream {
    caller: Server,
    callee: Server,
    envelope: Envelope,
    /// `None`: it is an append stream.
    snapshot_head: Option<Bytes>,
    /// What the caller still has to say; `None` when all is said.
    source: Option<mpsc::Receiver<Bytes>>,
    /// To the caller.
    answers: Inlet<Result<Bytes, PeerError>>,
    /// To the callee, once it has heard of the stream.
    inbound: Option<Inlet<Result<Bytes, PeerError>>>,
    serving: Option<AbortHandle>,
    /// When the last part that was sent is due, in each direction: parts do not overtake each other.
    due_out: Moment,
    due_back: Moment,
    is_stalled: bool,
}

/// Where a member can be spoken to.
pub struct Endpoint {
    /// Its runtime.
    pub runtime: Handle,
    /// What it does with what others say; `None` as long as it is not that far.
    pub handler: Option<Arc<dyn Handler>>,
    /// How its answers travel.
    pub wire: Arc<Wire>,
}

/// How one start of a member speaks.
pub struct Wire {
    network: Network,
    me: Server,
    disk: SimDisk,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the wire of {:?}", self.me)
    }
}

/// Whether somebody can be spoken to.
enum Reach {
    Up(Server),
    Refused(&'static str),
    Silent,
}

/// The faults and the course of the world.
impl Network {
    /// A calm network.
    pub fn new(seed: u64, trace: Trace) -> Network {
        Network(Arc::new(Mutex::new(State {
            random: StdRng::seed_from_u64(seed),
            now: Moment::ZERO,
            sequence: 0,
            up: BTreeMap::new(),
            silent: BTreeSet::new(),
            asleep: BTreeMap::new(),
            cut: BTreeSet::new(),
            weather: Weather::calm(),
            addresses: BTreeMap::new(),
            flying: BTreeMap::new(),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            offences: Vec::new(),
            trace,
        })))
    }

    /// Cuts exactly these links, each from the first to the second.
    pub fn set_cut(&self, cut: BTreeSet<(MemberId, MemberId)>) {
        self.0.lock().cut = cut;
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.0.lock().weather = weather;
    }

    /// Uses the trace.
    pub fn trace<T>(&self, act: impl FnOnce(&mut Trace, Moment) -> T) -> T {
        let mut state = self.0.lock();
        let now = state.now;
        act(&mut state.trace, now)
    }

    /// A process starts: gives its wire.
    pub fn start(&self, server: Server, disk: SimDisk) -> Arc<Wire> {
        let mut state = self.0.lock();
        state.up.insert(MemberId(server.member), server);
        state.silent.remove(&MemberId(server.member));
        Arc::new(Wire { network: self.clone(), me: server, disk })
    }

    /// A process is gone. Its connections are reset, or, if its machine is gone too, nobody hears anything for a while.
    pub fn stop(&self, server: Server, is_silent: bool) {
        let mut state = self.0.lock();
        let member = MemberId(server.member);
        state.up.remove(&member);
        state.asleep.remove(&member);
        state.addresses.remove(&server);
        if is_silent {
            state.silent.insert(member);
        }
        state.calls.retain(|_, call| call.caller != server);
        if !is_silent {
            let broken: Vec<u64> =
                state.calls.iter().filter(|(_, call)| call.callee == server).map(|(&id, _)| id).collect();
            for call in broken {
                state.reset_call(call);
            }
        }
        let streams = state.streams.iter().filter(|(_, stream)| stream.caller == server || stream.callee == server);
        for id in streams.map(|(&id, _)| id).collect::<Vec<_>>() {
            if is_silent { state.stall(id) } else { state.break_soon(id) }
        }
    }

    /// A process does not run for a while: what comes for it waits.
    pub fn fall_asleep(&self, member: MemberId) {
        self.0.lock().asleep.entry(member).or_default();
    }

    /// It runs again.
    pub fn wake_up(&self, member: MemberId) {
        let mut state = self.0.lock();
        for parcel in state.asleep.remove(&member).unwrap_or_default() {
            let now = state.now;
            state.fly(now, parcel.to, parcel.content);
        }
    }

    /// Moves time to `now` and hands over all that is due.
    pub fn deliver(&self, now: Moment, endpoints: &BTreeMap<MemberId, Endpoint>) {
        self.0.lock().now = now;
        loop {
            let parcel = {
                let mut state = self.0.lock();
                match state.flying.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            self.hand_over(parcel, endpoints);
        }
    }

    /// Gives what members took, since this was last asked, that they must not.
    pub fn offences(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().offences)
    }

    /// Takes what a process has put into its streams.
    pub fn collect(&self, server: Server) {
        let mut state = self.0.lock();
        let ids: Vec<u64> =
            state.streams.iter().filter(|(_, stream)| stream.caller == server).map(|(&id, _)| id).collect();
        for id in ids {
            state.collect(id);
        }
    }

    fn hand_over(&self, parcel: Parcel, endpoints: &BTreeMap<MemberId, Endpoint>) {
        let mut state = self.0.lock();
        let (now, to) = (state.now, MemberId(parcel.to.member));
        if let Content::Break { stream } = parcel.content {
            return state.end_broken(stream);
        }
        if state.up.get(&to) != Some(&parcel.to) {
            if let Content::Call { answer_to: Some(call), .. } = parcel.content
                && !state.silent.contains(&to)
            {
                state.reset_call(call);
            }
            return;
        }
        if let Some(waiting) = state.asleep.get_mut(&to) {
            waiting.push(parcel);
            return;
        }
        let Some(Endpoint { runtime, handler, wire }) = endpoints.get(&to) else { return };
        match parcel.content {
            Content::Call { answer_to, envelope, method, body } => {
                state.trace.add(now, &[1, envelope.from.0, envelope.to.0, method as u64], &body);
                let Some(handler) = handler.clone() else {
                    if let Some(call) = answer_to {
                        state.reset_call(call);
                    }
                    return;
                };
                let wire = wire.clone();
                runtime.spawn(async move {
                    let result = handler.call(envelope, method, body).await;
                    if let Some(call) = answer_to {
                        wire.answer_call(call, result);
                    }
                });
            }
            Content::CallAnswer { call, result } => {
                if let Some(waiting) = state.calls.remove(&call) {
                    let body = result.as_ref().map_or(&b"error"[..], |body| body);
                    state.trace.add(now, &[2, waiting.callee.member, waiting.caller.member], body);
                    // Whoever asked may have run out of time.
                    let _ = waiting.answer.send(result);
                }
            }
            Content::Part { stream: id, body } => {
                let Some(stream) = state.streams.get_mut(&id) else { return };
                let (from, head) = (stream.caller.member, stream.snapshot_head.clone());
                if stream.inbound.is_none() {
                    let (inlet, outlet) = pipe();
                    stream.inbound = Some(inlet);
                    let envelope = stream.envelope;
                    let (Some(handler), wire) = (handler.clone(), wire.clone()) else {
                        return state.break_soon(id);
                    };
                    let task = match head {
                        None => runtime.spawn(serve_append(handler, wire, id, envelope, outlet)),
                        Some(head) => runtime.spawn(async move {
                            let answer = handler.snapshot(envelope, head, Box::pin(outlet)).await;
                            wire.answer_stream(id, answer);
                            wire.end_stream(id);
                        }),
                    };
                    stream.serving = Some(task.abort_handle());
                }
                if let Some(inbound) = &stream.inbound {
                    inbound.push(Ok(body.clone()));
                }
                state.trace.add(now, &[3, from, to.0], &body);
            }
            Content::Finish { stream } => {
                match state.streams.get(&stream).map(|stream| &stream.inbound) {
                    Some(Some(inbound)) => inbound.end(),
                    // Nothing was ever asked on it.
                    Some(None) => state.post_in_order(stream, true, Content::StreamEnd { stream }),
                    None => {}
                }
            }
            Content::StreamAnswer { stream: id, result } => {
                let Some(stream) = state.streams.get(&id) else { return };
                let from = stream.callee.member;
                let body = result.as_ref().map_or(Bytes::from_static(b"error"), Bytes::clone);
                stream.answers.push(result);
                state.trace.add(now, &[4, from, to.0], &body);
            }
            Content::StreamEnd { stream } => {
                if let Some(stream) = state.streams.remove(&stream) {
                    stream.answers.end();
                }
            }
            Content::Ghost { envelope, body } => {
                state.trace.add(now, &[5, envelope.from.0, envelope.to.0], &body);
                let Some(handler) = handler.clone() else { return };
                let (inlet, outlet) = pipe();
                inlet.push(Ok(body));
                inlet.end();
                runtime.spawn(async move {
                    if let Ok(mut answers) = handler.append(envelope, Box::pin(outlet)) {
                        while answers.next().await.is_some() {}
                    }
                });
            }
            Content::Stranger { envelope, body } => {
                state.trace.add(now, &[6, envelope.from.0, envelope.to.0], &body);
                let Some(handler) = handler.clone() else { return };
                let network = self.clone();
                runtime.spawn(async move {
                    let (inlet, outlet) = pipe();
                    inlet.push(Ok(body));
                    inlet.end();
                    if handler.append(envelope, Box::pin(outlet)).is_ok() {
                        let what = format!("member {to} takes an append of a stranger: {envelope:?}");
                        network.0.lock().offences.push(what);
                    }
                });
            }
            Content::Break { .. } => {}
        }
    }
}

/// Lets a handler answer an append stream.
async fn serve_append(
    handler: Arc<dyn Handler>,
    wire: Arc<Wire>,
    id: u64,
    envelope: Envelope,
    requests: Outlet<Result<Bytes, PeerError>>,
) {
    match handler.append(envelope, Box::pin(requests)) {
        Ok(mut answers) => {
            while let Some(answer) = answers.next().await {
                wire.answer_stream(id, answer);
            }
        }
        Err(refusal) => wire.answer_stream(id, Err(refusal)),
    }
    wire.end_stream(id);
}

impl State {
    fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn fly(&mut self, due: Moment, to: Server, content: Content) {
        let number = self.number();
        self.flying.insert((due, number), Parcel { to, content });
    }

    fn draw_ms(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    fn chance(&mut self, share: f64) -> bool {
        // Nothing is drawn for what never happens.
        share > 0.0 && self.random.random_bool(share)
    }

    fn latency(&mut self) -> Duration {
        let Weather { latency_ms, late: (share, late_ms), .. } = self.weather.clone();
        let extra = if self.chance(share) { self.draw_ms(late_ms) } else { Duration::ZERO };
        self.draw_ms(latency_ms) + extra
    }

    fn reach(&self, from: Server, to: MemberId) -> Reach {
        if !self.addresses.get(&from).is_some_and(|known| known.contains(&to)) {
            return Reach::Refused("there is no address");
        }
        let me = MemberId(from.member);
        if self.cut.contains(&(me, to)) || self.cut.contains(&(to, me)) {
            return Reach::Silent;
        }
        match self.up.get(&to) {
            Some(&server) => Reach::Up(server),
            None if self.silent.contains(&to) => Reach::Silent,
            None => Reach::Refused("connection refused"),
        }
    }

    /// Sends a call or its answer, unless it is lost.
    fn post(&mut self, from: Server, to: Server, content: Content) {
        let is_cut = self.cut.contains(&(MemberId(from.member), MemberId(to.member)));
        let loss = self.weather.loss;
        if !is_cut && !self.chance(loss) {
            let due = self.now + self.latency();
            self.fly(due, to, content);
        }
    }

    /// Sends a part of a stream after the parts before it.
    fn post_in_order(&mut self, id: u64, is_answer: bool, content: Content) {
        let Some(stream) = self.streams.get(&id) else { return };
        let (from, to) = if is_answer { (stream.callee, stream.caller) } else { (stream.caller, stream.callee) };
        let after = if is_answer { stream.due_back } else { stream.due_out };
        if stream.is_stalled {
            return;
        }
        if self.cut.contains(&(MemberId(from.member), MemberId(to.member))) {
            return self.stall(id);
        }
        let loss = self.weather.loss;
        let resend = if self.chance(loss) { self.draw_ms(RESEND_MS) } else { Duration::ZERO };
        let due = (self.now + self.latency() + resend).max(after);
        if let Some(stream) = self.streams.get_mut(&id) {
            *(if is_answer { &mut stream.due_back } else { &mut stream.due_out }) = due;
        }
        self.fly(due, to, content);
    }

    /// Nothing more arrives on a stream; some time later both sides find out.
    fn stall(&mut self, id: u64) {
        let after = self.draw_ms(STALL_MS);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.is_stalled {
            stream.is_stalled = true;
            let (due, to) = (self.now + after, stream.callee);
            self.fly(due, to, Content::Break { stream: id });
        }
    }

    fn break_soon(&mut self, id: u64) {
        let due = self.now + self.latency();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.is_stalled = true;
        let to = stream.callee;
        self.fly(due, to, Content::Break { stream: id });
    }

    fn end_broken(&mut self, id: u64) {
        let is_cancelled = self.chance(0.5);
        let Some(stream) = self.streams.remove(&id) else { return };
        let broken = || PeerError::Broken("connection reset".into());
        stream.answers.push(Err(broken()));
        stream.answers.end();
        if let Some(inbound) = stream.inbound {
            inbound.push(Err(broken()));
            inbound.end();
        }
        // A server may drop what it does for a connection that is gone, or leave it to hear of that.
        if let Some(serving) = stream.serving.filter(|_| is_cancelled) {
            serving.abort();
        }
    }

    fn reset_call(&mut self, call: u64) {
        let latency = self.latency();
        let Some(waiting) = self.calls.get(&call) else { return };
        let (due, to) = (self.now + latency, waiting.caller);
        self.fly(due, to, Content::CallAnswer { call, result: Err(PeerError::Broken("connection reset".into())) });
    }

    fn open(&mut self, envelope: Envelope, callee: Server, caller: Server, head: Option<Bytes>) -> Opened {
        let (answers, outlet) = pipe();
        let (requests, source) = mpsc::channel(APPEND_QUEUE_LEN);
        let id = self.number();
        let stream = Stream {
            caller,
            callee,
            envelope,
            snapshot_head: head,
            source: Some(source),
            answers,
            inbound: None,
            serving: None,
            due_out: self.now,
            due_back: self.now,
            is_stalled: false,
        };
        self.streams.insert(id, stream);
        Opened { requests, answers: outlet }
    }

    fn collect(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.answers.is_abandoned() {
            return self.break_soon(id);
        }
        loop {
            let Some(stream) = self.streams.get_mut(&id) else { return };
            let Some(source) = &mut stream.source else { return };
            let (envelope, is_append) = (stream.envelope, stream.snapshot_head.is_none());
            match source.try_recv() {
                Ok(body) => {
                    let duplicate = self.weather.duplicate;
                    if is_append && self.chance(duplicate) {
                        self.haunt(id, Content::Ghost { envelope, body: body.clone() });
                    }
                    let strange = self.weather.strange;
                    if is_append && self.chance(strange) {
                        let envelope = self.disguise(envelope);
                        self.haunt(id, Content::Stranger { envelope, body: body.clone() });
                    }
                    self.post_in_order(id, false, Content::Part { stream: id, body });
                }
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    stream.source = None;
                    return self.post_in_order(id, false, Content::Finish { stream: id });
                }
            }
        }
    }

    /// Under another cluster's name, or for another member.
    fn disguise(&mut self, envelope: Envelope) -> Envelope {
        if self.chance(0.5) {
            Envelope { cluster: ClusterId(envelope.cluster.0 + 1), ..envelope }
        } else {
            Envelope { to: envelope.from, ..envelope }
        }
    }

    fn haunt(&mut self, id: u64, ghost: Content) {
        let late = self.draw_ms(STALL_MS);
        if let Some(stream) = self.streams.get(&id) {
            let (due, to) = (self.now + late, stream.callee);
            self.fly(due, to, ghost);
        }
    }
}

/// The caller's ends of a stream.
struct Opened {
    requests: mpsc::Sender<Bytes>,
    answers: Outlet<Result<Bytes, PeerError>>,
}

impl Wire {
    /// From the instant at which the disk has crashed nobody hears anything of this process.
    fn is_dead(&self) -> bool {
        self.disk.is_crashed()
    }

    fn answer_call(&self, call: u64, result: Result<Bytes, Refusal>) {
        let mut state = self.network.0.lock();
        let Some(waiting) = state.calls.get(&call) else { return };
        let (from, to) = (waiting.callee, waiting.caller);
        if !self.is_dead() {
            state.post(from, to, Content::CallAnswer { call, result: result.map_err(PeerError::from) });
        }
    }

    fn answer_stream(&self, stream: u64, result: Result<Bytes, Refusal>) {
        if !self.is_dead() {
            let result = result.map_err(PeerError::from);
            self.network.0.lock().post_in_order(stream, true, Content::StreamAnswer { stream, result });
        }
    }

    fn end_stream(&self, stream: u64) {
        if !self.is_dead() {
            self.network.0.lock().post_in_order(stream, true, Content::StreamEnd { stream });
        }
    }

    /// Opens a stream, or tells after how long and why it cannot be.
    fn open(&self, envelope: Envelope, head: Option<Bytes>) -> Result<Opened, (Duration, PeerError)> {
        let mut state = self.network.0.lock();
        match state.reach(self.me, envelope.to) {
            Reach::Up(callee) if !self.is_dead() => Ok(state.open(envelope, callee, self.me, head)),
            Reach::Refused(why) => Err((state.latency(), PeerError::Unreachable(why.into()))),
            Reach::Up(_) | Reach::Silent => Err((CONNECT_TIMEOUT, PeerError::Unreachable("no answer".into()))),
        }
    }
}

impl Transport for Wire {
    fn set_addresses(&self, addresses: BTreeMap<MemberId, Vec<String>>) {
        let leads_there = |member: &MemberId, urls: &[String]| urls.contains(&url_of(*member));
        let known = addresses.iter().filter(|(member, urls)| leads_there(member, urls)).map(|(&member, _)| member);
        self.network.0.lock().addresses.insert(self.me, known.collect());
    }

    fn call(
        &self,
        envelope: Envelope,
        method: Method,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let (answer, answered) = oneshot::channel();
        let refused = {
            let mut state = self.network.0.lock();
            match state.reach(self.me, envelope.to) {
                Reach::Up(callee) if !self.is_dead() => {
                    let call = state.number();
                    state.calls.insert(call, Call { caller: self.me, callee, answer });
                    let is_rafts = matches!(method, Method::Vote | Method::PreVote | Method::Heartbeat);
                    let duplicate = state.weather.duplicate;
                    if is_rafts && state.chance(duplicate) {
                        let due = state.now + state.draw_ms(STALL_MS);
                        state.fly(due, callee, Content::Call { answer_to: None, envelope, method, body: body.clone() });
                    }
                    state.post(self.me, callee, Content::Call { answer_to: Some(call), envelope, method, body });
                    None
                }
                Reach::Refused(why) => Some((state.latency(), PeerError::Unreachable(why.into()))),
                Reach::Up(_) | Reach::Silent => Some((within, PeerError::Timeout)),
            }
        };
        Box::pin(async move {
            if let Some((after, error)) = refused {
                tokio::time::sleep(after.min(within)).await;
                return Err(error);
            }
            match tokio::time::timeout(within, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(PeerError::Broken("connection reset".into())),
                Err(_) => Err(PeerError::Timeout),
            }
        })
    }

    fn append(&self, envelope: Envelope) -> BoxFuture<Result<AppendPipe, PeerError>> {
        let opened = self.open(envelope, None);
        Box::pin(async move {
            match opened {
                Ok(Opened { requests, answers }) => Ok(AppendPipe { requests, answers: Box::pin(answers) }),
                Err((after, error)) => {
                    tokio::time::sleep(after).await;
                    Err(error)
                }
            }
        })
    }

    fn snapshot(
        &self,
        envelope: Envelope,
        head: Bytes,
        source: Arc<dyn SnapshotSource>,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let opened = self.open(envelope, Some(head));
        Box::pin(async move {
            let Opened { requests, mut answers } = match opened {
                Ok(opened) => opened,
                Err((after, error)) => {
                    tokio::time::sleep(after).await;
                    return Err(error);
                }
            };
            let mut bytes = Vec::new();
            source.write_to(0, &mut bytes).map_err(|error| PeerError::Broken(error.to_string().into()))?;
            let bytes = Bytes::from(bytes);
            for from in (0..bytes.len()).step_by(SNAPSHOT_CHUNK_BYTES) {
                let chunk = bytes.slice(from..bytes.len().min(from + SNAPSHOT_CHUNK_BYTES));
                if requests.send(chunk).await.is_err() {
                    break;
                }
            }
            drop(requests);
            answers.next().await.unwrap_or_else(|| Err(PeerError::Broken("no answer".into())))
        })
    }
}

mod tests;
