//! The supervisor at work: it takes a call, makes the socket, and answers.

use super::caller::{Caller, Inode, Owner, PLAIN, Status};
use crate::failure::{Failure, refuse};
use crate::sys::{self, Call};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recvmsg, setsockopt, sockopt};
use nix::sys::stat::Mode;
use rules::DeviceName;
use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::{process, thread};

pub(super) fn cannot(call: &str, errno: Errno) -> Failure {
    refuse(format!("cannot supervise: {call}: {}", errno.desc()))
}

pub(super) fn too_old() -> Failure {
    refuse("cannot supervise: that takes Linux 5.14 with seccomp notifications")
}

/// What makes the sockets, and what it needs for that.
pub(super) struct Supervisor {
    listener: OwnedFd,
    /// /proc, of our process namespace, wherever the tree mounts what.
    proc: OwnedFd,
    device: DeviceName,
    netns: Inode,
    owner: Owner,
    groups: Vec<u32>,
}

impl Supervisor {
    pub(super) fn prepare(link: &OwnedFd, device: &DeviceName) -> Result<Self, Failure> {
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
        Ok(Self {
            listener,
            proc,
            device: *device,
            netns,
            owner,
            groups,
        })
    }

    /// Answers until there is nobody left who could ask.
    pub(super) fn serve(&self) {
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
        let is_elsewhere = caller.netns()? != self.netns;
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
