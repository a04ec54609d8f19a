//! Every system call and every look into memory that is not ours, one typed function each.
//!
//! System calls are made directly: another preload cannot get between us and the kernel here, and
//! errno, which belongs to the program, is only ever written by [`set_errno`]. Errors are values.
//! Callable from signal handlers and vfork children, except where a function says otherwise.

use abi::{DeviceName, NAME_SIZE};
use core::ffi::{CStr, c_char, c_int};
use core::mem::size_of_val;
use core::ops::Range;
use libc::{SO_BINDTODEVICE, SO_DOMAIN, SOL_SOCKET};
use syscalls::{Errno, syscall};

/// Puts the socket into `device`.
///
/// socket(7): ENODEV if there is no such device. EPERM without CAP_NET_RAW, until Linux 5.7 always,
/// since then (c427bfec18f2) only if the socket has a device already, be it the same.
pub fn bind_to_device(fd: c_int, device: &DeviceName) -> Result<(), Errno> {
    let name = device.padded();
    // SAFETY: the kernel reads size_of_val(name) bytes of `name`, which is borrowed until then.
    unsafe {
        syscall!(
            syscalls::Sysno::setsockopt,
            fd,
            SOL_SOCKET,
            SO_BINDTODEVICE,
            name.as_ptr(),
            size_of_val(name)
        )
    }?;
    Ok(())
}

/// The device of the socket, if it has one. ENODEV: it had one, which has been deleted since; the
/// socket reaches nothing any more. Since Linux 3.8 (c91f6df2db49).
pub fn bound_device(fd: c_int) -> Result<Option<DeviceName>, Errno> {
    let mut name = [0; NAME_SIZE];
    // The kernel writes the name with its NUL, at most NAME_SIZE bytes, or says that it has none.
    let length = getsockopt(fd, SO_BINDTODEVICE, &mut name)?;
    Ok((length > 0).then(|| DeviceName::from_padded(name)))
}

/// The family of the socket. Since Linux 2.6.32.
pub fn domain(fd: c_int) -> Result<c_int, Errno> {
    let mut domain = [0; size_of::<c_int>()];
    getsockopt(fd, SO_DOMAIN, &mut domain)?;
    Ok(c_int::from_ne_bytes(domain))
}

fn getsockopt(fd: c_int, option: c_int, value: &mut [u8]) -> Result<libc::socklen_t, Errno> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, and then `length`; both are
    // borrowed exclusively until then.
    unsafe {
        syscall!(
            syscalls::Sysno::getsockopt,
            fd,
            SOL_SOCKET,
            option,
            value.as_mut_ptr(),
            &raw mut length
        )
    }?;
    Ok(length)
}

/// Closes a descriptor of ours. Nothing can be done about an error, and on Linux the descriptor is
/// gone whatever close(2) returns.
pub fn close(fd: c_int) {
    // SAFETY: callers own `fd`; no one else was told its number.
    let _ = unsafe { syscall!(syscalls::Sysno::close, fd) };
}

/// Sets errno, which is libc's and belongs to the thread.
pub fn set_errno(errno: Errno) {
    // SAFETY: glibc and musl return the address of this thread's errno, from any context.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: see above; it is valid as long as the thread is.
    unsafe { *location = errno.into_raw() };
}

/// Whether the kernel said at exec that the process is more privileged than whoever started it:
/// set-user-ID, set-group-ID, file capabilities, or a security module's word (getauxval(3)).
pub fn is_secure_execution() -> bool {
    // SAFETY: reads what ld.so keeps; glibc since 2.16, musl since 1.0.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Makes the pages of a segment of ours read-only for good. An error is no harm: a page that stays
/// writable is what every other library has.
pub fn make_read_only(segment: Range<usize>) {
    // SAFETY: reads what ld.so keeps. The kernel always says its page size.
    let page = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
    let start = segment.start & page.wrapping_neg();
    // SAFETY: callers know that nothing in these pages is written any more.
    let _ = unsafe {
        syscall!(
            syscalls::Sysno::mprotect,
            start,
            segment.end - start,
            libc::PROT_READ
        )
    };
}

/// The panic handler's end of the process, named so that a look at the imports shows whether the
/// handler was linked in.
#[cfg(not(test))]
pub fn abort() -> ! {
    // SAFETY: abort(3) has no preconditions.
    unsafe { libc::abort() }
}

/// The environment, as it is while this value lives: nobody may change it until then. In the
/// constructor that holds, because the program has not started.
pub struct Environment(*const *const c_char);

impl Environment {
    /// In the constructor, where glibc has not set `environ` yet if ours is the first, but passes
    /// `envp`. musl passes nothing, but has set `environ` long before (__dls3, ldso/dynlink.c).
    pub fn at_load(envp: *const *const c_char) -> Self {
        Self::now().unwrap_or(Self(envp))
    }

    /// By libc's `environ`, if libc has one already.
    pub fn now() -> Option<Self> {
        unsafe extern "C" {
            static environ: *const *const c_char;
        }
        // SAFETY: exported by both libcs, and of this type.
        let environment = unsafe { environ };
        (!environment.is_null()).then_some(Self(environment))
    }

    /// The value of the first variable of this name, which is the one getenv(3) returns.
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        let mut entry = self.0;
        loop {
            // SAFETY: `entry` points into the array, at or before the NULL at its end.
            let string = unsafe { *entry };
            if string.is_null() {
                return None;
            }
            // SAFETY: what is before the NULL are strings.
            let string = unsafe { CStr::from_ptr(string) }.to_bytes();
            if let Some(value) = string
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(b"="))
            {
                return Some(value);
            }
            // SAFETY: this entry was not the NULL, so there is a next one.
            entry = unsafe { entry.add(1) };
        }
    }
}

/// A line for stderr, built on the stack, written with one write(2). What does not fit is cut.
pub struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Line {
    pub const fn new() -> Self {
        Self {
            bytes: [0; 256],
            length: 0,
        }
    }

    /// Adds text of ours.
    pub fn text(&mut self, text: &[u8]) {
        for &byte in text {
            if let Some(to) = self.bytes.get_mut(self.length) {
                *to = byte;
                self.length += 1;
            }
        }
    }

    /// Adds at most 32 bytes that somebody else chose, each that is not printable ASCII as `?`: a
    /// terminal may be reading.
    pub fn foreign(&mut self, text: &[u8]) {
        for byte in text.iter().take(32) {
            let printable = byte.is_ascii_graphic() || *byte == b' ';
            self.text(&[if printable { *byte } else { b'?' }]);
        }
    }

    /// Writes the line if that neither blocks nor kills: a full pipe is left alone, and so is one
    /// that nobody reads (SIGPIPE), a closed descriptor, and an IP socket, which is how inetd hands
    /// a connection to a program: the peer did not ask for our opinion.
    pub fn write_to_stderr(&self) {
        let is_ip = matches!(
            domain(libc::STDERR_FILENO),
            Ok(libc::AF_INET | libc::AF_INET6)
        );
        if is_ip || !is_writable(libc::STDERR_FILENO) {
            return;
        }
        if let Some(line) = self.bytes.get(..self.length) {
            // SAFETY: the kernel reads line.len() bytes of `line`. A failed write is nobody's loss.
            let _ = unsafe {
                syscall!(
                    syscalls::Sysno::write,
                    libc::STDERR_FILENO,
                    line.as_ptr(),
                    line.len()
                )
            };
        }
    }
}

/// poll(2) without waiting. A pipe is writable if it has room for PIPE_BUF (4,096) bytes, more than
/// a [`Line`]; POLLERR says that nobody reads.
fn is_writable(fd: c_int) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLOUT,
        revents: 0,
    };
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: one pollfd, borrowed exclusively, and a timespec; no signal mask, hence its size is 0.
    // ppoll, because aarch64 has no poll.
    let ready = unsafe {
        syscall!(
            syscalls::Sysno::ppoll,
            &raw mut poll,
            1,
            &raw const now,
            0,
            0
        )
    };
    ready == Ok(1) && poll.revents == libc::POLLOUT
}
