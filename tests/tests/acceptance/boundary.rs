//! The boundary: what has crossed is the receiver's own, whatever becomes of the sender.

use evolving_contracts::{
    Choice, Grown, Keeper, Kind, Leaf, Mirror, Node, Ordered, Pair, Slices, Std, Tree, Unit,
};
use midflight::{CallError, Fault, Host, Slot};
use midflight_plugin::{List, Map, Maybe, Period, Sink, Text, TextSink};
use midflight_tests::{Either, Rig, WITHIN, Way, both_ways};
use proptest::collection::{btree_map, btree_set, hash_map, hash_set, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

both_ways![
    a66_every_answer_of_a_plugin,
    a11_what_has_crossed_outlives_the_plugin,
    s01_no_bound_reaches_behind_what_has_crossed,
];

/// Through each handle.
fn a66_every_answer_of_a_plugin(way: Way) {
    let rig = Rig::serving_by(way);
    way.check_answers(&rig.probe, 1);
    let request = rig.group.request(|r| {
        way.check_answers(&r.get(&rig.probe), 1);
        Ok::<_, Fault>(())
    });
    assert_eq!(request, Ok(()));
    let lease = rig.group.lease().expect("a lease");
    way.check_answers(&lease.get(&rig.probe), 1);
    drop(lease);
    rig.end();
}

/// What one case sends.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    tree: Tree,
    grown: Grown,
    leaf: Option<Leaf>,
    nodes: Vec<Node>,
    numbers: Vec<u32>,
    text: String,
    maybe: Option<String>,
    std: Std,
    refused: List<Node>,
    bytes: Vec<u8>,
}

/// What one side has got.
#[derive(Debug, Clone, Default, PartialEq)]
struct Got {
    lent: Option<(Tree, Grown, Option<Leaf>)>,
    slices: Option<Slices>,
    owned: Option<(Tree, Std)>,
    refused: Option<List<Node>>,
    written: Option<(String, Vec<u8>)>,
}

impl Sent {
    fn as_got(&self) -> Got {
        Got {
            lent: Some((self.tree.clone(), self.grown.clone(), self.leaf.clone())),
            slices: Some((
                self.nodes.clone(),
                self.numbers.clone(),
                self.text.clone(),
                self.maybe.clone(),
            )),
            owned: Some((self.tree.clone(), self.std.clone())),
            refused: Some(self.refused.clone()),
            written: Some((self.text.clone(), self.bytes.clone())),
        }
    }
}

/// Keeps what plugins give to the host, as they gave it.
#[derive(Default)]
pub(crate) struct Keeps(Mutex<Got>);

impl Keeps {
    fn got(&self) -> std::sync::MutexGuard<'_, Got> {
        self.0.lock().expect("no panic")
    }
}

impl Keeper for Keeps {
    fn lent(
        &self,
        tree: &Tree,
        grown: &Grown,
        maybe: Option<&Leaf>,
    ) -> (Tree, Grown, Option<Leaf>) {
        self.got().lent = Some((tree.clone(), grown.clone(), maybe.cloned()));
        (tree.clone(), grown.clone(), maybe.cloned())
    }
    fn slices(&self, nodes: &[Node], numbers: &[u32], text: &str, maybe: Option<&str>) -> Slices {
        let slices: Slices = (nodes.into(), numbers.into(), text.into(), maybe.map(str::to_owned));
        self.got().slices = Some(slices.clone());
        slices
    }
    fn owned(&self, tree: Tree, std: Std) -> (Tree, Std) {
        // What arrived is kept, and a copy goes back.
        let back = (tree.clone(), std.clone());
        self.got().owned = Some((tree, std));
        back
    }
    fn refused(&self, nodes: List<Node>) -> Result<Unit, List<Node>> {
        self.got().refused = Some(nodes.clone());
        Err(nodes)
    }
    fn written(&self, text: &str, bytes: &[u8], mut out: TextSink<'_>, mut more: Sink<'_>) {
        self.got().written = Some((text.to_owned(), bytes.to_owned()));
        out.append(text);
        more.append(bytes);
    }
}

/// Random values of every type that can cross go to the plugin, from there to the host's service,
/// back to the plugin, and back. The plugin is stopped, and unloaded where it is a library. Only
/// then is any of it read, cloned, grown and dropped.
fn a11_what_has_crossed_outlives_the_plugin(way: Way) {
    for_random_values(|sent| there_and_back(way, sent));
}

/// Lists and texts that were the plugin's, in the host: with bounds that are none they are asked
/// for more than there is, while the plugin is there and when it is unloaded. The plugin does the
/// same with the host's (`refused`), in each case of `a11` as well.
fn s01_no_bound_reaches_behind_what_has_crossed(way: Way) {
    let home = tempfile::tempdir().expect("a directory");
    let builder = Host::builder()
        .provide::<dyn Keeper, _>(Arc::new(Keeps::default()))
        .provide::<dyn evolving_contracts::Host, _>(Arc::new(super::evolution::TheHost))
        .contract::<dyn Mirror>()
        .run_directory(home.path());
    let host = way.start(builder, &[Either::EVOLVING]).expect("the plugin");
    let mirror: Slot<dyn Mirror> = host.slot("evolving").expect("a slot");
    let sent = || List::from([Node::One(a_leaf()), Node::Empty, Node::One(a_leaf())]);
    let back = || match mirror.refused(sent()) {
        Err(CallError::Declined(nodes)) => nodes,
        other => panic!("not refused: {other:?}"),
    };
    let (early, late) = (back(), back());
    refuses_wrong_bounds(early, &sent());
    let status = host.shutdown(WITHIN);
    assert!(status.generations.iter().all(|record| record.residency == way.end()), "{status:?}");
    refuses_wrong_bounds(late, &sent());
}

#[expect(clippy::reversed_empty_ranges, reason = "that is a case")]
fn refuses_wrong_bounds(mut nodes: List<Node>, whole: &List<Node>) {
    let refused = |what: &mut dyn FnMut()| {
        assert!(catch_unwind(AssertUnwindSafe(what)).is_err(), "refused");
    };
    for range in [0..4, 0..200, 2..1, 4..4, 0..usize::MAX] {
        refused(&mut || drop(nodes.drain(range.clone())));
        refused(&mut || drop(nodes.edit().drain(range.clone())));
    }
    refused(&mut || nodes.insert(4, Node::Empty));
    refused(&mut || drop(nodes.remove(3)));
    refused(&mut || drop(nodes.swap_remove(3)));
    refused(&mut || nodes.reserve(usize::MAX));
    assert_eq!(nodes, *whole);
    let Node::One(leaf) = &mut nodes[0] else { panic!("a leaf") };
    refused(&mut || drop(leaf.text.drain(2..50)));
    refused(&mut || drop(leaf.text.drain(3..1)));
    refused(&mut || leaf.text.insert(9, 'x'));
    assert_eq!(leaf.text.drain(1..).collect::<String>(), "ore");
    assert_eq!(nodes.drain(1..).count(), 2);
    nodes.extend(whole.clone());
    assert_eq!(nodes.len(), 4);
}

/// The same to an object that is linked in, which is dropped.
#[test]
fn a11_what_has_crossed_outlives_a_fixed_object() {
    for_random_values(|sent| {
        let keeper = Slot::<dyn Keeper>::fixed(Keeps::default());
        let (mut text, mut bytes) = (String::new(), Vec::new());
        let lent = keeper.lent(&sent.tree, &sent.grown, sent.leaf.as_ref()).expect("no fault");
        let slices = keeper
            .slices(&sent.nodes, &sent.numbers, &sent.text, sent.maybe.as_deref())
            .expect("no fault");
        let owned = keeper.owned(sent.tree.clone(), sent.std.clone()).expect("no fault");
        let Err(CallError::Declined(refused)) = keeper.refused(sent.refused.clone()) else {
            panic!("not refused")
        };
        keeper.written(&sent.text, &sent.bytes, &mut text, &mut bytes).expect("no fault");
        drop(keeper);

        let written = Some((text, bytes));
        let back = Got {
            lent: Some(lent),
            slices: Some(slices),
            owned: Some(owned),
            refused: Some(refused),
            written,
        };
        assert_eq!(back, sent.as_got());
        assert_eq!(back.clone(), back);
        grow(back);
    });
}

fn for_random_values(check: impl Fn(&Sent)) {
    let mut runner =
        TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    runner
        .run(&sent(), |sent| {
            check(&sent);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn there_and_back(way: Way, sent: &Sent) {
    let home = tempfile::tempdir().expect("a directory");
    let keeper = Arc::new(Keeps::default());
    let builder = Host::builder()
        .provide::<dyn Keeper, _>(Arc::clone(&keeper))
        .provide::<dyn evolving_contracts::Host, _>(Arc::new(super::evolution::TheHost))
        .contract::<dyn Mirror>()
        .run_directory(home.path());
    let host = way.start(builder, &[Either::EVOLVING]).expect("the plugin");
    let mirror: Slot<dyn Mirror> = host.slot("evolving").expect("a slot");

    let (mut text, mut bytes) = (String::from("before "), vec![1, 2, 3]);
    let lent = mirror.lent(&sent.tree, &sent.grown, sent.leaf.as_ref()).expect("no fault");
    let slices = mirror
        .slices(&sent.nodes, &sent.numbers, &sent.text, sent.maybe.as_deref())
        .expect("no fault");
    let owned = mirror.owned(sent.tree.clone(), sent.std.clone()).expect("no fault");
    let Err(CallError::Declined(refused)) = mirror.refused(sent.refused.clone()) else {
        panic!("not refused")
    };
    mirror.written(&sent.text, &sent.bytes, &mut text, &mut bytes).expect("no fault");

    let status = host.shutdown(WITHIN);
    assert!(status.generations.iter().all(|record| record.residency == way.end()), "{status:?}");

    assert_eq!(text, format!("before {0}{0}", sent.text));
    assert_eq!(bytes, [&[1, 2, 3][..], &sent.bytes, &sent.bytes].concat());
    let written = Some((sent.text.clone(), sent.bytes.clone()));
    let back = Got {
        lent: Some(lent),
        slices: Some(slices),
        owned: Some(owned),
        refused: Some(refused),
        written,
    };
    for got in [back, std::mem::take(&mut *keeper.got())] {
        assert_eq!(got, sent.as_got());
        assert_eq!(got.clone(), got);
        grow(got);
    }
}

/// Adds to everything that can take more.
fn grow(mut got: Got) {
    let (tree, grown, leaf) = got.lent.as_mut().expect("what was lent");
    grow_tree(tree);
    grow_node(&mut grown.node);
    grown.leaves.push(a_leaf());
    leaf.iter_mut().for_each(grow_leaf);
    let (nodes, numbers, text, maybe) = got.slices.as_mut().expect("slices");
    nodes.iter_mut().for_each(grow_node);
    nodes.push(Node::Empty);
    numbers.extend(0..100);
    text.push_str(&"more ".repeat(20));
    maybe.iter_mut().for_each(|text| text.push_str("more"));
    let (tree, (text, results, ordered, hashed, growing, (_, numbers, _, maybe))) =
        got.owned.as_mut().expect("what was owned");
    grow_tree(tree);
    text.push_str("more");
    results.push(Some(Err("more".into())));
    for (key, list) in std::mem::take(ordered) {
        ordered.insert(key + "more", list);
    }
    for (ordered, hashed) in hashed.values_mut() {
        ordered.insert("more".into());
        hashed.extend(0..100);
    }
    hashed.extend((0..100).map(|number| ((number, true), Default::default())));
    growing.iter_mut().for_each(|(grown, _)| grow_node(&mut grown.node));
    numbers.extend(0..100);
    maybe.iter_mut().for_each(grow_tree);
    got.refused.as_mut().expect("what was refused").iter_mut().for_each(grow_node);
}

fn grow_tree(tree: &mut Tree) {
    tree.units.push(Unit);
    tree.list.iter_mut().for_each(grow_node);
    tree.list.push(Node::One(a_leaf()));
    tree.map.insert(a_leaf(), List::new());
    let maps = std::mem::take(&mut tree.map);
    tree.map = maps
        .into_iter()
        .map(|(mut key, value)| {
            grow_leaf(&mut key);
            (key, value)
        })
        .collect();
    tree.lists.iter_mut().for_each(|lists| lists.push(List::new()));
    tree.children.iter_mut().for_each(grow_tree);
    let child = tree.clone();
    tree.children.push(child);
}

fn grow_node(node: &mut Node) {
    match node {
        Node::Empty => {}
        Node::One(leaf) => grow_leaf(leaf),
        Node::Many { list, maybe, map, array } => {
            list.iter_mut().for_each(grow_leaf);
            array.iter_mut().for_each(|text| text.push_str("more"));
            list.push(a_leaf());
            *maybe = Maybe::Some(a_leaf());
            map.insert("more".into(), a_leaf());
        }
    }
}

fn grow_leaf(leaf: &mut Leaf) {
    leaf.text.push_str("and more than there was room for");
    leaf.numbers.extend(0..100);
    leaf.maybe = Maybe::Some("more".into());
}

fn a_leaf() -> Leaf {
    Leaf {
        text: "more".into(),
        numbers: List::new(),
        maybe: None.into(),
        kind: Kind::First,
        pair: Pair(0, true),
    }
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![Just(String::new()), ".{1,8}", "[a-c]{30}"].boxed()
}

fn own_text() -> BoxedStrategy<Text> {
    text().prop_map(Text::from).boxed()
}

fn list<T: Strategy<Value: 'static> + 'static>(of: T) -> BoxedStrategy<List<T::Value>> {
    vec(of, 0..4).prop_map(List::from).boxed()
}

fn leaf() -> BoxedStrategy<Leaf> {
    let maybe = proptest::option::of(own_text()).prop_map(Maybe::from);
    let kind = prop_oneof![Just(Kind::First), Just(Kind::Second)];
    let numbers = list(any::<u16>());
    let parts = (own_text(), numbers, maybe, kind, any::<(i64, bool)>());
    parts
        .prop_map(|(text, numbers, maybe, kind, (number, truth))| Leaf {
            text,
            numbers,
            maybe,
            kind,
            pair: Pair(number, truth),
        })
        .boxed()
}

fn node() -> BoxedStrategy<Node> {
    let map = btree_map(own_text(), leaf(), 0..3).prop_map(Map::from);
    let maybe = proptest::option::of(leaf()).prop_map(Maybe::from);
    let many = (list(leaf()), maybe, map, [own_text(), own_text()]);
    prop_oneof![
        Just(Node::Empty),
        leaf().prop_map(Node::One),
        many.prop_map(|(list, maybe, map, array)| Node::Many { list, maybe, map, array }),
    ]
    .boxed()
}

fn tree() -> BoxedStrategy<Tree> {
    tree_without_children()
        .prop_flat_map(|tree| {
            vec(tree_without_children(), 0..2)
                .prop_map(move |children| Tree { children: children.into(), ..tree.clone() })
        })
        .boxed()
}

fn tree_without_children() -> BoxedStrategy<Tree> {
    let numbers = any::<([u8; 3], u8, u64, usize, [i8; 2], i16, i32, isize, bool)>();
    let floats = (
        proptest::num::f32::NORMAL,
        proptest::num::f64::ANY.prop_filter("equal to itself", |float| !float.is_nan()),
    );
    let map = btree_map(leaf(), list(node()), 0..2).prop_map(Map::from);
    let maybe = proptest::option::of(node()).prop_map(Maybe::from);
    let nested =
        (list(node()), maybe, map, list(list(list(own_text()))), 0..5_usize, any::<Duration>());
    (numbers, floats, nested)
        .prop_map(|(numbers, (float, double), (list, maybe, map, lists, units, time))| {
            let (bytes, small, wide, size, signed, less, middle, offset, truth) = numbers;
            Tree {
                unsigned: (),
                bytes,
                small,
                words: [],
                wide,
                size,
                signed,
                less,
                middle,
                offset,
                float,
                double,
                truth,
                time: Period::from(time),
                units: std::iter::repeat_n(Unit, units).collect(),
                list,
                maybe,
                map,
                lists,
                children: List::new(),
            }
        })
        .boxed()
}

fn grown() -> BoxedStrategy<Grown> {
    (node(), list(leaf())).prop_map(|(node, leaves)| Grown { node, leaves }).boxed()
}

fn std_values() -> BoxedStrategy<Std> {
    let results = vec(proptest::option::of(proptest::result::maybe_ok(any::<u8>(), text())), 0..4);
    let ordered = btree_map(text(), vec((any::<u64>(), node()), 0..3), 0..3)
        .prop_map(|map| -> Ordered { map });
    let hashed = hash_map(
        any::<(u32, bool)>(),
        (btree_set(text(), 0..3), hash_set(any::<i8>(), 0..4)),
        0..3,
    );
    let choice = prop_oneof![Just(Choice::First), Just(Choice::Unknown), Just(Choice::Later)];
    let growing = vec((grown(), proptest::option::of(choice)), 0..3);
    let rest = (
        any::<Duration>(),
        vec(any::<u64>(), 0..20),
        any::<[i32; 2]>(),
        proptest::option::of(tree()),
    );
    (text(), results, ordered, hashed, growing, rest).boxed()
}

fn sent() -> BoxedStrategy<Sent> {
    let lent = (tree(), grown(), proptest::option::of(leaf()));
    let slices = (vec(node(), 0..4), vec(any::<u32>(), 0..9), text(), proptest::option::of(text()));
    (lent, slices, std_values(), list(node()), vec(any::<u8>(), 0..100))
        .prop_map(|((tree, grown, leaf), (nodes, numbers, text, maybe), std, refused, bytes)| {
            Sent { tree, grown, leaf, nodes, numbers, text, maybe, std, refused, bytes }
        })
        .boxed()
}
