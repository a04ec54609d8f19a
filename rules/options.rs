//! The socket options that can be read and set. A socket that takes the place of another one has to get their values.
//!
//! Not in the table: options that reading changes (SO_ERROR, TCP_ZEROCOPY_RECEIVE), what the kernel itself sets or counts,
//! and the device.

use libc::{
    AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET,
    TCP_MAXSEG, c_int,
};

// The numbers of the options are the same on all known architectures.

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
/// SNDTIMEO_NEW PREFER_BUSY_POLL BUSY_POLL_BUDGET BUF_LOCK RESERVE_MEM TXREHASH RCVMARK RCVPRIORITY
const SOCKET: [u8; 42] = [
    1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 18, 29, 34, 35, 36, 37, 40, 41, 42, 43, 44, 45,
    46, 47, 49, 60, 61, 63, 64, 65, 66, 67, 69, 70, 72, 73, 74, 75, 82,
];

/// The options of a socket of this family and protocol, each by its level and number, in the order of setting: IP_TOS sets
/// SO_PRIORITY too.
pub fn of(domain: c_int, protocol: c_int) -> impl Iterator<Item = (c_int, c_int)> {
    let ipv6: &[u8] = if domain == AF_INET6 { &IPV6 } else { &[] };
    let own: &[u8] = match protocol {
        IPPROTO_TCP => &TCP,
        IPPROTO_UDP => &UDP,
        _ => &[],
    };
    let levels: [(c_int, &[u8]); 4] = [
        (IPPROTO_IP, &IP),
        (IPPROTO_IPV6, ipv6),
        (protocol, own),
        (SOL_SOCKET, &SOCKET),
    ];
    levels.into_iter().flat_map(|(level, options)| {
        options
            .iter()
            .map(move |option| (level, c_int::from(*option)))
    })
}

/// Whether the kernel reads this option doubled (socket(7)).
pub fn is_doubled(level: c_int, option: c_int) -> bool {
    level == SOL_SOCKET && matches!(option, SO_SNDBUF | SO_RCVBUF)
}

/// Whether this option may differ: what a failed connection has set itself reads like a value that the program has set.
pub fn may_differ(level: c_int, option: c_int) -> bool {
    (level, option) == (IPPROTO_TCP, TCP_MAXSEG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_the_options_of_its_protocols() {
        let has = |domain, protocol, option| of(domain, protocol).any(|one| one == option);
        assert!(has(libc::AF_INET, IPPROTO_TCP, (IPPROTO_TCP, 1)));
        assert!(!has(libc::AF_INET, IPPROTO_UDP, (IPPROTO_TCP, 1)));
        assert!(!has(
            libc::AF_INET,
            IPPROTO_TCP,
            (IPPROTO_IPV6, libc::IPV6_V6ONLY)
        ));
        assert!(has(
            AF_INET6,
            IPPROTO_TCP,
            (IPPROTO_IPV6, libc::IPV6_V6ONLY)
        ));
        assert!(has(AF_INET6, IPPROTO_UDP, (SOL_SOCKET, libc::SO_BROADCAST)));
        for kept in [
            libc::SO_BINDTODEVICE,
            libc::SO_BINDTOIFINDEX,
            libc::SO_ERROR,
        ] {
            assert!(!has(AF_INET6, IPPROTO_UDP, (SOL_SOCKET, kept)));
        }
    }
}
