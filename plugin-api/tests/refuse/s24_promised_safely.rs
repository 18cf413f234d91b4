//! What `export!` defines, by hand and with a promise that is none.
#![forbid(unsafe_code)]
use midflight_plugin::rt::hooks::OfExport;

extern "C" fn target() -> usize {
    0x1000
}

mod safe {
    use super::{OfExport, target};
    midflight_plugin::__hook! { OfExport::promised(); "malloc" => target; }
}

mod made {
    use super::{OfExport, target};
    midflight_plugin::__hook! { OfExport(()); "malloc" => target; }
}

mod another {
    use super::target;
    midflight_plugin::__hook! { (); "malloc" => target; }
}

/// By the names that the macro says, and that are the author's here.
mod hooks {
    pub use std::ptr::write;
}
fn site() -> *mut u64 {
    std::ptr::null_mut()
}
midflight_plugin::__answer! { (); "C" write(value: u64) -> (); }

fn main() {}
