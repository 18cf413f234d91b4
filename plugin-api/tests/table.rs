//! Tables: copied ahead while they change, and equal in the end.

#![allow(missing_docs)]

use midflight_plugin::rt::Part;
use midflight_plugin::{Handed, State, StateError, Table};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, State)]
#[state(version = 1)]
struct AccountV1 {
    balance: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, State)]
#[state(version = 2, up = AccountV1, down = AccountV1)]
struct Account {
    balance: i64,
    frozen: bool,
}

fn account(balance: i64) -> Account {
    Account { balance, frozen: false }
}

impl TryFrom<AccountV1> for Account {
    type Error = &'static str;
    fn try_from(older: AccountV1) -> Result<Self, &'static str> {
        match older.balance {
            i32::MIN => Err("a balance that nobody has"),
            balance => Ok(account(balance.into())),
        }
    }
}

impl TryFrom<&Account> for AccountV1 {
    type Error = std::num::TryFromIntError;
    fn try_from(newer: &Account) -> Result<Self, std::num::TryFromIntError> {
        Ok(AccountV1 { balance: newer.balance.try_into()? })
    }
}

type Accounts = Table<u16, Account>;

fn part<S: State>(state: &S, version: u32, part: Part) -> Result<(Vec<u8>, bool), StateError> {
    let mut bytes = Vec::new();
    state.save_part(version, part, &mut bytes).map(|more| (bytes, more))
}

fn whole<S: State>(state: &S) -> Vec<u8> {
    part(state, S::VERSION, Part::Whole).unwrap().0
}

fn give<S: State>(state: &mut S, version: u32, part: Part, bytes: &[u8]) -> Result<(), StateError> {
    let mut bytes = bytes;
    state.restore_part(version, part, &mut bytes)?;
    assert!(bytes.is_empty());
    Ok(())
}

/// What happens between two chunks.
#[derive(Debug, Clone)]
enum Change {
    Insert(u16, i32),
    Remove(u16),
    Update(u16, i32),
    /// One that panics halfway.
    Panic(u16, i32),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = 0_u16..3_500;
    let change = prop_oneof![
        (key.clone(), 0..9).prop_map(|(key, balance)| Change::Insert(key, balance)),
        key.clone().prop_map(Change::Remove),
        (key.clone(), 0..9).prop_map(|(key, balance)| Change::Update(key, balance)),
        (key, 0..9).prop_map(|(key, balance)| Change::Panic(key, balance)),
    ];
    prop::collection::vec(change, 0..40)
}

fn apply(table: &mut Accounts, changes: &[Change]) {
    for change in changes {
        match *change {
            Change::Insert(key, balance) => drop(table.insert(key, account(balance.into()))),
            Change::Remove(key) => drop(table.remove(&key)),
            Change::Update(key, balance) => {
                table.update(&key, |account| account.balance += i64::from(balance));
            }
            Change::Panic(key, balance) => {
                let change = std::panic::AssertUnwindSafe(|| {
                    table.update(&key, |account| {
                        account.balance += i64::from(balance);
                        std::panic::resume_unwind(Box::new("halfway"));
                    })
                });
                let _ = std::panic::catch_unwind(change);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Three or four chunks, with changes before, between and after them, in the own schema and by
    /// way of the older one.
    #[test]
    fn a_copy_ahead_ends_equal_to_what_it_copied(
        count in 2_500_u16..3_200,
        between in prop::collection::vec(changes(), 6),
        version in 1_u32..=2,
        given_up in any::<bool>(),
    ) {
        let mut original: Accounts = (0..count).map(|key| (key, account(key.into()))).collect();
        let mut between = between.iter();
        if given_up {
            part(&original, version, Part::First).unwrap();
            apply(&mut original, between.next().unwrap());
        }
        let mut copied: Accounts = [(9_999, account(1))].into_iter().collect();
        let (bytes, mut more) = part(&original, version, Part::First).unwrap();
        give(&mut copied, version, Part::First, &bytes).unwrap();
        while more {
            apply(&mut original, between.next().map_or(&[], |changes| changes));
            let (bytes, still) = part(&original, version, Part::Next).unwrap();
            give(&mut copied, version, Part::Next, &bytes).unwrap();
            more = still;
        }
        between.for_each(|changes| apply(&mut original, changes));
        let (bytes, more) = part(&original, version, Part::Rest).unwrap();
        give(&mut copied, version, Part::Rest, &bytes).unwrap();
        prop_assert!(!more);
        prop_assert!(original.iter().eq(copied.iter()));
        prop_assert_eq!(whole(&original), whole(&copied));
    }

    #[test]
    fn a_table_comes_back_as_a_whole(items in prop::collection::btree_map("\\PC{0,9}", any::<i32>(), 0..200), version in 1_u32..=2) {
        let items = items.into_iter().map(|(key, balance)| (key, account(i64::from(balance.max(0)))));
        let table: Table<String, Account> = items.collect();
        let (bytes, more) = part(&table, version, Part::Whole).unwrap();
        let mut restored = Table::default();
        give(&mut restored, version, Part::Whole, &bytes).unwrap();
        prop_assert!(!more);
        prop_assert!(table.iter().eq(restored.iter()));
    }
}

#[test]
fn it_is_an_ordered_map() {
    let mut table: Table<String, Account> = Table::new();
    assert!(table.is_empty());
    assert_eq!(table.insert("bob".into(), account(1)), None);
    assert_eq!(table.insert("alice".into(), account(2)), None);
    assert_eq!(table.insert("bob".into(), account(3)), Some(account(1)));
    assert_eq!(table.update("bob", |bob| std::mem::replace(&mut bob.balance, 4)), Some(3));
    assert_eq!(table.update("carol", |_| unreachable!("there is none")), None::<()>);
    let keys: Vec<_> = table.iter().map(|(key, account)| (key.as_str(), account.balance)).collect();
    assert_eq!((keys, table.len()), (vec![("alice", 2), ("bob", 4)], 2));
    assert_eq!(table.remove("alice"), Some(account(2)));
    assert_eq!((table.get("alice"), table.get("bob")), (None, Some(&account(4))));
}

/// Eight bytes of count, and items of at most 12 bytes.
#[test]
fn the_rest_is_as_large_as_what_changed_behind_the_copy() {
    let mut table: Accounts = (0..3_000).map(|key| (key, account(0))).collect();
    let (first, more) = part(&table, 2, Part::First).unwrap();
    assert!(more && first.len() < 1_000 * 12, "{} bytes", first.len());
    for _ in 0..10_000 {
        table.update(&1, |account| account.balance += 1); // once, however often it changes
        table.update(&2_999, |account| account.balance += 1); // the copy comes by
    }
    table.remove(&2);
    assert!(part(&table, 2, Part::Next).unwrap().1);
    assert!(!part(&table, 2, Part::Next).unwrap().1);
    let (rest, _) = part(&table, 2, Part::Rest).unwrap();
    assert_eq!(u64::from_le_bytes(rest[..8].try_into().unwrap()), 2, "the items 1 and 2");
    assert!(rest.len() < 8 + 2 * 12, "{} bytes", rest.len());
}

#[test]
fn a_chunk_of_large_items_ends_early() {
    #[derive(Serialize, Deserialize, State)]
    #[state(version = 1)]
    struct Page(String);
    let table: Table<u8, Page> = (0..200).map(|key| (key, Page("x".repeat(10_000)))).collect();
    let (first, more) = part(&table, 1, Part::First).unwrap();
    assert!(more && (256 * 1024..300_000).contains(&first.len()), "{} bytes", first.len());
}

#[test]
fn the_last_item_of_a_table_is_copied_too() {
    for count in [1, 999, 1_000, 1_001] {
        let table: Accounts = (0..count).map(|key| (key, account(0))).collect();
        let (mut copied, (bytes, more)) = (Accounts::new(), part(&table, 2, Part::First).unwrap());
        give(&mut copied, 2, Part::First, &bytes).unwrap();
        if more {
            give(&mut copied, 2, Part::Next, &part(&table, 2, Part::Next).unwrap().0).unwrap();
        }
        assert_eq!((copied.len(), more), (count.into(), count > 1_000));
    }
}

#[test]
fn a_copy_is_begun_taken_to_its_end_and_ended_once() {
    let table: Accounts = (0..1_500).map(|key| (key, account(0))).collect();
    let error = |what| part(&table, 2, what).unwrap_err().to_string();
    assert_eq!(error(Part::Next), "no copy was begun");
    assert_eq!(error(Part::Rest), "no copy was begun");
    assert!(part(&table, 2, Part::First).unwrap().1);
    assert_eq!(error(Part::Rest), "the copy is not at its end yet");
    assert_eq!(error(Part::Next), "no copy was begun", "the error has ended it");

    assert!(part(&table, 2, Part::First).unwrap().1);
    assert!(!part(&table, 2, Part::Next).unwrap().1);
    assert_eq!(error(Part::Next), "the copy is at its end");

    part(&table, 2, Part::First).unwrap();
    assert_eq!(part(&table, 2, Part::Forget), Ok((Vec::new(), false)));
    assert_eq!(error(Part::Next), "no copy was begun");

    part(&table, 2, Part::First).unwrap();
    part(&table, 2, Part::Next).unwrap();
    part(&table, 2, Part::Rest).unwrap();
    assert_eq!(error(Part::Rest), "no copy was begun");

    let empty = Accounts::new();
    assert!(!part(&empty, 2, Part::First).unwrap().1);
    assert_eq!(part(&empty, 2, Part::Rest).unwrap().0, [0; 8]);
}

#[test]
fn a_migration_that_fails_names_the_item_and_leaves_the_table_as_it_was() {
    let mut table: Accounts = (0..3_000).map(|key| (key, account(5))).collect();
    table.insert(1_700, account(i64::MAX));
    let before = whole(&table);
    let reason = "the item 1700: the migration from schema 2 to 1: out of range integral type conversion attempted";
    assert_eq!(part(&table, 1, Part::Whole).unwrap_err().to_string(), reason);
    part(&table, 1, Part::First).unwrap();
    assert_eq!(part(&table, 1, Part::Next).unwrap_err().to_string(), reason);
    assert_eq!(whole(&table), before);
    // What fits when it is copied can change to what does not.
    table.insert(1_700, account(5));
    part(&table, 1, Part::First).unwrap();
    part(&table, 1, Part::Next).unwrap();
    part(&table, 1, Part::Next).unwrap();
    table.insert(1_700, account(i64::MAX));
    assert_eq!(part(&table, 1, Part::Rest).unwrap_err().to_string(), reason);
    assert_eq!(whole(&table), before);

    let older: Table<u16, AccountV1> =
        (0..9).map(|key| (key, AccountV1 { balance: i32::MIN })).collect();
    let error = give(&mut table, 1, Part::Whole, &whole(&older)).unwrap_err().to_string();
    assert_eq!(error, "the item 0: the migration from schema 1 to 2: a balance that nobody has");
    assert_eq!(whole(&table), before);
}

#[test]
fn bytes_of_something_else_are_refused() {
    let table: Accounts = (0..9).map(|key| (key, account(5))).collect();
    let bytes = whole(&table);
    let mut restored = Accounts::new();
    for length in 0..bytes.len() {
        assert!(give(&mut restored, 2, Part::Whole, &bytes[..length]).is_err(), "{length}");
    }
    // A count that is not believed: it would be all of memory.
    assert!(give(&mut restored, 2, Part::Whole, &[0xff; 8]).is_err());
    assert!(restored.is_empty());
    assert!(give(&mut restored, 2, Part::Forget, &[]).is_err());
}

/// Calls go on, on another thread, for as long as the copy takes.
#[test]
fn what_threads_change_during_a_copy_is_in_it() {
    let table: Accounts = (0..20_000).map(|key| (key, account(0))).collect();
    let (handed, mut copied, over) = (Handed::new(table), Accounts::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let mut key = 7_u16;
            while !over.load(SeqCst) {
                key = key.wrapping_mul(25_173).wrapping_add(13_849);
                let mut table = handed.write();
                match key % 3 {
                    0 => drop(table.insert(key, account(1))),
                    1 => drop(table.remove(&(key % 20_000))),
                    _ => drop(table.update(&(key % 20_000), |account| account.balance += 1)),
                }
            }
        });
        let (bytes, mut more) = part(&*handed.read(), 2, Part::First).unwrap();
        give(&mut copied, 2, Part::First, &bytes).unwrap();
        while more {
            let (bytes, still) = part(&*handed.read(), 2, Part::Next).unwrap();
            give(&mut copied, 2, Part::Next, &bytes).unwrap();
            more = still;
        }
        over.store(true, SeqCst);
        changing.join().unwrap();
    });
    let (bytes, _) = part(&*handed.read(), 2, Part::Rest).unwrap();
    assert!(bytes.len() > 8, "it has changed");
    give(&mut copied, 2, Part::Rest, &bytes).unwrap();
    assert!(handed.read().iter().eq(copied.iter()));
}

/// A name that is the same whatever its case is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Name(String);

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Name {}
impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.to_lowercase().cmp(&other.0.to_lowercase())
    }
}

#[test]
fn j13_a_key_keeps_the_spelling_that_it_has() {
    let spelt = |table: &Table<Name, Account>| {
        let items = table.iter().map(|(key, value)| (key.0.clone(), value.balance));
        items.collect::<Vec<_>>()
    };
    // Of each pair: what is done behind the copy, with `alice` in it.
    let name = |name: &str| Name(name.to_owned());
    let changes: [fn(&mut Table<Name, Account>); 3] = [
        |table| {
            table.remove(&Name("alice".to_owned()));
            table.insert(Name("ALICE".to_owned()), account(2));
        },
        // A map keeps the key that it has.
        |table| {
            table.insert(Name("ALICE".to_owned()), account(2));
        },
        |table| {
            table.update(&Name("ALICE".to_owned()), |account| account.balance = 3);
            table.remove(&Name("Alice".to_owned()));
            table.insert(Name("aLICE".to_owned()), account(4));
            table.insert(Name("Bob".to_owned()), account(5));
        },
    ];
    for change in changes {
        let mut table: Table<Name, Account> = Table::new();
        table.insert(name("alice"), account(1));
        table.insert(name("Carol"), account(1));
        let mut copied: Table<Name, Account> = Table::new();
        let (bytes, _) = part(&table, 2, Part::First).unwrap();
        give(&mut copied, 2, Part::First, &bytes).unwrap();
        change(&mut table);
        let (bytes, _) = part(&table, 2, Part::Rest).unwrap();
        give(&mut copied, 2, Part::Rest, &bytes).unwrap();
        assert_eq!(spelt(&copied), spelt(&table));
    }
}
