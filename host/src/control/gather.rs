//! Releases that name several plugins: prepared one after the other, then switched in with one
//! store, or not at all.

use super::Control;
use super::publish::Ready;
use super::recall::stored;
use super::update::{Update, stage};
use super::worker::answer;
use crate::command::{Applied, Named, Recalled, Source};
use crate::generation::Generation;
use crate::refusal::{Code, Refusal};
use crate::settings::Publish;
use crate::stage::Refused;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

/// A release on its way, of one group.
pub(super) struct Gathering {
    pub(super) number: u64,
    publish: Publish,
    pub(super) named: VecDeque<Named>,
    pub(super) ready: Vec<Ready>,
}

impl Gathering {
    pub(super) fn has(&self, plugin: &str) -> bool {
        self.ready.iter().any(|ready| *ready.update.plugin == *plugin)
            || self.named.iter().any(|named| named.source.plugin() == plugin)
    }
}

impl Control {
    pub(super) fn begin_release(&mut self, group: &Arc<str>, named: Vec<Named>, publish: Publish) {
        self.jobs += 1;
        let gathering =
            Gathering { number: self.jobs, publish, named: named.into(), ready: Vec::new() };
        if let Some(state) = self.groups.get_mut(group) {
            state.gathering = Some(gathering);
        }
        self.gather(group);
    }

    /// Prepares the next plugin; after the last, they are switched in.
    fn gather(&mut self, group: &Arc<str>) {
        while let Some(state) = self.groups.get_mut(group)
            && let Some(gathering) = &mut state.gathering
            && let Some(Named { source, config, took, reply }) = gathering.named.pop_front()
        {
            let (release, publish) = (gathering.number, gathering.publish);
            let version: Arc<str> = source.version().into();
            let plugin = self.plugins.get_key_value(source.plugin());
            let Some((plugin, state)) = plugin.map(|(name, state)| (Arc::clone(name), state))
            else {
                continue;
            };
            let config = config.unwrap_or_else(|| Arc::clone(&state.config));
            let serving = self.groups.get(group).and_then(|state| state.newest(&plugin));
            let same =
                |of: &&Arc<Generation>| of.image.digest == source.digest() && of.config == config;
            if let Some(serving) = serving.filter(same) {
                answer(&reply, Ok(Applied { switched: false, ..self.applied(serving, took) }));
                continue;
            }
            if let Err(refusal) = self.admit(&plugin) {
                self.refuse(None, source.refused(refusal), Some(reply));
                return self.scatter(group, release);
            }
            let update = Update {
                generation: self.next_generation(),
                plugin,
                version,
                rollback: false,
                recalled: source.is_recalled(),
                config,
                publish,
                digest: Some(source.digest()),
                starts: false,
                release: Some(release),
                began: Instant::now().checked_sub(took).unwrap_or_else(Instant::now),
                reply: Some(reply),
            };
            return match source {
                Source::Read(candidate) => self.begin_candidate(group, update, candidate, took),
                Source::Journal(recalled) => self.begin_recalled(group, update, recalled),
            };
        }
        let gathered = self.groups.get_mut(group).and_then(|state| state.gathering.take());
        let publish = gathered.as_ref().map_or(Publish::AtOnce, |gathered| gathered.publish);
        let ready = gathered.map(|gathered| gathered.ready).unwrap_or_default();
        match publish {
            _ if ready.is_empty() => {}
            Publish::AtOnce => self.switch_or_wait(group, ready),
            Publish::Manual => {
                for ready in ready {
                    self.await_switch_point(group, ready);
                }
                self.show();
            }
        }
        self.next(group);
    }

    /// One of a release is prepared.
    pub(super) fn gathered(&mut self, group: &Arc<str>, ready: Ready) {
        if let Some(gathering) =
            self.groups.get_mut(group).and_then(|state| state.gathering.as_mut())
        {
            gathering.ready.push(ready);
        }
        self.gather(group);
    }

    /// One of the release was refused, so none is switched in: those that are prepared are undone,
    /// the last first.
    pub(super) fn scatter(&mut self, group: &Arc<str>, release: u64) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let mut ready = Vec::new();
        for list in [&mut state.ready, &mut state.behind] {
            let (of_it, others) = mem::take(list)
                .into_iter()
                .partition(|ready| ready.update.release == Some(release));
            *list = others;
            ready.extend::<Vec<Ready>>(of_it);
        }
        let gathering = state.gathering.take_if(|gathering| gathering.number == release);
        let (gathered, named) =
            gathering.map(|gathering| (gathering.ready, gathering.named)).unwrap_or_default();
        ready.extend(gathered);
        let why = "another plugin of the release was refused";
        for ready in ready.into_iter().rev() {
            self.withdraw(ready, Code::ReleaseRefused, why);
        }
        for Named { source, reply, .. } in named {
            let refusal = source.refused(Refusal::new(Code::ReleaseRefused, why));
            self.refuse(None, refusal, Some(reply));
        }
        self.next(group);
    }

    /// Its library is read on the worker.
    pub(super) fn begin_recalled(
        &mut self,
        group: &Arc<str>,
        update: Update,
        recalled: Box<Recalled>,
    ) {
        let bounds = self.shared.bounds.clone();
        self.begin(group, update, move |order, progress| {
            let began = Instant::now();
            let candidate = stored(&recalled, &bounds).map_err(Refused::early)?;
            stage(&candidate, began.elapsed(), order, progress)
        });
    }
}
