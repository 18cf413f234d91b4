//! Logs: a plugin's events and spans, handed to the host.
//!
//! A cdylib has statics of its own, and among them its own idea of who listens to `tracing` and
//! `log`: nobody. So each plugin gets a subscriber that passes everything on. What is disabled in
//! the host is disabled here, by the callsite's own cache, and costs what a disabled event always
//! costs; after a change of the host's filters it is asked anew.
//!
//! The subscriber is the global default: a scoped one sits in a thread-local with a destructor.
#![allow(
    unsafe_code,
    missing_docs,
    reason = "calls the host through its table; generated code and the host alone name it"
)]

use crate::lent::{RSlice, RStr};
use crate::plugin::HostTable;
use log::kv::{self, Key, VisitSource};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{OnceLock, RwLock};
use tracing_core::callsite::{Callsite, Identifier};
use tracing_core::field::{Field, FieldSet, Visit};
use tracing_core::metadata::Kind;
use tracing_core::span::{Attributes, Current, Id, Record};
use tracing_core::{Dispatch, Event, Interest, Level, LevelFilter, Metadata, Subscriber};

/// The host's side. Each gets the table's `owner` first where it says who speaks.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Logs {
    /// The host's record of a callsite, which stays for good; null where there are too many.
    pub register: unsafe extern "C" fn(*const (), &Site<'_>) -> Registered,
    /// Does anybody listen to this callsite now?
    pub enabled: unsafe extern "C" fn(site: *const ()) -> bool,
    /// The most verbose level that anybody listens to: 0 for none, 1 for errors, 5 for traces.
    pub level_max: extern "C" fn() -> u8,
    pub event:
        unsafe extern "C" fn(*const (), site: *const (), Parent, &Place<'_>, RSlice<'_, Value<'_>>),
    pub span: unsafe extern "C" fn(
        *const (),
        site: *const (),
        Parent,
        &Place<'_>,
        RSlice<'_, Value<'_>>,
    ) -> u64,
    pub record: unsafe extern "C" fn(*const (), span: u64, site: *const (), RSlice<'_, Value<'_>>),
    pub follows_from: unsafe extern "C" fn(*const (), span: u64, follows: u64),
    pub enter: unsafe extern "C" fn(*const (), span: u64),
    pub exit: unsafe extern "C" fn(*const (), span: u64),
    pub clone: unsafe extern "C" fn(*const (), span: u64) -> u64,
    pub close: unsafe extern "C" fn(*const (), span: u64) -> bool,
    /// The span that the thread is in. Its number is good until the thread asks again, or for as
    /// long as it is cloned.
    pub current: unsafe extern "C" fn(*const ()) -> Spanned,
}

/// The span that a thread is in, whoever made it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Spanned {
    /// 0 for none.
    pub span: u64,
    /// The host's record of its callsite, which stays for good; null for none.
    pub site: *const (),
    /// What makes that callsite, without the fields that the host has added.
    pub said: Site<'static>,
}

impl Spanned {
    /// No span.
    pub const NONE: Spanned = Spanned {
        span: 0,
        site: std::ptr::null(),
        said: Site {
            target: RStr::from_str(""),
            name: RStr::from_str(""),
            level: 0,
            is_span: true,
            fields: RSlice::from_slice(&[]),
        },
    };
}

/// What makes a callsite: the same for every generation of a plugin.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub target: RStr<'a>,
    pub name: RStr<'a>,
    /// 1 for errors, 5 for traces.
    pub level: u8,
    pub is_span: bool,
    pub fields: RSlice<'a, RStr<'a>>,
}

/// The line that speaks. Not part of the site: it moves with every edit.
#[repr(C)]
pub struct Place<'a> {
    pub file: RStr<'a>,
    pub line: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Registered {
    pub site: *const (),
    /// 0 never, 1 sometimes, 2 always.
    pub interest: u8,
}

#[repr(C, u8)]
#[derive(Debug, Clone, Copy)]
pub enum Parent {
    /// The span that the thread is in.
    Current,
    None,
    Span(u64),
}

/// A field's value, in the order of the site's fields.
#[repr(C, u8)]
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Absent,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(RStr<'a>),
    /// As its `Debug` or `Display` wrote it.
    Written(RStr<'a>),
}

/// Makes the host the listener of this binary. Once: a second call, or a plugin that set a
/// subscriber of its own, changes nothing.
pub(crate) fn forward(host: &'static HostTable) {
    let forward = Forward { host, sites: RwLock::default(), spans: RwLock::default() };
    let _ = tracing_core::dispatcher::set_global_default(Dispatch::new(forward));
    if HOST.set(host).is_ok() && log::set_logger(&Records).is_ok() {
        rebuild();
    }
}

/// The host's filters have changed.
pub(crate) fn rebuild() {
    tracing_core::callsite::rebuild_interest_cache();
    if let Some(host) = HOST.get() {
        log::set_max_level(match (host.logs.level_max)() {
            0 => log::LevelFilter::Off,
            1 => log::LevelFilter::Error,
            2 => log::LevelFilter::Warn,
            3 => log::LevelFilter::Info,
            4 => log::LevelFilter::Debug,
            _ => log::LevelFilter::Trace,
        });
    }
}

static HOST: OnceLock<&'static HostTable> = OnceLock::new();

struct Forward {
    host: &'static HostTable,
    /// The host's records, as addresses.
    sites: RwLock<HashMap<Identifier, usize>>,
    /// What this binary knows a span's callsite by, by the host's record of it.
    spans: RwLock<HashMap<usize, &'static Metadata<'static>>>,
}

impl Forward {
    fn site(&self, callsite: &Identifier) -> Option<*const ()> {
        let site = *self.sites.read().ok()?.get(callsite)?;
        (site != 0).then(|| std::ptr::with_exposed_provenance(site))
    }

    fn keep(&self, metadata: &'static Metadata<'static>, site: *const ()) {
        let site = site.expose_provenance();
        if let Ok(mut sites) = self.sites.write() {
            sites.insert(metadata.callsite(), site);
        }
        if metadata.is_span()
            && let Ok(mut spans) = self.spans.write()
        {
            spans.insert(site, metadata);
        }
    }

    /// The callsite of a span that another binary has made, as this one's `tracing` wants it.
    fn of_another(&self, span: &Spanned) -> &'static Metadata<'static> {
        let metadata = Another::describe(&span.said);
        self.keep(metadata, span.site);
        metadata
    }
}

/// A stand-in for the callsite of a span that is another binary's. Kept for good: `tracing` wants
/// it so, and there is one for each such span that this binary has asked for.
struct Another(OnceLock<Metadata<'static>>);

impl Another {
    fn describe(said: &Site<'static>) -> &'static Metadata<'static> {
        let another: &'static Another = Box::leak(Box::new(Another(OnceLock::new())));
        let names: Vec<&'static str> =
            said.fields.as_slice().iter().map(|field| field.as_str()).collect();
        let fields = FieldSet::new(names.leak(), Identifier(another));
        let level = match said.level {
            0 | 1 => Level::ERROR,
            2 => Level::WARN,
            3 => Level::INFO,
            4 => Level::DEBUG,
            _ => Level::TRACE,
        };
        let (name, target) = (said.name.as_str(), said.target.as_str());
        another.0.get_or_init(|| {
            Metadata::new(name, target, level, None, None, None, fields, Kind::SPAN)
        })
    }
}

impl Callsite for Another {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.0.get().expect("a callsite is described before it is known")
    }
}

impl Subscriber for Forward {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let fields: Vec<RStr<'_>> =
            metadata.fields().iter().map(|field| field.name().into()).collect();
        let site = Site {
            target: metadata.target().into(),
            name: metadata.name().into(),
            level: level(metadata.level()),
            is_span: metadata.is_span(),
            fields: fields.as_slice().into(),
        };
        // SAFETY: the host's own function with its own owner; the site is valid for the call.
        let registered = unsafe { (self.host.logs.register)(self.host.owner, &site) };
        self.keep(metadata, registered.site);
        match registered.interest {
            0 => Interest::never(),
            // Never `always`: another thread's dispatcher in the host may not listen.
            _ => Interest::sometimes(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // SAFETY: the host's record of this callsite, which stays for good.
        self.site(&metadata.callsite())
            .is_some_and(|site| unsafe { (self.host.logs.enabled)(site) })
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match (self.host.logs.level_max)() {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let Some(site) = self.site(&metadata.callsite()) else { return };
        let mut values = Values::default();
        event.record(&mut values);
        let parent = parent(event.parent(), event.is_root());
        values.pass(metadata.fields().len(), |values| {
            // SAFETY: the host's record of this callsite, with values in the order of its fields.
            unsafe {
                (self.host.logs.event)(self.host.owner, site, parent, &place(metadata), values)
            }
        });
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let metadata = span.metadata();
        let Some(site) = self.site(&metadata.callsite()) else { return NO_SPAN };
        let mut values = Values::default();
        span.record(&mut values);
        let parent = parent(span.parent(), span.is_root());
        let made = values.pass(metadata.fields().len(), |values| {
            // SAFETY: as in `event`.
            unsafe {
                (self.host.logs.span)(self.host.owner, site, parent, &place(metadata), values)
            }
        });
        id(made)
    }

    fn record(&self, span: &Id, more: &Record<'_>) {
        let mut values = Values::default();
        more.record(&mut values);
        // The span's callsite is known by its fields alone.
        let Some(callsite) = values.callsite.take() else { return };
        let Some(site) = self.site(&callsite) else { return };
        values.pass(0, |values| {
            // SAFETY: as in `event`; fields beyond the last value are absent.
            unsafe { (self.host.logs.record)(self.host.owner, span.into_u64(), site, values) }
        });
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        // SAFETY: the host's own function with its own owner; it takes any number for a span.
        unsafe {
            (self.host.logs.follows_from)(self.host.owner, span.into_u64(), follows.into_u64());
        }
    }

    fn enter(&self, span: &Id) {
        // SAFETY: as in `record_follows_from`.
        unsafe { (self.host.logs.enter)(self.host.owner, span.into_u64()) };
    }

    fn exit(&self, span: &Id) {
        // SAFETY: as in `record_follows_from`.
        unsafe { (self.host.logs.exit)(self.host.owner, span.into_u64()) };
    }

    fn clone_span(&self, span: &Id) -> Id {
        // SAFETY: as in `record_follows_from`.
        id(unsafe { (self.host.logs.clone)(self.host.owner, span.into_u64()) })
    }

    fn try_close(&self, span: Id) -> bool {
        // SAFETY: as in `record_follows_from`.
        unsafe { (self.host.logs.close)(self.host.owner, span.into_u64()) }
    }

    fn current_span(&self) -> Current {
        // SAFETY: as in `record_follows_from`.
        let current = unsafe { (self.host.logs.current)(self.host.owner) };
        if current.span == 0 || current.site.is_null() {
            return Current::none();
        }
        let known = |spans: &HashMap<_, _>| spans.get(&current.site.addr()).copied();
        let metadata = self.spans.read().ok().as_deref().and_then(known);
        let metadata = metadata.unwrap_or_else(|| self.of_another(&current));
        Current::new(id(current.span), metadata)
    }
}

/// The host never gives this number to a span.
const NO_SPAN: Id = match std::num::NonZeroU64::new(u64::MAX) {
    Some(number) => Id::from_non_zero_u64(number),
    None => unreachable!(),
};

fn id(made: u64) -> Id {
    if made == 0 { NO_SPAN } else { Id::from_u64(made) }
}

fn parent(parent: Option<&Id>, is_root: bool) -> Parent {
    match parent {
        Some(parent) => Parent::Span(parent.into_u64()),
        None if is_root => Parent::None,
        None => Parent::Current,
    }
}

fn place<'a>(metadata: &Metadata<'a>) -> Place<'a> {
    Place {
        file: metadata.file().unwrap_or_default().into(),
        line: metadata.line().unwrap_or_default(),
    }
}

fn level(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// The values of one event or span, by field, in memory of their own.
#[derive(Default)]
struct Values {
    callsite: Option<Identifier>,
    values: Vec<Kept>,
}

#[derive(Clone)]
enum Kept {
    Absent,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    Written(String),
}

impl Values {
    fn keep(&mut self, field: &Field, value: Kept) {
        self.callsite.get_or_insert_with(|| field.callsite());
        if self.values.len() <= field.index() {
            self.values.resize(field.index() + 1, Kept::Absent);
        }
        self.values[field.index()] = value;
    }

    /// Lends the values, at least `fields` of them.
    fn pass<R>(&self, fields: usize, to: impl FnOnce(RSlice<'_, Value<'_>>) -> R) -> R {
        let mut lent: Vec<_> = self.values.iter().map(Kept::lend).collect();
        lent.resize(fields.max(lent.len()), Value::Absent);
        to(lent.as_slice().into())
    }
}

impl Kept {
    fn lend(&self) -> Value<'_> {
        match self {
            Kept::Absent => Value::Absent,
            Kept::Bool(value) => Value::Bool(*value),
            Kept::Signed(value) => Value::Signed(*value),
            Kept::Unsigned(value) => Value::Unsigned(*value),
            Kept::Float(value) => Value::Float(*value),
            Kept::Text(value) => Value::Text(value.as_str().into()),
            Kept::Written(value) => Value::Written(value.as_str().into()),
        }
    }
}

impl Visit for Values {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, Kept::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, Kept::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, Kept::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, Kept::Float(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, Kept::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string fails only where the value's own Debug does: what it wrote until then
        // is kept.
        let _ = write!(text, "{value:?}");
        self.keep(field, Kept::Written(text));
    }
}

/// The records of the `log` crate: each as an event with a message, and with its key-values as
/// fields.
struct Records;

impl Records {
    fn site(
        metadata: &log::Metadata<'_>,
        fields: &[RStr<'_>],
    ) -> Option<(&'static HostTable, *const ())> {
        let host = *HOST.get()?;
        let site = Site {
            target: metadata.target().into(),
            name: "log record".into(),
            level: metadata.level() as u8,
            is_span: false,
            fields: fields.into(),
        };
        // SAFETY: the host's own function with its own owner; the site is valid for the call.
        let registered = unsafe { (host.logs.register)(host.owner, &site) };
        (registered.interest != 0 && !registered.site.is_null()).then_some((host, registered.site))
    }
}

const MESSAGE: &str = "message";

impl log::Log for Records {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // SAFETY: the host's record, which stays for good.
        Self::site(metadata, &[MESSAGE.into()])
            .is_some_and(|(host, site)| unsafe { (host.logs.enabled)(site) })
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut pairs = Pairs(vec![(MESSAGE.to_owned(), Kept::Written(record.args().to_string()))]);
        // What it has visited until a pair's own failure is told all the same.
        let _ = record.key_values().visit(&mut pairs);
        let lent = pairs.0.iter().map(|(key, kept)| (RStr::from_str(key), kept.lend()));
        let (fields, values): (Vec<_>, Vec<_>) = lent.unzip();
        let Some((host, site)) = Self::site(record.metadata(), &fields) else { return };
        let place = Place {
            file: record.file().unwrap_or_default().into(),
            line: record.line().unwrap_or_default(),
        };
        // SAFETY: the host's record, with its fields' values.
        unsafe {
            (host.logs.event)(host.owner, site, Parent::Current, &place, values.as_slice().into())
        }
    }

    fn flush(&self) {}
}

/// The key-values of a record, behind its message. Of two with one key the first is told.
struct Pairs(Vec<(String, Kept)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        if self.0.iter().all(|(known, _)| known != key.as_str()) {
            self.0.push((key.as_str().to_owned(), kept(&value)));
        }
        Ok(())
    }
}

fn kept(value: &kv::Value<'_>) -> Kept {
    if let Some(text) = value.to_borrowed_str() {
        Kept::Text(text.to_owned())
    } else if let Some(value) = value.to_bool() {
        Kept::Bool(value)
    } else if let Some(value) = value.to_u64() {
        Kept::Unsigned(value)
    } else if let Some(value) = value.to_i64() {
        Kept::Signed(value)
    } else if let Some(value) = value.to_f64() {
        Kept::Float(value)
    } else {
        Kept::Written(value.to_string())
    }
}
