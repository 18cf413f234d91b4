midflight_plugin::export!(u64);

fn main() {}
