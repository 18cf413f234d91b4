midflight_plugin::contract_crate!();
use midflight_plugin::{Maybe, contract, record};

/// Each of the ways in which one tries to write a list that ends.
#[record]
pub struct Node {
    pub value: u64,
    pub next: Option<Box<Self>>,
    pub left: Option<Box<Node>>,
    pub right: Maybe<Node>,
    pub boxed: Box<Node>,
    pub itself: Node,
    pub pair: [Node; 2],
}

#[record]
pub enum Tree {
    Leaf,
    Branch(Box<Tree>, Maybe<Self>),
}

#[record(growable)]
pub struct Grows {
    pub value: u64,
    pub next: Maybe<Box<Grows>>,
}

#[record]
pub struct Wide {
    pub large: u128,
    pub signed: i128,
    pub letter: char,
    pub path: std::path::PathBuf,
    pub address: std::net::IpAddr,
}

#[contract]
pub trait Fees {
    fn letter(&self, letter: char) -> u128;
}

/// As of another crate.
pub struct Foreign(pub [u8; 16]);

#[record]
pub struct Holder {
    pub id: Foreign,
}

#[contract]
pub trait Takes {
    fn take(&self, id: Foreign);
}

fn main() {}
