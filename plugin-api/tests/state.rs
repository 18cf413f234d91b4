//! A state handed over as a host does it: by the functions of the plugin's table.

// The tests are the host here.
#![allow(unsafe_code, missing_docs)]

use midflight_plugin::rt::{self, Bound, Exported, Origin, Part, Question, StateTable};
use midflight_plugin::{
    CallError, Context, Handed, Plugin, StartError, State, StateError, contract, plugin,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::ptr::null;

midflight_plugin::contract_crate!();

/// Three schemas of one state, each the one before and more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct LedgerV1 {
    lines: Vec<(String, i32)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, State)]
#[state(version = 2, up = LedgerV1, down = LedgerV1)]
pub struct LedgerV2 {
    lines: Vec<(String, i64)>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, State)]
#[state(version = 3, up = LedgerV2, down = LedgerV2)]
pub struct Ledger {
    lines: Vec<(String, i64)>,
    note: String,
}

impl From<LedgerV1> for LedgerV2 {
    fn from(older: LedgerV1) -> Self {
        let lines = older.lines.into_iter();
        LedgerV2 { lines: lines.map(|(name, amount)| (name, amount.into())).collect() }
    }
}

impl TryFrom<&LedgerV2> for LedgerV1 {
    type Error = String;
    fn try_from(newer: &LedgerV2) -> Result<Self, String> {
        let narrow = |(name, amount): &(String, i64)| {
            let narrow = i32::try_from(*amount).map_err(|_| format!("{name} has {amount}"))?;
            Ok((name.clone(), narrow))
        };
        newer
            .lines
            .iter()
            .map(narrow)
            .collect::<Result<_, String>>()
            .map(|lines| LedgerV1 { lines })
    }
}

impl TryFrom<LedgerV2> for Ledger {
    type Error = String;
    fn try_from(older: LedgerV2) -> Result<Self, String> {
        match older.lines.iter().any(|(name, _)| name.is_empty()) {
            true => Err("a line without a name".to_owned()),
            false => Ok(Ledger { lines: older.lines, note: String::new() }),
        }
    }
}

impl From<&Ledger> for LedgerV2 {
    fn from(newer: &Ledger) -> Self {
        assert_ne!(newer.note, "PANIC", "a note that panics");
        LedgerV2 { lines: newer.lines.clone() }
    }
}

#[contract]
pub trait Accounts {
    fn count(&self) -> u64;
}

#[plugin(implements(Accounts), state = ledger)]
pub struct Till {
    ledger: Handed<Ledger>,
}

#[plugin(implements(Accounts), state = 1)]
pub struct OlderTill(pub u8, Handed<LedgerV2>);

#[plugin(implements(Accounts))]
pub struct Stateless;

macro_rules! plugins {
    ($($type:ty)*) => { $(
        impl Plugin for $type {
            fn start(_: &Context<'_>) -> Result<Self, StartError> {
                Err(StartError::new("made by the tests"))
            }
        }
        impl Accounts for $type {
            fn count(&self) -> u64 {
                0
            }
        }
    )* };
}
plugins!(Till OlderTill Stateless);

fn table<P: Exported>() -> &'static StateTable {
    rt::Linked::of::<P>().state.expect("a state")
}

unsafe extern "C" fn yes(_: *const ()) -> bool {
    true
}

unsafe extern "C" fn no(_: *const ()) -> bool {
    false
}

const YES: Question = Question { of: null(), ask: yes };
const NO: Question = Question { of: null(), ask: no };

fn save<P: Exported>(plugin: &P, version: u32, part: Part) -> Result<(Vec<u8>, bool), String> {
    let origin = Origin::new("till", "1.0.0", 7);
    let bound = Bound { this: null(), table: null(), origin: &origin };
    // SAFETY: the table is of this type; the origin is a local.
    unsafe {
        (table::<P>().save)((&raw const *plugin).cast(), version, part, &NO).finish_result(&bound)
    }
    .map_err(words)
}

fn restore<P: Exported>(plugin: &P, version: u32, part: Part, bytes: &[u8]) -> Result<(), String> {
    put_aside(plugin, version, part, bytes)?;
    install(plugin, &YES)
}

fn install<P: Exported>(plugin: &P, leave: &Question) -> Result<(), String> {
    let origin = Origin::new("till", "1.0.0", 7);
    let bound = Bound { this: null(), table: null(), origin: &origin };
    // SAFETY: as in `save`.
    unsafe { (table::<P>().install)((&raw const *plugin).cast(), &NO, leave).finish_result(&bound) }
        .map_err(words)
}

fn put_aside<P: Exported>(
    plugin: &P,
    version: u32,
    part: Part,
    bytes: &[u8],
) -> Result<(), String> {
    let origin = Origin::new("till", "1.0.0", 7);
    let bound = Bound { this: null(), table: null(), origin: &origin };
    // SAFETY: as in `save`.
    unsafe {
        (table::<P>().restore)((&raw const *plugin).cast(), version, part, bytes.into())
            .finish_result(&bound)
    }
    .map_err(words)
}

fn words(error: CallError<String>) -> String {
    rt::use_host_panics();
    match error {
        CallError::Declined(reason) => reason,
        CallError::Fault(fault) => fault.to_string(),
    }
}

fn ledger(lines: &[(&str, i64)], note: &str) -> Ledger {
    Ledger {
        lines: lines.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect(),
        note: note.to_owned(),
    }
}

fn till(ledger: Ledger) -> Till {
    Till { ledger: Handed::new(ledger) }
}

#[test]
fn a_table_tells_the_schemas_and_a_plugin_without_a_state_has_none() {
    let [newer, older] = [table::<Till>(), table::<OlderTill>()];
    assert_eq!((newer.version, newer.restores_from, newer.saves_to, newer.ahead), (3, 1, 1, false));
    assert_eq!((older.version, older.restores_from, older.saves_to), (2, 1, 1));
    assert!(Stateless::STATE.is_none());
}

#[test]
fn an_update_migrates_up_and_a_return_migrates_down() {
    let before = LedgerV2 { lines: vec![("alice".to_owned(), 5)] };
    let old = OlderTill(0, Handed::new(before.clone()));
    let new = till(Ledger::default());
    let (bytes, more) = save(&old, 2, Part::Whole).unwrap();
    assert!(!more);
    restore(&new, 2, Part::Whole, &bytes).unwrap();
    assert_eq!(*new.ledger.read(), ledger(&[("alice", 5)], ""));

    new.ledger.write().lines.push(("bob".to_owned(), 7));
    let (bytes, _) = save(&new, 2, Part::Whole).unwrap();
    restore(&old, 2, Part::Whole, &bytes).unwrap();
    assert_eq!(old.1.read().lines, [("alice".to_owned(), 5), ("bob".to_owned(), 7)]);
}

/// What cannot be done says why, and what was there is there still, to the byte.
#[test]
fn a_failure_leaves_the_state_as_it_was() {
    let check = |state: Ledger, what: &dyn Fn(&Till) -> Result<(), String>, reason: &str| {
        let till = till(state);
        let before = save(&till, 3, Part::Whole).unwrap();
        let error = what(&till).expect_err(reason);
        assert!(error.contains(reason), "{error}");
        assert_eq!(save(&till, 3, Part::Whole).unwrap(), before, "{reason}");
    };
    let saves = |version| move |till: &Till| save(till, version, Part::Whole).map(drop);
    let wide = ledger(&[("alice", 5), ("bob", i64::MAX)], "");
    check(wide, &saves(1), "the migration from schema 2 to 1: bob has 9223372036854775807");
    check(ledger(&[], "PANIC"), &saves(2), "a note that panics");
    check(ledger(&[], ""), &saves(4), "this code saves the schemas 1 to 3, not 4");
    check(ledger(&[], ""), &saves(0), "this code saves the schemas 1 to 3, not 0");

    let restores =
        |version, bytes: Vec<u8>| move |till: &Till| restore(till, version, Part::Whole, &bytes);
    let mut whole = save(&till(ledger(&[("alice", 5)], "note")), 3, Part::Whole).unwrap().0;
    let nameless = save(&till(ledger(&[("", 5)], "")), 2, Part::Whole).unwrap().0;
    let kept = || ledger(&[("carol", 1)], "kept");
    check(
        kept(),
        &restores(2, nameless),
        "the migration from schema 2 to 3: a line without a name",
    );
    check(kept(), &restores(4, whole.clone()), "this code restores the schemas 1 to 3, not 4");
    check(kept(), &restores(3, whole[..whole.len() - 1].to_vec()), "end of buffer");
    whole.push(0);
    check(kept(), &restores(3, whole), "1 bytes are left over");
}

#[test]
fn a_state_that_is_no_table_is_handed_over_as_a_whole() {
    let till = till(ledger(&[], ""));
    for part in [Part::First, Part::Next, Part::Rest] {
        assert_eq!(save(&till, 3, part).unwrap_err(), "this state is saved as a whole");
        assert_eq!(restore(&till, 3, part, &[]).unwrap_err(), "this state is restored as a whole");
    }
    assert_eq!(save(&till, 3, Part::Forget), Ok((Vec::new(), false)), "nothing to forget");
}

#[test]
fn a_panic_while_the_state_is_held_does_not_take_it_away() {
    let handed = Handed::new(ledger(&[], "before"));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut held = handed.write();
        held.note = "left".to_owned();
        panic!("with the lock");
    }));
    assert!(panicked.is_err());
    assert_eq!(handed.read().note, "left");
    handed.write().note = "after".to_owned();
    assert_eq!(handed.read().note, "after");
}

#[test]
fn j01_what_is_restored_is_no_state_before_it_is_installed() {
    let (old, new) = (till(ledger(&[("alice", 5)], "")), till(ledger(&[], "its own")));
    let (bytes, _) = save(&old, 3, Part::Whole).unwrap();
    assert_eq!(install(&new, &YES).unwrap_err(), "nothing was restored");
    put_aside(&new, 3, Part::Whole, &bytes).unwrap();
    assert_eq!(new.ledger.read().note, "its own");
    assert_eq!(install(&new, &NO).unwrap_err(), "the hand-over was given up");
    assert_eq!(new.ledger.read().note, "its own");
    // It can still be: no leave now is none of all.
    install(&new, &YES).unwrap();
    assert_eq!(*new.ledger.read(), ledger(&[("alice", 5)], ""));
    // What it replaced is kept until it is told to go.
    install(&new, &YES).unwrap();
    assert_eq!(new.ledger.read().note, "its own");
    put_aside(&new, 3, Part::Forget, &[]).unwrap();
    assert_eq!(install(&new, &YES).unwrap_err(), "nothing was restored");
}

#[test]
fn j10_a_guard_that_was_forgotten_is_named_and_keeps_nobody() {
    let (old, new) = (till(ledger(&[("alice", 5)], "")), till(Ledger::default()));
    let (bytes, _) = save(&old, 3, Part::Whole).unwrap();
    put_aside(&new, 3, Part::Whole, &bytes).unwrap();
    for held in [&old, &new] {
        std::mem::forget(held.ledger.write());
    }
    let held = "a guard of the state (Handed::read, Handed::write) is held";
    assert!(save(&old, 3, Part::Whole).unwrap_err().contains(held));
    assert!(install(&new, &YES).unwrap_err().contains(held));
}

/// Each call waits for the one before, so that the lock is never free and never without somebody
/// who waits for it.
#[test]
fn j10_a_save_gets_its_turn_among_calls_that_never_end() {
    let till = till(ledger(&[], ""));
    let (over, all) = (std::sync::atomic::AtomicBool::new(false), std::sync::Barrier::new(5));
    let is_over = || over.load(std::sync::atomic::Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                all.wait();
                while !is_over() {
                    // As long as it was, so that no save takes longer than the one before.
                    till.ledger.write().note = ".".to_owned();
                }
            });
        }
        all.wait();
        let origin = Origin::new("till", "1.0.0", 7);
        let bound = Bound { this: null(), table: null(), origin: &origin };
        for _ in 0..100 {
            // SAFETY: as in `save`.
            let saved: Result<(Vec<u8>, bool), _> = unsafe {
                (table::<Till>().save)((&raw const till).cast(), 3, Part::Whole, &YES)
                    .finish_result(&bound)
            };
            saved.map_err(words).expect("its turn");
        }
        over.store(true, std::sync::atomic::Ordering::SeqCst);
    });
}

/// A state whose bytes are its author's business.
struct Counter(u64);

impl State for Counter {
    const VERSION: u32 = 2;
    const RESTORES_FROM: u32 = 2;
    const SAVES_TO: u32 = 1;
    fn save(&self, version: u32, bytes: &mut Vec<u8>) -> Result<(), StateError> {
        match version {
            1 => bytes.push(u8::try_from(self.0)?),
            _ => bytes.extend_from_slice(&self.0.to_le_bytes()),
        }
        Ok(())
    }
    fn restore(_: u32, bytes: &mut &[u8]) -> Result<Self, StateError> {
        let (number, rest) =
            bytes.split_first_chunk().ok_or_else(|| StateError::new("too short"))?;
        *bytes = rest;
        Ok(Counter(u64::from_le_bytes(*number)))
    }
}

#[plugin(implements(Accounts), state = counter)]
pub struct Counting {
    counter: Handed<Counter>,
}
plugins!(Counting);

#[test]
fn a_state_by_hand_says_itself_what_it_takes() {
    let counting = |number| Counting { counter: Handed::new(Counter(number)) };
    let (bytes, _) = save(&counting(300), 2, Part::Whole).unwrap();
    let restored = counting(0);
    restore(&restored, 2, Part::Whole, &bytes).unwrap();
    assert_eq!(restored.counter.read().0, 300);
    assert_eq!(restore(&restored, 2, Part::Whole, &[1]).unwrap_err(), "too short");
    assert_eq!(
        restore(&restored, 1, Part::Whole, &[1]).unwrap_err(),
        "this code restores the schemas 2 to 2, not 1"
    );
    assert_eq!(
        save(&counting(300), 1, Part::Whole).unwrap_err(),
        "out of range integral type conversion attempted"
    );
}

proptest! {
    /// By way of every schema, as far as that one can say it.
    #[test]
    fn a_state_comes_back_by_every_schema(
        lines in prop::collection::vec(("[a-z]{1,9}", any::<i32>().prop_map(i64::from)), 0..20),
        note in "\\PC{0,9}",
        version in 1_u32..=3,
    ) {
        let state = Ledger { lines, note };
        let (bytes, _) = save(&till(state.clone()), version, Part::Whole).unwrap();
        let restored = till(Ledger::default());
        restore(&restored, version, Part::Whole, &bytes).unwrap();
        let note = if version == 3 { state.note } else { String::new() };
        prop_assert_eq!(&*restored.ledger.read(), &Ledger { lines: state.lines, note });
    }
}
