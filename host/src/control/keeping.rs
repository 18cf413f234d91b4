//! What is kept for the next update: a preflight's child, and the memory of a library.
//!
//! The child is not started with the host: a service that is never updated has none. From the first
//! switch on there is one, for who updates once mostly does so again. And not while an update is
//! under way, whose calls and threads want the processor more.

use super::Control;
use super::worker::spawn;
use crate::settings::Bounds;
use crate::stage::preflight::{self, Kept};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After which a drain that lasts is no reason to wait any longer.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long much memory is kept that no library is read into.
const SPARE_KEPT: Duration = Duration::from_secs(60);
/// Between two looks at whether the child is still there, when nothing else is to be seen to.
pub(super) const CHILD_POLL: Duration = Duration::from_secs(60);

pub(super) struct Keeping {
    pub(super) kept: Arc<Kept>,
    is_wanted: bool,
    has_begun: bool,
    /// The next child is to be started, since then.
    due: Option<Instant>,
}

impl Keeping {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let is_wanted = bounds.preflight_kept && preflight::limit(bounds).is_some();
        Keeping { kept: Arc::new(Kept::new(is_wanted)), is_wanted, has_begun: false, due: None }
    }

    /// Something that served was replaced.
    pub(super) fn begin(&mut self) {
        self.has_begun = self.is_wanted;
        self.want();
    }

    /// A child may have been used.
    pub(super) fn want(&mut self) {
        if self.has_begun && self.due.is_none() {
            self.due = Some(Instant::now());
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }
}

impl Control {
    /// The memory that a large library was read into is kept for the next one, but not for ever.
    pub(super) fn keep_spare(&mut self) {
        self.spare_until = self.shared.spare.is_large().then(|| Instant::now() + SPARE_KEPT);
    }

    pub(super) fn look_at_spare(&mut self) {
        if self.spare_until.take_if(|until| Instant::now() >= *until).is_some() {
            self.shared.spare.give_back();
        }
    }

    pub(super) fn look_at_keeping(&mut self) {
        if self.keeping.has_begun {
            self.keeping.kept.look();
        }
        let Some(since) = self.keeping.due else { return };
        let busy = self.groups.noted().any(|(_, state)| state.transition.is_some());
        if busy || self.shutdown.is_some() || !self.is_settled() && since.elapsed() < PATIENCE {
            return;
        }
        self.keeping.due = None;
        let kept = Arc::clone(&self.keeping.kept);
        // Without it the next preflight starts its child itself.
        let _ = spawn("midflight-keep", move || kept.fill());
    }
}
