//! What to do with a socket: when it is created, when it is used, after the kernel has refused its device, after it was
//! disconnected, before it is bound to a link-local address, and when the program names a device itself.
//!
//! Sockets of AF_INET and AF_INET6 belong to the VRF, whatever their type and protocol. All other families pass,
//! although SO_BINDTODEVICE would "succeed" on them: the option belongs to SOL_SOCKET, and the kernel does not
//! look at the family.
//!
//! Errors are errno values.

use crate::device::DeviceName;
use crate::request::Vrf;
use libc::{AF_INET, AF_INET6, EADDRNOTAVAIL, EBADF, EINVAL, ENODEV, ENOTSOCK, EPERM, c_int};

/// What `VRFBIND_VRF` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// Nothing is asked of the library.
    Inert,
    /// Sockets belong to this device.
    Device(DeviceName),
    /// Sockets belong to no device, on purpose, in a process where only the library can create sockets.
    Default,
    /// The variable is invalid: every IP socket fails.
    Invalid,
}

impl Setting {
    /// The device that sockets belong to, if there is one.
    pub fn device(self) -> Option<DeviceName> {
        match self {
            Self::Device(device) => Some(device),
            _ => None,
        }
    }
}

impl From<Vrf> for Setting {
    fn from(vrf: Vrf) -> Self {
        match vrf {
            Vrf::Default => Self::Default,
            Vrf::Device(device) => Self::Device(device),
        }
    }
}

/// What to do with a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Leave it as it is.
    Pass,
    /// Bind it to this device.
    Bind(DeviceName),
    /// Fail the call with this errno.
    Fail(c_int),
}

/// For a call of socket(domain, sock_type, _). `sock_type` may have SOCK_NONBLOCK and SOCK_CLOEXEC in it.
pub fn at_creation(setting: Setting, domain: c_int, sock_type: c_int) -> Decision {
    if domain == AF_INET && plain_type(sock_type) == SOCK_PACKET {
        return Decision::Pass;
    }
    unbound(setting, domain)
}

/// The type without SOCK_NONBLOCK and SOCK_CLOEXEC: the low four bits (SOCK_TYPE_MASK, linux/net.h).
pub const fn plain_type(sock_type: c_int) -> c_int {
    sock_type & 0xf
}

/// For a socket of this family that exists and has no device.
pub fn unbound(setting: Setting, domain: c_int) -> Decision {
    match (domain, setting) {
        (AF_INET | AF_INET6, Setting::Device(device)) => Decision::Bind(device),
        (AF_INET | AF_INET6, Setting::Invalid) => Decision::Fail(EINVAL),
        _ => Decision::Pass,
    }
}

/// socket(AF_INET, SOCK_PACKET, _) creates a socket of AF_PACKET, since Linux 2.0 and to this day (__sock_create,
/// net/socket.c). It is bound to its device by bind(2), not by the option.
const SOCK_PACKET: c_int = 10;

/// What to do with a socket that the library has not created, when bind(), connect() or listen() names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// Leave it as it is. This is the device that it has, and has to have after the call.
    Keep(Option<Device>),
    /// It has no device: [`unbound`] decides by its family.
    AskFamily,
}

/// A socket's device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// The VRF, or a device whose number is not known and which can be in the VRF.
    Vrf,
    /// The device of this number, which the socket keeps even when the device has been deleted.
    Number(u32),
}

/// `device` is the result of getsockopt(SO_BINDTOIFINDEX), or of SO_BINDTODEVICE. A socket that has a device keeps it, even
/// if the device has been deleted (ENODEV): such a socket reaches nothing. If it is no socket, the kernel refuses the call.
pub fn existing(setting: Setting, device: Result<Option<Device>, c_int>) -> Existing {
    match (setting, device) {
        (Setting::Inert | Setting::Default, _) => Existing::Keep(None),
        (_, Ok(Some(device))) => Existing::Keep(Some(device)),
        (_, Err(ENODEV)) => Existing::Keep(setting.device().map(|_| Device::Vrf)),
        (_, Err(EBADF | ENOTSOCK)) => Existing::Keep(None),
        (_, Ok(None) | Err(_)) => Existing::AskFamily,
    }
}

/// Whether a socket is on its device after `result` of setsockopt(SO_BINDTODEVICE). EPERM: without CAP_NET_RAW a socket
/// that has a device refuses every other and the same one (Linux 5.7, c427bfec18f2). Somebody has bound it before (`ip
/// vrf exec` around us, a unit's BindNetworkInterface=, a second copy of the library): then the socket's device decides.
///
/// `is_on` returns whether the socket is on the device, by its name or, since it may be an alternative name, its number.
pub fn is_bound(result: Result<(), c_int>, is_on: impl FnOnce() -> bool) -> Result<(), c_int> {
    match result {
        Err(EPERM) if is_on() => Ok(()),
        result => result,
    }
}

/// Whether a socket has to be bound again after connect(AF_UNSPEC) has succeeded, which takes the device from datagram
/// and raw sockets (__udp_disconnect, net/ipv4/udp.c). `found` is what getsockopt(2) returns now.
pub fn has_lost_its_device(found: Result<Option<Device>, c_int>) -> bool {
    found == Ok(None)
}

/// Size of struct sockaddr_in6.
pub const SOCKADDR_IN6: usize = 28;

/// The device that bind(2) of an IPv6 socket to this address would move the socket to, by its number: the scope of a
/// link-local address, and of a multicast address of the interface or the link (__ipv6_addr_needs_scope_id, net/ipv6.h).
/// inet6_bind and rawv6_bind set the socket's device before their other checks, so it moves even if they fail.
/// No capability is required. l2tp_ip6_bind does the same; its address has the scope at the same offset.
pub fn scope(address: &[u8; SOCKADDR_IN6]) -> Option<u32> {
    let [family_0, family_1, _, _, _, _, _, _, rest @ ..] = address;
    let (ip, scope) = rest.split_at(16);
    let &[first, second, ..] = ip else {
        return None;
    };
    let &[a, b, c, d] = scope else { return None };
    let is_unicast = first == 0xfe && second & 0xc0 == 0x80;
    let is_multicast = first == 0xff && matches!(second & 0x0f, 1 | 2);
    let is_ipv6 = c_int::from(u16::from_ne_bytes([*family_0, *family_1])) == AF_INET6;
    let scope = u32::from_ne_bytes([a, b, c, d]);
    (is_ipv6 && (is_unicast || is_multicast) && scope != 0).then_some(scope)
}

/// Whether a socket may be bound to an address of this scope. `own` is the number of its device: this scope is always
/// allowed. `in_vrf` returns the result of setsockopt(IP_MULTICAST_IF, scope) on a fresh socket that is bound to the VRF.
/// The kernel refuses a device that is neither the VRF nor enslaved to it (EINVAL), or that does not exist (EADDRNOTAVAIL).
/// A port of a bridge, and a VLAN device above a device of the VRF, are outside. If the kernel cannot be asked, the call
/// fails.
pub fn at_scope(
    scope: u32,
    own: Option<u32>,
    in_vrf: impl FnOnce() -> Result<(), c_int>,
) -> Result<(), c_int> {
    if own == Some(scope) {
        return Ok(());
    }
    outside_is(EADDRNOTAVAIL, in_vrf())
}

/// The answer to `in_vrf` as in [`at_scope`], with `errno` where the device is outside.
fn outside_is(errno: c_int, in_vrf: Result<(), c_int>) -> Result<(), c_int> {
    match in_vrf {
        Err(EINVAL | EADDRNOTAVAIL) => Err(errno),
        result => result,
    }
}

/// What a program does to a socket with setsockopt(SO_BINDTODEVICE or SO_BINDTOIFINDEX).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rebinding {
    /// Nothing: the socket is on that device already.
    Stays,
    /// Put the socket on the VRF itself.
    ToVrf,
    /// Put it on the device that the program names.
    AsAsked,
}

/// To a program in a VRF, devices outside do not exist. No device means the VRF. To name the device that the socket has
/// already requires no privilege, although the kernel would require CAP_NET_RAW.
///
/// `own` is the number of the socket's device, `asked` the number of the device that the program names; None: no device.
/// `in_vrf` is as in [`at_scope`].
pub fn rebinding(
    own: Option<u32>,
    asked: Option<u32>,
    in_vrf: impl FnOnce(u32) -> Result<(), c_int>,
) -> Result<Rebinding, c_int> {
    match asked {
        None => Ok(Rebinding::ToVrf),
        _ if asked == own => Ok(Rebinding::Stays),
        Some(device) => outside_is(ENODEV, in_vrf(device)).map(|()| Rebinding::AsAsked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{
        AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, EMFILE, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK,
        SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
    };

    const FLAGS: [c_int; 4] = [0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK];

    fn named(name: &str) -> DeviceName {
        DeviceName::new(name.as_bytes()).unwrap()
    }

    fn blue() -> DeviceName {
        named("blue")
    }

    #[test]
    fn every_ip_socket_gets_the_device_whatever_its_type_and_flags() {
        let setting = Setting::Device(blue());
        for domain in [AF_INET, AF_INET6] {
            for sock_type in [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET] {
                for flags in FLAGS {
                    let decision = at_creation(setting, domain, sock_type | flags);
                    assert_eq!(decision, Decision::Bind(blue()));
                }
            }
            assert_eq!(unbound(setting, domain), Decision::Bind(blue()));
        }
    }

    #[test]
    fn other_families_pass_whatever_the_setting() {
        for setting in [
            Setting::Inert,
            Setting::Default,
            Setting::Device(blue()),
            Setting::Invalid,
        ] {
            for domain in [AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK, -1, 0x7fff] {
                assert_eq!(at_creation(setting, domain, SOCK_DGRAM), Decision::Pass);
                assert_eq!(unbound(setting, domain), Decision::Pass);
            }
            for flags in FLAGS {
                let decision = at_creation(setting, AF_INET, SOCK_PACKET | flags);
                assert_eq!(decision, Decision::Pass);
            }
        }
    }

    #[test]
    fn an_invalid_setting_fails_every_ip_socket_and_no_device_fails_none() {
        for domain in [AF_INET, AF_INET6] {
            let fails = Decision::Fail(EINVAL);
            assert_eq!(at_creation(Setting::Invalid, domain, SOCK_DGRAM), fails);
            assert_eq!(unbound(Setting::Invalid, domain), fails);
            for setting in [Setting::Inert, Setting::Default] {
                assert_eq!(at_creation(setting, domain, SOCK_DGRAM), Decision::Pass);
                assert_eq!(unbound(setting, domain), Decision::Pass);
            }
        }
    }

    #[test]
    fn an_existing_socket_keeps_the_device_that_it_has() {
        let device = Setting::Device(blue());
        let (vrf, red) = (Device::Vrf, Device::Number(7));
        for (setting, found, expected) in [
            (device, Ok(Some(red)), Existing::Keep(Some(red))),
            (device, Ok(Some(vrf)), Existing::Keep(Some(vrf))),
            (device, Ok(None), Existing::AskFamily),
            (device, Err(EPERM), Existing::AskFamily),
            (device, Err(ENODEV), Existing::Keep(Some(vrf))),
            (device, Err(EBADF), Existing::Keep(None)),
            (device, Err(ENOTSOCK), Existing::Keep(None)),
            (Setting::Invalid, Ok(None), Existing::AskFamily),
            (Setting::Inert, Ok(None), Existing::Keep(None)),
            (Setting::Default, Ok(Some(red)), Existing::Keep(None)),
        ] {
            assert_eq!(existing(setting, found), expected, "{setting:?}, {found:?}");
        }
    }

    #[test]
    fn after_eperm_the_sockets_own_word_decides() {
        assert_eq!(is_bound(Err(EPERM), || true), Ok(()));
        assert_eq!(is_bound(Err(EPERM), || false), Err(EPERM));
        assert_eq!(is_bound(Err(ENODEV), || true), Err(ENODEV));
        assert_eq!(is_bound(Ok(()), || false), Ok(()));
    }

    fn sockaddr(family: c_int, ip: &str, scope: u32) -> [u8; SOCKADDR_IN6] {
        let mut address = [0; SOCKADDR_IN6];
        address[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        let ip: core::net::Ipv6Addr = ip.parse().unwrap();
        address[8..24].copy_from_slice(&ip.octets());
        address[24..].copy_from_slice(&scope.to_ne_bytes());
        address
    }

    #[test]
    fn addresses_of_a_link_have_a_scope() {
        for ip in [
            "fe80::1", "febf::1", "ff01::1", "ff02::1", "ff12::1", "ff32::1",
        ] {
            assert_eq!(scope(&sockaddr(AF_INET6, ip, 7)), Some(7), "{ip}");
            assert_eq!(scope(&sockaddr(AF_INET6, ip, 0)), None, "{ip}");
            assert_eq!(scope(&sockaddr(AF_INET, ip, 7)), None, "{ip}");
        }
        for ip in [
            "::",
            "::1",
            "fec0::1",
            "fd00::1",
            "2001:db8::1",
            "ff05::1",
            "ff0e::1",
            "::ffff:169.254.1.1",
        ] {
            assert_eq!(scope(&sockaddr(AF_INET6, ip, 7)), None, "{ip}");
        }
    }

    #[test]
    fn a_scope_outside_the_vrf_is_refused_and_so_is_one_that_cannot_be_asked_for() {
        for (own, in_vrf, expected) in [
            (None, Ok(()), Ok(())),
            (Some(3), Ok(()), Ok(())),
            (Some(7), Err(EINVAL), Ok(())),
            (Some(3), Err(EINVAL), Err(EADDRNOTAVAIL)),
            (None, Err(EADDRNOTAVAIL), Err(EADDRNOTAVAIL)),
            (None, Err(EMFILE), Err(EMFILE)),
        ] {
            assert_eq!(at_scope(7, own, || in_vrf), expected);
        }
    }

    #[test]
    fn a_program_may_name_the_devices_of_its_vrf_and_none() {
        use Rebinding::{AsAsked, Stays, ToVrf};
        for (own, asked, in_vrf, expected) in [
            (Some(3), None, Err(EMFILE), Ok(ToVrf)),
            (None, None, Err(EMFILE), Ok(ToVrf)),
            (Some(7), Some(7), Err(EINVAL), Ok(Stays)),
            (Some(3), Some(7), Ok(()), Ok(AsAsked)),
            (None, Some(7), Ok(()), Ok(AsAsked)),
            (Some(3), Some(7), Err(EINVAL), Err(ENODEV)),
            (None, Some(7), Err(EADDRNOTAVAIL), Err(ENODEV)),
            (None, Some(7), Err(EMFILE), Err(EMFILE)),
        ] {
            let answer = rebinding(own, asked, |device| {
                assert_eq!(device, 7);
                in_vrf
            });
            assert_eq!(answer, expected, "{own:?} {asked:?} {in_vrf:?}");
        }
    }
}
