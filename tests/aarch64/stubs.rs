//! The stubs of the plugin's runtime, for aarch64, with no core: that of another machine need not
//! be installed. `.ci/aarch64` puts the macro and the list of `plugin-api/src/hooks.rs` at the end,
//! as they are; here is what they need of the language.

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
pub macro concat($($part:expr),* $(,)?) {}

/// Where the macros of midflight-plugin look for what they need.
pub mod rt {
    pub mod core {
        pub use crate::{arch, concat};
    }
    pub mod hooks {
        pub struct OfExport;
    }
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
    #[link_name = "answer_clone"]
    fn clone();
    #[link_name = "answer_exit_thread"]
    fn exit_thread();
    #[link_name = "answer_exit_c11_thread"]
    fn exit_c11_thread();
    #[link_name = "answer_cancel"]
    fn cancel();
    #[link_name = "answer_timer"]
    fn timer();
    #[link_name = "answer_queue_notice"]
    fn queue_notice();
    #[link_name = "answer_aio_read"]
    fn aio_read();
    #[link_name = "answer_aio_write"]
    fn aio_write();
    #[link_name = "answer_transfer_fsync"]
    fn transfer_fsync();
    #[link_name = "answer_list_of_transfers"]
    fn list_of_transfers();
    #[link_name = "answer_getaddrinfo_a"]
    fn getaddrinfo_a();
    #[link_name = "answer_sigaction"]
    fn sigaction();
    #[link_name = "answer_signal"]
    fn signal();
    #[link_name = "answer_sysv_signal"]
    fn sysv_signal();
    #[link_name = "answer_sigset"]
    fn sigset();
    #[link_name = "answer_getenv"]
    fn getenv();
    #[link_name = "answer_secure_getenv"]
    fn secure_getenv();
    #[link_name = "answer_setenv"]
    fn setenv();
    #[link_name = "answer_unsetenv"]
    fn unsetenv();
    #[link_name = "answer_putenv"]
    fn putenv();
    #[link_name = "answer_clearenv"]
    fn clearenv();
    #[link_name = "answer_openlog"]
    fn openlog();
    #[link_name = "answer_at_exit"]
    fn at_exit();
    #[link_name = "answer_at_quick_exit"]
    fn at_quick_exit();
    #[link_name = "answer_at_fork"]
    fn at_fork();
    #[link_name = "answer_dlsym"]
    fn dlsym();
    #[link_name = "answer_dlvsym"]
    fn dlvsym();
    #[link_name = "answer_libraries"]
    fn libraries();
    #[link_name = "answer_refuse"]
    fn refuse();
    #[link_name = "answer_map"]
    fn map();
    #[link_name = "answer_unmap"]
    fn unmap();
    #[link_name = "answer_remap"]
    fn remap();
}
