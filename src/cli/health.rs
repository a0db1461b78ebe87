//! `lodemark health`: asks a member whether it is ready, for health checks of containers, which have no other program.
//!
//! One plain request by hand over HTTP/1.1: the answer's status is all that counts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::EXIT_USAGE;
use crate::command::{Given, Operands, UsageError, Verb, print};
use crate::net::{Address, CertificateFiles, Io, Protocol, Tls, TlsOptions};

/// How it is called.
pub(super) const USAGE: &str = "\
Usage:

  lodemark health [--endpoint=http://127.0.0.1:2379] [--path=/readyz] [--timeout=SECONDS]
                  [--cacert=FILE] [--cert=FILE --key=FILE]
    Ask a member whether it is ready to serve. Prints what it answers.
      --path              What is asked for: /readyz, /livez or /health.
      --timeout           So long it may take. Default 5.

The exit status is 0 if the member is ready, 1 if it is not or does not answer, 2 if the arguments are wrong.
";

/// What may be said with it.
pub(super) const VERB: Verb = Verb {
    name: "",
    values: &["endpoint", "path", "timeout", "cacert", "cert", "key"],
    switches: &[],
    operands: Operands::None,
};

const TIMEOUT_SECONDS: u64 = 5;
/// An answer is longer than this only if it is none of ours.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What is asked of whom.
struct Question {
    endpoint: String,
    path: String,
    within: Duration,
    cacert: Option<PathBuf>,
    cert: Option<CertificateFiles>,
}

/// Runs `lodemark health` with the arguments that follow.
pub(super) fn main(arguments: &mut dyn Iterator<Item = OsString>) -> ExitCode {
    let question = match read(arguments) {
        Ok(Some(question)) => question,
        Ok(None) => {
            print(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("Error: {error}\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let asked = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string());
    let asked = asked.and_then(|runtime| {
        let answer = runtime.block_on(async { timeout(question.within, ask(&question)).await });
        answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", question.within)))
    });
    match asked {
        Ok((200, body)) => {
            print(&format!("{}\n", body.trim_end()));
            ExitCode::SUCCESS
        }
        Ok((status, body)) => {
            eprintln!("Error: {} is not ready: status {status}: {}", question.endpoint, body.trim_end());
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("Error: {}: {why}", question.endpoint);
            ExitCode::FAILURE
        }
    }
}

fn read(arguments: &mut dyn Iterator<Item = OsString>) -> Result<Option<Question>, UsageError> {
    let mut given = Given::read(arguments, &VERB)?;
    if given.wants_help {
        return Ok(None);
    }
    let endpoint = given.take("endpoint").unwrap_or_else(|| "http://127.0.0.1:2379".to_owned());
    let path = given.take("path").unwrap_or_else(|| "/readyz".to_owned());
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(UsageError(format!("invalid value {path:?} for --path: it begins with / and has no blanks")));
    }
    let cert = match (given.take("cert"), given.take("key")) {
        (Some(cert), Some(key)) => Some(CertificateFiles { cert: cert.into(), key: key.into() }),
        (None, None) => None,
        _ => return Err(UsageError("--cert and --key must both be given".to_owned())),
    };
    Ok(Some(Question {
        endpoint: if endpoint.contains("://") { endpoint } else { format!("http://{endpoint}") },
        path,
        within: Duration::from_secs(given.number("timeout")?.unwrap_or(TIMEOUT_SECONDS).max(1)),
        cacert: given.take("cacert").map(PathBuf::from),
        cert,
    }))
}

/// Asks; gives status and body.
async fn ask(question: &Question) -> Result<(u16, String), String> {
    let Question { endpoint, path, cacert, cert, .. } = question;
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let address = Address::parse(endpoint).map_err(|error| said(&error))?;
    let socket = address.connect().await.map_err(|error| said(&error))?;
    let mut io: Box<dyn Io> = if address.is_secure {
        let tls = match cert {
            None => Tls::without_certificate(cacert.clone()),
            Some(certificate) => Tls::new(TlsOptions {
                certificate: Some(certificate.clone()),
                trusted_ca_file: cacert.clone(),
                ..TlsOptions::default()
            }),
        };
        let tls = tls.map_err(|error| said(&error))?;
        Box::new(tls.connect(socket, address.server_name(), Protocol::Http1).await.map_err(|error| said(&error))?)
    } else {
        Box::new(socket)
    };
    let host = address.server_name();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.map_err(|error| said(&error))?;
    let mut answer = Vec::new();
    let read = (&mut io).take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await;
    // A server that closes without TLS's own goodbye has answered all the same.
    read.map(drop).or_else(|error| if answer.is_empty() { Err(said(&error)) } else { Ok(()) })?;
    parse(&answer).ok_or_else(|| "what it answers is not HTTP".to_owned())
}

/// Status and body of an answer.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nok\n"), Some((200, "ok\n".to_owned())));
        assert_eq!(parse(b"HTTP/1.1 503 \r\n\r\n"), Some((503, String::new())));
        for odd in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 \xff\xff\xff\r\n\r\n", b"SSH-2.0\r\n\r\n"] {
            assert_eq!(parse(odd), None);
        }
    }
}
