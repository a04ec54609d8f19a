//! x86_64.

pub use super::compare_exchange as claim;
use super::{Cut, Kept};
use core::arch::asm;
use core::ffi::c_void;
use rules::filter::MARKER;
use syscalls::{Errno, Sysno};

/// `jmp *0(%rip)`: 14 bytes with the address behind it, reaches everywhere, needs no register. Of the stubs glibc's are 33
/// bytes, of which 28 are left, musl's 24 (execve), of which 20 are left, and more.
pub const BEFORE: [u8; 6] = [0xff, 0x25, 0, 0, 0, 0];
/// Nothing.
pub const AFTER: [u8; 0] = [];
/// By this another copy of the library recognises the jump.
pub const SIGNATURE: [u8; 4] = *b"vrf\x01";
/// Nothing.
pub const FIRST: [u8; 0] = [];

/// `endbr64`, the target of indirect calls under CET; `mov $number, %eax`, in glibc; `movslq %esi, %rsi` and the like, in musl.
/// `push %rbp` and `sub $8, %rsp`, in musl.
pub fn kept(code: &[u8]) -> Option<Kept> {
    const HARMLESS: [(u32, u32, u8); 5] = [
        (0xffff_ffff, 0xfa1e_0ff3, 4),
        (0xff, 0xb8, 5),
        (0xff_ffff, 0xf6_6348, 3),
        (0xff_ffff, 0xd2_6348, 3),
        (0xff_ffff, 0xff_6348, 3),
    ];
    const PUSH: [(u32, u32, u8); 2] = [(0xff, 0x55, 1), (0xffff_ffff, 0x08ec_8348, 4)];
    let first = u32::from_le_bytes(*code.first_chunk()?);
    let length = |list: &[(u32, u32, u8)]| {
        let found = list.iter().find(|(mask, bytes, _)| first & mask == *bytes);
        found.map(|(_, _, length)| usize::from(*length))
    };
    length(&HARMLESS)
        .map(Kept::Harmless)
        .or_else(|| length(&PUSH).map(Kept::Push))
}

/// `int3`.
pub fn is_breakpoint(code: &[u8]) -> bool {
    code.starts_with(&[0xcc])
}

/// A stub that has pushed 8 bytes jumps to `$name`, which pops them and jumps to `$function`.
macro_rules! after_push {
    ($name:ident, $function:ident) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            core::arch::naked_asm!("add rsp, 8", "jmp {function}", function = sym $function)
        }
    };
}
pub(crate) use after_push;

/// The stub moves the number to %eax (`b8 imm32`) and has `syscall` (`0f 05`) soon behind: at once in glibc (2.31, 2.36,
/// 2.41), after at most one instruction in musl (1.2.3, 1.2.5), whose functions also prepare their arguments first.
pub fn is_stub(code: &[u8], number: u32) -> bool {
    let [a, b, c, d] = number.to_le_bytes();
    let load = [0xb8, a, b, c, d];
    let number_at = code.windows(load.len()).position(|window| window == load);
    let call = number_at.and_then(|at| code.get(at + load.len()..at + load.len() + 8));
    number_at < Some(32) && call.is_some_and(|call| call.windows(2).any(|two| two == [0x0f, 0x05]))
}

/// A system call with the seal's marker in the sixth argument register, which the kernel preserves and we clear. It is
/// written in assembly, so that no other register ever holds the marker, and no memory but the frame of a signal that
/// comes meanwhile.
///
/// # Safety
/// As for the system call, of at most five arguments.
pub unsafe fn marked(number: Sysno, [a, b, c, d, e]: [usize; 5]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: as callers promise. The system call clobbers rcx and r11.
    unsafe {
        asm!(
            "movabs r9, {marker}",
            "syscall",
            "xor r9d, r9d",
            marker = const MARKER,
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
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

/// The function begins with these instructions, after an optional `endbr64`, the target of indirect calls under CET.
#[inline(never)]
fn cut_of(code: &[u8], pattern: &[u8], at: u16, resume: u16, shape: Shape) -> Option<Cut> {
    let (first, code) = behind_endbr64(code);
    code.starts_with(pattern).then_some(Cut {
        at: first + at,
        resume: first + resume,
        shape,
    })
}

fn behind_endbr64(code: &[u8]) -> (u16, &[u8]) {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    match code.strip_prefix(&ENDBR64) {
        Some(rest) => (ENDBR64.len() as u16, rest),
        None => (0, code),
    }
}

/// The shapes of the code that is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// At the place where it goes on, the state is the same as at the call.
    AsCalled,
    /// It has moved the stack, and registers.
    Framed,
    /// musl's `sendto`, which has moved the stack.
    Sendto,
    /// musl's `sendmsg`, of which nothing has been done.
    Sendmsg,
}

/// glibc's `connect`. Up to 2.40 it makes the call with `mov $42, %eax; syscall` if there is only one thread. The path for
/// several threads follows, where a thread can be cancelled; it is correct in any case. 2.41 has only one path, by a call.
pub fn cut(code: &[u8]) -> Option<Cut> {
    // sub $16, %rsp; what `connect_stubs` has; call.
    const FRAMED: [u8; 20] = [
        0x48, 0x83, 0xec, 0x10, 0x89, 0xd2, 0x48, 0x63, 0xff, 0x45, 0x31, 0xc9, 0x6a, 0x2a, 0x45,
        0x31, 0xc0, 0x31, 0xc9, 0xe8,
    ];
    cut_of(code, &FRAMED, 4, 19, Shape::Framed).or_else(|| cut_by_branch(code))
}

fn cut_by_branch(code: &[u8]) -> Option<Cut> {
    const SYSTEM_CALL: [u8; 7] = [0xb8, 42, 0, 0, 0, 0x0f, 0x05];
    let (first, code) = behind_endbr64(code);
    let (at, branch) = match code {
        // cmpb $0, x(%rip).
        [0x80, 0x3d, _, _, _, _, 0, ..] => (7, 7),
        // mov %fs:x, %eax; test %eax, %eax.
        [0x64, 0x8b, 0x04, 0x25, _, _, _, _, 0x85, 0xc0, ..] => (8, 10),
        _ => return None,
    };
    let [0x74 | 0x75, distance, rest @ ..] = code.get(branch..)? else {
        return None;
    };
    let resume = branch + 2 + usize::from(*distance);
    let has_room = resume >= at + super::JUMP && resume < code.len() && *distance < 0x80;
    (has_room && rest.starts_with(&SYSTEM_CALL)).then_some(Cut {
        at: first + at as u16,
        resume: first + resume as u16,
        shape: Shape::AsCalled,
    })
}

/// Defines `connect_stubs`: `before` is called with the first three arguments of the call. It returns 1 if the call shall be
/// made, otherwise the result of `connect`. The stubs go on at the address in `resume`.
macro_rules! connect_stubs {
    ($before:path, $resume:path) => {
        #[unsafe(naked)]
        extern "C" fn connect_as_called() {
            core::arch::naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "call {before}",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "cmp eax, 1",
                "jne 2f",
                "jmp [rip + {resume}]",
                "2: ret",
                before = sym $before,
                resume = sym $resume,
            )
        }

        #[unsafe(naked)]
        extern "C" fn connect_framed() {
            core::arch::naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "call {before}",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "add rsp, 16",
                "cmp eax, 1",
                "je {past}",
                "ret",
                before = sym $before,
                past = sym connect_past_framed,
            )
        }

        #[unsafe(naked)]
        extern "C" fn connect_past_framed() {
            core::arch::naked_asm!(
                "sub rsp, 16",
                "mov edx, edx",
                "movsxd rdi, edi",
                "xor r9d, r9d",
                "push 42",
                "xor r8d, r8d",
                "xor ecx, ecx",
                "jmp [rip + {resume}]",
                resume = sym $resume,
            )
        }

        fn connect_stubs(shape: $crate::arch::Shape) -> Stubs {
            match shape {
                $crate::arch::Shape::AsCalled => Stubs {
                    prepared: connect_as_called as *const () as usize,
                    past: None,
                },
                // There is no `connect` of the other shapes.
                _ => Stubs {
                    prepared: connect_framed as *const () as usize,
                    past: Some(connect_past_framed as *const () as usize),
                },
            }
        }
    };
}
pub(crate) use connect_stubs;

/// musl's `sendto`, 1.2.3 and 1.2.5: behind `sub $16, %rsp`.
pub fn cut_sendto(code: &[u8]) -> Option<Cut> {
    // They move %rsi to %r10, and to %rax.
    const MUSL_1_2_3: [u8; 20] = [
        0x48, 0x83, 0xec, 0x10, 0x45, 0x89, 0xc9, 0x49, 0x89, 0xf2, 0x48, 0x63, 0xf7, 0x41, 0x51,
        0xbf, 44, 0, 0, 0,
    ];
    const MUSL_1_2_5: [u8; 20] = [
        0x48, 0x83, 0xec, 0x10, 0x45, 0x89, 0xc9, 0x48, 0x89, 0xf0, 0x48, 0x63, 0xf7, 0x41, 0x51,
        0xbf, 44, 0, 0, 0,
    ];
    let of = |pattern| cut_of(code, pattern, 4, 20, Shape::Sendto);
    of(&MUSL_1_2_3).or_else(|| of(&MUSL_1_2_5))
}

/// Defines `sendto_stub`: `before` is called with the descriptor, the address, its length, and the return address of
/// `sendto`. It returns 1 if the call shall be made, otherwise the result of `sendto`. The stub goes on at the address in
/// `resume`.
macro_rules! sendto_stub {
    ($before:path, $resume:path) => {
        #[unsafe(naked)]
        extern "C" fn sendto_prepared() {
            core::arch::naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "push rcx",
                "push r8",
                "push r9",
                "mov rsi, r8",
                "mov edx, r9d",
                "mov rcx, [rsp + 64]",
                "sub rsp, 8",
                "call {before}",
                "add rsp, 8",
                "pop r9",
                "pop r8",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "cmp eax, 1",
                "jne 2f",
                // What is cut, of both versions.
                "mov r9d, r9d",
                "mov r10, rsi",
                "mov rax, rsi",
                "movsxd rsi, edi",
                "push r9",
                "mov edi, 44",
                "jmp [rip + {resume}]",
                "2: add rsp, 16",
                "cdqe",
                "ret",
                before = sym $before,
                resume = sym $resume,
            )
        }

        fn sendto_stub(_: $crate::arch::Shape) -> Stubs {
            Stubs {
                prepared: sendto_prepared as *const () as usize,
                past: None,
            }
        }
    };
}
pub(crate) use sendto_stub;

/// musl's `sendmsg`, 1.2.5: what `sendmsg_stub` has.
pub fn cut_sendmsg(code: &[u8]) -> Option<Cut> {
    const MUSL_1_2_5: [u8; 22] = [
        0x41, 0x54, 0x55, 0x89, 0xfd, 0x53, 0x48, 0x81, 0xec, 0x70, 0x04, 0, 0, 0x64, 0x4c, 0x8b,
        0x24, 0x25, 0x28, 0, 0, 0,
    ];
    cut_of(code, &MUSL_1_2_5, 0, 22, Shape::Sendmsg)
}

/// Defines `sendmsg_stub`: `before` is called as in `sendto_stub`, with the message's address, if the flags have MSG_FASTOPEN.
/// A null message is the kernel's to refuse (EFAULT). With another bad one musl's own code crashes, which copies it.
macro_rules! sendmsg_stub {
    ($before:path, $resume:path) => {
        #[unsafe(naked)]
        extern "C" fn sendmsg_prepared() {
            core::arch::naked_asm!(
                "test edx, {connects}",
                "jz 3f",
                "test rsi, rsi",
                "jz 3f",
                "push rdi",
                "push rsi",
                "push rdx",
                // msg_namelen and msg_name.
                "mov edx, [rsi + 8]",
                "mov rsi, [rsi]",
                "mov rcx, [rsp + 24]",
                "call {before}",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "cmp eax, 1",
                "jne 2f",
                // What is cut.
                "3: push r12",
                "push rbp",
                "mov ebp, edi",
                "push rbx",
                "sub rsp, 0x470",
                "mov r12, fs:[0x28]",
                "jmp [rip + {resume}]",
                "2: cdqe",
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
                "2: sub rsp, 88",
                "3: mov [rsp], rdi",
                "mov [rsp + 8], rsi",
                "mov [rsp + 16], rdx",
                "mov [rsp + 24], rcx",
                "mov [rsp + 32], r8",
                "mov [rsp + 40], r9",
                "mov rdi, rsp",
                "call {before}",
                "lea rcx, [rax + 1]",
                "cmp rcx, 1",
                "jbe 6f",
                "mov rdi, [rsp + 0]",
                "mov rsi, [rsp + 8]",
                "mov rdx, [rsp + 16]",
                "mov rcx, [rsp + 24]",
                "mov r8, [rsp + 32]",
                "mov r9, [rsp + 40]",
                "call rax",
                "mov rdi, rsp",
                "mov rsi, rax",
                "call {after}",
                "6: add rsp, 88",
                "ret",
                "5:",
                // rsp is 7, the return address 16: at rsp + 8 - 8, and behind 3 at rsp + 96 - 8.
                $crate::arch::call_frame!("@unwind", "8", "16", "0x0c, 7, 8, 0x80 + 16, 1", "0x0e, 96"),
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

    /// glibc's, whose length is 33.
    const GLIBC: [u8; 33] = {
        let mut code = [0x90; 33];
        let (head, _) = code.split_at_mut(16);
        head.copy_from_slice(&[
            0xb8, 0x29, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73, 0x01, 0xc3,
        ]);
        code
    };
    /// The beginning of socket in musl 1.2.3.
    const MUSL: [u8; 39] = [
        0x55, 0x48, 0x63, 0xf6, 0x48, 0x63, 0xd2, 0x48, 0x63, 0xff, 0x53, 0x45, 0x31, 0xd2, 0x48,
        0x89, 0xf3, 0x45, 0x31, 0xc0, 0x45, 0x31, 0xc9, 0xb8, 0x29, 0, 0, 0, 0x48, 0x83, 0xec, 8,
        0x0f, 0x05, 0x89, 0xc5, 0x83, 0xf8, 0xea,
    ];
    /// execve in musl 1.2.3, complete.
    const MUSL_EXECVE: [u8; 24] = [
        0x48, 0x83, 0xec, 0x08, 0xb8, 0x3b, 0, 0, 0, 0x0f, 0x05, 0x48, 0x89, 0xc7, 0xe8, 0xfd,
        0x2d, 0xfd, 0xff, 0x48, 0x83, 0xc4, 0x08, 0xc3,
    ];
    const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];

    #[test]
    fn knows_where_connect_can_be_cut() {
        let as_called = |code: &[u8], at| {
            let mut code = code.to_vec();
            code.resize(155, 0x90);
            let found = cut(&code).unwrap();
            assert_eq!(
                (found.at, found.resume, found.shape),
                (at, 32, Shape::AsCalled)
            );
            // Without room, or another system call.
            let mut near = code.clone();
            let branch = code
                .windows(2)
                .position(|two| two[0] & 0xfe == 0x74)
                .unwrap();
            near[branch + 1] = 4;
            assert!(cut(&near).is_none());
            code[branch + 3] ^= 1;
            assert!(cut(&code).is_none());
        };
        // glibc 2.31 and 2.36.
        as_called(
            &[
                0x64, 0x8b, 0x04, 0x25, 0x18, 0, 0, 0, 0x85, 0xc0, 0x75, 0x14, 0xb8, 0x2a, 0, 0, 0,
                0x0f, 0x05,
            ],
            8,
        );
        as_called(
            &[
                0x80, 0x3d, 0x21, 0x0e, 0x0d, 0, 0, 0x74, 0x17, 0xb8, 0x2a, 0, 0, 0, 0x0f, 0x05,
            ],
            7,
        );
        // And 2.41.
        let code = [
            0x48, 0x83, 0xec, 0x10, 0x89, 0xd2, 0x48, 0x63, 0xff, 0x45, 0x31, 0xc9, 0x6a, 0x2a,
            0x45, 0x31, 0xc0, 0x31, 0xc9, 0xe8, 0x38, 0xd4, 0xf7, 0xff, 0x48, 0x83, 0xc4, 0x18,
            0xc3,
        ];
        let found = cut(&code).unwrap();
        assert_eq!(
            (found.at, found.resume, found.shape),
            (4, 19, Shape::Framed)
        );
        assert!(cut(&code[1..]).is_none());
        let found = cut(&[ENDBR64, &code].concat()).unwrap();
        assert_eq!((found.at, found.resume), (8, 23));
        // musl's sendto.
        const SENDTO: [u8; 24] = [
            0x48, 0x83, 0xec, 0x10, 0x45, 0x89, 0xc9, 0x49, 0x89, 0xf2, 0x48, 0x63, 0xf7, 0x41,
            0x51, 0xbf, 0x2c, 0, 0, 0, 0x4d, 0x89, 0xc1, 0x4c,
        ];
        let found = cut_sendto(&SENDTO).unwrap();
        assert_eq!(
            (found.at, found.resume, found.shape),
            (4, 20, Shape::Sendto)
        );
        let mut newer = [ENDBR64, &SENDTO].concat();
        [newer[11], newer[13]] = [0x48, 0xf0];
        let found = cut_sendto(&newer).unwrap();
        assert_eq!((found.at, found.resume), (8, 24));
        newer[13] = 0xf1;
        assert!(cut_sendto(&newer).is_none());
        // And sendmsg of 1.2.5.
        let mut sendmsg = [
            ENDBR64,
            &[
                0x41, 0x54, 0x55, 0x89, 0xfd, 0x53, 0x48, 0x81, 0xec, 0x70, 0x04, 0, 0, 0x64, 0x4c,
                0x8b, 0x24, 0x25, 0x28, 0, 0, 0, 0x4c, 0x89, 0xa4, 0x24, 0x68, 0x04, 0, 0,
            ],
        ]
        .concat();
        let found = cut_sendmsg(&sendmsg).unwrap();
        assert_eq!(
            (found.at, found.resume, found.shape),
            (4, 26, Shape::Sendmsg)
        );
        sendmsg[13] = 0x60;
        assert!(cut_sendmsg(&sendmsg).is_none());
        // Of 1.2.3, whose resolver does not call it.
        assert!(cut_sendmsg(&[0x41, 0x54, 0x41, 0x89, 0xd4, 0x55, 0x89, 0xfd]).is_none());
        // musl 1.2.3, whose resolver does not call it.
        assert!(cut(&[0x48, 0x83, 0xec, 0x10, 0x49, 0x89, 0xf2, 0x89, 0xd1]).is_none());
    }

    fn known(offset: usize, has_pushed: bool) -> Stub {
        Stub::Known(Place { offset, has_pushed })
    }

    #[test]
    fn knows_the_stubs_and_leaves_their_beginnings() {
        assert_eq!(recognise_stub(&GLIBC, 41), known(5, false));
        let guarded = [ENDBR64, &GLIBC].concat();
        assert_eq!(recognise_stub(&guarded, 41), known(9, false));
        assert_eq!(recognise_stub(&MUSL, 41), known(10, true));
        let guarded = [ENDBR64, &MUSL].concat();
        assert_eq!(recognise_stub(&guarded, 41), known(14, true));
        assert_eq!(recognise_stub(&MUSL_EXECVE, 59), known(4, true));
    }

    #[test]
    fn writes_over_the_beginning_only_where_it_must() {
        assert_eq!(recognise_stub(&GLIBC[..22], 41), known(0, false));
        assert_eq!(recognise_stub(&GLIBC[..17], 41), Stub::Unknown);
        let other = [&[0x41, 0x54], &MUSL[1..]].concat();
        assert_eq!(recognise_stub(&other, 41), known(0, false));
    }

    #[test]
    fn writes_over_no_breakpoint() {
        for (code, at) in [(&GLIBC[..], 0), (&MUSL, 0), (&MUSL_EXECVE, 0)] {
            let mut traced = code.to_vec();
            traced[at] = 0xcc;
            let number = if code.len() == 24 { 59 } else { 41 };
            assert_eq!(recognise_stub(&traced, number), Stub::Unknown);
        }
        let mut traced = MUSL;
        traced[1] = 0xcc;
        assert_eq!(recognise_stub(&traced, 41), Stub::Unknown);
    }

    #[test]
    fn leaves_other_code_alone() {
        assert_eq!(recognise_stub(&GLIBC, 42), Stub::Unknown);
        assert_eq!(recognise_stub(&[], 41), Stub::Unknown);
        let mut no_call = GLIBC;
        no_call[5] = 0xc3;
        assert_eq!(recognise_stub(&no_call, 41), Stub::Unknown);
        let late = [&[0x90; 40][..], &GLIBC].concat();
        assert_eq!(recognise_stub(&late, 41), Stub::Unknown);
        // Another tool's jump.
        let hooked = [
            0xff, 0x25, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9,
        ];
        assert_eq!(recognise_stub(&hooked, 41), Stub::Unknown);
    }
}
