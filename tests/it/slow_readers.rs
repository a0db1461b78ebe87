//! Clients that list a lot and read slowly: the server holds next to nothing for them, and writes go on.
//!
//! Keys are filled in, and written again at a steady rate while clients list all of them. Each client reads half of its
//! answer at its pace, as fast as a window of 64 KiB and its rests let the server send, and then the rest. All pairs are
//! looked at. Memory is judged; times are only printed.
//!
//! With `LODEMARK_BUDGET_MIB` the server has a budget of memory. If that is no more than the data, all it ever takes may be
//! the data and 128 MiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use etcd_client::{Client as EtcdClient, Txn, TxnOp};
use h2::RecvStream;
use prost::Message;
use prost::encoding::decode_varint;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::differential::wire::{Header, KeyValue, RangeRequest};
use crate::harness::{Member, Program, Site, number};
use crate::memory;

const MIB: u64 = 1024 * 1024;
const VALUE_BYTES: usize = 4096;
/// What a server with a budget of the size of its data may take beside that, whatever is listed.
const BESIDE_DATA_BYTES_MAX: u64 = 128 * MIB;
/// What a client that reads slowly may cost. Its answer is larger by far.
const CLIENT_BYTES_MAX: u64 = 4 * MIB;
/// What the puts meanwhile may cost.
const PUTS_BYTES_MAX: u64 = 32 * MIB;
/// What a slow client reads in a second.
const SLOW_BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;
/// Clients that write.
const WRITERS: u64 = 8;
/// Puts of all of them in a second.
const PUTS_PER_SECOND: u64 = 800;
/// Puts of one txn.
const TXN_PUTS: usize = 128;
/// Between two looks at the memory.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What stands before a message.
const PREFIX_BYTES: usize = 5;

/// How much is listed by how many, and for how long slowly.
#[derive(Debug, Clone, Copy)]
struct Size {
    clients: u64,
    keys: u64,
    slow: Duration,
    budget: Option<u64>,
}

impl Size {
    fn new() -> Size {
        Size {
            clients: number("LODEMARK_SLOW_READERS", 4),
            keys: number("LODEMARK_SLOW_MIB", 64) * MIB / VALUE_BYTES as u64,
            slow: Duration::from_secs(number("LODEMARK_SLOW_SECONDS", 4)),
            budget: Some(number("LODEMARK_BUDGET_MIB", 0) * MIB).filter(|&budget| budget > 0),
        }
    }

    fn live_bytes(self) -> u64 {
        self.keys * (name(0).len() + VALUE_BYTES) as u64
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_read_slowly_take_little_memory() {
    let (size, Memory { growth, peak }) = list_slowly(Program::lodemark()).await;
    let growth_max = size.clients * CLIENT_BYTES_MAX + PUTS_BYTES_MAX;
    assert!(growth_max < size.clients * size.live_bytes() / 2, "answers that were held whole would show");
    assert!(growth <= growth_max, "memory grew by {growth} bytes");
    if size.budget.is_some_and(|budget| budget <= size.live_bytes()) {
        let peak_max = size.live_bytes() + BESIDE_DATA_BYTES_MAX;
        assert!(peak <= peak_max, "{peak} bytes of memory where {peak_max} are allowed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "etcd holds every answer whole: this prints how much that is"]
async fn answers_of_a_real_etcd_that_are_read_slowly() {
    if let Some(etcd) = Program::etcd() {
        list_slowly(etcd).await;
    }
}

/// What a server took, in bytes.
struct Memory {
    /// More than before anything was listed.
    growth: u64,
    /// At most, in all.
    peak: u64,
}

async fn list_slowly(program: Program) -> (Size, Memory) {
    let size = Size::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = size.budget.map(|budget| format!("--memory-budget-bytes={budget}"));
    let server = Member::start(&program, Site::new(folder.path()).with_flags(flags)).await;
    fill(&server, size.keys).await;
    let before = memory::settled(server.pid()).await;

    let alone = write(&server, size).await;
    let alone_peak = memory::resident(server.pid());

    let peak = Peak::of(server.pid());
    let read_on = Arc::new(tokio::sync::Semaphore::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..size.clients {
        clients.spawn(list(server.endpoint(), size.keys, read_on.clone()));
    }
    let beside = write(&server, size).await;
    let while_slow = peak.so_far();
    read_on.close();
    while let Some(listed) = clients.join_next().await {
        listed.expect("a client gets its answer");
    }
    let peak = peak.end().await;

    let mib = |bytes: u64| bytes / MIB;
    println!("{size:?}: {} MiB of data", mib(size.live_bytes()));
    println!("resident: {} MiB before, {} MiB after puts alone", mib(before), mib(alone_peak));
    println!("resident: {} MiB at most while they read slowly, {} MiB in all", mib(while_slow), mib(peak));
    println!("that is the data and {} MiB", mib(peak.saturating_sub(size.live_bytes())));
    println!("puts alone: {}", Quantiles::of(alone));
    println!("puts beside the listing: {}", Quantiles::of(beside));
    server.terminate();
    (size, Memory { growth: peak.saturating_sub(before.max(alone_peak)), peak })
}

fn name(key: u64) -> String {
    format!("list/{key:08}")
}

fn value(key: u64) -> Vec<u8> {
    let mut value = key.to_be_bytes().repeat(VALUE_BYTES / 8);
    value[0] = b'v';
    value
}

/// Puts all keys.
async fn fill(server: &Member, keys: u64) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut client = server.client().await;
        writers.spawn(async move {
            let mine: Vec<u64> = (writer..keys).step_by(WRITERS as usize).collect();
            for keys in mine.chunks(TXN_PUTS) {
                let puts: Vec<TxnOp> = keys.iter().map(|&key| TxnOp::put(name(key), value(key), None)).collect();
                client.txn(Txn::new().and_then(puts)).await.expect("the txn is written");
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.expect("a writer ends well");
    }
}

/// Writes keys again at a steady rate; gives how long each put took from the moment that it was due.
async fn write(server: &Member, size: Size) -> Vec<Duration> {
    let mut writers = JoinSet::new();
    let end = Instant::now() + size.slow;
    for writer in 0..WRITERS {
        writers.spawn(write_some(server.client().await, writer, size.keys, end));
    }
    writers.join_all().await.concat()
}

async fn write_some(mut client: EtcdClient, writer: u64, keys: u64, end: Instant) -> Vec<Duration> {
    let between = Duration::from_secs(WRITERS) / u32::try_from(PUTS_PER_SECOND).unwrap();
    let mut ticks = tokio::time::interval(between);
    let mut times = Vec::new();
    // A stride that meets all of them.
    for key in (writer..).step_by(7919).map(|key| key % keys) {
        let due = ticks.tick().await;
        if due >= end {
            break;
        }
        client.put(name(key), value(key), None).await.expect("it is written");
        times.push(due.elapsed());
    }
    times
}

/// Lists everything: half of it slowly, or as much as it gets to until `read_on` is closed, and then the rest.
async fn list(endpoint: String, keys: u64, read_on: Arc<tokio::sync::Semaphore>) {
    let mut body = range(&endpoint).await;
    let mut listing = Listing::new(keys);
    let slow_bytes = keys * VALUE_BYTES as u64 / 2;
    while listing.bytes < slow_bytes && !read_on.is_closed() {
        let read = listing.read(&mut body).await.expect("there is more");
        tokio::time::sleep(Duration::from_secs_f64(read as f64 / SLOW_BYTES_PER_SECOND)).await;
    }
    // It is only ever closed.
    let _ = read_on.acquire().await;
    while listing.read(&mut body).await.is_some() {}
    listing.check_end();
    let trailers = body.trailers().await.expect("the stream ends well").expect("with a status");
    assert_eq!(trailers["grpc-status"], "0");
}

/// Asks for all keys, with the windows that clients have if they say nothing.
async fn range(endpoint: &str) -> RecvStream {
    let socket = TcpStream::connect(endpoint.trim_start_matches("http://")).await.expect("it listens");
    let (client, connection) = h2::client::handshake(socket).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("it takes a stream");
    let request = http::Request::post(format!("{endpoint}/etcdserverpb.KV/Range"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (answer, mut stream) = client.send_request(request, false).expect("it is sent");
    let (key, range_end) = (Bytes::from_static(b"list/"), Bytes::from_static(b"list0"));
    let message = RangeRequest { key, range_end, ..RangeRequest::default() }.encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("it is short"));
    framed.extend_from_slice(&message);
    stream.send_data(framed.freeze(), true).expect("it is sent");
    answer.await.expect("it is answered").into_body()
}

/// An answer that is looked at as it comes in.
struct Listing {
    keys: u64,
    /// What came and was not looked at.
    unread: BytesMut,
    bytes: u64,
    /// The message, as its prefix says.
    length: Option<u64>,
    next: u64,
    has_header: bool,
    count: u64,
}

impl Listing {
    fn new(keys: u64) -> Listing {
        Listing { keys, unread: BytesMut::new(), bytes: 0, length: None, next: 0, has_header: false, count: 0 }
    }

    /// Reads what has come; gives how much, or `None` at the end.
    async fn read(&mut self, body: &mut RecvStream) -> Option<usize> {
        let data = body.data().await?.expect("the answer goes on");
        body.flow_control().release_capacity(data.len()).expect("it was received");
        self.unread.extend_from_slice(&data);
        self.bytes += data.len() as u64;
        while self.look() {}
        Some(data.len())
    }

    /// Looks at the next field, if it is there.
    fn look(&mut self) -> bool {
        if self.length.is_none() {
            if self.unread.len() < PREFIX_BYTES {
                return false;
            }
            assert_eq!(self.unread.get_u8(), 0, "it is not compressed");
            self.length = Some(self.unread.get_u32().into());
            return true;
        }
        let mut ahead = &self.unread[..];
        let Ok(tag) = decode_varint(&mut ahead) else { return false };
        let Ok(number) = decode_varint(&mut ahead) else { return false };
        let is_bytes = tag & 7 == 2;
        if is_bytes && (ahead.len() as u64) < number {
            return false;
        }
        let seen = self.unread.len() - ahead.len();
        self.unread.advance(seen);
        let field = if is_bytes { self.unread.split_to(usize::try_from(number).unwrap()) } else { BytesMut::new() };
        match tag >> 3 {
            1 => self.has_header = Header::decode(field).expect("a header").revision > 0,
            2 => {
                let pair = KeyValue::decode(field).expect("a pair");
                assert_eq!(pair.key, name(self.next));
                assert!(pair.value == value(self.next), "{:?} has another value", pair.key);
                self.next += 1;
            }
            4 => self.count = number,
            field => panic!("field {field} is not to be there"),
        }
        true
    }

    fn check_end(&self) {
        assert!(self.has_header && self.unread.is_empty());
        assert_eq!((self.next, self.count), (self.keys, self.keys));
        assert_eq!(Some(self.bytes), self.length.map(|length| length + PREFIX_BYTES as u64));
    }
}

/// The most memory that a process has had since.
struct Peak {
    most: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    looking: tokio::task::JoinHandle<()>,
}

impl Peak {
    fn of(pid: u32) -> Peak {
        let (most, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (noted, told) = (most.clone(), is_over.clone());
        let looking = tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                noted.fetch_max(memory::resident(pid), Ordering::Relaxed);
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        Peak { most, is_over, looking }
    }

    fn so_far(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    async fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.looking.await.expect("it only looks");
        self.most.load(Ordering::Relaxed)
    }
}

/// How long puts took.
struct Quantiles(Vec<Duration>);

impl Quantiles {
    fn of(mut times: Vec<Duration>) -> Quantiles {
        times.sort_unstable();
        Quantiles(times)
    }

    fn at(&self, part: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part) as usize).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99, max) = (self.at(0.5), self.at(0.99), self.at(1.0));
        write!(f, "{} puts, p50 {p50:?}, p99 {p99:?}, max {max:?}", self.0.len())
    }
}
