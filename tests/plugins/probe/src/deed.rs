//! What a test tells a plugin to do, where no call and no service can.

use std::fs::{self, OpenOptions};
use std::io::Write;

/// Says in a journal that the plugin is at `place` in this process, and reads what to do there. The
/// file `PROBE_DEED` holds `place=deed`; its neighbour is the journal. Nothing without it.
pub fn deed(place: &str) -> String {
    let Ok(file) = std::env::var("PROBE_DEED") else { return String::new() };
    let journal = OpenOptions::new().create(true).append(true).open(format!("{file}.journal"));
    let said = journal.and_then(|mut journal| writeln!(journal, "{place} {}", std::process::id()));
    said.expect("a journal");
    told(place)
}

/// What was said so far.
pub fn journal() -> String {
    let file = std::env::var("PROBE_DEED").unwrap_or_default();
    fs::read_to_string(format!("{file}.journal")).unwrap_or_default()
}

/// What to do at `place`, and no word about it in the journal.
pub fn told(place: &str) -> String {
    let Ok(file) = std::env::var("PROBE_DEED") else { return String::new() };
    let told = fs::read_to_string(file).unwrap_or_default();
    told.strip_prefix(place).and_then(|rest| rest.strip_prefix('=')).unwrap_or_default().to_owned()
}
