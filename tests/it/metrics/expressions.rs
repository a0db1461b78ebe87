//! The series that an expression of Prometheus names: enough of its language for our own rules and board.

use std::collections::BTreeSet;

/// Words that are no series.
const WORDS: &[&str] =
    &["by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset"];

/// The names of series in an expression, without those of labels and functions.
pub fn series_in(expression: &str) -> BTreeSet<String> {
    let mut series = BTreeSet::new();
    let (mut rest, mut label_list) = (expression, false);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' => rest.find('}').expect("selectors end") + 1,
            '[' => rest.find(']').expect("ranges end") + 1,
            '"' => rest[1..].find('"').expect("texts end") + 2,
            letter if letter.is_ascii_alphabetic() || letter == '_' || letter == ':' => {
                let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
                let length = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
                let (word, after) = (&rest[..length], rest[length..].trim_start());
                let is_function = after.starts_with('(') && !WORDS.contains(&word);
                // Before or after what is aggregated: sum by (a) (b), sum(b) by (a).
                let is_aggregation = is_function && after.starts_with('(');
                if WORDS.contains(&word) {
                    label_list = after.starts_with('(');
                } else if !is_aggregation
                    && !word.chars().all(|letter| letter.is_ascii_digit())
                    && !is_operator(word, after)
                {
                    series.insert(word.to_owned());
                }
                length
            }
            '(' if label_list => {
                label_list = false;
                rest.find(')').expect("lists of labels end") + 1
            }
            digit if digit.is_ascii_digit() => {
                // Numbers, and durations behind them.
                rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.').unwrap_or(rest.len())
            }
            other => other.len_utf8(),
        };
        rest = &rest[length..];
    }
    series
}

/// `sum by (...)`: the name of an operator stands before a word.
fn is_operator(word: &str, after: &str) -> bool {
    ["sum", "max", "min", "count", "avg"].contains(&word) && (after.starts_with("by") || after.starts_with("without"))
}

#[test]
fn series_are_told_from_labels_and_functions() {
    for (expression, series) in [
        ("a_total", &["a_total"][..]),
        ("rate(a_total{job=\"x\", code!~\"b_c\"}[5m]) > 0.5", &["a_total"]),
        ("histogram_quantile(0.99, sum by (instance, le) (rate(h_bucket[5m]))) > 1", &["h_bucket"]),
        ("sum(a) by (job) / count(b) without (c) * 100 > 10m", &["a", "b"]),
        ("a / on (instance) group_left (x) b and c unless d", &["a", "b", "c", "d"]),
        ("predict_linear(a[4h], 4 * 60 * 60) > b", &["a", "b"]),
        ("absent(a) or vector(0)", &["a"]),
    ] {
        let expected: BTreeSet<String> = series.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(series_in(expression), expected, "{expression}");
    }
}
