//! The loader's side of what is done to all: dlopen, a call and dlclose of so many libraries, with
//! the threads that a host starts for each, in a process that has no host.

use super::{Figures, bare};
use crate::numbered::Numbered;
use std::fs;
use std::path::Path;

/// Each of `count` libraries.
///
/// # Panics
/// A library does not open.
pub fn loader(numbered: &Numbered, directory: &Path, count: usize) -> Figures {
    let (mut all, mut opened) = (Vec::new(), 0.0);
    for number in 0..count {
        let file = directory.join(format!("{number}.so"));
        numbered.write(number, 1, 0, &file);
        let (library, took) = bare::open(&file);
        opened += took;
        fs::remove_file(&file).expect("it was written");
        all.push(library);
    }
    let closed: f64 = all.into_iter().map(bare::close).sum();
    let figures = [("open_all", opened), ("close_all", closed + bare::look())];
    figures.into_iter().map(|(name, us)| (name.to_owned(), us)).collect()
}
