//! Just enough HTTP/1.1 to see every byte of an answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long any one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What differs between two servers, whatever they are.
const MASKED: &[&str] = &[
    "cluster_id",
    "member_id",
    "raft_term",
    "ID",
    "TTL",
    "name",
    "peerURLs",
    "clientURLs",
    "leader",
    "raftIndex",
    "raftTerm",
    "raftAppliedIndex",
    "dbSize",
    "dbSizeInUse",
    "hash",
    "token",
];

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// By their names in lower case; without those about the connection and the time.
    pub headers: BTreeMap<String, String>,
    /// For a stream what came so far.
    pub body: String,
}

impl Answer {
    /// The answer without what differs between servers.
    pub fn masked(&self) -> Answer {
        Answer { body: mask(&self.body), ..self.clone() }
    }
}

/// A request whose answer is read line by line.
pub struct Open {
    reader: BufReader<TcpStream>,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
}

/// Makes a request and reads its answer to the end.
pub fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut open = Open::begin(address, method, path, headers, body);
    let mut bytes = Vec::new();
    // With HEAD there is a length, and nothing of it.
    if method != "HEAD" {
        open.read_all(&mut bytes);
    }
    let mut headers = open.headers;
    for name in ["date", "content-length", "transfer-encoding", "connection"] {
        headers.remove(name);
    }
    Answer { status: open.status, headers, body: String::from_utf8(bytes).expect("answers are text") }
}

impl Open {
    /// Makes a request and reads the head of its answer.
    pub fn begin(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Open {
        let mut stream = connect(address);
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {address}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).expect("the server takes the request");
        Open::read_head(stream)
    }

    /// Reads the head of the answer to what was sent.
    pub fn read_head(stream: TcpStream) -> Open {
        let mut reader = BufReader::new(stream);
        let line = read_line(&mut reader);
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {line:?}"));
        let mut headers = BTreeMap::new();
        loop {
            let line = read_line(&mut reader);
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        Open { reader, status, headers }
    }

    /// Reads the next line of an answer that comes in chunks; `None` at its end.
    pub fn line(&mut self) -> Option<String> {
        let mut text = String::new();
        while !text.ends_with('\n') {
            text.push_str(std::str::from_utf8(&self.chunk()?).expect("answers are text"));
        }
        Some(text)
    }

    fn read_all(&mut self, bytes: &mut Vec<u8>) {
        if self.headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
            while let Some(chunk) = self.chunk() {
                bytes.extend_from_slice(&chunk);
            }
        } else if let Some(length) = self.headers.get("content-length") {
            bytes.resize(length.parse().expect("a length"), 0);
            self.reader.read_exact(bytes).expect("the body comes whole");
        } else {
            self.reader.read_to_end(bytes).expect("the body comes to its end");
        }
    }

    /// Reads the next chunk; `None` at the end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&read_line(&mut self.reader), 16).expect("the length of a chunk");
        let mut chunk = vec![0; length];
        self.reader.read_exact(&mut chunk).expect("the chunk comes whole");
        assert_eq!(read_line(&mut self.reader), "");
        (length > 0).then_some(chunk)
    }
}

/// A connection on which nothing waits for ever.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    stream
}

fn read_line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the server answers in time");
    line.trim_end_matches(['\r', '\n']).to_owned()
}

/// Takes out of JSON text what differs between servers, and etcd's random blanks.
pub fn mask(json: &str) -> String {
    // A blank of another kind stands behind `proto:` in some builds.
    let mut text = json.replace('\u{a0}', " ").replace(", \"", ",\"").replace("}, {", "},{").replace(": \"", ":\"");
    for name in MASKED {
        let name = format!("\"{name}\":");
        let mut from = 0;
        while let Some(found) = text[from..].find(&name) {
            let start = from + found + name.len();
            let rest = &text[start..];
            let ends: &[char] = if rest.starts_with('[') { &[']'] } else { &[',', '}', ']'] };
            let end = rest.find(ends).map_or(text.len(), |end| start + end + usize::from(rest.starts_with('[')));
            text.replace_range(start..end, "?");
            from = start;
        }
    }
    text
}

/// Posts one body after another on one connection.
pub fn ask_in_a_row(address: &str, path: &str, bodies: &[&[u8]]) -> Vec<Answer> {
    let mut stream = connect(address);
    let mut answers = Vec::new();
    for body in bodies {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).expect("the server takes the request");
        let mut open = Open::read_head(stream.try_clone().expect("a socket can be shared"));
        let mut bytes = Vec::new();
        open.read_all(&mut bytes);
        let body = String::from_utf8(bytes).expect("answers are text");
        answers.push(Answer { status: open.status, headers: open.headers, body });
    }
    answers
}
