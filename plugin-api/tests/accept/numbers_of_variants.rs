use midflight_plugin::record;

#[record]
pub enum Way {
    Up = 0,
    Down = 255,
}

fn main() {}
