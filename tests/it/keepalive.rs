//! Pings, on connections to a real etcd and to this server.

use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::frames::{DATA, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING};
use crate::harness::{Etcd, Options, Process, Server, reference};

/// The last word to a client that pings too often. Source: RFC 9113, section 7.
const ENHANCE_YOUR_CALM: u8 = 0x0b;

/// Both servers.
struct Both {
    own: Server,
    etcd: Etcd,
}

impl Both {
    /// Starts both with the same flags; `None` if there is no etcd to compare with.
    fn start(flags: &[&str]) -> Option<Both> {
        let etcd = Etcd::start(&reference()?, flags);
        let flags = flags.iter().copied().map(str::to_owned).collect();
        Some(Both { own: Server::start(&Options { flags, ..Options::default() }), etcd })
    }

    fn addresses(&self) -> [&str; 2] {
        [self.etcd.client_address(), self.own.client_address()]
    }
}

fn too_many_pings(last_stream: u8) -> Frame {
    let payload = [&[0, 0, 0, last_stream, 0, 0, 0, ENHANCE_YOUR_CALM], &b"too_many_pings"[..]].concat();
    Frame::new(GOAWAY, 0, 0, &payload)
}

/// Sends ten pings, one each `gap`; tells how many were answered until the server said that it was too many, if it did.
fn pings_until_too_many(connection: &mut Frames, gap: Duration) -> Option<usize> {
    let mut answered = 0;
    for number in 0..10 {
        connection.send(&[Frame::ping(number)]);
        let next = Instant::now() + gap;
        while let Ok(frame) = connection.next_before(next) {
            match frame.expect("the connection says why it ends") {
                frame if frame.kind == GOAWAY => {
                    assert!(frame.payload.ends_with(b"\x0btoo_many_pings"), "{frame:?}");
                    return Some(answered);
                }
                frame => answered += usize::from(frame.kind == PING),
            }
        }
    }
    None
}

/// Opens a watch of everything; waits until it is there.
fn watch(connection: &mut Frames) {
    // WatchRequest { create_request: { key: "\0", range_end: "\0" } }
    let message = b"\0\0\0\0\x08\x0a\x06\x0a\x01\0\x12\x01\0";
    connection.send(&[Frame::call(1, "/etcdserverpb.Watch/Watch"), Frame::new(DATA, 0, 1, message)]);
    assert!(connection.next_of(&[HEADERS]).is_some());
    assert!(connection.next_of(&[DATA]).is_some());
}

#[test]
fn a_client_that_pings_too_often_is_told_so_and_let_go_of() {
    let Some(both) = Both::start(&[]) else { return };
    for address in both.addresses() {
        let mut connection = Frames::connect(address);
        let pings: Vec<Frame> = (0..6).map(Frame::ping).collect();
        for ping in &pings[..3] {
            connection.send(std::slice::from_ref(ping));
            assert_eq!(connection.next_of(&[PING, GOAWAY]), Some(ping.pong()), "{address}");
        }
        connection.send(&pings[3..4]);
        assert_eq!(connection.next_of(&[PING, GOAWAY]), Some(pings[3].pong()), "{address}");
        assert_eq!(connection.next_of(&[PING, GOAWAY]), Some(too_many_pings(0)), "{address}");
        // What comes after that is not answered, and does not keep the connection open.
        connection.send(&pings[4..]);
        assert_eq!(connection.next_of(&[PING, GOAWAY]), None, "{address}");
    }
}

#[test]
fn a_client_with_a_call_may_ping_at_its_pace() {
    let Some(both) = Both::start(&["--grpc-keepalive-min-time=500ms"]) else { return };
    for address in both.addresses() {
        let mut slow = Frames::connect(address);
        watch(&mut slow);
        assert_eq!(pings_until_too_many(&mut slow, Duration::from_millis(550)), None, "{address}");

        let mut fast = Frames::connect(address);
        watch(&mut fast);
        // The first one follows an answer, three come too soon.
        assert_eq!(pings_until_too_many(&mut fast, Duration::from_millis(50)), Some(4), "{address}");

        let mut idle = Frames::connect(address);
        assert_eq!(pings_until_too_many(&mut idle, Duration::from_millis(550)), Some(4), "{address}");
    }
}

#[test]
fn a_client_that_is_sent_something_may_ping_as_it_likes() {
    let Some(both) = Both::start(&[]) else { return };
    for address in both.addresses() {
        let mut connection = Frames::connect(address);
        for number in 0..20 {
            let stream = 2 * u32::try_from(number).expect("there are few") + 1;
            // RangeRequest { key: "a" }
            let range = Frame::new(DATA, END_STREAM, stream, b"\0\0\0\0\x03\x0a\x01a");
            connection.send(&[Frame::call(stream, "/etcdserverpb.KV/Range"), range]);
            while connection.next_of(&[HEADERS]).expect("an answer").flags & END_STREAM == 0 {}
            connection.send(&[Frame::ping(number)]);
            assert_eq!(connection.next_of(&[PING, GOAWAY]), Some(Frame::ping(number).pong()), "{address}");
        }
    }
}

#[test]
fn a_silent_client_is_pinged_and_let_go_of_if_it_does_not_answer() {
    let Some(both) = Both::start(&["--grpc-keepalive-interval=1s", "--grpc-keepalive-timeout=3s"]) else { return };
    // No sooner; how much later depends on the machine.
    let waited = |since: Instant, seconds: u64| since.elapsed() >= Duration::from_secs(seconds);
    for address in both.addresses() {
        let begun = Instant::now();
        let mut dead = Frames::connect(address);
        let ping = dead.next_of(&[PING]).expect("a ping");
        assert!(ping.flags == 0 && waited(begun, 1), "{address}: {:?}", begun.elapsed());
        assert_eq!(dead.next_of(&[PING, GOAWAY]), None, "{address}");
        assert!(waited(begun, 4), "{address}: {:?}", begun.elapsed());

        // It answers one ping after the other.
        let mut alive = Frames::connect(address);
        for _ in 0..3 {
            let ping = alive.next_of(&[PING]).expect("a ping");
            assert_eq!(ping.flags, 0, "{address}");
            alive.send(&[ping.pong()]);
            alive.settle().expect("it lives");
        }
    }
}

/// etcdctl is told to ping every 2 s; its library makes that 10 s, twice of which this waits.
#[test]
fn etcdctl_watches_for_long_while_it_pings() {
    let Some(reference) = reference() else { return };
    let server = Server::start(&Options::default());
    let endpoints = format!("--endpoints={}", server.endpoint());
    let arguments = ["watch", "k", "--keepalive-time=2s", "--keepalive-timeout=2s", &endpoints, "--debug"];
    let etcdctl = reference.join("etcdctl");
    let temp = tempfile::tempdir().unwrap();
    let watch = Process::start(&etcdctl, &arguments.map(Into::into), temp.path());
    std::thread::sleep(Duration::from_secs(22));
    let put = Command::new(&etcdctl).args([&endpoints, "put", "k", "v"]).output().unwrap();
    assert!(put.status.success(), "{put:?}");
    std::thread::sleep(Duration::from_secs(1));
    watch.terminate();
    let (_, stdout, stderr) = watch.output();
    assert_eq!(stdout, "PUT\nk\nv\n", "{stderr}");
    assert!(!stderr.contains("too_many_pings") && !stderr.contains("retrying"), "{stderr}");
}
