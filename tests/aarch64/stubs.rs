//! The stubs of the plugin's runtime, for aarch64, with no core: that of another machine need not be installed. `.ci/aarch64` puts
//! the macro and the list of `plugin-api/src/hooks.rs` at the end, as they are; here is what they need of the language.

#![feature(no_core, lang_items, rustc_attrs, decl_macro, auto_traits)]
#![allow(internal_features, dead_code)]
#![no_core]
#![crate_type = "rlib"]

extern crate self as core;

#[lang = "pointee_sized"]
pub trait PointeeSized {}
#[lang = "meta_sized"]
pub trait MetaSized: PointeeSized {}
#[lang = "sized"]
pub trait Sized: MetaSized {}
#[lang = "copy"]
pub trait Copy {}
#[lang = "sync"]
pub trait Sync {}
impl<T> Sync for T {}
#[lang = "freeze"]
unsafe auto trait Freeze {}
#[lang = "drop_in_place"]
fn drop_in_place<T>(_: *mut T) {}

pub mod arch {
    #[rustc_builtin_macro]
    pub macro global_asm($($arg:tt)*) {}
}

#[rustc_builtin_macro]
macro_rules! concat {
    ($($part:expr),* $(,)?) => {};
}

// What the stubs jump to: in C here.
unsafe extern "C" {
    #[link_name = "answer_local"]
    fn local();
    #[link_name = "answer_key_create"]
    fn key_create();
    #[link_name = "answer_key_delete"]
    fn key_delete();
    #[link_name = "answer_key_set"]
    fn key_set();
    #[link_name = "answer_thread"]
    fn thread();
    #[link_name = "answer_c11_thread"]
    fn c11_thread();
    #[link_name = "answer_sigaction"]
    fn sigaction();
    #[link_name = "answer_signal"]
    fn signal();
    #[link_name = "answer_on_exit"]
    fn on_exit();
    #[link_name = "answer_libraries"]
    fn libraries();
}
