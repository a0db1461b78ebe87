//! The arguments, as etcd's command takes them: two dashes, `--name=value` or `--name value`.

use std::ffi::OsString;
use std::time::Duration;

use super::Error;
use crate::command::{Operands, Verb};
use crate::config::unsigned_duration;

const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";
const DEFAULT_LISTEN_ADDR: &str = "127.0.0.1:23790";
const DEFAULT_RETRY_DELAY: Duration = Duration::from_secs(60);
/// What no time means. Source: etcd, `TCPProxy.Run`.
const RETRY_DELAY_OF_ZERO: Duration = Duration::from_secs(300);
/// What an endpoint without a port has.
const DEFAULT_PORT: &str = "2379";
/// Members of a cluster are few.
const ENDPOINTS_MAX: usize = 1000;

/// What may be said with `gateway start`.
pub const START: Verb = Verb {
    name: "start",
    values: &["endpoints", "listen-addr", "retry-delay", "discovery-srv", "discovery-srv-name", "trusted-ca-file"],
    switches: &["insecure-discovery"],
    operands: Operands::None,
};

/// How the command is called.
#[must_use]
pub fn usage(program: &str) -> String {
    format!(
        "\
Usage:

  {program} gateway start [flags]
    Forward connections to the members of a cluster, one after the other; those that cannot be reached are left out.
      --endpoints {DEFAULT_ENDPOINT}        Members, as host:port or URLs, comma-separated.
      --listen-addr {DEFAULT_LISTEN_ADDR}     Where clients connect to.
      --retry-delay 1m                  How long a member that cannot be reached is left out. 0 means 5m.
      --discovery-srv, --discovery-srv-name, --insecure-discovery, --trusted-ca-file
                                        Flags of etcd that find members by DNS: not there yet.
"
    )
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Help,
    Start(Start),
}

#[derive(Debug, PartialEq)]
pub(super) struct Start {
    /// Each as `host:port`; at least one.
    pub(super) endpoints: Vec<String>,
    pub(super) listen_addr: String,
    pub(super) retry_delay: Duration,
}

/// Reads the arguments that follow `gateway`.
pub(super) fn command(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Error> {
    let mut arguments = arguments.into_iter().map(text);
    match arguments.next().transpose()?.as_deref() {
        Some("start") => start(arguments),
        None | Some("-h" | "--help" | "help") => Ok(Command::Help),
        Some(other) => Err(Error::Usage(format!("unknown command {other:?} for \"gateway\""))),
    }
}

fn start(mut arguments: impl Iterator<Item = Result<String, Error>>) -> Result<Command, Error> {
    let mut endpoints = Vec::new();
    let (mut listen_addr, mut retry_delay) = (DEFAULT_LISTEN_ADDR.to_owned(), DEFAULT_RETRY_DELAY);
    while let Some(argument) = arguments.next().transpose()? {
        if matches!(argument.as_str(), "-h" | "--help") {
            return Ok(Command::Help);
        }
        let unknown = || Error::Usage(format!("unknown flag: {argument}"));
        let (name, inline) = match argument.strip_prefix("--").ok_or_else(unknown)?.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.trim_start_matches('-'), None),
        };
        // A switch, and of no use without the flag that follows.
        if START.switches.contains(&name) {
            continue;
        }
        if !START.values.contains(&name) {
            return Err(unknown());
        }
        let missing = || Error::Usage(format!("flag needs an argument: --{name}"));
        let value = inline.map_or_else(|| arguments.next().transpose()?.ok_or_else(missing), Ok)?;
        match name {
            "endpoints" => endpoints.extend(value.split(',').filter(|text| !text.is_empty()).map(place)),
            "listen-addr" => listen_addr = value,
            "retry-delay" => {
                let bad =
                    || Error::Usage(format!("invalid argument {value:?} for \"--retry-delay\" flag: write 30s or 1m"));
                let delay = unsigned_duration(&value).ok_or_else(bad)?;
                retry_delay = if delay.is_zero() { RETRY_DELAY_OF_ZERO } else { delay };
            }
            "discovery-srv" if !value.is_empty() => {
                let what = "--discovery-srv is a flag of etcd that this version of Lodemark does not have here; \
                            name the members with --endpoints";
                return Err(Error::Usage(what.to_owned()));
            }
            // Of use with the flag before alone.
            _ => {}
        }
    }
    if endpoints.is_empty() {
        endpoints.push(DEFAULT_ENDPOINT.to_owned());
    }
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(Error::Usage(format!("more than {ENDPOINTS_MAX} endpoints")));
    }
    Ok(Command::Start(Start { endpoints, listen_addr, retry_delay }))
}

/// The place of a URL, with a port.
fn place(endpoint: &str) -> String {
    let place = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest.split('/').next().unwrap_or_default());
    let has_port = place
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()));
    if has_port { place.to_owned() } else { format!("{place}:{DEFAULT_PORT}") }
}

fn text(argument: OsString) -> Result<String, Error> {
    let not_text = |text: OsString| Error::Usage(format!("argument {:?} is not UTF-8 text", text.to_string_lossy()));
    argument.into_string().map_err(not_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Command, Error> {
        command(arguments.iter().map(OsString::from))
    }

    fn started(arguments: &[&str]) -> Start {
        match read(arguments) {
            Ok(Command::Start(start)) => start,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_etcd() {
        let expected = Start {
            endpoints: vec!["127.0.0.1:2379".into()],
            listen_addr: "127.0.0.1:23790".into(),
            retry_delay: Duration::from_secs(60),
        };
        assert_eq!(started(&["start"]), expected);
        assert_eq!(started(&["start", "--discovery-srv=", "--insecure-discovery", "--trusted-ca-file", "x"]), expected);
    }

    #[test]
    fn endpoints_are_places_with_ports_whatever_they_are_given_as() {
        let endpoints =
            started(&["start", "--endpoints", "a,http://b:1,https://c/x", "--endpoints=[::1]:5,10.0.0.1:6"]).endpoints;
        assert_eq!(endpoints, ["a:2379", "b:1", "c:2379", "[::1]:5", "10.0.0.1:6"]);
    }

    #[test]
    fn times_are_read_as_go_reads_them() {
        assert_eq!(started(&["start", "--retry-delay=1m30s"]).retry_delay.as_secs(), 90);
        assert_eq!(started(&["start", "--retry-delay=0s"]).retry_delay.as_secs(), 300);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (arguments, text) in [
            (&["stop"][..], "unknown command \"stop\" for \"gateway\""),
            (&["start", "--foo"], "unknown flag: --foo"),
            (&["start", "x"], "unknown flag: x"),
            (&["start", "-endpoints=a"], "unknown flag: -endpoints=a"),
            (&["start", "--endpoints"], "flag needs an argument: --endpoints"),
            (&["start", "--retry-delay=zz"], "invalid argument \"zz\" for \"--retry-delay\" flag: write 30s or 1m"),
            (&["start", "--retry-delay=-1s"], "invalid argument \"-1s\" for \"--retry-delay\" flag: write 30s or 1m"),
        ] {
            assert_eq!(read(arguments).unwrap_err().to_string(), text, "{arguments:?}");
        }
        assert!(read(&["start", "--discovery-srv=example.com"]).unwrap_err().to_string().contains("--endpoints"));
        for arguments in [&[][..], &["help"], &["start", "--help"], &["start", "--listen-addr=x", "-h"]] {
            assert_eq!(read(arguments).unwrap(), Command::Help, "{arguments:?}");
        }
    }
}
