//! `vrfbind check`: can it work here? One line per question: `ok`, `warn` or `fail`, what was found, and
//! the remedy.
//!
//! What can be tried is tried and not inferred: a dynamic program, `vrfbind-trial`, is started with the library and the
//! VRF in its environment, makes a socket by libc's function and reads its device back. A unit's ExecStartPre= does the
//! same with the environment that the unit has (unit.rs, `--loaded`), inside all that confines the unit: it therefore does
//! without netlink, which RestrictAddressFamilies= may refuse, and without /proc, which may not be there.
//!
//! Nothing is changed, and no packet is sent.

use crate::failure::{Failure, refuse};
use crate::library;
use crate::process::netns::{Links, Netns};
use crate::program::{self, Program};
use crate::sys::{self, Around};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockaddrLike};
use nix::unistd::{AccessFlags, access};
use rules::DeviceName;
use rules::executable::Verdict;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// Say whether programs can be put into a VRF here, what is in the way, and the remedy
///
/// A line per question: ok, warn or fail. Exit status 1 if one is fail.
#[derive(clap::Args)]
pub struct Args {
    /// The VRF
    vrf: Option<OsString>,
    /// A program, and arguments that may name its configuration
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    command: Vec<OsString>,
    /// Only say what fails, on standard error
    #[arg(short, long)]
    quiet: bool,
    /// Take a device that is not a VRF
    #[arg(long)]
    any_device: bool,
    /// Only ask whether a program started from here has the library and its sockets are bound: for ExecStartPre=
    #[arg(long, requires = "vrf")]
    loaded: bool,
    /// The path of libvrfbind.so
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// What was found, a line each.
#[derive(Default)]
struct Findings(Vec<(Level, &'static str, String)>);

impl Findings {
    fn ok(&mut self, subject: &'static str, found: impl Into<String>) {
        self.0.push((Level::Ok, subject, found.into()));
    }

    fn warn(&mut self, subject: &'static str, found: impl Into<String>) {
        self.0.push((Level::Warn, subject, found.into()));
    }

    fn fail(&mut self, subject: &'static str, found: impl Into<String>) {
        self.0.push((Level::Fail, subject, found.into()));
    }
}

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let device = match &args.vrf {
        None => None,
        Some(name) => Some(DeviceName::new(name.as_bytes()).map_err(|why| {
            refuse(format!(
                "\"{}\" is not a device name: {}",
                name.display(),
                why.reason()
            ))
        })?),
    };
    let mut findings = Findings::default();
    if let (true, Some(device)) = (args.loaded, &device) {
        the_device(&mut findings, device, args.any_device);
        trial(&mut findings, device, &[]);
        the_program_under_preload(&mut findings, &args.command);
    } else {
        everything(&mut findings, &args, device.as_ref());
    }
    let mut has_failed = false;
    for (level, subject, found) in &findings.0 {
        has_failed |= *level == Level::Fail;
        match level {
            Level::Fail if args.quiet => eprintln!("vrfbind: {subject}: {found}"),
            _ if args.quiet => {}
            Level::Ok => println!("ok    {subject}: {found}"),
            Level::Warn => println!("warn  {subject}: {found}"),
            Level::Fail => println!("fail  {subject}: {found}"),
        }
    }
    Ok(ExitCode::from(u8::from(has_failed)))
}

fn everything(findings: &mut Findings, args: &Args, device: Option<&DeviceName>) {
    let kernel = Kernel::running();
    kernel_rule(findings, &kernel);
    let links = Netns::Ours.links();
    if let Err(errno) = &links {
        findings.warn(
            "netlink",
            format!(
                "RTM_GETLINK fails ({}): devices are not looked at",
                errno.desc()
            ),
        );
    }
    vrf_support(findings, links.as_ref().ok());
    if let Some(device) = device {
        the_device(findings, device, args.any_device);
        if let Ok(links) = &links {
            devices_and_addresses(findings, links, device, &args.command);
        }
    }
    sysctls(findings);
    let can_supervise = seccomp(findings, &kernel);
    let library = match library::find(args.library.as_deref()) {
        Ok(library) => {
            findings.ok(
                "library",
                format!(
                    "{}, version {}",
                    library.display(),
                    env!("CARGO_PKG_VERSION")
                ),
            );
            if let Some(device) = device {
                try_it(findings, &library, device);
            }
            Some(library)
        }
        Err(failure) => {
            findings.fail("library", failure.sentence);
            None
        }
    };
    if let Some(command) = args.command.first() {
        the_program(findings, command, library.as_deref(), can_supervise);
    }
    resolvers(findings, Path::new("/"));
    udp_ports(findings, device);
    ip_vrf_exec(findings);
}

// ---- The kernel ----

struct Kernel {
    release: String,
    version: (u32, u32),
}

impl Kernel {
    fn running() -> Self {
        let release = nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        let version = (next(), next());
        Self { release, version }
    }
}

/// c427bfec18f2: the first SO_BINDTODEVICE of a socket takes no capability since Linux 5.7.
fn kernel_rule(findings: &mut Findings, kernel: &Kernel) {
    let release = &kernel.release;
    if kernel.version >= (5, 7) {
        findings.ok(
            "kernel",
            format!("Linux {release}: binding a socket takes no privilege (since 5.7)"),
        );
    } else if sys::has_capability(CAP_NET_RAW) {
        findings.warn(
            "kernel",
            format!(
                "Linux {release}: binding a socket takes CAP_NET_RAW before 5.7; you have it, \
             programs that drop it will not"
            ),
        );
    } else {
        findings.fail("kernel", format!(
            "Linux {release}: binding a socket takes CAP_NET_RAW before 5.7, which you lack; give \
             the program that capability, or use a newer kernel"
        ));
    }
}

fn vrf_support(findings: &mut Findings, links: Option<&Links>) {
    let vrfs: Vec<_> = links
        .into_iter()
        .flat_map(Links::vrfs)
        .map(|link| link.name.as_str())
        .collect();
    let release = nix::sys::utsname::uname().map(|name| name.release().to_owned());
    let module = |list: &str| {
        let folder = Path::new("/lib/modules").join(release.as_deref().unwrap_or_default());
        fs::read_to_string(folder.join(list)).is_ok_and(|text| text.contains("/vrf.ko"))
    };
    if !vrfs.is_empty() {
        findings.ok("VRFs", vrfs.join(", "));
    } else if Path::new("/sys/module/vrf").exists() || module("modules.builtin") {
        findings.ok(
            "VRFs",
            "none in this network namespace; the kernel has the driver",
        );
    } else if module("modules.dep") {
        findings.ok(
            "VRFs",
            "none in this network namespace; the driver is a module, to be loaded when one is made",
        );
    } else {
        findings.warn(
            "VRFs",
            "none in this network namespace, and no driver is to be seen; the kernel needs \
             CONFIG_NET_VRF",
        );
    }
}

fn sysctls(findings: &mut Findings) {
    for protocol in ["tcp", "udp", "raw"] {
        let name = format!("net.ipv4.{protocol}_l3mdev_accept");
        let path = format!("/proc/sys/net/ipv4/{protocol}_l3mdev_accept");
        let Ok(value) = fs::read_to_string(path) else {
            findings.warn(
                "sysctl",
                format!(
                    "{name} is not there: the kernel has no CONFIG_NET_L3_MASTER_DEV, or \
                     /proc/sys is hidden"
                ),
            );
            continue;
        };
        match (value.trim(), protocol) {
            ("0", _) => findings.ok(
                "sysctl",
                format!(
                    "{name}=0: sockets without a device hear nothing from \
            VRFs"
                ),
            ),
            (_, "raw") => findings.ok(
                "sysctl",
                format!(
                    "{name}=1, the kernel's default: raw sockets without \
            a device hear every VRF"
                ),
            ),
            _ => findings.warn(
                "sysctl",
                format!(
                    "{name}=1: sockets without a device, in the default VRF, hear every VRF too; \
                 sysctl {name}=0 keeps them apart"
                ),
            ),
        }
    }
}

/// Whether static programs can be supervised.
fn seccomp(findings: &mut Findings, kernel: &Kernel) -> bool {
    match sys::around() {
        Around::Nothing => {}
        Around::Seal => findings.ok(
            "seccomp",
            "this tree is sealed already: programs go on under the same seal, and static ones get \
             no IP socket",
        ),
        Around::Supervisor => findings.ok(
            "seccomp",
            "this tree is supervised already: programs go on under the same supervisor",
        ),
    }
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let has = |action: &str| actions.split_whitespace().any(|other| other == action);
    if !has("errno") {
        findings.fail(
            "seccomp",
            "no filters (CONFIG_SECCOMP_FILTER, /proc/sys/kernel/seccomp): nothing can be sealed; \
             vrfbind exec --no-seal does without",
        );
        return false;
    }
    findings.ok("seccomp", "filters are there: programs can be sealed");
    // SECCOMP_ADDFD_FLAG_SEND.
    let can_supervise = has("user_notif") && kernel.version >= (5, 14);
    match (can_supervise, kernel.version >= (5, 19)) {
        (false, _) => findings.warn(
            "seccomp",
            "static and Go programs cannot be supervised: that takes user notifications and Linux \
             5.14",
        ),
        (true, false) => findings.warn(
            "seccomp",
            "static programs can be supervised; before Linux 5.19 signals interrupt their \
             socket()s, as Go's do all the time",
        ),
        (true, true) => findings.ok(
            "seccomp",
            "user notifications are there: static and Go programs can be supervised",
        ),
    }
    can_supervise
}

// ---- The VRF ----

fn the_device(findings: &mut Findings, device: &DeviceName, any: bool) {
    match sys::driver(device) {
        Ok(driver) if driver == b"vrf" => findings.ok("VRF", format!("{device} is a VRF")),
        Err(Errno::ENODEV) => findings.fail("VRF", format!(
            "there is no device {device} in this network namespace; ip link add {device} type vrf table NUMBER"
        )),
        Ok(_) | Err(Errno::EOPNOTSUPP) if any => findings.ok(
            "VRF",
            format!("{device} is a device, and no VRF"),
        ),
        Ok(_) | Err(Errno::EOPNOTSUPP) => findings.fail("VRF", format!(
            "{device} is not a VRF; name one (ip vrf show), or take it with --any-device"
        )),
        // Where a unit's sandbox refuses the question, the trial still says whether sockets are bound.
        Err(errno) => findings.warn("VRF", format!(
            "whether {device} is a VRF cannot be asked: ioctl(SIOCETHTOOL): {}", errno.desc()
        )),
    }
}

fn devices_and_addresses(
    findings: &mut Findings,
    links: &Links,
    device: &DeviceName,
    command: &[OsString],
) {
    let name = device.to_string();
    let Some(link) = links.get(&name) else { return };
    let is_vrf = link.table.is_some();
    if let Some(table) = link.table {
        findings.ok(
            "table",
            format!("{name} routes by table {table}: ip route show table {table}"),
        );
    }
    if !link.is_up {
        findings.fail(
            "VRF",
            format!("{name} is down, and with it all of its routes; ip link set {name} up"),
        );
    }
    let mut inside: Vec<_> = links
        .of_vrf(&name)
        .map(|(_, link)| link.name.as_str())
        .collect();
    if inside.is_empty() {
        inside.push(&name);
    }
    if is_vrf && inside.len() < 2 {
        findings.warn(
            "devices",
            format!(
                "no device is enslaved to {name}: it leads nowhere; ip link set DEVICE master \
                 {name}"
            ),
        );
    }
    let mut addresses = Vec::new();
    for interface in getifaddrs().into_iter().flatten() {
        let address = interface
            .address
            .and_then(|address| match address.family()? {
                AddressFamily::Inet => Some(address.as_sockaddr_in()?.ip().to_string()),
                AddressFamily::Inet6 => Some(address.as_sockaddr_in6()?.ip().to_string()),
                _ => None,
            });
        if let Some(address) = address
            && inside.contains(&interface.interface_name.as_str())
        {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        findings.warn("addresses", format!("none on {}", inside.join(", ")));
    } else {
        findings.ok(
            "addresses",
            format!("on {}: {}", inside.join(", "), addresses.join(", ")),
        );
    }
    let wants: Vec<_> = wants_loopback(command);
    if addresses.iter().any(|address| address == "127.0.0.1") {
        findings.ok("127.0.0.1", format!("is an address of {name}"));
    } else if let [who, ..] = &wants[..] {
        findings.warn(
            "127.0.0.1",
            format!(
                "{who} will want it, and it is not an address of {name}: bind() fails with \
             EADDRNOTAVAIL; ip addr add 127.0.0.1/8 dev {name}"
            ),
        );
    } else {
        findings.ok(
            "127.0.0.1",
            format!(
                "is not an address of {name}; what wants it fails with EADDRNOTAVAIL: ip addr add \
             127.0.0.1/8 dev {name}"
            ),
        );
    }
}

/// Which arguments, or files that they name, speak of the loopback addresses; and dnsmasq's
/// `bind-interfaces`, which adds lo to every list of interfaces unless `except-interface=lo` is there.
fn wants_loopback(command: &[OsString]) -> Vec<String> {
    let says = |text: &str| {
        let lines = || {
            text.lines()
                .map(str::trim)
                .filter(|line| !line.starts_with(['#', ';']))
        };
        lines().any(|line| {
            ["127.0.0.1", "::1", "localhost"]
                .iter()
                .any(|word| line.contains(word))
        }) || lines().any(|line| line.trim_start_matches("--") == "bind-interfaces")
            && !lines().any(|line| line.trim_start_matches("--") == "except-interface=lo")
    };
    let arguments = command
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy());
    let mut wants = Vec::new();
    if says(&arguments.clone().collect::<Vec<_>>().join("\n")) {
        wants.push("the command line".to_owned());
    }
    for argument in arguments {
        // FILE, --option=FILE, -oFILE.
        let path = argument
            .find('/')
            .and_then(|at| argument.get(at..))
            .unwrap_or(&argument);
        let is_file = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() < 1 << 20);
        if is_file && fs::read_to_string(path).is_ok_and(|text| says(&text)) {
            wants.push(path.to_owned());
        }
    }
    wants
}

// ---- The library ----

/// Starts the trial program with the library, as a unit would.
fn try_it(findings: &mut Findings, library: &Path, device: &DeviceName) {
    if sys::driver(device) == Err(Errno::ENODEV) {
        return;
    }
    let preload = library::preload(library, env::var_os("LD_PRELOAD"));
    let variables = [
        ("LD_PRELOAD", preload.as_os_str()),
        (rules::VRF_VARIABLE, OsStr::from_bytes(device.as_bytes())),
    ];
    trial(findings, device, &variables);
}

/// Lets the trial program make a socket, with these variables in its environment besides ours.
fn trial(findings: &mut Findings, device: &DeviceName, variables: &[(&str, &OsStr)]) {
    let Some(program) = trial_program() else {
        return findings.fail(
            "trial",
            format!("{TRIAL} is neither beside this command nor in ../libexec/vrfbind: nothing can be tried"),
        );
    };
    let tried = std::process::Command::new(&program)
        .arg(OsStr::from_bytes(device.as_bytes()))
        .envs(variables.iter().copied())
        .env_remove(rules::LOG_VARIABLE)
        .output();
    let output = match tried {
        Ok(output) => output,
        Err(error) => {
            let program = program.display();
            return findings.fail("trial", format!("cannot execute {program}: {error}"));
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    for (level, found) in said.lines().filter_map(|line| line.split_once('\t')) {
        match level {
            "ok" => findings.ok("trial", found),
            "warn" => findings.warn("trial", found),
            _ => findings.fail("trial", found),
        }
    }
    if said.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        findings.fail(
            "trial",
            format!("{TRIAL} does not come up, {}: {said}", output.status),
        );
    }
}

/// The program that is tried (src/bin).
const TRIAL: &str = "vrfbind-trial";

/// Beside the command, as in target/release, or where `make install` puts it.
fn trial_program() -> Option<PathBuf> {
    let command = sys::own_path()?;
    let folder = command.parent()?;
    let installed = folder.parent().map(|prefix| prefix.join("libexec/vrfbind"));
    [Some(folder.to_owned()), installed]
        .into_iter()
        .flatten()
        .map(|folder| folder.join(TRIAL))
        .find(|program| program.exists())
}

// ---- The program ----

fn find(findings: &mut Findings, command: &OsStr) -> Option<Program> {
    match Program::find(command, env::var_os("PATH")) {
        Ok(program) => Some(program),
        Err(failure) => {
            findings.fail("program", failure.sentence);
            None
        }
    }
}

/// With a preload and nothing else, as in a unit.
fn the_program_under_preload(findings: &mut Findings, command: &[OsString]) {
    let Some(program) = command.first().and_then(|command| find(findings, command)) else {
        return;
    };
    let (runs, sentence) = (program.runs.display(), program.verdict.sentence());
    let remedy = match program.verdict {
        Verdict::Preloaded | Verdict::Exempt => {
            return findings.ok("program", format!("{runs} is {sentence}"));
        }
        Verdict::SetId => "; start it as the user that it becomes (User=)",
        _ if program::needs_supervisor(&program) => {
            "; start it by `vrfbind exec VRF` in the unit's ExecStart="
        }
        _ => "",
    };
    findings.fail("program", format!("{runs} is {sentence}{remedy}"));
}

fn the_program(
    findings: &mut Findings,
    command: &OsStr,
    library: Option<&Path>,
    can_supervise: bool,
) {
    let Some(program) = find(findings, command) else {
        return;
    };
    let (runs, sentence) = (program.runs.display(), program.verdict.sentence());
    match program.verdict {
        Verdict::Preloaded => {
            let ours = trial_program().and_then(|trial| program::loader(&trial));
            let theirs = program::loader(&program.runs);
            let tier = if ours == theirs {
                "it has the libc of the trial, and fares as it does"
            } else {
                "it has another libc than the trial: what is led in there only vrfbind status can say"
            };
            findings.ok("program", format!("{runs} is {sentence}; {tier}"));
        }
        _ if program::needs_supervisor(&program) && can_supervise => findings.warn(
            "program",
            format!(
                "{runs} is {sentence}; `vrfbind exec` supervises it; in a unit, start it by `vrfbind exec VRF` in \
                 ExecStart="
            ),
        ),
        _ if program::needs_supervisor(&program) => findings.fail(
            "program",
            format!("{runs} is {sentence}, and it cannot be supervised here; ip vrf exec may serve it"),
        ),
        Verdict::SetId => findings.fail(
            "program",
            format!("{runs} is {sentence}; start it as the user that it becomes"),
        ),
        Verdict::Exempt => findings.ok("program", format!("{runs} is {sentence}")),
        Verdict::Other => findings.warn("program", format!("{runs} is {sentence}")),
        _ => findings.fail("program", format!("{runs} is {sentence}")),
    }
    if let Some(library) = library {
        apparmor(findings, &program.runs, library, Path::new("/"));
    }
}

/// Profiles below /etc/apparmor.d that are for the program and do not let it map the library.
fn apparmor(findings: &mut Findings, program: &Path, library: &Path, root: &Path) {
    let is_on = fs::read_to_string(root.join("sys/module/apparmor/parameters/enabled"));
    if !is_on.is_ok_and(|is_on| is_on.trim() == "Y") {
        return findings.ok("AppArmor", "is not active");
    }
    let real = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let profiles = fs::read_dir(root.join("etc/apparmor.d"))
        .into_iter()
        .flatten()
        .flatten();
    let mut found = false;
    for profile in profiles.map(|entry| entry.path()) {
        let Ok(text) = fs::read_to_string(&profile) else {
            continue;
        };
        if !is_profile_of(&text, &real) {
            continue;
        }
        found = true;
        let name = profile
            .file_name()
            .unwrap_or_default()
            .display()
            .to_string();
        let local = root.join("etc/apparmor.d/local").join(&name);
        let text = text + &fs::read_to_string(local).unwrap_or_default();
        if allows(&text, library) {
            findings.ok(
                "AppArmor",
                format!("{} lets it map the library", profile.display()),
            );
        } else {
            findings.warn(
                "AppArmor",
                format!(
                    "{} may deny it the library, and ld.so would only warn; add \"{} mr,\" to \
                     /etc/apparmor.d/local/{name}",
                    profile.display(),
                    library.display()
                ),
            );
        }
    }
    if !found {
        findings.ok(
            "AppArmor",
            format!("no profile below /etc/apparmor.d is for {}", real.display()),
        );
    }
}

/// `profile NAME /path {` or `/path {`; patterns in paths are not read.
fn is_profile_of(text: &str, program: &Path) -> bool {
    let program = program.to_string_lossy();
    let usual = program.strip_prefix("/usr").unwrap_or(&program);
    text.lines()
        .filter(|line| line.trim_end().ends_with('{'))
        .any(|line| {
            line.split_whitespace().any(|word| {
                let word = word
                    .trim_matches('"')
                    .replace("/{,usr/}", "/")
                    .replace("/{usr/,}", "/");
                word == program || word == usual
            })
        })
}

/// abstractions/base lets a program map what lies below /lib and /usr/lib, and nothing below /usr/local.
fn allows(text: &str, library: &Path) -> bool {
    let in_base = library.starts_with("/usr/lib") || library.starts_with("/lib");
    text.contains("libvrfbind") || in_base && text.contains("abstractions/base")
}

// ---- What is around ----

/// Names that another process looks up, in the VRF of that process.
fn resolvers(findings: &mut Findings, root: &Path) {
    let switch = fs::read_to_string(root.join("etc/nsswitch.conf")).unwrap_or_default();
    let hosts = switch
        .lines()
        .find_map(|line| line.trim().strip_prefix("hosts:"))
        .unwrap_or_default();
    let has = |word: &str| hosts.split_whitespace().any(|other| other == word);
    let mut found = Vec::new();
    if has("resolve") {
        found.push("systemd-resolved (take \"resolve\" from hosts: in /etc/nsswitch.conf)");
    }
    if has("sss") {
        found.push("sssd (take \"sss\" from hosts:)");
    }
    if ["run/nscd/socket", "var/run/nscd/socket"]
        .iter()
        .any(|path| root.join(path).exists())
    {
        found.push("nscd (enable-cache hosts no, in /etc/nscd.conf)");
    }
    let resolv = fs::read_to_string(root.join("etc/resolv.conf")).unwrap_or_default();
    let is_local = resolv.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver")
            && words
                .next()
                .is_some_and(|address| address.starts_with("127.") || address == "::1")
    });
    if is_local {
        found.push("a server on this host's loopback, which no VRF reaches (name another in /etc/resolv.conf)");
    }
    if found.is_empty() {
        findings.ok("names", "are looked up by the program itself");
    } else {
        findings.warn(
            "names",
            format!("are looked up in another VRF, by {}", found.join(", by ")),
        );
    }
}

/// inet_rcv_saddr_equal and its callers take a socket without a device to be in conflict with one on any
/// device.
fn udp_ports(findings: &mut Findings, device: Option<&DeviceName>) {
    let Ok(sockets) = Netns::Ours.sockets() else {
        return;
    };
    let mut ports: Vec<u16> = sockets
        .iter()
        .filter(|one| one.protocol == "udp" && one.device == 0 && one.local.ip().is_unspecified())
        .map(|one| one.local.port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        return findings.ok("UDP ports", "no wildcard socket without a device holds one");
    }
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    let vrf = device.map_or("a VRF".to_owned(), DeviceName::to_string);
    findings.warn("UDP ports", format!(
        "{}: held by wildcard sockets without a device, so bind() in {vrf} fails with EADDRINUSE; \
         bind those to a device or an address (ss -ulnp)",
        ports.join(", ")
    ));
}

const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// For comparison only: what the kernel's own way would take.
fn ip_vrf_exec(findings: &mut Findings) {
    let mut lacks = Vec::new();
    let may_load = sys::has_capability(CAP_SYS_ADMIN)
        || sys::has_capability(CAP_BPF) && sys::has_capability(CAP_NET_ADMIN);
    if !may_load {
        lacks.push("root (or CAP_BPF, CAP_NET_ADMIN and CAP_DAC_OVERRIDE)");
    } else if !sys::has_capability(CAP_DAC_OVERRIDE) {
        lacks.push("CAP_DAC_OVERRIDE");
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut cgroups = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let cgroup2 = cgroups.find(|mount| mount.get(2) == Some(&"cgroup2"));
    match cgroup2.as_deref() {
        None => lacks.push("a mounted cgroup2"),
        // Its mode is 0555: what counts is CAP_DAC_OVERRIDE, and that it is not mounted read-only.
        Some([_, folder, ..]) if access(*folder, AccessFlags::W_OK).is_err() => {
            lacks.push("a writable cgroup2");
        }
        Some(_) => {}
    }
    if mounts
        .lines()
        .any(|line| line.contains("net_cls") || line.contains("net_prio"))
    {
        lacks.push(
            "a machine without cgroup v1 net_cls and net_prio, beside which it has no effect",
        );
    }
    if lacks.is_empty() {
        findings.ok(
            "ip vrf exec",
            "nothing that it needs was seen to be missing",
        );
    } else {
        findings.ok(
            "ip vrf exec",
            format!(
                "would lack {}; vrfbind needs none of it",
                lacks.join(", and ")
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_configurations_want_the_loopback() {
        let wants = |arguments: &[&str]| {
            let command: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            !wants_loopback(&command).is_empty()
        };
        assert!(wants(&["dnsmasq", "--listen-address=127.0.0.1"]));
        assert!(wants(&["dnsmasq", "--bind-interfaces"]));
        assert!(!wants(&[
            "dnsmasq",
            "--bind-interfaces",
            "--except-interface=lo"
        ]));
        assert!(!wants(&["dnsmasq", "--bind-dynamic"]));
        assert!(!wants(&["127.0.0.1"]));
    }

    #[test]
    fn knows_the_profile_of_a_program() {
        let profile = "profile dnsmasq /{,usr/}sbin/dnsmasq flags=(attach_disconnected) {\n include <abstractions/base>\n}\n";
        assert!(is_profile_of(profile, Path::new("/usr/sbin/dnsmasq")));
        assert!(!is_profile_of(profile, Path::new("/usr/sbin/radvd")));
        assert!(is_profile_of(
            "/usr/sbin/ntpd {\n",
            Path::new("/usr/sbin/ntpd")
        ));
        assert!(allows(profile, Path::new("/usr/lib/libvrfbind.so")));
        assert!(!allows(profile, Path::new("/usr/local/lib/libvrfbind.so")));
        assert!(allows(
            "/usr/local/lib/libvrfbind.so mr,",
            Path::new("/usr/local/lib/libvrfbind.so")
        ));
    }
}
