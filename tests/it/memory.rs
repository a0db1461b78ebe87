//! The memory of a process, as the system counts it.

use std::time::Duration;

/// Memory that still moves by this much within [`SETTLING_TIME`] has not settled.
const SETTLED_BYTES: u64 = 1024 * 1024;
const SETTLING_TIME: Duration = Duration::from_secs(2);
/// Looks at whether memory has settled.
const SETTLING_LOOKS_MAX: u32 = 60;

/// Resident memory, in bytes.
pub fn resident(pid: u32) -> u64 {
    of_status(pid, "VmRSS:")
}

/// The most that it ever was.
pub fn peak(pid: u32) -> u64 {
    of_status(pid, "VmHWM:")
}

fn of_status(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let kib = status.lines().find_map(|line| line.strip_prefix(field)).expect("the system tells");
    kib.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Waits until what was written is in the checkpoint and memory moves no more.
pub async fn settled(pid: u32) -> u64 {
    let mut last = resident(pid);
    for _ in 0..SETTLING_LOOKS_MAX {
        tokio::time::sleep(SETTLING_TIME).await;
        let now = resident(pid);
        if now.abs_diff(last) < SETTLED_BYTES {
            return now;
        }
        last = now;
    }
    panic!("memory does not settle: {last} bytes")
}
