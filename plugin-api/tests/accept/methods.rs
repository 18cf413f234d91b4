midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait Fees {
    /// Documented, and discouraged.
    #[deprecated]
    fn generic(&self, value: u64) -> u64;
    fn r#type(&self, r#in: &str) -> u64;
    // Names that the generated code uses, too.
    fn this(&self, this: u64, bound: u64, gate: u64) -> u64;
    fn clone(&self);
    fn enter(&self);
}

fn main() {}
