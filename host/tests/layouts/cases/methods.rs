//! Changes of methods, and of the contracts that they take and hand out.

use super::cases;

cases! {
    of_methods same_methods: fits
    { fn fee(&self, a: u32) -> u64; }
    { fn fee(&self, a: u32) -> u64; }

    of_methods renamed: refused
    { fn fee(&self, a: u32) -> u64; }
    { fn charge(&self, a: u32) -> u64; }

    of_methods swapped_same_signature: refused
    { fn fee(&self, a: u32) -> u64; fn tax(&self, a: u32) -> u64; }
    { fn tax(&self, a: u32) -> u64; fn fee(&self, a: u32) -> u64; }

    of_methods args_swapped: refused
    { fn fee(&self, a: u32, b: u64) -> u64; }
    { fn fee(&self, b: u64, a: u32) -> u64; }

    of_methods args_same_type_names_swapped: fits
    { fn fee(&self, a: u32, b: u32) -> u64; }
    { fn fee(&self, b: u32, a: u32) -> u64; }

    of_methods result_type: refused
    { fn fee(&self) -> u64; }
    { fn fee(&self) -> i64; }

    of_methods result_unit: refused
    { fn fee(&self) -> u64; }
    { fn fee(&self); }

    of_methods result_unit_explicit: fits
    { fn fee(&self) -> (); }
    { fn fee(&self); }

    of_methods result_result: refused
    { fn fee(&self) -> u64; }
    { fn fee(&self) -> Result<u64, String>; }

    of_methods result_err_type: refused
    { fn fee(&self) -> Result<u64, u32>; }
    { fn fee(&self) -> Result<u64, String>; }

    of_methods result_swapped: refused
    { fn fee(&self) -> Result<u64, u32>; }
    { fn fee(&self) -> Result<u32, u64>; }

    of_methods option_result: refused
    { fn fee(&self) -> Option<u64>; }
    { fn fee(&self) -> Result<u64, ()>; }

    of_methods string_vec_u8: refused
    { fn fee(&self, a: String); }
    { fn fee(&self, a: Vec<u8>); }

    of_methods str_slice: refused
    { fn fee(&self, a: &str); }
    { fn fee(&self, a: &[u8]); }

    of_methods str_string: refused
    { fn fee(&self, a: &str); }
    { fn fee(&self, a: String); }

    of_methods slice_elem: refused
    { fn fee(&self, a: &[u32]); }
    { fn fee(&self, a: &[i32]); }

    of_methods slice_vec: refused
    { fn fee(&self, a: &[u32]); }
    { fn fee(&self, a: Vec<u32>); }

    of_methods ref_value: refused
    { fn fee(&self, a: &u64); }
    { fn fee(&self, a: u64); }

    of_methods ref_option_ref: refused
    { fn fee(&self, a: &u64); }
    { fn fee(&self, a: Option<&u64>); }

    of_methods option_ref_inner: refused
    { fn fee(&self, a: Option<&u64>); }
    { fn fee(&self, a: Option<&i64>); }

    of_methods option_str_option_slice: refused
    { fn fee(&self, a: Option<&str>); }
    { fn fee(&self, a: Option<&[u8]>); }

    of_methods tuple_length: refused
    { fn fee(&self, a: (u32, u32)); }
    { fn fee(&self, a: (u32, u32, u32)); }

    of_methods tuple_order: refused
    { fn fee(&self, a: (u32, u64)); }
    { fn fee(&self, a: (u64, u32)); }

    of_methods tuple_split_args: refused
    { fn fee(&self, a: (u32, u64)); }
    { fn fee(&self, a: u32, b: u64); }

    of_methods tuple_elem_5_of_6: refused
    { fn fee(&self, a: (u8, u8, u8, u8, u8, u8)); }
    { fn fee(&self, a: (u8, u8, u8, u8, i8, u8)); }

    of_methods seventh_argument: refused
    { fn fee(&self, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32) -> u64; }
    { fn fee(&self, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: i32) -> u64; }

    of_methods twelfth_argument: refused
    {
        fn fee(
            &self, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32,
            k: u32, l: u32
        ) -> u64;
    }
    {
        fn fee(
            &self, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32,
            k: u32, l: f32
        ) -> u64;
    }

    of_methods hash_btree_map: fits
    { fn fee(&self, a: HashMap<u32, u64>); }
    { fn fee(&self, a: BTreeMap<u32, u64>); }

    of_methods map_vec_of_pairs: refused
    { fn fee(&self, a: HashMap<u32, u64>); }
    { fn fee(&self, a: Vec<(u32, u64)>); }

    of_methods set_vec: refused
    { fn fee(&self, a: HashSet<u32>); }
    { fn fee(&self, a: Vec<u32>); }

    of_methods set_map_unit: refused
    { fn fee(&self, a: HashSet<u32>); }
    { fn fee(&self, a: HashMap<u32, ()>); }

    of_methods map_key: refused
    { fn fee(&self, a: HashMap<u32, u64>); }
    { fn fee(&self, a: HashMap<i32, u64>); }

    of_methods vec_list: fits
    { fn fee(&self, a: Vec<u32>); }
    { fn fee(&self, a: List<u32>); }

    of_methods string_text: fits
    { fn fee(&self, a: String); }
    { fn fee(&self, a: Text); }

    of_methods option_maybe: fits
    { fn fee(&self, a: Option<u32>); }
    { fn fee(&self, a: Maybe<u32>); }

    of_methods duration_period: fits
    { fn fee(&self, a: Duration); }
    { fn fee(&self, a: Period); }

    of_methods duration_u64: refused
    { fn fee(&self, a: Duration); }
    { fn fee(&self, a: u64); }

    of_methods made_async: refused
    { fn fee(&self) -> u64; }
    { async fn fee(&self) -> u64; }

    of_methods async_result: refused
    { async fn fee(&self) -> u64; }
    { async fn fee(&self) -> i64; }

    of_methods async_err: refused
    { async fn fee(&self) -> Result<u64, u32>; }
    { async fn fee(&self) -> Result<u64, i32>; }

    of_methods sink_text: refused
    { fn fee(&self, out: Sink<'_>); }
    { fn fee(&self, out: TextSink<'_>); }

    of_contracts callback_other_contract_same_methods: refused
    {
        #[contract] pub trait L { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self, l: Callback<dyn L>); }
    }
    {
        #[contract] pub trait K { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self, l: Callback<dyn K>); }
    }

    of_contracts callback_method_arg: refused
    {
        #[contract] pub trait L { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self, l: Callback<dyn L>); }
    }
    {
        #[contract] pub trait L { fn at(&self, x: i32); }
        #[contract] pub trait Fees { fn fee(&self, l: Callback<dyn L>); }
    }

    of_contracts object_other_contract_same_methods: refused
    {
        #[contract] pub trait S { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Box<dyn S>; }
    }
    {
        #[contract] pub trait T { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Box<dyn T>; }
    }

    of_contracts object_for_callback: refused
    {
        #[contract] pub trait S { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Box<dyn S>; }
    }
    {
        #[contract] pub trait S { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Callback<dyn S>; }
    }

    of_contracts object_nested_record: refused
    {
        #[record] pub struct P { pub v: u32 }
        #[contract] pub trait S { fn at(&self, x: &P); }
        #[contract] pub trait Fees { fn fee(&self) -> Box<dyn S>; }
    }
    {
        #[record] pub struct P { pub v: f32 }
        #[contract] pub trait S { fn at(&self, x: &P); }
        #[contract] pub trait Fees { fn fee(&self) -> Box<dyn S>; }
    }

    of_contracts unused_record_changed: fits
    { #[record] pub struct P { pub v: u32 } #[contract] pub trait Fees { fn fee(&self) -> u64; } }
    { #[record] pub struct P { pub v: f32 } #[contract] pub trait Fees { fn fee(&self) -> u64; } }

    of_methods since_result_changed: refused
    { fn fee(&self); #[since("1.1")] fn tax(&self) -> u64; }
    { fn fee(&self); #[since("1.1")] fn tax(&self) -> i64; }

    of_methods since_renamed: refused
    { fn fee(&self); #[since("1.1")] fn tax(&self) -> u64; }
    { fn fee(&self); #[since("1.1")] fn vat(&self) -> u64; }

    of_methods since_dropped: refused
    { fn fee(&self); #[since("1.1")] fn tax(&self) -> u64; }
    { fn fee(&self); fn tax(&self) -> u64; }

    of_methods since_version_changed: fits
    { fn fee(&self); #[since("1.1")] fn tax(&self) -> u64; }
    { fn fee(&self); #[since("1.7")] fn tax(&self) -> u64; }

    of_methods all_since_none_first: fits
    { fn fee(&self); }
    {
        fn fee(&self);
        #[since("1.1")] fn tax(&self, a: String, b: &[u8], c: Option<&str>) -> Vec<String>;
    }

    of_contracts async_two_methods_second_changed: refused
    { #[contract] pub trait Fees { async fn first(&self) -> u64; async fn second(&self) -> u64; } }
    { #[contract] pub trait Fees { async fn first(&self) -> u64; async fn second(&self) -> i64; } }

    of_contracts async_arg_changed: refused
    { #[contract] pub trait Fees { async fn first(&self, a: u64) -> u64; } }
    { #[contract] pub trait Fees { async fn first(&self, a: i64) -> u64; } }

    of_contracts callback_inner_method_of_two: refused
    {
        #[contract] pub trait L { fn at(&self, x: u32); }
        #[contract] pub trait M { fn at(&self, x: u32); }
        #[contract] pub trait Fees {
            fn fee(&self, l: Callback<dyn L>); fn tax(&self, l: Callback<dyn M>);
        }
    }
    {
        #[contract] pub trait L { fn at(&self, x: u32); }
        #[contract] pub trait M { fn at(&self, x: i32); }
        #[contract] pub trait Fees {
            fn fee(&self, l: Callback<dyn L>); fn tax(&self, l: Callback<dyn M>);
        }
    }

    of_methods lent_to_owned_str: refused
    { fn fee(&self, who: &str, a: u32) -> u64; }
    { fn fee(&self, who: String, a: u32) -> u64; }

    of_methods owned_to_lent_slice: refused
    { fn fee(&self, who: Vec<u32>) -> u64; }
    { fn fee(&self, who: &[u32]) -> u64; }

    of_methods lent_record_to_option: refused
    { fn fee(&self, a: u32, who: &u64) -> u64; }
    { fn fee(&self, a: u32, who: Option<u64>) -> u64; }

    of_methods two_lent_swapped: refused
    { fn fee(&self, a: &str, b: &[u8]) -> u64; }
    { fn fee(&self, a: &[u8], b: &str) -> u64; }

    of_methods added_lent_argument: refused
    { fn fee(&self, a: u32) -> u64; }
    { fn fee(&self, a: u32, b: &str) -> u64; }

    of_methods sink_to_vec: refused
    { fn fee(&self, out: Sink<'_>) -> u64; }
    { fn fee(&self, out: Vec<u8>) -> u64; }

    of_methods result_text_error_to_record: refused
    { fn fee(&self) -> Result<u64, String>; }
    { fn fee(&self) -> Result<u64, u8>; }

    of_methods result_ok_changed: refused
    { fn fee(&self) -> Result<u64, String>; }
    { fn fee(&self) -> Result<i64, String>; }

    of_methods vec_of_option: refused
    { fn fee(&self) -> Vec<Option<u32>>; }
    { fn fee(&self) -> Vec<Option<i32>>; }

    of_methods map_of_vec: refused
    { fn fee(&self) -> HashMap<String, Vec<u32>>; }
    { fn fee(&self) -> HashMap<String, Vec<i32>>; }

    of_methods since_before_changed: refused
    { fn fee(&self); }
    { fn charge(&self); #[since("1.1")] fn tax(&self); }

    of_methods const_generic_array_arg: refused
    { fn fee(&self, a: [u32; 4]); }
    { fn fee(&self, a: [u32; 8]); }

    of_contracts trait_renamed: refused
    { #[contract] pub trait Fees { fn fee(&self); } }
    { #[contract] pub trait Tariff { fn fee(&self); } pub use Tariff as Fees; }

    of_methods added_without_since: refused
    { fn fee(&self, a: u32) -> u64; }
    { fn fee(&self, a: u32) -> u64; fn tax(&self, who: &str) -> u64; }

    of_methods added_in_the_middle: refused
    { fn fee(&self, a: u32) -> u64; fn total(&self) -> u64; }
    { fn fee(&self, a: u32) -> u64; fn tax(&self) -> u64; fn total(&self) -> u64; }

    of_methods added_among_later_ones: refused
    { fn fee(&self); #[since("1.1")] fn tax(&self); }
    { fn fee(&self); #[since("1.1")] fn vat(&self); #[since("1.1")] fn tax(&self); }

    of_methods removed: refused
    { fn fee(&self, a: u32) -> u64; fn tax(&self) -> u64; fn total(&self) -> u64; }
    { fn fee(&self, a: u32) -> u64; fn total(&self) -> u64; }

    of_methods async_with_another_argument: refused
    { async fn fee(&self, a: u32) -> Result<Vec<u8>, String>; }
    { fn fee(&self, a: u32, b: Option<&str>) -> Result<Vec<u8>, String>; }

    of_methods btree_set_of_text: refused
    { fn fee(&self) -> BTreeSet<String>; }
    { fn fee(&self) -> BTreeSet<u64>; }

    of_methods map_value: refused
    { fn fee(&self) -> BTreeMap<String, Option<u32>>; }
    { fn fee(&self) -> BTreeMap<String, Option<u64>>; }

    of_methods map_in_a_map: refused
    { fn fee(&self) -> HashMap<u32, HashMap<u32, String>>; }
    { fn fee(&self) -> HashMap<u32, HashMap<u32, u8>>; }

    of_methods lent_map: refused
    { fn fee(&self, a: &Map<u32, u64>); }
    { fn fee(&self, a: Map<u32, u64>); }

    of_methods many_arguments: refused
    {
        fn fee(
            &self, first: HashMap<String, Vec<u32>>, second: BTreeMap<u32, Result<String, Vec<u8>>>,
            third: Option<(String, String)>
        ) -> Result<Vec<String>, String>;
    }
    { fn fee(&self) -> Result<Vec<String>, String>; }

    of_contracts object_to_value: refused
    {
        #[contract] pub trait S { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Result<Box<dyn S>, String>; }
    }
    {
        #[contract] pub trait S { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Result<u64, String>; }
    }

    of_contracts object_perhaps: refused
    {
        #[contract] pub trait S { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Box<dyn S>; }
    }
    {
        #[contract] pub trait S { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Option<Box<dyn S>>; }
    }

    of_contracts object_of_an_object: refused
    {
        #[contract] pub trait T { fn at(&self) -> u32; }
        #[contract] pub trait S { fn next(&self) -> Box<dyn T>; }
        #[contract] pub trait Fees { fn fee(&self) -> Result<Option<Box<dyn S>>, String>; }
    }
    {
        #[contract] pub trait T { fn at(&self) -> i32; }
        #[contract] pub trait S { fn next(&self) -> Box<dyn T>; }
        #[contract] pub trait Fees { fn fee(&self) -> Result<Option<Box<dyn S>>, String>; }
    }

    of_contracts object_without_since: refused
    {
        #[contract] pub trait S { fn at(&self, x: u32); }
        #[contract] pub trait Fees { fn fee(&self) -> Box<dyn S>; }
    }
    {
        #[contract] pub trait S { fn at(&self, x: u32); fn size(&self) -> u64; }
        #[contract] pub trait Fees { fn fee(&self) -> Box<dyn S>; }
    }

    of_contracts callback_in_a_list: refused
    {
        #[contract] pub trait L { fn at(&self, x: &str); }
        #[contract] pub trait Fees { fn fee(&self, all: Vec<(u32, Callback<dyn L>)>); }
    }
    {
        #[contract] pub trait L { fn at(&self, x: String); }
        #[contract] pub trait Fees { fn fee(&self, all: Vec<(u32, Callback<dyn L>)>); }
    }

    of_contracts callback_with_since: fits
    {
        #[contract] pub trait L { fn at(&self, x: &str); }
        #[contract] pub trait Fees { fn fee(&self, l: Callback<dyn L>); }
    }
    {
        #[contract] pub trait L { fn at(&self, x: &str); #[since("1.1")] fn end(&self); }
        #[contract] pub trait Fees { fn fee(&self, l: Callback<dyn L>); }
    }

    of_contracts record_in_an_async_error: refused
    {
        #[record] pub enum E { Closed, Broken(u32) }
        #[contract] pub trait Fees { async fn fee(&self) -> Result<Vec<u8>, E>; }
    }
    {
        #[record] pub enum E { Closed, Broken(Text) }
        #[contract] pub trait Fees { async fn fee(&self) -> Result<Vec<u8>, E>; }
    }
}
