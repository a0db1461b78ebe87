//! Ports of the loopback interface that a process keeps from one start to the next.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports are taken from here on: below those that the system gives to outgoing connections. Else a client that tries to
/// reach a member which is down could be given the member's own port.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// A port that nobody listens on. Processes begin at different places, so that two test runs seldom meet.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id().wrapping_mul(97) % u32::from(PORTS)) as u16;
    for _ in 0..PORTS {
        let port = FIRST_PORT + (first + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
