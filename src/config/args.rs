//! Go's syntax of flags.
//!
//! `-name` and `--name` are the same; the value follows `=` or is the next argument, but that of a switch only follows
//! `=`. `--` and the first argument that is no flag end the flags. Source: Go, package `flag`.

use std::ffi::OsString;

use super::error::Error;
use super::flags::{self, Kind, Settings};
use super::gates;
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

/// The defaults of the table.
pub(super) fn defaults() -> Settings {
    let mut settings = Settings::default();
    for flag in flags::ALL {
        match flag.kind {
            Kind::Value(set) => set(&mut settings, flag.default).expect("a test reads the defaults of the table"),
            Kind::Switch(set) => set(&mut settings, value::switch(flag.default).expect("as above")),
            Kind::Version | Kind::Help => {}
        }
    }
    settings
}

/// Reads the arguments, over the defaults of the table. Of a repeated flag the last value counts.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let mut settings = defaults();
    let mut wants_version = false;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let argument = text(argument)?;
        let (name, inline) = match split(&argument)? {
            Split::End => {
                let stray = arguments.next().map(text).transpose()?;
                stray.map_or(Ok(()), |stray| Err(stray_argument(stray)))?;
                break;
            }
            Split::Stray => return Err(stray_argument(argument)),
            Split::Flag(name, inline) => (name, inline),
        };
        let former = || flags::present_name(name).and_then(flags::find);
        let flag = match flags::find(name).or_else(former) {
            Some(flag) => flag,
            None if name == "h" => return Ok(Parsed::Help),
            None if let Some(gate) = flags::present_name(name).and_then(gates::of_former_flag) => {
                let value = inline.unwrap_or("true");
                let bad = || Error::BadSwitch { name: "feature-gates", value: value.to_owned() };
                let set = settings.gates.set(gate, value::switch(value).ok_or_else(bad)?);
                set.expect("gates know their own names");
                settings.gates_called_formerly.insert(gate, name.to_owned());
                continue;
            }
            None if flags::is_of_etcd(name) => return Err(Error::NotYet { name: name.to_owned() }),
            None => return Err(Error::UnknownFlag { name: name.to_owned() }),
        };
        let switch = || {
            let value = inline.unwrap_or("true");
            value::switch(value).ok_or_else(|| Error::BadSwitch { name: flag.name, value: value.to_owned() })
        };
        match flag.kind {
            Kind::Help => return Ok(Parsed::Help),
            Kind::Version => wants_version = switch()?,
            Kind::Switch(set) => set(&mut settings, switch()?),
            Kind::Value(set) => {
                let value = match inline {
                    Some(value) => value.to_owned(),
                    None => text(arguments.next().ok_or(Error::NoValue { name: flag.name })?)?,
                };
                set(&mut settings, &value).map_err(|reason| Error::BadValue { name: flag.name, value, reason })?;
            }
        }
        settings.given.insert(flag.name);
        if flag.name != name {
            settings.called_formerly.insert(flag.name);
        }
    }
    Ok(if wants_version { Parsed::Version } else { Parsed::Settings(Box::new(settings)) })
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

fn stray_argument(argument: String) -> Error {
    match argument.as_str() {
        "gateway" | "grpc-proxy" => Error::CommandNotYet { command: argument },
        _ => Error::Stray { argument },
    }
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

    #[test]
    fn a_former_name_of_a_flag_works() {
        let settings = settings(&["--experimental-max-learners=3", "--experimental-snapshot-catchup-entries", "7"]);
        assert_eq!((settings.learners_max, settings.snapshot_catchup_entries), (3, 7));
        assert_eq!(
            settings.called_formerly.iter().copied().collect::<Vec<_>>(),
            ["max-learners", "snapshot-catchup-entries"]
        );
        let name = "--experimental-bootstrap-defrag-threshold-megabytes=1";
        assert!(matches!(read(&[name]), Err(Error::NotYet { .. })), "{name}");
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
            Err(Error::BadSwitch { name: "feature-gates", .. })
        ));
    }

    #[test]
    fn flags_of_etcd_that_are_still_to_come_are_told_apart() {
        let error = read(&["--wal-dir=x"]).unwrap_err().to_string();
        assert!(error.starts_with("flag provided but not defined: -wal-dir\n"), "{error}");
        assert!(error.contains("does not have yet"), "{error}");
        let error = read(&["grpc-proxy", "start"]).unwrap_err();
        assert!(!error.is_usage() && error.to_string().contains("does not have yet"), "{error}");
    }
}
