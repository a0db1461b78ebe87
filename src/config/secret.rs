//! What flags, variables and arguments may be shown of in a log: not the passwords.

use super::discovery::BEFORE_PASSWORD;
use super::flags;

/// What is shown instead.
const HIDDEN: &str = "<hidden>";

/// The value of a flag as a log may have it.
pub(super) fn shown(flag: &str, value: &str) -> String {
    match flag {
        flags::DISCOVERY_PASSWORD if !value.is_empty() => HIDDEN.to_owned(),
        flags::DISCOVERY_USER => match value.split_once(BEFORE_PASSWORD) {
            Some((user, _)) => format!("{user}{BEFORE_PASSWORD}{HIDDEN}"),
            None => value.to_owned(),
        },
        _ => value.to_owned(),
    }
}

/// Arguments of the server, as a log may have them.
#[must_use]
pub fn shown_arguments(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut shown_arguments = Vec::new();
    // The flag whose value is the next argument.
    let mut awaited: Option<&'static str> = None;
    for argument in arguments {
        if let Some(flag) = awaited.take() {
            shown_arguments.push(shown(flag, &argument));
            continue;
        }
        let bare = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).unwrap_or_default();
        let (name, value) = bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)));
        let flag = match flags::call(name) {
            flags::Called::Flag(flag) | flags::Called::Formerly(flag) => Some(flag.name),
            flags::Called::Gate(_) | flags::Called::Nothing => None,
        };
        let secret = flag.filter(|flag| [flags::DISCOVERY_PASSWORD, flags::DISCOVERY_USER].contains(flag));
        match (secret, value) {
            (Some(flag), Some(value)) => {
                let before = &argument[..argument.len() - value.len()];
                shown_arguments.push(format!("{before}{}", shown(flag, value)));
            }
            (flag, None) => {
                awaited = flag;
                shown_arguments.push(argument);
            }
            (None, Some(_)) => shown_arguments.push(argument),
        }
    }
    shown_arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_however_they_are_written() {
        let arguments = [
            "lodemark",
            "--discovery-password=x=y",
            "-discovery-password",
            "x",
            "--discovery-user=u:x",
            "--experimental-discovery-password",
            "x",
            "--discovery-user",
            "u",
            "--name=discovery-password",
            "--discovery-password=",
        ];
        assert_eq!(
            shown_arguments(arguments.map(str::to_owned)),
            [
                "lodemark",
                "--discovery-password=<hidden>",
                "-discovery-password",
                "<hidden>",
                "--discovery-user=u:<hidden>",
                "--experimental-discovery-password",
                "<hidden>",
                "--discovery-user",
                "u",
                "--name=discovery-password",
                "--discovery-password=",
            ]
        );
    }
}
