//! `vrfbind exec`: executes a program whose sockets are in the VRF, or reports in one sentence why that is not possible.
//!
//! In order: check the VRF; the program ([`program`]); the seal that this process has inherited ([`sys::seal_state`]).
//! These alone decide the [`Plan`]. A supervisor is forked off at once, and gets ready while the library is checked
//! ([`library`]).
//!
//! | inherited     | the program can be preloaded                 | it cannot                                        |
//! |---------------|----------------------------------------------|--------------------------------------------------|
//! | nothing       | start a supervisor; if that cannot be, seal  | start a supervisor; if that cannot be, refuse    |
//! | a seal        | go on                                        | refuse: no supervisor can be added               |
//! | a supervisor  | go on                                        | go on if it serves this VRF, refuse if not       |
//!
//! Then the environment names the VRF and the library, and execve(2) follows. The environment tells both the library
//! *and* the supervisor which VRF the program's sockets are in, so a process tree has one supervisor and as many VRFs as
//! its programs name. From then on the process, its descriptors, signals and terminal are the program's. The filter is
//! installed *before* execve: if ld.so drops the library after all, the program gets no unbound socket.

use super::rule_options::RuleOptions;
use super::{device, inherited};
use crate::failure::{Failure, refuse};
use crate::library;
use crate::output;
use crate::program::{self, Program};
use crate::supervisor::{self, Beginning, Obstacle, TreeRules};
use crate::sys::{self, SealState};
use nix::errno::Errno;
use rules::filter::{IoUring, UnmarkedSocket};
use rules::request::Vrf;
use rules::{DEFAULT, DeviceName, RULES_VARIABLE, SEAL_VARIABLE, VRF_VARIABLE};
use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Start a program whose IPv4 and IPv6 sockets are in a VRF
///
/// A seccomp filter, the seal, makes sure of it for the whole process tree: a socket is created in the VRF, or its
/// creation
/// fails. Exit status 125: vrfbind has failed, and the program was not started.
#[derive(clap::Args)]
pub struct Args {
    /// The VRF. "default" stands for none: the program runs outside of any VRF
    vrf: OsString,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    #[command(flatten)]
    rules: RuleOptions,

    /// Fail where no supervisor can be started. Without this option the process tree is then only sealed
    #[arg(long, conflicts_with_all = ["no_supervise", "no_seal"])]
    supervise: bool,

    /// Start no supervisor, only seal the process tree. Programs that the library does not serve then create no IPv4
    /// and IPv6 sockets
    #[arg(long)]
    no_supervise: bool,

    /// Do not install the seal. Sockets that bypass the library are then not bound
    #[arg(long)]
    no_seal: bool,

    /// Allow io_uring. Sockets that are created by io_uring are not bound
    #[arg(long)]
    allow_io_uring: bool,

    /// Put inherited sockets that have no device into the VRF: those with these descriptors (FD,FD,...), or all
    #[arg(long, value_name = "FD", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    bind_inherited: Option<Vec<RawFd>>,

    /// Accept a device that is not a VRF
    #[arg(long)]
    any_device: bool,

    /// The path of libvrfbind.so. By default it is searched for: see VRFBIND_LIBRARY
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
}

/// Returns only with a failure.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let never = if args.vrf == DEFAULT {
        exec_in_default_vrf(&args)?
    } else {
        exec_in_vrf(&args)?
    };
    match never {}
}

fn exec_in_vrf(args: &Args) -> Result<Infallible, Failure> {
    let device = find_device(&args.vrf, args.any_device)?;
    let rules = args.rules.value()?;
    let program = find(args)?;
    let seal = sys::seal_state();
    program::reject_unsupported(&program, seal)?;
    let tree_rules = match rules.clone().or_else(|| env::var_os(RULES_VARIABLE)) {
        Some(value) if !value.is_empty() => TreeRules::Served(value.into_vec()),
        _ => TreeRules::None,
    };
    if matches!(tree_rules, TreeRules::Served(_))
        && seal == SealState::Supervised
        && program::needs_supervisor(&program)
        && !sys::has_supervisor_with_rules()
    {
        return Err(refuse(format!(
            "{} is {}, and the supervisor of this process tree was started without rules ({RULES_VARIABLE}); start the \
             tree with rules, or start the program outside of it",
            program.runs.display(),
            program.verdict.sentence()
        )));
    }
    let plan = plan(args, &program, seal, || {
        supervisor::serves(Vrf::Device(device))
    })?;
    let beginning = (plan == Plan::Supervise).then(|| supervisor::begin(&device, tree_rules));
    let library = library::find(args.library.as_deref())?;
    if args.allow_io_uring && seal != SealState::None && !sys::has_io_uring() {
        return Err(refuse(
            "--allow-io-uring: the seal of this process tree refuses io_uring, or the kernel does not support it; start \
             the tree with `vrfbind exec --allow-io-uring`",
        ));
    }
    if let Some(named) = &args.bind_inherited {
        inherited::bind(named, &device)?;
    }
    let supervisor = match (plan, beginning) {
        (_, Some(beginning)) => {
            supervise(args, &program, beginning)?.map(|pid| pid.to_string().into())
        }
        (Plan::Seal, _) => seal_or_refuse(args).map(|()| None)?,
        _ => inherited_supervisor(seal),
    };
    let first = library::sanitizer(&program.runs);
    let settings = Settings {
        vrf: device.as_bytes(),
        rules,
        library: Some(&library),
        first: first.as_deref(),
        // --no-seal does not remove an inherited seal, and the library has to know of it.
        seal: plan != Plan::Exec || seal != SealState::None,
        supervisor,
    };
    exec_program(args, &program, settings.environment())
}

/// Leaves the VRF. In a sealed tree only the library and a supervisor can create sockets, so they are still needed.
fn exec_in_default_vrf(args: &Args) -> Result<Infallible, Failure> {
    if args.rules.value()?.is_some() {
        return Err(refuse(
            "--rule and --loopback require a VRF; \"default\" is none",
        ));
    }
    if args.bind_inherited.is_some() {
        return Err(refuse(
            "--bind-inherited requires a VRF; \"default\" is none",
        ));
    }
    let program = find(args)?;
    let seal = sys::seal_state();
    let mut settings = Settings {
        vrf: DEFAULT.as_bytes(),
        rules: None,
        library: None,
        first: None,
        seal: seal != SealState::None,
        supervisor: inherited_supervisor(seal),
    };
    if seal == SealState::None {
        return exec_program(args, &program, settings.environment());
    }
    program::reject_unsupported(&program, seal)?;
    let library = library::find(args.library.as_deref())?;
    plan(args, &program, seal, || supervisor::serves(Vrf::Default))?;
    settings.library = Some(&library);
    exec_program(args, &program, settings.environment())
}

/// The environment's name of the tree's supervisor.
fn inherited_supervisor(seal: SealState) -> Option<OsString> {
    env::var_os(supervisor::VARIABLE).filter(|_| seal == SealState::Supervised)
}

fn find(args: &Args) -> Result<Program, Failure> {
    let command = args.command.first().map(OsString::as_os_str);
    Program::find(command.unwrap_or_default(), env::var_os("PATH"))
}

/// The device, if it exists and sockets may be put on it.
pub fn find_device(name: &OsStr, any: bool) -> Result<DeviceName, Failure> {
    let shown = name.display();
    let device = device::name(name)?;
    match sys::driver(&device) {
        Err(Errno::ENODEV) => Err(refuse(format!(
            "there is no device {shown} in this network namespace; `ip vrf show` lists the VRFs"
        ))),
        // Its own name, which getsockopt(2) returns, and which the tree gets.
        driver if any || driver.as_ref().is_ok_and(|driver| driver == b"vrf") => {
            Ok(sys::real_name(&device).unwrap_or(device))
        }
        Ok(_) | Err(Errno::EOPNOTSUPP) => Err(refuse(format!(
            "{shown} is not a VRF; `ip vrf show` lists the VRFs, --any-device accepts other devices"
        ))),
        Err(errno) => Err(refuse(format!(
            "cannot query the driver of {shown}: ioctl(SIOCETHTOOL): {}",
            errno.desc()
        ))),
    }
}

/// What to do before the program is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    Exec,
    Seal,
    Supervise,
}

/// The table above. `served` returns whether the inherited supervisor serves the VRF that is asked for.
fn plan(
    args: &Args,
    program: &Program,
    seal: SealState,
    served: impl Fn() -> Result<(), Failure>,
) -> Result<Plan, Failure> {
    let what = format!(
        "{} is {}",
        program.runs.display(),
        program.verdict.sentence()
    );
    let needs_supervisor = program::needs_supervisor(program);
    if needs_supervisor && args.no_supervise {
        return Err(refuse(format!(
            "{what}; it requires a supervisor: omit --no-supervise"
        )));
    }
    if needs_supervisor && args.no_seal {
        return Err(refuse(format!(
            "{what}; it requires a supervisor, which requires the seal: omit --no-seal"
        )));
    }
    match seal {
        SealState::None if args.no_seal => Ok(Plan::Exec),
        SealState::None if args.no_supervise => Ok(Plan::Seal),
        SealState::None => Ok(Plan::Supervise),
        SealState::Sealed if needs_supervisor => Err(refuse(format!(
            "{what}; it requires a supervisor, and this process tree is sealed without one: start the tree with \
             `vrfbind exec`, without --no-supervise"
        ))),
        SealState::Sealed if args.supervise => Err(refuse(
            "--supervise: this process tree is sealed without a supervisor, and none can be added; start the tree with \
             `vrfbind exec --supervise`",
        )),
        SealState::Supervised if needs_supervisor || args.supervise => {
            served().map(|()| Plan::Exec)
        }
        SealState::Supervised => {
            // Only so that the supervisor learns of this VRF.
            let _ = served();
            Ok(Plan::Exec)
        }
        SealState::Sealed => Ok(Plan::Exec),
    }
}

/// Puts the process tree under a supervisor. An obstacle is a failure only if the supervisor is indispensable; otherwise
/// the process tree is sealed, and one line reports what it lacks.
fn supervise(
    args: &Args,
    program: &Program,
    beginning: Result<Beginning, Obstacle>,
) -> Result<Option<u32>, Failure> {
    let obstacle = match beginning.and_then(|beginning| beginning.finish(io_uring(args))) {
        Ok(pid) => return Ok(Some(pid)),
        Err(obstacle) => obstacle,
    };
    if program::needs_supervisor(program) {
        return Err(refuse(format!(
            "{} is {}, and it requires a supervisor, which cannot be started: {obstacle}",
            program.runs.display(),
            program.verdict.sentence()
        )));
    }
    if args.supervise {
        return Err(refuse(format!("cannot start a supervisor: {obstacle}")));
    }
    seal_or_refuse(args)?;
    output::say(&format!(
        "cannot start a supervisor: {obstacle}. The process tree is only sealed: programs that libvrfbind.so does not \
         serve get no IPv4 and IPv6 sockets"
    ));
    Ok(None)
}

fn io_uring(args: &Args) -> IoUring {
    if args.allow_io_uring {
        IoUring::Allow
    } else {
        IoUring::Deny
    }
}

/// Seals this process, or returns the obstacle.
pub fn seal(io_uring: IoUring) -> Result<(), Obstacle> {
    sys::seal(&rules::filter::filter(UnmarkedSocket::Deny, io_uring))
        .map_err(|errno| format!("prctl(PR_SET_SECCOMP): {}", errno.desc()))?;
    // The proof is what the kernel does now.
    if sys::seal_state() == SealState::Sealed {
        Ok(())
    } else {
        Err("prctl(PR_SET_SECCOMP) succeeds without effect".to_owned())
    }
}

fn seal_or_refuse(args: &Args) -> Result<(), Failure> {
    seal(io_uring(args)).map_err(|obstacle| {
        refuse(format!(
            "cannot install the seal: {obstacle}; with --no-seal, sockets that bypass the library are not bound"
        ))
    })
}

/// The settings in the program's environment.
struct Settings<'a> {
    vrf: &'a [u8],
    /// None: the present ones.
    rules: Option<OsString>,
    library: Option<&'a Path>,
    /// A library that has to come before it.
    first: Option<&'a OsStr>,
    seal: bool,
    supervisor: Option<OsString>,
}

impl Settings<'_> {
    /// The environment of the program: ours, byte for byte, with these settings in it. VRFBIND_VRF comes first, so that
    /// the supervisor finds it at once.
    fn environment(&self) -> Vec<CString> {
        const PRELOAD: &str = "LD_PRELOAD";
        let seal = if self.seal { "1" } else { "0" };
        let mut set = vec![(VRF_VARIABLE, Some(OsStr::from_bytes(self.vrf).into()))];
        set.push((SEAL_VARIABLE, Some(seal.into())));
        set.push((supervisor::VARIABLE, self.supervisor.clone()));
        if let Some(rules) = &self.rules {
            set.push((RULES_VARIABLE, Some(rules.clone())));
        }
        if let Some(library) = self.library {
            let preload = library::preload(library, env::var_os(PRELOAD), self.first);
            set.push((PRELOAD, Some(preload)));
        }
        let is_set_here = |entry: &CString| {
            let name = entry.to_bytes().split(|byte| *byte == b'=').next();
            let has_value = entry.to_bytes().contains(&b'=');
            has_value && set.iter().any(|(set, _)| name == Some(set.as_bytes()))
        };
        let mut others = sys::environment();
        others.retain(|entry| !is_set_here(entry));
        let entries = set.iter().filter_map(|(name, value)| {
            let value = value.as_ref()?.as_bytes();
            CString::new([name.as_bytes(), value].join(&b'=')).ok()
        });
        entries.chain(others).collect()
    }
}

/// execvp(3) of the file that was checked: a file that the kernel does not recognise is a script for /bin/sh.
fn exec_program(
    args: &Args,
    program: &Program,
    environment: Vec<CString>,
) -> Result<Infallible, Failure> {
    let string = |text: &OsStr| {
        CString::new(text.as_bytes()).map_err(|_| refuse("an argument has a NUL in it"))
    };
    let path = string(program.path.as_os_str())?;
    let arguments = args.command.iter().map(|argument| string(argument));
    let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
    nix::unistd::execvpe(&path, &arguments, &environment)
        .map_err(|errno| program::cannot_start(program.path.as_os_str(), errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::executable::Verdict;

    fn args(options: &[&str]) -> Args {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let line = ["exec"].iter().chain(options).chain(&["blue", "cmd"]);
        <Line as clap::Parser>::parse_from(line).args
    }

    fn program(verdict: Verdict) -> Program {
        Program {
            path: "/cmd".into(),
            runs: "/cmd".into(),
            verdict,
        }
    }

    fn plans(options: &[&str], verdict: Verdict) -> [Option<Plan>; 3] {
        [SealState::None, SealState::Sealed, SealState::Supervised]
            .map(|seal| plan(&args(options), &program(verdict), seal, || Ok(())).ok())
    }

    #[test]
    fn a_tree_has_one_seal() {
        use Plan::{Exec, Seal, Supervise};
        let preloadable = plans(&[], Verdict::Preloaded);
        assert_eq!(preloadable, [Some(Supervise), Some(Exec), Some(Exec)]);
        assert_eq!(plans(&[], Verdict::Other), preloadable);
        for verdict in [
            Verdict::Static,
            Verdict::Go,
            Verdict::SetId,
            Verdict::FileCapabilities,
            Verdict::OtherIds,
            Verdict::Unreadable,
        ] {
            assert_eq!(plans(&[], verdict), [Some(Supervise), None, Some(Exec)]);
            assert_eq!(plans(&["--no-supervise"], verdict), [None; 3]);
            assert_eq!(plans(&["--no-seal"], verdict), [None; 3]);
        }
        let sealed = plans(&["--no-supervise"], Verdict::Preloaded);
        assert_eq!(sealed, [Some(Seal), Some(Exec), Some(Exec)]);
        let supervised = plans(&["--supervise"], Verdict::Preloaded);
        assert_eq!(supervised, [Some(Supervise), None, Some(Exec)]);
        let unsealed = plans(&["--no-seal"], Verdict::Preloaded);
        assert_eq!(unsealed, [Some(Exec); 3]);
    }

    #[test]
    fn a_supervisor_that_does_not_serve_is_none() {
        let plan = |options: &[&str], verdict| {
            let served = || Err(refuse("it does not serve"));
            plan(
                &args(options),
                &program(verdict),
                SealState::Supervised,
                served,
            )
            .ok()
        };
        assert_eq!(plan(&[], Verdict::Static), None);
        assert_eq!(plan(&["--supervise"], Verdict::Preloaded), None);
        assert_eq!(plan(&[], Verdict::Preloaded), Some(Plan::Exec));
    }
}
