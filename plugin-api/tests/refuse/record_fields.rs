midflight_plugin::contract_crate!();
use midflight_plugin::{List, Text, record};
use std::collections::*;
use std::time::Duration;

#[record]
pub struct Trade {
    pub symbol: String,
    pub quantities: Vec<u64>,
    pub limit: Option<i64>,
    pub kept: &'static str,
    pub then: extern "C" fn(),
    pub boxed: Box<u64>,
    pub map: HashMap<u64, u64>,
    pub set: BTreeSet<u64>,
    pub time: Duration,
    pub clock: std::time::SystemTime,
    pub raw: *const u8,
    pub counted: std::rc::Rc<u64>,
}

#[record]
pub enum Side {
    Buy,
    Listed(List<(u64, String)>),
    Counted { by: Result<u64, Text> },
}

fn main() {}
