//! Before the program: the supervisor is forked off, and is given what it listens to.

use super::serve::{Supervisor, cannot, too_old};
use crate::failure::{Failure, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, getsockopt, recv, send, sendmsg,
    socketpair, sockopt,
};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{chdir, setsid};
use rules::DeviceName;
use rules::filter::{IoUring, Stranger};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process;

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
