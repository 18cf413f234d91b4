//! The plugin under test as a library. Its features choose the build, what it is called, and what
//! it believes the contracts to be.

#[cfg(feature = "constructor")]
mod constructor;

midflight_plugin::export!(
    cfg_select! {
        feature = "alone" => { probe::Alone }
        _ => { probe::TheProbe }
    },
    name = cfg_select! {
        feature = "other" => { "other" }
        feature = "alone" => { "alone" }
        _ => { "probe" }
    },
    version = cfg_select! {
        feature = "v2" => { "2.0.0" }
        feature = "v3" => { "3.0.0" }
        _ => { "1.0.0" }
    }
);
