//! A contract in two versions: what each side gets when the other is older, or newer.

// The gate of the test holds what it enters by owning it.
#![allow(unsafe_code, missing_docs)]

use midflight_plugin::rt::{self, Bound, Gate, Hold, Holding, ImplementedBy, Origin, RawService};
use midflight_plugin::{CallError, Contract, Crosses, Fault, Lends, Portable};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

// What the derive of a layout by hand names.
extern crate abi as abi_stable;

#[allow(unreachable_pub)]
mod first {
    #[midflight_plugin::contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn refuse(&self) -> Result<u64, String>;
    }
}

#[allow(unreachable_pub)]
mod second {
    #[midflight_plugin::contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn refuse(&self) -> Result<u64, String>;
        /// What is given back.
        #[since("1.1")]
        fn rebate(&self, quantity: u32, _text: &str) -> u64 {
            self.fee(quantity) / 10
        }
        #[since("1.1")]
        fn no_body(&self) -> u64;
        #[since("1.1.1")]
        fn no_body_refused(&self) -> Result<u64, String>;
        #[since("1.2")]
        fn twice(&self, quantity: u32) -> u64 {
            2 * self.rebate(quantity, "")
        }
        #[since("1.2")]
        fn refused(&self, mut fee: u64, _: String) -> Result<u64, String> {
            fee += 1;
            self.refuse().map(|rate| rate + fee)
        }
        #[since("1.2")]
        fn panics(&self) -> u64 {
            panic!("a body of {} letters", 7)
        }
        #[since("1.2")]
        fn goes_on(&self) -> u64 {
            self.no_body()
        }
        #[since("2.0")]
        fn r#type(&self) -> Result<u64, String> {
            self.no_body_refused()
        }
    }
}

#[allow(unreachable_pub)]
mod with_a_future {
    #[midflight_plugin::contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn refuse(&self) -> Result<u64, String>;
        #[since("1.1")]
        async fn later(&self, quantity: u32) -> u64;
        #[since("1.1")]
        async fn refused_later(&self, text: &str) -> Result<u64, String>;
    }
}

struct Old {
    answer: Result<u64, String>,
}

impl first::Fees for Old {
    fn fee(&self, quantity: u32) -> u64 {
        assert!(quantity != 13, "no fee for 13");
        u64::from(quantity) * 100
    }
    fn refuse(&self) -> Result<u64, String> {
        self.answer.clone()
    }
}

struct New;

impl second::Fees for New {
    fn fee(&self, quantity: u32) -> u64 {
        u64::from(quantity)
    }
    fn refuse(&self) -> Result<u64, String> {
        Ok(1)
    }
    fn rebate(&self, quantity: u32, text: &str) -> u64 {
        u64::from(quantity) + text.len() as u64
    }
    fn no_body(&self) -> u64 {
        5
    }
    fn no_body_refused(&self) -> Result<u64, String> {
        Err("new".into())
    }
}

struct Later;

impl with_a_future::Fees for Later {
    fn fee(&self, quantity: u32) -> u64 {
        u64::from(quantity)
    }
    fn refuse(&self) -> Result<u64, String> {
        Ok(1)
    }
    async fn later(&self, quantity: u32) -> u64 {
        u64::from(quantity) + 1
    }
    async fn refused_later(&self, text: &str) -> Result<u64, String> {
        Err(text.to_owned())
    }
}

/// Owns what it serves, and counts the calls.
struct Served<T> {
    bound: Bound,
    called: Cell<u32>,
    _owned: (Box<T>, Box<Origin>),
}

impl<T: Send + Sync + 'static> Served<T> {
    fn new<C: ImplementedBy<T> + ?Sized>(instance: T) -> Self {
        rt::use_host_panics();
        let instance = Box::new(instance);
        let origin = Box::new(Origin::new("flat-fees", "1.0.0", 3));
        let raw = RawService::of::<C, T>(&instance);
        let bound = Bound { this: raw.this, table: raw.table, origin: &raw const *origin };
        Served { bound, called: Cell::new(0), _owned: (instance, origin) }
    }
}

// SAFETY: `new` pairs instance and table; a table of `first` is the beginning of one of `second`,
// as host/tests/layouts shows.
unsafe impl<T> Gate for &Served<T> {
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        self.called.set(self.called.get() + 1);
        f(&self.bound)
    }
}

/// What a test holds by owning it.
struct Held(Bound);

// SAFETY: a test that makes futures keeps its `Served` until they are gone.
unsafe impl Hold for Held {
    fn bound(&self) -> &Bound {
        &self.0
    }
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }
    fn enter<R, E: From<Fault>>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        f()
    }
    fn lost(&self, fault: Fault) {
        panic!("{fault}");
    }
}

// SAFETY: as for its `Gate`.
unsafe impl<T> Holding for &Served<T> {
    type Held = Held;
    fn hold<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, Held), E> {
        f(&self.bound).map(|answer| (answer, Held(self.bound)))
    }
}

/// Of a future that has nothing to wait for.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn old(answer: Result<u64, String>) -> Served<Old> {
    Served::new::<dyn first::Fees>(Old { answer })
}

fn fault<T: std::fmt::Debug>(answer: Result<T, CallError<String>>) -> Fault {
    match answer {
        Err(CallError::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_older_plugin_is_asked_for_what_it_has_and_the_bodies_run_here() {
    let served = old(Ok(7));
    // SAFETY: see the gate.
    let fees = unsafe { <dyn second::Fees>::proxy(&served) };
    assert_eq!(fees.fee(3), Ok(300));
    assert_eq!(fees.rebate(3, "text"), Ok(30));
    assert_eq!(fees.twice(3), Ok(60), "a body that runs a body that calls the plugin");
    assert_eq!(fees.refused(1, String::new()), Ok(9));
    assert_eq!(served.called.get(), 4, "one entry for each call, whatever its body calls");
    let served = old(Err("closed".into()));
    // SAFETY: see the gate.
    let fees = unsafe { <dyn second::Fees>::proxy(&served) };
    assert_eq!(fees.refused(1, String::new()), Err(CallError::Declined("closed".into())));
}

#[test]
fn an_async_method_that_came_later() {
    let served = Served::new::<dyn with_a_future::Fees>(Later);
    // SAFETY: made for this contract.
    let fees = unsafe { <dyn with_a_future::Fees>::proxy(&served) };
    assert_eq!(ready(fees.later(3)), Ok(4));
    assert_eq!(ready(fees.refused_later("no")), Err(CallError::Declined("no".into())));

    let served = old(Ok(7));
    // SAFETY: see the gate.
    let fees = unsafe { <dyn with_a_future::Fees>::proxy(&served) };
    let missing = |method| Fault::MethodMissing { plugin: "flat-fees".into(), method };
    assert_eq!(fees.fee(3), Ok(300));
    assert_eq!(ready(fees.later(3)), Err(missing("later")));
    assert_eq!(fault(ready(fees.refused_later("no"))), missing("refused_later"));
}

#[test]
fn a_method_with_no_body_is_missing_from_an_older_plugin() {
    let served = old(Ok(7));
    // SAFETY: see the gate.
    let fees = unsafe { <dyn second::Fees>::proxy(&served) };
    let missing = |method| Fault::MethodMissing { plugin: "flat-fees".into(), method };
    assert_eq!(fees.no_body(), Err(missing("no_body")));
    assert_eq!(fault(fees.no_body_refused()), missing("no_body_refused"));
    // Asked for by a body.
    assert_eq!(fees.goes_on(), Err(missing("no_body")));
    assert_eq!(fault(fees.r#type()), missing("no_body_refused"));
}

#[test]
fn a_panic_of_a_body_and_of_what_it_calls_is_a_fault() {
    let served = old(Ok(7));
    // SAFETY: see the gate.
    let fees = unsafe { <dyn second::Fees>::proxy(&served) };
    let message = |fault| match fault {
        Fault::Panicked(report) => (report.plugin, report.generation, report.message),
        other => panic!("{other:?}"),
    };
    let expected = |text: &str| ("flat-fees".to_owned(), 3, text.to_owned());
    assert_eq!(message(fees.panics().unwrap_err()), expected("a body of 7 letters"));
    assert_eq!(message(fees.rebate(13, "").unwrap_err()), expected("no fee for 13"));
    assert_eq!(message(fees.twice(13).unwrap_err()), expected("no fee for 13"));
    assert_eq!(fees.rebate(3, ""), Ok(30));
}

#[test]
fn a_newer_plugin_is_asked_for_all_and_serves_an_older_host() {
    let served = Served::new::<dyn second::Fees>(New);
    // SAFETY: of this contract.
    let fees = unsafe { <dyn second::Fees>::proxy(&served) };
    assert_eq!(fees.rebate(3, "text"), Ok(7), "its own method");
    assert_eq!(fees.twice(3), Ok(6), "the trait's body, over there");
    assert_eq!(fees.no_body(), Ok(5));
    assert_eq!(fees.no_body_refused(), Err(CallError::Declined("new".into())));
    assert_eq!(served.called.get(), 4);
    // SAFETY: see the gate.
    let fees = unsafe { <dyn first::Fees>::proxy(&served) };
    assert_eq!((fees.fee(3), fees.refuse()), (Ok(3), Ok(1)));
}

#[test]
fn bodies_are_not_listed_as_methods() {
    assert_eq!(<dyn second::Fees>::METHODS[..4], ["fee", "refuse", "rebate", "no_body"]);
    assert_eq!(<dyn second::Fees>::METHODS.len(), 10);
}

/// Values that are counted, whose default and whose rebuilding can panic. (By hand: a record has no
/// `Drop`.)
#[repr(C)]
#[derive(abi::StableAbi, Debug, PartialEq)]
pub struct Counted(u32);
static ALIVE: AtomicI64 = AtomicI64::new(0);
thread_local! { static BREAKS: Cell<u32> = const { Cell::new(u32::MAX) }; }
impl Counted {
    fn new(number: u32) -> Self {
        assert!(number != BREAKS.get(), "number {number} breaks");
        ALIVE.fetch_add(1, SeqCst);
        Counted(number)
    }
}
impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, SeqCst);
    }
}
// SAFETY: as abi_stable's derive says.
unsafe impl rt::LaidOut for Counted {
    // SAFETY: as above.
    const LAYOUT: rt::LayoutOf<Self> =
        unsafe { rt::LayoutOf::promised(<Self as abi::StableAbi>::LAYOUT) };
}
// SAFETY: a number.
unsafe impl Portable for Counted {
    fn reown(self) -> Self {
        Counted::new(self.0)
    }
}

#[allow(unreachable_pub)]
mod narrow {
    use super::Counted;
    use midflight_plugin::{Text, contract, record};

    #[record(growable)]
    #[derive(Debug, PartialEq)]
    pub struct Limits {
        pub name: Text,
        pub counted: Counted,
        pub small: u8,
    }

    #[record(growable)]
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum Reason {
        Closed,
        #[unknown]
        Other,
    }

    #[contract]
    pub trait Risk {
        fn lent(&self, limits: &Limits, maybe: Option<&Limits>) -> String;
        fn owned(&self, limits: Limits, more: Vec<(u8, Limits)>) -> u64;
        fn result(&self) -> Limits;
        fn refused(&self) -> Result<Option<Limits>, Reason>;
        fn reason(&self, reason: Reason, lent: &Reason) -> Reason;
    }
}

#[allow(unreachable_pub)]
mod wide {
    use super::Counted;
    use midflight_plugin::{List, Map, Text, contract, record};

    #[record(growable)]
    #[derive(Debug, PartialEq)]
    pub struct Limits {
        pub name: Text,
        pub counted: Counted,
        pub small: u8,
        // Where the narrow one has padding.
        #[since("1.1", default = 7)]
        pub burst: u8,
        #[since("1.1", default = Counted::new(100))]
        pub later: Counted,
        #[since("1.2")]
        pub tags: List<Text>,
        #[since("1.2", default = { let fields = [(1, "one".into())]; return fields.into_iter().collect() })]
        pub map: Map<u64, Text>,
    }

    #[record(growable)]
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum Reason {
        Closed,
        #[unknown]
        Other,
        #[since("1.1")]
        Halted,
    }

    #[contract]
    pub trait Risk {
        fn lent(&self, limits: &Limits, maybe: Option<&Limits>) -> String;
        fn owned(&self, limits: Limits, more: Vec<(u8, Limits)>) -> u64;
        fn result(&self) -> Limits;
        fn refused(&self) -> Result<Option<Limits>, Reason>;
        fn reason(&self, reason: Reason, lent: &Reason) -> Reason;
    }
}

fn narrow_limits(number: u32) -> narrow::Limits {
    narrow::Limits { name: "narrow".into(), counted: Counted::new(number), small: 3 }
}

fn wide_limits(number: u32) -> wide::Limits {
    wide::Limits {
        name: "wide".into(),
        counted: Counted::new(number),
        small: 4,
        burst: 9,
        later: Counted::new(number + 1),
        tags: ["a".into(), "b".into()].into_iter().collect(),
        map: Default::default(),
    }
}

struct Instance;

impl narrow::Risk for Instance {
    fn lent(&self, limits: &narrow::Limits, maybe: Option<&narrow::Limits>) -> String {
        format!("{limits:?} {:?}", maybe.map(|limits| limits.counted.0))
    }
    fn owned(&self, limits: narrow::Limits, more: Vec<(u8, narrow::Limits)>) -> u64 {
        more.iter().map(|(_, limits)| u64::from(limits.counted.0)).sum::<u64>()
            + u64::from(limits.small)
    }
    fn result(&self) -> narrow::Limits {
        narrow_limits(1)
    }
    fn refused(&self) -> Result<Option<narrow::Limits>, narrow::Reason> {
        Ok(Some(narrow_limits(2)))
    }
    fn reason(&self, reason: narrow::Reason, lent: &narrow::Reason) -> narrow::Reason {
        assert_eq!(reason, *lent);
        reason
    }
}

impl wide::Risk for Instance {
    fn lent(&self, limits: &wide::Limits, maybe: Option<&wide::Limits>) -> String {
        format!("{limits:?} {:?}", maybe.map(|limits| limits.later.0))
    }
    fn owned(&self, limits: wide::Limits, more: Vec<(u8, wide::Limits)>) -> u64 {
        more.iter().map(|(_, limits)| u64::from(limits.later.0)).sum::<u64>()
            + u64::from(limits.burst)
    }
    fn result(&self) -> wide::Limits {
        wide_limits(10)
    }
    fn refused(&self) -> Result<Option<wide::Limits>, wide::Reason> {
        Err(wide::Reason::Halted)
    }
    fn reason(&self, reason: wide::Reason, lent: &wide::Reason) -> wide::Reason {
        assert_eq!(reason, *lent);
        wide::Reason::Halted
    }
}

/// Runs `test`, after which as many values are alive as before.
fn none_left(test: impl FnOnce()) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = ALIVE.load(SeqCst);
    test();
    assert_eq!(ALIVE.load(SeqCst), before, "each value is dropped, once");
}

#[test]
fn a_record_of_the_same_version_is_lent_as_it_is() {
    none_left(|| {
        let limits = wide_limits(1);
        let held = <wide::Limits as Lends>::receive(limits.lend());
        assert!(std::ptr::eq(&*held, &limits), "no copy");
        let again = <wide::Limits as Crosses>::rebuild(wide_limits(1).into_wire());
        assert_eq!(again, limits);
        assert_ne!(again.name.as_ptr(), limits.name.as_ptr());
    });
}

#[test]
fn an_older_side_lacks_the_later_fields_and_defaults_stand_for_them() {
    none_left(|| {
        // The caller is older.
        let served = Served::new::<dyn wide::Risk>(Instance);
        // SAFETY: the beginning of each description is the other's, as host/src/layout/tests.rs
        // shows.
        let risk = unsafe { <dyn narrow::Risk>::proxy(&served) };
        let seen = risk.lent(&narrow_limits(5), Some(&narrow_limits(6))).unwrap();
        let expected = r#"Limits { name: "narrow", counted: Counted(5), small: 3, burst: 7, later: Counted(100), tags: [], map: {1: "one"} }"#;
        assert_eq!(seen, format!("{expected} Some(100)"));
        assert_eq!(
            risk.owned(narrow_limits(5), vec![(1, narrow_limits(6)), (2, narrow_limits(7))]),
            Ok(207)
        );
        // Its results lose what it doesn't know.
        let result = risk.result().unwrap();
        assert_eq!((result.name.as_str(), result.counted.0, result.small), ("wide", 10, 4));
        drop(result);
        assert_eq!(risk.refused(), Err(CallError::Declined(narrow::Reason::Other)));

        // The caller is newer.
        let served = Served::new::<dyn narrow::Risk>(Instance);
        // SAFETY: as above.
        let risk = unsafe { <dyn wide::Risk>::proxy(&served) };
        let seen = risk.lent(&wide_limits(5), None).unwrap();
        assert_eq!(seen, r#"Limits { name: "wide", counted: Counted(5), small: 4 } None"#);
        assert_eq!(risk.owned(wide_limits(5), vec![(1, wide_limits(6))]), Ok(10));
        let result = risk.result().unwrap();
        assert_eq!(
            (result.counted.0, result.burst, result.later.0, result.map.len()),
            (1, 7, 100, 1)
        );
        drop(result);
        let result = risk.refused().unwrap().unwrap();
        assert_eq!((result.counted.0, result.later.0), (2, 100));
    });
}

#[test]
fn an_older_side_takes_a_newer_variant_for_the_unknown_one() {
    let served = Served::new::<dyn wide::Risk>(Instance);
    // SAFETY: as above.
    let risk = unsafe { <dyn narrow::Risk>::proxy(&served) };
    assert_eq!(
        risk.reason(narrow::Reason::Closed, &narrow::Reason::Closed),
        Ok(narrow::Reason::Other)
    );
    let served = Served::new::<dyn narrow::Risk>(Instance);
    // SAFETY: as above.
    let risk = unsafe { <dyn wide::Risk>::proxy(&served) };
    assert_eq!(risk.reason(wide::Reason::Halted, &wide::Reason::Halted), Ok(wide::Reason::Other));
    assert_eq!(risk.reason(wide::Reason::Closed, &wide::Reason::Closed), Ok(wide::Reason::Closed));
}

#[test]
fn what_panics_while_a_record_is_received_leaves_each_field_with_one_owner() {
    // The default of a lacking field, and each field that is rebuilt.
    for breaks in [100, 5, 6, 7] {
        none_left(|| {
            let served = Served::new::<dyn wide::Risk>(Instance);
            // SAFETY: as above.
            let risk = unsafe { <dyn narrow::Risk>::proxy(&served) };
            let (lent, owned) = (narrow_limits(5), narrow_limits(6));
            let more = vec![(0, narrow_limits(1)), (1, narrow_limits(7))];
            BREAKS.set(breaks);
            let lent = risk.lent(&lent, None);
            assert_eq!(lent.is_err(), breaks == 100);
            assert_eq!(risk.owned(owned, more).is_err(), breaks != 5);
            BREAKS.set(u32::MAX);
        });
    }
    for breaks in [10, 11] {
        none_left(|| {
            let wire = wide_limits(10).into_wire();
            BREAKS.set(breaks);
            let rebuilt =
                catch_unwind(AssertUnwindSafe(|| <wide::Limits as Crosses>::rebuild(wire)));
            BREAKS.set(u32::MAX);
            assert!(rebuilt.is_err());
        });
    }
}
