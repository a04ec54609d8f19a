//! A machine whose code we do not know.

pub use super::unmarked_socket as marked_socket;
use crate::hooks;
use crate::libc::original;
use crate::libc::patch::Wrapper;
use core::ffi::{c_int, c_long, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

/// There is no jump.
pub const JUMP: usize = 0;

/// Never asked for, since no wrapper is known.
pub fn jump(_target: usize) -> [u8; JUMP] {
    []
}

/// No code is known.
pub fn wrapper(_code: &[u8], _number: u32) -> Wrapper {
    Wrapper::Unknown
}

/// Stores `value` where there is 0. Returns what there was. No ordering.
pub fn take(place: &AtomicUsize, value: usize) -> usize {
    match place.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(found) | Err(found) => found,
    }
}

/// On the stack that we are on: how to get to another one is not known.
pub fn on_stack(_top: usize, function: extern "C" fn(*mut c_void), argument: *mut c_void) {
    function(argument);
}

/// syscall(2): socket goes to us, everything else on to the next `syscall`. Our frame is between the two.
#[cfg_attr(not(test), unsafe(export_name = "syscall"))]
pub extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // The kernel looks at 32 bits.
    if number as c_int == libc::SYS_socket as c_int {
        hooks::syscall_socket(number, a, b, c)
    } else {
        original::syscall(number, [a, b, c, d, e, f])
    }
}
