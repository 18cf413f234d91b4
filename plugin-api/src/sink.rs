//! Sinks: a large result, written into memory that the caller has already.
//!
//! A result that is returned is built by the callee and rebuilt by the caller. For a large one, a
//! frame to render or a report, that is twice the memory and twice the copying. But memory of the
//! caller's can't be handed over as `&mut Vec<u8>`: the callee's allocator would grow it. So the
//! callee gets a function of the caller's that appends, for the length of the call.

#![expect(
    unsafe_code,
    reason = "the caller's buffer is an untyped pointer beside the function that knows it"
)]

use crate::call::{Reply, guard};
use crate::lent::{RSlice, RStr};
use abi_stable::StableAbi;
use std::fmt;
use std::io;
use std::marker::PhantomData;

/// Where a method writes bytes: a `Vec<u8>` of the caller's, which grows, and which the caller can
/// use again.
///
/// A method takes it by value, and its caller passes `&mut Vec<u8>`, or a sink of its own:
///
/// ```
/// # mod exchange {
/// use midflight_plugin::{Sink, contract};
///
/// #[contract]
/// pub trait Report {
///     fn render(&self, width: u32, out: Sink<'_>);
/// }
/// # }
/// # midflight_plugin::contract_crate!();
/// # use exchange::*;
/// # use midflight_plugin::{Fault, Sink, rt::Gate};
///
/// struct Plain;
/// impl Report for Plain {
///     fn render(&self, width: u32, mut out: Sink<'_>) {
///         out.append(&vec![b'-'; width as usize]);
///     }
/// }
///
/// fn many<G: Gate>(report: &ReportCalls<G>) -> Result<(), Fault> {
///     let mut buffer = Vec::new();
///     for width in 0..10 {
///         buffer.clear(); // its memory stays
///         report.render(width, &mut buffer)?;
///     }
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// What a method has written when it panics stays: look at the answer before you look at the
/// buffer. A sink can't be kept, since it is lent for the call, nor read.
pub struct Sink<'a>(RawSink<'a>);

/// Where a method writes text: a `String` of the caller's. Otherwise as [`Sink`]; `write!` works on
/// it.
pub struct TextSink<'a>(RawTextSink<'a>);

macro_rules! sinks {
    ($($sink:ident $raw:ident $buffer:ident $part:ty, $wire:ident $from:ident $back:ident $append:ident;)*) => { $(
        /// On the wire.
        #[repr(C)]
        #[derive(StableAbi)]
        #[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
        pub struct $raw<'a> {
            buffer: *mut (),
            append: unsafe extern "C" fn(*mut (), $wire<'_>) -> Reply<()>,
            lent: PhantomData<&'a mut ()>,
        }

        impl<'a> $sink<'a> {
            /// Appends to the caller's buffer.
            ///
            /// # Panics
            /// The buffer can't grow that far.
            pub fn append(&mut self, part: &$part) {
                // SAFETY: the two belong together since `from`, and the buffer is borrowed by this
                // sink alone.
                let appended = unsafe { (self.0.append)(self.0.buffer, $wire::$from(part)) };
                assert!(appended.is_returned(), "the caller's buffer can't grow by {} bytes", part.len());
            }

            /// A sink to lend on, into the same buffer.
            pub fn by_ref(&mut self) -> $sink<'_> {
                $sink($raw { buffer: self.0.buffer, append: self.0.append, lent: PhantomData })
            }

            /// For generated code.
            #[doc(hidden)]
            #[inline]
            pub fn into_raw(self) -> $raw<'a> {
                self.0
            }

            /// For generated code.
            ///
            /// # Safety
            /// `raw` came out of `into_raw`, on either side, and is used once.
            #[doc(hidden)]
            #[inline]
            pub unsafe fn from_raw(raw: $raw<'a>) -> Self {
                $sink(raw)
            }
        }

        impl<'a> From<&'a mut $buffer> for $sink<'a> {
            #[inline]
            fn from(buffer: &'a mut $buffer) -> Self {
                unsafe extern "C" fn append(buffer: *mut (), part: $wire<'_>) -> Reply<()> {
                    guard(|| {
                        // SAFETY: `from` pairs this function with a buffer that is borrowed for as
                        // long as the sink lives.
                        unsafe { &mut *buffer.cast::<$buffer>() }.$append(part.$back());
                    })
                }
                $sink($raw { buffer: (&raw mut *buffer).cast(), append, lent: PhantomData })
            }
        }

        impl fmt::Debug for $sink<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($sink))
            }
        }
    )* };
}
type Bytes = Vec<u8>;
type RSliceOfBytes<'a> = RSlice<'a, u8>;
sinks! {
    Sink RawSink Bytes [u8], RSliceOfBytes from_slice as_slice extend_from_slice;
    TextSink RawTextSink String str, RStr from_str as_str push_str;
}

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for TextSink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text);
        Ok(())
    }
}
