//! The loader's side: what a bare dlopen, call and dlclose take with so many libraries, in a
//! process that has no host.
#![allow(unsafe_code, reason = "it opens libraries by itself")]

use super::{Clock, Figures, LAST, look};
use crate::numbered::Numbered;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use midflight_plugin::rt::Entry;
use std::fs;
use std::hint::black_box;
use std::path::Path;

/// Each with `count` libraries open.
///
/// # Panics
/// A library does not open.
pub fn loader(numbered: &Numbered, directory: &Path, count: usize) -> Figures {
    let mut opened = 0.0;
    let mut load = |number| {
        let file = directory.join(format!("{number}.so"));
        numbered.write(number, 1, 0, &file);
        let clock = Clock::process();
        let library = open(&file);
        let took = clock.us();
        opened += took;
        (library, file, took)
    };
    let all: Vec<_> = (0..count).map(&mut load).collect();
    let (mut opens, mut closes) = (Vec::new(), Vec::new());
    for number in count..count + LAST {
        let (library, file, took) = load(number);
        opens.push(took);
        let clock = Clock::process();
        library.close().expect("dlclose");
        closes.push(clock.us());
        fs::remove_file(&file).expect("it was written");
    }
    opened = all.iter().map(|(.., took)| took).sum();
    let clock = Clock::process();
    let files: Vec<_> = all
        .into_iter()
        .map(|(library, file, _)| {
            library.close().expect("dlclose");
            file
        })
        .collect();
    let closed = clock.us();
    let after = look(&files[0]);
    files.iter().for_each(|file| fs::remove_file(file).expect("it was written"));
    let median = |all: &[f64]| crate::rounds::quantile(all, 0.5).unwrap_or(f64::NAN);
    Figures::from([
        ("open", median(&opens)),
        ("close", median(&closes)),
        ("open_all", opened),
        ("close_all", closed + after),
    ])
}

/// Opens it and calls a function of it.
fn open(file: &Path) -> Library {
    // SAFETY: a plugin of the benches, whose constructors are std's.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }.expect("dlopen");
    // SAFETY: a plugin's entry, of this build's format; it is open meanwhile.
    unsafe {
        let entry = library.get::<*const Entry>(b"midflight_entry\0").expect("a plugin");
        black_box(((**entry).place)());
    }
    library
}
