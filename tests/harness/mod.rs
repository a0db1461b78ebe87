//! Real processes: this program, and etcd beside it to compare with.
//!
//! Each runs on a folder of its own and on ports that the system chose; a test learns them from the log. A process ends
//! with the value that stands for it, so nothing outlives its test. What it logged is printed when the test fails.
//! Nothing here waits without a limit.

#![allow(dead_code, unused_imports, reason = "the vocabulary is whole, whichever tests use it today")]

// The unit tests of `net` use the same.
#[path = "../../src/net/testing.rs"]
mod authority;
mod cluster;
mod ext4;
pub mod frames;
mod line;
mod member;
// The unit tests of `dns` use the same.
#[path = "../../src/dns/testing.rs"]
mod name_server;
mod needs;
mod ports;
mod process;
mod reference;
mod server;

pub use authority::{Authority, Usage, Wanted};
pub use cluster::{Cluster, Place};
pub use ext4::{Cut, Ext4};
pub use line::Line;
pub use member::{Member, Program, Site, own_program};
pub use name_server::{NameServer, Record, Zone};
pub use needs::{can_trace, has_program, number, run, seed, skip};
pub use ports::free_port;
pub use process::Process;
pub use reference::{Etcd, reference};
pub use server::{Options, Server, address};

use lodemark::net::CertificateFiles;
