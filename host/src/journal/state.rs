//! The state: what the records of a journal come to, one after the other.

use super::record::{Digest, Member, Process, Record};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Of the versions that are neither kept nor held, how many of a plugin are remembered.
const KNOWN_MAX: usize = 64;

/// What is true after the records so far. Sets are by group, the rest is by plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalState {
    /// What a restart brings back.
    pub(crate) committed: BTreeMap<String, Vec<Member>>,
    /// What was committed before that and was not found bad since: the last good one.
    pub(crate) before: BTreeMap<String, Vec<Member>>,
    /// What serves on probation.
    pub(crate) trials: BTreeMap<String, Vec<Member>>,
    /// What is not taken up by itself, with the reason.
    pub(crate) held: BTreeMap<String, BTreeMap<Digest, String>>,
    /// What was committed or superseded once, the latest last.
    known: BTreeMap<String, Vec<Digest>>,
    /// The last that began.
    pub(crate) process: Option<Process>,
    /// Did that end orderly? So does one that never was.
    pub(crate) clean: bool,
}

impl Default for JournalState {
    fn default() -> Self {
        JournalState {
            committed: BTreeMap::new(),
            before: BTreeMap::new(),
            trials: BTreeMap::new(),
            held: BTreeMap::new(),
            known: BTreeMap::new(),
            process: None,
            clean: true,
        }
    }
}

/// A version that was on probation when its process died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    pub(crate) group: String,
    pub(crate) member: Member,
}

impl Quarantined {
    const REASON: &str = "the process ended while it was on probation";

    pub(crate) fn record(&self) -> Record {
        let Member { plugin, digest, .. } = self.member.clone();
        Record::Held { plugin, digest, reason: Self::REASON.to_owned() }
    }
}

impl JournalState {
    pub(crate) fn apply(&mut self, record: &Record) {
        self.clean = matches!(record, Record::Ended);
        match record {
            Record::Began(process) => {
                self.trials.clear();
                self.process = Some(process.clone());
            }
            Record::Ended => {}
            Record::Trial { group, set } => {
                self.end_trial(group, set);
                self.trials.insert(group.clone(), set.clone());
            }
            Record::Committed { group, set } => self.commit(group, set),
            Record::Returned { group, held, reason } => {
                self.trials.remove(group);
                for version in held {
                    self.hold(&version.plugin, version.digest, reason);
                }
            }
            Record::Held { plugin, digest, reason } => self.hold(plugin, *digest, reason),
            Record::Released { plugin, digest } => self.release(plugin, digest),
        }
    }

    /// What must be held because the process died while it was on probation. What is committed as
    /// well did not bring it down.
    pub(crate) fn quarantine(&self) -> Vec<Quarantined> {
        let trials = self.trials.iter().filter(|_| !self.clean);
        let members = trials.flat_map(|(group, set)| set.iter().map(move |member| (group, member)));
        let news = members.filter(|(group, member)| {
            let committed = self.committed.get(*group);
            !committed.is_some_and(|set| contains(set, &member.plugin, &member.digest))
        });
        news.map(|(group, member)| Quarantined { group: group.clone(), member: member.clone() })
            .collect()
    }

    /// Why this version is not taken up by itself, if it isn't.
    pub(crate) fn held(&self, plugin: &str, digest: &Digest) -> Option<&str> {
        self.held.get(plugin)?.get(digest).map(String::as_str)
    }

    /// Was it decided about? What is not known is a candidate at a start.
    pub(crate) fn knows(&self, plugin: &str, digest: &Digest) -> bool {
        let mut kept = self.committed.values().chain(self.before.values());
        self.known.get(plugin).is_some_and(|known| known.contains(digest))
            || self.held(plugin, digest).is_some()
            || kept.any(|set| contains(set, plugin, digest))
    }

    /// What the store must have: what a restart brings back, and what that could go back to.
    pub(crate) fn kept(&self) -> BTreeSet<Digest> {
        let sets = self.committed.values().chain(self.before.values());
        sets.flatten().map(|member| member.digest).collect()
    }

    fn commit(&mut self, group: &str, set: &[Member]) {
        self.end_trial(group, set);
        for member in set {
            self.know(&member.plugin, member.digest);
        }
        let Some(replaced) = self.committed.insert(group.to_owned(), set.to_owned()) else {
            return;
        };
        if replaced.iter().any(|member| self.held(&member.plugin, &member.digest).is_some()) {
            self.before.remove(group);
        } else if replaced != set {
            self.before.insert(group.to_owned(), replaced);
        }
    }

    /// What was on trial and is not in `next` was superseded, and does not come back by itself.
    fn end_trial(&mut self, group: &str, next: &[Member]) {
        for member in self.trials.remove(group).unwrap_or_default() {
            if !contains(next, &member.plugin, &member.digest) {
                self.know(&member.plugin, member.digest);
            }
        }
    }

    fn hold(&mut self, plugin: &str, digest: Digest, reason: &str) {
        self.before.retain(|_, set| !contains(set, plugin, &digest));
        self.held.entry(plugin.to_owned()).or_default().insert(digest, reason.to_owned());
    }

    /// Nothing is known of it any more: if it is not committed this time, it is a candidate as any
    /// other.
    fn release(&mut self, plugin: &str, digest: &Digest) {
        if let Some(held) = self.held.get_mut(plugin) {
            held.remove(digest);
        }
        self.held.retain(|_, held| !held.is_empty());
        if let Some(known) = self.known.get_mut(plugin) {
            known.retain(|other| other != digest);
        }
    }

    fn know(&mut self, plugin: &str, digest: Digest) {
        let known = self.known.entry(plugin.to_owned()).or_default();
        known.retain(|other| *other != digest);
        known.push(digest);
        let too_many = known.len().saturating_sub(KNOWN_MAX);
        known.drain(..too_many);
    }
}

fn contains(set: &[Member], plugin: &str, digest: &Digest) -> bool {
    set.iter().any(|member| member.plugin == plugin && member.digest == *digest)
}
