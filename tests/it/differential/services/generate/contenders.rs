//! Locks and elections. Nobody waits: each is asked for while it is free, or by who holds it.

use serde_json::{Value, json};

use super::super::codec::base64;
use super::kv::LEASES;
use super::*;

const LOCKS: [&str; 2] = ["m/lock", "m/other"];
const ELECTIONS: [&str; 2] = ["n/e", "n/f"];

impl Generator {
    pub(super) fn contender_call(&mut self) -> Call {
        match self.below(10) {
            0..2 => {
                let name = self.pick(&LOCKS);
                let lease = self.locks.get(name).copied().unwrap_or_else(|| self.pick(&LEASES));
                self.call(&LOCK, json!({"name": base64(name), "lease": lease}))
            }
            2 => {
                let name = self.pick(&LOCKS);
                let key = match self.locks.get(name) {
                    Some(lease) => key_of(name, *lease),
                    None => self.pick(&["", "m/lock/nobody"]).to_owned(),
                };
                self.call(&UNLOCK, json!({"key": base64(key)}))
            }
            3..5 => {
                let name = self.pick(&ELECTIONS);
                let lease = self.leaders.get(name).map(|(lease, _)| *lease).unwrap_or_else(|| self.pick(&LEASES));
                let value = self.pick(&["x", "y"]);
                self.call(&CAMPAIGN, json!({"name": base64(name), "lease": lease, "value": base64(value)}))
            }
            5..7 => {
                let (name, value) = (self.pick(&ELECTIONS), self.pick(&["x", "z"]));
                let mut request = json!({"value": base64(value)});
                if let Some(leader) = self.leader_key(name) {
                    request["leader"] = leader;
                }
                self.call(&PROCLAIM, request)
            }
            7 => {
                let name = self.pick(&ELECTIONS);
                let leader = self.leader_key(name);
                self.call(&RESIGN, leader.map_or(json!({}), |leader| json!({"leader": leader})))
            }
            8 if !self.leaders.is_empty() => {
                let names: Vec<&str> = self.leaders.keys().copied().collect();
                let name = self.pick(&names);
                Call { until: Until::First, ..self.call(&OBSERVE, json!({"name": base64(name)})) }
            }
            _ => {
                let name = self.pick(&["n/e", "n/f", "n/nobody", ""]);
                self.call(&LEADER, json!({"name": base64(name)}))
            }
        }
    }

    pub(super) fn learn_of_contenders(&mut self, call: &Call, answer: &Value) {
        let request = call.request();
        let name_in = |names: [&'static str; 2]| names.into_iter().find(|name| base64(name) == request["name"]);
        if call.is(&LOCK) {
            let lease = request["lease"].as_i64().unwrap_or(0);
            self.locks.extend(name_in(LOCKS).map(|name| (name, lease)));
        } else if call.is(&UNLOCK) {
            self.locks.retain(|name, lease| base64(key_of(name, *lease)) != request["key"]);
        } else if call.is(&CAMPAIGN) {
            let leader = &answer["leader"];
            let leads = (request["lease"].as_i64().unwrap_or(0), number(&leader["rev"]).unwrap_or(0));
            self.leaders.extend(name_in(ELECTIONS).map(|name| (name, leads)));
        } else if call.is(&RESIGN) {
            let rev = request["leader"]["rev"].as_i64();
            self.leaders.retain(|name, (lease, leads)| {
                base64(key_of(name, *lease)) != request["leader"]["key"] || Some(*leads) != rev
            });
        } else if call.is(&REVOKE)
            && let Some(id) = request["ID"].as_i64()
        {
            self.locks.retain(|_, lease| *lease != id);
            self.leaders.retain(|_, (lease, _)| *lease != id);
        }
    }

    /// Who leads, or whom nobody follows.
    fn leader_key(&mut self, name: &str) -> Option<Value> {
        let (lease, rev) = match self.leaders.get(name).copied() {
            Some((lease, rev)) => (lease, if self.one_in(6) { rev - 1 } else { rev }),
            None if self.one_in(3) => return None,
            None => (1, 1),
        };
        Some(json!({"name": base64(name), "key": base64(key_of(name, lease)), "rev": rev, "lease": lease}))
    }
}

/// The key of a contender.
fn key_of(name: &str, lease: i64) -> String {
    let sign = if lease < 0 { "-" } else { "" };
    format!("{name}/{sign}{:x}", lease.unsigned_abs())
}
