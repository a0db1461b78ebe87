//! A name server for tests: on the loopback interface, over UDP, as resolvers speak to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::JoinHandle;

/// Longer questions are none of ours.
const QUESTION_BYTES_MAX: usize = 512;
const TYPE_A: u16 = 1;
const TYPE_SRV: u16 = 33;

/// Where a service is.
#[derive(Debug, Clone)]
pub struct Record {
    pub priority: u16,
    pub weight: u16,
    pub host: String,
    pub port: u16,
}

impl Record {
    /// One as good as any other.
    pub fn of(host: &str, port: u16) -> Record {
        Record { priority: 0, weight: 0, host: host.to_owned(), port }
    }
}

/// What the name server knows. Names end with a dot.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    pub services: Vec<(String, Record)>,
    pub hosts: Vec<(String, Ipv4Addr)>,
}

impl Zone {
    /// The same with a service more.
    pub fn service(mut self, name: &str, record: Record) -> Zone {
        self.services.push((name.to_owned(), record));
        self
    }

    /// The same with a host more.
    pub fn host(mut self, name: &str, address: Ipv4Addr) -> Zone {
        self.hosts.push((name.to_owned(), address));
        self
    }

    /// The answer to a question.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let (mut name, mut at) = (String::new(), 12);
        while *question.get(at)? > 0 {
            let len = usize::from(question[at]);
            name.push_str(std::str::from_utf8(question.get(at + 1..=at + len)?).ok()?);
            name.push('.');
            at += len + 1;
        }
        let asked = u16::from_be_bytes([*question.get(at + 1)?, *question.get(at + 2)?]);
        let record = |kind: u16, data: &[u8]| {
            let mut record = encoded(&name);
            record.extend_from_slice(&kind.to_be_bytes());
            record.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            record.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            record.extend_from_slice(data);
            record
        };
        let mut records = Vec::new();
        if asked == TYPE_SRV {
            for (_, found) in self.services.iter().filter(|(service, _)| name.eq_ignore_ascii_case(service)) {
                let mut data = Vec::new();
                for number in [found.priority, found.weight, found.port] {
                    data.extend_from_slice(&number.to_be_bytes());
                }
                data.extend_from_slice(&encoded(&found.host));
                records.push(record(TYPE_SRV, &data));
            }
        }
        if asked == TYPE_A {
            let hosts = self.hosts.iter().filter(|(host, _)| name.eq_ignore_ascii_case(host));
            records.extend(hosts.map(|(_, address)| record(TYPE_A, &address.octets())));
        }
        let is_known = self.services.iter().any(|(service, _)| name.eq_ignore_ascii_case(service))
            || self.hosts.iter().any(|(host, _)| name.eq_ignore_ascii_case(host));
        let mut out = question[..2].to_vec();
        // An answer with authority; a name that is not there is an error.
        out.extend_from_slice(&[0x85, if is_known { 0x80 } else { 0x83 }, 0, 1, 0]);
        out.push(u8::try_from(records.len()).unwrap());
        out.extend_from_slice(&[0, 0, 0, 0]);
        out.extend_from_slice(question.get(12..at + 5)?);
        records.into_iter().for_each(|record| out.extend(record));
        Some(out)
    }
}

/// A name as DNS has it: lengths and labels, and an empty one at the end.
fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Serves `zone` at `address`; port 0 is any free one.
    ///
    /// # Errors
    /// If the address cannot be had: port 53 is for root.
    pub fn start((host, port): (Ipv4Addr, u16), zone: Zone) -> io::Result<NameServer> {
        let socket = UdpSocket::bind((IpAddr::V4(host), port))?;
        let address = socket.local_addr()?;
        let serving = std::thread::spawn(move || {
            let mut question = [0; QUESTION_BYTES_MAX];
            while let Ok((len, from)) = socket.recv_from(&mut question) {
                if len == 0 {
                    return;
                }
                if let Some(answer) = zone.answer(&question[..len]) {
                    // Whoever asked may have gone.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(NameServer { address, serving: Some(serving) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        // Nothing is what ends it.
        let told = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.send_to(&[], self.address));
        if let (Ok(_), Some(serving)) = (told, self.serving.take()) {
            let _ = serving.join();
        }
    }
}
