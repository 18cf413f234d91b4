midflight_plugin::contract_crate!();
use midflight_plugin::{List, Map, Maybe, Period, Text, record};

#[record]
#[derive(Debug, Clone)]
pub struct Trade {
    pub symbol: Text,
    pub quantities: List<u64>,
    pub limit: Maybe<i64>,
    pub venue: [u8; 4],
    pub side: Side,
    pub children: List<Self>,
    pub map: Map<u64, Map<Text, List<Self>>>,
    pub set: Map<u64, ()>,
    pub time: Period,
    #[cfg(any())]
    pub never: String,
}

#[record]
#[derive(Debug, Clone)]
pub enum Side {
    Buy,
    Counted(u64, Text),
    Auction { minutes: u16 },
}

#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    Up = 3,
    Down,
}

#[record]
pub struct Pair(u64, pub Way);

#[record]
pub struct Nothing;

fn main() {}
