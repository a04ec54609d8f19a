//! What a program has set a socket to, as far as it can be read, and how another socket gets the same.
//!
//! Each option is read of both sockets, and set where they differ. What the new one then has is read again. Options that cannot
//! be read (memberships, filters, keys) are told by the memory that they take (SO_MEMINFO, since Linux 4.12).
//!
//! Not in the table are what reading changes (SO_ERROR, TCP_ZEROCOPY_RECEIVE), what the kernel sets or counts, and the device.

use super::state::protocol_number;
use super::{domain, getsockopt, setsockopt};
use core::ffi::c_int;
use libc::{
    AF_INET6, F_GETFL, F_SETFL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SO_RCVBUF, SO_SNDBUF,
    SOL_SOCKET, TCP_MAXSEG,
};
use syscalls::{Sysno, syscall};

// The numbers of options, which are the same on all architectures that are known here.

/// TOS TTL OPTIONS RECVOPTS RETOPTS PKTINFO MTU_DISCOVER RECVERR RECVTTL RECVTOS FREEBIND PASSSEC TRANSPARENT RECVORIGDSTADDR
/// MINTTL NODEFRAG CHECKSUM BIND_ADDRESS_NO_PORT RECVFRAGSIZE RECVERR_RFC4884 MULTICAST_IF MULTICAST_TTL MULTICAST_LOOP
/// MULTICAST_ALL UNICAST_IF LOCAL_PORT_RANGE
const IP: [u8; 26] = [
    1, 2, 4, 6, 7, 8, 10, 11, 12, 13, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 32, 33, 34, 49, 50,
    51,
];

/// 2292PKTINFO 2292HOPOPTS 2292DSTOPTS 2292RTHDR 2292HOPLIMIT FLOWINFO UNICAST_HOPS MULTICAST_IF MULTICAST_HOPS MULTICAST_LOOP
/// ROUTER_ALERT MTU_DISCOVER RECVERR V6ONLY MULTICAST_ALL RECVERR_RFC4884 FLOWINFO_SEND RECVPKTINFO RECVHOPLIMIT
/// RECVHOPOPTS RECVRTHDR RECVDSTOPTS RECVPATHMTU DONTFRAG RECVTCLASS TCLASS AUTOFLOWLABEL ADDR_PREFERENCES MINHOPCOUNT
/// RECVORIGDSTADDR TRANSPARENT UNICAST_IF RECVFRAGSIZE FREEBIND
const IPV6: [u8; 34] = [
    2, 3, 4, 5, 8, 11, 16, 17, 18, 19, 22, 23, 25, 26, 29, 31, 33, 49, 51, 53, 56, 58, 60, 62, 66,
    67, 70, 72, 73, 74, 75, 76, 77, 78,
];

/// NODELAY MAXSEG CORK KEEPIDLE KEEPINTVL KEEPCNT SYNCNT LINGER2 DEFER_ACCEPT WINDOW_CLAMP QUICKACK CONGESTION
/// THIN_LINEAR_TIMEOUTS USER_TIMEOUT REPAIR FASTOPEN NOTSENT_LOWAT SAVE_SYN FASTOPEN_CONNECT ULP FASTOPEN_KEY FASTOPEN_NO_COOKIE
/// INQ TX_DELAY RTO_MAX_MS RTO_MIN_US DELACK_MAX_US
const TCP: [u8; 27] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 16, 18, 19, 23, 25, 27, 30, 31, 33, 34, 36, 37, 44, 45,
    46,
];

/// CORK ENCAP NO_CHECK6_TX NO_CHECK6_RX SEGMENT GRO
const UDP: [u8; 6] = [1, 100, 101, 102, 103, 104];

/// DEBUG REUSEADDR DONTROUTE BROADCAST SNDBUF RCVBUF KEEPALIVE OOBINLINE NO_CHECK PRIORITY LINGER REUSEPORT PASSCRED RCVLOWAT
/// TIMESTAMP PASSSEC TIMESTAMPNS MARK TIMESTAMPING RXQ_OVFL WIFI_STATUS PEEK_OFF NOFCS LOCK_FILTER SELECT_ERR_QUEUE
/// BUSY_POLL MAX_PACING_RATE INCOMING_CPU ZEROCOPY TXTIME TIMESTAMP_NEW TIMESTAMPNS_NEW TIMESTAMPING_NEW RCVTIMEO_NEW
/// SNDTIMEO_NEW PREFER_BUSY_POLL BUSY_POLL_BUDGET NETNS_COOKIE BUF_LOCK RESERVE_MEM TXREHASH RCVMARK RCVPRIORITY
const SOCKET: [u8; 43] = [
    1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 18, 29, 34, 35, 36, 37, 40, 41, 42, 43, 44, 45,
    46, 47, 49, 60, 61, 63, 64, 65, 66, 67, 69, 70, 71, 72, 73, 74, 75, 82,
];

const SO_MEMINFO: c_int = 55;

/// Since Linux 5.14. Read only: which network namespace the socket is in.
const SO_NETNS_COOKIE: c_int = 71;

/// What an option is set to. As long as the longest, IP_OPTIONS.
#[derive(PartialEq, Eq)]
struct Value {
    bytes: [u8; 40],
    length: usize,
}

impl Value {
    /// None: this kernel does not have it, or not for this protocol.
    #[inline(never)]
    fn of(fd: c_int, level: c_int, option: c_int) -> Option<Self> {
        let mut bytes = [0; 40];
        // The kernel accepts no other length of this one.
        let size = match (level, option) {
            (SOL_SOCKET, SO_NETNS_COOKIE) => 8,
            _ => bytes.len(),
        };
        let length = getsockopt(fd, level, option, bytes.get_mut(..size)?).ok()? as usize;
        Some(Self { bytes, length })
    }

    fn word(&self, index: usize) -> u32 {
        let bytes = self.bytes.get(4 * index..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }
}

/// Gives a fresh socket the options of another one, which is of the same family and protocol. Whether it has them.
pub fn copy(from: c_int, to: c_int) -> bool {
    let (Ok(domain), Ok(protocol)) = (domain(from), protocol_number(from)) else {
        return false;
    };
    let more = match protocol {
        IPPROTO_TCP => TCP.as_slice(),
        _ => &UDP,
    };
    // IP_TOS sets SO_PRIORITY too.
    copy_all(from, to, IPPROTO_IP, &IP)
        && (domain != AF_INET6 || copy_all(from, to, IPPROTO_IPV6, &IPV6))
        && copy_all(from, to, protocol, more)
        && copy_all(from, to, SOL_SOCKET, &SOCKET)
}

#[inline(never)]
fn copy_all(from: c_int, to: c_int, level: c_int, options: &[u8]) -> bool {
    let mut options = options.iter().map(|option| c_int::from(*option));
    options.all(|option| copy_one(from, to, level, option))
}

fn copy_one(from: c_int, to: c_int, level: c_int, option: c_int) -> bool {
    let Some(wanted) = Value::of(from, level, option) else {
        return true;
    };
    let has_it = || Value::of(to, level, option).as_ref() == Some(&wanted);
    if has_it() {
        return true;
    }
    let (halved, length) = ([wanted.word(0) / 2], wanted.length);
    let value = match (level, option) {
        // socket(7): the kernel doubles it.
        (SOL_SOCKET, SO_SNDBUF | SO_RCVBUF) => halved.as_ptr().cast(),
        _ => wanted.bytes.as_ptr(),
    };
    // SAFETY: the kernel reads `length` bytes there, which are 4 of a buffer's size.
    let _ = unsafe { setsockopt(to, level, option, value, length) };
    // What a connection that has failed has left of its own reads as the program's, and is not for the program to set.
    (level, option) == (IPPROTO_TCP, TCP_MAXSEG) || has_it()
}

/// Memory that a socket takes, in bytes.
pub struct Memory {
    /// For data and errors.
    pub queued: u32,
    /// For options.
    pub options: u32,
}

/// SO_MEMINFO (linux/sock_diag.h): received, rcvbuf, sent, sndbuf, forward, queued, options, backlog, drops.
pub fn memory(fd: c_int) -> Option<Memory> {
    let value = Value::of(fd, SOL_SOCKET, SO_MEMINFO)?;
    Some(Memory {
        queued: value.word(0) | value.word(2) | value.word(5) | value.word(7),
        options: value.word(6),
    })
}

/// Not in libc for all architectures (fcntl(2)).
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;
const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;

/// Gives a fresh socket the flags of the open file of another one, and who gets its signals (O_ASYNC). Whether it has them.
pub fn copy_flags(from: c_int, to: c_int) -> bool {
    let copy = || {
        // struct f_owner_ex: type, and who.
        let mut owner = [0_i32; 2];
        let pointer = owner.as_mut_ptr().expose_provenance();
        fcntl(from, F_GETOWN_EX, pointer)?;
        if owner != [0; 2] {
            fcntl(to, F_SETOWN_EX, pointer)?;
        }
        fcntl(to, F_SETSIG, fcntl(from, F_GETSIG, 0)?)?;
        fcntl(to, F_SETFL, fcntl(from, F_GETFL, 0)?)
    };
    copy().is_some()
}

/// fcntl(2).
#[inline(never)]
pub fn fcntl(fd: c_int, command: c_int, argument: usize) -> Option<usize> {
    // SAFETY: the kernel reads or writes a struct f_owner_ex of the caller's, or takes a number.
    unsafe { syscall!(Sysno::fcntl, fd, command, argument) }.ok()
}
