//! What this crate shows of abi_stable: what generated code and the host name, and nothing else.
//!
//! abi_stable's lists, texts and maps have safe methods that check no bounds, and so has whatever
//! gives one of them away in a public field. A module of abi_stable's brings all of them.

use std::collections::BTreeSet;
use std::path::Path;

/// The whole list, which grows only by hand.
const SHOWN: [&str; 1] = ["RResult"];

#[test]
fn s10_no_more_of_abi_stable_is_shown_than_is_listed() {
    let mut shown = BTreeSet::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            names_shown(&std::fs::read_to_string(path).unwrap(), &mut shown);
        }
    }
    assert_eq!(shown.iter().map(String::as_str).collect::<Vec<_>>(), SHOWN);
}

/// The last segments of every `pub use` of abi_stable, by either of its names.
fn names_shown(text: &str, shown: &mut BTreeSet<String>) {
    for statement in text.split(';') {
        let Some((_, tree)) = statement.rsplit_once("pub use ") else { continue };
        let tree = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        let (root, rest) = tree.split_once("::").unwrap_or((&tree, "self"));
        if !["abi", "abi_stable"].contains(&root.trim_start_matches("r#")) {
            continue;
        }
        let rest = rest.replace("pmr::{", "");
        for one in rest.split(|c| "{},".contains(c)).map(str::trim).filter(|one| !one.is_empty()) {
            let name = one.rsplit("::").next().unwrap();
            shown.insert(name.to_owned());
        }
    }
}
