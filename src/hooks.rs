//! Every symbol the library exports, in the shape: leave early, decide, act.
//!
//! What errno says when a call returns -1 because of us (the kernel's own failures are passed on as
//! they are):
//!
//! | errno  | from                      | meaning                                                     |
//! |--------|---------------------------|-------------------------------------------------------------|
//! | ENODEV | all four                  | there is no device of that name in this network namespace   |
//! | EPERM  | all four                  | before Linux 5.7 without CAP_NET_RAW; or somebody else has   |
//! |        |                           | bound the socket to another device first                    |
//! | EINVAL | all four                  | `VRFBIND_VRF` is not a device name                          |
//! | other  | all four                  | what setsockopt(2) gave, e.g. by a seccomp filter            |
//!
//! On success errno is what it was. socket() has closed its descriptor when it fails; the others
//! leave theirs as they found it, and the call they stand for has not been made.
#![allow(unsafe_code)]

use crate::policy::{self, Verdict};
use crate::{next, settings, sys};
use abi::DeviceName;
use core::ffi::c_int;
use libc::{sockaddr, socklen_t};
use syscalls::Errno;

/// socket(2). Adds one setsockopt(2) to a socket of AF_INET or AF_INET6, and nothing to others.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    match policy::at_birth(settings::vrf(), domain, kind) {
        Verdict::Through => next::socket(domain, kind, protocol),
        Verdict::Refuse(errno) => failed(errno),
        Verdict::Bind(device) => born(next::socket(domain, kind, protocol), &device),
    }
}

/// bind(2) of a socket that has a device, or gets it first.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    match adopt(fd) {
        Ok(()) => next::bind(fd, address, length),
        Err(errno) => failed(errno),
    }
}

/// connect(2) of a socket that has a device, or gets it first.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    match adopt(fd) {
        Ok(()) => next::connect(fd, address, length),
        Err(errno) => failed(errno),
    }
}

/// listen(2) on a socket that has a device, or gets it first.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    match adopt(fd) {
        Ok(()) => next::listen(fd, backlog),
        Err(errno) => failed(errno),
    }
}

/// Hands out a new socket with its device, or not at all.
fn born(fd: c_int, device: &DeviceName) -> c_int {
    if fd < 0 {
        return fd;
    }
    match put_into(fd, device) {
        Ok(()) => fd,
        Err(errno) => {
            sys::close(fd);
            failed(errno)
        }
    }
}

/// Gives a socket that came from elsewhere (inherited, passed, made before we were there) its
/// device. One that has a device keeps it, even if that has been deleted since (ENODEV): such a
/// socket reaches nothing. What is no socket is left for the kernel to complain about.
fn adopt(fd: c_int) -> Result<(), Errno> {
    let vrf = settings::vrf();
    if vrf == policy::Vrf::Inert {
        return Ok(());
    }
    match sys::bound_device(fd) {
        Ok(Some(_)) | Err(Errno::ENODEV | Errno::EBADF | Errno::ENOTSOCK) => return Ok(()),
        Ok(None) | Err(_) => {}
    }
    match policy::adopted(vrf, sys::domain(fd)?) {
        Verdict::Through => Ok(()),
        Verdict::Refuse(errno) => Err(errno),
        Verdict::Bind(device) => put_into(fd, &device),
    }
}

/// Puts a socket into the device. EPERM may only mean that somebody did so before us (`ip vrf exec`
/// around us, a second copy of us): then the socket's own word decides.
fn put_into(fd: c_int, device: &DeviceName) -> Result<(), Errno> {
    match sys::bind_to_device(fd, device) {
        Err(Errno::EPERM) if sys::bound_device(fd) == Ok(Some(*device)) => Ok(()),
        result => result,
    }
}

#[cold]
fn failed(errno: Errno) -> c_int {
    sys::set_errno(errno);
    -1
}
