//! The supervisor at work: it receives a call, creates the socket, and answers.

use super::caller::{Caller, Inode, Named, Owner, PLAIN, as_owner};
use super::known::Known;
use super::rules::Rules;
use crate::sys::{self, Call, CallOfExisting, Question};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use rules::DeviceName;
use rules::request::Vrf;
use rules::socket::{self as rule, Decision};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{io, process, thread};

/// Why there is no supervisor: a clause to be put after "cannot start a supervisor: ".
pub type Obstacle = String;

pub(super) fn cannot(call: &str, errno: Errno) -> Obstacle {
    format!("{call}: {}", errno.desc())
}

/// The supervisor, with what it needs to create sockets.
pub(super) struct Supervisor {
    /// /proc of our PID namespace, whatever the tree mounts.
    proc: OwnedFd,
    /// The VRF of programs that name none.
    own: Vrf,
    /// The tree's rules, and whether its filter notifies of addresses. If it does not, only the library can follow rules.
    own_rules: TreeRules,
    pub(super) rules: Rules,
    /// Whether a program of the tree has named another VRF, or other rules.
    is_mixed: AtomicBool,
    netns: OsString,
    net_dev: Inode,
    owner: Owner,
    groups: Vec<u32>,
    /// Whether a seccomp filter is around us.
    has_filter: bool,
}

/// The rules of a tree, by its environment.
#[derive(Clone)]
pub enum TreeRules {
    /// None, and the filter does not notify of addresses.
    None,
    /// These; the filter notifies of addresses.
    Served(Vec<u8>),
}

impl TreeRules {
    pub(super) fn are_served(&self) -> bool {
        matches!(self, Self::Served(_))
    }

    fn value(&self) -> &[u8] {
        match self {
            Self::None => b"",
            Self::Served(value) => value,
        }
    }
}

/// Where the sockets of a caller belong.
pub(super) enum Belongs {
    /// Into this VRF, unless these rules say otherwise.
    To(Vrf, Option<Vec<u8>>),
    /// It is not known which of the VRFs and rules in the tree the caller has.
    Unknown,
}

/// The answer to a call on an existing socket.
pub(super) enum Answer {
    /// The kernel makes it.
    GoOn,
    /// It succeeds, and is not made.
    Done,
}

impl Supervisor {
    pub(super) fn new(
        proc: OwnedFd,
        device: &DeviceName,
        own_rules: TreeRules,
    ) -> Result<Self, Obstacle> {
        let myself = process::id();
        if nix::fcntl::readlinkat(&proc, "self") != Ok(myself.to_string().into()) {
            return Err("/proc is not mounted, or shows another PID namespace".to_owned());
        }
        let owner = Owner::ours();
        let ours = Caller {
            proc: proc.as_fd(),
            thread: myself,
            reader: owner,
        };
        let seen = || Ok((ours.netns()?, ours.net_dev()?, ours.status()?));
        let (netns, net_dev, status) = seen().map_err(|errno| cannot("/proc/self", errno))?;
        Ok(Self {
            proc,
            own: Vrf::Device(*device),
            own_rules,
            rules: Rules::default(),
            is_mixed: AtomicBool::new(false),
            netns,
            net_dev,
            owner,
            groups: status.groups,
            has_filter: status.has_filter != Some(false),
        })
    }

    /// Answers until the last process of the tree has ended.
    pub(super) fn serve(&self, listener: OwnedFd) {
        let listener: &'static OwnedFd = Box::leak(Box::new(listener));
        let is_watched = watch(listener).is_ok();
        let mut known = Known::new(!self.has_filter);
        loop {
            if !is_watched && has_ended(listener, PollFlags::POLLIN, PollTimeout::NONE) {
                return;
            }
            match sys::receive(listener) {
                Ok(Question::Socket(call)) => self.answer(listener, &call, &mut known),
                Ok(Question::Existing(call)) => self.answer_existing(listener, &call),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOENT)
                    if !has_ended(listener, PollFlags::empty(), PollTimeout::ZERO) => {}
                Err(_) => return,
            }
        }
    }

    fn answer(&self, listener: &OwnedFd, call: &Call, known: &mut Known) {
        let given = self
            .create(listener, call, known)
            .and_then(|socket| sys::addfd_send(listener, call, &socket));
        if let Err(errno) = given {
            // ENOENT: the caller has ended.
            let _ = sys::fail(listener, call.id, errno);
        }
    }

    fn answer_existing(&self, listener: &OwnedFd, call: &CallOfExisting) {
        let _ = match self.judge(listener, call) {
            Ok(Answer::GoOn) => sys::go_on(listener, call.id),
            Ok(Answer::Done) => sys::succeed(listener, call.id),
            Err(errno) => sys::fail(listener, call.id, errno),
        };
    }

    pub(super) fn caller(&self, thread: u32) -> Caller<'_> {
        Caller {
            proc: self.proc.as_fd(),
            thread,
            reader: self.owner,
        }
    }

    /// A socket as the caller would have created it, in the VRF that was asked for.
    fn create(&self, listener: &OwnedFd, call: &Call, known: &mut Known) -> Result<OwnedFd, Errno> {
        let caller = self.caller(call.thread);
        let is_elsewhere = self.is_elsewhere(&caller)?;
        let (owner, thread) = caller.owner()?;
        let named = || {
            known.named(&caller, thread, owner, || {
                sys::is_waiting(listener, call.id)
            })
        };
        let vrf = self.vrf(call, &caller, named)?;
        let groups = if call.is_ping() {
            Some(caller.status()?.groups).filter(|groups| *groups != self.groups)
        } else {
            None
        };
        self.in_place_of(&caller, is_elsewhere, groups, || {
            self.create_here(call, &caller, owner, vrf)
        })
    }

    /// Acts in the caller's network namespace, and with these groups, if they are not ours.
    pub(super) fn in_place_of<R: Send>(
        &self,
        caller: &Caller,
        is_elsewhere: bool,
        groups: Option<Vec<u32>>,
        act: impl FnOnce() -> Result<R, Errno> + Send,
    ) -> Result<R, Errno> {
        if !is_elsewhere && groups.is_none() {
            return act();
        }
        let change_and_act = || {
            if is_elsewhere {
                setns(caller.open("ns/net")?, CloneFlags::CLONE_NEWNET)
                    .map_err(|_| Errno::EPERM)?;
            }
            if let Some(groups) = &groups {
                sys::set_groups_of_thread(groups)?;
            }
            act()
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(SMALL_STACK);
            let thread = thread.spawn_scoped(scope, change_and_act);
            let result = thread.map_err(|_| Errno::ENOMEM)?.join();
            result.unwrap_or(Err(Errno::EPERM))
        })
    }

    /// Whether the caller is in another network namespace than we. Even if a process hides its namespace, it can be seen
    /// whether this is ours.
    pub(super) fn is_elsewhere(&self, caller: &Caller) -> Result<bool, Errno> {
        match caller.netns() {
            Err(_) if caller.net_dev()? == self.net_dev => Ok(false),
            netns => Ok(netns? != self.netns),
        }
    }

    /// The VRF that is asked for: that of the call; otherwise that of the caller's environment; otherwise the tree's. A
    /// caller that does not name it in the call has no library to move its sockets. So under rules it gets no socket,
    /// unless the filter notifies us of addresses; then the socket begins in the VRF, or fails if the list is invalid.
    fn vrf(
        &self,
        call: &Call,
        caller: &Caller,
        named: impl FnOnce() -> Result<(Named, bool), Errno>,
    ) -> Result<Vrf, Errno> {
        if let Some(vrf) = call.vrf {
            self.note(vrf != self.own);
            return Ok(vrf);
        }
        if self.own_rules.are_served() {
            return match self.belongs(caller)? {
                Belongs::To(vrf, None) => Ok(vrf),
                Belongs::To(vrf, Some(rules)) => {
                    self.rules.list(&rules, caller).ok_or(Errno::EINVAL)?;
                    Ok(vrf)
                }
                Belongs::Unknown => Err(Errno::EPERM),
            };
        }
        let (named, has_rules) = named()?;
        if has_rules && named != Named::Vrf(Vrf::Default) {
            return Err(Errno::EPERM);
        }
        match named {
            Named::Nothing => Ok(self.own),
            Named::Vrf(vrf) if vrf == self.own => Ok(vrf),
            // A program that gains privileges must not obey its caller, except the owner of the tree.
            Named::Vrf(vrf) if !caller.is_secure()? || caller.status()?.user == self.owner.user => {
                self.note(true);
                Ok(vrf)
            }
            Named::Unknown if !self.is_mixed.load(Relaxed) => Ok(self.own),
            Named::Vrf(_) | Named::Unknown | Named::Invalid => Err(Errno::EPERM),
        }
    }

    /// In a tree with rules, where the sockets of a caller belong: to the VRF and rules of the caller's environment;
    /// otherwise to the tree's. As in the library, an environment without rules has been scrubbed.
    pub(super) fn belongs(&self, caller: &Caller) -> Result<Belongs, Errno> {
        let environment = caller.environment()?;
        let (named, mut rules) = (environment.vrf, environment.rules);
        let own_rules = self.own_rules.value();
        if rules.is_empty() || matches!(named, Named::Nothing | Named::Unknown) {
            rules = own_rules.to_vec();
        }
        let vrf = match named {
            Named::Nothing => self.own,
            Named::Vrf(vrf) => vrf,
            Named::Unknown if !self.is_mixed.load(Relaxed) => self.own,
            Named::Unknown => return Ok(Belongs::Unknown),
            Named::Invalid => return Err(Errno::EPERM),
        };
        if vrf == Vrf::Default {
            rules.clear();
        }
        let is_other = vrf != self.own || rules != own_rules;
        // A program that gains privileges must not obey its caller, except the owner of the tree.
        if is_other && caller.is_secure()? && caller.status()?.user != self.owner.user {
            return Err(Errno::EPERM);
        }
        self.note(is_other);
        Ok(Belongs::To(
            vrf,
            Some(rules).filter(|rules| !rules.is_empty()),
        ))
    }

    fn note(&self, is_other: bool) {
        if is_other {
            self.is_mixed.store(true, Relaxed);
        }
    }

    /// In the network namespace that this thread is in.
    fn create_here(
        &self,
        call: &Call,
        caller: &Caller,
        owner: Owner,
        vrf: Vrf,
    ) -> Result<OwnedFd, Errno> {
        if !PLAIN.contains(&rule::plain_type(call.sock_type)) && !caller.has_net_raw()? {
            return Err(Errno::EPERM);
        }
        let socket = as_owner(owner, self.owner, || {
            sys::socket(
                call.domain,
                call.sock_type | libc::SOCK_CLOEXEC,
                call.protocol,
            )
        })?;
        match rule::at_creation(vrf.into(), call.domain, call.sock_type) {
            Decision::Pass => {}
            Decision::Bind(device) => bind(&socket, &device)?,
            Decision::Fail(errno) => return Err(Errno::from_raw(errno)),
        }
        Ok(socket)
    }
}

/// Ends this process when the last process of the tree has gone.
///
/// Before Linux 6.11 the call that waits for the next notification does not end then, but poll(2) reports it. Polling
/// before each call would cost more than all the rest if many threads wait, since it looks at all of them
/// (seccomp_notify_poll, kernel/seccomp.c). So a thread polls for the end alone, for which it is woken once. It is
/// created while the program starts, so that nobody waits for it. If it cannot be created, each call is polled for.
fn watch(listener: &'static OwnedFd) -> io::Result<()> {
    let watch = || {
        while !has_ended(listener, PollFlags::empty(), PollTimeout::NONE) {}
        process::exit(0)
    };
    let thread = thread::Builder::new().stack_size(SMALL_STACK).spawn(watch);
    thread.map(drop)
}

/// Enough for the supervisor's threads; the least that pthread_attr_setstacksize(3) accepts is 16 KiB.
const SMALL_STACK: usize = 64 << 10;

/// Waits for one of these events, or for the end. Returns whether the last process of the tree has ended: POLLHUP, since
/// Linux 5.9.
fn has_ended(listener: &OwnedFd, events: PollFlags, timeout: PollTimeout) -> bool {
    let mut polled = [PollFd::new(listener.as_fd(), events)];
    let [polled] = match poll(&mut polled, timeout) {
        Ok(_) => polled,
        Err(_) => return false,
    };
    polled
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

/// SO_BINDTODEVICE, for a socket that may have been bound already: by a BPF program on our cgroup (`ip vrf exec` around
/// us).
fn bind(socket: &OwnedFd, device: &DeviceName) -> Result<(), Errno> {
    let name = OsStr::from_bytes(device.as_bytes()).to_owned();
    let result = setsockopt(socket, sockopt::BindToDevice, &name);
    let result = result.map_err(|errno| errno as i32);
    rule::is_bound(result, || sys::is_on(socket, device)).map_err(Errno::from_raw)
}
