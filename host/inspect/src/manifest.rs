//! The manifest: what a plugin says about itself before any of its code runs.
//!
//! A library could be asked for its name by calling into it, but then its constructors have run
//! before anyone knew whether it is a plugin at all. So the build writes a note into the file, and
//! the host reads it as bytes. It is a claim: types are proved later, by the layout check.

use crate::refusal::{Code, Refusal};
use midflight_format::{FORMAT, NOTE_NAME, TARGET, cpu_features};
use semver::Version;
use std::collections::HashMap;

/// The triple that this host was built for.
pub const HOST_TARGET: &str = TARGET;

/// The note's text, parsed. Every value is free of control characters.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// 1 to 64 letters, digits, `_` and `-`: it becomes part of a file name.
    pub name: String,
    /// The plugin's own.
    pub version: Version,
    /// None: a group of its own.
    pub group: Option<String>,
    /// Name and version of each contract that it implements.
    pub contracts: Vec<(String, String)>,
    /// The compiler's own version line.
    pub rustc: String,
    /// The triple that it was built for.
    pub target: String,
    /// Features of CPUs that the compiler was told to use without asking, beyond those that each
    /// machine of the target has. Empty in notes of earlier releases.
    pub cpu: Vec<String>,
    /// The level, as the compiler is told it: 0 to 3, `s` or `z`.
    pub optimisation: String,
    /// What a panic does, as the compiler is told it. What was parsed says `unwind`.
    pub panic: String,
    /// Of the sources, where the build said so.
    pub commit: Option<String>,
    /// Its `start` may run in a preflight.
    pub preflight_start: bool,
}

impl Manifest {
    /// The description in a note of the type `format`, for a host of `target`.
    pub fn parse(format: u32, text: &[u8], target: &str) -> Result<Manifest, Refusal> {
        if format != FORMAT {
            return Err(Refusal::new(
                Code::FormatUnsupported,
                format!("the plugin's note has format {format}, this host reads format {FORMAT}"),
            ));
        }
        let manifest = Fields::split(text)?.manifest()?;
        let refuse = |code, reason: String| {
            Err(Refusal::new(code, reason).of(&manifest.name, &manifest.version.to_string()))
        };
        if manifest.panic != "unwind" {
            let found = &manifest.panic;
            return refuse(
                Code::PanicAbort,
                format!(
                    "the plugin was built with panic = \"{found}\", this host needs \"unwind\""
                ),
            );
        }
        if manifest.target != target {
            let found = &manifest.target;
            return refuse(
                Code::WrongTarget,
                format!("the plugin was built for {found}, this host for {target}"),
            );
        }
        let missing = missing(&manifest.cpu, cpu_features!(detected));
        if !missing.is_empty() {
            let names = missing.join(", ");
            return refuse(
                Code::CpuFeaturesMissing,
                format!(
                    "the plugin was built for a CPU with {names}, this machine's has none of that"
                ),
            );
        }
        Ok(manifest)
    }
}

/// Those of `wanted` that are not known to be there: the first instruction of theirs ends the
/// process.
fn missing<'a>(wanted: &'a [String], detected: &[(&str, bool)]) -> Vec<&'a str> {
    let is_there = |name: &str| detected.contains(&(name, true));
    wanted.iter().map(String::as_str).filter(|name| !is_there(name)).collect()
}

/// More than a plugin with hundreds of contracts needs.
const TEXT_BYTES_MAX: usize = 64 * 1024;
const NAME_CHARS_MAX: usize = 64;

/// The `key=value` lines. Unknown keys are kept unread, so that a later release may add some within
/// the same format.
struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn split(text: &'a [u8]) -> Result<Self, Refusal> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(invalid(format!(
                "it has {} bytes, at most {TEXT_BYTES_MAX} are read",
                text.len()
            )));
        }
        let text = std::str::from_utf8(text)
            .map_err(|error| invalid(format!("it is not UTF-8: {error}")))?;
        let mut fields = HashMap::new();
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            if line.chars().any(char::is_control) {
                return Err(invalid(format!("the line {line:?} has a control character")));
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(invalid(format!("the line {line:?} is not key=value")));
            };
            if fields.insert(key, value).is_some() {
                return Err(invalid(format!("the key `{key}` is there twice")));
            }
        }
        Ok(Fields(fields))
    }

    fn manifest(&self) -> Result<Manifest, Refusal> {
        let name = self.value("name")?;
        check_name("name", name)?;
        let version = check_version("version", self.value("version")?)?;
        let group = self.optional("group")?;
        if let Some(group) = group {
            check_name("group", group)?;
        }
        let contracts =
            self.optional("contracts")?.map(parse_contracts).transpose()?.unwrap_or_default();
        let one_of = |key, known: &[&str]| {
            let value = self.value(key)?;
            match known.contains(&value) {
                true => Ok(value.to_owned()),
                false => Err(invalid(format!(
                    "`{key}` is {value:?}, expected one of {}",
                    known.join(", ")
                ))),
            }
        };
        Ok(Manifest {
            name: name.to_owned(),
            version,
            group: group.map(str::to_owned),
            contracts,
            rustc: self.value("rustc")?.to_owned(),
            target: self.value("target")?.to_owned(),
            cpu: self.features("cpu")?,
            optimisation: one_of("optimisation", &["0", "1", "2", "3", "s", "z"])?,
            panic: one_of("panic", &["unwind", "abort", "immediate-abort"])?,
            commit: self.optional("commit")?.map(str::to_owned),
            preflight_start: self.is_set("preflight_start")?,
        })
    }

    /// A list that plugins of earlier releases lack.
    fn features(&self, key: &str) -> Result<Vec<String>, Refusal> {
        let list = self.0.get(key).copied().unwrap_or_default();
        let is_name = |name: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !name.is_empty() && name.chars().all(known)
        };
        let names: Vec<_> = list.split(',').filter(|_| !list.is_empty()).collect();
        match names.iter().find(|name| !is_name(name)) {
            Some(odd) => {
                Err(invalid(format!("`{key}` has {odd:?}, which names no feature of a CPU")))
            }
            None => Ok(names.into_iter().map(str::to_owned).collect()),
        }
    }

    /// A key that plugins of earlier releases lack.
    fn is_set(&self, key: &str) -> Result<bool, Refusal> {
        match self.0.get(key).copied().unwrap_or_default() {
            "" => Ok(false),
            "true" => Ok(true),
            other => Err(invalid(format!("`{key}` is {other:?}, expected true or nothing"))),
        }
    }

    /// A value that must say something.
    fn value(&self, key: &str) -> Result<&'a str, Refusal> {
        self.optional(key)?.ok_or_else(|| invalid(format!("`{key}` is empty")))
    }

    /// A value that may be empty; its key must be there all the same.
    fn optional(&self, key: &str) -> Result<Option<&'a str>, Refusal> {
        match self.0.get(key) {
            Some(&"") => Ok(None),
            Some(value) => Ok(Some(value)),
            None => Err(invalid(format!("the key `{key}` is missing"))),
        }
    }
}

fn parse_contracts(list: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut contracts: Vec<(String, String)> = Vec::new();
    for entry in list.split(',') {
        let Some((name, version)) = entry.rsplit_once('@') else {
            return Err(invalid(format!("`contracts` has {entry:?}, expected NAME@VERSION")));
        };
        let known = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
        if name.is_empty() || !name.chars().all(known) {
            return Err(invalid(format!("`contracts` has {entry:?}, which names no contract")));
        }
        check_version("contracts", version)?;
        if contracts.iter().any(|(other, _)| other == name) {
            return Err(invalid(format!("`contracts` has {name} twice")));
        }
        contracts.push((name.to_owned(), version.to_owned()));
    }
    Ok(contracts)
}

fn check_name(key: &str, name: &str) -> Result<(), Refusal> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.len() > NAME_CHARS_MAX || !name.chars().all(known) {
        let expected = format!("1 to {NAME_CHARS_MAX} of A-Z, a-z, 0-9, _ and -");
        return Err(invalid(format!("`{key}` is {name:?}, expected {expected}")));
    }
    Ok(())
}

fn check_version(key: &str, version: &str) -> Result<Version, Refusal> {
    Version::parse(version)
        .map_err(|error| invalid(format!("`{key}` has {version:?}, which is no SemVer: {error}")))
}

fn invalid(what: String) -> Refusal {
    Refusal::new(Code::ManifestInvalid, format!("the note `{NOTE_NAME}`: {what}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const TEXT: &str = "name=flat-fees\nversion=1.2.0\ngroup=exchange\n\
        contracts=shop::Fees@1.0.0,shop::Risk@0.2.0\nrustc=rustc 1.95.0 (59807616e 2026-04-14)\n\
        target=x86_64-unknown-linux-gnu\noptimisation=3\npanic=unwind\ncommit=abc\n\n\n";
    const OURS: &str = "x86_64-unknown-linux-gnu";

    /// Parses the good text with `from` replaced, and compares the refusal's code and reason.
    fn check(from: &str, to: &str, code: Code, reason: &str) {
        assert!(TEXT.contains(from), "{from:?} is not in the text");
        let refusal =
            Manifest::parse(FORMAT, TEXT.replacen(from, to, 1).as_bytes(), OURS).unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
        assert!(refusal.reason().contains(reason), "{refusal}");
    }

    #[test]
    fn a_whole_note_is_read() {
        let read = Manifest::parse(FORMAT, TEXT.as_bytes(), OURS).unwrap();
        let expected = Manifest {
            name: "flat-fees".into(),
            version: Version::new(1, 2, 0),
            group: Some("exchange".into()),
            contracts: vec![
                ("shop::Fees".into(), "1.0.0".into()),
                ("shop::Risk".into(), "0.2.0".into()),
            ],
            rustc: "rustc 1.95.0 (59807616e 2026-04-14)".into(),
            target: OURS.into(),
            cpu: Vec::new(),
            optimisation: "3".into(),
            panic: "unwind".into(),
            commit: Some("abc".into()),
            preflight_start: false,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn empty_group_contracts_and_commit_are_none() {
        let text = TEXT.replace("exchange", "").replace("shop::Fees@1.0.0,shop::Risk@0.2.0", "");
        let read = Manifest::parse(FORMAT, text.replace("abc", "").as_bytes(), OURS).unwrap();
        assert_eq!((read.group, read.contracts, read.commit), (None, Vec::new(), None));
    }

    #[test]
    fn a_start_in_the_preflight_is_asked_for() {
        let parse = |line: &str| Manifest::parse(FORMAT, format!("{TEXT}{line}").as_bytes(), OURS);
        assert!(parse("preflight_start=true\n").unwrap().preflight_start);
        assert!(!parse("preflight_start=\n").unwrap().preflight_start);
        let refusal = parse("preflight_start=maybe\n").unwrap_err();
        assert!(refusal.reason().contains("`preflight_start` is \"maybe\""), "{refusal}");
    }

    #[test]
    fn d04_a_cpu_without_what_the_plugin_was_built_for_is_refused() {
        let parse = |line: &str| Manifest::parse(FORMAT, format!("{TEXT}{line}").as_bytes(), OURS);
        // Earlier releases had no such key.
        assert!(parse("").unwrap().cpu.is_empty());
        assert!(parse("cpu=\n").unwrap().cpu.is_empty());
        let all: &[(&str, bool)] = cpu_features!(detected);
        let (there, absent): (Vec<_>, Vec<_>) = all.iter().partition(|(_, is_there)| *is_there);
        let names: Vec<_> = there.iter().map(|(name, _)| *name).collect();
        assert_eq!(parse(&format!("cpu={}\n", names.join(","))).unwrap().cpu, names);
        for name in absent.iter().map(|(name, _)| *name).chain(["a-feature-of-later"]) {
            let list = [&names[..], &[name]].concat().join(",");
            let refusal = parse(&format!("cpu={list}\n")).unwrap_err();
            assert_eq!(
                (refusal.code(), refusal.plugin()),
                (Code::CpuFeaturesMissing, Some("flat-fees"))
            );
            assert!(refusal.reason().contains(&format!("a CPU with {name}, this")), "{refusal}");
        }
        let odd = parse("cpu=avx,,\n").unwrap_err();
        assert!(odd.reason().contains("`cpu` has \"\", which names no feature"), "{odd}");
    }

    #[test]
    fn a_key_that_a_later_release_added_is_no_error() {
        let text = format!("{TEXT}weather=fine\n");
        assert!(Manifest::parse(FORMAT, text.as_bytes(), OURS).is_ok());
    }

    #[test]
    fn another_format_is_refused_before_the_text_is_read() {
        let refusal = Manifest::parse(FORMAT + 1, b"\xff", OURS).unwrap_err();
        assert_eq!(refusal.code(), Code::FormatUnsupported);
        let expected = format!("note has format {}, this host reads format {FORMAT}", FORMAT + 1);
        assert!(refusal.reason().contains(&expected), "{refusal}");
    }

    #[test]
    fn what_cannot_be_read_names_the_key() {
        let refused =
            |from: &str, to: &str, reason: &str| check(from, to, Code::ManifestInvalid, reason);
        refused("name=flat-fees\n", "", "the key `name` is missing");
        refused("commit=abc", "", "the key `commit` is missing");
        refused("commit=abc", "name=b", "the key `name` is there twice");
        refused("commit=abc", "commit", "is not key=value");
        refused("flat-fees", "", "`name` is empty");
        refused("flat-fees", "../fees", "`name` is \"../fees\"");
        refused("flat-fees", &"a".repeat(65), "`name` is \"aaaa");
        refused("exchange", "a b", "`group` is \"a b\"");
        refused("version=1.2.0", "version=1.2", "`version` has \"1.2\", which is no SemVer");
        refused("Fees@1.0.0", "Fees", "`contracts` has \"shop::Fees\", expected NAME@VERSION");
        refused("Fees@1.0.0", "Fees@one", "`contracts` has \"one\", which is no SemVer");
        refused("shop::Fees@1.0.0", "@1.0.0", "names no contract");
        refused("shop::Risk", "shop::Fees", "`contracts` has shop::Fees twice");
        refused("optimisation=3", "optimisation=4", "`optimisation` is \"4\"");
        refused("panic=unwind", "panic=never", "`panic` is \"never\"");
        refused("commit=abc", "commit=\u{1b}[2J", "control character");
        refused("commit=abc", &"c".repeat(TEXT_BYTES_MAX), "at most 65536 are read");
        let refusal = Manifest::parse(FORMAT, b"name=\xff", OURS).unwrap_err();
        assert_eq!(refusal.code(), Code::ManifestInvalid);
        assert!(refusal.reason().contains("not UTF-8"), "{refusal}");
    }

    #[test]
    fn the_longest_name_is_accepted() {
        let text = TEXT.replace("flat-fees", &"a".repeat(64));
        assert!(Manifest::parse(FORMAT, text.as_bytes(), OURS).is_ok());
    }

    #[test]
    fn panic_abort_is_refused() {
        check("unwind", "abort", Code::PanicAbort, "panic = \"abort\", this host needs \"unwind\"");
        check("unwind", "immediate-abort", Code::PanicAbort, "\"immediate-abort\"");
    }

    #[test]
    fn another_target_is_refused_and_both_are_named() {
        let reason = "built for x86_64-unknown-linux-musl, this host for x86_64-unknown-linux-gnu";
        check("linux-gnu", "linux-musl", Code::WrongTarget, reason);
    }

    #[test]
    fn a_readable_manifest_puts_its_name_into_the_refusal() {
        let text = TEXT.replace("unwind", "abort");
        let refusal = Manifest::parse(FORMAT, text.as_bytes(), OURS).unwrap_err();
        assert_eq!((refusal.plugin(), refusal.version()), (Some("flat-fees"), Some("1.2.0")));
    }
}
