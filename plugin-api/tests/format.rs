//! The tables that host and plugin exchange, as they stand in the source. A host and a plugin that
//! agree on [`FORMAT`] read each other's memory by them, so whoever changes one raises it.

use midflight_plugin::rt::FORMAT;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Where they lie: in what both sides link, and in what the macros write.
const SOURCES: [&str; 2] = ["src", "macros/src"];
/// What was committed.
const KEPT: &str = "tests/format.txt";
/// `raised`: [`FORMAT`] was, and what stands there now is that format. `same`: nothing lies
/// elsewhere in memory than before, and only names have changed.
const ACCEPT: &str = "MIDFLIGHT_TABLES";

#[test]
fn h05_no_table_changes_without_the_format() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let now = format!("format {FORMAT}\nabi_stable {}\n\n{}", abi_stable(root), tables(root));
    let kept = fs::read_to_string(root.join(KEPT)).unwrap_or_default();
    let was_raised = kept.lines().next() != Some(&format!("format {FORMAT}"));
    match env::var(ACCEPT).ok().as_deref() {
        Some("raised") => assert!(was_raised, "FORMAT is {FORMAT}, as it was: raise it first"),
        Some("same") => assert!(!was_raised, "FORMAT was raised: say {ACCEPT}=raised"),
        Some(other) => panic!("{ACCEPT}={other}: say raised, or same"),
        None => {
            let lost = kept.lines().filter(|line| !now.lines().any(|other| other == *line));
            let new = now.lines().filter(|line| !kept.lines().any(|other| other == *line));
            let lost: String = lost.map(|line| format!("\n- {line}")).collect();
            let new: String = new.map(|line| format!("\n+ {line}")).collect();
            return assert!(
                now == kept,
                "what host and plugin exchange has changed:{lost}{new}\n\nRaise FORMAT in \
                 plugin-api/format/src/lib.rs and run this test with {ACCEPT}=raised; or with \
                 {ACCEPT}=same, if only names have changed"
            );
        }
    }
    fs::write(root.join(KEPT), now).expect("it is kept");
}

/// A change in a field, in its type, in their order, or in what a type stands for is seen.
#[test]
fn h05_what_matters_of_a_table_is_compared() {
    let of = |source: &str| {
        let mut found = BTreeMap::new();
        collect("a", source, &mut found);
        found.into_values().collect::<Vec<_>>()
    };
    let plain =
        "#[repr(C)]\npub struct A {\n    /// One.\n    one: u32,\n    two: u64, // last\n}\n";
    let with_words = plain.replace("One.", "Another word.").replace(" // last", "");
    assert_eq!(of(plain), ["#[repr(C)] pub struct A { one: u32, two: u64, }"]);
    assert_eq!(of(plain), of(&with_words), "comments are not compared");
    for (from, to) in
        [("u32", "u16"), ("one: u32,", ""), ("(C)", "(C, packed)"), ("struct", "union")]
    {
        assert_ne!(of(plain), of(&plain.replace(from, to)), "{from} became {to}");
    }
    let alias = "pub type F = unsafe extern \"C\" fn(u32);\n";
    assert_eq!(of(alias), ["pub type F = unsafe extern \"C\" fn(u32);"]);
    assert_eq!(of("pub struct B {\n    one: u32,\n}\n"), [""; 0], "it has no layout to rely on");
}

fn tables(root: &Path) -> String {
    let mut files: Vec<_> = SOURCES.iter().flat_map(|part| sources(&root.join(part))).collect();
    files.sort();
    let mut found = BTreeMap::new();
    for file in files {
        let source = fs::read_to_string(&file).expect("a source");
        let name = file.strip_prefix(root).expect("it lies below").display().to_string();
        collect(&name, &source, &mut found);
    }
    // Where an item stands says nothing of its layout.
    let mut items: Vec<_> = found.into_values().collect();
    items.sort();
    items.join("\n") + "\n"
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Each item with a `repr`, and each name of a function's type, by where it begins.
fn collect(file: &str, source: &str, found: &mut BTreeMap<(String, usize), String>) {
    let lines: Vec<_> = source.lines().map(code).collect();
    for (at, line) in lines.iter().enumerate() {
        let is_alias =
            line.starts_with("pub type ") && line.contains(" fn(") && line.ends_with(';');
        let item = if is_alias {
            (*line).to_owned()
        } else if line.starts_with("#[repr(") && !line.starts_with("#[repr(#") {
            item(&lines[at..])
        } else {
            continue;
        };
        found.insert((file.to_owned(), at), item);
    }
}

/// From its `repr` to the brace or semicolon that ends it, without other attributes.
fn item(lines: &[&str]) -> String {
    let (mut item, mut depth, mut is_attribute) = (String::new(), 0_i32, false);
    for (at, line) in lines.iter().enumerate() {
        is_attribute |= at > 0 && line.starts_with("#[") && depth == 0;
        if is_attribute {
            is_attribute = !line.ends_with(']');
            continue;
        }
        if line.is_empty() {
            continue;
        }
        if !item.is_empty() {
            item.push(' ');
        }
        item.push_str(line);
        let count = |these: &[char]| line.chars().filter(|one| these.contains(one)).count() as i32;
        depth += count(&['{', '(']) - count(&['}', ')']);
        if at > 0 && depth == 0 && (line.ends_with('}') || line.ends_with(';')) {
            break;
        }
    }
    item
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default().trim()
}

/// Its values cross as they are, so its version is part of the format.
fn abi_stable(root: &Path) -> String {
    let locked = fs::read_to_string(root.join("../Cargo.lock")).expect("the workspace's");
    let (_, after) = locked.split_once("name = \"abi_stable\"\nversion = \"").expect("it is used");
    after.split('"').next().unwrap_or_default().to_owned()
}
