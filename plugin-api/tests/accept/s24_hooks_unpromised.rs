//! The names of the hooks, which are no secret, and need no promise.
#![forbid(unsafe_code)]

macro_rules! counted {
    ($($symbol:literal => $target:ident;)*) => {
        [$($symbol),*].len()
    };
}

fn main() {
    let counted = midflight_plugin::__hook_rows!([counted]);
    assert_eq!(counted, midflight_plugin::rt::hooks::SYMBOLS.len());
}
