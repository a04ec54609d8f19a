//! What `libvrfbind.so` and the programs around it must agree on, and nothing else: the names of the
//! variables, what their values mean, which names a device can have, the seal ([`seal`]), and what the
//! library says of itself ([`Info`]). No system call, no allocation.
#![no_std]
#![forbid(unsafe_code)]

pub mod seal;

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// Names the VRF. Unset, empty or [`DEFAULT`]: the library does nothing.
pub const VRF_VARIABLE: &str = "VRFBIND_VRF";

/// `1`: the library seals the process tree ([`seal`]). Unset, empty or `0`: it does not.
pub const SEAL_VARIABLE: &str = "VRFBIND_SEAL";

/// `stderr` or an absolute path: where the library writes a line per decision. Unset or empty: nowhere.
pub const LOG_VARIABLE: &str = "VRFBIND_LOG";

/// The value that says "the default VRF", which is no device at all.
pub const DEFAULT: &[u8] = b"default";

/// Size of a device name with its terminating NUL, `IFNAMSIZ` in linux/if.h.
pub const NAME_SIZE: usize = 16;

/// The name of a network device, padded with NULs, in the form SO_BINDTODEVICE takes and returns.
///
/// Only a name the kernel would accept for a device can be in here. That check cannot be left to
/// the kernel: setsockopt(SO_BINDTODEVICE) cuts a longer name to 15 bytes without a word and binds
/// to whatever device has that shorter name (sock_setbindtodevice, net/core/sock.c).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeviceName([u8; NAME_SIZE]);

/// Why a string cannot be the name of a device; the rules of dev_valid_name, net/core/dev.c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// No bytes at all.
    Empty,
    /// More than 15 bytes.
    TooLong,
    /// `.` or `..`, which sysfs could not show.
    Dots,
    /// A `/`, a `:`, white space or a NUL.
    Character,
}

impl BadName {
    /// The reason, to be put after "is not a device name: ".
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 15 bytes",
            Self::Dots => "it is a directory's name",
            Self::Character => "it has a '/', a ':' or white space in it",
        }
    }
}

impl DeviceName {
    /// Takes `name` (no NUL at its end) if the kernel would accept it for a device.
    pub fn new(name: &[u8]) -> Result<Self, BadName> {
        match name {
            b"" => return Err(BadName::Empty),
            b"." | b".." => return Err(BadName::Dots),
            _ => {}
        }
        let mut bytes = [0; NAME_SIZE];
        // The last byte stays NUL.
        let (room, _) = bytes.split_at_mut(NAME_SIZE - 1);
        let Some(room) = room.get_mut(..name.len()) else {
            return Err(BadName::TooLong);
        };
        for (to, &from) in room.iter_mut().zip(name) {
            // The kernel's isspace counts 0xa0 (a no-break space in Latin-1) and 0x0b too.
            if matches!(from, 0 | b'/' | b':' | b' ' | 0x09..=0x0d | 0xa0) {
                return Err(BadName::Character);
            }
            *to = from;
        }
        Ok(Self(bytes))
    }

    /// The name and the NULs after it.
    pub const fn padded(&self) -> &[u8; NAME_SIZE] {
        &self.0
    }

    /// The name whose [`Self::padded`] form this is.
    pub const fn from_padded(padded: [u8; NAME_SIZE]) -> Self {
        Self(padded)
    }

    /// The name without its padding.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the library says of itself: its exported object `vrfbind_info`, to be read by a debugger's
/// means from another process. Written in the constructor and read-only from then on.
#[repr(C)]
pub struct Info {
    /// [`INFO_MAGIC`].
    pub magic: [u8; 8],
    /// Size of this structure in bytes; members are only ever added at its end.
    pub size: u32,
    /// Version of the library: major, minor, patch, 0.
    pub version: [u8; 4],
    /// What became of libc's `socket`: one of the `LED_` values.
    pub socket: AtomicU32,
    /// What became of libc's `execve`.
    pub execve: AtomicU32,
    /// One of the `SEAL_` values.
    pub seal: AtomicU32,
    /// One of the `STATE_` values.
    pub state: AtomicU32,
    /// The name of the device, padded, as two words in the machine's byte order.
    pub device: [AtomicU64; 2],
}

/// Begins [`Info`].
pub const INFO_MAGIC: [u8; 8] = *b"vrfbind\0";

/// `VRFBIND_VRF` has not been read yet.
pub const STATE_UNREAD: u32 = 0;
/// Nothing is asked of the library.
pub const STATE_INERT: u32 = 1;
/// Sockets belong to the device.
pub const STATE_DEVICE: u32 = 2;
/// A setting is not understood: no IP socket may be had.
pub const STATE_INVALID: u32 = 3;
/// No device, on purpose, in a sealed process.
pub const STATE_DEFAULT: u32 = 4;

/// Nothing was tried, because nothing is asked of the library.
pub const LED_NOT_TRIED: u32 = 0;
/// libc's function leads to the library.
pub const LED: u32 = 1;
/// It leads to another copy of the library.
pub const LED_BY_ANOTHER: u32 = 2;
/// Not led: libc was not found, or has no such function.
pub const LED_NOT_FOUND: u32 = 3;
/// Not led: its code is none that the library knows.
pub const LED_UNKNOWN_CODE: u32 = 4;
/// Not led: neither /proc/self/mem nor mprotect(2) let its code be written.
pub const LED_REFUSED: u32 = 5;

/// Not asked for.
pub const SEAL_NONE: u32 = 0;
/// The library has sealed the process.
pub const SEAL_MADE: u32 = 1;
/// The process was sealed already, without a supervisor.
pub const SEAL_FOUND: u32 = 2;
/// Asked for, and the kernel refused: no IP socket may be had.
pub const SEAL_REFUSED: u32 = 3;
/// The process was sealed already, and has a supervisor.
pub const SEAL_SUPERVISED: u32 = 4;

/// The ELF note (elf(5), PT_NOTE) of a static program that makes no IP sockets of its own: nothing is missing in it if
/// the library is not there. Such a program is the command `vrfbind`. Owner "vrfbind", type 1, empty.
pub const NOTE: [u8; 20] = *b"\x08\0\0\0\0\0\0\0\x01\0\0\0vrfbind\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_length_a_device_can_have() {
        for len in 1..NAME_SIZE {
            let name = &b"abcdefghijklmno"[..len];
            assert_eq!(DeviceName::new(name).unwrap().as_bytes(), name);
        }
    }

    #[test]
    fn refuses_what_the_kernel_would_cut_or_refuse() {
        let refused: [(&[u8], BadName); 11] = [
            (b"", BadName::Empty),
            (b"abcdefghijklmnop", BadName::TooLong),
            (b"abcdefghijklmnopqr", BadName::TooLong),
            (b".", BadName::Dots),
            (b"..", BadName::Dots),
            (b"a/b", BadName::Character),
            (b"a:b", BadName::Character),
            (b"a b", BadName::Character),
            (b"\tab", BadName::Character),
            (b"ab\n", BadName::Character),
            (b"a\xa0b", BadName::Character),
        ];
        for (name, why) in refused {
            assert_eq!(DeviceName::new(name), Err(why), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn survives_its_padded_form() {
        let name = DeviceName::new(b"blue").unwrap();
        assert_eq!(name.padded(), b"blue\0\0\0\0\0\0\0\0\0\0\0\0");
        assert!(DeviceName::from_padded(*name.padded()) == name);
    }
}
