//! The seal and its supervisor. Both are tried, each in a child that ends with them: the kernel, a filter around us, the
//! limits of this process and what is seen of /proc have a say in it, and no file tells it all.

use super::Findings;
use super::kernel::Kernel;
use crate::command::exec;
use crate::supervisor::{self, Obstacle, TreeRules};
use crate::sys::{self, Around};
use crate::values::Subject;
use nix::sys::wait::{WaitStatus, waitpid};
use rules::filter::IoUring;
use rules::request::Vrf;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process;

/// Whether what needs a supervisor would have one, or what is in the way.
pub(super) fn seccomp(findings: &mut Findings, kernel: &Kernel) -> Result<(), Obstacle> {
    match sys::around() {
        Around::Nothing => {}
        Around::Seal => {
            findings.ok(
                Subject::Seccomp,
                "this tree is sealed already: programs go on under the same seal, and static ones get \
                 no IP socket",
            );
            return Err("the tree is sealed".to_owned());
        }
        Around::Supervisor => {
            findings.ok(
                Subject::Seccomp,
                "this tree is supervised already: programs go on under the same supervisor",
            );
            return Ok(());
        }
    }
    if let Err(obstacle) = in_a_child(|| exec::seal(IoUring::Deny)) {
        findings.fail(
            Subject::Seccomp,
            format!(
                "no filters, so that nothing can be sealed: {obstacle}; vrfbind exec --no-seal does without"
            ),
        );
        return Err(obstacle);
    }
    findings.ok(
        Subject::Seccomp,
        "filters are there: programs can be sealed",
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
                "static and Go programs cannot be supervised: {obstacle}; vrfbind exec only seals"
            ),
        ),
        Ok(()) if kernel.version < (5, 19) => findings.warn(
            Subject::Seccomp,
            "static programs can be supervised; before Linux 5.19 signals interrupt their \
             socket()s, as Go's do all the time",
        ),
        Ok(()) => findings.ok(
            Subject::Seccomp,
            "user notifications are there: static and Go programs can be supervised",
        ),
    }
    supervised
}

/// What rules ask of a supervisor, besides what all trees do: to read an address in the memory of a program that it has not
/// started. As without, the supervisor is a child of the program.
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

/// What becomes of an attempt in a child.
#[allow(unsafe_code)]
fn in_a_child(attempt: impl FnOnce() -> Result<(), Obstacle>) -> Result<(), Obstacle> {
    const SUCCESS: &str = "success";
    let cannot = |error: &dyn std::fmt::Display| format!("it cannot be tried: {error}");
    let (mut ours, mut theirs) = UnixStream::pair().map_err(|error| cannot(&error))?;
    // SAFETY: `check` starts no thread.
    let child = unsafe { sys::fork() }.map_err(|errno| cannot(&errno.desc()))?;
    let Some(child) = child else {
        drop(ours);
        let result = attempt();
        let said = result.as_ref().map_or_else(String::as_str, |()| SUCCESS);
        let _ = theirs.write_all(said.as_bytes());
        process::exit(0)
    };
    drop(theirs);
    let mut said = String::new();
    let heard = ours.read_to_string(&mut said);
    match waitpid(child, None) {
        Ok(WaitStatus::Signaled(_, signal, _)) => Err(format!("{signal} ended the attempt")),
        _ if said == SUCCESS => Ok(()),
        _ if said.is_empty() => Err("the attempt has ended without a word".to_owned()),
        _ => Err(heard.map_or_else(|error| cannot(&error), |_| said)),
    }
}
