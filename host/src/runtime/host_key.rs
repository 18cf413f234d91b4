//! The host's own pthread keys: by them it hears of the ends of threads.

use parking_lot::Mutex;
use std::ffi::c_void;
use std::io;
use std::sync::OnceLock;

/// One key, for as long as the process lives.
///
/// A process has 1,024, and one that is wanting inside of a call could only end the process: so
/// each is made when the first host starts.
pub(crate) struct HostKey {
    made: OnceLock<libc::pthread_key_t>,
    making: Mutex<()>,
}

impl HostKey {
    pub(crate) const fn new() -> Self {
        HostKey { made: OnceLock::new(), making: Mutex::new(()) }
    }

    /// The key, whose destructor is `ended`: code of the host's, and the same at each call.
    ///
    /// # Errors
    /// It is to be made, and the process has none left.
    pub(crate) fn make(
        &self,
        ended: unsafe extern "C" fn(*mut c_void),
    ) -> io::Result<libc::pthread_key_t> {
        if let Some(key) = self.made.get() {
            return Ok(*key);
        }
        let _making = self.making.lock();
        if let Some(key) = self.made.get() {
            return Ok(*key);
        }
        let mut key = 0;
        // SAFETY: `key` is a place to write to, and `ended` is never unloaded.
        match unsafe { libc::pthread_key_create(&mut key, Some(ended)) } {
            0 => Ok(*self.made.get_or_init(|| key)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}
