//! Lines of a dump: a word that says what it is about, and fields.

use std::io::{self, BufWriter, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// A word of ours.
    Word(String),
    /// Text of somebody else's.
    Text(String),
    /// Bytes of somebody else's: in JSON in base64, as etcdctl writes them.
    Bytes(Vec<u8>),
    Number(i128),
    /// Written in hexadecimal, as etcdctl does.
    Id(u64),
    Flag(bool),
    List(Vec<Told>),
    Line(Line),
}

/// One line, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) fields: Vec<(&'static str, Told)>,
}

impl Line {
    pub(super) fn new(what: &'static str) -> Line {
        Line { what, fields: Vec::new() }
    }

    /// Adds a field.
    pub(super) fn with(mut self, name: &'static str, told: impl Into<Told>) -> Line {
        self.fields.push((name, told.into()));
        self
    }

    /// Adds a field, if there is something to tell.
    pub(super) fn with_some(self, name: &'static str, told: Option<impl Into<Told>>) -> Line {
        match told {
            Some(told) => self.with(name, told),
            None => self,
        }
    }

    fn text(&self) -> String {
        let fields = self.fields.iter().map(|(name, told)| format!(" {name}={}", told.text()));
        std::iter::once(self.what.to_owned()).chain(fields).collect()
    }

    fn json(&self) -> Value {
        let what = ("what".to_owned(), Value::from(self.what));
        let fields = self.fields.iter().map(|(name, told)| ((*name).to_owned(), told.json()));
        Value::Object(std::iter::once(what).chain(fields).collect::<Map<_, _>>())
    }
}

impl Told {
    fn text(&self) -> String {
        match self {
            Told::Word(word) => word.clone(),
            Told::Text(text) => format!("{text:?}"),
            Told::Bytes(bytes) => format!("\"{}\"", bytes.escape_ascii()),
            Told::Number(number) => number.to_string(),
            Told::Id(id) => format!("{id:x}"),
            Told::Flag(flag) => flag.to_string(),
            Told::List(list) => format!("[{}]", list.iter().map(Told::text).collect::<Vec<_>>().join(", ")),
            Told::Line(line) => line.text(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Told::Word(text) | Told::Text(text) => text.clone().into(),
            Told::Bytes(bytes) => BASE64.encode(bytes).into(),
            Told::Number(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                (Err(_), Err(_)) => Value::Null,
            },
            Told::Id(id) => format!("{id:x}").into(),
            Told::Flag(flag) => (*flag).into(),
            Told::List(list) => list.iter().map(Told::json).collect(),
            Told::Line(line) => line.json(),
        }
    }
}

macro_rules! told_from {
    ($($from:ty => $into:expr),* $(,)?) => {
        $(impl From<$from> for Told {
            fn from(value: $from) -> Told {
                let into: fn($from) -> Told = $into;
                into(value)
            }
        })*
    };
}

told_from! {
    i64 => |number| Told::Number(number.into()),
    u64 => |number| Told::Number(number.into()),
    usize => |number| Told::Number(i128::try_from(number).unwrap_or(i128::MAX)),
    bool => Told::Flag,
    &str => |word| Told::Word(word.to_owned()),
    String => Told::Text,
    Vec<u8> => Told::Bytes,
    Vec<Told> => Told::List,
    Line => Told::Line,
}

/// Where lines go.
pub(super) struct Out {
    to: Box<dyn Write>,
    is_json: bool,
}

impl Out {
    pub(super) fn to_stdout(is_json: bool) -> Out {
        Out { to: Box::new(BufWriter::new(io::stdout())), is_json }
    }

    /// Prints a line; `false` if nobody reads any more, and then there is nothing left to do.
    pub(super) fn line(&mut self, line: &Line) -> bool {
        let text = if self.is_json { line.json().to_string() } else { line.text() };
        writeln!(self.to, "{text}").is_ok()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // A reader that has gone away is no fault.
        let _ = self.to.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_as_text_and_as_json() {
        let inner = Line::new("put").with("key", b"a\n\xff".to_vec()).with("bytes", 5_usize);
        let line = Line::new("entry")
            .with("index", u64::MAX)
            .with("member", Told::Id(0xab))
            .with("name", "a \"b\"".to_owned())
            .with_some("nothing", None::<bool>)
            .with("commands", vec![Told::Line(inner)]);
        assert_eq!(
            line.text(),
            "entry index=18446744073709551615 member=ab name=\"a \\\"b\\\"\" commands=[put key=\"a\\n\\xff\" bytes=5]"
        );
        let json = line.json();
        assert_eq!(json["index"], u64::MAX);
        assert_eq!((&json["what"], &json["member"], &json["name"]), (&"entry".into(), &"ab".into(), &"a \"b\"".into()));
        assert_eq!(json["commands"][0]["key"], "YQr/");
    }
}
