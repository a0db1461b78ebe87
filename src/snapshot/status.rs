//! `lodemark snapshot status`: what etcdutl tells, in its words.

use serde_json::json;

use super::arguments::StatusOf;
use super::error::Error;
use super::open;
use crate::command::{print, size};
use crate::etcd_file::{DigestCheck, Status};

/// How it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteOut {
    Simple,
    Table,
    Json,
    Fields,
}

pub(super) fn run(StatusOf { file, write_out }: &StatusOf) -> Result<(), Error> {
    // etcdutl does not look at the digest here: a copy of a database has none.
    let snapshot = open(file, DigestCheck::Skipped)?;
    let status = snapshot.status(&mut |_| ()).map_err(|source| Error::Snapshot { path: file.clone(), source })?;
    print(&told(&status, *write_out));
    Ok(())
}

fn told(status: &Status, write_out: WriteOut) -> String {
    let Status { hash, revision, keys, bytes, version } = status;
    match write_out {
        WriteOut::Simple => format!("{hash:x}, {revision}, {keys}, {}, {version}\n", size(*bytes)),
        WriteOut::Json => {
            // In etcd's order.
            let version = json!(version);
            format!(
                "{{\"hash\":{hash},\"revision\":{revision},\"totalKey\":{keys},\"totalSize\":{bytes},\"version\":{version}}}\n"
            )
        }
        WriteOut::Fields => format!(
            "\"Hash\" : {hash}\n\"Revision\" : {revision}\n\"Keys\" : {keys}\n\"Size\" : {bytes}\n\"Version\" : {version}\n"
        ),
        WriteOut::Table => {
            let cells = [format!("{hash:x}"), revision.to_string(), keys.to_string(), size(*bytes), version.clone()];
            table(["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"], &cells)
        }
    }
}

/// Headings in the middle, numbers on the right.
fn table(headings: [&str; 5], cells: &[String; 5]) -> String {
    let widths = std::array::from_fn::<usize, 5, _>(|i| headings[i].len().max(cells[i].len()));
    let line = |left: &str, middle: &str, right: &str| {
        let dashes = widths.map(|width| "─".repeat(width + 2));
        format!("{left}{}{right}\n", dashes.join(middle))
    };
    let row = |cells: [String; 5]| format!("│{}│\n", cells.map(|cell| format!(" {cell} ")).join("│"));
    let heads = std::array::from_fn(|i| format!("{:^width$}", headings[i], width = widths[i]));
    let values = std::array::from_fn(|i| format!("{:>width$}", cells[i], width = widths[i]));
    [line("┌", "┬", "┐"), row(heads), line("├", "┼", "┤"), row(values), line("└", "┴", "┘")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What etcdutl 3.7.1 printed of the same snapshot.
    #[test]
    fn a_status_is_told_in_the_words_of_etcdutl() {
        let status = Status { hash: 0x90c4_1ab1, revision: 8, keys: 5, bytes: 24_576, version: "3.7.0".to_owned() };
        assert_eq!(told(&status, WriteOut::Simple), "90c41ab1, 8, 5, 25 kB, 3.7.0\n");
        assert_eq!(
            told(&status, WriteOut::Json),
            "{\"hash\":2428770993,\"revision\":8,\"totalKey\":5,\"totalSize\":24576,\"version\":\"3.7.0\"}\n"
        );
        assert_eq!(
            told(&status, WriteOut::Fields),
            "\"Hash\" : 2428770993\n\"Revision\" : 8\n\"Keys\" : 5\n\"Size\" : 24576\n\"Version\" : 3.7.0\n"
        );
        assert_eq!(
            told(&status, WriteOut::Table),
            "\
┌──────────┬──────────┬────────────┬────────────┬─────────┐
│   HASH   │ REVISION │ TOTAL KEYS │ TOTAL SIZE │ VERSION │
├──────────┼──────────┼────────────┼────────────┼─────────┤
│ 90c41ab1 │        8 │          5 │      25 kB │   3.7.0 │
└──────────┴──────────┴────────────┴────────────┴─────────┘
"
        );
    }
}
