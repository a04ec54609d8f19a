//! `vrfbind check`: whether it can work here. One line per question: `ok`, `warn` or `fail`, the finding, and the remedy.
//!
//! What can be tried is tried and not inferred: a dynamic program, `vrfbind-probe`, is started with the library and the
//! VRF in its environment, makes a socket by libc's function and reads its device back. A unit's ExecStartPre= does the
//! same with the environment that the unit has (command/unit/, `--loaded`), inside all that confines the unit: it therefore does
//! without netlink, which RestrictAddressFamilies= may refuse, and without /proc, which may not be there.
//!
//! Where there are rules, by the options or by VRFBIND_RULES in the environment, which is the unit's in ExecStartPre=, they are
//! judged too ([`rule_list`]).
//!
//! Nothing is changed, and no packet is sent.

mod kernel;
mod probe;
mod program;
mod rule_list;
mod running;
mod seccomp;
mod surroundings;
mod vrf;

use crate::command::device;
use crate::command::rule_options::RuleOptions;
use crate::failure::{Failure, refuse};
use crate::library;
use crate::output;
use crate::process::netns::Netns;
use crate::sys;
use crate::values::{Level, Subject};
use kernel::{Kernel, kernel_rule, sysctls, vrf_support};
pub use probe::probe_places;
use probe::{probe, try_it};
use program::{the_program, the_program_under_preload};
use rule_list::the_rules;
use rules::{DeviceName, RULES_VARIABLE};
use seccomp::seccomp;
use serde::Serialize;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use surroundings::{ip_vrf_exec, resolvers, udp_ports};
use vrf::{devices_and_addresses, the_device};

/// Check whether programs can run in a VRF on this machine, and print what to change
///
/// Prints a line for each finding: ok, warn or fail. Nothing is changed. Exit status 1: a line says fail.
#[derive(clap::Args)]
pub struct Args {
    /// The VRF to check
    vrf: Option<OsString>,
    /// The program to check, and its arguments. Files that the arguments name are searched for 127.0.0.1 and ::1
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,
    #[command(flatten)]
    rules: RuleOptions,
    /// Print only failures, on standard error
    #[arg(short, long)]
    quiet: bool,
    /// Print JSON: see OUTPUT in vrfbind(1)
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Accept a device that is not a VRF
    #[arg(long)]
    any_device: bool,
    /// Check only that VRF exists, that COMMAND can be preloaded, and that a program started from here has the library
    /// and creates a bound socket. For ExecStartPre= of a unit
    #[arg(long, requires = "vrf")]
    loaded: bool,
    /// Check only that the processes of the unit that runs this command are in VRF. COMMAND is the PID of the main
    /// process. For ExecStartPost= of a unit, with the prefix +
    #[arg(long, requires = "vrf", conflicts_with = "loaded")]
    running: bool,
    /// The path of libvrfbind.so. By default it is searched for: see VRFBIND_LIBRARY
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
}

/// What was found, a line each.
#[derive(Default)]
struct Findings(Vec<Finding>);

#[derive(Serialize)]
struct Finding {
    level: Level,
    subject: Subject,
    found: String,
}

impl Findings {
    fn ok(&mut self, subject: Subject, found: impl Into<String>) {
        self.add(Level::Ok, subject, found.into());
    }

    fn warn(&mut self, subject: Subject, found: impl Into<String>) {
        self.add(Level::Warn, subject, found.into());
    }

    fn fail(&mut self, subject: Subject, found: impl Into<String>) {
        self.add(Level::Fail, subject, found.into());
    }

    fn add(&mut self, level: Level, subject: Subject, found: String) {
        self.0.push(Finding {
            level,
            subject,
            found,
        });
    }
}

/// What JSON has.
#[derive(Serialize)]
struct Report {
    ok: bool,
    findings: Vec<Finding>,
}

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let device = args.vrf.as_deref().map(device::name).transpose()?;
    // Its own name is what a socket says that it is on. Where that cannot be asked, the name is looked at as it is.
    let device = device.map(|device| sys::real_name(&device).unwrap_or(device));
    let rules = args.rules.value()?;
    if rules.is_some() && (device.is_none() || args.running) {
        return Err(refuse(
            "--rule and --loopback require a VRF, and cannot be used with --running: vrfbind check VRF --rule RULE",
        ));
    }
    let rules = rules.or_else(|| env::var_os(RULES_VARIABLE).filter(|rules| !rules.is_empty()));
    let mut findings = Findings::default();
    if let (true, Some(device)) = (args.loaded, &device) {
        the_device(&mut findings, device, args.any_device);
        if let Some(rules) = &rules {
            the_rules(&mut findings, rules, device);
        }
        let own = rules
            .iter()
            .map(|rules| (RULES_VARIABLE, rules.as_os_str()));
        probe(&mut findings, device, &own.collect::<Vec<_>>());
        the_program_under_preload(&mut findings, &args.command);
    } else if let (true, Some(device)) = (args.running, &device) {
        the_unit(&mut findings, device, args.command.first())?;
    } else {
        everything(&mut findings, &args, device.as_ref(), rules.as_deref());
    }
    let has_failed = findings.0.iter().any(|one| one.level == Level::Fail);
    let status = ExitCode::from(u8::from(has_failed));
    if args.json {
        let report = Report {
            ok: !has_failed,
            findings: findings.0,
        };
        let text = serde_json::to_string_pretty(&report);
        output::print(&output::json(
            &text.map_err(|error| refuse(format!("JSON: {error}")))?,
        ))?;
        return Ok(status);
    }
    let mut text = String::new();
    for Finding {
        level,
        subject,
        found,
    } in &findings.0
    {
        let (level, finding) = (*level, format!("{}: {found}", subject.word()));
        match level {
            Level::Fail if args.quiet => output::say(&finding),
            _ if args.quiet => {}
            _ => output::line(&mut text, &format!("{:<5} {finding}", level.word())),
        }
    }
    output::print(&text)?;
    Ok(status)
}

fn the_unit(
    findings: &mut Findings,
    device: &DeviceName,
    main: Option<&OsString>,
) -> Result<(), Failure> {
    let number = |pid: &OsString| pid.to_str().and_then(|pid| pid.parse().ok());
    let main = main.map(|pid| {
        number(pid).ok_or_else(|| refuse(format!("\"{}\" is not a PID", pid.display())))
    });
    let main = main.transpose()?;
    let outside = running::outside(&device.to_string(), main)?;
    if let Some(ended) = main.filter(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
        findings.warn(
            Subject::Unit,
            format!("process {ended} has ended: its sockets were not seen"),
        );
    } else if outside.is_empty() {
        findings.ok(
            Subject::Unit,
            format!("all of its processes are in {device}"),
        );
    }
    for sentence in outside {
        findings.fail(Subject::Unit, sentence);
    }
    Ok(())
}

fn everything(
    findings: &mut Findings,
    args: &Args,
    device: Option<&DeviceName>,
    rules: Option<&OsStr>,
) {
    let kernel = Kernel::running();
    kernel_rule(findings, &kernel);
    let links = Netns::Current.links();
    if let Err(errno) = &links {
        findings.warn(
            Subject::Netlink,
            format!(
                "RTM_GETLINK fails ({}): devices are not checked",
                errno.desc()
            ),
        );
    }
    let is_required = device.is_some() && !args.any_device;
    vrf_support(findings, links.as_ref().ok(), is_required);
    let (mut reached, mut list) = (Vec::new(), None);
    if let Some(device) = device {
        the_device(findings, device, args.any_device);
        list = rules.and_then(|rules| the_rules(findings, rules, device));
        if let Ok(links) = &links {
            let command = &args.command;
            reached = devices_and_addresses(findings, links, device, command, list.as_deref());
        }
    }
    sysctls(findings);
    let supervised = seccomp(findings, &kernel);
    if supervised.is_ok() {
        seccomp::rules(findings);
    }
    let library = match library::find(args.library.as_deref()) {
        Ok(library) => {
            findings.ok(
                Subject::Library,
                format!(
                    "{}, version {}",
                    library.display(),
                    env!("CARGO_PKG_VERSION")
                ),
            );
            if let Some(device) = device {
                try_it(findings, &library, device, rules);
            }
            Some(library)
        }
        Err(failure) => {
            findings.fail(Subject::Library, failure.sentence);
            None
        }
    };
    if let Some(command) = args.command.first() {
        the_program(findings, command, library.as_deref(), supervised);
    }
    resolvers(findings, device, &reached, list.as_deref(), Path::new("/"));
    udp_ports(findings, device);
    ip_vrf_exec(findings);
}
