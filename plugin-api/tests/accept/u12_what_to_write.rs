midflight_plugin::contract_crate!();
use midflight_plugin::{List, Text, contract, record};

#[record]
pub struct Node {
    pub value: u64,
    pub next: List<Self>,
    pub left: List<Node>,
}

#[record]
pub enum Tree {
    Leaf,
    Branch(List<Tree>, List<Self>),
}

#[record(growable)]
pub struct Grows {
    pub value: u64,
    pub next: List<Node>,
}

#[record]
pub struct Wide {
    pub large: [u64; 2],
    pub letter: u32,
    pub path: Text,
    pub bytes: List<u8>,
    pub address: [u8; 4],
}

#[contract]
pub trait Fees {
    fn letter(&self, letter: u32) -> [u64; 2];
}

/// As of another crate.
pub struct Foreign(pub [u8; 16]);

#[record]
pub struct Id {
    pub bytes: [u8; 16],
}

impl From<Foreign> for Id {
    fn from(foreign: Foreign) -> Self {
        Id { bytes: foreign.0 }
    }
}

impl From<Id> for Foreign {
    fn from(id: Id) -> Self {
        Foreign(id.bytes)
    }
}

#[contract]
pub trait Takes {
    fn take(&self, id: Id);
}

fn main() {}
