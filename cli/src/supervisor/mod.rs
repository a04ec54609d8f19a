//! The supervisor: a process that creates the IP sockets of programs without the library.
//!
//! Static programs, Go's, privileged ones and raw system calls bypass the library. Under the second form of the seal
//! ([`rules::filter`]) their socket(AF_INET, AF_INET6) does not run: the calling thread sleeps, its call becomes a
//! notification (seccomp_unotify(2)), and the supervisor, which owns the listener, answers with a socket that it has
//! created and bound. All arguments are numbers, which the kernel has copied: nothing can change after the check. The
//! kernel itself creates sockets for calls with the library's marker; the supervisor is not notified of them.
//!
//! In a tree with rules (`VRFBIND_RULES`) a longer filter also notifies of bind(2), connect(2) and
//! setsockopt(SO_BINDTODEVICE), whose arguments are in the caller's memory: see [`existing`]; for the source of the rules
//! see [`rules`].
//!
//! **Processes.** The supervisor is forked off before execve(2), and the *program* keeps the process: its PID, parent,
//! terminal, job, descriptors and signals are those that `vrfbind` was started with. So a shell's job control, a service
//! manager's MAINPID and sd_notify(3), `timeout` and `wait` work as without us; there is no signal and no exit status to
//! forward, and none to lose if one of the two is killed. The supervisor is the program's child, by a clone(2) without an
//! exit signal: no wait() finds it without __WALL, even if the program is PID 1 or a subreaper. The supervisor may not
//! execute anything, which would make it an ordinary child. If the program ends before its tree, the supervisor goes to
//! init or to a subreaper, as the rest of the tree does.
//!
//! In order:
//!
//! 1. [`begin()`] makes a pair of sockets and forks. The child asks the kernel whether it has notifications. An inherited
//!    filter may kill it for that (SystemCallFilter=@system-service of systemd 252 has no seccomp(2)); so the child asks,
//!    and not we. It raises its limits, gives up everything else that it has inherited (session, directory, descriptors),
//!    and blocks every signal that can be blocked: a ^C, or a stop of the whole service, is for the program, and the tree
//!    needs its sockets as long as one of its processes lives. Its priority stays the tree's. It reports that it is
//!    ready, or what is missing. Meanwhile `vrfbind` checks the library.
//! 2. `vrfbind` installs the filter, checks that the listener can do what is needed, and sends it over the pair. It does
//!    not wait for a second answer, since everything that may fail has been tried: it executes the program, while the
//!    supervisor receives the listener and starts its second thread.
//! 3. The supervisor answers, one call at a time. POLLHUP on the listener means that the last process of the tree has
//!    ended (Linux 5.9), and the supervisor ends.
//!
//! If the supervisor is killed, the listener is closed, and the kernel fails each such call of the tree, also those that
//! wait, with ENOSYS: no socket, rather than an unbound one. No other listener can be installed.
//!
//! **Which VRF.** A tree has one listener (a second one is EBUSY), and yet `vrfbind exec` may be nested in it. So a
//! socket goes into the VRF that its caller's environment names (/proc/TID/environ: the environment that the program was
//! *executed* with, as the library reads it at load), `default` included. Further cases:
//!
//! - The variable is unset or empty, because it was scrubbed: the tree's own VRF.
//! - Its value is no valid name: EPERM.
//! - The environment cannot be read, or the program has overwritten it (setproctitle(3)): the tree's own VRF as long as
//!   it is the only one; once a program of the tree has named another VRF, EPERM. The cache is in [`known`].
//! - A program gains privileges by being executed (AT_SECURE): it gets no other VRF than the tree's, unless the user who
//!   has started the tree names it: EPERM.
//!
//! A nested `vrfbind exec` and the library tell the supervisor before they start a program in another VRF. The library
//! and the command may name the VRF in the call itself ([`rules::request`]).
//!
//! **No more than the caller may have.** Without further measures a socket would have the supervisor's rights and network
//! namespace. So, for each call ([`caller`]):
//!
//! - The network namespace is the caller's. If it is not ours, a thread enters it (setns(2), CAP_SYS_ADMIN), creates the
//!   socket and ends, so that it need not return. If it cannot be entered, or cannot be compared with ours: EPERM.
//! - The owner, which `iptables -m owner`, `ip rule ... uidrange` and INET_DIAG show, is the caller's effective user and
//!   group (setfsuid(2)). If we may not set it: EPERM.
//! - Types other than stream, datagram, seqpacket and DCCP require the caller's CAP_NET_RAW in the user namespace that
//!   owns its network namespace, as inet_create of net/ipv4 requires it of its caller.
//! - An ICMP datagram socket requires a group within net.ipv4.ping_group_range. If the caller's groups are not ours, a
//!   thread adopts them, and the kernel judges (ping_init_sock). If we may not set them: EPERM.
//!
//! Two properties stay the supervisor's: its cgroup (`meta cgroup` of nft) and its security label (SELinux, AppArmor).
//!
//! Facts about the caller come from /proc/TID, and a TID can be given to another thread once its own has ended. But while
//! a notification can be answered its thread sleeps in this very call; and if the answer fails (ENOENT), the socket is
//! closed before any process has got it.
//!
//! Requires Linux 5.14 (an answer with a descriptor in one step). Before 5.19 a signal with a handler interrupts a call
//! that is being answered, which then begins anew.

mod caller;
mod existing;
mod known;
mod rules;
mod serve;
mod start;

pub use serve::{Obstacle, TreeRules};
pub use start::{Beginning, begin, serves};

use std::path::PathBuf;
use std::{fs, io};

/// Names the supervisor's process to the tree, for [`status`](crate::command::status). A program may change or lose it.
pub const VARIABLE: &str = "VRFBIND_SUPERVISOR";

/// The file of a listener in /proc/PID/fd.
const LISTENER: &str = "anon_inode:seccomp notify";

/// Whether a process has a listener for system calls, as a supervisor does. An error: it does not exist, or its
/// descriptors may not be read.
pub fn is_listening(process: u32) -> io::Result<bool> {
    let is_listener = |link: PathBuf| link.as_os_str() == LISTENER;
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?;
    Ok(descriptors
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(is_listener)))
}
