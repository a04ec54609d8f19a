//! Queries about other processes and their sockets: the calls that nix does not have.

use nix::errno::Errno;
use std::ffi::{CStr, c_void};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{ffi::CString, ptr};

/// SIOCGSKNS, linux/sockios.h. Since Linux 4.10.
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// SO_NETNS_COOKIE, asm-generic/socket.h. Since Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// pidfd_open(2), Linux 5.3.
pub fn pidfd_open(pid: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd)
}

/// pidfd_open(2) of a thread, whose table of descriptors may be its own: Linux 6.9. Before, EINVAL.
pub fn pidfd_open_thread(thread: u32) -> Result<OwnedFd, Errno> {
    const PIDFD_THREAD: libc::c_int = libc::O_EXCL;
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, thread, PIDFD_THREAD) };
    owned(fd)
}

/// pidfd_getfd(2), Linux 5.6: a duplicate of another process's descriptor. Requires the right to attach to the process
/// (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS): EPERM without it.
pub fn pidfd_getfd(process: &OwnedFd, fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) };
    owned(fd)
}

/// A number that is an option of the socket's own level.
pub fn socket_option(fd: impl AsFd, option: libc::c_int) -> Result<libc::c_int, Errno> {
    option_of(fd, option)
}

/// The identity of the socket's network namespace, unique until the next boot.
pub fn netns_cookie(fd: impl AsFd) -> Result<u64, Errno> {
    option_of(fd, SO_NETNS_COOKIE)
}

/// A descriptor of the socket's network namespace. Requires CAP_NET_ADMIN in it.
pub fn netns_of(fd: impl AsFd) -> Result<OwnedFd, Errno> {
    // SAFETY: this request takes no argument.
    let fd = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), SIOCGSKNS) };
    owned(fd.into())
}

/// An extended attribute (getxattr(2)) of at most 64 bytes, as links are followed.
pub fn attribute(path: &Path, name: &CStr) -> Result<Vec<u8>, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut value = vec![0; 64];
    // SAFETY: the kernel reads two strings, and writes at most value.len() bytes to `value`.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    value.truncate(Errno::result(length)? as usize);
    Ok(value)
}

/// The first page of a file in our own memory, for its line in /proc/self/maps. There is no way to read it: an access
/// could block for ever, or kill us by SIGBUS.
pub struct Page(*mut c_void);

impl Page {
    /// One byte: the kernel maps the page around it.
    const LENGTH: usize = 1;

    /// Maps the page. Nothing of the file is read.
    pub fn of(file: &File) -> Result<Self, Errno> {
        // SAFETY: new memory, where the kernel likes.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                Self::LENGTH,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self(page))
    }

    /// Its address.
    pub fn address(&self) -> u64 {
        self.0 as u64
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `of`, and nobody has a reference into it.
        unsafe { libc::munmap(self.0, Self::LENGTH) };
    }
}

/// Integers: whatever the kernel writes is a value of theirs.
trait Number: Default {}
impl Number for libc::c_int {}
impl Number for u64 {}

fn option_of<T: Number>(fd: impl AsFd, option: libc::c_int) -> Result<T, Errno> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, of which every pattern is a number.
    let result = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            ptr::from_mut(&mut value).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(value)
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just returned this descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
