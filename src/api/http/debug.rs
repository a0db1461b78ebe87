//! `/debug/`: what Go programs show of themselves there, as far as it means something here.
//!
//! A profile of a Go runtime is not to be had. Who asks for one, and was allowed to by `--enable-pprof`, is told where else
//! to look.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{answer, plain};
use crate::env::ProcessFigures;
use crate::node::Node;

/// Said instead of a profile.
const INSTEAD_OF_PROFILES: &str = "\
This is not a Go program, and has no profiles in the format of pprof.

Where time is spent:         perf record -g -p <pid>, or perf top -p <pid>; the program has symbols
What each thread waits for:  gdb -p <pid> -batch -ex 'thread apply all bt', or /proc/<pid>/task/*/wchan
What takes memory:           /metrics: process_resident_memory_bytes, lodemark_memory_*
How long things take:        /metrics: etcd_disk_*, etcd_server_*_duration_seconds; --metrics=extensive for each call
";

/// `/debug/vars`: how the process was started, and what it takes.
pub(super) async fn vars(State(_): State<Node>) -> Response {
    let command_line: Vec<String> = std::env::args_os().map(|text| text.to_string_lossy().into_owned()).collect();
    let ProcessFigures { resident_bytes, virtual_bytes, open_files, cpu_seconds, .. } = ProcessFigures::now();
    let body = serde_json::json!({
        "cmdline": command_line,
        "process": {
            "resident_bytes": resident_bytes,
            "virtual_bytes": virtual_bytes,
            "open_files": open_files,
            "cpu_seconds": cpu_seconds,
        },
    });
    answer(StatusCode::OK, "application/json; charset=utf-8", body.to_string())
}

/// `/debug/pprof/`, and what is below it.
pub(super) async fn profiles(State(_): State<Node>) -> Response {
    plain(StatusCode::NOT_IMPLEMENTED, INSTEAD_OF_PROFILES.to_owned())
}
