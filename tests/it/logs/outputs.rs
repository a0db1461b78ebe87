//! Where lines go, and what they look like there.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::Line;
use crate::harness::{Options, Process, Server, reference};

/// Runs the program until it serves, ends it, and gives its exit status, stdout and stderr.
fn run(folder: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let ready = folder.join("ready.log");
    let outputs = flags.iter().find_map(|flag| flag.strip_prefix("--log-outputs="));
    let outputs =
        outputs.map_or_else(|| ready.display().to_string(), |outputs| format!("{outputs},{}", ready.display()));
    let mut arguments: Vec<OsString> = anywhere(folder);
    arguments.extend(flags.iter().map(OsString::from));
    arguments.push(format!("--log-outputs={outputs}").into());
    let process = Server::run(&arguments, folder);
    for _ in 0..2000 {
        if fs::read_to_string(&ready).unwrap_or_default().contains("ready to serve client requests") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    process.terminate();
    process.output()
}

fn anywhere(folder: &Path) -> Vec<OsString> {
    let fixed = ["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:0"];
    let mut arguments: Vec<OsString> = fixed.iter().map(OsString::from).collect();
    arguments.push("--listen-peer-urls=http://127.0.0.1:0".into());
    arguments.push(format!("--data-dir={}", folder.join("data").display()).into());
    arguments
}

#[test]
fn lines_go_to_all_places_that_are_named_and_to_no_other() {
    let temp = tempfile::tempdir().unwrap();
    let extra = temp.path().join("extra.log");
    fs::write(&extra, "{\"earlier\":1}\n").unwrap();
    let (status, stdout, stderr) = run(temp.path(), &[&format!("--log-outputs=stdout,/dev/null,{}", extra.display())]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let file = fs::read_to_string(temp.path().join("ready.log")).unwrap();
    assert_eq!(stdout, file);
    assert_eq!(fs::read_to_string(&extra).unwrap(), format!("{{\"earlier\":1}}\n{file}"));
    let lines: Vec<String> = file.lines().map(str::to_owned).collect();
    let lines = Line::read_all(&lines);
    assert_eq!(lines.first().unwrap().message(), "Running: ");
    assert_eq!(lines.last().unwrap().message(), "closed etcd server");
}

#[test]
fn the_console_has_parts_between_tabs() {
    let temp = tempfile::tempdir().unwrap();
    let (status, stdout, _) = run(temp.path(), &["--log-outputs=stdout", "--log-format=console", "--name=m1"]);
    assert_eq!(status, Some(0));
    assert!(!stdout.contains('\u{1b}'), "no colours");
    for line in stdout.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let (ts, level) = (parts[0], parts[1]);
        assert!(ts.ends_with('Z') && ["debug", "info", "warn"].contains(&level), "{line}");
        // The name of a logger comes before it, where there is one.
        let caller = if ["raft", "openraft"].contains(&parts[2]) { parts[3] } else { parts[2] };
        assert!(caller.contains(".rs:"), "{line}");
        if let Some(fields) = parts.last().filter(|last| last.starts_with('{')) {
            assert!(serde_json::from_str::<serde_json::Value>(fields).is_ok(), "{line}");
        }
    }
    let urls = r#"{"listen-peer-urls": ["http://127.0.0.1:0"], "listen-client-urls": ["http://127.0.0.1:0"]}"#;
    assert!(stdout.contains(&format!("configuring listeners\t{urls}")), "{stdout}");
}

#[test]
fn a_file_that_is_full_is_put_aside_and_compressed() {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("logs/etcd.log");
    fs::create_dir(log.parent().unwrap()).unwrap();
    // As large as one may be that is put aside at the next line.
    fs::write(&log, vec![b'\n'; (1 << 20) - 10]).unwrap();
    let mut arguments = anywhere(temp.path());
    let rotation = r#"--log-rotation-config-json={"maxsize": 1, "maxbackups": 3, "compress": true}"#;
    arguments.extend([
        OsString::from("--enable-log-rotation"),
        rotation.into(),
        "--log-outputs".into(),
        log.clone().into(),
    ]);
    let process = Server::run(&arguments, temp.path());
    let names = || -> Vec<String> {
        let entries = fs::read_dir(log.parent().unwrap()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let is_compressed = || names().iter().any(|name| name.ends_with(".log.gz"));
    for _ in 0..2000 {
        let said = fs::read_to_string(&log).unwrap_or_default();
        if is_compressed() && said.contains("ready to serve client requests") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    process.terminate();
    let (status, stdout, stderr) = process.output();
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
    let names = names();
    assert!(
        names.len() == 2
            && names[0].starts_with("etcd-2")
            && names[0].ends_with("Z.log.gz") | names[0].ends_with(".log.gz"),
        "{names:?}"
    );
    let lines: Vec<String> = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(Line::read_all(&lines).last().unwrap().message(), "closed etcd server");
}

/// The flags that the log is made from are refused with the words of a real etcd, as far as these are not about Go.
#[test]
fn what_cannot_be_logged_to_is_refused_like_etcd() {
    let Some(reference) = reference() else { return };
    for flags in [
        &["--log-outputs=default,stdout"][..],
        &["--log-outputs=systemd/journal,stderr"],
        &["--log-outputs=/nowhere/at/all"],
        &["--log-outputs="],
        &["--logger=capnslog"],
        &["--log-format=text"],
        &["--enable-log-rotation"],
        &["--enable-log-rotation", "--log-outputs=a.log,b.log"],
        &["--enable-log-rotation", "--log-outputs=stdout"],
    ] {
        let temp = tempfile::tempdir().unwrap();
        let mut arguments = anywhere(temp.path());
        arguments.extend(flags.iter().map(OsString::from));
        let last_words = |process: Process| {
            let (status, stdout, stderr) = process.output();
            let last = stderr.lines().last().unwrap_or_else(|| panic!("{flags:?} says nothing")).to_owned();
            let line = Line::read(&last);
            (status, stdout, line.message().to_owned(), line.text("error").to_ascii_lowercase())
        };
        let theirs = last_words(Process::start(&reference.join("etcd"), &arguments, temp.path()));
        let (status, stdout, message, error) = last_words(Server::run(&arguments, temp.path()));
        // Rust adds the number of the system's error.
        let error = error.trim_end_matches(" (os error 2)").to_owned();
        assert_eq!((status, stdout, message, error), theirs, "{flags:?}");
    }
}

/// Lines are lines from the first to the last, and a server whose reader has gone goes on.
#[test]
fn the_flags_are_in_the_first_line() {
    let mut server = Server::start(&Options { flags: vec!["--name=m1".into()], ..Options::default() });
    assert_eq!(server.terminate(), Some(0));
    let lines = Line::read_all(&server.process().lines());
    assert_eq!(lines[0].message(), "Running: ");
    assert!(lines[0].field("args").as_array().unwrap().contains(&"--name=m1".into()));
}
