//! What differs between architectures: the stubs by which libc makes system calls, the jump that is written into them,
//! the system call that carries the seal's marker, and the export that must not have a stack frame.
//!
//! One file each, and one for architectures that we do not know, where only the exported symbols lead to us. `--cfg
//! unknown_machine` builds that one here. Nothing here knows the rest of the library: what an export has to call is
//! passed to its macro.
//!
//! An architecture's file has
//! - [`BEFORE`] and [`AFTER`]: the instructions of a jump before and after the address;
//! - [`LANDING`]: the instruction that a function may begin with and that stays there;
//! - [`is_stub`]: what a stub looks like;
//! - and what is passed on from here as it is.

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

pub(crate) use current::export_syscall;
use current::{AFTER, BEFORE, LANDING, is_stub};
pub use current::{call_on_stack, claim, marked_socket};

/// What the code of a libc function turns out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stub {
    /// The stub of the system call; a jump may be written at this offset.
    Known {
        /// In bytes, from the beginning.
        offset: usize,
    },
    /// A jump of ours, written by another copy of the library.
    PatchedByOtherCopy,
    /// Something else.
    Unknown,
}

/// Whether `code`, that of a libc function, is the stub of system call `number`.
pub fn recognise_stub(code: &[u8], number: u32) -> Stub {
    let body = code.strip_prefix(LANDING).unwrap_or(code);
    if is_our_jump(body) {
        Stub::PatchedByOtherCopy
    } else if is_stub(body, number) {
        Stub::Known {
            offset: code.len() - body.len(),
        }
    } else {
        Stub::Unknown
    }
}

/// Follows a jump of ours, so that another copy of the library knows it.
const SIGNATURE: [u8; 4] = *b"vrf\x01";

/// Size of [`jump`].
pub const JUMP: usize = BEFORE.len() + size_of::<usize>() + AFTER.len() + SIGNATURE.len();

/// A jump to `target`, wherever it is written.
pub fn jump(target: usize) -> [u8; JUMP] {
    let mut code = [0; JUMP];
    let (before, rest) = code.split_at_mut(BEFORE.len());
    let (address, rest) = rest.split_at_mut(size_of::<usize>());
    let (after, signature) = rest.split_at_mut(AFTER.len());
    before.copy_from_slice(&BEFORE);
    address.copy_from_slice(&target.to_ne_bytes());
    after.copy_from_slice(&AFTER);
    signature.copy_from_slice(&SIGNATURE);
    code
}

/// Whether `code` is the jump to the address that is in it.
fn is_our_jump(code: &[u8]) -> bool {
    let target = code.get(BEFORE.len()..).and_then(<[u8]>::first_chunk);
    target.is_some_and(|target| code.starts_with(&jump(usize::from_ne_bytes(*target))))
}

/// socket(2) on an architecture that has no seal, and so no marker.
#[cfg(any(
    unknown_machine,
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
pub fn unmarked_socket(
    domain: core::ffi::c_int,
    sock_type: core::ffi::c_int,
    protocol: core::ffi::c_int,
) -> Result<usize, syscalls::Errno> {
    // SAFETY: takes no pointers.
    unsafe { syscalls::syscall!(syscalls::Sysno::socket, domain, sock_type, protocol) }
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
        let ours = jump(0x1234);
        for landing in [&[], LANDING] {
            let code = [landing, &ours, &[0; 8]].concat();
            assert_eq!(recognise_stub(&code, 1), Stub::PatchedByOtherCopy);
        }
        for at in (0..BEFORE.len()).chain([JUMP - 1]) {
            let mut other = ours;
            other[at] ^= 1;
            assert_eq!(recognise_stub(&other, 1), Stub::Unknown, "{at}");
        }
        assert_eq!(recognise_stub(&ours[..JUMP - 1], 1), Stub::Unknown);
        assert_eq!(recognise_stub(&[], 1), Stub::Unknown);
    }
}
