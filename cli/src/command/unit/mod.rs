//! `vrfbind enable` and `vrfbind disable`: a drop-in that puts a systemd unit into a VRF, and takes it out
//! again.
//!
//! The unit's own files are read ([`read`], [`syntax`]), and never written; everything that is read or written is below a
//! [`root`]. The drop-in ([`drop_in`]), `etc/systemd/system/UNIT.d/50-vrfbind.conf`, sets for a service:
//!
//! 1. BindsTo= and After= let it start when the VRF is there, and stop when the VRF goes.
//! 2. Environment= names the library, before the preloads that the unit has already, the VRF, and the rules if there are any.
//!    The devices of rules are waited for (Wants=, After=), but do not stop the service when they go.
//! 3. ExecStart= puts `vrfbind exec` before its commands, if the library cannot be preloaded into a program of theirs
//!    ([`commands`]). Likewise the other Exec…= settings. Each is reset and repeated, prefixes and all.
//! 4. ExecStartPre= runs `vrfbind check --loaded` as the service's user and inside its sandbox, with the service's
//!    environment. It fails unless it has the library itself and its socket is bound. So if ld.so could not load the
//!    library there, or something removed the variables, the service fails and does not run unbound.
//! 5. ExecStartPost= runs `vrfbind check --running`, which looks at the processes that the service now has
//!    (check/running.rs): it fails the service for what could not be seen before, such as AT_SECURE set by a security
//!    module.
//!
//! The sandbox stays as it is, except that ExecPaths= is extended if NoExecPaths= forbids to execute what 3 to 5 need.
//! For a socket unit the drop-in sets BindToDevice=, which is systemd's own way; systemd adds the dependency on the
//! device.
//!
//! Settings that would keep the unit out of its VRF all the same ([`obstacles`]) are refused, or reported if they make
//! the unit fail.
//!
//! systemd, if it runs, is only queried; a drop-in can be made in an image, below `--root`.

mod commands;
mod drop_in;
mod obstacles;
mod read;
mod root;
mod syntax;

use crate::command::rule_options::RuleOptions;
use crate::command::{check, device};
use crate::failure::{Failure, refuse};
use crate::{installed, library, output};
use commands::Commands;
use drop_in::{DropIn, Service};
use nix::net::if_::{if_indextoname, if_nametoindex};
use read::{Found, Unit};
use root::Root;
use rules::DEFAULT;
use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use syntax::words;

/// Put a systemd unit into a VRF, with a drop-in
///
/// A service gets the library, and checks that make it fail rather than run unbound. A socket unit gets BindToDevice=.
/// Then run systemctl daemon-reload, and restart the unit.
#[derive(clap::Args)]
pub struct Enable {
    /// The unit. A name without a suffix is that of a service
    unit: String,
    /// The VRF. It need not exist yet
    vrf: OsString,
    /// Print the drop-in, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Read the unit, the library and vrfbind below DIR, and write the drop-in there. Links in DIR are followed as if
    /// DIR were the root directory (Linux 5.6)
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(flatten)]
    rules: RuleOptions,
    /// Make the check at start accept a device that is not a VRF
    #[arg(long)]
    any_device: bool,
    /// The path of libvrfbind.so, as the service sees it
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
}

/// Take a systemd unit out of its VRF: remove the drop-in of enable
#[derive(clap::Args)]
pub struct Disable {
    /// The unit. A name without a suffix is that of a service
    unit: String,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove the drop-in below DIR
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub fn enable(args: Enable) -> Result<ExitCode, Failure> {
    let name = unit_name(&args.unit)?;
    let root = Root::open(&args.root)?;
    let vrf = &vrf(&args, &root)?;
    let rules = rules(&args)?;
    let unit = match Unit::find(&root, &name)? {
        Found::Unit(unit) => unit,
        Found::Masked(path) => {
            return Err(refuse(format!(
                "{name} is masked by {}, and cannot start; run `systemctl unmask {name}` first",
                root.shown(&path).display()
            )));
        }
        Found::Nothing => {
            return Err(refuse(format!(
                "there is no unit {name} below {}",
                args.root.display()
            )));
        }
    };
    let (text, mut notes) = if !name.ends_with(".socket") {
        service(&unit, &root, &args, vrf, rules.as_deref())?
    } else if rules.is_some() {
        return Err(refuse(format!(
            "--rule and --loopback require a service; {name} is a socket unit, whose sockets have one device"
        )));
    } else {
        socket(&unit, &root, vrf)?
    };
    obstacles::refuse_overrides(&unit, &text)?;
    if args.root == Path::new("/") && device::is_missing(vrf) {
        notes.push(format!(
            "there is no device {} in this network namespace now; {} starts when there is one",
            output::word(vrf),
            unit.id
        ));
    }
    let drop_in = DropIn::of(&unit.id);
    let shown = drop_in.shown(&root);
    if args.dry_run {
        drop_in.read(&root)?;
        output::print(&format!("# {}\n{text}", shown.display()))?;
    } else {
        let replaces = drop_in.write(&root, &text)?;
        print_line(&format!(
            "{} {}; run `systemctl daemon-reload` and `systemctl restart {}` to put it into effect",
            if replaces { "replaced" } else { "wrote" },
            shown.display(),
            unit.id
        ))?;
    }
    for sentence in notes {
        output::say(&sentence);
    }
    Ok(ExitCode::SUCCESS)
}

pub fn disable(args: Disable) -> Result<ExitCode, Failure> {
    let name = unit_name(&args.unit)?;
    let root = Root::open(&args.root)?;
    // Also for a unit that does not exist any more.
    let mut drop_in = DropIn::of(&name);
    if !drop_in.exists(&root)
        && let Found::Unit(unit) = Unit::find(&root, &name)?
    {
        drop_in = DropIn::of(&unit.id);
    }
    let shown = drop_in.shown(&root);
    let shown = shown.display();
    if drop_in.read(&root)?.is_none() {
        return Err(refuse(format!(
            "{name} was not put into a VRF by vrfbind: {shown} does not exist"
        )));
    }
    if args.dry_run {
        print_line(&format!("{shown} would be removed"))?;
        return Ok(ExitCode::SUCCESS);
    }
    drop_in.remove(&root)?;
    print_line(&format!(
        "removed {shown}; run `systemctl daemon-reload` and `systemctl restart {name}` to put this into effect"
    ))?;
    // The device belongs to the socket, and systemd has the same socket.
    if let Found::Unit(unit) = Unit::find(&root, &name)?
        && name.ends_with(".service")
    {
        for socket in obstacles::ip_socket_units(&unit, &root)? {
            print_line(&format!(
                "sockets that {socket} has passed to {name} stay in the VRF until `systemctl restart {socket}`"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_line(sentence: &str) -> Result<(), Failure> {
    let mut text = String::new();
    output::line(&mut text, sentence);
    output::print(&text)
}

/// The unit's full name. The characters are those of systemd.unit(5); others would be a path.
fn unit_name(unit: &str) -> Result<String, Failure> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if unit.is_empty() || unit.starts_with('.') || !unit.chars().all(is_name) {
        return Err(refuse(format!("\"{unit}\" is not a unit name")));
    }
    match unit.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("service" | "socket") => Ok(unit.to_owned()),
        Some(
            "target" | "mount" | "automount" | "swap" | "timer" | "path" | "slice" | "scope"
            | "device",
        ) => Err(refuse(format!(
            "{unit} cannot be in a VRF; only a service or a socket unit can"
        ))),
        _ => Ok(format!("{unit}.service")),
    }
}

/// The VRF, as text for systemd's files. If the device exists, by its own name: an alternative name has no device unit.
fn vrf(args: &Enable, root: &Root) -> Result<String, Failure> {
    let shown = args.vrf.display();
    let device = device::name(&args.vrf)?;
    if device.as_bytes() == DEFAULT.as_bytes() {
        return Err(refuse(format!(
            "{shown} is no VRF; to take the unit out of its VRF, run `vrfbind disable {}`",
            args.unit
        )));
    }
    let own = if_nametoindex(args.vrf.as_os_str()).and_then(if_indextoname);
    let own = own.ok().filter(|_| root.is_host);
    let vrf = match &own {
        Some(name) => name.to_str().ok(),
        None => args.vrf.to_str(),
    };
    match vrf {
        // systemd reads udev's SYSTEMD_ALIAS= as words in quotes.
        Some(vrf) if vrf.contains(['"', '\'', '\\']) => Err(refuse(format!(
            "systemd cannot name the device {vrf}, because of the quote or backslash in its name; rename the VRF (ip link \
             set dev OLD name NEW)"
        ))),
        Some(vrf) if !vrf.chars().any(char::is_control) => Ok(vrf.to_owned()),
        _ => Err(refuse(format!(
            "{device} is not accepted by systemd: it is not UTF-8, or contains a control character"
        ))),
    }
}

/// The rules, as text for systemd's files.
fn rules(args: &Enable) -> Result<Option<String>, Failure> {
    let Some(rules) = args.rules.value()? else {
        return Ok(None);
    };
    let rules = rules.into_string().map_err(|rules| {
        refuse(format!(
            "\"{}\" is not UTF-8; systemd accepts only UTF-8",
            rules.display()
        ))
    })?;
    Ok(Some(rules))
}

// ---- A service ----

/// The drop-in, and messages for the user.
fn service(
    unit: &Unit,
    root: &Root,
    args: &Enable,
    vrf: &str,
    rules: Option<&str>,
) -> Result<(String, Vec<String>), Failure> {
    let (library, command) = programs(args, root)?;
    obstacles::refuse_environment_files(unit, root, rules.is_some())?;
    let mut exec = vec![command.as_str(), "exec"];
    exec.extend(args.any_device.then_some("--any-device"));
    exec.extend(["--library", &library, "--", vrf]);
    let commands = Commands::of(unit, root, &exec)?;
    let is_main_supervised = commands.is_main_supervised();
    if is_main_supervised {
        obstacles::refuse_ambiguous_main_process(unit)?;
    }
    let mut notes = obstacles::refuse_sandbox(unit, is_main_supervised)?;
    notes.extend(obstacles::of_its_sockets(unit, root, vrf)?);
    if rules.is_some() {
        notes.extend(obstacles::to_moving_sockets(unit, root));
    }
    if root.is_host {
        let named = args.library.as_deref();
        notes.extend(installed::note(&unit.id, &command, &library, named));
    }
    let needed = [
        probe(args, root, &command)?,
        library.clone(),
        command.clone(),
    ];
    let executable = obstacles::not_executable(unit, &needed);
    let preload = preload(unit);
    let text = Service {
        vrf,
        rules,
        library: &library,
        command: &command,
        preload: preload.as_deref(),
        commands: &commands,
        executable: &executable,
        any_device: args.any_device,
    };
    Ok((text.text(), notes))
}

/// The LD_PRELOAD of the unit's Environment=.
fn preload(unit: &Unit) -> Option<String> {
    let environment = unit.values("Service", "Environment");
    let mut variables = environment.into_iter().flat_map(words).rev();
    let value = variables.find_map(|word| Some(word.text.strip_prefix("LD_PRELOAD=")?.to_owned()));
    value.filter(|value| !value.is_empty())
}

/// The path of the helper that `vrfbind check` starts there.
fn probe(args: &Enable, root: &Root, command: &str) -> Result<String, Failure> {
    let places = check::probe_places(Path::new(command));
    let found = places.iter().find(|place| root.exists(place));
    let found = found.and_then(|place| place.to_str().map(str::to_owned));
    found.ok_or_else(|| {
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        refuse(format!(
            "the unit's checks require vrfbind-probe, which is not below {} at {}; install vrfbind completely",
            args.root.display(),
            places.join(" or ")
        ))
    })
}

/// The paths of the library and this command for the unit.
fn programs(args: &Enable, root: &Root) -> Result<(String, String), Failure> {
    let (library, command) = if root.is_host {
        let command =
            env::current_exe().map_err(|error| refuse(format!("read /proc/self/exe: {error}")))?;
        (library::find(args.library.as_deref())?, command)
    } else {
        installed(args, root)?
    };
    let text = |path: PathBuf| {
        path.into_os_string().into_string().map_err(|path| {
            refuse(format!(
                "{} is not UTF-8; systemd accepts only UTF-8",
                path.display()
            ))
        })
    };
    Ok((text(library)?, text(command)?))
}

/// The paths in an image.
fn installed(args: &Enable, root: &Root) -> Result<(PathBuf, PathBuf), Failure> {
    let multiarch = format!("/usr/lib/{}-linux-gnu/libvrfbind.so", env::consts::ARCH);
    let first = |paths: &[&str]| {
        let mut paths = paths.iter().map(PathBuf::from);
        paths.find(|path| root.exists(path))
    };
    let usual = [
        "/usr/local/lib/libvrfbind.so",
        "/usr/lib/libvrfbind.so",
        &multiarch,
    ];
    let shown = args.root.display();
    let library = args
        .library
        .clone()
        .or_else(|| first(&usual))
        .ok_or_else(|| {
            refuse(format!(
                "libvrfbind.so is not installed below {shown}; give its path with --library"
            ))
        })?;
    if !rules::preload::is_nameable(library.as_os_str().as_bytes()) {
        return Err(refuse(format!(
            "the library {}: LD_PRELOAD can contain only an absolute path without white space, ':' and '$'",
            library.display()
        )));
    }
    let command = first(&["/usr/local/bin/vrfbind", "/usr/bin/vrfbind"]).ok_or_else(|| {
        refuse(format!(
            "vrfbind is not installed below {shown}, and the unit's checks require it"
        ))
    })?;
    Ok((library, command))
}

// ---- A socket unit ----

fn socket(unit: &Unit, root: &Root, vrf: &str) -> Result<(String, Vec<String>), Failure> {
    if !drop_in::is_name_for_socket(vrf) {
        return Err(refuse(format!(
            "systemd does not accept {vrf} as a device name, and would ignore BindToDevice={vrf}; give the VRF a name of \
             letters, digits, '-' and '_' (ip link set dev {vrf} name OTHER)"
        )));
    }
    if !obstacles::has_ip_sockets(unit) {
        return Err(refuse(format!(
            "{} has no IPv4 or IPv6 socket, so nothing can be put into a VRF",
            unit.id
        )));
    }
    let notes = obstacles::of_its_service(unit, root, vrf)?;
    Ok((drop_in::of_socket(vrf), notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units() {
        assert_eq!(unit_name("radvd").unwrap(), "radvd.service");
        assert_eq!(unit_name("a.b").unwrap(), "a.b.service");
        assert_eq!(
            unit_name("dns@vrf\\x2dblue.service").unwrap(),
            "dns@vrf\\x2dblue.service"
        );
        assert_eq!(unit_name("x.socket").unwrap(), "x.socket");
        for bad in [
            "",
            "../x",
            "a/b.service",
            ".hidden",
            "multi-user.target",
            "a b",
        ] {
            assert!(unit_name(bad).is_err(), "{bad}");
        }
    }
}
