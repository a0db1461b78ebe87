//! Members and maintenance.

use serde_json::{Value, json};

use super::*;

/// Learners that a sequence adds have addresses at which nobody listens: each its own, since the id of a member is a
/// hash of its URLs and of the second, and a removed id never returns.
const PORTS_LEN: u64 = 1_000;
/// Calls between a change that stops others, such as an alarm, and its end.
const PAUSE_LEN: u64 = 12;

impl Generator {
    pub(super) fn cluster_call(&mut self) -> Call {
        match self.below(12) {
            0..2 => {
                let linearizable = self.one_in(2);
                self.call(&MEMBER_LIST, json!({"linearizable": linearizable}))
            }
            2..5 => self.member_add(),
            5..8 => {
                let id = self.member();
                self.call(&MEMBER_REMOVE, json!({"ID": id}))
            }
            8..10 => {
                let id = self.member();
                self.call(&MEMBER_PROMOTE, json!({"ID": id}))
            }
            _ => {
                let id = self.member();
                let urls = self.urls_for_update(&id);
                self.call(&MEMBER_UPDATE, json!({"ID": id, "peerURLs": urls}))
            }
        }
    }

    pub(super) fn maintenance_call(&mut self) -> Call {
        match self.below(44) {
            0..10 => self.alarm(),
            10..15 => self.call(&STATUS, json!({})),
            15..17 => self.call(&HASH, json!({})),
            17..27 => {
                let revision = match self.below(8) {
                    0 => self.compacted - 1,
                    1 => self.revision + 1,
                    2 => self.pick(&[-1, i64::MAX, i64::MIN]),
                    3..5 => self.random.random_range(self.compacted.max(1)..=self.revision.max(self.compacted).max(1)),
                    5 => self.compacted,
                    _ => 0,
                };
                self.call(&HASH_KV, json!({"revision": revision}))
            }
            27 => self.call(&DEFRAGMENT, json!({})),
            28 => self.call(&SNAPSHOT, json!({})),
            29..33 => {
                let id = self.member();
                self.call(&MOVE_LEADER, json!({"targetID": id}))
            }
            _ => self.downgrade(),
        }
    }

    pub(super) fn learn_of_upkeep(&mut self, call: &Call, answer: &Value) {
        let id = call.request()["ID"].as_str().unwrap_or_default().to_owned();
        if call.is(&MEMBER_ADD) {
            self.members_made += 1;
            self.learners.push(format!("@member{}", self.members_made));
        } else if call.is(&MEMBER_REMOVE) {
            self.learners.retain(|learner| *learner != id);
            self.removed.push(id);
        } else if call.is(&GRANT) {
            if answer["ID"].as_str().is_some_and(|id| id.starts_with('@')) {
                self.named_leases.push(format!("@lease{}", self.leases_made));
                self.leases_made += 1;
                if self.named_leases.len() > LEASES_LEN_MAX {
                    let request = json!({"ID": self.named_leases.remove(0)});
                    let call = self.as_root(&REVOKE, request);
                    self.queue(call);
                }
            }
        } else if call.is(&REVOKE) {
            self.named_leases.retain(|lease| *lease != id);
        } else if call.is(&ALARM) && call.request()["action"] == "ACTIVATE" {
            // Some calls later it is lifted, or much of the sequence would be refused.
            let mut lift = call.request().clone();
            lift["action"] = json!("DEACTIVATE");
            self.plan_after_a_pause(&ALARM, lift);
        } else if call.is(&DOWNGRADE) && call.request()["action"] == "ENABLE" {
            for _ in 0..2 {
                let call = self.downgrade();
                self.queue(call);
            }
            self.plan_log_in();
            // The one that would be next.
            let call = self.as_root(&DOWNGRADE, json!({"version": "3.5"}));
            self.queue(call);
            let call = self.as_root(&DOWNGRADE, json!({"action": "CANCEL"}));
            self.queue(call);
        }
    }

    /// Plans some calls of any kind, and then one by `root`.
    fn plan_after_a_pause(&mut self, rpc: &'static Rpc, request: Value) {
        for _ in 0..1 + self.below(PAUSE_LEN) {
            let call = match self.below(5) {
                0..3 => self.kv_call(),
                3 => self.lease_call(),
                _ => self.auth_status_call(),
            };
            self.queue(call);
        }
        self.plan_log_in();
        let call = self.as_root(rpc, request);
        self.queue(call);
    }

    fn auth_status_call(&mut self) -> Call {
        self.call(&AUTH_STATUS, json!({}))
    }

    fn alarm(&mut self) -> Call {
        let action = self.pick(&["GET", "GET", "ACTIVATE", "DEACTIVATE"]);
        let member = match self.below(4) {
            0 => json!("@member0"),
            1 => json!(0),
            _ => json!(77),
        };
        let alarm = self.pick(&["NONE", "NOSPACE", "CORRUPT"]);
        self.call(&ALARM, json!({"action": action, "memberID": member, "alarm": alarm}))
    }

    fn downgrade(&mut self) -> Call {
        let action = match self.below(20) {
            0..10 => json!("VALIDATE"),
            // A learner that has not started keeps etcd from taking the other version.
            10..13 if self.learners.is_empty() => json!("ENABLE"),
            13..18 => json!("CANCEL"),
            _ => json!(self.pick(&[7, -1])),
        };
        let odd = self.pick(&[
            "3.6",
            "3.6",
            "3.6.0",
            "3.6.5",
            "3.7",
            "3.7.1",
            "3.5",
            "4.0",
            "2.3",
            "",
            "3",
            "v3.6",
            "3.6.0-rc.1",
            "3.6.x",
            "three",
            "3.6.0.0",
            " 3.6",
        ]);
        let version = if self.one_in(3) { "3.6" } else { odd };
        self.call(&DOWNGRADE, json!({"action": action, "version": version}))
    }

    /// A member: the server itself, a learner, one that was removed, or nobody.
    fn member(&mut self) -> Value {
        let known = if self.one_in(2) { &self.learners } else { &self.removed };
        let last = known.last().cloned();
        match (self.below(4), last) {
            (0, _) => json!("@member0"),
            (1 | 2, Some(id)) => json!(id),
            _ => json!(404_404),
        }
    }

    fn member_add(&mut self) -> Call {
        let bad: [&[&str]; 8] = [
            &[],
            &[""],
            &["127.0.0.1:1"],
            &["http://127.0.0.1"],
            &["http://127.0.0.1:1/path"],
            &["ftp://127.0.0.1:1"],
            &["http://"],
            &["http://127.0.0.1:1", "x"],
        ];
        let request = match self.below(9) {
            0..2 => json!({"peerURLs": self.pick(&bad), "isLearner": self.one_in(2)}),
            // One that is taken.
            2 => json!({"peerURLs": ["@peer"], "isLearner": true}),
            3 => json!({"peerURLs": [self.fresh_url(), "@peer"], "isLearner": true}),
            4 => json!({"peerURLs": [format!(" {} ", self.fresh_url()), self.fresh_url()], "isLearner": true}),
            _ => json!({"peerURLs": [self.fresh_url()], "isLearner": true}),
        };
        self.call(&MEMBER_ADD, request)
    }

    /// The server itself keeps its own. A learner gets none that is taken: etcd would refuse, and do it all the same when
    /// it next starts (docs/compatibility.md).
    fn urls_for_update(&mut self, id: &Value) -> Value {
        match self.below(2) {
            0 if id == "@member0" => json!(["@peer", self.fresh_url()]),
            _ if id == "@member0" => json!(["@peer"]),
            0 => json!([self.fresh_url(), self.fresh_url()]),
            _ => json!([self.fresh_url()]),
        }
    }

    fn fresh_url(&mut self) -> String {
        self.peers_made += 1;
        format!(
            "http://127.0.{}.{}:{}",
            1 + self.peers_made / 250 / PORTS_LEN,
            1 + self.peers_made % 250,
            1 + self.peers_made / 250
        )
    }
}
