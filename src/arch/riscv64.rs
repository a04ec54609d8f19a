//! riscv64, with compressed instructions (rv64gc).

use super::SIGNATURE;
pub use super::unmarked_socket as marked_socket;
use crate::hooks;
use crate::libc::original;
use crate::libc::patch::Wrapper;
use core::arch::{asm, naked_asm};
use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Size of [`jump`]. glibc's wrappers are 22 bytes (2.36).
pub const JUMP: usize = 22;

/// `auipc t1, 0; ld t1, 10(t1); c.jr t1` with the address behind it. t1 is free between functions. The address
/// need not be aligned: Linux does such loads for user space where the machine does not.
pub fn jump(target: usize) -> [u8; JUMP] {
    let mut code = [0; JUMP];
    let parts = LOAD_AND_JUMP
        .into_iter()
        .chain(target.to_ne_bytes())
        .chain(SIGNATURE);
    for (to, from) in code.iter_mut().zip(parts) {
        *to = from;
    }
    code
}

const LOAD_AND_JUMP: [u8; 10] = [0x17, 0x03, 0, 0, 0x03, 0x33, 0xa3, 0, 0x02, 0x83];

/// Whether this is libc's wrapper of a system call, and where a jump may be written.
///
/// The wrapper moves the number to a7 (`li a7, number`) and has `ecall` soon behind: at once in glibc (2.36). Both
/// are four bytes, on any even address.
pub fn wrapper(code: &[u8], number: u32) -> Wrapper {
    const ECALL: [u8; 4] = 0x73_u32.to_le_bytes();
    if code.starts_with(&LOAD_AND_JUMP)
        && code.get(JUMP - SIGNATURE.len()..JUMP) == Some(&SIGNATURE[..])
    {
        return Wrapper::LedByAnother;
    }
    let move_a7 = (0x893 | number << 20).to_le_bytes();
    let is_at = |at: usize, instruction: [u8; 4]| code.get(at..at + 4) == Some(&instruction[..]);
    let number_at = (0..48).step_by(2).find(|&at| is_at(at, move_a7));
    match number_at {
        Some(at) if (at + 4..at + 24).step_by(2).any(|at| is_at(at, ECALL)) => {
            Wrapper::Known { offset: 0 }
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

/// Calls `function` on another stack.
pub fn on_stack(top: usize, function: extern "C" fn(*mut c_void), argument: *mut c_void) {
    // SAFETY: callers have a stack below `top`, which is aligned to 16 bytes. s2 survives the call.
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

/// syscall(2): socket goes to us, everything else on to the next `syscall` by a jump, as if we were not
/// there. A frame of ours between the two would be wrong for what returns twice or on another stack.
#[cfg_attr(not(test), unsafe(export_name = "syscall"))]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall() {
    naked_asm!(
        // The kernel looks at 32 bits.
        "sext.w t1, a0",
        "li t2, {number}",
        "bne t1, t2, 2f",
        "tail {socket}",
        "2: lla t1, {next}",
        "ld t1, 0(t1)",
        "beqz t1, 3f",
        "jr t1",
        "3: tail {early}",
        number = const libc::SYS_socket,
        socket = sym hooks::syscall_socket,
        next = sym original::SYSCALL,
        early = sym hooks::syscall_early,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `li a7, 198`, `ecall`, `lui a7, 0xfffff`, `bltu a7, a0`, `ret`, `j`, `ret`: glibc 2.36.
    const GLIBC: [u8; 22] = [
        0x93, 0x08, 0x60, 0x0c, 0x73, 0, 0, 0, 0xfd, 0x78, 0x63, 0xe3, 0xa8, 0, 0x82, 0x80, 0x6f,
        0, 0x9f, 0x45, 0x82, 0x80,
    ];

    #[test]
    fn knows_the_wrapper() {
        assert_eq!(wrapper(&GLIBC, 198), Wrapper::Known { offset: 0 });
        let later = [&[0x01, 0x11], &GLIBC[..]].concat();
        assert_eq!(wrapper(&later, 198), Wrapper::Known { offset: 0 });
    }

    #[test]
    fn leaves_other_code_alone() {
        assert_eq!(wrapper(&GLIBC, 221), Wrapper::Unknown);
        assert_eq!(wrapper(&[], 198), Wrapper::Unknown);
        assert_eq!(wrapper(&GLIBC[..4], 198), Wrapper::Unknown);
        let late = [&[0x01, 0].repeat(24)[..], &GLIBC[..]].concat();
        assert_eq!(wrapper(&late, 198), Wrapper::Unknown);
    }

    #[test]
    fn knows_its_own_jump() {
        assert_eq!(wrapper(&jump(0x1234), 198), Wrapper::LedByAnother);
        let mut not_ours = jump(0x1234);
        not_ours[JUMP - 1] ^= 1;
        assert_eq!(wrapper(&not_ours, 198), Wrapper::Unknown);
    }
}
