//! Without CAP_NET_RAW a socket that has a device is not moved, but replaced: a new one, on the other device, takes over
//! its descriptor (SECCOMP_ADDFD_FLAG_SETFD), in one step while the caller waits.
//!
//! Only a fresh socket of TCP, UDP or ping is replaced: it has no state but options, which the new one gets. What cannot
//! be carried over is refused: an option that does not read the same afterwards, and memory for state that cannot be read
//! (memberships, filters: SO_MEMINFO). A socket that has another descriptor in the process, or is registered in an
//! epoll(7), is refused too: these would keep the old socket. Copies in other processes cannot be seen; they stay in the
//! VRF.

use super::{Existing, as_owner, existing, put, sys};
use crate::sys::other_process::netns_cookie;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::fstat;
use rules::options;
use rules::settling::{Place, Socket as _};
use std::ffi::c_int;
use std::os::fd::OwnedFd;

impl Existing<'_> {
    /// EPERM: it cannot be replaced.
    pub(super) fn replace(&self, place: Place) -> Result<(), Errno> {
        if !self.facts().map_err(Errno::from_raw)?.is_fresh() {
            return Err(Errno::EPERM);
        }
        let old = self.socket.borrow();
        let number = |option| existing::number(&old, option);
        let domain = number(libc::SO_DOMAIN)?;
        let kind = number(libc::SO_TYPE)? | libc::SOCK_CLOEXEC;
        let protocol = number(libc::SO_PROTOCOL)?;
        if !is_known(protocol) {
            return Err(Errno::EPERM);
        }
        let (owner, _) = self.caller.owner()?;
        let new = as_owner(owner, self.caller.reader, || {
            sys::socket(domain, kind, protocol)
        })?;
        // The socket is of another network namespace.
        if netns_cookie(&*old) != netns_cookie(&new) {
            return Err(Errno::EPERM);
        }
        put(&new, place)?;
        copy_options(&old, &new, domain, protocol)?;
        let flags = OFlag::from_bits_retain(fcntl(&*old, FcntlArg::F_GETFL)?);
        // The receiver of O_ASYNC's signals cannot be read for another process.
        if flags.contains(OFlag::O_ASYNC) {
            return Err(Errno::EPERM);
        }
        fcntl(&new, FcntlArg::F_SETFL(flags))?;
        let is_close_on_exec = self.is_alone(&old)?;
        let (listener, call) = (self.listener, self.call);
        sys::put_in_place(listener, call.id, &new, call.fd, is_close_on_exec)?;
        drop(old);
        self.socket.replace(new);
        Ok(())
    }

    /// Checks that no other descriptor of the process, and none of its epolls, has the socket. Returns whether its
    /// descriptor is close-on-exec.
    fn is_alone(&self, socket: &OwnedFd) -> Result<bool, Errno> {
        let inode = fstat(socket)?.st_ino;
        let (link, own) = (format!("socket:[{inode}]"), self.call.fd.to_string());
        if self.caller.link(&own)?.to_str() != Some(&link) {
            return Err(Errno::EPERM);
        }
        for fd in self.caller.descriptors()? {
            if fd == own {
                continue;
            }
            match self.caller.link(&fd) {
                Ok(other) if other.to_str() == Some(&link) => return Err(Errno::EPERM),
                Ok(epoll) if epoll.to_str() == Some("anon_inode:[eventpoll]") => {
                    let registered = format!(" ino:{inode:x} ");
                    for line in self.caller.lines(&format!("fdinfo/{fd}"))? {
                        if line?.contains(&registered) {
                            return Err(Errno::EPERM);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(self.caller.flags(self.call.fd)? & libc::O_CLOEXEC != 0)
    }
}

/// Whether [`options`] has all options of this protocol. MPTCP, SCTP and UDP-Lite have many that it lacks.
fn is_known(protocol: c_int) -> bool {
    matches!(
        protocol,
        libc::IPPROTO_TCP | libc::IPPROTO_UDP | libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6
    )
}

/// As long as the longest, IP_OPTIONS.
type Value = [u8; 40];

fn copy_options(old: &OwnedFd, new: &OwnedFd, domain: c_int, protocol: c_int) -> Result<(), Errno> {
    let read = |socket, level, option| -> Result<(Value, usize), Errno> {
        let mut value = [0; 40];
        let length = existing::option(socket, level, option, &mut value)?;
        Ok((value, length.min(value.len())))
    };
    for (level, option) in options::of(domain, protocol) {
        // This kernel lacks the option, or lacks it for this protocol.
        let Ok(wanted) = read(old, level, option) else {
            continue;
        };
        if read(new, level, option) == Ok(wanted) {
            continue;
        }
        let (mut value, length) = wanted;
        if options::is_doubled(level, option)
            && let Some(size) = value.first_chunk_mut()
        {
            *size = (c_int::from_ne_bytes(*size) / 2).to_ne_bytes();
        }
        let _ = existing::set(new, level, option, value.get(..length).unwrap_or_default());
        if read(new, level, option) != Ok(wanted) && !options::may_differ(level, option) {
            return Err(Errno::EPERM);
        }
    }
    // struct of SO_MEMINFO (linux/sock_diag.h): the seventh word is the memory for options.
    const SO_MEMINFO: c_int = 55;
    let attached = |socket| {
        let (value, _) = read(socket, libc::SOL_SOCKET, SO_MEMINFO)?;
        Ok(value.get(24..28).map(<[u8]>::to_vec))
    };
    if attached(old)? == attached(new)? {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}
