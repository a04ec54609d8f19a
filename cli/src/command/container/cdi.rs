//! `vrfbind cdi`: a specification of the Container Device Interface (CDI 0.5.0, github.com/cncf-tags/container-device-interface)
//! with a device for each VRF, `vrfbind.dev/vrf=NAME`.
//!
//! What all devices do is written once, beside the devices: the mounts, LD_PRELOAD, the seal, rules. A device names the
//! VRF, and the hook that judges the container ([`super::hook`]). The hook's arguments are the values that the variables
//! must have, whatever the engine makes of them. It runs at createContainer: runc and crun call this stage in the
//! container's namespaces, when all mounts are done, and before pivot_root, so that the hook sees the container's root
//! *and* the bundle. prestart and createRuntime are called in the runtime's namespaces, and startContainer's program is
//! one of the container, from where the bundle cannot be reached.

use super::{COMMAND, Files, LIBRARY, OPTIONS};
use crate::command::device;
use crate::command::rule_options::RuleOptions;
use crate::failure::{Failure, refuse};
use crate::output::{self, text};
use crate::process::netns::Netns;
use crate::{file, sys};
use rules::{DEFAULT, RULES_VARIABLE, SEAL_VARIABLE, VRF_VARIABLE};
use serde::Serialize;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const KIND: &str = "vrfbind.dev/vrf";

/// Engines read every file of /etc/cdi when a container is created.
const DIRECTORY: &str = "/etc/cdi";
const NAME: &str = "vrfbind.json";

/// Offer VRFs to containers, as CDI devices
///
/// Prints a specification of the Container Device Interface (CDI 0.5.0) with a device vrfbind.dev/vrf=NAME for each VRF.
#[derive(clap::Args)]
pub struct Args {
    /// The VRFs. They need not exist yet. By default all VRFs of this network namespace
    #[arg(value_name = "VRF")]
    vrfs: Vec<OsString>,
    /// Write the specification to /etc/cdi/vrfbind.json, replacing that file. Engines read it when a container is created
    #[arg(long)]
    write: bool,
    /// Remove /etc/cdi/vrfbind.json
    #[arg(long, conflicts_with_all = ["write", "vrfs", "no_seal", "any_device", "library", "rules", "loopback"])]
    remove: bool,
    #[command(flatten)]
    rules: RuleOptions,
    /// Do not seal containers (VRFBIND_SEAL=0). Sockets that bypass the library are then not bound
    #[arg(long)]
    no_seal: bool,
    /// Make the hook accept a device that is not a VRF
    #[arg(long)]
    any_device: bool,
    /// The path of libvrfbind.so on the host
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let path = Path::new(DIRECTORY).join(NAME);
    let shown = path.display();
    if args.remove {
        return match fs::remove_file(&path) {
            Ok(()) => print_line(&format!("removed {shown}")),
            Err(error) => Err(refuse(format!("cannot remove {shown}: {error}"))),
        };
    }
    let names = match args.vrfs.as_slice() {
        [] => all()?,
        named => named.iter().map(name).collect::<Result<_, _>>()?,
    };
    let rules = args.rules.value()?.map(OsString::into_string).transpose();
    let rules = rules.map_err(|_| refuse("a rule is not UTF-8, which JSON requires"))?;
    let files = Files::find(args.library.as_deref())?;
    let specification = Specification::new(&args, names, rules.as_deref(), &files);
    let json = serde_json::to_string_pretty(&specification)
        .map_err(|error| refuse(format!("JSON: {error}")))?;
    let json = output::json(&json);
    if !args.write {
        output::print(&json)?;
        return Ok(ExitCode::SUCCESS);
    }
    files.note("a container", args.library.as_deref());
    fs::create_dir_all(DIRECTORY)
        .and_then(|()| file::replace(&path, json.as_bytes(), None))
        .map_err(|error| refuse(format!("cannot write {shown}: {error}")))?;
    let devices = specification.devices.iter();
    let devices: Vec<_> = devices
        .map(|device| format!("{KIND}={}", device.name))
        .collect();
    print_line(&format!("{shown} is written: {}", devices.join(", ")))
}

fn print_line(sentence: &str) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    output::line(&mut text, sentence);
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The VRFs of this network namespace. Those whose names CDI does not accept are reported and left out.
fn all() -> Result<Vec<String>, Failure> {
    let links = Netns::Current
        .links()
        .map_err(|errno| refuse(format!("RTM_GETLINK: {}", errno.desc())))?;
    let names: Vec<_> = links.vrfs().map(|link| link.name.clone()).collect();
    if names.is_empty() {
        return Err(refuse(
            "there is no VRF in this network namespace (`ip vrf show`); name the VRFs that will exist",
        ));
    }
    let (known, unknown) = names
        .into_iter()
        .partition::<Vec<_>, _>(|name| is_name(name));
    for name in &unknown {
        output::say(&format!("{}; it is left out", no_name(name)));
    }
    Ok(known)
}

fn name(argument: &OsString) -> Result<String, Failure> {
    let device = device::name(argument)?;
    if device.as_bytes() == DEFAULT.as_bytes() {
        return Err(refuse(
            "\"default\" is no VRF; run the container without the device",
        ));
    }
    // getsockopt(2) does not return an alternative name.
    let device = sys::real_name(&device).unwrap_or(device);
    let name = text(device.as_bytes());
    if is_name(&name) {
        Ok(name)
    } else {
        Err(refuse(no_name(&name)))
    }
}

fn no_name(name: &str) -> String {
    format!(
        "{name} can be no device of CDI, whose names have letters, digits and \"_-.:\", and begin and end with a letter \
         or digit; give the VRF another name, or put the container into it by `vrfbind exec` (vrfbind(1), CONTAINERS)"
    )
}

/// What CDI accepts as a device's name (ValidateDeviceName of its pkg/parser).
fn is_name(name: &str) -> bool {
    let is_plain = |one: char| one.is_ascii_alphanumeric();
    name.starts_with(is_plain)
        && name.ends_with(is_plain)
        && name
            .chars()
            .all(|one| is_plain(one) || "_-.:".contains(one))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Specification {
    cdi_version: &'static str,
    kind: &'static str,
    devices: Vec<Device>,
    container_edits: Common,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    container_edits: Own,
}

/// What one device does.
#[derive(Serialize)]
struct Own {
    env: Vec<String>,
    hooks: Vec<Hook>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    hook_name: &'static str,
    path: String,
    args: Vec<String>,
}

/// What each of them does.
#[derive(Serialize)]
struct Common {
    env: Vec<String>,
    mounts: Vec<Mount>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    host_path: String,
    container_path: &'static str,
    options: [&'static str; OPTIONS.len()],
}

impl Specification {
    fn new(args: &Args, names: Vec<String>, rules: Option<&str>, files: &Files) -> Self {
        let device = |name: String| {
            let mut words = vec!["vrfbind".to_owned(), "hook".to_owned()];
            words.extend(args.any_device.then(|| "--any-device".to_owned()));
            words.extend(args.no_seal.then(|| "--no-seal".to_owned()));
            words.extend(rules.map(|rules| format!("--rules={rules}")));
            words.extend(["--".to_owned(), name.clone()]);
            Device {
                container_edits: Own {
                    env: vec![format!("{VRF_VARIABLE}={name}")],
                    hooks: vec![Hook {
                        hook_name: "createContainer",
                        path: files.command.clone(),
                        args: words,
                    }],
                },
                name,
            }
        };
        let mount = |host: &str, container_path| Mount {
            host_path: host.to_owned(),
            container_path,
            options: OPTIONS,
        };
        let seal = if args.no_seal { "0" } else { "1" };
        let mut env = vec![
            format!("LD_PRELOAD={LIBRARY}"),
            format!("{SEAL_VARIABLE}={seal}"),
        ];
        env.extend(rules.map(|rules| format!("{RULES_VARIABLE}={rules}")));
        Self {
            cdi_version: "0.5.0",
            kind: KIND,
            devices: names.into_iter().map(device).collect(),
            container_edits: Common {
                env,
                mounts: vec![
                    mount(&files.library, LIBRARY),
                    mount(&files.command, COMMAND),
                ],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cdi_devices() {
        for name in ["blue", "b", "vrf-1.2_3:4", "0", "1a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".", "é", "a b", "a/b", "a=b", "a,b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
