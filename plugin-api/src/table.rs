//! A table: a state of many items, which is copied while it is used.
//!
//! While a copy is under way the table logs which keys of what was copied already have changed
//! since. What is not yet copied need not be logged: the copy comes by, in the order of the keys.
//! So the log is at most as large as the table has had keys, and the wait of a hand-over is as long
//! as the log, however large the table is.

use crate::state::{Part, decode, encode};
use crate::{State, StateError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Bound::{self, Excluded, Unbounded};
use std::sync::{Mutex, PoisonError};

/// Items are copied in chunks of at most so many, each of which holds the table's lock.
const CHUNK_ITEMS: u64 = 1_000;
/// A chunk that has so many bytes ends there, with items beyond a size that makes the lock's time
/// the matter.
const CHUNK_BYTES: usize = 256 * 1024;

/// An ordered map from keys to values that are a [`State`] each, as a plugin's state: its schema is
/// that of its values, and each is migrated by itself.
///
/// ```
/// use midflight_plugin::{Handed, State, Table};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, State)]
/// #[state(version = 1)]
/// struct Account {
///     balance: i64,
/// }
///
/// let accounts: Handed<Table<String, Account>> = Handed::default(); // a field of the plugin
/// accounts.write().insert("alice".into(), Account { balance: 5 });
/// accounts.write().update("alice", |account| account.balance -= 2);
/// assert_eq!(accounts.read().get("alice").map(|account| account.balance), Some(3));
/// ```
///
/// It is handed over while calls use it: they wait for what has changed meanwhile to be copied, not
/// for the whole table.
///
/// A key that compares equal to one that is there is that key, as in any map: what was put in first
/// says how it is spelt, here and in the next version. One that was taken out is spelt anew.
///
/// A value is changed by [`insert`](Table::insert) and [`update`](Table::update) alone. One that
/// changes by itself, an atomic, is copied as it was at some time during the copy: what it changed
/// to later is lost.
#[derive(Debug)]
pub struct Table<K, V> {
    items: BTreeMap<K, V>,
    /// INVARIANT: while there is one, every key that it has passed and that changed since is in its
    /// log.
    ahead: Mutex<Option<Ahead<K>>>,
}

/// What keys of a [`Table`] are. Every type that fits is one.
pub trait Key: Ord + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<K: Ord + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static> Key for K {}

/// A copy ahead.
#[derive(Debug)]
struct Ahead<K> {
    /// The last key that was copied; `None` when all were.
    upto: Option<K>,
    /// Keys that the copy has passed, and that have another value or none since.
    changed: BTreeSet<K>,
}

impl<K: Key, V> Table<K, V> {
    /// No items.
    pub const fn new() -> Self {
        Table { items: BTreeMap::new(), ahead: Mutex::new(None) }
    }

    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.items.get(key)
    }

    /// Puts a value in, and returns the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(ahead) = self.ahead() {
            ahead.log(&key);
        }
        self.items.insert(key, value)
    }

    /// Takes a value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (key, value) = self.items.remove_entry(key)?;
        if let Some(ahead) = self.ahead() {
            ahead.log(&key);
        }
        Some(value)
    }

    /// Changes the value of `key`, and returns what `change` does; `None`, and nothing is changed,
    /// where there is no such key.
    pub fn update<Q: Ord + ?Sized, R>(
        &mut self,
        key: &Q,
        change: impl FnOnce(&mut V) -> R,
    ) -> Option<R>
    where
        K: Borrow<Q>,
    {
        // Logged first: a change that panics has changed something.
        if let Some(ahead) = self.ahead.get_mut().unwrap_or_else(PoisonError::into_inner)
            && let Some((key, _)) = self.items.get_key_value(key)
        {
            ahead.log(key);
        }
        self.items.get_mut(key).map(change)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All items, in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator {
        self.items.iter()
    }

    fn ahead(&mut self) -> Option<&mut Ahead<K>> {
        self.ahead.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

impl<K: Key, V> Default for Table<K, V> {
    fn default() -> Self {
        Table::new()
    }
}

impl<K: Key, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        Table { items: items.into_iter().collect(), ahead: Mutex::new(None) }
    }
}

impl<K: Key> Ahead<K> {
    fn log(&mut self, key: &K) {
        let passed = self.upto.as_ref().is_none_or(|last| key <= last);
        if passed && !self.changed.contains(key) {
            self.changed.insert(key.clone());
        }
    }
}

/// How many items, 8 bytes; then each, its key before its value. Those of the rest have a byte
/// between them: is there a value?
impl<K: Key, V: State> State for Table<K, V> {
    const VERSION: u32 = V::VERSION;
    const RESTORES_FROM: u32 = V::RESTORES_FROM;
    const SAVES_TO: u32 = V::SAVES_TO;
    const AHEAD: bool = true;

    fn save(&self, version: u32, bytes: &mut Vec<u8>) -> Result<(), StateError> {
        let count = Count::begin(bytes);
        for (key, value) in &self.items {
            save_key(key, bytes)?;
            save_value(key, value, version, bytes)?;
        }
        count.end(self.items.len() as u64, bytes);
        Ok(())
    }

    fn restore(version: u32, bytes: &mut &[u8]) -> Result<Self, StateError> {
        let count = restore_count(bytes)?;
        // Not believed: it is the memory that the bytes may need, at most.
        let mut items = Vec::with_capacity(bytes.len().min(count as usize));
        for _ in 0..count {
            items.push(restore_item(version, bytes)?);
        }
        // One pass over what is in order already.
        Ok(items.into_iter().collect())
    }

    fn save_part(&self, version: u32, part: Part, bytes: &mut Vec<u8>) -> Result<bool, StateError> {
        // Nothing changes meanwhile: changes need the table for themselves.
        let mut place = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        // Out of its place, so that an error ends it.
        let begun = place.take();
        let begun = || begun.ok_or_else(|| StateError::new("no copy was begun"));
        let ahead = match part {
            Part::Whole => return self.save(version, bytes).map(|()| false),
            Part::Forget => return Ok(false),
            Part::First => Ahead {
                upto: self.save_chunk(Unbounded, version, bytes)?,
                changed: BTreeSet::new(),
            },
            Part::Next => {
                let Ahead { upto, changed } = begun()?;
                let last = upto.ok_or_else(|| StateError::new("the copy is at its end"))?;
                Ahead { upto: self.save_chunk(Excluded(&last), version, bytes)?, changed }
            }
            Part::Rest => {
                let Ahead { upto: None, changed } = begun()? else {
                    return Err(StateError::new("the copy is not at its end yet"));
                };
                return self.save_changes(&changed, version, bytes).map(|()| false);
            }
        };
        let more = ahead.upto.is_some();
        *place = Some(ahead);
        Ok(more)
    }

    fn restore_part(
        &mut self,
        version: u32,
        part: Part,
        bytes: &mut &[u8],
    ) -> Result<(), StateError> {
        match part {
            Part::Whole | Part::First => *self = Table::restore(version, bytes)?,
            Part::Next => {
                for _ in 0..restore_count(bytes)? {
                    let (key, value) = restore_item(version, bytes)?;
                    self.items.insert(key, value);
                }
            }
            Part::Rest => {
                for _ in 0..restore_count(bytes)? {
                    let key: K = decode(bytes)?;
                    let value = match decode(bytes)? {
                        true => Some(restore_value(&key, version, bytes)?),
                        false => None,
                    };
                    // Out first: an insert would leave the spelling of a key that compares equal.
                    self.items.remove(&key);
                    if let Some(value) = value {
                        self.items.insert(key, value);
                    }
                }
            }
            Part::Forget => {
                return Err(StateError::new("nothing is restored of a copy that was given up"));
            }
        }
        Ok(())
    }
}

impl<K: Key, V: State> Table<K, V> {
    /// The last key of the chunk, if there are others after it.
    fn save_chunk(
        &self,
        after: Bound<&K>,
        version: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<K>, StateError> {
        let mut left = self.items.range((after, Unbounded));
        let (count, mut items, mut last) = (Count::begin(bytes), 0, None);
        while items < CHUNK_ITEMS && bytes.len() < CHUNK_BYTES {
            let Some((key, value)) = left.next() else { break };
            save_key(key, bytes)?;
            save_value(key, value, version, bytes)?;
            (items, last) = (items + 1, Some(key));
        }
        count.end(items, bytes);
        Ok(last.filter(|_| left.next().is_some()).cloned())
    }

    fn save_changes(
        &self,
        changed: &BTreeSet<K>,
        version: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        Count::begin(bytes).end(changed.len() as u64, bytes);
        for logged in changed {
            // One that compares equal to what was logged may be spelt in another way by now.
            let (key, value) = self.items.get_key_value(logged).unzip();
            let key = key.unwrap_or(logged);
            save_key(key, bytes)?;
            encode(&value.is_some(), bytes)?;
            if let Some(value) = value {
                save_value(key, value, version, bytes)?;
            }
        }
        Ok(())
    }
}

/// A number that is known after what it counts was written.
struct Count {
    at: usize,
}

impl Count {
    fn begin(bytes: &mut Vec<u8>) -> Self {
        let at = bytes.len();
        bytes.extend_from_slice(&[0; 8]);
        Count { at }
    }

    fn end(self, count: u64, bytes: &mut [u8]) {
        bytes[self.at..self.at + 8].copy_from_slice(&count.to_le_bytes());
    }
}

fn restore_count(bytes: &mut &[u8]) -> Result<u64, StateError> {
    let (count, rest) =
        bytes.split_first_chunk().ok_or_else(|| StateError::new("the bytes end too early"))?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*count))
}

fn restore_item<K: Key, V: State>(version: u32, bytes: &mut &[u8]) -> Result<(K, V), StateError> {
    let key = decode(bytes)?;
    let value = restore_value(&key, version, bytes)?;
    Ok((key, value))
}

fn save_key<K: Key>(key: &K, bytes: &mut Vec<u8>) -> Result<(), StateError> {
    encode(key, bytes).map_err(|error| named(key, &error))
}

fn save_value<K: Key, V: State>(
    key: &K,
    value: &V,
    version: u32,
    bytes: &mut Vec<u8>,
) -> Result<(), StateError> {
    value.save(version, bytes).map_err(|error| named(key, &error))
}

fn restore_value<K: Key, V: State>(
    key: &K,
    version: u32,
    bytes: &mut &[u8],
) -> Result<V, StateError> {
    V::restore(version, bytes).map_err(|error| named(key, &error))
}

#[cold]
fn named<K: Key>(key: &K, error: &StateError) -> StateError {
    StateError::new(format!("the item {key:?}: {error}"))
}
