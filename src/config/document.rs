//! `docs/configuration.md`, made from the table of flags.

use super::file;
use super::flags::{self, Flag, Group, Kind, all};

/// What stands before the tables.
const INTRODUCTION: &str = "\
# Configuration

This page is made from the table of flags (`src/config/flags/table.rs`); a test compares the two and says how to write it
anew. Names, defaults and meaning are those of etcd 3.7.1 unless [compatibility.md](compatibility.md) says otherwise.

## Three ways to say it

| way | how | if it is said twice |
| --- | --- | --- |
| flag | `--data-dir=/var/lib/etcd`, `--data-dir /var/lib/etcd`, `-data-dir ...`; a switch alone means true, and false is only `--pre-vote=false` | the last one counts |
| variable | `ETCD_DATA_DIR=/var/lib/etcd`; an empty one is none | beside its flag it is an error |
| file | `--config-file=FILE` or `ETCD_CONFIG_FILE=FILE`, YAML or JSON | all flags and variables are ignored beside it |

A single argument that is wrong ends the program with status 2 and the usage, everything else with status 1 and a line of
the log, before anything is touched. Each variable that counted is logged; so are those that look like ours and are not.

## The file

```yaml
name: m1
data-dir: /var/lib/etcd
listen-client-urls: https://0.0.0.0:2379
advertise-client-urls: https://m1.example.com:2379
client-transport-security:
  cert-file: /etc/etcd/server.crt
  key-file: /etc/etcd/server.key
  trusted-ca-file: /etc/etcd/ca.crt
  client-cert-auth: true
grpc-keepalive-interval: 7200000000000
```

* Keys are the flags' names, but for those in blocks; the tables have them. `a.b` is the key `b` in the block `a`.
* Times are whole numbers of **nanoseconds**, except `heartbeat-interval` and `election-timeout`, which are milliseconds as
  on the command line. Numbers and switches stand without quotes.
* Lists of URLs, `cors` and `host-whitelist` are texts with commas; what is marked as a list is one of YAML.
* A key without a value means the default. Keys that mean nothing are ignored, and named in the log.
* `client-transport-security.allowed-cn`, a list of common names of which clients must have one, has no flag.
* A file has 1 MiB, 16 blocks within each other and 10,000 values at most, aliases written out. Merge keys (`<<`) are not
  read.
";

/// Everything about flags, variables and keys, as Markdown.
#[must_use]
pub fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (group, heading) in Group::ALL {
        let flags: Vec<&Flag> = all().filter(|flag| flag.group == *group).collect();
        if flags.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "\n## {heading}\n\n| flag | variable | key | default | |\n| --- | --- | --- | --- | --- |\n"
        ));
        for flag in flags {
            text.push_str(&row(flag));
        }
    }
    text
}

fn row(flag: &Flag) -> String {
    let variable = match flag.kind {
        Kind::Version | Kind::Help => String::new(),
        Kind::Value(_) | Kind::Switch(_) | Kind::Ignored => format!("`{}`", flags::variable(flag.name)),
    };
    let key = file::key(flag).map(|key| format!("`{key}`{}", file::form(flag).name())).unwrap_or_default();
    let default =
        if flag.default.is_empty() || !flag.is_setting() { String::new() } else { format!("`{}`", flag.default) };
    // A bar would end the cell.
    let about = flag.about.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;");
    format!("| `--{}` | {variable} | {key} | {default} | {about} |\n", flag.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_row() {
        let text = document();
        for flag in all() {
            assert_eq!(text.matches(&format!("\n| `--{}` |", flag.name)).count(), 1, "{}", flag.name);
        }
    }

    #[test]
    fn a_row_has_all_that_can_be_said() {
        let row_of = |name: &str| row(flags::find(name).unwrap());
        assert!(row_of("corrupt-check-time").starts_with(
            "| `--corrupt-check-time` | `ETCD_CORRUPT_CHECK_TIME` | `corrupt-check-time` (nanoseconds) | `0s` | How often"
        ));
        assert!(row_of("peer-cert-allowed-cn").contains("| `peer-transport-security.allowed-cn` (list) |  | "));
        assert!(row_of("help").starts_with("| `--help` |  |  |  | Print"));
    }
}
