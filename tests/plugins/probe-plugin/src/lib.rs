//! The plugin under test as a library. Its features choose the build, what it is called, and what it believes the contracts to be.

midflight_plugin::export!(
    probe::TheProbe,
    name = if cfg!(feature = "other") { "other" } else { "probe" },
    version = cfg_select! {
        feature = "v2" => { "2.0.0" }
        feature = "v3" => { "3.0.0" }
        _ => { "1.0.0" }
    }
);
