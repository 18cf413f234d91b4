//! A restart: in which order what the journal knows is tried, set by set.
//!
//! What was committed last comes back whole. A library in the store can be damaged, a start can
//! fail: a service that serves what was good before is better off than one that serves nothing. So
//! the set that was committed before comes next, which is of one piece as well. Where that doesn't
//! work either, each plugin comes back for itself: a damaged one keeps no other away.

use super::record::Member;
use super::state::JournalState;

/// What came of one group's set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Brought {
    /// What was committed last.
    Committed,
    /// What was committed before that.
    Before(Vec<Member>),
    /// What could be had of either, plugin by plugin.
    Parts(Vec<Member>),
}

/// Brings back what was committed in `group`. `bring` tries a set, all of it or nothing.
pub(crate) fn bring_back(
    state: &JournalState,
    group: &str,
    mut bring: impl FnMut(&[Member]) -> bool,
) -> Brought {
    let set_in = |sets: &std::collections::BTreeMap<String, Vec<Member>>| {
        sets.get(group).map(Vec::as_slice).unwrap_or_default().to_vec()
    };
    let (committed, before) = (set_in(&state.committed), set_in(&state.before));
    if bring(&committed) {
        return Brought::Committed;
    }
    if !before.is_empty() && bring(&before) {
        return Brought::Before(before);
    }
    let mut parts = Vec::new();
    for member in &committed {
        let older = before.iter().find(|older| older.plugin == member.plugin);
        let part = [Some(member), older].into_iter().flatten().find(|it| bring(&[(*it).clone()]));
        parts.extend(part.cloned());
    }
    Brought::Parts(parts)
}
