//! The probe: a program with the library makes a socket.

use super::Findings;
use crate::library;
use crate::sys;
use crate::values::Subject;
use nix::errno::Errno;
use rules::DeviceName;
use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
/// Starts the probe with the library, as a unit would.
pub(super) fn try_it(
    findings: &mut Findings,
    library: &Path,
    device: &DeviceName,
    list: Option<&OsStr>,
) {
    if sys::driver(device) == Err(Errno::ENODEV) {
        return;
    }
    let preload = library::preload(library, env::var_os("LD_PRELOAD"), None);
    let mut variables = vec![
        ("LD_PRELOAD", preload.as_os_str()),
        (rules::VRF_VARIABLE, OsStr::from_bytes(device.as_bytes())),
    ];
    variables.extend(list.map(|list| (rules::RULES_VARIABLE, list)));
    probe(findings, device, &variables);
}

/// Lets the probe make a socket, with these variables in its environment besides ours.
pub(super) fn probe(findings: &mut Findings, device: &DeviceName, variables: &[(&str, &OsStr)]) {
    let Some(program) = probe_program() else {
        return findings.fail(
            Subject::Probe,
            format!("{PROBE} was found neither beside this command nor in ../libexec/vrfbind; install vrfbind \
                     completely"),
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
            return findings.fail(Subject::Probe, format!("cannot execute {program}: {error}"));
        }
    };
    let answer = String::from_utf8_lossy(&output.stdout);
    for (level, found) in answer.lines().filter_map(|line| line.split_once('\t')) {
        match level {
            "ok" => findings.ok(Subject::Probe, found),
            "warn" => findings.warn(Subject::Probe, found),
            _ => findings.fail(Subject::Probe, found),
        }
    }
    if answer.is_empty() {
        let answer = String::from_utf8_lossy(&output.stderr);
        let answer = answer.trim();
        findings.fail(
            Subject::Probe,
            format!("{PROBE} does not come up, {}: {answer}", output.status),
        );
    }
}

/// The program that is tried (src/bin).
const PROBE: &str = "vrfbind-probe";

/// Beside the command, as in target/release, or where `make install` puts it.
pub(super) fn probe_program() -> Option<PathBuf> {
    let places = probe_places(&sys::own_path()?);
    places.into_iter().find(|program| program.exists())
}

/// Where it can be if this command is there.
pub fn probe_places(command: &Path) -> Vec<PathBuf> {
    let directory = command.parent();
    let prefix = directory.and_then(Path::parent);
    let installed = prefix.map(|prefix| prefix.join("libexec/vrfbind"));
    let directories = directory.map(Path::to_owned).into_iter().chain(installed);
    directories.map(|directory| directory.join(PROBE)).collect()
}
