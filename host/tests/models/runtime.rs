//! What a thread does when it is asked to attend.

pub(crate) mod locals {
    use std::cell::Cell;

    loom::thread_local! {
        /// What the model wants done.
        pub(crate) static ATTENDED: Cell<Option<Box<dyn FnMut()>>> = Cell::new(None);
    }

    /// No model runs destructors.
    pub(crate) fn paying() -> bool {
        false
    }

    pub(crate) fn attend() {
        let attended = ATTENDED.with(Cell::take);
        if let Some(mut attended) = attended {
            attended();
            ATTENDED.with(|again| again.set(Some(attended)));
        }
    }
}
