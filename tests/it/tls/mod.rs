//! TLS beside a real etcd: the same set-ups let the same clients in (`matrix`); files that are replaced under load
//! (`reload`), also those that members show each other (`peers`); what is said at start (`start`).
//!
//! What a certificate must be is tested where it is checked, in `net::tls`. More with real programs: `client_tls`, `peer_tls`.

mod matrix;
mod peers;
mod reload;
mod start;

use std::ffi::OsString;
use std::path::Path;

use crate::harness::{Authority, Process, Usage, Wanted, free_port, own_program};

/// Flags for the certificate that is good, and for its authority.
const OWN: [&str; 2] = ["--cert-file=server.pem", "--key-file=server.key"];
const TRUSTS: &str = "--trusted-ca-file=ca.pem";
const ASKS: &str = "--client-cert-auth";
/// The serial number of the certificate that is revoked.
const REVOKED: u64 = 77;
const HERE: &[&str] = &["127.0.0.1", "localhost"];

/// Writes what all set-ups take: one file for each thing that can be wrong with a certificate.
fn issue(dir: &Path) {
    let authority = Authority::new("ours");
    authority.write(dir);
    let good = Wanted::new("server", 1, HERE);
    for (file, wanted) in [
        ("server", good),
        ("alice", Wanted { usage: Usage::Client, ..Wanted::new("alice", 2, &["alice.invalid"]) }),
        ("here", Wanted { usage: Usage::Client, ..Wanted::new("here", 3, HERE) }),
        ("elsewhere", Wanted::new("elsewhere", 4, &["10.9.9.9", "elsewhere.invalid"])),
        ("expired", Wanted { years: (2019, 2020), serial: 5, ..good }),
        ("future", Wanted { years: (2098, 2099), serial: 6, ..good }),
        ("for_servers", Wanted { usage: Usage::Server, serial: 7, ..good }),
        ("for_clients", Wanted { usage: Usage::Client, serial: 8, ..good }),
        ("revoked", Wanted { serial: REVOKED, ..good }),
    ] {
        authority.issue_wanted(dir, file, wanted);
    }
    authority.revoke(&dir.join("crl.der"), &[REVOKED]);
    Authority::new("theirs").issue(dir, "stranger", "server", 1, HERE);
}

/// Starts `program` in `dir` with places to listen of its own and `flags`; waits for nothing.
fn launch(program: &Path, dir: &Path, client_url: &str, peer_url: &str, flags: &[&str]) -> Process {
    // Each start has a folder of its own.
    let data_dir = format!("data-{}", client_url.rsplit(':').next().unwrap_or_default());
    let fixed = [
        format!("--listen-client-urls={client_url}"),
        format!("--advertise-client-urls={client_url}"),
        format!("--listen-peer-urls={peer_url}"),
        format!("--data-dir={data_dir}"),
    ];
    let arguments: Vec<OsString> =
        fixed.into_iter().map(OsString::from).chain(flags.iter().map(OsString::from)).collect();
    Process::start(program, &arguments, dir)
}

/// Starts this program so that it should fail; gives the exit status and what it said.
fn refused(dir: &Path, client_url: &str, peer_url: &str, flags: &[&str]) -> (Option<i32>, String) {
    let (status, _, said) = launch(&own_program(), dir, client_url, peer_url, flags).output();
    (status, said)
}

/// A URL on a port that nobody else has.
fn some_url(scheme: &str) -> String {
    format!("{scheme}://127.0.0.1:{}", free_port())
}
