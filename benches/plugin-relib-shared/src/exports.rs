/// What the module exports.
pub trait Exports {
    /// The call that all lanes make.
    fn add(a: u64, b: u64) -> u64;
    /// Which build answers.
    fn version() -> u64;
}
