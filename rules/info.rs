//! The layout of `vrfbind_info`, by which the library reports its state, and what its values mean.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// The version of this release.
pub const VERSION: [u8; 4] = [
    number(env!("CARGO_PKG_VERSION_MAJOR")),
    number(env!("CARGO_PKG_VERSION_MINOR")),
    number(env!("CARGO_PKG_VERSION_PATCH")),
    0,
];

const fn number(text: &str) -> u8 {
    match u8::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("a version is three numbers below 256"),
    }
}

/// The exported object `vrfbind_info`. Other processes read it from memory, as a debugger does. Written in the
/// constructor and read-only from then on.
#[repr(C)]
pub struct Info {
    /// [`INFO_MAGIC`].
    pub magic: [u8; 8],
    /// Size of this structure in bytes; members are only ever added at its end.
    pub size: u32,
    /// Version of the library: major, minor, patch, 0.
    pub version: [u8; 4],
    /// Whether libc's `socket` is patched: [`NOT_TRIED`] to [`NOT_WRITABLE`].
    pub socket: AtomicU32,
    /// Whether libc's `execve` is patched.
    pub execve: AtomicU32,
    /// One of the `SEAL_` values.
    pub seal: AtomicU32,
    /// One of the `STATE_` values.
    pub state: AtomicU32,
    /// The name of the device, padded, as two words in native byte order.
    pub device: [AtomicU64; 2],
    /// How many IP sockets without a device the process had inherited that were not meant for it ([`crate::inherited`]).
    pub inherited: AtomicU32,
    /// Length of the text of its rules ([`crate::list`]) in bytes; 0: there are none.
    pub rules_length: AtomicU32,
    /// The address of that text.
    pub rules: AtomicU64,
    /// Whether glibc's `connect`, or musl's `sendto`, is patched; tried only if there are rules for connect().
    pub connect: AtomicU32,
}

/// Begins [`Info`].
pub const INFO_MAGIC: [u8; 8] = *b"vrfbind\0";

/// The constructor has not read `VRFBIND_VRF` yet.
pub const STATE_NOT_STARTED: u32 = 0;
/// Nothing is asked of the library.
pub const STATE_INERT: u32 = 1;
/// Sockets belong to the device.
pub const STATE_DEVICE: u32 = 2;
/// A setting is invalid: every IP socket fails.
pub const STATE_INVALID: u32 = 3;
/// No device, on purpose, in a sealed process.
pub const STATE_DEFAULT: u32 = 4;

/// Nothing was tried, because nothing is asked of the library.
pub const NOT_TRIED: u32 = 0;
/// libc's function is patched: it jumps to the library.
pub const PATCHED: u32 = 1;
/// It is patched by another copy of the library: it jumps there.
pub const PATCHED_BY_OTHER_COPY: u32 = 2;
/// Not patched: libc was not found, or has no such function.
pub const NOT_FOUND: u32 = 3;
/// Not patched: the library does not know its code.
pub const UNKNOWN_CODE: u32 = 4;
/// Not patched: neither /proc/self/mem nor mprotect(2) let its code be written.
pub const NOT_WRITABLE: u32 = 5;

/// Not asked for.
pub const SEAL_NONE: u32 = 0;
/// The library has sealed the process.
pub const SEAL_MADE: u32 = 1;
/// The process was sealed already, without a supervisor.
pub const SEAL_FOUND: u32 = 2;
/// Asked for, and the kernel refused: every IP socket fails.
pub const SEAL_REFUSED: u32 = 3;
/// The process was sealed already, and has a supervisor.
pub const SEAL_SUPERVISED: u32 = 4;
