use super::*;
use crate::command::Commands;
use crate::runtime::{Owner, Surroundings};
use crate::settings::Bounds;
use crate::shared::{Checks, Shared};
use midflight_plugin::rt::{Exported, Linked, OfferOf, StateOf};
use midflight_plugin::{Attached, AttachedError, Context, Plugin, StartError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::sync::{Barrier, Weak};

/// A plugin that asks for one field.
struct Asks<T>(Attached<T>);

impl<T: Serialize + DeserializeOwned + 'static> Plugin for Asks<T> {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(Asks(cx.attached(cx.config_text())))
    }
}

// SAFETY: it offers nothing and has no state.
unsafe impl<T: Serialize + DeserializeOwned + 'static> Exported for Asks<T> {
    const OFFERS: &'static [OfferOf<Self>] = &[];
    const CONTRACTS: &'static [(&'static str, &'static str)] = &[];
    const GROUP: &'static str = "";
    const STATE: Option<&'static StateOf<Self>> = None;
    const VERSION: &'static str = "1.0.0";
}

/// What a generation of a host's has, for as long as it is there.
struct Generation<T> {
    field: Attached<T>,
    _owner: Arc<Owner>,
}

impl<T: Serialize + DeserializeOwned + 'static> Generation<T> {
    fn of(host: &Arc<Shared>, name: &str) -> Self {
        let host = Arc::downgrade(host) as Weak<dyn Surroundings>;
        let owner = Owner::new(7, "risk".into(), "1.0.0".into(), Arc::from([]), 0, Some(host));
        let linked = Linked::of::<Asks<T>>();
        // SAFETY: a table of the host's own, which the test keeps.
        let this = unsafe { (linked.start)(owner.table(), "risk", name) }.unwrap();
        // SAFETY: from this very start, and stopped once.
        let field = unsafe {
            let field = (*this.cast::<Asks<T>>()).0.clone();
            (linked.stop)(this);
            field
        };
        Generation { field, _owner: owner }
    }
}

impl<T> Deref for Generation<T> {
    type Target = Attached<T>;
    fn deref(&self) -> &Attached<T> {
        &self.field
    }
}

fn host() -> Arc<Shared> {
    Arc::new(Shared::new(Bounds::default(), Checks::default(), Commands::queue().0))
}

#[test]
fn what_one_generation_attaches_the_next_one_finds_and_the_objects_end_frees() {
    let host = host();
    let data = host.attached.clone();
    let old = Generation::<(u64, String)>::of(&host, "risk");
    assert_eq!(old.get(7), Ok(None));
    assert_eq!(old.get_or_insert_with(7, || (1, "made".into())), Ok((1, "made".into())));
    assert_eq!(old.get_or_insert_with(7, || unreachable!("it is there")), Ok((1, "made".into())));
    let note = Generation::<bool>::of(&host, "note");
    assert_eq!(note.get_or_insert_with(7, || true), Ok(true));
    assert_eq!(note.get_or_insert_with(8, || false), Ok(false));
    drop(old);

    let new = Generation::<(u64, String)>::of(&host, "risk");
    assert_eq!(new.update(7, |value| std::mem::replace(&mut value.0, 2)), Ok(Some(1)));
    assert_eq!(new.get(7), Ok(Some((2, "made".into()))));
    assert_eq!(new.update(9, |_| unreachable!("there is none")), Ok(None::<()>));
    // 1 of the number, 5 of the text, 1 of each note.
    assert_eq!(
        (data.len(), data.bytes(), data.names()),
        (3, 8, vec!["note".into(), "risk".into()])
    );

    assert_eq!((data.forget(7), data.forget(7)), (2, 0));
    assert_eq!((new.get(7), note.get(7), note.get(8)), (Ok(None), Ok(None), Ok(Some(false))));
    assert_eq!((data.len(), data.bytes()), (1, 1));
    assert_eq!((note.detach(8), note.detach(8)), (true, false));
    assert!(data.is_empty());
    assert_eq!((data.bytes(), data.names().len()), (0, 2));
}

#[test]
fn two_hosts_share_nothing_and_a_hosts_end_takes_nothing_from_those_that_still_run() {
    let [one, other] = [host(), host()];
    let [here, there] = [&one, &other].map(|host| Generation::<u64>::of(host, "risk"));
    assert_eq!(here.get_or_insert_with(1, || 5), Ok(5));
    assert_eq!(there.get(1), Ok(None));
    drop(one);
    assert_eq!(here.update(1, |value| *value += 1), Ok(Some(())));
    assert_eq!(here.get(1), Ok(Some(6)));
    assert_eq!(Generation::<u64>::of(&other, "risk").get(1), Ok(None));
}

#[test]
fn a_value_that_is_of_another_type_is_an_error_that_names_it() {
    let host = host();
    let data = host.attached.clone();
    let (text, number) =
        (Generation::<String>::of(&host, "risk"), Generation::<u8>::of(&host, "risk"));
    let _ = text.get_or_insert_with(7, || "three".into());
    let reasons = [
        number.get(7).unwrap_err(),
        number.get_or_insert_with(7, || unreachable!("it is there")).unwrap_err(),
        number.update(7, |_| unreachable!("it can't be read")).unwrap_err(),
    ];
    for reason in reasons {
        assert!(matches!(reason, AttachedError::Unreadable(_)));
        let expected = "`risk` of the object 7 can't be read: 5 bytes are left over: they are of another schema";
        assert_eq!(reason.to_string(), expected);
    }
    assert_eq!(text.get(7), Ok(Some("three".into())), "as it was");
    assert!(number.detach(7));
    assert_eq!((number.get_or_insert_with(7, || 3), data.bytes()), (Ok(3), 1));
}

/// All of them make one before any can put it there.
#[test]
fn a_value_is_made_once_however_many_race_to_make_it() {
    const THREADS: usize = 4;
    let host = host();
    let field = Generation::<usize>::of(&host, "risk");
    let (made, race) = (AtomicUsize::new(0), Barrier::new(THREADS));
    let make = || {
        race.wait();
        made.fetch_add(1, SeqCst)
    };
    for object in 0..100 {
        let got: Vec<usize> = std::thread::scope(|scope| {
            let racing =
                [(); THREADS].map(|()| scope.spawn(|| field.get_or_insert_with(object, make)));
            racing.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
        });
        assert!(got.iter().all(|value| *value == got[0]), "{got:?}");
        assert_eq!(field.get(object), Ok(Some(got[0])));
    }
    assert_eq!((made.load(SeqCst), host.attached.len()), (400, 100));
}

/// All of them have read before any can put back what it made of it.
#[test]
fn no_change_is_lost_between_threads_and_generations() {
    const CHANGES: usize = 200;
    let host = host();
    let generations = [0, 1, 2].map(|_| Generation::<usize>::of(&host, "risk"));
    generations[0].get_or_insert_with(7, || 0).unwrap();
    let (ran, race) = (AtomicUsize::new(0), Barrier::new(generations.len()));
    let change = |field: &Attached<usize>| {
        let mut is_first = true;
        field.update(7, |value| {
            ran.fetch_add(1, SeqCst);
            if std::mem::take(&mut is_first) {
                race.wait();
            }
            *value += 1;
        })
    };
    std::thread::scope(|scope| {
        for field in &generations {
            let change = &change;
            scope.spawn(move || assert!((0..CHANGES).all(|_| change(field) == Ok(Some(())))));
        }
    });
    assert_eq!(generations[1].get(7), Ok(Some(3 * CHANGES)));
    assert!(ran.load(SeqCst) >= 5 * CHANGES, "two of three run again each time");
}

/// A value that was taken away and made anew is another one, even if it is the same bytes.
#[test]
fn a_change_of_a_value_that_was_made_anew_meanwhile_runs_again() {
    let host = host();
    let field = Generation::<u64>::of(&host, "risk");
    field.get_or_insert_with(7, || 1).unwrap();
    let mut seen = Vec::new();
    let answer = field.update(7, |value| {
        seen.push(*value);
        if seen.len() == 1 {
            // By another thread: what it writes itself, it would write each time.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert_eq!(host.attached.forget(7), 1);
                    field.get_or_insert_with(7, || 1).unwrap();
                });
            });
        }
        *value += 10;
    });
    assert_eq!((answer, seen, field.get(7)), (Ok(Some(())), vec![1, 1], Ok(Some(11))));

    // Nor is one that was forgotten brought back.
    let answer = field.update(7, |value| {
        host.attached.forget(7);
        *value += 10;
    });
    assert_eq!((answer, field.get(7)), (Ok(None), Ok(None)));
}

#[test]
fn a_panic_in_a_change_leaves_the_value_and_the_field() {
    let host = host();
    let field = Generation::<u64>::of(&host, "risk");
    field.get_or_insert_with(7, || 1).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        field.update(7, |value| {
            *value = 2;
            std::panic::resume_unwind(Box::new("halfway"));
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(field.update(7, |value| *value += 10), Ok(Some(())));
    assert_eq!(field.get(7), Ok(Some(11)));
}

#[test]
fn j11_an_update_within_an_update_of_one_value_says_so_and_returns() {
    let host = host();
    // The same field, by another generation's code: two plugins can ask for one name.
    let (outer, inner) =
        (Generation::<u64>::of(&host, "visits"), Generation::<u64>::of(&host, "visits"));
    assert_eq!(outer.get_or_insert_with(7, || 1), Ok(1));
    let mut ran = 0;
    let within = outer.update(7, |value| {
        ran += 1;
        *value += 100;
        assert_eq!(inner.get(7), Ok(Some(1)), "what it reads is as it was");
        inner.update(7, |value| *value += 1)
    });
    let error = within.unwrap_err();
    assert!(matches!(&error, AttachedError::Nested(about) if about.object == 7), "{error:?}");
    let told = "`visits` of the object 7 is not updated: `change` wrote it, itself or by what it \
                called";
    assert_eq!((error.to_string().as_str(), ran), (told, 1));
    assert_eq!(inner.get(7), Ok(Some(2)), "what was written within is there");

    // Taken away and made anew within.
    let within = outer.update(7, |_| {
        inner.detach(7);
        inner.get_or_insert_with(7, || 5)
    });
    assert!(matches!(within, Err(AttachedError::Nested(_))), "{within:?}");
    // Another object, and one after the other, as ever.
    assert_eq!(inner.get_or_insert_with(8, || 0), Ok(0));
    let both = outer.update(7, |value| inner.update(8, |other| *other = std::mem::take(value)));
    assert_eq!(both, Ok(Some(Ok(Some(())))));
    assert_eq!((outer.get(7), outer.get(8)), (Ok(Some(0)), Ok(Some(5))));
}

#[test]
fn j11_an_update_that_waits_for_a_thread_which_updates_returns() {
    let host = host();
    let (outer, inner) =
        (Generation::<u64>::of(&host, "visits"), Generation::<u64>::of(&host, "visits"));
    assert_eq!(outer.get_or_insert_with(7, || 0), Ok(0));
    let (asks, asked) = channel::<std::sync::mpsc::SyncSender<()>>();
    let within = std::thread::scope(|scope| {
        scope.spawn(move || {
            asked.iter().for_each(|reply| {
                assert_eq!(inner.update(7, |value| *value += 1), Ok(Some(())));
                reply.send(()).expect("somebody waits");
            });
        });
        let within = outer.update(7, |value| {
            let (reply, done) = std::sync::mpsc::sync_channel(1);
            asks.send(reply).expect("a thread");
            done.recv().expect("an update");
            *value = 0;
        });
        drop(asks);
        within
    });
    assert!(matches!(&within, Err(AttachedError::Contended(_))), "{within:?}");
    assert_eq!(outer.get(7), Ok(Some(10_000)), "none of the others is lost");
}
