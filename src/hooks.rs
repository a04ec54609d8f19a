//! All entry points of the library: the exported symbols, and the functions that libc's patched code jumps to. Each hook
//! has the same shape: leave early, decide, act.
//!
//! The errno of a call that fails because of us (the kernel's own failures are passed on as they are):
//!
//! | errno  | from                        | meaning                                                   |
//! |--------|-----------------------------|-----------------------------------------------------------|
//! | ENODEV | socket, bind/connect/listen | there is no device of that name in this network namespace |
//! | ENODEV | setsockopt                  | the device is outside the VRF                             |
//! | EADDRNOTAVAIL | bind                 | the address has the scope of a device outside the VRF     |
//! | EPERM  | socket, bind/connect/listen | before Linux 5.7 without CAP_NET_RAW; or somebody else    |
//! |        |                             | has bound the socket to another device first              |
//! | EINVAL | all                         | a setting is invalid (not for execve), or the seal was    |
//! |        |                             | refused                                                   |
//! | other  | socket, bind/connect/listen | the errno of setsockopt(2), e.g. from a seccomp filter    |
//! | E2BIG  | execve and its like         | the environment cannot be repaired (see `exec`)           |
//! | EINVAL | execve and its like         | LD_PRELOAD cannot name the library's path (see `exec`)    |
//!
//! A program or library may define functions of its own by these names, and call them. A call that concerns no IP socket may
//! be one of these, so it is passed on to the next function unchanged: all argument registers, in their full width.
//!
//! On success errno is unchanged. When socket() fails because of us, it has closed its descriptor. The other hooks then have
//! not made the call, with one exception: if a socket cannot get its device back after connect() to AF_UNSPEC, it is shut
//! down. The socket of a refused bind() may have got its device.
use crate::exec::program::Program;
use crate::libc::original::Arguments;
use crate::libc::patch::Hook;
use crate::libc::prefix::{self, Stubs};
use crate::libc::{original, patch};
use crate::log::{Refused, Via};
use crate::moving::{self, Moved, Prepared};
use crate::sys::Strings;
use crate::sys::state::Sockaddr;
use crate::{arch, exec, log, settings, sys};
use core::ffi::{c_char, c_int, c_long, c_void};
use core::ptr;
use libc::{SO_BINDTODEVICE, SO_BINDTOIFINDEX, sockaddr, socklen_t};
use rules::DeviceName;
use rules::list::{Call, List, To};
use rules::settling::LO;
use rules::socket::{self as rule, Decision, Device, Existing, Rebinding, SOCKADDR_IN6, Setting};
use syscalls::{Errno, Sysno};

/// socket(2). Adds one setsockopt(2) to a socket of AF_INET or AF_INET6, and nothing to others. If another preload creates
/// the socket, also a getsockopt(2).
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn socket(
    domain: usize,
    sock_type: usize,
    protocol: usize,
    d: usize,
    e: usize,
    f: usize,
) -> usize {
    let arguments = [domain, sock_type, protocol, d, e, f];
    // libc's function would only make the system call, which under a seal needs the marker. The function of another preload
    // is called if there is no seal, or if libc's body, which it calls in turn, jumps back to us.
    if !settings::is_inert()
        && (original::socket_is_libcs()
            || (settings::is_sealed() && !patch::is_patched(&settings::INFO.socket)))
    {
        let [domain, sock_type, protocol] = [domain, sock_type, protocol].map(|it| it as c_int);
        return create_direct(Via::Export, domain, sock_type, protocol) as usize;
    }
    create_via_next(arguments)
}

/// For libc's own `socket`: getaddrinfo, res_query and all other callers inside libc.
extern "C" fn libc_socket(domain: c_int, sock_type: c_int, protocol: c_int) -> c_int {
    create_direct(Via::Libc, domain, sock_type, protocol)
}

arch::export_syscall! {
    /// syscall(2): a socket is created here, everything else goes on to the original.
    ///
    /// # Safety
    /// As for the system call.
    syscall_socket, original::ORIGINALS, syscall_early
}

/// syscall(SYS_socket, domain, sock_type, protocol).
extern "C" fn syscall_socket(
    _: c_long,
    domain: c_long,
    sock_type: c_long,
    protocol: c_long,
) -> c_long {
    let (domain, sock_type, protocol) = (domain as c_int, sock_type as c_int, protocol as c_int);
    if settings::is_inert() {
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
pub unsafe extern "C" fn bind(
    fd: usize,
    address: *const sockaddr,
    length: usize,
    d: usize,
    e: usize,
    f: usize,
) -> usize {
    let arguments = [fd, address.expose_provenance(), length, d, e, f];
    if let Some(list) = settings::rules() {
        // SAFETY: as callers promise.
        return unsafe { bind_by_rules(list, address, arguments) };
    }
    let prepared = bind_existing("bind", fd as c_int).and_then(|device| match device {
        Some(device) if length as c_int >= SOCKADDR_IN6 as c_int => {
            // SAFETY: as callers promise.
            let address = unsafe { Sockaddr::read(address, length) };
            stay_in_vrf(None, fd as c_int, device, &address)
        }
        _ => Ok(()),
    });
    match prepared {
        // SAFETY: the caller's own arguments.
        Ok(()) => unsafe { original::forward(original::BIND, arguments) },
        Err(errno) => fail_with(errno) as usize,
    }
}

/// Under rules, the socket is put where its address belongs first, and moved back if the call fails.
///
/// # Safety
/// As for [`bind`].
#[cold]
unsafe fn bind_by_rules(list: &List, address: *const sockaddr, arguments: Arguments) -> usize {
    let [fd, _, length, ..] = arguments;
    let fd = fd as c_int;
    // SAFETY: as callers promise.
    let address = unsafe { Sockaddr::read(address, length) };
    let moved = match moving::prepare(list, Call::Bind, fd, &address) {
        Ok(Prepared::Call(moved)) => moved,
        Ok(Prepared::Done) => return 0,
        Err(errno) => return fail_with(errno) as usize,
    };
    let result = match stay_in_vrf(Some(list), fd, Device::Vrf, &address) {
        // SAFETY: the caller's own arguments.
        Ok(()) if is_told(original::BIND) => unsafe { tell(Sysno::bind, arguments) },
        // SAFETY: the caller's own arguments.
        Ok(()) => unsafe { original::forward(original::BIND, arguments) },
        Err(errno) => fail_with(errno) as usize,
    };
    if result as c_int != 0 {
        moved.undo(fd);
    }
    result
}

/// Refuses an address whose scope would take an IPv6 socket out of the VRF, if it is in one ([`rule::scope`]). The kernel
/// refuses an address that cannot be read.
fn stay_in_vrf(
    list: Option<&List>,
    fd: c_int,
    device: Device,
    address: &Sockaddr,
) -> Result<(), Errno> {
    let Some(scope) = address.bytes().first_chunk().and_then(rule::scope) else {
        return Ok(());
    };
    let vrf = match list {
        Some(list) => moving::judge_of_scope(list, fd),
        None => settings::vrf().device(),
    };
    let Some(vrf) = vrf else {
        return Ok(());
    };
    if sys::domain(fd) != Ok(libc::AF_INET6) {
        return Ok(());
    }
    let in_vrf = || sys::may_send_by(&vrf, scope).map_err(Errno::into_raw);
    let own = match device {
        Device::Number(own) => Some(own),
        Device::Vrf => sys::bound_index(fd),
    };
    let result = rule::at_scope(scope, own, in_vrf).map_err(Errno::new);
    if let Err(errno) = result {
        log::outside(Refused::Bind, &vrf, fd, scope, errno);
    }
    result
}

arch::export_connect! {
    /// connect(2) of a socket that has a device, or gets it first, and has it afterwards.
    ///
    /// The original connect() is a cancellation point, whose thread may be unwound through our frame. The frame needs no
    /// cleanup, and an unwinder finds it (`arch::call_frame`).
    ///
    /// # Safety
    /// As for connect(2): no other thread unmaps the address meanwhile.
    before_connect, after_connect
}

/// The frame of our `connect`.
#[repr(C)]
struct Connecting {
    arguments: Arguments,
    then: Then,
}

const _: () = assert!(size_of::<Then>() <= arch::ROOM);

/// What has to be done after connect(2).
enum Then {
    Nothing,
    /// AF_UNSPEC takes the device away.
    KeepDevice(Device),
    /// If the call fails, the socket is moved back.
    MoveBack(Moved),
}

/// What connect() returns if it succeeds without a call of the original.
const SUCCESS: usize = 0;

/// Returns the address of the original connect(2), or the result that ours returns at once.
///
/// # Safety
/// The frame has the arguments and room for the rest; as for connect(2), no other thread unmaps the address meanwhile.
unsafe extern "C" fn before_connect(frame: *mut Connecting) -> usize {
    // SAFETY: as callers promise.
    let [fd, address, length, ..] = unsafe { (*frame).arguments };
    let fd = fd as c_int;
    let prepared = match settings::rules() {
        None => bind_existing("connect", fd)
            .map(|device| Some(device.map_or(Then::Nothing, Then::KeepDevice))),
        Some(list) => {
            // SAFETY: as callers promise.
            let address = unsafe { Sockaddr::read(ptr::with_exposed_provenance(address), length) };
            let prepared = moving::prepare(list, Call::Connect, fd, &address);
            prepared.map(|prepared| match prepared {
                Prepared::Call(moved) => Some(Then::MoveBack(moved)),
                Prepared::Done => None,
            })
        }
    };
    match prepared {
        Ok(Some(then)) => {
            let is_ruled = matches!(then, Then::MoveBack(_));
            // SAFETY: as callers promise.
            let place = unsafe { &raw mut (*frame).then };
            // SAFETY: as callers promise.
            unsafe { place.write(then) };
            if is_ruled && is_told(original::CONNECT) && !sys::may_wait(fd) {
                // SAFETY: as callers promise.
                let arguments = unsafe { (*frame).arguments };
                // SAFETY: the caller's own arguments.
                let result = unsafe { tell(Sysno::connect, arguments) };
                // SAFETY: as callers promise.
                return unsafe { after_connect(frame, result) };
            }
            original::address(original::CONNECT)
        }
        Ok(None) => SUCCESS,
        Err(errno) => fail_with(errno) as usize,
    }
}

/// Returns the result of our connect() after the original one has returned `result`.
///
/// # Safety
/// As for [`before_connect`], which has been called.
unsafe extern "C" fn after_connect(frame: *mut Connecting, result: usize) -> usize {
    // SAFETY: as callers promise.
    let frame = unsafe { &*frame };
    let [fd, address, ..] = frame.arguments;
    let (fd, has_failed) = (fd as c_int, result as c_int != 0);
    match &frame.then {
        Then::KeepDevice(device)
            if !has_failed
            // SAFETY: connect() has succeeded, so the kernel, or another preload, has read an address there.
            && unsafe { sys::family(ptr::with_exposed_provenance(address)) } == libc::AF_UNSPEC =>
        {
            disconnected(fd, *device) as usize
        }
        // A connection that is being made goes on.
        Then::MoveBack(moved)
            if has_failed
                && !matches!(
                    sys::errno(),
                    Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR | Errno::EISCONN
                ) =>
        {
            moved.undo(fd);
            result
        }
        _ => result,
    }
}

/// Whether the marker tells a supervisor that the library has judged a call. Otherwise the supervisor judges it again, and
/// has to read this process's memory for that, which may be forbidden. Only if the original is libc's own, which would make
/// the same system call and nothing else. libc makes a connect() that may wait, since there a thread can be cancelled.
fn is_told(original: usize) -> bool {
    settings::is_supervised() && original::is_libcs(original)
}

/// Makes the call with the marker.
///
/// # Safety
/// As for this call.
#[inline(never)]
unsafe fn tell(call: Sysno, [a, b, c, d, e, _]: Arguments) -> usize {
    // SAFETY: as callers promise.
    let result = unsafe { arch::marked(call, [a, b, c, d, e]) };
    result.unwrap_or_else(|errno| fail_with(errno) as usize)
}

/// Gives a socket its device back, which connect(AF_UNSPEC) takes from a datagram or raw socket
/// (__udp_disconnect, net/ipv4/udp.c). If that fails, nothing must leave by the socket any more.
#[cold]
fn disconnected(fd: c_int, device: Device) -> c_int {
    if !rule::has_lost_its_device(sys::bound(fd).map_err(Errno::into_raw)) {
        return 0;
    }
    let result = match (device, settings::vrf().device()) {
        // A deleted device is not given back by its name, which another VRF may have by now.
        (Device::Number(index), vrf) if vrf.is_none() || sys::device_name(index).is_ok() => {
            sys::bind_to_index(fd, index)
        }
        (_, Some(vrf)) => sys::bind_or_is_bound(fd, &vrf),
        (_, None) => Ok(()),
    };
    match result {
        Ok(()) => 0,
        Err(errno) => {
            sys::shutdown(fd);
            fail_with(errno)
        }
    }
}

/// listen(2) on a socket that has a device, or gets it first.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn listen(
    fd: usize,
    backlog: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> usize {
    let arguments = [fd, backlog, c, d, e, f];
    if let Some(list) = settings::rules() {
        return listen_by_rules(list, arguments);
    }
    match bind_existing("listen", fd as c_int) {
        // SAFETY: the caller's own arguments; listen(2) has no pointers.
        Ok(_) => unsafe { original::forward(original::LISTEN, arguments) },
        Err(errno) => fail_with(errno) as usize,
    }
}

#[cold]
fn listen_by_rules(list: &List, arguments: Arguments) -> usize {
    let [fd, ..] = arguments;
    let moved = match moving::prepare_listener(list, fd as c_int) {
        Ok(moved) => moved,
        Err(errno) => return fail_with(errno) as usize,
    };
    // SAFETY: the caller's own arguments; listen(2) has no pointers.
    let result = unsafe { original::forward(original::LISTEN, arguments) };
    if result as c_int != 0 {
        moved.undo(fd as c_int);
    }
    result
}

/// setsockopt(2). A program that puts a socket on a device itself, or on none, does so within its VRF ([`rule::rebinding`]).
/// All other options go on to the original.
///
/// # Safety
/// As for setsockopt(2).
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn setsockopt(
    fd: usize,
    level: usize,
    option: usize,
    value: *const c_void,
    length: usize,
    f: usize,
) -> usize {
    let is_judged = level as c_int == libc::SOL_SOCKET
        && matches!(option as c_int, SO_BINDTODEVICE | SO_BINDTOIFINDEX);
    if is_judged {
        match rebind(fd as c_int, option as c_int, value, length as socklen_t) {
            Ok(Rebinding::AsAsked) => {}
            Ok(_) => return 0,
            Err(errno) => return fail_with(errno) as usize,
        }
    }
    let arguments = [fd, level, option, value.expose_provenance(), length, f];
    if is_judged && settings::rules().is_some() && is_told(original::SETSOCKOPT) {
        // SAFETY: the caller's own arguments.
        return unsafe { tell(Sysno::setsockopt, arguments) };
    }
    // SAFETY: the caller's own arguments.
    unsafe { original::forward(original::SETSOCKOPT, arguments) }
}

/// Does what a setsockopt() of one of these options asks for, except [`Rebinding::AsAsked`].
#[cold]
fn rebind(
    fd: c_int,
    option: c_int,
    value: *const c_void,
    length: socklen_t,
) -> Result<Rebinding, Errno> {
    let setting = settings::vrf();
    if matches!(setting, Setting::Inert | Setting::Default) {
        return Ok(Rebinding::AsAsked);
    }
    // The kernel refuses the call if this is no socket.
    let domain = sys::domain(fd).unwrap_or(libc::AF_UNSPEC);
    let vrf = match rule::unbound(setting, domain) {
        Decision::Pass => return Ok(Rebinding::AsAsked),
        Decision::Fail(errno) => return Err(Errno::new(errno)),
        Decision::Bind(vrf) => vrf,
    };
    let asked = sys::device_asked(option, value, length)?;
    let in_vrf = |index| {
        // What is sent by lo comes in by lo.
        if index == LO && settings::rules().is_some_and(|list| list.names(To::Lo)) {
            return Ok(());
        }
        let result = sys::may_send_by(&vrf, index);
        result.map_err(Errno::into_raw)
    };
    let rebinding = rule::rebinding(sys::bound_index(fd), asked, in_vrf).map_err(Errno::new);
    match rebinding {
        Ok(Rebinding::ToVrf) => sys::bind_or_is_bound(fd, &vrf)?,
        Err(errno) => log::outside(Refused::Setsockopt, &vrf, fd, asked.unwrap_or(0), errno),
        Ok(_) => {}
    }
    rebinding
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
        // SAFETY: the caller's own arguments, except the environment, which lasts until the call returns.
        Ok(repaired) => unsafe { original::execve(path, argv, repaired.envp()) },
        Err(errno) => fail_with(errno),
    }
}

/// For libc's own `execve`: execv, execvp, execl, posix_spawn, system, popen and the like.
///
/// # Safety
/// As for [`execve`].
unsafe extern "C" fn libc_execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    // SAFETY: as callers promise.
    match unsafe { exec::repair(Program::At(libc::AT_FDCWD, path), envp) } {
        Ok(repaired) => fail_with(sys::execve(path, argv, repaired.envp())),
        Err(errno) => fail_with(errno),
    }
}

arch::after_push!(libc_socket_after_push, libc_socket);
arch::after_push!(libc_execve_after_push, libc_execve);

arch::connect_stubs! { before_libc_connect, prefix::RESUME }

/// What a preparation returns if the call shall be made.
const GO_ON: c_int = 1;

/// Called before libc's own `connect`, if there are rules. Returns 1, or the result of `connect`.
///
/// # Safety
/// As for connect(2): no other thread unmaps the address meanwhile.
unsafe extern "C" fn before_libc_connect(
    fd: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    // SAFETY: as callers promise.
    let result = unsafe { prepare_inside(fd, address, length) };
    if result != GO_ON || !settings::is_supervised() || sys::may_wait(fd) {
        return result;
    }
    let address = address.expose_provenance();
    // SAFETY: the caller's own arguments.
    unsafe {
        tell(
            Sysno::connect,
            [fd as usize, address, length as usize, 0, 0, 0],
        ) as c_int
    }
}

/// Puts a socket that libc itself uses where the address belongs. If the call fails, the socket stays there.
///
/// # Safety
/// As for connect(2).
unsafe fn prepare_inside(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let Some(list) = settings::rules() else {
        return GO_ON;
    };
    // SAFETY: as callers promise.
    let address = unsafe { Sockaddr::read(address, length as usize) };
    match moving::prepare(list, Call::Connect, fd, &address) {
        Ok(Prepared::Call(_)) => GO_ON,
        Ok(Prepared::Done) => 0,
        Err(errno) => fail_with(errno),
    }
}

arch::sendto_stub! { before_libc_sendto, prefix::RESUME_SENDTO }
arch::sendmsg_stub! { before_libc_sendto, prefix::RESUME_SENDMSG }

/// Called before libc's own `sendto`, and a `sendmsg` that connects, if there are rules for connect(). Returns 1, or the result
/// of the call: -1, with EINPROGRESS.
///
/// # Safety
/// As for sendto(2): no other thread unmaps the address meanwhile.
unsafe extern "C" fn before_libc_sendto(
    fd: c_int,
    address: *const sockaddr,
    length: socklen_t,
    caller: usize,
) -> c_int {
    if address.is_null() || !prefix::is_in_libc(caller) {
        return GO_ON;
    }
    // SAFETY: as callers promise.
    match unsafe { prepare_inside(fd, address, length) } {
        GO_ON => GO_ON,
        // With another errno of sendmsg() the resolver would call connect(). That of sendto() it does not look at.
        _ => fail_with(Errno::EINPROGRESS),
    }
}

/// The stubs behind the prefixes of libc's own `sendto` and `sendmsg`.
pub const SEND_STUBS: [fn(arch::Shape) -> Stubs; 2] = [sendto_stub, sendmsg_stub];

/// The stubs behind the prefix of libc's own `connect`.
pub const CONNECT_STUBS: fn(arch::Shape) -> Stubs = connect_stubs;

/// The target of the jump in libc's own `socket`.
pub fn socket_hook() -> Hook {
    Hook {
        plain: libc_socket as *const () as usize,
        after_push: libc_socket_after_push as *const () as usize,
    }
}

/// The target of the jump in libc's own `execve`.
pub fn execve_hook() -> Hook {
    Hook {
        plain: libc_execve as *const () as usize,
        after_push: libc_execve_after_push as *const () as usize,
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
    if settings::is_inert() {
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
        // SAFETY: the caller's own arguments, except the environment, which lasts until the call returns.
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
        // SAFETY: the caller's own arguments, except the environment, which lasts until the call returns.
        Ok(repaired) => unsafe { original::fexecve(fd, argv, repaired.envp()) },
        Err(errno) => fail_with(errno),
    }
}

/// Creates a socket by a system call of our own.
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

/// Creates a socket by the original, which belongs to another preload. If the preload calls libc, whose body jumps to
/// us, the socket comes back with its device; so the device is read first.
fn create_via_next(arguments: Arguments) -> usize {
    let [domain, sock_type, protocol, ..] = arguments.map(|it| it as c_int);
    let (device, result) = match rule::at_creation(settings::vrf(), domain, sock_type) {
        Decision::Fail(errno) => (None, Err(Errno::new(errno))),
        decision => {
            // SAFETY: the caller's own arguments; socket(2) has no pointers.
            let answer = unsafe { original::forward(original::SOCKET, arguments) };
            let fd = answer as c_int;
            let device = match decision {
                Decision::Bind(device) if fd >= 0 => device,
                _ => return answer,
            };
            let result = match sys::bound_device(fd) {
                Ok(Some(found)) if found == device => Ok(()),
                _ => sys::bind_or_is_bound(fd, &device),
            };
            let call = [domain, sock_type, protocol];
            (Some(device), bound_or_closed(fd, result, &device, call))
        }
    };
    if log::is_on() {
        log::socket(
            "socket",
            Via::Next.word(),
            (domain, sock_type),
            device,
            result,
        );
    }
    result.unwrap_or_else(fail_with) as usize
}

/// Returns a new socket with its device, or closes it.
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

/// The program's own seccomp filter may refuse setsockopt(2). A supervisor, which does not need it, then creates another
/// socket.
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

/// Gives a socket that the library did not create (inherited, passed, created before the library was loaded) its device, if
/// it has none ([`rule::existing`]). Returns the device that the socket has to have after the call.
pub fn bind_existing(call: &'static str, fd: c_int) -> Result<Option<Device>, Errno> {
    let setting = settings::vrf();
    if matches!(setting, Setting::Inert | Setting::Default) {
        return Ok(None);
    }
    if let Existing::Keep(device) = rule::existing(setting, sys::bound(fd).map_err(Errno::into_raw))
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
    result.map(|()| device.map(|_| Device::Vrf))
}

#[cold]
#[inline(never)]
fn fail_with(errno: Errno) -> c_int {
    sys::set_errno(errno);
    -1
}
