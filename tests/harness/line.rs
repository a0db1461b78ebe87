//! What is logged: a line of etcd's shape.

use std::collections::BTreeSet;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

const LEVELS: [&str; 7] = ["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];

/// A line, its fields in the order in which they stand.
#[derive(Debug)]
pub struct Line(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Line(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Line {
    /// Reads a line that must have the shape of etcd's.
    pub fn read(text: &str) -> Line {
        Line::parse(text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }

    /// Reads a line that has the shape of etcd's, or says what is wrong with it: the first keys and their order, levels,
    /// moments.
    pub fn parse(text: &str) -> Result<Line, String> {
        let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut keys: Vec<&str> = line.0.iter().map(|(key, _)| key.as_str()).collect();
        if keys.get(2) == Some(&"logger") {
            keys.remove(2);
        }
        let has_head = keys.starts_with(&["level", "ts", "caller", "msg"]);
        let are_distinct = keys.iter().collect::<BTreeSet<_>>().len() == keys.len();
        let shape: String = line.text("ts").chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let has_caller = line
            .text("caller")
            .rsplit_once(':')
            .is_some_and(|(file, number)| file.contains('/') && number.parse::<u32>().is_ok());
        let wrong = [
            (has_head, "the first keys are others"),
            (are_distinct, "a key comes twice"),
            (LEVELS.contains(&line.text("level")), "there is no such level"),
            (shape == "0000-00-00T00:00:00.000000Z", "the moment has another shape"),
            (has_caller, "the caller is no place"),
        ];
        match wrong.into_iter().find(|(is_right, _)| !is_right) {
            Some((_, why)) => Err(why.to_owned()),
            None => Ok(line),
        }
    }

    /// Reads all lines of a log.
    pub fn read_all(texts: &[String]) -> Vec<Line> {
        texts.iter().map(|text| Line::read(text)).collect()
    }

    /// A field; null if it is not there.
    pub fn field(&self, name: &str) -> &Value {
        self.0.iter().find(|(key, _)| key == name).map_or(&Value::Null, |(_, value)| value)
    }

    /// A field that is a text; empty if it is none.
    pub fn text(&self, name: &str) -> &str {
        self.field(name).as_str().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.text("msg")
    }

    /// Whether it is of level error or above.
    pub fn is_grave(&self) -> bool {
        ["error", "dpanic", "panic", "fatal"].contains(&self.text("level"))
    }
}
