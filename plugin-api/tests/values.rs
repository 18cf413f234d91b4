//! The boundary's own list, text and option: what safe code does with them, it does with a `Vec`, a
//! `String`, an `Option`.

use midflight_plugin::{List, Map, Maybe, Text, rt};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{Debug, Write as _};
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::mem::forget;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// How many `Counted` there are.
    static ALIVE: Cell<i64> = const { Cell::new(0) };
    /// After so many clones and drops the next one panics.
    static PANICS_IN: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// So that a value that is dropped twice, or not at all, can be seen. It owns memory, so that
/// AddressSanitizer sees it as well.
#[derive(Debug, PartialEq)]
struct Counted(Box<u32>);

impl Counted {
    fn new(number: u32) -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Counted(Box::new(number))
    }

    fn list(numbers: std::ops::Range<u32>) -> List<Counted> {
        numbers.map(Counted::new).collect()
    }
}

fn step() {
    let left = PANICS_IN.get();
    PANICS_IN.set(left.wrapping_sub(1));
    if left == 0 {
        PANICS_IN.set(u32::MAX);
        panic!("the step of this test");
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        step();
        Counted::new(*self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
        if !std::thread::panicking() {
            step();
        }
    }
}

fn panics<R>(what: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(what()))).is_err()
}

/// Every pair of bounds, right and wrong, to a list of three.
fn ranges() -> impl Iterator<Item = (Bound<usize>, Bound<usize>)> {
    let ends = [0, 1, 2, 3, 4, 5, 50, 200, usize::MAX - 1, usize::MAX];
    let bounds = move || {
        let bound = |end: usize| [Bound::Included(end), Bound::Excluded(end)];
        ends.into_iter().flat_map(bound).chain([Bound::Unbounded])
    };
    bounds().flat_map(move |start| bounds().map(move |end| (start, end)))
}

#[test]
fn s01_a_range_that_is_none_takes_nothing_out() {
    let mut wrong = 0;
    for range in ranges() {
        let numbers = vec![1_u64, 2, 3];
        let (mut list, mut vec) = (List::from(numbers.clone()), numbers);
        let taken = catch_unwind(AssertUnwindSafe(|| list.drain(range).collect::<Vec<_>>())).ok();
        let expected = catch_unwind(AssertUnwindSafe(|| vec.drain(range).collect::<Vec<_>>())).ok();
        assert_eq!((taken.clone(), &list[..]), (expected, &vec[..]), "{range:?}");
        assert!(list.len() <= list.capacity());

        let mut texts: List<Text> = ["a", "b", "c"].map(Text::from).into();
        assert_eq!(panics(|| texts.drain(range)), taken.is_none(), "{range:?}");
        assert_eq!(texts.len(), list.len());

        let mut text = Text::from("abc");
        assert_eq!(panics(|| text.drain(range)), taken.is_none(), "{range:?}");
        assert_eq!(text.len(), list.len());
        wrong += u32::from(taken.is_none());
    }
    assert!(wrong > 100);
    // As the three cases were found.
    assert!(panics(|| List::from(vec![1_u64, 2, 3]).drain(0..200)));
    assert!(panics(|| List::from(vec![Text::from("a")]).drain(0..50)));
    #[expect(clippy::reversed_empty_ranges, reason = "that is the case")]
    let reversed = 3..1;
    assert!(panics(|| List::from(vec![1_u8, 2, 3]).drain(reversed)));
}

#[test]
fn s01_an_index_that_is_none_changes_nothing() {
    for index in [4, 5, 1 << 20, usize::MAX] {
        let mut list = Counted::list(0..3);
        assert!(panics(|| list.insert(index, Counted::new(9))));
        assert!(panics(|| list.remove(index)));
        assert!(panics(|| list.swap_remove(index)));
        assert!(panics(|| forget(list[index].clone())));
        assert!(panics(|| list.split_at(index).0.len()));
        assert_eq!((list.len(), list.get(index)), (3, None));
        list.truncate(index);
        assert_eq!(list.iter().map(|counted| *counted.0).collect::<Vec<_>>(), [0, 1, 2]);
    }
    assert_eq!(ALIVE.get(), 0);
    // The first is beyond the end, the others are inside of a character.
    for index in [usize::MAX, 1, 3] {
        let mut text = Text::from("äö");
        assert!(panics(|| text.insert(index, 'x')));
        assert!(panics(|| text.insert_str(index, "x")));
        assert!(panics(|| text.remove(index)));
        assert!(panics(|| text.drain(..index)));
        assert!(panics(|| text[..index].len()));
        assert_eq!(panics(|| text.truncate(index)), index != usize::MAX);
        assert_eq!(text, "äö");
    }
}

#[test]
fn s01_what_cant_be_allocated_is_refused() {
    for elements in [usize::MAX, usize::MAX / 2, isize::MAX as usize / 8 + 1] {
        let mut list: List<u64> = vec![1, 2, 3].into();
        assert!(panics(|| list.reserve(elements)));
        assert!(panics(|| list.resize(elements, 0)));
        assert!(panics(|| List::<u64>::with_capacity(elements)));
        assert_eq!(list, [1, 2, 3]);
    }
    let mut text = Text::from("abc");
    assert!(panics(|| text.reserve(usize::MAX - 3)));
    assert!(panics(|| Text::with_capacity(usize::MAX)));
    assert_eq!(text, "abc");
    let claims = std::iter::repeat_n(7_u8, usize::MAX).take(2);
    assert_eq!(claims.collect::<List<_>>(), [7, 7]);
}

/// Everything that runs an author's code, at each of its steps.
#[test]
fn s01_a_panic_of_an_authors_code_drops_each_value_once() {
    fn stepping(number: u32) -> Counted {
        step();
        Counted::new(number)
    }
    type Run = fn(List<Counted>);
    let whole: [(&str, Run); 12] = [
        ("drop", |list| drop(list)),
        ("clone", |list| drop(list.clone())),
        ("clear", |mut list| list.clear()),
        ("truncate", |mut list| list.truncate(1)),
        ("resize", |mut list| list.resize(8, Counted::new(9))),
        ("retain", |mut list| list.retain(|counted| *counted.0 % 2 == 0)),
        ("drain", |mut list| drop(list.drain(1..4))),
        ("extend_from_slice", |mut list| list.extend_from_slice(&Counted::list(7..9))),
        ("extend", |mut list| list.extend((0..3).map(stepping))),
        ("into_iter", |list| drop(list.into_iter().nth(1))),
        ("into_iter from behind", |list| drop(list.into_iter().rev().nth(2))),
        ("edit", |mut list| list.edit().dedup_by_key(|counted| *counted.0 / 2)),
    ];
    for (name, run) in whole {
        let mut panicked = 0;
        for steps in 0.. {
            assert!(steps < 100, "{name}: ends");
            let list = Counted::list(0..6);
            PANICS_IN.set(steps);
            let result = catch_unwind(AssertUnwindSafe(|| run(list)));
            PANICS_IN.set(u32::MAX);
            assert_eq!(ALIVE.get(), 0, "{name} at step {steps}");
            if result.is_ok() {
                break;
            }
            panicked += 1;
        }
        assert!(panicked > 0, "{name}: at some step");
    }
}

#[test]
fn s01_a_guard_or_an_iterator_that_is_forgotten_leaves_what_is_safe() {
    let mut list: List<Text> = ["a", "b", "c"].map(Text::from).into();
    forget(list.edit());
    assert_eq!((list.len(), list.capacity()), (0, 0));
    list.push("d".into());
    forget(list.edit().drain(..));
    assert!(list.is_empty());
    forget(list.drain(..));
    list.push("e".into());
    assert_eq!(list, ["e"]);

    let mut text = Text::from("abc");
    forget(text.edit());
    assert_eq!((&*text, text.capacity()), ("", 0));
    text.push('d');
    assert_eq!(text, "d");

    let mut iter = List::from(vec![Text::from("a"), Text::from("b")]).into_iter();
    assert_eq!(iter.next().as_deref(), Some("a"));
    assert_eq!(iter.as_slice(), ["b"]);
    forget(iter);

    // What takes the place of the `Vec` behind a guard is the list.
    let mut other = vec![Text::from("x"); 5];
    std::mem::swap(&mut *list.edit(), &mut other);
    assert_eq!((list.len(), other.len()), (5, 1));
}

fn is_aligned<T>(slice: &[T]) -> bool {
    slice.as_ptr().is_aligned()
        && slice.iter().all(|element| std::ptr::from_ref(element).is_aligned())
}

#[test]
fn s10_elements_of_every_size_and_alignment_are_aligned() {
    fn check<T: Clone + PartialEq + Debug>(element: &T) {
        let mut list = List::new();
        assert!(is_aligned(&list) && is_aligned(list.as_mut_slice()));
        for count in 0..5 {
            assert_eq!(list, vec![element.clone(); count]);
            assert!(is_aligned(&list) && is_aligned(list.as_mut_slice()));
            list.push(element.clone());
        }
        for from_behind in 0..6 {
            let mut iter = list.clone().into_iter();
            for left in (0..5).rev() {
                let next = if left < from_behind { iter.next_back() } else { iter.next() };
                assert_eq!((next.as_ref(), iter.len()), (Some(element), left));
                assert!(is_aligned(iter.as_slice()));
            }
            assert_eq!((iter.next(), iter.next_back()), (None, None));
        }
        let shared: &List<T> = &list;
        assert!(shared.into_iter().all(|element| std::ptr::from_ref(element).is_aligned()));
        assert!(list.drain(1..3).all(|drained| drained == *element));
        assert_eq!(Vec::from(list).len(), 3);
        let mut maybe = Maybe::Some(element.clone());
        assert!(maybe.as_mut().is_some_and(|element| std::ptr::from_ref(element).is_aligned()));
    }
    #[derive(Clone, PartialEq, Debug)]
    #[repr(align(4096))]
    struct Page(u8);
    #[derive(Clone, PartialEq, Debug)]
    #[repr(align(64))]
    struct Line;

    let lent = rt::RSlice::from_slice(&[[0_u64; 0]; 3]);
    assert!(is_aligned(lent.as_slice()) && lent.as_slice().len() == 3 && is_aligned(&lent[1..]));
    let list: List<[u64; 0]> = vec![[], [], []].into();
    assert!(list.into_iter().all(|element| element.as_ptr().is_aligned()));
    check(&[0_u64; 0]);
    check(&());
    check(&Line);
    check(&7_u8);
    check(&7_u128);
    check(&Page(7));
    check(&Text::from("seven"));
    check(&Counted::new(7));
    check(&Map::from_iter([(1_u8, Text::from("one"))]));
    assert_eq!(ALIVE.get(), 0);
}

#[test]
fn s10_values_of_no_size_are_dropped_once_each() {
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            ALIVE.set(ALIVE.get() - 1);
        }
    }
    let list = || {
        ALIVE.set(5);
        (0..5).map(|_| Nothing).collect::<List<_>>()
    };
    drop(list());
    assert_eq!(ALIVE.get(), 0);
    let mut iter = list().into_iter();
    assert!(iter.next().is_some() && iter.next_back().is_some());
    assert_eq!((iter.len(), ALIVE.get()), (3, 3));
    drop(iter);
    assert_eq!(ALIVE.get(), 0);
    let mut rest = list();
    drop(rest.drain(1..3));
    assert_eq!((rest.len(), ALIVE.get()), (3, 3));
    drop(Vec::from(rest));
    assert_eq!(ALIVE.get(), 0);
}

/// One change of a list, as a `Vec` has it too.
#[derive(Debug, Clone)]
enum Change {
    Push(Text),
    Pop,
    Insert(usize, Text),
    Remove(usize),
    SwapRemove(usize),
    Truncate(usize),
    Clear,
    Reserve(usize),
    Shrink,
    Retain(usize),
    Drain(usize, usize),
    Resize(usize, Text),
    Extend(Vec<Text>),
    ExtendFromSlice(Vec<Text>),
    Reverse,
    Clone,
    Std,
    Edit(usize),
    Forward(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let text = || "[a-cä]{0,3}".prop_map(Text::from);
    let texts = || proptest::collection::vec(text(), 0..4);
    let index = || 0..12_usize;
    prop_oneof![
        text().prop_map(Change::Push),
        Just(Change::Pop),
        (index(), text()).prop_map(|(index, text)| Change::Insert(index, text)),
        index().prop_map(Change::Remove),
        index().prop_map(Change::SwapRemove),
        index().prop_map(Change::Truncate),
        Just(Change::Clear),
        index().prop_map(Change::Reserve),
        Just(Change::Shrink),
        index().prop_map(Change::Retain),
        (index(), index()).prop_map(|(start, end)| Change::Drain(start, end)),
        (index(), text()).prop_map(|(count, text)| Change::Resize(count, text)),
        texts().prop_map(Change::Extend),
        texts().prop_map(Change::ExtendFromSlice),
        Just(Change::Reverse),
        Just(Change::Clone),
        Just(Change::Std),
        index().prop_map(Change::Edit),
        index().prop_map(Change::Forward),
    ]
}

/// Makes one change to `$list`, which is a `List` or a `Vec`; what comes out of it.
macro_rules! apply {
    ($change:expr, $list:expr, $edit:expr) => {
        match $change.clone() {
            Change::Push(text) => {
                $list.push(text);
                vec![]
            }
            Change::Pop => $list.pop().into_iter().collect(),
            Change::Insert(index, text) => {
                $list.insert(index, text);
                vec![]
            }
            Change::Remove(index) => vec![$list.remove(index)],
            Change::SwapRemove(index) => vec![$list.swap_remove(index)],
            Change::Truncate(length) => {
                $list.truncate(length);
                vec![]
            }
            Change::Clear => {
                $list.clear();
                vec![]
            }
            Change::Reserve(more) => {
                $list.reserve(more);
                vec![]
            }
            Change::Shrink => {
                $list.shrink_to_fit();
                vec![]
            }
            Change::Retain(length) => {
                $list.retain(|text| text.len() < length % 4);
                vec![]
            }
            Change::Drain(start, end) => $list.drain(start..end).collect(),
            Change::Resize(length, text) => {
                $list.resize(length, text);
                vec![]
            }
            Change::Extend(texts) => {
                $list.extend(texts);
                vec![]
            }
            Change::ExtendFromSlice(texts) => {
                $list.extend_from_slice(&texts);
                vec![]
            }
            Change::Reverse => {
                $list.reverse();
                vec![]
            }
            Change::Clone => {
                $list = $list.clone();
                vec![]
            }
            Change::Std => {
                $list = Vec::from(std::mem::take(&mut $list)).into();
                vec![]
            }
            Change::Edit(index) => {
                $edit.rotate_left(index);
                vec![]
            }
            Change::Forward(count) => {
                std::mem::take(&mut $list).into_iter().skip(count).step_by(2).collect()
            }
        }
    };
}

proptest! {
    /// Whatever is done to both, a list is what the `Vec` is, in its answers, its panics and its
    /// elements.
    #[test]
    fn s01_a_list_does_what_a_vec_does(changes in proptest::collection::vec(change(), 0..40)) {
        let (mut list, mut vec) = (List::<Text>::new(), Vec::<Text>::new());
        for change in changes {
            let answers = (
                catch_unwind(AssertUnwindSafe(|| apply!(change, list, list.edit()))).map_err(text_of),
                catch_unwind(AssertUnwindSafe(|| apply!(change, vec, vec))).map_err(text_of),
            );
            prop_assert_eq!(&answers.0, &answers.1, "{:?}", change);
            prop_assert_eq!(&list, &vec);
            prop_assert!(list.len() <= list.capacity());
            prop_assert_eq!(hash(&list), hash(&vec));
            prop_assert_eq!(format!("{list:?}"), format!("{vec:?}"));
        }
    }

    #[test]
    fn s01_a_text_is_what_a_string_is(parts in proptest::collection::vec(("[a-cäß]{0,3}", 0..9_usize), 0..12)) {
        let (mut text, mut string) = (Text::new(), String::new());
        for (part, at) in parts {
            text.push_str(&part);
            string.push_str(&part);
            prop_assert_eq!(
                panics(|| text.insert_str(at, &part)),
                panics(|| string.insert_str(at, &part))
            );
            prop_assert_eq!(panics(|| text.drain(at..at + 2)), panics(|| drop(string.drain(at..at + 2))));
            prop_assert_eq!(panics(|| text.truncate(at * 3)), panics(|| string.truncate(at * 3)));
            text.retain(|character| character != 'b');
            string.retain(|character| character != 'b');
            prop_assert_eq!(text.pop(), string.pop());
            text.extend(["x", "ß"]);
            string.extend(["x", "ß"]);
            prop_assert_eq!(&text, &string);
            prop_assert_eq!(hash(&text), hash(&string));
            prop_assert_eq!(text.cmp(&Text::from("b")), string.as_str().cmp("b"));
            text = Text::from(String::from(text.clone()));
        }
    }
}

fn text_of(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => {
            payload.downcast::<&str>().map_or_else(|_| String::new(), |text| text.to_string())
        }
    }
}

fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn nothing_is_copied_from_and_to_std() {
    let vec = vec![1_u64; 100];
    let at = vec.as_ptr();
    let list = List::from(vec);
    assert_eq!((list.as_ptr(), list.capacity()), (at, 100));
    let mut list = List::from(list.into_vec());
    list.truncate(50);
    assert_eq!(list.as_ptr(), at);
    let string = String::from("0123456789");
    let at = string.as_ptr();
    let text = Text::from(string);
    assert_eq!(text.as_ptr(), at);
    let string = text.into_string();
    assert_eq!(string.as_ptr(), at);
    // A loop of appends allocates as often as that of a `Vec` does.
    let mut list: List<u32> = List::new();
    let mut moves = 0;
    for number in 0..10_000 {
        let (before, room) = (list.as_ptr(), list.capacity());
        list.push(number);
        moves += u32::from(list.as_ptr() != before);
        assert!(list.as_ptr() == before || list.len() > room);
    }
    assert!(moves < 20, "{moves}");
}

#[test]
#[expect(clippy::op_ref, clippy::cmp_owned, reason = "each comparison is a case")]
fn they_compare_with_what_they_stand_for() {
    let list = List::from([1_u8, 2]);
    assert!(list == [1, 2] && list == [1, 2][..] && list == &[1, 2] && list == vec![1, 2]);
    assert!([1, 2] == list && [1, 2][..] == list && vec![1, 2] == list && list != [2, 1]);
    assert!(list < List::from([1, 3]) && List::new() < list);
    let text = Text::from("ab");
    assert_eq!(text, "ab");
    assert_eq!(text, String::from("ab"));
    assert!(text == *"ab" && "ab" == text);
    assert!(
        text < Text::from("b")
            && text.to_string() == "ab"
            && format!("{text:>3}|{text:?}") == " ab|\"ab\""
    );
    let none = Maybe::<u8>::None;
    assert!(none == None && Maybe::Some(1) == Some(1) && Maybe::Some(2) != Some(1));
    // As an `Option`.
    assert!(none < Maybe::Some(0) && Maybe::default() == none && format!("{none:?}") == "None");
    let by_text: HashMap<Text, u8> = [(Text::from("a"), 1)].into();
    let by_list: BTreeMap<List<u8>, u8> = [(list, 1)].into();
    assert_eq!((by_text.get("a"), by_list.get(&[1_u8, 2][..])), (Some(&1), Some(&1)));
}

#[test]
fn they_are_made_of_what_they_stand_for() {
    static NOTHING: (Text, List<u64>, Maybe<Text>) = (Text::new(), List::new(), Maybe::None);
    assert!(NOTHING.0.is_empty() && NOTHING.1.is_empty() && NOTHING.2.is_none());
    let mut text = Text::from_iter(['a', 'b']);
    write!(text, "{}", 1).expect("room");
    text.extend([String::from("c")]);
    text.make_ascii_uppercase();
    assert_eq!(text, "AB1C");
    assert_eq!("x".parse::<Text>(), Ok(Text::from('x')));
    let mut bytes: List<u8> = Text::from("ab").into();
    bytes.write_all(b"cd").expect("room");
    bytes.extend(b"e");
    assert_eq!(bytes, b"abcde");
    bytes[0] = b'x';
    bytes.iter_mut().for_each(|byte| byte.make_ascii_uppercase());
    assert_eq!(&bytes[..2], b"XB");
    let mut maybe = Maybe::from(Some(1));
    assert_eq!(
        (maybe.take(), maybe.replace(2), maybe.map(|n| n + 1)),
        (Some(1).into(), None.into(), Maybe::Some(3))
    );
    assert_eq!((maybe.unwrap(), maybe.ok_or("none"), Maybe::None.unwrap_or(7)), (2, Ok(2), 7));
    assert!(panics(|| Maybe::<u8>::None.unwrap()) && panics(|| Maybe::<u8>::None.expect("one")));
}

#[test]
fn they_are_serialised_as_what_they_stand_for() {
    fn same<A: Serialize + for<'a> Deserialize<'a> + PartialEq + Debug>(
        ours: A,
        std: impl Serialize,
    ) {
        let bytes = postcard::to_allocvec(&ours).expect("bytes");
        assert_eq!(bytes, postcard::to_allocvec(&std).expect("bytes"));
        assert_eq!(postcard::from_bytes::<A>(&bytes), Ok(ours));
    }
    same(Text::from("ab"), "ab");
    same(List::from([1_u16, 2]), vec![1_u16, 2]);
    same(Maybe::Some(Text::from("x")), Some("x"));
    same(Maybe::<u8>::None, None::<u8>);
}

#[test]
fn they_are_as_free_as_what_they_hold() {
    trait Free {
        const SEND: bool = false;
        const SYNC: bool = false;
    }
    impl<T> Free for T {}
    struct Ask<T>(std::marker::PhantomData<T>);
    #[allow(dead_code)]
    impl<T: Send> Ask<T> {
        const SEND: bool = true;
    }
    #[allow(dead_code)]
    impl<T: Sync> Ask<T> {
        const SYNC: bool = true;
    }
    macro_rules! free {
        ($type:ty) => {
            (<Ask<$type>>::SEND, <Ask<$type>>::SYNC)
        };
    }
    assert_eq!(
        (free!(List<u8>), free!(Text), free!(Maybe<Text>)),
        ((true, true), (true, true), (true, true))
    );
    assert_eq!(free!(List<Cell<u8>>), (true, false));
    assert_eq!(free!(Maybe<Cell<u8>>), (true, false));
    assert_eq!(free!(List<std::rc::Rc<u8>>), (false, false));
    assert_eq!(free!(List<*const u8>), (false, false));
    assert_eq!(free!(midflight_plugin::IntoIter<std::rc::Rc<u8>>), (false, false));
    assert_eq!(free!(midflight_plugin::IntoIter<u8>), (true, true));
    assert_eq!(free!(Map<u8, Cell<u8>>), (true, false));

    fn shorter<'a>(list: List<&'static str>, _: &'a str) -> List<&'a str> {
        list
    }
    assert_eq!(shorter(["a"].into(), &String::from("b")), ["a"]);
}
