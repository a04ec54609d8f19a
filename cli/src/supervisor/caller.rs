//! The calling thread: which VRF it names, and its rights, by /proc.
//!
//! All of it is read anew for each call, except the VRF, which may be remembered ([`known`](super::known)). Since its
//! last call a thread may have got other rights or another network namespace; its process may have executed another
//! program, which no number of the kernel shows; and its TID may belong to another thread.

use crate::proc_status::Status;
use crate::sys::other_process::{pidfd_getfd, pidfd_open, pidfd_open_thread};
use crate::sys::{self, Call};
use crate::{auxv, environ};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, getegid, geteuid};
use rules::request::Vrf;
use rules::socket::plain_type;
use rules::{RULES_VARIABLE, VRF_VARIABLE};
use std::ffi::{OsString, c_int};
use std::fs::File;
use std::io::{BufRead, BufReader, IoSliceMut, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Which user and group a socket belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    group: u32,
}

impl Owner {
    pub(super) fn ours() -> Self {
        Self {
            user: geteuid().as_raw(),
            group: getegid().as_raw(),
        }
    }
}

/// Does something as the user and group of another process (setfsuid(2)). EPERM: we may not.
pub(super) fn as_owner<R>(
    owner: Owner,
    ours: Owner,
    act: impl FnOnce() -> Result<R, Errno>,
) -> Result<R, Errno> {
    if owner == ours {
        return act();
    }
    let result = sys::set_owner(owner.user, owner.group).and_then(|()| act());
    // Our own IDs can always be set again.
    sys::set_owner(ours.user, ours.group)?;
    result
}

/// What the line of a mapping ends with.
const LIBRARY: [&str; 2] = ["/libvrfbind.so", "/libvrfbind.so (deleted)"];

/// The most bytes of an environment that are read. execve(2) accepts at most 6 MiB of strings (since Linux 4.13), but a
/// program may change the range that is shown (PR_SET_MM in prctl(2)).
const LONGEST: u64 = 8 << 20;

fn is_too_long(environ: &[u8]) -> bool {
    environ.len() as u64 > LONGEST
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
    pub(super) fn is_ping(&self) -> bool {
        plain_type(self.sock_type) == libc::SOCK_DGRAM
            && matches!(self.protocol, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6)
    }
}

/// The thread that asks for a socket.
pub(super) struct Caller<'a> {
    pub(super) proc: BorrowedFd<'a>,
    pub(super) thread: u32,
    /// Our own user and group.
    pub(super) reader: Owner,
}

impl Caller<'_> {
    /// `name` in its directory in /proc.
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.thread)
    }

    /// Reads something in /proc with our own rights, or with those of the caller's user, which are sufficient for the
    /// user's own processes: so these are served without CAP_SYS_PTRACE. EPERM: it cannot be read. The thread may be in
    /// another PID namespace, or hidden by hidepid=; or much of its process is hidden, because it has changed its user
    /// and not executed a program since, or may not read its own program (PR_SET_DUMPABLE in prctl(2)).
    fn look<R>(&self, look: impl Fn() -> Result<R, Errno>) -> Result<R, Errno> {
        let seen = match look() {
            Err(Errno::EACCES | Errno::EPERM) => as_owner(self.owner()?.0, self.reader, look),
            result => result,
        };
        seen.map_err(|errno| match errno {
            // Our table of descriptors is not the caller's.
            Errno::EMFILE | Errno::ENFILE => Errno::ENFILE,
            Errno::ENOMEM => errno,
            _ => Errno::EPERM,
        })
    }

    pub(super) fn open(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let path = self.path(name);
        self.look(|| openat(self.proc, path.as_str(), flags, Mode::empty()).map(File::from))
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::with_capacity(4096);
        let mut file = self.open(name)?;
        file.read_to_end(&mut bytes).map_err(|_| Errno::EPERM)?;
        Ok(bytes)
    }

    /// The lines of a file that may be long. Bytes that are not UTF-8 are replaced.
    pub(super) fn lines(
        &self,
        name: &str,
    ) -> Result<impl Iterator<Item = Result<String, Errno>> + use<>, Errno> {
        let lines = BufReader::new(self.open(name)?).split(b'\n');
        Ok(lines.map(|line| {
            let line = line.map_err(|_| Errno::EPERM)?;
            Ok(String::from_utf8_lossy(&line).into_owned())
        }))
    }

    fn inode(&self, name: &str) -> Result<Inode, Errno> {
        let path = self.path(name);
        let file = self.look(|| fstatat(self.proc, path.as_str(), AtFlags::empty()))?;
        Ok(inode(&file))
    }

    /// The identity of its network namespace (namespaces(7)).
    pub(super) fn netns(&self) -> Result<OsString, Errno> {
        let path = self.path("ns/net");
        self.look(|| readlinkat(self.proc, path.as_str()))
    }

    /// A file that exists once in each network namespace, and whose inode everybody may read (fs/proc/proc_net.c).
    pub(super) fn net_dev(&self) -> Result<Inode, Errno> {
        self.inode("net/dev")
    }

    /// Its effective user and group: those of its directory, however little of it may be read (task_dump_owner,
    /// fs/proc/base.c). And its identity among all threads.
    pub(super) fn owner(&self) -> Result<(Owner, Identity), Errno> {
        let path = self.path("");
        let directory = fstatat(self.proc, path.as_str(), AtFlags::empty());
        let directory = directory.map_err(|_| Errno::EPERM)?;
        let owner = Owner {
            user: directory.st_uid,
            group: directory.st_gid,
        };
        let made = (directory.st_ctime, directory.st_ctime_nsec);
        Ok((owner, Identity(self.thread, directory.st_ino, made)))
    }

    /// The environment that its program was executed with: the VRF, and whether there are rules.
    pub(super) fn named(&self) -> Result<(Named, bool), Errno> {
        let mut file = match self.open("environ") {
            Err(Errno::EPERM) => return Ok((Named::Unknown, false)),
            result => result?,
        };
        let mut environ = Vec::new();
        loop {
            let (length, room) = (environ.len(), environ.len().max(2048));
            environ.resize(length + room, 0);
            let rest = environ.get_mut(length..).unwrap_or_default();
            let read = file.read(rest).map_err(|_| Errno::EPERM)?;
            environ.truncate(length + read);
            let named = match environ::value(&environ, VRF_VARIABLE) {
                Some(value) => Named::read(value),
                None if read == 0 => Named::without(&environ),
                None if is_too_long(&environ) => return Ok((Named::Unknown, false)),
                None => continue,
            };
            return Ok((named, has_rules(file, environ)?));
        }
    }

    /// The VRF and the rules.
    pub(super) fn environment(&self) -> Result<Environment, Errno> {
        let read = || {
            let mut environ = Vec::new();
            let mut file = self.open("environ")?.take(LONGEST + 1);
            file.read_to_end(&mut environ).map_err(|_| Errno::EPERM)?;
            Ok(environ)
        };
        let environ = match read() {
            Ok(environ) if !is_too_long(&environ) => environ,
            Ok(_) | Err(Errno::EPERM) => Vec::from(*b"?"),
            Err(errno) => return Err(errno),
        };
        let value = |variable| environ::value(&environ, variable);
        Ok(Environment {
            vrf: value(VRF_VARIABLE).map_or_else(|| Named::without(&environ), Named::read),
            rules: value(RULES_VARIABLE).unwrap_or_default().to_vec(),
        })
    }

    /// Whether its program has more privileges than its caller (AT_SECURE in getauxval(3)).
    pub(super) fn is_secure(&self) -> Result<bool, Errno> {
        self.read("auxv").map(|auxv| auxv::is_secure(&auxv))
    }

    /// The bytes at this address in the caller's memory, as many as can be read: if they cannot, the kernel fails the
    /// call as well (EFAULT). EPERM: we may not read (PTRACE_MODE_ATTACH_REALCREDS in ptrace(2)).
    pub(super) fn memory(&self, address: usize, bytes: &mut [u8]) -> Result<usize, Errno> {
        let there = RemoteIoVec {
            base: address,
            len: bytes.len(),
        };
        let thread = Pid::from_raw(self.thread as i32);
        match process_vm_readv(thread, &mut [IoSliceMut::new(bytes)], &[there]) {
            Err(Errno::EFAULT) => Ok(0),
            Err(_) => Err(Errno::EPERM),
            read => read,
        }
    }

    /// The socket of this descriptor of the caller. EBADF: there is none; EPERM: as in [`Self::memory`].
    pub(super) fn duplicate(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let process = match pidfd_open_thread(self.thread) {
            Err(Errno::EINVAL) => {
                // In a thread that has a descriptor table of its own (unshare(CLONE_FILES)) the fd would be another file.
                let process = self.status()?.process.ok_or(Errno::EPERM)?;
                pidfd_open(process)
            }
            process => process,
        };
        match pidfd_getfd(&process.map_err(|_| Errno::EPERM)?, fd) {
            Err(errno @ (Errno::EBADF | Errno::ENFILE)) => Err(errno),
            Err(Errno::EMFILE) => Err(Errno::ENFILE),
            Err(_) => Err(Errno::EPERM),
            socket => socket,
        }
    }

    /// The file of this descriptor, as in /proc.
    pub(super) fn link(&self, fd: &str) -> Result<OsString, Errno> {
        let path = self.path(&format!("fd/{fd}"));
        self.look(|| readlinkat(self.proc, path.as_str()))
    }

    /// The flags of this descriptor, as of open(2) (proc_pid_fdinfo(5)).
    pub(super) fn flags(&self, fd: c_int) -> Result<c_int, Errno> {
        for line in self.lines(&format!("fdinfo/{fd}"))? {
            if let Some(flags) = line?.strip_prefix("flags:") {
                return c_int::from_str_radix(flags.trim(), 8).map_err(|_| Errno::EPERM);
            }
        }
        Err(Errno::EPERM)
    }

    /// The numbers of its descriptors.
    pub(super) fn descriptors(&self) -> Result<Vec<String>, Errno> {
        let path = self.path("fd");
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        self.look(|| {
            let mut directory = Dir::openat(self.proc, path.as_str(), flags, Mode::empty())?;
            let names = directory
                .iter()
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
            names.collect()
        })
    }

    /// Opens a regular file with the rights of the caller, as the caller sees it. (A link to an absolute path is followed
    /// from our root.) The open does not wait for a FIFO.
    pub(super) fn open_file(&self, path: &Path) -> Result<File, Errno> {
        let path = Path::new(&self.path("root")).join(path.strip_prefix("/").unwrap_or(path));
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        as_owner(self.owner()?.0, self.reader, || {
            let found = fstatat(self.proc, path.as_path(), AtFlags::empty())?;
            if found.st_mode & libc::S_IFMT != libc::S_IFREG {
                return Err(Errno::EINVAL);
            }
            openat(self.proc, path.as_path(), flags, Mode::empty()).map(File::from)
        })
    }

    /// The name of its program.
    pub(super) fn name(&self) -> String {
        let name = self.read("comm").unwrap_or_default();
        let name = String::from_utf8_lossy(name.trim_ascii_end()).into_owned();
        name.chars()
            .map(|one| if one.is_control() { '?' } else { one })
            .collect()
    }

    /// Whether the library is in its process.
    pub(super) fn has_library(&self) -> bool {
        let is_library = |line: String| LIBRARY.iter().any(|name| line.ends_with(name));
        self.lines("maps")
            .is_ok_and(|mut lines| lines.any(|line| line.is_ok_and(is_library)))
    }

    pub(super) fn status(&self) -> Result<Status, Errno> {
        Status::parse(&self.read("status")?).ok_or(Errno::EPERM)
    }

    /// CAP_NET_RAW counts in the user namespace that owns the network namespace: the caller's own, or one
    /// below it (user_namespaces(7)).
    pub(super) fn has_net_raw(&self) -> Result<bool, Errno> {
        if self.status()?.capabilities & CAP_NET_RAW == 0 {
            return Ok(false);
        }
        let its_own = self.inode("ns/user")?;
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

/// The TID of a thread, and the inode of its directory with the time of its creation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u32, libc::ino_t, (libc::time_t, libc::c_long));

pub(super) type Inode = (libc::dev_t, libc::ino_t);

fn inode(file: &FileStat) -> Inode {
    (file.st_dev, file.st_ino)
}

/// What an environment says.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Environment {
    pub(super) vrf: Named,
    /// The value of `VRFBIND_RULES`; empty: it is not there.
    pub(super) rules: Vec<u8>,
}

/// The VRF of an environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Named {
    /// Nothing: the variable is not there, or empty.
    Nothing,
    Vrf(Vrf),
    /// An invalid name.
    Invalid,
    /// The environment cannot be read, or the program has overwritten it, as setproctitle(3) does.
    Unknown,
}

impl Named {
    fn read(value: &[u8]) -> Self {
        match value {
            b"" => Self::Nothing,
            name => Vrf::of(name).map_or(Self::Invalid, Self::Vrf),
        }
    }

    /// The result for an environment without the variable. execve(2) gets strings of the form NAME=VALUE, one after the
    /// other.
    fn without(environ: &[u8]) -> Self {
        let mut strings = environ.split_inclusive(|&byte| byte == 0);
        if strings.all(|string| string.contains(&b'=') && string.ends_with(&[0])) {
            Self::Nothing
        } else {
            Self::Unknown
        }
    }
}

/// Whether an environment that begins with these bytes, and continues in the file, has rules: a string that begins with
/// `VRFBIND_RULES=` and is longer. The rest needs no more memory than the beginning.
fn has_rules(mut rest: impl Read, mut environ: Vec<u8>) -> Result<bool, Errno> {
    let size = environ.len().max(1024);
    loop {
        let value = |string: &[u8]| {
            let value = string.strip_prefix(RULES_VARIABLE.as_bytes())?;
            value.strip_prefix(b"=").map(<[u8]>::len)
        };
        let mut strings = environ.split(|&byte| byte == 0);
        if strings.any(|string| value(string) > Some(0)) {
            return Ok(true);
        }
        // Keeps as much of an unfinished string as tells whether it is the variable.
        let last = environ.rsplit(|&byte| byte == 0).next();
        let mut last = last.unwrap_or_default().to_vec();
        last.truncate(RULES_VARIABLE.len() + 1);
        let kept = last.len();
        environ = last;
        environ.resize(kept + size, 0);
        let read = environ.get_mut(kept..).unwrap_or_default();
        let read = rest.read(read).map_err(|_| Errno::EPERM)?;
        if read == 0 {
            return Ok(false);
        }
        environ.truncate(kept + read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::process;

    fn caller(proc: &File, thread: u32) -> Caller<'_> {
        Caller {
            proc: proc.as_fd(),
            thread,
            reader: Owner::ours(),
        }
    }

    #[test]
    fn reads_what_the_kernel_says_of_a_thread() {
        let proc = File::open("/proc").unwrap();
        let myself = caller(&proc, process::id());
        let groups = myself.status().unwrap().groups;
        assert_eq!(groups.last(), Some(&getegid().as_raw()));
        assert!(myself.owner().unwrap().0 == Owner::ours());
        assert!(!myself.is_secure().unwrap());
    }

    #[test]
    fn a_thread_that_is_not_visible_is_not_served() {
        let proc = File::open("/proc").unwrap();
        let nobody = caller(&proc, 0);
        assert_eq!(nobody.netns(), Err(Errno::EPERM));
        assert_eq!(nobody.net_dev(), Err(Errno::EPERM));
        assert_eq!(nobody.named(), Ok((Named::Unknown, false)));
        assert_eq!(nobody.environment().unwrap().vrf, Named::Unknown);
        assert!(nobody.owner().is_err_and(|errno| errno == Errno::EPERM));
    }

    #[test]
    fn finds_rules_wherever_they_are_in_an_environment() {
        let rules = b"VRFBIND_RULES=loopback lo\0";
        let others = b"A=1\0XVRFBIND_RULES=x\0VRFBIND_RULE=x\0VRFBIND_RULES=\0".repeat(60);
        let all = [&others[..], rules, &others].concat();
        for at in [
            0,
            1,
            5,
            1000,
            3300,
            others.len(),
            others.len() + 5,
            others.len() + 14,
            all.len(),
        ] {
            let (begin, rest) = all.split_at(at);
            assert_eq!(has_rules(rest, begin.to_vec()), Ok(true), "{at}");
        }
        for at in [0, 7, 40, others.len()] {
            let (begin, rest) = others.split_at(at);
            assert_eq!(has_rules(rest, begin.to_vec()), Ok(false), "{at}");
        }
        // One that goes on and on.
        let long = [b"B=".as_slice(), &[b'x'; 9000], b"\0VRFBIND_RULES=x"].concat();
        assert_eq!(has_rules(&long[..], Vec::new()), Ok(true));
    }

    #[test]
    fn reads_the_vrf_of_an_environment() {
        let blue = Named::Vrf(Vrf::of(b"blue").unwrap());
        for (environ, named) in [
            (&b""[..], Named::Nothing),
            (b"A=1\0B=\0", Named::Nothing),
            (b"VRFBIND_VRF=\0VRFBIND_VRF=blue\0", Named::Nothing),
            (b"VRFBIND_VRF=blue\0VRFBIND_VRF=red\0", blue),
            (b"A=1\0VRFBIND_VRF=blue\0", blue),
            (b"XVRFBIND_VRF=blue\0", Named::Nothing),
            (b"VRFBIND_VRF=default\0", Named::Vrf(Vrf::Default)),
            (b"VRFBIND_VRF=a/b\0", Named::Invalid),
            (b"VRFBIND_VRF=abcdefghijklmnop\0", Named::Invalid),
            // What is left of it after a title was written over it.
            (b"\0\0\0", Named::Unknown),
            (b"er process\0\0A=1\0", Named::Unknown),
            (b"er process", Named::Unknown),
            (b"A=1\0VRFBIND_VRF=bl", Named::Unknown),
        ] {
            let read = environ::value(environ, VRF_VARIABLE)
                .map_or_else(|| Named::without(environ), Named::read);
            assert_eq!(read, named, "{}", environ.escape_ascii());
        }
    }

    #[test]
    fn mutated_environments() {
        let valid: [&[u8]; 2] = [b"A=1\0VRFBIND_VRF=blue\0B=\0", b"er process\0\0A=1\0"];
        crate::fuzz::each_input(&valid, |environ| {
            let _ = environ::value(environ, VRF_VARIABLE)
                .map_or_else(|| Named::without(environ), Named::read);
        });
    }
}
