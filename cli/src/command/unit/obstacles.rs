//! Settings of a unit that would keep it out of its VRF. They are refused if they would undo the drop-in or if nothing
//! can be done about them; they are reported if the unit then fails at its start.

use super::commands::main_rights;
use super::drop_in::DropIn;
use super::read::{DROP_IN, Found, Unit, stem, template};
use super::root::Root;
use super::syntax::{assignments, is_yes, literal, quoted, words};
use crate::failure::{Failure, refuse};
use rules::{RULES_VARIABLE, VRF_VARIABLE};
use std::path::Path;

/// The variables that the drop-in sets: the last one if there are rules.
const VARIABLES: [&str; 3] = ["LD_PRELOAD", VRF_VARIABLE, RULES_VARIABLE];

fn variables(has_rules: bool) -> impl Iterator<Item = &'static str> {
    let variables = VARIABLES.into_iter();
    variables.filter(move |variable| has_rules || *variable != RULES_VARIABLE)
}

/// The unit's own settings that would override the drop-in, whose text this is.
pub fn refuse_overrides(unit: &Unit, drop_in: &str) -> Result<(), Failure> {
    let ours = assignments(drop_in.as_bytes());
    let has_rules = ours.iter().any(|our| our.value.contains(RULES_VARIABLE));
    let names_ours = |value: &str| names_one(value, has_rules);
    for file in &unit.files {
        let is_later = is_drop_in(&file.path) && file.path.file_name() > Some(DROP_IN.as_ref());
        for one in &file.assignments {
            let shown = format!("{}={}", one.name, one.value);
            let path = file.path.display();
            if one.name == "UnsetEnvironment" && names_ours(&one.value) {
                return Err(refuse(format!(
                    "{path} has {shown}, which would remove what vrfbind sets; remove it there"
                )));
            }
            let mut ours = ours
                .iter()
                .filter(|our| our.section != "Unit" && our.name == one.name);
            let undoes = ours.any(|our| match our.name.as_str() {
                "Environment" => one.value.is_empty() || names_ours(&one.value),
                "BindToDevice" => true,
                // An empty assignment of ours: all others were copied.
                _ => one.value.is_empty() || our.value.is_empty(),
            });
            if is_later && undoes {
                return Err(refuse(format!(
                    "{path} comes after {DROP_IN}, and its {shown} would override that; rename it so that it comes before"
                )));
            }
        }
    }
    Ok(())
}

/// Whether one of the variables is among the words.
fn names_one(value: &str, has_rules: bool) -> bool {
    words(value).into_iter().any(|word| {
        let name = word.text.split('=').next().unwrap_or_default();
        variables(has_rules).any(|variable| variable == name)
    })
}

fn is_drop_in(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::extension);
    directory.is_some_and(|extension| extension == "d")
}

/// EnvironmentFile= overrides Environment=, whichever file has it.
pub fn refuse_environment_files(unit: &Unit, root: &Root, has_rules: bool) -> Result<(), Failure> {
    for path in unit.environment_files() {
        let text = root.read(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let names = text.lines().filter_map(|line| line.split_once('='));
        let mut names = names.map(|(name, _)| name.trim());
        if let Some(name) =
            names.find(|name| variables(has_rules).any(|variable| variable == *name))
        {
            return Err(refuse(format!(
                "the unit's EnvironmentFile={} sets {name}, which overrides the drop-in; remove it there",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Settings that would make the start fail. `is_supervised`: `vrfbind exec` starts one of the programs.
pub fn refuse_sandbox(unit: &Unit, is_supervised: bool) -> Result<Vec<String>, Failure> {
    let id = &unit.id;
    let mut notes = Vec::new();
    let may = |family| unit.allows("RestrictAddressFamilies", family);
    if !may("AF_INET") && !may("AF_INET6") {
        return Err(refuse(format!(
            "RestrictAddressFamilies= permits {id} no IPv4 or IPv6 socket, so nothing can be put into a VRF"
        )));
    }
    if is_supervised && !may("AF_UNIX") {
        notes.push(format!(
            "RestrictAddressFamilies= of {id} lacks AF_UNIX, which vrfbind exec requires, and {id} will not start; \
             add RestrictAddressFamilies=AF_UNIX"
        ));
    }
    let mut calls = vec!["setsockopt", "getsockopt", "ioctl", "execve", "wait4"];
    if is_supervised {
        calls.extend(["seccomp", "socketpair", "sendmsg", "recvmsg"]);
    }
    calls.retain(|call| !unit.allows("SystemCallFilter", call));
    // Only systemd knows the members of a group.
    let has_groups = unit
        .list("SystemCallFilter")
        .iter()
        .any(|name| name.contains('@'));
    if !calls.is_empty() && !has_groups {
        notes.push(format!(
            "SystemCallFilter= of {id} lacks {0}, which vrfbind requires, and {id} will not start; add \
             SystemCallFilter={1}",
            calls.join(", "),
            calls.join(" ")
        ));
    }
    for setting in ["RootDirectory", "RootImage"] {
        if !unit.value(setting).is_empty() {
            notes.push(format!(
                "{setting}={} is the root directory of {id}: install the library and vrfbind there too, or it will not \
                 start",
                unit.value(setting)
            ));
        }
    }
    Ok(notes)
}

/// Settings that keep the sockets of a service from being moved to a rule's device.
pub fn to_moving_sockets(unit: &Unit, root: &Root) -> Option<String> {
    const CAP_NET_RAW: &str = "CAP_NET_RAW";
    let (is_root, has_all) = main_rights(unit, root);
    let (bounds, ambient) = ("CapabilityBoundingSet", "AmbientCapabilities");
    if has_all {
        return None;
    }
    let obstacles = [
        (
            unit.is_set("PrivateUsers"),
            "PrivateUsers= removes it",
            "PrivateUsers=no",
        ),
        (
            !unit.has_capability(bounds, true, CAP_NET_RAW),
            "CapabilityBoundingSet= lacks it",
            "CapabilityBoundingSet=CAP_NET_RAW",
        ),
        (
            !is_root && !unit.has_capability(ambient, false, CAP_NET_RAW),
            "User= or DynamicUser= removes it",
            "AmbientCapabilities=CAP_NET_RAW",
        ),
    ];
    let found = obstacles.iter().filter(|(is_there, ..)| *is_there);
    let (why, remedies): (Vec<_>, Vec<_>) = found.map(|(_, why, remedy)| (*why, *remedy)).unzip();
    if why.is_empty() {
        return None;
    }
    Some(format!(
        "{} starts, but lacks CAP_NET_RAW ({}): its sockets cannot be moved to a rule's device. Each is replaced by a new one \
         if that is safe; if it is not, bind() or connect() fails with EPERM (RULES in libvrfbind(7)). To let them be moved, \
         run `systemctl edit {}` and add {}",
        unit.id,
        why.join(", "),
        unit.id,
        remedies.join(" and ")
    ))
}

/// A supervisor is a process of the unit, and systemd recognises the main process only if it is the only one.
pub fn refuse_ambiguous_main_process(unit: &Unit) -> Result<(), Failure> {
    if unit.value("Type") == "forking" && unit.value("PIDFile").is_empty() {
        return Err(refuse(format!(
            "{} has Type=forking and no PIDFile=: beside the supervisor, which its program needs, systemd could not tell \
             which process is its main one; let it stay in the foreground (Type=simple or notify), or add PIDFile=",
            unit.id
        )));
    }
    Ok(())
}

/// Which of these paths NoExecPaths= forbids to execute, and ExecPaths= does not allow again.
pub fn not_executable<'a>(unit: &Unit, paths: &'a [String]) -> Vec<&'a str> {
    let longest = |setting: &str, path: &str| {
        let entries = unit.list(setting).into_iter();
        let entries = entries.map(|entry| entry.trim_start_matches(['-', '+']).to_owned());
        let covering = entries.filter(|entry| Path::new(path).starts_with(entry));
        covering
            .map(|entry| entry.trim_end_matches('/').len() + 1)
            .max()
            .unwrap_or(0)
    };
    let paths = paths.iter().map(String::as_str);
    paths
        .filter(|path| longest("NoExecPaths", path) > longest("ExecPaths", path))
        .collect()
}

// ---- Sockets that systemd makes ----

/// The sockets that systemd passes to the service.
pub fn of_its_sockets(unit: &Unit, root: &Root, vrf: &str) -> Result<Vec<String>, Failure> {
    let id = &unit.id;
    let mut notes = Vec::new();
    for socket in ip_socket_units(unit, root)? {
        if !is_enabled(root, &socket, vrf) {
            notes.push(format!(
                "{id} gets sockets from {socket}, which systemd makes outside of {vrf}: they are put into {vrf} when {id} is \
                 started, and connections that came before, or that systemd accepts (Accept=yes), fail; put it into the VRF \
                 too (vrfbind enable {socket} {vrf}), or do without it (systemctl disable --now {socket})"
            ));
        }
    }
    Ok(notes)
}

/// The socket units that pass IP sockets to the service.
pub fn ip_socket_units(unit: &Unit, root: &Root) -> Result<Vec<String>, Failure> {
    let id = &unit.id;
    let mut names: Vec<String> = unit.triggered_by().map(str::to_owned).collect();
    for value in unit.values("Service", "Sockets") {
        names.extend(words(value).into_iter().map(|word| word.text));
    }
    names.push(format!("{}.socket", stem(id)));
    // With Accept=yes.
    names.extend(
        id.split_once('@')
            .map(|(prefix, _)| format!("{prefix}.socket")),
    );
    names.retain(|name| name.ends_with(".socket"));
    names.sort_unstable();
    names.dedup();
    let mut found = Vec::new();
    for name in names {
        if let Found::Unit(socket) = Unit::find(root, &name)?
            && is_of(&socket, unit, root)?
            && has_ip_sockets(&socket)
        {
            found.push(socket.id);
        }
    }
    Ok(found)
}

/// Whether the socket unit starts the service.
fn is_of(socket: &Unit, service: &Unit, root: &Root) -> Result<bool, Failure> {
    let mut name = service_of(socket);
    if let Found::Unit(unit) = Unit::find(root, &name)? {
        name = unit.id;
    }
    Ok(name == service.id || Some(name) == template(&service.id))
}

/// Whether BindToDevice= has an effect on it: paths and names are sockets of AF_UNIX.
pub fn has_ip_sockets(socket: &Unit) -> bool {
    let addresses = ["ListenStream", "ListenDatagram"].into_iter();
    let mut addresses = addresses.flat_map(|setting| socket.values("Socket", setting));
    addresses.any(|address| !address.starts_with(['/', '@', '%']) && !address.starts_with("vsock:"))
}

/// The sockets that the socket unit's service creates itself.
pub fn of_its_service(unit: &Unit, root: &Root, vrf: &str) -> Result<Vec<String>, Failure> {
    let (id, service) = (&unit.id, service_of(unit));
    Ok(match Unit::find(root, &service)? {
        Found::Unit(_) if !is_enabled(root, &service, vrf) => vec![format!(
            "the sockets of {id}, and the connections to them, will be in {vrf}; the other sockets of {service}, and of \
             its sessions, stay outside, unless it is put into the VRF too (vrfbind enable {service} {vrf})"
        )],
        _ => Vec::new(),
    })
}

/// The service that a socket unit starts (systemd.socket(5)).
fn service_of(socket: &Unit) -> String {
    let stem = stem(&socket.id);
    match socket.values("Socket", "Service").last() {
        Some(service) => (*service).to_owned(),
        None if socket
            .values("Socket", "Accept")
            .last()
            .is_some_and(|&accept| is_yes(accept)) =>
        {
            format!("{stem}@.service")
        }
        None => format!("{stem}.service"),
    }
}

/// Whether a unit has our drop-in, for this VRF.
fn is_enabled(root: &Root, name: &str, vrf: &str) -> bool {
    let text = DropIn::of(name)
        .read(root)
        .ok()
        .flatten()
        .unwrap_or_default();
    let variable = quoted(&literal(&format!("{VRF_VARIABLE}={vrf}")));
    assignments(&text)
        .iter()
        .any(|one| match one.name.as_str() {
            "BindToDevice" => one.value == vrf,
            "Environment" => one.value == variable,
            _ => false,
        })
}
