//! Contracts and records whose crate names another as `midflight-plugin`, one that replaces parts:
//! `midflight-plugin = { package = "midflight-facade" }`. What the host relies on is midflight's
//! own word all the same, or nothing compiles.
#![forbid(unsafe_code)]

/// What one side has.
pub mod one {
    use midflight_plugin::{contract, record};

    /// A record.
    #[record]
    #[derive(Debug)]
    pub struct Trade {
        /// A number.
        pub price: u64,
        /// Another.
        pub quantity: u32,
    }

    /// A record that grows.
    #[record(growable)]
    #[derive(Debug)]
    pub struct Limits {
        /// A number.
        pub most: u64,
        /// Another.
        #[since("1.1")]
        pub least: u32,
    }

    /// A contract.
    #[contract]
    pub trait Fees {
        /// What the trade costs.
        fn fee(&self, trade: &Trade) -> u64;
        /// The sum of both.
        fn limit(&self, limits: &Limits) -> u64;
    }
}

/// What another side has, of the same sizes.
pub mod another {
    use midflight_plugin::{contract, record};

    /// A record whose fields are in another order.
    #[record]
    #[derive(Debug)]
    pub struct Trade {
        /// A number.
        pub price: i64,
        /// Another.
        pub quantity: u32,
    }

    /// A contract with another record.
    #[contract]
    pub trait Fees {
        /// What the trade costs.
        fn fee(&self, trade: &Trade) -> u64;
        /// The sum of both.
        fn limit(&self, limits: &super::one::Limits) -> u64;
    }
}

/// What a third side has.
pub mod third {
    use midflight_plugin::{contract, record};

    /// A record that grows, of other fields.
    #[record(growable)]
    #[derive(Debug)]
    pub struct Limits {
        /// A number.
        pub most: i64,
        /// Another.
        #[since("1.1")]
        pub least: u32,
    }

    /// A contract with another record that grows.
    #[contract]
    pub trait Fees {
        /// What the trade costs.
        fn fee(&self, trade: &super::one::Trade) -> u64;
        /// The sum of both.
        fn limit(&self, limits: &Limits) -> u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::StableAbi;
    use abi::abi_stability::abi_checking::{
        CheckingGlobals, check_layout_compatibility_with_globals,
    };
    use real::rt::described::Table;
    use real::{Callback, Contract};

    /// Why a plugin with the one does not fit a host with the other.
    fn difference<One: Contract + ?Sized, Other: Contract + ?Sized>() -> Option<String> {
        let (one, other) = (<Table<One::Functions>>::LAYOUT, <Table<Other::Functions>>::LAYOUT);
        check_layout_compatibility_with_globals(one, other, &CheckingGlobals::new())
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn s11_what_is_described_of_records_and_tables_is_true_behind_a_facade() {
        assert_eq!(difference::<dyn one::Fees, dyn one::Fees>(), None);
        assert_eq!(difference::<dyn another::Fees, dyn another::Fees>(), None);
        for (differ, field) in [
            (difference::<dyn one::Fees, dyn another::Fees>(), "price"),
            (difference::<dyn one::Fees, dyn third::Fees>(), "most"),
        ] {
            let differ = differ.expect("other records");
            assert!(differ.contains(field), "{differ}");
        }
    }

    #[test]
    fn s11_a_call_runs_and_answers_behind_a_facade() {
        struct Flat;
        impl one::Fees for Flat {
            fn fee(&self, trade: &one::Trade) -> u64 {
                trade.price * u64::from(trade.quantity)
            }
            fn limit(&self, limits: &one::Limits) -> u64 {
                limits.most + u64::from(limits.least)
            }
        }
        let fees = Callback::<dyn one::Fees>::new(Flat);
        assert_eq!(fees.fee(&one::Trade { price: 7, quantity: 3 }), Ok(21));
        assert_eq!(fees.limit(&one::Limits { most: 40, least: 2 }), Ok(42));
    }
}
