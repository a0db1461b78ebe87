//! The help text, made from the table of flags.

use super::flags::{ALL, Group, Kind};

/// How the program is called; printed after an argument that is wrong.
pub const USAGE: &str = "\
Usage:

  lodemark [flags]
    Run a server.

  lodemark snapshot|check|dump|defrag|health|completion
    Commands beside the server; \"lodemark help\" tells what each does, and each explains itself with --help.

  lodemark --version
    Print the version.

  lodemark -h | --help
    Explain every flag.
";

/// Everything about the flags.
#[must_use]
pub fn help() -> String {
    let mut text = format!(
        "{USAGE}
A flag is written --name=value or --name value; one dash does as well. Of a repeated flag the last value counts.
Without flags the data is in default.etcd, and clients are served on port 2379 of localhost.
"
    );
    for (group, heading) in Group::ALL {
        text.push_str(&format!("\n{heading}:\n"));
        for flag in ALL.iter().filter(|flag| flag.group == group) {
            text.push_str(&format!("  --{}", flag.name));
            if let Kind::Value(_) | Kind::Switch(_) = flag.kind {
                text.push_str(&format!(" '{}'", flag.default));
            }
            text.push('\n');
            for line in flag.about.lines() {
                text.push_str(&format!("    {line}\n"));
            }
        }
    }
    text
}

/// The name of every flag, without dashes, and whether it takes a value.
pub fn flag_names() -> impl Iterator<Item = (&'static str, bool)> {
    ALL.iter().map(|flag| (flag.name, matches!(flag.kind, Kind::Value(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_explained() {
        let text = help();
        for flag in ALL {
            assert!(text.contains(&format!("\n  --{}", flag.name)), "{} is missing", flag.name);
            assert!(!flag.about.is_empty(), "{} says nothing", flag.name);
        }
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }
}
