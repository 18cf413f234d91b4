//! The sentences, all of them, against the file that they were read in.

use crate::cases;
use crate::contracts::Layout;
use crate::layout::{Sides, check};
use std::fmt::Write as _;
use std::path::Path;

/// What is said of each pair, whose two sides are one crate here.
const VERSIONS: &str =
    concat!(" (both have midflight ", env!("CARGO_PKG_VERSION"), ", one of them changed)");

fn says(expected: Layout, offered: Layout, sides: Sides) -> Result<(), String> {
    check("Fees", expected, offered, sides)
}

#[test]
fn l01_every_sentence_is_as_it_was_read() {
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for (group, case) in cases::all() {
        let newer = says(case.old, case.new, Sides::HostCalls);
        let older = says(case.new, case.old, Sides::HostCalls);
        if [&newer, &older].iter().any(|said| said.is_ok() != case.fits) {
            wrong.push(format!("{group}/{}: {newer:?}, {older:?}", case.name));
        }
        for (plugin, said) in [("newer", newer), ("older", older)] {
            let said = match said {
                Ok(()) => "fits".to_owned(),
                Err(sentence) => sentence.replace(VERSIONS, ""),
            };
            let name = case.name;
            writeln!(text, "{group}/{name}, {plugin} plugin: {said}").expect("a string grows");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layouts/sentences.txt");
    if std::env::var_os("UPDATE_SENTENCES").is_some() {
        std::fs::write(&path, &text).expect("the file of the sentences is writable");
    }
    assert!(wrong.is_empty(), "not the verdict that is due:\n{}", wrong.join("\n"));
    let read = std::fs::read_to_string(&path).expect("the file of the sentences");
    for (line, read) in text.lines().zip(read.lines()) {
        assert_eq!(line, read, "UPDATE_SENTENCES=1 writes the file anew, to be read");
    }
    assert_eq!(text.lines().count(), read.lines().count());
}

/// What no author wrote, and nobody should read: names of what crosses, and the text of a `Debug`.
const NOBODYS: &[&str] = &[
    "RVec",
    "RString",
    "RStr",
    "RSlice",
    "ROption",
    "RResult",
    "ROk",
    "RErr",
    "RSome",
    "RNone",
    "Raw",
    "Grown",
    "Tuple",
    "Reply",
    "Fields",
    "Described",
    "Prefix",
    "PhantomData",
    "MaybeUninit",
    "NonNull",
    "AFunction",
    "Lifetime",
    "ReprAttr",
    "Opaque",
    "Expected",
    "Discriminant",
    "CAndInt",
    "param_",
    "field_0",
    "field_1",
    "__",
    "{",
    "}",
    "Some(",
    "Ok(",
    "midflight_plugin::",
    "abi_stable",
    "midflight-plugin's",
    "laid out",
    "can't be compared",
];

#[test]
fn l02_no_sentence_has_words_that_no_author_wrote() {
    for (group, case) in cases::all().filter(|(_, case)| !case.fits) {
        let sentence = says(case.old, case.new, Sides::HostCalls).expect_err("it does not fit");
        let name = format!("{group}/{}: {sentence}", case.name);
        for word in NOBODYS {
            assert!(!sentence.contains(word), "`{word}`, {name}");
        }
        // Two colons stand between an enum and its variant, and nowhere else.
        for (before, after) in sentence.match_indices("::").map(|(at, _)| sentence.split_at(at)) {
            let mut words = before.rsplit(|letter: char| !letter.is_alphanumeric());
            let word = words.next().unwrap_or_default();
            let starts_large = |word: &str| word.starts_with(|letter: char| letter.is_uppercase());
            assert!(starts_large(word) && starts_large(&after[2..]), "{name}");
        }
        assert!(sentence.contains("plugin says ") && sentence.contains(", host says "), "{name}");
        assert!(sentence.len() < 500, "{} bytes, {name}", sentence.len());
    }
}

/// Whoever calls, the plugin's side is the plugin's. A service is checked as a contract is.
#[test]
fn l03_a_service_is_told_in_the_same_words() {
    for (group, case) in cases::all() {
        for (host, plugin) in [(case.old, case.new), (case.new, case.old)] {
            let contract = says(host, plugin, Sides::HostCalls);
            assert_eq!(contract, says(plugin, host, Sides::PluginCalls), "{group}/{}", case.name);
        }
    }
}
