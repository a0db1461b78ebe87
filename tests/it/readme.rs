//! What the README shows works as it is pasted.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::reference;

/// Where its cluster of three begins.
const CLUSTER: &str = "## A cluster of three on one machine\n\n```sh\n";
/// The ports there: with a digit before them.
const PORTS: [&str; 2] = ["2379", "2380"];

/// Ports apart, which other programs may have, and the program, which is built already.
#[test]
fn a_cluster_of_three_starts_as_shown() {
    let Some(reference) = reference() else { return };
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, from) = readme.split_once(CLUSTER).expect("the README shows a cluster");
    let (shown, _) = from.split_once("```").expect("a block ends");
    let first = 1000 + std::process::id() % 800 * 2;
    let script =
        PORTS.iter().zip(first..).fold(shown.to_owned(), |text, (port, other)| text.replace(port, &other.to_string()));
    let script = script.replace("cargo build --release\n", "").replace("target/release/lodemark", "lodemark");

    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_lodemark")).parent().unwrap();
    let path = [program.as_os_str(), reference.as_os_str(), &std::env::var_os("PATH").unwrap()].join(":".as_ref());
    // The last member that was started has to be there, too.
    let end = "until [ $(grep -c 'ready to serve' m1.log) = 2 ]; do sleep 0.1; done; etcdctl get key";
    let script = format!("trap 'kill $(jobs -p); wait' EXIT\n{script}\n{end}");
    let mut bash = Command::new("timeout");
    bash.args(["60", "bash", "-e", "-c", &script]).current_dir(folder.path()).env("PATH", path);
    let output = bash.output().unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert_eq!(said.matches("key\nvalue\n").count(), 2, "{said}\n{complained}");
    assert_eq!(said.matches("  3.7.1 │").count(), 3, "{said}\n{complained}");
}
