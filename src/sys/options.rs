//! What a program has set a socket to, as far as it can be read, and how another socket gets the same.
//!
//! Each option is read of both sockets, and set where they differ. What the new one then has is read again. Options that cannot
//! be read (memberships, filters, keys) are told by the memory that they take (SO_MEMINFO, since Linux 4.12).
//!
//! Not in the table are what reading changes (SO_ERROR, TCP_ZEROCOPY_RECEIVE), what the kernel sets or counts, and the device.

use super::{domain, setsockopt};
use core::ffi::c_int;
use libc::{
    AF_INET6, F_GETFL, F_SETFL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SO_RCVBUF, SO_SNDBUF,
    SOL_SOCKET, TCP_MAXSEG, socklen_t,
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
    words: [u32; 10],
    length: usize,
}

impl Value {
    /// None: this kernel does not have it, or not for this protocol.
    #[inline(never)]
    fn of(fd: c_int, level: c_int, option: c_int) -> Option<Self> {
        let mut words = [0; 10];
        // The kernel accepts no other length of this one.
        let mut length: socklen_t = match (level, option) {
            (SOL_SOCKET, SO_NETNS_COOKIE) => 8,
            _ => size_of_val(&words) as socklen_t,
        };
        let (to, size) = (words.as_mut_ptr(), &raw mut length);
        // SAFETY: the kernel writes at most `length` bytes to `words`, which has as many, and then `length`.
        unsafe { syscall!(Sysno::getsockopt, fd, level, option, to, size) }.ok()?;
        let length = length as usize;
        Some(Self { words, length })
    }

    #[inline(never)]
    fn is_of(&self, fd: c_int, level: c_int, option: c_int) -> bool {
        Self::of(fd, level, option).as_ref() == Some(self)
    }
}

/// Gives a fresh socket the options of another one, which is of the same family and protocol. Whether it has them.
pub fn copy(from: c_int, to: c_int, protocol: c_int) -> bool {
    let more = match protocol {
        IPPROTO_TCP => TCP.as_slice(),
        _ => &UDP,
    };
    // IP_TOS sets SO_PRIORITY too.
    copy_all(from, to, IPPROTO_IP, &IP)
        && (domain(from) != Ok(AF_INET6) || copy_all(from, to, IPPROTO_IPV6, &IPV6))
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
    if wanted.is_of(to, level, option) {
        return true;
    }
    let (mut value, length) = (wanted.words, wanted.length);
    if level == SOL_SOCKET && matches!(option, SO_SNDBUF | SO_RCVBUF) {
        // socket(7): the kernel doubles it.
        let [size, ..] = &mut value;
        *size /= 2;
    }
    // SAFETY: the kernel reads `length` bytes of `value`, which has as many.
    let _ = unsafe { setsockopt(to, level, option, value.as_ptr(), length) };
    // What a connection that has failed has left of its own reads as the program's, and is not for the program to set.
    (level, option) == (IPPROTO_TCP, TCP_MAXSEG) || wanted.is_of(to, level, option)
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
    let [received, _, sent, _, _, queued, options, backlog, ..] =
        Value::of(fd, SOL_SOCKET, SO_MEMINFO)?.words;
    Some(Memory {
        queued: received | sent | queued | backlog,
        options,
    })
}

/// Not in libc for all architectures (fcntl(2)).
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;
const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;

/// Gives a fresh socket the flags of the open file of another one, and who gets its signals (O_ASYNC). Whether it has them.
pub fn copy_flags(from: c_int, to: c_int) -> bool {
    // struct f_owner_ex: type, and who.
    let mut owner = [0_i32; 2];
    let owner = owner.as_mut_ptr().expose_provenance();
    [
        (F_GETOWN_EX, F_SETOWN_EX),
        (F_GETSIG, F_SETSIG),
        (F_GETFL, F_SETFL),
    ]
    .into_iter()
    .all(|(get, set)| {
        let Some(value) = fcntl(from, get, owner) else {
            return false;
        };
        let argument = if get == F_GETOWN_EX { owner } else { value };
        fcntl(to, set, argument).is_some()
    })
}

/// fcntl(2).
#[inline(never)]
pub fn fcntl(fd: c_int, command: c_int, argument: usize) -> Option<usize> {
    // SAFETY: the kernel reads or writes a struct f_owner_ex of the caller's, or takes a number.
    unsafe { syscall!(Sysno::fcntl, fd, command, argument) }.ok()
}
