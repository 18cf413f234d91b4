//! Whatever an author calls things, generated code means what it means elsewhere.
#![forbid(unsafe_code)]
#![allow(dead_code, deprecated, missing_docs, unreachable_pub, unused, clippy::all)]
#![allow(non_snake_case, non_camel_case_types, non_upper_case_globals)]

use abi::abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals};
use abi::type_layout::TypeLayout;
use midflight_plugin::Contract;
use midflight_plugin::rt::described;

/// What an author can have beside a contract, and what a derive would write into it.
macro_rules! everything {
    () => {
        everything! { @ $ }
    };
    (@ $dollar:tt) => {
        /// As long as this was taken for `Option`'s, no signature was compared.
        pub const fn Some<T: ::core::marker::Copy>(_: T) -> ::core::option::Option<T> {
            ::core::option::Option::None
        }
        pub const fn Ok() {}
        pub const None: super::numbers::U8 = 1;
        pub struct Err;
        pub struct Option;
        pub struct Result;
        pub struct Vec;
        pub struct Box;
        pub struct String;
        pub struct Self_;
        pub struct RStr;
        pub struct PrefixRef;
        pub struct WithMetadata;
        pub struct StaticRef;
        pub struct True;
        pub struct False;
        pub struct StableAbi;
        pub struct Here;
        pub struct Fields;
        pub struct Table;
        pub struct NamesFields;
        pub struct NamesTable;
        pub struct NamesPrefix;
        pub struct TradeDescribed;
        pub struct TradeFields;
        pub struct this;
        pub struct bound;
        pub struct handed;
        pub struct held;
        pub struct wire;
        pub struct from;
        pub struct to;
        pub struct taken;
        pub struct pinned;
        pub struct defaults;
        pub struct function;
        pub struct field_0;
        pub struct value;
        pub struct number;
        pub struct version;
        pub struct bytes;
        pub struct plugin;
        pub struct argument_0;
        pub struct answer;
        pub struct gate;
        pub struct fields;
        pub trait Send {}
        pub trait Sync {}
        pub trait Sized {}
        pub trait Copy {}
        pub trait Clone {}
        pub trait Drop {}
        pub trait Fn {}
        pub trait FnOnce {}
        pub trait Into {
            fn into(&self) -> super::numbers::U8 {
                1
            }
        }
        impl<T> Into for T {}
        pub trait From {}
        pub trait Default {}
        pub trait Iterator {}
        pub trait Portable {}
        pub trait Crosses {}
        pub trait Reown {}
        pub trait Contract {}
        pub mod core {}
        pub mod std {}
        pub mod alloc {}
        pub mod abi_stable {}
        pub mod midflight_plugin {}
        pub mod rt {}
        macro_rules! concat {
            ($dollar($dollar any:tt)*) => {
                "another"
            };
        }
        macro_rules! env {
            ($dollar($dollar any:tt)*) => {
                "another"
            };
        }
        macro_rules! line {
            () => {
                "no number"
            };
        }
        macro_rules! module_path {
            () => {
                1
            };
        }
        macro_rules! stringify {
            ($dollar($dollar any:tt)*) => {
                1
            };
        }
        macro_rules! assert {
            ($dollar($dollar any:tt)*) => {};
        }
        macro_rules! panic {
            ($dollar($dollar any:tt)*) => {};
        }
        macro_rules! unreachable {
            ($dollar($dollar any:tt)*) => {};
        }
        macro_rules! compile_error {
            ($dollar($dollar any:tt)*) => {};
        }
        macro_rules! vec {
            ($dollar($dollar any:tt)*) => {};
        }
        macro_rules! offset_of {
            ($dollar($dollar any:tt)*) => {
                0
            };
        }
    };
}

/// The primitive types by other names, since these are the author's here.
mod numbers {
    pub(crate) type U8 = u8;
    pub(crate) type U64 = u64;
    pub(crate) type Str = str;
}

mod one {
    use super::numbers;
    everything! {}
    pub struct u8;
    pub struct u16;
    pub struct u32;
    pub struct u64;
    pub struct usize;
    pub struct bool;

    #[::midflight_plugin::record]
    pub struct Trade {
        pub id: numbers::U64,
        pub side: Side,
        pub r#type: numbers::U8,
        pub this: numbers::U8,
        pub field_0: numbers::U8,
        pub value: numbers::U8,
    }

    #[::midflight_plugin::record]
    pub enum Side {
        None,
        Some(numbers::U64),
        Ok { from: numbers::U8, to: numbers::U64 },
        r#Err,
    }

    #[::midflight_plugin::record(growable)]
    pub struct Settings {
        pub from: numbers::U64,
        pub to: numbers::U64,
        #[since("1.1", default = 7)]
        pub taken: numbers::U64,
        #[since("1.1")]
        pub fields: numbers::U8,
        #[since("1.1")]
        pub value: numbers::U8,
    }

    #[::midflight_plugin::record(growable)]
    pub enum Kind {
        #[unknown]
        None,
        Some,
        #[since("1.1")]
        Ok,
    }

    #[::midflight_plugin::contract]
    pub trait Names {
        fn length(&self, quantity: numbers::U64, more: numbers::U64) -> numbers::U64;
        fn all(&self, trade: &Trade, own: Trade, settings: &Settings, kind: Kind) -> Settings;
        #[since("1.1")]
        fn some(&self, text: &str) -> numbers::U64 {
            self.length(text.len() as numbers::U64, 1)
        }
        #[since("1.1")]
        fn none(&self) -> numbers::U8;
    }

    pub struct Plugged;
    #[::midflight_plugin::plugin(implements(Names))]
    pub struct Plugin;
    impl ::midflight_plugin::Plugin for Plugin {
        fn start(
            _: &::midflight_plugin::Context<'_>,
        ) -> ::core::result::Result<Self, ::midflight_plugin::StartError> {
            ::core::result::Result::Ok(Plugin)
        }
    }
    impl Names for Plugin {
        fn length(&self, quantity: numbers::U64, more: numbers::U64) -> numbers::U64 {
            quantity + more
        }
        fn all(&self, _: &Trade, _: Trade, _: &Settings, _: Kind) -> Settings {
            Settings { from: 1, to: 2, taken: 3, fields: 4, value: 5 }
        }
        fn none(&self) -> numbers::U8 {
            1
        }
    }
}

/// The same but for the arguments of its first method.
mod another {
    use super::numbers;
    use super::one::{Kind, Settings, Trade};
    everything! {}

    #[::midflight_plugin::contract]
    pub trait Names {
        fn length(&self, text: &str) -> numbers::U64;
        fn all(&self, trade: &Trade, own: Trade, settings: &Settings, kind: Kind) -> Settings;
        #[since("1.1")]
        fn some(&self, text: &str) -> numbers::U64;
        #[since("1.1")]
        fn none(&self) -> numbers::U8;
    }
}

fn layout<C: Contract + ?Sized>() -> &'static TypeLayout {
    <described::Table<C::Functions> as abi::StableAbi>::LAYOUT
}

#[test]
fn s03_a_some_of_the_authors_hides_no_signature() {
    let fits = |one, other| {
        check_layout_compatibility_with_globals(one, other, &CheckingGlobals::new())
            .map_err(|e| e.to_string())
    };
    let (one, another) = (layout::<dyn one::Names>(), layout::<dyn another::Names>());
    fits(one, one).unwrap();
    fits(another, another).unwrap();
    let difference = fits(one, another).unwrap_err();
    assert!(difference.contains("length"), "{difference}");
    // The name, too, is the crate's.
    assert_eq!(<dyn one::Names>::NAME, "midflight-plugin::Names");
}

/// Names of our own locals, of methods that every handle has, and of the prelude's traits, as
/// methods and as arguments.
mod words {
    #![allow(deprecated)]
    macro_rules! words {
        ($($word:ident)*) => {
            #[midflight_plugin::contract]
            pub trait Methods {
                $(fn $word(&self) -> u64;)*
            }

            #[midflight_plugin::contract]
            pub trait Later {
                fn first(&self) -> u64;
                $(
                    #[since("1.1")]
                    fn $word(&self) -> u64 {
                        self.first()
                    }
                )*
            }

            #[midflight_plugin::contract]
            pub trait Missing {
                fn first(&self) -> u64;
                $(
                    #[since("1.1")]
                    fn $word(&self) -> Result<u64, String>;
                )*
            }

            /// Each is an argument of a method that the other side may lack.
            pub mod arguments {
                $(
                    pub mod $word {
                        #[midflight_plugin::contract]
                        pub trait Takes {
                            fn first(&self, $word: u64, text: &str, list: Option<&[u64]>) -> u64;
                            #[since("1.1")]
                            fn own(&self, $word: u64) -> u64 {
                                $word
                            }
                            #[since("1.1")]
                            fn lent(&self, $word: &str) -> Result<u64, String> {
                                Ok($word.len() as u64)
                            }
                            #[since("1.1")]
                            fn perhaps(&self, $word: Option<&str>) -> Option<u64>;
                        }

                        #[midflight_plugin::contract]
                        pub trait Waits {
                            async fn lent(&self, $word: &str) -> Result<u64, String>;
                        }

                        #[midflight_plugin::contract]
                        pub trait Fills {
                            fn fill(&self, $word: midflight_plugin::Sink<'_>);
                        }

                        #[midflight_plugin::record]
                        pub struct Plain {
                            pub $word: u64,
                        }

                        #[midflight_plugin::record]
                        pub enum Chosen {
                            Named { $word: u64 },
                        }

                        #[midflight_plugin::record(growable)]
                        pub struct Grows {
                            pub first: u64,
                            #[since("1.1", default = 1)]
                            pub $word: u64,
                        }
                    }
                )*
            }
        };
    }
    /// Of ours, and of every handle's.
    pub mod ours {
        words! {
            this bound handed held gate enter hold begin function pinned defaults wire from to taken fields value
            number field_0 argument_0 answer context waker version bytes plugin name proxy table functions has method
            index finish finish_result finish_wire rebuild rebuild_all into_wire lend receive guard missing
            prefix leak_into_prefix to_raw_ptr _prefix_type_layout core std alloc
        }
    }

    /// Of the prelude's traits and types, and of macros.
    pub mod others {
        words! {
            into try_into try_from clone clone_from clone_into to_owned to_string borrow borrow_mut as_ref as_mut eq
            ne cmp partial_cmp hash fmt drop deref deref_mut default next iter into_iter type_id map map_err ok some
            none unwrap expect reown size_of align_of transmute concat env line str u64_ option result vec poll wake
        }
    }

    /// Which only a raw name says.
    #[midflight_plugin::contract]
    pub trait Raw {
        fn r#type(&self, r#match: u64, r#dyn: &str) -> u64;
        fn r#fn(&self);
        #[since("1.1")]
        fn r#async(&self, r#impl: Option<&str>) -> u64 {
            self.r#type(1, r#impl.unwrap_or_default())
        }
    }

    #[midflight_plugin::record]
    pub struct RawToo {
        pub r#type: u64,
    }

    #[midflight_plugin::record]
    pub enum RawVariants {
        r#Type,
        Named { r#type: u8 },
    }
}

#[test]
fn words_of_ours_are_names_of_the_authors() {
    assert!(<dyn words::others::Methods>::METHODS.contains(&"into"));
    assert!(<dyn words::Raw>::METHODS.contains(&"type"));
}
