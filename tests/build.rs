//! One of the programs exports all that it defines, as hosts do that are linked with `-rdynamic`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bin=exporting=-Wl,--export-dynamic");
}
