//! libc's own `socket` and `execve`, patched at the bodies of the functions so that they jump to us.
//!
//! An exported symbol is reached only by those who call through the PLT. libc itself does not: getaddrinfo and res_* call its
//! internal name of `socket`, and execv, execvp, execl, posix_spawn, system and popen that of `execve`. But each of the two is
//! one body of code in glibc and in musl, under all its names. So, in the constructor:
//!
//! 1. [`original::find`](crate::libc::original::find) has found the functions in libc's own symbol table.
//! 2. [`recognise_stub`] looks at the code. Only a stub that we know is changed, and a jump that another copy of ours has
//!    written is left as it is. Instructions at its beginning stay if they can, since a tracer's breakpoint may be there,
//!    now or later. If one is there now, the file tells what it replaces.
//! 3. The jump is written through /proc/self/mem, otherwise through mprotect(2). /proc/self/mem works under PR_SET_MDWE and
//!    systemd's MemoryDenyWriteExecute=; mprotect(2) works without /proc and in a process that may not be dumped. It makes
//!    pages writable and executable and then executable again, never writable alone: where W^X is enforced, they could not
//!    be made executable again, and libc's code would be lost.
//!
//! A function that cannot be patched is left alone, and reported in `vrfbind_info` and in the log; the exported symbols
//! still work. Each patched body costs a page of private memory.
//!
//! Nobody may be in a body while it is written. On glibc no constructor has run before ours. Other code may have run on musl,
//! if another object has DF_1_INITFIRST, with LD_AUDIT or an IFUNC, or after dlmopen(3). Not provided for: a thread that
//! this code has started and that is in socket() or execve() at this moment.

use crate::arch::{Place, Stub, jump, recognise_stub};
use crate::libc::objects::Function;
use crate::sys;
use core::ffi::{c_char, c_long};
use core::sync::atomic::{AtomicU32, Ordering};
use rules::info::{NOT_FOUND, NOT_WRITABLE, PATCHED, PATCHED_BY_OTHER_COPY, UNKNOWN_CODE};

/// The target of a stub's jump: the addresses of functions that replace the stub.
pub struct Hook {
    /// For a jump at the beginning of the stub.
    pub plain: usize,
    /// The same behind `after_push`, for a jump after the stub has moved the stack.
    pub after_push: usize,
}

/// Patches the stub of system call `number`. Returns the outcome, a value of [`rules::info`].
///
/// # Safety
/// `function` is libc's, of the file at `path`, and nobody is in it. The hook takes the same arguments.
#[inline(never)]
pub unsafe fn redirect(
    function: &Option<Function>,
    path: *const c_char,
    number: c_long,
    hook: &Hook,
    writer: &sys::CodeWriter,
) -> u32 {
    let Some(function) = function else {
        return NOT_FOUND;
    };
    let &Function { address, size, .. } = function;
    // SAFETY: address and size are those of libc's symbol table, and libc stays loaded.
    let code = unsafe { sys::code(address, size) };
    let stub = match recognise_stub(code, number as u32) {
        Stub::Unknown => recognise_traced(code, function, path, number as u32),
        stub => stub,
    };
    match stub {
        Stub::Known(Place { offset, has_pushed }) => {
            let target = if has_pushed {
                hook.after_push
            } else {
                hook.plain
            };
            // SAFETY: these bytes are the function's, and nobody is in there or holds a reference to it any more.
            match unsafe { writer.write(address + offset, jump(target, offset).bytes()) } {
                Ok(()) => PATCHED,
                Err(_) => NOT_WRITABLE,
            }
        }
        Stub::PatchedByOtherCopy => PATCHED_BY_OTHER_COPY,
        Stub::Unknown => UNKNOWN_CODE,
    }
}

/// Recognises a stub by the file's code where `code` may have a breakpoint in the instructions that stay. The rest has to
/// be the same in both, which also shows that the code is at the expected offset of the file, as in all libcs seen.
#[cold]
fn recognise_traced(code: &[u8], function: &Function, path: *const c_char, number: u32) -> Stub {
    let mut original = [0; 96];
    let Ok(fd) = sys::open_to_read(libc::AT_FDCWD, path) else {
        return Stub::Unknown;
    };
    let length = sys::read_at(fd, &mut original, function.offset as u64);
    sys::close(fd);
    let length = length.unwrap_or(0).min(code.len());
    let original = original.get(..length).unwrap_or_default();
    match recognise_stub(original, number) {
        Stub::Known(place) if code.get(place.offset..length) == original.get(place.offset..) => {
            Stub::Known(place)
        }
        _ => Stub::Unknown,
    }
}

/// Whether, by its result in `vrfbind_info`, the function jumps to us or to another copy of us.
pub fn is_patched(result: &AtomicU32) -> bool {
    matches!(
        result.load(Ordering::Relaxed),
        PATCHED | PATCHED_BY_OTHER_COPY
    )
}

#[cfg(all(
    test,
    not(unknown_machine),
    any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_libc() {
        let objects = crate::libc::original::find();
        for (function, number) in [
            (objects.libc_socket, libc::SYS_socket),
            (objects.libc_execve, libc::SYS_execve),
        ] {
            let Function { address, size, .. } = function.expect("libc has it");
            // SAFETY: as above.
            let stub = recognise_stub(unsafe { sys::code(address, size) }, number as u32);
            // i386's socket() begins with a call, which cannot stay.
            let stays = !(cfg!(target_arch = "x86") && number == libc::SYS_socket);
            assert!(
                matches!(stub, Stub::Known(place) if (place.offset > 0) == stays),
                "{stub:?}"
            );
        }
    }
}
