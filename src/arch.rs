//! What differs between machines: the code of libc's wrappers, the jump that leads them to us, and the
//! export that must not have a stack frame. One file each.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::{JUMP, jump, take, wrapper};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{JUMP, jump, take, wrapper};

/// Follows a jump of ours, so that a second copy of the library knows it.
const SIGNATURE: [u8; 8] = *b"vrfbind\x01";
