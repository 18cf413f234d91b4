//! A map in a record.
//!
//! std's maps have no fixed layout, and one that had would still be a tree or a table that only its
//! own code can walk. A list of entries that is sorted by key is read by anybody. Nothing relies on
//! the order but the search: a key whose `Ord` differs between two versions is not found, and that
//! is all.

#![expect(unsafe_code, reason = "`Portable` is unsafe to implement")]

use crate::layout::{LaidOut, Said, laid_out};
use crate::list::own_list;
use crate::{List, Portable};
use abi_stable::StableAbi;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

/// A map in a record: a list of entries, sorted by key. In a method's signature `BTreeMap` and
/// `HashMap` stand themselves.
///
/// Looking up takes O(log n), inserting O(n) beside the append at the end: to build a large one,
/// collect it.
///
/// ```
/// use midflight_plugin::{Map, Text};
///
/// let mut prices: Map<Text, i64> = [("XYZ".into(), 7), ("ABC".into(), 101)].into_iter().collect();
/// assert_eq!(prices.get("ABC"), Some(&101));
/// assert_eq!(prices.insert("XYZ".into(), 8), Some(7));
/// assert_eq!(prices.keys().map(|symbol| symbol.as_str()).collect::<Vec<_>>(), ["ABC", "XYZ"]);
/// ```
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[sabi(phantom_field(key: K), phantom_field(value: V))]
pub struct Map<K, V> {
    // Described by the two above: an entry is made of nothing else, in that order.
    #[sabi(unsafe_opaque_field)]
    entries: List<Entry<K, V>>,
}

#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Entry<K, V> {
    key: K,
    value: V,
}

laid_out! {
    [K: LaidOut + 'static, V: LaidOut + 'static] Entry<K, V>, as Entry<Said<K>, Said<V>>;
}

impl<K, V> Map<K, V> {
    /// An empty map. It owns no memory.
    pub fn new() -> Self {
        Map { entries: List::new() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator {
        self.entries.iter().map(|entry| (&entry.key, &entry.value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.entries.iter().map(|entry| &entry.key)
    }

    /// The values, by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.entries.iter().map(|entry| &entry.value)
    }
}

impl<K: Ord, V> Map<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        Some(&self.entries[self.find(key).ok()?].value)
    }

    /// The value of a key, to change it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        Some(&mut self.entries[at].value)
    }

    /// Is there such a key?
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Sets the value of a key, and gives what it was.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.entries[at].value, value)),
            Err(at) => {
                self.entries.insert(at, Entry { key, value });
                None
            }
        }
    }

    /// Takes a key out, and gives its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        Some(self.entries.remove(at).value)
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.entries.binary_search_by(|entry| entry.key.borrow().cmp(key))
    }

    /// Of several values of one key the last one stays, as with std's maps.
    fn ordered(mut entries: Vec<Entry<K, V>>) -> Self {
        if !entries.is_sorted_by(|before, after| before.key < after.key) {
            entries.reverse();
            entries.sort_by(|a, b| a.key.cmp(&b.key)); // stable: what came last comes first
            entries.dedup_by(|later, kept| later.key == kept.key);
        }
        Map { entries: entries.into() }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Map::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Map::ordered(entries.into_iter().map(|(key, value)| Entry { key, value }).collect())
    }
}

impl<K: Ord, V> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        let old = std::mem::take(self);
        *self = old.into_iter().chain(entries).collect();
    }
}

impl<K, V> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

impl<K: Ord, V> From<BTreeMap<K, V>> for Map<K, V> {
    fn from(map: BTreeMap<K, V>) -> Self {
        map.into_iter().collect()
    }
}

impl<K: Ord, V> From<Map<K, V>> for BTreeMap<K, V> {
    fn from(map: Map<K, V>) -> Self {
        map.into_iter().collect()
    }
}

// SAFETY: as its key and its value.
unsafe impl<K: Portable, V: Portable> Portable for Entry<K, V> {
    #[inline]
    fn reown(self) -> Self {
        Entry { key: self.key.reown(), value: self.value.reown() }
    }
}

// SAFETY: rebuilt entry by entry, in the receiver's order, which can be another one than the
// sender's.
unsafe impl<K: Portable + Ord, V: Portable> Portable for Map<K, V> {
    fn reown(self) -> Self {
        Map::ordered(own_list(self.entries))
    }
}

// What crosses as a map, and is none yet: the receiver brings it into its own order.
impl<K, V> Map<K, V> {
    pub(crate) fn of_entries(entries: impl Iterator<Item = (K, V)>) -> Self {
        Map { entries: entries.map(|(key, value)| Entry { key, value }).collect() }
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        self.entries.into_iter().map(|entry| (entry.key, entry.value))
    }
}
