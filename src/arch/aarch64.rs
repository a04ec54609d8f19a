//! aarch64.

use super::{Cut, Kept};
use core::arch::asm;
use core::ffi::c_void;
use core::sync::atomic::AtomicUsize;
use rules::filter::MARKER;
use syscalls::{Errno, Sysno};

/// `ldr x16, .+8; br x16`, 20 bytes with the address behind it. Of the stubs glibc's are 24 bytes (2.31) and more, of which
/// 20 are left, musl's 28 (execve) and more. x16 is free between functions.
pub const BEFORE: [u8; 8] = [0x50, 0, 0, 0x58, 0, 0x02, 0x1f, 0xd6];
/// Nothing.
pub const AFTER: [u8; 0] = [];
/// By this another copy of the library recognises the jump.
pub const SIGNATURE: [u8; 4] = *b"vrf\x01";
/// `bti c`, the target of indirect calls in code that BTI guards; elsewhere it does nothing. A guarded libc begins the
/// function with it, or with a `paciasp`, which is a target too and cannot stay.
pub const FIRST: [u8; 4] = BTI_C.to_le_bytes();

const BTI_C: u32 = 0xd503_245f;

/// `nop`, `bti c`, and `mov x8, #number` (or w8); `stp x29, x30, [sp, #-16]!` in musl.
pub fn kept(code: &[u8]) -> Option<Kept> {
    const NOP: u32 = 0xd503_201f;
    const STP: u32 = 0xa9bf_7bfd;
    let word = u32::from_le_bytes(*code.first_chunk()?);
    let moves_x8 = word & 0x7fe0_001f == 0x5280_0008;
    match word {
        NOP | BTI_C => Some(Kept::Harmless(4)),
        STP => Some(Kept::Push(4)),
        _ => moves_x8.then_some(Kept::Harmless(4)),
    }
}

/// `brk`.
pub fn is_breakpoint(code: &[u8]) -> bool {
    code.first_chunk()
        .is_some_and(|word| u32::from_le_bytes(*word) & 0xffe0_001f == 0xd420_0000)
}

/// A stub that has pushed 16 bytes jumps to `$name`, which pops them and jumps to `$function`.
macro_rules! after_push {
    ($name:ident, $function:ident) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            core::arch::naked_asm!("add sp, sp, #16", "b {function}", function = sym $function)
        }
    };
}
pub(crate) use after_push;

/// The stub moves the number to x8 (or w8) and has `svc #0` soon behind: at once in glibc (2.31, 2.36, 2.41), after at most
/// three instructions in musl (1.2.2, 1.2.3, 1.2.5), which zeroes the arguments that socket does not have.
pub fn is_stub(code: &[u8], number: u32) -> bool {
    const SVC: u32 = 0xd400_0001;
    let move_x8 = 0xd280_0008 | number << 5;
    let move_w8 = 0x5280_0008 | number << 5;
    let (words, _) = code.as_chunks::<4>();
    let word = |index: usize| words.get(index).map(|word| u32::from_le_bytes(*word));
    (0..12)
        .find(|&index| word(index) == Some(move_x8) || word(index) == Some(move_w8))
        .is_some_and(|at| (at + 1..at + 8).any(|index| word(index) == Some(SVC)))
}

/// Stores `value` if `place` has 0. Returns the previous value. No ordering.
///
/// In assembly: for an atomic read and write, rustc calls compiler-rt here (outline atomics), which
/// brings constructors of its own, and in Debian's rustc a stack protector whose symbol is in glibc's
/// ld.so, so that musl could not load the library.
pub fn claim(place: &AtomicUsize, value: usize) -> usize {
    let found: usize;
    // SAFETY: `place` is valid and all access to it is atomic. This is compare_exchange by ARMv8.0.
    unsafe {
        asm!(
            "2: ldxr {found}, [{place}]",
            "cbnz {found}, 3f",
            "stxr {failed:w}, {value}, [{place}]",
            "cbnz {failed:w}, 2b",
            "3:",
            place = in(reg) place.as_ptr(),
            value = in(reg) value,
            found = out(reg) found,
            failed = out(reg) _,
            options(nostack, preserves_flags),
        )
    };
    found
}

/// A system call with the seal's marker in the sixth argument register, which the kernel preserves and we clear. It is
/// written in assembly, so that no other register ever holds the marker, and no memory but the frame of a signal that
/// comes meanwhile.
///
/// # Safety
/// As for the system call, of at most five arguments.
pub unsafe fn marked(number: Sysno, [a, b, c, d, e]: [usize; 5]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: as callers promise.
    unsafe {
        asm!(
            "movz x5, #{part0}",
            "movk x5, #{part1}, lsl #16",
            "movk x5, #{part2}, lsl #32",
            "movk x5, #{part3}, lsl #48",
            "svc #0",
            "mov x5, xzr",
            part0 = const MARKER & 0xffff,
            part1 = const MARKER >> 16 & 0xffff,
            part2 = const MARKER >> 32 & 0xffff,
            part3 = const MARKER >> 48,
            in("x8") number as usize,
            inlateout("x0") a as isize => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            out("x5") _,
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
// In a frame of its own: it saves d8 to d15.
#[inline(never)]
pub unsafe fn call_on_stack(
    top: usize,
    function: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    // SAFETY: the stack and the call are as callers promise. x20 survives the call.
    unsafe {
        asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {function}",
            "mov sp, x20",
            top = in(reg) top,
            function = in(reg) function,
            in("x0") argument,
            out("x20") _,
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
                "cmp w0, #{number}",
                "b.eq {socket}",
                "adrp x16, {original}",
                "ldr x16, [x16, :lo12:{original}]",
                "cbz x16, 2f",
                "br x16",
                "2: b {early}",
                number = const ::libc::SYS_socket,
                socket = sym $socket,
                original = sym $original,
                early = sym $early,
            )
        }
    };
}
pub(crate) use export_syscall;

/// The shapes of the code that is cut, named after the version of glibc that has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Glibc231,
    Glibc236,
    Glibc241,
    /// musl's `sendto`.
    Musl123,
    Musl125,
}

/// glibc's `connect`. Up to 2.40 it saves registers, and makes the call if there is only one thread. The path for several
/// threads follows, where a thread can be cancelled; it is correct in any case. 2.41 has only one path, by a call.
pub fn cut(code: &[u8]) -> Option<Cut> {
    type Pattern = (u32, u32);
    // Masks and instructions: what stays, what `connect_stubs` does, and a load and a branch by the flag.
    const GLIBC_2_31: [Pattern; 10] = [
        (!0, 0xa9bc_7bfd),          // stp x29, x30, [sp, #-64]!
        (!0, 0x2a02_03e2),          // mov w2, w2
        (!0, 0x9100_03fd),          // mov x29, sp
        (!0, 0xf900_13f5),          // str x21, [sp, #32]
        (!0, 0xd53b_d055),          // mrs x21, tpidr_el0
        (!0, 0xd11c_02a3),          // sub x3, x21, #0x700
        (!0, 0xa901_53f3),          // stp x19, x20, [sp, #16]
        (!0, 0x9340_7c13),          // sxtw x19, w0
        (!0, 0xb940_0060),          // ldr w0, [x3]
        (0xff80_001f, 0x3500_0000), // cbnz w0, forward
    ];
    const GLIBC_2_36: [Pattern; 8] = [
        (!0, 0xa9bd_7bfd),          // stp x29, x30, [sp, #-48]!
        (0x9f00_001f, 0x9000_0003), // adrp x3
        (!0, 0x9100_03fd),          // mov x29, sp
        (0xffc0_03ff, 0x3940_0063), // ldrb w3, [x3, #]
        (!0, 0xa901_53f3),          // stp x19, x20, [sp, #16]
        (!0, 0x9340_7c14),          // sxtw x20, w0
        (!0, 0x2a02_03f3),          // mov w19, w2
        (0xff80_001f, 0x3400_0003), // cbz w3, forward
    ];
    // What stays, and what `connect_stubs` does.
    const GLIBC_2_41: [Pattern; 6] = [
        (!0, 0xd503_233f), // paciasp
        (!0, 0xa9bf_7bfd), // stp x29, x30, [sp, #-16]!
        (!0, 0x2a02_03e2), // mov w2, w2
        (!0, 0xd280_1966), // mov x6, #203
        (!0, 0x9100_03fd), // mov x29, sp
        (!0, 0xd280_0005), // mov x5, #0
    ];
    let (words, _) = code.as_chunks::<4>();
    let begins_with = |patterns: &[Pattern]| {
        let fits = |(index, (mask, expected)): (usize, &Pattern)| {
            let word = words.get(index);
            word.is_some_and(|word| u32::from_le_bytes(*word) & mask == *expected)
        };
        patterns.iter().enumerate().all(fits)
    };
    let by_branch = |count: usize, shape| {
        let branch = u32::from_le_bytes(*words.get(count - 1)?);
        let resume = 4 * (count - 1 + (branch >> 5 & 0x3_ffff) as usize);
        let resume = u16::try_from(resume).ok()?;
        (usize::from(resume) < code.len()).then_some(Cut {
            at: 4,
            resume,
            shape,
        })
    };
    if begins_with(&GLIBC_2_31) {
        by_branch(GLIBC_2_31.len(), Shape::Glibc231)
    } else if begins_with(&GLIBC_2_36) {
        by_branch(GLIBC_2_36.len(), Shape::Glibc236)
    } else {
        begins_with(&GLIBC_2_41).then_some(Cut {
            at: 8,
            resume: 4 * GLIBC_2_41.len() as u16,
            shape: Shape::Glibc241,
        })
    }
}

/// A pair of stubs. x29 and x30 are on the stack: `undo` takes them from there, and `redo` puts them back and does what is cut.
macro_rules! stub_pair {
    ($prepared:ident, $past:ident, $before:path, $resume:path, [$($undo:literal),*], [$($redo:literal),*]) => {
        #[unsafe(naked)]
        extern "C" fn $prepared() {
            core::arch::naked_asm!(
                "stp x0, x1, [sp, #-32]!",
                "str x2, [sp, #16]",
                "bl {before}",
                "mov w9, w0",
                "ldr x2, [sp, #16]",
                "ldp x0, x1, [sp], #32",
                $($undo,)*
                "cmp w9, #1",
                "b.eq {past}",
                "mov w0, w9",
                "ret",
                before = sym $before,
                past = sym $past,
            )
        }

        #[unsafe(naked)]
        extern "C" fn $past() {
            core::arch::naked_asm!(
                $($redo,)*
                "adrp x16, {resume}",
                "ldr x16, [x16, :lo12:{resume}]",
                // Not br: in a guarded page that has to arrive at a bti.
                "ret x16",
                resume = sym $resume,
            )
        }
    };
}
pub(crate) use stub_pair;

/// Defines `connect_stubs`: `before` is called with the first three arguments of the call. It returns 1 if the call shall be
/// made, otherwise the result of `connect`. The stubs go on at the address in `resume`.
macro_rules! connect_stubs {
    ($before:path, $resume:path) => {
        $crate::arch::stub_pair! {
            connect_231, connect_past_231, $before, $resume,
            ["ldp x29, x30, [sp], #64"],
            [
                "stp x29, x30, [sp, #-64]!",
                "mov w2, w2",
                "mov x29, sp",
                "str x21, [sp, #32]",
                "mrs x21, tpidr_el0",
                "sub x3, x21, #0x700",
                "stp x19, x20, [sp, #16]",
                "sxtw x19, w0"
            ]
        }
        $crate::arch::stub_pair! {
            connect_236, connect_past_236, $before, $resume,
            ["ldp x29, x30, [sp], #48"],
            [
                "stp x29, x30, [sp, #-48]!",
                "mov x29, sp",
                "stp x19, x20, [sp, #16]",
                "sxtw x20, w0",
                "mov w19, w2"
            ]
        }
        // hint #29 is autiasp, hint #25 paciasp.
        $crate::arch::stub_pair! {
            connect_241, connect_past_241, $before, $resume,
            ["ldp x29, x30, [sp], #16", "hint #29"],
            [
                "hint #25",
                "stp x29, x30, [sp, #-16]!",
                "mov w2, w2",
                "mov x6, #203",
                "mov x29, sp",
                "mov x5, #0"
            ]
        }

        fn connect_stubs(shape: $crate::arch::Shape) -> Stubs {
            use $crate::arch::Shape::{Glibc231, Glibc236};
            let (prepared, past) = match shape {
                Glibc231 => (connect_231 as *const (), connect_past_231 as *const ()),
                Glibc236 => (connect_236 as *const (), connect_past_236 as *const ()),
                // There is no `connect` of the other shapes.
                _ => (connect_241 as *const (), connect_past_241 as *const ()),
            };
            Stubs {
                prepared: prepared as usize,
                past: Some(past as usize),
            }
        }
    };
}
pub(crate) use connect_stubs;

/// musl's `sendto`, 1.2.3 and 1.2.5: behind the first instruction.
pub fn cut_sendto(code: &[u8]) -> Option<Cut> {
    const MUSL_1_2_3: [u32; 5] = [
        0xaa01_03e8, // mov x8, x1
        0xaa04_03e7, // mov x7, x4
        0xa9bf_7bfd, // stp x29, x30, [sp, #-16]!
        0x2a03_03e6, // mov w6, w3
        0x9340_7c01, // sxtw x1, w0
    ];
    const MUSL_1_2_5: [u32; 5] = [
        0xd503_245f, // bti c
        0xaa01_03e8, // mov x8, x1
        0xaa04_03e7, // mov x7, x4
        0xd503_233f, // paciasp
        0x2a03_03e6, // mov w6, w3
    ];
    let (words, _) = code.as_chunks::<4>();
    let shape = match words.first_chunk()?.map(u32::from_le_bytes) {
        MUSL_1_2_3 => Shape::Musl123,
        MUSL_1_2_5 => Shape::Musl125,
        _ => return None,
    };
    Some(Cut {
        at: 4,
        resume: 20,
        shape,
    })
}

/// A stub. `redo` does what is cut.
macro_rules! sendto_stub_of {
    ($name:ident, $before:path, $resume:path, [$($redo:literal),*]) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            core::arch::naked_asm!(
                "stp x0, x1, [sp, #-64]!",
                "stp x2, x3, [sp, #16]",
                "stp x4, x5, [sp, #32]",
                "stp x8, x30, [sp, #48]",
                "mov x1, x4",
                "mov w2, w5",
                "mov x3, x30",
                "bl {before}",
                "mov w9, w0",
                "ldp x8, x30, [sp, #48]",
                "ldp x4, x5, [sp, #32]",
                "ldp x2, x3, [sp, #16]",
                "ldp x0, x1, [sp], #64",
                "cmp w9, #1",
                "b.ne 2f",
                $($redo,)*
                "adrp x16, {resume}",
                "ldr x16, [x16, :lo12:{resume}]",
                // Not br: see above.
                "ret x16",
                "2: sxtw x0, w9",
                "ret",
                before = sym $before,
                resume = sym $resume,
            )
        }
    };
}
pub(crate) use sendto_stub_of;

/// musl's `sendmsg`, 1.2.5: behind the first instruction, which has signed the return address.
pub fn cut_sendmsg(code: &[u8]) -> Option<Cut> {
    const MUSL_1_2_5: [u32; 6] = [
        0xd503_233f, // paciasp
        0xa9bd_7bfd, // stp x29, x30, [sp, #-48]!
        0x9100_03fd, // mov x29, sp
        0xa901_53f3, // stp x19, x20, [sp, #16]
        0xa902_5bf5, // stp x21, x22, [sp, #32]
        0xd111_c3ff, // sub sp, sp, #0x470
    ];
    let (words, _) = code.as_chunks::<4>();
    (words.first_chunk()?.map(u32::from_le_bytes) == MUSL_1_2_5).then_some(Cut {
        at: 4,
        resume: 20,
        shape: Shape::Musl125,
    })
}

/// Defines `sendmsg_stub`: `before` is called as in `sendto_stub`, with the message's address, if the flags have MSG_FASTOPEN.
/// A null message is the kernel's to refuse (EFAULT). With another bad one musl's own code crashes, which copies it.
macro_rules! sendmsg_stub {
    ($before:path, $resume:path) => {
        #[unsafe(naked)]
        extern "C" fn sendmsg_prepared() {
            core::arch::naked_asm!(
                "tst w2, {connects}",
                "b.eq 3f",
                "cbz x1, 3f",
                // autiasp: the return address as it was.
                "hint #29",
                "stp x0, x1, [sp, #-32]!",
                "stp x2, x30, [sp, #16]",
                // msg_namelen and msg_name.
                "ldr w2, [x1, #8]",
                "ldr x1, [x1]",
                "mov x3, x30",
                "bl {before}",
                "mov w9, w0",
                "ldp x2, x30, [sp, #16]",
                "ldp x0, x1, [sp], #32",
                "cmp w9, #1",
                "b.ne 2f",
                // paciasp, and what is cut.
                "hint #25",
                "3: stp x29, x30, [sp, #-48]!",
                "mov x29, sp",
                "stp x19, x20, [sp, #16]",
                "stp x21, x22, [sp, #32]",
                "adrp x16, {resume}",
                "ldr x16, [x16, :lo12:{resume}]",
                // Not br: see above.
                "ret x16",
                "2: sxtw x0, w9",
                "ret",
                connects = const ::libc::MSG_FASTOPEN,
                before = sym $before,
                resume = sym $resume,
            )
        }

        fn sendmsg_stub(_: $crate::arch::Shape) -> Stubs {
            Stubs {
                prepared: sendmsg_prepared as *const () as usize,
                past: None,
            }
        }
    };
}
pub(crate) use sendmsg_stub;

/// Defines `sendto_stub`: `before` is called with the descriptor, the address, its length, and the return address of
/// `sendto`. It returns 1 if the call shall be made, otherwise the result of `sendto`. The stub goes on at the address in
/// `resume`.
macro_rules! sendto_stub {
    ($before:path, $resume:path) => {
        $crate::arch::sendto_stub_of! {
            sendto_123, $before, $resume,
            ["mov x7, x4", "stp x29, x30, [sp, #-16]!", "mov w6, w3", "sxtw x1, w0"]
        }
        // hint #25 is paciasp.
        $crate::arch::sendto_stub_of! {
            sendto_125, $before, $resume,
            ["mov x8, x1", "mov x7, x4", "hint #25", "mov w6, w3"]
        }

        fn sendto_stub(shape: $crate::arch::Shape) -> Stubs {
            let prepared = match shape {
                $crate::arch::Shape::Musl125 => sendto_125 as *const (),
                _ => sendto_123 as *const (),
            };
            Stubs {
                prepared: prepared as usize,
                past: None,
            }
        }
    };
}
pub(crate) use sendto_stub;

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
                "2: stp x29, x30, [sp, #-96]!",
                "3: mov x29, sp",
                "stp x0, x1, [sp, #16]",
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "add x0, sp, #16",
                "bl {before}",
                "mov x16, x0",
                "add x17, x16, #1",
                "cmp x17, #1",
                "b.ls 6f",
                "ldp x0, x1, [sp, #16]",
                "ldp x2, x3, [sp, #32]",
                "ldp x4, x5, [sp, #48]",
                "blr x16",
                "mov x1, x0",
                "add x0, sp, #16",
                "bl {after}",
                "6: ldp x29, x30, [sp], #96",
                "ret",
                "5:",
                // sp is 31; behind 3 x29 is at sp + 96 - 12 * 8, x30 at sp + 96 - 11 * 8.
                $crate::arch::call_frame!("%progbits", "8", "30", "0x0c, 31, 0", "0x0e, 96, 0x80 + 29, 12, 0x80 + 30, 11"),
                before = sym $before,
                after = sym $after,
            )
        }
    };
}
pub(crate) use export_connect;

#[cfg(test)]
mod tests {
    use super::{Shape, cut, cut_sendmsg, cut_sendto};
    use crate::arch::{Place, Stub, recognise_stub};

    #[test]
    fn knows_where_connect_can_be_cut() {
        // glibc 2.31, 2.36 and 2.41.
        const GLIBC_2_31: [u32; 10] = [
            0xa9bc_7bfd,
            0x2a02_03e2,
            0x9100_03fd,
            0xf900_13f5,
            0xd53b_d055,
            0xd11c_02a3,
            0xa901_53f3,
            0x9340_7c13,
            0xb940_0060,
            0x3500_0180,
        ];
        const GLIBC_2_36: [u32; 8] = [
            0xa9bd_7bfd,
            0xd000_05e3,
            0x9100_03fd,
            0x3967_6063,
            0xa901_53f3,
            0x9340_7c14,
            0x2a02_03f3,
            0x3400_0183,
        ];
        const GLIBC_2_41: [u32; 6] = [
            0xd503_233f,
            0xa9bf_7bfd,
            0x2a02_03e2,
            0xd280_1966,
            0x9100_03fd,
            0xd280_0005,
        ];
        for (words, at, resume, shape) in [
            (&GLIBC_2_31[..], 4, 0x54, Shape::Glibc231),
            (&GLIBC_2_36, 4, 0x4c, Shape::Glibc236),
            (&GLIBC_2_41, 8, 24, Shape::Glibc241),
        ] {
            let mut code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            code.resize(208, 0);
            let found = cut(&code).unwrap();
            assert_eq!((found.at, found.resume, found.shape), (at, resume, shape));
            code[9] ^= 1;
            assert!(cut(&code).is_none());
        }
    }

    #[test]
    fn knows_where_musls_sendto_and_sendmsg_can_be_cut() {
        // 1.2.3 and 1.2.5.
        const SENDTO: [[u32; 6]; 2] = [
            [
                0xaa01_03e8,
                0xaa04_03e7,
                0xa9bf_7bfd,
                0x2a03_03e6,
                0x9340_7c01,
                0x9100_03fd,
            ],
            [
                BTI_C,
                0xaa01_03e8,
                0xaa04_03e7,
                PACIASP,
                0x2a03_03e6,
                0xa9bf_7bfd,
            ],
        ];
        const SENDMSG: [[u32; 7]; 2] = [
            [
                0xd112_03ff,
                0x9000_03a4,
                0xa900_7bfd,
                0x9100_03fd,
                0xf947_c084,
                0xa902_5bf5,
                0x2a00_03f5,
            ],
            [
                PACIASP,
                0xa9bd_7bfd,
                0x9100_03fd,
                0xa901_53f3,
                0xa902_5bf5,
                0xd111_c3ff,
                0xf902_03ff,
            ],
        ];
        let bytes = |words: &[u32]| -> Vec<u8> {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            bytes.collect()
        };
        for (words, shape) in SENDTO.iter().zip([Shape::Musl123, Shape::Musl125]) {
            let mut code = bytes(words);
            let found = cut_sendto(&code).unwrap();
            assert_eq!((found.at, found.resume, found.shape), (4, 20, shape));
            code[13] ^= 1;
            assert!(cut_sendto(&code).is_none() && cut_sendmsg(&code).is_none());
        }
        // The resolver of 1.2.3 does not call it.
        assert!(cut_sendmsg(&bytes(&SENDMSG[0])).is_none());
        let mut code = bytes(&SENDMSG[1]);
        let found = cut_sendmsg(&code).unwrap();
        assert_eq!((found.at, found.resume), (4, 20));
        code[21] ^= 1;
        assert!(cut_sendmsg(&code).is_none());
    }

    const BTI_C: u32 = 0xd503_245f;
    const NOP: u32 = 0xd503_201f;
    const PACIASP: u32 = 0xd503_233f;
    /// `mov x8, #198`, `svc #0`, `cmn x0, #4095`, `b.cs`, `ret`, `b`: glibc 2.31.
    const GLIBC: [u32; 6] = [
        0xd280_18c8,
        0xd400_0001,
        0xb13f_fc1f,
        0x5400_0042,
        0xd65f_03c0,
        0x17fd_362f,
    ];
    /// The beginning of socket in musl 1.2.3.
    const MUSL: [u32; 12] = [
        0xa9bf_7bfd, // stp x29, x30, [sp, #-16]!
        0x9340_7c07,
        0x9340_7c21,
        0x9100_03fd,
        0x9340_7c42,
        0xaa07_03e0,
        0xd280_18c8, // mov x8, #198
        0xd280_0003,
        0xd280_0004,
        0xd280_0005,
        0xd400_0001, // svc #0
        0x3101_741f,
    ];

    fn found(words: &[&[u32]], number: u32) -> Stub {
        let code: Vec<u8> = words
            .concat()
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        recognise_stub(&code, number)
    }

    fn known(offset: usize, has_pushed: bool) -> Stub {
        Stub::Known(Place { offset, has_pushed })
    }

    #[test]
    fn knows_the_stubs_and_leaves_their_beginnings() {
        assert_eq!(found(&[&GLIBC], 198), known(4, false));
        assert_eq!(found(&[&[NOP], &GLIBC], 198), known(8, false));
        assert_eq!(found(&[&[BTI_C], &GLIBC], 198), known(8, false));
        assert_eq!(found(&[&MUSL], 198), known(4, true));
        assert_eq!(found(&[&[PACIASP], &MUSL], 198), known(0, false));
    }

    #[test]
    fn writes_over_no_breakpoint() {
        const BRK: u32 = 0xd420_0000;
        assert_eq!(found(&[&[BRK], &GLIBC], 198), Stub::Unknown);
        assert_eq!(found(&[&[BRK], &GLIBC[1..]], 198), Stub::Unknown);
        assert_eq!(found(&[&[NOP, BRK], &GLIBC], 198), Stub::Unknown);
    }

    #[test]
    fn leaves_other_code_alone() {
        assert_eq!(found(&[&GLIBC], 221), Stub::Unknown);
        assert_eq!(found(&[], 198), Stub::Unknown);
        assert_eq!(found(&[&GLIBC[..1]], 198), Stub::Unknown);
        assert_eq!(found(&[&[NOP; 12], &GLIBC], 198), Stub::Unknown);
    }
}
