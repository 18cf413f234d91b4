//! `export!` where the author has macros and crates of the names that it could find its own by.
#![forbid(unsafe_code)]
#![allow(missing_debug_implementations, missing_docs, unreachable_pub)]
#![allow(unused_extern_crates, unused_macros)]

// Neither has what the names stand for.
extern crate midflight_rewrites as core;
extern crate midflight_rewrites as std;

/// Takes nothing, so that who uses one doesn't compile.
macro_rules! taken {
    ($($name:ident)*) => {
        $(
            macro_rules! $name {
                (nothing) => {};
            }
        )*
    };
}
taken! {
    addr_of asm assert assert_eq cfg column compile_error concat const_format_args debug_assert env
    file format format_args global_asm include include_bytes include_str line matches module_path
    naked_asm offset_of option_env panic ready stringify thread_local todo unimplemented
    unreachable vec write
    __answer __hook __hook_rows __hooks __loaders cpu_detected cpu_features cpu_names export
}

mod flat {
    use midflight_plugin::{Context, Plugin, StartError};

    #[midflight_plugin::contract]
    pub trait Fees {
        fn fee(&self, text: &str) -> u64;
    }

    #[midflight_plugin::plugin(implements(Fees))]
    pub struct Flat;

    impl Fees for Flat {
        fn fee(&self, text: &str) -> u64 {
            text.len() as u64
        }
    }

    impl Plugin for Flat {
        fn start(_: &Context<'_>) -> Result<Self, StartError> {
            Ok(Flat)
        }
    }
}

midflight_plugin::export!(flat::Flat, name = "flat", version = "1.0.0");

/// It compiles, so that the hooks are made of nothing of the author's.
#[test]
fn s23_export_finds_nothing_of_the_authors() {}
