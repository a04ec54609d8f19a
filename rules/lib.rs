//! Every decision that `libvrfbind.so` and the command `vrfbind` both take, and what they must agree on.
//!
//! Each file is one decision with the table of its unit tests. The library and the command gather facts and
//! act; what follows from the facts is said here, once. Pure: no system call, no allocation, no unsafe code.
#![no_std]
#![forbid(unsafe_code)]

pub mod device;
pub mod executable;
pub mod filter;
pub mod info;
pub mod request;
pub mod socket;

pub use device::{BadName, DeviceName, NAME_SIZE};
pub use info::Info;

/// Names the VRF. Unset, empty or [`DEFAULT`]: the library does nothing.
pub const VRF_VARIABLE: &str = "VRFBIND_VRF";

/// `1`: the library seals the process tree ([`filter`]). Unset, empty or `0`: it does not.
pub const SEAL_VARIABLE: &str = "VRFBIND_SEAL";

/// `stderr` or an absolute path: where the library writes a line per decision. Unset or empty: nowhere.
pub const LOG_VARIABLE: &str = "VRFBIND_LOG";

/// The value that says "the default VRF", which is no device at all.
pub const DEFAULT: &[u8] = b"default";

/// The ELF note (elf(5), PT_NOTE) of a static program that makes no IP sockets of its own: nothing is missing in it if
/// the library is not there. Such a program is the command `vrfbind`. Owner "vrfbind", type 1, empty.
pub const NOTE: [u8; 20] = *b"\x08\0\0\0\0\0\0\0\x01\0\0\0vrfbind\0";
