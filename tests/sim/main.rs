//! Simulated clusters: members, network, disks, clocks and clients in one thread, all decided by a seed.
//!
//! `world` has the members and time, `network` what travels between members, `faults` what goes wrong, `clients`,
//! `locks` and `watchers` what is asked, `run` the course of one seed; `tests/checks` judges what clients were told.
//!
//! | variable | what it does |
//! | --- | --- |
//! | `SIM_SEED=n` | runs one seed |
//! | `SIM_SEEDS=a..b` | runs many |
//! | `SIM_MISTAKES=n` | looks for the first of so many seeds that shows each mistake made on purpose |
//! | `SIM_MEMBERS=n` | runs clusters of that size |
//! | `SIM_TRACE=file` | writes everything that was told to a file |
//! | `SIM_LOG=lodemark=info,sim=info` | prints what members log, chosen as by `RUST_LOG`; `sim` tells who and when |
//! | `SIM_TOLD=1` | prints what went wrong on purpose, and how much was done |

#![allow(clippy::unwrap_used, reason = "what helps a test may fail as the test itself may")]

#[path = "../checks/mod.rs"]
mod checks;
#[path = "../model/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod model;

#[cfg(tokio_unstable)]
mod clients;
#[cfg(tokio_unstable)]
mod faults;
#[cfg(tokio_unstable)]
mod front;
#[cfg(tokio_unstable)]
mod locks;
#[cfg(tokio_unstable)]
mod member;
#[cfg(tokio_unstable)]
mod mistakes;
#[cfg(tokio_unstable)]
mod network;
#[cfg(tokio_unstable)]
mod pipe;
#[cfg(tokio_unstable)]
mod replacement;
#[cfg(tokio_unstable)]
mod run;
#[cfg(tokio_unstable)]
mod seeds;
#[cfg(tokio_unstable)]
mod trace;
#[cfg(tokio_unstable)]
mod watchers;
#[cfg(tokio_unstable)]
mod workload;
#[cfg(tokio_unstable)]
mod world;

#[cfg(not(tokio_unstable))]
#[test]
fn the_simulation_is_skipped() {
    let why = "the simulation needs tokio's seeded randomness: build with --cfg tokio_unstable, as .cargo/config.toml \
               does (RUSTFLAGS in the environment replace what stands there)";
    eprintln!("SKIPPED: {why}");
    assert!(std::env::var("LODEMARK_NO_SKIP").as_deref() != Ok("1"), "{why}");
}
