//! Which change of a contract fits which other version of it, in both directions.

use crate::layout;
use crate::layout::{Sides, check};
use midflight_plugin::Contract;

/// One version of the contract `Fees`, in a module of its own.
macro_rules! version {
    ($name:ident { $($items:item)* }) => {
        #[allow(unreachable_pub, dead_code, missing_docs)]
        mod $name {
            #[allow(unused_imports)]
            use midflight_plugin::{List, Text, contract, record};
            $($items)*
        }
    };
}

/// What the side that calls, with the contract `C`, says of another that implements `I`, without
/// the advice; empty if it fits.
fn says<C: Contract + ?Sized, I: Contract + ?Sized>() -> String {
    let said = check("Fees", layout::<C>(), layout::<I>(), Sides::HostCalls).err();
    said.unwrap_or_default().split(" (both have").next().unwrap_or_default().to_owned()
}

fn both(plugin: &str, host: &str) -> String {
    format!("plugin says {plugin}, host says {host}")
}

version! { base {
    #[contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn total(&self, quantities: &[u32]) -> u64;
    }
}}

version! { since {
    #[contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn total(&self, quantities: &[u32]) -> u64;
        #[since("1.1")]
        fn rebate(&self, quantity: u32) -> u64 { quantity.into() }
    }
}}

version! { since_two {
    #[contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn total(&self, quantities: &[u32]) -> u64;
        #[since("1.1")]
        fn rebate(&self, quantity: u32) -> u64 { quantity.into() }
        #[since("1.2")]
        fn refund(&self, quantity: u32) -> u64;
    }
}}

version! { since_another {
    #[contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn total(&self, quantities: &[u32]) -> u64;
        #[since("1.1")]
        fn refund(&self, quantity: u32) -> u64;
        #[since("1.2")]
        fn rebate(&self, quantity: u32) -> u64;
    }
}}

version! { since_changed {
    #[contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn total(&self, quantities: &[u32]) -> u64;
        #[since("1.1")]
        fn rebate(&self, quantity: u64) -> u64 { quantity }
        #[since("1.2")]
        fn refund(&self, quantity: u32) -> u64;
    }
}}

version! { without_since {
    #[contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
        fn total(&self, quantities: &[u32]) -> u64;
        fn rebate(&self, quantity: u32) -> u64;
    }
}}

version! { removed {
    #[contract]
    pub trait Fees {
        fn fee(&self, quantity: u32) -> u64;
    }
}}

version! { renamed_parameter {
    #[contract]
    pub trait Fees {
        fn fee(&self, amount: u32) -> u64;
        fn total(&self, amounts: &[u32]) -> u64;
    }
}}

version! { more_arguments {
    #[contract]
    pub trait Fees {
        fn fee(&self, quantity: u32, venue: u32) -> u64;
        fn total(&self, quantities: &[u32]) -> u64;
    }
}}

#[test]
fn methods_are_added_at_the_end() {
    use {base::Fees as Base, since::Fees as Since, since_two::Fees as Two};
    assert_eq!(says::<dyn Base, dyn Base>(), "");
    // A newer plugin, and an older one.
    assert_eq!(says::<dyn Base, dyn Since>(), "");
    assert_eq!(says::<dyn Base, dyn Two>(), "");
    assert_eq!(says::<dyn Since, dyn Two>(), "");
    assert_eq!(says::<dyn Since, dyn Base>(), "");
    assert_eq!(says::<dyn Two, dyn Base>(), "");
    assert_eq!(says::<dyn Two, dyn Since>(), "");
    assert_eq!(says::<dyn Base, dyn renamed_parameter::Fees>(), "");
}

#[test]
fn what_is_shorter_is_compared_all_the_same() {
    use {since::Fees as Since, since_changed::Fees as Changed, since_two::Fees as Two};
    let differs = "Fees: rebate, argument 1: plugin says u64, host says u32";
    assert_eq!(says::<dyn Since, dyn Changed>(), differs, "a newer plugin");
    assert_eq!(says::<dyn Two, dyn Changed>(), differs);
    assert_eq!(
        says::<dyn Changed, dyn Since>(),
        "Fees: rebate, argument 1: plugin says u32, host says u64",
        "an older one"
    );
    let moved = "Fees: method 3: plugin says refund, host says rebate";
    assert_eq!(says::<dyn Two, dyn since_another::Fees>(), moved);
    let new = "Fees: refund: plugin says fn(u32) -> u64, host says no such method";
    assert_eq!(says::<dyn Since, dyn since_another::Fees>(), new);
}

#[test]
fn what_every_version_has_stays() {
    use base::Fees as Base;
    let says = [
        says::<dyn Base, dyn without_since::Fees>(),
        says::<dyn without_since::Fees, dyn Base>(),
        says::<dyn Base, dyn removed::Fees>(),
        says::<dyn removed::Fees, dyn Base>(),
        says::<dyn since::Fees, dyn without_since::Fees>(),
        says::<dyn Base, dyn more_arguments::Fees>(),
        says::<dyn more_arguments::Fees, dyn Base>(),
    ];
    let rebate = "fn(u32) -> u64 without #[since]";
    let total = "fn(&[u32]) -> u64 without #[since]";
    let none = "no such method";
    let differs = |way, plugin, host| format!("Fees: {way}: {}", both(plugin, host));
    let (without, with) = ("a method without #[since]", "a method with #[since]");
    let (two, one) = ("fn(u32, u32) -> u64", "fn(u32) -> u64");
    let expected = [
        differs("rebate", rebate, none),
        differs("rebate", none, rebate),
        differs("total", none, total),
        differs("total", total, none),
        differs("rebate", without, with),
        differs("fee", two, one),
        differs("fee", one, two),
    ];
    assert_eq!(says, expected);
}

/// One version of a record and of an enum that may grow, and of the contract that passes them.
macro_rules! growing {
    ($name:ident: { $($fields:tt)* } $($variants:tt)*) => {
        version! { $name {
            #[record(growable)]
            pub struct Limits { $($fields)* }
            #[record(growable)]
            pub enum Reason { $($variants)* }
            #[contract]
            pub trait Fees {
                fn fee(&self, limits: &Limits, reason: Reason) -> u64;
                fn all(&self) -> Vec<Limits>;
            }
        }}
    };
}

growing! { grown_1: { orders_max: u32, name: Text } Closed, #[unknown] Other }
growing! { grown_2:
    { orders_max: u32, name: Text, #[since("1.1")] burst_max: u64 }
    Closed, #[unknown] Other, #[since("1.1")] Halted
}
growing! { grown_3:
    { orders_max: u32, name: Text, #[since("1.1")] burst_max: u64, #[since("1.2")] tags: List<Text> }
    Closed, #[unknown] Other, #[since("1.1")] Halted, #[since("1.2")] Auction
}
growing! { grown_other_type: { orders_max: i32, name: Text } Closed, #[unknown] Other }
growing! { grown_other_later_type:
    { orders_max: u32, name: Text, #[since("1.1")] burst_max: i64 }
    Closed, #[unknown] Other, #[since("1.1")] Halted
}
growing! { grown_in_the_middle: { orders_max: u32, burst_max: u64, name: Text } Closed, #[unknown] Other }
growing! { grown_without_since: { orders_max: u32, name: Text, burst_max: u64 } Closed, #[unknown] Other }
growing! { grown_variant_in_the_middle: { orders_max: u32, name: Text } Closed, Halted, #[unknown] Other }
growing! { grown_variant_renamed: { orders_max: u32, name: Text } Shut, #[unknown] Other }
growing! { grown_field_removed: { orders_max: u32 } Closed, #[unknown] Other }

#[test]
fn what_may_grow_grows_at_its_end() {
    use {grown_1::Fees as One, grown_2::Fees as Two, grown_3::Fees as Three};
    assert_eq!(says::<dyn One, dyn One>(), "");
    assert_eq!(says::<dyn One, dyn Two>(), "");
    assert_eq!(says::<dyn Two, dyn One>(), "");
    assert_eq!(says::<dyn Three, dyn One>(), "");
    assert_eq!(says::<dyn One, dyn Three>(), "");
    assert_eq!(says::<dyn Three, dyn Two>(), "");
    assert_eq!(says::<dyn Two, dyn Three>(), "");
}

#[test]
fn what_may_grow_changes_in_no_other_way() {
    use {grown_1::Fees as One, grown_2::Fees as Two, grown_3::Fees as Three};
    let differs = [
        says::<dyn One, dyn grown_other_type::Fees>(),
        says::<dyn Two, dyn grown_other_type::Fees>(),
        says::<dyn grown_other_type::Fees, dyn Two>(),
        says::<dyn Two, dyn grown_other_later_type::Fees>(),
        says::<dyn Three, dyn grown_other_later_type::Fees>(),
        says::<dyn One, dyn grown_in_the_middle::Fees>(),
        says::<dyn grown_in_the_middle::Fees, dyn One>(),
        says::<dyn One, dyn grown_without_since::Fees>(),
        says::<dyn Two, dyn grown_without_since::Fees>(),
        says::<dyn One, dyn grown_variant_in_the_middle::Fees>(),
        says::<dyn Two, dyn grown_variant_renamed::Fees>(),
        says::<dyn One, dyn grown_field_removed::Fees>(),
        says::<dyn Two, dyn grown_field_removed::Fees>(),
    ];
    let says = |way: &str, plugin, host| format!("Fees: fee, {way}: {}", both(plugin, host));
    let (limits, reason) = ("argument 1", "argument 2");
    let limit = |field: &str| format!("{limits}, Limits{field}");
    let (max, later) = (limit(".orders_max"), limit(".burst_max"));
    let none = "no such field";
    let expected = [
        says(&max, "i32", "u32"),
        says(&max, "i32", "u32"),
        says(&max, "u32", "i32"),
        says(&later, "i64", "u64"),
        says(&later, "i64", "u64"),
        says(&later, "u64", none),
        says(&later, none, "u64"),
        says(&later, "u64 without #[since]", none),
        says(&later, "a field without #[since]", "a field with #[since]"),
        says(&format!("{reason}, Reason::Halted"), "Halted", "no such variant"),
        says(&format!("{reason}, Reason, variant 1"), "Shut", "Closed"),
        says(&limit(".name"), none, "Text without #[since]"),
        says(&limit(".name"), none, "Text without #[since]"),
    ];
    assert_eq!(differs, expected);
}

version! { plain {
    #[record]
    pub struct Limits { orders_max: u32 }
    #[record]
    pub enum Reason { Closed, Other }
    #[contract]
    pub trait Fees {
        fn limits(&self, limits: &Limits) -> u64;
        fn reason(&self) -> Option<Reason>;
    }
}}

version! { plain_field {
    #[record]
    pub struct Limits { orders_max: u32, burst_max: u32 }
    #[record]
    pub enum Reason { Closed, Other }
    #[contract]
    pub trait Fees {
        fn limits(&self, limits: &Limits) -> u64;
        fn reason(&self) -> Option<Reason>;
    }
}}

version! { plain_variant {
    #[record]
    pub struct Limits { orders_max: u32 }
    #[record]
    pub enum Reason { Closed, Other, Halted }
    #[contract]
    pub trait Fees {
        fn limits(&self, limits: &Limits) -> u64;
        fn reason(&self) -> Option<Reason>;
    }
}}

version! { no_longer_plain {
    #[record(growable)]
    pub struct Limits { orders_max: u32 }
    #[record]
    pub enum Reason { Closed, Other }
    #[contract]
    pub trait Fees {
        fn limits(&self, limits: &Limits) -> u64;
        fn reason(&self) -> Option<Reason>;
    }
}}

#[test]
fn what_may_not_grow_does_not() {
    use plain::Fees as Plain;
    let differs = [
        says::<dyn Plain, dyn plain_field::Fees>(),
        says::<dyn plain_field::Fees, dyn Plain>(),
        says::<dyn Plain, dyn plain_variant::Fees>(),
        says::<dyn plain_variant::Fees, dyn Plain>(),
        says::<dyn Plain, dyn no_longer_plain::Fees>(),
        says::<dyn no_longer_plain::Fees, dyn Plain>(),
    ];
    let says = |way, plugin, host| format!("Fees: {way}: {}", both(plugin, host));
    let field = "limits, argument 1, Limits.burst_max";
    let variant = "reason, result, Some, Reason::Halted";
    let (plain, grows) = ("#[record] struct Limits", "#[record(growable)] struct Limits");
    let expected = [
        says(field, "u32", "no such field"),
        says(field, "no such field", "u32"),
        says(variant, "Halted", "no such variant"),
        says(variant, "no such variant", "Halted"),
        says("limits, argument 1", grows, plain),
        says("limits, argument 1", plain, grows),
    ];
    assert_eq!(differs, expected);
}

version! { nested_1 {
    #[record(growable)]
    pub struct Limits { orders_max: u32 }
    #[contract]
    pub trait Fees {
        fn fee(&self, limits: &Limits) -> u64;
        #[since("1.1")]
        fn rebate(&self, limits: Option<&Limits>) -> Limits;
    }
}}

version! { nested_2 {
    #[record(growable)]
    pub struct Limits { orders_max: u32, #[since("1.1")] burst_max: u32 }
    #[contract]
    pub trait Fees {
        fn fee(&self, limits: &Limits) -> u64;
    }
}}

#[test]
fn one_part_can_be_older_and_another_newer() {
    assert_eq!(says::<dyn nested_1::Fees, dyn nested_2::Fees>(), "");
    assert_eq!(says::<dyn nested_2::Fees, dyn nested_1::Fees>(), "");
}

/// One version of a contract whose methods hand out and take another one.
macro_rules! handing {
    ($name:ident { $($session:tt)* }) => {
        version! { $name {
            use midflight_plugin::Callback;
            #[contract]
            pub trait Session {
                fn send(&self, quantity: u32) -> u64;
                $($session)*
            }
            #[contract]
            pub trait Fees {
                fn open(&self) -> Box<dyn Session>;
                fn find(&self) -> Result<Option<Box<dyn Session>>, String>;
                fn leave(&self, session: Callback<dyn Session>);
            }
        }}
    };
}
handing! { handing {} }
handing! { handing_since {
    #[since("1.1")]
    fn count(&self) -> u64;
} }
handing! { handing_changed {
    #[since("1.1")]
    fn count(&self) -> u32;
} }
handing! { handing_itself {
    #[since("1.1")]
    fn child(&self) -> Box<dyn Session>;
} }

#[test]
fn the_contract_of_an_object_grows_as_others_do() {
    use {handing::Fees as Older, handing_itself::Fees as Itself, handing_since::Fees as Since};
    let fit = [
        says::<dyn Older, dyn Older>(),
        says::<dyn Older, dyn Since>(),
        says::<dyn Since, dyn Older>(),
        says::<dyn Itself, dyn Itself>(),
        says::<dyn Older, dyn Itself>(),
        says::<dyn Itself, dyn Older>(),
    ];
    assert_eq!(fit, [""; 6]);
    assert_eq!(
        says::<dyn Since, dyn handing_changed::Fees>(),
        "Fees: open, result, Session.count, result: plugin says u32, host says u64"
    );
}

/// One version of a contract that takes a collection.
macro_rules! taking {
    ($($name:ident: $type:ty;)*) => { $(
        version! { $name {
            #[allow(unused_imports)]
            use midflight_plugin::Map;
            #[allow(unused_imports)]
            use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
            #[contract]
            pub trait Fees {
                fn fee(&self, all: $type) -> u64;
            }
        }}
    )* };
}
taking! {
    hash_map: HashMap<u64, String>;
    tree_map: BTreeMap<u64, String>;
    map: Map<u64, Text>;
    pairs: Vec<(u64, String)>;
    hash_set: HashSet<u64>;
    tree_set: BTreeSet<u64>;
    unit_map: Map<u64, ()>;
    vec: Vec<u64>;
    list: List<u64>;
}

#[test]
fn maps_fit_maps_and_sets_fit_sets_and_neither_a_list() {
    let fit = [
        says::<dyn hash_map::Fees, dyn tree_map::Fees>(),
        says::<dyn tree_map::Fees, dyn hash_map::Fees>(),
        says::<dyn hash_map::Fees, dyn map::Fees>(),
        says::<dyn map::Fees, dyn tree_map::Fees>(),
        says::<dyn hash_set::Fees, dyn tree_set::Fees>(),
        says::<dyn tree_set::Fees, dyn hash_set::Fees>(),
        says::<dyn vec::Fees, dyn list::Fees>(),
    ];
    assert_eq!(fit, [""; 7]);
    let differ = [
        says::<dyn hash_map::Fees, dyn pairs::Fees>(),
        says::<dyn pairs::Fees, dyn hash_map::Fees>(),
        says::<dyn pairs::Fees, dyn tree_map::Fees>(),
        says::<dyn map::Fees, dyn pairs::Fees>(),
        says::<dyn hash_set::Fees, dyn vec::Fees>(),
        says::<dyn list::Fees, dyn tree_set::Fees>(),
        says::<dyn hash_set::Fees, dyn unit_map::Fees>(),
    ];
    let way = "Fees: fee, argument 1: plugin says ";
    assert!(differ.iter().all(|sentence| sentence.starts_with(way)), "{differ:#?}");
}
