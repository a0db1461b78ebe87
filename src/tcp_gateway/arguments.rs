//! The arguments, as etcd's command takes them: two dashes, `--name=value` or `--name value`.

use std::ffi::OsString;
use std::time::Duration;

use super::Error;
use super::discovery::Discovery;
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
      --discovery-srv DOMAIN            Ask DNS for the members: services _etcd-client-ssl._tcp.DOMAIN and
                                        _etcd-client._tcp.DOMAIN. If none can be used, it is as if this were not said.
      --discovery-srv-name NAME         Put NAME behind the names of these services, after a dash.
      --trusted-ca-file FILE            Use those only whose certificate is signed by one of FILE, and for DOMAIN.
      --insecure-discovery              Use all of them. Without it only those that have https and can be reached.
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
    /// Members that are taken instead of `endpoints`.
    pub(super) discovery: Option<Discovery>,
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
    let mut discovery = Discovery::default();
    while let Some(argument) = arguments.next().transpose()? {
        if matches!(argument.as_str(), "-h" | "--help") {
            return Ok(Command::Help);
        }
        let unknown = || Error::Usage(format!("unknown flag: {argument}"));
        let (name, inline) = match argument.strip_prefix("--").ok_or_else(unknown)?.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.trim_start_matches('-'), None),
        };
        if START.switches.contains(&name) {
            discovery.is_insecure = switch(name, inline.as_deref().unwrap_or("true"))?;
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
            "discovery-srv" => discovery.domain = value,
            "discovery-srv-name" => discovery.service_name = value,
            "trusted-ca-file" => {
                discovery.trusted_ca_file = Some(value).filter(|path| !path.is_empty()).map(Into::into)
            }
            other => unreachable!("{other} is in the table, and has its place here"),
        }
    }
    if endpoints.is_empty() {
        endpoints.push(DEFAULT_ENDPOINT.to_owned());
    }
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(Error::Usage(format!("more than {ENDPOINTS_MAX} endpoints")));
    }
    // Its companions are of no use without it.
    let discovery = Some(discovery).filter(|discovery| !discovery.domain.is_empty());
    Ok(Command::Start(Start { endpoints, listen_addr, retry_delay, discovery }))
}

/// What a switch is set to. Source: Go, `strconv.ParseBool`.
fn switch(name: &str, value: &str) -> Result<bool, Error> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::Usage(format!("invalid argument {value:?} for \"--{name}\" flag: write true or false"))),
    }
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
            discovery: None,
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
    fn dns_is_asked_as_flags_say() {
        let discovery = |arguments: &[&str]| started(&[&["start"], arguments].concat()).discovery;
        let plain = Discovery { domain: "example.com".into(), ..Discovery::default() };
        assert_eq!(discovery(&["--discovery-srv", "example.com", "--insecure-discovery=false"]), Some(plain.clone()));
        let all = ["--discovery-srv=example.com", "--discovery-srv-name=blue", "--insecure-discovery"];
        let named = Discovery { service_name: "blue".into(), is_insecure: true, ..plain.clone() };
        assert_eq!(discovery(&all), Some(named));
        let signed = Discovery { trusted_ca_file: Some("ca.pem".into()), ..plain };
        assert_eq!(discovery(&["--discovery-srv=example.com", "--trusted-ca-file=ca.pem"]), Some(signed));
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
            (
                &["start", "--insecure-discovery=x"],
                "invalid argument \"x\" for \"--insecure-discovery\" flag: write true or false",
            ),
            (&["start", "--retry-delay=-1s"], "invalid argument \"-1s\" for \"--retry-delay\" flag: write 30s or 1m"),
        ] {
            assert_eq!(read(arguments).unwrap_err().to_string(), text, "{arguments:?}");
        }
        for arguments in [&[][..], &["help"], &["start", "--help"], &["start", "--listen-addr=x", "-h"]] {
            assert_eq!(read(arguments).unwrap(), Command::Help, "{arguments:?}");
        }
    }
}
