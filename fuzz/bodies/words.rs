//! Texts: flags, addresses, headers.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use http::{HeaderMap, HeaderName, HeaderValue};
use lodemark::api::grpc::any_bytes;
use lodemark::api::http::MemberList;
use lodemark::config::{Addresses, Config, InitialCluster, Invocation, Url, find_own, host_names};
use lodemark::net::Address;

/// Any bytes as arguments, with zeros between them.
pub fn flags(bytes: &[u8]) -> bool {
    let arguments = bytes.split(|&byte| byte == 0).filter(|_| !bytes.is_empty());
    let arguments = arguments.map(|argument| OsString::from_vec(argument.to_vec()));
    let invocation = Invocation::from_args(arguments);
    super::told(invocation.as_ref().err());
    let Ok(Invocation::Serve(config)) = invocation else { return false };
    keeps_its_promises(&config);
    true
}

/// Any bytes as a configuration file.
pub fn config_file(bytes: &[u8]) -> bool {
    let config = lodemark::config::any_bytes::config_file(bytes);
    super::told(config.as_ref().err());
    let Ok(config) = config else { return false };
    keeps_its_promises(&config);
    true
}

fn keeps_its_promises(config: &Config) {
    assert!(!config.listen_client_urls.is_empty() && !config.listen_peer_urls.is_empty());
    assert!(config.snapshot_entries > 0 && config.election_timeout >= 5 * config.heartbeat);
    let urls = config.compared_urls();
    let addresses = host_names(&urls).into_iter().map(|name| (name, [10, 0, 0, 1].into())).collect();
    for addresses in [Addresses::new(), addresses] {
        let founding = config.founding(&addresses);
        super::told(founding.as_ref().err());
        if let Ok(founding) = &founding {
            assert!(founding.members.iter().any(|member| member.id == founding.member));
        }
    }
}

/// Any text as the URL of a flag, or of a member that is to be connected to.
pub fn addresses(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (url, address) = (Url::parse(text), Address::parse(text));
    super::told(url.as_ref().err());
    super::told(address.as_ref().err());
    if let Ok(address) = &address {
        assert!(!address.server_name().is_empty());
    }
    if let Ok(url) = &url {
        assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(url));
    }
    url.is_ok() || address.is_ok()
}

/// Any lines as the headers of a call, and what follows an empty one as a list of members.
pub fn headers(bytes: &[u8]) -> bool {
    let headers = header_map(bytes);
    let deadline = any_bytes::deadline(&headers);
    let body = bytes.windows(2).position(|pair| pair == b"\n\n").map_or(&b""[..], |at| &bytes[at + 2..]);
    let list = MemberList::read(&headers, body);
    super::told(list.as_ref().err());
    if let Ok(list) = &list {
        super::told(find_own(&listed(), "n", &list.members, &Addresses::new()).err().as_ref());
    }
    deadline.is_some() || list.is_ok()
}

/// A list that `n` is in.
fn listed() -> InitialCluster {
    let arguments = ["--name=n", "--initial-cluster=n=http://10.0.0.1:2380", "--initial-cluster-state=existing"];
    match Invocation::from_args(arguments.map(OsString::from)) {
        Ok(Invocation::Serve(config)) => config.joining().expect("the list has it"),
        other => panic!("{other:?}"),
    }
}

/// The lines up to an empty one that can be headers.
pub fn header_map(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n').take_while(|line| !line.is_empty()).take(20) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
