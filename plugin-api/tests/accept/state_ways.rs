use midflight_plugin::State;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct Old;

#[derive(Serialize, Deserialize, State)]
#[state(version = 2, up = Old)]
pub struct Up;

impl From<Old> for Up {
    fn from(_: Old) -> Self {
        Up
    }
}

#[derive(Serialize, Deserialize, State)]
#[state(version = 2, down = Old)]
pub struct Down;

impl TryFrom<&Down> for Old {
    type Error = &'static str;
    fn try_from(_: &Down) -> Result<Self, &'static str> {
        Err("not today")
    }
}

fn main() {}
