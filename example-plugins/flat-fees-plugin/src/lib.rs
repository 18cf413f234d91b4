//! The plugin `flat-fees`: one line for each version of it, of which a build takes one.
//!
//! A crate of its own, because what `export!` adds to a library stands before the C library's
//! functions in a program that links it: `cargo build --release -p flat-fees-plugin --features v1`.

cfg_select! {
    feature = "v1" => {
        midflight_plugin::export!(flat_fees::v1::FlatFees, name = "flat-fees", version = "1.0.0");
    }
    feature = "panics" => {
        midflight_plugin::export!(flat_fees::bad::Panics, name = "flat-fees", version = "2.1.0");
    }
    feature = "start-fails" => {
        midflight_plugin::export!(flat_fees::bad::StartFails, name = "flat-fees", version = "2.2.0");
    }
    feature = "start-hangs" => {
        midflight_plugin::export!(flat_fees::bad::StartHangs, name = "flat-fees", version = "2.3.0");
    }
    feature = "changed-record" => {
        midflight_plugin::export!(flat_fees::v2::FlatFees, name = "flat-fees", version = "2.4.0");
    }
    _ => {
        midflight_plugin::export!(flat_fees::v2::FlatFees, name = "flat-fees", version = "2.0.0");
    }
}
