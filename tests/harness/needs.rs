//! What a test needs of the machine, and what its environment asks of it.

use std::process::{Command, Stdio};

use lodemark::env::{Random, SystemRandom};

/// With the value 1 a test that would be skipped fails.
const NO_SKIP: &str = "LODEMARK_NO_SKIP";

/// Says why a test does not run.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(std::env::var(NO_SKIP).as_deref() != Ok("1"), "{test}: {reason}");
    println!("SKIPPED {test}: {reason}");
}

/// Whether the machine has a program of this name.
pub fn has_program(name: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(name).exists())
}

/// Whether `strace` is there and may trace.
pub fn can_trace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    has_program("strace") && strace.status().is_ok_and(|status| status.success())
}

/// Runs a program to its end.
///
/// # Errors
/// What it says if it fails.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// The number in a variable of the environment.
pub fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")),
        Err(_) => default,
    }
}

/// The seed of a test: `LODEMARK_SEED`, or another one in each run.
pub fn seed() -> u64 {
    number("LODEMARK_SEED", SystemRandom.next_u64())
}
