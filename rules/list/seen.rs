//! Infers the rule of a socket from its addresses, for an observer outside the process.
//!
//! The library judges calls. An observer sees only the addresses that the calls have left:
//!
//! - A peer was named by connect(). But an accepted stream is where its listener is, by the listener's address.
//! - Without a peer, the socket's own address was named by bind().
//! - Without either, the socket is in the VRF, where it was created.
//!
//! Some addresses do not tell which call it was ([`Under::is_certain`]):
//!
//! - A stream without a peer that does not listen may have been bound, or its connect() is under way, or its connection has ended.
//! - A raw socket on the wildcard may have been bound to it, or not at all.
//! - The kernel may have chosen the port: then bind() named port 0, or sendto() was called without a bind().

use super::{Address, Call, List, Match, Protocol, To};
use crate::device::DeviceName;
use core::convert::Infallible;

/// A socket as an observer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    /// None: a protocol that no rule can name.
    pub protocol: Option<Protocol>,
    /// Its own address, if it has one.
    pub own: Option<Address>,
    /// Its peer's, if it has one.
    pub peer: Option<Address>,
    /// Whether it listens.
    pub listens: bool,
    /// The address of the listener that it was accepted from, if it was.
    pub listener: Option<Address>,
}

/// The rule that a socket is under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Under {
    /// The rule. None: the socket belongs in the VRF.
    pub rule: Option<Match>,
    /// Whether nothing can have put the socket elsewhere.
    pub is_certain: bool,
}

/// The first port that the kernel chooses by default (net.ipv4.ip_local_port_range).
const FIRST_CHOSEN: u16 = 32768;

impl List {
    /// The rule that a socket is under.
    pub fn under(&self, socket: &Socket) -> Under {
        let first = |call, address: Address| {
            let protocol = || Ok::<_, Infallible>(socket.protocol);
            let Ok(found) = self.first(call, &address, protocol);
            found
        };
        let is_stream = matches!(socket.protocol, Some(Protocol::Tcp | Protocol::Sctp));
        let (rule, is_certain) = match (socket.listener, socket.peer, socket.own) {
            (Some(listener), ..) => (first(Call::Bind, listener), true),
            (None, Some(peer), _) => (first(Call::Connect, peer), true),
            (None, None, Some(own)) => {
                let rule = first(Call::Bind, own);
                let asked = first(Call::Bind, Address { port: 0, ..own });
                let is_chosen = own.port >= FIRST_CHOSEN && (own.is_wildcard() || asked != rule);
                (rule, !is_chosen && (!is_stream || socket.listens))
            }
            (None, None, None) => (None, socket.protocol != Some(Protocol::Raw)),
        };
        Under { rule, is_certain }
    }

    /// Whether the library can have put a socket on `device`: it is the VRF or a rule's device. The program may have put it
    /// on another device of the VRF; there it stays.
    pub fn can_have_put_on(&self, vrf: &DeviceName, device: &DeviceName) -> bool {
        device == vrf || self.names(To::Device(*device))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn v4(ip: [u8; 4], port: u16) -> Option<Address> {
        let ip = core::net::Ipv4Addr::from(ip).to_ipv6_mapped().to_bits();
        Some(Address { ip, port })
    }

    const NEW: Socket = Socket {
        protocol: None,
        own: None,
        peer: None,
        listens: false,
        listener: None,
    };

    #[test]
    fn a_socket_is_under_the_rule_of_the_call_that_has_named_its_address() {
        let list = parse(
            b"bind tcp *:5380 mgmt; connect 10.99.0.0/16 mgmt; bind udp 10.0.0.1 red; loopback lo",
        )
        .unwrap();
        let (wildcard, service) = (v4([0; 4], 5380), v4([10, 0, 0, 1], 5380));
        let (manager, client) = (v4([10, 99, 0, 7], 514), v4([10, 0, 0, 7], 514));
        let local = v4([127, 0, 0, 1], 53);
        let (tcp, udp) = (Some(Protocol::Tcp), Some(Protocol::Udp));
        for (socket, number, is_certain) in [
            // What bind() has named.
            (
                Socket {
                    protocol: tcp,
                    own: wildcard,
                    listens: true,
                    ..NEW
                },
                Some(1),
                true,
            ),
            (
                Socket {
                    protocol: tcp,
                    own: client,
                    listens: true,
                    ..NEW
                },
                None,
                true,
            ),
            (
                Socket {
                    protocol: udp,
                    own: service,
                    ..NEW
                },
                Some(3),
                true,
            ),
            (
                Socket {
                    protocol: udp,
                    own: local,
                    ..NEW
                },
                Some(4),
                true,
            ),
            (
                Socket {
                    protocol: udp,
                    own: wildcard,
                    ..NEW
                },
                None,
                true,
            ),
            // What connect() has named, whatever the socket's own address is.
            (
                Socket {
                    protocol: udp,
                    own: service,
                    peer: manager,
                    ..NEW
                },
                Some(2),
                true,
            ),
            (
                Socket {
                    protocol: udp,
                    own: service,
                    peer: client,
                    ..NEW
                },
                None,
                true,
            ),
            (
                Socket {
                    protocol: tcp,
                    own: client,
                    peer: local,
                    ..NEW
                },
                Some(4),
                true,
            ),
            // An accepted stream, whoever its peer is.
            (
                Socket {
                    protocol: tcp,
                    own: service,
                    peer: manager,
                    listener: service,
                    ..NEW
                },
                Some(1),
                true,
            ),
            (
                Socket {
                    protocol: tcp,
                    own: client,
                    peer: manager,
                    listener: client,
                    ..NEW
                },
                None,
                true,
            ),
            // The port may be the kernel's choice.
            (
                Socket {
                    protocol: udp,
                    own: v4([0; 4], 40000),
                    ..NEW
                },
                None,
                false,
            ),
            (
                Socket {
                    protocol: udp,
                    own: v4([127, 0, 0, 1], 40000),
                    ..NEW
                },
                Some(4),
                true,
            ),
            // Neither.
            (
                Socket {
                    protocol: udp,
                    ..NEW
                },
                None,
                true,
            ),
            (
                Socket {
                    protocol: tcp,
                    ..NEW
                },
                None,
                true,
            ),
            // It is not known which.
            (
                Socket {
                    protocol: tcp,
                    own: wildcard,
                    ..NEW
                },
                Some(1),
                false,
            ),
            (
                Socket {
                    protocol: tcp,
                    own: client,
                    ..NEW
                },
                None,
                false,
            ),
            (
                Socket {
                    protocol: Some(Protocol::Raw),
                    ..NEW
                },
                None,
                false,
            ),
            (
                Socket {
                    protocol: Some(Protocol::Raw),
                    peer: local,
                    ..NEW
                },
                Some(4),
                true,
            ),
        ] {
            let under = list.under(&socket);
            let found = (under.rule.map(|rule| rule.number), under.is_certain);
            assert_eq!(found, (number, is_certain), "{socket:?}");
        }
    }

    #[test]
    fn a_device_that_nobody_has_named_is_the_program_s_choice() {
        let list = parse(b"bind * mgmt").unwrap();
        let name = |name: &[u8]| DeviceName::new(name).unwrap();
        let can = |device| list.can_have_put_on(&name(b"blue"), &name(device));
        assert!(can(b"blue") && can(b"mgmt") && !can(b"br-blue"));
    }
}
