//! The service's own code on threads of ours, whose panics end there.
//!
//! What the host tells of itself goes to the process's `tracing` subscriber, and that is the
//! service's: it writes to pipes that close and disks that are full, and may panic on them.
//! Unwinding from there would end the control thread in the middle of a transition, and with it
//! every update and unload to come; or the watcher's, or a worker's. Health checks and wakers are
//! the service's as well. So all of them run in [`contained`].

use midflight_inspect::text;
use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the service's. Its panic is told as a text; the payload's own `Drop` could panic
/// again, and is left.
pub(crate) fn contained<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let told = text_of(&*payload);
        mem::forget(payload);
        told
    })
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text::told(text.unwrap_or("a payload that is no text"))
}

/// Tells the process's `tracing` subscriber something; the text of its panic, if it panics.
macro_rules! say {
    ($level:ident, $($told:tt)*) => {
        $crate::contained::contained(|| tracing::$level!(target: "midflight", $($told)*))
    };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::contained;
    use std::fs;
    use std::panic::panic_any;
    use std::path::Path;

    struct Mine;

    impl Drop for Mine {
        fn drop(&mut self) {
            panic!("the payload's own");
        }
    }

    #[test]
    fn s15_a_payload_that_panics_when_it_is_dropped_is_left() {
        assert_eq!(contained(|| 3), Ok(3));
        assert_eq!(contained(|| panic!("a {}\n", "pipe")), Err::<(), _>("a pipe\\n".to_owned()));
        let left = contained(|| panic_any(Mine));
        assert_eq!(left, Err::<(), _>("a payload that is no text".to_owned()));
    }

    /// Whoever tells the subscriber something does it from here.
    #[test]
    fn s15_nothing_else_speaks_to_the_subscriber() {
        fn look(directory: &Path, found: &mut Vec<String>) {
            for entry in
                fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("one of it"))
            {
                let path = entry.path();
                if path.is_dir() {
                    look(&path, found);
                } else if !path.ends_with("contained.rs") {
                    let source = fs::read_to_string(&path).expect("source");
                    let levels =
                        ["trace!", "debug!", "info!", "warn!", "error!", "event!", "span!"];
                    let speaks = |line: &&str| {
                        levels.iter().any(|level| line.contains(&format!("tracing::{level}")))
                    };
                    found.extend(
                        source
                            .lines()
                            .filter(speaks)
                            .map(|line| format!("{}: {line}", path.display())),
                    );
                }
            }
        }
        let mut found = Vec::new();
        look(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
}
