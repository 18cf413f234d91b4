use midflight_plugin::State;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, State)]
struct Silent;

#[derive(Serialize, Deserialize, State)]
#[state(up = u32)]
struct Unnumbered;

#[derive(Serialize, Deserialize, State)]
#[state(version = 0)]
struct Zero;

#[derive(Serialize, Deserialize, State)]
#[state(version = 1, version = 2)]
struct Twice;

#[derive(Serialize, Deserialize, State)]
#[state(version = 1, sideways = u32)]
struct Sideways;

#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
struct Generic<T>(T);

fn main() {}
