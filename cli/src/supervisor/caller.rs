//! Whose socket it is, and with what rights: what /proc says of the thread that asks.

use crate::sys::{self, Call};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

/// Which user and group a socket belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

/// What a namespace is known by (namespaces(7)).
pub(super) type Inode = (libc::dev_t, libc::ino_t);

fn inode(file: &FileStat) -> Inode {
    (file.st_dev, file.st_ino)
}

const CAP_NET_RAW: u64 = 1 << 13;
const SOCK_DCCP: i32 = 6;

/// The types that everybody may have.
pub(super) const PLAIN: [i32; 4] = [
    libc::SOCK_STREAM,
    libc::SOCK_DGRAM,
    libc::SOCK_SEQPACKET,
    SOCK_DCCP,
];

impl Call {
    /// The type without its flags.
    pub(super) fn plain_kind(&self) -> i32 {
        self.kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
    }

    pub(super) fn is_ping(&self) -> bool {
        self.plain_kind() == libc::SOCK_DGRAM
            && matches!(self.protocol, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6)
    }
}

/// The thread that asks for a socket.
pub(super) struct Caller<'a> {
    pub(super) proc: BorrowedFd<'a>,
    pub(super) thread: u32,
}

impl Caller<'_> {
    /// `name` in its folder in /proc.
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.thread)
    }

    /// What cannot be seen (a thread of another process namespace, hidepid=, a namespace of a process that we could
    /// not trace) may not be served.
    fn stat(&self, name: &str) -> Result<FileStat, Errno> {
        fstatat(self.proc, self.path(name).as_str(), AtFlags::empty()).map_err(|_| Errno::EPERM)
    }

    pub(super) fn open(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.proc, self.path(name).as_str(), flags, Mode::empty());
        file.map(File::from).map_err(|_| Errno::EPERM)
    }

    pub(super) fn netns(&self) -> Result<Inode, Errno> {
        self.stat("ns/net").map(|file| inode(&file))
    }

    /// Its effective user and group: those of its folder, however little it may be looked into (task_dump_owner,
    /// fs/proc/base.c).
    pub(super) fn owner(&self) -> Result<Owner, Errno> {
        let folder = self.stat("")?;
        Ok(Owner {
            user: folder.st_uid,
            group: folder.st_gid,
        })
    }

    /// CAP_NET_RAW counts in the user namespace that owns the network namespace: the caller's own, or one
    /// below it (user_namespaces(7)).
    pub(super) fn has_net_raw(&self) -> Result<bool, Errno> {
        if Status::of(self)?.capabilities & CAP_NET_RAW == 0 {
            return Ok(false);
        }
        let its_own = inode(&self.stat("ns/user")?);
        let mut namespace = sys::owner_of_namespace(&self.open("ns/net")?);
        while let Ok(one) = namespace {
            if inode(&fstat(&one)?) == its_own {
                return Ok(true);
            }
            namespace = sys::parent_of_namespace(&one);
        }
        Ok(false)
    }
}

/// What /proc/TID/status says (proc(5)).
pub(super) struct Status {
    /// The supplementary groups and, as the last one, the effective group.
    pub(super) groups: Vec<u32>,
    /// The effective capabilities.
    capabilities: u64,
}

impl Status {
    pub(super) fn of(caller: &Caller) -> Result<Self, Errno> {
        Self::read(&text(caller.open("status")?)?).ok_or(Errno::EPERM)
    }

    fn read(text: &str) -> Option<Self> {
        let line = |name| text.lines().find_map(|line| line.strip_prefix(name));
        let mut groups = numbers(line("Groups:")?);
        // Real, effective, saved, of the file system.
        groups.push(*numbers(line("Gid:")?).get(1)?);
        let capabilities = u64::from_str_radix(line("CapEff:")?.trim(), 16).ok()?;
        Some(Self {
            groups,
            capabilities,
        })
    }
}

fn text(mut file: File) -> Result<String, Errno> {
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|_| Errno::EPERM)?;
    Ok(text)
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::process;

    #[test]
    fn reads_what_the_kernel_says_of_a_thread() {
        let status = "Name:\tx\nGid:\t1\t2\t3\t4\nGroups:\t7 8 \nCapEff:\t0000000000002001\n";
        let status = Status::read(status).unwrap();
        assert_eq!(status.groups, [7, 8, 2]);
        assert_eq!(status.capabilities, CAP_NET_RAW | 1);
        assert!(Status::read("Name:\tx\n").is_none());
        let proc = File::open("/proc").unwrap();
        let myself = Caller {
            proc: proc.as_fd(),
            thread: process::id(),
        };
        let groups = Status::of(&myself).unwrap().groups;
        assert_eq!(groups.last(), Some(&nix::unistd::getegid().as_raw()));
        let owner = myself.owner().unwrap();
        assert_eq!(owner.user, nix::unistd::geteuid().as_raw());
    }

    #[test]
    fn a_thread_that_is_not_visible_is_not_served() {
        let proc = File::open("/proc").unwrap();
        let nobody = Caller {
            proc: proc.as_fd(),
            thread: 0,
        };
        assert_eq!(nobody.netns(), Err(Errno::EPERM));
        assert!(nobody.owner().is_err_and(|errno| errno == Errno::EPERM));
    }
}
