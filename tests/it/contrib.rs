//! What is in `contrib/`: it runs, or at least says nothing that is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{has_program, skip};

/// Words of lines in which flags are those of other programs, or of one of our commands.
const OTHER_FLAGS: [&str; 6] = ["useradd", "cargo build", "HEALTHCHECK", "COPY", "health", "docker"];

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib")
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lodemark"))
}

#[test]
fn three_members_start_survive_a_loss_and_stop() {
    let temp = tempfile::tempdir().unwrap();
    let first = 1000 + std::process::id() % 800 * 2;
    let script = fs::read_to_string(contrib().join("three-members.sh")).unwrap();
    let script = script.replace("2379", &first.to_string()).replace("2380", &(first + 1).to_string());
    let file = temp.path().join("three-members.sh");
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let path = [program().parent().unwrap().as_os_str(), &std::env::var_os("PATH").unwrap()].join(":".as_ref());
    let steps = format!(
        "trap 'kill -9 $(cat demo/*.pid) 2>/dev/null || true' EXIT
         ./three-members.sh start demo
         ./three-members.sh start demo
         ./three-members.sh kill demo 2
         lodemark health --endpoint=http://127.0.0.1:1{first}
         ./three-members.sh start demo 2
         ./three-members.sh stop demo
         test -z \"$(ls demo/*.pid 2>/dev/null)\"
         for n in 1 2 3; do lodemark check --data-dir demo/m$n.etcd; done
         if ./three-members.sh nonsense demo 2>usage; then exit 1; fi
         grep -q 'three-members.sh start FOLDER' usage"
    );
    let mut bash = Command::new("timeout");
    bash.args(["120", "bash", "-euo", "pipefail", "-c", &steps]).current_dir(temp.path()).env("PATH", path);
    let output = bash.output().unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    assert_eq!(said.matches("\nhealthy\n").count(), 3, "{said}");
}

/// Every flag that a file gives to the program is one.
#[test]
fn flags_in_these_files_are_flags_of_the_program() {
    let help = Command::new(program()).arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let known: BTreeSet<&str> = help.lines().filter_map(|line| line.strip_prefix("  --")?.split(' ').next()).collect();
    assert!(known.len() > 40);
    for file in [
        "three-members.sh",
        "systemd/lodemark.service",
        "systemd/lodemark.service.d/10-member.conf",
        "container/Containerfile",
        "container/compose.yaml",
    ] {
        let text = fs::read_to_string(contrib().join(file)).unwrap();
        let ours =
            |line: &&str| !line.trim_start().starts_with('#') && !OTHER_FLAGS.iter().any(|other| line.contains(other));
        let words = text.lines().filter(ours).flat_map(|line| line.split([' ', '"', ',', '[', ']', '\'']));
        let flags: Vec<&str> = words
            .filter_map(|word| word.strip_prefix("--")?.split('=').next())
            .filter(|name| !name.is_empty())
            .collect();
        assert!(!flags.is_empty(), "{file}");
        for name in flags {
            assert!(known.contains(name), "{file}: --{name} is no flag");
        }
    }
}

#[test]
fn systemd_takes_the_unit_and_its_drop_in() {
    if !has_program("systemd-analyze") {
        return skip("there is no systemd-analyze");
    }
    let temp = tempfile::tempdir().unwrap();
    let drop_ins = temp.path().join("lodemark.service.d");
    fs::create_dir(&drop_ins).unwrap();
    let unit = temp.path().join("lodemark.service");
    // It looks for the program, too.
    let here = |file: &str| {
        let text = fs::read_to_string(contrib().join("systemd").join(file)).unwrap();
        text.replace("/usr/bin/lodemark", program().to_str().unwrap())
    };
    fs::write(&unit, here("lodemark.service")).unwrap();
    fs::write(drop_ins.join("10-member.conf"), here("lodemark.service.d/10-member.conf")).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    // It may have something to say of other units of this machine.
    let about_it: Vec<&str> = told.lines().filter(|line| line.contains("lodemark.service")).collect();
    assert!(about_it.is_empty(), "{told}");
}

/// No parser of YAML is among ours, so another program has to have one.
#[test]
fn the_compose_file_is_yaml_with_three_members() {
    let read = "import sys, yaml, json; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output = Command::new("python3").args(["-c", read]).arg(contrib().join("container/compose.yaml")).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return skip("there is no python3 with yaml");
    };
    let compose: Value = serde_json::from_slice(&output.stdout).unwrap();
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.len(), 3);
    for (name, service) in services {
        let own = Value::from(format!("--name={name}"));
        assert!(service["command"].as_array().unwrap().contains(&own), "{service}");
        assert_eq!(service["build"]["dockerfile"], "contrib/container/Containerfile");
    }
}
