//! libc's own `socket` and `execve` led to us, at the bodies of the functions.
//!
//! An exported symbol is asked only by those who call through the PLT. libc itself does not:
//! getaddrinfo and res_* call its internal name of `socket`, and execv, execvp, execl, posix_spawn, system
//! and popen that of `execve`. But each of the two is one body of code in glibc and in musl, under all
//! its names. So, in the constructor, where there is one thread and nobody is in these functions:
//!
//! 1. [`original::find`](crate::libc::original::find) has found the functions in libc's own symbol table.
//! 2. [`wrapper`](crate::arch::wrapper) looks at the code. Only the system call wrapper we know is
//!    touched, and a jump that another copy of ours has written is left as it is.
//! 3. The jump is written through /proc/self/mem, else through mprotect(2). The former works under
//!    PR_SET_MDWE and systemd's MemoryDenyWriteExecute=, the latter without /proc and in a process that may not be dumped.
//!    Pages go from executable to writable and executable and back, never to writable alone: where
//!    W^X is enforced, the way back would be refused, and libc's code gone.
//!
//! What cannot be led is left alone and said in `vrfbind_info` and in the log; the exported symbols
//! remain. Costs a page of private memory for each body.

use crate::arch::{JUMP, jump, wrapper};
use crate::libc::objects::Function;
use crate::sys;
use core::ffi::c_long;
use core::sync::atomic::{AtomicU32, Ordering};
use rules::info::{NOT_FOUND, NOT_WRITABLE, PATCHED, PATCHED_BY_OTHER_COPY, UNKNOWN_CODE};

/// What the code of a libc function turns out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrapper {
    /// The wrapper of the system call; a jump may be written at this offset.
    Known {
        /// In bytes, from the beginning.
        offset: usize,
    },
    /// A jump of ours, written by another copy.
    LedByAnother,
    /// Something else.
    Unknown,
}

/// Leads a wrapper of system call `number` to `target`. Returns one of the values of `rules::info`.
pub fn lead(
    function: Option<Function>,
    number: c_long,
    target: usize,
    writer: &sys::CodeWriter,
) -> u32 {
    let Some(Function { address, size }) = function else {
        return NOT_FOUND;
    };
    match wrapper(sys::code(address, size), number as u32) {
        Wrapper::Known { offset } if offset + JUMP <= size => {
            match writer.write(address + offset, &jump(target)) {
                Ok(()) => PATCHED,
                Err(_) => NOT_WRITABLE,
            }
        }
        Wrapper::LedByAnother => PATCHED_BY_OTHER_COPY,
        _ => UNKNOWN_CODE,
    }
}

/// Whether one of the results in `vrfbind_info` says that the function leads to us, or to another copy
/// of us.
pub fn is_led(result: &AtomicU32) -> bool {
    matches!(
        result.load(Ordering::Relaxed),
        PATCHED | PATCHED_BY_OTHER_COPY
    )
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    const GLIBC: &[u8] = &[
        0xb8, 0x29, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73, 0x01, 0xc3,
    ];

    #[test]
    fn knows_its_own_libc() {
        let around = crate::libc::original::find();
        for (function, number) in [
            (around.libc_socket, libc::SYS_socket),
            (around.libc_execve, libc::SYS_execve),
        ] {
            let Function { address, size } = function.expect("libc has it");
            let found = wrapper(sys::code(address, size), number as u32);
            assert!(matches!(found, Wrapper::Known { .. }), "{found:?}");
        }
    }

    #[test]
    fn knows_the_wrapper_with_and_without_endbr64() {
        assert_eq!(wrapper(GLIBC, 41), Wrapper::Known { offset: 0 });
        let with_endbr64 = [&[0xf3, 0x0f, 0x1e, 0xfa], GLIBC].concat();
        assert_eq!(wrapper(&with_endbr64, 41), Wrapper::Known { offset: 4 });
    }

    #[test]
    fn leaves_other_code_alone() {
        assert_eq!(wrapper(GLIBC, 42), Wrapper::Unknown);
        assert_eq!(wrapper(&[], 41), Wrapper::Unknown);
        assert_eq!(wrapper(&[0xb8, 0x29, 0, 0, 0, 0xc3], 41), Wrapper::Unknown);
        let late = [&[0x90; 40], GLIBC].concat();
        assert_eq!(wrapper(&late, 41), Wrapper::Unknown);
        // Another tool's jump.
        let hooked = [
            0xff, 0x25, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9,
        ];
        assert_eq!(wrapper(&hooked, 41), Wrapper::Unknown);
    }

    #[test]
    fn knows_its_own_jump() {
        assert_eq!(wrapper(&jump(0x1234), 41), Wrapper::LedByAnother);
    }
}
