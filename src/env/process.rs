//! What the system tells of this process.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What this process takes and may take. What the system does not tell is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFigures {
    /// Memory in use, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// As much of it as may be, in bytes; all ones are any.
    pub virtual_bytes_max: Option<u64>,
    /// Bytes that came over the network to this machine, or the part of it that the process sees.
    pub received_bytes: Option<u64>,
    /// Bytes that went over it.
    pub sent_bytes: Option<u64>,
    /// Files and sockets that are open.
    pub open_files: Option<u64>,
    /// As many as may be.
    pub open_files_max: Option<u64>,
    /// Time of processors that it has used, in seconds.
    pub cpu_seconds: Option<f64>,
    /// When it began, in seconds since 1970.
    pub started_at_seconds: Option<f64>,
}

impl ProcessFigures {
    /// Asks the system; on Linux alone it answers. Reads a few small files that are no real ones.
    ///
    /// Source: proc(5).
    #[must_use]
    pub fn now() -> ProcessFigures {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let network = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
        let (times, traffic) = (Times::of(&stat), traffic(&network));
        ProcessFigures {
            resident_bytes: kib_of(&status, "VmRSS:"),
            virtual_bytes: kib_of(&status, "VmSize:"),
            virtual_bytes_max: limit(&limits, "Max address space"),
            received_bytes: traffic.map(|(received, _)| received),
            sent_bytes: traffic.map(|(_, sent)| sent),
            // One of them is the folder that is being read.
            open_files: open.map(|count| count.saturating_sub(1)),
            open_files_max: limit(&limits, "Max open files"),
            cpu_seconds: times.map(|times| times.used),
            started_at_seconds: times.and_then(|times| Some(booted_at(&system)? + times.started_after_boot)),
        }
    }
}

/// In these files the system counts by hundredths of a second, on all machines that Rust knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// Of `/proc/self/stat`, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Times {
    used: f64,
    started_after_boot: f64,
}

impl Times {
    fn of(stat: &str) -> Option<Times> {
        // The name of the program may have anything in it, and ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        Some(Times { used: seconds(11)? + seconds(12)?, started_after_boot: seconds(19)? })
    }
}

fn kib_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What is not limited is all ones.
fn limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Bytes received and sent, all devices together.
fn traffic(devices: &str) -> Option<(u64, u64)> {
    let mut sum = None;
    for (_, counts) in devices.lines().filter_map(|line| line.split_once(':')) {
        let counts: Vec<u64> = counts.split_whitespace().map_while(|count| count.parse().ok()).collect();
        let (received, sent) = sum.unwrap_or((0u64, 0u64));
        sum = Some((received.saturating_add(*counts.first()?), sent.saturating_add(*counts.get(8)?)));
    }
    sum
}

fn booted_at(system: &str) -> Option<f64> {
    system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Each connection takes a file descriptor: this process may have as many as it may ask for, as a Go program has.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_system_are_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000 20 1844";
        assert_eq!(Times::of(stat), Some(Times { used: 3.0, started_after_boot: 123.45 }));
        assert_eq!(Times::of("7 (a) S 1"), None);
        assert_eq!(kib_of("VmSize:\t  12 kB\nVmRSS:\t    3 kB\n", "VmRSS:"), Some(3072));
        assert_eq!(kib_of("VmRSS:\tmuch kB\n", "VmRSS:"), None);
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096     files\n";
        assert_eq!((limit(limits, "Max open files"), limit("", "Max open files")), (Some(1024), None));
        assert_eq!(limit("Max address space   unlimited   unlimited   bytes", "Max address space"), Some(u64::MAX));
        let devices = "Inter-| Receive | Transmit\n face |bytes packets\n    lo: 5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n  eth0:10 1 0 0 0 0 0 0 20 2";
        assert_eq!((traffic(devices), traffic("")), (Some((15, 27)), None));
        assert_eq!(booted_at("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_figures() {
        let ProcessFigures {
            resident_bytes,
            virtual_bytes,
            virtual_bytes_max,
            received_bytes,
            sent_bytes,
            open_files,
            open_files_max,
            cpu_seconds,
            started_at_seconds,
        } = ProcessFigures::now();
        assert!(virtual_bytes_max.unwrap() > 0 && received_bytes.is_some() && sent_bytes.is_some());
        assert!(resident_bytes.unwrap() > 0 && virtual_bytes.unwrap() >= resident_bytes.unwrap());
        assert!(open_files.unwrap() >= 3 && open_files_max.unwrap() >= open_files.unwrap());
        assert!(cpu_seconds.unwrap() >= 0.0 && started_at_seconds.unwrap() > 1.5e9);
    }
}
