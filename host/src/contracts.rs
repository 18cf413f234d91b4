//! Contracts: what the host's code and its slots ask for.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// A contract as the host's own code knows it.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// By number.
    pub(crate) methods: &'static [&'static str],
    pub(crate) layout: Layout,
}

/// A table's description, comparable by where it stands: two contracts of one name can be different
/// types.
#[derive(Clone, Copy)]
pub(crate) struct Layout(pub(crate) &'static abi::type_layout::TypeLayout);

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

/// What a slot asks for. Its place in the host's list is the slot's index.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) plugin: Arc<str>,
    pub(crate) contract: Known,
}

/// Everything that slots have asked for.
#[derive(Default)]
pub(crate) struct Slots {
    /// By index.
    all: Vec<Wanted>,
    /// The indices of a plugin's: what is to be done about one plugin must not cost a look at all.
    by_plugin: BTreeMap<Arc<str>, Vec<usize>>,
}

impl Slots {
    /// Those of `plugin`, with their indices.
    pub(crate) fn of(&self, plugin: &str) -> impl Iterator<Item = (usize, &Wanted)> {
        let indices = self.by_plugin.get(plugin).into_iter().flatten();
        indices.map(|index| (*index, &self.all[*index]))
    }

    pub(crate) fn find(&self, wanted: &Wanted) -> Option<usize> {
        let mut same = self.of(&wanted.plugin);
        let same = same.find(|(_, slot)| slot.contract.layout == wanted.contract.layout);
        same.map(|(index, _)| index)
    }

    pub(crate) fn add(&mut self, wanted: Wanted) -> usize {
        let index = self.all.len();
        self.by_plugin.entry(Arc::clone(&wanted.plugin)).or_default().push(index);
        self.all.push(wanted);
        index
    }
}

impl Deref for Slots {
    type Target = [Wanted];

    fn deref(&self) -> &[Wanted] {
        &self.all
    }
}
