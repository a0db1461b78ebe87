//! Keeps the direction of imports: a folder may use only what stands below it.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src`, and which others each may use. What is absent here is the design.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("env", &["model"]),
    ("net", &["env", "model"]),
    ("dns", &[]),
    ("metrics", &["env"]),
    ("wal", &["metrics", "env", "model"]),
    ("bolt", &["env"]),
    ("storage", &["env", "model"]),
    ("mvcc", &["storage", "wal", "env", "model"]),
    ("lease", &["storage", "wal", "env", "model"]),
    ("auth", &["env", "model"]),
    ("watch", &["mvcc", "storage", "wal", "env", "model"]),
    ("machine", &["mvcc", "lease", "auth", "watch", "storage", "wal", "env", "model"]),
    ("proto", &["model"]),
    ("client", &["proto", "net"]),
    ("etcd_file", &["bolt", "proto", "storage", "env", "model"]),
    ("peer", &["proto", "net", "metrics", "env", "model"]),
    (
        "raft",
        &["peer", "proto", "machine", "mvcc", "lease", "auth", "watch", "storage", "wal", "metrics", "env", "model"],
    ),
    (
        "node",
        &[
            "peer",
            "raft",
            "machine",
            "mvcc",
            "lease",
            "auth",
            "watch",
            "etcd_file",
            "bolt",
            "storage",
            "wal",
            "metrics",
            "env",
            "model",
        ],
    ),
    ("api/grpc", &["api", "proto", "node", "net", "metrics", "model", "env"]),
    ("api/http/gateway", &["api", "proto", "net"]),
    ("api", &["node", "net", "model", "env"]),
    ("config", &["auth", "metrics", "env", "model"]),
    ("telemetry", &["config", "env"]),
    (
        "server",
        &[
            "api",
            "client",
            "proto",
            "peer",
            "config",
            "telemetry",
            "node",
            "net",
            "dns",
            "auth",
            "metrics",
            "model",
            "env",
        ],
    ),
    ("command", &[]),
    ("tcp_gateway", &["command", "config", "telemetry", "net", "dns", "env"]),
    (
        "snapshot",
        &["command", "client", "server", "config", "node", "etcd_file", "net", "proto", "storage", "env", "model"],
    ),
    (
        "inspect",
        &["command", "server", "node", "etcd_file", "raft", "machine", "mvcc", "storage", "wal", "env", "model"],
    ),
    ("cli", &["command", "snapshot", "inspect", "tcp_gateway", "config", "net", "env"]),
    ("embed", &["server", "config", "node", "model", "env"]),
];

/// Crates that only some folders may name.
const KEPT_IN: &[(&str, &[&str])] = &[
    ("openraft", &["raft"]),
    ("openraft_rt_tokio", &["raft"]),
    ("redb", &["storage"]),
    ("prometheus", &["metrics"]),
    ("tonic", &["api", "peer", "proto"]),
    (
        "tokio",
        &[
            "client",
            "net",
            "peer",
            "raft",
            "node",
            "api",
            "server",
            "snapshot",
            "tcp_gateway",
            "cli/health.rs",
            "embed",
            "main.rs",
        ],
    ),
    ("h2", &["api", "client", "peer"]),
    ("hyper", &["api", "peer", "server"]),
    ("axum", &["api", "peer"]),
    ("hickory_resolver", &["dns"]),
    ("flate2", &["telemetry"]),
    ("sha2", &["etcd_file"]),
    ("saphyr_parser", &["config/file"]),
    ("rustls", &["net"]),
    ("tokio_rustls", &["net"]),
    ("rcgen", &["net"]),
    ("x509_parser", &["net", "auth"]),
    ("dns_lookup", &["net"]),
    ("bcrypt", &["auth"]),
    ("ring", &["auth"]),
    ("p521", &["auth", "net"]),
    ("prost", &["proto", "peer", "raft", "api/grpc", "api/http/gateway", "client"]),
    ("prost_reflect", &["proto", "api/http/gateway"]),
];

#[test]
fn folders_use_only_what_stands_below_them() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        let Some((folder, allowed)) = MAY_USE.iter().find(|(folder, _)| path.starts_with(folder)) else { continue };
        let own = folder.split('/').next().unwrap_or(folder);
        for (line, used) in crate_paths(&text) {
            if used != own && !allowed.contains(&used.as_str()) {
                offences.push(format!("src/{}:{line}: {folder} must not use {used}", path.display()));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn foreign_crates_stay_in_their_folders() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        for (name, folders) in KEPT_IN {
            if folders.iter().any(|folder| path.starts_with(folder)) {
                continue;
            }
            for (number, line) in code_lines(&text) {
                if line.contains(&format!("{name}::")) && !is_part_of_longer_name(line, name) {
                    offences.push(format!("src/{}:{number}: {name} belongs to {folders:?}", path.display()));
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// Where the calendar is asked, which may jump; deadlines, leases and elections have a clock that does not.
const ASK_THE_CALENDAR: &[(&str, &str)] = &[
    ("env/clock.rs", "the seam"),
    ("telemetry", "when a line was written"),
    ("api/grpc/request_log.rs", "the same"),
    ("node/flight.rs", "the same"),
    ("node/auth.rs", "when a JSON web token ends, which says so in the calendar's time"),
    ("node/members.rs", "a part of a new member's id, as in etcd"),
    ("net/tls", "when a certificate begins and ends"),
    ("server/tls.rs", "the same"),
    ("node/compactor.rs", "when the last compaction ended, as a metric that etcd has"),
];

#[test]
fn nothing_is_timed_by_the_calendar() {
    for (path, text) in sources() {
        let may_ask = ASK_THE_CALENDAR.iter().any(|(place, _)| path.starts_with(place));
        let asks = code_lines(&text).any(|(_, line)| line.contains("unix_time()") || line.contains("SystemTime::now"));
        assert!(may_ask || !asks, "src/{} asks the calendar", path.display());
    }
}

#[test]
fn every_folder_of_the_source_has_a_place_in_the_order() {
    for entry in fs::read_dir(source_root()).expect("src is there") {
        let entry = entry.expect("it can be listed");
        let name = entry.file_name().into_string().expect("names are plain");
        if entry.path().is_dir() {
            assert!(MAY_USE.iter().any(|(folder, _)| *folder == name), "{name} is missing from MAY_USE");
        }
    }
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file: its path below `src`, and its text without the unit tests at its end.
fn sources() -> Vec<(PathBuf, String)> {
    let root = source_root();
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("folders can be listed") {
            let path = entry.expect("it can be listed").path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "suite");
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                let text = fs::read_to_string(&path).expect("sources are text");
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
                found.push((path.strip_prefix(&root).expect("it is below src").to_owned(), code));
            }
        }
    }
    assert!(found.len() > 20, "the walk found the sources");
    found
}

fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).filter(|(_, line)| !line.starts_with("//"))
}

/// The first part of each `crate::...` path, with its line.
fn crate_paths(text: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for (number, line) in code_lines(text) {
        for rest in line.split("crate::").skip(1) {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            paths.push((number, name.to_owned()));
        }
    }
    paths
}

fn is_part_of_longer_name(line: &str, name: &str) -> bool {
    line.match_indices(&format!("{name}::")).all(|(at, _)| {
        line[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    })
}
