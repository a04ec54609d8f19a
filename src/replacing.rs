//! Moves a socket that has a device without CAP_NET_RAW: a fresh socket takes its place, in the descriptors of this
//! process.
//!
//! The kernel lets such a process set the first device of a socket, and no other one (Linux 5.7). So:
//!
//! 1. A new socket of the same family, type and protocol is put where the old one belongs, and then gets its options, its
//!    flags and, if it has one, its port. [`Facts::is_bound_again`](rules::moving::Facts::is_bound_again) refuses what a
//!    fresh socket cannot have.
//! 2. All epoll descriptors of the process are searched for registrations of the old socket.
//! 3. The registrations are removed, dup3(2) puts the new socket under the old one's number, and the registrations are made
//!    again, which takes another socket's number.
//! 4. The old socket is also registered in an epoll descriptor of ours, the witness, which shows whether it still exists:
//!    the kernel removes a file from there when it is closed everywhere. If it still exists, its other descriptors are
//!    searched for, and replaced likewise. Copies in other processes, and those on their way in a message, are left where
//!    they are.
//!
//! Until step 3 nothing has changed, and a failure leaves everything as it was. At every moment the descriptor has one of
//! the two sockets. Linux has no call that replaces a descriptor only if it is still the same file. If another thread
//! closes it and opens another file just before dup3(2), after the inode was compared, this file is lost.
//!
//! This costs a millisecond for 10,000 descriptors, and some milliseconds more if the socket is in an epoll with 5,000
//! others. A socket does not tell which epoll it is in, and a program may have made and filled one by system calls that
//! nobody saw. So each descriptor is asked whether it is one, by one system call (0.1 us; /proc is slower). kcmp(2) then
//! tells whether the socket is in there, but only /proc/self/fdinfo tells the events and the data. The kernel writes all
//! registrations (0.4 us each) before the first byte can be read, and begins again each time its buffer is full, which
//! grows from a page to twice the size (ep_show_fdinfo, seq_read_iter): twice the work. Only a table of what epoll_ctl(2)
//! did could avoid that, and it would be wrong where that call was made without the library.

use crate::sys::descriptors::{self, Own, Table};
use crate::sys::{self, options, state};
use core::ffi::c_int;
use rules::list::Call;
use rules::moving::Load;
use rules::registrations::Registration;
use syscalls::Errno;

/// Why a socket was not replaced: the state that it has, or the purpose of the call that the kernel refused.
type Why = &'static str;

/// Replaces the socket by one that `put` puts where it belongs.
pub fn replace(
    fd: c_int,
    call: Call,
    put: impl FnOnce(c_int) -> Result<(), Errno>,
) -> Result<(), Why> {
    let new = Own::socket_like(fd).map_err(|_| "none can be created")?;
    let (is_bound_again, protocol) = judge(fd, new.0, call)?;
    put(new.0).map_err(|_| "a fresh one cannot either")?;
    if !options::copy(fd, new.0, protocol) || !options::copy_flags(fd, new.0) {
        return Err("an option cannot be copied");
    }
    if is_bound_again && state::bind_as(new.0, fd).is_err() {
        return Err("its port is not free there");
    }
    let (Ok(table), Ok(witness), Ok(old)) = (Table::open(), Own::epoll(), sys::stat(fd)) else {
        return Err(NOT_LOOKED_UP);
    };
    let replacement = Replacement {
        new: new.0,
        table: &table,
        witness: witness.0,
        old: (old.device, old.inode),
    };
    replacement.make(fd).map_err(|errno| match errno {
        NOT_AGAIN => "epoll registration cannot be made again",
        _ => NOT_LOOKED_UP,
    })
}

const NOT_LOOKED_UP: Why = "/proc or epoll cannot be used";

/// No descriptor.
const NONE: c_int = -1;

/// Our own errno: a registration cannot be made again.
const NOT_AGAIN: Errno = Errno::EUCLEAN;

/// Whether the new one is to be bound to the same port, and the protocol of both.
fn judge(fd: c_int, new: c_int, call: Call) -> Result<(bool, c_int), Why> {
    let look = || {
        let (facts, protocol) = (state::facts(fd).ok()?, state::protocol_number(fd).ok()?);
        let (memory, fresh) = (options::memory(fd)?, options::memory(new)?);
        let ready = sys::ready(fd, libc::POLLIN | libc::POLLPRI).ok()?;
        let load = Load {
            protocol,
            holds_port: facts.port != 0
                && (protocol != libc::IPPROTO_TCP || state::holds_port(fd)?),
            // A stream without a peer has hung up.
            has_queue: memory.queued != 0 || ready & !libc::POLLHUP != 0,
            has_attachments: memory.options != fresh.options,
        };
        Some((facts, load))
    };
    let (facts, load) = look().ok_or("its state is unknown")?;
    Ok((facts.is_bound_again(call, load)?, load.protocol))
}

struct Replacement<'a> {
    new: c_int,
    table: &'a Table,
    /// In which the old socket is registered.
    witness: c_int,
    /// Device and inode of the old one.
    old: (u64, u64),
}

impl Replacement<'_> {
    fn make(&self, fd: c_int) -> Result<(), Errno> {
        let events = (libc::EPOLLIN | libc::EPOLLOUT) as u32;
        descriptors::register(self.witness, fd, Registration { events, data: 0 })?;
        self.make_one(fd)?;
        // Whatever a socket without a peer waits for, it can be written to, or has failed.
        if sys::ready(self.witness, libc::POLLIN) == Ok(0) {
            return Ok(());
        }
        let mut old = NONE;
        let result = self.make_others(NONE, &mut old);
        let Err(errno) = result else {
            return Ok(());
        };
        // What it still is goes back into the others.
        let new = sys::stat(self.new)?;
        let back = Replacement {
            new: old,
            old: (new.device, new.inode),
            ..*self
        };
        let _ = back.make_others(self.new, &mut old);
        Err(errno)
    }

    /// Replaces all descriptors of the old socket but one. `last` becomes the one that was tried last.
    #[inline(never)]
    fn make_others(&self, except: c_int, last: &mut c_int) -> Result<(), Errno> {
        self.table.visit(&mut |copy| {
            // The table skips an fd that is not open.
            if !self.is_old(copy)? || copy == except {
                return Ok(());
            }
            *last = copy;
            self.make_one(copy)
        })
    }

    #[inline(never)]
    fn is_old(&self, fd: c_int) -> Result<bool, Errno> {
        let file = sys::stat(fd)?;
        Ok((file.device, file.inode) == self.old)
    }

    /// Replaces one descriptor.
    #[inline(never)]
    fn make_one(&self, fd: c_int) -> Result<(), Errno> {
        let mut found = [None; 4];
        let mut places = found.iter_mut();
        self.table.visit(&mut |epoll| {
            // `fd` is registered nowhere: ENOENT tells that the other is an epoll descriptor. For the witness itself it
            // is EINVAL.
            match descriptors::unregister(epoll, self.witness) {
                Err(Errno::ENOENT) => {}
                Err(Errno::EINVAL) => return Ok(()),
                result => return result,
            }
            let (_, inode) = self.old;
            let registration = match self.table.registration(epoll, fd, inode) {
                Err(Errno::ENOENT) => None,
                registration => registration?,
            };
            if let Some(registration) = registration {
                let place = places.next().ok_or(NOT_AGAIN)?;
                if !registration.can_be_made_again() {
                    return Err(NOT_AGAIN);
                }
                *place = Some((epoll, registration));
            }
            Ok(())
        })?;
        let found = || found.iter().flatten();
        for (epoll, _) in found() {
            let _ = descriptors::unregister(*epoll, fd);
        }
        let result = match self.is_old(fd) {
            Ok(true) => descriptors::replace(self.new, fd),
            _ => Err(Errno::EBADF),
        };
        for (epoll, registration) in found() {
            let _ = descriptors::register(*epoll, fd, *registration);
        }
        result
    }
}
