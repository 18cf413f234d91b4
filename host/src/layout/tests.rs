//! Which change of a contract fits which other version of it, in both directions.

use super::{Layout, Sides, check};
use midflight_plugin::Contract;
use midflight_plugin::rt::StableAbi;

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

fn layout<C: Contract + ?Sized>() -> Layout {
    Layout(<C::Table as StableAbi>::LAYOUT)
}

/// What the side that calls, with the contract `C`, says of another that implements `I`; empty if it fits.
fn says<C: Contract + ?Sized, I: Contract + ?Sized>() -> String {
    check("Fees", layout::<C>(), layout::<I>(), Sides::HOST_CALLS).err().unwrap_or_default()
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
    let differs = "Fees: plugin says u64, host says u32 in argument 1 of rebate";
    assert_eq!(says::<dyn Since, dyn Changed>(), differs, "a newer plugin");
    assert_eq!(says::<dyn Two, dyn Changed>(), differs);
    assert_eq!(
        says::<dyn Changed, dyn Since>(),
        "Fees: plugin says u32, host says u64 in argument 1 of rebate",
        "an older one"
    );
    let moved = "Fees: plugin says field refund, host says field rebate";
    assert!(says::<dyn Two, dyn since_another::Fees>().starts_with(moved));
    assert!(says::<dyn Since, dyn since_another::Fees>().starts_with(moved));
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
    let start = |plugin, host| {
        format!("Fees: plugin says {plugin} from the start, host says {host} from the start at Fees")
    };
    let (one, two, three) = ("1 method", "2 methods", "3 methods");
    let arguments =
        |plugin, host| format!("Fees: plugin says {plugin}, host says {host} in the arguments of fee");
    let expected = [
        start(three, two),
        start(two, three),
        start(one, two),
        start(two, one),
        start(three, two),
        arguments("2 parameters", "1 parameter"),
        arguments("1 parameter", "2 parameters"),
    ];
    assert_eq!(says, expected);
}
