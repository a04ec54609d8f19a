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
    AF_INET6, F_GETFL, F_SETFL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, SO_RCVBUF,
    SO_SNDBUF, SOL_SOCKET, TCP_MAXSEG,
};
use syscalls::{Errno, Sysno, syscall};

/// The numbers of options, which are the same on all architectures that are known here. The order of the rows is that of
/// setting: IP_TOS sets SO_PRIORITY too.
const OPTIONS: [(c_int, u128); 5] = [
    (
        IPPROTO_IP,
        // TOS TTL OPTIONS RECVOPTS RETOPTS PKTINFO MTU_DISCOVER RECVERR RECVTTL RECVTOS FREEBIND PASSSEC TRANSPARENT
        // RECVORIGDSTADDR MINTTL NODEFRAG CHECKSUM BIND_ADDRESS_NO_PORT RECVFRAGSIZE RECVERR_RFC4884 MULTICAST_IF
        // MULTICAST_TTL MULTICAST_LOOP MULTICAST_ALL UNICAST_IF LOCAL_PORT_RANGE
        numbers(&[
            1, 2, 4, 6, 7, 8, 10, 11, 12, 13, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 32, 33, 34,
            49, 50, 51,
        ]),
    ),
    (
        IPPROTO_IPV6,
        // 2292PKTINFO 2292HOPOPTS 2292DSTOPTS 2292RTHDR 2292HOPLIMIT FLOWINFO UNICAST_HOPS MULTICAST_IF MULTICAST_HOPS
        // MULTICAST_LOOP ROUTER_ALERT MTU_DISCOVER RECVERR V6ONLY MULTICAST_ALL RECVERR_RFC4884 FLOWINFO_SEND RECVPKTINFO
        // RECVHOPLIMIT RECVHOPOPTS RECVRTHDR RECVDSTOPTS RECVPATHMTU DONTFRAG RECVTCLASS TCLASS AUTOFLOWLABEL
        // ADDR_PREFERENCES MINHOPCOUNT RECVORIGDSTADDR TRANSPARENT UNICAST_IF RECVFRAGSIZE FREEBIND
        numbers(&[
            2, 3, 4, 5, 8, 11, 16, 17, 18, 19, 22, 23, 25, 26, 29, 31, 33, 49, 51, 53, 56, 58, 60,
            62, 66, 67, 70, 72, 73, 74, 75, 76, 77, 78,
        ]),
    ),
    (
        IPPROTO_TCP,
        // NODELAY MAXSEG CORK KEEPIDLE KEEPINTVL KEEPCNT SYNCNT LINGER2 DEFER_ACCEPT WINDOW_CLAMP QUICKACK CONGESTION
        // THIN_LINEAR_TIMEOUTS USER_TIMEOUT REPAIR FASTOPEN NOTSENT_LOWAT SAVE_SYN FASTOPEN_CONNECT ULP FASTOPEN_KEY
        // FASTOPEN_NO_COOKIE INQ TX_DELAY RTO_MAX_MS RTO_MIN_US DELACK_MAX_US
        numbers(&[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 16, 18, 19, 23, 25, 27, 30, 31, 33, 34, 36, 37,
            44, 45, 46,
        ]),
    ),
    // CORK ENCAP NO_CHECK6_TX NO_CHECK6_RX SEGMENT GRO
    (IPPROTO_UDP, numbers(&[1, 100, 101, 102, 103, 104])),
    (
        SOL_SOCKET,
        // DEBUG REUSEADDR DONTROUTE BROADCAST SNDBUF RCVBUF KEEPALIVE OOBINLINE NO_CHECK PRIORITY LINGER REUSEPORT PASSCRED
        // RCVLOWAT TIMESTAMP PASSSEC TIMESTAMPNS MARK TIMESTAMPING RXQ_OVFL WIFI_STATUS PEEK_OFF NOFCS LOCK_FILTER
        // SELECT_ERR_QUEUE BUSY_POLL MAX_PACING_RATE INCOMING_CPU ZEROCOPY TXTIME TIMESTAMP_NEW TIMESTAMPNS_NEW
        // TIMESTAMPING_NEW RCVTIMEO_NEW SNDTIMEO_NEW PREFER_BUSY_POLL BUSY_POLL_BUDGET NETNS_COOKIE BUF_LOCK RESERVE_MEM
        // TXREHASH RCVMARK RCVPRIORITY
        numbers(&[
            1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 18, 29, 34, 35, 36, 37, 40, 41, 42, 43,
            44, 45, 46, 47, 49, 60, 61, 63, 64, 65, 66, 67, 69, 70, 71, 72, 73, 74, 75, 82,
        ]),
    ),
];

const SO_MEMINFO: c_int = 55;

/// Since Linux 5.14. Read only: which network namespace the socket is in.
const SO_NETNS_COOKIE: c_int = 71;

const fn numbers(options: &[u8]) -> u128 {
    let (mut numbers, mut rest) = (0, options);
    while let [option, others @ ..] = rest {
        numbers |= 1 << *option;
        rest = others;
    }
    numbers
}

/// As long as the longest, IP_OPTIONS.
type Value = [u8; 40];

#[inline(never)]
fn read(fd: c_int, level: c_int, option: c_int) -> Result<(Value, usize), Errno> {
    let mut value: Value = [0; 40];
    // The kernel accepts no other length of this one.
    let size = match (level, option) {
        (SOL_SOCKET, SO_NETNS_COOKIE) => 8,
        _ => value.len(),
    };
    let length = getsockopt(fd, level, option, value.get_mut(..size).unwrap_or_default())?;
    Ok((value, length as usize))
}

/// Gives a fresh socket the options of another one, which is of the same family and protocol. Whether it has them.
pub fn copy(from: c_int, to: c_int) -> bool {
    let (Ok(domain), Ok(protocol)) = (domain(from), protocol_number(from)) else {
        return false;
    };
    OPTIONS.iter().all(|&(level, options)| {
        let applies = match level {
            IPPROTO_IP | SOL_SOCKET => true,
            IPPROTO_IPV6 => domain == AF_INET6,
            level => level == protocol,
        };
        let mut numbers = (0..128).filter(|number| options & 1 << number != 0);
        !applies || numbers.all(|number| copy_one(from, to, level, number))
    })
}

fn copy_one(from: c_int, to: c_int, level: c_int, option: c_int) -> bool {
    // This kernel does not have it, or not for this protocol.
    let Ok(wanted) = read(from, level, option) else {
        return true;
    };
    if read(to, level, option) == Ok(wanted) {
        return true;
    }
    let (mut value, length) = wanted;
    if level == SOL_SOCKET
        && matches!(option, SO_SNDBUF | SO_RCVBUF)
        && let Some(size) = value.first_chunk_mut()
    {
        // socket(7): the kernel doubles it.
        *size = (c_int::from_ne_bytes(*size) / 2).to_ne_bytes();
    }
    // SAFETY: the kernel reads `length` bytes of `value`, which has as many.
    let _ = unsafe { setsockopt(to, level, option, value.as_ptr(), length) };
    // What a connection that has failed has left of its own reads as the program's, and is not for the program to set.
    let may_differ = (level, option) == (IPPROTO_TCP, TCP_MAXSEG);
    may_differ || read(to, level, option) == Ok(wanted)
}

/// Memory that a socket takes, in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// For data and errors.
    pub queued: u32,
    /// For options.
    pub options: u32,
}

/// SO_MEMINFO (linux/sock_diag.h).
pub fn memory(fd: c_int) -> Result<Memory, Errno> {
    let (value, _) = read(fd, SOL_SOCKET, SO_MEMINFO)?;
    // In this order: received, rcvbuf, sent, sndbuf, forward, queued, options, backlog.
    let word = |index: usize| {
        let bytes = value.get(4 * index..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    Ok(Memory {
        queued: word(0) | word(2) | word(5) | word(7),
        options: word(6),
    })
}

/// Not in libc for all architectures (fcntl(2)).
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;
const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;

/// Gives a fresh socket the flags of the open file of another one, and who gets its signals (O_ASYNC).
pub fn copy_flags(from: c_int, to: c_int) -> Result<(), Errno> {
    // struct f_owner_ex: type, and who.
    let mut owner = [0_i32; 2];
    fcntl(from, F_GETOWN_EX, owner.as_mut_ptr().expose_provenance())?;
    if owner != [0; 2] {
        fcntl(to, F_SETOWN_EX, owner.as_mut_ptr().expose_provenance())?;
    }
    fcntl(to, F_SETSIG, fcntl(from, F_GETSIG, 0)?)?;
    fcntl(to, F_SETFL, fcntl(from, F_GETFL, 0)?)?;
    Ok(())
}

/// fcntl(2).
#[inline(never)]
pub fn fcntl(fd: c_int, command: c_int, argument: usize) -> Result<usize, Errno> {
    // SAFETY: the kernel reads or writes a struct f_owner_ex of the caller's, or takes a number.
    unsafe { syscall!(Sysno::fcntl, fd, command, argument) }
}
