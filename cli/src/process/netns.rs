//! A network namespace by netlink: its devices with their VRFs, and its sockets.
//!
//! A device's name and number have a meaning only in its network namespace, and /sys/class/net has the devices of the
//! namespace in which it was mounted. So both are queried by a netlink socket that was created in the namespace: a socket
//! stays in its namespace, wherever its thread goes. Entering another namespace (setns(2)) requires CAP_SYS_ADMIN there,
//! and is done by a thread that creates the socket and ends.
//!
//! A device's name may have any bytes except white space, '/' and ':'. The crate for these messages expects UTF-8, and
//! returns no device at all of a namespace that has one other name; so names are parsed here, as [`text`].

use crate::output::text;
use crate::values::ProtocolName;
use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use rules::list::Protocol;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

/// The namespace to query.
pub enum Netns {
    /// The namespace of this process.
    Current,
    /// The namespace of this descriptor.
    Other(OwnedFd),
}

impl Netns {
    /// The devices.
    pub fn links(&self) -> Result<Links, Errno> {
        let netlink = self.netlink(SockProtocol::NetlinkRoute)?;
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut links = Links::default();
        dump(&netlink, request, |NewLink(index, link)| {
            links.0.insert(index, link);
        })?;
        Ok(links)
    }

    /// Whether the rule of the table "local" (ip-rule(8)) comes before that of the VRFs, which is the default. Then a
    /// loopback address is routed to lo, even from a socket in a VRF that has this address.
    pub fn is_local_first(&self, family: AddressFamily) -> Result<bool, Errno> {
        const RT_TABLE_LOCAL: u32 = 255;
        let netlink = self.netlink(SockProtocol::NetlinkRoute)?;
        let mut request = RuleMessage::default();
        request.header.family = (family as i32 as u8).into();
        let (mut local, mut vrfs) = (u32::MAX, u32::MAX);
        dump(&netlink, RouteNetlinkMessage::GetRule(request), |message| {
            let RouteNetlinkMessage::NewRule(rule) = message else {
                return;
            };
            let (mut priority, mut table, mut is_of_vrfs) = (0, rule.header.table.into(), false);
            for attribute in rule.attributes {
                match attribute {
                    RuleAttribute::Priority(number) => priority = number,
                    RuleAttribute::Table(number) => table = number,
                    RuleAttribute::L3MDev(is) => is_of_vrfs = is,
                    _ => {}
                }
            }
            if is_of_vrfs {
                vrfs = vrfs.min(priority);
            } else if table == RT_TABLE_LOCAL {
                local = local.min(priority);
            }
        })?;
        Ok(local < vrfs)
    }

    /// The IP sockets that have a port or a protocol: sock_diag(7) reports no others, neither sockets that have not been
    /// used yet, nor ICMP datagram sockets.
    pub fn sockets(&self) -> Result<Vec<DiagSocket>, Errno> {
        const PROTOCOLS: [(libc::c_int, ProtocolName); 5] = [
            (libc::IPPROTO_TCP, ProtocolName::Tcp),
            (libc::IPPROTO_UDP, ProtocolName::Udp),
            (libc::IPPROTO_UDPLITE, ProtocolName::Udplite),
            (libc::IPPROTO_SCTP, ProtocolName::Sctp),
            (libc::IPPROTO_RAW, ProtocolName::Raw),
        ];
        let netlink = self.netlink(SockProtocol::NetlinkSockDiag)?;
        let mut sockets = Vec::new();
        for (number, protocol) in PROTOCOLS {
            for (family, socket_id) in [
                (libc::AF_INET, SocketId::new_v4()),
                (libc::AF_INET6, SocketId::new_v6()),
            ] {
                let request = SockDiagMessage::InetRequest(InetRequest {
                    family: family as u8,
                    protocol: number as u8,
                    extensions: ExtensionFlags::empty(),
                    states: StateFlags::all(),
                    socket_id,
                });
                let asked = dump(&netlink, request, |message| {
                    if let SockDiagMessage::InetResponse(response) = message {
                        let id = &response.header.socket_id;
                        sockets.push(DiagSocket {
                            inode: response.header.inode,
                            protocol,
                            local: SocketAddr::new(id.source_address, id.source_port),
                            peer: SocketAddr::new(id.destination_address, id.destination_port),
                            device: id.interface_id,
                            listens: response.header.state == TCP_LISTEN,
                        });
                    }
                });
                match asked {
                    // The kernel lacks this protocol, or its part of sock_diag.
                    Ok(()) | Err(Errno::ENOENT | Errno::EINVAL | Errno::EOPNOTSUPP) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(sockets)
    }

    fn netlink(&self, protocol: SockProtocol) -> Result<OwnedFd, Errno> {
        let make = || {
            let flags = SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)
        };
        match self {
            Self::Current => make(),
            Self::Other(netns) => thread::scope(|scope| {
                let made = scope.spawn(|| {
                    setns(netns, CloneFlags::CLONE_NEWNET)?;
                    make()
                });
                made.join().unwrap_or(Err(Errno::EAGAIN))
            }),
        }
    }
}

/// A socket as reported by sock_diag(7).
pub struct DiagSocket {
    /// The number in `socket:[...]`, the link in /proc/PID/fd.
    pub inode: u32,
    pub protocol: ProtocolName,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// The number of the device it is bound to (idiag_if), or 0.
    pub device: u32,
    pub listens: bool,
}

/// The state of a listening socket, of SCTP too (include/net/tcp_states.h).
const TCP_LISTEN: u8 = 10;

impl DiagSocket {
    /// Its protocol for rules. An MPTCP socket is reported as the TCP sockets of which it consists.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.protocol {
            ProtocolName::Tcp => Some(Protocol::Tcp),
            ProtocolName::Udp | ProtocolName::Udplite => Some(Protocol::Udp),
            ProtocolName::Sctp => Some(Protocol::Sctp),
            ProtocolName::Raw => Some(Protocol::Raw),
            _ => None,
        }
    }
}

/// The devices of a namespace, by number.
#[derive(Default)]
pub struct Links(BTreeMap<u32, Link>);

/// A device.
#[derive(Default)]
pub struct Link {
    pub name: String,
    /// Its alternative names (ip-link(8), property), since Linux 5.5. The kernel accepts them as names if they are short
    /// enough.
    pub other_names: Vec<String>,
    /// The number of the device it is enslaved to.
    pub master: Option<u32>,
    /// The routing table, if it is a VRF.
    pub table: Option<u32>,
    pub is_up: bool,
}

/// RTM_NEWLINK: a device and its number.
struct NewLink(u32, Link);

impl NetlinkDeserializable for NewLink {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let header = LinkHeader::parse(payload)?;
        let mut link = Link {
            is_up: header.flags.contains(LinkFlags::Up),
            ..Link::default()
        };
        for (kind, value) in attributes(payload.get(LINK_HEADER..).unwrap_or_default()) {
            match kind {
                libc::IFLA_IFNAME => link.name = name(value),
                libc::IFLA_MASTER => link.master = number(value).filter(|master| *master != 0),
                libc::IFLA_LINKINFO => link.table = vrf_table(value),
                libc::IFLA_PROP_LIST => {
                    let names =
                        attributes(value).filter(|(kind, _)| *kind == libc::IFLA_ALT_IFNAME);
                    link.other_names.extend(names.map(|(_, value)| name(value)));
                }
                _ => {}
            }
        }
        Ok(Self(header.index, link))
    }
}

/// Size of struct ifinfomsg, rtnetlink(7).
const LINK_HEADER: usize = 16;

/// Size of struct nlattr, netlink(7).
const ATTRIBUTE_HEADER: usize = 4;

/// The attributes in these bytes, up to the first broken one.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let attributes = NlasIterator::new(bytes).map_while(Result::ok);
    attributes.filter_map(|attribute| {
        let (kind, length) = (attribute.kind(), attribute.length());
        let value = attribute
            .into_inner()
            .get(ATTRIBUTE_HEADER..length.into())?;
        Some((kind, value))
    })
}

fn name(value: &[u8]) -> String {
    text(value.split(|byte| *byte == 0).next().unwrap_or_default())
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}

/// The routing table in IFLA_LINKINFO, if it is of a VRF.
fn vrf_table(info: &[u8]) -> Option<u32> {
    const IFLA_VRF_TABLE: u16 = 1;
    let find = |bytes, wanted| attributes(bytes).find(|(kind, _)| *kind == wanted);
    let (_, kind) = find(info, libc::IFLA_INFO_KIND)?;
    (name(kind) == "vrf").then(|| {
        let (_, data) = find(info, libc::IFLA_INFO_DATA)?;
        number(find(data, IFLA_VRF_TABLE)?.1)
    })?
}

impl Links {
    /// The device of this name, which may be an alternative one.
    pub fn get(&self, name: &str) -> Option<&Link> {
        let has_other = |link: &&Link| link.other_names.iter().any(|other| other == name);
        let mut links = self.0.values();
        links
            .clone()
            .find(|link| link.name == name)
            .or_else(|| links.find(has_other))
    }

    /// The name of the device of this number.
    pub fn name(&self, index: u32) -> Option<&str> {
        self.0.get(&index).map(|link| link.name.as_str())
    }

    /// The VRF that the device of this name is, or is enslaved to. Only one step of master counts, as in the kernel
    /// (l3mdev_master_ifindex_rcu, net/l3mdev/l3mdev.c): a port of a bridge in a VRF is not in it.
    pub fn vrf_of(&self, device: &str) -> Option<&str> {
        let link = self.get(device)?;
        if link.table.is_some() {
            return Some(&link.name);
        }
        let master = self.0.get(&link.master?)?;
        master.table.is_some().then_some(master.name.as_str())
    }

    /// The devices that are in the VRF: the VRF itself, and the devices enslaved to it.
    pub fn of_vrf<'a>(&'a self, vrf: &'a str) -> impl Iterator<Item = (u32, &'a Link)> + 'a {
        self.0
            .iter()
            .filter(move |(_, link)| self.vrf_of(&link.name) == Some(vrf))
            .map(|(index, link)| (*index, link))
    }

    /// The VRFs.
    pub fn vrfs(&self) -> impl Iterator<Item = &Link> {
        self.0.values().filter(|link| link.table.is_some())
    }
}

/// Sends the request, and passes each message of the answer to `take`.
fn dump<A: NetlinkDeserializable>(
    netlink: &OwnedFd,
    request: impl NetlinkSerializable,
    mut take: impl FnMut(A),
) -> Result<(), Errno> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(netlink.as_raw_fd(), &bytes, MsgFlags::empty())?;

    // The kernel fills at most 32 KiB at once (netlink_dump, net/netlink/af_netlink.c).
    let mut bytes = vec![0; 65536];
    loop {
        let length = recv(netlink.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
        if each_message(bytes.get(..length).unwrap_or_default(), &mut take)? {
            return Ok(());
        }
    }
}

/// Passes each message in these bytes to `take`. True: that was the last part of the answer.
fn each_message<A: NetlinkDeserializable>(
    mut rest: &[u8],
    take: &mut impl FnMut(A),
) -> Result<bool, Errno> {
    while !rest.is_empty() {
        let message = NetlinkMessage::<A>::deserialize(rest).map_err(|_| Errno::EBADMSG)?;
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => {
                return Err(Errno::from_raw(error.raw_code().wrapping_neg()));
            }
            NetlinkPayload::InnerMessage(message) => take(message),
            _ => {}
        }
        // Messages are aligned to 4 bytes (NLMSG_ALIGN).
        let next = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        let link = |name: &str, master, table| Link {
            name: name.to_owned(),
            other_names: vec![format!("{name}-too")],
            master,
            table,
            is_up: true,
        };
        Links(BTreeMap::from([
            (1, link("lo", None, None)),
            (2, link("blue", None, Some(101))),
            (3, link("br-blue", Some(2), None)),
            (4, link("port", Some(3), None)),
            (5, link("lost", Some(9), None)),
        ]))
    }

    #[test]
    fn one_step_of_master_leads_to_the_vrf() {
        let links = links();
        assert_eq!(links.vrf_of("blue"), Some("blue"));
        assert_eq!(links.vrf_of("br-blue"), Some("blue"));
        assert_eq!(links.vrf_of("blue-too"), Some("blue"));
        assert_eq!(links.vrf_of("br-blue-too"), Some("blue"));
        for outside in ["lo", "port", "lost", "not there"] {
            assert_eq!(links.vrf_of(outside), None, "{outside}");
        }
        let inside: Vec<_> = links.of_vrf("blue").map(|(index, _)| index).collect();
        assert_eq!(inside, [2, 3]);
    }

    #[test]
    fn finds_lo_in_this_namespace() {
        let links = Netns::Current.links().unwrap();
        assert_eq!(links.name(1), Some("lo"));
        assert_eq!(links.vrf_of("lo"), None);
    }

    #[test]
    fn finds_a_listener_of_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let shown = Netns::Current.sockets().unwrap();
        let found: Vec<_> = shown.iter().filter(|one| one.local == local).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].protocol, found[0].device), (ProtocolName::Tcp, 0));
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len() as u16;
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend([kind.to_ne_bytes(), [0; 2]].concat());
        bytes.extend([0; 8]);
        bytes.extend(payload);
        bytes
    }

    /// RTM_NEWLINK of a VRF that is up.
    fn new_link(index: u32, name: &[u8], other: &[u8]) -> Vec<u8> {
        const UP: u32 = 1;
        let mut payload = vec![0; 4];
        payload.extend([index, UP, 0].map(u32::to_ne_bytes).concat());
        payload.extend(attribute(libc::IFLA_IFNAME, &[name, &[0]].concat()));
        payload.extend(attribute(libc::IFLA_MASTER, &0_u32.to_ne_bytes()));
        let other = attribute(libc::IFLA_ALT_IFNAME, &[other, &[0]].concat());
        payload.extend(attribute(libc::IFLA_PROP_LIST | NESTED, &other));
        let table = attribute(1, &101_u32.to_ne_bytes());
        let mut info = attribute(libc::IFLA_INFO_KIND, b"vrf\0");
        info.extend(attribute(libc::IFLA_INFO_DATA, &table));
        payload.extend(attribute(libc::IFLA_LINKINFO, &info));
        message(libc::RTM_NEWLINK, &payload)
    }
    const NESTED: u16 = 0x8000;

    /// The answer of sock_diag(7) about one socket.
    fn socket_shown() -> Vec<u8> {
        const SOCK_DIAG_BY_FAMILY: u16 = 20;
        let mut payload = vec![0; 72];
        payload[0] = libc::AF_INET as u8;
        message(SOCK_DIAG_BY_FAMILY, &payload)
    }

    #[test]
    fn a_name_that_is_not_utf_8_hides_no_other_device() {
        let answer = [
            new_link(7, b"v\xff", b"w\xff"),
            new_link(8, b"blue", b"azul"),
        ]
        .concat();
        let mut links = Links::default();
        let last = each_message(&answer, &mut |NewLink(index, link)| {
            links.0.insert(index, link);
        });
        assert_eq!(last, Ok(false));
        assert_eq!(links.name(7), Some("v\\xff"));
        assert_eq!(links.vrf_of("w\\xff"), Some("v\\xff"));
        assert_eq!(links.vrf_of("azul"), Some("blue"));
        let blue = links.get("blue").unwrap();
        assert_eq!(
            (blue.table, blue.master, blue.is_up),
            (Some(101), None, true)
        );
    }

    #[test]
    fn mutated_answers() {
        let links = [new_link(7, b"v\xff", b"w"), new_link(8, b"blue", b"azul")].concat();
        let end = message(libc::NLMSG_DONE as u16, &[0; 4]);
        let valid = [links, [socket_shown(), end].concat()];
        crate::fuzz::each_input(&valid.each_ref().map(Vec::as_slice), |bytes| {
            let _ = each_message(bytes, &mut |NewLink(..)| {});
            let _ = each_message(bytes, &mut |_: SockDiagMessage| {});
        });
    }
}
