//! The supervisor: a process that makes the IP sockets of programs that the library is not in.
//!
//! Static programs, Go's, privileged ones and raw system calls never ask the library. Under the second form of the seal
//! ([`rules::filter`]) their socket(AF_INET, AF_INET6) does not run: the calling thread sleeps, its call becomes a
//! notification (seccomp_unotify(2)), and the listener's owner answers with a socket that it has made and bound.
//! All arguments are numbers, which the kernel has copied: there is nothing that could change after the check.
//! Sockets that carry the library's marker are made by the kernel as ever; the supervisor never hears of them.
//!
//! In a tree with rules (`VRFBIND_RULES`) a longer filter asks about bind(2), connect(2) and setsockopt(SO_BINDTODEVICE) too, whose
//! arguments are in the caller's memory: [`existing`] says what becomes of them, [`rules`] where the rules come from.
//!
//! **Who is who.** The supervisor is forked off before execve(2), and the *program* keeps the process: its PID, parent,
//! terminal, job, descriptors and signals are those that `vrfbind` was started with. So a shell's
//! job control, a service manager's MAINPID and sd_notify(3), `timeout` and `wait` work as without us; there is
//! no signal and no exit status to forward, and none to lose if one of the two is killed.
//! The supervisor is the program's child, by a clone(2) without an exit signal: no wait() finds it, be the program process 1
//! or a subreaper, but one with __WALL; and it may not execute anything, which would make it a child as others.
//! If the program ends before its tree, the supervisor goes to init or to a subreaper, as the rest of the tree does.
//!
//! In order:
//!
//! 1. [`begin()`] makes a pair of sockets and forks. The child asks the kernel whether it has notifications, which a
//!    filter around us may answer by killing (SystemCallFilter=@system-service of systemd 252 has no seccomp(2)); better
//!    it than us. It raises its limits, lets go of all else that it has inherited (session, directory, descriptors), and
//!    blocks every signal that can be blocked: a ^C, or a stop of the whole service, is for the program. While one process
//!    of the tree lives it shall get its sockets. Its priority stays the tree's. It says that it is ready, or what is missing.
//!    Meanwhile `vrfbind` looks at the library.
//! 2. `vrfbind` installs the filter, sees whether the listener can do what is needed, and sends it over the pair. It waits
//!    for no second answer, since all that may fail has been tried: it executes the program, while the supervisor
//!    receives the listener and makes its second thread.
//! 3. The supervisor answers, one call at a time. POLLHUP on the listener says that the last process of the
//!    tree has gone (Linux 5.9), and it ends.
//!
//! If the supervisor is killed, the listener is closed, and the kernel answers each such call of the tree, also
//! those that wait, with ENOSYS: no socket, rather than an unbound one. Nobody can listen again.
//!
//! **Which VRF.** A tree has one listener (a second one is EBUSY), and yet `vrfbind exec` may be nested in it. So a socket goes
//! into the VRF that its caller's environment names (/proc/TID/environ: what the program was *executed* with, as the
//! library reads it at load), `default` included. Where that is silent, because it was scrubbed, into the
//! tree's own; where it is no name: EPERM. Where it cannot be read, or the program has written over it (setproctitle(3)),
//! into the tree's own as long as that is the only one: once somebody in the tree has named another, EPERM. [`known`] tells
//! what is remembered of it. A nested `vrfbind exec` and the library say so before they start a program that is to be in
//! another VRF. A program that gains
//! privileges by being executed (AT_SECURE) takes no other VRF than the tree's from anybody but the user who has started
//! the tree: EPERM. A program of ours may name the VRF in the call itself ([`rules::request`]).
//!
//! **No more than the caller may have.** A socket is made with the supervisor's rights and in its network namespace unless
//! something is done about it. So, for each call ([`caller`]):
//!
//! - The network namespace is the caller's. If it is not ours, a thread enters it (setns(2), CAP_SYS_ADMIN), makes the socket
//!   and ends, so that there is no way back to be lost. Where it cannot be entered, or that it is ours cannot be seen: EPERM.
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
