//! A contract in two versions: what each side gets when the other is older, or newer.

// The gate of the test holds what it enters by owning it.
#![allow(unsafe_code, missing_docs)]

use midflight_plugin::rt::{self, Bound, Gate, ImplementedBy, Origin, RawService};
use midflight_plugin::{CallError, Contract, Fault};
use std::cell::Cell;

midflight_plugin::contract_crate!();

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

/// Owns what it serves, and counts the calls.
struct Served<T> {
    bound: Bound,
    called: Cell<u32>,
    _owned: (Box<T>, Box<Origin>),
}

impl<T> Served<T> {
    fn new<C: ImplementedBy<T> + ?Sized>(instance: T) -> Self {
        rt::use_host_panics();
        let instance = Box::new(instance);
        let origin = Box::new(Origin { plugin: "flat-fees".into(), version: "1.0.0".into(), generation: 3 });
        let raw = RawService::of::<C, T>(&instance);
        let bound = Bound { this: raw.this, table: raw.table, origin: &raw const *origin };
        Served { bound, called: Cell::new(0), _owned: (instance, origin) }
    }
}

// SAFETY: `new` pairs instance and table; a table of `first` is the beginning of one of `second`, as host/src/layout.rs tests.
unsafe impl<T> Gate for &Served<T> {
    fn enter<R, E: From<Fault>>(&self, _: u16, f: impl FnOnce(&Bound) -> Result<R, E>) -> Result<R, E> {
        self.called.set(self.called.get() + 1);
        f(&self.bound)
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
    assert_eq!(fees.refused(1, String::new()), Err(CallError::Refused("closed".into())));
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
    assert_eq!(fees.no_body_refused(), Err(CallError::Refused("new".into())));
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
