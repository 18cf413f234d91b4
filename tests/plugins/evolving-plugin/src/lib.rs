//! The plugin of the evolving contracts as a library. Its features choose the version of the
//! contracts.

midflight_plugin::export!(
    evolving::TheEvolving,
    name = "evolving",
    version = cfg_select! {
        feature = "older" => { "1.0.0" }
        feature = "newer" => { "1.2.0" }
        _ => { "1.1.0" }
    }
);
