//! Which commands the program has besides serving, and which of them is meant.
//!
//! One table says what there is: it is what runs a command, explains it, and lets a shell complete it.

mod completion;
mod health;

use std::ffi::OsString;
use std::iter::Peekable;
use std::process::ExitCode;

use crate::command::{Operands, Verb, print};
use crate::config;
use crate::env;
use crate::inspect;
use crate::snapshot;
use crate::tcp_gateway;

/// The arguments are wrong. Source: Go, package `flag`.
const EXIT_USAGE: u8 = 2;
/// A word that has no more letters wrong than this is taken for a slip.
const SLIPS_MAX: usize = 2;

/// The arguments of the process, without its name.
type Arguments<'a> = &'a mut dyn Iterator<Item = OsString>;

/// One command.
struct Subcommand {
    name: &'static str,
    /// One line.
    about: &'static str,
    /// All there is to know, of a program of that name.
    usage: fn(&str) -> String,
    verbs: &'static [Verb],
    /// Runs it, in a program of that name, with the arguments that follow.
    run: fn(&str, Arguments<'_>) -> ExitCode,
}

const SUBCOMMANDS: [Subcommand; 8] = [
    Subcommand {
        name: "snapshot",
        about: "Save a snapshot of a member, look at one, restore one.",
        usage: |_| snapshot::USAGE.to_owned(),
        verbs: &snapshot::VERBS,
        run: |_, arguments| snapshot::main(arguments),
    },
    Subcommand {
        name: "check",
        about: "Check the data of a stopped member, or a snapshot.",
        usage: |_| inspect::CHECK_USAGE.to_owned(),
        verbs: &[inspect::CHECK],
        run: |_, arguments| inspect::check(arguments),
    },
    Subcommand {
        name: "dump",
        about: "Print the log or the state of a stopped member.",
        usage: |_| inspect::DUMP_USAGE.to_owned(),
        verbs: &inspect::DUMP,
        run: |_, arguments| inspect::dump(arguments),
    },
    Subcommand {
        name: "defrag",
        about: "Write the checkpoint of a stopped member anew, to give space back.",
        usage: |_| inspect::DEFRAG_USAGE.to_owned(),
        verbs: &[inspect::DEFRAG],
        run: |_, arguments| inspect::defrag(arguments),
    },
    Subcommand {
        name: "gateway",
        about: "Forward connections to the members of a cluster.",
        usage: tcp_gateway::usage,
        verbs: &[tcp_gateway::START],
        run: |program, arguments| {
            env::raise_file_limit();
            tcp_gateway::main(program, arguments)
        },
    },
    Subcommand {
        name: "health",
        about: "Ask a member whether it is ready to serve.",
        usage: |_| health::USAGE.to_owned(),
        verbs: &[health::VERB],
        run: |_, arguments| health::main(arguments),
    },
    Subcommand {
        name: "completion",
        about: "Print what lets a shell complete all this.",
        usage: |_| completion::USAGE.to_owned(),
        verbs: &[completion::VERB],
        run: |_, arguments| completion::main(arguments),
    },
    Subcommand {
        name: "help",
        about: "Explain a command.",
        usage: |_| HELP_USAGE.to_owned(),
        verbs: &[Verb { name: "", values: &[], switches: &[], operands: Operands::Words(&HELP_WORDS) }],
        run: help,
    },
];

const HELP_WORDS: [&str; 8] = ["snapshot", "check", "dump", "defrag", "gateway", "health", "completion", "help"];

/// A command of etcd that is left out on purpose, and what is said to whoever calls it.
const GRPC_PROXY: &str = "grpc-proxy";
const NO_GRPC_PROXY: &str = "Lodemark has no gRPC proxy. Let clients talk to the members themselves, or to \"gateway start\", \
                             which forwards their connections";

const HELP_USAGE: &str = "\
Usage:

  lodemark help [COMMAND]
    Explain a command; without one, say which there are. \"lodemark --help\" explains the flags of the server.
";

/// Runs the command that the arguments begin with, in a program of that name; `None` if they are those of the server.
pub fn run(program: &str, arguments: &mut Peekable<impl Iterator<Item = OsString>>) -> Option<ExitCode> {
    let first = arguments.peek()?.to_str()?;
    if first.starts_with('-') {
        return None;
    }
    match find(first) {
        Some(command) => {
            arguments.next();
            Some((command.run)(program, arguments))
        }
        None if first == GRPC_PROXY => {
            eprintln!("{program} {GRPC_PROXY}: {NO_GRPC_PROXY}");
            Some(ExitCode::FAILURE)
        }
        // The server's own arguments refuse it, in etcd's words.
        None => {
            if let Some(meant) = nearest(first) {
                eprintln!("there is no command {first:?}; did you mean \"{program} {meant}\"?");
            }
            None
        }
    }
}

fn find(name: &str) -> Option<&'static Subcommand> {
    SUBCOMMANDS.iter().find(|command| command.name == name)
}

fn help(program: &str, arguments: Arguments<'_>) -> ExitCode {
    let name = arguments.next().map(|name| name.to_string_lossy().into_owned());
    match name.as_deref() {
        None | Some("-h" | "--help") => {
            print(&overview(program));
            ExitCode::SUCCESS
        }
        Some(name) => match find(name) {
            Some(command) => {
                print(&(command.usage)(program));
                ExitCode::SUCCESS
            }
            None => {
                let meant = nearest(name).map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
                eprintln!("there is no command {name:?}{meant}\n{}", overview(program));
                ExitCode::from(EXIT_USAGE)
            }
        },
    }
}

/// Which commands there are.
fn overview(program: &str) -> String {
    let mut text = format!("{}\nCommands:\n\n", config::usage(program));
    for command in &SUBCOMMANDS {
        text.push_str(&format!("  {:<12}{}\n", command.name, command.about));
    }
    text
}

/// The command whose name is nearest to a word, if it is near.
fn nearest(word: &str) -> Option<&'static str> {
    let of = |command: &'static Subcommand| (slips(word, command.name), command.name);
    let (slips, name) = SUBCOMMANDS.iter().map(of).min()?;
    (slips <= SLIPS_MAX && slips < name.len().min(word.len())).then_some(name)
}

/// How many letters must be put in, left out or replaced to make one word of the other (Levenshtein).
fn slips(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_there_is_once() {
        let names: Vec<&str> = SUBCOMMANDS.iter().map(|command| command.name).collect();
        assert_eq!(names, HELP_WORDS);
        for command in &SUBCOMMANDS {
            let usage = (command.usage)("lodemark");
            assert!(usage.contains(&format!("lodemark {}", command.name)), "{usage}");
            assert!(config::usage("lodemark").contains(command.name), "{} is not in the usage", command.name);
            for verb in command.verbs {
                assert!(usage.contains(verb.name), "{}", verb.name);
                for flag in verb.values.iter().chain(verb.switches) {
                    assert!(usage.contains(&format!("--{flag}")), "{}: --{flag} is not explained", command.name);
                }
            }
            assert!(usage.lines().all(|line| line.len() <= 120), "{usage}");
        }
    }

    #[test]
    fn a_slip_is_told_what_was_meant() {
        for (word, meant) in [
            ("chekc", Some("check")),
            ("snapshto", Some("snapshot")),
            ("dumb", Some("dump")),
            ("hepl", Some("help")),
            ("stray", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word), meant, "{word}");
        }
    }

    #[test]
    fn the_flags_of_the_server_are_left_to_it() {
        for arguments in [&[][..], &["--name=check"], &["-h"], &["strange"]] {
            let mut arguments = arguments.iter().map(OsString::from).peekable();
            let first = arguments.peek().cloned();
            assert!(run("lodemark", &mut arguments).is_none());
            assert_eq!(arguments.next(), first, "nothing is taken");
        }
    }
}
