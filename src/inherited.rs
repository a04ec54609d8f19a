//! The sockets that the program has inherited.
//!
//! A device belongs to the open socket, not to a descriptor: binding it moves the socket for all processes that have it. So
//! the constructor binds only the sockets that were meant for this process ([`rules::inherited`]), and closes them if
//! binding fails. Others are counted, and get their device when the program uses them ([`hooks`](crate::hooks)).

use crate::log::{self, Line};
use crate::sys::{self, Environment};
use crate::{hooks, settings};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use rules::inherited::{LISTEN_FDS, passed};
use syscalls::Errno;

/// After so many closed descriptors in a row, the search ends.
const GAP: u32 = 4;

/// For the constructor, if a VRF is asked for.
pub fn settle(environment: &Environment) {
    if settings::vrf().device().is_none() {
        return;
    }
    let value = |variable: &str| environment.variable(variable.as_bytes());
    let passed = passed(value, sys::getpid());
    let (mut closed, mut unbound) = (0, 0);
    for fd in 0.. {
        match sys::domain(fd) {
            Err(Errno::EBADF) => closed += 1,
            domain => {
                closed = 0;
                if !matches!(domain, Ok(libc::AF_INET | libc::AF_INET6)) {
                    continue;
                }
                if passed.contains(&fd) {
                    bind(fd);
                } else if sys::bound(fd) == Ok(None) {
                    unbound += 1;
                }
            }
        }
        if closed == GAP {
            break;
        }
    }
    settings::INFO.inherited.store(unbound, Ordering::Relaxed);
    if unbound > 0 && log::is_on() {
        let mut line = Line::new(b"inherited sockets without a device: ");
        line.number(unbound as c_int);
        line.text(b" (--bind-inherited)\n");
        line.write_to_log();
    }
}

/// Binds a socket that is meant for this process, or closes it.
fn bind(fd: c_int) {
    let Err(errno) = hooks::bind_existing(LISTEN_FDS, fd) else {
        return;
    };
    sys::close(fd);
    let mut line = Line::new(b"fd ");
    line.number(fd);
    line.numbered(
        b" (LISTEN_FDS) is closed, not in the VRF: errno ",
        errno.into_raw(),
    );
    line.text(b"\n");
    line.write_to_stderr();
}
