//! How flags are called: by their names, by names that etcd has given up, by variables; and what somebody may have meant.

use super::{Flag, all, find};
use crate::config::gates;

/// What names that etcd has given up began with; the rest is the name of today.
const FORMER_PREFIX: &str = "experimental-";
/// What variables begin with.
const VARIABLE_PREFIX: &str = "ETCD_";
/// Names that differ in more letters are other names.
const TYPOS_MAX: usize = 2;
/// The same for names that are shorter than [`SHORT`].
const TYPOS_MAX_OF_SHORT: usize = 1;
const SHORT: usize = 6;

/// What a name without dashes stands for.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) enum Called {
    /// A flag.
    Flag(&'static Flag),
    /// A flag, by the name that it had in etcd 3.5.
    Formerly(&'static Flag),
    /// A flag of etcd 3.5 that is a feature gate today.
    Gate(&'static str),
    /// Nobody knows it.
    Nothing,
}

/// Finds out what a name stands for.
pub(in crate::config) fn call(name: &str) -> Called {
    if let Some(flag) = find(name) {
        return Called::Flag(flag);
    }
    let Some(present) = name.strip_prefix(FORMER_PREFIX) else { return Called::Nothing };
    match (find(present), gates::of_former_flag(present)) {
        (Some(flag), _) => Called::Formerly(flag),
        (None, Some(gate)) => Called::Gate(gate),
        (None, None) => Called::Nothing,
    }
}

/// The variable that says what the flag says. Source: etcd, `pkg/flags`, `FlagToEnv`.
pub(in crate::config) fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The flag whose name is nearest to one that nobody knows, if it is near at all.
pub(in crate::config) fn nearest(name: &str) -> Option<&'static str> {
    let typos_max = match name.len() {
        // No letter might be right.
        0..=1 => return None,
        2..SHORT => TYPOS_MAX_OF_SHORT,
        _ => TYPOS_MAX,
    };
    let near = all().filter(|flag| flag.is_setting()).map(|flag| (typos(name, flag.name), flag.name));
    near.filter(|(typos, _)| *typos <= typos_max).min().map(|(_, name)| name)
}

/// How many letters must be added, left out or changed to make one name of another (Levenshtein's distance), as far as
/// that matters.
fn typos(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > TYPOS_MAX {
        return TYPOS_MAX + 1;
    }
    // One row of the table: from what was read of `a` to each beginning of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_flags_today_and_formerly() {
        assert!(matches!(call("name"), Called::Flag(flag) if flag.name == "name"));
        assert!(matches!(call("experimental-max-learners"), Called::Formerly(flag) if flag.name == "max-learners"));
        assert!(matches!(call("experimental-initial-corrupt-check"), Called::Gate("InitialCorruptCheck")));
        for name in ["nonsense", "", "experimental-", "experimental-experimental-name", "h"] {
            assert!(matches!(call(name), Called::Nothing), "{name}");
        }
    }

    #[test]
    fn variables_are_called_as_etcd_calls_them() {
        assert_eq!(variable("listen-client-urls"), "ETCD_LISTEN_CLIENT_URLS");
        assert_eq!(variable("v2-deprecation"), "ETCD_V2_DEPRECATION");
    }

    #[test]
    fn a_name_with_a_typo_is_recognised() {
        for (typed, meant) in [
            ("nme", Some("name")),
            ("listen-client-url", Some("listen-client-urls")),
            ("data_dir", Some("data-dir")),
            ("snapshot-cuont", Some("snapshot-count")),
            ("nonsense", None),
            ("port", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }

    #[test]
    fn typos_are_counted() {
        for (a, b, count) in [("name", "name", 0), ("nmae", "name", 2), ("ame", "name", 1), ("names", "name", 1)] {
            assert_eq!(typos(a, b), count, "{a} {b}");
        }
        assert!(typos("name", "initial-cluster") > TYPOS_MAX);
    }
}
