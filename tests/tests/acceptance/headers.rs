//! Headers: a damaged one is refused, or does no harm.

use midflight::{Code, Stage};
use midflight_tests::{Fixture, Rig, check_answers, run_child, with_children};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

/// Every single bit of the ELF header and the program headers is flipped, each in a file of its
/// own. Most files are refused for what their bytes say. Each of the others is loaded by a process
/// of its own: there it is refused with a code, or gives all the right answers, panics that are
/// caught included, and is unmapped again.
#[test]
fn a82_every_bit_of_the_headers_flipped() {
    with_children(load, |test| {
        let bits = header_bits(&Fixture::V2.unstamped());
        assert!(bits.len() > 3_000, "{bits:?}");
        let next = AtomicUsize::new(bits.start);
        let workers = thread::available_parallelism().expect("a number of cores").get();
        let seen = thread::scope(|scope| {
            let workers: Vec<_> =
                (0..workers).map(|_| scope.spawn(|| flip(test, bits.end, &next))).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("no panic"))
                .reduce(Seen::and)
                .expect("workers")
        });
        println!("{seen:#?}");
        assert!(seen.failures.is_empty(), "{}", seen.failures.join("\n\n"));
        assert_eq!(seen.refused.values().sum::<usize>() + seen.loaded, bits.len());
        assert!(seen.loaded > 0 && seen.refused.len() > 4, "both ways are taken: {seen:?}");
    });
}

/// What became of the files.
#[derive(Debug, Default)]
struct Seen {
    /// By their bytes, with these codes.
    refused: BTreeMap<&'static str, usize>,
    /// In a process of their own.
    loaded: usize,
    failures: Vec<String>,
}

impl Seen {
    fn and(mut self, other: Seen) -> Seen {
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        Seen {
            refused: self.refused,
            loaded: self.loaded + other.loaded,
            failures: [self.failures, other.failures].concat(),
        }
    }
}

/// Takes one bit after the other: flips it, looks, and flips it back.
fn flip(test: &str, end: usize, next: &AtomicUsize) -> Seen {
    let rig = Rig::serving(Fixture::V1);
    let (path, original) = (rig.path("flipped.so"), Fixture::V2.unstamped());
    fs::write(&path, &original).expect("a copy");
    let file = File::options().write(true).open(&path).expect("the copy");
    // With nowhere to put an image, a host looks at the bytes and goes no further: none of these
    // files runs here.
    rig.block_run_directory();

    let mut seen = Seen::default();
    loop {
        let bit = next.fetch_add(1, Relaxed);
        if bit >= end {
            break;
        }
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        file.write_all_at(&[original[byte] ^ mask], byte as u64).expect("a flipped bit");
        let refusal = rig.host.apply(&path).expect_err("nothing can be loaded here");
        match refusal.stage() {
            Stage::Read | Stage::Inspect | Stage::Manifest => {
                *seen.refused.entry(refusal.code().as_str()).or_default() += 1;
            }
            _ => {
                assert_eq!(refusal.code(), Code::ImageUnwritable, "{refusal}");
                seen.loaded += 1;
                let child = run_child(test, path.to_str().expect("a path"));
                if !child.is_ok() {
                    seen.failures.push(format!("bit {} of byte {byte:#x}: {child:?}", bit % 8));
                }
            }
        }
        file.write_all_at(&original[byte..=byte], byte as u64).expect("the bit flipped back");
    }
    check_answers(&rig.probe, 1);
    seen
}

/// The child.
fn load(path: &str) {
    let rig = Rig::serving(Fixture::V1);
    match rig.host.apply(Path::new(path)) {
        Err(refusal) => {
            println!("{refusal}");
            check_answers(&rig.probe, 1);
        }
        Ok(applied) => {
            check_answers(&rig.probe, 2);
            let bytes = fs::read(path).expect("the file");
            assert_ne!(bytes, Fixture::V2.unstamped(), "it is flipped");
            rig.apply(Fixture::V1);
            rig.log.wait("unmapped", applied.generation);
            check_answers(&rig.probe, 1);
        }
    }
    rig.end();
}

/// The bits of the ELF header and of the program headers behind it.
fn header_bits(library: &[u8]) -> Range<usize> {
    const HEADER_BYTES: u64 = 64;
    let number = |at: usize, bytes: usize| {
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(&library[at..at + bytes]);
        u64::from_le_bytes(word)
    };
    let (offset, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    assert_eq!((offset, size), (HEADER_BYTES, 56), "the program headers follow the header");
    0..8 * (offset + size * count) as usize
}
