//! Maps that note what was lent out to be changed.
//!
//! A host has as many plugins as it likes, and what happens to one must not cost a look at all of
//! them. So what has to be done about changes, showing them and seeing to what is due, is done
//! about those that were changed.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Deref;

/// To read it is to read a map; what is got out of it to be changed, is noted.
pub(super) struct Noted<K, V> {
    all: BTreeMap<K, V>,
    noted: BTreeSet<K>,
}

impl<K: Ord + Clone, V> Noted<K, V> {
    pub(super) fn new() -> Self {
        Noted { all: BTreeMap::new(), noted: BTreeSet::new() }
    }

    pub(super) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.note(key);
        self.all.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.noted.insert(key.clone());
        self.all.insert(key, value);
    }

    pub(super) fn or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        self.noted.insert(key.clone());
        self.all.entry(key).or_insert_with(value)
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.noted.insert(key.clone());
        self.all.remove(key);
    }

    /// Something that its value is shown with has changed elsewhere.
    pub(super) fn note<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        if !self.noted.contains(key)
            && let Some((key, _)) = self.all.get_key_value(key)
        {
            self.noted.insert(key.clone());
        }
    }

    /// The keys that were noted since the last time, those of what was removed among them.
    pub(super) fn take_noted(&mut self) -> BTreeSet<K> {
        mem::take(&mut self.noted)
    }

    /// Those that are noted.
    pub(super) fn noted(&self) -> impl Iterator<Item = (&K, &V)> {
        self.noted.iter().filter_map(|key| self.all.get_key_value(key))
    }

    /// The first of them that is so.
    pub(super) fn find_noted(&mut self, is_so: impl Fn(&V) -> bool) -> Option<(K, &mut V)> {
        let key = self.noted().find(|(_, value)| is_so(value))?.0.clone();
        let value = self.all.get_mut(&key)?;
        Some((key, value))
    }

    /// Notes no more of them than those that are still so.
    pub(super) fn keep_noted(&mut self, is_so: impl Fn(&V) -> bool) {
        let all = &self.all;
        self.noted.retain(|key| all.get(key).is_some_and(&is_so));
    }

    /// All of them, which are not noted.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.all.values_mut()
    }
}

impl<K, V> Deref for Noted<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &BTreeMap<K, V> {
        &self.all
    }
}
