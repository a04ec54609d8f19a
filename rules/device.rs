//! Which strings are names of network devices.

use core::fmt;

/// Size of a device name with its terminating NUL, `IFNAMSIZ` in linux/if.h.
pub const NAME_SIZE: usize = 16;

/// The name of a network device, padded with NULs, in the form that SO_BINDTODEVICE accepts and returns.
///
/// [`DeviceName::new`] accepts what the kernel would accept as the name of a device. The check cannot be left to
/// setsockopt(SO_BINDTODEVICE): it silently cuts a longer name to 15 bytes, and binds to whatever device has
/// the shorter name (sock_setbindtodevice, net/core/sock.c).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(8))]
pub struct DeviceName([u8; NAME_SIZE]);

/// Why a string cannot be the name of a device; the rules of dev_valid_name, net/core/dev.c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// No bytes at all.
    Empty,
    /// More than 15 bytes.
    TooLong,
    /// `.` or `..`: sysfs could not have a directory of this name.
    Dots,
    /// A `/`, a `:`, white space, the byte 0xa0 or a NUL.
    Character,
}

impl BadName {
    /// The reason, to be put after "is not a device name: ".
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 15 bytes",
            Self::Dots => "it is a directory's name",
            Self::Character => "it has a '/', a ':', white space or the byte 0xa0 in it",
        }
    }
}

impl DeviceName {
    /// Accepts `name` (no NUL at its end) if the kernel would accept it for a device.
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

    /// The name whose [`Self::padded`] form this is, unchecked: it comes from the kernel, or from such a name.
    pub const fn from_padded(padded: [u8; NAME_SIZE]) -> Self {
        Self(padded)
    }

    /// The name without its padding.
    #[inline(never)]
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
