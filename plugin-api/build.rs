//! What the compiler says of itself: written into the note of every plugin, for the host to
//! compare.

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = var("RUSTC").expect("cargo names the compiler");
    let version =
        Command::new(rustc).arg("--version").output().expect("the compiler says its version");
    let version = String::from_utf8(version.stdout).expect("a version is text");
    println!("cargo::rustc-env=MIDFLIGHT_RUSTC={}", version.trim());
    let level = var("OPT_LEVEL").expect("cargo sets it for build scripts");
    println!("cargo::rustc-env=MIDFLIGHT_OPTIMISATION={level}");
}
