//! The sockets that were there before the program was.
//!
//! A device belongs to the open socket and not to a descriptor: to bind one moves it for all who have it. So in the constructor
//! only those are bound that were meant for this process ([`rules::inherited`]), or closed if that cannot be. Others are
//! counted, and get their device when the program uses them ([`hooks`](crate::hooks)).

use crate::log::{self, Line};
use crate::sys::{self, Environment};
use crate::{hooks, settings};
use core::ffi::c_int;
use core::sync::atomic::Ordering;
use rules::inherited::{LISTEN_FDS, passed};
use syscalls::Errno;

/// So many closed descriptors in a row are the end of the open ones.
const GAP: u32 = 4;

/// In the constructor, where a VRF is asked for.
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

/// Binds one that is meant for this process.
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
