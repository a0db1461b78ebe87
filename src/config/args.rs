//! Go's syntax of flags.
//!
//! `-name` and `--name` are the same; the value follows `=` or is the next argument, but that of a switch only follows
//! `=`. `--` and the first argument that is no flag end the flags. Source: Go, package `flag`.

use std::ffi::OsString;

use super::error::Error;
use super::flags::{self, Called, Kind, Settings};
use super::value;

/// What the arguments say.
#[derive(Debug)]
pub(super) enum Parsed {
    /// `-h` or `--help` came before anything that is wrong.
    Help,
    /// `--version`.
    Version,
    /// Everything else.
    Settings(Box<Settings>),
}

/// Reads the arguments, over the defaults of the table. Of a repeated flag the last value counts.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let mut settings = Settings::defaults();
    let mut wants_version = false;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let argument = text(argument)?;
        let (name, inline) = match split(&argument)? {
            Split::End => {
                let stray = arguments.next().map(text).transpose()?;
                stray.map_or(Ok(()), |stray| Err(Error::Stray { argument: stray }))?;
                break;
            }
            Split::Stray => return Err(Error::Stray { argument }),
            Split::Flag(name, inline) => (name, inline),
        };
        let flag = match flags::call(name) {
            Called::Flag(flag) => flag,
            Called::Formerly(flag) => {
                settings.called_formerly.insert(flag.name);
                flag
            }
            Called::Gate(gate) => {
                let value = switch(name, inline)?;
                settings.gates.set(gate, value).expect("gates know their own names");
                settings.gates_called_formerly.insert(gate, name.to_owned());
                continue;
            }
            Called::Nothing if name == "h" => return Ok(Parsed::Help),
            Called::Nothing => return Err(Error::UnknownFlag { name: name.to_owned(), near: flags::nearest(name) }),
        };
        match flag.kind {
            Kind::Help => return Ok(Parsed::Help),
            Kind::Version => wants_version = switch(name, inline)?,
            Kind::Switch(set) => set(&mut settings, switch(name, inline)?),
            Kind::Ignored => {}
            Kind::Value(set) => {
                let value = match inline {
                    Some(value) => value.to_owned(),
                    None => text(arguments.next().ok_or(Error::NoValue { name: flag.name })?)?,
                };
                set(&mut settings, &value).map_err(|reason| Error::BadValue { name: flag.name, value, reason })?;
            }
        }
        settings.given.insert(flag.name);
    }
    Ok(if wants_version { Parsed::Version } else { Parsed::Settings(Box::new(settings)) })
}

/// The value of a switch, which only follows `=`.
fn switch(name: &str, inline: Option<&str>) -> Result<bool, Error> {
    let value = inline.unwrap_or("true");
    value::switch(value).ok_or_else(|| Error::BadSwitch { name: name.to_owned(), value: value.to_owned() })
}

/// One argument, taken apart.
enum Split<'a> {
    /// A flag, with its value if it follows `=`.
    Flag(&'a str, Option<&'a str>),
    /// `--`.
    End,
    /// No flag.
    Stray,
}

fn split(argument: &str) -> Result<Split<'_>, Error> {
    let Some(rest) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else { return Ok(Split::Stray) };
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Split::End);
    }
    if rest.starts_with(['-', '=']) {
        return Err(Error::Syntax { argument: argument.to_owned() });
    }
    Ok(match rest.split_once('=') {
        Some((name, value)) => Split::Flag(name, Some(value)),
        None => Split::Flag(rest, None),
    })
}

fn text(argument: OsString) -> Result<String, Error> {
    argument.into_string().map_err(|argument| Error::NotText { argument: argument.to_string_lossy().into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Parsed, Error> {
        parse(arguments.iter().map(OsString::from))
    }

    fn settings(arguments: &[&str]) -> Settings {
        match read(arguments) {
            Ok(Parsed::Settings(settings)) => *settings,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn both_dashes_and_both_ways_to_give_a_value_work() {
        for arguments in [&["--name=a"][..], &["-name=a"], &["--name", "a"], &["-name", "a"], &["--name=b", "-name=a"]]
        {
            assert_eq!(settings(arguments).name, "a", "{arguments:?}");
        }
        assert_eq!(settings(&["--name=a=b"]).name, "a=b");
        assert_eq!(settings(&["--name="]).name, "");
        assert_eq!(settings(&["--name", "--data-dir"]).name, "--data-dir");
        assert_eq!(settings(&["--"]).name, "default");
    }

    #[test]
    fn help_and_version_win_where_they_stand() {
        assert!(matches!(read(&["-h", "--nonsense"]), Ok(Parsed::Help)));
        assert!(matches!(read(&["--help"]), Ok(Parsed::Help)));
        assert!(matches!(read(&["--version"]), Ok(Parsed::Version)));
        assert!(matches!(read(&["--version=false"]), Ok(Parsed::Settings(_))));
        assert!(read(&["--version", "--nonsense"]).unwrap_err().is_usage());
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_go() {
        for (arguments, text, is_usage) in [
            (&["--foo"][..], "flag provided but not defined: -foo", true),
            (&["-foo=1"], "flag provided but not defined: -foo", true),
            (
                &["--v2-deprecation=not-yet"],
                "invalid value \"not-yet\" for flag -v2-deprecation: invalid value \"not-yet\"",
                true,
            ),
            (
                &["--feature-gates=X=true"],
                "invalid value \"X=true\" for flag -feature-gates: unrecognized feature gate: X",
                true,
            ),
            (&["--name"], "flag needs an argument: -name", true),
            (&["---x"], "bad flag syntax: ---x", true),
            (&["--=x"], "bad flag syntax: --=x", true),
            (&["--snapshot-count=abc"], "invalid value \"abc\" for flag -snapshot-count: parse error", true),
            (&["--max-learners=-1"], "invalid value \"-1\" for flag -max-learners: parse error", true),
            (
                &["--peer-client-cert-auth=maybe"],
                "invalid boolean value \"maybe\" for -peer-client-cert-auth: parse error",
                true,
            ),
            (&["--pre-vote", "false"], "\"false\" is not a valid flag", false),
            (&["--version=zz"], "invalid boolean value \"zz\" for -version: parse error", true),
            (
                &["--initial-cluster-state=x"],
                "invalid value \"x\" for flag -initial-cluster-state: invalid value",
                true,
            ),
            (&["stray"], "\"stray\" is not a valid flag", false),
            (&["-"], "\"-\" is not a valid flag", false),
            (&["--", "x"], "\"x\" is not a valid flag", false),
            (&["--version", "x"], "\"x\" is not a valid flag", false),
        ] {
            let error = read(arguments).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.is_usage()), (text, is_usage), "{arguments:?}");
        }
    }

    #[test]
    fn a_switch_alone_means_true() {
        assert!(settings(&[]).pre_vote && settings(&[]).strict_reconfig && !settings(&[]).force_new_cluster);
        assert!(settings(&[]).agreement_check && !settings(&["--agreement-check=false"]).agreement_check);
        assert!(settings(&["--force-new-cluster", "--name=a"]).force_new_cluster);
        assert!(!settings(&["--force-new-cluster", "--force-new-cluster=false"]).force_new_cluster);
        assert!(!settings(&["-pre-vote=F"]).pre_vote);
    }

    #[test]
    fn no_megabytes_turn_a_threshold_off() {
        let megabytes = |arguments: &[&str]| settings(arguments).auto_defrag_megabytes;
        assert_eq!((megabytes(&[]), megabytes(&["--auto-defrag-threshold-megabytes=0"])), (64, 0));
    }

    fn read_defrag(argument: &str) -> u64 {
        settings(&[argument]).bootstrap_defrag_megabytes
    }

    #[test]
    fn a_former_name_of_a_flag_works() {
        let settings = settings(&["--experimental-max-learners=3", "--experimental-snapshot-catchup-entries", "7"]);
        assert_eq!((settings.learners_max, settings.snapshot_catchup_entries), (3, 7));
        assert_eq!(
            settings.called_formerly.iter().copied().collect::<Vec<_>>(),
            ["max-learners", "snapshot-catchup-entries"]
        );
        assert_eq!(read_defrag("--experimental-bootstrap-defrag-threshold-megabytes=1"), 1);
        for name in ["--experimental-nonsense", "--experimental-experimental-name=a", "--experimental-"] {
            assert!(matches!(read(&[name]), Err(Error::UnknownFlag { .. })), "{name}");
        }
    }

    #[test]
    fn a_former_flag_that_is_a_gate_today_turns_it() {
        let read_as = |arguments: &[&str]| {
            let gates = settings(arguments).gates;
            (gates.checks_initially(), gates.checks_compactions())
        };
        let both = ["--experimental-initial-corrupt-check", "--experimental-compact-hash-check-enabled=true"];
        assert_eq!((read_as(&both), read_as(&both[..1])), ((true, true), (true, false)));
        assert_eq!(read_as(&[both[0], "--feature-gates=InitialCorruptCheck=false"]), (false, false));
        assert!(matches!(
            read(&["--experimental-initial-corrupt-check=maybe"]),
            Err(Error::BadSwitch { name, .. }) if name == "experimental-initial-corrupt-check"
        ));
    }

    #[test]
    fn what_etcd_has_given_up_is_taken_with_or_without_a_value() {
        for arguments in [&["--enable-v2"][..], &["--enable-v2=true"], &["-v=3", "-vv"], &["--test.coverprofile=x"]] {
            assert_eq!(settings(arguments).given.len(), arguments.len(), "{arguments:?}");
        }
        assert!(
            matches!(read(&["--force", "x"]), Err(Error::Stray { .. })),
            "as for etcd, it takes no value behind it"
        );
    }

    #[test]
    fn a_typo_is_answered_with_what_was_meant() {
        let text = |argument: &str| read(&[argument]).unwrap_err().to_string();
        assert_eq!(text("--nme=a"), "flag provided but not defined: -nme\ndid you mean --name?");
        assert_eq!(text("--nonsense"), "flag provided but not defined: -nonsense");
    }
}
