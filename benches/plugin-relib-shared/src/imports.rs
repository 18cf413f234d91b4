/// What the module imports: nothing.
pub trait Imports {}
