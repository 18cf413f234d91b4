//! The plugin `rules`: one line for each version of it, of which a build takes one.

cfg_select! {
    feature = "v1" => {
        midflight_plugin::export!(game_rules::v1::Walking, name = "rules", version = "1.0.0");
    }
    _ => {
        midflight_plugin::export!(game_rules::v2::Running, name = "rules", version = "2.0.0");
    }
}
