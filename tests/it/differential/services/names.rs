//! What each server chose by itself has one name on both: `@member1`, `@lease4`, `@token17`, `@peer`.
//!
//! Requests are written with names, and each server is sent its own values; in answers the values become names again.
//! What two servers need not share at all is taken out, and lists without an order are sorted.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::call::{Call, Caller, Outcome};
use super::schema::{HASH, RANGE_STREAM, SNAPSHOT, WATCH};

/// Fields that say how long a server has run, or how it stores.
const INCOMPARABLE: [&str; 7] =
    ["raft_term", "raftTerm", "raftIndex", "raftAppliedIndex", "dbSize", "dbSizeInUse", "remaining_bytes"];
/// Lists that come in any order, or in that of ids which differ.
const UNORDERED: [&str; 5] = ["members", "alarms", "leases", "keys", "errors"];

#[derive(Debug, Default, Clone)]
pub struct Names {
    value_of: HashMap<String, String>,
    name_of: HashMap<String, String>,
}

impl Names {
    pub fn insert(&mut self, name: &str, value: &str) {
        self.value_of.insert(name.to_owned(), value.to_owned());
        self.name_of.insert(value.to_owned(), name.to_owned());
    }

    /// The call as it is sent.
    pub fn fill_call(&self, call: &Call) -> Call {
        let mut call = call.clone();
        call.requests.iter_mut().for_each(|request| self.fill(request));
        if let Caller::Bearer(token, _) = &mut call.caller {
            self.fill_text(token);
        }
        call
    }

    fn fill(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.fill_text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.fill(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.fill(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn fill_text(&self, text: &mut String) {
        if let Some(value) = self.value_of.get(text) {
            text.clone_from(value);
        }
    }

    /// The outcome as it is compared.
    pub fn blur_outcome(&self, call: &Call, outcome: &mut Outcome) {
        outcome.answers.iter_mut().for_each(|answer| self.blur(answer));
        if call.is(&SNAPSHOT) {
            outcome.answers = vec![outline(&outcome.answers)];
        }
        if call.is(&HASH) {
            outcome.answers.iter_mut().for_each(|answer| answer["hash"] = json!("?"));
        }
        if call.is(&WATCH) || call.is(&RANGE_STREAM) {
            outcome.answers = joined(&outcome.answers);
        }
    }

    fn blur(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.blur_text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.blur(value)),
            Value::Object(fields) => {
                for (field, value) in fields.iter_mut() {
                    if INCOMPARABLE.contains(&field.as_str()) {
                        *value = json!("?");
                    }
                    self.blur(value);
                    if let (true, Value::Array(values)) = (UNORDERED.contains(&field.as_str()), value) {
                        values.sort_by_key(Value::to_string);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn blur_text(&self, text: &mut String) {
        if let Some(name) = self.name_of.get(text) {
            text.clone_from(name);
        }
        // An alarm as a status tells it. How many blanks are in it is chosen when etcd is built.
        if let Some((id, alarm)) = text.strip_prefix("memberID:").and_then(|rest| rest.split_once(' ')) {
            let id = self.name_of.get(id).map_or(id, String::as_str);
            *text = format!("memberID:{id} {}", alarm.trim_start());
        }
    }
}

/// What two snapshots have in common, whatever is in them.
fn outline(answers: &[Value]) -> Value {
    let has = |field: &str| answers.iter().any(|answer| !answer[field].is_null());
    let last = answers.last().map(|answer| answer["remaining_bytes"].is_null());
    let versions = answers.iter().map(|answer| answer["version"].clone());
    let versions: Vec<Value> = versions.fold(Vec::new(), |mut seen, version| {
        if !seen.contains(&version) {
            seen.push(version);
        }
        seen
    });
    json!({"header": has("header"), "blob": has("blob"), "nothing remains": last, "versions": versions})
}

/// Messages of a stream whose borders are free: those without events as they are, and then all events. The headers of those
/// with events depend on the borders.
fn joined(answers: &[Value]) -> Vec<Value> {
    let events = answers.iter().flat_map(|answer| answer["events"].as_array().into_iter().flatten().cloned());
    let events: Vec<Value> = events.collect();
    let plain = answers.iter().filter(|answer| answer["events"].is_null()).cloned();
    let mut joined: Vec<Value> = plain.collect();
    if !events.is_empty() {
        joined.push(json!({"events": events}));
    }
    joined
}
