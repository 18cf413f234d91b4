//! Frames: what the return addresses of a plugin's panic stand for.
//!
//! A plugin takes the addresses and nothing else: std's symboliser would map its file, and keep it
//! mapped. Here the plugin's image is read as bytes, for this one panic, and forgotten. The caller
//! holds the generation, so the image is the one that the addresses are of.

use crate::library;
use crate::run;
use midflight_plugin::Frame;
use object::{Object, ObjectSymbol, SymbolKind};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Names each of `addresses`, innermost first, without those of the panic's own machinery.
pub(crate) fn symbolise(addresses: &[usize]) -> Vec<Frame> {
    let mut files = HashMap::new();
    let mut frames: Vec<_> = addresses.iter().map(|address| frame(*address, &mut files)).collect();
    let own = frames.iter().rposition(is_machinery).map_or(0, |last| last + 1);
    frames.drain(..own);
    frames
}

/// What std runs between a `panic!` and the hook, and the hook. A panic in a destructor that runs
/// for another one has it twice: then the outer one is what is told.
fn is_machinery(frame: &Frame) -> bool {
    let is_of =
        |part: &str| frame.function.as_ref().is_some_and(|function| function.contains(part));
    ["core::panicking::", "std::panicking::", "rust_begin_unwind", "std::panic::panic_any"].into_iter().any(is_of)
        // `catch_unwind` has its name from there as well, and is below.
        && !is_of("catch_unwind")
        && !is_of("panicking::try")
}

fn frame(address: usize, files: &mut HashMap<PathBuf, Functions>) -> Frame {
    let unknown = Frame { address, module: String::new(), offset: 0, function: None };
    // A return address is that of the next instruction, which can be another function's.
    let Some(call) = address.checked_sub(1) else { return unknown };
    let Some((path, base)) = library::file_at(call) else { return unknown };
    let offset = address.wrapping_sub(base);
    match run::plugin_of(&path) {
        Some(plugin) => {
            let module = plugin.to_owned();
            let functions = files.entry(path).or_insert_with_key(|path| Functions::read(path));
            Frame {
                address,
                module,
                offset,
                function: functions.at(call.wrapping_sub(base) as u64),
            }
        }
        // The host's own and its libraries': debuggers know them, and reading them all would take
        // long.
        None => Frame { address, module: file_name(&path), offset, function: None },
    }
}

/// The program itself has no name with the loader.
fn file_name(path: &Path) -> String {
    let program = || std::env::current_exe().unwrap_or_default();
    let path = if path.as_os_str().is_empty() { program() } else { path.to_owned() };
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The functions of one file: start, size, name as the linker knows it. Empty for a file that was
/// stripped of them.
struct Functions(Vec<(u64, u64, String)>);

impl Functions {
    fn read(path: &Path) -> Functions {
        let bytes = fs::read(path).unwrap_or_default();
        let Ok(file) = object::File::parse(&*bytes) else { return Functions(Vec::new()) };
        let functions = file.symbols().chain(file.dynamic_symbols()).filter_map(|symbol| {
            let is_function = symbol.kind() == SymbolKind::Text && symbol.is_definition();
            is_function
                .then(|| Some((symbol.address(), symbol.size(), symbol.name().ok()?.to_owned())))?
        });
        let mut functions: Vec<_> = functions.collect();
        functions.sort_unstable_by_key(|(start, ..)| *start);
        Functions(functions)
    }

    fn at(&self, offset: u64) -> Option<String> {
        let after = self.0.partition_point(|(start, ..)| *start <= offset);
        let (start, size, name) = self.0.get(after.checked_sub(1)?)?;
        // Without the hash at its end.
        (offset - start < *size).then(|| format!("{:#}", rustc_demangle::demangle(name)))
    }
}
