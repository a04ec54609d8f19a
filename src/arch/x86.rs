//! i386, for 32-bit programs on an x86_64 kernel. socket(2) is its system call since Linux 4.3; socketcall(2), by which
//! glibc makes sockets, has its arguments behind a pointer, and so no room for the seal's marker.

use super::Kept;
pub use super::uncut::{Shape, cut, cut_sendmsg, cut_sendto};
pub(crate) use super::uncut::{connect_stubs, sendmsg_stub, sendto_stub};
pub use super::{compare_exchange as claim, unmarked as marked};
use core::arch::asm;
use core::ffi::c_void;

/// `push target`, 10 bytes in all. glibc's stubs are 38 bytes (2.36) and more.
pub const BEFORE: [u8; 1] = [0x68];
/// `ret`.
pub const AFTER: [u8; 1] = [0xc3];
/// By this another copy of the library recognises the jump.
pub const SIGNATURE: [u8; 4] = *b"vrf\x01";
/// Nothing.
pub const FIRST: [u8; 0] = [];

/// `endbr32`, the target of indirect calls under CET, and `push %ebx`.
pub fn kept(code: &[u8]) -> Option<Kept> {
    match code {
        [0xf3, 0x0f, 0x1e, 0xfb, ..] => Some(Kept::Harmless(4)),
        [0x53, ..] => Some(Kept::Push(1)),
        _ => None,
    }
}

/// `int3`.
pub fn is_breakpoint(code: &[u8]) -> bool {
    code.starts_with(&[0xcc])
}

/// A stub that has pushed 4 bytes jumps to `$name`, which pops them and jumps to `$function`.
macro_rules! after_push {
    ($name:ident, $function:ident) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            core::arch::naked_asm!("add esp, 4", "jmp {function}", function = sym $function)
        }
    };
}
pub(crate) use after_push;

/// The stub moves the number to %eax (`b8 imm32`), and calls the kernel soon behind, by the vDSO (`call *%gs:0x10`) or by
/// `int $0x80`. For socket the number may be that of socketcall, with 1 (SYS_SOCKET) in %ebx.
pub fn is_stub(code: &[u8], number: u32) -> bool {
    const SOCKETCALL: u32 = 102;
    const WHICH: [u8; 5] = [0xbb, 1, 0, 0, 0];
    const BY_VDSO: &[u8] = &[0x65, 0xff, 0x15, 0x10, 0, 0, 0];
    const BY_INT: &[u8] = &[0xcd, 0x80];
    let head = code.get(..code.len().min(80)).unwrap_or_default();
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
    number_at
        .and_then(|at| head.get(at + 5..))
        .is_some_and(calls)
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
    // SAFETY: the stack and the call are as callers promise. edi survives the call.
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
                "cmpl ${number}, 4(%esp)",
                "je {socket}",
                // Where we are, since i386 has no addresses relative to it.
                "call 2f",
                "2: popl %eax",
                "movl {original} - 2b(%eax), %eax",
                "testl %eax, %eax",
                "jz {early}",
                "jmp *%eax",
                number = const ::libc::SYS_socket,
                socket = sym $socket,
                original = sym $original,
                early = sym $early,
                // The other syntax has no difference of two symbols.
                options(att_syntax),
            )
        }
    };
}
pub(crate) use export_syscall;

/// The export `connect`. Its frame has the six arguments and [`super::ROOM`] bytes, and both functions get a pointer to it:
/// `before`, which returns the address of the function to call, or 0 or -1 for what `connect` shall return; and `after`, with
/// what that function has returned, which `connect` returns in its place.
macro_rules! export_connect {
    ($(#[$attribute:meta])* $before:path, $after:path) => {
        $(#[$attribute])*
        #[cfg_attr(not(test), unsafe(export_name = "connect"))]
        #[unsafe(naked)]
        pub unsafe extern "C" fn connect() {
            core::arch::naked_asm!(
                "2: subl $92, %esp",
                "3: movl 96(%esp), %eax",
                "movl %eax, 24(%esp)",
                "movl 100(%esp), %eax",
                "movl %eax, 28(%esp)",
                "movl 104(%esp), %eax",
                "movl %eax, 32(%esp)",
                "movl 108(%esp), %eax",
                "movl %eax, 36(%esp)",
                "movl 112(%esp), %eax",
                "movl %eax, 40(%esp)",
                "movl 116(%esp), %eax",
                "movl %eax, 44(%esp)",
                "leal 24(%esp), %eax",
                "movl %eax, (%esp)",
                "call {before}",
                "leal 1(%eax), %ecx",
                "cmpl $1, %ecx",
                "jbe 6f",
                "movl 24(%esp), %ecx",
                "movl %ecx, 0(%esp)",
                "movl 28(%esp), %ecx",
                "movl %ecx, 4(%esp)",
                "movl 32(%esp), %ecx",
                "movl %ecx, 8(%esp)",
                "movl 36(%esp), %ecx",
                "movl %ecx, 12(%esp)",
                "movl 40(%esp), %ecx",
                "movl %ecx, 16(%esp)",
                "movl 44(%esp), %ecx",
                "movl %ecx, 20(%esp)",
                "call *%eax",
                "leal 24(%esp), %ecx",
                "movl %ecx, (%esp)",
                "movl %eax, 4(%esp)",
                "call {after}",
                "6: addl $92, %esp",
                "ret",
                "5:",
                // esp is 4, the return address 8: at esp + 4 - 4, and behind 3 at esp + 96 - 4.
                $crate::arch::call_frame!("@progbits", "4", "8", "0x0c, 4, 4, 0x80 + 8, 1", "0x0e, 96"),
                before = sym $before,
                after = sym $after,
                options(att_syntax),
            )
        }
    };
}
pub(crate) use export_connect;

#[cfg(test)]
mod tests {
    use crate::arch::{Place, Stub, recognise_stub};

    /// glibc 2.36's execve up to its system call.
    const EXECVE: [u8; 25] = [
        0x53, 0x8b, 0x54, 0x24, 0x10, 0x8b, 0x4c, 0x24, 0x0c, 0x8b, 0x5c, 0x24, 0x08, 0xb8, 0x0b,
        0, 0, 0, 0x65, 0xff, 0x15, 0x10, 0, 0, 0,
    ];
    /// glibc 2.36's socket up to its system call, without some of the moves between.
    const SOCKET: [u8; 27] = [
        0x53, 0xbb, 1, 0, 0, 0, 0x83, 0xec, 0x18, 0x8b, 0x44, 0x24, 0x20, 0x89, 0xe1, 0xb8, 0x66,
        0, 0, 0, 0x65, 0xff, 0x15, 0x10, 0, 0, 0,
    ];

    const ENDBR32: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfb];

    fn known(offset: usize) -> Stub {
        Stub::Known(Place {
            offset,
            has_pushed: offset > 0,
        })
    }

    #[test]
    fn knows_the_stubs_and_leaves_their_beginnings() {
        assert_eq!(recognise_stub(&EXECVE, 11), known(1));
        assert_eq!(recognise_stub(&SOCKET, 359), known(1));
        let guarded = [ENDBR32, &SOCKET[..]].concat();
        assert_eq!(recognise_stub(&guarded, 359), known(5));
        assert_eq!(recognise_stub(&EXECVE[1..], 11), known(0));
        let mut traced = EXECVE;
        traced[0] = 0xcc;
        assert_eq!(recognise_stub(&traced, 11), Stub::Unknown);
    }

    #[test]
    fn leaves_other_code_alone() {
        assert_eq!(recognise_stub(&EXECVE, 12), Stub::Unknown);
        assert_eq!(recognise_stub(&EXECVE[..18], 11), Stub::Unknown);
        assert_eq!(recognise_stub(&[], 359), Stub::Unknown);
        // bind, by socketcall.
        let mut bind = SOCKET;
        bind[2] = 2;
        assert_eq!(recognise_stub(&bind, 359), Stub::Unknown);
    }
}
