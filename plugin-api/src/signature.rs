//! The std types of signatures.
//!
//! Their bytes have no fixed order, so they can't be read by the other side. By value that is no
//! loss: what is handed over is rebuilt anyway, and so it crosses in a form of its own, made of the
//! boundary's types. A map is rebuilt by collecting it, with the receiver's idea of order and hash:
//! no table of the sender's is believed. So all maps are one form, and all sets another, and
//! neither is a list: one side's `HashMap<K, V>` is the other's `BTreeMap<K, V>` or `Map<K, V>`,
//! and never its `Vec<(K, V)>`.

#![expect(unsafe_code, reason = "`Crosses` is unsafe to implement")]

use crate::layout::{LaidOut, Said, laid_out};
use crate::portable::Form;
use crate::{Crosses, List, Map, Maybe, Period, Text};
use abi_stable::StableAbi;
use abi_stable::std_types::RResult;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

// SAFETY: its bytes.
unsafe impl Form<String> for Text {}

// SAFETY: copied.
unsafe impl Crosses for String {
    type Wire = Text;
    fn into_wire(self) -> Text {
        self.into()
    }
    fn rebuild(wire: Text) -> String {
        wire.as_str().to_owned()
    }
}

// SAFETY: as its elements.
unsafe impl<T: Crosses> Form<Vec<T>> for List<T::Wire> {}

// SAFETY: a new list of rebuilt elements.
unsafe impl<T: Crosses> Crosses for Vec<T> {
    type Wire = List<T::Wire>;
    fn into_wire(self) -> List<T::Wire> {
        self.into_iter().map(T::into_wire).collect::<Vec<_>>().into()
    }
    fn rebuild(wire: List<T::Wire>) -> Vec<T> {
        T::rebuild_all(wire)
    }
}

// SAFETY: as its value.
unsafe impl<T: Crosses> Form<Option<T>> for Maybe<T::Wire> {}

// SAFETY: as its value.
unsafe impl<T: Crosses> Crosses for Option<T> {
    type Wire = Maybe<T::Wire>;
    #[inline]
    fn into_wire(self) -> Maybe<T::Wire> {
        self.map(T::into_wire).into()
    }
    #[inline]
    fn rebuild(wire: Maybe<T::Wire>) -> Option<T> {
        wire.into_option().map(T::rebuild)
    }
}

// SAFETY: as its value or its error.
unsafe impl<T: Crosses, E: Crosses> Form<Result<T, E>> for RResult<T::Wire, E::Wire> {}

// SAFETY: as its value or its error.
unsafe impl<T: Crosses, E: Crosses> Crosses for Result<T, E> {
    type Wire = RResult<T::Wire, E::Wire>;
    #[inline]
    fn into_wire(self) -> RResult<T::Wire, E::Wire> {
        self.map(T::into_wire).map_err(E::into_wire).into()
    }
    #[inline]
    fn rebuild(wire: RResult<T::Wire, E::Wire>) -> Result<T, E> {
        wire.into_result().map(T::rebuild).map_err(E::rebuild)
    }
}

// SAFETY: two numbers.
unsafe impl Form<Duration> for Period {}

// SAFETY: two numbers.
unsafe impl Crosses for Duration {
    type Wire = Period;
    #[inline]
    fn into_wire(self) -> Period {
        self.into()
    }
    #[inline]
    fn rebuild(wire: Period) -> Duration {
        wire.into()
    }
}

macro_rules! tuples {
    ($($name:ident($($number:tt $letter:ident),*);)*) => { $(
        /// A tuple on the wire: that of the language has no fixed order.
        #[repr(C)]
        #[derive(StableAbi)]
        #[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
        pub struct $name<$($letter),*>($($letter),*);

        laid_out! {
            [$($letter: LaidOut + 'static),*] $name<$($letter),*>, as $name<$(Said<$letter>),*>;
        }

        // SAFETY: as its parts.
        unsafe impl<$($letter: Crosses),*> Form<($($letter,)*)> for $name<$($letter::Wire),*> {}

        // SAFETY: as its parts.
        unsafe impl<$($letter: Crosses),*> Crosses for ($($letter,)*) {
            type Wire = $name<$($letter::Wire),*>;
            #[inline]
            fn into_wire(self) -> Self::Wire {
                $name($(self.$number.into_wire()),*)
            }
            #[inline]
            fn rebuild(wire: Self::Wire) -> Self {
                ($($letter::rebuild(wire.$number),)*)
            }
        }
    )* };
}
tuples! {
    Tuple2(0 A, 1 B);
    Tuple3(0 A, 1 B, 2 C);
    Tuple4(0 A, 1 B, 2 C, 3 D);
    Tuple5(0 A, 1 B, 2 C, 3 D, 4 E);
    Tuple6(0 A, 1 B, 2 C, 3 D, 4 E, 5 F);
}

/// A set on the wire: a list of elements that the receiver collects.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(phantom_field(element: T))]
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub struct Set<T> {
    #[sabi(unsafe_opaque_field)]
    elements: List<T>,
}

macro_rules! maps {
    ($($name:ty, where [$($bounds:tt)*];)*) => { $(
        // SAFETY: as its entries.
        unsafe impl<$($bounds)*> Form<$name> for Map<K::Wire, V::Wire> {}

        // SAFETY: a map of the receiver's own, of rebuilt entries.
        unsafe impl<$($bounds)*> Crosses for $name {
            type Wire = Map<K::Wire, V::Wire>;
            fn into_wire(self) -> Self::Wire {
                Map::of_entries(self.into_iter().map(|(key, value)| (key.into_wire(), value.into_wire())))
            }
            fn rebuild(wire: Self::Wire) -> Self {
                wire.into_entries().map(|(key, value)| (K::rebuild(key), V::rebuild(value))).collect()
            }
        }
    )* };
}
maps! {
    BTreeMap<K, V>, where [K: Crosses + Ord, V: Crosses];
    HashMap<K, V, S>, where [K: Crosses + Eq + Hash, V: Crosses, S: BuildHasher + Default + 'static];
}

macro_rules! sets {
    ($($name:ty, where [$($bounds:tt)*];)*) => { $(
        // SAFETY: as its elements.
        unsafe impl<$($bounds)*> Form<$name> for Set<T::Wire> {}

        // SAFETY: a set of the receiver's own, of rebuilt elements.
        unsafe impl<$($bounds)*> Crosses for $name {
            type Wire = Set<T::Wire>;
            fn into_wire(self) -> Self::Wire {
                Set { elements: self.into_iter().map(T::into_wire).collect() }
            }
            fn rebuild(wire: Self::Wire) -> Self {
                wire.elements.into_iter().map(T::rebuild).collect()
            }
        }
    )* };
}
sets! {
    BTreeSet<T>, where [T: Crosses + Ord];
    HashSet<T, S>, where [T: Crosses + Eq + Hash, S: BuildHasher + Default + 'static];
}
