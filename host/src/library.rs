//! Mapped libraries: the only place that opens, asks, starts, stops and closes one.
//!
//! `dlopen` answers with an older library where a path or an inode was seen before, and `dlclose`
//! returns 0 whether or not it unmapped anything. Neither is believed: what was mapped is proven by
//! an address that was written into this very image, and what was unmapped by the absence of its
//! path from the process.
#![allow(unsafe_code, reason = "one of the five places: calls into libraries")]

mod maps;
mod program;

use crate::contained::say;
use crate::contracts::Layout;
use crate::image::Image;
use crate::refusal::{Code, Refusal};
use crate::run::is_noexec;
use crate::runtime::Owner;
use crate::status::{Mapped, Memory};
use libloading::os::unix::{Library as Handle, RTLD_LOCAL, RTLD_NOW};
use midflight_inspect::text;
use midflight_plugin::rt::{
    Bound, Counts, Entry, FORMAT, Hook, HostTable, Linked, Offered, Origin, PLACE_MAGIC, Part,
    Place, Question, StateTable, with_cure,
};
use midflight_plugin::{CallError, Fault, PanicReport};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};

pub(crate) use maps::Maps;
pub(crate) use program::{
    ContractNumber, Maker, Program, SameProgram, THIS, close_inherited, contract_named,
    first_contracts, has_foreign_rights, listed,
};

/// A plugin's code: an open library whose entry was found and whose bytes are known to be the
/// image's, or what is linked in.
///
/// Dropping it leaves it mapped: only [`close`](Library::close) unmaps, and asks for the reason why
/// that is safe.
pub(crate) struct Library {
    body: Body,
    image: Arc<Image>,
    allocated: Arc<Allocated>,
}

/// What a library's allocator has given out, for who does not hold the library.
pub(crate) struct Allocated(Mutex<Source>);

enum Source {
    /// INVARIANT: of a mapped library, which takes it away, under the lock, before it is closed.
    Mapped(&'static Counts),
    /// As it was last.
    Closed(Option<Memory>),
}

impl Allocated {
    /// `None`: its allocator does not count, or has given out nothing yet.
    pub(crate) fn memory(&self) -> Option<Memory> {
        self.0.lock().read()
    }

    fn close(&self) {
        let mut source = self.0.lock();
        *source = Source::Closed(source.read());
    }
}

impl Source {
    fn read(&self) -> Option<Memory> {
        let counts = match self {
            Source::Mapped(counts) => counts,
            Source::Closed(last) => return *last,
        };
        let memory =
            Memory { current: counts.current.load(Relaxed), peak: counts.peak.load(Relaxed) };
        Some(memory).filter(|memory| memory.peak > 0)
    }
}

enum Body {
    Mapped {
        handle: ManuallyDrop<Handle>,
        /// INVARIANT: of format `FORMAT`, in the mapped library.
        entry: NonNull<Entry>,
    },
    Linked(Linked),
}

// SAFETY: the entry is an immutable static of the library, and glibc's handles may be used from any
// thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// A started plugin's object. Only the library that made it can stop it.
pub(crate) struct Instance(*const ());

// SAFETY: `Plugin: Send + Sync`, which `Entry::of` demands of every instance.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

/// Why `start` gave no instance.
pub(crate) enum NotStarted {
    Failed(String),
    Panicked(Box<PanicReport>),
}

impl NotStarted {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            NotStarted::Failed(reason) => {
                let reason = with_cure(&reason);
                Refusal::new(Code::StartFailed, format!("start says: {reason}"))
            }
            NotStarted::Panicked(report) => Refusal::new(Code::StartPanicked, report.to_string()),
        }
    }
}

impl Library {
    /// Maps `image` and runs its constructors. A library that is refused after that comes with the
    /// refusal.
    pub(crate) fn open(
        image: &Arc<Image>,
        table: &HostTable,
    ) -> Result<Library, (Refusal, Option<Library>)> {
        let handle = open_handle(image).map_err(|refusal| (refusal, None))?;
        let (handle, entry) = match entry_of(handle, image, table) {
            Ok(both) => both,
            // Another library, or one that can't be asked anything: the loader may have it back.
            Err(refusal) => return Err((refusal, None)),
        };
        // SAFETY: `entry_of` found its format to be `FORMAT`.
        let said = unsafe { entry.as_ref() };
        let (name, version) = (said.name.as_str(), said.version.as_str());
        let body = Body::Mapped { handle: ManuallyDrop::new(handle), entry };
        let allocated = Arc::new(Allocated(Mutex::new(Source::Mapped(said.memory))));
        let library = Library { body, image: Arc::clone(image), allocated };
        if name != &*image.plugin || version != &*image.version {
            let (plugin, expected) = (&image.plugin, &image.version);
            let reason =
                format!("its entry says {name} {version}, its manifest says {plugin} {expected}");
            return Err((Refusal::new(Code::EntryInvalid, reason), Some(library)));
        }
        Ok(library)
    }

    /// What is linked in, in the place of a library.
    pub(crate) fn linked(linked: Linked, image: &Arc<Image>) -> Library {
        let allocated = Arc::new(Allocated(Mutex::new(Source::Closed(None))));
        Library { body: Body::Linked(linked), image: Arc::clone(image), allocated }
    }

    /// The contracts that the library says it implements.
    pub(crate) fn offers(&self) -> impl Iterator<Item = Offer<'_>> {
        self.offered().iter().map(|offered: &Offered| Offer {
            name: offered.name.as_str(),
            // SAFETY: it is looked at in `layout` alone, which compares and names.
            layout: Layout(unsafe { offered.layout.get() }),
        })
    }

    /// Runs the plugin's `start`.
    pub(crate) fn start(&self, table: &HostTable, config: &str) -> Result<Instance, NotStarted> {
        let origin = Origin::new(&self.image.plugin, &self.image.version, table.generation);
        let started = match &self.body {
            Body::Mapped { entry, .. } => {
                // SAFETY: mapped; the format fixes the function's type; `table` is alive for as
                // long as the library is mapped, as the generation owns both. The origin is a
                // local.
                unsafe {
                    (entry.as_ref().start)(table, config.into())
                        .finish_result::<usize, String>(&nobody(&origin))
                }
                .map(std::ptr::with_exposed_provenance)
            }
            Body::Linked(linked) => {
                // SAFETY: the table is this host's, and alive for as long as the generation, which
                // owns both.
                let start = || unsafe { (linked.start)(table, &self.image.plugin, config) };
                caught(&origin, start).map_err(CallError::Fault).and_then(|started| {
                    started.map_err(|error| CallError::Declined(error.to_string()))
                })
            }
        };
        match started {
            Ok(instance) => Ok(Instance(instance)),
            Err(CallError::Declined(reason)) => Err(NotStarted::Failed(reason)),
            Err(CallError::Fault(Fault::Panicked(report))) => Err(NotStarted::Panicked(report)),
            Err(CallError::Fault(other)) => Err(NotStarted::Failed(other.to_string())),
        }
    }

    /// Has the plugin ask anew which of its callsites the host listens to.
    pub(crate) fn relisten(&self) {
        if let Body::Mapped { entry, .. } = &self.body {
            // SAFETY: mapped; the format fixes the function's type.
            (unsafe { entry.as_ref() }.relisten)();
        }
    }

    /// What a release hands to calls of the `offer`th contract.
    pub(crate) fn bound(&self, instance: &Instance, offer: usize, origin: &Origin) -> Bound {
        Bound { this: instance.0, table: self.offered()[offer].table, origin }
    }

    /// Tells the plugin that its instance gets no new calls.
    pub(crate) fn retiring(&self, instance: &Instance, origin: &Origin) -> Result<(), Fault> {
        // An `Instance` is made by `start` alone and moved into `stop`, so what can be borrowed is
        // not dropped.
        match &self.body {
            // SAFETY: mapped, the instance is alive, and the caller holds the origin.
            Body::Mapped { entry, .. } => unsafe {
                (entry.as_ref().retiring)(instance.0).finish::<()>(&nobody(origin))
            },
            Body::Linked(linked) => {
                // SAFETY: the instance is alive.
                caught(origin, || unsafe { (linked.retiring)(instance.0) })
            }
        }
    }

    /// Runs one hook of the plugin's.
    pub(crate) fn hook(
        &self,
        instance: &Instance,
        origin: &Origin,
        which: Hook,
    ) -> Result<(), String> {
        let hook = match &self.body {
            // SAFETY: by the invariant; mapped for as long as `self` is.
            Body::Mapped { entry, .. } => unsafe { entry.as_ref() }.hook,
            Body::Linked(linked) => linked.hook,
        };
        // SAFETY: the format fixes the function's type; the instance is alive, as in `retiring`,
        // and the caller holds the origin.
        unsafe { hook(instance.0, which).finish_result::<(), String>(&nobody(origin)) }
            .map_err(words)
    }

    /// How the plugin's state is handed over, if it has one.
    pub(crate) fn state(&self) -> Option<&StateTable> {
        match &self.body {
            // SAFETY: by the invariant; mapped for as long as `self` is, which alone can close it.
            Body::Mapped { entry, .. } => unsafe { entry.as_ref() }.state,
            Body::Linked(linked) => linked.state,
        }
    }

    /// One part of the instance's state in the schema `version`, in the host's own memory, and
    /// whether more is to come. Who holds the state is waited for as long as it is `wanted`.
    pub(crate) fn save(
        &self,
        instance: &Instance,
        origin: &Origin,
        version: u32,
        part: Part,
        wanted: &dyn Fn() -> bool,
    ) -> Result<(Vec<u8>, bool), String> {
        let state = self.state().ok_or(STATELESS)?;
        // SAFETY: as in `hook`; the question is lent for the call.
        unsafe {
            (state.save)(instance.0, version, part, &question(&wanted))
                .finish_result::<(Vec<u8>, bool), String>(&nobody(origin))
        }
        .map_err(words)
    }

    /// Gives the instance one part of a state that was saved in the schema `version`, which it
    /// keeps aside.
    pub(crate) fn restore(
        &self,
        instance: &Instance,
        origin: &Origin,
        version: u32,
        part: Part,
        bytes: &[u8],
    ) -> Result<(), String> {
        let state = self.state().ok_or(STATELESS)?;
        // SAFETY: as in `hook`.
        unsafe {
            (state.restore)(instance.0, version, part, bytes.into())
                .finish_result::<(), String>(&nobody(origin))
        }
        .map_err(words)
    }

    /// What was restored is the instance's state from here on, if `leave` says so, which is asked
    /// with the state locked.
    pub(crate) fn install(
        &self,
        instance: &Instance,
        origin: &Origin,
        wanted: &dyn Fn() -> bool,
        leave: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let state = self.state().ok_or(STATELESS)?;
        // SAFETY: as in `save`.
        unsafe {
            (state.install)(instance.0, &question(&wanted), &question(&leave))
                .finish_result::<(), String>(&nobody(origin))
        }
        .map_err(words)
    }

    /// Drops the instance. The caller owns the last way to it: no call is inside and none can come.
    pub(crate) fn stop(&self, instance: Instance, origin: &Origin) -> Result<(), Fault> {
        // SAFETY (both): an `Instance` is made by `start` alone, and moved in here, so it is
        // stopped once.
        match &self.body {
            // SAFETY: mapped, and the caller holds the origin.
            Body::Mapped { entry, .. } => unsafe {
                (entry.as_ref().stop)(instance.0).finish::<()>(&nobody(origin))
            },
            Body::Linked(linked) => {
                // SAFETY: as above.
                caught(origin, || unsafe { (linked.stop)(instance.0) })
            }
        }
    }

    /// Closes the library. Its instance was stopped, or never was, and nothing will call into it:
    /// what it never freed may go with it. Whether it is gone, [`Maps`] and the loader tell: neither
    /// an error of dlclose is a proof of anything, nor its success.
    ///
    /// Answers with what the code has left mapped beside itself, by the books of its `owner`, and
    /// whether the loader has it still.
    pub(crate) fn close(self, owner: &Owner) -> (Mapped, bool) {
        self.allocated.close();
        let Body::Mapped { handle, entry, .. } = self.body else { return Default::default() };
        let (at, path) = (entry.as_ptr().cast(), self.image.path());
        // SAFETY: by the invariant; mapped until it is closed below.
        let entry = unsafe { entry.as_ref() };
        let is_promised = entry.memory.reclaimed.load(Relaxed);
        // SAFETY: nothing of it runs from here on but its exit handlers.
        unsafe { entry.close() };
        let _ = ManuallyDrop::into_inner(handle).close();
        let is_kept = is_loaded_at(at, path);
        // A look at the process's mappings is long where there are many, and mostly there is
        // nothing to give back.
        let mapped = owner.mapped();
        if mapped.bytes == 0 || is_kept || Maps::now().has(path) {
            return (mapped, is_kept);
        }
        // SAFETY: the code is gone, and its author promised (`Reclaimed`) that nobody else follows
        // a pointer into what it has mapped.
        (unsafe { owner.take_back(is_promised) }, false)
    }

    /// What its allocator has given out, if that counts.
    pub(crate) fn memory(&self) -> Option<Memory> {
        self.allocated.memory()
    }

    /// Where that is counted.
    pub(crate) fn allocated(&self) -> Arc<Allocated> {
        Arc::clone(&self.allocated)
    }

    /// The signals whose handlers lie in it: the next of each would run it.
    pub(crate) fn signals(&self) -> Vec<String> {
        match &self.body {
            Body::Mapped { .. } => signals_into(self.image.path()),
            Body::Linked(_) => Vec::new(),
        }
    }

    fn offered(&self) -> &[Offered] {
        match &self.body {
            // SAFETY: by the invariant; mapped for as long as `self` is, which alone can close it.
            Body::Mapped { entry, .. } => unsafe { entry.as_ref() }.offers.as_slice(),
            Body::Linked(linked) => linked.offers,
        }
    }
}

/// Opens `familiar` libraries, which are the C library's own or libgcc, from where the C library of
/// this process lies.
///
/// A plugin names what it needs, and the loader looks for the name in `LD_LIBRARY_PATH` first:
/// whoever can put a `libm.so.6` there has its constructors run in the service, although nothing of
/// the kind is checked. It looks nowhere for what is open already under that name, so these are
/// opened by their path before it is asked, and stay open. What does not lie there is left to it.
pub(crate) fn open_familiar(familiar: &[String]) {
    static OPENED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let Some(directory) = directory_of_libc() else { return };
    let directory = &*directory;
    // Told without the lock: the subscriber is the service's.
    let (mut opened, mut left) = (OPENED.lock(), Vec::new());
    for name in familiar.iter().filter(|name| *name != "libc.so.6" && !name.starts_with("ld-linux"))
    {
        if opened.contains(name) {
            continue;
        }
        // SAFETY: a library of the C library's own, which many programs are linked to; its
        // constructors need nothing of ours.
        match unsafe { Handle::open(Some(directory.join(name)), RTLD_NOW | RTLD_LOCAL) } {
            Ok(handle) => {
                // For the rest of this process's life.
                std::mem::forget(handle);
                opened.insert(name.clone());
            }
            Err(error) => left.push((name, text::told(&error.to_string()))),
        }
    }
    drop(opened);
    let directory = text::path(directory);
    for (name, error) in left {
        let _ = say!(debug, %directory, name, error, "left to the loader's search");
    }
}

fn directory_of_libc() -> Option<PathBuf> {
    let (of_this, _) = file_at(libc::gnu_get_libc_version as *const () as usize)?;
    of_this.parent().filter(|directory| directory.is_absolute()).map(Path::to_owned)
}

/// Opens once more what of the C library's own is open already, for the time that it takes: the
/// first time takes longer, and a candidate needs some of them.
pub(crate) fn open_familiar_of_this() {
    let Some(directory) = directory_of_libc() else { return };
    let all = ["libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1"];
    let is_open = |name: &&str| is_loaded(&directory.join(name));
    open_familiar(&all.into_iter().filter(is_open).map(str::to_owned).collect::<Vec<_>>());
}

fn open_handle(image: &Image) -> Result<Handle, Refusal> {
    // SAFETY: the image is a private file under a name that is used once, of bytes that were
    // checked as data; that its constructors are sound is what every user of native plugins has to
    // trust.
    let opened = unsafe { Handle::open(Some(image.path()), RTLD_NOW | RTLD_LOCAL) };
    opened.map_err(|error| {
        let reason = text_of(&error).replace(&image.path().display().to_string(), "the image");
        // It may have been remounted since the host was started.
        let code =
            if is_noexec(image.path()) { Code::RunDirectoryNoexec } else { Code::LoadFailed };
        Refusal::new(code, format!("the loader says: {reason}"))
    })
}

/// The entry of the library, which is proven to be the image that `table` was written into.
fn entry_of(
    handle: Handle,
    image: &Image,
    table: &HostTable,
) -> Result<(Handle, NonNull<Entry>), Refusal> {
    // The inspection saw these symbols in the very bytes that were written, so a library without
    // them, or with another address in its place, is another library. SAFETY: the symbol is a
    // static of the type named, as the magic bytes before it show.
    let place: NonNull<Place> = unsafe { static_of(&handle, b"midflight_place\0") }?;
    // SAFETY: a static of the mapped library.
    let place = unsafe { place.as_ref() };
    let (expected, found) = (std::ptr::from_ref(table).addr(), place.table());
    if place.magic != *PLACE_MAGIC || found != expected {
        let plugin = &image.plugin;
        return Err(Refusal::new(
            Code::WrongImage,
            format!(
                "for {plugin} the loader mapped what holds {found:#x} where {expected:#x} was written"
            ),
        ));
    }
    // SAFETY: a static of a library that was just proven to be the image; its manifest said FORMAT.
    let entry: NonNull<Entry> = unsafe { static_of(&handle, b"midflight_entry\0") }?;
    // SAFETY: `format` is the first field in every format.
    let format = unsafe { entry.as_ref() }.format;
    if format != FORMAT {
        return Err(Refusal::new(
            Code::EntryInvalid,
            format!("its entry says format {format}, its manifest says {FORMAT}"),
        ));
    }
    // SAFETY: an entry of this format.
    let seen = (unsafe { entry.as_ref() }.place)();
    if seen != std::ptr::from_ref(place) {
        // What its constructors gave to the system is another library's business, or nobody's: it
        // stays.
        std::mem::forget(handle);
        return Err(Refusal::new(
            Code::HookEscaped,
            format!(
                "the place that its runtime looks at is at {seen:p}, that of the mapped image at {place:p}"
            ),
        ));
    }
    Ok((handle, entry))
}

/// Refuses functions and statics that the loader would find elsewhere: of two definitions that
/// libraries export it takes the first in the process for everybody, so that the plugin's own would
/// never run.
pub(crate) fn check_exports(names: &[CString]) -> Result<(), Refusal> {
    // SAFETY: it looks C strings up in what is loaded.
    let is_taken =
        |name: &&CString| !unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null();
    let mut taken = names.iter().filter(is_taken).map(|name| name.to_string_lossy());
    let Some(first) = taken.next() else { return Ok(()) };
    let more = match taken.count() {
        0 => String::new(),
        more => format!(", and {more} others"),
    };
    let reason = format!(
        "it exports `{first}`{more}, which is in the process already and would be called instead"
    );
    Err(Refusal::new(Code::ExportTaken, reason))
}

/// Runs code of a plugin that is linked in, whose panics unwind.
fn caught<T>(origin: &Origin, run: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("a payload that is no text").to_owned();
        // A payload whose Drop panics, and whose payload's does: the last is forgotten.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
            && let Err(third) = catch_unwind(AssertUnwindSafe(|| drop(second)))
        {
            std::mem::forget(third);
        }
        Fault::Panicked(Box::new(PanicReport {
            plugin: origin.plugin.to_string(),
            version: origin.version.to_string(),
            generation: origin.generation,
            message: text,
            location: String::new(),
            frames: Vec::new(),
        }))
    })
}

/// What a plugin may ask while it is called. The question is not to outlive what it is about.
fn question(of: &&dyn Fn() -> bool) -> Question {
    unsafe extern "C" fn ask(of: *const ()) -> bool {
        // SAFETY: what `question` was made of, which lives until the call ends that it is lent for.
        let ask = unsafe { *of.cast::<&dyn Fn() -> bool>() };
        // A panic of ours must not unwind into the plugin.
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or(false)
    }
    Question { of: std::ptr::from_ref(of).cast(), ask }
}

const STATELESS: &str = "the plugin has no state to hand over";

/// The plugin's own reason, or the panic's report.
fn words(error: CallError<String>) -> String {
    match error {
        CallError::Declined(reason) => reason,
        CallError::Fault(fault) => fault.to_string(),
    }
}

/// Who answered, where no contract was called.
fn nobody(origin: &Origin) -> Bound {
    Bound { this: std::ptr::null(), table: std::ptr::null(), origin }
}

/// One contract of a library, borrowed from it.
pub(crate) struct Offer<'l> {
    pub(crate) name: &'l str,
    pub(crate) layout: Layout,
}

/// # Safety
/// A symbol of this name is a static of type `T`.
unsafe fn static_of<T>(handle: &Handle, name: &[u8]) -> Result<NonNull<T>, Refusal> {
    // SAFETY: the caller's.
    let symbol = unsafe { handle.get::<*mut T>(name) };
    let missing = || {
        let name = String::from_utf8_lossy(&name[..name.len() - 1]).into_owned();
        Refusal::new(Code::WrongImage, format!("the mapped library has no symbol {name}"))
    };
    NonNull::new(*symbol.map_err(|_| missing())?).ok_or_else(missing)
}

fn text_of(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// The signals whose handlers lie in the image at `path`.
pub(crate) fn signals_into(path: &Path) -> Vec<String> {
    // Most handlers are the program's own, which the loader names first.
    let is_there = |handler| file_at(handler).is_some_and(|(file, _)| file == path);
    let signals = (1..=libc::SIGRTMAX()).filter(|signal| {
        // SAFETY: all zeroes is a valid value of this plain C struct; sigaction only writes to it.
        let handler = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            match libc::sigaction(*signal, std::ptr::null(), &mut action) {
                0 => action.sa_sigaction,
                _ => return false,
            }
        };
        handler != libc::SIG_DFL && handler != libc::SIG_IGN && is_there(handler)
    });
    signals.map(signal_name).collect()
}

pub(crate) fn signal_name(signal: c_int) -> String {
    let names = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGCHLD, "SIGCHLD"),
        (libc::SIGWINCH, "SIGWINCH"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    match names.iter().find(|(number, _)| *number == signal) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("number {signal}"),
    }
}

/// The loaded file that holds `address`, and where it was loaded to. The path is empty for the
/// program itself.
pub(crate) fn file_at(address: usize) -> Option<(PathBuf, usize)> {
    struct Search {
        address: usize,
        found: Option<(PathBuf, usize)>,
    }
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _: usize,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: as in `is_loaded`.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
        if info.dlpi_phdr.is_null() || info.dlpi_name.is_null() {
            return 0;
        }
        let base = usize::try_from(info.dlpi_addr).unwrap_or(0);
        // SAFETY: that many headers lie there, for the length of this call.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let holds = |header: &libc::Elf64_Phdr| {
            let at = search.address.wrapping_sub(base.wrapping_add(header.p_vaddr as usize)) as u64;
            header.p_type == libc::PT_LOAD && at < header.p_memsz
        };
        if !headers.iter().any(holds) {
            return 0;
        }
        // SAFETY: as in `is_loaded`.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) };
        search.found = Some((Path::new(OsStr::from_bytes(name.to_bytes())).to_owned(), base));
        1
    }
    let mut search = Search { address, found: None };
    // SAFETY: `visit` takes what it is given here.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

/// Does the loader have the file at `path`, which it had loaded around `at`?
///
/// It finds an address in a tree (from glibc 2.35 on), and a name in a list of all libraries alone.
fn is_loaded_at(at: *mut c_void, path: &Path) -> bool {
    type FindObject = unsafe extern "C" fn(*mut c_void, *mut [u64; 16]) -> c_int;
    static FIND: LazyLock<Option<FindObject>> = LazyLock::new(|| {
        // SAFETY: it looks a C string up in what is loaded.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
        // SAFETY: the C library's function of that name; of the struct that it writes, which has 12
        // words at most, nothing is read.
        (!found.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, FindObject>(found) })
    });
    // SAFETY: any address may be asked for; it writes to the array alone.
    let is_free = FIND.is_some_and(|find| unsafe { find(at, &mut [0; 16]) } != 0);
    // What lies there may be another's by now.
    !is_free && is_loaded(path)
}

/// Does the loader have the file at `path`?
pub(crate) fn is_loaded(path: &Path) -> bool {
    struct Search<'p> {
        path: &'p OsStr,
        found: bool,
    }
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _: usize,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: `dl_iterate_phdr` passes a valid info, and the pointer that it was given below.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search<'_>>()) };
        if !info.dlpi_name.is_null() {
            // SAFETY: a C string of the loader's, which holds its lock for the length of this call.
            let name = unsafe { CStr::from_ptr(info.dlpi_name) };
            search.found |= name.to_bytes() == search.path.as_bytes();
        }
        c_int::from(search.found)
    }
    let mut search = Search { path: path.as_os_str(), found: false };
    // SAFETY: `visit` takes what it is given here.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

#[cfg(test)]
mod tests;
