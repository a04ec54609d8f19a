//! The VRF: its device, the devices enslaved to it, addresses, and uses of 127.0.0.1.

use super::Findings;
use super::rule_list::first_rule;
use crate::output::text;
use crate::process::netns::{Links, Netns};
use crate::values::Subject;
use crate::{file, sys};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockaddrLike};
use rules::DeviceName;
use rules::list::{Call, List, To};
use std::ffi::OsString;
use std::path::Path;

pub(super) fn the_device(findings: &mut Findings, device: &DeviceName, any: bool) {
    let shown = text(device.as_bytes());
    match sys::driver(device) {
        Ok(driver) if driver == b"vrf" => findings.ok(Subject::Vrf, format!("{shown} is a VRF")),
        Err(Errno::ENODEV) => findings.fail(Subject::Vrf, format!(
            "there is no device {shown} in this network namespace; to create a VRF, run `ip link add {shown} type vrf \
             table NUMBER`"
        )),
        Ok(_) | Err(Errno::EOPNOTSUPP) if any => findings.ok(
            Subject::Vrf,
            format!("{shown} is a device, but not a VRF"),
        ),
        Ok(_) | Err(Errno::EOPNOTSUPP) => findings.fail(Subject::Vrf, format!(
            "{shown} is not a VRF; `ip vrf show` lists the VRFs, --any-device accepts other devices"
        )),
        // If a unit's sandbox refuses the query, the probe still shows whether sockets are bound.
        Err(errno) => findings.warn(Subject::Vrf, format!(
            "cannot query whether {shown} is a VRF: ioctl(SIOCETHTOOL): {}", errno.desc()
        )),
    }
}

/// Returns the device's own addresses that its sockets reach.
pub(super) fn devices_and_addresses(
    findings: &mut Findings,
    links: &Links,
    device: &DeviceName,
    command: &[OsString],
    rules: Option<&List>,
) -> Vec<String> {
    let name = text(device.as_bytes());
    let Some(link) = links.get(&name) else {
        return Vec::new();
    };
    let is_vrf = link.table.is_some();
    if let Some(table) = link.table {
        findings.ok(
            Subject::Table,
            format!("{name} uses routing table {table}; `ip route show vrf {name}` shows it"),
        );
    }
    if !link.is_up {
        findings.fail(
            Subject::Vrf,
            format!("{name} is down, and its routes do not work; run `ip link set {name} up`"),
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
            Subject::Devices,
            format!(
                "no device belongs to {name}, and it reaches nothing; run `ip link set DEVICE master {name}`"
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
        findings.warn(Subject::Addresses, format!("none on {}", inside.join(", ")));
    } else {
        findings.ok(
            Subject::Addresses,
            format!("on {}: {}", inside.join(", "), addresses.join(", ")),
        );
    }
    let mut reached = Vec::new();
    for (subject, length, family) in [
        (Subject::Loopback4, 8, AddressFamily::Inet),
        (Subject::Loopback6, 128, AddressFamily::Inet6),
    ] {
        let loopback = subject.word();
        let has_it = addresses.iter().any(|address| address == loopback);
        // If it is not known, the default order of the rules is assumed.
        let is_local_first = is_vrf && Netns::Current.is_local_first(family).unwrap_or(true);
        let but = if is_local_first {
            let ip = if family == AddressFamily::Inet {
                "ip"
            } else {
                "ip -6"
            };
            format!(
                "; sockets in {name} reach it there only if the rule of the table local comes after that of the VRFs: \
                 run `{ip} rule add pref 32765 table local; {ip} rule del pref 0`"
            )
        } else {
            let of_family = |address: &&String| address.contains(':') == loopback.contains(':');
            reached.extend(addresses.iter().filter(of_family).cloned());
            String::new()
        };
        let fails = format!(
            "it is not an address of {name}: bind() fails with EADDRNOTAVAIL; --loopback puts it on lo; to make it an address \
             of {name}, run `ip addr add {loopback}/{length} dev {name}`{but}"
        );
        if let Some(number) = rule_of(rules, loopback, has_it) {
            findings.ok(subject, format!("is where rule {number} puts it"));
            continue;
        }
        match &wants_loopback(command, loopback)[..] {
            _ if has_it => findings.ok(subject, format!("is an address of {name}{but}")),
            // It is looked up in the main table, where it belongs to lo.
            _ if !is_vrf => findings.ok(
                subject,
                format!("can be bound, because {name} is not a VRF, but nothing reaches it there"),
            ),
            [who, ..] => findings.warn(subject, format!("{who} names it, and {fails}")),
            [] => findings.ok(
                subject,
                format!("nothing that was checked names it; {fails}"),
            ),
        }
    }
    reached
}

/// The number of the rule that puts a loopback address outside the VRF.
fn rule_of(rules: Option<&List>, loopback: &str, has_it: bool) -> Option<usize> {
    let found = first_rule(rules?, Call::Bind, loopback.parse().ok()?, 0, None)?;
    (!has_it || found.to != To::LoUnlessInVrf).then_some(found.number)
}

/// Which arguments, or files that they name, mention this loopback address; and dnsmasq's `bind-interfaces`, which adds
/// lo to every list of interfaces unless `except-interface=lo` is there.
fn wants_loopback(command: &[OsString], loopback: &str) -> Vec<String> {
    let arguments = command
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy());
    let mut wants = Vec::new();
    if speaks_of(&arguments.clone().collect::<Vec<_>>().join("\n"), loopback) {
        wants.push("the command line".to_owned());
    }
    for argument in arguments {
        // FILE, --option=FILE, -oFILE.
        let path = argument
            .find('/')
            .and_then(|at| argument.get(at..))
            .unwrap_or(&argument);
        if file::read(Path::new(path)).is_ok_and(|text| speaks_of(&text, loopback)) {
            wants.push(path.to_owned());
        }
    }
    wants
}

fn speaks_of(text: &str, loopback: &str) -> bool {
    let lines = || {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.starts_with(['#', ';']))
    };
    let has = |option: &str| lines().any(|line| line.trim_start_matches("--") == option);
    lines().any(|line| line.contains("localhost") || has_address(line, loopback))
        || has("bind-interfaces") && !has("except-interface=lo")
}

/// Whether the line has this address, and not only as a part of another one, such as fe80::1 or ::1234.
fn has_address(line: &str, address: &str) -> bool {
    let is_part = |one: char| one.is_ascii_hexdigit() || matches!(one, ':' | '.');
    line.match_indices(address).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let behind = rest.get(address.len()..).unwrap_or_default();
        !before.ends_with(is_part) && !behind.starts_with(|one: char| is_part(one) && one != ':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_configurations_want_the_loopback() {
        let wants = |arguments: &[&str]| {
            let command: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            !wants_loopback(&command, "127.0.0.1").is_empty()
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
        assert!(!wants(&["named", "127.0.0.10"]));
        for (line, speaks) in [
            ("listen-on-v6 { ::1; };", true),
            ("listen [::1]:53", true),
            ("address=/a/fe80::1", false),
            ("::1234", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(speaks_of(line, "::1"), speaks, "{line}");
        }
    }

    #[test]
    fn mutated_configurations() {
        let valid = "interface=x\nbind-interfaces\nexcept-interface=lo\nlisten-address=127.0.0.1,::1\n# é\n";
        crate::fuzz::each_input(&[valid.as_bytes()], |text| {
            speaks_of(&String::from_utf8_lossy(text), "::1");
        });
    }
}
