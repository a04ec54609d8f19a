//! An unknown architecture: nothing is patched.

use super::Kept;
pub use super::uncut::{Shape, cut, cut_sendmsg, cut_sendto};
pub(crate) use super::uncut::{connect_stubs, sendmsg_stub, sendto_stub};
pub use super::{compare_exchange as claim, unmarked as marked};
use core::ffi::c_void;

/// Nothing: no stub is known, and so no jump is written.
pub const BEFORE: [u8; 0] = [];
/// Nothing.
pub const AFTER: [u8; 0] = [];
/// Nothing.
pub const SIGNATURE: [u8; 0] = [];
/// Nothing.
pub const FIRST: [u8; 0] = [];

/// No instruction stays.
pub fn kept(_code: &[u8]) -> Option<Kept> {
    None
}

/// None is known.
pub fn is_breakpoint(_code: &[u8]) -> bool {
    false
}

/// `$name` is another name of `$function`; no stub is known that would jump there.
macro_rules! after_push {
    ($name:ident, $function:ident) => {
        use self::$function as $name;
    };
}
pub(crate) use after_push;

/// No code is known.
pub fn is_stub(_code: &[u8], _number: u32) -> bool {
    false
}

/// Calls `function` on the current stack: how to switch stacks is not known.
///
/// # Safety
/// `function` may be called with `argument`.
pub unsafe fn call_on_stack(
    _top: usize,
    function: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    // SAFETY: as callers promise.
    unsafe { function(argument) };
}

/// The export `syscall`, with what it calls: `socket` for SYS_socket, and `early` for everything else. Our frame is between
/// the two.
macro_rules! export_syscall {
    ($(#[$attribute:meta])* $socket:path, $original:path, $early:path) => {
        $(#[$attribute])*
        #[cfg_attr(not(test), unsafe(export_name = "syscall"))]
        pub unsafe extern "C" fn syscall(
            number: c_long,
            a: c_long,
            b: c_long,
            c: c_long,
            d: c_long,
            e: c_long,
            f: c_long,
        ) -> c_long {
            // The kernel looks at 32 bits.
            if number as c_int == ::libc::SYS_socket as c_int {
                $socket(number, a, b, c)
            } else {
                // SAFETY: the arguments are the caller's.
                unsafe { $early(number, a, b, c, d, e, f) }
            }
        }
    };
}
pub(crate) use export_syscall;

/// The export `connect`. Its frame has the six arguments and [`super::ROOM`] bytes, and both functions get a pointer to it:
/// `before`, which returns the address of the function to call, or 0 or -1 for what `connect` shall return; and `after`, with
/// what that function has returned.
macro_rules! export_connect {
    ($(#[$attribute:meta])* $before:path, $after:path) => {
        $(#[$attribute])*
        #[cfg_attr(not(test), unsafe(export_name = "connect"))]
        pub unsafe extern "C" fn connect(
            a: usize,
            b: usize,
            c: usize,
            d: usize,
            e: usize,
            f: usize,
        ) -> usize {
            type Function = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize) -> usize;
            let mut frame = ([a, b, c, d, e, f], [0_usize; $crate::arch::ROOM / size_of::<usize>()]);
            let frame = (&raw mut frame).cast();
            // SAFETY: it has the arguments and the room.
            let function = unsafe { $before(frame) };
            if function.wrapping_add(1) <= 1 {
                return function;
            }
            let function = core::ptr::with_exposed_provenance::<c_void>(function);
            // SAFETY: it is called as its caller has called it.
            let function = unsafe { core::mem::transmute::<*const c_void, Function>(function) };
            // SAFETY: the arguments are the caller's.
            let result = unsafe { function(a, b, c, d, e, f) };
            // SAFETY: as above.
            unsafe { $after(frame, result) }
        }
    };
}
pub(crate) use export_connect;
