//! A hook by hand, by one who promises.
use midflight_plugin::rt::hooks::OfExport;

extern "C" fn target() -> usize {
    0x1000
}
// SAFETY: nothing else is of that name.
midflight_plugin::__hook! { unsafe { OfExport::promised() }; "midflight_test_symbol" => target; }

fn main() {
    assert_eq!(KEPT.len(), 1);
}
