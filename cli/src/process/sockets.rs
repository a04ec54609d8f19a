//! The IP sockets of a process: which device each is bound to, and which VRF that device belongs to.
//!
//! 1. /proc/PID/fd tells which descriptors are sockets. This requires the right to read the process (PTRACE_MODE_READ,
//!    ptrace(2)).
//! 2. pidfd_getfd(2) duplicates each, and the duplicate, which is the same socket, is queried: family, type, protocol,
//!    addresses, SO_BINDTODEVICE. This requires the right to attach (PTRACE_MODE_ATTACH), which Yama's ptrace_scope
//!    refuses to users who may read.
//! 3. If this is refused, sock_diag(7) is queried in the process's network namespace; it reports the same by inode, but
//!    only for sockets that are in use. The others are shown with their protocol only (`system.sockprotoname`, since
//!    Linux 2.6.37): their device is not known.
//! 4. The VRF of a device is looked up in the network namespace of the socket, which may differ from that of the process,
//!    and from ours.
//!
//! A descriptor that is closed meanwhile is left out. Nothing else is: what cannot be known is shown as unknown.

use super::directory::Directory;
use super::netns::{DiagSocket, Links, Netns};
use crate::output::text;
use crate::sys::other_process;
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
    /// Its fd in the process.
    pub fd: RawFd,
    pub protocol: String,
    pub local: Option<Address>,
    pub peer: Option<Address>,
    pub device: Device,
    /// Whether it is in another network namespace than we.
    pub is_in_other_netns: bool,
    /// What decides about its rule, except the listener that it was accepted from ([`Reader::listener`]).
    pub seen: seen::Socket,
}

/// What a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// To no device.
    None,
    /// To a device, which is in this VRF.
    Bound(String, Vrf),
    /// To a deleted device: ENODEV.
    Deleted,
    /// The device cannot be read.
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

/// An address, and its port if the protocol has ports.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Address {
    pub address: String,
    pub port: Option<u16>,
}

/// The sockets of a process, and how they were read.
pub struct Sockets {
    pub method: Method,
    pub notes: Vec<String>,
    pub sockets: Vec<Socket>,
}

/// Reads sockets; caches what it has read about network namespaces.
#[derive(Default)]
pub struct Reader {
    links: HashMap<u64, Rc<Result<Links, Errno>>>,
    shown: HashMap<u64, Rc<Result<Vec<DiagSocket>, Errno>>>,
    ours: Option<Option<u64>>,
}

impl Reader {
    /// The IP sockets of the process. An error: its descriptors cannot be listed.
    pub fn read(&mut self, process: &Directory) -> Result<Sockets, Errno> {
        let listed = sockets_in(process)?;
        match self.read_by_pidfd_getfd(process, &listed) {
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) if !listed.is_empty() => {
                self.read_by_sock_diag(process, &listed)
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

    /// A device's own name, if `name` is an alternative one in the process's network namespace.
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

    /// The address of the listener that a stream with a peer was accepted from, if there is one of the same address
    /// and port, on
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
                self.diag_of_process(process).ok()?,
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

    /// Reads the sockets by duplicates.
    fn read_by_pidfd_getfd(
        &mut self,
        process: &Directory,
        listed: &[(RawFd, u32)],
    ) -> Result<Vec<Socket>, Errno> {
        let process = process.pidfd()?;
        let mut sockets = Vec::new();
        for &(fd, _) in listed {
            match other_process::pidfd_getfd(&process, fd) {
                Ok(duplicate) => sockets.extend(self.read_duplicate(fd, duplicate)?),
                Err(Errno::EBADF) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(sockets)
    }

    fn read_duplicate(&mut self, fd: RawFd, duplicate: OwnedFd) -> Result<Option<Socket>, Errno> {
        let number = |option| other_process::socket_option(&duplicate, option);
        let (domain, kind, protocol) = match number(libc::SO_DOMAIN) {
            Ok(domain) => (domain, number(libc::SO_TYPE)?, number(libc::SO_PROTOCOL)?),
            // The fd is another file by now.
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
                Device::Bound(name, vrf)
            }
            Err(Errno::ENODEV) => Device::Deleted,
            Err(_) => Device::Unknown,
        };
        // The type is used for its functions, which work for any IP socket.
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
                listens: other_process::socket_option(&socket, libc::SO_ACCEPTCONN) == Ok(1),
                listener: None,
            },
        }))
    }

    /// The devices of the socket's network namespace, and whether that is another one than ours.
    fn links_of(&mut self, socket: &OwnedFd) -> (Rc<Result<Links, Errno>>, bool) {
        let ours = *self.ours.get_or_insert_with(our_cookie);
        let cookie = other_process::netns_cookie(socket).ok();
        if cookie.is_some() && cookie == ours {
            return (self.links_at(HERE, || Ok(Netns::Current)), false);
        }
        // Before Linux 5.14 there is no cookie, and the namespace has to be opened to identify it.
        let netns = other_process::netns_of(socket);
        // If this is refused, all other namespaces are equally unknown.
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

    fn diag_of_process(
        &mut self,
        process: &Directory,
    ) -> Result<Rc<Result<Vec<DiagSocket>, Errno>>, Errno> {
        let (key, netns) = netns_of_process(process)?;
        let all = self.shown.entry(key);
        let all = all.or_insert_with(|| Rc::new(netns.and_then(|netns| netns.sockets())));
        Ok(Rc::clone(all))
    }

    /// Reads the sockets by sock_diag.
    fn read_by_sock_diag(
        &mut self,
        process: &Directory,
        listed: &[(RawFd, u32)],
    ) -> Result<Sockets, Errno> {
        let links = self.links_of_process(process)?;
        let (key, _) = netns_of_process(process)?;
        let all = self.diag_of_process(process)?;

        let mut notes = vec![
            "pidfd_getfd(2) is refused (by Yama, or without CAP_SYS_PTRACE): the sockets are those that sock_diag(7) \
             shows"
                .to_owned(),
        ];
        if let Err(errno) = &*all {
            notes.push(format!(
                "sock_diag(7) fails in its network namespace: {errno}"
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
                Some(one) => sockets.push(from_diag(fd, one, &links, key != HERE)),
                None => sockets.extend(from_protocol_name(process, fd, key != HERE)),
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

fn device_of(one: &DiagSocket, links: &Result<Links, Errno>) -> Device {
    match (one.device, links) {
        (0, _) => Device::None,
        (_, Err(_)) => Device::Unknown,
        (index, Ok(known)) => match known.name(index) {
            Some(name) => Device::Bound(name.to_owned(), vrf_of(links, name)),
            None => Device::Deleted,
        },
    }
}

fn from_diag(
    fd: RawFd,
    one: &DiagSocket,
    links: &Result<Links, Errno>,
    is_in_other_netns: bool,
) -> Socket {
    let is_raw = one.protocol == ProtocolName::Raw;
    let device = device_of(one, links);
    // In place of a port, sock_diag reports the protocol of a raw socket (inet_num).
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

/// An IP socket of which only the protocol can be read. None: it is no IP socket.
fn from_protocol_name(process: &Directory, fd: RawFd, is_in_other_netns: bool) -> Option<Socket> {
    let path = process.path(&format!("fd/{fd}"));
    let name = other_process::attribute(&path, c"system.sockprotoname").ok()?;
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

/// An address in the form of rules.
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

/// A socket's own address in the form of rules. A raw socket has its protocol's number in place of a port, and its
/// wildcard address need not come from a bind().
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

/// The key of our network namespace. Others have their inodes.
const HERE: u64 = 0;
const OUR_NETNS: &str = "/proc/self/ns/net";

/// A process's network namespace, and its key.
fn netns_of_process(process: &Directory) -> Result<(u64, Result<Netns, Errno>), Errno> {
    let path = process.path("ns/net");
    let theirs = inode(&path)?;
    if theirs == inode(Path::new(OUR_NETNS))? {
        return Ok((HERE, Ok(Netns::Current)));
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
    other_process::netns_cookie(socket.ok()?).ok()
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
