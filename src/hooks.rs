//! Every way into the library: the exported symbols, and the two functions that libc's own bodies lead
//! to, in the shape: leave early, decide, act.
//!
//! What errno says when a call returns -1 because of us (the kernel's own failures are passed on as
//! they are):
//!
//! | errno  | from                        | meaning                                                   |
//! |--------|-----------------------------|-----------------------------------------------------------|
//! | ENODEV | socket, bind/connect/listen | there is no device of that name in this network namespace |
//! | EADDRNOTAVAIL | bind                 | the address has the scope of a device outside the VRF     |
//! | EPERM  | socket, bind/connect/listen | before Linux 5.7 without CAP_NET_RAW; or somebody else    |
//! |        |                             | has bound the socket to another device first              |
//! | EINVAL | all                         | a setting is not understood (but for execve), or the seal |
//! |        |                             | was refused                                               |
//! | other  | socket, bind/connect/listen | what setsockopt(2) gave, e.g. by a seccomp filter         |
//! | E2BIG  | execve and its like         | the environment cannot be repaired (see `exec`)           |
//! | EINVAL | execve and its like         | LD_PRELOAD cannot name the library's path (see `exec`)    |
//!
//! On success errno is what it was. socket() has closed its descriptor when it fails; the others
//! leave theirs as they found it, and the call they stand for has not been made.
#![allow(unsafe_code)]

use crate::exec::program::Program;
use crate::libc::original::{self, Strings};
use crate::libc::patch;
use crate::{exec, log, settings, sys};
use core::ffi::{c_char, c_int, c_long};
use libc::{sockaddr, socklen_t};
use rules::DeviceName;
use rules::socket::{self as rule, Decision, Existing, Setting};
use syscalls::Errno;

/// socket(2). Adds one setsockopt(2) to a socket of AF_INET or AF_INET6, and nothing to others.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if settings::vrf() == Setting::Inert {
        return original::socket(domain, kind, protocol);
    }
    // libc's function would do no more than the system call, which the seal wants with its marker.
    // Another preload is asked where what it calls leads back to us, or where there is no seal.
    if original::socket_is_libcs()
        || (settings::is_sealed() && !patch::is_led(&settings::INFO.socket))
    {
        return made_here(Via::Export, domain, kind, protocol);
    }
    through_next(domain, kind, protocol)
}

/// Where libc's own `socket` leads: getaddrinfo, res_query and all other callers inside libc.
pub extern "C" fn libc_socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    made_here(Via::Libc, domain, kind, protocol)
}

/// Where syscall(SYS_socket, domain, kind, protocol) leads, by [`arch`](crate::arch).
pub extern "C" fn syscall_socket(
    _: c_long,
    domain: c_long,
    kind: c_long,
    protocol: c_long,
) -> c_long {
    let (domain, kind, protocol) = (domain as c_int, kind as c_int, protocol as c_int);
    if settings::vrf() == Setting::Inert {
        return original::syscall(
            libc::SYS_socket,
            [domain.into(), kind.into(), protocol.into(), 0, 0, 0],
        );
    }
    made_here(Via::Syscall, domain, kind, protocol).into()
}

/// Where any other syscall(2) leads before the constructor has run.
#[cold]
pub extern "C" fn syscall_early(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    original::syscall(number, [a, b, c, d, e, f])
}

/// bind(2) of a socket that has a device, or gets it first, and that stays in the VRF.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let prepared = adopt("bind", fd).and_then(|device| match device {
        Some(_) => stay(fd, address, length),
        None => Ok(()),
    });
    match prepared {
        Ok(()) => original::bind(fd, address, length),
        Err(errno) => failed(errno),
    }
}

/// Refuses an address whose scope would take an IPv6 socket out of the VRF ([`rule::scope`]). What cannot be read is left
/// for the kernel to refuse.
fn stay(fd: c_int, address: *const sockaddr, length: socklen_t) -> Result<(), Errno> {
    let scope = sys::sockaddr_in6(address, length).and_then(|address| rule::scope(&address));
    let (Some(scope), Some(vrf)) = (scope, settings::vrf().device()) else {
        return Ok(());
    };
    if sys::domain(fd) != Ok(libc::AF_INET6) {
        return Ok(());
    }
    let in_vrf = || sys::may_send_by(&vrf, scope).map_err(Errno::into_raw);
    let result = rule::at_scope(scope, sys::bound_index(fd), in_vrf).map_err(Errno::new);
    if let Err(errno) = result {
        log::outside(&vrf, fd, scope, errno);
    }
    result
}

/// connect(2) of a socket that has a device, or gets it first, and has it afterwards.
///
/// The next connect() is a cancellation point, whose thread may be unwound through our frame: it needs
/// nothing done, and the library has an .eh_frame_hdr by which it is found.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    match adopt("connect", fd) {
        Ok(device) => match (original::connect(fd, address, length), device) {
            (0, Some(device)) if sys::family(address) == libc::AF_UNSPEC => {
                disconnected(fd, &device)
            }
            (result, _) => result,
        },
        Err(errno) => failed(errno),
    }
}

/// Gives a socket its device back: connect(AF_UNSPEC) takes it from a datagram or raw socket
/// (__udp_disconnect, net/ipv4/udp.c). If that cannot be, nothing must leave by the socket any more.
#[cold]
fn disconnected(fd: c_int, device: &DeviceName) -> c_int {
    if rule::has_lost_its_device(sys::bound_device(fd).map_err(Errno::into_raw))
        && let Err(errno) = sys::bind_or_is_bound(fd, device)
    {
        sys::shutdown(fd);
        return failed(errno);
    }
    0
}

/// listen(2) on a socket that has a device, or gets it first.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    match adopt("listen", fd) {
        Ok(_) => original::listen(fd, backlog),
        Err(errno) => failed(errno),
    }
}

/// execve(2), with an environment in which nothing of ours is missing.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    if patch::is_led(&settings::INFO.execve) {
        return original::execve(path, argv, envp);
    }
    let program = Program::Path(libc::AT_FDCWD, path);
    exec::with_environment(program, envp, |envp| original::execve(path, argv, envp))
        .unwrap_or_else(failed)
}

/// Where libc's own `execve` leads: execv, execvp, execl, posix_spawn, system, popen and the like.
pub extern "C" fn libc_execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    let program = Program::Path(libc::AT_FDCWD, path);
    let result = exec::with_environment(program, envp, |envp| sys::execve(path, argv, envp));
    failed(result.unwrap_or_else(|errno| errno))
}

/// execveat(2), likewise. glibc's makes the system call itself; musl 1.2.3 has none.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn execveat(
    folder: c_int,
    path: *const c_char,
    argv: Strings,
    envp: Strings,
    flags: c_int,
) -> c_int {
    if settings::vrf() == Setting::Inert {
        return original::execveat(folder, path, argv, envp, flags);
    }
    let program = if flags & libc::AT_EMPTY_PATH != 0 && sys::is_empty(path) {
        Program::Open(folder)
    } else {
        Program::Path(folder, path)
    };
    exec::with_environment(program, envp, |envp| {
        original::execveat(folder, path, argv, envp, flags)
    })
    .unwrap_or_else(failed)
}

/// fexecve(3), likewise.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int {
    let program = Program::Open(fd);
    exec::with_environment(program, envp, |envp| original::fexecve(fd, argv, envp))
        .unwrap_or_else(failed)
}

/// By which way a socket was asked for, for the log.
#[derive(Clone, Copy)]
enum Via {
    Export,
    Libc,
    Syscall,
}

impl Via {
    fn word(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Libc => "libc",
            Self::Syscall => "syscall",
        }
    }
}

/// A socket by a system call of our own.
fn made_here(via: Via, domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let (device, result) = match rule::at_creation(settings::vrf(), domain, kind) {
        Decision::Pass => return sys::socket(domain, kind, protocol).unwrap_or_else(failed),
        Decision::Fail(errno) => (None, Err(Errno::new(errno))),
        Decision::Bind(device) => {
            let result = sys::socket(domain, kind, protocol)
                .and_then(|fd| born(fd, sys::bind_or_is_bound(fd, &device)));
            (Some(device), result)
        }
    };
    if log::is_on() {
        log::socket("socket", via.word(), (domain, kind), device, result);
    }
    result.unwrap_or_else(failed)
}

/// A socket by the next hook, which belongs to another preload. If that asks libc, and libc's body
/// leads to us, the socket comes back with its device; so it is looked at before anything is done.
fn through_next(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let (device, result) = match rule::at_creation(settings::vrf(), domain, kind) {
        Decision::Pass => return original::socket(domain, kind, protocol),
        Decision::Fail(errno) => (None, Err(Errno::new(errno))),
        Decision::Bind(device) => {
            let fd = original::socket(domain, kind, protocol);
            if fd < 0 {
                return fd;
            }
            let result = match sys::bound_device(fd) {
                Ok(Some(found)) if found == device => Ok(()),
                _ => sys::bind_or_is_bound(fd, &device),
            };
            (Some(device), born(fd, result))
        }
    };
    if log::is_on() {
        log::socket("socket", "next", (domain, kind), device, result);
    }
    result.unwrap_or_else(failed)
}

/// Hands out a new socket with its device, or not at all.
fn born(fd: c_int, bound: Result<(), Errno>) -> Result<c_int, Errno> {
    if bound.is_err() {
        sys::close(fd);
    }
    bound.map(|()| fd)
}

/// Gives a socket that came from elsewhere (inherited, passed, created before we were there) its device, if it has none
/// ([`rule::existing`]). Returns the device that the socket shall have afterwards.
fn adopt(call: &'static str, fd: c_int) -> Result<Option<DeviceName>, Errno> {
    let setting = settings::vrf();
    if matches!(setting, Setting::Inert | Setting::Default) {
        return Ok(None);
    }
    if let Existing::Keep(device) =
        rule::existing(setting, sys::bound_device(fd).map_err(Errno::into_raw))
    {
        return Ok(device);
    }
    let domain = sys::domain(fd)?;
    let (device, result): (Option<DeviceName>, _) = match rule::unbound(setting, domain) {
        Decision::Pass => return Ok(None),
        Decision::Fail(errno) => (None, Err(Errno::new(errno))),
        Decision::Bind(device) => (Some(device), sys::bind_or_is_bound(fd, &device)),
    };
    if log::is_on() {
        let sock_type = sys::sock_type(fd).unwrap_or(0);
        log::socket(
            call,
            "export",
            (domain, sock_type),
            device,
            result.map(|()| fd),
        );
    }
    result.map(|()| device)
}

#[cold]
fn failed(errno: Errno) -> c_int {
    sys::set_errno(errno);
    -1
}
