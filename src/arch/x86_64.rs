//! x86_64.

pub use super::compare_exchange as claim;
use core::arch::asm;
use core::ffi::{c_int, c_void};
use rules::filter::MARKER;
use syscalls::Errno;

/// `jmp *0(%rip)`: 14 bytes with the address behind it, reaches everywhere, needs no register. Of the stubs glibc's are 33
/// bytes, musl's 24 (execve) and more.
pub const BEFORE: [u8; 6] = [0xff, 0x25, 0, 0, 0, 0];
/// Nothing.
pub const AFTER: [u8; 0] = [];
/// `endbr64`, where indirect calls land under CET.
pub const LANDING: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];

/// The stub moves the number to %eax (`b8 imm32`) and has `syscall` (`0f 05`) soon behind: at once in glibc (2.31, 2.36,
/// 2.41), after at most one instruction in musl (1.2.3, 1.2.5), whose functions also prepare their arguments first.
pub fn is_stub(code: &[u8], number: u32) -> bool {
    let [a, b, c, d] = number.to_le_bytes();
    let load = [0xb8, a, b, c, d];
    let number_at = code.windows(load.len()).position(|window| window == load);
    let call = number_at.and_then(|at| code.get(at + load.len()..at + load.len() + 8));
    number_at < Some(32) && call.is_some_and(|call| call.windows(2).any(|two| two == [0x0f, 0x05]))
}

/// socket(2) with the seal's marker in the sixth argument register, which the kernel preserves and we clear: by
/// instructions of our own, so that no other register ever holds it, and of the stack only the
/// frame of a signal that comes meanwhile.
pub fn marked_socket(domain: c_int, sock_type: c_int, protocol: c_int) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: takes no pointers. The system call clobbers rcx and r11.
    unsafe {
        asm!(
            "movabs r9, {marker}",
            "syscall",
            "xor r9d, r9d",
            marker = const MARKER,
            inlateout("rax") libc::SYS_socket as isize => result,
            in("rdi") domain,
            in("rsi") sock_type,
            in("rdx") protocol,
            out("r9") _,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        )
    };
    Errno::from_ret(result as usize)
}

/// Calls `function` on another stack.
///
/// # Safety
/// `function` may be called with `argument`, and the memory below `top`, which is aligned to 16 bytes, is large enough a
/// stack for it and used by nobody else.
pub unsafe fn call_on_stack(
    top: usize,
    function: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    // SAFETY: the stack and the call are as callers promise. r12 survives the call.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {function}",
            "mov rsp, r12",
            top = in(reg) top,
            function = in(reg) function,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        )
    };
}

/// The export `syscall`, with what it calls: `socket` for SYS_socket; for everything else the function whose address `original`
/// begins with, by a jump, as if we were not there (a frame of ours between the two would be wrong for what returns twice or
/// on another stack); `early` as long as there is no such address.
macro_rules! export_syscall {
    ($(#[$attribute:meta])* $socket:path, $original:path, $early:path) => {
        $(#[$attribute])*
        #[cfg_attr(not(test), unsafe(export_name = "syscall"))]
        #[unsafe(naked)]
        pub unsafe extern "C" fn syscall() {
            core::arch::naked_asm!(
                // The kernel looks at 32 bits.
                "cmp edi, {number}",
                "je {socket}",
                "mov rax, [rip + {original}]",
                "test rax, rax",
                "jz {early}",
                "jmp rax",
                number = const ::libc::SYS_socket,
                socket = sym $socket,
                original = sym $original,
                early = sym $early,
            )
        }
    };
}
pub(crate) use export_syscall;

#[cfg(test)]
mod tests {
    use crate::arch::{Stub, recognise_stub};

    const GLIBC: &[u8] = &[
        0xb8, 0x29, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73, 0x01, 0xc3,
    ];

    #[test]
    fn knows_the_stub_with_and_without_endbr64() {
        assert_eq!(recognise_stub(GLIBC, 41), Stub::Known { offset: 0 });
        let with_endbr64 = [&[0xf3, 0x0f, 0x1e, 0xfa], GLIBC].concat();
        assert_eq!(recognise_stub(&with_endbr64, 41), Stub::Known { offset: 4 });
    }

    #[test]
    fn leaves_other_code_alone() {
        assert_eq!(recognise_stub(GLIBC, 42), Stub::Unknown);
        assert_eq!(recognise_stub(&[], 41), Stub::Unknown);
        let no_call = [0xb8, 0x29, 0, 0, 0, 0xc3];
        assert_eq!(recognise_stub(&no_call, 41), Stub::Unknown);
        let late = [&[0x90; 40], GLIBC].concat();
        assert_eq!(recognise_stub(&late, 41), Stub::Unknown);
        // Another tool's jump.
        let hooked = [
            0xff, 0x25, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9,
        ];
        assert_eq!(recognise_stub(&hooked, 41), Stub::Unknown);
    }
}
