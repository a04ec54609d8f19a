//! The state of a socket besides its device, and how it is given to another one.

use super::descriptors::Own;
use super::{WORDS, Word, number};
use crate::arch;
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use libc::{SO_PROTOCOL, SO_REUSEPORT, socklen_t};
use rules::DeviceName;
use rules::list::{Address, Call, Protocol, wildcard};
use rules::moving::{Facts, State};
use rules::socket::SOCKADDR_IN6;
use syscalls::{Errno, Sysno, syscall};

/// A struct sockaddr of the IP families, as far as it is one.
pub struct Sockaddr {
    bytes: [u8; SOCKADDR_IN6],
    length: usize,
}

impl Sockaddr {
    /// The first bytes of an address for bind(2) or connect(2). None of them, if they cannot all be read: the kernel refuses
    /// a bad pointer (EFAULT), so whether it can be read is asked first.
    ///
    /// Another thread may write to it meanwhile. Each byte is then the old or the new one, as in the copy that the kernel makes
    /// later, and is read once: what was judged is one address, though perhaps not the kernel's.
    ///
    /// # Safety
    /// If there is memory at `address`, no other thread unmaps it meanwhile. If a system call filter refuses rt_sigprocmask(2),
    /// there is memory.
    #[inline(never)]
    pub unsafe fn read(address: *const libc::sockaddr, length: usize) -> Self {
        let mut sockaddr = Self {
            bytes: [0; SOCKADDR_IN6],
            length: 0,
        };
        // To the kernel the length has 32 bits, and is signed.
        let length = (length as c_int).clamp(0, SOCKADDR_IN6 as c_int) as usize;
        let address = address.cast::<u8>();
        let last = address.wrapping_add(length).wrapping_sub(1);
        // Usually it is on the stack, near this frame: in a page that is in use, which needs no question.
        let ours = page_of((&raw const sockaddr).cast());
        let is_there = |byte| page_of(byte) == ours || is_readable(byte);
        if is_there(address) && (page_of(last) == page_of(address) || is_there(last)) {
            let bytes = sockaddr.bytes.as_mut_ptr();
            // SAFETY: each page that it is in can be read, as the kernel says, and it stays so, as callers promise. Where a system
            // call filter has answered, the caller's pointer is trusted. By libc's function, for what another thread writes meanwhile.
            unsafe { libc::memcpy(bytes.cast(), address.cast(), length) };
            sockaddr.length = length;
        }
        sockaddr
    }

    /// The socket's own (getsockname), or its peer's (getpeername).
    fn of(fd: c_int, call: Sysno) -> Result<Self, Errno> {
        let mut bytes = [0; SOCKADDR_IN6];
        let mut length = SOCKADDR_IN6 as socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `bytes`, and then `length`.
        unsafe { syscall!(call, fd, bytes.as_mut_ptr(), &raw mut length) }?;
        Ok(Self {
            bytes,
            length: (length as usize).min(SOCKADDR_IN6),
        })
    }

    /// The bytes that exist.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Its family, if it has one.
    pub fn family(&self) -> Option<c_int> {
        let family = self.bytes().first_chunk()?;
        Some(u16::from_ne_bytes(*family).into())
    }
}

/// Whether the page of a byte can be read, as the kernel sees it. rt_sigprocmask(2) copies the set before it looks at what is
/// to be done with it: with an invalid request a bad address is EFAULT, and a good one EINVAL, and nothing has changed
/// (kernel/signal.c, also for 32-bit programs: the same in Linux 5.4 and 6.18). NULL would be no set, and success, but
/// page 0 is never taken for readable (vm.mmap_min_addr). Where a system call filter answers, any other page is: an address
/// that is not looked at would come under no rule. A bad one crashes the program then.
///
/// The kernel is not asked twice about one page in a row, for the call's price. An address in a page that the program has taken
/// away since crashes it too.
#[inline(never)]
fn is_readable(byte: *const u8) -> bool {
    const INVALID: c_int = -1;
    // Size of the kernel's set of signals. Of an aligned word all is readable or nothing.
    const SIZE: usize = 8;
    let page = page_of(byte);
    let known = WORDS.get(Word::ReadablePage);
    if page == 0 || known.is_some_and(|known| known.load(Ordering::Relaxed) == page) {
        return page != 0;
    }
    let set = byte.wrapping_sub(byte.addr() % SIZE);
    // SAFETY: the kernel reads SIZE bytes at `set`, or fails with EFAULT, and changes nothing.
    if unsafe { syscall!(Sysno::rt_sigprocmask, INVALID, set, 0, SIZE) } == Err(Errno::EFAULT) {
        return false;
    }
    if let Some(known) = known {
        known.store(page, Ordering::Relaxed);
    }
    true
}

/// The number of the page that a byte is in.
fn page_of(byte: *const u8) -> usize {
    // The smallest size of a page.
    const PAGE: usize = 4096;
    byte.addr() / PAGE
}

/// The socket's own address.
pub fn own_address(fd: c_int) -> Result<Address, Errno> {
    let address = Sockaddr::of(fd, Sysno::getsockname)?;
    Address::of(Call::Connect, address.bytes()).ok_or(Errno::EPERM)
}

/// The socket's SO_PROTOCOL.
#[inline(never)]
pub fn protocol_number(fd: c_int) -> Result<c_int, Errno> {
    number(fd, SO_PROTOCOL)
}

/// The socket's protocol, as far as rules distinguish it.
pub fn protocol(fd: c_int) -> Result<Option<Protocol>, Errno> {
    Ok(Protocol::of(super::sock_type(fd)?, protocol_number(fd)?))
}

/// What has to be known before a socket is moved.
pub fn facts(fd: c_int) -> Result<Facts, Errno> {
    let protocol = protocol(fd)?;
    let address = own_address(fd)?;
    Ok(Facts {
        protocol,
        is_wildcard: address.is_wildcard(),
        port: address.port,
        state: state(fd, protocol),
        shares_port: number(fd, SO_REUSEPORT)? != 0,
    })
}

/// TCP_CLOSE, net/tcp_states.h.
const TCP_CLOSE: u8 = 7;

fn state(fd: c_int, protocol: Option<Protocol>) -> State {
    match protocol {
        Some(Protocol::Tcp) => {
            // tcpi_state, the first member of struct tcp_info. MPTCP has it since Linux 5.16.
            let (mut state, mut length) = (0_u8, 1 as socklen_t);
            // SAFETY: the kernel writes at most `length` bytes to `state`, and then `length`.
            let result = unsafe {
                syscall!(
                    Sysno::getsockopt,
                    fd,
                    libc::IPPROTO_TCP,
                    libc::TCP_INFO,
                    &raw mut state,
                    &raw mut length
                )
            };
            match (result, state) {
                (Ok(_), TCP_CLOSE) => State::Closed,
                (Ok(_), _) => State::Busy,
                (Err(_), _) => State::Unknown,
            }
        }
        Some(Protocol::Sctp) | None => State::Unknown,
        Some(_) => match Sockaddr::of(fd, Sysno::getpeername) {
            Ok(_) => State::Busy,
            Err(Errno::ENOTCONN) => State::Closed,
            Err(_) => State::Unknown,
        },
    }
}

/// Makes a closed TCP socket forget the address that a failed connect() has left, as the next connect() would have done
/// (inet_stream_connect, net/ipv4/af_inet.c): by connect(AF_UNSPEC), after which it still has its device
/// (tcp_disconnect). Some: there was one, and the present call has to fail with this errno.
pub fn forget_address(fd: c_int) -> Result<Option<Errno>, Errno> {
    let nobody = [0_u8; size_of::<libc::sockaddr>()];
    let pending = number(fd, libc::SO_ERROR)?;
    judged(Sysno::connect, fd, &nobody)?;
    let is_forgotten = own_address(fd)?.is_wildcard();
    Ok(is_forgotten.then(|| match pending {
        0 => Errno::ECONNABORTED,
        pending => Errno::new(pending),
    }))
}

/// bind(2) or connect(2) to an address of ours, with the marker, so that a supervisor is not notified.
fn judged(call: Sysno, fd: c_int, address: &[u8]) -> Result<usize, Errno> {
    let arguments = [
        fd as usize,
        address.as_ptr().expose_provenance(),
        address.len(),
        0,
        0,
    ];
    // SAFETY: the kernel reads address.len() bytes, of a borrowed slice.
    unsafe { arch::marked(call, arguments) }
}

/// Whether the port of a stream's address is its own, and not left over from a failed connect(). To test it, it is bound
/// to a port that another socket has on its device, which cannot succeed: EINVAL if the port is its own, and otherwise
/// EADDRINUSE, and then a left-over address is forgotten (__inet_bind, net/ipv4/af_inet.c).
pub fn holds_port(fd: c_int) -> Option<bool> {
    let other = Own::socket_like(fd).ok()?;
    super::bind_to_index(other.0, super::bound_index(fd).unwrap_or(0)).ok()?;
    let wildcard = wildcard(super::domain(fd).ok()?);
    bind(other.0, &wildcard).ok()?;
    match bind_as(fd, other.0) {
        Err(Errno::EINVAL) => Some(true),
        Err(Errno::EADDRINUSE) => Some(false),
        _ => None,
    }
}

fn bind(fd: c_int, address: &[u8]) -> Result<(), Errno> {
    judged(Sysno::bind, fd, address).map(drop)
}

/// Binds a socket to the address that another one has.
pub fn bind_as(fd: c_int, other: c_int) -> Result<(), Errno> {
    let address = Sockaddr::of(other, Sysno::getsockname)?;
    bind(fd, address.bytes())
}

/// Whether the VRF has this address itself: whether a fresh socket in it can be bound to it. Sends nothing.
pub fn has_address(vrf: &DeviceName, address: &Address) -> Result<bool, Errno> {
    let (family, address) = address.sockaddr();
    let socket = Own::scratch(family)?;
    super::bind_or_is_bound(socket.0, vrf)?;
    match bind(socket.0, &address) {
        Ok(()) => Ok(true),
        Err(Errno::EADDRNOTAVAIL) => Ok(false),
        Err(errno) => Err(errno),
    }
}
