//! The same work as a module of relib.
#![allow(
    unsafe_code,
    missing_docs,
    unused,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    reason = "relib generates code here"
)]

use bench_relib_shared::exports::Exports;

relib_interface::include_exports!();
relib_interface::include_imports!();

// Every module has one, by relib's guide; it also brings the library in that tells the host what
// built it.
#[relib_module::export]
fn main() {}

impl Exports for gen_exports::ModuleExportsImpl {
    fn add(a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }

    fn version() -> u64 {
        if cfg!(feature = "v2") { 2 } else { 1 }
    }
}
