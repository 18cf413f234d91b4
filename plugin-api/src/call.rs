//! One call over the boundary: a value or a panic, in registers where it fits.
//!
//! A panic must not unwind out of a plugin: through `extern "C"` it aborts, and as another
//! library's exception it can't be caught. Nor may its payload leave: its type, its `Drop` and its
//! text are the plugin's code and memory. Merely catching it is not enough, since the `Drop` of a
//! payload can panic as well.
//!
//! So each exported function catches its own panics and answers with a [`Reply`]. The text goes,
//! copied, into a thread-local of the *host* (one in the plugin would pin its library), from where
//! the caller of the same call takes it.

#![expect(unsafe_code, reason = "a reply's value is there only if its status says so")]

use crate::List;
use crate::Text;
use crate::contract::{Bound, Pinned};
use crate::lent::{RSlice, RStr};
use crate::object::Given;
use abi_stable::StableAbi;
use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::mem::{MaybeUninit, forget};
use std::ops::Deref;
use std::panic::{
    AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook,
};
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

/// Why a call brought no value.
///
/// The host goes on serving in every case: a fault is one call's answer. `Debug` writes what
/// `Display` does, since a `main` that returns an error has it written by `Debug`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The method panicked.
    #[error("{0}")]
    Panicked(Box<PanicReport>),
    /// No generation of the plugin is active. Its text says which plugins are.
    #[error("plugin `{plugin}` is not loaded{}", plugin.loaded_are())]
    NotLoaded {
        /// The plugin's name; and which ones are loaded, for the text.
        plugin: Absent,
    },
    /// The active version of the plugin is older than this method.
    #[error("plugin `{plugin}` has no method `{method}`")]
    MethodMissing {
        /// The plugin's name.
        plugin: Box<str>,
        /// The method's name.
        method: &'static str,
    },
    /// Calls within calls on one thread, beyond the bound.
    #[error("calls are nested deeper than {bound}")]
    NestedTooDeep {
        /// `calls_nested_max` of the host.
        bound: usize,
    },
    /// One thread is inside of too many groups at once.
    #[error("a thread is inside of more than {bound} groups")]
    TooManyGroups {
        /// `groups_nested_max` of the host.
        bound: usize,
    },
    /// A request or a lease of one group was asked for a plugin of another.
    #[error("plugin `{plugin}` is not in the group `{group}`")]
    WrongGroup {
        /// The plugin's name.
        plugin: Box<str>,
        /// The group of the request or the lease.
        group: Box<str>,
    },
    /// A [`Callback`](crate::Callback) of one plugin was called by another, or by another version
    /// of it. The host can call it, and can leave a callback of its own with the other that does.
    #[error("a callback of plugin `{plugin}` can be called by the host, not by another plugin")]
    ForeignCallback {
        /// The plugin that made it.
        plugin: Box<str>,
    },
    /// A [`Callback`](crate::Callback) of a version that does not serve: not yet, or no more.
    #[error("a callback of plugin `{plugin}` is revoked")]
    Revoked {
        /// The plugin's name.
        plugin: Box<str>,
    },
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a plugin that is not loaded. It stands for its name alone, as text and in
/// comparisons, and knows besides which plugins are loaded: a name that was misspelt is the common
/// reason.
#[derive(Debug, Clone)]
pub struct Absent {
    plugin: Box<str>,
    loaded: Box<str>,
}

impl Absent {
    /// How many names are told.
    const NAMES_MAX: usize = 8;

    #[doc(hidden)]
    pub fn new(plugin: &str, loaded: &[&str]) -> Self {
        let told = loaded[..loaded.len().min(Self::NAMES_MAX)].join(", ");
        let loaded = match loaded.len().saturating_sub(Self::NAMES_MAX) {
            0 => told,
            more => format!("{told} and {more} more"),
        };
        Absent { plugin: plugin.into(), loaded: loaded.into() }
    }

    /// `; loaded are: fees, risk`, or nothing where none is.
    #[doc(hidden)]
    pub fn loaded_are(&self) -> String {
        match &*self.loaded {
            "" => String::new(),
            loaded => format!("; loaded are: {loaded}"),
        }
    }
}

impl From<&str> for Absent {
    fn from(plugin: &str) -> Self {
        Absent::new(plugin, &[])
    }
}

impl Deref for Absent {
    type Target = str;

    fn deref(&self) -> &str {
        &self.plugin
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plugin)
    }
}

impl PartialEq for Absent {
    fn eq(&self, other: &Self) -> bool {
        self.plugin == other.plugin
    }
}

impl Eq for Absent {}

impl Fault {
    /// A stable name for logs and metrics: `panicked`, `not_loaded`, `method_missing`,
    /// `nested_too_deep`, `too_many_groups`, `wrong_group`, `revoked`, `foreign_callback`.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Panicked(_) => "panicked",
            Fault::NotLoaded { .. } => "not_loaded",
            Fault::MethodMissing { .. } => "method_missing",
            Fault::NestedTooDeep { .. } => "nested_too_deep",
            Fault::TooManyGroups { .. } => "too_many_groups",
            Fault::WrongGroup { .. } => "wrong_group",
            Fault::Revoked { .. } => "revoked",
            Fault::ForeignCallback { .. } => "foreign_callback",
        }
    }

    /// The plugin that the fault is about. For a service of the host's it is the contract's name.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Fault::Panicked(report) => Some(&report.plugin),
            Fault::NotLoaded { plugin } => Some(plugin),
            Fault::MethodMissing { plugin, .. }
            | Fault::WrongGroup { plugin, .. }
            | Fault::ForeignCallback { plugin }
            | Fault::Revoked { plugin } => Some(plugin),
            Fault::NestedTooDeep { .. } | Fault::TooManyGroups { .. } => None,
        }
    }
}

/// A panic that was caught in a plugin, or in a service of the host's that a plugin called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanicReport {
    /// The plugin's name; the contract's for a service of the host's.
    pub plugin: String,
    /// The plugin's version; empty for a service of the host's.
    pub version: String,
    /// The generation that panicked; 0 for a service of the host's.
    pub generation: u64,
    /// The panic's text.
    pub message: String,
    /// `src/lib.rs:10:5`, or empty where it is unknown.
    pub location: String,
    /// Where it panicked and who had called that, innermost first: only of a plugin, and only where
    /// the host's builder asked for it (`panic_frames_max`). Shown by `{:#}`.
    pub frames: Vec<Frame>,
}

/// One return address of a panic's stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// In this process, at that time.
    pub address: usize,
    /// The plugin's name; of other code the file's. Empty where nothing is mapped any more.
    pub module: String,
    /// In the module's file, as debuggers and `addr2line` take it.
    pub offset: usize,
    /// From the plugin's symbol table. Inlined functions go by the name of the one that they are
    /// in.
    pub function: Option<String>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.module {
            "" => write!(f, "{:#x}", self.address)?,
            module => write!(f, "{module}+{:#x}", self.offset)?,
        }
        self.function.as_ref().map_or(Ok(()), |function| write!(f, " {function}"))
    }
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.version, self.generation) {
            ("", 0) => write!(f, "service `{}` panicked", self.plugin)?,
            (version, generation) => {
                write!(f, "plugin `{}` {version} (generation {generation}) panicked", self.plugin)?;
            }
        }
        if !self.location.is_empty() {
            write!(f, " at {}", self.location)?;
        }
        write!(f, ": {}", with_cure(&self.message))?;
        let frames = if f.alternate() { &*self.frames } else { &[] };
        frames.iter().try_for_each(|frame| write!(f, "\n    {frame}"))
    }
}

/// A panic's text or an error's, with what to do about it where it is one of another crate's that
/// does not say it for a plugin.
pub fn with_cure(message: &str) -> Cow<'_, str> {
    const LISTENER: &str = "Midflight hands a plugin's `tracing` events and `log` records on to \
        the host, so the plugin sets no subscriber and no logger: leave that line out, or write \
        `try_init` and ignore its error";
    const RUNTIME: &str = "a plugin has a tokio of its own, which is in no runtime of the host's: \
        enter one that the plugin's instance keeps, or ask a service of the host's \
        (midflight_plugin::docs::copies has both)";
    const KNOWN: [(&str, &str); 6] = [
        ("SetGlobalDefaultError", LISTENER),
        ("a global default trace dispatcher has already been set", LISTENER),
        ("SetLoggerError", LISTENER),
        ("after the logging system was already initialized", LISTENER),
        ("there is no reactor running", RUNTIME),
        ("there is no timer running", RUNTIME),
    ];
    match KNOWN.iter().find(|(said, _)| message.contains(said)) {
        Some((_, cure)) => Cow::Owned(format!("{message}; {cure}")),
        None => Cow::Borrowed(message),
    }
}

/// What a call of a method that returns `Result<T, E>` brings instead of a `T`.
///
/// ```
/// use midflight_plugin::{CallError, Fault};
///
/// fn status(answer: Result<u64, CallError<String>>) -> u16 {
///     match answer {
///         Ok(_) => 200,
///         Err(CallError::Declined(_)) => 422, // the plugin's own answer
///         Err(CallError::Fault(_)) => 503,   // no answer of the plugin's
///     }
/// }
/// assert_eq!(status(Err(CallError::Fault(Fault::NotLoaded { plugin: "flat-fees".into() }))), 503);
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// The method ran and returned this error: the plugin's own answer.
    #[error("declined: {0:?}")]
    Declined(E),
    /// The method brought nothing.
    #[error(transparent)]
    Fault(Fault),
}

impl<E: fmt::Debug> fmt::Debug for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E> From<Fault> for CallError<E> {
    fn from(fault: Fault) -> Self {
        CallError::Fault(fault)
    }
}

/// Two words for a small `T`, which the C ABI returns in registers; through the caller's memory for
/// a larger one.
#[repr(C)]
#[derive(StableAbi)]
#[must_use]
pub struct Reply<T> {
    /// INVARIANT: initialised exactly when `status` is `Returned`. Written once, by the callee;
    /// read once, in `finish_wire`.
    value: MaybeUninit<T>,
    status: Status,
}

/// What became of a call.
#[repr(u32)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There is a value.
    Returned = 0,
    /// There is none; the text is with the host, on this thread.
    Panicked = 1,
}

impl<W> Reply<W> {
    /// An answer.
    #[inline(always)]
    pub fn returned(value: W) -> Self {
        Reply { value: MaybeUninit::new(value), status: Status::Returned }
    }

    /// No answer.
    pub fn panicked() -> Self {
        Reply { value: MaybeUninit::uninit(), status: Status::Panicked }
    }

    /// Is there a value?
    pub(crate) fn is_returned(&self) -> bool {
        self.status == Status::Returned
    }

    /// The caller's half of a call.
    ///
    /// # Safety
    /// `bound` is what answered, and is still held: its origin is valid.
    #[inline(always)]
    pub unsafe fn finish<T: Given<Wire = W>>(self, bound: &Bound) -> Result<T, Fault> {
        // SAFETY: `bound` is held, by the promise of who calls this.
        unsafe { self.finish_wire(bound) }.map(T::rebuild)
    }

    /// The caller's half of a call of a method that returns a `Result`.
    ///
    /// # Safety
    /// As for `finish`.
    #[inline(always)]
    pub unsafe fn finish_result<T, E>(self, bound: &Bound) -> Result<T, CallError<E>>
    where
        Result<T, E>: Given<Wire = W>,
    {
        // SAFETY: `bound` is held, by the promise of who calls this.
        match unsafe { self.finish_wire(bound) } {
            Ok(wire) => {
                let answer: Result<T, E> = Given::rebuild(wire);
                // SAFETY: its origin is valid for as long as it is held.
                answer.map_err(|error| unsafe { refused(error, bound) })
            }
            Err(fault) => Err(CallError::Fault(fault)),
        }
    }

    /// The value as it was sent.
    ///
    /// # Safety
    /// As for `finish`.
    #[inline(always)]
    pub unsafe fn finish_wire(self, bound: &Bound) -> Result<W, Fault> {
        match self.status {
            // SAFETY: by the invariant.
            Status::Returned => Ok(unsafe { self.value.assume_init() }),
            // SAFETY: `bound` is held, by the promise of who calls this, and so its origin is
            // valid.
            Status::Panicked => Err(unsafe { noted_panic(bound) }),
        }
    }
}

/// # Safety
/// `bound.origin` is valid.
#[cold]
#[inline(never)]
unsafe fn noted_panic(bound: &Bound) -> Fault {
    // SAFETY: the origin is valid, by the promise of who calls this.
    let origin = unsafe { &*bound.origin };
    let report = PANICS.get().map(|panics| (panics.take)()).unwrap_or_default();
    let report = Box::new(PanicReport {
        plugin: origin.plugin.as_ref().into(),
        version: origin.version.as_ref().into(),
        generation: origin.generation,
        message: report.message.as_str().into(),
        location: report.location.as_str().into(),
        // Its code is held, so what is mapped there now was mapped there then.
        frames: SYMBOLISER.get().map(|symbolise| symbolise(&report.addresses)).unwrap_or_default(),
    });
    origin.tally.panicked(&report);
    Fault::Panicked(report)
}

/// The plugin's own error, which counts where somebody wants to know.
///
/// # Safety
/// `bound.origin` is valid.
#[cold]
unsafe fn refused<E>(error: E, bound: &Bound) -> CallError<E> {
    // SAFETY: the origin is valid, by the promise of who calls this.
    unsafe { &*bound.origin }.tally.refused();
    CallError::Declined(error)
}

/// The callee's half of a call: nothing unwinds out of it. It covers the rebuilding of owned
/// arguments too, which is part of `body`, and that of the result.
#[inline(always)]
pub fn guard<T: Given>(body: impl FnOnce() -> T) -> Reply<T::Wire> {
    guard_wire(|| body().into_wire())
}

/// The same where the body makes the form on the wire itself.
#[inline(always)]
pub(crate) fn guard_wire<W>(body: impl FnOnce() -> W) -> Reply<W> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => Reply::returned(value),
        Err(payload) => {
            contain(payload);
            Reply::panicked()
        }
    }
}

/// Runs a trait's default body on the side that calls, for another side that lacks the method. What
/// the body calls meanwhile goes to the other side. A fault of such a call has no room in the
/// body's result: it unwinds through the body, and is the answer here.
///
/// # Safety
/// `bound` is what lacks the method, and is held.
#[cold]
#[inline(never)]
pub unsafe fn defaulted<T>(bound: &Bound, body: impl FnOnce(Pinned) -> T) -> Result<T, Fault> {
    // SAFETY: the body gets it as its `self`, which it can't keep: of that type it knows only that
    // it implements the contract.
    let pinned = unsafe { Pinned::new(bound) };
    catch_unwind(AssertUnwindSafe(|| body(pinned))).map_err(|payload| {
        match payload.downcast::<Fault>() {
            Ok(fault) => *fault,
            Err(payload) => {
                contain(payload);
                // SAFETY: `bound` is held, by the promise of who calls this, and so its origin is
                // valid.
                unsafe { noted_panic(bound) }
            }
        }
    })
}

/// The same for a method that returns a `Result`.
///
/// # Safety
/// As for `defaulted`.
pub unsafe fn defaulted_result<T, E>(
    bound: &Bound,
    body: impl FnOnce(Pinned) -> Result<T, E>,
) -> Result<T, CallError<E>> {
    // SAFETY: `bound` lacks the method and is held, by the promise of who calls this.
    match unsafe { defaulted(bound, body) } {
        Ok(answer) => answer.map_err(CallError::Declined),
        Err(fault) => Err(CallError::Fault(fault)),
    }
}

/// What a default body gets of a call that it made.
pub fn bubble<T>(answer: Result<T, Fault>) -> T {
    answer.unwrap_or_else(|fault| resume_unwind(Box::new(fault)))
}

/// The same of a method that returns a `Result`.
pub fn bubble_result<T, E>(answer: Result<T, CallError<E>>) -> Result<T, E> {
    answer.map_err(|error| match error {
        CallError::Declined(error) => error,
        CallError::Fault(fault) => resume_unwind(Box::new(fault)),
    })
}

/// The other side lacks a method, and there is no body to run instead.
///
/// # Safety
/// As for `defaulted`.
#[cold]
pub unsafe fn missing(bound: &Bound, method: &'static str) -> Fault {
    // SAFETY: `bound` is held, by the promise of who calls this, and so its origin is valid.
    Fault::MethodMissing { plugin: unsafe { &*bound.origin }.plugin.clone(), method }
}

/// Notes a panic's text and drops its payload; where that panics, drops what it brings too, and
/// forgets what panics again.
#[cold]
#[inline(never)]
fn contain(payload: Box<dyn Any + Send>) {
    // Taken first, since the hook notes the panics of the drops below as well.
    let noted = PANICS.get().map(|panics| (panics.take)()).unwrap_or_default();
    let message = text_of(&*payload).to_owned();
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
        && let Err(third) = catch_unwind(AssertUnwindSafe(|| drop(second)))
    {
        forget(third);
    }
    // A note of another text is of an earlier panic, which the callee caught by itself; this one
    // came without a hook (`resume_unwind`, or a service in a host that sets none), so that nobody
    // knows where. Or the plugin has set a hook since it was started: the next one is noted.
    let noted = if noted.message == *message { noted } else { Report::default() };
    if noted.message.is_empty() && crate::plugin::host().is_some() {
        note_panics();
    }
    if let Some(panics) = PANICS.get() {
        (panics.note)(
            message.as_str().into(),
            noted.location.as_str().into(),
            (&*noted.addresses).into(),
        );
    }
}

/// Makes [`note_panic`] the first thing that this binary's panic hook does, before whatever hook
/// its author has set. Only in a cdylib: a host's hook is the service's.
pub(crate) fn note_panics() {
    /// Where the hook that was set here lies: another one has replaced it, or not.
    static OURS: AtomicUsize = AtomicUsize::new(0);
    if thread::panicking() {
        return; // std lets nobody change the hook now
    }
    let theirs = take_hook();
    if (&raw const *theirs).addr() == OURS.load(Relaxed) {
        return set_hook(theirs);
    }
    // The first one is std's, which would print.
    let author = (OURS.load(Relaxed) != 0).then_some(theirs);
    let hook: Hook = Box::new(move |panic| {
        note_panic(panic);
        if let Some(author) = &author {
            author(panic);
        }
    });
    OURS.store((&raw const *hook).addr(), Relaxed);
    set_hook(hook);
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// The body of the panic hook in a plugin. It never symbolises, which would leave a mapping of the
/// plugin's file behind, and prints nothing: the host decides what becomes of a panic.
fn note_panic(panic: &PanicHookInfo<'_>) {
    if let Some(panics) = PANICS.get() {
        let location = panic.location().map_or_else(String::new, |at| at.to_string());
        let mut addresses = Addresses { found: [0; FRAMES_MAX], count: 0, max: panics.frames_max };
        addresses.collect();
        let addresses = &addresses.found[..addresses.count];
        (panics.note)(text_of(panic.payload()).into(), location.as_str().into(), addresses.into());
    }
}

/// As many as a host can ask for.
pub const FRAMES_MAX: usize = 128;

/// The return addresses of this thread's stack, innermost first. Nothing is allocated, and nothing
/// is looked up: that is the host's.
struct Addresses {
    found: [usize; FRAMES_MAX],
    count: usize,
    max: usize,
}

impl Addresses {
    fn collect(&mut self) {
        // The unwinder that brings every panic to its `catch_unwind`: the library needs it anyway.
        unsafe extern "C" {
            fn _Unwind_Backtrace(
                each: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
                data: *mut c_void,
            ) -> c_int;
            fn _Unwind_GetIP(context: *mut c_void) -> usize;
        }
        unsafe extern "C" fn each(context: *mut c_void, addresses: *mut c_void) -> c_int {
            const GO_ON: c_int = 0;
            const END: c_int = 5;
            // SAFETY: what `collect` gave, for the length of its call.
            let addresses = unsafe { &mut *addresses.cast::<Addresses>() };
            if addresses.count >= addresses.max.min(FRAMES_MAX) {
                return END;
            }
            // SAFETY: the unwinder's own context.
            addresses.found[addresses.count] = unsafe { _Unwind_GetIP(context) };
            addresses.count += 1;
            GO_ON
        }
        if self.max > 0 {
            // SAFETY: `each` takes what it is given here.
            unsafe { _Unwind_Backtrace(each, (&raw mut *self).cast()) };
        }
    }
}

const NO_TEXT: &str = "a payload that is no text";
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = match (payload.downcast_ref::<&'static str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => NO_TEXT,
    };
    &text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)]
}

/// Where a panic is noted. One a binary: a plugin's is the host's, given at start.
static PANICS: OnceLock<Panics> = OnceLock::new();

/// The two functions of the host's that keep a panic's text on the thread, between the callee and
/// the caller.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Panics {
    /// Keeps a copy of all, instead of what was kept before.
    pub note: extern "C" fn(message: RStr<'_>, location: RStr<'_>, addresses: RSlice<'_, usize>),
    /// What was kept last, if it was not taken yet.
    pub take: extern "C" fn() -> Report,
    /// How many return addresses a panic is noted with, at most [`FRAMES_MAX`]; usually none.
    pub frames_max: usize,
}

/// A panic's text, in the host's memory.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Report {
    /// Empty if none is known.
    pub message: Text,
    /// `src/lib.rs:10:5`, or empty.
    pub location: Text,
    /// Of the stack, innermost first.
    pub addresses: List<usize>,
}

/// Makes this binary the one that keeps the text of panics: the host calls it once, before anything
/// else.
pub fn use_host_panics() {
    use_panics(Panics::HOST);
}

/// Says what return addresses stand for. The first call wins; the host makes it.
pub fn use_symboliser(symbolise: Symboliser) {
    let _ = SYMBOLISER.set(symbolise);
}

/// Says what return addresses stand for.
pub type Symboliser = fn(&[usize]) -> Vec<Frame>;

static SYMBOLISER: OnceLock<Symboliser> = OnceLock::new();

/// The first call wins: a binary stays with one host.
pub(crate) fn use_panics(panics: Panics) {
    let _ = PANICS.set(panics);
}

// Touched by the host's copy of this code alone: a thread-local with a Drop, touched in a plugin,
// pins its library.
thread_local! { static LAST: RefCell<Option<Report>> = const { RefCell::new(None) }; }

impl Panics {
    /// The host's.
    pub const HOST: Panics = Panics { note: keep, take, frames_max: 0 };
}

extern "C" fn keep(message: RStr<'_>, location: RStr<'_>, addresses: RSlice<'_, usize>) {
    let report = Report {
        message: message.as_str().into(),
        location: location.as_str().into(),
        addresses: addresses.as_slice().into(),
    };
    // On a thread whose locals are gone already there is nowhere to keep it.
    let _ = LAST.try_with(|last| last.replace(Some(report)));
}

extern "C" fn take() -> Report {
    LAST.try_with(|last| last.take()).ok().flatten().unwrap_or_default()
}
