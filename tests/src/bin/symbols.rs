//! Every function and variable that the C library exports has a class: see
//! `host/inspect/glibc-symbols.txt`.
//!
//! ```text
//! cargo run -p midflight-tests --bin symbols [-- DIRECTORY…]
//! ```
//!
//! It reads the dynamic symbols of the libraries that this very program runs with, and of those
//! beside them that a plugin may need, or of those in the directories that it is given. It ends
//! with 1 if a name of a version that the table knows has no class there. Names of newer versions
//! are told and do no harm: the table's head says how far it goes. It also compares the table with
//! what the plugin's runtime stands for.

use midflight_plugin::rt::hooks::SYMBOLS;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, Sym};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Those that a plugin may need without being kept, by the beginning of their names.
const LIBRARIES: [&str; 7] = [
    "libc.so.",
    "libm.so.",
    "ld-linux-",
    "libpthread.so.",
    "libdl.so.",
    "librt.so.",
    "libgcc_s.so.",
];
const CLASSES: [&str; 5] = ["harmless", "hooked", "refused answer", "refused import", "documented"];
/// In the runtime, and not the C library's.
const NOT_THE_C_LIBRARYS: [&str; 1] = ["__cxa_thread_atexit"];

/// The table, and how far it goes.
struct Table<'t> {
    classes: BTreeMap<&'t str, &'t str>,
    glibc: Version,
    gcc: Version,
}

type Version = Vec<u32>;

impl<'t> Table<'t> {
    fn read(text: &'t str) -> Result<Self, Box<dyn Error>> {
        let mut table = Table { classes: BTreeMap::new(), glibc: Vec::new(), gcc: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, class) = line.split_once(' ').ok_or_else(|| format!("no class: {line}"))?;
            match name {
                "glibc" => table.glibc = version(class).ok_or("the newest glibc is no version")?,
                "gcc" => table.gcc = version(class).ok_or("the newest gcc is no version")?,
                _ if !CLASSES.iter().any(|known| class.starts_with(known)) => {
                    return Err(format!("no such class: {line}").into());
                }
                _ if table.classes.insert(name, class).is_some() => {
                    return Err(format!("{name} has two classes").into());
                }
                _ => {}
            }
        }
        Ok(table)
    }

    /// Is what has this version newer than the table?
    fn is_older_than(&self, of: &str) -> bool {
        let known = if of.starts_with("GCC") { &self.gcc } else { &self.glibc };
        version(of).is_some_and(|version| version > *known)
    }
}

/// `GLIBC_2.34` → 2, 34; nothing for `GLIBC_PRIVATE`.
fn version(text: &str) -> Option<Version> {
    let (_, numbers) = text.split_once('_')?;
    numbers.split('.').map(|number| number.parse().ok()).collect()
}

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<bool, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/inspect/glibc-symbols.txt");
    let text = fs::read_to_string(&path)?;
    let table = Table::read(&text)?;
    let mut is_good = hooks_agree(&table);
    for library in libraries()? {
        let exports = exports(&fs::read(&library)?)?;
        let unknown: Vec<_> =
            exports.iter().filter(|(name, _)| !table.classes.contains_key(name.as_str())).collect();
        println!("{}: {} names", library.display(), exports.len());
        for (name, of) in unknown {
            if table.is_older_than(of) {
                println!("warning: {name} ({of}) is newer than the table");
            } else {
                is_good = false;
                eprintln!(
                    "{name} ({of}) has no class: give it one in host/inspect/glibc-symbols.txt"
                );
            }
        }
    }
    Ok(is_good)
}

/// Is what the table says that the plugin's runtime stands for what it stands for?
fn hooks_agree(table: &Table<'_>) -> bool {
    let is_ours = |class: &str| class.starts_with("hooked") || class == "refused answer";
    let told: BTreeSet<_> =
        table.classes.iter().filter(|(_, class)| is_ours(class)).map(|(name, _)| *name).collect();
    let done: BTreeSet<_> =
        SYMBOLS.into_iter().filter(|name| !NOT_THE_C_LIBRARYS.contains(name)).collect();
    for name in told.symmetric_difference(&done) {
        eprintln!("{name} is in one of plugin-api/src/hooks.rs and the table alone");
    }
    told == done
}

/// Those of the directories that were given, or of where this process has its C library from.
fn libraries() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut directories: BTreeSet<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if directories.is_empty() {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let files = maps.lines().filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..])));
        directories.extend(
            files
                .filter(|file| is(file, "libc.so."))
                .filter_map(|file| Some(file.parent()?.to_owned())),
        );
    }
    let mut found = Vec::new();
    for directory in directories {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if LIBRARIES.iter().any(|library| is(&path, library)) {
                found.push(path);
            }
        }
    }
    match found.iter().any(|file| is(file, "libc.so.")) {
        true => Ok(found),
        false => Err("there is no shared C library".into()),
    }
}

fn is(file: &Path, library: &str) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(library))
}

/// Name and version of each symbol that a library defines.
fn exports(bytes: &[u8]) -> Result<BTreeSet<(String, String)>, Box<dyn Error>> {
    let header = FileHeader64::<object::Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, object::elf::SHT_DYNSYM)?;
    let versions = sections.versions(endian, bytes)?;
    let mut exports = BTreeSet::new();
    for (index, symbol) in symbols.enumerate() {
        // The absolute ones are the versions' own names.
        let at = symbol.st_shndx(endian);
        if at == object::elf::SHN_UNDEF || at == object::elf::SHN_ABS {
            continue;
        }
        let name = String::from_utf8_lossy(symbols.symbol_name(endian, symbol)?).into_owned();
        let version = match &versions {
            Some(versions) => versions.version(versions.version_index(endian, index).into())?,
            None => None,
        };
        let version = version
            .map_or_else(String::new, |version| String::from_utf8_lossy(version.name()).into());
        if !name.is_empty() && symbol.st_bind() != object::elf::STB_LOCAL {
            exports.insert((name, version));
        }
    }
    Ok(exports)
}
