//! What safe code can try with the values that cross and with the handles that it gets.
#![forbid(unsafe_code)]

use midflight_plugin::{Callback, List, Map, Maybe, Sink, Text, TextSink, contract};
use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Counts itself, and breaks when it is told to.
#[derive(Debug)]
struct Brittle {
    alive: Rc<Cell<i64>>,
    breaks: bool,
}
impl Brittle {
    fn new(alive: &Rc<Cell<i64>>, breaks: bool) -> Self {
        alive.set(alive.get() + 1);
        Brittle { alive: alive.clone(), breaks }
    }
}
impl Drop for Brittle {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
        assert!(!self.breaks, "it breaks");
    }
}

#[test]
fn s25_elements_that_break_while_they_are_dropped_are_dropped_once() {
    let attempts: [fn(&mut List<Brittle>); 8] = [
        |list| list.clear(),
        |list| list.truncate(2),
        |list| drop(list.drain(1..5)),
        |list| list.retain(|element| element.breaks),
        |list| drop(std::mem::take(list).into_iter().nth(3)),
        |list| drop(std::mem::take(list).into_iter().next_back()),
        |list| drop(std::mem::take(list).into_vec()),
        |list| list.retain(|_| panic!("in the author's own closure")),
    ];
    for attempt in attempts {
        let alive = Rc::new(Cell::new(0));
        let mut list: List<_> = (0..6).map(|at| Brittle::new(&alive, at == 2)).collect();
        let _ = catch_unwind(AssertUnwindSafe(|| attempt(&mut list)));
        let left = list.len();
        assert!(left <= 6 && list.iter().count() == left);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(list)));
        assert_eq!(alive.get(), 0, "each once");
    }
}

#[test]
fn s25_two_guards_that_change_places_leave_two_lists() {
    let (mut one, mut other) = (List::from([1, 2, 3]), List::from(vec![7; 100]));
    {
        let (mut first, mut second) = (one.edit(), other.edit());
        std::mem::swap(&mut *first, &mut *second);
        second.push(4);
        std::mem::swap(&mut first, &mut second);
        first.push(5);
    }
    let mut lengths = [one.len(), other.len()];
    lengths.sort_unstable();
    assert_eq!(lengths, [5, 100]);
    // A guard whose list is forgotten with it.
    let mut kept = List::from([Text::from("a")]);
    std::mem::forget(kept.edit());
    assert!(kept.is_empty());
    kept.push("b".into());
    assert_eq!(kept, ["b"]);
}

/// A key whose order is another one each time, or none.
#[derive(Debug, Clone)]
struct Fickle(Rc<Cell<u32>>, #[expect(dead_code, reason = "counts itself")] Rc<Brittle>);
impl Ord for Fickle {
    fn cmp(&self, _: &Self) -> Ordering {
        self.0.set(self.0.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        assert!(!self.0.get().is_multiple_of(97), "no order at all");
        [Ordering::Less, Ordering::Equal, Ordering::Greater][(self.0.get() >> 8) as usize % 3]
    }
}
impl PartialOrd for Fickle {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Fickle {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Fickle {}

#[test]
fn s25_keys_without_an_order_are_lost_and_never_doubled() {
    let alive = Rc::new(Cell::new(0));
    for seed in 0..200 {
        let state = Rc::new(Cell::new(seed));
        let key = || Fickle(state.clone(), Rc::new(Brittle::new(&alive, false)));
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let mut map: Map<Fickle, Brittle> =
                (0..40).map(|_| (key(), Brittle::new(&alive, false))).collect();
            for _ in 0..20 {
                map.insert(key(), Brittle::new(&alive, false));
                map.remove(&key());
                map.extend([(key(), Brittle::new(&alive, false))]);
            }
            assert!(map.iter().count() == map.len());
        }));
        assert_eq!(alive.get(), 0, "seed {seed}");
    }
}

#[test]
fn s25_texts_stay_text_whatever_is_done_to_their_bytes() {
    // As bytes it is a list, which never becomes text again by itself.
    let mut bytes = List::<u8>::from(Text::from("ü"));
    bytes[0] = 0xff;
    assert!(String::from_utf8(bytes.into_vec()).is_err());
    for broken in [&[0xff, 0xfe][..], &[0xc3], &[0xed, 0xa0, 0x80]] {
        // As serde gives it: a length, and bytes.
        let sent = [&[broken.len() as u8], broken].concat();
        assert!(postcard::from_bytes::<Text>(&sent).is_err(), "{broken:?}");
    }
    let mut text = Text::from("aüb");
    #[expect(clippy::reversed_empty_ranges, reason = "an odd one is what is tried")]
    for range in [2..3, 0..2, 3..1, 0..9] {
        let cut = catch_unwind(AssertUnwindSafe(|| drop(text.drain(range.clone()))));
        assert!(cut.is_err(), "{range:?}");
        assert!(std::str::from_utf8(text.as_bytes()).is_ok());
    }
    let changed = catch_unwind(AssertUnwindSafe(|| text.retain(|_| panic!("half way"))));
    assert!(changed.is_err() && std::str::from_utf8(text.as_bytes()).is_ok());
}

#[test]
fn s25_a_sink_that_is_lent_on_and_forgotten_writes_to_one_buffer() {
    let (mut bytes, mut text) = (vec![0_u8; 3], String::from("a"));
    {
        let mut sink = Sink::from(&mut bytes);
        let _ = std::mem::ManuallyDrop::new(sink.by_ref());
        sink.by_ref().by_ref().append(&[1]);
        sink.append(&[2]);
        let mut sink = TextSink::from(&mut text);
        let _ = std::mem::ManuallyDrop::new(sink.by_ref());
        write!(sink.by_ref(), "ü").unwrap();
        sink.append("b");
    }
    assert_eq!((&*bytes, &*text), (&[0, 0, 0, 1, 2][..], "aüb"));
}

#[test]
fn s25_a_value_is_taken_out_of_a_maybe_once() {
    let alive = Rc::new(Cell::new(0));
    let mut one = Maybe::Some(Brittle::new(&alive, false));
    let taken = one.take();
    let replaced = one.replace(Brittle::new(&alive, false));
    assert!(taken.is_some() && replaced.is_none() && one.as_mut().is_some());
    let _ = catch_unwind(AssertUnwindSafe(|| one.map(|_| -> u8 { panic!("with the value") })));
    drop((taken, replaced));
    assert_eq!(alive.get(), 0);
}

#[contract]
trait Chain {
    fn pull(&self, depth: u32) -> u32;
}

/// Drops its own handle, and calls itself.
struct Link(std::sync::Mutex<Option<Callback<dyn Chain>>>);
impl Chain for Link {
    fn pull(&self, depth: u32) -> u32 {
        let own = self.0.lock().expect("no panic").take();
        let below = own.as_ref().map_or(0, |own| own.pull(depth + 1).expect("it is held"));
        drop(own);
        below + 1
    }
}

#[test]
fn s25_an_object_may_drop_its_own_handle_in_its_own_call() {
    let link = std::sync::Arc::new(Link(std::sync::Mutex::new(None)));
    struct Shared(std::sync::Arc<Link>);
    impl Chain for Shared {
        fn pull(&self, depth: u32) -> u32 {
            self.0.pull(depth)
        }
    }
    let handle = Callback::<dyn Chain>::new(Shared(link.clone()));
    *link.0.lock().unwrap() = Some(handle.clone());
    assert_eq!(handle.pull(0), Ok(2));
    drop(handle);
    assert_eq!(std::sync::Arc::strong_count(&link), 1, "the object went with its last handle");
}

#[test]
fn s25_a_contracts_own_crate_enters_with_any_number() {
    struct Flat;
    impl Chain for Flat {
        fn pull(&self, depth: u32) -> u32 {
            depth
        }
    }
    let handle = Callback::<dyn Chain>::new(Flat);
    // The calls' gate is to be had where the contract is written: what it lends can be looked at.
    for method in [0, 1, 127, u16::MAX] {
        let seen = handle.0.enter(method, |bound| {
            let copied = *bound;
            Ok::<_, midflight_plugin::Fault>(format!("{copied:?}"))
        });
        assert!(seen.unwrap().contains("Bound"));
    }
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        handle.0.enter(0, |_| -> Result<(), midflight_plugin::Fault> { panic!("inside") })
    }));
    assert!(unwound.is_err());
    assert_eq!(handle.pull(7), Ok(7));
}
