//! Lanes: the ways of calling, side by side.
//!
//! Every lane runs the same two loops around its call. *Tight* makes calls that don't depend on
//! each other, so that whatever a processor can overlap is overlapped. In *dependent* the argument
//! of each comes from the result before, by way of some ten nanoseconds of work: nothing overlaps
//! that a service could not overlap either. The loops hide arguments and results from the compiler
//! in the same places, and their own cost is in every figure.

use std::hint::black_box;

/// Calls in one open request.
pub const CALLS_OF_A_REQUEST: u64 = 64;

/// Which loop is around the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loop {
    /// Calls that don't depend on each other.
    Tight,
    /// Each call's argument depends on the result before.
    Dependent,
}

impl Loop {
    /// Both.
    pub const ALL: [Loop; 2] = [Loop::Tight, Loop::Dependent];

    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Loop::Tight => "tight",
            Loop::Dependent => "dependent",
        }
    }
}

/// Runs a number of calls, a multiple of [`CALLS_OF_A_REQUEST`].
pub type Body<'s> = Box<dyn Fn(u64) + 's>;
/// The same, from several threads.
pub type SharedBody<'s> = Box<dyn Fn(u64) + Sync + 's>;

/// One way of calling.
pub struct Lane<'s> {
    /// As in the report.
    pub name: &'static str,
    /// What a reader should know of it.
    pub note: Option<&'static str>,
    bodies: Bodies<'s>,
}

enum Bodies<'s> {
    Shared([SharedBody<'s>; 2]),
    Local([Body<'s>; 2]),
}

impl<'s> Lane<'s> {
    /// A lane that any number of threads can run. By [`lane!`](crate::lane).
    pub fn shared(
        name: &'static str,
        tight: impl Fn(u64) + Sync + 's,
        dependent: impl Fn(u64) + Sync + 's,
    ) -> Self {
        Lane { name, note: None, bodies: Bodies::Shared([Box::new(tight), Box::new(dependent)]) }
    }

    /// A lane that only the thread that made it can run. By [`lane!`](crate::lane).
    pub fn local(
        name: &'static str,
        tight: impl Fn(u64) + 's,
        dependent: impl Fn(u64) + 's,
    ) -> Self {
        Lane { name, note: None, bodies: Bodies::Local([Box::new(tight), Box::new(dependent)]) }
    }

    /// With a remark for the report.
    #[must_use]
    pub fn noted(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }

    /// For this thread.
    pub fn body(&self, around: Loop) -> &dyn Fn(u64) {
        match &self.bodies {
            Bodies::Shared(bodies) => &*bodies[around as usize],
            Bodies::Local(bodies) => &*bodies[around as usize],
        }
    }

    /// For any thread.
    pub fn shared_body(&self, around: Loop) -> Option<&(dyn Fn(u64) + Sync)> {
        match &self.bodies {
            Bodies::Shared(bodies) => Some(&*bodies[around as usize]),
            Bodies::Local(_) => None,
        }
    }
}

/// A lane of both loops around one call. Each loop has the call's code to itself, as the loops of a
/// service would.
#[macro_export]
macro_rules! lane {
    ($kind:ident $name:expr, |$a:pat_param, $b:pat_param| $call:expr) => {
        $crate::lanes::Lane::$kind(
            $name,
            move |calls| $crate::lanes::tight(calls, 0, |$a, $b| $call),
            move |calls| {
                std::hint::black_box($crate::lanes::dependent(calls, 1, |$a, $b| $call));
            },
        )
    };
}

/// Calls that don't depend on each other, from argument `from` on.
#[inline(always)]
pub fn tight(calls: u64, from: u64, call: impl Fn(u64, u64) -> u64) {
    for at in from..from + calls {
        black_box(call(black_box(at), 3));
    }
}

/// Calls that do, beginning with `value`.
#[inline(always)]
pub fn dependent(calls: u64, mut value: u64, call: impl Fn(u64, u64) -> u64) -> u64 {
    for _ in 0..calls {
        value = work(call(black_box(value), 3));
    }
    value
}

/// About forty cycles that can't be shortened.
#[inline(always)]
fn work(mut value: u64) -> u64 {
    for _ in 0..8 {
        value = (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    value
}
