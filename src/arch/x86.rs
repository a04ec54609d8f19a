//! i386, for 32-bit programs on an x86_64 kernel. socket(2) is its system call since Linux 4.3; socketcall(2), by which
//! glibc makes sockets, has its arguments behind a pointer, and so no room for the seal's marker.

use super::SIGNATURE;
pub use super::unmarked_socket as marked_socket;
use crate::hooks;
use crate::libc::original;
use crate::libc::patch::Wrapper;
use core::arch::{asm, naked_asm};
use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Size of [`jump`]. glibc's wrappers are 38 bytes (2.36) and more.
pub const JUMP: usize = 10;

/// `push target; ret`.
pub fn jump(target: usize) -> [u8; JUMP] {
    let mut code = [0; JUMP];
    let parts = [PUSH]
        .into_iter()
        .chain(target.to_ne_bytes())
        .chain([RET])
        .chain(SIGNATURE);
    for (to, from) in code.iter_mut().zip(parts) {
        *to = from;
    }
    code
}

const PUSH: u8 = 0x68;
const RET: u8 = 0xc3;

/// Whether this is libc's wrapper of a system call, and where a jump may be written.
///
/// The wrapper moves the number to %eax (`b8 imm32`), and calls the kernel soon behind, by the vDSO (`call
/// *%gs:0x10`) or by `int $0x80`. For socket the number may be that of socketcall, and 1 goes to %ebx, which says
/// that socket is meant. An `endbr32` at the start stays.
pub fn wrapper(code: &[u8], number: u32) -> Wrapper {
    const ENDBR32: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfb];
    const SOCKETCALL: u32 = 102;
    const WHICH: [u8; 5] = [0xbb, 1, 0, 0, 0];
    const BY_VDSO: &[u8] = &[0x65, 0xff, 0x15, 0x10, 0, 0, 0];
    const BY_INT: &[u8] = &[0xcd, 0x80];
    let offset = if code.starts_with(ENDBR32) {
        ENDBR32.len()
    } else {
        0
    };
    let body = code.get(offset..).unwrap_or_default();
    if body.first() == Some(&PUSH)
        && body.get(5) == Some(&RET)
        && body.get(6..JUMP) == Some(&SIGNATURE[..])
    {
        return Wrapper::LedByAnother;
    }
    let head = body.get(..body.len().min(80)).unwrap_or_default();
    let loads = |number: u32| {
        let [a, b, c, d] = number.to_le_bytes();
        head.windows(5)
            .position(|window| window == [0xb8, a, b, c, d])
    };
    let is_socket = i64::from(number) == i64::from(libc::SYS_socket);
    let is_socketcall = is_socket && head.windows(5).any(|window| window == WHICH);
    let number_at = match loads(number) {
        None if is_socketcall => loads(SOCKETCALL),
        at => at,
    };
    let calls = |after: &[u8]| {
        after.windows(BY_VDSO.len()).any(|window| window == BY_VDSO)
            || after.windows(BY_INT.len()).any(|window| window == BY_INT)
    };
    match number_at.and_then(|at| head.get(at + 5..)) {
        Some(after) if calls(after) => Wrapper::Known { offset },
        _ => Wrapper::Unknown,
    }
}

/// Stores `value` where there is 0. Returns what there was. No ordering.
pub fn take(place: &AtomicUsize, value: usize) -> usize {
    match place.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(found) | Err(found) => found,
    }
}

/// Calls `function` on another stack.
pub fn on_stack(top: usize, function: extern "C" fn(*mut c_void), argument: *mut c_void) {
    // SAFETY: callers have a stack below `top`, which is aligned to 16 bytes. edi survives the call.
    unsafe {
        asm!(
            "mov edi, esp",
            "mov esp, {top}",
            "sub esp, 12",
            "push {argument}",
            "call {function}",
            "mov esp, edi",
            top = in(reg) top,
            argument = in(reg) argument,
            function = in(reg) function,
            out("edi") _,
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
        "cmpl ${number}, 4(%esp)",
        "je {socket}",
        // Where we are, since the machine has no addresses relative to it.
        "call 2f",
        "2: popl %eax",
        "movl {next} - 2b(%eax), %eax",
        "testl %eax, %eax",
        "jz {early}",
        "jmp *%eax",
        number = const libc::SYS_socket,
        socket = sym hooks::syscall_socket,
        next = sym original::SYSCALL,
        early = sym hooks::syscall_early,
        // The other syntax has no difference of two symbols.
        options(att_syntax),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// glibc 2.36's execve up to its system call.
    const EXECVE: [u8; 25] = [
        0x53, 0x8b, 0x54, 0x24, 0x10, 0x8b, 0x4c, 0x24, 0x0c, 0x8b, 0x5c, 0x24, 0x08, 0xb8, 0x0b,
        0, 0, 0, 0x65, 0xff, 0x15, 0x10, 0, 0, 0,
    ];
    /// Its socket up to there, without some of the moves between.
    const SOCKET: [u8; 27] = [
        0x53, 0xbb, 1, 0, 0, 0, 0x83, 0xec, 0x18, 0x8b, 0x44, 0x24, 0x20, 0x89, 0xe1, 0xb8, 0x66,
        0, 0, 0, 0x65, 0xff, 0x15, 0x10, 0, 0, 0,
    ];

    #[test]
    fn knows_the_wrappers() {
        assert_eq!(wrapper(&EXECVE, 11), Wrapper::Known { offset: 0 });
        assert_eq!(wrapper(&SOCKET, 359), Wrapper::Known { offset: 0 });
        let with_endbr32 = [&[0xf3, 0x0f, 0x1e, 0xfb], &SOCKET[..]].concat();
        assert_eq!(wrapper(&with_endbr32, 359), Wrapper::Known { offset: 4 });
    }

    #[test]
    fn leaves_other_code_alone() {
        assert_eq!(wrapper(&EXECVE, 12), Wrapper::Unknown);
        assert_eq!(wrapper(&EXECVE[..18], 11), Wrapper::Unknown);
        assert_eq!(wrapper(&[], 359), Wrapper::Unknown);
        // bind, by socketcall.
        let mut bind = SOCKET;
        bind[2] = 2;
        assert_eq!(wrapper(&bind, 359), Wrapper::Unknown);
    }

    #[test]
    fn knows_its_own_jump() {
        assert_eq!(wrapper(&jump(0x1234), 359), Wrapper::LedByAnother);
        let mut not_ours = jump(0x1234);
        not_ours[JUMP - 1] ^= 1;
        assert_eq!(wrapper(&not_ours, 359), Wrapper::Unknown);
    }
}
