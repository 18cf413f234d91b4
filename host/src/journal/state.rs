//! The state: what the records of a journal come to, one after the other.

use super::record::{Digest, Member, Process, Record, reason};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Of the versions that are neither kept nor held, how many of a plugin are remembered.
const KNOWN_MAX: usize = 64;
/// How many versions of a plugin are held at once.
const HELD_MAX: usize = 64;
/// How many contracts of a plugin are remembered.
const CONTRACTS_MAX: usize = 64;
/// How many plugins that are not committed are remembered.
const STRANGERS_MAX: usize = 256;

/// What is true after the records so far. Sets are by group, the rest is by plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalState {
    /// What a restart brings back. A plugin is in one set; it leaves it for the one of another
    /// group, with which it is committed.
    pub(crate) committed: BTreeMap<String, Vec<Member>>,
    /// What was committed before that and was not found bad since: the last good one.
    pub(crate) before: BTreeMap<String, Vec<Member>>,
    /// What serves on probation.
    pub(crate) trials: BTreeMap<String, Vec<Member>>,
    /// What is not taken up by itself, the latest last.
    pub(crate) held: BTreeMap<String, Vec<Held>>,
    /// What was committed or superseded once, the latest last.
    known: BTreeMap<String, Vec<Digest>>,
    /// The contracts that slots of the program `asked_by` got of each plugin, the latest last.
    pub(crate) asked: BTreeMap<String, Vec<String>>,
    pub(crate) asked_by: String,
    /// Of the configurations that the builder gave; nobody knows where a host of format 1 wrote.
    pub(crate) built: Option<BTreeMap<String, Digest>>,
    /// Groups in which `before` serves and not `committed`, which could not be brought back.
    fallen: BTreeSet<String>,
    /// The last that began.
    pub(crate) process: Option<Process>,
    /// Did that end orderly? So does one that never was.
    pub(crate) clean: bool,
}

/// A version that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) digest: Digest,
    pub(crate) reason: String,
}

impl Default for JournalState {
    fn default() -> Self {
        JournalState {
            committed: BTreeMap::new(),
            before: BTreeMap::new(),
            trials: BTreeMap::new(),
            held: BTreeMap::new(),
            known: BTreeMap::new(),
            asked: BTreeMap::new(),
            asked_by: String::new(),
            built: None,
            fallen: BTreeSet::new(),
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
                self.fallen.clear();
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
            Record::Asked { plugin, contract, by } => self.ask(plugin, contract, by),
            Record::Built { configs } => self.built = Some(configs.clone()),
            Record::Fell { group } => drop(self.fallen.insert(group.clone())),
        }
    }

    /// What must be held because the process died while it was on probation. What is committed as
    /// well, or was the last good one, did not bring it down.
    pub(crate) fn quarantine(&self) -> Vec<Quarantined> {
        let trials = self.trials.iter().filter(|_| !self.clean);
        let members = trials.flat_map(|(group, set)| set.iter().map(move |member| (group, member)));
        let news = members.filter(|(_, member)| {
            let mut good = self.committed.values().chain(self.before.values());
            !good.any(|set| contains(set, &member.plugin, &member.digest))
        });
        news.map(|(group, member)| Quarantined { group: group.clone(), member: member.clone() })
            .collect()
    }

    /// What a restart brings back of `plugin`.
    pub(crate) fn committed(&self, plugin: &str) -> Option<&Member> {
        self.committed.values().flatten().find(|member| member.plugin == plugin)
    }

    /// Does a restart bring back this version of `plugin`, or what could go back to it?
    pub(crate) fn is_good(&self, plugin: &str, digest: &Digest) -> bool {
        let mut kept = self.committed.values().chain(self.before.values());
        kept.any(|set| contains(set, plugin, digest))
    }

    /// Is all of `set` what `group` is committed to?
    pub(crate) fn commits(&self, group: &str, set: &[Member]) -> bool {
        let committed = self.committed.get(group).map(Vec::as_slice).unwrap_or_default();
        set.iter().all(|member| committed.iter().any(|other| other.is_same(member)))
    }

    /// Has a slot of the program `by` asked for that?
    pub(crate) fn has_asked(&self, plugin: &str, contract: &str, by: &str) -> bool {
        let of_it = self.asked.get(plugin);
        self.asked_by == by && of_it.is_some_and(|asked| asked.iter().any(|it| it == contract))
    }

    /// What `plugin` could go back to: another version than that with this digest.
    pub(crate) fn before(&self, plugin: &str, digest: &Digest) -> Option<&Member> {
        let mut before = self.before.values().flatten();
        before.find(|member| member.plugin == plugin && member.digest != *digest)
    }

    /// Why this version is not taken up by itself, if it isn't.
    pub(crate) fn held(&self, plugin: &str, digest: &Digest) -> Option<&str> {
        let mut held = self.held.get(plugin)?.iter();
        held.find(|held| held.digest == *digest).map(|held| held.reason.as_str())
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

    /// Is it one of [`kept`](JournalState::kept)? `group` is where it is most likely.
    pub(crate) fn keeps(&self, group: &str, digest: &Digest) -> bool {
        let is_it = |member: &Member| member.digest == *digest;
        self.kept_of(group).any(is_it)
            || self.committed.values().chain(self.before.values()).flatten().any(is_it)
    }

    /// What of `group` the store must have.
    pub(crate) fn kept_of(&self, group: &str) -> impl Iterator<Item = &Member> {
        self.committed.get(group).into_iter().chain(self.before.get(group)).flatten()
    }

    fn commit(&mut self, group: &str, set: &[Member]) {
        self.end_trial(group, set);
        for member in set {
            self.know(&member.plugin, member.digest);
        }
        let replaced = self.committed.remove(group).unwrap_or_default();
        let new = |plugin: &str| set.iter().all(|member| member.plugin != plugin);
        // What could not be brought back at the start is tried again at the next.
        let stays = replaced.iter().filter(|member| new(&member.plugin)).cloned();
        let next: Vec<_> = sorted(set.iter().cloned().chain(stays).collect());
        // A plugin is in one set: one that was in this group's is in no other.
        let is_elsewhere = |it: &&Member| replaced.iter().all(|other| other.plugin != it.plugin);
        let joined = self.take_over(set.iter().filter(is_elsewhere));
        let (fell, has_moved) = (self.fallen.remove(group), !joined.is_empty());
        let good: Vec<_> = sorted(replaced.into_iter().chain(joined).collect());
        if good.iter().any(|member| self.held(&member.plugin, &member.digest).is_some()) {
            self.before.remove(group);
        } else if !fell && !good.is_empty() && !is_same_set(&good, &next) {
            self.before.insert(group.to_owned(), good);
        }
        self.committed.insert(group.to_owned(), next);
        // A commit to one group must not cost a look at all of them.
        if has_moved {
            self.forget_same();
        } else if self.before.get(group).is_some_and(|set| self.is_no_way_back(group, set)) {
            self.before.remove(group);
        }
    }

    /// Is there nothing in `set` to go back to, or what `group` is committed to?
    fn is_no_way_back(&self, group: &str, set: &[Member]) -> bool {
        set.is_empty() || self.committed.get(group).is_some_and(|now| is_same_set(now, set))
    }

    fn forget_same(&mut self) {
        let mut before = std::mem::take(&mut self.before);
        before.retain(|group, set| !self.is_no_way_back(group, set));
        self.before = before;
    }

    /// Takes the plugins of `set` out of the sets of other groups, and gives what each could go
    /// back to.
    fn take_over<'m>(&mut self, set: impl Iterator<Item = &'m Member>) -> Vec<Member> {
        let mut joined = Vec::new();
        for member in set {
            let take = |sets: &mut BTreeMap<String, Vec<Member>>| {
                let mut taken = None;
                for others in sets.values_mut() {
                    let of_it = others.iter().position(|other| other.plugin == member.plugin);
                    taken = taken.or(of_it.map(|at| others.remove(at)));
                }
                sets.retain(|_, set| !set.is_empty());
                taken
            };
            // The group's own set was taken out before.
            let Some(old) = take(&mut self.committed) else { continue };
            let older = take(&mut self.before);
            joined.push(if old.is_same(member) { older.unwrap_or(old) } else { old });
        }
        joined
    }

    /// What was on trial and is not in `next` was superseded, and does not come back by itself.
    fn end_trial(&mut self, group: &str, next: &[Member]) {
        for member in self.trials.remove(group).unwrap_or_default() {
            if !contains(next, &member.plugin, &member.digest) {
                self.know(&member.plugin, member.digest);
            }
        }
    }

    /// It is not brought back either, if it was to be: what was before it is, where there is
    /// something.
    fn hold(&mut self, plugin: &str, digest: Digest, reason: &str) {
        self.before.retain(|_, set| !contains(set, plugin, &digest));
        let older = self.before(plugin, &digest).cloned();
        for set in self.committed.values_mut().filter(|set| contains(set, plugin, &digest)) {
            set.retain(|member| member.plugin != plugin);
            set.extend(older.clone());
            set.sort_by(|one, other| one.plugin.cmp(&other.plugin));
        }
        self.committed.retain(|_, set| !set.is_empty());
        self.forget_same();
        let held = self.held.entry(plugin.to_owned()).or_default();
        held.retain(|held| held.digest != digest);
        held.push(Held { digest, reason: self::reason(reason) });
        keep_last(held, HELD_MAX);
        self.forget_strangers(plugin);
    }

    /// Nothing is known of it any more: if it is not committed this time, it is a candidate as any
    /// other.
    fn release(&mut self, plugin: &str, digest: &Digest) {
        if let Some(held) = self.held.get_mut(plugin) {
            held.retain(|held| held.digest != *digest);
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
        keep_last(known, KNOWN_MAX);
        self.forget_strangers(plugin);
    }

    /// Another program asks for what it wants, whatever was asked for before.
    fn ask(&mut self, plugin: &str, contract: &str, by: &str) {
        if self.asked_by != by {
            self.asked.clear();
            by.clone_into(&mut self.asked_by);
        }
        let asked = self.asked.entry(plugin.to_owned()).or_default();
        asked.retain(|other| other != contract);
        asked.push(contract.to_owned());
        keep_last(asked, CONTRACTS_MAX);
        self.forget_strangers(plugin);
    }

    /// Plugins come and go: of those that are committed nowhere some are remembered, `last` among
    /// them.
    fn forget_strangers(&mut self, last: &str) {
        let most = self.held.len().max(self.known.len()).max(self.asked.len());
        // No set is empty, so that mostly there is nothing to count.
        if most <= self.committed.len() + STRANGERS_MAX {
            return;
        }
        let committed = self.committed.values().map(Vec::len).sum::<usize>();
        if most <= committed + STRANGERS_MAX {
            return;
        }
        let ours: BTreeSet<_> =
            self.committed.values().flatten().map(|member| member.plugin.clone()).collect();
        let is_stranger = |plugin: &String| !ours.contains(plugin) && plugin != last;
        let names = self.held.keys().chain(self.known.keys()).chain(self.asked.keys());
        let strangers: BTreeSet<_> = names.filter(|name| is_stranger(name)).cloned().collect();
        let too_many = strangers.len().saturating_sub(STRANGERS_MAX);
        for stranger in strangers.iter().take(too_many) {
            self.held.remove(stranger);
            self.known.remove(stranger);
            self.asked.remove(stranger);
        }
    }
}

fn contains(set: &[Member], plugin: &str, digest: &Digest) -> bool {
    set.iter().any(|member| member.plugin == plugin && member.digest == *digest)
}

fn is_same_set(one: &[Member], other: &[Member]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_same(other))
}

fn sorted(mut set: Vec<Member>) -> Vec<Member> {
    set.sort_by(|one, other| one.plugin.cmp(&other.plugin));
    set
}

fn keep_last<T>(all: &mut Vec<T>, max: usize) {
    let too_many = all.len().saturating_sub(max);
    all.drain(..too_many);
}

/// As journals of format 1 have it.
#[derive(Deserialize)]
pub(crate) struct StateOfFormat1 {
    committed: BTreeMap<String, Vec<Member>>,
    before: BTreeMap<String, Vec<Member>>,
    trials: BTreeMap<String, Vec<Member>>,
    held: BTreeMap<String, BTreeMap<Digest, String>>,
    known: BTreeMap<String, Vec<Digest>>,
    process: Option<Process>,
    clean: bool,
}

impl From<StateOfFormat1> for JournalState {
    fn from(old: StateOfFormat1) -> Self {
        let StateOfFormat1 { committed, before, trials, held, known, process, clean } = old;
        let mut state = JournalState {
            committed,
            before,
            trials,
            known,
            process,
            clean,
            ..JournalState::default()
        };
        for (plugin, all) in held {
            let held = all.into_iter();
            let held = held.map(|(digest, text)| Held { digest, reason: reason(&text) });
            state.held.insert(plugin, held.collect());
        }
        state.held.values_mut().for_each(|held| keep_last(held, HELD_MAX));
        state.leave_old_groups();
        state
    }
}

impl JournalState {
    /// Before format 2 a plugin that had changed its group was in the sets of both. Which is the
    /// later one, the versions that are known tell, the latest last.
    fn leave_old_groups(&mut self) {
        let plugins: BTreeSet<_> =
            self.committed.values().flatten().map(|member| member.plugin.clone()).collect();
        for plugin in plugins {
            let known = self.known.get(&plugin).map(Vec::as_slice).unwrap_or_default();
            let place = |member: &Member| known.iter().position(|known| *known == member.digest);
            let of_it = |set: &[Member]| set.iter().find(|it| it.plugin == plugin).map(place);
            let groups =
                self.committed.iter().filter_map(|(group, set)| Some((of_it(set)?, group)));
            let Some((_, latest)) = groups.max() else { continue };
            let latest = latest.clone();
            for sets in [&mut self.committed, &mut self.before] {
                for (_, set) in sets.iter_mut().filter(|(group, _)| **group != latest) {
                    set.retain(|member| member.plugin != plugin);
                }
                sets.retain(|_, set| !set.is_empty());
            }
        }
    }

    /// What journals of format 1 don't tell of a member: it is as old as the line of these
    /// `seconds` in which it stands, and its group is that of its set.
    pub(crate) fn date(&mut self, seconds: u64) {
        for sets in [&mut self.committed, &mut self.before, &mut self.trials] {
            sets.iter_mut().for_each(|(group, set)| date(group, set, seconds));
        }
    }
}

/// The same of the members of a record.
pub(crate) fn date_record(record: &mut Record, seconds: u64) {
    if let Record::Trial { group, set } | Record::Committed { group, set } = record {
        date(group, set, seconds);
    }
}

fn date(group: &str, set: &mut [Member], seconds: u64) {
    for member in set.iter_mut().filter(|member| member.modified_ns == 0) {
        member.group = Some(group.to_owned()).filter(|group| *group != member.plugin);
        member.modified_ns = seconds.saturating_add(1).saturating_mul(1_000_000_000);
    }
}
