//! relib's bindings, as its guide has them.

fn main() {
    relib_interface::module::generate(
        bench_relib_shared::EXPORTS,
        "bench_relib_shared::exports::Exports",
        bench_relib_shared::IMPORTS,
        "bench_relib_shared::imports::Imports",
    );
}
