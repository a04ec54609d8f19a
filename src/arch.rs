//! What differs between architectures: the stubs by which libc makes system calls, the jump that is written into them,
//! the system call that carries the seal's marker, the export that must not have a stack frame, and the export whose
//! frame an unwinder has to find.
//!
//! There is a file for each, and one for unknown architectures, where only the exported symbols are hooked. `--cfg
//! unknown_machine` builds the latter on any architecture. Nothing here knows the rest of the library: what an export has
//! to call is passed to its macro.
//!
//! An architecture's file has
//! - [`is_stub`]: what a stub looks like;
//! - [`kept`]: the instructions at its beginning that can stay before a jump;
//! - [`BEFORE`], [`AFTER`]: the instructions of a jump before and after the address, and [`SIGNATURE`], which follows it;
//! - [`FIRST`]: what a jump at the very beginning needs before it;
//! - [`is_breakpoint`]: what a tracer writes over an instruction;
//! - [`cut`]: what glibc's `connect` looks like, and `connect_stubs`, the targets of a jump in there; [`cut_sendto`] and
//!   `sendto_stub`, [`cut_sendmsg`] and `sendmsg_stub` likewise for musl;
//! - `after_push`: a function that pops what a stub has pushed, and jumps to another function;
//! - and what this file reexports.

#[cfg(any(unknown_machine, not(target_arch = "aarch64")))]
use core::sync::atomic::{AtomicUsize, Ordering};

#[cfg_attr(
    all(target_arch = "x86_64", not(unknown_machine)),
    path = "arch/x86_64.rs"
)]
#[cfg_attr(
    all(target_arch = "aarch64", not(unknown_machine)),
    path = "arch/aarch64.rs"
)]
#[cfg_attr(
    all(target_arch = "riscv64", not(unknown_machine)),
    path = "arch/riscv64.rs"
)]
#[cfg_attr(all(target_arch = "x86", not(unknown_machine)), path = "arch/x86.rs")]
#[cfg_attr(
    any(
        unknown_machine,
        not(any(
            target_arch = "x86_64",
            target_arch = "x86",
            target_arch = "aarch64",
            target_arch = "riscv64"
        ))
    ),
    path = "arch/unknown.rs"
)]
mod current;

#[cfg(any(
    unknown_machine,
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
mod uncut;

use current::{AFTER, BEFORE, FIRST, SIGNATURE, is_breakpoint, is_stub, kept};
pub use current::{Shape, cut, cut_sendmsg, cut_sendto};
pub(crate) use current::{
    after_push, connect_stubs, export_connect, export_syscall, sendmsg_stub, sendto_stub,
};
pub use current::{call_on_stack, claim, marked};
#[cfg(all(target_arch = "aarch64", not(unknown_machine)))]
pub(crate) use current::{sendto_stub_of, stub_pair};

/// What the code of a libc function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stub {
    /// The stub of the system call; a jump may be written there.
    Known(Place),
    /// A jump of ours, written by another copy of the library.
    PatchedByOtherCopy,
    /// Something else.
    Unknown,
}

/// Where a jump may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Offset from the beginning, in bytes.
    pub offset: usize,
    /// Whether the stack has been moved before, as `after_push` expects it.
    pub has_pushed: bool,
}

/// Where libc's `connect` is cut, so that a jump to us has room: in bytes, from its beginning.
pub struct Cut {
    /// Where the jump is written.
    pub at: u16,
    /// Where the function goes on.
    pub resume: u16,
    /// What the stubs have to do between the two.
    pub shape: Shape,
}

/// Whether the code of libc's `connect` has been cut, by another copy of the library.
pub fn is_cut(code: &[u8]) -> bool {
    let first = code.get(..32).unwrap_or_default();
    !BEFORE.is_empty() && first.windows(BEFORE.len()).any(|bytes| bytes == BEFORE)
}

/// An instruction at the beginning of a stub that can stay there, with its length.
#[derive(Clone, Copy)]
pub enum Kept {
    /// It does not change what a function is called with.
    Harmless(usize),
    /// It moves the stack; `after_push` undoes that.
    Push(usize),
}

/// Whether `code`, that of a libc function, is the stub of system call `number`, and where a jump may be written.
///
/// A tracer's breakpoint or uprobe is at the beginning of a function. When it is hit, the first instruction is executed as
/// the *file* has it, and the program goes on behind it. So as many instructions stay as can and as leave room for the
/// jump. A breakpoint is never overwritten: its removal restores the original byte, and would destroy the jump.
pub fn recognise_stub(code: &[u8], number: u32) -> Stub {
    let (mut offset, mut has_pushed, mut place) = (0, false, None);
    while let Some(rest) = code.get(offset..) {
        if is_our_jump(rest) {
            return Stub::PatchedByOtherCopy;
        }
        if is_breakpoint(rest) {
            return Stub::Unknown;
        }
        if rest.len() >= jump_size(offset) {
            place = Some(Place { offset, has_pushed });
        }
        offset += match kept(rest) {
            Some(Kept::Harmless(length)) => length,
            Some(Kept::Push(length)) if !has_pushed => {
                has_pushed = true;
                length
            }
            _ => break,
        };
    }
    match place {
        Some(place) if is_stub(code, number) => Stub::Known(place),
        _ => Stub::Unknown,
    }
}

/// Size of a jump, without [`FIRST`].
const JUMP: usize = BEFORE.len() + size_of::<usize>() + AFTER.len() + SIGNATURE.len();

/// Size of [`jump`] for this offset.
fn jump_size(offset: usize) -> usize {
    if offset == 0 {
        FIRST.len() + JUMP
    } else {
        JUMP
    }
}

/// A jump to `target`, to be written at this offset of a function.
pub fn jump(target: usize, offset: usize) -> Jump {
    let mut code = [0; FIRST.len() + JUMP];
    let (first, rest) = code.split_at_mut(FIRST.len());
    let (before, rest) = rest.split_at_mut(BEFORE.len());
    let (address, rest) = rest.split_at_mut(size_of::<usize>());
    let (after, signature) = rest.split_at_mut(AFTER.len());
    first.copy_from_slice(&FIRST);
    before.copy_from_slice(&BEFORE);
    address.copy_from_slice(&target.to_ne_bytes());
    after.copy_from_slice(&AFTER);
    signature.copy_from_slice(&SIGNATURE);
    Jump {
        code,
        size: jump_size(offset),
    }
}

/// The code of a jump.
pub struct Jump {
    code: [u8; FIRST.len() + JUMP],
    size: usize,
}

impl Jump {
    /// What is written.
    pub fn bytes(&self) -> &[u8] {
        let start = self.code.len() - self.size;
        self.code.get(start..).unwrap_or_default()
    }

    /// For places with less room.
    pub fn without_signature(&self) -> &[u8] {
        let bytes = self.bytes();
        bytes
            .get(..bytes.len() - SIGNATURE.len())
            .unwrap_or_default()
    }
}

/// Whether `code` begins with a jump of ours, whatever its address.
fn is_our_jump(code: &[u8]) -> bool {
    let rest = code.get(BEFORE.len() + size_of::<usize>()..);
    let rest = rest.and_then(|rest| rest.strip_prefix(&AFTER));
    code.starts_with(&BEFORE) && rest.is_some_and(|rest| rest.starts_with(&SIGNATURE))
}

/// How many bytes the frame of our `connect` has for the hook, behind the six arguments.
pub const ROOM: usize = 32;

// Unwinding. A thread that is cancelled in connect() is unwound through our frame, which the unwinder finds by .eh_frame.
// Generated for all our functions, .eh_frame would be a seventh of the file. So the compiler writes frames for debuggers
// alone (.debug_frame, which is not in a release), and the one frame that may be on the stack while the program waits is
// described by hand: `call_frame`.
#[cfg(all(
    not(unknown_machine),
    any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]
core::arch::global_asm!(".cfi_sections .debug_frame");

/// A section .eh_frame (DWARF 4, 6.4, as the LSB has it) for a function whose code begins at label 2 and ends at 5, which
/// moves the stack once, by the instructions before 3, and back before it returns. `$kind` is the section's type; `$word`
/// the size of a saved register, of which the offsets are multiples; `$return_address` the register's number that has or
/// stands for it; `$called` describes the state at the call, and `$moved` what differs behind 3.
#[cfg_attr(unknown_machine, allow(unused_macros))]
macro_rules! call_frame {
    ($kind:literal, $word:literal, $return_address:literal, $called:literal, $moved:literal) => {
        concat!(
            ".pushsection .eh_frame, \"a\", ", $kind, "\n",
            ".balign ", $word, "\n",
            // The part that several functions could share (CIE): version 1, and relative addresses of 32 bits.
            "20: .long 22f - 21f\n",
            "21: .long 0\n",
            ".byte 1\n",
            ".asciz \"zR\"\n",
            ".uleb128 1\n",
            ".sleb128 -", $word, "\n",
            ".byte ", $return_address, "\n",
            ".uleb128 1\n",
            ".byte 0x1b\n",
            ".byte ", $called, "\n",
            ".balign ", $word, "\n",
            // The function's own part (FDE): where it is, and its states (DW_CFA_advance_loc1 is 2).
            "22: .long 24f - 23f\n",
            "23: .long 23b - 20b\n",
            ".long 2b - .\n",
            ".long 5b - 2b\n",
            ".uleb128 0\n",
            ".byte 2, 3b - 2b\n",
            ".byte ", $moved, "\n",
            ".balign ", $word, "\n",
            "24:\n",
            ".popsection\n",
        )
    };
}
#[cfg_attr(unknown_machine, allow(unused_imports))]
pub(crate) use call_frame;

/// A system call on an architecture that has no seal, and so no marker.
///
/// # Safety
/// As for the system call.
#[cfg(any(
    unknown_machine,
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
pub unsafe fn unmarked(
    number: syscalls::Sysno,
    [a, b, c, d, e]: [usize; 5],
) -> Result<usize, syscalls::Errno> {
    // SAFETY: as callers promise.
    unsafe { syscalls::syscall!(number, a, b, c, d, e) }
}

/// Stores `value` where there is 0. Returns what there was. No ordering.
#[cfg(any(unknown_machine, not(target_arch = "aarch64")))]
pub fn compare_exchange(place: &AtomicUsize, value: usize) -> usize {
    match place.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(found) | Err(found) => found,
    }
}

#[cfg(all(test, not(unknown_machine)))]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_jump() {
        let ours = jump(0x1234, 0);
        let code = [ours.bytes(), &[0; 8]].concat();
        assert_eq!(recognise_stub(&code, 1), Stub::PatchedByOtherCopy);
        let size = ours.bytes().len();
        for at in (FIRST.len()..FIRST.len() + BEFORE.len()).chain(size - SIGNATURE.len()..size) {
            let mut other = code.clone();
            other[at] ^= 1;
            assert_eq!(recognise_stub(&other, 1), Stub::Unknown, "{at}");
        }
        assert_eq!(recognise_stub(&code[..size - 1], 1), Stub::Unknown);
        assert_eq!(recognise_stub(&[], 1), Stub::Unknown);
    }
}
