//! Finds where a JSON value ends, while its bytes come.
//!
//! A request may be several values in a row without anything that separates them, so only JSON's own syntax tells where
//! one ends. It is checked on the way, byte by byte and without recursion; [`super::read`] then reads what is known to be
//! well formed. The texts are those of Go's `encoding/json`, which etcd's gateway hands on to its clients.

/// How deep arrays and objects may be in each other. Source: Go, `encoding/json`, `maxNestingDepth`.
const DEPTH_MAX: usize = 10_000;

/// Why bytes are no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    /// This byte cannot stand there.
    #[error("invalid character {} {place}", quoted(*.byte))]
    Byte {
        /// The byte.
        byte: u8,
        /// Where it stands.
        place: String,
    },
    /// There is no more, and a value has begun.
    #[error("unexpected EOF")]
    End,
}

/// How far a value has come.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    /// What is open, outermost first.
    open: Vec<Open>,
}

/// What may come next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Value,
    ValueOrArrayEnd,
    NameOrObjectEnd,
    Name,
    Text,
    Escape,
    /// So many digits of a `\u` escape are missing.
    Hex(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// The rest of a word, from this place on.
    Word(&'static str, usize),
    /// A value has ended inside of something.
    After,
}

/// An array or object that has not ended, and what of it is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    Name,
    Member,
}

/// What a byte is to the value.
enum Step {
    Goes,
    /// It is the last one.
    Last,
    /// The value ended before it.
    Behind,
}

impl Scanner {
    /// Reads on. Gives how many of `bytes` the value takes if it ends among them.
    ///
    /// # Errors
    /// [`SyntaxError`].
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, SyntaxError> {
        for (at, &byte) in bytes.iter().enumerate() {
            match self.step(byte)? {
                Step::Goes => {}
                Step::Last => return Ok(Some(at + 1)),
                Step::Behind => return Ok(Some(at)),
            }
        }
        Ok(None)
    }

    /// Tells whether a value ends here, where no more bytes come: only a number needs to be told.
    ///
    /// # Errors
    /// [`SyntaxError::End`] if it does not, and has begun.
    pub(super) fn end(&self) -> Result<bool, SyntaxError> {
        match self.state {
            State::Value if self.open.is_empty() => Ok(false),
            State::Zero | State::Digits | State::Fraction | State::ExponentDigits if self.open.is_empty() => Ok(true),
            _ => Err(SyntaxError::End),
        }
    }

    fn step(&mut self, byte: u8) -> Result<Step, SyntaxError> {
        use State as S;
        if is_space(byte)
            && matches!(self.state, S::Value | S::ValueOrArrayEnd | S::NameOrObjectEnd | S::Name | S::After)
        {
            return Ok(Step::Goes);
        }
        self.state = match (self.state, byte) {
            (S::ValueOrArrayEnd, b']') | (S::NameOrObjectEnd, b'}') => return Ok(self.close()),
            (S::Value | S::ValueOrArrayEnd, _) => return self.begin(byte),
            (S::NameOrObjectEnd | S::Name, b'"') => S::Text,
            (S::NameOrObjectEnd | S::Name, _) => return Err(at(byte, "looking for beginning of object key string")),

            (S::Text, b'"') => return Ok(self.value_ended()),
            (S::Text, b'\\') => S::Escape,
            (S::Text, 0..b' ') => return Err(at(byte, "in string literal")),
            (S::Text, _) => S::Text,
            (S::Escape, b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => S::Text,
            (S::Escape, b'u') => S::Hex(4),
            (S::Escape, _) => return Err(at(byte, "in string escape code")),
            (S::Hex(1), _) if byte.is_ascii_hexdigit() => S::Text,
            (S::Hex(left), _) if byte.is_ascii_hexdigit() => S::Hex(left - 1),
            (S::Hex(_), _) => return Err(at(byte, "in \\u hexadecimal character escape")),

            (S::Minus, b'0') => S::Zero,
            (S::Minus, b'1'..=b'9') | (S::Digits, b'0'..=b'9') => S::Digits,
            (S::Minus, _) => return Err(at(byte, "in numeric literal")),
            (S::Zero | S::Digits, b'.') => S::Point,
            (S::Point | S::Fraction, b'0'..=b'9') => S::Fraction,
            (S::Point, _) => return Err(at(byte, "after decimal point in numeric literal")),
            (S::Zero | S::Digits | S::Fraction, b'e' | b'E') => S::Exponent,
            (S::Exponent, b'+' | b'-') => S::ExponentSign,
            (S::Exponent | S::ExponentSign | S::ExponentDigits, b'0'..=b'9') => S::ExponentDigits,
            (S::Exponent | S::ExponentSign, _) => return Err(at(byte, "in exponent of numeric literal")),
            (S::Zero | S::Digits | S::Fraction | S::ExponentDigits, _) => {
                return if self.open.is_empty() { Ok(Step::Behind) } else { self.after(byte) };
            }

            (S::Word(word, read), _) if word.as_bytes()[read] == byte => {
                if read + 1 == word.len() {
                    return Ok(self.value_ended());
                }
                S::Word(word, read + 1)
            }
            (S::Word(word, read), _) => {
                let expected = char::from(word.as_bytes()[read]);
                return Err(at(byte, format!("in literal {word} (expecting '{expected}')")));
            }
            (S::After, _) => return self.after(byte),
        };
        Ok(Step::Goes)
    }

    fn begin(&mut self, byte: u8) -> Result<Step, SyntaxError> {
        self.state = match byte {
            b'{' => return self.open(byte, Open::Name, State::NameOrObjectEnd),
            b'[' => return self.open(byte, Open::Array, State::ValueOrArrayEnd),
            b'"' => State::Text,
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Digits,
            b't' => State::Word("true", 1),
            b'f' => State::Word("false", 1),
            b'n' => State::Word("null", 1),
            _ => return Err(at(byte, "looking for beginning of value")),
        };
        Ok(Step::Goes)
    }

    fn open(&mut self, byte: u8, open: Open, state: State) -> Result<Step, SyntaxError> {
        if self.open.len() == DEPTH_MAX {
            return Err(at(byte, "exceeded max depth"));
        }
        self.open.push(open);
        self.state = state;
        Ok(Step::Goes)
    }

    fn close(&mut self) -> Step {
        self.open.pop();
        self.value_ended()
    }

    /// A value has ended with the byte at hand.
    fn value_ended(&mut self) -> Step {
        self.state = State::After;
        if self.open.is_empty() { Step::Last } else { Step::Goes }
    }

    /// A byte behind a value that is in something.
    fn after(&mut self, byte: u8) -> Result<Step, SyntaxError> {
        if is_space(byte) {
            self.state = State::After;
            return Ok(Step::Goes);
        }
        let Some(open) = self.open.last_mut() else { return Ok(Step::Behind) };
        self.state = match (*open, byte) {
            (Open::Array, b']') | (Open::Member, b'}') => return Ok(self.close()),
            (Open::Array, b',') => State::Value,
            (Open::Name, b':') => {
                *open = Open::Member;
                State::Value
            }
            (Open::Member, b',') => {
                *open = Open::Name;
                State::Name
            }
            (Open::Array, _) => return Err(at(byte, "after array element")),
            (Open::Name, _) => return Err(at(byte, "after object key")),
            (Open::Member, _) => return Err(at(byte, "after object key:value pair")),
        };
        Ok(Step::Goes)
    }
}

/// What JSON takes for a space.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn at(byte: u8, place: impl Into<String>) -> SyntaxError {
    SyntaxError::Byte { byte, place: place.into() }
}

/// A byte as Go writes it: the character of that number, in single quotes.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0..b' ' | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes the first value of a text takes, in pieces of any size; `None` if there is none.
    fn scan(text: &[u8]) -> Result<Option<usize>, String> {
        let mut results = (1..=text.len().max(1)).map(|piece_bytes| {
            let (mut scanner, mut taken) = (Scanner::default(), 0);
            for piece in text.chunks(piece_bytes) {
                match scanner.scan(piece).map_err(|error| error.to_string())? {
                    Some(len) => return Ok(Some(taken + len)),
                    None => taken += piece.len(),
                }
            }
            scanner.end().map(|ended| ended.then_some(taken)).map_err(|error| error.to_string())
        });
        let first = results.next().unwrap();
        assert!(results.all(|other| other == first), "{text:?}");
        first
    }

    #[test]
    fn a_value_ends_where_json_says() {
        for (text, len) in [
            ("", None),
            (" \t\r\n", None),
            ("{}", Some(2)),
            ("{}{}", Some(2)),
            (" { } x", Some(4)),
            ("[1,[2,{\"a\":[]}],\"]\"] 3", Some(20)),
            ("123", Some(3)),
            ("-0.5e+7x", Some(7)),
            ("12 3", Some(2)),
            ("null{", Some(4)),
            (r#""a\"\u00fF" "#, Some(11)),
            ("{\"a\" : true , \"b\":-1}", Some(21)),
        ] {
            assert_eq!(scan(text.as_bytes()), Ok(len), "{text}");
        }
    }

    /// What a real etcd answers.
    #[test]
    fn what_is_no_json_is_refused_in_the_words_of_go() {
        for (text, why) in [
            (&b"{\"key\":\"Zm9v\""[..], "unexpected EOF"),
            (b"{\"key\":}", "invalid character '}' looking for beginning of value"),
            (b"{key:1}", "invalid character 'k' looking for beginning of object key string"),
            (b"{\"key\":\"Zm9v\",}", "invalid character '}' looking for beginning of object key string"),
            (b"{\"a\":1 \"b\":1}", "invalid character '\"' after object key:value pair"),
            (b"{\"a\" 1}", "invalid character '1' after object key"),
            (b"{\"a\":1]", "invalid character ']' after object key:value pair"),
            (b"[1}", "invalid character '}' after array element"),
            (b"[1,2", "unexpected EOF"),
            (b"tru", "unexpected EOF"),
            (b"trux", "invalid character 'x' in literal true (expecting 'e')"),
            (b"{\"a\":\"\\x\"}", "invalid character 'x' in string escape code"),
            (b"{\"a\":\"\\u00g0\"}", "invalid character 'g' in \\u hexadecimal character escape"),
            (b"{\"a\":\"\x01\"}", "invalid character '\\x01' in string literal"),
            (b"{\"a\":01}", "invalid character '1' after object key:value pair"),
            (b"{\"a\":-}", "invalid character '}' in numeric literal"),
            (b"{\"a\":1.}", "invalid character '}' after decimal point in numeric literal"),
            (b"{\"a\":1e}", "invalid character '}' in exponent of numeric literal"),
            (b"{\"a\":+1}", "invalid character '+' looking for beginning of value"),
            (b"x", "invalid character 'x' looking for beginning of value"),
            (b"'", "invalid character '\\'' looking for beginning of value"),
            (b"\xff", "invalid character '\u{ff}' looking for beginning of value"),
        ] {
            assert_eq!(scan(text), Err(why.to_owned()), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn depth_has_a_bound() {
        let deep = |depth| Scanner::default().scan(&b"[".repeat(depth));
        assert_eq!(deep(DEPTH_MAX), Ok(None));
        let why = deep(DEPTH_MAX + 1).unwrap_err().to_string();
        assert_eq!(why, "invalid character '[' exceeded max depth");
    }
}
