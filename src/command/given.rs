//! Arguments as etcdctl and etcdutl take them: flags anywhere, `--name=value` or `--name value`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::{Operands, Verb};

/// The arguments are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The arguments of one command, each fine by itself.
#[derive(Debug, Default)]
pub struct Given {
    operands: Vec<String>,
    values: BTreeMap<&'static str, String>,
    /// Help was asked for: nothing else counts.
    pub wants_help: bool,
}

impl Given {
    /// Reads what follows the name of a verb.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(arguments: &mut dyn Iterator<Item = OsString>, verb: &Verb) -> Result<Given, UsageError> {
        let mut given = Given::default();
        while let Some(argument) = arguments.next() {
            let argument = text(argument)?;
            let long = argument.strip_prefix("-w").map(|value| format!("write-out{value}"));
            let Some(flag) = argument.strip_prefix("--").or(long.as_deref()) else {
                match argument.as_str() {
                    "-h" => given.wants_help = true,
                    short if short.starts_with('-') && short.len() > 1 => {
                        return Err(UsageError(format!("unknown shorthand flag in {short}")));
                    }
                    _ => given.operands.push(argument),
                }
                continue;
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let known = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
            if name == "help" {
                given.wants_help = true;
            } else if let Some(name) = known(verb.switches) {
                given.values.insert(name, inline.unwrap_or_else(|| "true".to_owned()));
            } else if let Some(name) = known(verb.values) {
                let value = match inline {
                    Some(value) => value,
                    None => {
                        let missing = || UsageError(format!("flag needs an argument: --{name}"));
                        text(arguments.next().ok_or_else(missing)?)?
                    }
                };
                given.values.insert(name, value);
            } else {
                return Err(UsageError(format!("unknown flag: --{name}")));
            }
        }
        for name in verb.switches {
            if let Some(value) = given.values.get(name)
                && !["true", "false"].contains(&value.as_str())
            {
                return Err(UsageError(format!("invalid argument {value:?} for --{name}")));
            }
        }
        if let (Operands::None, false, Some(operand)) = (verb.operands, given.wants_help, given.operands.first()) {
            return Err(UsageError(format!("unexpected argument {operand:?}")));
        }
        Ok(given)
    }

    /// The only argument that is no flag.
    ///
    /// # Errors
    /// `otherwise`, if there is none, or more than one.
    pub fn operand(&mut self, otherwise: &str) -> Result<String, UsageError> {
        self.optional_operand(otherwise)?.ok_or_else(|| UsageError(otherwise.to_owned()))
    }

    /// The same, if there is one.
    ///
    /// # Errors
    /// `otherwise`, if there is more than one.
    pub fn optional_operand(&mut self, otherwise: &str) -> Result<Option<String>, UsageError> {
        let mut operands = std::mem::take(&mut self.operands);
        let operand = operands.pop();
        if operands.is_empty() { Ok(operand) } else { Err(UsageError(otherwise.to_owned())) }
    }

    /// The value of a flag, if it was given.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    /// The number that a flag has for a value, if it was given.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>, UsageError> {
        let parsed = |value: String| {
            value.parse().map_err(|_| UsageError(format!("invalid value {value:?} for --{name}: it is no number")))
        };
        self.take(name).map(parsed).transpose()
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn switch(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| value == "true")
    }
}

/// An argument as text.
///
/// # Errors
/// If it is none.
pub(crate) fn text(argument: OsString) -> Result<String, UsageError> {
    argument.into_string().map_err(|argument| UsageError(format!("argument {argument:?} is not UTF-8 text")))
}
