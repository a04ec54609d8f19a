//! How a program names the VRF of a socket to the supervisor.
//!
//! The supervisor puts a socket into the VRF that its caller's environment names. Where the environment is not enough, the
//! library and the command name the VRF in the call itself: in the last three argument registers, which the kernel ignores
//! in socket(2) and shows to a listener. [`MARK`] is in the fourth, the name in the other two. The sixth register
//! never holds [`MARKER`](crate::filter::MARKER), which would keep the call from the supervisor: a name ends with a NUL
//! there, and the marker does not.
//!
//! Any program may do the same, and gains nothing by it: it could have named the VRF in its environment.

use crate::device::{BadName, DeviceName};

/// The name of the default VRF, which has no device.
pub const DEFAULT: &str = "default";

/// The value of the fourth register.
const MARK: u64 = 0x7672_6662_696e_643f;

/// Where a socket shall be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vrf {
    /// In no VRF: it gets no device.
    Default,
    /// On this device.
    Device(DeviceName),
}

impl Vrf {
    /// The VRF of this name: the name of a device, or [`DEFAULT`].
    pub fn of(name: &[u8]) -> Result<Self, BadName> {
        if name == DEFAULT.as_bytes() {
            return Ok(Self::Default);
        }
        DeviceName::new(name).map(Self::Device)
    }

    /// Its name.
    pub const fn name(self) -> DeviceName {
        match self {
            Self::Device(device) => device,
            Self::Default => DeviceName::from_padded(*b"default\0\0\0\0\0\0\0\0\0"),
        }
    }

    /// The VRF that these arguments name. None: they name none, or the name is invalid.
    pub fn of_arguments(arguments: [u64; 3]) -> Option<Self> {
        let [MARK, low, high] = arguments else {
            return None;
        };
        let name = (u128::from(high) << 64 | u128::from(low)).to_ne_bytes();
        Self::of(DeviceName::from_padded(name).as_bytes()).ok()
    }
}

/// The fourth, fifth and sixth argument of a socket(2) that asks for the VRF of this name.
pub const fn arguments(name: &DeviceName) -> [u64; 3] {
    let name = u128::from_ne_bytes(*name.padded());
    [MARK, name as u64, (name >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::MARKER;

    #[test]
    fn a_name_survives_the_registers() {
        for name in [&b"default"[..], b"b", b"blue", b"abcdefghijklmno"] {
            let vrf = Vrf::of(name).unwrap();
            assert_eq!(vrf.name().as_bytes(), name);
            assert_eq!(Vrf::of_arguments(arguments(&vrf.name())), Some(vrf));
        }
        assert_eq!(Vrf::of(b"default"), Ok(Vrf::Default));
        assert_eq!(Vrf::of(b""), Err(BadName::Empty));
        assert_eq!(Vrf::of(b"abcdefghijklmnop"), Err(BadName::TooLong));
    }

    #[test]
    fn other_registers_name_nothing() {
        let [mark, low, high] = arguments(&Vrf::Default.name());
        assert_eq!(Vrf::of_arguments([mark ^ 1, low, high]), None);
        assert_eq!(Vrf::of_arguments([mark, 0, 0]), None);
        assert_eq!(Vrf::of_arguments([mark, u64::MAX, u64::MAX]), None);
        assert_eq!(Vrf::of_arguments([0; 3]), None);
    }

    #[test]
    fn no_name_is_the_marker() {
        let longest = DeviceName::new(b"!!!!!!!!abcdefg").unwrap();
        // The last byte of a padded name, and the same byte of the marker.
        assert_eq!(arguments(&longest)[2].to_ne_bytes()[7], 0);
        assert_ne!(MARKER.to_ne_bytes()[7], 0);
    }
}
