use midflight_plugin::State;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct Said;

#[derive(Serialize, Deserialize, State)]
#[state(version = 0x10)]
pub enum Later {
    Open,
    Closed(u32),
}

fn main() {}
