//! Calls through generated code, with no library in between: what each side gets, and what a panic
//! leaves behind.

// The gate of the test holds what it enters by owning it.
#![allow(unsafe_code, missing_docs)]

use midflight_plugin::rt::{self, Bound, Gate, Origin, RawService};
use midflight_plugin::{
    CallError, Contract, Fault, List, Map, Maybe, PanicReport, Period, Portable, Sink, Text,
    TextSink, contract, record,
};
use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, DefaultHasher};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

// What the derive of `Brittle`'s layout names.
extern crate abi as abi_stable;

#[record]
#[derive(Debug, Clone, PartialEq)]
pub struct Trade {
    symbol: Text,
    quantity: u32,
    tags: List<Text>,
    fills: List<u64>,
    limit: Maybe<i64>,
    side: Side,
}

#[record]
#[derive(Debug, Clone, PartialEq)]
pub enum Side {
    Buy,
    Auction { minutes: u16, venue: Text },
    Times(List<Pair>),
}

#[record]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair(u32, Way);

#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    Up = 7,
    Down,
}

#[record]
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    Unknown(Text),
    Closed,
}

#[contract]
pub trait Every {
    fn nothing(&self);
    fn numbers(&self, a: bool, b: i8, c: u64, d: f64, e: (), f: [u16; 3]) -> f64;
    fn text(&self, text: &str) -> String;
    fn slice(&self, numbers: &[u64], texts: &[Text]) -> u64;
    fn lent(&self, trade: &Trade) -> Trade;
    fn owned(&self, trade: Trade, pair: Pair, way: Way) -> Trade;
    fn std(
        &self,
        text: String,
        list: Vec<String>,
        maybe: Option<Pair>,
        either: Result<u8, Text>,
    ) -> Vec<String>;
    fn optional(&self, text: Option<String>) -> Option<Vec<Option<String>>>;
    fn refused(&self, text: &str) -> Result<Trade, Refused>;
    fn nested(&self) -> Option<Result<u64, String>>;
    /// Addresses: of what was lent, of what was handed over, and of the text that goes back.
    fn addresses(
        &self,
        lent: &Trade,
        text: &str,
        owned: Trade,
        string: String,
        numbers: Vec<u64>,
    ) -> Vec<usize>;
    fn leak_address(&self) -> String;
    fn panics(&self, how: How) -> u64;
    fn panics_refused(&self) -> Result<u64, Refused>;
    fn brittle(&self, list: List<Brittle>, other: String) -> u64;
    fn brittle_result(&self, at: u32) -> List<Brittle>;
    fn tuples(&self, pair: (u8, String), deep: Vec<Deep>) -> Six;
    fn duration(&self, duration: Duration) -> Duration;
    fn maps(
        &self,
        ordered: BTreeMap<String, Vec<u64>>,
        hashed: HashMap<Way, BTreeSet<i8>, Backwards>,
        set: HashSet<(u8, u8)>,
    ) -> Maps;
    fn map(&self, lent: &Settings, owned: Settings) -> Settings;
    fn maybe_lent(
        &self,
        text: Option<&str>,
        list: Option<&[u32]>,
        trade: Option<&Trade>,
    ) -> Vec<Option<usize>>;
    fn write(&self, times: usize, text: TextSink<'_>, bytes: Sink<'_>);
}

type Maps = (BTreeMap<String, Vec<u64>>, HashMap<Way, BTreeSet<i8>, Backwards>, HashSet<(u8, u8)>);
type Deep = (Trade, Option<(u64, (i8, bool))>);
type Six = (u8, u8, u8, String, Trade, (u8, u8, u8, u8, u8));

/// An order and a hash of the test's own.
#[derive(Default, Clone)]
pub struct Backwards;
impl BuildHasher for Backwards {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        DefaultHasher::new()
    }
}

#[record]
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    limits: Map<Text, List<u64>>,
    by_way: Map<Way, Map<u8, Text>>,
    timeout: Period,
    nothing: [Period; 0],
    units: List<()>,
}

#[record]
#[derive(Debug, Clone, Copy)]
pub enum How {
    Text,
    Formatted,
    Resumed,
    NoText,
    Bomb,
}

struct Instance {
    rate: u64,
    address: AtomicUsize,
}

impl Every for Instance {
    fn nothing(&self) {}
    fn numbers(&self, a: bool, b: i8, c: u64, d: f64, (): (), f: [u16; 3]) -> f64 {
        f64::from(u8::from(a))
            + f64::from(b)
            + c as f64
            + d
            + f64::from(f.iter().sum::<u16>())
            + self.rate as f64
    }
    fn text(&self, text: &str) -> String {
        text.to_uppercase()
    }
    fn slice(&self, numbers: &[u64], texts: &[Text]) -> u64 {
        numbers.iter().sum::<u64>() + texts.iter().map(|text| text.len() as u64).sum::<u64>()
    }
    fn lent(&self, trade: &Trade) -> Trade {
        Trade { quantity: trade.quantity * 2, ..trade.clone() }
    }
    fn owned(&self, mut trade: Trade, pair: Pair, way: Way) -> Trade {
        // What arrives is the callee's own: it can be changed and grown.
        trade.tags.push("grown".into());
        trade.symbol.push_str(" and more than there was room for at first");
        trade.side = Side::Times([pair, Pair(2, way)].into_iter().collect());
        trade
    }
    fn std(
        &self,
        text: String,
        mut list: Vec<String>,
        maybe: Option<Pair>,
        either: Result<u8, Text>,
    ) -> Vec<String> {
        list.push(format!("{text} {maybe:?} {either:?}"));
        list
    }
    fn optional(&self, text: Option<String>) -> Option<Vec<Option<String>>> {
        text.map(|text| vec![None, Some(text)])
    }
    fn refused(&self, text: &str) -> Result<Trade, Refused> {
        match text {
            "closed" => Err(Refused::Closed),
            "fine" => Ok(trade()),
            other => Err(Refused::Unknown(other.into())),
        }
    }
    fn nested(&self) -> Option<Result<u64, String>> {
        Some(Err("inner".into()))
    }
    fn addresses(
        &self,
        lent: &Trade,
        text: &str,
        owned: Trade,
        string: String,
        numbers: Vec<u64>,
    ) -> Vec<usize> {
        let owned = [
            owned.symbol.as_ptr().addr(),
            owned.tags[0].as_ptr().addr(),
            owned.fills.as_ptr().addr(),
        ];
        let lent = [lent.symbol.as_ptr().addr(), text.as_ptr().addr()];
        lent.into_iter()
            .chain(owned)
            .chain([string.as_ptr().addr(), numbers.as_ptr().addr()])
            .collect()
    }
    fn leak_address(&self) -> String {
        let text = String::from("going back");
        self.address.store(text.as_ptr().addr(), SeqCst);
        text
    }
    fn panics(&self, how: How) -> u64 {
        match how {
            How::Text => panic!("plain"),
            How::Formatted => panic!("{} and {}", how as u8, self.rate),
            How::Resumed => resume_unwind(Box::new(String::from("resumed"))),
            How::NoText => panic_any(5_u8),
            How::Bomb => panic_any(Bomb(3)),
        }
    }
    fn panics_refused(&self) -> Result<u64, Refused> {
        panic!("no answer")
    }
    fn brittle(&self, list: List<Brittle>, other: String) -> u64 {
        list.len() as u64 + other.len() as u64
    }
    fn brittle_result(&self, at: u32) -> List<Brittle> {
        (0..5).map(|number| Brittle::new(number, at)).collect()
    }
    fn tuples(&self, pair: (u8, String), deep: Vec<Deep>) -> Six {
        let (trade, rest) = deep.into_iter().last().unwrap();
        assert_eq!(rest, Some((9, (-1, true))));
        (pair.0, 2, 3, pair.1, trade, (1, 2, 3, 4, 5))
    }
    fn duration(&self, duration: Duration) -> Duration {
        duration * 2
    }
    fn maps(
        &self,
        mut ordered: BTreeMap<String, Vec<u64>>,
        mut hashed: HashMap<Way, BTreeSet<i8>, Backwards>,
        mut set: HashSet<(u8, u8)>,
    ) -> Maps {
        ordered.entry("a".into()).or_default().push(1);
        hashed.entry(Way::Up).or_default().insert(-1);
        set.insert((0, 0));
        (ordered, hashed, set)
    }
    fn map(&self, lent: &Settings, mut owned: Settings) -> Settings {
        for (key, value) in lent.limits.iter() {
            owned.limits.insert(key.clone(), value.clone());
        }
        owned.timeout = (Duration::from(owned.timeout) + Duration::from(lent.timeout)).into();
        owned.units.push(());
        owned
    }
    fn maybe_lent(
        &self,
        text: Option<&str>,
        list: Option<&[u32]>,
        trade: Option<&Trade>,
    ) -> Vec<Option<usize>> {
        let addresses = [
            text.map(|text| text.as_ptr().addr()),
            list.map(|list| list.as_ptr().addr()),
            trade.map(|trade| (&raw const *trade).addr()),
        ];
        addresses.into()
    }
    fn write(&self, times: usize, mut text: TextSink<'_>, mut bytes: Sink<'_>) {
        for time in 0..times {
            write!(text, "{time},").unwrap();
            bytes.by_ref().append(&[time as u8]);
            bytes.write_all(&[0, 255]).unwrap();
        }
        assert!(times != 13, "enough");
    }
}

/// A payload whose Drop panics, with a payload whose Drop panics, and so on.
struct Bomb(u8);
impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            resume_unwind(Box::new(Bomb(self.0 - 1)));
        }
    }
}

thread_local! { static ALIVE: Cell<i64> = const { Cell::new(0) }; }
/// So that a value that is dropped twice, or not at all, can be seen.
static BRITTLE_BORN: AtomicI64 = AtomicI64::new(0);

/// Panics when it is rebuilt. (A record can't have a Drop; this one says by hand that it is
/// portable.)
#[repr(C)]
#[derive(abi::StableAbi, Debug)]
pub struct Brittle {
    number: u32,
    breaks_at: u32,
}
impl Brittle {
    fn new(number: u32, breaks_at: u32) -> Self {
        BRITTLE_BORN.fetch_add(1, SeqCst);
        ALIVE.set(ALIVE.get() + 1);
        Brittle { number, breaks_at }
    }
}
impl Drop for Brittle {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}
// SAFETY: as abi_stable's derive says.
unsafe impl rt::LaidOut for Brittle {
    // SAFETY: as above.
    const LAYOUT: rt::LayoutOf<Self> =
        unsafe { rt::LayoutOf::promised(<Self as abi::StableAbi>::LAYOUT) };
}
// SAFETY: two numbers, and `reown` is careful.
unsafe impl Portable for Brittle {
    fn reown(self) -> Self {
        assert!(self.number != self.breaks_at, "number {} breaks", self.number);
        Brittle::new(self.number, self.breaks_at)
    }
}

/// Owns the instance that it serves, and remembers what was called.
struct Served<T> {
    bound: Bound,
    called: Cell<Option<u16>>,
    _owned: (Box<T>, Box<Origin>),
}

impl<T: Send + Sync + 'static> Served<T> {
    fn new<C: rt::ImplementedBy<T> + ?Sized>(instance: T) -> Self {
        rt::use_host_panics();
        let instance = Box::new(instance);
        let origin = Box::new(Origin::new("flat-fees", "1.0.0", 3));
        let raw = RawService::of::<C, T>(&instance);
        let bound = Bound { this: raw.this, table: raw.table, origin: &raw const *origin };
        Served { bound, called: Cell::new(None), _owned: (instance, origin) }
    }
}

// SAFETY: `new` pairs instance and table, and what they are lives in boxes for as long as the gate
// is borrowed.
unsafe impl<T> Gate for &Served<T> {
    fn enter<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        self.called.set(Some(method));
        f(&self.bound)
    }
}

fn instance() -> Served<Instance> {
    Served::new::<dyn Every>(Instance { rate: 3, address: AtomicUsize::new(0) })
}

fn calls(served: &Served<Instance>) -> EveryCalls<&Served<Instance>> {
    // SAFETY: made by `instance`, for this contract.
    unsafe { <dyn Every>::proxy(served) }
}

fn trade() -> Trade {
    Trade {
        symbol: "ABC".into(),
        quantity: 7,
        tags: ["first", "second"].map(Text::from).into_iter().collect(),
        fills: vec![3, 4].into(),
        limit: Maybe::Some(-1),
        side: Side::Auction { minutes: 5, venue: "X".into() },
    }
}

fn report(fault: Fault) -> PanicReport {
    match fault {
        Fault::Panicked(report) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_argument_and_result_arrives() {
    let served = instance();
    let every = calls(&served);
    assert_eq!(every.nothing(), Ok(()));
    assert_eq!(
        every.numbers(true, -2, 10, 0.5, (), [1, 2, 3]),
        Ok(1.0 - 2.0 + 10.0 + 0.5 + 6.0 + 3.0)
    );
    assert_eq!(every.text("abc é"), Ok("ABC É".into()));
    assert_eq!(every.text(""), Ok(String::new()));
    assert_eq!(every.slice(&[1, 2], &["abc".into()]), Ok(6));
    assert_eq!(every.slice(&[], &[]), Ok(0));
    assert_eq!(every.lent(&trade()), Ok(Trade { quantity: 14, ..trade() }));

    let grown = every.owned(trade(), Pair(1, Way::Up), Way::Down).unwrap();
    assert_eq!(grown.symbol, "ABC and more than there was room for at first");
    assert_eq!(grown.tags.last().unwrap(), "grown");
    assert_eq!(grown.side, Side::Times(vec![Pair(1, Way::Up), Pair(2, Way::Down)].into()));

    let std = every.std("a".into(), vec!["b".into()], Some(Pair(1, Way::Up)), Err("no".into()));
    assert_eq!(std.unwrap(), ["b", "a Some(Pair(1, Up)) Err(\"no\")"]);
    assert_eq!(every.std(String::new(), vec![], None, Ok(4)).unwrap(), [" None Ok(4)"]);
    assert_eq!(every.optional(None), Ok(None));
    assert_eq!(every.optional(Some("x".into())), Ok(Some(vec![None, Some("x".into())])));
    assert_eq!(every.nested(), Ok(Some(Err("inner".into()))));
}

#[test]
fn a_methods_own_error_is_not_a_fault() {
    let served = instance();
    let every = calls(&served);
    assert_eq!(every.refused("fine"), Ok(trade()));
    assert_eq!(every.refused("closed"), Err(CallError::Declined(Refused::Closed)));
    assert_eq!(every.refused("X"), Err(CallError::Declined(Refused::Unknown("X".into()))));
    let Err(CallError::Fault(fault)) = every.panics_refused() else { panic!("no fault") };
    assert_eq!(report(fault).message, "no answer");
}

#[test]
fn the_receiver_owns_what_it_gets_and_what_is_lent_is_not_copied() {
    let served = instance();
    let every = calls(&served);
    let (lent, text) = (trade(), String::from("lent"));
    let (owned, string, numbers) = (trade(), String::from("handed over"), vec![1, 2, 3]);
    let sent = [
        lent.symbol.as_ptr().addr(),
        text.as_ptr().addr(),
        owned.symbol.as_ptr().addr(),
        owned.tags[0].as_ptr().addr(),
        owned.fills.as_ptr().addr(),
        string.as_ptr().addr(),
        numbers.as_ptr().addr(),
    ];
    let received = every.addresses(&lent, &text, owned, string, numbers).unwrap();
    assert_eq!(received[..2], sent[..2], "lent");
    for (number, (received, sent)) in received.iter().zip(sent).enumerate().skip(2) {
        assert_ne!(*received, sent, "argument {number} is the sender's memory still");
    }

    let answer = every.leak_address().unwrap();
    assert_ne!(
        answer.as_ptr().addr(),
        served._owned.0.address.load(SeqCst),
        "the result is the callee's memory still"
    );
    assert_eq!(answer, "going back");
}

#[test]
fn a_panic_is_a_fault_with_its_text_and_whose_it_is() {
    let served = instance();
    let every = calls(&served);
    let expected = |message: &str| PanicReport {
        plugin: "flat-fees".into(),
        version: "1.0.0".into(),
        generation: 3,
        message: message.into(),
        location: String::new(), // no hook is set in this binary
        frames: Vec::new(),
    };
    assert_eq!(report(every.panics(How::Text).unwrap_err()), expected("plain"));
    assert_eq!(report(every.panics(How::Formatted).unwrap_err()), expected("1 and 3"));
    assert_eq!(report(every.panics(How::Resumed).unwrap_err()), expected("resumed"));
    assert_eq!(
        report(every.panics(How::NoText).unwrap_err()),
        expected("a payload that is no text")
    );
    // One panic's text is not left for the next.
    assert_eq!(every.nothing(), Ok(()));
    assert_eq!(
        report(every.panics(How::NoText).unwrap_err()),
        expected("a payload that is no text")
    );
}

#[test]
fn payloads_whose_drops_panic_stay_inside() {
    let served = instance();
    let every = calls(&served);
    for _ in 0..3 {
        assert_eq!(
            report(every.panics(How::Bomb).unwrap_err()).message,
            "a payload that is no text"
        );
    }
    assert_eq!(every.nothing(), Ok(()));
}

#[test]
fn a_panic_while_an_argument_is_rebuilt_is_the_callees_and_drops_each_value_once() {
    let served = instance();
    let every = calls(&served);
    let before = ALIVE.get();
    let list =
        |breaks_at| (0..5).map(|number| Brittle::new(number, breaks_at)).collect::<List<_>>();
    assert_eq!(every.brittle(list(99), "four".into()), Ok(9));
    assert_eq!(ALIVE.get(), before);
    for breaks_at in 0..5 {
        let fault = every.brittle(list(breaks_at), "four".into()).unwrap_err();
        assert_eq!(report(fault).message, format!("number {breaks_at} breaks"));
        assert_eq!(ALIVE.get(), before, "at {breaks_at}");
    }
}

#[test]
fn a_panic_while_a_result_is_rebuilt_is_the_callers_and_drops_each_value_once() {
    let served = instance();
    let every = calls(&served);
    let before = ALIVE.get();
    assert_eq!(every.brittle_result(99).unwrap().len(), 5);
    for breaks_at in 0..5 {
        let payload: Box<dyn Any + Send> =
            catch_unwind(AssertUnwindSafe(|| every.brittle_result(breaks_at))).unwrap_err();
        assert_eq!(
            payload.downcast_ref::<String>().unwrap(),
            &format!("number {breaks_at} breaks")
        );
        assert_eq!(ALIVE.get(), before, "at {breaks_at}");
    }
    assert!(BRITTLE_BORN.load(SeqCst) > 0);
}

#[test]
fn a_contract_says_its_name_its_version_and_its_methods() {
    assert_eq!(<dyn Every>::NAME, "midflight-plugin::Every");
    assert_eq!(<dyn Every>::VERSION, env!("CARGO_PKG_VERSION"));
    assert_eq!(<dyn Every>::METHODS[..3], ["nothing", "numbers", "text"]);
    let served = instance();
    let every = calls(&served);
    every.nothing().unwrap();
    assert_eq!(served.called.get(), Some(0));
    every.nested().unwrap();
    assert_eq!(<dyn Every>::METHODS[usize::from(served.called.get().unwrap())], "nested");
}

#[test]
fn a_gate_that_refuses_never_calls_and_gives_nothing_away() {
    struct Closed;
    // SAFETY: it enters nothing.
    unsafe impl Gate for Closed {
        fn enter<R, E: From<Fault>>(
            &self,
            method: u16,
            _: impl FnOnce(&Bound) -> Result<R, E>,
        ) -> Result<R, E> {
            Err(Fault::MethodMissing {
                plugin: "flat-fees".into(),
                method: <dyn Every>::METHODS[method as usize],
            }
            .into())
        }
    }
    // SAFETY: as above.
    let every = unsafe { <dyn Every>::proxy(Closed) };
    let before = ALIVE.get();
    let fault = every.brittle(vec![Brittle::new(0, 0)].into(), String::new()).unwrap_err();
    assert_eq!(fault.to_string(), "plugin `flat-fees` has no method `brittle`");
    assert_eq!(ALIVE.get(), before);
}

#[test]
fn faults_speak_and_have_stable_codes() {
    let panicked = |version: &str, generation, location: &str| {
        let (plugin, message) = ("flat-fees".into(), "no fee".into());
        Fault::Panicked(Box::new(PanicReport {
            plugin,
            version: version.into(),
            generation,
            message,
            location: location.into(),
            frames: Vec::new(),
        }))
    };
    let check = |fault: Fault, code: &str, plugin: Option<&str>, text: &str| {
        assert_eq!(
            (fault.code(), fault.plugin(), fault.to_string().as_str()),
            (code, plugin, text)
        );
        assert_eq!(CallError::<Refused>::from(fault.clone()).to_string(), text);
        assert_eq!(CallError::<Refused>::from(fault.clone()), CallError::Fault(fault));
    };
    let flat = Some("flat-fees");
    check(
        panicked("1.0.0", 3, "src/lib.rs:10:5"),
        "panicked",
        flat,
        "plugin `flat-fees` 1.0.0 (generation 3) panicked at src/lib.rs:10:5: no fee",
    );
    check(
        panicked("1.0.0", 3, ""),
        "panicked",
        flat,
        "plugin `flat-fees` 1.0.0 (generation 3) panicked: no fee",
    );
    check(panicked("", 0, ""), "panicked", flat, "service `flat-fees` panicked: no fee");
    check(
        Fault::NotLoaded { plugin: "flat-fees".into() },
        "not_loaded",
        flat,
        "plugin `flat-fees` is not loaded",
    );
    check(
        Fault::NestedTooDeep { bound: 64 },
        "nested_too_deep",
        None,
        "calls are nested deeper than 64",
    );
    check(
        Fault::TooManyGroups { bound: 8 },
        "too_many_groups",
        None,
        "a thread is inside of more than 8 groups",
    );
    check(
        Fault::WrongGroup { plugin: "flat-fees".into(), group: "risk".into() },
        "wrong_group",
        flat,
        "plugin `flat-fees` is not in the group `risk`",
    );
    assert_eq!(CallError::Declined(Refused::Closed).to_string(), "declined: Closed");
}

#[test]
fn tuples_and_durations_arrive() {
    let served = instance();
    let every = calls(&served);
    let deep = vec![(trade(), None), (trade(), Some((9, (-1, true))))];
    let answer = every.tuples((1, "text".into()), deep).unwrap();
    assert_eq!(answer, (1, 2, 3, "text".into(), trade(), (1, 2, 3, 4, 5)));
    let most = Duration::new(u64::MAX / 2, 499_999_999);
    assert_eq!(every.duration(most), Ok(most * 2));
    assert_eq!(every.duration(Duration::ZERO), Ok(Duration::ZERO));
}

#[test]
fn maps_are_rebuilt_by_their_receiver() {
    let served = instance();
    let every = calls(&served);
    let ordered = BTreeMap::from([("b".to_owned(), vec![2, 3]), (String::new(), vec![])]);
    let hashed: HashMap<_, _, Backwards> =
        [(Way::Down, BTreeSet::from([1, 2]))].into_iter().collect();
    let set = HashSet::from([(1, 2), (3, 4)]);
    let (mut got_ordered, got_hashed, mut got_set) =
        every.maps(ordered.clone(), hashed, set.clone()).unwrap();
    assert_eq!(got_ordered.remove("a"), Some(vec![1]));
    assert_eq!(got_ordered, ordered);
    assert_eq!(
        (got_hashed[&Way::Up].len(), got_hashed[&Way::Down].len(), got_hashed.len()),
        (1, 2, 2)
    );
    assert!(got_set.remove(&(0, 0)));
    assert_eq!(got_set, set);

    let settings = |key: &str| Settings {
        limits: [(key.into(), vec![1, 2].into())].into_iter().collect(),
        by_way: [(Way::Down, [(1, "one".into())].into_iter().collect()), (Way::Up, Map::new())]
            .into_iter()
            .collect(),
        timeout: Duration::from_millis(250).into(),
        nothing: [],
        units: vec![(); 3].into(),
    };
    let both = every.map(&settings("lent"), settings("owned")).unwrap();
    assert_eq!(both.limits.keys().map(|key| key.as_str()).collect::<Vec<_>>(), ["lent", "owned"]);
    assert_eq!(both.by_way, settings("").by_way);
    assert_eq!(Duration::from(both.timeout), Duration::from_millis(500));
    assert_eq!((both.units.len(), both.nothing.len()), (4, 0));
}

#[test]
fn a_map_is_a_map() {
    let mut map: Map<Text, u32> = [("c", 1), ("a", 2), ("c", 3), ("b", 4), ("c", 5), ("a", 6)]
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect();
    assert_eq!(format!("{map:?}"), r#"{"a": 6, "b": 4, "c": 5}"#, "the last one stays");
    assert_eq!((map.get("b"), map.get("d"), map.contains_key("c")), (Some(&4), None, true));
    assert_eq!((map.insert("b".into(), 7), map.insert("aa".into(), 8)), (Some(4), None));
    *map.get_mut("c").unwrap() += 1;
    assert_eq!((map.remove("a"), map.remove("a"), map.len()), (Some(6), None, 3));
    map.extend([("0".into(), 0), ("c".into(), 0)]);
    assert_eq!(map.values().copied().collect::<Vec<_>>(), [0, 8, 7, 0]);
    let std: BTreeMap<Text, u32> = map.clone().into();
    assert_eq!(Map::from(std), map);
    assert!(Map::<u8, u8>::default().is_empty());
}

/// Ordered by the test's word, which can change between one side and the other, and in the middle
/// of a search.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fickle(u8);
thread_local! { static REVERSED: Cell<bool> = const { Cell::new(false) }; }
impl PartialOrd for Fickle {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Fickle {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        assert!(self.0.max(other.0) != 99, "a key that can't be compared");
        if REVERSED.get() { other.0.cmp(&self.0) } else { self.0.cmp(&other.0) }
    }
}

#[test]
fn a_map_that_is_received_is_in_the_receivers_order() {
    let map: Map<Fickle, Text> = (0..9).map(|number| (Fickle(number), "x".into())).collect();
    REVERSED.set(true);
    let own = map.reown();
    assert!(own.keys().map(|key| key.0).eq((0..9).rev()));
    assert!((0..9).all(|number| own.contains_key(&Fickle(number))));
    REVERSED.set(false);
    let mut map = own.reown();
    assert!(map.keys().map(|key| key.0).eq(0..9));
    // An `Ord` that panics leaves what was there to be dropped once.
    assert!(catch_unwind(AssertUnwindSafe(|| map.insert(Fickle(99), "y".into()))).is_err());
    assert_eq!(map.len(), 9);
}

#[test]
fn what_may_be_lent_is_lent() {
    let served = instance();
    let every = calls(&served);
    let (text, list, trade) = (String::from("text"), vec![1, 2], trade());
    let addresses = every.maybe_lent(Some(&text), Some(&list), Some(&trade)).unwrap();
    let expected = [text.as_ptr().addr(), list.as_ptr().addr(), (&raw const trade).addr()];
    assert_eq!(addresses, expected.map(Some));
    assert_eq!(every.maybe_lent(None, None, None).unwrap(), [None; 3]);
}

#[test]
fn a_sink_writes_into_the_callers_buffer() {
    let served = instance();
    let every = calls(&served);
    let (mut text, mut bytes) = (String::with_capacity(256), vec![7]);
    let buffer = text.as_ptr();
    every.write(3, &mut text, &mut bytes).unwrap();
    assert_eq!(
        (text.as_str(), bytes.as_slice()),
        ("0,1,2,", &[7, 0, 0, 255, 1, 0, 255, 2, 0, 255][..])
    );
    assert_eq!(text.as_ptr(), buffer, "no other buffer while it fits");
    // A panic leaves what was written.
    text.clear();
    assert_eq!(report(every.write(13, &mut text, &mut bytes).unwrap_err()).message, "enough");
    assert_eq!(text, "0,1,2,3,4,5,6,7,8,9,10,11,12,");
    // It grows, and a sink lends itself on.
    text.clear();
    every.write(5_000, TextSink::from(&mut text).by_ref(), &mut bytes).unwrap();
    assert!(text.len() > 20_000 && text.ends_with(",4999,"));
}
