//! Everything that can cross, three levels deep, there and back.
#![allow(
    clippy::large_enum_variant,
    clippy::result_large_err,
    reason = "large values are what is tested"
)]

use midflight_plugin::{List, Map, Maybe, Period, Sink, Text, TextSink, contract, record};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

/// The innermost.
#[record]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leaf {
    /// Text.
    pub text: Text,
    /// A list of numbers, which is copied as bytes.
    pub numbers: List<u16>,
    /// Maybe text.
    pub maybe: Maybe<Text>,
    /// An enum of names.
    pub kind: Kind,
    /// A tuple struct.
    pub pair: Pair,
}

/// An enum of names.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The first.
    First,
    /// The second.
    Second,
}

/// A tuple struct of numbers.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair(pub i64, pub bool);

/// Nothing.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit;

/// The second level.
#[record]
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// No value.
    Empty,
    /// One value.
    One(Leaf),
    /// Fields.
    Many {
        /// A list.
        list: List<Leaf>,
        /// Maybe a value.
        maybe: Maybe<Leaf>,
        /// A map.
        map: Map<Text, Leaf>,
        /// An array.
        array: [Text; 2],
    },
}

/// The outermost.
#[record]
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Each number.
    pub unsigned: (),
    /// Each number.
    pub bytes: [u8; 3],
    /// Each number.
    pub small: u8,
    /// Each number.
    pub words: [u16; 0],
    /// Each number.
    pub wide: u64,
    /// Each number.
    pub size: usize,
    /// Each number.
    pub signed: [i8; 2],
    /// Each number.
    pub less: i16,
    /// Each number.
    pub middle: i32,
    /// Each number.
    pub offset: isize,
    /// Each number.
    pub float: f32,
    /// Each number.
    pub double: f64,
    /// A truth.
    pub truth: bool,
    /// A time.
    pub time: Period,
    /// What has no size.
    pub units: List<Unit>,
    /// A list of the second level.
    pub list: List<Node>,
    /// Maybe one of the second level.
    pub maybe: Maybe<Node>,
    /// A map to lists.
    pub map: Map<Leaf, List<Node>>,
    /// Lists of lists.
    pub lists: List<List<List<Text>>>,
    /// The record itself.
    pub children: List<Tree>,
}

/// A record that may grow.
#[record(growable)]
#[derive(Debug, Clone, PartialEq)]
pub struct Grown {
    /// One of the first fields.
    pub node: Node,
    /// A later one.
    #[since("1.1")]
    pub leaves: List<Leaf>,
}

/// An enum that may grow.
#[record(growable)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The first.
    First,
    /// What is unknown.
    #[unknown]
    Unknown,
    /// A later one.
    #[since("1.1")]
    Later,
}

/// A list of what may be no number, or no text.
pub type Results = Vec<Option<Result<u8, String>>>;
/// A tree of std's.
pub type Ordered = BTreeMap<String, Vec<(u64, Node)>>;
/// Tables of std's.
pub type Hashed = HashMap<(u32, bool), (BTreeSet<String>, HashSet<i8>)>;
/// What may grow, inside of what is std's.
pub type Growing = Vec<(Grown, Option<Choice>)>;
/// Everything of signatures.
pub type Std =
    (String, Results, Ordered, Hashed, Growing, (Duration, Vec<u64>, [i32; 2], Option<Tree>));

/// What gives back what it gets: the plugin's side. Each method also gives it to the host's
/// [`Keeper`].
#[contract]
pub trait Mirror {
    /// By reference.
    fn lent(&self, tree: &Tree, grown: &Grown, maybe: Option<&Leaf>)
    -> (Tree, Grown, Option<Leaf>);
    /// Borrowed lists and text.
    fn slices(&self, nodes: &[Node], numbers: &[u32], text: &str, maybe: Option<&str>) -> Slices;
    /// By value.
    fn owned(&self, tree: Tree, std: Std) -> (Tree, Std);
    /// As an error.
    fn refused(&self, nodes: List<Node>) -> Result<Unit, List<Node>>;
    /// Into the caller's memory.
    fn written(&self, text: &str, bytes: &[u8], out: TextSink<'_>, more: Sink<'_>);
}

/// What [`Mirror::slices`] gives back.
pub type Slices = (Vec<Node>, Vec<u32>, String, Option<String>);

/// What keeps what it gets: the host's side. It gives back what it got.
#[contract]
pub trait Keeper {
    /// By reference.
    fn lent(&self, tree: &Tree, grown: &Grown, maybe: Option<&Leaf>)
    -> (Tree, Grown, Option<Leaf>);
    /// Borrowed lists and text.
    fn slices(&self, nodes: &[Node], numbers: &[u32], text: &str, maybe: Option<&str>) -> Slices;
    /// By value.
    fn owned(&self, tree: Tree, std: Std) -> (Tree, Std);
    /// As an error.
    fn refused(&self, nodes: List<Node>) -> Result<Unit, List<Node>>;
    /// Into the plugin's memory.
    fn written(&self, text: &str, bytes: &[u8], out: TextSink<'_>, more: Sink<'_>);
}
