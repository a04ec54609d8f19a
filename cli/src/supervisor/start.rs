//! Before the program: the supervisor is forked off, and is given what it listens to.

use super::serve::{Obstacle, Supervisor, TreeRules, cannot};
use crate::failure::{Failure, refuse};
use crate::sys::{self, Around};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, getsockopt, recv, send, sendmsg,
    socketpair, sockopt,
};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, dup, setsid};
use rules::DeviceName;
use rules::filter::{IoUring, UnmarkedSocket, filter, filter_with_rules};
use rules::request::Vrf;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process;

/// A supervisor that gets ready, while `vrfbind` does what else there is to do. It ends if this is dropped.
pub struct Beginning {
    child: Pid,
    link: OwnedFd,
    has_rules: bool,
}

/// Forks a supervisor off, which will serve this device to programs that name no VRF, with these rules if there are any.
#[allow(unsafe_code)]
pub fn begin(device: &DeviceName, rules: TreeRules) -> Result<Beginning, Obstacle> {
    let (ours, theirs) = pair().map_err(|errno| cannot("socketpair", errno))?;
    // SAFETY: `vrfbind exec` has one thread, and the supervisor uses none of the three.
    let child = unsafe { sys::fork_silently() }.map_err(|errno| cannot("clone", errno))?;
    let Some(child) = child else {
        drop(ours);
        supervise(theirs, device, rules);
    };
    Ok(Beginning {
        child,
        link: ours,
        has_rules: rules.are_served(),
    })
}

impl Beginning {
    /// Puts this process, and all that it starts, under the supervisor. Returns its PID.
    ///
    /// If the obstacle is found late, the filter is installed and has no listener: what would have been supervised fails with
    /// ENOSYS. A seal can still be put above (a refusal outranks a notification, seccomp(2)).
    pub fn finish(self, io_uring: IoUring) -> Result<u32, Obstacle> {
        match hand_over(self.link, io_uring, self.has_rules) {
            Ok(()) => Ok(self.child.as_raw().unsigned_abs()),
            Err(obstacle) => Err(ending(self.child).unwrap_or(obstacle)),
        }
    }
}

/// The first descriptor that is not a standard one.
const FIRST: RawFd = 3;

/// The second one is for the supervisor, and none of the standard descriptors, which may be closed here.
fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    // A packet is one message, and an end that is closed is an empty one.
    let kind = SockType::SeqPacket;
    let (ours, theirs) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((ours, sys::duplicate(&theirs, FIRST)?))
}

/// What either side says when it is ready for the next step. All else is an obstacle.
const READY: &[u8] = b"ready";

fn say(link: &OwnedFd, said: &[u8]) -> Result<(), Errno> {
    send(link.as_raw_fd(), said, MsgFlags::MSG_NOSIGNAL).map(drop)
}

fn hear(link: &OwnedFd) -> Result<(), Obstacle> {
    let mut said = [0; 512];
    let length = recv(link.as_raw_fd(), &mut said, MsgFlags::empty())
        .map_err(|errno| cannot("recv", errno))?;
    match said.get(..length).unwrap_or_default() {
        READY => Ok(()),
        b"" => Err("the supervisor has ended".to_owned()),
        obstacle => Err(String::from_utf8_lossy(obstacle).into_owned()),
    }
}

fn hand_over(link: OwnedFd, io_uring: IoUring, has_rules: bool) -> Result<(), Obstacle> {
    hear(&link)?;
    let listener = if has_rules {
        sys::seal_and_listen(&filter_with_rules(io_uring))
    } else {
        sys::seal_and_listen(&filter(UnmarkedSocket::Notify, io_uring))
    };
    let listener = listener.map_err(|errno| match errno {
        // One listener in a chain of filters (seccomp(2)).
        Errno::EBUSY => "a seccomp user-notification listener is installed already, and \
                         there can be only one"
            .to_owned(),
        errno => cannot("seccomp(SECCOMP_SET_MODE_FILTER)", errno),
    })?;
    if sys::around() != Around::Supervisor {
        // A number that is no descriptor of ours.
        std::mem::forget(listener);
        return Err("seccomp(SECCOMP_SET_MODE_FILTER) succeeds without effect".to_owned());
    }
    if !sys::can_give(&listener) {
        return Err(too_old());
    }
    sys::wake_synchronously(&listener);
    sendmsg::<()>(
        link.as_raw_fd(),
        &[IoSlice::new(READY)],
        &[ControlMessage::ScmRights(&[listener.as_raw_fd()])],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
    .map_err(|errno| cannot("sendmsg", errno))
}

/// Waits for a supervisor that is of no use, which would stay a dead child of the program's. If it was killed, that is the
/// obstacle.
fn ending(child: Pid) -> Option<Obstacle> {
    match waitpid(child, Some(WaitPidFlag::__WALL)) {
        Ok(WaitStatus::Signaled(_, Signal::SIGSYS, _)) => Some(
            "a system call filter of this process kills it when it calls seccomp(2); a unit with \
             SystemCallFilter=@system-service needs `SystemCallFilter=seccomp` beside it"
                .to_owned(),
        ),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(format!("{signal} ended the supervisor")),
        _ => None,
    }
}

// ---- In the supervisor's process ----

fn supervise(link: OwnedFd, device: &DeviceName, rules: TreeRules) -> ! {
    sys::give_back_memory();
    match prepare(&link, device, rules) {
        Err(obstacle) => drop(say(&link, obstacle.as_bytes())),
        Ok(supervisor) => {
            let said = say(&link, READY);
            // None: `vrfbind` could not install the filter, and says so itself.
            if let (Ok(()), Ok(Some(listener))) = (said, sys::receive_descriptor(&link)) {
                drop(link);
                supervisor.serve(listener);
            }
        }
    }
    process::exit(0)
}

/// As much as can be tried is tried before there is a filter, which cannot be taken away.
fn prepare(link: &OwnedFd, device: &DeviceName, rules: TreeRules) -> Result<Supervisor, Obstacle> {
    match sys::has_notifications() {
        Ok(true) => {}
        Ok(false) => return Err(too_old()),
        Err(errno) => return Err(cannot("seccomp(SECCOMP_GET_NOTIF_SIZES)", errno)),
    }
    raise_limits();
    let proc = detach(link, &rules)?;
    leave_room(&proc, &rules)?;
    Supervisor::new(proc, device, rules)
}

fn too_old() -> Obstacle {
    "this requires Linux 5.14 with seccomp notifications".to_owned()
}

/// Limits are for the tree: it loses its sockets if the supervisor, which works for all its processes, runs into one. Up
/// to the hard limits; with CAP_SYS_RESOURCE above these (setrlimit(2)).
fn raise_limits() {
    const ENOUGH_FILES: u64 = 1024;
    for resource in [
        Resource::RLIMIT_AS,
        Resource::RLIMIT_CPU,
        Resource::RLIMIT_DATA,
        Resource::RLIMIT_NOFILE,
        Resource::RLIMIT_NPROC,
        Resource::RLIMIT_RTTIME,
        Resource::RLIMIT_STACK,
    ] {
        let Ok((_, hard)) = getrlimit(resource) else {
            continue;
        };
        let most = match resource {
            // It has none above fs.nr_open.
            Resource::RLIMIT_NOFILE => hard.max(ENOUGH_FILES),
            _ => RLIM_INFINITY,
        };
        if setrlimit(resource, most, most).is_err() {
            let _ = setrlimit(resource, hard, hard);
        }
    }
}

/// Lets go of what was inherited, but for the link: the session, the working directory, descriptors. Returns /proc.
#[allow(unsafe_code)]
fn detach(link: &OwnedFd, rules: &TreeRules) -> Result<OwnedFd, Obstacle> {
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)
        .map_err(|errno| cannot("sigprocmask", errno))?;
    setsid().map_err(|errno| cannot("setsid", errno))?;
    chdir("/").map_err(|errno| cannot("chdir", errno))?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let proc = open("/proc", flags, Mode::empty()).map_err(|errno| cannot("/proc", errno))?;
    let proc = sys::duplicate(&proc, FIRST).map_err(|errno| cannot("/proc", errno))?;
    // No pipe's or terminal's reader shall wait for us, and nothing that is opened later shall be standard error. What
    // has no use but as a directory takes the places.
    let stderr = match rules {
        TreeRules::None => None,
        TreeRules::Served(_) => openat(
            &proc,
            "self/fd/2",
            OFlag::O_PATH | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .ok(),
    };
    for standard in 0..FIRST {
        let place = stderr.as_ref().filter(|_| standard == libc::STDERR_FILENO);
        // SAFETY: standard descriptors have no owner.
        unsafe { sys::occupy(place.unwrap_or(&proc), standard) }
            .map_err(|errno| cannot("dup3", errno))?;
    }
    drop(stderr);
    // SAFETY: what `vrfbind` has opened is not used in this process, which never returns to it.
    unsafe { sys::close_all_but([link, &proc], FIRST) }
        .map_err(|errno| cannot("close_range", errno))?;
    Ok(proc)
}

/// Sees that there are descriptors for the listener, and for two that are open at once while a socket is made, or three while one is
/// moved. The link is closed before.
fn leave_room(any: &OwnedFd, rules: &TreeRules) -> Result<(), Obstacle> {
    let needed = if rules.are_served() { 3 } else { 2 };
    let copies: Result<Vec<OwnedFd>, Errno> = (0..needed).map(|_| dup(any)).collect();
    copies.map(drop).map_err(|errno| {
        format!(
            "the supervisor requires more descriptors than its limit: {}; raise the limit (ulimit -n)",
            errno.desc()
        )
    })
}

// ---- Within a supervised tree ----

/// Fails with a sentence if the supervisor around us makes no sockets in this VRF. Makes one, which names it.
pub fn serves(vrf: Vrf) -> Result<(), Failure> {
    let shown = match vrf {
        Vrf::Default => "the default VRF".to_owned(),
        Vrf::Device(device) => device.to_string(),
    };
    let socket = sys::socket_in(vrf, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC);
    let socket = socket.map_err(|errno| {
        refuse(match errno {
            Errno::ENOSYS => {
                "the supervisor of this process tree has ended; start the tree again".to_owned()
            }
            errno => format!(
                "the supervisor of this process tree cannot create sockets in {shown}: socket(): {}",
                errno.desc()
            ),
        })
    })?;
    let is_there = match &vrf {
        Vrf::Default => getsockopt(&socket, sockopt::BindToDevice)
            .map_err(|errno| refuse(format!("getsockopt(SO_BINDTODEVICE): {}", errno.desc())))?
            .is_empty(),
        Vrf::Device(device) => sys::is_on(&socket, device),
    };
    if is_there {
        return Ok(());
    }
    Err(refuse(format!(
        "the supervisor of this process tree, of another version of vrfbind, does not serve {shown}; start the program \
         outside of this tree"
    )))
}
