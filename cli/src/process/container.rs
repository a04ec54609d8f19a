//! The container that a process is in, by its cgroup.
//!
//! Every engine gives a container a cgroup of its own, named after the container's ID or name: `libpod-ID.scope`,
//! `docker/ID`, `default/NAME`. A service has a cgroup as well. So a process counts as one of a container only if its
//! mount namespace is not ours, and if its cgroup is not a unit's: not every mount namespace is a container's
//! (systemd.exec(5), PrivateTmp=).

use super::Directory;
use crate::output::text;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The container's part of its cgroup's path. None: it is in no container, or the cgroup cannot be read.
pub fn of(process: &Directory) -> Option<String> {
    let namespace = |path: &Path| fs::metadata(path).map(|file| file.ino()).ok();
    let its = namespace(&process.path("ns/mnt"))?;
    if Some(its) == namespace(Path::new("/proc/self/ns/mnt")) {
        return None;
    }
    part(&text(&process.read("cgroup").ok()?)).map(str::to_owned)
}

/// Finds it in the lines of /proc/PID/cgroup (cgroups(7)): in that of cgroup2, or if processes are not sorted by it, in
/// another one.
fn part(cgroups: &str) -> Option<&str> {
    let paths = || {
        cgroups
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2))
    };
    let unified = cgroups.lines().filter_map(|line| line.strip_prefix("0::"));
    let path = unified.chain(paths()).find(|path| *path != "/")?;
    // Within a container there may be cgroups below its own: crun's `container`, those of a systemd in it.
    let parts = || path.rsplit('/').filter(|part| !part.is_empty());
    parts()
        .find(|part| id(part).is_some())
        .or_else(|| parts().find(|part| *part != "container"))
        .filter(|part| !is_of_systemd(part))
}

/// A unit that is no container. Of scopes those are containers that an ID names, and machines (systemd-nspawn).
fn is_of_systemd(part: &str) -> bool {
    let is_scope = || part.ends_with(".scope") && !part.starts_with("machine-");
    part.ends_with(".service") || part.ends_with(".slice") || id(part).is_none() && is_scope()
}

/// The position of the ID in a name: 64 hexadecimal digits.
fn id(name: &str) -> Option<usize> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let start = name.rfind('-').map_or(0, |dash| dash + 1);
    let digits = name
        .as_bytes()
        .get(start..)?
        .iter()
        .take_while(|byte| is_digit(byte))
        .count();
    (digits == 64).then_some(start)
}

/// The form in which it is printed: 12 digits of an ID, as engines print it, and no `.scope`.
pub fn short(name: &str) -> &str {
    const SHOWN: usize = 12;
    let name = name.strip_suffix(".scope").unwrap_or(name);
    match id(name) {
        Some(start) => name.get(..start + SHOWN).unwrap_or(name),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_cgroup() {
        let id = "0123456789abcdef".repeat(4);
        let scope = format!("libpod-{id}.scope");
        let docker = format!("docker-{id}.scope");
        let shown = "0123456789ab";
        for (cgroups, whole, shortened) in [
            (
                format!("0::/machine.slice/{scope}/container\n"),
                &*scope,
                format!("libpod-{shown}"),
            ),
            (
                format!("0::/system.slice/{docker}/system.slice/x.service\n"),
                &docker,
                format!("docker-{shown}"),
            ),
            (format!("0::/docker/{id}\n"), &id, shown.to_owned()),
            (
                format!("3:memory:/docker/{id}\n0::/\n"),
                &id,
                shown.to_owned(),
            ),
            (
                "0::/default/dns-blue\n".to_owned(),
                "dns-blue",
                "dns-blue".to_owned(),
            ),
            (
                "0::/machine.slice/machine-x.scope\n".to_owned(),
                "machine-x.scope",
                "machine-x".to_owned(),
            ),
            ("0::/a/container\n".to_owned(), "a", "a".to_owned()),
        ] {
            assert_eq!(part(&cgroups), Some(whole), "{cgroups}");
            assert_eq!(short(whole), shortened);
        }
        for cgroups in [
            "",
            "0::/\n",
            "0::/system.slice/dnsmasq.service\n",
            "0::/user.slice\n",
            "0::/user.slice/session-3.scope\n",
            "x\n",
        ] {
            assert_eq!(part(cgroups), None, "{cgroups}");
        }
    }

    #[test]
    fn mutated_cgroups() {
        let id = "0123456789abcdef".repeat(4);
        let valid =
            format!("3:memory:/docker/{id}\n0::/machine.slice/libpod-{id}.scope/container\n");
        crate::fuzz::each_input(&[valid.as_bytes()], |cgroups| {
            part(&text(cgroups)).map(short);
        });
    }
}
