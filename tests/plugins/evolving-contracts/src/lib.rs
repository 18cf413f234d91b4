//! What may change between two versions of a contract, and what may cross at all.

midflight_plugin::contract_crate!();

mod mirror;

pub use mirror::*;

cfg_select! {
    feature = "older" => {
        mod older;
        pub use older::*;
    }
    feature = "newer" => {
        mod newer;
        pub use newer::*;
    }
    _ => {
        mod present;
        pub use present::*;
    }
}
