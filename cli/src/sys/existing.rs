//! Calls on an existing socket, by the instruction itself: the library may be preloaded into this process, and hooks the
//! functions of these names. Another process may change the same socket meanwhile.

use nix::errno::Errno;
use rules::list::{Address, Call};
use rules::socket::SOCKADDR_IN6;
use rules::{DeviceName, NAME_SIZE};
use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};
use syscalls::{Sysno, syscall};

fn errno(error: syscalls::Errno) -> Errno {
    Errno::from_raw(error.into_raw())
}

/// getsockopt(2). Returns how many bytes of `value` the kernel has written.
pub fn option(
    socket: &OwnedFd,
    level: c_int,
    option: c_int,
    value: &mut [u8],
) -> Result<usize, Errno> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, and then `length`.
    unsafe {
        syscall!(
            Sysno::getsockopt,
            socket.as_raw_fd(),
            level,
            option,
            value.as_mut_ptr(),
            &raw mut length
        )
    }
    .map_err(errno)?;
    Ok(length as usize)
}

/// A number that is an option of the socket's own level.
pub fn number(socket: &OwnedFd, name: c_int) -> Result<c_int, Errno> {
    let mut value = [0; size_of::<c_int>()];
    option(socket, libc::SOL_SOCKET, name, &mut value)?;
    Ok(c_int::from_ne_bytes(value))
}

/// setsockopt(2).
pub fn set(socket: &OwnedFd, level: c_int, option: c_int, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads value.len() bytes. Where they have a pointer in them (SO_ATTACH_FILTER) it reads there, or fails
    // with EFAULT.
    unsafe {
        syscall!(
            Sysno::setsockopt,
            socket.as_raw_fd(),
            level,
            option,
            value.as_ptr(),
            value.len()
        )
    }
    .map(drop)
    .map_err(errno)
}

/// The device of the socket, if it has one. ENODEV: it has been deleted.
pub fn device(socket: &OwnedFd) -> Result<Option<DeviceName>, Errno> {
    let mut name = [0; NAME_SIZE];
    let length = option(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &mut name)?;
    Ok((length > 0).then(|| DeviceName::from_padded(name)))
}

/// Puts the socket on the device of this name.
pub fn put_on(socket: &OwnedFd, device: &DeviceName) -> Result<(), Errno> {
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_BINDTODEVICE,
        device.padded(),
    )
}

/// Puts the socket on the device of this number, or with 0 on none.
pub fn put_on_index(socket: &OwnedFd, index: u32) -> Result<(), Errno> {
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_BINDTOIFINDEX,
        &index.to_ne_bytes(),
    )
}

/// Which name is queried: that of the socket itself, or of its peer.
#[derive(Clone, Copy)]
pub enum End {
    Own,
    Peer,
}

/// getsockname(2), getpeername(2).
pub fn name(socket: &OwnedFd, end: End) -> Result<Vec<u8>, Errno> {
    let call = match end {
        End::Own => Sysno::getsockname,
        End::Peer => Sysno::getpeername,
    };
    let mut bytes = vec![0; SOCKADDR_IN6];
    let mut length = SOCKADDR_IN6 as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `bytes`, and then `length`.
    unsafe {
        syscall!(
            call,
            socket.as_raw_fd(),
            bytes.as_mut_ptr(),
            &raw mut length
        )
    }
    .map_err(errno)?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// The same as an address. None: it is not an IP address.
pub fn address(socket: &OwnedFd, end: End) -> Result<Option<Address>, Errno> {
    Ok(Address::of(Call::Connect, &name(socket, end)?))
}

/// bind(2).
pub fn bind(socket: &OwnedFd, address: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads address.len() bytes.
    unsafe {
        syscall!(
            Sysno::bind,
            socket.as_raw_fd(),
            address.as_ptr(),
            address.len()
        )
    }
    .map(drop)
    .map_err(errno)
}

/// connect(2) to AF_UNSPEC, of a stream, which keeps its device and does not wait.
pub fn disconnect(socket: &OwnedFd) -> Result<(), Errno> {
    let nobody = [0_u8; size_of::<libc::sockaddr>()];
    // SAFETY: the kernel reads nobody.len() bytes.
    unsafe {
        syscall!(
            Sysno::connect,
            socket.as_raw_fd(),
            nobody.as_ptr(),
            nobody.len()
        )
    }
    .map(drop)
    .map_err(errno)
}
