//! The network by itself: two members that echo what they hear.

use lodemark::model::ClusterId;
use lodemark::peer::BoxStream;

use super::*;

const QUANTUM: Duration = Duration::from_millis(2);

/// Answers everything with what was asked.
struct Echo {
    heard: Mutex<Vec<Bytes>>,
}

impl Handler for Echo {
    fn call(&self, _: Envelope, _: Method, body: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        self.heard.lock().push(body.clone());
        Box::pin(std::future::ready(Ok(body)))
    }

    fn append(
        &self,
        _: Envelope,
        requests: BoxStream<Result<Bytes, PeerError>>,
    ) -> Result<BoxStream<Result<Bytes, Refusal>>, Refusal> {
        Ok(Box::pin(requests.filter_map(|request| std::future::ready(request.ok().map(Ok)))))
    }

    fn snapshot(
        &self,
        _: Envelope,
        head: Bytes,
        mut chunks: BoxStream<Result<Bytes, PeerError>>,
    ) -> BoxFuture<Result<Bytes, Refusal>> {
        Box::pin(async move {
            let mut bytes = head.to_vec();
            while let Some(chunk) = chunks.next().await {
                bytes.extend(chunk.map_err(Refusal::malformed)?);
            }
            Ok(bytes.into())
        })
    }
}

/// Two members on runtimes of their own.
struct Pair {
    network: Network,
    now: Moment,
    runtimes: Vec<tokio::runtime::Runtime>,
    endpoints: BTreeMap<MemberId, Endpoint>,
    echoes: Vec<Arc<Echo>>,
}

fn server(member: u64) -> Server {
    Server { member, start: 1 }
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let network = Network::new(seed, Trace::new());
        let mut pair =
            Pair { network, now: Moment::ZERO, runtimes: vec![], endpoints: BTreeMap::new(), echoes: vec![] };
        let addresses: BTreeMap<_, _> = (1..=2).map(|id| (MemberId(id), vec![url_of(MemberId(id))])).collect();
        for member in 1..=2 {
            let builder = &mut tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_time().start_paused(true).build().unwrap();
            let wire = pair.network.start(server(member), SimDisk::new());
            wire.set_addresses(addresses.clone());
            let echo = Arc::new(Echo { heard: Mutex::default() });
            let handler: Arc<dyn Handler> = echo.clone();
            let endpoint = Endpoint { runtime: runtime.handle().clone(), handler: Some(handler), wire };
            pair.endpoints.insert(MemberId(member), endpoint);
            pair.runtimes.push(runtime);
            pair.echoes.push(echo);
        }
        pair
    }

    fn run(&mut self, quanta: u32) {
        for _ in 0..quanta {
            self.network.deliver(self.now, &self.endpoints);
            for runtime in &self.runtimes {
                runtime.block_on(async { tokio::time::sleep(QUANTUM).await });
            }
            self.network.collect(server(1));
            self.network.collect(server(2));
            self.now += QUANTUM;
        }
    }

    /// Runs something on the first member; gives what came of it, if it came in time.
    fn run_on_first<T: Send + 'static>(
        &mut self,
        quanta: u32,
        act: impl FnOnce(Arc<Wire>, Envelope) -> BoxFuture<T>,
    ) -> Option<T> {
        let envelope = Envelope { cluster: ClusterId(1), from: MemberId(1), to: MemberId(2) };
        let future = act(self.endpoints[&MemberId(1)].wire.clone(), envelope);
        let task = self.runtimes[0].spawn(future);
        self.run(quanta);
        if !task.is_finished() {
            task.abort();
            return None;
        }
        Some(self.runtimes[0].block_on(task).unwrap())
    }

    fn call(&mut self, method: Method, quanta: u32) -> Option<Result<Bytes, PeerError>> {
        let body = Bytes::from_static(b"x");
        self.run_on_first(quanta, |wire, envelope| wire.call(envelope, method, body, Duration::from_millis(200)))
    }

    fn stream(&mut self, quanta: u32) -> Option<Vec<Result<Bytes, PeerError>>> {
        self.run_on_first(quanta, |wire, envelope| {
            Box::pin(async move {
                let AppendPipe { requests, answers } = match wire.append(envelope).await {
                    Ok(pipe) => pipe,
                    Err(error) => return vec![Err(error)],
                };
                for part in 0..10u8 {
                    requests.send(Bytes::from(vec![part])).await.unwrap();
                }
                drop(requests);
                answers.collect().await
            })
        })
    }
}

#[test]
fn a_call_is_answered_and_every_part_of_a_stream_is_in_order() {
    let mut pair = Pair::new(1);
    assert_eq!(pair.call(Method::Propose, 10), Some(Ok(Bytes::from_static(b"x"))));
    let parts: Vec<_> = (0..10u8).map(|part| Ok(Bytes::from(vec![part]))).collect();
    assert_eq!(pair.stream(30), Some(parts));
}

#[test]
fn a_cut_in_either_direction_leaves_a_call_without_an_answer() {
    for cut in [(MemberId(1), MemberId(2)), (MemberId(2), MemberId(1))] {
        let mut pair = Pair::new(1);
        pair.network.set_cut(BTreeSet::from([cut]));
        assert_eq!(pair.call(Method::Ping, 50), None, "it waits");
        assert_eq!(pair.call(Method::Ping, 150), Some(Err(PeerError::Timeout)));
        assert!(pair.stream(1000).unwrap()[0].is_err());
        pair.network.set_cut(BTreeSet::new());
        assert!(pair.call(Method::Ping, 10).unwrap().is_ok());
    }
}

#[test]
fn a_stream_on_a_link_that_is_cut_breaks() {
    let mut pair = Pair::new(1);
    let network = pair.network.clone();
    let broken = pair.run_on_first(3000, |wire, envelope| {
        Box::pin(async move {
            let AppendPipe { requests, mut answers } = wire.append(envelope).await.unwrap();
            requests.send(Bytes::from_static(b"1")).await.unwrap();
            assert!(answers.next().await.unwrap().is_ok());
            network.set_cut(BTreeSet::from([(MemberId(1), MemberId(2))]));
            requests.send(Bytes::from_static(b"2")).await.unwrap();
            answers.collect::<Vec<_>>().await
        })
    });
    assert_eq!(broken, Some(vec![Err(PeerError::Broken("connection reset".into()))]));
}

#[test]
fn only_rafts_messages_come_twice() {
    let mut pair = Pair::new(1);
    pair.network.set_weather(Weather { duplicate: 1.0, ..Weather::calm() });
    assert!(pair.call(Method::Propose, 2000).unwrap().is_ok());
    assert_eq!(pair.echoes[1].heard.lock().len(), 1);
    assert!(pair.call(Method::Vote, 2000).unwrap().is_ok());
    assert_eq!(pair.echoes[1].heard.lock().len(), 3);
}

#[test]
fn bad_weather_loses_calls_and_delays_streams() {
    let mut pair = Pair::new(3);
    pair.network.set_weather(Weather { loss: 0.5, ..Weather::calm() });
    let answered = (0..20).filter(|_| pair.call(Method::Ping, 150) == Some(Ok(Bytes::from_static(b"x")))).count();
    assert!((1..15).contains(&answered), "{answered} of 20");
    assert_eq!(pair.stream(6000).unwrap().iter().filter(|part| part.is_ok()).count(), 10);
}

#[test]
fn a_process_that_died_refuses_and_a_machine_that_died_is_silent() {
    let mut pair = Pair::new(1);
    pair.network.stop(server(2), false);
    assert!(matches!(pair.call(Method::Ping, 10), Some(Err(PeerError::Unreachable(_)))));
    pair.network.stop(server(2), true);
    assert_eq!(pair.call(Method::Ping, 200), Some(Err(PeerError::Timeout)));
}

#[test]
fn nobody_hears_of_a_member_after_its_disk_has_crashed() {
    let mut pair = Pair::new(1);
    let disk = SimDisk::new();
    let wire = pair.network.start(server(2), disk.clone());
    pair.endpoints.get_mut(&MemberId(2)).unwrap().wire = wire;
    disk.crash_now();
    assert_eq!(pair.call(Method::Ping, 200), Some(Err(PeerError::Timeout)));
    assert_eq!(pair.echoes[1].heard.lock().len(), 1, "it heard, and its answer did not leave it");
}

#[test]
fn a_member_that_sleeps_hears_everything_later() {
    let mut pair = Pair::new(1);
    pair.network.fall_asleep(MemberId(2));
    assert_eq!(pair.call(Method::Ping, 20), None);
    pair.network.wake_up(MemberId(2));
    pair.run(10);
    assert_eq!(pair.echoes[1].heard.lock().len(), 1);
}

#[test]
fn a_snapshot_arrives_whole() {
    struct Bytes100k;
    impl SnapshotSource for Bytes100k {
        fn write_to(&self, offset: u64, out: &mut dyn std::io::Write) -> std::io::Result<()> {
            out.write_all(&vec![7; 100_000 - usize::try_from(offset).unwrap()])
        }
    }
    let mut pair = Pair::new(1);
    let head = Bytes::from_static(b"head");
    let answer = pair.run_on_first(100, |wire, envelope| wire.snapshot(envelope, head, Arc::new(Bytes100k)));
    let answer = answer.unwrap().unwrap();
    assert_eq!((answer.len(), &answer[..5]), (100_004, &b"head\x07"[..]));
}
