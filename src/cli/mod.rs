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
use crate::inspect;
use crate::snapshot;

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
    /// All there is to know.
    usage: fn() -> &'static str,
    verbs: &'static [Verb],
    run: fn(Arguments<'_>) -> ExitCode,
}

const SUBCOMMANDS: [Subcommand; 7] = [
    Subcommand {
        name: "snapshot",
        about: "Save a snapshot of a member, look at one, restore one.",
        usage: || snapshot::USAGE,
        verbs: &snapshot::VERBS,
        run: |arguments| snapshot::main(arguments),
    },
    Subcommand {
        name: "check",
        about: "Check the data of a stopped member, or a snapshot.",
        usage: || inspect::CHECK_USAGE,
        verbs: &[inspect::CHECK],
        run: |arguments| inspect::check(arguments),
    },
    Subcommand {
        name: "dump",
        about: "Print the log or the state of a stopped member.",
        usage: || inspect::DUMP_USAGE,
        verbs: &inspect::DUMP,
        run: |arguments| inspect::dump(arguments),
    },
    Subcommand {
        name: "defrag",
        about: "Write the checkpoint of a stopped member anew, to give space back.",
        usage: || inspect::DEFRAG_USAGE,
        verbs: &[inspect::DEFRAG],
        run: |arguments| inspect::defrag(arguments),
    },
    Subcommand {
        name: "health",
        about: "Ask a member whether it is ready to serve.",
        usage: || health::USAGE,
        verbs: &[health::VERB],
        run: |arguments| health::main(arguments),
    },
    Subcommand {
        name: "completion",
        about: "Print what lets a shell complete all this.",
        usage: || completion::USAGE,
        verbs: &[completion::VERB],
        run: |arguments| completion::main(arguments),
    },
    Subcommand {
        name: "help",
        about: "Explain a command.",
        usage: || HELP_USAGE,
        verbs: &[Verb { name: "", values: &[], switches: &[], operands: Operands::Words(&HELP_WORDS) }],
        run: help,
    },
];

const HELP_WORDS: [&str; 7] = ["snapshot", "check", "dump", "defrag", "health", "completion", "help"];

const HELP_USAGE: &str = "\
Usage:

  lodemark help [COMMAND]
    Explain a command; without one, say which there are. \"lodemark --help\" explains the flags of the server.
";

/// Runs the command that the arguments begin with; `None` if they are those of the server.
pub fn run(arguments: &mut Peekable<impl Iterator<Item = OsString>>) -> Option<ExitCode> {
    let first = arguments.peek()?.to_str()?;
    if first.starts_with('-') {
        return None;
    }
    match find(first) {
        Some(command) => {
            arguments.next();
            Some((command.run)(arguments))
        }
        // The server's own arguments refuse it, in etcd's words.
        None => {
            if let Some(meant) = nearest(first) {
                eprintln!("there is no command {first:?}; did you mean \"lodemark {meant}\"?");
            }
            None
        }
    }
}

fn find(name: &str) -> Option<&'static Subcommand> {
    SUBCOMMANDS.iter().find(|command| command.name == name)
}

fn help(arguments: Arguments<'_>) -> ExitCode {
    let name = arguments.next().map(|name| name.to_string_lossy().into_owned());
    match name.as_deref() {
        None | Some("-h" | "--help") => {
            print(&overview());
            ExitCode::SUCCESS
        }
        Some(name) => match find(name) {
            Some(command) => {
                print((command.usage)());
                ExitCode::SUCCESS
            }
            None => {
                let meant = nearest(name).map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
                eprintln!("there is no command {name:?}{meant}\n{}", overview());
                ExitCode::from(EXIT_USAGE)
            }
        },
    }
}

/// Which commands there are.
fn overview() -> String {
    let mut text = format!("{}\nCommands:\n\n", config::USAGE);
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
            let usage = (command.usage)();
            assert!(usage.contains(&format!("lodemark {}", command.name)), "{usage}");
            assert!(config::USAGE.contains(command.name) || command.name == "help", "{} is not in USAGE", command.name);
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
            assert!(run(&mut arguments).is_none());
            assert_eq!(arguments.next(), first, "nothing is taken");
        }
    }
}
