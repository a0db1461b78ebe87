//! Members that found their cluster through a service: an etcd or a Lodemark in which they register. What is registered, and
//! what comes of it, is the same whichever of the two runs where, so the founders are real processes of either kind.

mod founding;
mod refusals;
mod secure;
mod waiting;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use etcd_client::{Client, GetOptions};
use serde_json::Value;

use crate::harness::{Process, Program, free_port};

const READY: &str = "ready to serve client requests";
const WAITING: &str = "waiting for peers from discovery service";
const TOKEN: &str = "tok";

/// This program, and etcd if there is one.
fn programs() -> Vec<Program> {
    [Program::lodemark()].into_iter().chain(Program::etcd()).collect()
}

/// Where a member that is to find others lives; the same from one start to the next.
#[derive(Debug, Clone)]
struct Founder {
    name: String,
    client_port: u16,
    peer_port: u16,
    /// Everything but places.
    flags: Vec<String>,
}

impl Founder {
    /// One that registers at `endpoint`.
    fn new(number: usize, endpoint: &str) -> Founder {
        let flags = vec![format!("--discovery-token={TOKEN}"), format!("--discovery-endpoints={endpoint}")];
        Founder { name: format!("m{number}"), client_port: free_port(), peer_port: free_port(), flags }
    }

    /// The same with more flags.
    fn with(mut self, flags: &[&str]) -> Founder {
        self.flags.extend(flags.iter().copied().map(str::to_owned));
        self
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// As it registers.
    fn registered(&self) -> String {
        format!("{}={}", self.name, self.peer_url())
    }

    fn data_dir(&self, folder: &Path) -> PathBuf {
        folder.join(&self.name)
    }

    /// Starts it below `folder`, and waits for nothing.
    fn start(&self, program: &Program, folder: &Path) -> Process {
        let (client, peer) = (self.endpoint(), self.peer_url());
        let fixed = [
            format!("--name={}", self.name),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--data-dir={}", self.data_dir(folder).display()),
        ];
        program.start(fixed.iter().chain(&self.flags).map(OsString::from), folder)
    }

    async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.unwrap()
    }
}

fn size_key() -> String {
    format!("/_etcd/registry/{TOKEN}/_config/size")
}

fn member_key(id: &str) -> String {
    format!("/_etcd/registry/{TOKEN}/members/{id}")
}

/// All that is registered, in the order of keys.
async fn registered(service: &mut Client) -> Vec<(String, String)> {
    let found = service.get("/_etcd/registry/", Some(GetOptions::new().with_prefix())).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    found.kvs().iter().map(|pair| (text(pair.key()), text(pair.value()))).collect()
}

/// The lines that are JSON; etcd's libraries say others.
fn lines(lines: &[String]) -> Vec<Value> {
    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
