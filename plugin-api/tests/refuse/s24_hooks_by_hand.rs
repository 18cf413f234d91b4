//! What `export!` defines, by hand: it is `unsafe`, and the author's.
#![forbid(unsafe_code)]

mod all {
    midflight_plugin::__hooks!(unsafe { midflight_plugin::rt::hooks::OfExport::promised() });
}

mod one {
    extern "C" fn target() -> usize {
        0x1000
    }
    midflight_plugin::__hook! {
        unsafe { midflight_plugin::rt::hooks::OfExport::promised() };
        "malloc" => target;
    }
}

mod loaders {
    midflight_plugin::__loaders!(unsafe { midflight_plugin::rt::hooks::OfExport::promised() });
}

fn main() {}
