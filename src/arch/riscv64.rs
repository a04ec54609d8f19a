//! riscv64, with compressed instructions (rv64gc).

pub use super::{compare_exchange as claim, unmarked_socket as marked_socket};
use core::arch::asm;
use core::ffi::c_void;

/// `auipc t1, 0; ld t1, 10(t1); c.jr t1`, 22 bytes with the address behind it, as are glibc's stubs (2.36). t1 is free between
/// functions. The address need not be aligned: Linux does such loads for user space where the processor does not.
pub const BEFORE: [u8; 10] = [0x17, 0x03, 0, 0, 0x03, 0x33, 0xa3, 0, 0x02, 0x83];
/// Nothing.
pub const AFTER: [u8; 0] = [];
/// None.
pub const LANDING: &[u8] = &[];

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

#[cfg(test)]
mod tests {
    use crate::arch::{Stub, recognise_stub};

    /// `li a7, 198`, `ecall`, `lui a7, 0xfffff`, `bltu a7, a0`, `ret`, `j`, `ret`: glibc 2.36.
    const GLIBC: [u8; 22] = [
        0x93, 0x08, 0x60, 0x0c, 0x73, 0, 0, 0, 0xfd, 0x78, 0x63, 0xe3, 0xa8, 0, 0x82, 0x80, 0x6f,
        0, 0x9f, 0x45, 0x82, 0x80,
    ];

    #[test]
    fn knows_the_stub() {
        assert_eq!(recognise_stub(&GLIBC, 198), Stub::Known { offset: 0 });
        let later = [&[0x01, 0x11], &GLIBC[..]].concat();
        assert_eq!(recognise_stub(&later, 198), Stub::Known { offset: 0 });
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
