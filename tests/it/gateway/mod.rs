//! The JSON gateway beside that of a real etcd: the same requests to both, and the same answers from both.
//!
//! Both servers are fresh and asked the same in the same order, so revisions agree, and whole answers are compared: status,
//! headers, and the text of the body. What cannot be the same is masked (`mask`): ids, sizes, times. etcd's blanks are
//! random for each build of it, and are taken out.

mod access;
pub mod http;
mod limits;
mod requests;
mod streams;
mod tokens;
mod websocket;

use std::time::Duration;

use self::http::{Answer, ask};
use crate::harness::{Etcd, Options, Server, free_port, reference};

/// Between two looks at something that must come, and how many there are.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const LOOKS: usize = 4000;

/// Both servers.
pub struct Pair {
    pub own: Server,
    pub etcd: Etcd,
}

impl Pair {
    /// Starts both with the same flags; `None` if there is no etcd to compare with.
    pub fn start(flags: &[&str]) -> Option<Pair> {
        let reference = reference()?;
        let flags_of_own = flags.iter().copied().map(str::to_owned).collect();
        let own = Server::start(&Options { flags: flags_of_own, ..Options::default() });
        // Its gateway calls the port that the flag names, which must not be any.
        let listen = format!("--listen-client-urls=http://127.0.0.1:{}", free_port());
        let etcd = Etcd::start(&reference, &[&[&listen[..]], flags].concat());
        let pair = Pair { own, etcd };
        // The version of its cluster comes a little later.
        let version = |address| ask(address, "GET", "/version", &[], b"").body;
        until(|| version(pair.etcd.client_address()) == version(pair.own.client_address()));
        Some(pair)
    }

    /// Asks both; gives the answer, which must be the same.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let own = ask(self.own.client_address(), method, path, headers, body);
        let etcd = ask(self.etcd.client_address(), method, path, headers, body);
        assert_eq!(own.masked(), etcd.masked(), "{method} {path} {headers:?} {}", told(body));
        own
    }

    /// Posts the same to both.
    fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body.as_bytes())
    }
}

/// Waits for something that must come.
fn until(mut has_come: impl FnMut() -> bool) {
    let has_come = (0..LOOKS).any(|_| {
        let has_come = has_come();
        if !has_come {
            std::thread::sleep(LOOK_AGAIN);
        }
        has_come
    });
    assert!(has_come, "it comes in time");
}

/// The beginning of a body.
fn told(body: &[u8]) -> String {
    body[..body.len().min(200)].escape_ascii().to_string()
}
