//! What plugins say beside their answers: in which span they speak, to which logger, and what is
//! told of their panics.

use midflight::{CallError, Code, Event, EventKind, Fault, Host, PanicReport};
use midflight_tests::{Fixture, Log, Rig, WITHIN, in_child};
use probe_contracts::{Panic, Risk};
use speaking_contracts::Speaking;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tracing::field::{Empty, Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, info_span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

type Slot = midflight::Slot<dyn Speaking>;

struct Place {
    host: Host,
    speaking: Slot,
    log: Log,
    _home: TempDir,
}

impl Place {
    fn new(configure: impl FnOnce(midflight::HostBuilder) -> midflight::HostBuilder) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let builder = Host::builder().run_directory(home.path()).contract::<dyn Speaking>();
        let host = configure(builder).start().expect("a host");
        let speaking = host.slot::<dyn Speaking>("speaking").expect("a slot");
        Place { log: Log::of(&host), host, speaking, _home: home }
    }

    fn serving(config: &str) -> Self {
        let place = Place::new(|builder| builder.config("speaking", config));
        place.host.apply(Fixture::Speaking.path()).expect("it serves");
        place
    }

    fn end(self) {
        let status = self.host.shutdown(WITHIN);
        let mut left =
            status.generations.iter().filter(|one| one.residency.to_string() != "unmapped");
        assert!(left.next().is_none(), "{status:#?}");
    }
}

/// Keeps what is recorded on spans, and what events are heard in which.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<String>>>);

impl Ear {
    fn heard(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().expect("an ear")
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ear {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let name = span.metadata().name();
        self.heard().push(format!("span {name} {}", fields.told()));
    }

    fn on_record(&self, span: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        let name = cx.span(span).expect("a span").name();
        self.heard().push(format!("{name} gets {}", fields.told()));
    }

    fn on_event(&self, event: &tracing::Event<'_>, cx: Context<'_, S>) {
        if event.metadata().target() == "midflight" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = cx.event_span(event).map_or("none", |span| span.name());
        self.heard().push(format!("in {span}: {}", fields.told()));
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    /// Without what says who speaks, which other tests look at.
    fn told(&self) -> String {
        let own = self.0.iter().filter(|(name, _)| !name.contains('.'));
        own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), format!("{value}u64"));
    }
}

#[test]
fn r09_a_plugin_is_in_the_span_that_its_caller_is_in() {
    in_child(|| {
        let ear = Ear::default();
        registry().with(ear.clone()).init();
        let place = Place::serving("");
        let speaking = &place.speaking;
        assert_eq!(speaking.record("nobody").expect("an answer"), "", "no span, nothing recorded");
        let request = info_span!("request", user = Empty, path = "/orders");
        ear.heard().clear();
        request.in_scope(|| {
            assert_eq!(speaking.record("ada").expect("an answer"), "request");
            speaking.elsewhere().expect("an answer");
        });
        // Its own are its own, and the host's is there again afterwards.
        request.in_scope(|| {
            speaking.within("bob").expect("an answer");
            assert_eq!(speaking.record("eve").expect("an answer"), "request");
        });
        assert_eq!(
            *ear.heard(),
            [
                "request gets user=\"ada\"",
                "in request: message=polled elsewhere",
                "span own ",
                "own gets user=\"bob\"",
                "request gets user=\"eve\"",
            ]
        );
        drop(request);
        place.end();
    });
}

#[test]
fn r09_key_values_of_a_record_are_fields() {
    in_child(|| {
        let ear = Ear::default();
        registry().with(ear.clone()).init();
        let place = Place::serving("");
        ear.heard().clear();
        place.speaking.log(7).expect("an answer");
        assert_eq!(
            *ear.heard(),
            ["in none: list=[1, 2] message=logged number=7u64 text=\"a text\""]
        );
        place.end();
    });
}

/// A logger of the `log` crate.
struct Logger;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let said = format!("{} {}: {}", record.level(), record.target(), record.args());
        LOGGED.lock().expect("a log").push(said);
    }

    fn flush(&self) {}
}

fn logged(of: &str) -> Vec<String> {
    let logged = std::mem::take(&mut *LOGGED.lock().expect("a log"));
    logged.into_iter().filter(|line| line.contains(of)).collect()
}

#[test]
fn r09_a_host_with_a_logger_alone_hears_its_plugins_and_midflight() {
    in_child(|| {
        log::set_logger(&Logger).expect("the first logger");
        log::set_max_level(log::LevelFilter::Info);
        let place = Place::serving("");
        let told = logged(" midflight: ");
        let active = told.iter().find(|line| line.contains("active in release"));
        let active = active.unwrap_or_else(|| panic!("{told:#?}"));
        assert!(active.starts_with("INFO midflight: active in release 1"), "{active}");
        assert!(active.contains("plugin=\"speaking\""), "{active}");

        let who =
            "midflight.plugin=\"speaking\" midflight.version=\"1.0.0\" midflight.generation=1";
        let speaking = &place.speaking;
        speaking.say(3).expect("an answer");
        speaking.log(7).expect("an answer");
        speaking.whisper().expect("an answer");
        // A span is no record, and does no harm.
        speaking.within("ada").expect("an answer");
        assert_eq!(
            logged(" speaking: "),
            [
                format!("INFO speaking: said number=3 text=\"a text\" {who}"),
                format!("INFO speaking: logged number=7 text=\"a text\" list=[1, 2] {who}"),
            ]
        );
        // Another level is heard of, though not at once: nobody is told that it has changed, so
        // the host looks whenever it does something.
        log::set_max_level(log::LevelFilter::Debug);
        let deadline = Instant::now() + WITHIN;
        while !logged(" speaking: ").iter().any(|line| line.contains("whispered")) {
            assert!(Instant::now() < deadline, "not heard of");
            let _ = place.host.group("speaking").lease().map(drop);
            place.host.slots::<dyn Speaking>().expect("slots");
            speaking.whisper().expect("an answer");
            thread::yield_now();
        }
        place.end();
    });
}

/// A fault's message, place, and the function of its first frame.
fn panicked(answer: Result<(), Fault>) -> (String, bool, bool) {
    let Err(Fault::Panicked(report)) = answer else { panic!("{answer:?}") };
    let PanicReport { message, location, frames, .. } = *report;
    let function = frames.first().and_then(|frame| frame.function.clone()).unwrap_or_default();
    (message, location.contains("speaking/src/lib.rs"), function.contains("speaking"))
}

#[test]
fn r08_a_plugins_own_panic_hook_takes_neither_place_nor_frames() {
    in_child(|| {
        for config in ["# hook", ""] {
            let place =
                Place::new(|builder| builder.config("speaking", config).panic_frames_max(32));
            place.host.apply(Fixture::Speaking.path()).expect("it serves");
            let speaking = &place.speaking;
            let hooked = || speaking.hooked().expect("an answer").to_string();
            let whole = |text: &str| (text.to_owned(), true, true);
            assert_eq!(panicked(speaking.panic("first")), whole("first"));
            let own = if config.is_empty() { "" } else { "first\n" };
            assert_eq!(hooked(), own, "it is called as well");

            // One that is set later is found at the first panic that is not noted.
            speaking.hook().expect("an answer");
            assert_eq!(panicked(speaking.panic("second")).0, "second");
            assert_eq!(panicked(speaking.panic("third")), whole("third"));
            assert_eq!(hooked(), format!("{own}second\nthird\n"));
            place.end();
        }
    });
}

#[test]
fn r18_a_plugin_that_sets_a_subscriber_is_told_to_leave_it() {
    in_child(|| {
        let cure = "Midflight hands a plugin's `tracing` events and `log` records on to the host, \
                    so the plugin sets no subscriber and no logger: leave that line out, or write \
                    `try_init` and ignore its error";
        for (config, code, said) in [
            ("# subscriber", Code::StartPanicked, "SetGlobalDefaultError"),
            ("# logger", Code::StartPanicked, "the first logger: SetLoggerError(())"),
            (
                "# logger, tried",
                Code::StartFailed,
                "start says: attempted to set a logger after the logging system was already \
                 initialized",
            ),
        ] {
            let place = Place::new(|builder| builder.config("speaking", config));
            let refusal = place.host.apply(Fixture::Speaking.path()).expect_err("a refusal");
            assert_eq!(refusal.code(), code, "{refusal}");
            assert!(refusal.reason().contains(said), "{refusal}");
            assert!(refusal.reason().ends_with(cure), "{refusal}");
            place.end();
        }
    });
}

#[test]
fn u05_panics_of_calls_are_told_once_a_place_and_the_refusal_says_where() {
    let probation = Duration::from_secs(3600);
    let place = Place::new(|builder| {
        builder.probation(probation).panics_max(11).check_interval(Duration::from_millis(20))
    });
    // The first version has no probation: what it replaces is needed.
    place.host.apply(Fixture::Speaking.path()).expect("it serves");
    let applied = place.host.configure("speaking", "# another").expect("it serves");
    let generation = applied.generation;
    for _ in 0..12 {
        place.speaking.panic("out of cheese").expect_err("a panic");
    }
    let returned = place.log.wait("returned", generation);
    let EventKind::Returned { reason, .. } = &returned.kind else { panic!("{returned}") };
    let told: Vec<_> =
        place.log.seen().into_iter().filter(|event| event.kind.name() == "call_panicked").collect();
    let [first, tenth] = &*told else { panic!("{}", place.log.text()) };
    let at = location(first);
    assert_eq!(
        first.to_string(),
        format!("speaking 1.0.0 (generation {generation}): a call panicked at {at}: out of cheese")
    );
    assert_eq!(
        tenth.to_string(),
        format!(
            "speaking 1.0.0 (generation {generation}): a call panicked at {at}, 10 calls by now: \
             out of cheese"
        )
    );
    assert_eq!(
        *reason,
        format!(
            "budget_exceeded: 12 of its calls panicked on probation, and 11 may; 12 of them at \
             {at}: out of cheese"
        )
    );
    place.end();
}

fn location(event: &Event) -> String {
    let EventKind::CallPanicked { location, .. } = &event.kind else { panic!("{event}") };
    assert!(location.contains("speaking/src/lib.rs:"), "{location}");
    location.clone()
}

/// A writer that a subscriber of tests writes to.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("what is written").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Told by the thread that calls, so that the log has it in the request's span.
#[test]
fn u05_the_log_tells_of_a_panic_in_the_span_of_its_call() {
    in_child(|| {
        let written = Written::default();
        let writer = written.clone();
        tracing_subscriber::fmt()
            .without_time()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        let place = Place::serving("");
        info_span!("request", path = "/orders").in_scope(|| {
            place.speaking.panic("out of cheese").expect_err("a panic");
        });
        let written = String::from_utf8(written.0.lock().expect("text").clone()).expect("text");
        let line = written.lines().find(|line| line.contains("call_panicked")).expect("a line");
        assert!(
            line.trim_start()
                .starts_with("WARN request{path=\"/orders\"}: midflight: a call panicked at "),
            "{line}"
        );
        place.end();
    });
}

#[test]
fn u09_a_plugin_that_needs_a_runtime_is_told_where_to_get_one() {
    let place = Place::serving("");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let fault = runtime.block_on(async { place.speaking.wait().await }).expect_err("a fault");
    let fault = fault.to_string();
    let cure = "; a plugin has a tokio of its own, which is in no runtime of the host's: enter one \
                that the plugin's instance keeps, or ask a service of the host's \
                (midflight_plugin::docs::copies has both)";
    assert!(fault.contains("there is no reactor running"), "{fault}");
    assert!(fault.ends_with(cure), "{fault}");
    let told = place.log.wait_for("the panic", |event| event.kind.name() == "call_panicked");
    assert!(told.to_string().ends_with(cure), "{told}");
    place.end();
    // As the page says.
    let place = Place::serving("# runtime");
    assert_eq!(runtime.block_on(async { place.speaking.wait().await }), Ok(()));
    place.end();
}

#[test]
fn u08_releases_are_counted_by_their_switches() {
    let rig = Rig::serving(Fixture::V1);
    let group = &rig.group;
    assert_eq!(group.release_number(), 1);
    // One that nobody has asked for yet: it is bound in what serves.
    let risk = rig.host.slot::<dyn Risk>("probe").expect("a slot");
    risk.limit().expect("an answer");
    assert_eq!(group.release_number(), 1, "the same release, with a slot more");
    rig.apply(Fixture::V2);
    rig.apply(Fixture::V3);
    let active = |event: &Event| match event.kind {
        EventKind::Active { release, .. } => Some(release),
        _ => None,
    };
    let numbers: Vec<_> = rig.log.seen().iter().filter_map(active).collect();
    assert_eq!(numbers, [1, 2, 3]);
    rig.end();
}

/// std's symboliser reads the list of libraries once a process; the host reads each image.
#[test]
fn r16_frames_of_later_versions_are_named_as_well() {
    in_child(|| {
        let rig = Rig::with(|builder| builder.panic_frames_max(32));
        for fixture in [Fixture::V1, Fixture::V2, Fixture::V3].into_iter().cycle().take(9) {
            let generation = rig.apply(fixture);
            if generation > 1 {
                rig.log.wait("unmapped", generation - 1);
            }
            let fault = rig.probe.panic(0, Panic::Text).expect_err("a panic");
            let Fault::Panicked(report) = fault else { panic!("{fault}") };
            let first = &report.frames[0];
            assert_eq!(first.module, "probe", "{report:#}");
            let function = first.function.as_deref().unwrap_or_default();
            assert!(function.contains("probe::panic"), "{report:#}");
        }
        rig.end();
    });
}

#[test]
fn u14_errors_that_leave_main_say_what_to_do() {
    let home = tempfile::tempdir().expect("a directory");
    let run = home.path().join("run");
    let missing = home.path().join("plugins");
    let start = || Host::builder().run_directory(&run).plugins(&missing).start();
    let error = start().expect_err("no such directory");
    let path = missing.display();
    assert_eq!(
        format!("{error:?}"),
        format!(
            "can't watch the plugins' directory {path}: No such file or directory (os error 2); \
             create it, or give another to HostBuilder::plugins"
        )
    );
    assert_eq!(
        error.to_string(),
        format!(
            "can't watch the plugins' directory {path}; create it, or give another to \
             HostBuilder::plugins"
        )
    );
    let refusal = Place::new(|builder| builder).host.apply(&missing).expect_err("no such file");
    assert_eq!(format!("{refusal:?}"), refusal.to_string());
    assert!(refusal.to_string().contains(refusal.advice()), "{refusal}");
    let fault = Fault::NotLoaded { plugin: "fees".into() };
    assert_eq!(format!("{fault:?}"), "plugin `fees` is not loaded");
    let error = CallError::<String>::Fault(fault);
    assert_eq!(format!("{error:?}"), "plugin `fees` is not loaded");
}
