//! Messages: warnings and errors on stderr, and the log that `VRFBIND_LOG` asks for.
//!
//! A line is built on the stack and written with one write(2), so that lines of different threads and
//! processes do not mix. The log is off by default and then costs one load. A path is opened for each
//! line (O_APPEND, O_CLOEXEC) and closed again: the program could close a descriptor that is kept open,
//! and get a socket under the same fd.

use crate::sys::{self, WORDS, Word};
use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use rules::DeviceName;
use rules::settings::STDERR;
use syscalls::Errno;

/// The path, or `stderr`. Null: there is no log.
static LOG: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// For the constructor, if a VRF is asked for.
pub fn prepare(path: Option<&'static CStr>) {
    if let Some(path) = path {
        LOG.store(path.as_ptr().cast_mut(), Ordering::Release);
    }
}

#[allow(unsafe_code)]
fn path() -> Option<&'static CStr> {
    let path = LOG.load(Ordering::Acquire);
    // SAFETY: null, or what `prepare` was passed.
    (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) })
}

/// Whether there is a log.
pub fn is_on() -> bool {
    !LOG.load(Ordering::Relaxed).is_null()
}

/// Whether the log goes to stderr.
fn is_stderr() -> bool {
    path().is_some_and(|path| path.to_bytes() == STDERR)
}

/// A line, built on the stack. What does not fit is cut, but never the end of the line.
pub struct Line {
    bytes: [u8; 320],
    length: usize,
}

impl Line {
    /// A line that begins with this, behind our name.
    #[inline(never)]
    pub fn new(beginning: &[u8]) -> Self {
        let mut line = Self {
            bytes: [0; 320],
            length: 0,
        };
        line.text(b"vrfbind: ");
        line.text(beginning);
        line
    }

    /// Adds text of ours.
    #[inline(never)]
    pub fn text(&mut self, text: &[u8]) {
        for &byte in text {
            // The last byte is for the newline.
            let limit = self.bytes.len() - usize::from(byte != b'\n');
            if self.length < limit
                && let Some(to) = self.bytes.get_mut(self.length)
            {
                *to = byte;
                self.length += 1;
            }
        }
    }

    /// Adds at most 100 bytes of untrusted text. A byte that is not printable ASCII becomes `?`, since a terminal may show
    /// the line.
    pub fn untrusted(&mut self, text: &[u8]) {
        for byte in text.iter().take(100) {
            let printable = byte.is_ascii_graphic() || *byte == b' ';
            self.text(&[if printable { *byte } else { b'?' }]);
        }
    }

    /// Adds text of ours, followed by a number.
    #[inline(never)]
    pub fn numbered(&mut self, text: &[u8], number: c_int) {
        self.text(text);
        self.number(number);
    }

    /// Adds a number.
    pub fn number(&mut self, number: c_int) {
        if number < 0 {
            self.text(b"-");
        }
        self.digits(number.unsigned_abs());
    }

    fn digits(&mut self, number: u32) {
        if number > 9 {
            self.digits(number / 10);
        }
        self.text(&[b'0' + (number % 10) as u8]);
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Writes the line, if that should neither block nor kill. It is not written to
    /// - a full pipe, or one that nobody reads (SIGPIPE);
    /// - a closed descriptor;
    /// - an IP socket: inetd passes a connection to a program so, and the peer must not get our messages;
    /// - any other socket that was not stderr at load (the journal's is one): a program that has closed its stderr gets its
    ///   fd for the next file that it opens.
    ///
    /// Not provided for: a change between this check and the write, a limit on the size of files (SIGXFSZ), and `stty
    /// tostop` (SIGTTOU).
    pub fn write_to_stderr(&self) {
        let is_ours_to_write = match sys::domain(libc::STDERR_FILENO) {
            Ok(libc::AF_INET | libc::AF_INET6) => false,
            Ok(_) => is_as_at_load(),
            Err(_) => true,
        };
        if is_ours_to_write && sys::is_writable(libc::STDERR_FILENO) {
            // A failed write is ignored: there is nobody to tell.
            let _ = sys::write(libc::STDERR_FILENO, self.bytes());
        }
    }

    /// Writes the line to the log and, if asked for, to stderr; only once if the log is stderr.
    #[inline(never)]
    pub fn write(&self, to_stderr: bool) {
        if to_stderr {
            self.write_to_stderr();
        }
        if !(to_stderr && is_stderr()) {
            self.write_to_log();
        }
    }

    /// Writes the line to the log, if there is one. A FIFO or terminal is opened with O_NONBLOCK, so that the write does not
    /// block; for other files there is no check.
    pub fn write_to_log(&self) {
        let Some(path) = path() else {
            return;
        };
        if path.to_bytes() == STDERR {
            self.write_to_stderr();
        } else if let Ok(fd) = sys::open_to_append(path.as_ptr()) {
            let _ = sys::write(fd, self.bytes());
            sys::close(fd);
        }
    }
}

/// The file that stderr was when the library was loaded: device and inode.
static STDERR_AT_LOAD: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Records, in the constructor, which file stderr is.
pub fn record_stderr() {
    if let Ok(file) = sys::stat(libc::STDERR_FILENO) {
        let [device, inode] = &STDERR_AT_LOAD;
        device.store(file.device, Ordering::Relaxed);
        inode.store(file.inode, Ordering::Relaxed);
    }
}

fn is_as_at_load() -> bool {
    let [device, inode] = &STDERR_AT_LOAD;
    let then = (
        device.load(Ordering::Relaxed),
        inode.load(Ordering::Relaxed),
    );
    sys::stat(libc::STDERR_FILENO).is_ok_and(|file| (file.device, file.inode) == then)
}

/// The way by which a call came to the library.
#[derive(Clone, Copy)]
pub enum Via {
    Export,
    Libc,
    Syscall,
    /// Another preload was asked for the socket.
    Next,
    Rule,
}

impl Via {
    #[cfg(test)]
    const ALL: [Self; 5] = [
        Self::Export,
        Self::Libc,
        Self::Syscall,
        Self::Next,
        Self::Rule,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Libc => "libc",
            Self::Syscall => "syscall",
            Self::Next => "next",
            Self::Rule => "rule",
        }
    }
}

/// Logs a decision about a socket, such as
/// `vrfbind: pid=7 call=socket via=libc family=2 type=1 fd=3 device=blue errno=0`.
#[cold]
pub fn socket(
    call: &str,
    via: &str,
    (family, sock_type): (c_int, c_int),
    device: Option<DeviceName>,
    result: Result<c_int, Errno>,
) {
    let mut line = Line::new(b"pid=");
    line.number(sys::getpid());
    line.text(b" call=");
    line.text(call.as_bytes());
    line.text(b" via=");
    line.text(via.as_bytes());
    line.numbered(b" family=", family);
    line.numbered(b" type=", rules::socket::plain_type(sock_type));
    line.numbered(b" fd=", result.unwrap_or(-1));
    line.text(b" device=");
    line.untrusted(device.as_ref().map_or(b"", DeviceName::as_bytes));
    line.numbered(b" errno=", result.err().map_or(0, Errno::into_raw));
    if result == Err(Errno::ENODEV) {
        line.text(b" (no such device)");
    }
    line.text(b"\n");
    line.write_to_log();
}

/// A call that fails because of a device that it names.
#[derive(Clone, Copy)]
pub enum Refused {
    /// bind(), by the scope of its address.
    Bind,
    /// setsockopt() of SO_BINDTODEVICE or SO_BINDTOIFINDEX.
    Setsockopt,
}

/// Reports that a call has failed because of the device of this number: on stderr the first time, and in the log.
#[cold]
pub fn outside(call: Refused, vrf: &DeviceName, fd: c_int, index: u32, errno: Errno) {
    let word = match call {
        Refused::Bind => Word::RefusedBind,
        Refused::Setsockopt => Word::RefusedSetsockopt,
    };
    let is_first = WORDS.is_first(word);
    if !is_first && !is_on() {
        return;
    }
    let (name, reason, relation): (&[u8], &[u8], &[u8]) = match call {
        Refused::Bind => (
            b"bind() of fd ",
            b" fails with EADDRNOTAVAIL: ",
            b", whose address it names,",
        ),
        Refused::Setsockopt => (
            b"setsockopt(SO_BINDTODEVICE) of fd ",
            b" fails with ENODEV: ",
            b"",
        ),
    };
    let is_outside = matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV);
    let mut line = Line::new(name);
    line.number(fd);
    if is_outside {
        line.text(reason);
    } else {
        line.numbered(b" fails with errno ", errno.into_raw());
        line.text(b" asking whether ");
    }
    match sys::device_name(index) {
        Ok(name) => line.untrusted(name.as_bytes()),
        Err(_) => {
            line.numbered(b"device ", index as c_int);
        }
    }
    line.text(relation);
    line.text(if is_outside {
        b" is not in VRF "
    } else {
        b" is in VRF "
    });
    line.untrusted(vrf.as_bytes());
    line.text(b" (VRFBIND_VRF)\n");
    line.write(is_first);
}

/// Reports that a call has failed because its socket cannot be put on the device where it belongs by the rule of this
/// number, or by no rule: on stderr the first time, and in the log. `why` follows "the socket" in the message.
#[cold]
pub fn not_moved(
    call: &str,
    fd: c_int,
    rule: Option<usize>,
    device: Option<DeviceName>,
    errno: Errno,
    why: [&str; 2],
) {
    let mut line = failed_call(call, fd, errno);
    line.text(b"its address belongs to ");
    match &device {
        Some(device) => line.untrusted(device.as_bytes()),
        None => line.text(b"no device"),
    }
    match rule {
        Some(rule) => {
            line.numbered(b" by rule ", rule as c_int);
        }
        None => line.text(b", for no rule matches"),
    }
    line.text(b", and the socket ");
    for why in why {
        line.text(why.as_bytes());
    }
    write_not_moved(line);
}

/// Reports that connect() to AF_UNSPEC has failed.
#[cold]
pub fn not_disconnected(fd: c_int, errno: Errno) {
    let mut line = failed_call("connect", fd, errno);
    line.text(b"AF_UNSPEC would take its device; use another socket");
    write_not_moved(line);
}

fn failed_call(call: &str, fd: c_int, errno: Errno) -> Line {
    let mut line = Line::new(call.as_bytes());
    line.numbered(b"() of fd ", fd);
    line.text(b" fails with ");
    match errno {
        Errno::EPERM => line.text(b"EPERM"),
        Errno::EADDRNOTAVAIL => line.text(b"EADDRNOTAVAIL"),
        Errno::ENODEV => line.text(b"ENODEV"),
        errno => {
            line.numbered(b"errno ", errno.into_raw());
        }
    }
    line.text(b": ");
    line
}

fn write_not_moved(mut line: Line) {
    line.text(b" (VRFBIND_RULES)\n");
    let is_first = WORDS.is_first(Word::NotMoved);
    line.write(is_first);
}

/// Logs that one of libc's functions could not be patched, and what to change.
pub fn not_patched(function: &str, reason: u32) {
    let why: &[u8] = match reason {
        rules::info::NOT_FOUND => b"libc has no such function",
        rules::info::UNKNOWN_CODE => b"its code is unknown",
        _ => b"its code cannot be written; allow /proc (ProtectProc=, ProcSubset=) or MemoryDenyWriteExecute=no",
    };
    let mut line = Line::new(b"libc's own ");
    line.text(function.as_bytes());
    line.text(b" is not patched, vrfbind and rules do not see libc's calls: ");
    line.text(why);
    line.text(b" (VRFBIND_LOG)\n");
    line.write_to_log();
}

#[cfg(test)]
mod tests {
    use super::Via;
    use std::vec::Vec;

    #[test]
    fn the_manual_explains_each_way() {
        let page = include_str!("../man/libvrfbind.7");
        let (_, list) = page
            .split_once("is the way by which the call came to the library:\n")
            .unwrap();
        let (list, _) = list.split_once("\n.PP\n").unwrap();
        let explained: Vec<_> = list
            .lines()
            .filter_map(|line| line.strip_prefix(".IP \\fB")?.strip_suffix("\\fR 10"))
            .collect();
        assert_eq!(explained, Via::ALL.map(Via::word));
    }
}
