//! The VRF: its device, what is enslaved to it, addresses, and who wants 127.0.0.1.

use super::Findings;
use crate::process::netns::Links;
use crate::sys;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockaddrLike};
use rules::DeviceName;
use std::ffi::OsString;
use std::fs;
pub(super) fn the_device(findings: &mut Findings, device: &DeviceName, any: bool) {
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

pub(super) fn devices_and_addresses(
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
pub(super) fn wants_loopback(command: &[OsString]) -> Vec<String> {
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
}
