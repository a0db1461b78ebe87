//! The help text, made from the table of flags.

use super::flags::{Flag, Group, Kind, all};

/// How the program is called, whose name is `program`; printed after an argument that is wrong.
#[must_use]
pub fn usage(program: &str) -> String {
    format!(
        "\
Usage:

  {program} [flags]
    Run a server.

  {program} --config-file FILE
    Run a server as a file says. Other flags, and variables, are ignored then.

  {program} snapshot|check|dump|defrag|gateway|health|completion
    Commands beside the server; \"{program} help\" tells what each does, and each explains itself with --help.


  {program} --version
    Print the version.

  {program} -h | --help
    Explain every flag.
"
    )
}

/// Everything about the flags, for a program whose name is `program`.
#[must_use]
pub fn help(program: &str) -> String {
    let mut text = format!(
        "{}
A flag is written --name=value or --name value; one dash does as well. Of a repeated flag the last value counts.
Each flag has a variable: ETCD_DATA_DIR is --data-dir. Saying a thing both ways is an error.
Without flags the data is in default.etcd, and clients are served on port 2379 of localhost.
",
        usage(program)
    );
    for (group, heading) in Group::ALL {
        let flags = || all().filter(|flag| flag.group == *group);
        if flags().next().is_some() {
            text.push_str(&format!("\n{heading}:\n"));
        }
        for flag in flags() {
            text.push_str(&described(flag));
        }
    }
    text
}

fn described(flag: &Flag) -> String {
    let mut text = format!("  --{}", flag.name);
    if flag.is_setting() {
        text.push_str(&format!(" '{}'", flag.default));
    }
    text.push('\n');
    // One sentence for all of them is enough.
    if !matches!(flag.kind, Kind::Ignored) {
        for line in flag.about.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

/// The name of every flag, without dashes, and whether it takes a value.
pub fn flag_names() -> impl Iterator<Item = (&'static str, bool)> {
    all().map(|flag| (flag.name, matches!(flag.kind, Kind::Value(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_explained() {
        let text = help("lodemark");
        for flag in all() {
            assert!(text.contains(&format!("\n  --{}", flag.name)), "{} is missing", flag.name);
            assert!(!flag.about.is_empty(), "{} says nothing", flag.name);
        }
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }

    #[test]
    fn the_program_is_called_by_its_name() {
        assert!(usage("etcd").contains("\n  etcd --version\n") && help("etcd").starts_with(&usage("etcd")));
    }
}
