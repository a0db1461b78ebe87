//! The tokens of JSON that is known to be well formed.
//!
//! Source: `protobuf-go/internal/encoding/json`, whose words and places the errors have.

use std::borrow::Cow;

use super::scan::is_space;

/// Why a value is no such message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("proto: {0}")]
pub(super) struct Unreadable(String);

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) what: What<'a>,
    /// As it is written.
    written: &'a [u8],
    at: usize,
}

/// What a token is. A name is a text that stands where a name does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What<'a> {
    ObjectOpen,
    ObjectClose,
    ArrayOpen,
    ArrayClose,
    Text(Cow<'a, str>),
    Number(&'a str),
    Bool(bool),
    Null,
    /// There is no more.
    End,
}

/// Reads one token after another. Commas and colons are passed over: they stand where they should.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    json: &'a [u8],
    at: usize,
}

impl Unreadable {
    pub(super) fn too_deep() -> Unreadable {
        Unreadable("exceeded max recursion depth".to_owned())
    }
}

impl Token<'_> {
    /// As it is written.
    pub(super) fn raw(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.written)
    }
}

impl<'a> Tokens<'a> {
    pub(super) fn of(json: &'a [u8]) -> Tokens<'a> {
        Tokens { json, at: 0 }
    }

    /// # Errors
    /// If a text is no UTF-8, or half of a surrogate pair.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Unreadable> {
        while self.json.get(self.at).is_some_and(|&byte| is_space(byte) || matches!(byte, b',' | b':')) {
            self.at += 1;
        }
        let (at, rest) = (self.at, &self.json[self.at..]);
        let (what, len) = match rest.first() {
            None => (What::End, 0),
            Some(b'{') => (What::ObjectOpen, 1),
            Some(b'}') => (What::ObjectClose, 1),
            Some(b'[') => (What::ArrayOpen, 1),
            Some(b']') => (What::ArrayClose, 1),
            Some(b't') => (What::Bool(true), "true".len()),
            Some(b'f') => (What::Bool(false), "false".len()),
            Some(b'n') => (What::Null, "null".len()),
            Some(b'"') => {
                let (text, len) = self.text(&rest[1..])?;
                (What::Text(text), len + 2)
            }
            Some(_) => {
                let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                let len = rest.iter().take_while(|byte| is_part(byte)).count();
                (What::Number(std::str::from_utf8(&rest[..len]).unwrap_or_default()), len)
            }
        };
        // At least one byte, so that whatever the bytes are there is an end.
        let len = if what == What::End { 0 } else { len.max(1).min(rest.len()) };
        self.at += len;
        Ok(Token { what, written: &rest[..len], at })
    }

    /// Passes over one value, however deep it is.
    ///
    /// # Errors
    /// As [`Tokens::next`].
    pub(super) fn skip_value(&mut self) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        loop {
            match self.next()?.what {
                What::ObjectOpen | What::ArrayOpen => depth += 1,
                What::ObjectClose | What::ArrayClose => depth = depth.saturating_sub(1),
                What::End => return Ok(()),
                What::Text(_) | What::Number(_) | What::Bool(_) | What::Null => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// This token must not stand there.
    pub(super) fn unexpected(&self, token: &Token<'_>) -> Unreadable {
        self.syntax(token.at, &format!("unexpected token {}", token.raw()))
    }

    /// Something is wrong with this token.
    pub(super) fn wrong(&self, token: &Token<'_>, why: String) -> Unreadable {
        Unreadable(format!("({}): {why}", self.place(token.at)))
    }

    fn syntax(&self, at: usize, why: &str) -> Unreadable {
        Unreadable(format!("syntax error ({}): {why}", self.place(at)))
    }

    /// Line and column, both from 1 on.
    fn place(&self, at: usize) -> String {
        let before = &self.json[..at];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        format!("line {line}:{column}")
    }

    /// Reads a text behind its opening quote; gives how many bytes it takes up to the closing one.
    fn text(&self, rest: &'a [u8]) -> Result<(Cow<'a, str>, usize), Unreadable> {
        let plain = rest.iter().take_while(|&&byte| byte != b'"' && byte != b'\\').count();
        if rest.get(plain) == Some(&b'"') {
            return Ok((Cow::Borrowed(self.utf8(&rest[..plain])?), plain));
        }
        let (mut text, mut at) = (Vec::new(), 0);
        loop {
            let plain = rest[at..].iter().take_while(|&&byte| byte != b'"' && byte != b'\\').count();
            text.extend_from_slice(&rest[at..at + plain]);
            at += plain;
            let [b'\\', escape, ..] = rest[at..] else { break };
            let mut taken = 2;
            match escape {
                b'b' => text.push(0x08),
                b'f' => text.push(0x0c),
                b'n' => text.push(b'\n'),
                b'r' => text.push(b'\r'),
                b't' => text.push(b'\t'),
                b'u' => {
                    let (character, len) = self.unicode(&rest[at..])?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    taken = len;
                }
                other => text.push(other),
            }
            at += taken;
        }
        let text = self.utf8(&text)?.to_owned();
        Ok((Cow::Owned(text), at))
    }

    fn utf8<'b>(&self, bytes: &'b [u8]) -> Result<&'b str, Unreadable> {
        std::str::from_utf8(bytes).map_err(|_| self.syntax(self.at, "invalid UTF-8 in string"))
    }

    /// Reads `\uXXXX`, or two of them that are a surrogate pair; gives how many bytes they take.
    fn unicode(&self, rest: &[u8]) -> Result<(char, usize), Unreadable> {
        const ESCAPE_BYTES: usize = 6;
        let unit = |from: usize| {
            let digits = rest.get(from + 2..from + ESCAPE_BYTES).filter(|_| rest[from..].starts_with(b"\\u"))?;
            u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let Some(first) = unit(0) else { return Err(Unreadable("unexpected EOF".to_owned())) };
        if let Some(character) = char::from_u32(first.into()) {
            return Ok((character, ESCAPE_BYTES));
        }
        // A text has its closing quote behind it, at least one byte; Go looks at no more than that either.
        let Some(second) = rest.get(ESCAPE_BYTES..2 * ESCAPE_BYTES) else {
            return Err(Unreadable("unexpected EOF".to_owned()));
        };
        let pair = unit(ESCAPE_BYTES).and_then(|low| char::decode_utf16([first, low]).next()?.ok());
        pair.map(|character| (character, 2 * ESCAPE_BYTES)).ok_or_else(|| {
            let escape = String::from_utf8_lossy(second);
            self.syntax(self.at, &format!("invalid escape code {escape:?} in string"))
        })
    }
}
