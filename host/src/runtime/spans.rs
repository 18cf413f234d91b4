//! The spans of plugins: which of them a generation holds, and in which its threads are.
//!
//! A span is a number of the subscriber's, and a handle that a plugin forgets, or a guard, would
//! keep it there for good: its code is unmapped, and nobody is left to give it back. So the host
//! writes down what each generation has of each span, and gives that back when its library is
//! closed; and of each thread, which spans of plugins it is in. Those that a call has left entered
//! it leaves when it next passes the gate outermost ([`pin`](crate::gate::pin)), or ends: what it
//! does after that is not part of them.
//!
//! Plugins know a span by a number of the host's own. Subscribers can be scoped to a thread, and a
//! number of one means another span to the next.

use super::Owner;
use crate::contained::contained;
use crate::gate::pin;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tracing_core::Dispatch;
use tracing_core::span::Id;

/// A generation that holds so many gets no more: it forgets them.
const OPEN_MAX: usize = 100_000;

/// The number of no span.
pub(super) const NONE: u64 = 0;

/// What one generation has of its spans.
#[derive(Default)]
pub(super) struct Spans(Mutex<Book>);

#[derive(Default)]
struct Book {
    last: u64,
    open: HashMap<u64, Open>,
}

#[derive(Clone)]
struct Open {
    by: Dispatch,
    id: Id,
    handles: usize,
}

impl Spans {
    pub(super) fn has_room(&self) -> bool {
        self.0.lock().open.len() < OPEN_MAX
    }

    /// A handle on a span that `by` has made. Its number.
    pub(super) fn open(&self, by: Dispatch, id: Id) -> u64 {
        let mut book = self.0.lock();
        book.last += 1;
        let number = book.last;
        book.open.insert(number, Open { by, id, handles: 1 });
        number
    }

    /// A span that somebody else holds, for as long as it is not cloned. Its number.
    fn lend(&self, by: Dispatch, id: Id) -> u64 {
        let number = self.open(by, id);
        if let Some(lent) = self.0.lock().open.get_mut(&number) {
            lent.handles = 0;
        }
        number
    }

    fn end_loan(&self, number: u64) {
        let mut book = self.0.lock();
        if book.open.get(&number).is_some_and(|lent| lent.handles == 0) {
            book.open.remove(&number);
        }
    }

    /// Whose span that is, and as what.
    pub(super) fn find(&self, number: u64) -> Option<(Dispatch, Id)> {
        let book = self.0.lock();
        book.open.get(&number).map(|open| (open.by.clone(), open.id.clone()))
    }

    /// One handle more. Its number.
    pub(super) fn clone_handle(&self, number: u64) -> u64 {
        let Some((by, id)) = self.find(number) else { return NONE };
        let cloned = by.clone_span(&id);
        if cloned != id {
            return self.open(by, cloned);
        }
        if let Some(open) = self.0.lock().open.get_mut(&number) {
            open.handles += 1;
        }
        number
    }

    /// One handle less. Was it the span's last?
    pub(super) fn close(&self, number: u64) -> bool {
        let mut book = self.0.lock();
        let Some(open) = book.open.get_mut(&number) else { return false };
        if open.handles == 0 {
            return false; // it is lent
        }
        open.handles -= 1;
        let Open { by, id, handles } = open.clone();
        if handles == 0 {
            book.open.remove(&number);
        }
        drop(book);
        by.try_close(id)
    }

    /// Gives all handles back: nobody is left to use them.
    pub(super) fn close_all(&self) {
        let open = std::mem::take(&mut self.0.lock().open);
        for Open { by, id, handles } in open.into_values() {
            for _ in 0..handles {
                // One that panics keeps its own.
                let _ = contained(|| by.try_close(id.clone()));
            }
        }
    }
}

/// A span that a thread is in.
struct Within {
    owner: Weak<Owner>,
    number: u64,
    by: Dispatch,
    id: Id,
    /// A call of a plugin's was on the thread: it is over when the thread is in none.
    in_call: bool,
}

impl Within {
    fn is_of(&self, owner: &Arc<Owner>) -> bool {
        std::ptr::eq(self.owner.as_ptr(), Arc::as_ptr(owner))
    }

    fn is_left(&self) -> bool {
        self.in_call || self.owner.upgrade().is_none_or(|owner| !owner.is(super::OPEN))
    }

    fn exit(&self) {
        let _ = contained(|| self.by.exit(&self.id));
    }
}

/// The spans that a thread is in, the outermost first.
#[derive(Default)]
struct Stack(Vec<Within>);

impl Drop for Stack {
    /// The next thread may get this one's place in the subscriber's books.
    fn drop(&mut self) {
        self.0.drain(..).rev().for_each(|within| within.exit());
    }
}

thread_local! {
    // First touched after the subscriber has been told of a span, so that this is dropped before
    // what the subscriber keeps of the thread.
    static STACK: RefCell<Stack> = const { RefCell::new(Stack(Vec::new())) };
    /// The last span of somebody else's that a plugin has asked for here.
    static LENT: RefCell<Option<(Weak<Owner>, u64)>> = const { RefCell::new(None) };
}

pub(super) fn enter(owner: &Arc<Owner>, number: u64) {
    let Some((by, id)) = owner.spans.find(number) else { return };
    by.enter(&id);
    let in_call = pin::is_entered();
    let within = Within { owner: Arc::downgrade(owner), number, by, id, in_call };
    // At the end of a thread there is no list any more, and nothing that the span could outlast.
    let first = STACK.try_with(|stack| {
        let stack = &mut stack.borrow_mut().0;
        stack.push(within);
        stack.len() == 1
    });
    if in_call && first == Ok(true) {
        pin::ask_this_thread();
    }
}

pub(super) fn exit(owner: &Arc<Owner>, number: u64) {
    let of_it = |within: &Within| within.number == number && within.is_of(owner);
    let take = |stack: &RefCell<Stack>| {
        let stack = &mut stack.borrow_mut().0;
        stack.iter().rposition(of_it).map(|at| stack.remove(at))
    };
    match STACK.try_with(take) {
        Ok(Some(within)) => within.by.exit(&within.id),
        // It was left already.
        Ok(None) => {}
        Err(_) => {
            if let Some((by, id)) = owner.spans.find(number) {
                by.exit(&id);
            }
        }
    }
}

/// The number of the span that the thread is in, which `by` has as `id`: its own where this
/// generation made it, else one that is good until the thread asks again, or is cloned.
pub(super) fn current(owner: &Arc<Owner>, by: Dispatch, id: Id) -> u64 {
    let own = |stack: &RefCell<Stack>| {
        let last =
            stack.borrow().0.iter().rfind(|within| within.id == id && within.is_of(owner))?.number;
        Some(last)
    };
    if let Ok(Some(own)) = STACK.try_with(own) {
        return own;
    }
    let number = owner.spans.lend(by, id);
    let before = LENT.try_with(|lent| lent.replace(Some((Arc::downgrade(owner), number))));
    if let Ok(Some((owner, number))) = before
        && let Some(owner) = owner.upgrade()
    {
        owner.spans.end_loan(number);
    }
    number
}

/// Leaves what calls of this thread have left entered, and what is of generations on their way out.
/// In no call.
pub(crate) fn leave() {
    let take = |stack: &RefCell<Stack>| {
        let stack = &mut stack.borrow_mut().0;
        stack.iter().rposition(Within::is_left).map(|at| stack.remove(at))
    };
    while let Ok(Some(within)) = STACK.try_with(take) {
        within.exit();
    }
}
