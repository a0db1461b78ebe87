//! One of the two servers of a sequence: its process, its names, and the two ways in.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::call::{Call, Front, Outcome};
use super::gateway::GatewayFront;
use super::grpc::GrpcFront;
use super::names::Names;
use super::schema::MEMBER_LIST;
use crate::harness::{Member, Program, Site};

/// Changes an outcome before it is compared, to show that a difference is found.
pub type Tamper = fn(&Call, &mut Outcome);

pub struct Side {
    program: Program,
    /// There always, but for the moment between two starts.
    member: Option<Member>,
    pub names: Names,
    grpc: GrpcFront,
    gateway: GatewayFront,
    pub tamper: Option<Tamper>,
    /// Holds the data.
    _folder: TempDir,
}

impl Side {
    /// Starts a server with `flags`.
    pub async fn start(program: &Program, flags: &[String]) -> Side {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = Site::new(folder.path()).with_flags(flags.iter().cloned());
        let member = Member::start(program, site).await;
        let endpoint = member.endpoint();
        let mut side = Side {
            program: program.clone(),
            member: Some(member),
            names: Names::default(),
            grpc: GrpcFront::new(&endpoint),
            gateway: GatewayFront::new(&endpoint),
            tamper: None,
            _folder: folder,
        };
        side.name_itself().await;
        side
    }

    /// Asks with the server's own values; the outcome has them too.
    pub async fn ask(&mut self, call: &Call) -> Outcome {
        let sent = self.names.fill_call(call);
        let mut outcome = match call.front {
            Front::Grpc => self.grpc.ask(&sent).await,
            Front::Gateway => self.gateway.ask(&sent).await,
        };
        if let Some(tamper) = self.tamper {
            tamper(call, &mut outcome);
        }
        outcome
    }

    /// Ends the server, by a signal that it hears of or not, and starts it again.
    pub async fn restart(&mut self, is_orderly: bool) {
        let mut member = self.member.take().expect("it runs");
        let site = if is_orderly {
            member.process().terminate();
            member.ended().0
        } else {
            member.kill()
        };
        let member = Member::start(&self.program, site).await;
        (self.grpc, self.gateway) = (GrpcFront::new(&member.endpoint()), GatewayFront::new(&member.endpoint()));
        self.member = Some(member);
    }

    /// What `/version` says; nothing if that is no JSON.
    pub async fn versions(&self) -> Value {
        let address = self.member.as_ref().expect("it runs").endpoint();
        let address = address.trim_start_matches("http://").to_owned();
        let asked = move || crate::gateway::http::ask(&address, "GET", "/version", &[], b"").body;
        let body = tokio::task::spawn_blocking(asked).await.expect("asking does not panic");
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// Gives names to what the server chose when it was founded.
    async fn name_itself(&mut self) {
        let call = Call::plain(&MEMBER_LIST, json!({}));
        let outcome = self.ask(&call).await;
        let answer = outcome.answer().unwrap_or_else(|| panic!("{outcome:?}")).clone();
        let member = &answer["members"][0];
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        for (name, value) in [
            ("@cluster", &answer["header"]["cluster_id"]),
            ("@member0", &member["ID"]),
            ("@peer", &member["peerURLs"][0]),
            ("@client", &member["clientURLs"][0]),
        ] {
            self.names.insert(name, &text(value));
        }
    }
}

/// Flags of every server: passwords are hashed as quickly as may be, and simple tokens last.
pub fn flags(tokens: Tokens, folder: &Path) -> Vec<String> {
    let mut flags = vec!["--bcrypt-cost=4".to_owned(), "--auth-token-ttl=36000".to_owned()];
    if tokens == Tokens::Signed {
        let key = folder.join("key");
        std::fs::write(&key, "a key that both servers know and nobody else").expect("the folder is there");
        flags.push(format!("--auth-token=jwt,sign-method=HS256,ttl=10h,priv-key={}", key.display()));
    }
    flags
}

/// How a server knows who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// By what it has in memory.
    Simple,
    /// By a signature, until users or roles change.
    Signed,
}
