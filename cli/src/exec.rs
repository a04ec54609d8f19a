//! `vrfbind exec`: becomes a program whose sockets are in the VRF, or says in one sentence why it cannot be.
//!
//! In order: look at the VRF; at the program ([`program`]); at the library ([`library`]); at what is around
//! us already ([`sys::around`]). From these four comes the way, without any further question:
//!
//! | around        | the program can be preloaded | it cannot                                  |
//! |---------------|------------------------------|--------------------------------------------|
//! | nothing       | seal it                      | supervise it, sealed with a supervisor     |
//! | a seal        | go on                        | refuse: no supervisor can be added         |
//! | a supervisor  | go on                        | go on if it serves this VRF, refuse if not |
//!
//! Then the environment names the VRF and the library, the seal is installed, and execve(2) follows. The
//! process, its descriptors, signals and terminal are the program's from then on. The seal is installed
//! *before* execve: if ld.so drops the library after all, the program gets no IP socket instead of an unbound
//! one.

use crate::failure::{Failure, refuse};
use crate::library;
use crate::program::{self, Kind, Program};
use crate::supervisor;
use crate::sys::{self, Around};
use nix::errno::Errno;
use rules::filter::{IoUring, Stranger};
use rules::{DEFAULT, DeviceName, SEAL_VARIABLE, VRF_VARIABLE};
use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Start a program whose IPv4 and IPv6 sockets are in a VRF
#[derive(clap::Args)]
pub struct Args {
    /// The VRF; "default" leaves the one that we are in
    vrf: OsString,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,

    /// Let a supervisor make the sockets of all programs that the library is not in
    #[arg(long, conflicts_with_all = ["no_supervise", "no_seal"])]
    supervise: bool,

    /// Refuse a program that the library cannot be preloaded into
    #[arg(long)]
    no_supervise: bool,

    /// Install no seal: what passes the library by is not bound
    #[arg(long)]
    no_seal: bool,

    /// Leave io_uring in, whose sockets are not bound
    #[arg(long)]
    allow_io_uring: bool,

    /// Take a device that is not a VRF
    #[arg(long)]
    any_device: bool,

    /// The path of libvrfbind.so
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
}

/// Returns only with a failure.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let never = if args.vrf.as_bytes() == DEFAULT {
        leave(&args)?
    } else {
        enter(&args)?
    };
    match never {}
}

fn enter(args: &Args) -> Result<Infallible, Failure> {
    let device = device(&args.vrf, args.any_device)?;
    let program = find(args)?;
    program::refuse_hopeless(&program)?;
    let library = library::find(args.library.as_deref())?;
    let around = sys::around();
    let way = way(args, &program, around, || supervisor::vrf_around(&device))?;
    if args.allow_io_uring && around != Around::Nothing && !sys::has_io_uring() {
        return Err(refuse(
            "--allow-io-uring: the seal around this tree refuses io_uring for good, or this kernel has none; start \
             the tree with `vrfbind exec --allow-io-uring`",
        ));
    }
    let supervisor = match way {
        Way::GoOn => supervisor_around(around),
        Way::Seal => seal(args).map(|()| None)?,
        Way::Supervise => Some(
            supervisor::start(&device, io_uring(args))?
                .to_string()
                .into(),
        ),
    };
    let settings = Settings {
        vrf: device.as_bytes(),
        library: Some(&library),
        // --no-seal takes none away, and the library has to know of it.
        seal: way != Way::GoOn || around != Around::Nothing,
        supervisor,
    };
    become_program(args, &program, settings.environment())
}

/// Out of the VRF. Where only the library can make sockets, it still has to.
fn leave(args: &Args) -> Result<Infallible, Failure> {
    let program = find(args)?;
    let around = sys::around();
    let mut settings = Settings {
        vrf: DEFAULT,
        library: None,
        seal: around != Around::Nothing,
        supervisor: supervisor_around(around),
    };
    if around == Around::Nothing {
        return become_program(args, &program, settings.environment());
    }
    program::refuse_hopeless(&program)?;
    if needs_supervisor(&program) {
        return Err(refuse(format!(
            "{} is {}: it cannot leave the VRF from within a tree that vrfbind started; start it outside",
            program.runs.display(),
            program.kind.description()
        )));
    }
    let library = library::find(args.library.as_deref())?;
    settings.library = Some(&library);
    become_program(args, &program, settings.environment())
}

/// What the tree says of its supervisor.
fn supervisor_around(around: Around) -> Option<OsString> {
    env::var_os(supervisor::VARIABLE).filter(|_| around == Around::Supervisor)
}

fn find(args: &Args) -> Result<Program, Failure> {
    let command = args.command.first().map(OsString::as_os_str);
    Program::find(command.unwrap_or_default(), env::var_os("PATH"))
}

/// The device, if it is there and is one that sockets may be put on.
fn device(name: &OsStr, any: bool) -> Result<DeviceName, Failure> {
    let shown = name.display();
    let device = DeviceName::new(name.as_bytes()).map_err(|why| {
        refuse(format!(
            "\"{shown}\" is not a device name: {}",
            why.reason()
        ))
    })?;
    match sys::driver(&device) {
        Err(Errno::ENODEV) => Err(refuse(format!(
            "there is no device {shown} in this network namespace; `ip vrf` lists the VRFs"
        ))),
        Ok(driver) if driver == b"vrf" => Ok(device),
        _ if any => Ok(device),
        Ok(_) | Err(Errno::EOPNOTSUPP) => Err(refuse(format!(
            "{shown} is not a VRF; `ip vrf` lists the VRFs, and --any-device takes other devices"
        ))),
        Err(errno) => Err(refuse(format!(
            "cannot ask for the driver of {shown}: ioctl(SIOCETHTOOL): {}",
            errno.desc()
        ))),
    }
}

/// What there is to do before the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    GoOn,
    Seal,
    Supervise,
}

fn needs_supervisor(program: &Program) -> bool {
    matches!(program.kind, Kind::Static | Kind::FileCapabilities)
}

/// The table above. `served` says whether the supervisor around us serves the VRF that is asked for.
fn way(
    args: &Args,
    program: &Program,
    around: Around,
    served: impl Fn() -> Result<(), Failure>,
) -> Result<Way, Failure> {
    let what = format!(
        "{} is {}",
        program.runs.display(),
        program.kind.description()
    );
    let alone = needs_supervisor(program);
    if alone && args.no_supervise {
        return Err(refuse(format!(
            "{what}: libvrfbind.so cannot be preloaded into it; without --no-supervise it is supervised"
        )));
    }
    if alone && args.no_seal {
        return Err(refuse(format!(
            "{what}: libvrfbind.so cannot be preloaded into it, and without the seal it cannot be supervised; leave \
             --no-seal out"
        )));
    }
    match around {
        Around::Nothing if alone || args.supervise => Ok(Way::Supervise),
        Around::Nothing if args.no_seal => Ok(Way::GoOn),
        Around::Nothing => Ok(Way::Seal),
        Around::Seal if alone => Err(refuse(format!(
            "{what}, and gets no IP socket within this tree, which is sealed and cannot be supervised any more; start \
             the tree with `vrfbind exec --supervise`"
        ))),
        Around::Seal if args.supervise => Err(refuse(
            "--supervise: this tree is sealed and cannot be supervised any more; start the tree with `vrfbind exec \
             --supervise`",
        )),
        Around::Supervisor if alone || args.supervise => served().map(|()| Way::GoOn),
        Around::Seal | Around::Supervisor => Ok(Way::GoOn),
    }
}

fn io_uring(args: &Args) -> IoUring {
    if args.allow_io_uring {
        IoUring::Allowed
    } else {
        IoUring::Refused
    }
}

fn seal(args: &Args) -> Result<(), Failure> {
    sys::seal(&rules::filter::filter(Stranger::Refused, io_uring(args))).map_err(|errno| {
        refuse(format!(
            "cannot seal: prctl(PR_SET_SECCOMP): {}; --no-seal does without, and what passes the library by is not bound",
            errno.desc()
        ))
    })?;
    // What counts is what the kernel does now.
    if sys::around() == Around::Seal {
        Ok(())
    } else {
        Err(refuse(
            "cannot seal: prctl(PR_SET_SECCOMP) succeeds and has no effect",
        ))
    }
}

/// What the environment tells the program.
struct Settings<'a> {
    vrf: &'a [u8],
    library: Option<&'a Path>,
    seal: bool,
    supervisor: Option<OsString>,
}

impl Settings<'_> {
    /// The environment of the program: ours, with these settings in it.
    fn environment(&self) -> Vec<CString> {
        const PRELOAD: &str = "LD_PRELOAD";
        let mut variables: Vec<(OsString, OsString)> = env::vars_os().collect();
        let mut set = |name: &str, value: Option<OsString>| {
            variables.retain(|(other, _)| other != name);
            variables.extend(value.map(|value| (name.into(), value)));
        };
        set(VRF_VARIABLE, Some(OsStr::from_bytes(self.vrf).into()));
        set(
            SEAL_VARIABLE,
            Some(if self.seal { "1" } else { "0" }.into()),
        );
        set(supervisor::VARIABLE, self.supervisor.clone());
        if let Some(library) = self.library {
            let preload = library::preload(library, env::var_os(PRELOAD));
            set(PRELOAD, Some(preload));
        }
        variables
            .into_iter()
            .filter_map(|(name, value)| {
                let entry = [name.into_vec(), value.into_vec()].join(&b'=');
                CString::new(entry).ok()
            })
            .collect()
    }
}

/// execvp(3) of the file that was looked at: what is no script for the kernel is one for /bin/sh.
fn become_program(
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

    fn args(options: &[&str]) -> Args {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let line = ["exec"].iter().chain(options).chain(&["blue", "cmd"]);
        <Line as clap::Parser>::parse_from(line).args
    }

    fn ways(options: &[&str], kind: Kind) -> [Option<Way>; 3] {
        let program = Program {
            path: "/cmd".into(),
            runs: "/cmd".into(),
            kind,
        };
        [Around::Nothing, Around::Seal, Around::Supervisor]
            .map(|around| way(&args(options), &program, around, || Ok(())).ok())
    }

    #[test]
    fn a_tree_has_one_seal() {
        use Way::{GoOn, Seal, Supervise};
        let preloadable = ways(&[], Kind::Preloadable);
        assert_eq!(preloadable, [Some(Seal), Some(GoOn), Some(GoOn)]);
        let unknown = ways(&[], Kind::Unknown);
        assert_eq!(unknown, preloadable);
        for kind in [Kind::Static, Kind::FileCapabilities] {
            assert_eq!(ways(&[], kind), [Some(Supervise), None, Some(GoOn)]);
            assert_eq!(ways(&["--no-supervise"], kind), [None; 3]);
            assert_eq!(ways(&["--no-seal"], kind), [None; 3]);
        }
        let supervised = ways(&["--supervise"], Kind::Preloadable);
        assert_eq!(supervised, [Some(Supervise), None, Some(GoOn)]);
        let unsealed = ways(&["--no-seal"], Kind::Preloadable);
        assert_eq!(unsealed, [Some(GoOn); 3]);
    }

    #[test]
    fn a_supervisor_of_another_vrf_serves_no_static_program() {
        let program = |kind| Program {
            path: "/cmd".into(),
            runs: "/cmd".into(),
            kind,
        };
        let way = |kind| {
            way(&args(&[]), &program(kind), Around::Supervisor, || {
                Err(refuse("other"))
            })
            .ok()
        };
        assert_eq!(way(Kind::Static), None);
        assert_eq!(way(Kind::Preloadable), Some(Way::GoOn));
    }
}
