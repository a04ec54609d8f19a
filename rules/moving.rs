//! Whether an existing socket may be moved to another device when bind() or connect() names an address that belongs there.
//!
//! A socket may be moved only while nobody relies on it: it has no traffic yet and no address. A socket that is bound to
//! an address would take the address along, and send from one VRF with an address of the other. A connected stream and a
//! listener have peers. The kernel keeps the groups of SO_REUSEPORT by device. And if the kernel refuses the call whatever
//! the device is, the call is left to it, so that the errno is the kernel's.
//!
//! Without CAP_NET_RAW a socket that may be moved is replaced by a fresh one, if a fresh one can have all its state:
//! [`Load`].

use crate::list::{Call, Protocol};
use libc::{EADDRNOTAVAIL, EPERM, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, c_int};

/// What the kernel reports about a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// None: a protocol that no rule can name.
    pub protocol: Option<Protocol>,
    /// Whether its own address is the wildcard.
    pub is_wildcard: bool,
    /// Its own port; of a raw socket, the protocol's number.
    pub port: u16,
    /// Whether it has a peer.
    pub state: State,
    /// Whether it has SO_REUSEPORT.
    pub shares_port: bool,
}

/// Whether a socket has a peer, or waits for a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It has no peer.
    Closed,
    /// A stream is connected, connecting or listening. Any other socket is connected.
    Busy,
    /// The kernel does not tell.
    Unknown,
}

/// What to do with a socket that belongs on another device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Move it, and make the call.
    Move,
    /// Make the call, which the kernel refuses.
    PassOn,
    /// It has an address: by bind(), or left over from a connect() that has failed. A left-over address can be forgotten.
    MayForget,
    /// Fail the call with this errno, for this reason.
    Refuse(c_int, &'static str),
}

/// The state of a socket that shall be replaced, besides options that can be read.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Its SO_PROTOCOL.
    pub protocol: c_int,
    /// Whether its port is its own. A stream's port can be left over from a connect() that has failed.
    pub holds_port: bool,
    /// Whether there are data or errors, received or still to be sent.
    pub has_queue: bool,
    /// Whether it has more memory for options than a fresh one (SO_MEMINFO): memberships, filters, keys, IPv6 headers.
    pub has_attachments: bool,
}

/// The reason of [`Verdict::Refuse`] with EADDRNOTAVAIL, to be put after "the socket".
pub const HAS_ADDRESS: &str = "has an address already, which would go with it";

impl Facts {
    /// What to do.
    pub fn judge(&self, call: Call) -> Verdict {
        let has_address = Verdict::Refuse(EADDRNOTAVAIL, HAS_ADDRESS);
        let refuse = |why| Verdict::Refuse(EPERM, why);
        let Some(protocol) = self.protocol else {
            return refuse("has a protocol that cannot be moved");
        };
        if self.is_fresh() {
            return Verdict::Move;
        }
        match (protocol, self.state, call) {
            (_, State::Unknown, _) => refuse("may be in use"),
            // Bound already, or connected: EINVAL. Connected, connecting or listening: EISCONN or EALREADY.
            (Protocol::Udp | Protocol::Icmp, _, Call::Bind) => Verdict::PassOn,
            (Protocol::Tcp, State::Busy, _) => Verdict::PassOn,
            (Protocol::Raw, State::Busy, Call::Bind) => Verdict::PassOn,
            (_, State::Busy, _) => refuse("is connected, and would keep its own address"),
            // A second bind() of a raw socket replaces the first. That of a closed stream is EINVAL, unless its port is left
            // of a connect() that has failed.
            (Protocol::Raw | Protocol::Tcp, State::Closed, Call::Bind) => Verdict::Move,
            (Protocol::Sctp, State::Closed, Call::Bind) => has_address,
            (Protocol::Tcp, State::Closed, Call::Connect) if !self.is_wildcard => {
                Verdict::MayForget
            }
            (_, State::Closed, Call::Connect) if !self.is_wildcard => has_address,
            (_, State::Closed, Call::Connect) if self.shares_port && protocol != Protocol::Raw => {
                refuse("shares its port with others (SO_REUSEPORT)")
            }
            (_, State::Closed, Call::Connect) => Verdict::Move,
        }
    }

    /// Whether the fresh socket that takes the place of this one has to be bound to the same port first. An error: a fresh
    /// socket cannot take its place, and what this one has that a fresh one cannot have.
    #[inline]
    pub fn is_bound_again(&self, call: Call, load: Load) -> Result<bool, &'static str> {
        // Of MPTCP and SCTP much can be set that cannot be read.
        let is_known = matches!(
            load.protocol,
            IPPROTO_TCP | IPPROTO_UDP | IPPROTO_ICMP | IPPROTO_ICMPV6
        );
        if !is_known || self.protocol == Some(Protocol::Raw) {
            return Err("unsupported protocol");
        }
        if self.state != State::Closed {
            return Err("has a peer");
        }
        if load.holds_port && (call == Call::Bind || !self.is_wildcard) {
            return Err("bound already");
        }
        if load.has_queue {
            return Err("data or errors wait");
        }
        if load.has_attachments {
            return Err("memberships, filters or keys");
        }
        Ok(load.holds_port)
    }

    /// Whether it has been neither bound nor connected: either would have given it a port. A raw socket has its protocol's
    /// number from the start.
    pub fn is_fresh(&self) -> bool {
        let has_no_port = self.port == 0 || self.protocol == Some(Protocol::Raw);
        self.is_wildcard && has_no_port && self.state != State::Busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Facts = Facts {
        protocol: None,
        is_wildcard: true,
        port: 0,
        state: State::Closed,
        shares_port: false,
    };

    fn of(protocol: Protocol) -> Facts {
        Facts {
            protocol: Some(protocol),
            ..FRESH
        }
    }

    fn errno(facts: Facts, call: Call) -> Option<c_int> {
        match facts.judge(call) {
            Verdict::Refuse(errno, _) => Some(errno),
            _ => None,
        }
    }

    const ALL: [Protocol; 5] = [
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Sctp,
        Protocol::Icmp,
        Protocol::Raw,
    ];

    #[test]
    fn a_fresh_socket_moves() {
        for call in [Call::Bind, Call::Connect] {
            for protocol in ALL {
                for shares_port in [false, true] {
                    let facts = Facts {
                        shares_port,
                        ..of(protocol)
                    };
                    assert_eq!(facts.judge(call), Verdict::Move, "{facts:?}");
                }
            }
            // SCTP and old kernels' MPTCP do not say what they do.
            let facts = Facts {
                state: State::Unknown,
                ..of(Protocol::Sctp)
            };
            assert_eq!(facts.judge(call), Verdict::Move);
            assert_eq!(errno(FRESH, call), Some(EPERM));
        }
    }

    #[test]
    fn a_raw_socket_has_a_port_from_the_start() {
        let facts = Facts {
            port: 1,
            ..of(Protocol::Raw)
        };
        assert_eq!(facts.judge(Call::Bind), Verdict::Move);
        assert_eq!(facts.judge(Call::Connect), Verdict::Move);
    }

    #[test]
    fn what_is_in_use_does_not_move() {
        for (protocol, call, expected) in [
            (Protocol::Tcp, Call::Bind, Verdict::PassOn),
            (Protocol::Tcp, Call::Connect, Verdict::PassOn),
            (Protocol::Udp, Call::Bind, Verdict::PassOn),
            (Protocol::Icmp, Call::Bind, Verdict::PassOn),
            (Protocol::Raw, Call::Bind, Verdict::PassOn),
        ] {
            let facts = Facts {
                state: State::Busy,
                port: 7,
                ..of(protocol)
            };
            assert_eq!(facts.judge(call), expected, "{facts:?}");
        }
        for protocol in [Protocol::Udp, Protocol::Icmp, Protocol::Raw] {
            for is_wildcard in [false, true] {
                let facts = Facts {
                    state: State::Busy,
                    port: 7,
                    is_wildcard,
                    ..of(protocol)
                };
                assert_eq!(errno(facts, Call::Connect), Some(EPERM), "{facts:?}");
            }
        }
    }

    #[test]
    fn what_is_bound_moves_by_its_address() {
        let (address, none) = (Some(EADDRNOTAVAIL), None);
        for (protocol, is_wildcard, shares_port, bind, connect) in [
            (Protocol::Udp, true, false, none, none),
            (Protocol::Udp, true, true, none, Some(EPERM)),
            (Protocol::Udp, false, false, none, address),
            (Protocol::Udp, false, true, none, address),
            (Protocol::Icmp, true, false, none, none),
            (Protocol::Icmp, false, false, none, address),
            (Protocol::Tcp, true, false, none, none),
            (Protocol::Tcp, true, true, none, Some(EPERM)),
            (Protocol::Raw, true, true, none, none),
            (Protocol::Raw, false, false, none, address),
            (Protocol::Sctp, true, false, address, none),
            (Protocol::Sctp, false, false, address, address),
        ] {
            let facts = Facts {
                is_wildcard,
                shares_port,
                port: 7,
                ..of(protocol)
            };
            assert_eq!(errno(facts, Call::Bind), bind, "bind: {facts:?}");
            assert_eq!(errno(facts, Call::Connect), connect, "connect: {facts:?}");
        }
        let bound = Facts {
            port: 7,
            ..of(Protocol::Udp)
        };
        assert_eq!(bound.judge(Call::Bind), Verdict::PassOn);
        assert_eq!(bound.judge(Call::Connect), Verdict::Move);
        let stream = Facts {
            is_wildcard: false,
            port: 7,
            ..of(Protocol::Tcp)
        };
        assert_eq!(stream.judge(Call::Bind), Verdict::Move);
        assert_eq!(stream.judge(Call::Connect), Verdict::MayForget);
    }

    #[test]
    fn what_does_not_say_whether_it_is_in_use_is_refused() {
        for protocol in ALL {
            let facts = Facts {
                state: State::Unknown,
                is_wildcard: false,
                port: 7,
                ..of(protocol)
            };
            assert_eq!(errno(facts, Call::Bind), Some(EPERM));
            assert_eq!(errno(facts, Call::Connect), Some(EPERM));
        }
    }

    #[test]
    fn what_is_replaced_has_nothing_that_a_fresh_one_cannot_have() {
        let load = Load {
            protocol: IPPROTO_TCP,
            holds_port: false,
            has_queue: false,
            has_attachments: false,
        };
        let facts = of(Protocol::Tcp);
        for protocol in [IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6] {
            let load = Load { protocol, ..load };
            assert_eq!(facts.is_bound_again(Call::Bind, load), Ok(false));
            assert_eq!(facts.is_bound_again(Call::Connect, load), Ok(false));
        }
        for protocol in [libc::IPPROTO_MPTCP, libc::IPPROTO_SCTP, 136] {
            let load = Load { protocol, ..load };
            assert!(facts.is_bound_again(Call::Connect, load).is_err());
        }
        let raw = of(Protocol::Raw);
        assert!(raw.is_bound_again(Call::Connect, load).is_err());
        for state in [State::Busy, State::Unknown] {
            let facts = Facts { state, ..facts };
            assert!(facts.is_bound_again(Call::Connect, load).is_err());
        }
        let queue = Load {
            has_queue: true,
            ..load
        };
        assert!(facts.is_bound_again(Call::Connect, queue).is_err());
        let attachments = Load {
            has_attachments: true,
            ..load
        };
        assert!(facts.is_bound_again(Call::Bind, attachments).is_err());
    }

    #[test]
    fn a_port_is_bound_again_before_connect() {
        let load = Load {
            protocol: IPPROTO_TCP,
            holds_port: true,
            has_queue: false,
            has_attachments: false,
        };
        let bound = Facts {
            port: 7,
            ..of(Protocol::Tcp)
        };
        assert_eq!(bound.is_bound_again(Call::Connect, load), Ok(true));
        assert!(bound.is_bound_again(Call::Bind, load).is_err());
        let address = Facts {
            is_wildcard: false,
            ..bound
        };
        assert!(address.is_bound_again(Call::Connect, load).is_err());
        // Both left of a connection that has failed.
        let left = Load {
            holds_port: false,
            ..load
        };
        assert_eq!(address.is_bound_again(Call::Bind, left), Ok(false));
    }
}
