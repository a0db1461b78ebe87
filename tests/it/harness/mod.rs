//! Real processes: this program, and etcd beside it to compare with.
//!
//! Each runs on a folder of its own and on ports that the system chose; a test learns them from the log. A process ends
//! with the value that stands for it, so nothing outlives its test. What it logged is printed when the test fails.
//! Nothing here waits without a limit.

#![allow(dead_code, reason = "the vocabulary is whole, whichever tests use it today")]

mod member;
mod needs;
mod process;
mod reference;
mod server;

pub use member::{Member, Program, Site};
pub use needs::{has_program, number, seed, skip};
pub use process::Process;
pub use reference::{Etcd, reference};
pub use server::{Options, Server, address};
