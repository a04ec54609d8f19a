//! A network namespace as netlink shows it: its devices with their VRFs, and its sockets.
//!
//! A device's name and number mean something in its network namespace only, and /sys/class/net shows the
//! one it was mounted in. So both are asked for over a netlink socket that was made in the namespace: a
//! socket stays where it was made, wherever its thread goes. Entering another namespace (setns(2)) takes
//! CAP_SYS_ADMIN there, and is done by a thread that makes the socket and ends.

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

/// Where to ask.
pub enum Netns {
    /// The namespace of this process.
    Ours,
    /// The one that this descriptor is of.
    Other(OwnedFd),
}

impl Netns {
    /// The devices.
    pub fn links(&self) -> Result<Links, Errno> {
        let netlink = self.netlink(SockProtocol::NetlinkRoute)?;
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut links = Links::default();
        dump(&netlink, request, |message| {
            if let RouteNetlinkMessage::NewLink(message) = message {
                links.0.insert(message.header.index, Link::new(message));
            }
        })?;
        Ok(links)
    }

    /// The IP sockets that have a port or a protocol, which is all that sock_diag(7) shows: not one that
    /// was made and not yet used, and no ICMP datagram socket.
    pub fn sockets(&self) -> Result<Vec<Shown>, Errno> {
        const PROTOCOLS: [(libc::c_int, &str); 5] = [
            (libc::IPPROTO_TCP, "tcp"),
            (libc::IPPROTO_UDP, "udp"),
            (libc::IPPROTO_UDPLITE, "udplite"),
            (libc::IPPROTO_SCTP, "sctp"),
            (libc::IPPROTO_RAW, "raw"),
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
                        sockets.push(Shown {
                            inode: response.header.inode,
                            protocol,
                            local: SocketAddr::new(id.source_address, id.source_port),
                            peer: SocketAddr::new(id.destination_address, id.destination_port),
                            device: id.interface_id,
                        });
                    }
                });
                match asked {
                    // A kernel without this protocol, or without its part of sock_diag.
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
            Self::Ours => make(),
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

/// A socket as sock_diag(7) shows it.
pub struct Shown {
    /// The number in `socket:[...]`, the link in /proc/PID/fd.
    pub inode: u32,
    pub protocol: &'static str,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// The number of the device it is bound to (idiag_if), or 0.
    pub device: u32,
}

/// The devices of a namespace, by number.
#[derive(Default)]
pub struct Links(BTreeMap<u32, Link>);

/// A device.
pub struct Link {
    pub name: String,
    /// The number of the device it is enslaved to.
    pub master: Option<u32>,
    /// The routing table, if it is a VRF.
    pub table: Option<u32>,
    pub is_up: bool,
}

impl Link {
    fn new(message: LinkMessage) -> Self {
        let mut link = Self {
            name: String::new(),
            master: None,
            table: None,
            is_up: message.header.flags.contains(LinkFlags::Up),
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Controller(0) => {}
                LinkAttribute::Controller(master) => link.master = Some(master),
                LinkAttribute::LinkInfo(info) => link.table = vrf_table(&info),
                _ => {}
            }
        }
        link
    }
}

fn vrf_table(info: &[LinkInfo]) -> Option<u32> {
    info.contains(&LinkInfo::Kind(InfoKind::Vrf)).then(|| {
        let data = info.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Vrf(data)) => Some(data),
            _ => None,
        });
        data.into_iter()
            .flatten()
            .find_map(|data| match data {
                InfoVrf::TableId(table) => Some(*table),
                _ => None,
            })
            .unwrap_or(0)
    })
}

impl Links {
    /// The device of this name.
    pub fn get(&self, name: &str) -> Option<&Link> {
        self.0.values().find(|link| link.name == name)
    }

    /// The name of the device of this number.
    pub fn name(&self, index: u32) -> Option<&str> {
        self.0.get(&index).map(|link| link.name.as_str())
    }

    /// The VRF that the device of this name is or is enslaved to. One step of master and no more, as in the
    /// kernel (l3mdev_master_ifindex_rcu, net/l3mdev/l3mdev.c): a port of a bridge in a VRF is not in it.
    pub fn vrf_of(&self, device: &str) -> Option<&str> {
        let link = self.get(device)?;
        if link.table.is_some() {
            return Some(&link.name);
        }
        let master = self.0.get(&link.master?)?;
        master.table.is_some().then_some(master.name.as_str())
    }

    /// The devices that are in the VRF: itself, and what is enslaved to it.
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

/// Sends the request, and hands each message of the answer to `take`.
pub fn dump<T>(netlink: &OwnedFd, request: T, mut take: impl FnMut(T)) -> Result<(), Errno>
where
    T: NetlinkSerializable + NetlinkDeserializable,
{
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
        let mut rest = bytes.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let message = NetlinkMessage::<T>::deserialize(rest).map_err(|_| Errno::EBADMSG)?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(Errno::from_raw(-error.raw_code())),
                NetlinkPayload::InnerMessage(message) => take(message),
                _ => {}
            }
            // Messages are aligned to 4 bytes (NLMSG_ALIGN).
            let next = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(next..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        let link = |name: &str, master, table| Link {
            name: name.to_owned(),
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
        for outside in ["lo", "port", "lost", "not there"] {
            assert_eq!(links.vrf_of(outside), None, "{outside}");
        }
        let inside: Vec<_> = links.of_vrf("blue").map(|(index, _)| index).collect();
        assert_eq!(inside, [2, 3]);
    }

    #[test]
    fn finds_lo_in_this_namespace() {
        let links = Netns::Ours.links().unwrap();
        assert_eq!(links.name(1), Some("lo"));
        assert_eq!(links.vrf_of("lo"), None);
    }

    #[test]
    fn finds_a_listener_of_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let shown = Netns::Ours.sockets().unwrap();
        let found: Vec<_> = shown.iter().filter(|one| one.local == local).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].protocol, found[0].device), ("tcp", 0));
    }
}
