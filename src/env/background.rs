//! Threads that give way.

use std::io;
use std::thread::{Builder, JoinHandle};

/// How much less a background thread counts than others where cores are short: about a tenth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Starts a thread for work that takes long and that nobody waits for as others wait for an answer. Where cores are short
/// those others go first (on Linux).
///
/// # Errors
/// If the system starts no more threads.
pub fn spawn_background<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        // Elsewhere it would be the whole process. A thread that is not let go down is as important as any other.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(NICENESS);
        body()
    })
}
