//! Copies to another socket what a program has set on a socket, as far as it can be read.
//!
//! Each option is read from both sockets, set where they differ, and read again from the new one. Options that cannot be
//! read (memberships, filters, keys) are detected by the memory that they take (SO_MEMINFO, since Linux 4.12).
//! [`rules::options`] lists the options.

use super::{domain, setsockopt};
use core::ffi::c_int;
use libc::{F_GETFL, F_SETFL, SOL_SOCKET, socklen_t};
use rules::options::{is_doubled, may_differ, of};
use syscalls::{Sysno, syscall};

const SO_MEMINFO: c_int = 55;

/// Since Linux 5.14. Read only: which network namespace the socket is in.
const SO_NETNS_COOKIE: c_int = 71;

/// The value of an option. As long as the longest, IP_OPTIONS.
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

/// Gives a fresh socket the options of another one of the same family and protocol. Returns whether it has them.
pub fn copy(from: c_int, to: c_int, protocol: c_int) -> bool {
    let mut options = of(domain(from).unwrap_or(0), protocol);
    options.all(|(level, option)| copy_one(from, to, level, option))
        && copy_one(from, to, SOL_SOCKET, SO_NETNS_COOKIE)
}

fn copy_one(from: c_int, to: c_int, level: c_int, option: c_int) -> bool {
    let Some(wanted) = Value::of(from, level, option) else {
        return true;
    };
    if wanted.is_of(to, level, option) {
        return true;
    }
    let (mut value, length) = (wanted.words, wanted.length);
    if is_doubled(level, option) {
        // socket(7): the kernel doubles it.
        let [size, ..] = &mut value;
        *size /= 2;
    }
    // SAFETY: the kernel reads `length` bytes of `value`, which has as many.
    let _ = unsafe { setsockopt(to, level, option, value.as_ptr().cast(), length) };
    // What a failed connection has set itself reads like the program's value, and the program could not set it.
    may_differ(level, option) || wanted.is_of(to, level, option)
}

/// The memory that a socket takes, in bytes.
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

/// Gives a fresh socket the file status flags of another one, and the receiver of its signals (O_ASYNC). Returns whether it
/// has them.
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
