//! What is C in it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/native");
    // As of the language's standard alone, `signal` is another function than with the system's
    // extensions.
    cc::Build::new().std("c99").file("src/native/strict.c").compile("reaching_strict");
    let mut build = cc::Build::new();
    build.std("gnu11").flag("-fexceptions").file("src/native/reach.c");
    if cfg!(feature = "forbidden") {
        build.define("FORBIDDEN", None);
    }
    build.compile("reaching_native");
}
