//! /proc/PID by one descriptor, with a limit for what is read; and files by the paths that the process has for them.

use crate::sys::other_process;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most bytes that are read from a file of another process.
pub const MOST: u64 = 1 << 20;

/// /proc/PID. All reads through it are about one process: when it has ended, everything fails, even if another process
/// has got the PID.
pub struct Directory {
    pub pid: u32,
    fd: OwnedFd,
}

impl Directory {
    pub fn open(pid: u32) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(&*format!("/proc/{pid}"), flags, Mode::empty())?;
        Ok(Self { pid, fd })
    }

    /// The path of something in it, which leads through the descriptor.
    pub fn path(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()).into()
    }

    /// Reads a file of which no more than [`MOST`] bytes are expected: one byte more if there are more.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(name))?
            .take(MOST + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A pidfd of the process.
    pub fn pidfd(&self) -> Result<OwnedFd, Errno> {
        let pidfd = other_process::pidfd_open(self.pid)?;
        // If our process still exists now, the pidfd is its own.
        fs::metadata(self.path("stat")).map_err(|_| Errno::ESRCH)?;
        Ok(pidfd)
    }
}

/// Opens a regular file by a path that is resolved below this root. None: there is none.
pub fn open_below(root: &Path, path: &Path) -> io::Result<Option<File>> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = open(root, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found = match openat2(&root, path, how) {
        Ok(found) => File::from(found),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if !found.metadata()?.is_file() {
        return Ok(None);
    }
    // With O_NONBLOCK a lease is broken without waiting for its holder (fcntl(2)).
    let file = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    Ok(Some(file))
}
