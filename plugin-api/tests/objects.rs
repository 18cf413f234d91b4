//! Objects and callbacks through generated code, with no library in between: who holds whom, and
//! who drops what.

// The gate of the test holds what it enters by owning it.
#![allow(unsafe_code, missing_docs)]

use abi::abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals};
use midflight_plugin::rt::{Bound, Gate, Hold, Holding, Origin, RawService, table_layout};
use midflight_plugin::{CallError, Callback, Fault, ImplementedBy, Object, TextSink, contract};
use std::fmt::Write as _;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

midflight_plugin::contract_crate!();

#[contract]
pub trait Session {
    fn name(&self) -> String;
    fn lent(&self, text: &str, list: &[u64], _: u8) -> u64;
    fn write(&self, out: TextSink<'_>);
    fn child(&self, name: &str) -> Box<dyn Session>;
    fn parent(&self, name: &str) -> Result<Box<dyn Session>, String>;
    fn panics(&self);
    #[deprecated]
    fn old(&self);
    #[since("1.1")]
    fn later(&self) -> Option<Box<dyn Session>>;
}

#[contract]
pub trait Gateway {
    fn open(&self, name: &str) -> Box<dyn Session>;
    fn find(&self, name: &str) -> Option<Box<dyn Session>>;
    fn check(&self, name: &str) -> Result<Box<dyn Session>, String>;
    fn look(&self, name: &str) -> Result<Option<Box<dyn Session>>, String>;
    fn panics(&self) -> Box<dyn Session>;
    fn subscribe(&self, one: Callback<dyn Listener>, more: Vec<Callback<dyn Listener>>) -> u64;
    fn first(&self) -> Option<Callback<dyn Listener>>;
    fn pair(
        &self,
        pair: (u8, Option<Callback<dyn Listener>>),
    ) -> Result<Callback<dyn Listener>, u8>;
}

#[contract]
pub trait Listener {
    fn tick(&self, number: u64) -> u64;
    fn refused(&self) -> Result<u64, String>;
    fn panics(&self);
    #[since("1.1")]
    fn twice(&self, number: u64) -> u64 {
        self.tick(self.tick(number))
    }
}

/// What happened, in order.
#[derive(Default)]
struct Story(Mutex<Vec<String>>);
impl Story {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
    #[track_caller]
    fn is(&self, lines: &[&str]) {
        assert_eq!(std::mem::take(&mut *self.0.lock().unwrap()), lines);
    }
}

struct Open {
    name: String,
    story: Arc<Story>,
}
impl Session for Open {
    fn name(&self) -> String {
        self.name.clone()
    }
    fn lent(&self, text: &str, list: &[u64], other: u8) -> u64 {
        text.len() as u64 + list.iter().sum::<u64>() + u64::from(other)
    }
    fn write(&self, mut out: TextSink<'_>) {
        write!(out, "{} writes", self.name).unwrap();
    }
    fn child(&self, name: &str) -> Box<dyn Session> {
        Box::new(Open {
            name: format!("{} of {}", name, self.name),
            story: Arc::clone(&self.story),
        })
    }
    fn parent(&self, name: &str) -> Result<Box<dyn Session>, String> {
        Err(format!("{name} is no parent"))
    }
    fn panics(&self) {
        panic!("{} panics", self.name);
    }
    fn old(&self) {}
    fn later(&self) -> Option<Box<dyn Session>> {
        Some(self.child("later"))
    }
}
impl Drop for Open {
    fn drop(&mut self) {
        self.story.add(format!("{} dropped", self.name));
        assert!(!self.name.starts_with("bad"), "{} panics in its drop", self.name);
    }
}

#[derive(Default)]
struct Simple {
    story: Arc<Story>,
    left: Mutex<Vec<Callback<dyn Listener>>>,
}
impl Gateway for Simple {
    fn open(&self, name: &str) -> Box<dyn Session> {
        Box::new(Open { name: name.to_owned(), story: Arc::clone(&self.story) })
    }
    fn find(&self, name: &str) -> Option<Box<dyn Session>> {
        (!name.is_empty()).then(|| self.open(name))
    }
    fn check(&self, name: &str) -> Result<Box<dyn Session>, String> {
        self.find(name).ok_or_else(|| "no name".to_owned())
    }
    fn look(&self, name: &str) -> Result<Option<Box<dyn Session>>, String> {
        if name == "?" { Err("no such name".to_owned()) } else { Ok(self.find(name)) }
    }
    fn panics(&self) -> Box<dyn Session> {
        panic!("no session");
    }
    fn subscribe(&self, one: Callback<dyn Listener>, more: Vec<Callback<dyn Listener>>) -> u64 {
        let mut left = self.left.lock().unwrap();
        left.push(one);
        left.extend(more);
        left.iter().map(|listener| listener.tick(1).unwrap()).sum()
    }
    fn first(&self) -> Option<Callback<dyn Listener>> {
        self.left.lock().unwrap().first().cloned()
    }
    fn pair(
        &self,
        pair: (u8, Option<Callback<dyn Listener>>),
    ) -> Result<Callback<dyn Listener>, u8> {
        pair.1.ok_or(pair.0)
    }
}

struct Adds {
    number: u64,
    story: Arc<Story>,
}
impl Listener for Adds {
    fn tick(&self, number: u64) -> u64 {
        self.number + number
    }
    fn refused(&self) -> Result<u64, String> {
        Err("refused".to_owned())
    }
    fn panics(&self) {
        panic!("a listener panics");
    }
}
impl Drop for Adds {
    fn drop(&mut self) {
        self.story.add(format!("listener {} dropped", self.number));
    }
}

/// It counts what is held of it, and tells what runs within.
#[derive(Clone)]
struct Own(Arc<Owned>);
struct Owned {
    bound: Bound,
    story: Arc<Story>,
    held: AtomicUsize,
    _object: Box<dyn std::any::Any + Send + Sync>,
    _origin: Box<Origin>,
}

impl Own {
    fn of<C: ImplementedBy<T> + ?Sized, T: Send + Sync + 'static>(
        object: T,
        story: &Arc<Story>,
    ) -> (C::Proxy<Own>, Own) {
        midflight_plugin::rt::use_host_panics();
        let object = Box::new(object);
        let origin = Box::new(Origin::new("here", "1.0.0", 3));
        let service = RawService::of::<C, T>(&object);
        let bound = Bound { this: service.this, table: service.table, origin: &raw const *origin };
        let own = Own(Arc::new(Owned {
            bound,
            story: Arc::clone(story),
            held: AtomicUsize::new(0),
            _object: object,
            _origin: origin,
        }));
        // SAFETY: what it enters is bound to an object of `C`.
        (unsafe { C::proxy(own.clone()) }, own)
    }

    fn held(&self) -> usize {
        self.0.held.load(SeqCst)
    }
}

struct Share(Own);
impl Drop for Share {
    fn drop(&mut self) {
        self.0.0.held.fetch_sub(1, SeqCst);
    }
}

// SAFETY: it owns what it enters.
unsafe impl Gate for Own {
    fn enter<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        f(&self.0.bound)
    }
}
// SAFETY: as above.
unsafe impl Holding for Own {
    type Held = Share;
    fn hold<R, E: From<Fault>>(
        &self,
        _: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, Share), E> {
        self.0.held.fetch_add(1, SeqCst);
        let share = Share(self.clone());
        f(&self.0.bound).map(|answer| (answer, share))
    }
}
// SAFETY: as above.
unsafe impl Hold for Share {
    fn bound(&self) -> &Bound {
        &self.0.0.bound
    }
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        assert_ne!(self.0.held(), 0, "held while it is dropped");
        self.0.0.story.add("within");
        let answer = f();
        self.0.0.story.add("without");
        answer
    }
    fn enter<R, E: From<Fault>>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        match self.0.0.story.0.lock().unwrap().pop_if(|line| line == "refuse") {
            Some(_) => Err(Fault::NestedTooDeep { bound: 7 }.into()),
            None => f(),
        }
    }
    fn lost(&self, fault: Fault) {
        self.0.0.story.add(format!("lost: {fault}"));
    }
}

fn gateway() -> (GatewayCalls<Own>, Own, Arc<Story>) {
    let story = Arc::new(Story::default());
    let simple = Simple { story: Arc::clone(&story), left: Mutex::default() };
    let (calls, own) = Own::of::<dyn Gateway, Simple>(simple, &story);
    (calls, own, story)
}

#[test]
fn an_object_answers_and_is_dropped_within_what_it_holds() {
    let (gateway, own, story) = gateway();
    let session: Object<dyn Session> = gateway.open("ann").unwrap();
    assert_eq!((session.name(), own.held()), (Ok("ann".to_owned()), 1));
    assert_eq!(session.lent("four", &[1, 2], 3), Ok(10));
    let mut text = String::new();
    session.write(&mut text).unwrap();
    assert_eq!(text, "ann writes");
    let other = session.clone();
    drop(session);
    story.is(&[]);
    assert_eq!(
        format!("{other:?} {}", other.name().unwrap()),
        "Object(midflight-plugin::Session) ann"
    );
    std::thread::spawn(move || drop(other)).join().unwrap();
    story.is(&["within", "ann dropped", "without"]);
    assert_eq!(own.held(), 0);
}

#[test]
fn objects_in_options_and_results() {
    let (gateway, own, story) = gateway();
    assert!(gateway.find("").unwrap().is_none());
    assert_eq!(gateway.check("").map(drop), Err(CallError::Declined("no name".to_owned())));
    assert_eq!(gateway.look("?").map(drop), Err(CallError::Declined("no such name".to_owned())));
    assert!(gateway.look("").unwrap().is_none());
    assert_eq!(own.held(), 0, "nothing came, so nothing is held");
    let all = [
        gateway.find("a").unwrap().unwrap(),
        gateway.check("b").unwrap(),
        gateway.look("c").unwrap().unwrap(),
    ];
    assert_eq!(all.each_ref().map(|session| session.name().unwrap()), ["a", "b", "c"]);
    assert_eq!(own.held(), 3);
    drop(all);
    assert_eq!(own.held(), 0);
    story.is(&[
        "within",
        "a dropped",
        "without",
        "within",
        "b dropped",
        "without",
        "within",
        "c dropped",
        "without",
    ]);
}

#[test]
fn an_object_of_an_object_holds_both() {
    let (gateway, own, story) = gateway();
    let session = gateway.open("ann").unwrap();
    let child = session.child("kid").unwrap();
    let later = child.later().unwrap().unwrap();
    assert_eq!(
        session.parent("kid").map(drop),
        Err(CallError::Declined("kid is no parent".to_owned()))
    );
    drop((session, child));
    story.is(&[]);
    assert_eq!((later.name().unwrap().as_str(), own.held()), ("later of kid of ann", 1));
    drop(later);
    assert_eq!(own.held(), 0);
    let lines = std::mem::take(&mut *story.0.lock().unwrap());
    let dropped: Vec<_> = lines.iter().filter(|line| line.ends_with("dropped")).collect();
    assert_eq!(
        dropped,
        ["later of kid of ann dropped", "kid of ann dropped", "ann dropped"],
        "{lines:?}"
    );
}

#[test]
fn panics_of_objects() {
    let (gateway, own, story) = gateway();
    let Err(Fault::Panicked(report)) = gateway.panics().map(drop) else { panic!("a fault") };
    assert_eq!(report.to_string(), "plugin `here` 1.0.0 (generation 3) panicked: no session");
    let session = gateway.open("bad one").unwrap();
    let Err(Fault::Panicked(report)) = session.panics() else { panic!("a fault") };
    assert_eq!((report.message.as_str(), report.generation), ("bad one panics", 3));
    drop(session);
    let lost = "lost: plugin `here` 1.0.0 (generation 3) panicked: bad one panics in its drop";
    story.is(&["within", "bad one dropped", lost, "without"]);
    assert_eq!(own.held(), 0);
}

#[test]
fn what_is_held_can_refuse_a_call_but_no_drop() {
    let (gateway, own, story) = gateway();
    let session = gateway.open("ann").unwrap();
    for call in
        [&|| session.name().map(drop) as Result<(), Fault>, &|| session.child("kid").map(drop)]
            as [&dyn Fn() -> Result<(), Fault>; 2]
    {
        story.add("refuse");
        assert_eq!(call(), Err(Fault::NestedTooDeep { bound: 7 }));
    }
    drop(session);
    story.is(&["within", "ann dropped", "without"]);
    assert_eq!(own.held(), 0);
}

#[test]
fn an_object_that_is_forgotten_holds_for_good() {
    let (gateway, own, story) = gateway();
    std::mem::forget(gateway.open("ann").unwrap());
    story.is(&[]);
    assert_eq!(own.held(), 1);
}

#[test]
fn a_callback_answers_until_its_last_handle_is_dropped() {
    let (gateway, _, story) = gateway();
    let listener =
        |number| Callback::<dyn Listener>::new(Adds { number, story: Arc::clone(&story) });
    let own = listener(10);
    assert_eq!(own.tick(1), Ok(11), "where it was made, too");
    assert_eq!(own.twice(1), Ok(21));
    assert_eq!(own.refused(), Err(CallError::Declined("refused".to_owned())));
    let Err(Fault::Panicked(report)) = own.panics() else { panic!("a fault") };
    assert_eq!(
        report.to_string(),
        "service `midflight-plugin::Listener` panicked: a listener panics"
    );

    assert_eq!(gateway.subscribe(own.clone(), vec![listener(20), listener(30)]), Ok(63));
    let first = gateway.first().unwrap().unwrap();
    drop((own, gateway));
    story.is(&["listener 20 dropped", "listener 30 dropped"]);
    let first = std::thread::spawn(move || {
        assert_eq!(first.tick(5), Ok(15));
        first
    });
    drop(first.join().unwrap());
    story.is(&["listener 10 dropped"]);
}

#[test]
fn callbacks_in_tuples_options_and_results() {
    let (gateway, _, story) = gateway();
    let listener = Callback::<dyn Listener>::new(Adds { number: 1, story: Arc::clone(&story) });
    assert_eq!(gateway.pair((9, None)).map(drop), Err(CallError::Declined(9)));
    let back = gateway.pair((9, Some(listener))).unwrap();
    assert_eq!(back.tick(1), Ok(2));
    drop(back);
    story.is(&["listener 1 dropped"]);
}

#[test]
fn both_are_handles_for_any_thread() {
    fn any<T: Send + Sync + Clone + 'static>() {}
    any::<Object<dyn Session>>();
    any::<Callback<dyn Listener>>();
    // A contract that answers with itself can be compared.
    // SAFETY: it is compared.
    let layout = unsafe { table_layout::<dyn Session>().get() };
    check_layout_compatibility_with_globals(layout, layout, &CheckingGlobals::new()).unwrap();
}
