//! The surroundings: resolvers, UDP ports, and what `ip vrf exec` would lack.

use super::Findings;
use super::rule_list::first_rule;
use crate::output::text;
use crate::process::netns::Netns;
use crate::values::{ProtocolName, Subject};
use crate::{file, sys};
use nix::unistd::{AccessFlags, access};
use rules::DeviceName;
use rules::list::{Call, List, Protocol, To};
use std::net::IpAddr;
use std::path::Path;

/// Resolvers: names that another process looks up, in the VRF of that process, and a server at another place than it
/// seems. `reached` are the device's own addresses; rules may name others.
pub(super) fn resolvers(
    findings: &mut Findings,
    device: Option<&DeviceName>,
    reached: &[String],
    rules: Option<&List>,
    root: &Path,
) {
    let switch = file::read(&root.join("etc/nsswitch.conf")).unwrap_or_default();
    let hosts = switch
        .lines()
        .find_map(|line| line.trim().strip_prefix("hosts:"))
        .unwrap_or_default();
    let has = |word: &str| hosts.split_whitespace().any(|other| other == word);
    let mut found = Vec::new();
    if has("resolve") {
        found.push("systemd-resolved (remove \"resolve\" from hosts: in /etc/nsswitch.conf)");
    }
    if has("sss") {
        found.push("sssd (remove \"sss\" from hosts: in /etc/nsswitch.conf)");
    }
    if ["run/nscd/socket", "var/run/nscd/socket"]
        .iter()
        .any(|path| root.join(path).exists())
    {
        found.push("nscd (set enable-cache hosts no in /etc/nscd.conf)");
    }
    let resolv = file::read(&root.join("etc/resolv.conf")).unwrap_or_default();
    let is_loopback = device.is_some_and(|device| device.as_bytes() == b"lo");
    let is_on_lo = |server: &str| {
        let found = first_rule(
            rules?,
            Call::Connect,
            server.parse().ok()?,
            53,
            Some(Protocol::Udp),
        )?;
        Some(matches!(found.to, To::Lo | To::LoUnlessInVrf))
    };
    let is_reached = |server: &str| {
        is_loopback || reached.iter().any(|own| own == server) || is_on_lo(server) == Some(true)
    };
    let server = loopback_server(&resolv).filter(|server| !is_reached(server));
    if !found.is_empty() {
        findings.warn(
            Subject::Names,
            format!(
                "are looked up by other processes, outside of the VRF: {}",
                found.join(", by ")
            ),
        );
    }
    if let Some(server) = server {
        let vrf = device.map_or("a VRF".to_owned(), |device| text(device.as_bytes()));
        findings.warn(
            Subject::Names,
            format!(
                "/etc/resolv.conf names the server {server}, on the host's loopback, which sockets in {vrf} do not \
                 reach: lookups fail; name another server"
            ),
        );
    }
    if found.is_empty() && server.is_none() {
        findings.ok(Subject::Names, "the program itself looks up names");
    }
}

/// The first name server (resolv.conf(5)) on the loopback.
fn loopback_server(resolv: &str) -> Option<&str> {
    resolv.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let server = words.next().filter(|word| *word == "nameserver");
        let server = server.and(words.next());
        server.filter(|server| {
            let address = server.parse::<IpAddr>();
            address.is_ok_and(|address| address.to_canonical().is_loopback())
        })
    })
}

/// A UDP port without a device conflicts with the same port on any device (udp_lib_lport_inuse, net/ipv4/udp.c).
pub(super) fn udp_ports(findings: &mut Findings, device: Option<&DeviceName>) {
    let Ok(sockets) = Netns::Current.sockets() else {
        return;
    };
    let mut ports: Vec<u16> = sockets
        .iter()
        .filter(|one| {
            one.protocol == ProtocolName::Udp && one.device == 0 && one.local.ip().is_unspecified()
        })
        .map(|one| one.local.port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        return findings.ok(Subject::UdpPorts, "no unbound wildcard socket holds a port");
    }
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    let vrf = device.map_or("a VRF".to_owned(), |device| text(device.as_bytes()));
    findings.warn(Subject::UdpPorts, format!(
        "unbound wildcard sockets hold {}, and bind() of these ports in {vrf} fails with EADDRINUSE; bind these sockets \
         to a device or an address (`ss -ulnp` shows them)",
        ports.join(", ")
    ));
}

const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// For comparison only: what the kernel's own way requires.
pub(super) fn ip_vrf_exec(findings: &mut Findings) {
    let mut lacks = Vec::new();
    let may_load = sys::has_capability(CAP_SYS_ADMIN)
        || sys::has_capability(CAP_BPF) && sys::has_capability(CAP_NET_ADMIN);
    if !may_load {
        lacks.push("root (or CAP_BPF, CAP_NET_ADMIN and CAP_DAC_OVERRIDE)");
    } else if !sys::has_capability(CAP_DAC_OVERRIDE) {
        lacks.push("CAP_DAC_OVERRIDE");
    }
    let mounts = match file::read(Path::new("/proc/self/mounts")) {
        Ok(mounts) => mounts,
        Err(error) => {
            let found = format!("it is unknown what it would lack: /proc/self/mounts: {error}");
            return findings.ok(Subject::IpVrfExec, found);
        }
    };
    let mut cgroups = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let cgroup2 = cgroups.find(|mount| mount.get(2) == Some(&"cgroup2"));
    match cgroup2.as_deref() {
        None => lacks.push("a mounted cgroup2"),
        // Its mode is 0555: CAP_DAC_OVERRIDE is required, and a mount that is not read-only.
        Some([_, folder, ..]) if access(*folder, AccessFlags::W_OK).is_err() => {
            lacks.push("a writable cgroup2");
        }
        Some(_) => {}
    }
    if mounts
        .lines()
        .any(|line| line.contains("net_cls") || line.contains("net_prio"))
    {
        lacks.push("a machine without cgroup v1 net_cls and net_prio, with which it has no effect");
    }
    if lacks.is_empty() {
        findings.ok(Subject::IpVrfExec, "its requirements are met");
    } else {
        findings.ok(
            Subject::IpVrfExec,
            format!(
                "would lack {}; vrfbind requires none of these",
                lacks.join(", and ")
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_server_on_the_loopback() {
        for (resolv, server) in [
            ("nameserver 127.0.0.53", Some("127.0.0.53")),
            (
                "search x\nnameserver 192.0.2.1\nnameserver ::1 # y",
                Some("::1"),
            ),
            ("nameserver ::ffff:127.0.0.1", Some("::ffff:127.0.0.1")),
            ("# nameserver 127.0.0.53", None),
            ("nameserver 192.0.2.1\noptions 127.0.0.1", None),
            ("nameserver", None),
        ] {
            assert_eq!(loopback_server(resolv), server, "{resolv}");
        }
    }

    #[test]
    fn mutated_resolvers() {
        let valid = b"search x\nnameserver 192.0.2.1\nnameserver ::1 # y\nnameserver 127.0.0.53\n";
        crate::fuzz::each_input(&[valid], |text| {
            loopback_server(&String::from_utf8_lossy(text));
        });
    }
}
