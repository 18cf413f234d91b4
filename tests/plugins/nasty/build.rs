//! What is not Rust in some builds of it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/native");
    // Linked whether or not anything of it is used.
    let need = |library: &str| {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--no-as-needed,{library},--as-needed")
    };
    if cfg!(feature = "shared-cxx") {
        need("-lstdc++");
    }
    if cfg!(feature = "shared-libstd") {
        let name = "libstd-0123456789abcdef.so";
        let library = format!("{}/{name}", std::env::var("OUT_DIR").expect("cargo names it"));
        let soname = format!("-Wl,-soname,{name}");
        let compiler = std::process::Command::new("cc")
            .args(["-shared", "-nostdlib", "-x", "c", "/dev/null", &soname, "-o", &library])
            .status();
        assert!(compiler.expect("a C compiler").success());
        need(&library);
    }
    if cfg!(feature = "nodelete") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    #[cfg(feature = "native")]
    {
        cc::Build::new().file("src/native/leaves.c").compile("leaves");
        // With no library of C++: what is left is what the language itself asks the system for.
        cc::Build::new()
            .cpp(true)
            .cpp_link_stdlib(None)
            .flags(["-std=c++17", "-fno-exceptions", "-fno-rtti"])
            .file("src/native/unique.cpp")
            .compile("unique");
    }
    #[cfg(feature = "static-tls")]
    cc::Build::new().file("src/native/static_tls.c").compile("static_tls");
}
