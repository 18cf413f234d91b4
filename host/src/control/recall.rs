//! Recall: what the journal is told of each group's sets, and what it knew when the host was
//! started.
//!
//! A switch is written down before its store, as a trial: so what was switched in when the process
//! died is known at the next start. Its commit and its way back are written down when they are
//! decided. Each is one line, appended and synced on the control thread: a disk that hangs holds up
//! transitions, not calls.

use super::Control;
use super::publish::Ready;
use super::transition::Transition;
use super::trial::Tried;
use super::update::Update;
use crate::command::{Ranked, Recalled, Reply, Standing};
use crate::contained::say;
use crate::contracts::{Known, Wanted};
use crate::event::EventKind;
use crate::generation::Generation;
use crate::journal::{
    Digest, Journal, JournalError, JournalState, Member, Record, Store, Version as VersionOf,
};
use crate::library::{Program, contract_named};
use crate::refusal::{Code, Refusal};
use crate::settings::Bounds;
use crate::stage::Candidate;
use midflight_inspect::{Spare, text};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A host's memory beyond its process.
pub(crate) struct Recall {
    pub(crate) journal: Journal,
    pub(crate) store: Arc<Store>,
    /// What the store may have and need not keep, with its group: what is on its way, and what was
    /// committed once. Only these are looked at after a commit.
    loose: BTreeMap<Digest, Arc<str>>,
    /// What the program's slots asked for in earlier processes, by plugin.
    required: BTreeMap<String, Vec<Known>>,
    /// Empty where that can't be told.
    program: String,
}

impl Recall {
    pub(crate) fn new(journal: Journal, store: Arc<Store>) -> Self {
        let program = Program::this().map(|program| program.text()).unwrap_or_default();
        let state = journal.state();
        let is_same = !program.is_empty() && state.asked_by == program;
        let asked = state.asked.iter().filter(|_| is_same).map(|(plugin, contracts)| {
            let known = contracts.iter().filter_map(|contract| contract_named(contract));
            (plugin.clone(), known.collect())
        });
        let required = asked.collect();
        Recall { journal, store, loose: BTreeMap::new(), required, program }
    }

    /// The contracts that slots of any program got in earlier processes, as far as this program has
    /// them: what is loaded at the start is compared with them before a slot asks again.
    pub(crate) fn known(&self) -> Vec<Known> {
        let names: BTreeSet<_> = self.journal.state().asked.values().flatten().collect();
        names.into_iter().filter_map(|name| contract_named(name)).collect()
    }

    fn append(&mut self, record: &Record) -> Result<(), Refusal> {
        self.journal.append(record).map_err(|error| unavailable(&error))
    }

    /// What the store has of `group` may be needed no more.
    fn loosen(&mut self, group: &Arc<str>) {
        let kept = self.journal.state().kept_of(group);
        self.loose.extend(kept.map(|member| (member.digest, Arc::clone(group))));
    }

    /// A worker will put it into the store.
    pub(super) fn comes(&mut self, group: &Arc<str>, digest: blake3::Hash) {
        self.loose.insert(digest.into(), Arc::clone(group));
    }
}

pub(super) fn unavailable(error: &dyn Error) -> Refusal {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason += &format!(": {error}");
        source = error.source();
    }
    Refusal::new(Code::JournalUnavailable, reason)
}

/// Its library, from the first place where that is what was committed.
pub(crate) fn stored(recalled: &Recalled, bounds: &Bounds) -> Result<Candidate, Refusal> {
    let Recalled { member, places, .. } = recalled;
    let mut refused = None;
    for path in places {
        match read_stored(path, member, bounds) {
            Ok(candidate) => return Ok(candidate.dated(member.modified_ns)),
            Err(refusal) => drop(refused.get_or_insert(refusal)),
        }
    }
    let refusal = refused
        .unwrap_or_else(|| Refusal::new(Code::FileUnreadable, "its library is kept nowhere"));
    Err(refusal.of(&member.plugin, &member.version))
}

fn read_stored(path: &Path, member: &Member, bounds: &Bounds) -> Result<Candidate, Refusal> {
    let found = Candidate::read(path, bounds, &Spare::default())?;
    if Digest::from(found.digest()) != member.digest {
        let reason = "it is not what was committed";
        return Err(Refusal::new(Code::FileChanged, reason).in_file(path));
    }
    let (manifest, Member { plugin, version, .. }) = (found.manifest(), member);
    if manifest.name != *plugin || manifest.version.to_string() != *version {
        let reason = format!(
            "the journal says {plugin} {version}, and {} is {} {}: the journal was edited; apply \
             the library that you want",
            text::path(path),
            manifest.name,
            manifest.version
        );
        return Err(Refusal::new(Code::JournalUnavailable, reason).in_file(path));
    }
    Ok(found)
}

fn member(generation: &Generation) -> Member {
    Member {
        plugin: generation.plugin.to_string(),
        version: generation.version.to_string(),
        digest: generation.image.digest.into(),
        config: generation.config.to_string(),
        group: generation.image.group.as_deref().map(str::to_owned),
        modified_ns: generation.image.modified_ns,
    }
}

impl Control {
    /// What serves `group`, with `ready` in the place of what they replace. What is linked in comes
    /// with the binary.
    fn set(&self, group: &Arc<str>, ready: &[Ready]) -> Vec<Member> {
        let Some(state) = self.groups.get(group) else { return Vec::new() };
        let stays = |active: &&Arc<Generation>| {
            ready.iter().all(|ready| ready.generation.plugin != active.plugin)
        };
        let linked = |plugin: &str| self.plugins.get(plugin).is_some_and(|plugin| plugin.linked);
        let all =
            state.active.iter().filter(stays).chain(ready.iter().map(|ready| &ready.generation));
        let mut set: Vec<_> = all.filter(|it| !linked(&it.plugin)).map(|it| member(it)).collect();
        set.sort_by(|one, other| one.plugin.cmp(&other.plugin));
        set
    }

    /// What would serve `group` if all that is on trial went back.
    fn committed(&self, group: &Arc<str>) -> Vec<Member> {
        let mut set = self.set(group, &[]);
        let trials = self.groups.get(group).map(|state| &state.trials);
        for tried in trials.into_iter().flatten().flat_map(|trial| &trial.members) {
            let Some(at) = set.iter().position(|it| *it.plugin == *tried.ready.generation.plugin)
            else {
                continue;
            };
            match &tried.standby {
                Some(standby) => set[at] = member(standby),
                None => drop(set.remove(at)),
            }
        }
        set
    }

    /// Before the store: what can't be written down is not switched in.
    pub(super) fn note_trial(&mut self, group: &Arc<str>, ready: &[Ready]) -> Result<(), Refusal> {
        if !ready.is_empty() && ready.iter().all(|ready| ready.update.recalled) {
            return Ok(());
        }
        let set = self.set(group, ready);
        match &mut self.recall {
            Some(recall) if !recall.journal.state().commits(group, &set) => {
                recall.append(&Record::Trial { group: group.to_string(), set })
            }
            _ => Ok(()),
        }
    }

    /// It stays, and comes back after a restart; `members` are what is new in it.
    pub(super) fn note_commit(&mut self, group: &Arc<str>, members: &[Tried]) {
        if members.iter().all(|tried| tried.ready.update.recalled) {
            return;
        }
        let set = self.committed(group);
        let Some(recall) = &mut self.recall else { return };
        recall.loosen(group);
        let known = recall.journal.state();
        let mut records = Vec::new();
        for tried in members {
            let generation = &tried.ready.generation;
            if known.held(&generation.plugin, &generation.image.digest.into()).is_some() {
                let plugin = generation.plugin.to_string();
                records.push(Record::Released { plugin, digest: generation.image.digest.into() });
            }
        }
        if !known.commits(group, &set) || known.trials.contains_key(&**group) {
            records.push(Record::Committed { group: group.to_string(), set });
        }
        for tried in members.iter().filter(|tried| tried.ready.update.rollback) {
            let left = tried
                .standby
                .as_ref()
                .filter(|old| old.image.digest != tried.ready.generation.image.digest)
                .filter(|old| known.held(&old.plugin, &old.image.digest.into()).is_none());
            records.extend(left.map(|old| Record::Held {
                plugin: old.plugin.to_string(),
                digest: old.image.digest.into(),
                reason: "an operator rolled it back".to_owned(),
            }));
        }
        let written = records.iter().try_for_each(|record| recall.append(record));
        let failed = match written {
            // What is not needed any more costs room alone.
            Ok(()) => self.discard_loose().err().map(|error| unavailable(&error)),
            Err(refusal) => Some(refusal),
        };
        self.note_rows(group);
        self.tell_journal(members.first().map(|tried| tried.ready.generation.number), failed);
        for generation in members.iter().map(|tried| &tried.ready.generation) {
            let of_it = self.slots.of(&generation.plugin).map(|(_, wanted)| wanted);
            let got = of_it.filter(|wanted| generation.is_checked(&wanted.contract));
            for wanted in got.cloned().collect::<Vec<_>>() {
                self.note_slot(&wanted);
            }
        }
    }

    /// What `plugin` could go back to by the journal alone: what was committed before this process
    /// began.
    pub(super) fn good_before(&self, plugin: &str) -> Option<&Member> {
        let recall = self.recall.as_ref()?;
        let group = &self.plugins.get(plugin)?.group;
        let serving =
            self.groups.get(group)?.active.iter().find(|active| *active.plugin == *plugin)?;
        recall.journal.state().before(plugin, &serving.image.digest.into())
    }

    pub(super) fn begin_rollback_to(
        &mut self,
        group: &Arc<str>,
        plugin: &Arc<str>,
        member: Member,
        reply: Reply,
    ) {
        let Some(recall) = &self.recall else { return };
        let places = vec![recall.store.path(&member.digest)];
        if let Err(refusal) = self.admit(plugin) {
            return self.refuse(None, refusal.of(plugin, &member.version), Some(reply));
        }
        let update = Update {
            generation: self.next_generation(),
            plugin: Arc::clone(plugin),
            version: member.version.as_str().into(),
            rollback: true,
            recalled: false,
            config: member.config.as_str().into(),
            digest: Some(member.digest.bytes().into()),
            starts: false,
            publish: self.shared.bounds.publish,
            release: None,
            began: Instant::now(),
            reply: Some(reply),
        };
        let group_name = group.to_string();
        let recalled = Recalled { member, places, group: group_name, as_committed: false };
        self.begin_recalled(group, update, Box::new(recalled));
    }

    /// Removes from the store what neither a restart would bring back nor anything here may commit.
    fn discard_loose(&mut self) -> Result<(), JournalError> {
        let Some(recall) = &mut self.recall else { return Ok(()) };
        let state = recall.journal.state();
        let mut loose = mem::take(&mut recall.loose);
        loose.retain(|digest, group| !state.keeps(group, digest));
        let (used, unneeded): (BTreeMap<_, _>, BTreeMap<_, _>) =
            loose.into_iter().partition(|(digest, group)| self.is_in_use(group, digest));
        let Some(recall) = &mut self.recall else { return Ok(()) };
        recall.loose = used;
        let discarded = recall.store.discard(unneeded.keys());
        if discarded.is_err() {
            // With the next commit.
            recall.loose.extend(unneeded);
        }
        discarded
    }

    /// What serves in `group`, and what is tried or on its way anywhere, may be committed next.
    fn is_in_use(&self, group: &Arc<str>, digest: &Digest) -> bool {
        let is_it = |it: &Arc<Generation>| Digest::from(it.image.digest) == *digest;
        let of_group = self.groups.get(group).into_iter().flat_map(|state| &state.active);
        of_group.chain(self.groups.noted().flat_map(|(_, state)| &state.active)).any(is_it)
            || self.groups.noted().any(|(_, state)| {
                state.seats().any(|(_, it)| is_it(it))
                    || matches!(&state.transition, Some(Transition::Update { update, .. })
                        if update.digest.is_some_and(|it| Digest::from(it) == *digest))
            })
    }

    /// The journal's state says what a plugin of the group could go back to.
    fn note_rows(&mut self, group: &Arc<str>) {
        for active in self.groups.get(group).into_iter().flat_map(|state| &state.active) {
            self.plugins.note(&active.plugin);
        }
    }

    /// A switch that was written down did not come about. It holds nothing, since it never served.
    pub(super) fn note_given_up(&mut self, group: &Arc<str>, reason: &str) {
        let on_trial = self.groups.get(group).is_some_and(|state| !state.trials.is_empty());
        if !on_trial {
            return self.note_return(group, &[], reason);
        }
        // What it would have superseded is on trial as before.
        if let Err(refusal) = self.note_trial(group, &[]) {
            let serving = self.groups.get(group).and_then(|state| state.active.first());
            self.tell_journal(serving.map(|it| it.number), Some(refusal));
        }
    }

    /// It went back.
    pub(super) fn note_return(&mut self, group: &Arc<str>, left: &[Arc<Generation>], reason: &str) {
        let Some(recall) = &mut self.recall else { return };
        recall.loosen(group);
        let version = |it: &Arc<Generation>| VersionOf {
            plugin: it.plugin.to_string(),
            digest: it.image.digest.into(),
        };
        let known = recall.journal.state();
        // Another configuration of what is committed holds nothing.
        let new = |it: &&Arc<Generation>| !known.is_good(&it.plugin, &it.image.digest.into());
        let held = left.iter().filter(new).map(version).collect();
        let record = Record::Returned { group: group.to_string(), held, reason: reason.to_owned() };
        let failed = recall.append(&record).err();
        self.note_rows(group);
        self.tell_journal(left.first().map(|it| it.number), failed);
    }

    /// An orderly end.
    pub(super) fn note_end(&mut self) {
        if let Some(recall) = &mut self.recall
            && let Err(refusal) = recall.append(&Record::Ended)
        {
            let _ = say!(warn, "{}", refusal.reason());
        }
    }

    pub(super) fn tell_journal(&mut self, generation: Option<u64>, failed: Option<Refusal>) {
        if let (Some(number), Some(refusal)) = (generation, failed) {
            let reason = refusal.reason().to_owned();
            self.tell(number, Duration::ZERO, EventKind::JournalFailed { reason });
        }
    }

    /// Contents of `plugin` that the journal holds, and why.
    pub(super) fn held_before(&self, plugin: &str) -> impl Iterator<Item = ([u8; 32], String)> {
        let held = self.recall.as_ref().and_then(|recall| recall.journal.state().held.get(plugin));
        held.into_iter().flatten().map(|held| (held.digest.bytes(), held.reason.clone()))
    }

    /// The version of `plugin` that a restart would bring back.
    pub(super) fn committed_before(&self, plugin: &str) -> Option<String> {
        let member = self.recall.as_ref()?.journal.state().committed(plugin)?;
        Some(text::name(&member.version))
    }

    /// What slots of this program got of `plugin` in earlier processes: they will ask again.
    pub(super) fn required_before(&self, plugin: &str) -> Vec<Known> {
        let required = self.recall.as_ref().and_then(|recall| recall.required.get(plugin));
        required.cloned().unwrap_or_default()
    }

    /// A slot has got what it asked for: the next start knows of it before the first load.
    pub(super) fn note_slot(&mut self, wanted: &Wanted) {
        let Some(recall) = &mut self.recall else { return };
        let (plugin, contract) = (&*wanted.plugin, wanted.contract.name);
        if recall.program.is_empty()
            || recall.journal.state().has_asked(plugin, contract, &recall.program)
        {
            return;
        }
        let record = Record::Asked {
            plugin: plugin.to_owned(),
            contract: contract.to_owned(),
            by: recall.program.clone(),
        };
        // Without it the next start loads first and compares then.
        if let Err(refusal) = recall.append(&record) {
            let _ = say!(warn, "{}", refusal.reason());
        }
    }

    /// It is of no use to this host: a restart must not bring it back.
    pub(super) fn note_unfit(&mut self, unfit: &Generation, refusal: &Refusal) {
        let Some(recall) = &mut self.recall else { return };
        let (plugin, digest) = (unfit.plugin.to_string(), unfit.image.digest.into());
        let reason = format!("{}: {}", refusal.code(), refusal.reason());
        let failed = recall.append(&Record::Held { plugin, digest, reason }).err();
        self.tell_journal(Some(unfit.number), failed);
    }

    /// How the start went: in which groups what was before serves, and which configurations of the
    /// builder's were heeded.
    pub(super) fn note_start(&mut self, fell: Vec<String>, built: BTreeMap<String, Digest>) {
        let Some(recall) = &mut self.recall else { return };
        let mut records: Vec<_> = fell.into_iter().map(|group| Record::Fell { group }).collect();
        if recall.journal.state().built.as_ref() != Some(&built) {
            records.push(Record::Built { configs: built });
        }
        if let Err(refusal) = records.iter().try_for_each(|record| recall.append(record)) {
            let _ = say!(warn, "{}", refusal.reason());
        }
    }

    /// Whether a file that lies in the plugins' directory may be taken up by itself.
    pub(super) fn standing(&self, file: &Ranked) -> Standing {
        let digest = file.digest;
        let journal = self.recall.as_ref().map(|recall| recall.journal.state());
        let is_held = |known: &JournalState| known.held(&file.plugin, &digest).is_some();
        let plugin = self.plugins.get(file.plugin.as_str());
        if plugin.is_some_and(|it| it.held.contains_key(&digest.bytes()))
            || journal.is_some_and(is_held)
        {
            return Standing::Out;
        }
        let serving =
            plugin.and_then(|plugin| self.groups.get(&plugin.group)?.newest(&file.plugin));
        let Some(serving) = serving.filter(|_| !plugin.is_some_and(|plugin| plugin.linked)) else {
            let committed = journal.and_then(|known| known.committed(&file.plugin));
            // Where what was committed could not be brought back, what it came from may be all
            // there is.
            return match committed.is_some_and(|member| member.digest == digest) {
                true => Standing::Committed,
                false => Standing::Candidate,
            };
        };
        let is_known = journal.is_some_and(|known| known.knows(&file.plugin, &digest))
            || plugin.is_some_and(|plugin| plugin.past.contains(&digest.bytes()));
        let version = serving.version.parse::<Version>().ok();
        let beats =
            (Some(&file.version), file.modified_ns) > (version.as_ref(), serving.image.modified_ns);
        match !is_known && beats && Digest::from(serving.image.digest) != digest {
            true => Standing::Candidate,
            false => Standing::Out,
        }
    }
}
