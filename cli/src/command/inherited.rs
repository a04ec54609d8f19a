//! `vrfbind exec --bind-inherited`: puts inherited sockets into the VRF before the program starts.
//!
//! A device belongs to the open socket, not to a descriptor: for all other processes that have the socket it is in the
//! VRF too. So only the sockets that were asked for are bound. A socket that has a device keeps it.

use crate::failure::{Failure, refuse};
use crate::sys::{self, other_process};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use rules::DeviceName;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// Binds the sockets of these descriptors, each of which has to be a socket; without any, all sockets.
pub fn bind(named: &[RawFd], device: &DeviceName) -> Result<(), Failure> {
    if named.is_empty() {
        for fd in open()? {
            if let Some(socket) = ip_socket(fd) {
                bind_one(fd, &socket, device)?;
            }
        }
    }
    for &fd in named {
        let socket = ip_socket(fd).ok_or_else(|| {
            refuse(format!(
                "--bind-inherited={fd}: descriptor {fd} is not an IPv4 or IPv6 socket"
            ))
        })?;
        bind_one(fd, &socket, device)?;
    }
    Ok(())
}

/// The open descriptors of this process, and the one that has listed them and is closed.
fn open() -> Result<Vec<RawFd>, Failure> {
    const LIST: &str = "/proc/self/fd";
    let cannot = |error| {
        refuse(format!(
            "--bind-inherited: {LIST}: {error}; name the descriptors, as in --bind-inherited=3,4"
        ))
    };
    let names = fs::read_dir(LIST).map_err(cannot)?;
    let names = names.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    let number = |name: &fs::DirEntry| name.file_name().to_str()?.parse().ok();
    Ok(names.iter().filter_map(number).collect())
}

fn ip_socket(fd: RawFd) -> Option<OwnedFd> {
    let socket = sys::inherited(fd).ok()?;
    match other_process::socket_option(&socket, libc::SO_DOMAIN) {
        Ok(libc::AF_INET | libc::AF_INET6) => Some(socket),
        _ => None,
    }
}

fn bind_one(fd: RawFd, socket: &OwnedFd, device: &DeviceName) -> Result<(), Failure> {
    let has_one = match getsockopt(socket, sockopt::BindToDevice) {
        Ok(name) => !name.is_empty(),
        // It had a device, which has been deleted.
        Err(Errno::ENODEV) => true,
        Err(_) => false,
    };
    let name = OsStr::from_bytes(device.as_bytes()).to_owned();
    if has_one {
        return Ok(());
    }
    setsockopt(socket, sockopt::BindToDevice, &name).map_err(|errno| {
        refuse(format!(
            "--bind-inherited: descriptor {fd}: setsockopt(SO_BINDTODEVICE, {}): {}",
            name.display(),
            errno.desc()
        ))
    })
}
