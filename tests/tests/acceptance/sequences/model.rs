//! The model: what must come of what was asked for.

use super::scene::{Probation, World};
use midflight::{Code, Refusal};
use std::mem;
use std::sync::mpsc::Receiver;

pub(super) type Answer = Receiver<Result<(), Refusal>>;

/// A version with its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) version: u32,
    pub(super) factor: u32,
}

/// What the state does to who moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mind {
    Fine,
    NoSave,
    NoRestore,
    WaitsToBeSaved,
    WaitsToBeRestored,
}

impl Mind {
    /// Of the account whose name says so.
    pub(super) fn name(self) -> &'static str {
        match self {
            Mind::Fine => "fine",
            Mind::NoSave => "no save",
            Mind::NoRestore => "no restore",
            Mind::WaitsToBeSaved => "waits to be saved",
            Mind::WaitsToBeRestored => "waits to be restored",
        }
    }

    pub(super) fn moves(self) -> bool {
        !matches!(self, Mind::NoSave | Mind::NoRestore)
    }
}

/// One plugin, and what is to be said of it.
#[derive(Debug)]
pub(super) struct Plugin {
    pub(super) serves: Build,
    pub(super) committed: Build,
    /// What a rollback goes back to when it is not on trial.
    pub(super) last_good: Option<Build>,
    pub(super) trial: Option<Trial>,
    pub(super) total: i64,
    pub(super) mind: Mind,
}

/// What goes back if it is not committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    /// What came in one release has the same.
    pub(super) unit: usize,
    /// What is on standby, with the state that it had at its switch.
    standby: Build,
    total: i64,
    mind: Mind,
    last_good: Option<Build>,
}

/// What was asked for at once.
pub(super) struct Asked {
    pub(super) members: Vec<(usize, Build)>,
    pub(super) rollback: bool,
    /// Its canary is over.
    was_tried: bool,
    pub(super) answer: Answer,
}

impl Asked {
    pub(super) fn has(&self, at: usize) -> bool {
        self.members.iter().any(|(of, _)| *of == at)
    }

    /// It is told that, and nothing else comes.
    #[track_caller]
    pub(super) fn answered(self, expected: Result<(), Code>) {
        let answer = self.answer.recv_timeout(super::WITHIN).expect("an answer");
        match (&answer, expected) {
            (Ok(()), Ok(())) => {}
            (Err(refusal), Err(code)) if refusal.code() == code => {}
            _ => panic!("{:?}: {answer:?}, and not {expected:?}", self.members),
        }
    }
}

pub(super) struct Model {
    pub(super) world: World,
    pub(super) plugins: [Plugin; 2],
    /// For a switch point.
    waiting: Vec<Asked>,
    /// Serves a share, as one.
    canary: Vec<Asked>,
    /// For the end of that.
    behind: Vec<Asked>,
    units: usize,
    /// States that were lost with an event.
    pub(super) lost: usize,
    /// Plugins that were switched with a store for all, or were to.
    pub(super) switched: usize,
}

impl Model {
    pub(super) fn new(world: World) -> Model {
        let first = Build { version: 1, factor: 1 };
        let plugin = || Plugin {
            serves: first,
            committed: first,
            last_good: None,
            trial: None,
            total: 0,
            mind: Mind::Fine,
        };
        Model {
            world,
            plugins: [plugin(), plugin()],
            waiting: Vec::new(),
            canary: Vec::new(),
            behind: Vec::new(),
            units: 0,
            lost: 0,
            switched: 0,
        }
    }

    /// What serves, or is to from the next switch on.
    pub(super) fn newest(&self, at: usize) -> Build {
        let coming = self.behind.iter().chain(&self.waiting).chain(&self.canary);
        let mut coming = coming.flat_map(|asked| &asked.members).filter(|(of, _)| *of == at);
        coming.next().map_or(self.plugins[at].serves, |(_, build)| *build)
    }

    /// How many generations of a plugin are in memory.
    pub(super) fn in_memory(&self, at: usize) -> usize {
        let coming = self.behind.iter().chain(&self.waiting).chain(&self.canary);
        let coming = coming.filter(|asked| asked.has(at)).count();
        1 + coming + usize::from(self.plugins[at].trial.is_some())
    }

    /// What calls of a plugin may be answered by.
    pub(super) fn serving(&self, at: usize) -> Vec<Build> {
        let tried = self.canary.iter().flat_map(|asked| &asked.members);
        let tried = tried.filter(|(of, _)| *of == at).map(|(_, build)| *build);
        [self.plugins[at].serves].into_iter().chain(tried).collect()
    }

    pub(super) fn has_canary(&self) -> bool {
        !self.canary.is_empty()
    }

    pub(super) fn is_on_trial(&self, at: usize) -> bool {
        self.plugins[at].trial.is_some()
    }

    /// Those that go back with it.
    pub(super) fn with(&self, at: usize) -> Vec<usize> {
        let unit = |at: usize| self.plugins[at].trial.map(|trial| trial.unit);
        (0..2).filter(|other| unit(at).is_some() && unit(*other) == unit(at)).collect()
    }

    /// Does a refusal of what comes next come from its state?
    pub(super) fn moves(&self, at: usize) -> bool {
        !self.world.keeps || self.plugins[at].mind.moves()
    }

    pub(super) fn asked(
        &self,
        members: Vec<(usize, Build)>,
        rollback: bool,
        answer: Answer,
    ) -> Asked {
        Asked { members, rollback, was_tried: false, answer }
    }

    /// It is prepared.
    pub(super) fn comes(&mut self, asked: Asked) {
        match self.world.manual {
            true => self.waits(asked),
            false => self.switch(vec![asked]),
        }
    }

    /// Of one plugin the newest waits.
    fn waits(&mut self, asked: Asked) {
        let overtaken = |other: &mut Asked| asked.members.iter().any(|(at, _)| other.has(*at));
        let overtaken: Vec<_> = self.waiting.extract_if(.., overtaken).collect();
        overtaken.into_iter().for_each(|it| it.answered(Err(Code::Superseded)));
        self.waiting.push(asked);
    }

    pub(super) fn switch_point(&mut self) {
        let waiting = mem::take(&mut self.waiting);
        self.switch(waiting);
    }

    /// With one store, or not at all; what is tried first is tried as one.
    fn switch(&mut self, asked: Vec<Asked>) {
        let canary = self.world.canary;
        let wants = |asked: &Asked| canary && !asked.rollback && !asked.was_tried;
        let (first, rest): (Vec<_>, Vec<_>) = asked.into_iter().partition(wants);
        if !first.is_empty() {
            self.begin_canary(first);
        }
        let members = || rest.iter().flat_map(|asked| asked.members.iter());
        match members().all(|(at, _)| self.moves(*at)) {
            true => {
                self.switched += members().count();
                for asked in rest {
                    self.activate(&asked.members, asked.rollback);
                    asked.answered(Ok(()));
                }
            }
            false => rest.into_iter().for_each(|it| it.answered(Err(Code::HandoverFailed))),
        }
    }

    fn begin_canary(&mut self, first: Vec<Asked>) {
        let newer =
            |other: &Asked| first.iter().flat_map(|it| &it.members).any(|(at, _)| other.has(*at));
        // What it overtakes never serves, wherever it is.
        let behind: Vec<_> = self.behind.extract_if(.., |it| newer(it)).collect();
        behind.into_iter().for_each(|it| it.answered(Err(Code::Superseded)));
        if self.canary.iter().any(newer) {
            self.end_canary(Code::Superseded);
        }
        match self.canary.is_empty() {
            true => self.canary = first,
            false if self.world.manual => first.into_iter().for_each(|it| self.waits(it)),
            false => self.behind.extend(first),
        }
    }

    fn end_canary(&mut self, code: Code) {
        for asked in mem::take(&mut self.canary) {
            asked.answered(Err(code));
        }
    }

    fn canary_goes(&mut self, code: Code) {
        self.end_canary(code);
        let behind = mem::take(&mut self.behind);
        if !behind.is_empty() {
            self.switch(behind);
        }
    }

    /// It serves.
    fn activate(&mut self, members: &[(usize, Build)], rollback: bool) {
        self.units += 1;
        for (at, build) in members {
            let (unit, plugin) = (self.units, &mut self.plugins[*at]);
            let tried = match plugin.trial.take() {
                // What it supersedes was never good.
                Some(tried) => Trial { unit, ..tried },
                None => Trial {
                    unit,
                    standby: plugin.serves,
                    total: plugin.total,
                    mind: plugin.mind,
                    last_good: plugin.last_good,
                },
            };
            plugin.serves = *build;
            plugin.last_good = (!rollback).then_some(tried.standby);
            match self.world.probation == Probation::None || rollback {
                true => plugin.committed = *build,
                false => plugin.trial = Some(tried),
            }
        }
    }

    /// What was switched in with one store goes back: a hook failed.
    pub(super) fn fails_after_its_switch(&mut self, asked: Vec<Asked>) {
        for asked in &asked {
            self.switched += asked.members.len();
            for (at, _) in &asked.members {
                let plugin = &mut self.plugins[*at];
                if let Some(tried) = plugin.trial.take() {
                    (plugin.serves, plugin.last_good) = (tried.standby, tried.last_good);
                }
            }
        }
        asked.into_iter().for_each(|it| it.answered(Err(Code::AfterSwitchFailed)));
    }

    /// What waits for a switch point, and is not tried first.
    pub(super) fn take_waiting(&mut self) -> Vec<Asked> {
        mem::take(&mut self.waiting)
    }

    pub(super) fn waits_for_all(&self, at: usize, version: u32) -> bool {
        let is_meant = |asked: &Asked| {
            asked.members.iter().any(|(of, build)| *of == at && build.version == version)
        };
        self.waiting.iter().any(is_meant)
            && self.waiting.iter().all(|it| it.rollback || it.was_tried || !self.world.canary)
    }

    /// It goes back from its trial, with all that came with it. With their states, or without.
    pub(super) fn returns(&mut self, at: usize, moves: bool) {
        for member in self.with(at) {
            let plugin = &mut self.plugins[member];
            let Some(tried) = plugin.trial.take() else { continue };
            (plugin.serves, plugin.last_good) = (tried.standby, tried.last_good);
            if !moves {
                (plugin.total, plugin.mind) = (tried.total, tried.mind);
                self.lost += 1;
            }
        }
    }

    /// Do the states of all that goes back with it move?
    pub(super) fn moves_back(&self, at: usize) -> bool {
        self.with(at).into_iter().all(|member| self.moves(member))
    }

    /// What of it has not been switched in for all goes, whole. False: nothing is there.
    pub(super) fn withdraws(&mut self, at: usize, code: Code) -> bool {
        for list in [&mut self.waiting, &mut self.behind] {
            if let Some(found) = list.iter().position(|asked| asked.has(at)) {
                list.remove(found).answered(Err(code));
                return true;
            }
        }
        self.canary_withdraws(at, code)
    }

    pub(super) fn canary_withdraws(&mut self, at: usize, code: Code) -> bool {
        let has = self.canary.iter().any(|asked| asked.has(at));
        if has {
            self.canary_goes(code);
        }
        has
    }

    /// Whoever is asked is well, until nobody is asked any more.
    pub(super) fn is_well(&mut self) {
        while !self.canary.is_empty() {
            let mut tried = mem::take(&mut self.canary);
            tried.iter_mut().for_each(|asked| asked.was_tried = true);
            match self.world.manual {
                true => {
                    for asked in tried {
                        // What was asked for later waits there already.
                        let newer =
                            |(at, _): &(usize, Build)| self.waiting.iter().any(|it| it.has(*at));
                        match asked.members.iter().any(newer) {
                            true => asked.answered(Err(Code::Superseded)),
                            false => self.waits(asked),
                        }
                    }
                }
                false => self.switch(tried),
            }
            let behind = mem::take(&mut self.behind);
            if !behind.is_empty() {
                self.switch(behind);
            }
        }
        for plugin in &mut self.plugins {
            if plugin.trial.take().is_some() {
                plugin.committed = plugin.serves;
            }
        }
    }

    /// Whoever is asked is not, until nobody is asked any more.
    pub(super) fn is_ill(&mut self) {
        while !self.canary.is_empty() {
            self.canary_goes(Code::Unhealthy);
        }
        for at in 0..2 {
            let moves = self.moves_back(at);
            self.returns(at, moves);
        }
    }
}
