//! The preflight: a candidate is opened in a process of its own before it is opened in the service's.
//!
//! Constructors run inside of dlopen, before anything of a library can be asked, and what they do they do to the process: one that
//! crashes, exits or hangs does so to the service. Looking at bytes can't tell. So the same program is started once more, and there
//! the candidate is opened and its contracts are compared; what happens to that process is a refusal here.
//! It filters what is broken, not what is hostile, and what depends on the service's own state is found in the service alone.
//!
//! ```text
//! service (worker of the stage)                       child: the same program, in `preflight()`, the first line of its main
//!  Preflight::begin ── posix_spawn /proc/self/exe ──▶  stdin is a socket of its parent's: no ordinary start
//!  Image::write           meanwhile
//!  Preflight::judge ── Task ─────────────────────────▶ the same file? then an image of its own, dlopen, layout check, start
//!                   ◀──────────────── Word, Word, … ── and it waits to be killed
//!  kill, reap, remove its directory
//! ```

mod child;
mod parent;

pub use child::preflight;
pub(super) use parent::Preflight;

use crate::library::{InProgram, Program};
use crate::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::sync::OnceLock;

/// Set in the child's environment, to the number of its parent. It says nothing without the socket.
const VARIABLE: &str = "MIDFLIGHT_PREFLIGHT";

/// Which file this program is. Set by the line in the service's main: without it a child would be a second service.
static THE_LINE: OnceLock<Program> = OnceLock::new();

/// Does this program's main have the line?
pub(crate) fn is_possible() -> bool {
    THE_LINE.get().is_some()
}

/// What the child is to do, told when its parent has written the image.
#[derive(Serialize, Deserialize)]
struct Task {
    program: Program,
    generation: u64,
    plugin: String,
    version: String,
    /// The parent's, of bytes that it has verified.
    image: OsString,
    /// Where in it the table's address stands.
    table_offset: usize,
    /// Libraries that it needs and that are opened by their path.
    familiar: Vec<String>,
    /// Where the child's own image goes.
    directory: OsString,
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
    layout: InProgram,
}

/// What the child says: lines of JSON, the last of which is a verdict.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    At(At),
    Well,
    Refused {
        code: String,
        reason: String,
    },
    /// It could not try.
    Unable(String),
}

impl Word {
    fn refused(refusal: &Refusal) -> Word {
        Word::Refused { code: refusal.code().as_str().to_owned(), reason: refusal.reason().to_owned() }
    }

    /// `None` where there is more to come.
    fn verdict(self) -> Option<Result<(), Refusal>> {
        let unable = |reason: String| Refusal::new(Code::PreflightUnavailable, reason);
        match self {
            Word::At(_) => None,
            Word::Well => Some(Ok(())),
            Word::Unable(reason) => Some(Err(unable(reason))),
            Word::Refused { code, reason } => {
                let known = Code::ALL.iter().find(|known| known.as_str() == code);
                Some(Err(match known {
                    Some(code) => Refusal::new(*code, reason),
                    // Both are the same program.
                    None => unable(format!("the child says {code}: {reason}")),
                }))
            }
        }
    }
}

/// Which of the plugin's code the child is about to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum At {
    Constructors,
    Layouts,
    Start,
    Stop,
}

impl At {
    fn as_str(self) -> &'static str {
        match self {
            At::Constructors => "its constructors",
            At::Layouts => "the comparison of its contracts",
            At::Start => "its start",
            At::Stop => "its stop",
        }
    }
}
