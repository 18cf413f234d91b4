//! A plugin that reaches for the C library past std, and past its runtime where it can.

#![allow(unsafe_code, reason = "C has no safe face, and is what reaches past std")]

use midflight_plugin::{Context, Plugin, StartError, plugin};
use reaching_contracts::Reaching;

const BUILD: u32 = if cfg!(feature = "v2") { 2 } else { 1 };

#[cfg(not(feature = "misplaced"))]
midflight_plugin::export!(
    TheReaching,
    name = "reaching",
    version = if cfg!(feature = "v2") { "2.0.0" } else { "1.0.0" }
);
#[cfg(feature = "misplaced")]
mod misplaced;

unsafe extern "C-unwind" {
    fn reach_signal(which: u64) -> i64;
    fn reach_arrived() -> i64;
    fn reach_lookup(which: u64) -> i64;
    fn reach_other_lookup() -> i64;
    fn reach_exit(which: u64);
    fn reach_cancel(thread: u64) -> i64;
    fn reach_notice(which: u64) -> i64;
    fn reach_clone(as_process: u64) -> i64;
    fn reach_handlers(file: u64) -> i64;
    fn reach_named_handlers(file: u64) -> i64;
    fn reach_for_good() -> i64;
    fn reach_texts() -> i64;
    fn reach_forbidden() -> i64;
}

/// The instance.
#[plugin(implements(Reaching))]
pub struct TheReaching;

impl Plugin for TheReaching {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(TheReaching)
    }
}

impl Reaching for TheReaching {
    fn build(&self) -> u32 {
        BUILD
    }

    fn reach(&self, how: &str, number: u64) -> i64 {
        // SAFETY: they take any number; what each does is what it is for.
        unsafe {
            match how {
                "signal" => reach_signal(number),
                "arrived" => reach_arrived(),
                "lookup" => reach_lookup(number),
                "other lookup" => reach_other_lookup(),
                "exit" => {
                    reach_exit(number);
                    0
                }
                "cancel" => reach_cancel(number),
                "notice" => reach_notice(number),
                "clone" => reach_clone(number),
                "handlers" => reach_handlers(number),
                "named handlers" => reach_named_handlers(number),
                "for good" => reach_for_good(),
                "texts" => reach_texts(),
                "forbidden" => reach_forbidden(),
                "key" => key(),
                "open" => open(number),
                "aligned" => aligned(),
                "count" => reaching_contracts::count().cast_signed(),
                "set variables" => set_variables(number),
                "read variables" => read_variables(number),
                "set" => {
                    std::env::set_var("REACHING", number.to_string());
                    0
                }
                other => panic!("{other}?"),
            }
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn exported(&self) -> u64 {
        #[cfg(feature = "exports")]
        return reaching_exported();
        #[cfg(not(feature = "exports"))]
        u64::from(BUILD)
    }
}

/// Its own build, unless the loader finds another of that name.
#[cfg(feature = "exports")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn reaching_exported() -> u64 {
    u64::from(BUILD)
}

/// A pthread key, with a value on this thread that is destroyed at its end.
fn key() -> i64 {
    unsafe extern "C" fn destroy(value: *mut libc::c_void) {
        // SAFETY: from below, once.
        drop(unsafe { Box::from_raw(value.cast::<u64>()) });
    }
    let mut key = 0;
    let value = Box::into_raw(Box::new(1_u64));
    // SAFETY: a place to write to, and a value for the destructor.
    unsafe {
        assert_eq!(libc::pthread_key_create(&mut key, Some(destroy)), 0);
        assert_eq!(libc::pthread_setspecific(key, value.cast_const().cast()), 0);
    }
    key.into()
}

/// The library that the variable `REACHING_OPENS` names, so often; it is never closed.
fn open(times: u64) -> i64 {
    let path = std::env::var("REACHING_OPENS").expect("a path");
    let path = std::ffi::CString::new(path).expect("no zero in it");
    // SAFETY: a path, and flags.
    let open = |_: &u64| !unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) }.is_null();
    i64::try_from((0..times).filter(open).count()).unwrap_or(-1)
}

/// How often this thread has done it, counted in a thread-local that fills a page; -1 where it does
/// not begin with one.
fn aligned() -> i64 {
    #[repr(align(4096))]
    struct Page([std::cell::Cell<i64>; 512]);
    thread_local! {
        static PAGE: Page = const { Page([const { std::cell::Cell::new(0) }; 512]) };
    }
    PAGE.with(|page| match std::ptr::from_ref(page).addr() % 4096 {
        0 => {
            page.0.iter().for_each(|count| count.set(count.get() + 1));
            page.0[511].get()
        }
        _ => -1,
    })
}

/// As many new ones, each of which makes the C library's list longer; then it takes them away.
fn set_variables(count: u64) -> i64 {
    for number in 0..count {
        // SAFETY: what is tested is that this is as safe in a plugin as edition 2021 says that it
        // is.
        unsafe { std::env::set_var(format!("REACHING_{BUILD}_{number}"), "x") };
    }
    for number in 0..count {
        // SAFETY: as above.
        unsafe { std::env::remove_var(format!("REACHING_{BUILD}_{number}")) };
    }
    0
}

fn read_variables(count: u64) -> i64 {
    let found = (0..count).filter(|_| std::env::var_os("REACHING_THE_LAST_OF_ALL").is_some());
    i64::try_from(found.count()).unwrap_or(-1)
}
