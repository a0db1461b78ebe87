//! How much memory this process may have.

use std::fs;
use std::path::{Path, PathBuf};

/// What is taken for granted where the system does not say.
const UNKNOWN_BYTES: usize = 4 << 30;

/// The memory of the machine, or that of the control group of this process if it is less, in bytes.
pub(super) fn available() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let limits = limit_files(&text).into_iter().filter_map(|file| fs::read_to_string(file).ok());
        limits.filter_map(|limit| limit.trim().parse().ok()).min()
    });
    let known = [machine, group].into_iter().flatten().min();
    known.map_or(UNKNOWN_BYTES, |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Reads `/proc/meminfo`, which counts in KiB.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that limit the groups that `/proc/self/cgroup` names, and those around them.
///
/// Source: cgroups(7). In version 2 there is one group, `0::/path`; in version 1 one of each kind, `7:memory:/path`.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(kinds), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (root, file) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be that of the host; the root is then that of the container.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        files.extend(groups.map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_read_in_kib() {
        let text = "MemTotal:       24618112 kB\nMemFree:        19474880 kB\n";
        assert_eq!(total_of(text), Some(24_618_112 * 1024));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert_eq!(total_of("MemTotal: much kB\n"), None);
    }

    #[test]
    fn groups_are_limited_by_those_around_them() {
        let files = |text| limit_files(text).iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            files("0::/system.slice/store.service\n"),
            [
                "/sys/fs/cgroup/system.slice/store.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(files("9:cpu,cpuacct:/a\n7:memory:/\nnonsense\n"), ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
    }

    #[test]
    fn there_is_some() {
        assert!(available() > 1 << 20);
    }
}
