//! How far a long command is: one line that is written over on a terminal, and one at the end elsewhere.

use std::io::{IsTerminal, Write};

/// Tells on stderr how far something is.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    /// The last that was shown.
    percent: Option<u64>,
    is_terminal: bool,
}

impl Progress {
    /// `what` is done with so many bytes.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        Progress { what, total, done: 0, percent: None, is_terminal: std::io::stderr().is_terminal() }
    }

    /// So many bytes are done.
    pub(crate) fn tell(&mut self, done: u64) {
        self.done = done.min(self.total);
        let percent = self.done.saturating_mul(100) / self.total.max(1);
        if self.is_terminal && self.percent != Some(percent) {
            self.percent = Some(percent);
            // Nobody may be there to read it.
            let _ = write!(std::io::stderr(), "\r{} {percent} %", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal && self.percent.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// A number of bytes as etcd's tools write it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut unit, mut scale) = (0, 1u64);
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    // Rounded to a tenth first, and to a whole if there are two digits before the point.
    let tenths = (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    match (unit, tenths) {
        (0, _) => format!("{bytes} B"),
        (_, 0..100) => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", (tenths + 5) / 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_etcd_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (4096, "4.1 kB"),
            (24_576, "25 kB"),
            (9_950, "10 kB"),
            (999_999, "1000 kB"),
            (1_073_741_824, "1.1 GB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
