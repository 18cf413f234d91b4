use midflight_plugin::record;

#[record]
pub enum Below {
    Up = -1,
    Down,
}

#[record]
pub enum Above {
    Up = 300,
    Down,
}

#[record]
pub enum OneTooMany {
    Up = 255,
    Down,
}

fn main() {}
