//! The names that a plugin's dynamic symbols must not have undefined, and those that it must
//! define.
//!
//! Both lists of imports are from the table `glibc-symbols.txt`, which has a class for all that the
//! C library exports; a test compares them.

/// What a plugin defines for its host.
pub(super) const OWN_EXPORTS: [&str; 2] = ["midflight_entry", "midflight_place"];

/// What the plugin's runtime defines: a file that imports it has no runtime, or gets past it. But
/// for `dlsym` and `dlvsym`, which the runtime itself takes from the loader.
pub(super) const STOOD_FOR: [&str; 59] = [
    "__clone",
    "__cxa_at_quick_exit",
    "__cxa_atexit",
    "__cxa_thread_atexit_impl",
    "__pthread_key_create",
    "__pthread_setspecific",
    "__register_atfork",
    "__secure_getenv",
    "__sigaction",
    "__sysv_signal",
    "aio_fsync",
    "aio_fsync64",
    "aio_read",
    "aio_read64",
    "aio_write",
    "aio_write64",
    "bsd_signal",
    "clearenv",
    "clone",
    "dl_iterate_phdr",
    "getaddrinfo_a",
    "getenv",
    "lio_listio",
    "lio_listio64",
    "mcheck",
    "mcheck_pedantic",
    "mmap",
    "mmap64",
    "mq_notify",
    "mremap",
    "munmap",
    "on_exit",
    "openlog",
    "profil",
    "pthread_cancel",
    "pthread_create",
    "pthread_exit",
    "pthread_key_create",
    "pthread_key_delete",
    "pthread_setspecific",
    "putenv",
    "register_printf_function",
    "register_printf_specifier",
    "register_printf_type",
    "secure_getenv",
    "setenv",
    "sigaction",
    "signal",
    "sigset",
    "sprofil",
    "ssignal",
    "sysv_signal",
    "thrd_create",
    "thrd_exit",
    "timer_create",
    "tss_create",
    "tss_delete",
    "tss_set",
    "unsetenv",
];

/// More than the longest name of both has.
pub(super) const BYTES_MAX: usize = 64;

/// What no plugin may import.
pub(super) const FORBIDDEN: [&str; 38] = [
    "__after_morecore_hook",
    "__call_tls_dtors",
    "__free_hook",
    "__key_decryptsession_pk_LOCAL",
    "__key_encryptsession_pk_LOCAL",
    "__key_gendes_LOCAL",
    "__libc_dlopen_mode",
    "__libc_dlsym",
    "__libc_dlvsym",
    "__libc_early_init",
    "__libc_freeres",
    "__libc_init_first",
    "__libc_pthread_init",
    "__libc_secure_getenv",
    "__libc_sigaction",
    "__libc_start_main",
    "__libc_thread_freeres",
    "__malloc_hook",
    "__malloc_initialize_hook",
    "__memalign_hook",
    "__monstartup",
    "__morecore",
    "__nptl_create_event",
    "__nptl_death_event",
    "__realloc_hook",
    "monstartup",
    "pthread_atfork",
    "registerrpc",
    "sigvec",
    "svc_register",
    "svcfd_create",
    "svcraw_create",
    "svctcp_create",
    "svcudp_bufcreate",
    "svcudp_create",
    "svcunix_create",
    "svcunixfd_create",
    "xprt_register",
];

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, FORBIDDEN, STOOD_FOR};

    /// The names of the lines whose rest is `wanted`.
    fn named(wanted: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let lines =
            include_str!("../../glibc-symbols.txt").lines().filter(|line| !line.starts_with('#'));
        let of = lines.filter_map(|line| line.split_once(' ').filter(|(_, class)| wanted(class)));
        of.map(|(name, _)| name).collect()
    }

    #[test]
    fn the_lists_are_those_of_the_table() {
        let mut stood_for =
            named(|class| class.starts_with("hooked ") || class == "refused answer");
        stood_for.retain(|name| !["dlsym", "dlvsym"].contains(name));
        assert_eq!(STOOD_FOR[..], stood_for);
        assert_eq!(FORBIDDEN[..], named(|class| class == "refused import"));
        assert!(STOOD_FOR.is_sorted() && FORBIDDEN.is_sorted(), "they are searched");
        assert!(STOOD_FOR.iter().chain(&FORBIDDEN).all(|name| name.len() < BYTES_MAX));
    }
}
