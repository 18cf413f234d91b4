//! Two versions of a contract `Fees` each, and whether they fit: changes that authors make, and
//! some that they should not.

pub(crate) mod enums;
pub(crate) mod growable;
pub(crate) mod methods;
pub(crate) mod records;

use crate::contracts::Layout;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) fits: bool,
    pub(crate) old: Layout,
    pub(crate) new: Layout,
}

pub(crate) fn all() -> impl Iterator<Item = (&'static str, Case)> {
    [
        ("records", records::cases()),
        ("enums", enums::cases()),
        ("growable", growable::cases()),
        ("methods", methods::cases()),
    ]
    .into_iter()
    .flat_map(|(group, cases)| cases.into_iter().map(move |case| (group, case)))
}

/// `of_a_record name: refused { what was } { what is }`
macro_rules! cases {
    ($($kind:ident $name:ident: $verdict:ident { $($old:tt)* } { $($new:tt)* })*) => {
        $(
            #[allow(unreachable_pub, unused_imports, missing_docs, clippy::too_many_arguments)]
            mod $name {
                pub mod old {
                    use midflight_plugin::*;
                    use std::{collections::*, time::Duration};
                    crate::cases::$kind! { $($old)* }
                }
                pub mod new {
                    use midflight_plugin::*;
                    use std::{collections::*, time::Duration};
                    crate::cases::$kind! { $($new)* }
                }
            }
        )*

        pub(crate) fn cases() -> Vec<crate::cases::Case> {
            vec![$(crate::cases::Case {
                name: stringify!($name),
                fits: crate::cases::fits!($verdict),
                old: crate::layout::<dyn $name::old::Fees>(),
                new: crate::layout::<dyn $name::new::Fees>(),
            }),*]
        }
    };
}
pub(crate) use cases;

macro_rules! fits {
    (fits) => {
        true
    };
    (refused) => {
        false
    };
}
pub(crate) use fits;

/// A record `R` that is lent, and is handed out in a list.
macro_rules! of_a_record {
    ($($items:tt)*) => {
        $($items)*
        #[contract]
        pub trait Fees {
            fn fee(&self, r: &R) -> u64;
            fn all(&self) -> Vec<R>;
        }
    };
}
pub(crate) use of_a_record;

macro_rules! of_methods {
    ($($methods:tt)*) => {
        #[contract]
        pub trait Fees { $($methods)* }
    };
}
pub(crate) use of_methods;

macro_rules! of_contracts {
    ($($items:tt)*) => { $($items)* };
}
pub(crate) use of_contracts;
