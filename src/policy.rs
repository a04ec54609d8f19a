//! The rule: what is done with a socket, given the settings. Pure; no system call, no state.
//!
//! Sockets of AF_INET and AF_INET6 belong to the VRF, whatever their type and protocol. All other
//! families go straight through, although SO_BINDTODEVICE would "succeed" on them: the option
//! belongs to SOL_SOCKET, and the kernel does not look at the family.

use libc::{AF_INET, AF_INET6, EINVAL, c_int};
use rules::DeviceName;
use syscalls::Errno;

/// What `VRFBIND_VRF` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vrf {
    /// Nothing is asked of us.
    Inert,
    /// Sockets belong to this device.
    Device(DeviceName),
    /// Sockets belong to no device, on purpose, in a process where only we can make sockets.
    Default,
    /// Something is asked that cannot be understood: no IP socket may be had.
    Invalid,
}

impl Vrf {
    /// The device that sockets belong to, if there is one.
    pub fn device(self) -> Option<DeviceName> {
        match self {
            Self::Device(device) => Some(device),
            _ => None,
        }
    }
}

/// What to do with a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// None of our business.
    Through,
    /// It gets this device.
    Bind(DeviceName),
    /// It fails with this errno.
    Refuse(Errno),
}

/// A call of socket(domain, kind, _). `kind` may have SOCK_NONBLOCK and SOCK_CLOEXEC in it.
pub fn at_birth(vrf: Vrf, domain: c_int, kind: c_int) -> Verdict {
    // The type is the low four bits (SOCK_TYPE_MASK, linux/net.h).
    if domain == AF_INET && kind & 0xf == SOCK_PACKET {
        return Verdict::Through;
    }
    adopted(vrf, domain)
}

/// A socket of this family that is there already and has no device.
pub fn adopted(vrf: Vrf, domain: c_int) -> Verdict {
    match (domain, vrf) {
        (AF_INET | AF_INET6, Vrf::Device(device)) => Verdict::Bind(device),
        (AF_INET | AF_INET6, Vrf::Invalid) => Verdict::Refuse(Errno::new(EINVAL)),
        _ => Verdict::Through,
    }
}

/// socket(AF_INET, SOCK_PACKET, _) makes a socket of AF_PACKET, since Linux 2.0 and to this day
/// (__sock_create, net/socket.c). It is bound to its device by bind(2), not by the option.
const SOCK_PACKET: c_int = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{
        AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK,
        SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
    };

    const FLAGS: [c_int; 4] = [0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK];

    fn blue() -> DeviceName {
        DeviceName::new(b"blue").unwrap()
    }

    #[test]
    fn every_ip_socket_gets_the_device_whatever_its_type_and_flags() {
        for domain in [AF_INET, AF_INET6] {
            for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET] {
                for flags in FLAGS {
                    let verdict = at_birth(Vrf::Device(blue()), domain, kind | flags);
                    assert_eq!(verdict, Verdict::Bind(blue()));
                }
            }
            assert_eq!(adopted(Vrf::Device(blue()), domain), Verdict::Bind(blue()));
        }
    }

    #[test]
    fn other_families_go_through_whatever_the_settings() {
        for vrf in [Vrf::Inert, Vrf::Default, Vrf::Device(blue()), Vrf::Invalid] {
            for domain in [AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK, -1, 0x7fff] {
                assert_eq!(at_birth(vrf, domain, SOCK_DGRAM), Verdict::Through);
                assert_eq!(adopted(vrf, domain), Verdict::Through);
            }
            for flags in FLAGS {
                let verdict = at_birth(vrf, AF_INET, SOCK_PACKET | flags);
                assert_eq!(verdict, Verdict::Through);
            }
        }
    }

    #[test]
    fn an_invalid_setting_refuses_every_ip_socket_and_no_device_refuses_none() {
        for domain in [AF_INET, AF_INET6] {
            let refused = Verdict::Refuse(Errno::new(EINVAL));
            assert_eq!(at_birth(Vrf::Invalid, domain, SOCK_DGRAM), refused);
            assert_eq!(adopted(Vrf::Invalid, domain), refused);
            for vrf in [Vrf::Inert, Vrf::Default] {
                assert_eq!(at_birth(vrf, domain, SOCK_DGRAM), Verdict::Through);
                assert_eq!(adopted(vrf, domain), Verdict::Through);
            }
        }
    }
}
