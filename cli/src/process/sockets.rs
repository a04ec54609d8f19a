//! The IP sockets of a process: which device each is bound to, and which VRF that device belongs to.
//!
//! 1. /proc/PID/fd says which descriptors are sockets. That takes the right to read the process
//!    (PTRACE_MODE_READ, ptrace(2)).
//! 2. pidfd_getfd(2) duplicates each, and the duplicate, which is the same socket, is asked: family, type,
//!    protocol, addresses, SO_BINDTODEVICE. That takes the right to attach (PTRACE_MODE_ATTACH), which
//!    Yama's ptrace_scope refuses to users to whom reading is allowed.
//! 3. Where that is refused, sock_diag(7) is asked in the process's network namespace; it shows the same by
//!    inode, but only of sockets that are in use. The others are shown by their protocol
//!    (`system.sockprotoname`, since Linux 2.6.37) and nothing else: their device is not known.
//! 4. The VRF of a device is looked up in the network namespace of the socket, which need not be that of
//!    the process, nor ours.
//!
//! A descriptor that is closed while this goes on is left out. Nothing else is: what is not to be known is
//! said to be unknown.

use super::directory::Directory;
use super::netns::{Links, Netns, Shown};
use crate::output::text;
use crate::sys::foreign;
use crate::values::{Method, ProtocolName};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use rules::list::{self, Protocol, seen};
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

/// A socket of a process.
pub struct Socket {
    /// Its number in that process.
    pub fd: RawFd,
    pub protocol: String,
    pub local: Option<Address>,
    pub peer: Option<Address>,
    pub device: Device,
    /// Whether it is in another network namespace than we.
    pub is_in_other_netns: bool,
    /// What decides about its rule, but for the listener that it was accepted from ([`Reader::listener`]).
    pub seen: seen::Socket,
}

/// What a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// To no device.
    None,
    /// To a device, which is in this VRF.
    Of(String, Vrf),
    /// To one that is there no more: ENODEV.
    Gone,
    /// That is not to be had.
    Unknown,
}

/// The VRF of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vrf {
    /// It is in none.
    None,
    /// It is this one, or enslaved to it.
    Name(String),
    /// Its network namespace cannot be entered.
    Unknown,
}

/// An address, and its port where the protocol has any.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Address {
    pub address: String,
    pub port: Option<u16>,
}

/// The sockets of a process, and how they were come by.
pub struct Sockets {
    pub method: Method,
    pub notes: Vec<String>,
    pub sockets: Vec<Socket>,
}

/// Reads sockets; keeps what it has learnt of network namespaces.
#[derive(Default)]
pub struct Reader {
    links: HashMap<u64, Rc<Result<Links, Errno>>>,
    shown: HashMap<u64, Rc<Result<Vec<Shown>, Errno>>>,
    ours: Option<Option<u64>>,
}

impl Reader {
    /// The IP sockets of the process. An error: its descriptors cannot be listed.
    pub fn read(&mut self, process: &Directory) -> Result<Sockets, Errno> {
        let listed = sockets_in(process)?;
        match self.duplicated(process, &listed) {
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) if !listed.is_empty() => {
                self.shown(process, &listed)
            }
            Err(errno) if !listed.is_empty() => Err(errno),
            result => Ok(Sockets {
                method: Method::PidfdGetfd,
                notes: Vec::new(),
                sockets: result.unwrap_or_default(),
            }),
        }
    }

    /// The VRF of a device, by its name in the process's network namespace, if there is such a device.
    pub fn vrf_of(&mut self, process: &Directory, device: &str) -> Option<Vrf> {
        match self.links_of_process(process).as_deref() {
            Ok(Ok(links)) if links.get(device).is_none() => None,
            Ok(links) => Some(vrf_of(links, device)),
            Err(_) => Some(Vrf::Unknown),
        }
    }

    /// A device's own name, where `name` is an alternative one in the process's network namespace.
    pub fn name_of(&mut self, process: &Directory, name: &str) -> String {
        let links = self.links_of_process(process);
        let link = match links.as_deref() {
            Ok(Ok(links)) => links.get(name),
            _ => None,
        };
        link.map_or(name, |link| &link.name).to_owned()
    }

    /// Whether the process is in our network namespace.
    pub fn is_here(&self, process: &Directory) -> bool {
        matches!(netns_of_process(process), Ok((HERE, _)))
    }

    /// The address of the listener that a stream with a peer was accepted from, if there is one of the same address and port, on
    /// the same device or on none: of the process itself, or of another one in its network namespace, as a parent.
    pub fn listener(
        &mut self,
        process: &Directory,
        socket: &Socket,
        others: &[Socket],
    ) -> Option<list::Address> {
        let own = socket.seen.own.filter(|_| socket.seen.peer.is_some())?;
        let takes = |address: &list::Address| {
            let is_v4 = |address: &list::Address| address.v4().is_some();
            let is_wildcard = address.is_wildcard() && (is_v4(&own) || !is_v4(address));
            address.port == own.port && (address.ip == own.ip || is_wildcard)
        };
        let is_same = |device: &Device| *device == socket.device || *device == Device::None;
        let is_stream = |protocol| protocol == socket.seen.protocol;
        let mut listeners: Vec<_> = others
            .iter()
            .filter(|other| {
                other.seen.listens && is_same(&other.device) && is_stream(other.seen.protocol)
            })
            .filter_map(|other| other.seen.own)
            .collect();
        listeners.retain(takes);
        if listeners.is_empty() {
            let (links, shown) = (
                self.links_of_process(process).ok()?,
                self.shown_of_process(process).ok()?,
            );
            let shown = shown.as_ref().as_ref().ok()?.iter();
            let shown = shown.filter(|one| one.listens && is_stream(one.protocol()));
            let shown = shown.filter(|one| is_same(&device_of(one, &links)));
            listeners.extend(shown.map(|one| address_of(one.local)).filter(takes));
        }
        let exact = listeners.iter().find(|address| address.ip == own.ip);
        exact.or(listeners.first()).copied()
    }

    /// The name of the loopback device.
    pub fn loopback(&mut self, process: &Directory) -> String {
        const LOOPBACK: u32 = 1; // LOOPBACK_IFINDEX, net/flow.h
        let links = self.links_of_process(process);
        let name = match links.as_deref() {
            Ok(Ok(links)) => links.name(LOOPBACK),
            _ => None,
        };
        name.unwrap_or("lo").to_owned()
    }

    /// By duplicates.
    fn duplicated(
        &mut self,
        process: &Directory,
        listed: &[(RawFd, u32)],
    ) -> Result<Vec<Socket>, Errno> {
        let process = process.pidfd()?;
        let mut sockets = Vec::new();
        for &(fd, _) in listed {
            match foreign::pidfd_getfd(&process, fd) {
                Ok(duplicate) => sockets.extend(self.of_duplicate(fd, duplicate)?),
                Err(Errno::EBADF) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(sockets)
    }

    fn of_duplicate(&mut self, fd: RawFd, duplicate: OwnedFd) -> Result<Option<Socket>, Errno> {
        let number = |option| foreign::socket_option(&duplicate, option);
        let (domain, kind, protocol) = match number(libc::SO_DOMAIN) {
            Ok(domain) => (domain, number(libc::SO_TYPE)?, number(libc::SO_PROTOCOL)?),
            // It has become another file meanwhile.
            Err(_) => return Ok(None),
        };
        if domain != libc::AF_INET && domain != libc::AF_INET6 {
            return Ok(None);
        }
        let (links, is_in_other_netns) = self.links_of(&duplicate);
        let device = match getsockopt(&duplicate, sockopt::BindToDevice) {
            Ok(name) if name.is_empty() => Device::None,
            Ok(name) => {
                let name = text(name.as_bytes());
                let vrf = vrf_of(&links, &name);
                Device::Of(name, vrf)
            }
            Err(Errno::ENODEV) => Device::Gone,
            Err(_) => Device::Unknown,
        };
        // The type is for its functions, which take any IP socket.
        let socket = UdpSocket::from(duplicate);
        let has_ports = kind != libc::SOCK_RAW;
        let address = |of: std::io::Result<SocketAddr>| {
            of.ok()
                .filter(|of| of.port() != 0 || !has_ports || !of.ip().is_unspecified())
        };
        let (local, peer) = (address(socket.local_addr()), address(socket.peer_addr()));
        let shown = |of| Address::new(of, has_ports, &links);
        Ok(Some(Socket {
            fd,
            protocol: name_of(kind, protocol),
            local: local.map(shown),
            peer: peer.map(shown),
            device,
            is_in_other_netns,
            seen: seen::Socket {
                protocol: Protocol::of(kind, protocol),
                own: local.and_then(|local| own_address(local, has_ports)),
                peer: peer.map(address_of),
                listens: foreign::socket_option(&socket, libc::SO_ACCEPTCONN) == Ok(1),
                listener: None,
            },
        }))
    }

    /// The devices of the socket's network namespace, and whether that is another one than ours.
    fn links_of(&mut self, socket: &OwnedFd) -> (Rc<Result<Links, Errno>>, bool) {
        let ours = *self.ours.get_or_insert_with(our_cookie);
        let cookie = foreign::netns_cookie(socket).ok();
        if cookie.is_some() && cookie == ours {
            return (self.links_at(HERE, || Ok(Netns::Ours)), false);
        }
        // Before Linux 5.14 there is no cookie, and the namespace has to be opened to know it.
        let netns = foreign::netns_of(socket);
        // Refused: all namespaces that are not ours are unknown in the same way.
        let key = netns.as_ref().map_or(u64::MAX, inode_of);
        let is_other = cookie.is_some() || Some(key) != inode(Path::new(OUR_NETNS)).ok();
        (self.links_at(key, || netns.map(Netns::Other)), is_other)
    }

    fn links_of_process(&mut self, process: &Directory) -> Result<Rc<Result<Links, Errno>>, Errno> {
        let (key, netns) = netns_of_process(process)?;
        Ok(self.links_at(key, || netns))
    }

    fn links_at(
        &mut self,
        key: u64,
        netns: impl FnOnce() -> Result<Netns, Errno>,
    ) -> Rc<Result<Links, Errno>> {
        let links = self.links.entry(key);
        Rc::clone(links.or_insert_with(|| Rc::new(netns().and_then(|netns| netns.links()))))
    }

    fn shown_of_process(
        &mut self,
        process: &Directory,
    ) -> Result<Rc<Result<Vec<Shown>, Errno>>, Errno> {
        let (key, netns) = netns_of_process(process)?;
        let all = self.shown.entry(key);
        let all = all.or_insert_with(|| Rc::new(netns.and_then(|netns| netns.sockets())));
        Ok(Rc::clone(all))
    }

    /// By sock_diag.
    fn shown(&mut self, process: &Directory, listed: &[(RawFd, u32)]) -> Result<Sockets, Errno> {
        let links = self.links_of_process(process)?;
        let (key, _) = netns_of_process(process)?;
        let all = self.shown_of_process(process)?;

        let mut notes = vec![
            "pidfd_getfd(2) is refused (by Yama, or for want of CAP_SYS_PTRACE): sockets as \
             sock_diag(7) shows them"
                .to_owned(),
        ];
        if let Err(errno) = &*all {
            notes.push(format!(
                "sock_diag(7) is not to be had in its network namespace: {errno}"
            ));
        }
        let mut sockets = Vec::new();
        for &(fd, inode) in listed {
            let found = all
                .as_ref()
                .as_ref()
                .ok()
                .and_then(|all| all.iter().find(|one| one.inode == inode));
            match found {
                Some(one) => sockets.push(of_shown(fd, one, &links, key != HERE)),
                None => sockets.extend(by_name(process, fd, key != HERE)),
            }
        }
        if sockets
            .iter()
            .any(|socket| socket.device == Device::Unknown)
        {
            notes.push(
                "sock_diag(7) does not show sockets that are not in use: their device is unknown"
                    .to_owned(),
            );
        }
        Ok(Sockets {
            method: Method::SockDiag,
            notes,
            sockets,
        })
    }
}

impl Address {
    fn new(of: SocketAddr, has_port: bool, links: &Result<Links, Errno>) -> Self {
        let mut address = of.ip().to_string();
        if let SocketAddr::V6(of) = of
            && of.scope_id() != 0
        {
            let name = links
                .as_ref()
                .ok()
                .and_then(|links| links.name(of.scope_id()));
            address.push('%');
            address.push_str(name.unwrap_or(&of.scope_id().to_string()));
        }
        Self {
            address,
            port: has_port.then_some(of.port()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.address),
            Some(port) if self.address.contains(':') => write!(f, "[{}]:{port}", self.address),
            Some(port) => write!(f, "{}:{port}", self.address),
        }
    }
}

/// The sockets among the descriptors of a process, with their inodes, in order.
fn sockets_in(process: &Directory) -> Result<Vec<(RawFd, u32)>, Errno> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir(process.path("fd")).map_err(|error| errno_of(&error))? {
        let entry = entry.map_err(|error| errno_of(&error))?;
        let target = match fs::read_link(entry.path()) {
            Ok(target) => target,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(errno_of(&error)),
        };
        let inode = target.to_str().and_then(|target| {
            target
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        });
        let fd = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        sockets.extend(fd.zip(inode));
    }
    sockets.sort_unstable();
    Ok(sockets)
}

fn device_of(one: &Shown, links: &Result<Links, Errno>) -> Device {
    match (one.device, links) {
        (0, _) => Device::None,
        (_, Err(_)) => Device::Unknown,
        (index, Ok(known)) => match known.name(index) {
            Some(name) => Device::Of(name.to_owned(), vrf_of(links, name)),
            None => Device::Gone,
        },
    }
}

fn of_shown(
    fd: RawFd,
    one: &Shown,
    links: &Result<Links, Errno>,
    is_in_other_netns: bool,
) -> Socket {
    let is_raw = one.protocol == ProtocolName::Raw;
    let device = device_of(one, links);
    // Where a port is expected, sock_diag shows the protocol of a raw socket (inet_num).
    let protocol = if is_raw {
        name_of(libc::SOCK_RAW, one.local.port().into())
    } else {
        one.protocol.word().to_owned()
    };
    let is_connected = !one.peer.ip().is_unspecified();
    Socket {
        fd,
        protocol,
        local: Some(Address::new(one.local, !is_raw, links)),
        peer: is_connected.then(|| Address::new(one.peer, !is_raw, links)),
        device,
        is_in_other_netns,
        seen: seen::Socket {
            protocol: one.protocol(),
            own: own_address(one.local, !is_raw),
            peer: is_connected.then(|| address_of(one.peer)),
            listens: one.listens,
            listener: None,
        },
    }
}

/// An IP socket of which only its protocol is to be had. Anything else is none.
fn by_name(process: &Directory, fd: RawFd, is_in_other_netns: bool) -> Option<Socket> {
    let path = process.path(&format!("fd/{fd}"));
    let name = foreign::attribute(&path, c"system.sockprotoname").ok()?;
    let name = String::from_utf8(name).ok()?;
    let name = name.trim_end_matches('\0');
    // The names of struct proto (/proc/net/protocols): "TCP", "TCPv6", "UDP-Lite", "UDPLITEv6", ...
    let protocol = match &*name.to_ascii_lowercase() {
        "tcp" | "tcpv6" => ProtocolName::Tcp,
        "udp" | "udpv6" => ProtocolName::Udp,
        "udp-lite" | "udplitev6" => ProtocolName::Udplite,
        "ping" => ProtocolName::Icmp,
        "pingv6" => ProtocolName::Icmp6,
        "sctp" | "sctpv6" => ProtocolName::Sctp,
        "mptcp" | "mptcpv6" => ProtocolName::Mptcp,
        "dccp" | "dccpv6" => ProtocolName::Dccp,
        "raw" | "rawv6" => ProtocolName::Raw,
        _ => return None,
    };
    Some(Socket {
        fd,
        protocol: protocol.word().to_owned(),
        local: None,
        peer: None,
        device: Device::Unknown,
        is_in_other_netns,
        seen: seen::Socket {
            protocol: None,
            own: None,
            peer: None,
            listens: false,
            listener: None,
        },
    })
}

/// An address as rules have it.
fn address_of(address: SocketAddr) -> list::Address {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    list::Address {
        ip: ip.to_bits(),
        port: address.port(),
    }
}

/// The same of a socket's own one. That of a raw socket has its protocol's number where others have a port, and where it is
/// the wildcard nobody may have named it.
fn own_address(address: SocketAddr, has_port: bool) -> Option<list::Address> {
    let own = address_of(address);
    match has_port {
        true => Some(own),
        false => (!own.is_wildcard()).then_some(list::Address { port: 0, ..own }),
    }
}

fn name_of(kind: libc::c_int, protocol: libc::c_int) -> String {
    let name = match protocol {
        libc::IPPROTO_ICMP => ProtocolName::Icmp.word(),
        libc::IPPROTO_TCP => ProtocolName::Tcp.word(),
        libc::IPPROTO_UDP => ProtocolName::Udp.word(),
        libc::IPPROTO_DCCP => ProtocolName::Dccp.word(),
        libc::IPPROTO_ICMPV6 => ProtocolName::Icmp6.word(),
        libc::IPPROTO_SCTP => ProtocolName::Sctp.word(),
        libc::IPPROTO_UDPLITE => ProtocolName::Udplite.word(),
        libc::IPPROTO_MPTCP => ProtocolName::Mptcp.word(),
        other => &other.to_string(),
    };
    match kind {
        libc::SOCK_RAW => format!("{name}/raw"),
        _ => name.to_owned(),
    }
}

fn vrf_of(links: &Result<Links, Errno>, device: &str) -> Vrf {
    match links {
        Err(_) => Vrf::Unknown,
        Ok(links) => links
            .vrf_of(device)
            .map_or(Vrf::None, |vrf| Vrf::Name(vrf.to_owned())),
    }
}

/// What stands for our network namespace. Others are known by their inodes.
const HERE: u64 = 0;
const OUR_NETNS: &str = "/proc/self/ns/net";

/// A process's network namespace, and what stands for it.
fn netns_of_process(process: &Directory) -> Result<(u64, Result<Netns, Errno>), Errno> {
    let path = process.path("ns/net");
    let theirs = inode(&path)?;
    if theirs == inode(Path::new(OUR_NETNS))? {
        return Ok((HERE, Ok(Netns::Ours)));
    }
    let netns = match File::open(&path) {
        Ok(file) => Ok(Netns::Other(file.into())),
        Err(error) => Err(errno_of(&error)),
    };
    Ok((theirs, netns))
}

fn inode(path: &Path) -> Result<u64, Errno> {
    match fs::metadata(path) {
        Ok(file) => Ok(file.ino()),
        Err(error) => Err(errno_of(&error)),
    }
}

fn inode_of(netns: &OwnedFd) -> u64 {
    nix::sys::stat::fstat(netns).map_or(u64::MAX, |stat| stat.st_ino)
}

/// The cookie of our own network namespace, by a socket that goes nowhere.
fn our_cookie() -> Option<u64> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags,
        SockProtocol::NetlinkRoute,
    );
    foreign::netns_cookie(socket.ok()?).ok()
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
