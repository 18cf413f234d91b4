//! The logs of plugins: their events and spans, in the host's subscriber.
//!
//! A callsite of a plugin's is a static that will be unmapped, and the host's subscriber keeps what
//! it has been shown. So the host makes a callsite of its own for each that it meets, keyed by what
//! is the same in every generation: target, name, level, kind and fields. Versions come and go and
//! the number of callsites stays.
//!
//! A service that has a logger of the `log` crate and no `tracing` subscriber hears the same events
//! there, with their fields behind the message; spans go to a subscriber alone.
//!
//! Each event and span carries, beside its own fields, `midflight.plugin`, `midflight.version`,
//! `midflight.generation`, `code.file` and `code.line`.

use super::{Owner, owner, spans};
use crate::contained;
use midflight_plugin::rt::logs::{Logs, Parent, Place, Registered, Site, Spanned, Value};
use midflight_plugin::rt::{RSlice, RStr};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::{Arc, LazyLock, Once, OnceLock};
use tracing_core::callsite::{Callsite, Identifier};
use tracing_core::field::{self, FieldSet};
use tracing_core::metadata::Kind;
use tracing_core::span::{Attributes, Record};
use tracing_core::{Event, Interest, Level, LevelFilter, Metadata, dispatcher};

/// Callsites beyond it are not listened to: a plugin that makes them up as it goes must not fill
/// the host's memory.
const SITES_MAX: usize = 10_000;
/// What is added to each callsite's own fields.
const ATTRIBUTION: [&str; 5] =
    ["midflight.plugin", "midflight.version", "midflight.generation", "code.file", "code.line"];

pub(super) const LOGS: Logs = Logs {
    register,
    enabled,
    level_max,
    event,
    span,
    record,
    follows_from,
    enter,
    exit,
    clone,
    close,
    current,
};

/// Calls `wake` whenever the host's filters may have changed, until it answers false. It is called
/// in the middle of the change.
pub(crate) fn listen(wake: impl Fn() -> bool + Send + 'static) {
    // A subscriber that panics on it hears of no filters; the host starts all the same.
    SENTINEL.call_once(|| contained((), make_sentinel));
    LISTENERS.lock().push(Box::new(wake));
}

type Wake = Box<dyn Fn() -> bool + Send>;

static LISTENERS: Mutex<Vec<Wake>> = Mutex::new(Vec::new());

/// A callsite that nobody speaks at: it is asked for its interest anew whenever the filters change.
static SENTINEL: Once = Once::new();

fn make_sentinel() {
    let key = Key {
        target: SENTINELS.to_owned(),
        name: "sentinel".to_owned(),
        level: 1,
        is_span: false,
        fields: Vec::new(),
    };
    HostSite::leak(key);
}

const SENTINELS: &str = "midflight::filters";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    target: String,
    name: String,
    level: u8,
    is_span: bool,
    fields: Vec<String>,
}

/// The host's stand-in for a callsite of plugins, or its record of one that made a span which
/// plugins ask about. Never freed.
struct HostSite {
    metadata: OnceLock<&'static Metadata<'static>>,
    /// How many of its fields are the author's; the others are those that say who speaks.
    own: usize,
    /// Their names, for plugins, which keep them.
    names: OnceLock<RSlice<'static, RStr<'static>>>,
    /// 0 never, 1 sometimes, 2 always.
    interest: AtomicU8,
}

static SITES: LazyLock<Mutex<HashMap<Key, &'static HostSite>>> = LazyLock::new(Mutex::default);
/// Of spans, by their callsite.
static SPANS: LazyLock<RwLock<HashMap<Identifier, &'static HostSite>>> =
    LazyLock::new(RwLock::default);

impl HostSite {
    fn of(key: Key) -> Option<&'static HostSite> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if let Some(site) = SITES.lock().get(&key) {
            return Some(site);
        }
        if COUNT.fetch_add(1, SeqCst) >= SITES_MAX {
            return None;
        }
        // Not under the lock: the subscriber is asked what it thinks of it, and may speak through a
        // plugin.
        let site = HostSite::leak(key.clone());
        Some(SITES.lock().entry(key).or_insert(site))
    }

    fn leak(key: Key) -> &'static HostSite {
        let Key { target, name, level, is_span, fields } = key;
        let site = HostSite::unsaid(fields.len());
        let own = fields.into_iter().map(|field| &*field.leak());
        let fields: Vec<&'static str> = own.chain(ATTRIBUTION).collect();
        let fields = FieldSet::new(fields.leak(), Identifier(site));
        let level = match level {
            0 | 1 => Level::ERROR,
            2 => Level::WARN,
            3 => Level::INFO,
            4 => Level::DEBUG,
            _ => Level::TRACE,
        };
        let kind = if is_span { Kind::SPAN } else { Kind::EVENT };
        site.metadata.get_or_init(|| {
            let (name, target) = (name.leak(), target.leak());
            Box::leak(Box::new(Metadata::new(name, target, level, None, None, None, fields, kind)))
        });
        if is_span {
            SPANS.write().insert(Identifier(site), site);
        }
        tracing_core::callsite::register(site);
        site
    }

    fn unsaid(own: usize) -> &'static HostSite {
        Box::leak(Box::new(HostSite {
            metadata: OnceLock::new(),
            own,
            names: OnceLock::new(),
            interest: AtomicU8::new(0),
        }))
    }

    /// The record of what made a span: a plugin's, or the service's own.
    fn of_span(metadata: &'static Metadata<'static>) -> &'static HostSite {
        if let Some(site) = SPANS.read().get(&metadata.callsite()) {
            return site;
        }
        SPANS.write().entry(metadata.callsite()).or_insert_with(|| {
            let site = HostSite::unsaid(metadata.fields().len());
            site.metadata.get_or_init(|| metadata);
            site
        })
    }

    /// 0 never, 1 sometimes, 2 always.
    fn interest(&self) -> u8 {
        match logger() {
            Some(_) => 1,
            None => self.interest.load(Acquire),
        }
    }

    fn said(&'static self) -> &'static Metadata<'static> {
        // Set before anybody gets the reference.
        self.metadata.get().expect("a callsite is described before it is known")
    }

    /// As a plugin is told of it.
    fn told(&'static self) -> Site<'static> {
        let metadata = self.said();
        let names = || {
            let own = metadata.fields().iter().take(self.own);
            let names: Vec<_> = own.map(|field| RStr::from_str(field.name())).collect();
            RSlice::from_slice(names.leak())
        };
        Site {
            target: RStr::from_str(metadata.target()),
            name: RStr::from_str(metadata.name()),
            level: level(*metadata.level()),
            is_span: true,
            fields: *self.names.get_or_init(names),
        }
    }
}

impl Callsite for HostSite {
    fn set_interest(&self, interest: Interest) {
        let interest = if interest.is_never() { 0 } else { 1 + u8::from(interest.is_always()) };
        self.interest.store(interest, Release);
        if self.metadata().target() == SENTINELS {
            LISTENERS.lock().retain(|wake| wake());
        }
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("a callsite is described before it is known")
    }
}

/// The record that `register` gave for a callsite.
///
/// # Safety
/// `site` is from `register`, and not null.
unsafe fn site(site: *const ()) -> &'static HostSite {
    // SAFETY: the caller's; records are never freed.
    unsafe { &*site.cast::<HostSite>() }
}

/// Runs the host's subscriber, whose panics must not unwind into a plugin.
fn contained<R>(otherwise: R, run: impl FnOnce() -> R) -> R {
    contained::contained(run).unwrap_or(otherwise)
}

unsafe extern "C" fn register(_: *const (), found: &Site<'_>) -> Registered {
    let key = Key {
        target: found.target.as_str().to_owned(),
        name: found.name.as_str().to_owned(),
        level: found.level,
        is_span: found.is_span,
        fields: found.fields.as_slice().iter().map(|field| field.as_str().to_owned()).collect(),
    };
    match contained(None, || HostSite::of(key)) {
        Some(site) => {
            Registered { site: std::ptr::from_ref(site).cast(), interest: site.interest() }
        }
        None => Registered { site: std::ptr::null(), interest: 0 },
    }
}

unsafe extern "C" fn enabled(of: *const ()) -> bool {
    // SAFETY: the plugin passes what `register` gave.
    let site = unsafe { site(of) };
    let asked = || match logger() {
        Some(logger) => logger.enabled(&as_log(site.said())),
        None => dispatcher::get_default(|dispatch| dispatch.enabled(site.said())),
    };
    site.interest() != 0 && contained(false, asked)
}

/// The `log` crate's logger, in a service that has that and no `tracing` subscriber.
fn logger() -> Option<&'static dyn log::Log> {
    (!dispatcher::has_been_set() && log::max_level() != log::LevelFilter::Off).then(log::logger)
}

fn as_log<'a>(metadata: &Metadata<'a>) -> log::Metadata<'a> {
    let level = match *metadata.level() {
        Level::ERROR => log::Level::Error,
        Level::WARN => log::Level::Warn,
        Level::INFO => log::Level::Info,
        Level::DEBUG => log::Level::Debug,
        Level::TRACE => log::Level::Trace,
    };
    log::Metadata::builder().level(level).target(metadata.target()).build()
}

/// How verbose those who listen want it to be: a change is told to all plugins.
pub(crate) fn verbosity() -> u8 {
    level_max()
}

extern "C" fn level_max() -> u8 {
    if logger().is_some() {
        return match log::max_level() {
            log::LevelFilter::Off => 0,
            log::LevelFilter::Error => 1,
            log::LevelFilter::Warn => 2,
            log::LevelFilter::Info => 3,
            log::LevelFilter::Debug => 4,
            log::LevelFilter::Trace => 5,
        };
    }
    let level = LevelFilter::current().into_level();
    level.map_or(0, self::level)
}

fn level(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

unsafe extern "C" fn event(
    of: *const (),
    at: *const (),
    parent: Parent,
    place: &Place<'_>,
    values: RSlice<'_, Value<'_>>,
) {
    // SAFETY: the plugin passes what its table holds, and what `register` gave.
    let (owner, site) = unsafe { (owner(of), site(at)) };
    contained((), || {
        let metadata = site.said();
        let id = |span| Some(owner.spans.find(span)?.1);
        let lent = Lent::of(&owner, place, values.as_slice(), site);
        if let Some(logger) = logger() {
            return lent.log(logger, site, place);
        }
        lent.with(|values| {
            let values = metadata.fields().value_set_all(values);
            dispatcher::get_default(|dispatch| match parent {
                Parent::Current => dispatch.event(&Event::new(metadata, &values)),
                Parent::None => dispatch.event(&Event::new_child_of(None, metadata, &values)),
                Parent::Span(parent) => {
                    dispatch.event(&Event::new_child_of(id(parent), metadata, &values));
                }
            });
        });
    });
}

unsafe extern "C" fn span(
    of: *const (),
    at: *const (),
    parent: Parent,
    place: &Place<'_>,
    values: RSlice<'_, Value<'_>>,
) -> u64 {
    // SAFETY: as in `event`.
    let (owner, site) = unsafe { (owner(of), site(at)) };
    if !owner.spans.has_room() {
        return spans::NONE;
    }
    contained(spans::NONE, || {
        let metadata = site.said();
        let id = |span| Some(owner.spans.find(span)?.1);
        Lent::of(&owner, place, values.as_slice(), site).with(|values| {
            let values = metadata.fields().value_set_all(values);
            let attributes = match parent {
                Parent::Current => Attributes::new(metadata, &values),
                Parent::None => Attributes::new_root(metadata, &values),
                Parent::Span(parent) => match id(parent) {
                    Some(parent) => Attributes::child_of(parent, metadata, &values),
                    None => Attributes::new_root(metadata, &values),
                },
            };
            dispatcher::get_default(|dispatch| {
                owner.spans.open(dispatch.clone(), dispatch.new_span(&attributes))
            })
        })
    })
}

unsafe extern "C" fn record(
    of: *const (),
    span: u64,
    at: *const (),
    values: RSlice<'_, Value<'_>>,
) {
    // SAFETY: as in `event`.
    let (owner, site) = unsafe { (owner(of), site(at)) };
    contained((), || {
        let metadata = site.said();
        let Some((by, id)) = owner.spans.find(span) else { return };
        Lent::own(values.as_slice(), site).with(|values| {
            by.record(&id, &Record::new(&metadata.fields().value_set_all(values)));
        });
    });
}

unsafe extern "C" fn follows_from(of: *const (), span: u64, follows: u64) {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    contained((), || {
        if let (Some((by, id)), Some((_, follows))) =
            (owner.spans.find(span), owner.spans.find(follows))
        {
            by.record_follows_from(&id, &follows);
        }
    });
}

unsafe extern "C" fn enter(of: *const (), span: u64) {
    // SAFETY: as in `follows_from`.
    let owner = unsafe { owner(of) };
    contained((), || spans::enter(&owner, span));
}

unsafe extern "C" fn exit(of: *const (), span: u64) {
    // SAFETY: as in `follows_from`.
    let owner = unsafe { owner(of) };
    contained((), || spans::exit(&owner, span));
}

unsafe extern "C" fn clone(of: *const (), span: u64) -> u64 {
    // SAFETY: as in `follows_from`.
    let owner = unsafe { owner(of) };
    contained(spans::NONE, || owner.spans.clone_handle(span))
}

unsafe extern "C" fn close(of: *const (), span: u64) -> bool {
    // SAFETY: as in `follows_from`.
    let owner = unsafe { owner(of) };
    contained(false, || owner.spans.close(span))
}

unsafe extern "C" fn current(of: *const ()) -> Spanned {
    // SAFETY: as in `follows_from`.
    let owner = unsafe { owner(of) };
    contained(Spanned::NONE, || {
        let current =
            dispatcher::get_default(|by| Some((by.clone(), by.current_span().into_inner()?)));
        current.map_or(Spanned::NONE, |(by, (id, metadata))| {
            let site = HostSite::of_span(metadata);
            Spanned {
                span: spans::current(&owner, by, id),
                site: std::ptr::from_ref(site).cast(),
                said: site.told(),
            }
        })
    })
}

/// The values of a call, as the host's `tracing` takes them: those of the plugin, then the
/// attribution.
struct Lent<'a>(Vec<Option<Host<'a>>>);

enum Host<'a> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
    Written(field::DisplayValue<&'a str>),
}

impl<'a> Lent<'a> {
    fn of(
        owner: &'a Arc<Owner>,
        place: &'a Place<'_>,
        values: &'a [Value<'_>],
        site: &'static HostSite,
    ) -> Self {
        let mut lent = Self::own(values, site);
        let (plugin, version) = owner.names();
        let attribution = [
            Host::Text(plugin),
            Host::Text(version),
            Host::Unsigned(owner.table.generation),
            Host::Text(place.file.as_str()),
            Host::Unsigned(place.line.into()),
        ];
        for (slot, value) in lent.0[site.own..].iter_mut().zip(attribution) {
            *slot = Some(value);
        }
        lent
    }

    /// The plugin's values alone; what the callsite has no field for is left out, and what it has
    /// more is absent.
    fn own(values: &'a [Value<'_>], site: &'static HostSite) -> Self {
        let mut lent: Vec<_> = values.iter().take(site.own).map(Host::of).collect();
        lent.resize_with(site.said().fields().len(), || None);
        Lent(lent)
    }

    /// A record of the `log` crate: the message and then the other fields, as `tracing` writes its
    /// own events where there is a logger alone. File and line have places of their own there.
    fn log(&self, logger: &dyn log::Log, site: &'static HostSite, place: &Place<'_>) {
        let metadata = as_log(site.said());
        if metadata.level() > log::max_level() || !logger.enabled(&metadata) {
            return;
        }
        let (mut message, mut fields) = (String::new(), String::new());
        for (field, value) in site.said().fields().iter().zip(&self.0) {
            match (field.name(), value) {
                (_, None) | ("code.file" | "code.line", _) => {}
                ("message", Some(value)) => message = value.to_string(),
                (name, Some(Host::Text(text))) => fields += &format!(" {name}={text:?}"),
                (name, Some(value)) => fields += &format!(" {name}={value}"),
            }
        }
        let (file, line) = (place.file.as_str(), place.line);
        logger.log(
            &log::Record::builder()
                .metadata(metadata)
                .args(format_args!("{message}{fields}"))
                .file(Some(file).filter(|file| !file.is_empty()))
                .line(Some(line).filter(|line| *line != 0))
                .build(),
        );
    }

    fn with<R>(&self, run: impl FnOnce(&[Option<&dyn field::Value>]) -> R) -> R {
        let values: Vec<_> = self.0.iter().map(|value| value.as_ref().map(Host::value)).collect();
        run(&values)
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Bool(value) => value.fmt(f),
            Host::Signed(value) => value.fmt(f),
            Host::Unsigned(value) => value.fmt(f),
            Host::Float(value) => value.fmt(f),
            Host::Text(value) => value.fmt(f),
            Host::Written(value) => fmt::Debug::fmt(value, f),
        }
    }
}

impl<'a> Host<'a> {
    fn of(value: &'a Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Absent => return None,
            Value::Bool(value) => Host::Bool(*value),
            Value::Signed(value) => Host::Signed(*value),
            Value::Unsigned(value) => Host::Unsigned(*value),
            Value::Float(value) => Host::Float(*value),
            Value::Text(value) => Host::Text(value.as_str()),
            Value::Written(value) => Host::Written(field::display(value.as_str())),
        })
    }

    fn value(&self) -> &dyn field::Value {
        match self {
            Host::Bool(value) => value,
            Host::Signed(value) => value,
            Host::Unsigned(value) => value,
            Host::Float(value) => value,
            Host::Text(value) => value,
            Host::Written(value) => value,
        }
    }
}
