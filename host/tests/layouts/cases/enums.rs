//! Changes of enums.

use super::cases;

cases! {
    of_a_record same_enums: fits
    { #[record] pub enum R { A, B(u32), C { x: u64 } } }
    { #[record] pub enum R { A, B(u32), C { x: u64 } } }

    of_a_record variant_added_end: refused
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { A, B, C } }

    of_a_record variant_added_mid: refused
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { A, C, B } }

    of_a_record variant_removed: refused
    { #[record] pub enum R { A, B, C } }
    { #[record] pub enum R { A, C } }

    of_a_record variant_renamed: refused
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { A, Z } }

    of_a_record variants_swapped: refused
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { B, A } }

    of_a_record discriminant_first: refused
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { A = 10, B } }

    of_a_record discriminant_last: refused
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { A, B = 10 } }

    of_a_record discriminant_explicit_same: fits
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { A = 0, B = 1 } }

    of_a_record discriminant_by_const: refused
    { const D: u8 = 3; #[record] pub enum R { A, B = D } }
    { const D: u8 = 4; #[record] pub enum R { A, B = D } }

    of_a_record discriminant_swapped: refused
    { #[record] pub enum R { A = 1, B = 2 } }
    { #[record] pub enum R { A = 2, B = 1 } }

    of_a_record discriminant_swapped_and_order: refused
    { #[record] pub enum R { A = 1, B = 2 } }
    { #[record] pub enum R { B = 2, A = 1 } }

    of_a_record payload_type: refused
    { #[record] pub enum R { A, B(u32) } }
    { #[record] pub enum R { A, B(i32) } }

    of_a_record payload_added: refused
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { A, B(u32) } }

    of_a_record payload_removed_keeps_size: refused
    { #[record] pub enum R { A(u32), B(u32) } }
    { #[record] pub enum R { A(u32), B } }

    of_a_record payload_moved_variant: refused
    { #[record] pub enum R { A(u32), B } }
    { #[record] pub enum R { A, B(u32) } }

    of_a_record payload_extra_field: refused
    { #[record] pub enum R { A, B { a: u32 } } }
    { #[record] pub enum R { A, B { a: u32, b: u32 } } }

    of_a_record payload_field_renamed: refused
    { #[record] pub enum R { A, B { a: u32 } } }
    { #[record] pub enum R { A, B { z: u32 } } }

    of_a_record payload_fields_swapped: refused
    { #[record] pub enum R { A, B { a: u32, b: u32 } } }
    { #[record] pub enum R { A, B { b: u32, a: u32 } } }

    of_a_record payload_tuple_to_struct: refused
    { #[record] pub enum R { A, B(u32) } }
    { #[record] pub enum R { A, B { a: u32 } } }

    of_a_record unit_variant_to_empty_tuple: fits
    { #[record] pub enum R { A, B(u32) } }
    { #[record] pub enum R { A(), B(u32) } }

    of_a_record payload_record_changed: refused
    { #[record] pub struct P { pub v: u32 } #[record] pub enum R { A, B(P) } }
    { #[record] pub struct P { pub v: i32 } #[record] pub enum R { A, B(P) } }

    of_a_record payload_text: refused
    { #[record] pub enum R { A, B(u32) } }
    { #[record] pub enum R { A, B(u32), C(Text) } }

    of_a_record of_one_variant: fits
    { #[record] pub enum R { A } }
    { #[record] pub enum R { A } }

    of_a_record two_variants_second_payload: refused
    { #[record] pub enum R { A(u32), B(u32), C(u32) } }
    { #[record] pub enum R { A(u32), B(u32), C(f32) } }

    of_a_record one_gets_payload_among_payloads: refused
    { #[record] pub enum R { A(u32), B, C(u32) } }
    { #[record] pub enum R { A(u32), B(u8), C(u32) } }

    of_a_record unit_to_payload_only_unit: refused
    { #[record] pub enum R { A, B } }
    { #[record] pub enum R { A, B { why: Text } } }

    of_a_record recursive_payload_changed: refused
    { #[record] pub enum R { Leaf(u32), Branch(List<R>) } }
    { #[record] pub enum R { Leaf(u64), Branch(List<R>) } }

    of_a_record made_growable: refused
    { #[record] pub enum R { A, B } }
    { #[record(growable)] pub enum R { A, #[unknown] B } }

    of_a_record payload_list_to_array: refused
    { #[record] pub enum R { A, B { all: List<u8> } } }
    { #[record] pub enum R { A, B { all: [u8; 8] } } }

    of_contracts of_another_crate: refused
    {
        pub use probe_contracts::Side;
        #[contract] pub trait Fees { fn fee(&self, all: Vec<Side>) -> u64; }
    }
    {
        #[record] pub enum Side { Buy, Sell }
        #[contract] pub trait Fees { fn fee(&self, all: Vec<Side>) -> u64; }
    }
}
