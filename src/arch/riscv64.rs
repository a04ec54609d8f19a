//! riscv64, with compressed instructions (rv64gc).

use super::Kept;
pub use super::uncut::{Shape, cut, cut_sendmsg, cut_sendto};
pub(crate) use super::uncut::{connect_stubs, sendmsg_stub, sendto_stub};
pub use super::{compare_exchange as claim, unmarked as marked};
use core::arch::asm;
use core::ffi::c_void;

/// `auipc t6, 0; ld t6, 10(t6); c.jr t6`, 18 bytes with the address behind it. glibc's stubs are 22 (2.36), of which 18 are
/// left. t6 is free between functions. The address need not be aligned: Linux does such loads for user space where the
/// processor does not.
pub const BEFORE: [u8; 10] = [0x97, 0x0f, 0, 0, 0x83, 0xbf, 0xaf, 0, 0x82, 0x8f];
/// Nothing.
pub const AFTER: [u8; 0] = [];
/// There is no room for one. No other code has a reason to jump by t6.
pub const SIGNATURE: [u8; 0] = [];
/// Nothing.
pub const FIRST: [u8; 0] = [];

/// `li a7, number`; `c.addi sp, -16`.
pub fn kept(code: &[u8]) -> Option<Kept> {
    match code {
        [0x41, 0x11, ..] => Some(Kept::Push(2)),
        [0x93, second, _, _, ..] if second & 0xf == 8 => Some(Kept::Harmless(4)),
        _ => None,
    }
}

/// `ebreak`, `c.ebreak`.
pub fn is_breakpoint(code: &[u8]) -> bool {
    code.starts_with(&[0x02, 0x90]) || code.starts_with(&[0x73, 0, 0x10, 0])
}

/// A stub that has pushed 16 bytes jumps to `$name`, which pops them and jumps to `$function`.
macro_rules! after_push {
    ($name:ident, $function:ident) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            core::arch::naked_asm!("addi sp, sp, 16", "tail {function}", function = sym $function)
        }
    };
}
pub(crate) use after_push;

/// The stub moves the number to a7 (`li a7, number`) and has `ecall` soon behind: at once in glibc (2.36). Both are four
/// bytes, on any even address.
pub fn is_stub(code: &[u8], number: u32) -> bool {
    const ECALL: [u8; 4] = 0x73_u32.to_le_bytes();
    let move_a7 = (0x893 | number << 20).to_le_bytes();
    let is_at = |at: usize, instruction: [u8; 4]| code.get(at..at + 4) == Some(&instruction[..]);
    (0..48)
        .step_by(2)
        .find(|&at| is_at(at, move_a7))
        .is_some_and(|at| (at + 4..at + 24).step_by(2).any(|at| is_at(at, ECALL)))
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
    // SAFETY: the stack and the call are as callers promise. s2 survives the call.
    unsafe {
        asm!(
            "mv s2, sp",
            "mv sp, {top}",
            "jalr {function}",
            "mv sp, s2",
            top = in(reg) top,
            function = in(reg) function,
            in("a0") argument,
            out("s2") _,
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
                "sext.w t1, a0",
                "li t2, {number}",
                "bne t1, t2, 2f",
                "tail {socket}",
                "2: lla t1, {original}",
                "ld t1, 0(t1)",
                "beqz t1, 3f",
                "jr t1",
                "3: tail {early}",
                number = const ::libc::SYS_socket,
                socket = sym $socket,
                original = sym $original,
                early = sym $early,
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
                "2: addi sp, sp, -96",
                "sd ra, 88(sp)",
                "3: sd a0, 0(sp)",
                "sd a1, 8(sp)",
                "sd a2, 16(sp)",
                "sd a3, 24(sp)",
                "sd a4, 32(sp)",
                "sd a5, 40(sp)",
                "mv a0, sp",
                "call {before}",
                "mv t1, a0",
                "addi t2, t1, 1",
                "sltiu t2, t2, 2",
                "bnez t2, 6f",
                "ld a0, 0(sp)",
                "ld a1, 8(sp)",
                "ld a2, 16(sp)",
                "ld a3, 24(sp)",
                "ld a4, 32(sp)",
                "ld a5, 40(sp)",
                "jalr t1",
                "mv a1, a0",
                "mv a0, sp",
                "call {after}",
                "6: ld ra, 88(sp)",
                "addi sp, sp, 96",
                "ret",
                "5:",
                // sp is 2, ra 1: behind 3 at sp + 96 - 8.
                $crate::arch::call_frame!("@progbits", "8", "1", "0x0c, 2, 0", "0x0e, 96, 0x80 + 1, 1"),
                before = sym $before,
                after = sym $after,
            )
        }
    };
}
pub(crate) use export_connect;

#[cfg(test)]
mod tests {
    use crate::arch::{Place, Stub, recognise_stub};

    /// `li a7, 198`, `ecall`, `lui a7, 0xfffff`, `bltu a7, a0`, `ret`, `j`, `ret`: glibc 2.36.
    const GLIBC: [u8; 22] = [
        0x93, 0x08, 0x60, 0x0c, 0x73, 0, 0, 0, 0xfd, 0x78, 0x63, 0xe3, 0xa8, 0, 0x82, 0x80, 0x6f,
        0, 0x9f, 0x45, 0x82, 0x80,
    ];

    fn known(offset: usize, has_pushed: bool) -> Stub {
        Stub::Known(Place { offset, has_pushed })
    }

    #[test]
    fn knows_the_stub_and_leaves_its_beginning() {
        assert_eq!(recognise_stub(&GLIBC, 198), known(4, false));
        let later = [&[0x41, 0x11], &GLIBC[..]].concat();
        assert_eq!(recognise_stub(&later, 198), known(6, true));
        let other = [&[0x01, 0x11], &GLIBC[..]].concat();
        assert_eq!(recognise_stub(&other, 198), known(0, false));
    }

    #[test]
    fn writes_over_no_breakpoint() {
        let traced = [&[0x02, 0x90], &GLIBC[2..]].concat();
        assert_eq!(recognise_stub(&traced, 198), Stub::Unknown);
        let traced = [&[0x02, 0x90], &GLIBC[..]].concat();
        assert_eq!(recognise_stub(&traced, 198), Stub::Unknown);
    }

    #[test]
    fn leaves_other_code_alone() {
        assert_eq!(recognise_stub(&GLIBC, 221), Stub::Unknown);
        assert_eq!(recognise_stub(&[], 198), Stub::Unknown);
        assert_eq!(recognise_stub(&GLIBC[..4], 198), Stub::Unknown);
        let late = [&[0x01, 0].repeat(24)[..], &GLIBC[..]].concat();
        assert_eq!(recognise_stub(&late, 198), Stub::Unknown);
    }
}
