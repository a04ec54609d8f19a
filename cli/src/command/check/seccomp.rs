//! The seal and its supervisor. Both are tried, each in a child that ends with them: the result depends on the kernel, an
//! inherited filter, the limits of this process and the visible part of /proc, and no file tells all of it.

use super::Findings;
use super::kernel::Kernel;
use crate::command::exec;
use crate::supervisor::{self, Obstacle, TreeRules};
use crate::sys::{self, SealState};
use crate::values::Subject;
use nix::sys::wait::{WaitStatus, waitpid};
use rules::filter::IoUring;
use rules::request::Vrf;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process;

/// Whether a program that needs a supervisor would have one; otherwise the obstacle.
pub(super) fn seccomp(findings: &mut Findings, kernel: &Kernel) -> Result<(), Obstacle> {
    match sys::seal_state() {
        SealState::None => {}
        SealState::Sealed => {
            findings.ok(
                Subject::Seccomp,
                "this process tree is sealed already: programs run under the same seal, and static programs create no \
                 IPv4 and IPv6 sockets",
            );
            return Err("the process tree is sealed".to_owned());
        }
        SealState::Supervised => {
            findings.ok(
                Subject::Seccomp,
                "this process tree has a supervisor already, which also serves new programs",
            );
            return Ok(());
        }
    }
    if let Err(obstacle) = in_a_child(|| exec::seal(IoUring::Deny)) {
        findings.fail(
            Subject::Seccomp,
            format!(
                "the seal cannot be installed: {obstacle}; only `vrfbind exec --no-seal` works"
            ),
        );
        return Err(obstacle);
    }
    findings.ok(
        Subject::Seccomp,
        "filters are supported: programs can be sealed",
    );
    // It makes no socket, of which VRF ever.
    let any = Vrf::Default.name();
    let supervised = in_a_child(|| {
        let beginning = supervisor::begin(&any, TreeRules::None)?;
        beginning.finish(IoUring::Deny).map(drop)
    });
    match &supervised {
        Err(obstacle) => findings.warn(
            Subject::Seccomp,
            format!(
                "static and Go programs cannot be supervised: {obstacle}; `vrfbind exec` only seals"
            ),
        ),
        Ok(()) if kernel.version < (5, 19) => findings.warn(
            Subject::Seccomp,
            "static programs can be supervised; before Linux 5.19, signals interrupt their calls of socket(), and Go \
             programs send themselves many signals",
        ),
        Ok(()) => findings.ok(
            Subject::Seccomp,
            "user notifications are supported: static and Go programs can be supervised",
        ),
    }
    supervised
}

/// What rules require of a supervisor in addition: to read an address in the memory of a program that it has not started.
/// As without rules, the supervisor is a child of the program.
pub(super) fn rules(findings: &mut Findings) {
    const SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";
    const CAP_SETUID: u32 = 7;
    const CAP_SYS_PTRACE: u32 = 19;
    if sys::has_capability(CAP_SYS_PTRACE) {
        return;
    }
    let scope = fs::read_to_string(SCOPE).unwrap_or_default();
    findings.warn(
        Subject::Rules,
        match scope.trim() {
            "" | "0" if !sys::has_capability(CAP_SETUID) => return,
            "" | "0" => "without CAP_SYS_PTRACE a static or Go program that gives up its user cannot be read, and its bind() and \
                 connect() fail with EPERM under VRFBIND_RULES"
                .to_owned(),
            scope => format!(
                "kernel.yama.ptrace_scope={scope} without CAP_SYS_PTRACE: no static or Go program can be read, and under \
                 VRFBIND_RULES their bind() and connect() fail with EPERM; root, or `sysctl kernel.yama.ptrace_scope=0`"
            ),
        },
    );
}

/// The result of an attempt in a child.
#[allow(unsafe_code)]
fn in_a_child(attempt: impl FnOnce() -> Result<(), Obstacle>) -> Result<(), Obstacle> {
    const SUCCESS: &str = "success";
    let cannot = |error: &dyn std::fmt::Display| format!("the attempt failed: {error}");
    let (mut ours, mut theirs) = UnixStream::pair().map_err(|error| cannot(&error))?;
    // SAFETY: `check` starts no thread.
    let child = unsafe { sys::fork() }.map_err(|errno| cannot(&errno.desc()))?;
    let Some(child) = child else {
        drop(ours);
        let result = attempt();
        let answer = result.as_ref().map_or_else(String::as_str, |()| SUCCESS);
        let _ = theirs.write_all(answer.as_bytes());
        process::exit(0)
    };
    drop(theirs);
    let mut answer = String::new();
    let heard = ours.read_to_string(&mut answer);
    match waitpid(child, None) {
        Ok(WaitStatus::Signaled(_, signal, _)) => Err(format!("{signal} ended the attempt")),
        _ if answer == SUCCESS => Ok(()),
        _ if answer.is_empty() => Err("the attempt ended without a result".to_owned()),
        _ => Err(heard.map_or_else(|error| cannot(&error), |_| answer)),
    }
}
