//! What a library exports, called as a host calls it: start, its context, its services, stop.
//! Starting sets a panic hook, so that these tests have a binary of their own.

// The tests are the host here.
#![allow(unsafe_code, missing_docs)]

use abi::abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals};
use midflight_plugin::rt::logs::{self, Logs, Parent, Registered, Site, Spanned, Value};
use midflight_plugin::rt::{
    self, Bound, Destructor, Entry, FORMAT, Hook, Hooks, HostTable, Origin, Panics, Place, RResult,
    RSlice, RStr, RawService, Routine, SignalStyle, Wakers, table_layout,
};
use midflight_plugin::{
    CallError, Context, Contract, Fault, Plugin, Service, StartError, Text, contract, plugin,
};
use std::ffi::{c_char, c_int, c_ulong, c_void};
use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

midflight_plugin::contract_crate!();

#[contract]
pub trait Fees {
    fn fee(&self, quantity: u32) -> Option<i64>;
    fn fails(&self, how: &str);
}

#[contract]
pub trait Book {
    fn best(&self, symbol: &str) -> Result<i64, String>;
}

/// What the host of these tests does not provide.
mod other {
    #[midflight_plugin::contract]
    pub(crate) trait Missing {
        fn best(&self);
    }
}

#[plugin(implements(Fees), group = "exchange")]
pub struct FlatFees {
    book: Service<dyn Book>,
    told: (String, String, u64),
}

static STOPPED: AtomicU64 = AtomicU64::new(0);
static RETIRING: AtomicU64 = AtomicU64::new(0);

impl Plugin for FlatFees {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        match cx.generation() {
            101 => Err("x".parse::<u8>().unwrap_err())?,
            102 => panic!("no start at {}", cx.generation()),
            103 => drop(cx.service::<dyn other::Missing>()?),
            _ => {}
        }
        let told = (cx.name().into(), cx.version().into(), cx.generation());
        Ok(FlatFees { book: cx.service::<dyn Book>()?.clone(), told })
    }

    fn retiring(&self) {
        assert_ne!(self.told.2, 104, "not now");
        RETIRING.store(self.told.2, SeqCst);
    }

    fn before_switch(&self) -> Result<(), StartError> {
        self.hooked("before the switch");
        match self.told.2 {
            105 => Err("x".parse::<u8>().unwrap_err())?,
            _ => Ok(()),
        }
    }
    fn after_switch(&self) -> Result<(), StartError> {
        self.hooked("after the switch");
        match self.told.2 {
            105 => Err(StartError::new("no calls come")),
            _ => Ok(()),
        }
    }
    fn before_return(&self) {
        self.hooked("before the return");
        assert_ne!(self.told.2, 105, "not back");
    }
    fn after_return(&self) {
        self.hooked("after the return");
    }
    fn health(&self) -> Result<(), StartError> {
        self.hooked("health");
        match self.told.2 {
            105 => Err(StartError::new("a fever")),
            _ => Ok(()),
        }
    }
}

static HOOKED: Mutex<Vec<&str>> = Mutex::new(Vec::new());

impl FlatFees {
    fn hooked(&self, which: &'static str) {
        HOOKED.lock().unwrap().push(which);
    }
}

impl Drop for FlatFees {
    fn drop(&mut self) {
        STOPPED.fetch_add(1, SeqCst);
        if self.told.2 == 104 {
            panic!("no stop");
        }
    }
}

impl Fees for FlatFees {
    fn fee(&self, quantity: u32) -> Option<i64> {
        match self.book.best("ABC") {
            Ok(best) => Some(best * i64::from(quantity)),
            Err(_) => None,
        }
    }
    fn fails(&self, how: &str) {
        match how {
            "here" => panic!("here"),
            "caught before" => {
                let _ = catch_unwind(|| panic!("an earlier one"));
                resume_unwind(Box::new("a later one"));
            }
            "caught before, then no text" => {
                let _ = catch_unwind(|| panic!("an earlier one"));
                resume_unwind(Box::new(5_u8));
            }
            "handed on" => resume_unwind(catch_unwind(|| panic!("handed on")).unwrap_err()),
            "no text" => panic_any(5_u8),
            "in the service" => match self.book.best("PANIC") {
                Err(CallError::Fault(fault)) => panic!("{fault}"),
                other => panic!("{other:?}"),
            },
            "refused by the service" => panic!("{}", self.book.best("?").unwrap_err()),
            other => panic!("{} is no way to fail {:?}", other, self.told),
        }
    }
}

struct Prices;
impl Book for Prices {
    fn best(&self, symbol: &str) -> Result<i64, String> {
        match symbol {
            "ABC" => Ok(101),
            "PANIC" => resume_unwind(Box::new(String::from("the book is torn"))),
            other => Err(format!("nobody offers {other}")),
        }
    }
}

unsafe extern "C" fn service(
    owner: *const (),
    name: RStr<'_>,
    layout: rt::Layout,
) -> RResult<RawService, Text> {
    // SAFETY: `table` passes the prices.
    let prices = unsafe { &*owner.cast::<Prices>() };
    // SAFETY: the two are compared.
    let (own, layout) = unsafe { (table_layout::<dyn Book>().get(), layout.get()) };
    let fits =
        check_layout_compatibility_with_globals(own, layout, &CheckingGlobals::new()).is_ok();
    match name.as_str() == <dyn Book>::NAME && fits {
        true => RResult::ROk(RawService::of::<dyn Book, Prices>(prices)),
        false => RResult::RErr(format!("the host provides no {name}").into()),
    }
}

/// Leaked: the plugin's logger keeps it for good.
fn table(prices: &Prices, generation: u64) -> &'static HostTable {
    rt::use_host_panics();
    Box::leak(Box::new(HostTable {
        format: FORMAT,
        generation,
        owner: (&raw const *prices).cast(),
        panics: Panics::HOST,
        service,
        hooks: no_hooks(),
        logs: deaf(),
        wakers: nobodys(),
        register,
        attached: nothing_attached(),
    }))
}

/// Nothing is awaited.
fn nobodys() -> Wakers {
    unsafe extern "C" fn stand_in(
        _: *const (),
        _: *const (),
        _: unsafe extern "C" fn(*const ()),
        _: unsafe extern "C" fn(*const ()),
    ) -> *const () {
        unreachable!()
    }
    unsafe extern "C" fn end(_: *const ()) {
        unreachable!()
    }
    Wakers { stand_in, end }
}

/// No callback here.
unsafe extern "C" fn register(_: *const (), _: rt::Left) -> rt::Registering {
    std::process::abort()
}

/// Nothing is attached here.
fn nothing_attached() -> rt::Fields {
    unsafe extern "C" fn field(_: *const (), _: RStr<'_>) -> *const () {
        unreachable!()
    }
    unsafe extern "C" fn get(_: *const (), _: u64) -> rt::Stamped {
        unreachable!()
    }
    unsafe extern "C" fn put(_: *const (), _: u64, _: u64, _: RSlice<'_, u8>) -> rt::Put {
        unreachable!()
    }
    unsafe extern "C" fn detach(_: *const (), _: u64) -> bool {
        unreachable!()
    }
    rt::Fields { field, get, put, detach }
}

/// Nobody listens to any callsite.
fn deaf() -> Logs {
    unsafe extern "C" fn register(_: *const (), _: &Site<'_>) -> Registered {
        Registered { site: std::ptr::null(), interest: 0 }
    }
    unsafe extern "C" fn enabled(_: *const ()) -> bool {
        false
    }
    extern "C" fn level_max() -> u8 {
        0
    }
    unsafe extern "C" fn event(
        _: *const (),
        _: *const (),
        _: Parent,
        _: &logs::Place<'_>,
        _: RSlice<'_, Value<'_>>,
    ) {
        unreachable!()
    }
    unsafe extern "C" fn span(
        _: *const (),
        _: *const (),
        _: Parent,
        _: &logs::Place<'_>,
        _: RSlice<'_, Value<'_>>,
    ) -> u64 {
        unreachable!()
    }
    unsafe extern "C" fn record(_: *const (), _: u64, _: *const (), _: RSlice<'_, Value<'_>>) {
        unreachable!()
    }
    unsafe extern "C" fn follows_from(_: *const (), _: u64, _: u64) {
        unreachable!()
    }
    unsafe extern "C" fn enter(_: *const (), _: u64) {
        unreachable!()
    }
    unsafe extern "C" fn clone(_: *const (), _: u64) -> u64 {
        unreachable!()
    }
    unsafe extern "C" fn close(_: *const (), _: u64) -> bool {
        unreachable!()
    }
    unsafe extern "C" fn current(_: *const ()) -> Spanned {
        Spanned::NONE
    }
    Logs {
        register,
        enabled,
        level_max,
        event,
        span,
        record,
        follows_from,
        enter,
        exit: enter,
        clone,
        close,
        current,
    }
}

/// Nothing here asks for them: they belong to `export!`.
fn no_hooks() -> Hooks {
    unsafe extern "C" fn local(_: *const (), _: Destructor, _: *mut c_void) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn key_create(_: *const (), _: *mut u32, _: Option<Destructor>) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn key_delete(_: *const (), _: u32) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn key_set(_: *const (), _: u32, _: *const c_void) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn thread(
        _: *const (),
        _: *mut c_ulong,
        _: *const c_void,
        _: Routine,
        _: *mut c_void,
    ) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn sigaction(
        _: *const (),
        _: c_int,
        _: *const c_void,
        _: *mut c_void,
    ) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn signal(_: *const (), _: SignalStyle, _: c_int, _: usize) -> usize {
        unreachable!()
    }
    unsafe extern "C" fn may_exit(_: *const ()) -> bool {
        unreachable!()
    }
    unsafe extern "C" fn owns_thread(_: *const (), _: c_ulong) -> bool {
        unreachable!()
    }
    unsafe extern "C" fn getenv(_: *const (), _: *const c_char) -> *const c_char {
        unreachable!()
    }
    unsafe extern "C" fn setenv(
        _: *const (),
        _: *const c_char,
        _: *const c_char,
        _: c_int,
    ) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn unsetenv(_: *const (), _: *const c_char) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn clearenv(_: *const ()) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn openlog(_: *const (), _: *const c_char, _: c_int, _: c_int) {
        unreachable!()
    }
    unsafe extern "C" fn map(
        _: *const (),
        _: *mut c_void,
        _: usize,
        _: c_int,
        _: c_int,
        _: c_int,
        _: i64,
    ) -> *mut c_void {
        unreachable!()
    }
    unsafe extern "C" fn unmap(_: *const (), _: *mut c_void, _: usize) -> c_int {
        unreachable!()
    }
    unsafe extern "C" fn remap(
        _: *const (),
        _: *mut c_void,
        _: usize,
        _: usize,
        _: c_int,
        _: *mut c_void,
    ) -> *mut c_void {
        unreachable!()
    }
    Hooks {
        local,
        key_create,
        key_delete,
        key_set,
        thread,
        may_exit,
        owns_thread,
        sigaction,
        signal,
        getenv,
        setenv,
        unsetenv,
        putenv: unsetenv,
        clearenv,
        openlog,
        map,
        unmap,
        remap,
    }
}

/// What `export!` says in a cdylib. (Not here, where it would take over the threads of the tests.)
struct Here;
impl rt::Export for Here {
    type Plugin = FlatFees;
    const NAME: &'static str = "flat-fees";
    const VERSION: &'static str = "2.0.0";
    const CPU: &'static [(&'static str, bool)] = &[("avx", true), ("avx2", false), ("bmi1", true)];
    const PANIC: &'static str = "unwind";
    const COMMIT: &'static str = "";
    fn place() -> &'static rt::Place {
        static PLACE: rt::Place = rt::Place::new();
        &PLACE
    }
}
static ENTRY: Entry = Entry::of::<Here>();

fn origin() -> Origin {
    Origin::new("flat-fees", "2.0.0", 7)
}

fn bound(this: usize, origin: &Origin) -> Bound {
    let table = ENTRY.offers.as_slice()[0].table;
    Bound { this: std::ptr::with_exposed_provenance(this), table, origin }
}

/// A panic hook is the whole process's: tests that start a plugin run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(table: &HostTable) -> Result<usize, CallError<String>> {
    // SAFETY: the table outlives the plugin in each of the tests; the origin is a local.
    let started = unsafe { (ENTRY.start)(table, "".into()).finish_result(&bound(0, &origin())) };
    // The plugin's hook prints nothing, which would hide why a test fails.
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{panic}");
        quiet(panic);
    }));
    started
}

fn retiring(this: usize) -> Result<(), Fault> {
    let origin = origin();
    let bound = bound(this, &origin);
    // SAFETY: from `start`, and not stopped yet; the origin is a local.
    unsafe { (ENTRY.retiring)(bound.this).finish(&bound) }
}

fn hook(this: usize, which: Hook) -> Result<(), CallError<String>> {
    let origin = origin();
    let bound = bound(this, &origin);
    // SAFETY: from `start`, and not stopped yet; the origin is a local.
    unsafe { (ENTRY.hook)(bound.this, which).finish_result(&bound) }
}

fn stop(this: usize) -> Result<(), Fault> {
    let origin = origin();
    let bound = bound(this, &origin);
    // SAFETY: from `start`, and stopped once; the origin is a local.
    unsafe { (ENTRY.stop)(bound.this).finish(&bound) }
}

#[test]
fn the_entry_names_the_plugin_and_its_contracts() {
    assert_eq!(ENTRY.format, FORMAT);
    assert_eq!((ENTRY.name.as_str(), ENTRY.version.as_str()), ("flat-fees", "2.0.0"));
    let offers = ENTRY.offers.as_slice();
    assert_eq!(offers.len(), 1);
    assert_eq!(
        (offers[0].name.as_str(), offers[0].version.as_str()),
        (<dyn Fees>::NAME, <dyn Fees>::VERSION)
    );
    let place = Place::new();
    assert_eq!((&place.magic, place.table()), (rt::PLACE_MAGIC, 0));
}

#[test]
fn a_plugin_starts_serves_asks_its_host_and_stops() {
    let _alone = alone();
    let (prices, origin) = (Prices, origin());
    let table = table(&prices, 7);
    let this = start(table).unwrap();
    let bound = bound(this, &origin);
    // SAFETY: the plugin is started, and stopped below.
    let fees = unsafe { <dyn Fees>::proxy(Held(bound)) };
    assert_eq!(fees.fee(2), Ok(Some(202)));

    let report = |how: &str| match fees.fails(how) {
        Err(Fault::Panicked(report)) => *report,
        other => panic!("{other:?}"),
    };
    let told = report("neither");
    assert_eq!(told.message, "neither is no way to fail (\"flat-fees\", \"2.0.0\", 7)");
    assert_eq!(
        (told.plugin.as_str(), told.version.as_str(), told.generation),
        ("flat-fees", "2.0.0", 7)
    );

    // The hook has noted where.
    let check = |how: &str, message: &str, located: bool| {
        let report = report(how);
        assert_eq!(report.message, message);
        assert_eq!(
            report.location.starts_with("plugin-api/tests/entry.rs:"),
            located,
            "{how}: {}",
            report.location
        );
        assert_eq!(report.location.is_empty(), !located);
    };
    check("here", "here", true);
    check("no text", "a payload that is no text", true);
    check("handed on", "handed on", true);
    // A panic that came without the hook has no place, least of all that of an earlier one.
    check("caught before", "a later one", false);
    check("caught before, then no text", "a payload that is no text", false);
    // The host's objects fail as values, too.
    let service = format!("service `{}` panicked: the book is torn", <dyn Book>::NAME);
    check("in the service", &service, true);
    check("refused by the service", "declined: \"nobody offers ?\"", true);

    let before = STOPPED.load(SeqCst);
    assert_eq!(retiring(this), Ok(()));
    assert_eq!((RETIRING.load(SeqCst), STOPPED.load(SeqCst)), (7, before), "told, and alive");
    assert_eq!(stop(this), Ok(()));
    assert_eq!(STOPPED.load(SeqCst), before + 1);
}

#[test]
fn a_start_that_fails_says_why() {
    let _alone = alone();
    let prices = Prices;
    let failed = |generation| start(table(&prices, generation)).unwrap_err().to_string();
    assert_eq!(failed(101), "declined: \"invalid digit found in string\"");
    let panicked = failed(102);
    assert!(
        panicked.starts_with("plugin `flat-fees` 2.0.0 (generation 7) panicked at "),
        "{panicked}"
    );
    assert!(panicked.ends_with(": no start at 102"), "{panicked}");
    let missing = <dyn other::Missing>::NAME;
    assert_eq!(failed(103), format!("declined: \"the host provides no {missing}\""));
}

#[test]
fn a_retiring_and_a_stop_that_panic_are_faults() {
    let _alone = alone();
    let prices = Prices;
    let table = table(&prices, 104);
    let this = start(table).unwrap();
    let Fault::Panicked(report) = retiring(this).unwrap_err() else { panic!("another fault") };
    assert!(report.message.contains("not now"), "{report}");
    let Fault::Panicked(report) = stop(this).unwrap_err() else { panic!("another fault") };
    assert_eq!(report.message, "no stop");
}

#[test]
fn each_hook_is_the_plugins_own_and_its_reason_comes_back() {
    use Hook::{AfterReturn, AfterSwitch, BeforeReturn, BeforeSwitch, Health};
    let _alone = alone();
    let prices = Prices;
    let all = [BeforeSwitch, AfterSwitch, BeforeReturn, AfterReturn, Health];

    let well = start(table(&prices, 7)).unwrap();
    HOOKED.lock().unwrap().clear();
    assert_eq!(all.map(|which| hook(well, which)), [(); 5].map(Ok));
    let ran = std::mem::take(&mut *HOOKED.lock().unwrap());
    let order = [
        "before the switch",
        "after the switch",
        "before the return",
        "after the return",
        "health",
    ];
    assert_eq!(ran, order);
    stop(well).unwrap();

    let ill = start(table(&prices, 105)).unwrap();
    let refused = |reason: &str| Err(CallError::Declined(reason.to_owned()));
    assert_eq!(hook(ill, BeforeSwitch), refused("invalid digit found in string"));
    assert_eq!(hook(ill, AfterSwitch), refused("no calls come"));
    assert_eq!(hook(ill, Health), refused("a fever"));
    assert_eq!(hook(ill, AfterReturn), Ok(()));
    let panicked = hook(ill, BeforeReturn).unwrap_err();
    let CallError::Fault(Fault::Panicked(report)) = panicked else { panic!("{panicked:?}") };
    assert!(report.message.contains("not back"), "{report}");
    stop(ill).unwrap();
}

#[test]
fn a_host_of_another_format_is_refused_before_anything_of_its_table_is_believed() {
    let _alone = alone();
    let format: u32 = FORMAT + 1; // and nothing after it
    // SAFETY: the first word is all that is read.
    let started = unsafe {
        (ENTRY.start)((&raw const format).cast(), "".into())
            .finish_result::<usize, String>(&bound(0, &origin()))
    };
    assert_eq!(
        started.unwrap_err().to_string(),
        format!("declined: \"the host's table has format {format}, the plugin's is {FORMAT}\"")
    );
}

#[test]
fn reasons_of_a_failed_start_keep_their_sources() {
    #[derive(Debug, thiserror::Error)]
    #[error("no config")]
    struct NoConfig(#[source] std::num::ParseIntError);
    let error = StartError::from(NoConfig("x".parse::<u8>().unwrap_err()));
    assert_eq!(error.to_string(), "no config: invalid digit found in string");
    assert_eq!(StartError::new("no book").to_string(), "no book");
}

#[test]
fn the_note_is_one_elf_note_of_lines() {
    static NOTE: rt::Note<{ rt::Note::len::<Here>() }> = rt::Note::of::<Here>();
    // SAFETY: repr(C), of numbers and bytes, with no padding: its parts are multiples of four
    // bytes.
    let bytes =
        unsafe { std::slice::from_raw_parts((&raw const NOTE).cast::<u8>(), size_of_val(&NOTE)) };
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(4) as usize, word(8)), (10, bytes.len() - 24, FORMAT));
    assert_eq!(&bytes[12..24], b"midflight\0\0\0");
    let text = std::str::from_utf8(&bytes[24..]).unwrap();
    let lines: Vec<_> =
        text.trim_end().split('\n').map(|line| line.split_once('=').unwrap()).collect();
    let keys: Vec<_> = lines.iter().map(|line| line.0).collect();
    let expected = [
        "name",
        "version",
        "group",
        "contracts",
        "rustc",
        "target",
        "optimisation",
        "panic",
        "commit",
    ];
    assert_eq!(keys[..9], expected);
    assert_eq!(lines[9..], [("preflight_start", ""), ("cpu", "avx,bmi1")]);
    let contracts = format!("{}@{}", <dyn Fees>::NAME, <dyn Fees>::VERSION);
    assert_eq!(
        lines[..4],
        [
            ("name", "flat-fees"),
            ("version", "2.0.0"),
            ("group", "exchange"),
            ("contracts", &contracts)
        ]
    );
    assert!(lines[4].1.starts_with("rustc 1."), "{}", lines[4].1);
    assert_eq!(lines[5].1, rt::TARGET);
}

struct Held(Bound);
// SAFETY: the tests stop the plugin after their last call.
unsafe impl rt::Gate for Held {
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        f(&self.0)
    }
}
