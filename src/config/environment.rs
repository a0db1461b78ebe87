//! Variables of the environment: `ETCD_<NAME>` says what `--<name>` says, unless that is there as well.
//!
//! An empty variable is as good as none. Source: etcd, `pkg/flags/flag.go`, `SetFlagsFromEnv`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;
use super::flags::{self, Called, Kind, Settings, all};
use super::notice::Notice;
use super::secret;
use super::value::{self, SignedDuration};

const PREFIX: &str = "ETCD_";
/// What variables begin with that say what a flag of etcd 3.5 said.
const FORMER_PREFIX: &str = "ETCD_EXPERIMENTAL_";
/// Ignored with a warning: it would ask for the version.
const SPECIAL: &str = "ETCD_VERSION";
/// Lets etcd start on machines that it is not tested on; nothing here asks for that.
const TOLERATED: &str = "ETCD_UNSUPPORTED_ARCH";
/// The least that etcd allows for these. Source: etcd, `DefaultConnReadTimeout`.
const RAFT_TIMEOUT_MIN: (Duration, &str) = (Duration::from_secs(5), "5s");

/// The variables that may be ours and are not empty, by name.
#[derive(Debug)]
pub(super) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Picks them. A name that is not text is none of ours.
    pub(super) fn of(all: impl IntoIterator<Item = (OsString, OsString)>) -> Variables {
        let named = all.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Variables(named.filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty()).collect())
    }

    /// The file that says everything, if one of them names it.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.0.get(&flags::variable(flags::CONFIG_FILE)).map(PathBuf::from)
    }

    /// Sets what they say, over what the arguments say.
    ///
    /// # Errors
    /// [`Error::Shadowed`] if both say it; [`Error::BadVariable`].
    pub(super) fn apply(mut self, settings: &mut Settings, notices: &mut Vec<Notice>) -> Result<(), Error> {
        self.0.remove(TOLERATED);
        if let Some(value) = self.0.remove(SPECIAL) {
            let value = value.to_string_lossy().into_owned();
            notices.push(Notice::SpecialVariable { name: SPECIAL.to_owned(), value });
        }
        for flag in all().filter(|flag| !matches!(flag.kind, Kind::Help | Kind::Version)) {
            let name = flags::variable(flag.name);
            let Some(value) = self.0.remove(&name) else { continue };
            if settings.given.contains(flag.name) {
                return Err(Error::Shadowed { variable: name });
            }
            let value = text(&name, value)?;
            flag.read(&value, settings).map_err(|reason| bad(&name, &value, reason))?;
            settings.given.insert(flag.name);
            notices.push(Notice::UsedVariable { name, value: secret::shown(flag.name, &value) });
        }
        // A flag of today counts, whoever gave it.
        for (name, value) in self.0 {
            match called_formerly(&name) {
                Some(Called::Formerly(flag)) if !settings.given.contains(flag.name) => {
                    let value = text(&name, value)?;
                    flag.read(&value, settings).map_err(|reason| bad(&name, &value, reason))?;
                    settings.called_formerly.insert(flag.name);
                    notices.push(Notice::UsedVariable { name, value: secret::shown(flag.name, &value) });
                }
                Some(Called::Gate(gate)) => {
                    let value = text(&name, value)?;
                    let is_on =
                        value::switch(&value).ok_or_else(|| bad(&name, &value, value::NOT_A_VALUE.to_owned()))?;
                    settings.gates.set_unless_named(gate, is_on);
                    notices.push(Notice::UsedVariable { name, value });
                }
                _ => notices.push(unknown(&name, &value.to_string_lossy())),
            }
        }
        raise_timeouts(settings, notices);
        Ok(())
    }
}

fn text(name: &str, value: OsString) -> Result<String, Error> {
    value.into_string().map_err(|value| bad(name, &value.to_string_lossy(), "it is not UTF-8 text".to_owned()))
}

fn bad(variable: &str, value: &str, reason: String) -> Error {
    Error::BadVariable { variable: variable.to_owned(), value: value.to_owned(), reason }
}

/// The flag of etcd 3.5 that a variable stands for.
fn called_formerly(variable: &str) -> Option<Called> {
    let name = variable.strip_prefix(FORMER_PREFIX)?.to_ascii_lowercase().replace('_', "-");
    Some(flags::call(&format!("experimental-{name}")))
}

fn unknown(name: &str, value: &str) -> Notice {
    let typed = name[PREFIX.len()..].to_ascii_lowercase().replace('_', "-");
    let near = flags::nearest(&typed);
    let value = near.map_or_else(|| value.to_owned(), |near| secret::shown(near, value));
    Notice::UnknownVariable { variable: format!("{name}={value}"), near: near.map(flags::variable) }
}

/// Says that times are raised which have no effect: etcd says so.
fn raise_timeouts(settings: &mut Settings, notices: &mut Vec<Notice>) {
    let (least, minimum) = RAFT_TIMEOUT_MIN;
    for (flag, time) in [
        (flags::RAFT_READ_TIMEOUT, &mut settings.raft_read_timeout),
        (flags::RAFT_WRITE_TIMEOUT, &mut settings.raft_write_timeout),
    ] {
        if time.is_negative || time.length < least {
            *time = SignedDuration { is_negative: false, length: least };
            notices.push(Notice::RaisedTime { flag, minimum });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Invocation, Reading};
    use super::*;

    fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Reading {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Invocation::read(arguments.iter().map(OsString::from), variables)
    }

    fn config(arguments: &[&str], variables: &[(&str, &str)]) -> super::super::Config {
        match read(arguments, variables).outcome {
            Ok(Invocation::Serve(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_variable_says_what_its_flag_says() {
        let config = config(&["--name=a"], &[("ETCD_SNAPSHOT_COUNT", "7"), ("ETCD_PRE_VOTE", "false"), ("PATH", "x")]);
        assert_eq!((config.name.as_str(), config.snapshot_entries, config.pre_vote), ("a", 7, false));
        let notices = read(&[], &[("ETCD_NAME", "b")]).notices;
        assert_eq!(notices, [Notice::UsedVariable { name: "ETCD_NAME".into(), value: "b".into() }]);
    }

    #[test]
    fn an_empty_variable_is_none() {
        let reading = read(&["--name=a"], &[("ETCD_NAME", ""), ("ETCD_FOO", ""), ("ETCD_CONFIG_FILE", "")]);
        assert!(reading.outcome.is_ok() && reading.notices.is_empty(), "{reading:?}");
    }

    #[test]
    fn a_variable_beside_its_flag_is_refused_even_if_both_say_the_same() {
        let error = read(&["--name=a"], &[("ETCD_NAME", "a")]).outcome.unwrap_err();
        assert_eq!(error, Error::Shadowed { variable: "ETCD_NAME".into() });
        assert!(!error.is_usage());
    }

    #[test]
    fn what_a_variable_says_wrongly_is_refused_in_the_words_of_etcd() {
        for (name, value, text) in [
            ("ETCD_SNAPSHOT_COUNT", "abc", "invalid value \"abc\" for ETCD_SNAPSHOT_COUNT: parse error"),
            ("ETCD_PRE_VOTE", "maybe", "invalid value \"maybe\" for ETCD_PRE_VOTE: parse error"),
            (
                "ETCD_EXPERIMENTAL_MAX_LEARNERS",
                "x",
                "invalid value \"x\" for ETCD_EXPERIMENTAL_MAX_LEARNERS: parse error",
            ),
        ] {
            let error = read(&[], &[(name, value)]).outcome.unwrap_err();
            assert_eq!((error.to_string().as_str(), error.is_usage()), (text, false));
        }
    }

    #[test]
    fn a_value_that_is_no_text_is_refused_unless_nobody_reads_it() {
        use std::os::unix::ffi::OsStringExt;
        let odd = || OsString::from_vec(vec![b'a', 0xff]);
        let outcome = |name: &str| Invocation::read([], [(name.into(), odd())]).outcome;
        assert!(matches!(outcome("ETCD_NAME"), Err(Error::BadVariable { variable, .. }) if variable == "ETCD_NAME"));
        assert!(outcome("ETCD_FOO").is_ok() && outcome("PATH").is_ok());
    }

    #[test]
    fn variables_that_are_no_flags_are_told_apart() {
        let variables =
            [("ETCD_VERSION", "3"), ("ETCD_UNSUPPORTED_ARCH", "arm64"), ("ETCD_DATA_DRI", "x"), ("ETCD_HELP", "1")];
        let reading = read(&[], &variables);
        assert!(matches!(reading.outcome, Ok(Invocation::Serve(_))));
        let unknown = |variable: &str, near: Option<&str>| Notice::UnknownVariable {
            variable: variable.into(),
            near: near.map(Into::into),
        };
        assert_eq!(
            reading.notices,
            [
                Notice::SpecialVariable { name: "ETCD_VERSION".into(), value: "3".into() },
                unknown("ETCD_DATA_DRI=x", Some("ETCD_DATA_DIR")),
                unknown("ETCD_HELP=1", None),
            ]
        );
    }

    #[test]
    fn a_former_name_counts_if_that_of_today_says_nothing() {
        let former = ("ETCD_EXPERIMENTAL_MAX_LEARNERS", "3");
        assert_eq!(config(&[], &[former]).learners_max, 3);
        assert_eq!(config(&["--max-learners=2"], &[former]).learners_max, 2);
        assert_eq!(config(&[], &[former, ("ETCD_MAX_LEARNERS", "2")]).learners_max, 2);
        let gate = ("ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK", "true");
        assert!(config(&[], &[gate]).initial_corrupt_check);
        assert!(!config(&["--feature-gates=InitialCorruptCheck=false"], &[gate]).initial_corrupt_check);
    }

    #[test]
    fn times_that_are_too_short_are_raised_with_a_word_about_it() {
        let notices = read(&["--raft-read-timeout=1s", "--raft-write-timeout=6s"], &[]).notices;
        assert_eq!(notices, [Notice::RaisedTime { flag: "raft-read-timeout", minimum: "5s" }]);
    }
}
