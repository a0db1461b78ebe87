//! What the system calls say: the sync comes before the answer, and a sync that fails stops the member.
//!
//! The server runs under `strace`, which must be there and be allowed to trace.

use std::collections::HashMap;
use std::path::Path;

use lodemark::env::{Random, SeededRandom};

use crate::harness::{Member, Program, Site, can_trace, number, seed, skip};
use crate::ledger::Load;

/// Puts whose calls are looked at, one at a time.
const PUTS: usize = 50;
/// Syncs that a thread may make before the member serves; a failure there only keeps it from starting.
const START_SYNCS: u64 = 40;
/// How many failed syncs are tried by default, and which sync of a thread fails: from the first on, at most so many.
const FAILURES: u64 = 1;
const SYNC_MAX: u64 = 60;
/// Everything that reads from or writes to a socket or a file, and every sync.
const CALLS: &str = "trace=read,readv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_comes_before_the_answer() {
    sync_comes_first(Program::lodemark()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync_stops_the_member_and_loses_nothing() {
    failed_syncs(&Program::lodemark(), number("LODEMARK_SYNC_FAILURES", FAILURES)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fsync_nothing_is_synced_once_the_folder_is_there() {
    if !can_trace() {
        return skip("strace that may trace");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace");
    let program = Program::lodemark().under(tracer(&trace, &["-e", CALLS, "-e", "signal=none"]));
    let site = Site::new(folder.path()).with_flags(["--unsafe-no-fsync".to_owned()]);
    let server = Member::start(&program, site).await;
    let mut client = server.client().await;
    client.put("key", "value", None).await.expect("the server takes a put");
    server.terminate();

    let text = std::fs::read(&trace).expect("strace has written");
    let calls = calls(&String::from_utf8_lossy(&text));
    let synced: Vec<&Call> = calls.iter().filter(|call| call.is_sync() && call.file.contains("/member/")).collect();
    assert!(synced.is_empty() && !calls.is_empty(), "{synced:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "checks the test itself on a real etcd"]
async fn a_real_etcd_passes_the_same_checks() {
    let Some(etcd) = Program::etcd() else { return };
    sync_comes_first(etcd.clone()).await;
    failed_syncs(&etcd, number("LODEMARK_SYNC_FAILURES", FAILURES)).await;
}

/// The tracer runs beside the server, which keeps its own process id.
fn tracer(trace: &Path, arguments: &[&str]) -> Vec<String> {
    let trace = trace.to_str().expect("temporary folders have plain names");
    ["strace", "-D", "-f", "-qq", "-y", "-s", "65536", "-o", trace].iter().chain(arguments).map(|&a| a.into()).collect()
}

async fn sync_comes_first(program: Program) {
    if !can_trace() {
        return skip("strace that may trace");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace");
    let program = program.under(tracer(&trace, &["-e", CALLS, "-e", "signal=none"]));
    let server = Member::start(&program, Site::new(folder.path())).await;
    let mut client = server.client().await;
    for put in 0..PUTS {
        client.put("key", marker(put), None).await.expect("the server takes a put");
    }
    server.terminate();

    let text = std::fs::read(&trace).expect("strace has written");
    let calls = calls(&String::from_utf8_lossy(&text));
    for put in 0..PUTS {
        if let Err(offence) = order_of_one_put(&calls, put) {
            panic!("put {put}: {offence}");
        }
    }
}

fn marker(put: usize) -> String {
    format!("<put number {put:04}>")
}

/// The request is read, written to the log, synced, and only then answered.
fn order_of_one_put(calls: &[Call], put: usize) -> Result<(), String> {
    let marker = marker(put).into_bytes();
    let has_marker = |call: &&Call| call.data.windows(marker.len()).any(|window| window == marker);
    let find = |what: &str, from: usize, test: &dyn Fn(&&Call) -> bool| {
        calls.iter().filter(|call| call.began >= from).find(test).ok_or_else(|| format!("no {what}"))
    };
    let request = find("request was read", 0, &|call| call.is_read() && has_marker(call))?;
    let answer =
        find("answer", request.ended, &|call| call.file == request.file && call.is_write() && call.has_answer())?;
    let written = find("write to the log", 0, &|call| call.is_write() && call.is_on_log() && has_marker(call))?;
    let synced = find("sync of the log", written.ended, &|call| call.is_sync() && call.is_on_log())?;
    if synced.result != "0" {
        return Err(format!("the sync failed: {synced:?}"));
    }
    if synced.ended > answer.began {
        return Err(format!(
            "the answer in line {} is before the end of the sync in line {}",
            answer.began, synced.ended
        ));
    }
    Ok(())
}

/// One system call, with the lines of the trace that it began and ended in.
#[derive(Debug)]
struct Call {
    name: String,
    /// What its file descriptor is.
    file: String,
    /// All strings among its arguments.
    data: Vec<u8>,
    result: String,
    began: usize,
    ended: usize,
}

impl Call {
    fn is_read(&self) -> bool {
        self.name.starts_with("read") || self.name.starts_with("recv")
    }

    fn is_write(&self) -> bool {
        self.name.starts_with("write") || self.name.starts_with("pwrite") || self.name.starts_with("send")
    }

    fn is_sync(&self) -> bool {
        self.name == "fsync" || self.name == "fdatasync"
    }

    fn is_on_log(&self) -> bool {
        self.file.contains("/wal/")
    }

    /// Whether its data has an HTTP/2 frame of headers or data, as an answer has and a note about windows has not.
    fn has_answer(&self) -> bool {
        let mut rest = &self.data[..];
        while let [a, b, c, kind, ..] = *rest {
            if kind <= 1 {
                return true;
            }
            let frame = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            rest = rest.get(frame..).unwrap_or_default();
        }
        false
    }
}

/// Reads `strace -f -y`: a call is one line, or two if another thread's came between.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, begun.to_owned()));
            continue;
        }
        let (began, whole) = match rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, end)) => {
                let Some((began, begun)) = unfinished.remove(thread) else { continue };
                (began, begun + end)
            }
            None => (number, rest.to_owned()),
        };
        let Some((name, arguments)) = whole.split_once('(') else { continue };
        let Some((arguments, result)) = arguments.rsplit_once(" = ") else { continue };
        let file = arguments.split_once('<').and_then(|(_, file)| file.split_once('>')).map_or("", |(file, _)| file);
        let result = result.split(' ').next().unwrap_or_default();
        calls.push(Call {
            name: name.to_owned(),
            file: file.to_owned(),
            data: strings(arguments),
            result: result.to_owned(),
            began,
            ended: number,
        });
    }
    calls
}

/// The bytes of all quoted strings, which are escaped as in C.
fn strings(arguments: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut is_inside = false;
    let mut rest = arguments.bytes().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => is_inside = !is_inside,
            b'\\' if is_inside => match rest.next() {
                Some(digit @ b'0'..=b'7') => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        if let Some(digit) = rest.next_if(|digit| (b'0'..=b'7').contains(digit)) {
                            value = value * 8 + u32::from(digit - b'0');
                        }
                    }
                    bytes.push(u8::try_from(value).expect("strace escapes bytes"));
                }
                Some(b'n') => bytes.push(b'\n'),
                Some(b't') => bytes.push(b'\t'),
                Some(b'r') => bytes.push(b'\r'),
                Some(b'v') => bytes.push(0x0b),
                Some(b'f') => bytes.push(0x0c),
                Some(other) => bytes.push(other),
                None => {}
            },
            _ if is_inside => bytes.push(byte),
            _ => {}
        }
    }
    bytes
}

async fn failed_syncs(program: &Program, failures: u64) {
    if !can_trace() {
        return skip("strace that may trace");
    }
    let seed = seed();
    let random = SeededRandom::new(seed);
    for failure in 1..=failures {
        // Which sync of each thread.
        let nth = START_SYNCS + random.next_u64() % SYNC_MAX;
        let context = format!("LODEMARK_SEED={seed}, failure {failure} of {failures}: sync {nth} of a thread fails");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inject = format!("inject=fdatasync:error=EIO:when={nth}");
        let arguments = ["-e", "trace=fdatasync", "-e", "signal=none", "-e", &inject];
        let traced = program.clone().under(tracer(&folder.path().join("trace"), &arguments));
        let mut load = Load::start();
        let server = Member::start(&traced, Site::new(folder.path())).await;
        load.up_and_doomed(server.endpoint());
        let (site, status) = server.ended();
        assert!(!status.success(), "{context}: it ended with {status}");
        load.down().await;
        load.end().await;
        let trace = std::fs::read_to_string(folder.path().join("trace")).expect("strace has written");
        assert!(trace.contains("(INJECTED)"), "{context}: it ended before");

        let server = Member::start(program, site).await;
        load.check(&server.endpoint(), &context).await;
        println!("{context}; {} writes were acknowledged", load.count());
    }
}

#[test]
fn a_trace_is_read_as_strace_writes_it() {
    let trace = "\
        7 recvfrom(9<socket:[5]>, \"ab\\0\\17x\\\"\", 100, 0, NULL, NULL) = 6\n\
        8 pwrite64(4</d/wal/1>, \"q\", 1, 0 <unfinished ...>\n\
        7 fdatasync(4</d/wal/1> <unfinished ...>\n\
        8 <... pwrite64 resumed>) = 1\n\
        7 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)\n";
    let calls = calls(trace);
    let seen: Vec<_> = calls.iter().map(|c| (&*c.name, &*c.file, &*c.result, c.began, c.ended)).collect();
    assert_eq!(
        seen,
        [
            ("recvfrom", "socket:[5]", "6", 0, 0),
            ("pwrite64", "/d/wal/1", "1", 1, 3),
            ("fdatasync", "/d/wal/1", "-1", 2, 4)
        ]
    );
    assert_eq!((&*calls[0].data, &*calls[1].data), (&b"ab\0\x0fx\""[..], &b"q"[..]));
}
