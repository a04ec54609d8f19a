//! Our own descriptors, and the program's: which of them are epoll(7) descriptors, and which are the same socket. Each
//! descriptor itself tells what it is; /proc tells only which descriptors are open.

use super::{close, domain, number, open_to_read, sock_type, socket};
use core::ffi::{CStr, c_int};
use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, O_CLOEXEC, SOCK_CLOEXEC};
use rules::registrations::{Registration, Search, decimal};
use syscalls::{Errno, Sysno, syscall};

/// A descriptor of ours, which is closed when this is dropped.
pub struct Own(pub c_int);

impl Drop for Own {
    fn drop(&mut self) {
        close(self.0);
    }
}

impl Own {
    /// A new UDP socket of this family, to ask the kernel by.
    #[inline(never)]
    pub fn scratch(domain: c_int) -> Result<Self, Errno> {
        socket(domain, libc::SOCK_DGRAM | SOCK_CLOEXEC, 0).map(Self)
    }

    /// A new socket of the same family, type and protocol.
    #[inline(never)]
    pub fn socket_like(fd: c_int) -> Result<Self, Errno> {
        let protocol = number(fd, libc::SO_PROTOCOL)?;
        socket(domain(fd)?, sock_type(fd)? | SOCK_CLOEXEC, protocol).map(Self)
    }

    pub fn epoll() -> Result<Self, Errno> {
        // SAFETY: takes no pointers.
        let fd = unsafe { syscall!(Sysno::epoll_create1, O_CLOEXEC) }?;
        Ok(Self(fd as c_int))
    }
}

/// EPOLL_CTL_ADD.
#[inline(never)]
pub fn register(epoll: c_int, fd: c_int, registration: Registration) -> Result<(), Errno> {
    let event = libc::epoll_event {
        events: registration.events,
        u64: registration.data,
    };
    // SAFETY: the kernel reads the struct.
    unsafe { syscall!(Sysno::epoll_ctl, epoll, EPOLL_CTL_ADD, fd, &raw const event) }?;
    Ok(())
}

/// EPOLL_CTL_DEL. EINVAL: it is no epoll descriptor. ENOENT: the other one is not registered there.
pub fn unregister(epoll: c_int, fd: c_int) -> Result<(), Errno> {
    // SAFETY: nothing is read or written.
    unsafe { syscall!(Sysno::epoll_ctl, epoll, EPOLL_CTL_DEL, fd, 0) }?;
    Ok(())
}

/// dup3(2): `to` becomes the file of `from`. With the flags of the descriptor `to`.
pub fn replace(from: c_int, to: c_int) -> Result<(), Errno> {
    let is_closed_on_exec = super::options::fcntl(to, libc::F_GETFD, 0) == Some(1);
    let flags = if is_closed_on_exec { O_CLOEXEC } else { 0 };
    // SAFETY: takes no pointers.
    unsafe { syscall!(Sysno::dup3, from, to, flags) }?;
    Ok(())
}

/// The descriptors of this thread, as /proc lists them.
pub struct Table(Own);

impl Table {
    pub fn open() -> Result<Self, Errno> {
        let path: &CStr = c"/proc/thread-self/fd";
        open_to_read(libc::AT_FDCWD, path.as_ptr()).map(|fd| Self(Own(fd)))
    }

    /// Visits all descriptors in order. `visit` returns EBADF for an fd that is not open: as long as few are not, /proc, which
    /// takes longer, is not read.
    pub fn visit(&self, visit: &mut dyn FnMut(c_int) -> Result<(), Errno>) -> Result<(), Errno> {
        const FEW: u32 = 16;
        let (mut fd, mut in_a_row) = (0, 0);
        loop {
            match visit(fd) {
                Ok(()) => in_a_row = 0,
                Err(Errno::EBADF) => in_a_row += 1,
                Err(errno) => return Err(errno),
            }
            fd += 1;
            if in_a_row == FEW {
                in_a_row = 0;
                fd = self.next_from(fd)?;
                if fd < 0 {
                    return Ok(());
                }
            }
        }
    }

    /// The first open descriptor from `fd` on, or -1.
    fn next_from(&self, fd: c_int) -> Result<c_int, Errno> {
        // The offset of the name in struct linux_dirent64.
        const NAME: usize = 19;
        let mut entries = [0_u8; 64];
        // The first two entries are "." and "..".
        // SAFETY: takes no pointers.
        unsafe { syscall!(Sysno::lseek, self.0.0, fd + 2, libc::SEEK_SET) }?;
        let size = entries.len();
        // SAFETY: the kernel writes at most `size` bytes.
        unsafe { syscall!(Sysno::getdents64, self.0.0, entries.as_mut_ptr(), size) }?;
        let mut next = -1;
        for digit in entries.iter().skip(NAME).take_while(|byte| **byte != 0) {
            next = 10 * next.max(0) + c_int::from(digit & 15);
        }
        Ok(next)
    }

    /// How `fd`, a file of this inode, is registered in `epoll`. ENOENT: another thread has closed that.
    pub fn registration(
        &self,
        epoll: c_int,
        fd: c_int,
        inode: u64,
    ) -> Result<Option<Registration>, Errno> {
        if is_unregistered(epoll, fd) {
            return Ok(None);
        }
        let (path, start) = info_path(epoll);
        let path = path.get(start..).unwrap_or_default();
        let file = Own(open_to_read(self.0.0, path.as_ptr().cast())?);
        let mut search = Search::new(fd as u32, inode);
        let mut buffer = [0; 512];
        loop {
            // SAFETY: the kernel writes at most buffer.len() bytes.
            let length =
                unsafe { syscall!(Sysno::read, file.0, buffer.as_mut_ptr(), buffer.len()) }?;
            let text = buffer.get(..length).unwrap_or_default();
            text.iter().for_each(|byte| search.next(*byte));
            // A file is registered by a number once.
            if length == 0 || search.found().is_some() {
                return Ok(search.found());
            }
        }
    }
}

/// `../fdinfo/FD` at the end of the bytes, with a NUL: a path relative to the directory of [`Table`].
fn info_path(fd: c_int) -> ([u8; 24], usize) {
    let mut path = [0; 24];
    let mut place = path.len() - 1;
    let mut put = |byte| {
        place -= 1;
        if let Some(to) = path.get_mut(place) {
            *to = byte;
        }
    };
    let mut digits = decimal(fd as u32);
    loop {
        put(b'0' | (digits & 15) as u8);
        digits >>= 4;
        if digits == 0 {
            break;
        }
    }
    b"../fdinfo/".iter().rev().for_each(|byte| put(*byte));
    (path, place)
}

/// Whether `fd` is surely not registered in `epoll`, by kcmp(2), which takes a hundredth of the time of reading the list. A
/// system call filter may refuse it.
fn is_unregistered(epoll: c_int, fd: c_int) -> bool {
    const KCMP_EPOLL_TFD: c_int = 7;
    // struct kcmp_epoll_slot: the first registration of this fd.
    let slot = [epoll, fd, 0];
    // SAFETY: no preconditions.
    let thread = unsafe { syscall!(Sysno::gettid) }.unwrap_or(0);
    // SAFETY: the kernel reads the struct.
    let result = unsafe {
        syscall!(
            Sysno::kcmp,
            thread,
            thread,
            KCMP_EPOLL_TFD,
            fd,
            slot.as_ptr()
        )
    };
    result == Err(Errno::ENOENT)
}
