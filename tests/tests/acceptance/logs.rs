//! Logs: what a plugin says is heard in the host's subscriber, under its own target, and says who
//! spoke.

use keeping_contracts::{Clerk, Keeping};
use midflight::{Applied, Host, Publish, Refusal};
use midflight_tests::Log;
use midflight_tests::{Fixture, Ledger, Rig, WITHIN, in_child};
use nasty_contracts::{Ledger as LedgerContract, Nasty};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// Keeps what plugins say.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    events: Vec<BTreeMap<String, String>>,
    callsites: usize,
}

impl Ear {
    fn take(&self) -> Vec<BTreeMap<String, String>> {
        std::mem::take(&mut self.0.lock().expect("an ear").events)
    }
}

impl<S: Subscriber> Layer<S> for Ear {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.lock().expect("an ear").callsites +=
            usize::from(metadata.target().starts_with("nasty"));
        Interest::sometimes()
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("nasty") {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.lock().expect("an ear").events.push(fields.0);
        }
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), format!("{value} as a u64"));
    }
}

#[test]
fn a_plugins_events_reach_the_hosts_subscriber() {
    in_child(|| {
        let ear = Ear::default();
        let (filter, filters) = reload::Layer::<_, Registry>::new(EnvFilter::new("off"));
        tracing_subscriber::registry().with(filter).with(ear.clone()).init();
        let service = Arc::new(Ledger::default());
        let rig = Rig::with(|builder| {
            let builder = builder.provide::<dyn LedgerContract, _>(Arc::clone(&service));
            // Threads of the nasty plugin may outlive the next update.
            builder.contract::<dyn Nasty>().generations_max(64)
        });
        let nasty = rig.host.slot::<dyn Nasty>("nasty").expect("a slot");
        service.call_back_through(nasty.clone());
        rig.apply(Fixture::Nasty);
        nasty.heavy(5).expect("an answer");
        assert_eq!(ear.take(), [], "nobody listens");

        // Plugins that are loaded hear of other filters, though not at once.
        filters.modify(|filter| *filter = EnvFilter::new("nasty=info")).expect("other filters");
        let deadline = Instant::now() + WITHIN;
        let heard = loop {
            nasty.heavy(7).expect("an answer");
            if let Some(heard) = ear.take().pop() {
                break heard;
            }
            assert!(Instant::now() < deadline, "the plugin is not heard");
            thread::yield_now();
        };
        let field = |name: &str| heard.get(name).map(String::as_str);
        assert_eq!(field("message"), Some("everything in one call"));
        assert_eq!(field("number"), Some("7 as a u64"), "typed");
        assert_eq!(field("midflight.plugin"), Some("\"nasty\""));
        assert_eq!(field("midflight.version"), Some("\"1.0.0\""));
        assert_eq!(field("midflight.generation"), Some("1 as a u64"));
        assert!(field("code.file").is_some_and(|file| file.ends_with("src/lib.rs\"")), "{heard:?}");

        let callsites = || ear.0.lock().expect("an ear").callsites;
        let before = callsites();
        for generation in 2..8 {
            rig.apply(if generation % 2 == 0 { Fixture::NastyV2 } else { Fixture::Nasty });
            nasty.heavy(1).expect("an answer");
            let heard = ear.take();
            let from: Vec<_> =
                heard.iter().map(|event| event["midflight.generation"].as_str()).collect();
            assert_eq!(from, [format!("{generation} as a u64")]);
        }
        assert_eq!(callsites(), before, "reloads add no callsite");
        rig.host.shutdown(WITHIN);
    });
}

/// A generation that is on standby, or waits for a switch point, has ears as well.
#[test]
fn h02_what_may_serve_later_hears_of_other_filters_too() {
    in_child(|| {
        let ear = Ear::default();
        let (filter, filters) = reload::Layer::<_, Registry>::new(EnvFilter::new("off"));
        tracing_subscriber::registry().with(filter).with(ear.clone()).init();
        let service = Arc::new(Ledger::default());
        let rig = Rig::with(|builder| {
            let builder = builder.provide::<dyn LedgerContract, _>(Arc::clone(&service));
            let builder = builder.contract::<dyn Nasty>().publish(Publish::Manual);
            builder.probation(Duration::from_secs(3600)).generations_max(64)
        });
        let nasty = rig.host.slot::<dyn Nasty>("nasty").expect("a slot");
        service.call_back_through(nasty.clone());
        let prepare = |fixture: Fixture, generation: u64| {
            let host = rig.host.clone();
            let applied = thread::spawn(move || host.apply(fixture.path()));
            rig.log.wait("prepared", generation);
            applied
        };
        let switch = |applied: JoinHandle<Result<Applied, Refusal>>| {
            assert_eq!(rig.host.switch_point().expect("a switch"), 1);
            applied.join().expect("no panic").expect("switched in");
        };
        let set = |to: &str| {
            filters.modify(|filter| *filter = EnvFilter::new(to)).expect("other filters");
        };
        // Plugins are told of a change a moment after it.
        let until = |generation: u64, is_heard: bool| {
            let deadline = Instant::now() + WITHIN;
            loop {
                ear.take();
                nasty.heavy(7).expect("an answer");
                let heard = ear.take().pop();
                match &heard {
                    Some(heard) if is_heard => {
                        let number = format!("{generation} as a u64");
                        return assert_eq!(heard["midflight.generation"], number);
                    }
                    None if !is_heard => return,
                    _ => assert!(Instant::now() < deadline, "generation {generation}: {heard:?}"),
                }
                thread::yield_now();
            }
        };
        switch(prepare(Fixture::Nasty, 1));
        switch(prepare(Fixture::NastyV2, 2));
        set("nasty=info");
        until(2, true);
        rig.host.rollback("nasty").expect("a way back");
        until(1, true);
        let third = prepare(Fixture::NastyV2, 3);
        set("off");
        until(1, false);
        switch(third);
        until(3, false);
        rig.host.shutdown(WITHIN);
    });
}

/// Of what is linked in, the events are the host's own: nothing hands them on, and nothing says
/// whose they are.
#[test]
fn the_events_of_what_is_linked_in_are_the_hosts() {
    in_child(|| {
        let ear = Ear::default();
        tracing_subscriber::registry().with(ear.clone()).init();
        let host = midflight::Host::builder().link::<Speaker>("speaker").start().expect("a host");
        assert_eq!(host.slot::<dyn Speaks>("speaker").expect("a slot").speak(7), Ok(()));
        let heard: Vec<BTreeMap<_, _>> = ear.take();
        let [event] = heard.as_slice() else { panic!("{heard:?}") };
        let field = |name: &str| event.get(name).map(String::as_str);
        assert_eq!((field("message"), field("number")), (Some("linked in"), Some("7 as a u64")));
        assert_eq!(field("midflight.plugin"), None);
    });
}

#[midflight_plugin::contract]
trait Speaks {
    fn speak(&self, number: u64);
}

#[midflight_plugin::plugin(implements(Speaks))]
struct Speaker;

impl midflight_plugin::Plugin for Speaker {
    fn start(_: &midflight_plugin::Context<'_>) -> Result<Self, midflight_plugin::StartError> {
        Ok(Speaker)
    }
}

impl Speaks for Speaker {
    fn speak(&self, number: u64) {
        tracing::info!(target: "nasty", number, "linked in");
    }
}

/// Counts the spans of `keeping` that are open, and keeps in which spans events are.
#[derive(Clone, Default)]
struct Scopes(Arc<Mutex<(usize, Vec<Within>)>>);

/// The spans that an event was in.
type Within = Vec<&'static str>;

impl Scopes {
    /// What there is open, and in which spans the events were.
    fn take(&self) -> (usize, Vec<Vec<&'static str>>) {
        let mut scopes = self.0.lock().expect("scopes");
        (scopes.0, std::mem::take(&mut scopes.1))
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Scopes {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let is_its = attributes.metadata().target().starts_with("keeping");
        self.0.lock().expect("scopes").0 += usize::from(is_its);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let metadata = context.metadata(&id).expect("it is there");
        let is_its = metadata.target().starts_with("keeping");
        self.0.lock().expect("scopes").0 -= usize::from(is_its);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if ["keeping", "host"].contains(&event.metadata().target()) {
            let scope = context.event_scope(event).into_iter().flatten();
            let scope = scope.map(|span| span.name()).collect();
            self.0.lock().expect("scopes").1.push(scope);
        }
    }
}

struct NoClerk;

impl Clerk for NoClerk {
    fn sum(&self) -> i64 {
        0
    }

    fn leave(&self, _: &str) {}
}

#[test]
fn j14_spans_that_a_plugin_forgets_end_with_its_calls_and_with_it() {
    in_child(|| {
        let scopes = Scopes::default();
        tracing_subscriber::registry().with(scopes.clone()).init();
        let home = tempfile::tempdir().expect("a directory");
        let builder = Host::builder().provide::<dyn Clerk, _>(Arc::new(NoClerk));
        let host = builder.run_directory(home.path()).start().expect("a host");
        let (log, slot) = (Log::of(&host), host.slot::<dyn Keeping>("keeping").expect("a slot"));
        host.apply(Fixture::Keeping.path()).expect("applied");
        let say = || drop(slot.err("something", 1).expect("an answer"));

        // Within the call it is in them; the next call on the thread is not.
        slot.err("forget an entered span", 3).expect("an answer");
        say();
        let no_scope: [&str; 0] = [];
        assert_eq!(scopes.take(), (3, vec![no_scope.to_vec()]));

        // Nor is a thread that gets the place of one that has ended in them.
        for _ in 0..3 {
            let ended = thread::scope(|scope| {
                scope
                    .spawn(|| {
                        tracing::info!(target: "host", "at the beginning");
                        drop(slot.err("forget an entered span", 2));
                    })
                    .join()
            });
            ended.expect("no panic");
        }
        assert_eq!(scopes.take(), (9, vec![no_scope.to_vec(); 3]));

        slot.err("forget a span", 1_000).expect("an answer");
        assert_eq!(scopes.take().0, 1_009, "until it goes");
        slot.err("forget an entered span", 1).expect("an answer");
        host.apply(Fixture::KeepingV2.path()).expect("applied");
        log.wait("unmapped", 1);
        say();
        tracing::info!(target: "host", "after it");
        assert_eq!(scopes.take(), (0, vec![no_scope.to_vec(); 2]));
        host.shutdown(WITHIN);
    });
}
