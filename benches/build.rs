//! relib's bindings, as its guide has them.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    relib_interface::host::generate(
        bench_relib_shared::EXPORTS,
        "bench_relib_shared::exports::Exports",
        bench_relib_shared::IMPORTS,
        "bench_relib_shared::imports::Imports",
    );
}
