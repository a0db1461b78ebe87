//! Golden scripts of leases: which keys hang on which, and when each ends. Times are seconds.

use std::time::Duration;

use super::*;
use crate::env::Tick;
use crate::model::LeaseId;
use crate::mvcc::testing::{Result, Words, run_scripts};

#[test]
fn scripts() {
    run_scripts("lease", Runner::default);
}

#[derive(Default)]
struct Runner {
    lessor: Lessor,
    expiry: Expiry,
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _context: &goldenscript::Context) -> Result<String> {
        let mut words = Words::of(command);
        let line = match command.name.as_str() {
            "grant" => {
                let lease = Lease { ttl: words.number("ttl")?, remaining: 0, granted_at: 0 };
                if self.lessor.grant(id(&mut words)?, lease) { "granted" } else { "the id is taken" }.to_owned()
            }
            "end" => match self.lessor.end(id(&mut words)?) {
                Some(keys) => show_keys(&keys),
                None => "no such lease".to_owned(),
            },
            "attach" => {
                self.lessor.attach(id(&mut words)?, words.word()?.as_bytes());
                String::new()
            }
            "detach" => {
                self.lessor.detach(id(&mut words)?, words.word()?.as_bytes());
                String::new()
            }
            "keys" => show_keys(&self.lessor.keys(id(&mut words)?)),
            "schedule" => {
                let at = seconds(&mut words, "at")?;
                self.expiry.schedule(id(&mut words)?, Tick(at));
                String::new()
            }
            "forget" => {
                self.expiry.forget(id(&mut words)?);
                String::new()
            }
            "expired" => {
                let (now, retry) = (seconds(&mut words, "now")?, seconds(&mut words, "retry")?);
                let max = words.option("max").map_or(Ok(usize::MAX), |max| max.parse())?;
                show_ids(&self.expiry.expired(Tick(now), max, retry))
            }
            "by_end" => show_ids(&self.expiry.by_end()),
            "end_of" => match self.expiry.end_of(id(&mut words)?) {
                Some(Tick(at)) => format!("at {}", at.as_secs()),
                None => "unknown".to_owned(),
            },
            other => return Err(format!("no such command: {other}").into()),
        };
        words.end()?;
        Ok(line)
    }
}

fn id(words: &mut Words) -> Result<LeaseId> {
    Ok(LeaseId(words.word()?.parse()?))
}

fn seconds(words: &mut Words, name: &str) -> Result<Duration> {
    Ok(Duration::from_secs(words.number(name)?.try_into()?))
}

fn show_ids(ids: &[LeaseId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    format!("[{}]", ids.join(" "))
}

fn show_keys(keys: &[bytes::Bytes]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| key.escape_ascii().to_string()).collect();
    format!("[{}]", keys.join(" "))
}
