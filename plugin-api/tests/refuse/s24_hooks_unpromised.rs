//! What `export!` defines, by hand and without a promise.
#![forbid(unsafe_code)]

extern "C" fn target() -> usize {
    0x1000
}
midflight_plugin::__hook! { "malloc" => target; }
midflight_plugin::__hooks!();
midflight_plugin::__loaders!();
midflight_plugin::__hook_rows!([midflight_plugin::__hook]);
midflight_plugin::__answer! { "C" answer(number: u8) -> u8; }

fn main() {}
