//! From the headers of a request to the metadata of its call.
//!
//! | header | metadata |
//! | --- | --- |
//! | `Authorization` | `authorization`, and as below |
//! | `Grpc-Metadata-<name>` | `<name>` |
//! | what HTTP itself defines: `Accept`, `Origin`, `User-Agent` ... | `grpcgateway-<name>` |
//! | `Grpc-Timeout` | none: the gateway keeps the time |
//! | anything else | none |
//!
//! Who calls is said by these and by nothing else: a gateway's call has no certificate.
//!
//! Source: `grpc-gateway/runtime/context.go`, `mux.go`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tonic::Status;

const METADATA: &str = "grpc-metadata-";
const OF_GATEWAY: &str = "grpcgateway-";
const TIMEOUT: &str = "grpc-timeout";
/// All metadata of a call; a little less than a connection takes.
const BYTES_MAX: usize = 60 * 1024;
/// What HTTP/2 counts for each header besides its name and value.
const HEADER_BYTES: usize = 32;

/// The headers of HTTP itself. Source: `grpc-gateway`, `isPermanentHTTPHeader`.
const OF_HTTP: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "authorization",
    "cache-control",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-schedule-tag-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "warning",
];

/// What a client must not say of a call: gRPC and HTTP/2 do.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "grpc-encoding",
    "grpc-message",
    "grpc-message-type",
    "grpc-status",
    "grpc-timeout",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The metadata of the call that a request means.
///
/// # Errors
/// If there is too much of it, or the value of a binary one is no base64.
pub(super) fn of(headers: &HeaderMap) -> Result<HeaderMap, Status> {
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        if name == header::AUTHORIZATION {
            metadata.append(header::AUTHORIZATION, value.clone());
        }
        let Some(key) = key(name.as_str()) else { continue };
        if key.as_str().ends_with("-bin") {
            check_binary(name, value)?;
        } else if !value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)) {
            tracing::debug!(%name, "a header that is no text is not handed on");
            continue;
        }
        metadata.append(key, value.clone());
    }
    let bytes: usize = metadata.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES).sum();
    if bytes > BYTES_MAX {
        return Err(Status::resource_exhausted(format!("the metadata is larger than max ({bytes} vs. {BYTES_MAX})")));
    }
    Ok(metadata)
}

/// How long the client waits, if it says so; nothing at all if that is over already.
///
/// # Errors
/// If what it says is no time.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(TIMEOUT).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let invalid = || Status::invalid_argument(format!("invalid grpc-timeout: {text}"));
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(invalid)?;
    let nanos_of_unit: u64 = match unit {
        "H" => 3_600_000_000_000,
        "M" => 60_000_000_000,
        "S" => 1_000_000_000,
        "m" => 1_000_000,
        "u" => 1000,
        "n" => 1,
        _ => return Err(invalid()),
    };
    let count: i64 = count.parse().map_err(|_| invalid())?;
    Ok(match u64::try_from(count) {
        // Go cannot tell it from none.
        Ok(0) => None,
        Ok(count) => Some(Duration::from_nanos(count.saturating_mul(nanos_of_unit))),
        Err(_) => Some(Duration::ZERO),
    })
}

fn key(name: &str) -> Option<HeaderName> {
    let key = match name.strip_prefix(METADATA) {
        Some(key) if RESERVED.contains(&key) => return None,
        Some(key) => HeaderName::from_bytes(key.as_bytes()).ok()?,
        None if OF_HTTP.contains(&name) => HeaderName::from_bytes(format!("{OF_GATEWAY}{name}").as_bytes()).ok()?,
        None => return None,
    };
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    Some(key).filter(|key| key.as_str().bytes().all(is_legal))
}

fn check_binary(name: &HeaderName, value: &HeaderValue) -> Result<(), Status> {
    let engine = if value.len().is_multiple_of(4) { &STANDARD } else { &STANDARD_NO_PAD };
    match engine.decode(value.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Status::invalid_argument(format!("invalid binary header {name}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn headers(all: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let header = |&(name, value): &(&'static str, &'static [u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        all.iter().map(header).collect()
    }

    #[test]
    fn headers_become_metadata() {
        let metadata = of(&headers(&[
            ("authorization", b"Bearer t"),
            ("accept", b"*/*"),
            ("grpc-metadata-hasleader", b"true"),
            ("grpc-metadata-token", b"t"),
            ("grpc-metadata-x-bin", b"AQI"),
            ("x-other", b"1"),
            ("grpc-timeout", b"1S"),
        ]));
        let expected = headers(&[
            ("authorization", b"Bearer t"),
            ("grpcgateway-authorization", b"Bearer t"),
            ("grpcgateway-accept", b"*/*"),
            ("hasleader", b"true"),
            ("token", b"t"),
            ("x-bin", b"AQI"),
        ]);
        assert_eq!(metadata.unwrap(), expected);
    }

    #[test]
    fn what_a_client_must_not_say_is_not_handed_on() {
        let all = headers(&[
            ("grpc-metadata-te", b"x"),
            ("grpc-metadata-content-type", b"x"),
            ("grpc-metadata-grpc-timeout", b"1n"),
            ("grpc-metadata-connection", b"close"),
            ("grpc-metadata-", b"x"),
            ("grpc-metadata-a~b", b"x"),
            ("grpc-metadata-a", b"\xff"),
        ]);
        assert_eq!(of(&all).unwrap(), HeaderMap::new());
        let status = of(&headers(&[("grpc-metadata-x-bin", b"!!")])).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("invalid binary header grpc-metadata-x-bin: "), "{status:?}");
    }

    #[test]
    fn headers_have_a_bound() {
        let value = HeaderValue::from_bytes(&[b'x'; 50 * 1024]).unwrap();
        let mut headers = HeaderMap::from_iter([(HeaderName::from_static("grpc-metadata-a"), value.clone())]);
        assert!(of(&headers).is_ok());
        headers.append("x-other", value.clone());
        assert!(of(&headers).is_ok());
        headers.append("origin", value);
        assert_eq!(of(&headers).unwrap_err().code(), Code::ResourceExhausted);
    }

    #[test]
    fn times_are_those_of_grpc_and_more() {
        let timeout =
            |value| timeout(&headers(&[("grpc-timeout", value)])).map_err(|status| status.message().to_owned());
        assert_eq!(timeout(b"300m"), Ok(Some(Duration::from_millis(300))));
        assert_eq!(timeout(b"2H"), Ok(Some(Duration::from_secs(7200))));
        assert_eq!(timeout(b"-5S"), Ok(Some(Duration::ZERO)));
        assert_eq!((timeout(b"0S"), timeout(b"")), (Ok(None), Ok(None)));
        for odd in ["x", "5", "S", "5x", "1.5S", "99999999999999999999S", "5\u{b5}"] {
            assert_eq!(timeout(odd.as_bytes()), Err(format!("invalid grpc-timeout: {odd}")));
        }
    }
}
