//! Commands: what the control plane is asked, and what it is told.

use crate::contracts::Wanted;
use crate::generation::{Generation, Left, Stopped};
use crate::holder::{Holders, Stall};
use crate::journal::{Digest, Member};
use crate::refusal::{Code, Refusal};
use crate::settings::Publish;
use crate::shown::Shown;
use crate::stage::{Candidate, Refused, Step};
use crate::status::Residency;
use midflight_plugin::rt::Linked;
use semver::Version;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// The way into the control plane's queue.
#[derive(Clone)]
pub(crate) struct Commands(Sender<Command>);

impl Commands {
    /// A queue, and the way into it.
    pub(crate) fn queue() -> (Commands, Receiver<Command>) {
        let (queue, commands) = channel();
        (Commands(queue), commands)
    }

    pub(crate) fn send(&self, command: Command) -> Result<(), Refusal> {
        self.0.send(command).map_err(|_| ended())
    }

    /// Sends a command and waits for its answer.
    pub(crate) fn ask<T>(
        &self,
        command: impl FnOnce(SyncSender<T>) -> Command,
    ) -> Result<T, Refusal> {
        let (reply, answer) = sync_channel(1);
        self.send(command(reply))?;
        answer.recv().map_err(|_| ended())
    }

    /// For a worker, which drops nothing that may not be dropped.
    pub(crate) fn post(&self, command: Command) {
        if let Err(unsent) = self.0.send(command) {
            unsent.0.leave();
        }
    }
}

pub(crate) fn ended() -> Refusal {
    Refusal::new(Code::ShuttingDown, "the host has ended")
}

pub(crate) type Reply = SyncSender<Result<Applied, Refusal>>;

/// What arrives in the control plane's queue: from handles and the watcher above, from workers
/// below.
pub(crate) enum Command {
    Update {
        candidate: Box<Candidate>,
        by: By,
        took: Duration,
    },
    Release {
        named: Vec<Named>,
        publish: Publish,
    },
    Rollback {
        plugin: String,
        reply: Reply,
    },
    Slot {
        wanted: Wanted,
        reply: SyncSender<Result<usize, Refusal>>,
    },
    /// Which plugins offer a contract?
    Implementers {
        contract: &'static str,
        reply: SyncSender<Vec<Arc<str>>>,
    },
    /// Which of these files may be taken up by themselves?
    Rank {
        files: Vec<Ranked>,
        reply: SyncSender<Vec<Standing>>,
    },
    /// The start has brought back what the journal knows: in which groups what was before, and with
    /// which of the builder's configurations.
    Recalled {
        fell: Vec<String>,
        built: BTreeMap<String, Digest>,
        reply: SyncSender<()>,
    },
    Configure {
        plugin: String,
        config: Arc<str>,
        reply: Reply,
    },
    Link {
        plugin: String,
        linked: Linked,
        reply: Reply,
    },
    /// The filters of the host's subscriber are being changed.
    FiltersChanged,
    Cancel {
        plugin: String,
        reply: SyncSender<Result<(), Refusal>>,
    },
    SwitchPoint {
        reply: SyncSender<usize>,
    },
    /// From inside of calls of these groups, may this plugin be switched, or all that wait?
    Within {
        groups: Vec<u64>,
        plugin: Option<String>,
        reply: SyncSender<Result<(), Refusal>>,
    },
    /// Answered when the generation has drained, or with who holds it then.
    AwaitDrained {
        generation: u64,
        until: Instant,
        reply: SyncSender<Option<Holders>>,
    },
    Force {
        plugin: String,
        generation: u64,
        reply: SyncSender<Result<(), Refusal>>,
    },
    Shutdown {
        deadline: Duration,
        reply: Option<SyncSender<()>>,
    },

    Progress {
        generation: u64,
        step: Step,
        /// When it was reached, by the worker's clock: this is read whenever the control thread
        /// comes to it.
        at: Instant,
    },
    Prepared {
        generation: u64,
        result: Result<Box<Generation>, Refused>,
        at: Instant,
    },
    /// Or which generation does not fit, and why.
    Compared {
        job: u64,
        result: Result<(), (u64, Refusal)>,
    },
    /// With the worker's share: while it was out, the instance could not be dropped.
    Told {
        generation: Arc<Generation>,
        result: Result<(), String>,
    },
    Stopped {
        generation: u64,
        panic: Option<String>,
        stopped: Box<Stopped>,
    },
    /// Of the trial's hooks so many ran well, and the next failed if it did.
    Hooked {
        trial: u64,
        ran: usize,
        failed: Option<String>,
    },
    /// How many bytes of state were copied ahead, or handed over.
    Carried {
        number: u64,
        result: Result<usize, String>,
    },
    /// Which of the trial's members is not well, and why.
    Checked {
        trial: u64,
        result: Result<(), Unwell>,
    },
    Closed {
        generation: u64,
        left: Left,
    },
    /// A bug of the control plane's.
    #[cfg(test)]
    Panic,
}

/// On whose word an update comes.
pub(crate) enum By {
    /// The watcher is told what came of it, since it tries again what is refused for a passing
    /// reason.
    Watcher {
        reply: Reply,
        again: bool,
    },
    /// Who does not wait for other updates of the group.
    Impatient(Reply),
    /// What lay in the directory when the host was started.
    Start(Reply),
    Operator(Reply),
}

impl By {
    pub(crate) fn reply(self) -> Option<Reply> {
        match self {
            By::Watcher { reply, .. }
            | By::Start(reply)
            | By::Operator(reply)
            | By::Impatient(reply) => Some(reply),
        }
    }
}

/// Where the library of a release's plugin comes from.
pub(crate) enum Source {
    Read(Box<Candidate>),
    /// What the journal knows: it is read when its turn comes, so that one is in memory at a time.
    Journal(Box<Recalled>),
}

impl Source {
    pub(crate) fn plugin(&self) -> &str {
        match self {
            Source::Read(candidate) => &candidate.manifest().name,
            Source::Journal(recalled) => &recalled.member.plugin,
        }
    }

    pub(crate) fn version(&self) -> Cow<'_, str> {
        match self {
            Source::Read(candidate) => candidate.manifest().version.to_string().into(),
            Source::Journal(recalled) => recalled.member.version.as_str().into(),
        }
    }

    pub(crate) fn digest(&self) -> blake3::Hash {
        match self {
            Source::Read(candidate) => candidate.digest(),
            Source::Journal(recalled) => recalled.member.digest.bytes().into(),
        }
    }

    /// The group that its author names, or in which the host brings it back.
    pub(crate) fn group(&self) -> Option<&str> {
        match self {
            Source::Read(candidate) => candidate.manifest().group.as_deref(),
            Source::Journal(recalled) => Some(&recalled.group),
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) -> Refusal {
        match self {
            Source::Read(candidate) => candidate.refused(refusal),
            Source::Journal(recalled) => {
                refusal.of(&recalled.member.plugin, &recalled.member.version)
            }
        }
    }

    /// It is what was committed, or was before: nothing new is to be written down.
    pub(crate) fn is_recalled(&self) -> bool {
        matches!(self, Source::Journal(recalled) if recalled.as_committed)
    }
}

/// One plugin of a release that is asked for.
pub(crate) struct Named {
    pub(crate) source: Source,
    /// Its configuration; None: the one that it has.
    pub(crate) config: Option<Arc<str>>,
    pub(crate) took: Duration,
    pub(crate) reply: Reply,
}

/// What the journal knows of a plugin, on its way back.
pub(crate) struct Recalled {
    pub(crate) member: Member,
    /// Where its library may lie, the store first.
    pub(crate) places: Vec<PathBuf>,
    /// In which it is to run from now on.
    pub(crate) group: String,
    /// With the configuration that was committed with it.
    pub(crate) as_committed: bool,
}

/// What ranks a file among those of its plugin.
pub(crate) struct Ranked {
    pub(crate) plugin: String,
    pub(crate) version: Version,
    /// In nanoseconds since 1970.
    pub(crate) modified_ns: u64,
    pub(crate) digest: Digest,
}

/// Whether a file is taken up by itself. Later ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It is held, was decided about, or does not beat what serves.
    Out,
    Candidate,
    /// It is what was committed, and could not be brought back.
    Committed,
}

/// Which of those who were asked is not well, and why; `None`: a check of the host's says so.
pub(crate) type Unwell = (Option<usize>, String);

/// An update that is active.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The plugin's name.
    pub plugin: String,
    /// The version that serves.
    pub version: String,
    /// The generation that serves.
    pub generation: u64,
    /// False where the same content served already: nothing was done.
    pub switched: bool,
    /// From the first read to the switch.
    pub took: Duration,
    /// The generation that served before, if one was replaced.
    pub previous: Option<u64>,
    pub(crate) host: Handle,
}

impl Applied {
    /// Waits until no call and no lease is left on the [`previous`](Applied::previous) generation,
    /// and its `retiring` has returned, so that it may be stopped. An update is active before that,
    /// and nothing need wait for it.
    ///
    /// # Errors
    /// Something still holds it when `deadline` is over; the drain goes on.
    pub fn wait_retired(&self, deadline: Duration) -> Result<(), Stall> {
        let Some(generation) = self.previous else { return Ok(()) };
        // A century is for ever, and can be added to any clock.
        let until = Instant::now() + deadline.min(Duration::from_secs(u32::MAX.into()));
        let waited =
            self.host.commands.ask(|reply| Command::AwaitDrained { generation, until, reply });
        let holders = match waited {
            Ok(None) => return Ok(()),
            Ok(Some(holders)) => holders,
            // The host has ended, and its last status says how.
            Err(_) => {
                let status = self.host.shown.status();
                let record =
                    status.generations.iter().find(|record| record.generation == generation);
                match record {
                    Some(record) if record.residency == Residency::Retiring => {
                        record.held_by.clone()
                    }
                    _ => return Ok(()),
                }
            }
        };
        Err(Stall { plugin: self.plugin.clone(), generation, holders })
    }
}

/// What an answer needs to ask again.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) commands: Commands,
    pub(crate) shown: Arc<Shown>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

impl Command {
    /// Drops what may be dropped. A generation whose end nobody is left to see stays mapped, with
    /// what its code may use.
    fn leave(self) {
        match self {
            Command::Prepared { result: Ok(generation), .. } => mem::forget(generation),
            Command::Prepared { result: Err(Refused { stopped, .. }), .. } => mem::forget(stopped),
            Command::Told { generation, .. } => mem::forget(generation),
            Command::Stopped { stopped, .. } => mem::forget(stopped),
            Command::Closed { left, .. } => mem::forget(left),
            other => drop(other),
        }
    }
}
