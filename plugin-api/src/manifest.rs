//! What a plugin's file says about itself before any of it runs.
//!
//! Asking a library for its version means loading it, and loading it runs its constructors. So the
//! manifest is an ELF note, put together by the compiler, that can be read from the bytes alone. It
//! is a claim: what has to be true is checked again when the library is loaded.

use crate::plugin::{Export, Exported};
use crate::version::is_version;
use midflight_format::{FORMAT, NOTE_NAME, TARGET};

/// One ELF note. `N` is the length of the text, a multiple of four: [`Note::len`].
#[repr(C, align(4))]
#[derive(Debug)]
pub struct Note<const N: usize> {
    name_bytes: u32,
    text_bytes: u32,
    kind: u32,
    name: [u8; 12],
    text: [u8; N],
}

impl Note<0> {
    /// How long the text of this plugin's note is, in bytes.
    pub const fn len<X: Export>() -> usize {
        text::<X, 0>().length.next_multiple_of(4)
    }
}

impl<const N: usize> Note<N> {
    /// The note of a plugin.
    pub const fn of<X: Export>() -> Self {
        assert!(N == Note::len::<X>());
        Note {
            name_bytes: NOTE_NAME.len() as u32 + 1,
            text_bytes: N as u32,
            kind: FORMAT,
            name: *b"midflight\0\0\0",
            text: text::<X, N>().bytes,
        }
    }
}

/// `key=value` lines, padded with line breaks.
const fn text<X: Export, const N: usize>() -> Text<N> {
    assert!(
        is_name(X::NAME),
        "a plugin's name is 1 to 64 of the letters a to z, digits, `-` and `_`"
    );
    assert!(
        X::Plugin::GROUP.is_empty() || is_name(X::Plugin::GROUP),
        "a group's name is 1 to 64 of the letters a to z, digits, `-` and `_`"
    );
    assert!(is_version(X::VERSION), "a plugin's version is SemVer: `1.2.0`, `1.3.0-rc.1`");
    Text { bytes: [b'\n'; N], length: 0 }
        .line("name", X::NAME)
        .line("version", X::VERSION)
        .line("group", X::Plugin::GROUP)
        .contracts(X::Plugin::CONTRACTS)
        .line("rustc", env!("MIDFLIGHT_RUSTC"))
        .line("target", TARGET)
        .line("optimisation", env!("MIDFLIGHT_OPTIMISATION"))
        .line("panic", X::PANIC)
        .line("commit", X::COMMIT)
        .line("preflight_start", if X::Plugin::PREFLIGHT_START { "true" } else { "" })
        .features("cpu", X::CPU)
}

/// It becomes part of a file's name.
const NAME_BYTES_MAX: usize = 64;

const fn is_name(name: &str) -> bool {
    is_made_of(name, b"-_") && name.len() <= NAME_BYTES_MAX
}

/// `crate::Trait`
const fn is_contract(name: &str) -> bool {
    is_made_of(name, b"-_:")
}

/// Of ASCII letters and digits, and of those two or three, and of at least one.
const fn is_made_of(name: &str, others: &[u8]) -> bool {
    let (bytes, mut at) = (name.as_bytes(), 0);
    while at < bytes.len() {
        let mut is_known = bytes[at].is_ascii_alphanumeric();
        let mut other = 0;
        while other < others.len() {
            is_known |= bytes[at] == others[other];
            other += 1;
        }
        if !is_known {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

/// Counts what it has no room for: with `N` = 0 it only measures.
struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    const fn line(self, key: &str, value: &str) -> Self {
        self.push(key).push("=").push(value).end()
    }

    /// The names of those that are true.
    const fn features(mut self, key: &str, features: &[(&str, bool)]) -> Self {
        self = self.push(key).push("=");
        let (mut at, mut is_first) = (0, true);
        while at < features.len() {
            if features[at].1 {
                self = if is_first { self } else { self.push(",") };
                self = self.push(features[at].0);
                is_first = false;
            }
            at += 1;
        }
        self.end()
    }

    const fn contracts(mut self, contracts: &[(&str, &str)]) -> Self {
        self = self.push("contracts=");
        let mut at = 0;
        while at < contracts.len() {
            if at > 0 {
                self = self.push(",");
            }
            assert!(
                is_contract(contracts[at].0),
                "a contract's name, and that of its crate, is made of the letters a to z, digits, `-` and `_`"
            );
            self = self.push(contracts[at].0).push("@").push(contracts[at].1);
            at += 1;
        }
        self.end()
    }

    const fn push(mut self, text: &str) -> Self {
        let (text, mut at) = (text.as_bytes(), 0);
        while at < text.len() {
            assert!(text[at] != b'\n', "a value of the manifest is one line");
            self = self.byte(text[at]);
            at += 1;
        }
        self
    }

    const fn end(self) -> Self {
        self.byte(b'\n')
    }

    const fn byte(mut self, byte: u8) -> Self {
        if self.length < N {
            self.bytes[self.length] = byte;
        }
        self.length += 1;
        self
    }
}
