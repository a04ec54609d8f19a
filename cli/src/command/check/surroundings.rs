//! What is around: resolvers, UDP ports, and what `ip vrf exec` would lack.

use super::Findings;
use crate::process::netns::Netns;
use crate::sys;
use nix::unistd::{AccessFlags, access};
use rules::DeviceName;
use std::fs;
use std::path::Path;
/// Names that another process looks up, in the VRF of that process.
pub(super) fn resolvers(findings: &mut Findings, root: &Path) {
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
pub(super) fn udp_ports(findings: &mut Findings, device: Option<&DeviceName>) {
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
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// For comparison only: what the kernel's own way would take.
pub(super) fn ip_vrf_exec(findings: &mut Findings) {
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
