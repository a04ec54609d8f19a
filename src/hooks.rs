//! Every way into the library: the exported symbols, and the two functions that libc's own, patched, jump to, in the shape:
//! leave early, decide, act.
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
//! | EINVAL | all                         | a setting is invalid (but for execve), or the seal |
//! |        |                             | was refused                                               |
//! | other  | socket, bind/connect/listen | what setsockopt(2) gave, e.g. by a seccomp filter         |
//! | E2BIG  | execve and its like         | the environment cannot be repaired (see `exec`)           |
//! | EINVAL | execve and its like         | LD_PRELOAD cannot name the library's path (see `exec`)    |
//!
//! On success errno is what it was. socket() has closed its descriptor when it fails. The others have not made the call they
//! stand for, but for a connect() to AF_UNSPEC whose socket could not get its device back: that is shut down. The socket of a
//! refused bind() may have got its device.
use crate::exec::program::Program;
use crate::libc::{original, patch};
use crate::sys::Strings;
use crate::{arch, exec, log, settings, sys};
use core::ffi::{c_char, c_int, c_long};
use libc::{sockaddr, socklen_t};
use rules::DeviceName;
use rules::socket::{self as rule, Decision, Existing, Setting};
use syscalls::Errno;

/// socket(2). Adds one setsockopt(2) to a socket of AF_INET or AF_INET6, and nothing to others. Where another preload makes
/// the socket, a getsockopt(2) besides.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn socket(domain: c_int, sock_type: c_int, protocol: c_int) -> c_int {
    if settings::vrf() == Setting::Inert {
        return original::socket(domain, sock_type, protocol);
    }
    // libc's function would do no more than the system call, which the seal wants with its marker.
    // Another preload is asked where what it calls jumps back to us, or where there is no seal.
    if original::socket_is_libcs()
        || (settings::is_sealed() && !patch::is_patched(&settings::INFO.socket))
    {
        return create_direct(Via::Export, domain, sock_type, protocol);
    }
    create_via_next(domain, sock_type, protocol)
}

/// Where libc's own `socket` jumps: getaddrinfo, res_query and all other callers inside libc.
pub extern "C" fn libc_socket(domain: c_int, sock_type: c_int, protocol: c_int) -> c_int {
    create_direct(Via::Libc, domain, sock_type, protocol)
}

arch::export_syscall! {
    /// syscall(2): a socket is created here, everything else goes on to the original.
    ///
    /// # Safety
    /// As for the system call.
    syscall_socket, original::SYSCALL, syscall_early
}

/// syscall(SYS_socket, domain, sock_type, protocol).
extern "C" fn syscall_socket(
    _: c_long,
    domain: c_long,
    sock_type: c_long,
    protocol: c_long,
) -> c_long {
    let (domain, sock_type, protocol) = (domain as c_int, sock_type as c_int, protocol as c_int);
    if settings::vrf() == Setting::Inert {
        let arguments = [domain.into(), sock_type.into(), protocol.into(), 0, 0, 0];
        // SAFETY: socket(2) takes no pointers.
        return unsafe { original::syscall(libc::SYS_socket, arguments) };
    }
    create_direct(Via::Syscall, domain, sock_type, protocol).into()
}

/// Any other syscall(2) before the constructor has run.
///
/// # Safety
/// As for this system call.
#[cold]
unsafe extern "C" fn syscall_early(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // SAFETY: the caller's own system call.
    unsafe { original::syscall(number, [a, b, c, d, e, f]) }
}

/// bind(2) of a socket that has a device, or gets it first, and that stays in the VRF.
///
/// # Safety
/// As for bind(2): no other thread unmaps the address meanwhile.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let prepared = bind_existing("bind", fd).and_then(|device| match device {
        // SAFETY: as callers promise.
        Some(_) => unsafe { stay_in_vrf(fd, address, length) },
        None => Ok(()),
    });
    match prepared {
        // SAFETY: the caller's own arguments.
        Ok(()) => unsafe { original::bind(fd, address, length) },
        Err(errno) => fail_with(errno),
    }
}

/// Refuses an address whose scope would take an IPv6 socket out of the VRF ([`rule::scope`]). What cannot be read is left
/// for the kernel to refuse.
///
/// # Safety
/// No other thread unmaps the address meanwhile.
unsafe fn stay_in_vrf(fd: c_int, address: *const sockaddr, length: socklen_t) -> Result<(), Errno> {
    // SAFETY: as callers promise.
    let address = unsafe { sys::sockaddr_in6(address, length) };
    let scope = address.and_then(|address| rule::scope(&address));
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
/// The original connect() is a cancellation point, whose thread may be unwound through our frame: it needs
/// nothing done, and the library has an .eh_frame_hdr by which it is found.
///
/// # Safety
/// As for connect(2): no other thread unmaps the address meanwhile.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let device = match bind_existing("connect", fd) {
        Ok(device) => device,
        Err(errno) => return fail_with(errno),
    };
    // SAFETY: the caller's own arguments.
    let result = unsafe { original::connect(fd, address, length) };
    if result == 0
        && let Some(device) = device
        // SAFETY: connect() has succeeded, so the kernel, or another preload, has read an address there.
        && unsafe { sys::family(address) } == libc::AF_UNSPEC
    {
        return disconnected(fd, &device);
    }
    result
}

/// Gives a socket its device back: connect(AF_UNSPEC) takes it from a datagram or raw socket
/// (__udp_disconnect, net/ipv4/udp.c). If that cannot be, nothing must leave by the socket any more.
#[cold]
fn disconnected(fd: c_int, device: &DeviceName) -> c_int {
    if rule::has_lost_its_device(sys::bound_device(fd).map_err(Errno::into_raw))
        && let Err(errno) = sys::bind_or_is_bound(fd, device)
    {
        sys::shutdown(fd);
        return fail_with(errno);
    }
    0
}

/// listen(2) on a socket that has a device, or gets it first.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    match bind_existing("listen", fd) {
        Ok(_) => original::listen(fd, backlog),
        Err(errno) => fail_with(errno),
    }
}

/// execve(2), with an environment in which nothing of ours is missing.
///
/// # Safety
/// `path` is a string, and `envp` NULL or an array of strings with a NULL at its end. No other thread changes them meanwhile.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    if patch::is_patched(&settings::INFO.execve) {
        // SAFETY: the caller's own arguments.
        return unsafe { original::execve(path, argv, envp) };
    }
    // SAFETY: as callers promise.
    match unsafe { exec::repair(Program::At(libc::AT_FDCWD, path), envp) } {
        // SAFETY: the caller's own arguments, but for the environment, which lasts until the call returns.
        Ok(repaired) => unsafe { original::execve(path, argv, repaired.envp()) },
        Err(errno) => fail_with(errno),
    }
}

/// Where libc's own `execve` jumps: execv, execvp, execl, posix_spawn, system, popen and the like.
///
/// # Safety
/// As for [`execve`].
pub unsafe extern "C" fn libc_execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    // SAFETY: as callers promise.
    match unsafe { exec::repair(Program::At(libc::AT_FDCWD, path), envp) } {
        Ok(repaired) => fail_with(sys::execve(path, argv, repaired.envp())),
        Err(errno) => fail_with(errno),
    }
}

/// execveat(2), likewise. glibc's makes the system call itself; musl 1.2.3 has none.
///
/// # Safety
/// As for [`execve`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn execveat(
    directory: c_int,
    path: *const c_char,
    argv: Strings,
    envp: Strings,
    flags: c_int,
) -> c_int {
    if settings::vrf() == Setting::Inert {
        // SAFETY: the caller's own arguments.
        return unsafe { original::execveat(directory, path, argv, envp, flags) };
    }
    // SAFETY: as callers promise.
    let program = if flags & libc::AT_EMPTY_PATH != 0 && unsafe { sys::is_empty(path) } {
        Program::Fd(directory)
    } else {
        Program::At(directory, path)
    };
    // SAFETY: as callers promise.
    match unsafe { exec::repair(program, envp) } {
        // SAFETY: the caller's own arguments, but for the environment, which lasts until the call returns.
        Ok(repaired) => unsafe {
            original::execveat(directory, path, argv, repaired.envp(), flags)
        },
        Err(errno) => fail_with(errno),
    }
}

/// fexecve(3), likewise.
///
/// # Safety
/// As for [`execve`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int {
    // SAFETY: as callers promise.
    match unsafe { exec::repair(Program::Fd(fd), envp) } {
        // SAFETY: the caller's own arguments, but for the environment, which lasts until the call returns.
        Ok(repaired) => unsafe { original::fexecve(fd, argv, repaired.envp()) },
        Err(errno) => fail_with(errno),
    }
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
fn create_direct(via: Via, domain: c_int, sock_type: c_int, protocol: c_int) -> c_int {
    let (device, result) = match rule::at_creation(settings::vrf(), domain, sock_type) {
        Decision::Pass => {
            return sys::socket(domain, sock_type, protocol).unwrap_or_else(fail_with);
        }
        Decision::Fail(errno) => (None, Err(Errno::new(errno))),
        Decision::Bind(device) => {
            let call = [domain, sock_type, protocol];
            let result = sys::socket(domain, sock_type, protocol).and_then(|fd| {
                bound_or_closed(fd, sys::bind_or_is_bound(fd, &device), &device, call)
            });
            (Some(device), result)
        }
    };
    if log::is_on() {
        log::socket("socket", via.word(), (domain, sock_type), device, result);
    }
    result.unwrap_or_else(fail_with)
}

/// A socket by the original, which belongs to another preload. If that asks libc, and libc's body
/// jumps to us, the socket comes back with its device; so it is looked at before anything is done.
fn create_via_next(domain: c_int, sock_type: c_int, protocol: c_int) -> c_int {
    let (device, result) = match rule::at_creation(settings::vrf(), domain, sock_type) {
        Decision::Pass => return original::socket(domain, sock_type, protocol),
        Decision::Fail(errno) => (None, Err(Errno::new(errno))),
        Decision::Bind(device) => {
            let fd = original::socket(domain, sock_type, protocol);
            if fd < 0 {
                return fd;
            }
            let result = match sys::bound_device(fd) {
                Ok(Some(found)) if found == device => Ok(()),
                _ => sys::bind_or_is_bound(fd, &device),
            };
            let call = [domain, sock_type, protocol];
            (Some(device), bound_or_closed(fd, result, &device, call))
        }
    };
    if log::is_on() {
        log::socket("socket", "next", (domain, sock_type), device, result);
    }
    result.unwrap_or_else(fail_with)
}

/// Hands out a new socket with its device, or not at all.
fn bound_or_closed(
    fd: c_int,
    bound: Result<(), Errno>,
    device: &DeviceName,
    call: [c_int; 3],
) -> Result<c_int, Errno> {
    match bound {
        Ok(()) => Ok(fd),
        Err(errno) => not_bound(fd, errno, device, call),
    }
}

/// A filter of the program's own may refuse setsockopt(2). A supervisor does without, and makes another socket.
#[cold]
#[inline(never)]
fn not_bound(
    fd: c_int,
    errno: Errno,
    device: &DeviceName,
    call: [c_int; 3],
) -> Result<c_int, Errno> {
    sys::close(fd);
    if settings::is_supervised() {
        sys::supervised_socket(device, call)
    } else {
        Err(errno)
    }
}

/// Gives a socket that came from elsewhere (inherited, passed, created before we were there) its device, if it has none
/// ([`rule::existing`]). Returns the device that the socket shall have afterwards.
fn bind_existing(call: &'static str, fd: c_int) -> Result<Option<DeviceName>, Errno> {
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
fn fail_with(errno: Errno) -> c_int {
    sys::set_errno(errno);
    -1
}
