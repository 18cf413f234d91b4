//! The same work as bare functions under their own names.
#![allow(unsafe_code, reason = "exporting under a plain name is how these peers find a function")]

/// For hot-lib-reloader, which calls by the Rust ABI.
#[unsafe(no_mangle)]
pub fn add(a: u64, b: u64) -> u64 {
    a.wrapping_add(b)
}

/// As [`add`].
#[unsafe(no_mangle)]
pub fn version() -> u64 {
    if cfg!(feature = "v2") { 2 } else { 1 }
}

/// For dynamic_reload and the bare dlopen.
#[unsafe(no_mangle)]
pub extern "C" fn bare_add(a: u64, b: u64) -> u64 {
    a.wrapping_add(b)
}

/// As [`bare_add`].
#[unsafe(no_mangle)]
pub extern "C" fn bare_version() -> u64 {
    version()
}
