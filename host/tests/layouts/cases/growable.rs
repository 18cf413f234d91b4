//! Changes of records and enums that may grow.

use super::cases;

cases! {
    of_a_record field_private_since: fits
    { #[record(growable)] pub struct R { pub x: u32 } }
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1")] y: u32 } }

    of_a_record since_version_changed: fits
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1")] pub y: u32 } }
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.3")] pub y: u32 } }

    of_a_record default_changed: fits
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1", default = 1)] pub y: u32 } }
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1", default = 2)] pub y: u32 } }

    of_a_record since_dropped: refused
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1")] pub y: u32 } }
    { #[record(growable)] pub struct R { pub x: u32, pub y: u32 } }

    of_a_record first_field_removed: refused
    { #[record(growable)] pub struct R { pub x: u32, pub y: u32 } }
    { #[record(growable)] pub struct R { pub y: u32 } }

    of_a_record later_two_swapped: refused
    {
        #[record(growable)] pub struct R {
            pub x: u32, #[since("1.1")] pub y: u32, #[since("1.2")] pub z: u32
        }
    }
    {
        #[record(growable)] pub struct R {
            pub x: u32, #[since("1.1")] pub z: u32, #[since("1.2")] pub y: u32
        }
    }

    of_a_record later_removed_middle: refused
    {
        #[record(growable)] pub struct R {
            pub x: u32, #[since("1.1")] pub y: u32, #[since("1.2")] pub z: u32
        }
    }
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.2")] pub z: u32 } }

    of_a_record later_alignment: fits
    { #[record(growable)] pub struct R { pub x: u8 } }
    { #[record(growable)] pub struct R { pub x: u8, #[since("1.1")] pub y: u64 } }

    of_a_record nested_record_in_it_changed: refused
    { #[record] pub struct P { pub v: u32 } #[record(growable)] pub struct R { pub p: P } }
    {
        #[record] pub struct P { pub v: u32, pub w: u32 }
        #[record(growable)] pub struct R { pub p: P, #[since("1.1")] pub y: u32 }
    }

    of_a_record enum_since_swapped: refused
    { #[record(growable)] pub enum R { A, #[unknown] U, #[since("1.1")] B, #[since("1.2")] C } }
    { #[record(growable)] pub enum R { A, #[unknown] U, #[since("1.1")] C, #[since("1.2")] B } }

    of_a_record enum_unknown_moved: fits
    { #[record(growable)] pub enum R { A, #[unknown] U } }
    { #[record(growable)] pub enum R { #[unknown] A, U } }

    of_a_record enum_renamed_type: refused
    { #[record(growable)] pub enum R { A, #[unknown] U } }
    { #[record(growable)] pub enum S { A, #[unknown] U } pub use S as R; }

    of_a_record struct_renamed_type: refused
    { #[record(growable)] pub struct R { pub a: u32 } }
    { #[record(growable)] pub struct S { pub a: u32 } pub use S as R; }

    of_a_record struct_to_enum: refused
    { #[record(growable)] pub struct R { pub a: u32 } }
    { #[record(growable)] pub enum R { A, #[unknown] U } }

    of_a_record enum_many: fits
    { #[record(growable)] pub enum R { A, #[unknown] U } }
    {
        #[record(growable)] pub enum R {
            A, #[unknown] U, #[since("1.1")] B, #[since("1.1")] C, #[since("1.2")] D
        }
    }

    of_a_record struct_made_growable: refused
    { #[record] pub struct R { pub x: u32 } }
    { #[record(growable)] pub struct R { pub x: u32 } }

    of_a_record field_without_since: refused
    { #[record(growable)] pub struct R { pub x: u32 } }
    { #[record(growable)] pub struct R { pub x: u32, pub y: Text } }

    of_a_record field_type: refused
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1")] pub y: List<u32> } }
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1")] pub y: List<u64> } }

    of_a_record field_renamed: refused
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1")] pub y: u32 } }
    { #[record(growable)] pub struct R { pub x: u32, #[since("1.1")] pub z: u32 } }

    of_a_record variant_without_since: refused
    { #[record(growable)] pub enum R { A, #[unknown] U } }
    { #[record(growable)] pub enum R { A, #[unknown] U, B } }

    of_a_record variant_removed: refused
    { #[record(growable)] pub enum R { A, #[unknown] U, #[since("1.1")] B, #[since("1.2")] C } }
    { #[record(growable)] pub enum R { A, #[unknown] U, #[since("1.2")] C } }

    of_contracts lent_to_owned: refused
    {
        #[record(growable)] pub struct R { pub x: u32 }
        #[contract] pub trait Fees { fn fee(&self, r: &R); }
    }
    {
        #[record(growable)] pub struct R { pub x: u32 }
        #[contract] pub trait Fees { fn fee(&self, r: R); }
    }

    of_contracts in_what_a_method_takes: refused
    {
        #[record(growable)] pub struct R { pub x: u32 }
        #[contract] pub trait Fees { fn fee(&self, r: Option<Vec<(u8, R)>>); }
    }
    {
        #[record(growable)] pub struct R { pub x: u8 }
        #[contract] pub trait Fees { fn fee(&self, r: Option<Vec<(u8, R)>>); }
    }
}
