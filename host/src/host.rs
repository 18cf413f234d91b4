//! The host: what a service builds, keeps, and asks.

use crate::command::{Applied, By, Command, Commands, Named, Source, ended};
use crate::contained::say;
use crate::contracts::Known;
use crate::control::{Control, Recall, Setup};
use crate::event::{About, Event, EventKind, Events};
use crate::frames;
use crate::gate::slot::{Group, Lease, Request, Slot};
use crate::gate::{self, Home, pin};
use crate::journal::{self, Opened, Quarantined};
use crate::refusal::{Code, Refusal};
use crate::release_file;
use crate::run::RunDirectory;
use crate::runtime::attached::AttachedData;
use crate::runtime::{Provided, locals, logs};
use crate::settings::{Bounds, Publish, Share};
use crate::shared::{Checks, Shared};
use crate::stage::{Candidate, preflight, writers};
use crate::start::Start;
use crate::status::Status;
use crate::watch::{self, File, Watch};
use midflight_inspect::text;
use midflight_plugin::rt::{Exported, Linked};
use midflight_plugin::{Contract, Fault, ImplementedBy};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How often a thread that waits for a host's end looks for what it owes.
const SHUTDOWN_CHECKPOINT: Duration = Duration::from_millis(1);

/// A running host: its plugins, the thread that switches them, and the watch on their directory.
///
/// A cheap clone over shared state. When the last clone is dropped the host ends in the background,
/// as by [`shutdown`](Host::shutdown); slots and leases that are left stay valid, and answer
/// [`Fault::NotLoaded`].
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    end: Arc<End>,
}

/// Ends the host with its last handle.
struct End {
    shared: Arc<Shared>,
    watch: Mutex<Option<Watch>>,
}

impl Host {
    /// Everything has a default: `Host::builder().plugins("plugins").start()` is a whole host.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// A handle on the contract `C` of the plugin named `plugin`.
    ///
    /// The plugin need not be there yet: until it is, calls are [`Fault::NotLoaded`]. From now on
    /// every version of it must offer the contract, with the layout that this binary knows; with a
    /// [journal](HostBuilder::journal) so must those that the next start loads.
    ///
    /// A version that the first slot of its plugin can't use is of no use to this host. It is
    /// refused by an event and held, what served before it comes back, and this is no error: where
    /// nothing served before, calls are [`Fault::NotLoaded`] until a version comes that fits. So a
    /// service starts whatever lies in its plugins' directory.
    ///
    /// # Errors
    /// The version that serves does not offer the contract (`contract_missing`), or with another
    /// layout (`layout_mismatch`), and other slots use it: it serves on. So it is with a plugin
    /// that is linked in.
    pub fn slot<C: Contract + ?Sized>(&self, plugin: &str) -> Result<Slot<C>, Refusal> {
        gate::slot(self.home(), plugin)
    }

    fn home(&self) -> Arc<dyn Home> {
        Arc::clone(&self.shared) as Arc<dyn Home>
    }

    /// A handle for each plugin that serves and offers the contract `C`, by plugin name.
    ///
    /// # Errors
    /// One of them offers it with another layout (`layout_mismatch`).
    pub fn slots<C: Contract + ?Sized>(&self) -> Result<Vec<Slot<C>>, Refusal> {
        let plugins =
            self.shared.commands.ask(|reply| Command::Implementers { contract: C::NAME, reply })?;
        plugins.iter().map(|plugin| self.slot(plugin)).collect()
    }

    /// A handle on a group. A plugin that names no group is a group of its own name.
    pub fn group(&self, name: &str) -> Group {
        Group::new(self.home(), name)
    }

    /// [`Group::request`] on the group named `group`; with a [`Group`] at hand the look-up is saved.
    ///
    /// # Errors
    /// As [`Group::request`].
    pub fn request<R, E, F>(&self, group: &str, f: F) -> Result<R, E>
    where
        F: for<'r> FnOnce(&'r Request<'r>) -> Result<R, E>,
        E: From<Fault>,
    {
        self.group(group).request(f)
    }

    /// [`Group::request_keyed`] on the group named `group`.
    ///
    /// # Errors
    /// As [`Group::request`].
    pub fn request_keyed<K, R, E, F>(&self, group: &str, key: &K, f: F) -> Result<R, E>
    where
        K: Hash + ?Sized,
        F: for<'r> FnOnce(&'r Request<'r>) -> Result<R, E>,
        E: From<Fault>,
    {
        self.group(group).request_keyed(key, f)
    }

    /// [`Group::lease`] on the group named `group`.
    ///
    /// # Errors
    /// As [`Group::lease`].
    #[track_caller]
    pub fn lease(&self, group: &str) -> Result<Lease, Fault> {
        self.group(group).lease()
    }

    /// Loads the library at `path` and switches its plugin to it. Returns when new calls run on it;
    /// the old version's calls may still be ending then.
    ///
    /// It waits its turn behind other updates of the same group, and blocks the calling thread
    /// meanwhile.
    ///
    /// # Errors
    /// Any [`Code`](crate::Code): nothing was switched, and what served before serves on.
    pub fn apply(&self, path: impl AsRef<Path>) -> Result<Applied, Refusal> {
        let began = Instant::now();
        let candidate = Candidate::read(path.as_ref(), &self.shared.bounds, &self.shared.spare)?;
        let candidate = Box::new(candidate);
        self.allow_within(Some(&candidate.manifest().name))?;
        let took = began.elapsed();
        self.shared.commands.ask(|reply| Command::Update {
            candidate,
            by: By::Operator(reply),
            took,
        })?
    }

    /// [`apply`](Host::apply) that does not wait: while another update of the group is under way, it is refused `busy`.
    ///
    /// # Errors
    /// `busy`, or as [`apply`](Host::apply).
    pub fn try_apply(&self, path: impl AsRef<Path>) -> Result<Applied, Refusal> {
        let began = Instant::now();
        let candidate = Candidate::read(path.as_ref(), &self.shared.bounds, &self.shared.spare)?;
        let candidate = Box::new(candidate);
        self.allow_within(Some(&candidate.manifest().name))?;
        let took = began.elapsed();
        self.shared.commands.ask(|reply| Command::Update {
            candidate,
            by: By::Impatient(reply),
            took,
        })?
    }

    /// Refuses what would wait for this very thread: see [`Code::InsideCall`].
    fn allow_within(&self, plugin: Option<&str>) -> Result<(), Refusal> {
        let groups = pin::groups();
        if groups.is_empty() {
            return Ok(());
        }
        let plugin = plugin.map(str::to_owned);
        self.shared.commands.ask(|reply| Command::Within { groups, plugin, reply })?
    }

    /// Applies the release file at `path`: the plugins of one group, with versions and
    /// configurations. All of them are prepared while what serves serves on, and then switched in
    /// with one store; where one is refused, none is. Libraries and configurations that serve
    /// already are left as they are.
    ///
    /// ```toml
    /// [[plugin]]
    /// name = "flat-fees"
    /// version = "2.0.0"
    /// file = "flat_fees-2.so"        # relative to this file
    /// config = { rate = 3 }          # without it, the plugin keeps the configuration that it has
    ///
    /// [[plugin]]
    /// name = "risk"
    /// version = "1.4.0"
    /// file = "risk.so"
    /// ```
    ///
    /// # Errors
    /// `release_invalid`, also of a file of more than 1 MiB; `not_a_file` of what is none; or the
    /// refusal of the plugin that stopped it: nothing was switched.
    pub fn apply_release(&self, path: impl AsRef<Path>) -> Result<Vec<Applied>, Refusal> {
        let began = Instant::now();
        let candidates = release_file::read(path.as_ref(), &self.shared.bounds)?;
        for (candidate, _) in &candidates {
            self.allow_within(Some(&candidate.manifest().name))?;
        }
        let took = began.elapsed();
        let (named, answers): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .map(|(candidate, config)| {
                let (reply, answer) = sync_channel(1);
                let source = Source::Read(Box::new(candidate));
                (Named { source, config, took, reply }, answer)
            })
            .unzip();
        self.shared
            .commands
            .send(Command::Release { named, publish: self.shared.bounds.publish })?;
        let answers: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.recv().unwrap_or_else(|_| Err(ended())))
            .collect();
        // The one that stopped it says more than those that it stopped.
        let stopped = |answer: &&Result<Applied, Refusal>| matches!(answer, Err(refusal) if refusal.code() != Code::ReleaseRefused);
        match answers.iter().find(stopped) {
            Some(Err(refusal)) => Err(refusal.clone()),
            _ => answers.into_iter().collect(),
        }
    }

    /// Looks at the plugins' directory now: at each library that has changed since it was looked
    /// into, and at each that was refused. Returns how many those were, when they are read; what
    /// comes of them is told by [events](Host::events). 0 where no directory is watched.
    ///
    /// The host looks by itself when the system tells it of a change, and every
    /// [`look_interval`](HostBuilder::look_interval) besides. This is for whoever knows that
    /// something was written and does not want to wait for that.
    ///
    /// ```
    /// # use midflight::Host;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let plugins = tempfile::tempdir()?;
    /// let host = Host::builder().plugins(plugins.path()).start()?;
    /// assert_eq!(host.look(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn look(&self) -> usize {
        // No lock is held meanwhile: a shutdown may come first.
        let answer = self.end.watch.lock().as_ref().map(Watch::look);
        answer.and_then(|answer| answer.recv().ok()).unwrap_or(0)
    }

    /// Ends the update of `plugin` that is not committed: one that is being prepared or waits for a
    /// switch point is dropped; one on probation is switched out again and held, like by
    /// [`rollback`](Host::rollback). Returns when that is done.
    ///
    /// # Errors
    /// `nothing_to_cancel`: what serves is committed, and nothing of `plugin` is on its way. Or
    /// `inside_call`.
    pub fn cancel(&self, plugin: &str) -> Result<(), Refusal> {
        self.allow_within(Some(plugin))?;
        let plugin = plugin.to_owned();
        self.shared.commands.ask(|reply| Command::Cancel { plugin, reply })?
    }

    /// Switches `plugin` back to the version that served before the current one. What is left is
    /// held: the watcher does not bring it back, only [`apply`](Host::apply) does.
    ///
    /// On [probation](HostBuilder::probation) that is the version that was committed last: one that
    /// served in between was never good, and the event says which is passed over. What came in the
    /// same release ([`apply_release`](Host::apply_release)) goes back with it; other plugins of
    /// the group stay as they are, on their own probation or off it.
    ///
    /// # Errors
    /// `nothing_to_roll_back`, `linked_in`, `inside_call`, or what stops any update: then the
    /// current version serves on.
    pub fn rollback(&self, plugin: &str) -> Result<Applied, Refusal> {
        self.allow_within(Some(plugin))?;
        let plugin = plugin.to_owned();
        self.shared.commands.ask(|reply| Command::Rollback { plugin, reply })?
    }

    /// Starts the version of `plugin` that serves once more, with `config` (toml), and switches to
    /// that. A rollback brings the earlier configuration back.
    ///
    /// # Errors
    /// `linked_in`, or what stops any update, `start_failed` above all: then the plugin serves on
    /// with the configuration that it has.
    pub fn configure(&self, plugin: &str, config: &str) -> Result<Applied, Refusal> {
        self.allow_within(Some(plugin))?;
        let (plugin, config) = (plugin.to_owned(), config.into());
        self.shared.commands.ask(|reply| Command::Configure { plugin, config, reply })?
    }

    /// Gives a generation up whose drain has stalled: nobody waits for it any more. It is never
    /// stopped and never unmapped, since its code may be running; it counts in `generations_max`
    /// and is marked in the status until this process ends.
    ///
    /// # Errors
    /// `not_stalled`: there is no such generation of `plugin`, or its drain has not been reported
    /// as stalled.
    pub fn force(&self, plugin: &str, generation: u64) -> Result<(), Refusal> {
        let plugin = plugin.to_owned();
        self.shared.commands.ask(|reply| Command::Force { plugin, generation, reply })?
    }

    /// Publishes everything that is prepared and waits, each group with one store, and returns how
    /// many plugins were switched. Where a plugin hands its state over, it returns when that is
    /// done or given up: calls wait for `handover_wait_max` at most, and this besides while a
    /// [`Table`](midflight_plugin::Table) is copied ahead.
    ///
    /// For hosts with [`Publish::Manual`]: call it between two ticks, or at an auction. Where
    /// nothing waits it is one load.
    ///
    /// # Errors
    /// `inside_call`: this thread is inside of a call of a group whose state would have to be
    /// handed over, which can't be while the call lasts. Nothing was switched, and what waits waits
    /// on.
    pub fn switch_point(&self) -> Result<usize, Refusal> {
        if !self.shared.waiting.load(Acquire) {
            return Ok(0);
        }
        self.allow_within(None)?;
        Ok(self.shared.commands.ask(|reply| Command::SwitchPoint { reply }).unwrap_or(0))
    }

    /// Lets retired plugins go that this thread still owes something: destructors of their
    /// thread-locals run on the thread that made the values. A thread does so whenever it calls a
    /// plugin, and when it ends; one that idles for long, in a pool, calls this.
    pub fn checkpoint(&self) {
        pin::checkpoint();
    }

    /// What runs, what is on its way out, and what stayed.
    pub fn status(&self) -> Arc<Status> {
        self.shared.shown.status()
    }

    /// What plugins have attached to this host's objects.
    pub fn attached(&self) -> AttachedData {
        self.shared.attached.clone()
    }

    /// Follows what happens from now on.
    pub fn events(&self) -> Events {
        self.shared.events.follow()
    }

    /// The last `events_kept_max` events.
    pub fn events_kept(&self) -> Vec<Event> {
        self.shared.events.kept()
    }

    /// Ends the host: no more updates, every plugin retired, drained, stopped and unmapped. Returns
    /// when that is done or `deadline` is over, with the status at that time. What had not ended
    /// then stays mapped until the process ends.
    pub fn shutdown(&self, deadline: Duration) -> Arc<Status> {
        self.end.watch.lock().take();
        let (reply, over) = sync_channel(1);
        // An error is a host that has ended already.
        if self.shared.commands.send(Command::Shutdown { deadline, reply: Some(reply) }).is_ok() {
            // This thread may have called plugins, and they wait for what it owes them.
            while over.recv_timeout(SHUTDOWN_CHECKPOINT) == Err(RecvTimeoutError::Timeout) {
                self.checkpoint();
            }
        }
        self.status()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let deadline = self.shared.bounds.drain_deadline;
        let _ = self.shared.commands.send(Command::Shutdown { deadline, reply: None });
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("status", &self.status()).finish()
    }
}

/// Configures a [`Host`]. Contradictions fail in [`start`](HostBuilder::start).
///
/// ```no_run
/// # use std::time::Duration;
/// # fn wait_for_a_signal() {}
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = midflight::Host::builder()
///     .plugins("plugins")
///     .journal("/var/lib/exchange/midflight")
///     .start()?;
/// wait_for_a_signal();
/// // So that the next start finds an orderly end, and no plugin is cut off in its calls.
/// host.shutdown(Duration::from_secs(10));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct HostBuilder {
    plugins: Option<PathBuf>,
    run_directory: Option<PathBuf>,
    services: Vec<Provided>,
    known: Vec<Known>,
    groups: BTreeMap<String, String>,
    configs: BTreeMap<String, Arc<str>>,
    linked: Vec<(String, Linked)>,
    bounds: Bounds,
    checks: Checks,
    journal: Option<PathBuf>,
    journal_bounds: journal::Bounds,
}

impl HostBuilder {
    /// The directory to watch: its `*.so` files are loaded at the start, and again whenever one is
    /// written or renamed in. [`docs::watching`](crate::docs::watching) has what is seen and when.
    #[must_use]
    pub fn plugins(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plugins = Some(directory.into());
        self
    }

    /// How often the host looks at the plugins' directory by itself, for what the system tells it
    /// nothing of: what other machines write to a network file system, say. A file that such a look
    /// alone finds is taken when the next one finds it the same. Default 5 s; a long one
    /// (`Duration::MAX`) leaves it to events and [`Host::look`].
    #[must_use]
    pub fn look_interval(mut self, interval: Duration) -> Self {
        self.bounds.look_interval = interval;
        self
    }

    /// Provides `service` to plugins that ask their `Context` for the contract `C`.
    #[must_use]
    pub fn provide<C, T>(mut self, service: Arc<T>) -> Self
    where
        C: ImplementedBy<T> + ?Sized,
        T: Send + Sync + 'static,
    {
        self.services.push(Provided::of::<C, T>(service));
        self
    }

    /// Starts the plugin `P`, which is linked into this binary, under the name `plugin`: the same
    /// handles, requests, services and configuration, with no library at all. It serves until the
    /// host ends, and no file replaces it.
    ///
    /// ```
    /// # midflight_plugin::contract_crate!();
    /// # use midflight::Host;
    /// # use midflight_plugin::{Context, Plugin, StartError, contract, plugin};
    /// # #[contract] pub trait Fees { fn fee(&self, quantity: u32) -> u64; }
    /// #[plugin(implements(Fees))]
    /// struct FlatFees;
    /// # impl Plugin for FlatFees { fn start(_: &Context<'_>) -> Result<Self, StartError> { Ok(FlatFees) } }
    /// # impl Fees for FlatFees { fn fee(&self, quantity: u32) -> u64 { 3 * u64::from(quantity) } }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let host = Host::builder().link::<FlatFees>("flat-fees").start()?;
    /// assert_eq!(host.slot::<dyn Fees>("flat-fees")?.fee(7)?, 21);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn link<P: Exported>(mut self, plugin: &str) -> Self {
        self.linked.push((plugin.to_owned(), Linked::of::<P>()));
        self
    }

    /// Makes a contract known before the first slot asks for it, so that the very first load is
    /// checked against it.
    #[must_use]
    pub fn contract<C: Contract + ?Sized>(mut self) -> Self {
        self.known.push(Known::of::<C>());
        self
    }

    /// Puts `plugin` into `group`, whatever its author says.
    #[must_use]
    pub fn group(mut self, plugin: &str, group: &str) -> Self {
        self.groups.insert(plugin.to_owned(), group.to_owned());
        self
    }

    /// The configuration of `plugin`, as toml: its `start` reads it by `Context::config`. Default
    /// empty.
    ///
    /// With a [journal](HostBuilder::journal), what was changed last counts: this one, if it is
    /// another than at the start before; else what was committed since, by
    /// [`Host::configure`] or a release file, and an event says so (`config_kept`).
    #[must_use]
    pub fn config(mut self, plugin: &str, config: &str) -> Self {
        self.configs.insert(plugin.to_owned(), config.into());
        self
    }

    /// Where private images are written, on a file system that is not mounted noexec. Default:
    /// `midflight-<uid>` in the system's temporary directory (`TMPDIR`), and where that will not do
    /// `midflight` in `XDG_RUNTIME_DIR`.
    ///
    /// Nobody but root and this user may be able to write to it, nor to rename a directory above
    /// it: a `TMPDIR` that others can write to and that has no sticky bit is refused. Hosts may
    /// share one: each holds a lock on a directory of its own in it, and removes those alone that
    /// nobody holds. Machines that share a file system but not its locks need one each.
    ///
    /// It may be cleaned while the host runs (systemd-tmpfiles leaves alone what is locked). Then,
    /// and where the service has become another user, the next update makes it again: where this
    /// says if the user may write there, else where the default is. What was to be rolled back to
    /// is then loaded from the [`journal`](HostBuilder::journal)'s copy; without a journal that
    /// rollback is refused (`image_lost`).
    #[must_use]
    pub fn run_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.run_directory = Some(directory.into());
        self
    }

    /// Generations of one plugin in memory, the active one included; beyond it updates are refused.
    /// Default 4.
    #[must_use]
    pub fn generations_max(mut self, count: usize) -> Self {
        self.bounds.generations_max = count;
        self
    }

    /// After which a plugin's `retiring` is reported as still running; it goes on, and keeps its
    /// version in memory. Default 10 s.
    #[must_use]
    pub fn retire_deadline(mut self, deadline: Duration) -> Self {
        self.bounds.retire_deadline = deadline;
        self
    }

    /// After which a drain is reported as stalled; it goes on. Default 30 s.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.bounds.drain_deadline = deadline;
        self
    }

    /// For a load, and again for a start. Default 10 s.
    #[must_use]
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.bounds.start_deadline = deadline;
        self
    }

    /// After which a stop is reported as still running. Default 10 s.
    #[must_use]
    pub fn stop_deadline(mut self, deadline: Duration) -> Self {
        self.bounds.stop_deadline = deadline;
        self
    }

    /// Whether candidates are opened in a child process first. By default they are where the line
    /// [`preflight`](crate::preflight()) stands in the service's main; without it they can't be.
    #[must_use]
    pub fn preflight(mut self, on: bool) -> Self {
        self.bounds.preflight = on;
        self
    }

    /// After which such a child is killed, and the candidate refused. Default 10 s.
    #[must_use]
    pub fn preflight_deadline(mut self, deadline: Duration) -> Self {
        self.bounds.preflight_deadline = deadline;
        self
    }

    /// Whether every candidate is started and stopped in the child as well, not only those whose
    /// authors say so (`#[plugin(…, preflight_start)]`). A start that crashes is a refusal then;
    /// but whatever a start does is done twice, and the host's services are not there in the child.
    /// Default off.
    #[must_use]
    pub fn preflight_start(mut self, on: bool) -> Self {
        self.bounds.preflight_start = on;
        self
    }

    /// Whether one child is kept ready for the next candidate, from the first switch on: see
    /// [`preflight`](crate::preflight()). Without it each update waits for the start of the
    /// program. Default on.
    #[must_use]
    pub fn preflight_kept(mut self, on: bool) -> Self {
        self.bounds.preflight_kept = on;
        self
    }

    /// The largest library that is read. Default 256 MiB.
    #[must_use]
    pub fn library_bytes_max(mut self, bytes: u64) -> Self {
        self.bounds.library_bytes_max = bytes;
        self
    }

    /// Whether a library that nobody has stamped is refused (`not_stamped`), also one that comes
    /// back from the journal. A library with a stamp is refused wherever it was damaged; what
    /// damage does to one without can't all be seen before it runs.
    /// Default: no. [`midflight_plugin::docs::stamps`] says how a build stamps what it makes.
    #[must_use]
    pub fn stamps_required(mut self, required: bool) -> Self {
        self.bounds.stamps_required = required;
        self
    }

    /// How many events are kept for [`Host::events_kept`] and slow readers. Default 1,000.
    #[must_use]
    pub fn events_kept_max(mut self, count: usize) -> Self {
        self.bounds.events_kept_max = count;
        self
    }

    /// How deep calls may nest on one thread. Default and most 64.
    #[must_use]
    pub fn calls_nested_max(mut self, depth: usize) -> Self {
        self.bounds.calls_nested_max = depth;
        self
    }

    /// How many groups one thread may be inside of. Default 8.
    #[must_use]
    pub fn groups_nested_max(mut self, count: usize) -> Self {
        self.bounds.groups_nested_max = count;
        self
    }

    /// With how many frames of their stack panics of plugins are reported
    /// ([`PanicReport::frames`](crate::PanicReport)). Default 0: they take none; most 128. The
    /// addresses cost some microseconds a panic, their names the reading of the plugin's file, in
    /// the call that gets the fault: some milliseconds, and more for a plugin with debug
    /// information.
    #[must_use]
    pub fn panic_frames_max(mut self, count: usize) -> Self {
        self.bounds.panic_frames_max = count;
        self
    }

    /// When prepared versions are switched in. Default [`Publish::AtOnce`]. What lies in the
    /// plugins' directory at the start is switched in by the start itself.
    #[must_use]
    pub fn publish(mut self, publish: Publish) -> Self {
        self.bounds.publish = publish;
        self
    }

    /// How long a new version serves on probation: what it replaced is kept started beside it,
    /// counts in `generations_max`, and comes back with one store when
    /// [`Plugin::health`](midflight_plugin::Plugin::health) or a
    /// [`health_check`](HostBuilder::health_check) fails, or when it is rolled back or cancelled.
    /// Each update has a probation of its own, whatever else of its group comes or goes meanwhile;
    /// a release of several plugins has one. Time in which the process was stopped counts for none.
    /// Default 0: a version is committed as soon as its `after_switch` has returned.
    #[must_use]
    pub fn probation(mut self, length: Duration) -> Self {
        self.bounds.probation = length;
        self
    }

    /// Remembers in `directory` what was committed, tried and held, so that the next start of the
    /// service brings the last committed versions back, with their configurations, and takes up
    /// nothing by itself that was rolled back or that the process died of. It keeps copies of their
    /// libraries in `directory/store`. The directory must be this host's alone, and on a disk that
    /// keeps what is synced. Default: none, and the highest versions in the plugins' directory run.
    ///
    /// A switch is written down before it is made; what can't be written is refused with
    /// `journal_unavailable`, and so is everything once the directory was replaced under the host.
    /// The configurations of a group's plugins have 341 KiB together at most.
    ///
    /// [`docs::restarts`](crate::docs::restarts) says what runs after a restart, and what happens
    /// where the journal or the store is damaged.
    #[must_use]
    pub fn journal(mut self, directory: impl Into<PathBuf>) -> Self {
        self.journal = Some(directory.into());
        self
    }

    /// The libraries in the journal's store, all together. Default 1 GiB.
    #[must_use]
    pub fn store_bytes_max(mut self, bytes: u64) -> Self {
        self.journal_bounds.store_bytes_max = bytes;
        self
    }

    /// How long calls may wait while a plugin's state is handed over to its next version. Beyond it
    /// the update is refused, and what served serves on. Default 250 ms.
    #[must_use]
    pub fn handover_wait_max(mut self, wait: Duration) -> Self {
        self.bounds.handover_wait_max = wait;
        self
    }

    /// How often a version on probation is asked for its health, and once more when its time is
    /// over: only what is well then is committed. Default 1 s, or as long as the probation if that
    /// is shorter; a longer one contradicts it.
    #[must_use]
    pub fn check_interval(mut self, interval: Duration) -> Self {
        self.bounds.check_interval = Some(interval);
        self
    }

    /// How many calls of a version on probation may panic: one more brings the version before back
    /// (`budget_exceeded`). Default: any number; 0 is strict. Calls through slots, requests,
    /// leases, objects and futures count, callbacks and hooks do not. They are counted on their way
    /// back, and no other call pays for it.
    #[must_use]
    pub fn panics_max(mut self, count: u64) -> Self {
        self.bounds.panics_max = count;
        self
    }

    /// The same of calls that return an error of the plugin's own
    /// ([`CallError::Declined`](crate::CallError::Declined)). Errors that are ordinary answers count
    /// as well, so leave room for as many as a probation sees. Default: any number.
    #[must_use]
    pub fn errors_max(mut self, count: u64) -> Self {
        self.bounds.errors_max = count;
        self
    }

    /// How many times as long as on the version before the slowest hundredth of a version's calls
    /// may take, in a canary and on [probation](HostBuilder::probation): beyond it the version
    /// before comes back (`budget_exceeded`). Default: any time. At least 1; less than 10 µs more
    /// is never too much, and fewer than 1,000 calls on either side say nothing.
    ///
    /// Compared are the calls through slots and leases, method by method, and requests as a whole.
    /// They are timed while a version is tried, and at no other time: each reads the clock twice.
    /// Where there is no canary, the version that serves is timed first, and what replaces it waits
    /// for that for one `check_interval`.
    #[must_use]
    pub fn latency_max(mut self, factor: f64) -> Self {
        self.bounds.latency_max = Some(factor);
        self
    }

    /// Runs each new version of the plugins of `group` for `length` beside the one that serves, for
    /// `share` of what comes (between 0 and 1), before it is switched in for all. It has an
    /// instance of its own. Each outermost call, request and lease is for one of the two by chance,
    /// and all that is called from within is for the same;
    /// [`request_keyed`](crate::Group::request_keyed) keeps what belongs together on one side.
    ///
    /// It is withdrawn and held when its health, a [`health_check`](HostBuilder::health_check) or a
    /// budget fails, when it is cancelled or rolled back; a newer version of it takes its place.
    /// [`Host::apply`] returns when it is switched in for all, or refused. Rollbacks and first
    /// versions have no canary, and a version of a group in which a plugin hands its state over is
    /// refused (`canary_with_state`). Default: none.
    #[must_use]
    pub fn canary(mut self, group: impl Into<String>, share: f64, length: Duration) -> Self {
        self.bounds.canaries.insert(group.into(), Share { of_all: share, length });
        self
    }

    /// What a group on probation is asked besides: the reason why it is not well brings the version
    /// before back. It runs on a thread of its own, may call plugins, and is given up at
    /// `hook_deadline`, which counts as not well.
    #[must_use]
    pub fn health_check<F>(mut self, check: F) -> Self
    where
        F: Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    {
        self.checks.0.push(Box::new(check));
        self
    }

    /// For each of a plugin's hooks but `before_switch`, which is part of its start. An
    /// `after_switch` or `health` that is late has failed; on the way back nobody waits for longer.
    /// Default 10 s.
    #[must_use]
    pub fn hook_deadline(mut self, deadline: Duration) -> Self {
        self.bounds.hook_deadline = deadline;
        self
    }

    /// Starts the host, and loads what lies in the plugins' directory. A file there that is refused
    /// is an event, not an error.
    ///
    /// # Errors
    /// A directory that can't be used, or settings that contradict each other.
    pub fn start(self) -> Result<Host, HostError> {
        self.check()?;
        midflight_plugin::rt::use_host_panics();
        midflight_plugin::rt::use_symboliser(frames::symbolise);
        let run = RunDirectory::create(self.run_directory.as_deref())
            .map_err(|(path, why)| HostError::RunDirectory { path, source: why.into() })?;

        let journal = self
            .journal
            .as_deref()
            .map(|path| journal::open(path, self.journal_bounds))
            .transpose();
        let (recall, before) = match journal.map_err(|error| HostError::Journal(Box::new(error)))? {
            Some((journal, store, opened)) => {
                tell_opened(&opened);
                // What was tried, or prepared, and not committed.
                let kept = journal.state().kept();
                store.retain(&kept).map_err(|error| HostError::Journal(Box::new(error)))?;
                let before = (journal.state().clone(), Arc::new(store));
                (Some(Recall::new(journal, Arc::clone(&before.1))), Some(before))
            }
            None => (None, None),
        };
        let mut known = self.known;
        known.extend(recall.as_ref().map(Recall::known).unwrap_or_default());
        let (groups, configs) = (self.groups.clone(), self.configs.clone());
        let (send, commands) = Commands::queue();
        let obstacle = preflight::obstacle().filter(|_| self.bounds.preflight);
        let shared = Arc::new(Shared::new(self.bounds, self.checks, send));
        if let Some(reason) = obstacle {
            let about = About { plugin: "", version: "", generation: None };
            shared.events.add(
                about,
                Duration::ZERO,
                EventKind::NoPreflight { reason: reason.to_owned() },
            );
        }
        let setup = Setup {
            shared: Arc::clone(&shared),
            run: Arc::new(run),
            services: self.services.into(),
            known,
            groups: self.groups,
            configs: self.configs,
            recall,
        };
        std::thread::Builder::new()
            .name("midflight".to_owned())
            .spawn(move || Control::run_contained(setup, &commands))
            .map_err(HostError::Thread)?;
        let commands = shared.commands();
        logs::listen(move || commands.send(Command::FiltersChanged).is_ok());
        let host = Host {
            end: Arc::new(End { shared: Arc::clone(&shared), watch: Mutex::new(None) }),
            shared,
        };
        let linked_in = self.linked.iter().map(|(plugin, _)| plugin.clone()).collect();
        for (plugin, linked) in self.linked {
            host.shared
                .commands
                .ask(|reply| Command::Link { plugin, linked, reply })
                .flatten()
                .map_err(HostError::Linked)?;
        }
        let seen = match &self.plugins {
            Some(directory) => {
                watch::look(&host.shared, directory, Vec::new(), writers::open_for_writing)
                    .map_err(|error| unwatchable(directory, error))?
            }
            None => Vec::new(),
        };
        if let Some((state, store)) = &before {
            let start = Start {
                shared: &host.shared,
                state,
                store,
                files: &seen,
                groups: &groups,
                configs: &configs,
                linked: &linked_in,
            };
            start.recall();
        }
        if let Some(directory) = &self.plugins {
            host.watch(directory, seen)?;
        }
        Ok(host)
    }

    fn check(&self) -> Result<(), HostError> {
        unwinds(cfg!(panic = "abort"))?;
        locals::make_key().and_then(|()| gate::make_key()).map_err(HostError::Keys)?;
        let bounds = &self.bounds;
        let depth = bounds.calls_nested_max;
        if bounds.generations_max < 2 {
            let why = format!(
                "{} leaves no room for an update beside what serves",
                bounds.generations_max
            );
            return Err(HostError::Bound { name: "generations_max", why });
        }
        if depth == 0 || depth > pin::FRAMES {
            let why = format!("{depth} is not between 1 and {}", pin::FRAMES);
            return Err(HostError::Bound { name: "calls_nested_max", why });
        }
        if bounds.look_interval.is_zero() {
            let why = "0 leaves no time between two looks".to_owned();
            return Err(HostError::Bound { name: "look_interval", why });
        }
        if bounds.groups_nested_max == 0 {
            let why = "0 allows no call at all".to_owned();
            return Err(HostError::Bound { name: "groups_nested_max", why });
        }
        if let Some(factor) =
            bounds.latency_max.filter(|factor| !(1.0..f64::INFINITY).contains(factor))
        {
            let why = format!("{factor} is not a number from 1 on");
            return Err(HostError::Bound { name: "latency_max", why });
        }
        for (group, Share { of_all, .. }) in &bounds.canaries {
            if !(*of_all > 0.0 && *of_all < 1.0) {
                let why = format!("{of_all} of group {group} is not between 0 and 1");
                return Err(HostError::Bound { name: "canary", why });
            }
        }
        let probation = bounds.probation;
        if let Some(interval) = bounds.check_interval.filter(|it| *it > probation)
            && probation > Duration::ZERO
        {
            let why = format!("{interval:?} is longer than the probation of {probation:?}");
            return Err(HostError::Bound { name: "check_interval", why });
        }
        let names: Vec<_> = self.services.iter().map(Provided::name).collect();
        match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            Some((_, name)) => Err(HostError::ProvidedTwice(name)),
            None => Ok(()),
        }
    }
}

/// A program whose panics end it can keep none of what is promised of panics: that of a service's
/// own would end it as well as that of a plugin which is linked in, or which a default body asks.
fn unwinds(aborts: bool) -> Result<(), HostError> {
    if aborts { Err(HostError::PanicAbort) } else { Ok(()) }
}

impl Host {
    /// Watches first and looks second, so that no file falls between. `seen` was looked at before.
    fn watch(&self, directory: &Path, seen: Vec<File>) -> Result<(), HostError> {
        let watch = Watch::start(directory, Arc::clone(&self.shared), writers::open_for_writing)
            .map_err(|error| unwatchable(directory, error))?;
        let files = watch::look(&self.shared, directory, seen, writers::open_for_writing);
        let files = files.map_err(|error| unwatchable(directory, error))?;
        if files.is_empty() {
            let about = About { plugin: "", version: "", generation: None };
            let kind = EventKind::NoPlugins { directory: directory.to_owned() };
            self.shared.events.add(about, Duration::ZERO, kind);
        }
        for path in watch::elect(&self.shared, &files) {
            let began = Instant::now();
            let read = Candidate::read(&path, &self.shared.bounds, &self.shared.spare);
            let refused = read.inspect_err(|refusal| self.shared.refused(refusal, began.elapsed()));
            let update = |candidate| {
                let (candidate, took) = (Box::new(candidate), began.elapsed());
                // A refusal is an event.
                let ask = |reply| Command::Update { candidate, by: By::Start(reply), took };
                self.shared.commands.ask(ask).flatten()
            };
            if let Err(refusal) = refused.and_then(update) {
                watch.refused(path, refusal);
            }
        }
        for File { path, library, .. } in files {
            if let Err(refusal) = library {
                watch.refused(path, refusal);
            }
        }
        *self.end.watch.lock() = Some(watch);
        Ok(())
    }
}

fn unwatchable(path: &Path, source: io::Error) -> HostError {
    HostError::Plugins { path: path.to_owned(), source }
}

/// Why a host did not start, and what to do about it. `Debug` writes the sources as well, so that
/// a `main` that returns it says all that is known.
#[non_exhaustive]
pub enum HostError {
    /// The plugins' directory can't be watched or read.
    Plugins {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory for private images can't be used.
    RunDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A bound that makes no sense.
    Bound {
        /// The builder's method.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The program is built with `panic = "abort"`, so that no panic could become a
    /// [`Fault::Panicked`]: not that of a service which a plugin calls, nor that of a plugin which
    /// is linked in or which a `#[since]` method's default body asks.
    ///
    /// A profile in Cargo.toml compiles every crate of the program in that way, midflight among
    /// them, which is how it knows. What is given to the program's own crate alone, as
    /// `cargo rustc -- -C panic=abort` does, it does not see.
    PanicAbort,
    /// Two services for one contract.
    ProvidedTwice(&'static str),
    /// The journal can't be used: its reason names the file and what to do.
    Journal(Box<dyn std::error::Error + Send + Sync>),
    /// A plugin that is linked in did not start.
    Linked(Refusal),
    /// No thread could be started.
    Thread(io::Error),
    /// The process has no pthread key left, by which a host hears of the ends of threads.
    Keys(io::Error),
}

impl HostError {
    /// What failed.
    fn what(&self) -> String {
        match self {
            HostError::Plugins { path, .. } => {
                format!("can't watch the plugins' directory {}", text::path(path))
            }
            HostError::RunDirectory { path, .. } => {
                format!("can't use the run directory {}", text::path(path))
            }
            HostError::Bound { name, why } => format!("{name}: {why}"),
            HostError::PanicAbort => "this program is built with panic = \"abort\", so a panic in \
                                      a call would end it and not be a fault"
                .to_owned(),
            HostError::ProvidedTwice(contract) => {
                format!("two services are provided for {contract}")
            }
            HostError::Journal(_) => "can't use the journal".to_owned(),
            HostError::Linked(_) => "a plugin that is linked in did not start".to_owned(),
            HostError::Thread(_) => "can't start the control thread".to_owned(),
            HostError::Keys(_) => "the process has no pthread key left".to_owned(),
        }
    }

    /// What to do about it, where what failed does not say it.
    fn cure(&self) -> Option<&'static str> {
        match self {
            HostError::Plugins { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("create it, or give another to HostBuilder::plugins")
            }
            HostError::Plugins { .. } => Some("let this user read it"),
            HostError::RunDirectory { .. } => Some(
                "give HostBuilder::run_directory one that this user owns, on a file system with \
                 room that is not mounted noexec",
            ),
            HostError::PanicAbort => {
                Some("write panic = \"unwind\" in its profile in Cargo.toml, or leave the line out")
            }
            HostError::ProvidedTwice(_) => Some("provide one, or an object that does both"),
            HostError::Thread(_) => Some("let the process have more threads (ulimit -u)"),
            HostError::Keys(_) => Some(
                "start the host before what makes so many (glibc gives a process 1,024), or find \
                 what makes them and deletes none",
            ),
            // The one names what to change; the others' sources say it.
            HostError::Bound { .. } | HostError::Journal(_) | HostError::Linked(_) => None,
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        self.cure().map_or(Ok(()), |cure| write!(f, "; {cure}"))
    }
}

impl fmt::Debug for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        self.cure().map_or(Ok(()), |cure| write!(f, "; {cure}"))
    }
}

impl Error for HostError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            HostError::Plugins { source, .. } | HostError::RunDirectory { source, .. } => {
                Some(source)
            }
            HostError::Journal(source) => Some(&**source),
            HostError::Linked(refusal) => Some(refusal),
            HostError::Thread(source) | HostError::Keys(source) => Some(source),
            HostError::Bound { .. } | HostError::PanicAbort | HostError::ProvidedTwice(_) => None,
        }
    }
}

fn tell_opened(opened: &Opened) {
    if let Some(process) = &opened.died {
        let pid = process.pid;
        let _ = say!(
            info,
            pid,
            "process {pid} ended without Host::shutdown, as by a signal or a crash: what was \
             committed runs again; call Host::shutdown before the service ends, and this is not told"
        );
    }
    if let Some(format) = opened.migrated_from {
        let _ = say!(
            info,
            format,
            "the journal had format {format}, and was written anew; the one as it was stays beside \
             it as journal.format-{format}, for who goes back to the host that wrote it"
        );
    }
    if let Some(torn) = opened.repaired {
        let _ = say!(
            warn,
            at_byte = torn.at_byte,
            bytes = torn.bytes,
            "the journal's last record was cut off, and never counted"
        );
    }
    for Quarantined { member, .. } in &opened.quarantined {
        let (plugin, version) = (text::name(&member.plugin), text::name(&member.version));
        let _ = say!(warn, plugin, version, "held: the process ended while it was on probation");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    #[test]
    fn s20_a_program_whose_panics_abort_is_no_host() {
        let refused = unwinds(true).expect_err("it aborts").to_string();
        assert!(refused.contains("write panic = \"unwind\" in its profile"), "{refused}");
        assert!(unwinds(false).is_ok());
    }
    /// A bug of ours ends the thread. Who waits for it is told, and nobody waits for ever.
    #[test]
    fn s15_a_control_thread_that_panics_is_told_of() {
        let run = tempfile::tempdir().expect("a directory");
        let host = Host::builder().run_directory(run.path()).start().expect("a host");
        host.shared.commands.send(Command::Panic).expect("it runs");
        let refused = host.rollback("any").expect_err("it has ended");
        assert_eq!(refused.code(), Code::ShuttingDown);
        let told: Vec<_> = host.events_kept().into_iter().map(|event| event.kind).collect();
        let [EventKind::ControlPanicked(text)] = &*told else { panic!("{told:?}") };
        assert_eq!(text, "a bug");
    }
}
