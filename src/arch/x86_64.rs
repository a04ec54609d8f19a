//! x86_64.

use super::SIGNATURE;
use crate::hooks;
use crate::libc::original;
use crate::libc::patch::Wrapper;
use core::arch::{asm, naked_asm};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};
use rules::filter::MARKER;

/// Size of [`jump`]. glibc's wrappers are 33 bytes, musl's 24 (execve) and more.
pub const JUMP: usize = 18;

/// `jmp *0(%rip)` with the address behind it: 14 bytes, reaches everywhere, needs no register.
pub fn jump(target: usize) -> [u8; JUMP] {
    let mut code = [0; JUMP];
    let parts = [0xff, 0x25, 0, 0, 0, 0]
        .into_iter()
        .chain(target.to_ne_bytes())
        .chain(SIGNATURE);
    for (to, from) in code.iter_mut().zip(parts) {
        *to = from;
    }
    code
}

/// Whether this is libc's wrapper of a system call, and where a jump may be written.
///
/// The wrapper moves the number to %eax (`b8 imm32`) and has `syscall` (`0f 05`) soon behind: at once
/// in glibc (2.31, 2.36, 2.41), after at most one instruction in musl (1.2.3, 1.2.5), whose
/// functions also prepare their arguments first. An `endbr64` at the start is where indirect calls
/// land under CET, so it stays.
pub fn wrapper(code: &[u8], number: u32) -> Wrapper {
    const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
    let offset = if code.starts_with(ENDBR64) {
        ENDBR64.len()
    } else {
        0
    };
    let body = code.get(offset..).unwrap_or_default();
    if body.starts_with(&[0xff, 0x25, 0, 0, 0, 0]) && body.get(14..JUMP) == Some(&SIGNATURE[..]) {
        return Wrapper::LedByAnother;
    }
    let mut load = [0xb8, 0, 0, 0, 0];
    for (to, from) in load.iter_mut().skip(1).zip(number.to_le_bytes()) {
        *to = from;
    }
    let number_at = body.windows(load.len()).position(|window| window == load);
    let call = number_at.and_then(|at| body.get(at + load.len()..at + load.len() + 8));
    match call {
        Some(after) if number_at < Some(32) && after.windows(2).any(|two| two == [0x0f, 0x05]) => {
            Wrapper::Known { offset }
        }
        _ => Wrapper::Unknown,
    }
}

/// Stores `value` where there is 0. Returns what there was. No ordering.
pub fn take(place: &AtomicUsize, value: usize) -> usize {
    match place.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(found) | Err(found) => found,
    }
}

/// socket(2) with the seal's marker in the sixth argument register, which the kernel preserves and we clear: by
/// instructions of our own, so that no other register and no stack ever holds it. Returns the fd, or -errno.
pub fn marked_socket(domain: c_int, sock_type: c_int, protocol: c_int) -> isize {
    let result;
    // SAFETY: takes no pointers. The system call clobbers rcx and r11.
    unsafe {
        asm!(
            "movabs r9, {marker}",
            "syscall",
            "xor r9d, r9d",
            marker = const MARKER,
            inlateout("rax") libc::SYS_socket => result,
            in("rdi") domain,
            in("rsi") sock_type,
            in("rdx") protocol,
            out("r9") _,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        )
    };
    result
}

/// Calls `function` on another stack.
pub fn on_stack(top: usize, function: extern "C" fn(*mut c_void), argument: *mut c_void) {
    // SAFETY: callers have a stack below `top`, which is aligned to 16 bytes. r12 survives the call.
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

/// syscall(2): socket goes to us, everything else on to the next `syscall` by a jump, as if we were not
/// there. A frame of ours between the two would be wrong for what returns twice or on another stack.
#[cfg_attr(not(test), unsafe(export_name = "syscall"))]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall() {
    naked_asm!(
        // The kernel looks at 32 bits.
        "cmp edi, {number}",
        "je {socket}",
        "mov rax, [rip + {next}]",
        "test rax, rax",
        "jz {early}",
        "jmp rax",
        number = const libc::SYS_socket,
        socket = sym hooks::syscall_socket,
        next = sym original::SYSCALL,
        early = sym hooks::syscall_early,
    )
}
