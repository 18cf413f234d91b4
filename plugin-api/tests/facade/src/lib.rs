//! midflight-plugin with parts of it replaced: what safe code can do to generated code that finds
//! this crate under that name.
#![forbid(unsafe_code)]

pub use midflight_plugin::*;

/// What generated code names.
pub mod rt {
    pub use midflight_plugin::rt::*;

    /// A call that does not run.
    pub fn guard<T: Given>(_: impl FnOnce() -> T) -> Reply<T::Wire> {
        Reply::panicked()
    }

    /// An offer of one type's, for any other.
    #[derive(Debug)]
    pub struct OfferOf<P>(P);
    impl<P> OfferOf<P> {
        /// That of another.
        pub const fn of<C: ?Sized>() -> midflight_plugin::rt::OfferOf<crate::Another> {
            midflight_plugin::rt::OfferOf::of::<dyn crate::Nothing>()
        }
    }

    /// The language, with holes.
    pub mod core {
        pub use ::core::*;

        /// Where every field lies at the beginning.
        pub mod mem {
            pub use crate::nowhere as offset_of;
            pub use ::core::mem::*;
        }
    }

    /// Nothing is to be dropped.
    pub const fn drops<T>() -> bool {
        false
    }

    /// Everything is a record.
    pub const fn assert_record<T>() {}
}

/// No place.
#[macro_export]
macro_rules! nowhere {
    ($($any:tt)*) => {
        0
    };
}

/// A contract that is every other's stand-in.
#[midflight_plugin::contract]
pub trait Nothing {
    /// Nothing.
    fn nothing(&self);
}

/// A type with another's offers.
#[derive(Debug)]
pub struct Another;
impl Nothing for Another {
    fn nothing(&self) {}
}
