//! How some builds of it are linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let link = |arguments: &[&str]| {
        for argument in arguments {
            println!("cargo::rustc-cdylib-link-arg=-Wl,{argument}");
        }
    };
    if cfg!(feature = "linked-old") {
        link(&["--hash-style=sysv", "-z,lazy", "-z,norelro", "--build-id=none", "-Bsymbolic"]);
        link(&["-z,max-page-size=65536", "-z,origin"]);
    }
    if cfg!(feature = "linked-new") {
        link(&["--hash-style=both", "-z,now", "-z,pack-relative-relocs"]);
        link(&["-z,separate-loadable-segments", "-z,max-page-size=2097152", "-z,nodefaultlib"]);
    }
}
