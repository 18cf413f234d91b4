//! Random lives of a service: it commits, tries, returns, holds and lifts versions, moves plugins
//! between groups, loses files of its store, meets disks that fail, and is cut off at any write.
//!
//! A model that knows nothing of records says what each restart must find: what was committed last,
//! or what was being committed; and that what runs is that, or something older that was good, and
//! then it is told.

use super::*;

/// What is true of the plugins, by name, whatever the journal makes of it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Model {
    committed: BTreeMap<String, Member>,
    /// All that was ever committed and not held since.
    good: BTreeSet<(String, Digest)>,
    held: BTreeSet<(String, Digest)>,
}

impl Model {
    fn commit(&mut self, set: &[Member]) {
        for member in set {
            self.committed.insert(member.plugin.clone(), member.clone());
            self.good.insert((member.plugin.clone(), member.digest));
        }
    }

    fn hold(&mut self, member: &Member) {
        self.held.insert((member.plugin.clone(), member.digest));
        self.good.remove(&(member.plugin.clone(), member.digest));
    }

    fn lift(&mut self, member: &Member) {
        self.held.remove(&(member.plugin.clone(), member.digest));
    }
}

/// One service, over its lives.
struct Life {
    random: u64,
    disk: Disk,
    journal: Option<(Journal, Store)>,
    model: Model,
    /// What a cut at each step of the operation on its way may leave.
    allowed: Vec<Vec<Model>>,
    /// What serves, and in which group.
    running: BTreeMap<String, (String, Member)>,
    /// What is on probation, by group.
    tried: BTreeMap<String, Member>,
    damaged: BTreeSet<Digest>,
    versions: u32,
    seen: Seen,
}

/// So that a test of which nothing came does not pass.
#[derive(Default, Debug)]
struct Seen {
    committed: usize,
    fell: usize,
    parts: usize,
    cuts: usize,
    failures: usize,
    quarantined: usize,
    moved: usize,
}

const PLUGINS: [&str; 4] = ["fees", "risk", "pages", "night"];
const GROUPS: [&str; 3] = ["exchange", "web", "batch"];

fn bytes_of(member: &Member) -> Vec<u8> {
    format!("{} {}", member.plugin, member.version).into_bytes()
}

impl Life {
    fn begin(seed: u64) -> Self {
        let mut life = Life {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            disk: Disk::new(),
            journal: None,
            model: Model::default(),
            allowed: vec![vec![Model::default()]],
            running: BTreeMap::new(),
            tried: BTreeMap::new(),
            damaged: BTreeSet::new(),
            versions: 0,
            seen: Seen::default(),
        };
        life.restart();
        life
    }

    fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % end as u64).unwrap()
    }

    fn through(mut self) -> Seen {
        for _ in 0..24 {
            let crashes = self.below(4) == 0;
            if crashes {
                self.disk.forget();
                self.disk.record();
                self.allowed = vec![self.allowed.last().unwrap().clone()];
                self.disk.step(0);
            } else if self.below(6) == 0 {
                let how = How::ALL[self.below(How::ALL.len())];
                let at = self.disk.operations() + self.below(12);
                self.disk.fail(Fault { at, how });
            }
            self.operate();
            if crashes {
                self.cut();
            } else if self.below(8) == 0 {
                self.end();
            }
        }
        self.end();
        self.seen
    }

    fn operate(&mut self) {
        let plugin = PLUGINS[self.below(PLUGINS.len())].to_owned();
        match self.below(10) {
            0..4 => self.commit_new(&plugin),
            4 => self.try_new(&plugin),
            5 => self.give_back(),
            6 => self.roll_back(&plugin),
            7 => self.lift(&plugin),
            8 => self.move_to_another_group(&plugin),
            _ => self.damage(),
        }
    }

    // What a host does.

    fn new_version(&mut self, plugin: &str) -> Member {
        self.versions += 1;
        member(&format!("{plugin} {}", self.versions))
    }

    fn group_of(&mut self, plugin: &str) -> String {
        match self.running.get(plugin) {
            Some((group, _)) => group.clone(),
            None => GROUPS[self.below(GROUPS.len())].to_owned(),
        }
    }

    /// What serves in `group`, with `new` in the place of what it replaces.
    fn set_with(&self, group: &str, new: &Member) -> Vec<Member> {
        let others =
            self.running.values().filter(|(of, it)| of == group && it.plugin != new.plugin);
        let mut set: Vec<_> = others.map(|(_, it)| it.clone()).chain([new.clone()]).collect();
        set.sort_by(|one, other| one.plugin.cmp(&other.plugin));
        set
    }

    fn append(&mut self, record: &Record, changed: impl FnOnce(&mut Model)) -> bool {
        let mut next = self.model.clone();
        changed(&mut next);
        let mut allowed = self.allowed.last().unwrap().clone();
        allowed.push(next.clone());
        self.disk.step(self.allowed.len());
        self.allowed.push(allowed);
        let (journal, _) = self.journal.as_mut().unwrap();
        if journal.append(record).is_err() {
            self.seen.failures += 1;
            return false;
        }
        self.model = next.clone();
        self.disk.step(self.allowed.len());
        self.allowed.push(vec![next]);
        true
    }

    fn put(&mut self, new: &Member) -> bool {
        let (_, store) = self.journal.as_ref().unwrap();
        let put = store.put(new.digest, &bytes_of(new)).is_ok();
        if put {
            self.damaged.remove(&new.digest);
        }
        put
    }

    /// On trial, and then committed.
    fn commit(&mut self, group: &str, new: &Member) -> bool {
        let set = self.set_with(group, new);
        let (trial_set, commit_set) = (set.clone(), set.clone());
        if !self.put(new)
            || !self.append(&Record::Trial { group: group.to_owned(), set: trial_set }, |_| {})
        {
            return false;
        }
        self.tried.remove(group);
        self.running.insert(new.plugin.clone(), (group.to_owned(), new.clone()));
        let record = Record::Committed { group: group.to_owned(), set: commit_set };
        let done = self.append(&record, |model| model.commit(&set));
        let in_use = self.running.values().map(|(_, member)| member.digest);
        let in_use: BTreeSet<_> =
            in_use.chain(self.tried.values().map(|member| member.digest)).collect();
        let (journal, store) = self.journal.as_ref().unwrap();
        let _ = store.retain(&journal.state().kept().union(&in_use).copied().collect());
        done
    }

    fn commit_new(&mut self, plugin: &str) {
        let new = self.new_version(plugin);
        let group = self.group_of(plugin);
        self.commit(&group, &new);
    }

    fn try_new(&mut self, plugin: &str) {
        let new = self.new_version(plugin);
        let group = self.group_of(plugin);
        let set = self.set_with(&group, &new);
        if self.put(&new) && self.append(&Record::Trial { group: group.clone(), set }, |_| {}) {
            self.tried.insert(group, new);
        }
    }

    fn give_back(&mut self) {
        let Some((group, bad)) = self.tried.pop_first() else { return };
        let held = vec![Version { plugin: bad.plugin.clone(), digest: bad.digest }];
        let record = Record::Returned { group, held, reason: "not well ".repeat(200) };
        self.append(&record, |model| model.hold(&bad));
    }

    fn roll_back(&mut self, plugin: &str) {
        let Some((group, bad)) = self.running.get(plugin).cloned() else { return };
        let (journal, _) = self.journal.as_ref().unwrap();
        let Some(good) = journal.state().before(plugin, &bad.digest).cloned() else { return };
        if !self.damaged.contains(&good.digest) && self.commit(&group, &good) {
            let (plugin, digest) = (bad.plugin.clone(), bad.digest);
            let record = Record::Held { plugin, digest, reason: "rolled back".into() };
            self.append(&record, |model| model.hold(&bad));
        }
    }

    /// Somebody asks for what is held.
    fn lift(&mut self, plugin: &str) {
        let (journal, _) = self.journal.as_ref().unwrap();
        let held = journal.state().held.get(plugin).and_then(|held| held.last());
        let Some(digest) = held.map(|held| held.digest) else { return };
        let all = (1..=self.versions).map(|version| member(&format!("{plugin} {version}")));
        let wanted = all.into_iter().find(|member| member.digest == digest).unwrap();
        let group = self.group_of(plugin);
        if self.put(&wanted) {
            let record = Record::Released { plugin: plugin.to_owned(), digest };
            if self.append(&record, |model| model.lift(&wanted)) {
                self.commit(&group, &wanted);
            }
        }
    }

    fn move_to_another_group(&mut self, plugin: &str) {
        let new = self.new_version(plugin);
        let group = GROUPS[self.below(GROUPS.len())].to_owned();
        let before = self.running.get(plugin).map(|(group, _)| group.clone());
        if before.is_some_and(|before| before != group) && self.commit(&group, &new) {
            self.seen.moved += 1;
        }
    }

    /// Of a library that is kept, a byte is another one, or all of it is gone.
    fn damage(&mut self) {
        let (journal, _) = self.journal.as_ref().unwrap();
        let kept: Vec<_> = journal.state().kept().into_iter().collect();
        if kept.is_empty() {
            return;
        }
        let digest = kept[self.below(kept.len())];
        self.damaged.insert(digest);
        self.disk.rot(&format!("{digest}.so"));
    }

    // How a life ends, and the next begins.

    fn end(&mut self) {
        self.append(&Record::Ended, |_| {});
        self.restart();
    }

    fn cut(&mut self) {
        let images = self.disk.take_images();
        self.disk.forget();
        let image = match images.len() {
            0 => self.disk.image(),
            some => images[self.below(some)].clone(),
        };
        let disks = image.cut(Cuts::Some);
        self.disk = disks[self.below(disks.len())].clone();
        let step = image.step.min(self.allowed.len() - 1);
        self.allowed = vec![self.allowed.swap_remove(step)];
        self.seen.cuts += 1;
        self.restart();
    }

    /// Opens the journal, with a second try where the disk fails, and brings back what serves.
    fn restart(&mut self) {
        self.journal = None;
        let open = |disk: &Disk| {
            let store = Store::open(Box::new(disk.clone()), 1 << 20)?;
            let (journal, opened) = journal(disk)?;
            Ok::<_, JournalError>((journal, store, opened))
        };
        let (journal, store, opened) =
            open(&self.disk).or_else(|_| open(&self.disk)).expect("it opens");
        self.disk.forget();
        self.seen.quarantined += opened.quarantined.len();
        let state = journal.state();
        let committed: BTreeMap<_, _> =
            state.committed.values().flatten().map(|it| (it.plugin.clone(), it.clone())).collect();
        let members = state.committed.values().map(Vec::len).sum::<usize>();
        assert_eq!(members, committed.len(), "a plugin is in one set");
        let allowed = self.allowed.last().unwrap();
        let found = allowed.iter().find(|model| {
            let is_held =
                |(plugin, digest): &(String, Digest)| state.held(plugin, digest).is_some();
            model.committed == committed && model.held.iter().all(is_held)
        });
        self.model = found.unwrap_or_else(|| panic!("{state:#?}\nis none of {allowed:#?}")).clone();
        for quarantined in &opened.quarantined {
            self.model.hold(&quarantined.member);
        }
        self.check_bounds(&journal);
        // Whatever is not damaged is there.
        for digest in journal.state().kept().difference(&self.damaged) {
            store.get(digest).expect("what is kept");
        }
        self.bring_back((journal, store));
        self.tried.clear();
        self.allowed = vec![vec![self.model.clone()]];
    }

    fn check_bounds(&self, journal: &Journal) {
        let head = record::head(journal.state()).len() as u64;
        let bytes = self.disk.read(JOURNAL, u64::MAX).unwrap().unwrap().len() as u64;
        assert!(bytes <= BYTES_MAX.max(2 * head + BYTES_MAX / RECORD_SHARE), "{bytes}, {head}");
        assert!(journal.state().held.values().all(|held| held.len() <= 64));
        let reasons = journal.state().held.values().flatten().map(|held| held.reason.len());
        assert!(reasons.max().unwrap_or(0) <= 512);
    }

    fn bring_back(&mut self, (mut journal, store): (Journal, Store)) {
        self.running.clear();
        let state = journal.state().clone();
        for (group, committed) in &state.committed {
            let reads = |member: &Member| store.get(&member.digest).is_ok();
            let brought = bring_back(&state, group, |set| set.iter().all(reads));
            let is_whole = committed.iter().all(|it| !self.damaged.contains(&it.digest));
            let set = match brought {
                Brought::Committed => committed.clone(),
                Brought::Before(set) => {
                    assert!(!is_whole, "what was committed is there");
                    self.seen.fell += 1;
                    let _ = journal.append(&Record::Fell { group: group.clone() });
                    set
                }
                Brought::Parts(parts) => {
                    assert!(!is_whole, "what was committed is there");
                    let there = committed.iter().filter(|it| !self.damaged.contains(&it.digest));
                    assert!(there.clone().all(|it| parts.contains(it)), "each that can");
                    self.seen.parts += 1;
                    parts
                }
            };
            self.seen.committed += usize::from(is_whole);
            for member in set {
                let it = (member.plugin.clone(), member.digest);
                assert!(self.model.good.contains(&it), "{it:?} was committed once, and was good");
                assert!(!self.model.held.contains(&it), "{it:?} is held");
                self.running.insert(member.plugin.clone(), (group.clone(), member));
            }
        }
        self.journal = Some((journal, store));
    }
}

#[test]
fn w01_after_any_life_what_was_committed_last_runs_or_what_was_good_before() {
    let mut all = Seen::default();
    for seed in 1..=250 {
        let seen = Life::begin(seed).through();
        all.committed += seen.committed;
        all.fell += seen.fell;
        all.parts += seen.parts;
        all.cuts += seen.cuts;
        all.failures += seen.failures;
        all.quarantined += seen.quarantined;
        all.moved += seen.moved;
    }
    println!("{all:?}");
    let Seen { committed, fell, parts, cuts, failures, quarantined, moved } = all;
    for seen in [committed, fell, parts, cuts, failures, quarantined, moved] {
        assert!(seen > 20, "{all:?}");
    }
}
