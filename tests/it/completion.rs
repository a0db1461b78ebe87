//! `lodemark completion`: each shell runs its script, and offers what may follow.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Server, has_program, skip};

/// Lines that end where a tab is hit, and all that their last word may become.
const OFFERED: [(&str, &[&str]); 10] = [
    ("lodemark ch", &["check"]),
    ("lodemark --initial-cluster-s", &["--initial-cluster-state"]),
    ("lodemark --data-dir=x --na", &["--name"]),
    ("lodemark snapshot ", &["restore", "save", "status"]),
    ("lodemark snapshot restore --b", &["--bump-revision"]),
    ("lodemark snapshot status back", &["backup.db"]),
    ("lodemark check --data-dir=back", &["backup.db"]),
    ("lodemark dump state --l", &["--limit"]),
    ("lodemark gateway start --discovery-srv-", &["--discovery-srv-name"]),
    ("lodemark completion f", &["fish"]),
];

/// What `complete` calls.
const BASH: &str = r#"source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _lodemark; printf '%s\n' "${COMPREPLY[@]}""#;

const FISH: &str = "source $argv[1]; complete -C $argv[2]";

/// Types the line into an interactive zsh. What its completion offers goes through `compadd`, which is listened to.
const ZSH: &str = r#"
zmodload zsh/zpty
export SCRIPT=$1 ANSWER=$PWD/answer
rm -f answer ready
zpty shell zsh -f -i
zpty -w shell 'PROMPT=; autoload -Uz compinit; compinit -u -D; source $SCRIPT
compadd() { local -a heard; builtin compadd -O heard "$@"; everything+=($heard); builtin compadd "$@" }
answer() { everything=(); zle complete-word; print -rl -- $everything > $ANSWER.new; mv $ANSWER.new $ANSWER }
zle -N answer; bindkey "^T" answer; : > ready'
wait_for() { for try in {1..400}; do [[ -e $1 ]] && return; zpty -rt shell; sleep 0.05; done >/dev/null; return 1 }
wait_for ready && zpty -w -n shell "$2"$'\x14' && wait_for answer && cat answer
ended=$?
zpty -d shell
exit $ended
"#;

/// What a shell offers: a word once, without the `=` of flags that have a value, and of values without their flag.
fn offered(shell: &mut Command, line: &str) -> BTreeSet<String> {
    let output = shell.arg(line).output().unwrap();
    let (said, complained) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && complained.is_empty(), "{line:?}: {said}{complained}");
    // fish puts what a word is for behind it.
    let words = said.lines().map(|line| line.split('\t').next().unwrap_or_default().trim_end_matches('='));
    let words = words.map(|word| word.split_once('=').map_or(word, |(_, value)| value));
    // Some offer flags where nothing was begun, and some do not.
    let is_begun = !line.ends_with(' ');
    words.filter(|word| !word.is_empty() && (is_begun || !word.starts_with('-'))).map(str::to_owned).collect()
}

/// Runs `shell`, called with `arguments`, the path of its script and a line.
fn completes(shell: &str, arguments: &[&str]) {
    if !has_program(shell) {
        return skip(&format!("there is no {shell}"));
    }
    let temp = tempfile::tempdir().unwrap();
    let own = |arguments: &[&str]| {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Server::run(&arguments, temp.path()).output().1
    };
    let script = temp.path().join("script");
    fs::write(&script, own(&["completion", shell])).unwrap();
    fs::write(temp.path().join("backup.db"), "x").unwrap();
    let ask = |line: &str| offered(&mut command(shell, arguments, &script, temp.path()), line);
    for (line, expected) in OFFERED {
        assert_eq!(ask(line), expected.iter().map(|&word| word.to_owned()).collect(), "{line:?}");
    }
    let (all, help) = (ask("lodemark --"), own(&["--help"]));
    let flags: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let flags: Vec<&str> = flags.into_iter().filter(|flag| flag.starts_with("--")).collect();
    assert!(flags.len() > 40, "{help}");
    for flag in flags {
        assert!(all.contains(flag), "{flag}: {all:?}");
    }
}

fn command(shell: &str, arguments: &[&str], script: &Path, folder: &Path) -> Command {
    let mut command = Command::new(shell);
    // Nobody's settings count.
    command.args(arguments).arg(script).current_dir(folder).env("HOME", folder).env_remove("ZDOTDIR");
    command
}

#[test]
fn bash_completes_commands_flags_and_files() {
    completes("bash", &["--norc", "-c", BASH, "bash"]);
}

#[test]
fn zsh_completes_commands_flags_and_files() {
    completes("zsh", &["-f", "-c", ZSH, "zsh"]);
}

#[test]
fn fish_completes_commands_flags_and_files() {
    completes("fish", &["--no-config", "-c", FISH]);
}
