//! What differs between machines: the code of libc's wrappers, the jump that leads them to us, and the
//! export that must not have a stack frame. One file each, and one for machines that we do not
//! know, where only the exported symbols lead to us. `--cfg unknown_machine` builds that one here.

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
mod machine;

pub use machine::{JUMP, jump, marked_socket, on_stack, take, wrapper};

/// Follows a jump of ours, so that a second copy of the library knows it.
#[cfg_attr(unknown_machine, allow(dead_code))]
const SIGNATURE: [u8; 4] = *b"vrf\x01";

/// socket(2) on an architecture that has no seal, and so no marker. Returns the fd, or -errno.
#[cfg(any(
    unknown_machine,
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
pub fn unmarked_socket(
    domain: core::ffi::c_int,
    sock_type: core::ffi::c_int,
    protocol: core::ffi::c_int,
) -> isize {
    // SAFETY: takes no pointers.
    match unsafe { syscalls::syscall!(syscalls::Sysno::socket, domain, sock_type, protocol) } {
        Ok(fd) => fd as isize,
        Err(errno) => -(errno.into_raw() as isize),
    }
}
