//! Numbered plugins: as many different ones as are asked for, out of one build.
//!
//! A plugin's name is data: it stands in the note, and where the entry points. So the build has a
//! name with room for a number, which is written over in a copy of the bytes.

use crate::libraries::{OURS, Place};
use midflight_inspect::stamp;
use std::fs;
use std::path::{Path, PathBuf};

/// The name that the build has.
const NAME: &str = "bench-number-0000";
const DIGITS: usize = 4;

/// Two versions of a plugin, as bytes.
pub struct Numbered {
    versions: [Vec<u8>; 2],
    /// Where the numbers stand in each.
    numbers: [Vec<usize>; 2],
}

impl Numbered {
    /// Builds both.
    ///
    /// # Panics
    /// Cargo can't build them.
    pub fn build() -> Self {
        let place = Place::of_this_program();
        let file = place.artifacts.join(format!("lib{}.so", OURS.replace('-', "_")));
        Numbered::of(["numbered", "numbered,v2"].map(|features| {
            place.build(&[OURS], features);
            fs::read(&file).expect("what was built")
        }))
    }

    /// Those that [`save`](Numbered::save) has saved.
    ///
    /// # Panics
    /// They are not there.
    pub fn saved(directory: &Path) -> Self {
        Numbered::of(files(directory).map(|file| fs::read(file).expect("a saved build")))
    }

    /// For other processes.
    ///
    /// # Panics
    /// The directory can't be written to.
    pub fn save(&self, directory: &Path) {
        for (file, bytes) in files(directory).iter().zip(&self.versions) {
            fs::write(file, bytes).expect("a saved build");
        }
    }

    fn of(versions: [Vec<u8>; 2]) -> Self {
        let numbers = versions.each_ref().map(|bytes| {
            let found = bytes.windows(NAME.len()).enumerate();
            let found = found.filter(|(_, part)| *part == NAME.as_bytes());
            let numbers: Vec<_> = found.map(|(at, _)| at + NAME.len() - DIGITS).collect();
            assert!(numbers.len() >= 2, "the name is in the note and in the entry");
            numbers
        });
        Numbered { versions, numbers }
    }

    /// What the plugin of this number is called.
    pub fn name(number: usize) -> String {
        assert!(number < 10_usize.pow(DIGITS as u32), "a number of {DIGITS} digits");
        format!("{}{number:0DIGITS$}", &NAME[..NAME.len() - DIGITS])
    }

    /// Writes `version`, 1 or 2, of the plugin of this number to `path`, filled up to `bytes`, and
    /// stamped.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&self, number: usize, version: usize, bytes: usize, path: &Path) {
        let mut library = self.versions[version - 1].clone();
        let digits = format!("{number:0DIGITS$}");
        for at in &self.numbers[version - 1] {
            library[*at..*at + DIGITS].copy_from_slice(digits.as_bytes());
        }
        // What lies behind the last section is nobody's.
        library.resize(library.len().max(bytes), 0);
        stamp(&mut library).expect("a plugin's library");
        fs::write(path, library).expect("a library");
    }
}

fn files(directory: &Path) -> [PathBuf; 2] {
    [1, 2].map(|version| directory.join(format!("numbered-{version}.so")))
}
