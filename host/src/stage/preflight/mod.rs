//! The preflight: a candidate is opened in a process of its own before it is opened in the
//! service's.
//!
//! Constructors run inside of dlopen, before anything of a library can be asked, and what they do
//! they do to the process: one that crashes, exits or hangs does so to the service. Looking at
//! bytes can't tell. So the same program is started once more, and there the candidate is opened,
//! its contracts are compared, and it is closed again; what happens to that process is a refusal
//! here. It filters what is broken, not what is hostile, and what depends on the service's own
//! state is found in the service alone.
//!
//! ```text
//! service (worker of the stage)                       child: the same program, in `preflight()`, the first line of its main
//!  Kept::take, or a new child ── /proc/self/exe ────▶  `entrance`: is its parent this program?
//!  Draft::write                                        it warms up
//!  Draft::lend ◀──────────────────────── Word::Ready ── where its table will lie, and it waits
//!  Child::tell ── Task, image's handle, pipe ───────▶  Image::lent, dlopen, layout check,
//!                                                      start, stop, dlclose
//!  verdict ◀─────────────────────────────── Word::… ── and it waits to be killed
//!  Draft::finish, dlopen of the same file
//!  kill, reap
//!  Kept::fill, when the update is over
//! ```

mod child;
mod circumstances;
mod entrance;
mod kept;
mod parent;
mod process;

pub use child::preflight;
pub(crate) use kept::Kept;
pub(super) use parent::Preflight;

use crate::library::{ContractNumber, Program};
use crate::refusal::{Code, Refusal};
use crate::settings::Bounds;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::sync::OnceLock;
use std::time::Duration;

/// Set in the child's environment, to the number of its parent. It says nothing without the socket.
const VARIABLE: &str = "MIDFLIGHT_PREFLIGHT";

/// Which file this program is, or why it can't be started once more. Set by the line in the
/// service's main: without it a child would be a second service.
static THE_LINE: OnceLock<Result<Program, String>> = OnceLock::new();

/// Does this program's main have the line, and can it be started once more?
pub(crate) fn is_possible() -> bool {
    program().is_some()
}

/// How long one may take; `None` where there is none.
pub(crate) fn limit(bounds: &Bounds) -> Option<Duration> {
    // A century is for ever, and can be added to any clock.
    let limit = bounds.preflight_deadline.min(Duration::from_secs(u32::MAX.into()));
    (bounds.preflight && is_possible()).then_some(limit)
}

/// Why there is none although the line is there.
pub(crate) fn obstacle() -> Option<&'static str> {
    THE_LINE.get()?.as_ref().err().map(String::as_str)
}

fn program() -> Option<Program> {
    THE_LINE.get()?.as_ref().ok().copied()
}

/// What the child is to do, told when the image has the address of its table. With it go, as
/// descriptors, the image's file, and a pipe into which it says where it is.
#[derive(Serialize, Deserialize)]
struct Task {
    program: Program,
    generation: u64,
    plugin: String,
    version: String,
    /// Where the image is, for the loader, which takes no descriptor.
    image: OsString,
    /// Libraries that it needs and that are opened by their path.
    familiar: Vec<String>,
    /// What it needs or holds keeps it mapped for good, in the service too.
    stays: bool,
    known: Vec<Expected>,
    required: Vec<Expected>,
    config: String,
    start: bool,
    panic_frames_max: usize,
}

/// A contract that the host's code knows.
#[derive(Serialize, Deserialize)]
struct Expected {
    name: String,
    version: String,
    number: ContractNumber,
}

/// What the child says, as a line of JSON: that it is ready, and at last its verdict.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// It waits for its task. The address of its table is to stand in the image.
    Ready(usize),
    Well {
        /// Nothing of the candidate is mapped any more.
        closed: bool,
    },
    Refused {
        code: String,
        reason: String,
    },
    /// It could not try.
    Unable(String),
}

impl Word {
    fn refused(refusal: &Refusal) -> Word {
        Word::Refused {
            code: refusal.code().as_str().to_owned(),
            reason: refusal.reason().to_owned(),
        }
    }

    /// Whether what was well was closed as well.
    fn verdict(self) -> Result<bool, Refusal> {
        let unable = |reason: String| Refusal::new(Code::PreflightUnavailable, reason);
        match self {
            Word::Well { closed } => Ok(closed),
            Word::Unable(reason) => Err(unable(reason)),
            Word::Ready(_) => Err(unable("the child says that it is ready once more".to_owned())),
            Word::Refused { code, reason } => {
                let known = Code::ALL.iter().find(|known| known.as_str() == code);
                Err(match known {
                    Some(code) => Refusal::new(*code, reason),
                    // Both are the same program.
                    None => unable(format!("the child says {code}: {reason}")),
                })
            }
        }
    }
}

/// Which of the plugin's code the child is about to run. A byte for each goes into a pipe that
/// nobody reads until it matters: who is woken for each of them takes the processor from the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum At {
    Constructors = 1,
    Layouts,
    Start,
    Stop,
    Locals,
    Close,
}

impl At {
    const ALL: [At; 6] =
        [At::Constructors, At::Layouts, At::Start, At::Stop, At::Locals, At::Close];

    fn of(byte: u8) -> Option<At> {
        At::ALL.into_iter().find(|at| *at as u8 == byte)
    }

    fn as_str(self) -> &'static str {
        match self {
            At::Constructors => "its constructors",
            At::Layouts => "the comparison of its contracts",
            At::Start => "its start",
            At::Stop => "its stop",
            At::Locals => "the destructors of its thread-locals",
            At::Close => "its unloading",
        }
    }
}
