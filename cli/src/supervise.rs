//! The supervisor: a process that makes the IP sockets of programs that the library is not in.
//!
//! Static programs, Go's, and raw system calls never ask the library. Under the second form of the seal
//! ([`rules::filter`]) their socket(AF_INET, AF_INET6) does not run: the calling thread sleeps, its call becomes a
//! notification (seccomp_unotify(2)), and the listener's owner answers with a socket that it has made and bound.
//! All arguments are numbers, which the kernel has copied: there is nothing that could change after the check.
//! Sockets that carry the library's cookie are made by the kernel as ever; the supervisor never hears of them.
//!
//! **Who is who.** The supervisor is forked off before execve(2), and the *program* keeps the process: its number, its
//! parent, terminal, job, descriptors and signals are those that `vrfbind` was started with. So a shell's
//! job control, a service manager's MAINPID and sd_notify(3), `timeout` and `wait` work as without us; there is
//! no signal and no exit status to forward, and none to lose if one of the two is killed.
//! The supervisor is no child of the program's either, which may wait for all of its children: the process in between
//! has ended, without a SIGCHLD. It belongs to init, or to the nearest subreaper (prctl(2)).
//!
//! In order:
//!
//! 1. [`start`] makes a pair of sockets and forks. The first child asks the kernel whether it has notifications, which a
//!    filter around us may answer by killing (SystemCallFilter=@system-service of systemd 252 has no seccomp(2)); better
//!    it than us. It forks the supervisor and ends.
//! 2. The supervisor lets go of all that it has inherited: session, folder, descriptors, and blocks every
//!    signal that can be blocked. A ^C, or a stop of the whole service, is for the program; while one process
//!    of the tree lives it shall get its sockets.
//! 3. `vrfbind` installs the filter and sends the listener over the pair. The supervisor says that it
//!    is ready, or what is missing. `vrfbind` executes the program.
//! 4. The supervisor answers, one call at a time. POLLHUP on the listener says that the last process of the
//!    tree has gone (Linux 5.9), and it ends.
//!
//! If the supervisor is killed, the listener is closed, and the kernel answers each such call of the tree, also
//! those that wait, with ENOSYS: no socket, rather than an unbound one. Nobody can listen again.
//!
//! **No more than the caller may have.** A socket is made with the supervisor's rights and in its network namespace unless
//! something is done about it. So, for each call ([`Caller`]):
//!
//! - The network namespace is the caller's. If it is not ours, a thread enters it (setns(2), CAP_SYS_ADMIN), makes the socket
//!   and ends, so that there is no way back to be lost. Where it cannot be entered or seen: EPERM. Whether it is ours is
//!   also seen of a process that we may not trace ([`Supervisor::is_elsewhere`]).
//! - The owner, which `iptables -m owner`, `ip rule ... uidrange` and INET_DIAG show, is the caller's effective user
//!   and group (setfsuid(2)). If we may not set it: EPERM.
//! - Types other than stream, datagram, seqpacket and DCCP take the caller's CAP_NET_RAW in the user namespace that owns
//!   its network namespace, as inet_create of net/ipv4 asks of who calls it.
//! - An ICMP datagram socket takes a group within net.ipv4.ping_group_range. If the caller's groups are not ours, a
//!   thread takes them on, and the kernel judges (ping_init_sock). If we may not take them: EPERM.
//!
//! What stays the supervisor's: its cgroup (`meta cgroup` of nft) and its security label (SELinux, AppArmor).
//!
//! Facts about the caller come from /proc/TID, and a number can be given to another thread once its own has gone. But
//! while a notification can be answered its thread sleeps in that very call; and if the answer fails (ENOENT),
//! the socket, whoever it was made for, is closed and nobody has had it.
//!
//! Needs Linux 5.14 (an answer with a descriptor in one step). Before 5.19 a signal with a handler
//! interrupts a call that is being answered, which then begins anew.

use crate::Failure;
use crate::exec::refuse;
use crate::sys::{self, Call};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt,
    recv, recvmsg, send, sendmsg, setsockopt, socketpair, sockopt,
};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{chdir, setsid};
use rules::DeviceName;
use rules::filter::{IoUring, Stranger};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::{process, thread};

/// Names the supervisor's process to the tree, for [`status`](crate::status). A program may change or lose it.
pub const VARIABLE: &str = "VRFBIND_SUPERVISOR";

/// What /proc/PID/fd says of a listener.
const LISTENER: &str = "anon_inode:seccomp notify";

/// Whether a process listens to somebody's system calls, as a supervisor does. An error: it is not there, or its
/// descriptors may not be looked at.
pub fn is_listening(process: u32) -> io::Result<bool> {
    let is_listener = |link: PathBuf| link.as_os_str() == LISTENER;
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?;
    Ok(descriptors
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(is_listener)))
}

/// Puts this process, and all that it starts, under a supervisor that serves this device. Returns its process.
pub fn start(device: &DeviceName, io_uring: IoUring) -> Result<u32, Failure> {
    let (ours, theirs) = pair().map_err(|errno| cannot("socketpair", errno))?;
    let first = sys::fork_silently().map_err(|errno| cannot("clone", errno))?;
    let Some(first) = first else {
        drop(ours);
        first_child(theirs, device);
    };
    drop(theirs);
    match waitpid(first, Some(WaitPidFlag::__WALL)) {
        Ok(WaitStatus::Signaled(..)) => {
            return Err(refuse(
                "cannot supervise: a system call filter around this process kills for seccomp(2); a unit with \
                 SystemCallFilter=@system-service needs `SystemCallFilter=seccomp` beside it",
            ));
        }
        Ok(WaitStatus::Exited(_, NO_NOTIFICATIONS)) => return Err(too_old()),
        Ok(WaitStatus::Exited(_, 0)) => {}
        _ => {
            return Err(refuse(
                "cannot supervise: the supervisor could not be started",
            ));
        }
    }
    let filter = rules::filter::filter(Stranger::Supervised, io_uring);
    let listener = sys::seal_and_listen(&filter).map_err(|errno| match errno {
        // One listener in a chain of filters (seccomp(2)).
        Errno::EBUSY => refuse(
            "cannot supervise: another program listens to the system calls of this tree already (seccomp \
             notification), and there can be only one",
        ),
        errno => cannot("seccomp(SECCOMP_SET_MODE_FILTER)", errno),
    })?;
    hand_over(&ours, listener)
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    // A packet is one message, and an end that is closed is an empty one.
    let kind = SockType::SeqPacket;
    socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)
}

fn cannot(call: &str, errno: Errno) -> Failure {
    refuse(format!("cannot supervise: {call}: {}", errno.desc()))
}

fn too_old() -> Failure {
    refuse("cannot supervise: that takes Linux 5.14 with seccomp notifications")
}

/// What the supervisor says when it is ready, and its process behind it. All else is a sentence about what is missing.
const READY: &str = "ready ";

fn hand_over(link: &OwnedFd, listener: OwnedFd) -> Result<u32, Failure> {
    let sent = sendmsg::<()>(
        link.as_raw_fd(),
        &[IoSlice::new(b"listener")],
        &[ControlMessage::ScmRights(&[listener.as_raw_fd()])],
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
    drop(listener);
    let mut answer = [0; 256];
    let length = sent
        .and_then(|_| recv(link.as_raw_fd(), &mut answer, MsgFlags::empty()))
        .unwrap_or(0);
    let answer = String::from_utf8_lossy(answer.get(..length).unwrap_or_default());
    match answer.strip_prefix(READY).map(str::parse) {
        Some(Ok(process)) => Ok(process),
        _ if answer.is_empty() => Err(refuse("cannot supervise: the supervisor has ended")),
        _ => Err(refuse(answer)),
    }
}

const NO_NOTIFICATIONS: i32 = 3;

/// The process in between.
fn first_child(link: OwnedFd, device: &DeviceName) -> ! {
    if !sys::has_notifications() {
        process::exit(NO_NOTIFICATIONS);
    }
    match sys::fork() {
        Ok(Some(_)) => process::exit(0),
        Ok(None) => {}
        Err(_) => process::exit(1),
    }
    let supervisor = detach(link).and_then(|link| {
        let supervisor = Supervisor::prepare(&link, device);
        let said = match &supervisor {
            Ok(_) => format!("{READY}{}", process::id()),
            Err(failure) => failure.sentence.clone(),
        };
        send(link.as_raw_fd(), said.as_bytes(), MsgFlags::MSG_NOSIGNAL)?;
        supervisor.map_err(|_| Errno::ECANCELED)
    });
    if let Ok(supervisor) = supervisor {
        supervisor.serve();
    }
    process::exit(0)
}

/// Lets go of what was inherited, but for the link.
fn detach(link: OwnedFd) -> Result<OwnedFd, Errno> {
    const LINK: i32 = 3;
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)?;
    setsid()?;
    chdir("/")?;
    let link = sys::move_to(link, LINK)?;
    // No pipe's or terminal's reader shall wait for us.
    for standard in 0..LINK {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        std::mem::forget(sys::move_to(null, standard)?);
    }
    sys::close_from(LINK + 1)?;
    Ok(link)
}

/// What makes the sockets, and what it needs for that.
struct Supervisor {
    listener: OwnedFd,
    /// /proc, of our process namespace, wherever the tree mounts what.
    proc: OwnedFd,
    device: DeviceName,
    netns: Inode,
    /// A file that each network namespace has one of.
    net_dev: Option<Inode>,
    owner: Owner,
    groups: Vec<u32>,
}

/// Which user and group a socket belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    user: u32,
    group: u32,
}

/// What a namespace is known by (namespaces(7)).
type Inode = (libc::dev_t, libc::ino_t);

fn inode(file: &FileStat) -> Inode {
    (file.st_dev, file.st_ino)
}

impl Supervisor {
    fn prepare(link: &OwnedFd, device: &DeviceName) -> Result<Self, Failure> {
        let listener =
            receive_listener(link).map_err(|errno| cannot("receiving the listener", errno))?;
        if !sys::can_give(listener.as_fd()) {
            return Err(too_old());
        }
        sys::wake_synchronously(listener.as_fd());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let proc = open("/proc", flags, Mode::empty()).map_err(|errno| cannot("/proc", errno))?;
        let myself = process::id().to_string();
        let ours = nix::fcntl::readlinkat(&proc, "self");
        if ours != Ok(myself.into()) {
            return Err(refuse(
                "cannot supervise: /proc is not mounted, or shows another process namespace than ours",
            ));
        }
        let ours = Caller {
            proc: proc.as_fd(),
            thread: process::id(),
        };
        let seen = || Ok((ours.netns()?, ours.owner()?, Status::of(&ours)?.groups));
        let (netns, owner, groups) = seen().map_err(|errno| cannot("/proc/self", errno))?;
        let net_dev = ours.net_dev().ok();
        Ok(Self {
            listener,
            proc,
            device: *device,
            netns,
            net_dev,
            owner,
            groups,
        })
    }

    /// Answers until there is nobody left who could ask.
    fn serve(&self) {
        let listener = self.listener.as_fd();
        loop {
            let mut polled = [PollFd::new(listener, PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            }
            let [polled] = polled;
            let events = polled.revents().unwrap_or(PollFlags::POLLERR);
            if !events.contains(PollFlags::POLLIN) {
                return;
            }
            match sys::receive(listener) {
                Ok(call) => self.answer(&call),
                // Its thread was killed between the two.
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    fn answer(&self, call: &Call) {
        let listener = self.listener.as_fd();
        let given = self
            .born(call)
            .and_then(|socket| sys::give(listener, call, &socket));
        if let Err(errno) = given {
            // ENOENT: who asked is gone.
            let _ = sys::fail(listener, call, errno);
        }
    }

    /// A socket as the caller would have got it, on our device.
    fn born(&self, call: &Call) -> Result<OwnedFd, Errno> {
        let caller = Caller {
            proc: self.proc.as_fd(),
            thread: call.thread,
        };
        let is_elsewhere = self.is_elsewhere(&caller)?;
        let groups = if call.is_ping() {
            Some(Status::of(&caller)?.groups).filter(|groups| *groups != self.groups)
        } else {
            None
        };
        if !is_elsewhere && groups.is_none() {
            return self.make(call, &caller);
        }
        let change_and_make = || {
            if is_elsewhere {
                setns(caller.open("ns/net")?, CloneFlags::CLONE_NEWNET)
                    .map_err(|_| Errno::EPERM)?;
            }
            if let Some(groups) = &groups {
                sys::set_groups_of_thread(groups)?;
            }
            self.make(call, &caller)
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(64 << 10);
            let thread = thread.spawn_scoped(scope, change_and_make);
            let result = thread.map_err(|_| Errno::ENOMEM)?.join();
            result.unwrap_or(Err(Errno::EPERM))
        })
    }

    /// Whether the caller is in another network namespace than we. Which one is hidden of a process that we may not trace:
    /// one whose file may not be read, or whose users differ or have changed (ptrace_may_access, kernel/ptrace.c). That
    /// it is ours can be seen there too, by the files below /proc/TID/net, which are the namespace's own (fs/proc/proc_net.c).
    fn is_elsewhere(&self, caller: &Caller) -> Result<bool, Errno> {
        match caller.netns() {
            Ok(netns) => Ok(netns != self.netns),
            Err(_) if self.net_dev == Some(caller.net_dev()?) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// In the caller's network namespace.
    fn make(&self, call: &Call, caller: &Caller) -> Result<OwnedFd, Errno> {
        if !PLAIN.contains(&call.plain_kind()) && !caller.has_net_raw()? {
            return Err(Errno::EPERM);
        }
        let owner = caller.owner()?;
        let socket = self.as_owner(owner, || {
            sys::socket(call.domain, call.kind | libc::SOCK_CLOEXEC, call.protocol)
        })?;
        bind(&socket, &self.device)?;
        Ok(socket)
    }

    fn as_owner(
        &self,
        owner: Owner,
        make: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Errno> {
        if owner == self.owner {
            return make();
        }
        let made = sys::set_owner(owner.user, owner.group).and_then(|()| make());
        // What we are can always be set again.
        sys::set_owner(self.owner.user, self.owner.group)?;
        made
    }
}

fn receive_listener(link: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut text = [0; 16];
    let mut parts = [IoSliceMut::new(&mut text)];
    let mut space = nix::cmsg_space!(i32);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(link.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part
            && let [fd] = fds[..]
        {
            return Ok(sys::received(fd));
        }
    }
    // `vrfbind` could not install the filter, and has said so.
    Err(Errno::ECANCELED)
}

/// SO_BINDTODEVICE. EPERM: somebody has bound the socket already, by a BPF program on our cgroup (`ip vrf exec`
/// around us); if to this device, all is well.
fn bind(socket: &OwnedFd, device: &DeviceName) -> Result<(), Errno> {
    let name = OsStr::from_bytes(device.as_bytes()).to_owned();
    match setsockopt(socket, sockopt::BindToDevice, &name) {
        Err(Errno::EPERM) if getsockopt(socket, sockopt::BindToDevice)? == name => Ok(()),
        result => result,
    }
}

/// Fails with a sentence if the supervisor around us serves another device than this one. What it serves is seen by a
/// socket of its making.
pub fn vrf_around(device: &DeviceName) -> Result<(), Failure> {
    let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
        .map_err(|errno| {
            refuse(format!(
                "the supervisor around this tree makes no sockets any more: socket(): {}; start the tree again",
                errno.desc()
            ))
        })?;
    let served = getsockopt(&socket, sockopt::BindToDevice)
        .map_err(|errno| cannot("getsockopt(SO_BINDTODEVICE)", errno))?;
    if served.as_bytes() == device.as_bytes() {
        return Ok(());
    }
    Err(refuse(format!(
        "the supervisor around this tree serves {}, and {device} takes another one, which cannot be added; start the \
         program outside of this tree",
        served.display()
    )))
}

// ---- The caller ----

const CAP_NET_RAW: u64 = 1 << 13;
const SOCK_DCCP: i32 = 6;

/// The types that everybody may have.
const PLAIN: [i32; 4] = [
    libc::SOCK_STREAM,
    libc::SOCK_DGRAM,
    libc::SOCK_SEQPACKET,
    SOCK_DCCP,
];

impl Call {
    /// The type without its flags.
    fn plain_kind(&self) -> i32 {
        self.kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
    }

    fn is_ping(&self) -> bool {
        self.plain_kind() == libc::SOCK_DGRAM
            && matches!(self.protocol, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6)
    }
}

/// The thread that asks for a socket.
struct Caller<'a> {
    proc: BorrowedFd<'a>,
    thread: u32,
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

    fn open(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.proc, self.path(name).as_str(), flags, Mode::empty());
        file.map(File::from).map_err(|_| Errno::EPERM)
    }

    fn netns(&self) -> Result<Inode, Errno> {
        self.stat("ns/net").map(|file| inode(&file))
    }

    fn net_dev(&self) -> Result<Inode, Errno> {
        self.stat("net/dev").map(|file| inode(&file))
    }

    /// Its effective user and group: those of its folder, however little it may be looked into (task_dump_owner,
    /// fs/proc/base.c).
    fn owner(&self) -> Result<Owner, Errno> {
        let folder = self.stat("")?;
        Ok(Owner {
            user: folder.st_uid,
            group: folder.st_gid,
        })
    }

    /// CAP_NET_RAW counts in the user namespace that owns the network namespace: the caller's own, or one
    /// below it (user_namespaces(7)).
    fn has_net_raw(&self) -> Result<bool, Errno> {
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
struct Status {
    /// The supplementary groups and, as the last one, the effective group.
    groups: Vec<u32>,
    /// The effective capabilities.
    capabilities: u64,
}

impl Status {
    fn of(caller: &Caller) -> Result<Self, Errno> {
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
