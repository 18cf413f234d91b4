//! Changes of records, which cross lent and in a list.

use super::cases;

cases! {
    of_a_record same_records: fits
    { #[record] pub struct R { pub a: u32, pub b: u64 } }
    { #[record] pub struct R { pub a: u32, pub b: u64 } }

    of_a_record field_renamed: refused
    { #[record] pub struct R { pub a: u32, pub b: u32 } }
    { #[record] pub struct R { pub a: u32, pub c: u32 } }

    of_a_record fields_swapped_same_type: refused
    { #[record] pub struct R { pub a: u32, pub b: u32 } }
    { #[record] pub struct R { pub b: u32, pub a: u32 } }

    of_a_record fields_swapped_last: refused
    { #[record] pub struct R { pub x: u32, pub y: u32, pub w: u16, pub h: u32 } }
    { #[record] pub struct R { pub x: u32, pub y: u32, pub h: u32, pub w: u16 } }

    of_a_record field_removed_first: refused
    { #[record] pub struct R { pub x: u32, pub y: u32, pub w: u16 } }
    { #[record] pub struct R { pub y: u32, pub w: u16 } }

    of_a_record field_removed_last: refused
    { #[record] pub struct R { pub x: u32, pub y: u32, pub w: u16 } }
    { #[record] pub struct R { pub x: u32, pub y: u32 } }

    of_a_record all_fields_removed: refused
    { #[record] pub struct R { pub x: u32 } }
    { #[record] pub struct R { } }

    of_a_record field_in_padding: refused
    { #[record] pub struct R { pub x: u64, pub y: u8 } }
    { #[record] pub struct R { pub x: u64, pub y: u8, pub z: u8 } }

    of_a_record type_same_size_i32: refused
    { #[record] pub struct R { pub x: u32 } }
    { #[record] pub struct R { pub x: i32 } }

    of_a_record type_same_size_f32: refused
    { #[record] pub struct R { pub x: u32 } }
    { #[record] pub struct R { pub x: f32 } }

    of_a_record type_usize_u64: refused
    { #[record] pub struct R { pub x: u64 } }
    { #[record] pub struct R { pub x: usize } }

    of_a_record type_bool_u8: refused
    { #[record] pub struct R { pub x: bool } }
    { #[record] pub struct R { pub x: u8 } }

    of_a_record type_u32_array4: refused
    { #[record] pub struct R { pub x: u32 } }
    { #[record] pub struct R { pub x: [u8; 4] } }

    of_a_record array_length: refused
    { #[record] pub struct R { pub x: [u8; 4] } }
    { #[record] pub struct R { pub x: [u8; 5] } }

    of_a_record array_length_in_padding: refused
    { #[record] pub struct R { pub k: u64, pub x: [u8; 4] } }
    { #[record] pub struct R { pub k: u64, pub x: [u8; 5] } }

    of_a_record array_length_0_1_unit: refused
    { #[record] pub struct R { pub x: [(); 0] } }
    { #[record] pub struct R { pub x: [(); 1] } }

    of_a_record array_elem: refused
    { #[record] pub struct R { pub x: [u32; 2] } }
    { #[record] pub struct R { pub x: [i32; 2] } }

    of_a_record array_nested_swapped: refused
    { #[record] pub struct R { pub x: [[u8; 2]; 3] } }
    { #[record] pub struct R { pub x: [[u8; 3]; 2] } }

    of_a_record array_flattened: refused
    { #[record] pub struct R { pub x: [[u8; 2]; 3] } }
    { #[record] pub struct R { pub x: [u8; 6] } }

    of_a_record type_alias: fits
    { pub type P = u64; #[record] pub struct R { pub x: P } }
    { pub type Q = u64; #[record] pub struct R { pub x: Q } }

    of_a_record const_length_by_const: refused
    { const N: usize = 3; #[record] pub struct R { pub x: [u8; N] } }
    { const N: usize = 4; #[record] pub struct R { pub x: [u8; N] } }

    of_a_record const_length_by_other_name: fits
    { const N: usize = 3; #[record] pub struct R { pub x: [u8; N] } }
    { const M: usize = 3; #[record] pub struct R { pub x: [u8; M] } }

    of_a_record newtype_for_primitive: refused
    { #[record] pub struct R { pub x: u64 } }
    { #[record] pub struct Ticks(pub u64); #[record] pub struct R { pub x: Ticks } }

    of_a_record newtype_other_name: refused
    { #[record] pub struct Cents(pub u64); #[record] pub struct R { pub x: Cents } }
    { #[record] pub struct Ticks(pub u64); #[record] pub struct R { pub x: Ticks } }

    of_a_record shadowed_primitive_name: refused
    { #[record] pub struct R { pub x: u32 } }
    {
        pub mod sh {
            #[allow(non_camel_case_types)]
            #[midflight_plugin::record]
            pub struct u32 { pub integer: i32 }
        }
        #[record] pub struct R { pub x: sh::u32 }
    }

    of_a_record tuple_to_named: refused
    { #[record] pub struct R(pub u32, pub u32); }
    { #[record] pub struct R { pub a: u32, pub b: u32 } }

    of_a_record tuple_struct_longer: refused
    { #[record] pub struct R(pub u32, pub u32); }
    { #[record] pub struct R(pub u32, pub u32, pub u32); }

    of_a_record tuple_struct_type: refused
    { #[record] pub struct R(pub u32, pub u32); }
    { #[record] pub struct R(pub u32, pub i32); }

    of_a_record unit_to_unit_braces: fits
    { #[record] pub struct R; }
    { #[record] pub struct R {} }

    of_a_record private_field: fits
    { #[record] pub struct R { pub x: u32 } }
    { #[record] #[derive(Default)] pub struct R { x: u32 } }

    of_a_record private_field_type: refused
    { #[record] pub struct R { pub y: u32, x: u32 } }
    { #[record] pub struct R { pub y: u32, x: i32 } }

    of_a_record private_field_renamed: refused
    { #[record] pub struct R { pub y: u32, x: u32 } }
    { #[record] pub struct R { pub y: u32, z: u32 } }

    of_a_record derives_and_docs: fits
    { #[record] pub struct R { pub x: u32 } }
    {
        #[doc = "doc"]
        #[record]
        #[derive(Debug, Clone, PartialEq, PartialOrd, Eq, Ord, Hash)]
        pub struct R {
            #[doc = "doc"] pub x: u32
        }
    }

    of_a_record record_renamed: refused
    { #[record] pub struct R { pub x: u32 } }
    { #[record] pub struct S { pub x: u32 } pub use S as R; }

    of_a_record struct_to_enum: refused
    { #[record] pub struct R { pub x: u8 } }
    { #[record] pub enum R { A, B } }

    of_a_record raw_ident_field: fits
    { #[record] pub struct R { pub r#type: u32 } }
    { #[record] pub struct R { pub r#type: u32 } }

    of_a_record module_moved: fits
    { pub mod a { #[midflight_plugin::record] pub struct R { pub x: u32 } } pub use a::R; }
    {
        pub mod b { pub mod c { #[midflight_plugin::record] pub struct R { pub x: u32 } } }
        pub use b::c::R;
    }

    of_a_record text_list_u8: refused
    { #[record] pub struct R { pub x: Text } }
    { #[record] pub struct R { pub x: List<u8> } }

    of_a_record list_elem: refused
    { #[record] pub struct R { pub x: List<u32> } }
    { #[record] pub struct R { pub x: List<i32> } }

    of_a_record list_elem_record_field: refused
    { #[record] pub struct E { pub v: u32 } #[record] pub struct R { pub x: List<E> } }
    { #[record] pub struct E { pub v: i32 } #[record] pub struct R { pub x: List<E> } }

    of_a_record maybe_wrapped: refused
    { #[record] pub struct R { pub x: u32 } }
    { #[record] pub struct R { pub x: Maybe<u32> } }

    of_a_record maybe_inner: refused
    { #[record] pub struct R { pub x: Maybe<u32> } }
    { #[record] pub struct R { pub x: Maybe<i32> } }

    of_a_record maybe_maybe: refused
    { #[record] pub struct R { pub x: Maybe<u32> } }
    { #[record] pub struct R { pub x: Maybe<Maybe<u32>> } }

    of_a_record maybe_bool_niche: refused
    { #[record] pub struct R { pub x: Maybe<bool> } }
    { #[record] pub struct R { pub x: Maybe<u8> } }

    of_a_record own_enum_for_maybe: refused
    { #[record] pub struct R { pub x: Maybe<u32> } }
    { #[record] pub enum O { Some(u32), None } #[record] pub struct R { pub x: O } }

    of_a_record map_key: refused
    { #[record] pub struct R { pub x: Map<u32, u64> } }
    { #[record] pub struct R { pub x: Map<i32, u64> } }

    of_a_record map_value: refused
    { #[record] pub struct R { pub x: Map<u32, u64> } }
    { #[record] pub struct R { pub x: Map<u32, i64> } }

    of_a_record map_swapped: refused
    { #[record] pub struct R { pub x: Map<u32, u64> } }
    { #[record] pub struct R { pub x: Map<u64, u32> } }

    of_a_record map_for_list_of_pairs: refused
    { #[record] pub struct P { pub k: u32, pub v: u64 } #[record] pub struct R { pub x: List<P> } }
    { #[record] pub struct R { pub x: Map<u32, u64> } }

    of_a_record period_u64: refused
    { #[record] pub struct R { pub x: Period } }
    { #[record] pub struct R { pub x: [u64; 2] } }

    of_a_record nested_3_deep: refused
    {
        #[record] pub struct A { pub v: u32 }
        #[record] pub struct B { pub a: A }
        #[record] pub struct R { pub b: B }
    }
    {
        #[record] pub struct A { pub v: f32 }
        #[record] pub struct B { pub a: A }
        #[record] pub struct R { pub b: B }
    }

    of_a_record nested_swapped_records: refused
    {
        #[record] pub struct A { pub v: u32 }
        #[record] pub struct B { pub v: u32 }
        #[record] pub struct R { pub a: A, pub b: B }
    }
    {
        #[record] pub struct A { pub v: u32 }
        #[record] pub struct B { pub v: u32 }
        #[record] pub struct R { pub a: B, pub b: A }
    }

    of_a_record recursive_same: fits
    { #[record] pub struct R { pub v: u32, pub below: List<R> } }
    { #[record] pub struct R { pub v: u32, pub below: List<R> } }

    of_a_record recursive_changed_after: refused
    { #[record] pub struct R { pub below: List<R>, pub v: u32 } }
    { #[record] pub struct R { pub below: List<R>, pub v: i32 } }

    of_a_record recursive_mutual_changed: refused
    {
        #[record] pub struct R { pub e: List<E> }
        #[record] pub struct E { pub r: List<R>, pub v: u32 }
    }
    {
        #[record] pub struct R { pub e: List<E> }
        #[record] pub struct E { pub r: List<R>, pub v: i32 }
    }

    of_a_record recursion_to_other: refused
    { #[record] pub struct E { pub below: List<E> } #[record] pub struct R { pub below: List<R> } }
    { #[record] pub struct E { pub below: List<E> } #[record] pub struct R { pub below: List<E> } }

    of_a_record inlined_record: refused
    {
        #[record] pub struct P { pub x: u32, pub y: u32 }
        #[record] pub struct R { pub p: P, pub z: u32 }
    }
    { #[record] pub struct R { pub x: u32, pub y: u32, pub z: u32 } }

    of_a_record two_records_one_name: refused
    {
        pub mod a { #[midflight_plugin::record] pub struct L { pub x: u32 } }
        pub mod b { #[midflight_plugin::record] pub struct L { pub x: i32 } }
        #[record] pub struct R { pub a: a::L, pub b: b::L }
    }
    {
        pub mod a { #[midflight_plugin::record] pub struct L { pub x: u32 } }
        pub mod b { #[midflight_plugin::record] pub struct L { pub x: i32 } }
        #[record] pub struct R { pub a: b::L, pub b: a::L }
    }

    of_a_record list_of_array_len: refused
    { #[record] pub struct R { pub first: u8, pub x: List<[u8; 4]> } }
    { #[record] pub struct R { pub first: u8, pub x: List<[u8; 8]> } }

    of_a_record two_maybes_second_changed: refused
    { #[record] pub struct R { pub a: Maybe<u32>, pub b: Maybe<u32> } }
    { #[record] pub struct R { pub a: Maybe<u32>, pub b: Maybe<i32> } }

    of_a_record twenty_lists_one_changed: refused
    { #[record] pub struct R { pub a: List<u32>, pub b: List<u64>, pub c: List<u8> } }
    { #[record] pub struct R { pub a: List<u32>, pub b: List<i64>, pub c: List<u8> } }

    of_a_record period_of_the_authors_own: refused
    { #[record] pub struct R { pub x: midflight_plugin::Period } }
    {
        #[record] pub struct Period { pub seconds: u64, pub nanoseconds: u32 }
        #[record] pub struct R { pub x: Period }
    }

    of_a_record list_of_a_list_of_a_list: refused
    { #[record] pub struct R { pub x: List<List<Maybe<u32>>> } }
    { #[record] pub struct R { pub x: List<List<Maybe<Text>>> } }

    of_a_record fields_added_in_two_records: refused
    {
        #[record] pub struct P { pub v: u32 }
        #[record] pub struct R { pub p: P, pub q: u32 }
    }
    {
        #[record] pub struct P { pub v: u32, pub w: u32 }
        #[record] pub struct R { pub p: P, pub q: u32, pub r: u32 }
    }

    of_a_record many_records_deep: refused
    {
        #[record] pub struct A { pub a: u32 }
        #[record] pub struct B { pub a: List<A> }
        #[record] pub struct C { pub b: List<B> }
        #[record] pub struct D { pub c: List<C> }
        #[record] pub struct E { pub d: List<D> }
        #[record] pub struct F { pub e: List<E> }
        #[record] pub struct R { pub f: List<F> }
    }
    {
        #[record] pub struct A { pub a: i32 }
        #[record] pub struct B { pub a: List<A> }
        #[record] pub struct C { pub b: List<B> }
        #[record] pub struct D { pub c: List<C> }
        #[record] pub struct E { pub d: List<D> }
        #[record] pub struct F { pub e: List<E> }
        #[record] pub struct R { pub f: List<F> }
    }

    of_a_record field_named_as_in_a_tuple: refused
    { #[record] pub struct R { pub field_count: u32, pub field_0: u32 } }
    { #[record] pub struct R { pub field_count: i32, pub field_0: u32 } }
}
