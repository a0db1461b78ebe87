//! `gateway start`: forwards connections, byte by byte, to the members of a cluster that can be reached.
//!
//! ```text
//! client ── one address ──> gateway ──> m1, m2, m3 in turn; one that cannot be reached is left out for a while
//! ```
//!
//! It looks into nothing, so TLS and users are between client and member, and a certificate must be valid for the
//! gateway's name. Programs on one machine can be given one address that never changes; members may come and go behind
//! it.
//!
//! Source: etcd, `server/etcdmain/gateway.go` and `server/proxy/tcpproxy`.

mod arguments;
mod discovery;
mod endpoint;
mod forward;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;

use self::arguments::{Command, Start, command};
pub use self::arguments::{START, usage};
use self::endpoint::{Endpoints, target};
use crate::config::{LogConfig, LogLevel};
use crate::dns::{Dns, NoResolver, Target};
use crate::env::SystemRandom;
use crate::net::TlsError;
use crate::telemetry;

/// Why the gateway does not start. The texts begin as etcd's.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// An argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// The system does not say whom to ask.
    #[error(transparent)]
    Resolver(#[from] NoResolver),
    /// DNS names no member.
    #[error("dns lookup errors: {}", causes.join(" and "))]
    NobodyNamed { causes: Vec<String> },
    /// The file of those who sign certificates is none.
    #[error("{0}; look at --trusted-ca-file")]
    Authorities(#[from] TlsError),
    /// No place to listen at.
    #[error("failed to validate listen address: {0}; it is host:port")]
    ListenAddress(String),
    /// A name that nobody knows.
    #[error("failed to resolve listen host: {host}: {source}")]
    ListenHost { host: String, source: io::Error },
    /// No place to connect to.
    #[error("error parsing endpoint {0:?}; it is host:port")]
    Endpoint(String),
    /// A name that nobody knows.
    #[error("failed to resolve endpoint host: {host}: {source}")]
    EndpointHost { host: String, source: io::Error },
    /// It would connect to itself.
    #[error("SRV or endpoint ({endpoint}->{address}) should not resolve to the gateway listen addr ({listen})")]
    Itself { endpoint: String, address: std::net::SocketAddr, listen: String },
    /// The port cannot be had.
    #[error("listen tcp {address}: bind: {source}; stop the program that uses it, or choose another --listen-addr")]
    Bind { address: String, source: io::Error },
    /// The system has no threads for the process.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[from] io::Error),
}

/// Runs `gateway` with the arguments that follow, of a program whose name is `program`.
#[must_use]
pub fn main(program: &str, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match command(arguments) {
        Ok(Command::Help) => {
            use std::io::Write;
            // A reader that has gone away is no fault.
            let _ = io::stdout().write_all(usage(program).as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Command::Start(start)) => match run(&start) {
            Ok(never) => match never {},
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("Error: {error}\n{}", usage(program));
            ExitCode::FAILURE
        }
    }
}

fn run(start: &Start) -> Result<std::convert::Infallible, Error> {
    telemetry::init(LogLevel::Info, &LogConfig::default()).expect("stderr needs not be opened");
    let arguments: Vec<String> = std::env::args_os().map(|text| text.to_string_lossy().into_owned()).collect();
    tracing::info!("args.json" = telemetry::json(&arguments), "Running: ");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let targets = targets(start).await?;
        let endpoints = Endpoints::resolve(&targets, &start.listen_addr, Arc::new(SystemRandom)).await?;
        let bind = |source| Error::Bind { address: start.listen_addr.clone(), source };
        let listener = TcpListener::bind(&start.listen_addr).await.map_err(bind)?;
        telemetry::notify::ready();
        tracing::info!(
            "endpoints.json" = telemetry::json(&targets.iter().map(Target::to_string).collect::<Vec<_>>()),
            address = %listener.local_addr()?,
            "ready to proxy client requests"
        );
        Ok(forward::run(listener, endpoints, start.retry_delay).await)
    })
}

/// The members that DNS names, or else those that flags name.
async fn targets(start: &Start) -> Result<Vec<Target>, Error> {
    if let Some(discovery) = &start.discovery {
        let found = discovery.targets(&Dns::of_system()?).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    start.endpoints.iter().map(|place| target(place)).collect()
}
