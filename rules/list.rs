//! The list of `VRFBIND_RULES`: which device a socket belongs to for the address that bind() or connect() names.
//!
//! A list is parsed once ([`parse`]). For each call, the first rule that matches decides; if none does, the socket belongs
//! to the VRF. An IPv4 address in IPv6's form (::ffff:10.0.0.1) is treated as the IPv4 address. [`crate::moving`] decides
//! whether the socket may be moved to the rule's device. [`seen`] infers a socket's rule from its addresses.
//!
//! Most calls match no rule, and pay for each that is compared (some 3 ns, BENCHMARKS.md): so a list knows the lowest and the
//! highest port of its rules.

pub mod parse;
pub mod seen;

use crate::device::DeviceName;
use crate::socket::SOCKADDR_IN6;
use libc::{
    AF_INET, AF_INET6, AF_UNSPEC, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_MPTCP, IPPROTO_SCTP,
    IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, SOCK_RAW, c_int,
};

/// The most rules that a list can have.
pub const MOST: usize = 64;

/// Rules, in the order in which they are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List {
    rules: [Option<Rule>; MOST],
    /// From the lowest to the highest port that a rule is for.
    first_port: u16,
    last_port: u16,
}

/// The device for sockets that use certain addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// None: both.
    call: Option<Call>,
    /// None: all.
    protocol: Option<Protocol>,
    addresses: Addresses,
    first_port: u16,
    last_port: u16,
    to: To,
}

impl Rule {
    /// Where it puts sockets.
    pub const fn to(&self) -> To {
        self.to
    }

    /// The only address that sockets can be bound to by this rule, IPv4 as ::ffff:0:0/96. None: it has none, or many.
    pub fn bound_to(&self) -> Option<u128> {
        let only = Address {
            ip: self.addresses.network,
            port: 0,
        };
        let is_one = self.addresses.length == 128 && !only.is_wildcard();
        (self.call == Some(Call::Bind) && is_one).then_some(only.ip)
    }

    /// Whether it matches every call that the other rule matches.
    fn covers(&self, other: &Self) -> bool {
        (self.call.is_none() || self.call == other.call)
            && (self.protocol.is_none() || self.protocol == other.protocol)
            && self.first_port <= other.first_port
            && other.last_port <= self.last_port
            && self.addresses.cover(&other.addresses)
    }
}

/// The call that names an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// bind(2), and listen(2), of the socket's own address.
    Bind,
    /// connect(2).
    Connect,
}

impl Call {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Connect => "connect",
        }
    }
}

/// A socket's protocol, as far as rules distinguish it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// TCP and MPTCP.
    Tcp,
    /// UDP and UDP-Lite.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP and ICMPv6 over datagram sockets, which ping(8) uses.
    Icmp,
    /// Raw sockets of any protocol.
    Raw,
}

impl Protocol {
    /// By the socket's SO_TYPE and SO_PROTOCOL. None: one that no rule can name.
    pub const fn of(sock_type: c_int, protocol: c_int) -> Option<Self> {
        match (sock_type, protocol) {
            (SOCK_RAW, _) => Some(Self::Raw),
            (_, IPPROTO_TCP | IPPROTO_MPTCP) => Some(Self::Tcp),
            (_, IPPROTO_UDP | IPPROTO_UDPLITE) => Some(Self::Udp),
            (_, IPPROTO_SCTP) => Some(Self::Sctp),
            (_, IPPROTO_ICMP | IPPROTO_ICMPV6) => Some(Self::Icmp),
            _ => None,
        }
    }
}

/// Where a rule puts sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// On this device.
    Device(DeviceName),
    /// On the loopback device, whatever its name is.
    Lo,
    /// On no device, on purpose.
    Default,
    /// `auto`: into the VRF if the VRF has the address itself, else on the loopback device.
    LoUnlessInVrf,
}

/// The addresses that have the first `length` bits of `network`. IPv4 addresses are in ::ffff:0:0/96, and in no larger
/// network: the addresses of an IPv6 network are IPv6. Only [`EVERYTHING`] has both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Addresses {
    network: u128,
    length: u8,
}

/// What `*` stands for. No real prefix has this length.
const EVERYTHING: Addresses = Addresses {
    network: 0,
    length: u8::MAX,
};

/// What `loopback` stands for.
const LOOPBACK: Addresses = Addresses {
    network: 0,
    length: u8::MAX - 1,
};

const IPV4: Addresses = Addresses {
    network: 0xffff << 32,
    length: 96,
};

const LOOPBACK_V4: Addresses = Addresses {
    network: IPV4.network | 127 << 24,
    length: 96 + 8,
};

impl Addresses {
    fn contain(&self, ip: u128) -> bool {
        if self.length > 128 {
            return *self == EVERYTHING || ip == 1 || LOOPBACK_V4.contain(ip);
        }
        ip & mask(self.length) == self.network && (self.length >= IPV4.length || !IPV4.contain(ip))
    }

    /// Whether they contain all of the others.
    fn cover(&self, other: &Self) -> bool {
        match (*self, *other) {
            (EVERYTHING, _) => true,
            (_, EVERYTHING) => false,
            // No network has both families.
            (_, LOOPBACK) => *self == LOOPBACK,
            (LOOPBACK, _) => {
                LOOPBACK_V4.cover(other)
                    || *other
                        == Self {
                            network: 1,
                            length: 128,
                        }
            }
            _ => self.length <= other.length && self.contain(other.network),
        }
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX
        .checked_shl(128_u32.wrapping_sub(length.into()))
        .unwrap_or(0)
}

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// IPv4 as ::ffff:0:0/96.
    pub ip: u128,
    /// 0 in bind(): the kernel chooses.
    pub port: u16,
}

/// The length of struct sockaddr_in, and what the kernel demands of struct sockaddr_in6: all but the scope
/// (SIN6_LEN_RFC2133, net/ipv6.h).
const SOCKADDR_IN: usize = 16;
const SOCKADDR_IN6_WITHOUT_SCOPE: usize = 24;

impl Address {
    /// Reads a struct sockaddr of this length as the kernel does. None: it is no IP address. bind(2) of an IPv4 socket
    /// accepts AF_UNSPEC as AF_INET, for the sake of old programs (__inet_bind, net/ipv4/af_inet.c).
    pub fn of(call: Call, sockaddr: &[u8]) -> Option<Self> {
        let (&family, rest) = sockaddr.split_first_chunk()?;
        let (&port, rest) = rest.split_first_chunk()?;
        let ip = match c_int::from(u16::from_ne_bytes(family)) {
            AF_INET if sockaddr.len() >= SOCKADDR_IN => v4(rest)?,
            AF_UNSPEC if call == Call::Bind && sockaddr.len() >= SOCKADDR_IN => v4(rest)?,
            AF_INET6 if sockaddr.len() >= SOCKADDR_IN6_WITHOUT_SCOPE => {
                u128::from_be_bytes(*rest.get(4..)?.first_chunk()?)
            }
            _ => return None,
        };
        Some(Self {
            ip,
            port: u16::from_be_bytes(port),
        })
    }

    /// Whether it is the wildcard of its family.
    pub fn is_wildcard(&self) -> bool {
        self.ip == 0 || self.ip == IPV4.network
    }

    /// Its family, and the address as a struct sockaddr of this family, with port 0.
    pub fn sockaddr(&self) -> (c_int, [u8; SOCKADDR_IN6]) {
        match self.v4() {
            Some(ip) => (AF_INET, sockaddr(AF_INET, 4, &ip.to_be_bytes())),
            None => (AF_INET6, sockaddr(AF_INET6, 8, &self.ip.to_be_bytes())),
        }
    }

    /// The address as IPv4.
    pub fn v4(&self) -> Option<u32> {
        IPV4.contain(self.ip).then_some(self.ip as u32)
    }
}

/// The wildcard of a family, with port 0.
pub fn wildcard(family: c_int) -> [u8; SOCKADDR_IN6] {
    sockaddr(family, 0, &[])
}

/// A struct sockaddr of a family that has the IP address at this offset, with port 0.
fn sockaddr(family: c_int, place: usize, ip: &[u8]) -> [u8; SOCKADDR_IN6] {
    let mut address = [0; SOCKADDR_IN6];
    let family = (family as u16).to_ne_bytes();
    for (to, from) in address.iter_mut().zip(family) {
        *to = from;
    }
    for (to, from) in address.iter_mut().skip(place).zip(ip) {
        *to = *from;
    }
    address
}

fn v4(ip: &[u8]) -> Option<u128> {
    let ip = u32::from_be_bytes(*ip.first_chunk()?);
    Some(IPV4.network | u128::from(ip))
}

/// The rule that decides about a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// Its number in the list, from 1.
    pub number: usize,
    /// Where it puts the socket.
    pub to: To,
}

impl List {
    /// A list without a rule.
    pub fn empty() -> Self {
        Self {
            rules: [None; MOST],
            first_port: u16::MAX,
            last_port: 0,
        }
    }

    /// The first rule that matches. `protocol` is called only if the socket's protocol matters.
    pub fn first<E>(
        &self,
        call: Call,
        address: &Address,
        protocol: impl Fn() -> Result<Option<Protocol>, E>,
    ) -> Result<Option<Match>, E> {
        let mut number = 0;
        while let Some(rule) = self.next(call, address, &mut number) {
            if rule.protocol.is_none() || rule.protocol == protocol()? {
                let to = rule.to;
                return Ok(Some(Match { number, to }));
            }
        }
        Ok(None)
    }

    /// Whether no rule can match, whatever the socket's protocol is.
    pub fn is_silent(&self, call: Call, address: &Address) -> bool {
        self.next(call, address, &mut 0).is_none()
    }

    /// The next rule behind that of this number that matches but for the protocol.
    #[inline(never)]
    fn next(&self, call: Call, address: &Address, number: &mut usize) -> Option<&Rule> {
        let has_port = |first, last| (first..=last).contains(&address.port);
        if !has_port(self.first_port, self.last_port) {
            return None;
        }
        while let Some(Some(rule)) = self.rules.get(*number) {
            *number += 1;
            if has_port(rule.first_port, rule.last_port)
                && rule.call.is_none_or(|only| only == call)
                && rule.addresses.contain(address.ip)
            {
                return Some(rule);
            }
        }
        None
    }

    /// Whether there is a rule for this call.
    pub fn has_any(&self, call: Call) -> bool {
        self.rules()
            .any(|rule| rule.call.is_none_or(|only| only == call))
    }

    /// Whether a rule puts sockets there.
    pub fn names(&self, to: To) -> bool {
        self.rules()
            .any(|rule| rule.to == to || to == To::Lo && rule.to == To::LoUnlessInVrf)
    }

    /// The rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map_while(Option::as_ref)
    }

    /// The numbers of rules that never decide, each with the number of an earlier rule that covers it.
    pub fn shadowed(&self) -> impl Iterator<Item = (usize, usize)> {
        let numbered = || (1..).zip(self.rules());
        numbered().filter_map(move |(number, rule)| {
            let mut earlier = numbered().take(number - 1);
            let (by, _) = earlier.find(|(_, earlier)| earlier.covers(rule))?;
            Some((number, by))
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::parse::parse;
    use super::*;
    use core::convert::Infallible;
    use core::net::{IpAddr, Ipv4Addr};

    fn bits(ip: &str) -> u128 {
        match ip.parse().unwrap() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        }
    }

    fn device(name: &str) -> To {
        To::Device(DeviceName::new(name.as_bytes()).unwrap())
    }

    fn first(
        list: &List,
        call: Call,
        address: &str,
        port: u16,
        protocol: Option<Protocol>,
    ) -> Option<usize> {
        let address = Address {
            ip: bits(address),
            port,
        };
        let Ok(found) = list.first::<Infallible>(call, &address, || Ok(protocol));
        found.map(|found| found.number)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        use Call::*;
        use Protocol::*;
        let list = parse(
            b"bind tcp *:5380 mgmt\n\
              connect udp 10.99.0.0/16:53-54 mgmt\n\
              connect 10.99.1.0/24 red\n\
              bind 0.0.0.0 green\n\
              bind [::]:123 green\n\
              connect [2001:db8::]/32 mgmt\n\
              connect [::ffff:192.0.2.0]/120 red\n\
              connect sctp 192.0.0.0/8 default\n\
              loopback auto\n\
              connect [::]/0:443 red\n\
              bind raw * lo",
        )
        .unwrap();
        for (call, address, port, protocol, number) in [
            (Bind, "0.0.0.0", 5380, Some(Tcp), Some(1)),
            (Bind, "::", 5380, Some(Tcp), Some(1)),
            (Bind, "10.1.2.3", 5380, Some(Tcp), Some(1)),
            (Bind, "10.1.2.3", 5380, Some(Udp), None),
            (Bind, "10.1.2.3", 5380, None, None),
            (Bind, "10.1.2.3", 5381, Some(Tcp), None),
            (Connect, "10.1.2.3", 5380, Some(Tcp), None),
            (Connect, "10.99.255.255", 53, Some(Udp), Some(2)),
            (Connect, "::ffff:10.99.0.0", 54, Some(Udp), Some(2)),
            (Connect, "10.99.1.1", 55, Some(Udp), Some(3)),
            (Connect, "10.99.1.1", 53, Some(Tcp), Some(3)),
            (Connect, "10.98.255.255", 53, Some(Udp), None),
            (Connect, "10.99.2.1", 52, Some(Udp), None),
            (Bind, "0.0.0.0", 1, None, Some(4)),
            (Bind, "::ffff:0.0.0.0", 1, None, Some(4)),
            (Bind, "::", 1, None, None),
            (Bind, "::", 123, None, Some(5)),
            (Connect, "2001:db8:ffff::1", 1, None, Some(6)),
            (Connect, "2001:db9::1", 1, None, None),
            (Connect, "192.0.2.255", 1, Some(Sctp), Some(7)),
            (Connect, "192.0.3.0", 1, Some(Sctp), Some(8)),
            (Connect, "192.0.3.0", 1, Some(Tcp), None),
            (Bind, "127.0.0.53", 53, Some(Udp), Some(9)),
            (Connect, "127.255.0.1", 0, None, Some(9)),
            (Connect, "::1", 443, None, Some(9)),
            (Connect, "::ffff:127.0.0.1", 443, None, Some(9)),
            (Bind, "::2", 443, None, None),
            (Connect, "fe80::1", 443, None, Some(10)),
            (Connect, "1.2.3.4", 443, None, None),
            (Connect, "::ffff:1.2.3.4", 443, None, None),
            (Bind, "1.2.3.4", 255, Some(Raw), Some(11)),
        ] {
            assert_eq!(
                first(&list, call, address, port, protocol),
                number,
                "{call:?} {protocol:?} {address} {port}"
            );
        }
    }

    #[test]
    fn the_protocol_is_asked_for_only_where_it_matters() {
        let list = parse(b"bind tcp *:53 mgmt; connect * mgmt").unwrap();
        let of = |port| Address {
            ip: bits("127.0.0.1"),
            port,
        };
        let unknown = || Err(7);
        assert_eq!(list.first(Call::Bind, &of(53), unknown), Err(7));
        assert_eq!(list.first(Call::Bind, &of(54), unknown), Ok(None));
        let found = list.first(Call::Connect, &of(53), unknown).unwrap();
        assert_eq!(found.unwrap().to, device("mgmt"));
    }

    #[test]
    fn rules_for_ports_match_at_the_first_and_the_last_of_them() {
        let list = parse(b"bind tcp *:1000-2000 a; bind *:53 b").unwrap();
        for (port, number) in [
            (0, None),
            (52, None),
            (53, Some(2)),
            (54, None),
            (999, None),
            (1000, Some(1)),
            (2000, Some(1)),
            (2001, None),
            (u16::MAX, None),
        ] {
            let address = Address {
                ip: bits("192.0.2.1"),
                port,
            };
            let tcp = Some(Protocol::Tcp);
            assert_eq!(first(&list, Call::Bind, "192.0.2.1", port, tcp), number);
            assert_eq!(list.is_silent(Call::Bind, &address), number.is_none());
            assert!(list.is_silent(Call::Connect, &address));
        }
        // Silent is a list only where the protocol cannot matter.
        let udp = Some(Protocol::Udp);
        assert_eq!(first(&list, Call::Bind, "192.0.2.1", 1000, udp), None);
        assert!(List::empty().is_silent(
            Call::Bind,
            &Address {
                ip: bits("192.0.2.1"),
                port: 0
            }
        ));
    }

    #[test]
    fn a_list_knows_where_it_puts_sockets() {
        let list = parse(b"bind * mgmt; connect * default").unwrap();
        assert!(list.names(device("mgmt")) && list.names(To::Default));
        assert!(!list.names(device("red")) && !list.names(To::Lo));
        assert!(parse(b"loopback auto").unwrap().names(To::Lo));
        assert!(parse(b"loopback lo").unwrap().names(To::Lo));
    }

    #[test]
    fn a_rule_is_shadowed_by_an_earlier_one_that_matches_all_that_it_does() {
        for (earlier, later, is_shadowed) in [
            ("bind * a", "bind tcp 10.0.0.0/8:53 b", true),
            ("bind * a", "connect * b", false),
            ("bind * a", "loopback lo", false),
            ("bind tcp * a", "bind * b", false),
            ("bind tcp * a", "bind udp * b", false),
            ("bind *:1-100 a", "bind *:100 b", true),
            ("bind *:1-100 a", "bind *:100-101 b", false),
            ("bind *:53 a", "bind icmp * b", false),
            ("connect 10.0.0.0/8 a", "connect 10.1.0.0/16 b", true),
            ("connect 10.1.0.0/16 a", "connect 10.0.0.0/8 b", false),
            ("connect 10.0.0.0/8 a", "connect 11.0.0.1 b", false),
            ("connect 10.0.0.0/8 a", "connect * b", false),
            ("connect [::]/0 a", "connect [2001:db8::1] b", true),
            ("connect [::]/0 a", "connect 10.0.0.1 b", false),
            ("connect [::ffff:0:0]/96 a", "connect 10.0.0.1 b", true),
            ("connect 10.0.0.0/8 a", "connect [::ffff:10.0.0.1] b", true),
            ("loopback lo", "connect 127.0.0.53:53 b", true),
            ("loopback lo", "bind [::1] b", true),
            ("loopback lo", "bind [::2] b", false),
            ("loopback lo", "bind 126.0.0.0/7 b", false),
            ("loopback lo", "loopback auto", true),
            ("connect 127.0.0.0/8 a", "loopback lo", false),
            ("connect * a", "loopback lo", false),
        ] {
            let text = std::format!("{earlier}; {later}");
            let list = parse(text.as_bytes()).unwrap();
            let expected = is_shadowed.then_some((2, 1));
            assert_eq!(list.shadowed().next(), expected, "{text}");
        }
    }

    #[test]
    fn a_rule_for_one_address_names_it() {
        for (text, ip) in [
            ("bind tcp 10.0.0.1:53 a", Some("10.0.0.1")),
            ("bind [2001:db8::1] a", Some("2001:db8::1")),
            ("bind 10.0.0.0/31 a", None),
            ("bind 0.0.0.0 a", None),
            ("bind [::] a", None),
            ("bind * a", None),
            ("connect 10.0.0.1 a", None),
            ("loopback lo", None),
        ] {
            let list = parse(text.as_bytes()).unwrap();
            let found = list.rules().next().unwrap().bound_to();
            assert_eq!(found, ip.map(bits), "{text}");
        }
    }

    #[test]
    fn a_socket_is_known_by_its_type_and_protocol() {
        for (sock_type, protocol, expected) in [
            (libc::SOCK_STREAM, IPPROTO_TCP, Some(Protocol::Tcp)),
            (libc::SOCK_STREAM, IPPROTO_MPTCP, Some(Protocol::Tcp)),
            (libc::SOCK_DGRAM, IPPROTO_UDP, Some(Protocol::Udp)),
            (libc::SOCK_DGRAM, IPPROTO_UDPLITE, Some(Protocol::Udp)),
            (libc::SOCK_DGRAM, IPPROTO_ICMPV6, Some(Protocol::Icmp)),
            (SOCK_RAW, IPPROTO_ICMP, Some(Protocol::Raw)),
            (SOCK_RAW, IPPROTO_UDP, Some(Protocol::Raw)),
            (libc::SOCK_SEQPACKET, IPPROTO_SCTP, Some(Protocol::Sctp)),
            (6, 33, None),
        ] {
            assert_eq!(Protocol::of(sock_type, protocol), expected);
        }
    }

    #[test]
    fn an_address_is_read_as_the_kernel_reads_it() {
        let mut inet = [0; 16];
        inet[..2].copy_from_slice(&(AF_INET as u16).to_ne_bytes());
        inet[2..8].copy_from_slice(&[0x15, 0x04, 10, 0, 0, 1]);
        let expected = Address {
            ip: bits("10.0.0.1"),
            port: 5380,
        };
        for call in [Call::Bind, Call::Connect] {
            assert_eq!(Address::of(call, &inet), Some(expected));
            assert_eq!(expected.v4(), Some(Ipv4Addr::new(10, 0, 0, 1).to_bits()));
            assert_eq!(Address::of(call, &inet[..15]), None);
            assert_eq!(Address::of(call, &inet[..1]), None);
        }
        inet[..2].fill(0);
        assert_eq!(Address::of(Call::Bind, &inet), Some(expected));
        assert_eq!(Address::of(Call::Connect, &inet), None);

        let mut inet6 = [0; 28];
        inet6[..2].copy_from_slice(&(AF_INET6 as u16).to_ne_bytes());
        assert!(Address::of(Call::Bind, &inet6).unwrap().is_wildcard());
        inet6[18..24].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        let mapped = Address::of(Call::Connect, &inet6[..24]).unwrap();
        assert_eq!(mapped.ip, expected.ip);
        assert_eq!(Address::of(Call::Connect, &inet6[..23]), None);
        inet6[..2].copy_from_slice(&1_u16.to_ne_bytes());
        assert_eq!(Address::of(Call::Connect, &inet6), None);
    }
}
