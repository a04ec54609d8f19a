//! Before the program: the supervisor is forked off, and gets its listener.

use super::serve::{Obstacle, Supervisor, TreeRules, cannot};
use crate::failure::{Failure, refuse};
use crate::sys::{self, SealState};
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

/// A supervisor that gets ready, while `vrfbind` does the rest. It ends if this is dropped.
pub struct Beginning {
    child: Pid,
    channel: OwnedFd,
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
        channel: ours,
        has_rules: rules.are_served(),
    })
}

impl Beginning {
    /// Puts this process, and all that it starts, under the supervisor. Returns its PID.
    ///
    /// If the obstacle is found late, the filter is installed without a listener: what would have been supervised fails
    /// with ENOSYS. A seal can still be added (a refusal outranks a notification, seccomp(2)).
    pub fn finish(self, io_uring: IoUring) -> Result<u32, Obstacle> {
        match send_listener(self.channel, io_uring, self.has_rules) {
            Ok(()) => Ok(self.child.as_raw().unsigned_abs()),
            Err(obstacle) => Err(ending(self.child).unwrap_or(obstacle)),
        }
    }
}

/// The first descriptor that is not a standard one.
const FIRST: RawFd = 3;

/// The second one is for the supervisor, and none of the standard descriptors, which may be closed here.
fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    // A packet is one message; a closed end is an empty one.
    let kind = SockType::SeqPacket;
    let (ours, theirs) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((ours, sys::duplicate(&theirs, FIRST)?))
}

/// The message of either side when it is ready for the next step. Any other message is an obstacle.
const READY: &[u8] = b"ready";

fn send_message(channel: &OwnedFd, message: &[u8]) -> Result<(), Errno> {
    send(channel.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL).map(drop)
}

fn await_ready(channel: &OwnedFd) -> Result<(), Obstacle> {
    let mut message = [0; 512];
    let length = recv(channel.as_raw_fd(), &mut message, MsgFlags::empty())
        .map_err(|errno| cannot("recv", errno))?;
    match message.get(..length).unwrap_or_default() {
        READY => Ok(()),
        b"" => Err("the supervisor has ended".to_owned()),
        obstacle => Err(String::from_utf8_lossy(obstacle).into_owned()),
    }
}

fn send_listener(channel: OwnedFd, io_uring: IoUring, has_rules: bool) -> Result<(), Obstacle> {
    await_ready(&channel)?;
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
    if sys::seal_state() != SealState::Supervised {
        // A number that is no descriptor of ours.
        std::mem::forget(listener);
        return Err("seccomp(SECCOMP_SET_MODE_FILTER) succeeds without effect".to_owned());
    }
    if !sys::has_addfd_send(&listener) {
        return Err(too_old());
    }
    sys::wake_synchronously(&listener);
    sendmsg::<()>(
        channel.as_raw_fd(),
        &[IoSlice::new(READY)],
        &[ControlMessage::ScmRights(&[listener.as_raw_fd()])],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
    .map_err(|errno| cannot("sendmsg", errno))
}

/// Waits for a supervisor that has failed, which would otherwise stay a zombie child of the program. If it was killed,
/// that is the obstacle.
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

fn supervise(channel: OwnedFd, device: &DeviceName, rules: TreeRules) -> ! {
    sys::give_back_memory();
    match prepare(&channel, device, rules) {
        Err(obstacle) => drop(send_message(&channel, obstacle.as_bytes())),
        Ok(supervisor) => {
            let sent = send_message(&channel, READY);
            // None: `vrfbind` could not install the filter, and reports it itself.
            if let (Ok(()), Ok(Some(listener))) = (sent, sys::receive_descriptor(&channel)) {
                drop(channel);
                supervisor.serve(listener);
            }
        }
    }
    process::exit(0)
}

/// Everything possible is tried before the filter is installed, since a filter cannot be removed.
fn prepare(
    channel: &OwnedFd,
    device: &DeviceName,
    rules: TreeRules,
) -> Result<Supervisor, Obstacle> {
    match sys::has_notifications() {
        Ok(true) => {}
        Ok(false) => return Err(too_old()),
        Err(errno) => return Err(cannot("seccomp(SECCOMP_GET_NOTIF_SIZES)", errno)),
    }
    raise_limits();
    let proc = detach(channel, &rules)?;
    leave_room(&proc, &rules)?;
    Supervisor::new(proc, device, rules)
}

fn too_old() -> Obstacle {
    "this requires Linux 5.14 with seccomp notifications".to_owned()
}

/// Limits are meant for the tree, but the supervisor works for all its processes, and the tree loses its sockets if the
/// supervisor runs into one. So they are raised to the hard limits; with CAP_SYS_RESOURCE beyond (setrlimit(2)).
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
            // fs.nr_open is the upper bound.
            Resource::RLIMIT_NOFILE => hard.max(ENOUGH_FILES),
            _ => RLIM_INFINITY,
        };
        if setrlimit(resource, most, most).is_err() {
            let _ = setrlimit(resource, hard, hard);
        }
    }
}

/// Gives up what was inherited, except the channel: the session, the working directory, descriptors. Returns /proc.
#[allow(unsafe_code)]
fn detach(channel: &OwnedFd, rules: &TreeRules) -> Result<OwnedFd, Obstacle> {
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)
        .map_err(|errno| cannot("sigprocmask", errno))?;
    setsid().map_err(|errno| cannot("setsid", errno))?;
    chdir("/").map_err(|errno| cannot("chdir", errno))?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let proc = open("/proc", flags, Mode::empty()).map_err(|errno| cannot("/proc", errno))?;
    let proc = sys::duplicate(&proc, FIRST).map_err(|errno| cannot("/proc", errno))?;
    // No reader of a pipe or terminal must wait for us, and no file that is opened later must become standard error.
    // Directories, which cannot be read or written, take the places of the standard descriptors.
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
    unsafe { sys::close_all_but([channel, &proc], FIRST) }
        .map_err(|errno| cannot("close_range", errno))?;
    Ok(proc)
}

/// Checks that there are descriptors for the listener, and for two that are open at once while a socket is created, or
/// three while one is moved. The channel is closed before.
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

/// Fails with a sentence if the tree's supervisor creates no sockets in this VRF. Creates one, which names the VRF.
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
