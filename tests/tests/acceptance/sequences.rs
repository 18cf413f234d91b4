//! Sequences: what operators do to two plugins of one group, in any order, with workers that are
//! late, against a model of what must come of it.
//!
//! The seed chooses the world: plugins that hand a state over, or plugins with hooks; switch points
//! or none; a probation that ends at once, by what is not well, or when the test says so; a canary
//! or none. The model knows of each plugin what serves, what its state is, whether it is on trial
//! and with whom it came, what it would go back to, and what is committed. After each operation the
//! host has to say the same, so:
//!
//! - what serves has what its own calls have made of its state, whoever comes back late;
//! - no state is lost without a word;
//! - a return is one of all that came together, and of nobody else;
//! - what is on trial ends as its checks say, and is committed by nothing else;
//! - no request sees generations of the two plugins that did not serve together;
//! - no more generations are in memory than serve, stand by, wait or hang, and none at the end;
//! - what was committed last is what the next start serves.
//!
//! A run that fails prints its seed. `MIDFLIGHT_SEED=7` runs that one alone, and
//! `MIDFLIGHT_SEQUENCES=1000` so many in the place of a few.

mod model;
mod scene;

use midflight::{Code, Host, Refusal, Residency};
use midflight_tests::{Footprint, Log, Random, process, run_child, with_children};
use model::{Answer, Asked, Build, Mind, Model};
use scene::{Asker, Caller, Deed, Probation, Say, World};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// How long anything may take: what is late on purpose is so by a second or two.
const WITHIN: Duration = Duration::from_secs(30);
/// Of one sequence.
const OPERATIONS: usize = 25;

struct Run {
    host: Host,
    log: Log,
    say: Arc<Say>,
    callers: [Caller; 2],
    model: Model,
    /// So many were prepared.
    prepared: usize,
    /// Of this plugin a generation has a worker in it that nobody waits for.
    hung: Option<usize>,
    done: Vec<String>,
    home: TempDir,
}

impl Run {
    fn new(world: World) -> Run {
        let home = tempfile::tempdir().expect("a directory");
        let say = Arc::new(Say::default());
        let host = scene::start(world, &say, home.path());
        let log = Log::of(&host);
        let callers = scene::plugins(world).map(|(name, _)| scene::caller(&host, world, name));
        let (model, done) = (Model::new(world), vec![format!("{world:?}")]);
        let mut run = Run { host, log, say, callers, model, prepared: 0, hung: None, done, home };
        for at in 0..2 {
            let path = scene::plugins(world)[at].1[0].path();
            let first = run.spawn(move |host| host.apply(path).map(drop));
            run.until_prepared(1);
            if world.manual {
                assert_eq!(run.host.switch_point().expect("a switch point"), 1);
            }
            first.recv_timeout(WITHIN).expect("an answer").expect("a first version");
            run.pay(at, 100);
        }
        run.check();
        run
    }

    fn name(&self, at: usize) -> &'static str {
        scene::plugins(self.model.world)[at].0
    }

    fn step(&mut self, random: &mut Random) {
        let world = self.model.world;
        let at = random.below(2);
        match random.below(20) {
            0 | 1 if world.keeps => self.pay(at, random.below(1_000) as i64 - 500),
            2 if world.keeps => {
                let mind = *random.one_of(&[Mind::Fine, Mind::NoSave, Mind::NoRestore]);
                self.mind(at, mind);
            }
            3 | 4 if world.keeps && world.has_late_workers() => self.late(at, random),
            5 if world.has_late_workers() && self.model.is_on_trial(at) => {
                let version = self.version(1 - at, random);
                self.returns_meanwhile(at, version);
            }
            0..=4 if !world.keeps => self.hook(at, random),
            6 | 7 if world.manual => self.switch_point(),
            5 | 8 if world.probation == Probation::Held => {
                let ill = || Err("the test says so".to_owned());
                self.checked(if random.below(3) == 0 { ill() } else { Ok(()) });
            }
            9 | 10 => {
                let versions = [0, 1].map(|at| self.version(at, random));
                self.release(versions);
                if world.manual && random.below(2) == 0 {
                    self.check();
                    self.switch_point();
                }
                // Before something else replaces one of the two.
                if random.below(2) == 0 {
                    self.check();
                    self.ends(at, random);
                }
            }
            11 => self.configure(at),
            12..=15 => self.ends(at, random),
            _ => {
                let version = self.version(at, random);
                self.apply(at, version);
            }
        }
        self.check();
    }

    /// What came last goes, if it is still to be committed.
    fn ends(&mut self, at: usize, random: &mut Random) {
        let held = self.model.world.probation == Probation::Held;
        match random.below(5) {
            0 | 1 => self.cancel(at),
            2 if held => self.checked(Err("the test says so".to_owned())),
            2 if !self.model.world.keeps && self.hung.is_none() => self.health(at, Deed::Fails),
            _ => self.rollback(at),
        }
    }

    /// Another one than the newest, mostly.
    fn version(&self, at: usize, random: &mut Random) -> u32 {
        let versions = scene::plugins(self.model.world)[at].1.len();
        let version = 1 + random.below(versions) as u32;
        match self.model.newest(at).version == version && random.below(4) > 0 {
            true => 1 + version % versions as u32,
            false => version,
        }
    }

    fn path(&self, at: usize, version: u32) -> PathBuf {
        scene::plugins(self.model.world)[at].1[version as usize - 1].path()
    }

    fn spawn(&self, f: impl FnOnce(&Host) -> Result<(), Refusal> + Send + 'static) -> Answer {
        let (send, answer) = sync_channel(1);
        let host = self.host.clone();
        thread::spawn(move || send.send(f(&host)));
        answer
    }

    fn cancelled(&self, at: usize) -> Result<(), Refusal> {
        let name = self.name(at);
        let answer = self.spawn(move |host| host.cancel(name));
        answer.recv_timeout(WITHIN).expect("an answer")
    }

    /// How many were switched.
    fn point(&self) -> usize {
        let (send, answer) = sync_channel(1);
        let host = self.host.clone();
        thread::spawn(move || send.send(host.switch_point()));
        answer.recv_timeout(WITHIN).expect("an answer").expect("a switch point")
    }

    #[track_caller]
    fn until_prepared(&mut self, count: usize) {
        self.prepared += count;
        until("what comes is prepared", || self.log.count("prepared") >= self.prepared);
    }

    /// What changes nothing is answered at once; else it comes.
    #[track_caller]
    fn comes(&mut self, asked: Asked) {
        match asked.members.len() {
            0 => asked.answered(Ok(())),
            count => {
                self.until_prepared(count);
                self.model.comes(asked);
            }
        }
    }

    /// Asks for another version, and says what that would be.
    fn applies(&self, at: usize, version: u32) -> Asked {
        let path = self.path(at, version);
        let answer = self.spawn(move |host| host.apply(path).map(drop));
        let build = Build { version, factor: self.model.plugins[at].serves.factor };
        let changes = self.model.newest(at).version != version;
        let members = changes.then_some((at, build)).into_iter().collect();
        self.model.asked(members, false, answer)
    }

    fn configures(&self, at: usize) -> Asked {
        let (name, factor) = (self.name(at), self.done.len() as u32);
        let config = format!("factor = {factor}");
        let answer = self.spawn(move |host| host.configure(name, &config).map(drop));
        let build = Build { version: self.model.newest(at).version, factor };
        self.model.asked(vec![(at, build)], false, answer)
    }

    fn says(&mut self, at: usize, what: String) {
        self.done.push(format!("{}: {what}", self.name(at)));
    }

    fn pay(&mut self, at: usize, amount: i64) {
        if let Caller::Keeping(slot) = &self.callers[at] {
            slot.pay(0, amount).expect("paid");
            self.model.plugins[at].total += amount;
            self.says(at, format!("pay {amount}"));
        }
    }

    fn mind(&mut self, at: usize, mind: Mind) {
        if let Caller::Keeping(slot) = &self.callers[at] {
            slot.name(0, mind.name()).expect("named");
            self.model.plugins[at].mind = mind;
            self.says(at, format!("{mind:?}"));
        }
    }

    fn apply(&mut self, at: usize, version: u32) {
        self.says(at, format!("apply {version}"));
        let asked = self.applies(at, version);
        self.comes(asked);
    }

    fn configure(&mut self, at: usize) {
        self.says(at, "configure".to_owned());
        let asked = self.configures(at);
        self.comes(asked);
    }

    fn release(&mut self, versions: [u32; 2]) {
        self.done.push(format!("release {versions:?}"));
        let asked = self.releases(&[(0, versions[0]), (1, versions[1])]);
        self.comes(asked);
    }

    fn releases(&self, versions: &[(usize, u32)]) -> Asked {
        let mut text = String::new();
        for (at, version) in versions.iter().copied() {
            let (name, file) = (self.name(at), self.path(at, version));
            text += "[[plugin]]\n";
            text += &format!("name = {name:?}\nversion = \"{version}.0.0\"\nfile = {file:?}\n");
        }
        let path = self.home.path().join("release.toml");
        fs::write(&path, text).expect("a release file");
        let answer = self.spawn(move |host| host.apply_release(path).map(drop));
        let builds = versions.iter().map(|(at, version)| {
            (*at, Build { version: *version, factor: self.model.plugins[*at].serves.factor })
        });
        let members = builds.filter(|(at, build)| self.model.newest(*at) != *build).collect();
        self.model.asked(members, false, answer)
    }

    fn switch_point(&mut self) {
        self.done.push("switch point".to_owned());
        let switched = self.point();
        let before = self.model.switched;
        self.model.switch_point();
        assert_eq!(switched, self.model.switched - before, "so many were switched");
    }

    fn cancel(&mut self, at: usize) {
        self.says(at, "cancel".to_owned());
        let cancelled = self.cancelled(at);
        if self.model.withdraws(at, Code::Cancelled) {
            worked(&cancelled);
        } else if self.model.is_on_trial(at) {
            worked(&cancelled);
            self.returns(at);
        } else {
            refused(&cancelled, Code::NothingToCancel);
        }
    }

    fn rollback(&mut self, at: usize) {
        self.says(at, "rollback".to_owned());
        let name = self.name(at);
        let answer = self.spawn(move |host| host.rollback(name).map(drop));
        let now = || answer.recv_timeout(WITHIN).expect("an answer");
        if self.model.is_on_trial(at) {
            worked(&now());
            return self.returns(at);
        }
        let back = self.model.plugins[at].last_good;
        let withdrawn = self.model.canary_withdraws(at, Code::Cancelled);
        match (withdrawn, back) {
            (true, _) => worked(&now()),
            (false, None) => refused(&now(), Code::NothingToRollBack),
            (false, Some(build)) => {
                let asked = self.model.asked(vec![(at, build)], true, answer);
                self.comes(asked);
            }
        }
    }

    /// It has gone back.
    #[track_caller]
    fn returns(&mut self, at: usize) {
        let count = self.log.count("state_lost");
        let moves = self.model.moves_back(at);
        let in_time = count == self.model.lost;
        // A machine may be slower than what is late on purpose; but then it says so.
        assert!(in_time || !moves || self.was_late(), "a state is lost that moves");
        self.model.returns(at, moves && in_time);
    }

    /// The last state that was lost was so for want of time.
    fn was_late(&self) -> bool {
        let seen = self.log.seen();
        let lost = seen.iter().rfind(|event| event.kind.name() == "state_lost");
        self.model.world.has_late_workers()
            && lost.is_some_and(|event| event.to_string().contains(" after "))
    }

    /// Whoever asks is answered so, until nobody asks.
    fn checked(&mut self, result: Result<(), String>) {
        self.done.push(format!("checked {result:?}"));
        let is_well = result.is_ok();
        self.say.check(Some(result));
        match is_well {
            true => self.model.is_well(),
            false => self.model.is_ill(),
        }
        until("all trials are over", || {
            let status = self.host.status();
            let tried = |of: &Residency| matches!(of, Residency::Standby | Residency::Canary);
            !status.generations.iter().any(|record| tried(&record.residency))
        });
        self.settles();
        self.say.check(None);
    }

    /// A hook that does what it should not; and one that comes back late goes on at some time.
    fn hook(&mut self, at: usize, random: &mut Random) {
        if self.hung.take().is_some() {
            self.done.push("what hangs goes on".to_owned());
            self.say.let_hooks_go();
            return;
        }
        let deeds = [Deed::Fails, Deed::Panics, Deed::Hangs];
        let late = self.model.world.has_late_workers();
        let deed = *random.one_of(if late { &deeds } else { &deeds[..2] });
        match random.below(4) {
            0 => self.after_switch(at, deed, random),
            1 => self.on_return(at, deed, random),
            2 => self.health(at, deed),
            _ => {
                let deed = if deed == Deed::Hangs { Deed::Fails } else { deed };
                self.says(at, format!("before_switch {deed:?}"));
                let version = self.model.newest(at).version;
                self.say.when_hooked(self.name(at), version, "before_switch", deed);
                self.configures(at).answered(Err(Code::SwitchRefused));
                assert!(self.say.has_hooked());
            }
        }
    }

    fn after_switch(&mut self, at: usize, deed: Deed, random: &mut Random) {
        let world = self.model.world;
        let version = self.version(at, random);
        let name = self.name(at);
        if world.manual && self.model.waits_for_all(at, version) {
            self.says(at, format!("after_switch {deed:?}, at a switch point"));
            self.say.when_hooked(name, version, "after_switch", deed);
            let switched = self.point();
            let waiting = self.model.take_waiting();
            let members = waiting.iter().map(|asked| asked.members.len()).sum::<usize>();
            assert_eq!(switched, members, "so many were switched");
            self.model.fails_after_its_switch(waiting);
        } else if !world.manual && !world.canary && self.model.newest(at).version != version {
            self.says(at, format!("apply {version}, after_switch {deed:?}"));
            self.say.when_hooked(name, version, "after_switch", deed);
            let asked = self.applies(at, version);
            self.until_prepared(1);
            self.model.fails_after_its_switch(vec![asked]);
        } else {
            return;
        }
        assert!(self.say.has_hooked());
        self.hung = (deed == Deed::Hangs).then_some(at);
    }

    fn on_return(&mut self, at: usize, deed: Deed, random: &mut Random) {
        if self.model.is_on_trial(at) {
            let hook = *random.one_of(&["before_return", "after_return"]);
            self.says(at, format!("{hook} {deed:?}"));
            let version = self.model.plugins[at].serves.version;
            self.say.when_hooked(self.name(at), version, hook, deed);
            self.rollback(at);
            until("its hook runs", || self.say.has_hooked());
            self.hung = (deed == Deed::Hangs).then_some(at);
        }
    }

    fn health(&mut self, at: usize, deed: Deed) {
        if self.model.world.probation != Probation::Long {
            return; // nobody asks, or the test says what it hears
        }
        let builds = self.model.serving(at);
        let on_trial = self.model.is_on_trial(at);
        let asked = match builds[..] {
            [serves] if on_trial => serves,
            [serves, tried] if !on_trial || tried.version != serves.version => tried,
            _ => return,
        };
        self.says(at, format!("health of {asked:?} {deed:?}"));
        let returned = self.log.count("returned");
        self.say.when_hooked(self.name(at), asked.version, "health", deed);
        if builds.len() == 2 {
            assert!(self.model.canary_withdraws(at, Code::Unhealthy));
        } else {
            let count = returned + self.model.with(at).len();
            until("it goes back", || self.log.count("returned") >= count);
            self.returns(at);
        }
        assert!(self.say.has_hooked());
        self.hung = (deed == Deed::Hangs).then_some(at);
    }

    /// A hand-over that is given up, or not, while somebody is in it.
    fn late(&mut self, at: usize, random: &mut Random) {
        match self.model.is_on_trial(at) {
            true => self.late_back(at, random),
            false if !self.model.world.manual => self.late_up(at, random),
            false => {}
        }
    }

    fn late_back(&mut self, at: usize, random: &mut Random) {
        let with = self.model.with(at);
        if !with.iter().all(|member| self.model.moves(*member)) {
            return;
        }
        let member = *random.one_of(&with);
        let mind = *random.one_of(&[Mind::WaitsToBeSaved, Mind::WaitsToBeRestored]);
        let in_time = random.below(3) == 0;
        self.mind(member, mind);
        self.says(at, format!("rollback, in time: {in_time}"));
        self.say.close();
        let name = self.name(at);
        let answer = self.spawn(move |host| host.rollback(name).map(drop));
        self.say.until_came(1, || false);
        if in_time {
            self.say.open();
        }
        worked(&answer.recv_timeout(WITHIN).expect("an answer"));
        if in_time {
            return self.returns(at);
        }
        assert!(self.was_late(), "{}", self.log.text());
        self.model.returns(at, false);
        self.pays_all(random);
        self.check_calls();
        self.say.open();
    }

    /// While a release of the other plugin is prepared, what is on trial goes back, and has not
    /// done so when that is ready.
    fn returns_meanwhile(&mut self, at: usize, version: u32) {
        let other = 1 - at;
        let with = self.model.with(at);
        let moves = with.iter().chain([&other]).all(|member| self.model.moves(*member));
        let changes = self.model.newest(other).version != version;
        if !moves || !changes || self.hung.is_some() || self.model.has_canary() {
            return;
        }
        self.says(at, format!("goes back while a release of the other, {version}, is prepared"));
        let serves = self.model.plugins[at].serves.version;
        if self.model.world.keeps {
            self.mind(at, Mind::WaitsToBeSaved);
            self.say.close();
            let staged = self.log.count("staged");
            let asked = self.releases(&[(other, version)]);
            until("it is being prepared", || self.log.count("staged") > staged);
            let name = self.name(at);
            let back = self.spawn(move |host| host.cancel(name));
            self.say.until_came(1, || false);
            self.until_prepared(1);
            self.say.open();
            worked(&back.recv_timeout(WITHIN).expect("an answer"));
            self.returns(at);
            self.model.comes(asked);
        } else {
            let returned = self.log.count("returned") + with.len();
            self.say.when_hooked(self.name(other), version, "before_switch", Deed::Waits);
            let asked = self.releases(&[(other, version)]);
            self.say.until_hung();
            self.say.when_hooked(self.name(at), serves, "before_return", Deed::Waits);
            self.say.when_hooked(self.name(at), serves, "health", Deed::Fails);
            until("it goes back", || self.say.has_hooked());
            self.say.let_one_hook_go();
            self.until_prepared(1);
            self.say.let_hooks_go();
            until("it is back", || self.log.count("returned") >= returned);
            self.returns(at);
            self.model.comes(asked);
        }
    }

    fn late_up(&mut self, at: usize, random: &mut Random) {
        if !self.model.moves(at) {
            return;
        }
        let mind = *random.one_of(&[Mind::WaitsToBeSaved, Mind::WaitsToBeRestored]);
        self.mind(at, mind);
        self.say.close();
        let asked = self.configures(at);
        self.until_prepared(1);
        self.say.until_came(1, || false);
        // It stands in the copy ahead. Of a save the state is locked meanwhile.
        let locked = mind == Mind::WaitsToBeSaved;
        let waits_behind = random.below(2) == 0 && self.model.plugins[1 - at].mind == Mind::Fine;
        match random.below(2) {
            0 if !locked => {
                self.says(at, "configure, late with its state".to_owned());
                self.pay(at, 1);
                self.say.let_one_through();
                self.say.until_came(2, || self.log.count("handover_timed_out") > 0);
                asked.answered(Err(Code::HandoverTimedOut));
                self.pays_all(random);
                self.check_calls();
                self.say.open();
            }
            _ if waits_behind => {
                self.says(at, "configure, cancelled with one behind it".to_owned());
                let behind = self.configures(1 - at);
                worked(&self.cancelled(at));
                asked.answered(Err(Code::Cancelled));
                self.comes(behind);
                self.say.open();
                self.pays_all(random);
            }
            _ => {
                self.says(at, "configure, cancelled in its copy ahead".to_owned());
                worked(&self.cancelled(at));
                asked.answered(Err(Code::Cancelled));
                if locked {
                    self.say.open();
                }
                self.pays_all(random);
                self.check_calls();
                self.say.open();
            }
        }
    }

    fn pays_all(&mut self, random: &mut Random) {
        for at in 0..2 {
            self.pay(at, random.below(1_000) as i64);
        }
    }

    /// Waits until nothing is in memory but what serves, stands by, waits or hangs.
    #[track_caller]
    fn settles(&self) {
        let expected =
            [0, 1].map(|at| self.model.in_memory(at) + usize::from(self.hung == Some(at)));
        let names = [0, 1].map(|at| self.name(at));
        let in_memory = || {
            let status = self.host.status();
            names.map(|name| {
                let of_it = status.generations.iter().filter(|record| record.plugin == name);
                of_it.filter(|record| record.residency != Residency::Unmapped).count()
            })
        };
        until_or(
            "generations go",
            || in_memory() == expected,
            || {
                format!(
                    "{:?} are in memory, and not {expected:?}: {:#?}",
                    in_memory(),
                    self.host.status().generations
                )
            },
        );
    }

    /// What serves says what its own calls have made of it.
    #[track_caller]
    fn check_calls(&self) {
        for at in 0..2 {
            let keeps = self.model.world.keeps;
            let said = |build: Build| match keeps {
                true => (build.version, self.model.plugins[at].total),
                false => (build.version, i64::from(build.version * build.factor)),
            };
            let expected: Vec<_> = self.model.serving(at).into_iter().map(said).collect();
            let calls = if expected.len() == 1 { 1 } else { 16 };
            for _ in 0..calls {
                // In one request: two calls may be for two sides of a canary.
                let answer = self.host.request("desk", |_| self.callers[at].ask());
                let answer = answer.expect("an answer");
                assert!(
                    expected.contains(&answer),
                    "{}: {answer:?}, and not of {expected:?}",
                    self.name(at)
                );
            }
        }
    }

    #[track_caller]
    fn check(&self) {
        self.settles();
        self.check_calls();
        let status = self.host.status();
        for at in 0..2 {
            let standby = status.generations.iter().filter(|record| {
                record.plugin == self.name(at) && record.residency == Residency::Standby
            });
            let on_trial = usize::from(self.model.is_on_trial(at));
            assert_eq!(standby.count(), on_trial, "on trial: {:?}", self.model.plugins[at]);
        }
        assert_eq!(self.log.count("state_lost"), self.model.lost, "states that were lost");
        assert_eq!(self.log.count("journal_failed"), 0);
    }

    /// The host ends, and the next one serves what was committed.
    fn restarts(self) {
        thread::scope(|scope| {
            let end = scope.spawn(|| ends(&self.host));
            // Who hangs comes back while the host ends.
            until("it is ending", || {
                self.host.status().plugins.iter().all(|plugin| plugin.active.is_none())
            });
            self.say.check(Some(Ok(())));
            self.say.let_hooks_go();
            end.join().expect("all is gone");
        });
        let world = self.model.world;
        let next = scene::plain(world, &self.say, self.home.path()).start().expect("a host");
        for (at, plugin) in self.model.plugins.iter().enumerate() {
            let Build { version, factor } = plugin.committed;
            // A state ends with its process.
            let said = if world.keeps { 0 } else { i64::from(version * factor) };
            let answer = scene::caller(&next, world, self.name(at)).ask();
            assert_eq!(answer, Ok((version, said)), "{} was committed", self.name(at));
        }
        ends(&next);
    }
}

#[track_caller]
fn ends(host: &Host) {
    let status = host.shutdown(WITHIN);
    for record in &status.generations {
        assert_eq!(record.residency, Residency::Unmapped, "{record:?}");
    }
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    until_or(what, is_so, String::new);
}

#[track_caller]
fn until_or(what: &str, is_so: impl Fn() -> bool, why: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "waited {WITHIN:?}: {what}. {}", why());
        thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn worked(result: &Result<(), Refusal>) {
    result.as_ref().unwrap_or_else(|refusal| panic!("{refusal}"));
}

#[track_caller]
fn refused(result: &Result<(), Refusal>, code: Code) {
    assert_eq!(result.as_ref().expect_err("refused").code(), code, "{result:?}");
}

/// Says which sequence failed.
struct Said<'r>(u64, &'r mut Run);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("seed {}: {:#?}\n{}", self.0, self.1.done, self.1.log.text());
        }
    }
}

fn run(seed: u64) {
    let world = World::of(seed);
    println!("seed {seed} begins");
    let mut run = Run::new(world);
    let names = scene::plugins(world).map(|(name, _)| name);
    let asker = Asker::of(run.host.group("desk"), run.callers.clone());
    let mut random = Random::new(seed);
    {
        let said = Said(seed, &mut run);
        for _ in 0..OPERATIONS {
            said.1.step(&mut random);
        }
        asker.end(&said.1.log, names);
    }
    run.restarts();
}

/// Runs some at once, since they wait for each other's deadlines only.
fn run_all(seeds: &[u64]) {
    // Whatever a first run leaves for good.
    run(0);
    let before = (Footprint::now().descriptors, process::threads().len());
    for some in seeds.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let runs: Vec<_> = some.iter().map(|seed| (seed, scope.spawn(|| run(*seed)))).collect();
            for (seed, run) in runs {
                assert!(run.join().is_ok(), "MIDFLIGHT_SEED={seed}");
            }
        });
    }
    let after = (Footprint::now().descriptors, process::threads().len());
    assert_eq!(before, after, "descriptors and threads");
}

/// Of one process.
const SEEDS: usize = 20;
const AT_ONCE: usize = 5;

fn in_children(test: &str, seeds: &[u64]) {
    for some in seeds.chunks(SEEDS) {
        let argument: Vec<_> = some.iter().map(u64::to_string).collect();
        run_child(test, &argument.join(",")).assert_ok();
    }
}

fn in_one(argument: &str) {
    let seeds = argument.split(',').map(|seed| seed.parse().expect("a seed"));
    run_all(&seeds.collect::<Vec<_>>());
}

/// What the environment asks for in the place of the tests' own.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("a number"))
}

#[test]
fn j00_sequences_of_operations_are_as_the_model_says() {
    with_children(in_one, |test| {
        let seeds: Vec<_> = match (number("MIDFLIGHT_SEED"), number("MIDFLIGHT_SEQUENCES")) {
            (Some(seed), _) => vec![seed],
            (None, Some(count)) => (1..=count).collect(),
            // Each fault that was planted, one of these has found.
            (None, None) => (1..=9).chain([28]).collect(),
        };
        in_children(test, &seeds);
    });
}

#[test]
fn j00_a_sequence_that_nobody_has_seen_is_as_the_model_says() {
    with_children(in_one, |test| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
        in_children(test, &[now.as_nanos() as u64]);
    });
}
