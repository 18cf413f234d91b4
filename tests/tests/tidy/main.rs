//! What a machine can hold of the house's order.
//!
//! `exceptions.txt` has what does not keep a rule yet. It may get shorter: a line for something
//! that has become better is a failure too, so that nobody falls back to it.
//! `TIDY=overwrite cargo test -p midflight-tests --test tidy` writes it anew; read what changed.

mod floors;
mod source;

use midflight::Code;
use source::{Source, functions, root, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;

/// Characters.
const COLUMNS: usize = 100;
const LINES_OF_A_FUNCTION: usize = 70;
const LINES_OF_A_FILE: usize = 600;
const STEP: usize = 50;

/// What does not keep a rule, and by how much: `width host/src/lib.rs` → 2.
type Exceptions = BTreeMap<String, usize>;

#[test]
fn the_house_is_tidy() {
    let sources = sources();
    let mut found = Exceptions::new();
    found.extend(too_wide(&sources));
    found.extend(too_long(&sources));
    found.extend(unmapped(&sources));
    found.extend(floors::upwards(&sources));
    found.extend(floors::circles(&sources));
    found.extend(unprovoked(&sources));
    let path = root().join("tests/tests/tidy/exceptions.txt");
    if env::var_os("TIDY").is_some_and(|tidy| tidy == "overwrite") {
        let lines = found.iter().map(|(what, much)| format!("{what} {much}\n"));
        return fs::write(path, lines.collect::<String>()).expect("they are kept");
    }
    let kept = fs::read_to_string(path).expect("the exceptions");
    let kept: Exceptions = kept.lines().filter_map(exception).collect();
    let all = found.keys().chain(kept.keys().filter(|what| !found.contains_key(*what)));
    let differ = all.filter_map(|what| {
        let (was, is) = (kept.get(what).unwrap_or(&0), found.get(what).unwrap_or(&0));
        match is.cmp(was) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(format!("{what}: {is}, and {was} may\n")),
            std::cmp::Ordering::Less => Some(format!("{what}: {is}, better than {was}: say so\n")),
        }
    });
    let differ: String = differ.collect();
    assert!(differ.is_empty(), "{differ}{RULES}");
}

const RULES: &str = "
width: lines of more than 100 columns, but for rows of tables
function: lines of one that has more than 70
file: lines of one that has more than 600, tests aside
unmapped: a module of host/src that the code map of ARCHITECTURE.md does not name
upwards: a module of host/src imports one that stands above it (tests/tests/tidy/floors.rs)
circle: files of host/src that import each other in a circle
unprovoked: a refusal's code that no test names
After a change for the better: TIDY=overwrite cargo test -p midflight-tests --test tidy";

/// A number in a test's name is a case of `tests/CASES.md`, and each case there has a test, but
/// for those of a step that is to come.
#[test]
fn every_numbered_case_is_known_and_has_a_test() {
    let sources = sources();
    let cases = sources.iter().find(|source| source.path == "tests/CASES.md");
    let cases = &*cases.expect("it is there").text;
    let (here, owed) = cases.split_once("## Trust").expect("what is to come");
    let rows = |text: &str| -> BTreeSet<String> {
        let number = |line: &str| Some(line.strip_prefix("| ")?.split_once(" |")?.0.to_lowercase());
        text.lines().filter_map(number).filter(|number| number != "#").collect()
    };
    let (here, owed) = (rows(here), rows(owed));
    let code = sources.iter().filter(|source| source.is_rust());
    let tested: BTreeSet<_> = code.flat_map(|source| numbers(&source.text)).collect();
    let unknown: Vec<_> = tested.iter().filter(|it| !here.contains(*it)).collect();
    let untested: Vec<_> = here.difference(&tested).collect();
    assert!(unknown.is_empty(), "no case of tests/CASES.md: {unknown:?} (owed: {owed:?})");
    assert!(untested.is_empty(), "no test has these numbers: {untested:?}");
    assert!(here.len() > 150, "{} cases were found", here.len());
}

/// The numbers of the functions that are named after a case, as `a7`.
fn numbers(text: &str) -> Vec<String> {
    const KINDS: [&str; 12] = ["alloc", "a", "d", "g", "h", "j", "l", "n", "r", "s", "u", "w"];
    let names = text.split("fn ").skip(1).filter_map(|rest| rest.split_once('_'));
    let number = |(name, _): (&str, &str)| {
        let kind = name.trim_end_matches(|one: char| one.is_ascii_digit());
        let number: u32 = name[kind.len()..].parse().ok()?;
        // Cases of the first list have two digits.
        let width = if kind == "a" { 2 } else { 1 };
        KINDS.contains(&kind).then(|| format!("{kind}{number:0width$}"))
    };
    names.filter_map(number).collect()
}

/// `.ci/aarch64` shows where each hook leads on another machine, on a list of its own.
#[test]
fn every_hook_is_shown_on_aarch64_too() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a source");
    let hooks = read("plugin-api/src/hooks.rs");
    let (_, rows) = hooks.split_once("macro_rules! __hook_rows {").expect("the hooks");
    let (rows, _) = rows.split_once("\n}\n").expect("their end");
    let rows = rows.lines().filter_map(|row| row.trim().strip_prefix('"')?.split_once("\" => "));
    let [stubs, answers, references] = ["stubs.rs", "answers.c", "references.c"]
        .map(|file| read(&format!("tests/aarch64/{file}")));
    let mut count = 0;
    for (symbol, target) in rows {
        let target = target.trim_end_matches(';');
        let is_there = stubs.contains(&format!("fn {target}();"))
            && answers.contains(&format!("ANSWER({target}, "))
            && references.contains(&format!(" x({symbol}, "));
        assert!(is_there, "{symbol} => {target} is missing in tests/aarch64");
        count += 1;
    }
    assert!(count > 50, "{count} rows were found");
}

fn exception(line: &str) -> Option<(String, usize)> {
    let (what, much) = line.rsplit_once(' ')?;
    Some((what.to_owned(), much.parse().ok()?))
}

/// A row of a table can't be broken.
fn too_wide(sources: &[Source]) -> Exceptions {
    let is_wide = |line: &&str| {
        let text = line.trim_start().trim_start_matches(['/', '!']).trim_start();
        line.chars().count() > COLUMNS && !text.starts_with('|')
    };
    let count = |source: &Source| source.text.lines().filter(is_wide).count();
    let counted = sources.iter().map(|source| (format!("width {}", source.path), count(source)));
    counted.filter(|(_, count)| *count > 0).collect()
}

fn too_long(sources: &[Source]) -> Exceptions {
    let mut found = Exceptions::new();
    for source in sources.iter().filter(|source| source.is_rust() && !source.is_test()) {
        let lines = source.text.lines().count();
        if lines > LINES_OF_A_FILE {
            // In steps, or each line that such a file gets or loses would be told.
            found.insert(format!("file {}", source.path), lines.next_multiple_of(STEP));
        }
        for (name, lines) in functions(&source.text) {
            if lines > LINES_OF_A_FUNCTION {
                found.insert(format!("function {} {name}", source.path), lines);
            }
        }
    }
    found
}

fn unmapped(sources: &[Source]) -> Exceptions {
    let architecture = sources.iter().find(|source| source.path == "ARCHITECTURE.md");
    let architecture = &*architecture.expect("it is there").text;
    let (_, map) = architecture.split_once("## Code map").expect("it has one");
    let (map, _) = map.split_once("\n## ").expect("it ends");
    let modules = sources.iter().filter_map(|source| {
        let module = source.path.strip_prefix("host/src/")?.strip_suffix(".rs")?;
        let module = module.strip_suffix("/mod").unwrap_or(module);
        (!source.is_test() && module != "lib").then_some(module)
    });
    let name = |module: &str| module.rsplit('/').next().unwrap_or_default().to_owned();
    let is_named = |module: &&str| {
        let name = name(module);
        let words = map.split(|one: char| !one.is_alphanumeric() && one != '_');
        words.into_iter().any(|word| word == name)
    };
    modules.filter(|module| !is_named(module)).map(|it| (format!("unmapped {it}"), 1)).collect()
}

fn unprovoked(sources: &[Source]) -> Exceptions {
    let tests: Vec<_> = sources
        .iter()
        .filter(|source| source.is_rust() && !source.path.ends_with("inspect/src/refusal.rs"))
        .map(|source| if source.is_test() { &*source.text } else { source.tests() })
        .collect();
    let is_named = |code: &&Code| {
        let text = code.as_str();
        let variant = format!("Code::{}", text.split('_').map(capitalised).collect::<String>());
        let names = |test: &&str| words(test, &variant) || words(test, text);
        tests.iter().any(names)
    };
    let codes = Code::ALL.iter().filter(|code| !is_named(code));
    codes.map(|code| (format!("unprovoked {code}"), 1)).collect()
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// As a whole word.
fn words(text: &str, word: &str) -> bool {
    let is_part = |one: char| one.is_alphanumeric() || one == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.chars().next_back().is_some_and(is_part)
            && !after.chars().next().is_some_and(is_part)
    })
}
