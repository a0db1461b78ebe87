//! The operators' documents: what they show works as it stands, and the messages that they explain are ours.
//!
//! Each document is run in a network of its own, so that all of them may use the ports that they show.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{reference, skip};

/// Documents beside those in `docs/operators` that operators are shown commands in; they may not be there.
const OTHERS: [&str; 2] = ["docs/security.md", "docs/monitoring.md"];
/// A document takes no longer.
const SECONDS_MAX: &str = "180";
/// So many run at the same time.
const AT_ONCE: usize = 3;
/// Runs this one alone.
const ONLY: &str = "LODEMARK_DOCUMENT";
/// A network with nothing but this machine in it.
const ALONE: [&str; 5] = ["unshare", "--user", "--map-root-user", "--net", "--"];

/// What stands before a document. What it has started is ended with it, also if it fails.
const BEFORE: &str = "
ip link set lo up
end() {
  for pid in $(jobs -p) $(cat ./*/m*.pid 2>/dev/null); do kill -9 \"$pid\" 2>/dev/null || true; done
  tail -n 3 ./*.log ./*/*.log >&2 2>/dev/null || true
}
trap end EXIT
";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document, by its path in the repository.
fn documents() -> BTreeMap<PathBuf, String> {
    let folder = Path::new("docs/operators");
    let own = fs::read_dir(repository().join(folder)).unwrap().map(|entry| folder.join(entry.unwrap().file_name()));
    let others = OTHERS.into_iter().map(PathBuf::from).filter(|path| repository().join(path).exists());
    own.chain(others).map(|path| (path.clone(), fs::read_to_string(repository().join(&path)).unwrap())).collect()
}

/// What is fenced as `sh`, all of it as one script.
fn script_of(text: &str) -> String {
    let mut script = String::new();
    let mut is_shell = false;
    for line in text.lines() {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            _ if is_shell => script.extend([line, "\n"]),
            _ => {}
        }
    }
    script
}

fn can_be_alone() -> bool {
    let [unshare, rest @ ..] = ALONE;
    let mut tried = Command::new(unshare);
    tried.args(rest).args(["ip", "link", "set", "lo", "up"]).stderr(Stdio::null());
    tried.status().is_ok_and(|status| status.success())
}

/// What a script says if it fails, or does not end.
fn run(script: &str, tools: &Path) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository().join("contrib"), folder.path().join("contrib")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_lodemark")).parent().unwrap();
    // etcd's own first: `etcd` is etcd here.
    let path = [tools.as_os_str(), program.as_os_str(), &std::env::var_os("PATH").unwrap()].join(":".as_ref());
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", SECONDS_MAX]).args(ALONE);
    command.args(["bash", "-euo", "pipefail", "-c", &format!("{BEFORE}{script}")]);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
        command.env_remove(name);
    }
    // To files: what is left of a document that failed could keep a pipe open.
    let [said, complained] = ["said", "complained"].map(|name| folder.path().join(name));
    command.stdout(fs::File::create(&said).unwrap()).stderr(fs::File::create(&complained).unwrap());
    let status = command.current_dir(folder.path()).env("PATH", path).status().unwrap();
    if status.success() {
        return Ok(());
    }
    let [said, complained] = [said, complained].map(|file| fs::read(file).unwrap());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("{status}\n--- stdout\n{}\n--- stderr\n{}", text(&said), text(&complained)))
}

#[test]
fn what_the_documents_show_works() {
    let Some(tools) = reference() else { return };
    if !can_be_alone() {
        return skip("no network of its own can be made for each document (unshare --user --net)");
    }
    let only = std::env::var(ONLY).unwrap_or_default();
    let scripts: Vec<(PathBuf, String)> = documents()
        .into_iter()
        .map(|(path, text)| (path, script_of(&text)))
        .filter(|(path, script)| !script.is_empty() && path.to_string_lossy().contains(&only))
        .collect();
    assert!(!scripts.is_empty());
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((path, script)) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = run(script, &tools) {
                        failed.lock().unwrap().push(format!("{}: {why}", path.display()));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{ONLY}=<name> runs one alone\n{}", failed.join("\n\n"));
    println!("{} documents were run", scripts.len());
}

#[test]
fn links_between_documents_lead_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let here = repository().join(&path);
            let target = here.parent().unwrap().join(link.split('#').next().unwrap());
            let plain = target.components().fold(PathBuf::new(), |plain, part| match part {
                Component::ParentDir => plain.parent().unwrap().to_path_buf(),
                part => plain.join(part),
            });
            assert!(plain.exists(), "{}: {link} leads nowhere", path.display());
        }
    }
}

/// All source text, with strings that go over several lines in one.
fn sources() -> String {
    let (mut text, mut folders) = (String::new(), vec![repository().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut pieces = text.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.trim_start())
}

#[test]
fn messages_that_are_explained_are_messages_of_the_program() {
    let sources = sources();
    let text = fs::read_to_string(repository().join("docs/operators/troubleshoot.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let (mut count, mut unknown) = (0, Vec::new());
    for row in rows {
        for message in row.split('`').step_by(2) {
            // What stands between several messages of one row.
            if message.trim_matches([',', ' ']).is_empty() {
                continue;
            }
            count += 1;
            if !sources.contains(message) {
                unknown.push(message);
            }
        }
    }
    assert!(count > 40, "{count}");
    assert!(unknown.is_empty(), "the program never says {unknown:?}");
}
