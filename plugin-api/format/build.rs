//! The target that the compiler is told: plugins write it into their note, hosts compare it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").expect("cargo sets it for build scripts");
    println!("cargo::rustc-env=MIDFLIGHT_TARGET={target}");
}
