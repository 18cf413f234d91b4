use midflight_plugin::State;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, State)]
#[state(version = 2)]
pub struct Old;

#[derive(Serialize, Deserialize, State)]
#[state(version = 3, up = Old, down = Old)]
pub struct New;

impl From<Old> for New {
    fn from(_: Old) -> Self {
        New
    }
}

impl From<&New> for Old {
    fn from(_: &New) -> Self {
        Old
    }
}

fn main() {}
