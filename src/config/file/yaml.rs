//! YAML, as far as a configuration file needs it: texts, lists and blocks, each with its line.
//!
//! What a text means, a number or a switch, is known only by who asks for it; so it stays a text here, with a word on
//! whether it stood in quotes. Aliases are copies of what they stand for. All of it is bounded: a file may be wrong in any
//! way.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

/// Blocks within blocks; configuration has three.
const DEPTH_MAX: usize = 16;
/// Texts, lists and blocks, with all copies.
const NODES_MAX: usize = 10_000;

/// Something in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Without quotes it may be meant as something else.
    Text { text: String, is_quoted: bool },
    /// In order.
    List(Vec<Node>),
    /// In order; a key may come twice.
    Block(Vec<(String, Node)>),
}

impl Value {
    /// What people call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text { .. } => "a text",
            Value::List(_) => "a list",
            Value::Block(_) => "a block",
        }
    }

    /// Tells whether nothing stands there.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Value::Text { text, is_quoted: false } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Why a text is no YAML, or none that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(super) struct YamlError {
    pub(super) line: usize,
    pub(super) reason: String,
}

impl YamlError {
    fn new(line: usize, reason: impl Into<String>) -> YamlError {
        YamlError { line, reason: reason.into() }
    }
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> YamlError {
        YamlError::new(error.marker().line(), error.info())
    }
}

/// Reads the first document of a text; `None` if there is nothing in it.
///
/// # Errors
/// Where it is no YAML, or goes beyond a bound.
pub(super) fn read(text: &str) -> Result<Option<Node>, YamlError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(None),
            event => {
                let node = reader.node(event, span, 0)?;
                return Ok((!node.value.is_nothing()).then_some(node));
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What aliases stand for, by the parser's numbers.
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        Ok(self.parser.next_event().unwrap_or(Ok((Event::StreamEnd, Span::default())))?)
    }

    /// Reads what `event` begins.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let line = span.start.line();
        if depth > DEPTH_MAX {
            return Err(YamlError::new(line, format!("more than {DEPTH_MAX} blocks within each other")));
        }
        self.count(1, line)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let is_quoted = is_text || style != ScalarStyle::Plain;
                (Value::Text { text: text.into_owned(), is_quoted }, anchor)
            }
            Event::SequenceStart(anchor, _) => (Value::List(self.list(depth)?), anchor),
            Event::MappingStart(anchor, _) => (Value::Block(self.block(depth)?), anchor),
            Event::Alias(anchor) => {
                let unknown = || YamlError::new(line, "an alias of something that is not finished");
                let copy = self.anchors.get(&anchor).ok_or_else(unknown)?.value.clone();
                self.count(size(&copy), line)?;
                return Ok(Node { line, value: copy });
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(YamlError::new(line, "a value is missing")),
        };
        let node = Node { line, value };
        // 0 is no anchor.
        if anchor > 0 {
            self.count(size(&node.value), line)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, YamlError> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(list),
                (event, span) => list.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn block(&mut self, depth: usize) -> Result<Vec<(String, Node)>, YamlError> {
        let mut block = Vec::new();
        loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(block),
                begins => begins,
            };
            let key = self.node(event, span, depth + 1)?;
            let name = match key.value {
                Value::Text { text, is_quoted: false } if text == "<<" => {
                    return Err(YamlError::new(
                        key.line,
                        "merge keys (<<) are not read: write out what they stand for",
                    ));
                }
                Value::Text { text, .. } => text,
                Value::List(_) | Value::Block(_) => return Err(YamlError::new(key.line, "a key must be a text")),
            };
            let (event, span) = self.next()?;
            block.push((name, self.node(event, span, depth + 1)?));
        }
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(YamlError::new(line, format!("more than {NODES_MAX} values, copies by aliases included")));
        }
        Ok(())
    }
}

/// How many nodes are in a value, without itself.
fn size(value: &Value) -> usize {
    match value {
        Value::Text { .. } => 0,
        Value::List(list) => list.iter().map(|node| 1 + size(&node.value)).sum(),
        Value::Block(block) => block.iter().map(|(_, node)| 2 + size(&node.value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Vec<(String, Node)> {
        match read(text).unwrap().unwrap().value {
            Value::Block(block) => block,
            other => panic!("{other:?}"),
        }
    }

    fn text(text: &str, is_quoted: bool) -> Value {
        Value::Text { text: text.to_owned(), is_quoted }
    }

    #[test]
    fn texts_lists_and_blocks_are_read_with_their_lines() {
        let read = block("a: 1\n# remark\nb: 'two'\nc: [x, \"y\"]\nd:\n  e: |\n    long\n\nf:\n");
        assert_eq!(read[0], ("a".into(), Node { line: 1, value: text("1", false) }));
        assert_eq!(read[1], ("b".into(), Node { line: 3, value: text("two", true) }));
        let Value::List(list) = &read[2].1.value else { panic!("{read:?}") };
        assert_eq!([&list[0].value, &list[1].value], [&text("x", false), &text("y", true)]);
        let Value::Block(inner) = &read[3].1.value else { panic!("{read:?}") };
        assert_eq!(inner[0].1.value, text("long\n", true));
        assert!(read[4].1.value.is_nothing());
    }

    #[test]
    fn json_is_yaml_too() {
        let read = block("{\"a\": \"1\", \"b\": {\"c\": [true, 2]}}");
        assert_eq!((read[0].0.as_str(), &read[0].1.value), ("a", &text("1", true)));
        assert_eq!(read[1].1.value.kind(), "a block");
    }

    #[test]
    fn nothing_is_nothing() {
        for empty in ["", "\n", "# remark\n", "---\n", "~\n", "null"] {
            assert_eq!(read(empty), Ok(None), "{empty:?}");
        }
    }

    #[test]
    fn aliases_are_copies_and_tags_make_texts() {
        let read = block("a: &x {k: v}\nb: *x\nc: !!str 12\n");
        assert_eq!(read[0].1.value, read[1].1.value);
        assert_eq!(read[2].1.value, text("12", true));
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        for (text, line) in [("a: [b", 1), ("a: 1\n b: 2\n", 2), ("a: 'x\n", 1), ("a: *nobody\n", 1), ("<<: {a: b}", 1)]
        {
            let error = read(text).unwrap_err();
            assert!(error.line >= line && !error.reason.is_empty(), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn everything_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(read(&deep).is_err());
        let many = format!("[{}]", "a,".repeat(NODES_MAX + 1));
        assert!(read(&many).unwrap_err().reason.contains("more than 10000 values"));
        // Each alias stands for ten of the one before.
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(read(&laughs).unwrap_err().reason.contains("more than 10000 values"));
    }
}
