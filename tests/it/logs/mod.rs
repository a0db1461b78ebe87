//! What is logged: the shape of lines whatever happens, and the lines that operators and frameworks wait for.

mod faults;
mod healthy;
mod outputs;
mod slow;
mod table;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

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
    /// Reads a line and checks that it has the shape of etcd's: the first keys and their order, levels, moments.
    pub fn read(text: &str) -> Line {
        let line: Line = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let mut keys: Vec<&str> = line.0.iter().map(|(key, _)| key.as_str()).collect();
        if keys.get(2) == Some(&"logger") {
            keys.remove(2);
        }
        assert!(keys.starts_with(&["level", "ts", "caller", "msg"]), "{text}");
        let distinct: std::collections::BTreeSet<&&str> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "a key comes twice: {text}");
        for key in ["level", "ts", "caller"] {
            assert!(!line.text(key).is_empty(), "{text}");
        }
        let levels = ["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];
        assert!(levels.contains(&line.text("level")), "{text}");
        let shape: String = line.text("ts").chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{text}");
        let (file, number) = line.text("caller").rsplit_once(':').unwrap_or_else(|| panic!("{text}"));
        assert!(file.contains('/') && number.parse::<u32>().is_ok(), "{text}");
        line
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
