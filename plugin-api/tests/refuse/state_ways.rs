use midflight_plugin::State;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct NoState;

#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct Old;

#[derive(Serialize, Deserialize, State)]
#[state(version = 2, up = NoState)]
pub struct FromNoState;

impl From<NoState> for FromNoState {
    fn from(_: NoState) -> Self {
        FromNoState
    }
}

#[derive(Serialize, Deserialize, State)]
#[state(version = 2, up = Old)]
pub struct NoWayUp;

#[derive(Serialize, Deserialize, State)]
#[state(version = 2, down = Old)]
pub struct NoWayDown;

#[derive(State)]
#[state(version = 1)]
pub struct Unserialised;

fn main() {}
