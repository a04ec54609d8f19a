//! The rules (VRFBIND_RULES, libvrfbind(7)): are they valid, and can they be followed here?
//!
//! The kernel is asked about devices and addresses by ioctl(2) and by binding a socket that sends nothing, as the library
//! does: this works within a unit's sandbox too.

use super::Findings;
use crate::file;
use crate::output::text;
use crate::sys::{self, SealState};
use crate::values::Subject;
use nix::errno::Errno;
use nix::sys::socket::{SockaddrIn, SockaddrIn6, bind, setsockopt, sockopt};
use rules::list::parse::{LARGEST_FILE, parse, texts};
use rules::list::{Address, Call, List, Match, Protocol, Rule, To};
use rules::request::Vrf;
use rules::{DeviceName, RULES_VARIABLE};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const CAP_NET_RAW: u32 = 13;

/// The rules in a value of the variable, if they are valid.
pub(super) fn the_rules(
    findings: &mut Findings,
    value: &OsStr,
    vrf: &DeviceName,
) -> Option<Box<List>> {
    let prefix = match value.as_bytes() {
        [b'/', ..] => format!("{RULES_VARIABLE}={}: ", text(value.as_bytes())),
        _ => String::new(),
    };
    let outcome = "every IPv4 and IPv6 socket would fail with EINVAL";
    let rules = match read(value) {
        Ok(rules) => rules,
        Err(why) => {
            findings.fail(Subject::Rules, format!("{prefix}{why}; {outcome}"));
            return None;
        }
    };
    let list = match parse(&rules) {
        Ok(list) => Box::new(list),
        Err(invalid) => {
            findings.fail(Subject::Rules, format!("{prefix}{invalid}; {outcome}"));
            return None;
        }
    };
    let texts: Vec<_> = texts(&rules).map(text).collect();
    findings.ok(Subject::Rules, format!("{prefix}{}", texts.join("; ")));
    let mut devices = Vec::new();
    for ((number, rule), rule_text) in (1..).zip(list.rules()).zip(&texts) {
        let subject = format!("rule {number}, \"{rule_text}\"");
        if let To::Device(device) = rule.to()
            && !devices.contains(&device)
        {
            devices.push(device);
            the_device(findings, &subject, &device);
        }
        if rule.to() == To::Default {
            findings.warn(
                Subject::Rules,
                format!(
                    "{subject}: leaves sockets without a device, in the default VRF, on purpose"
                ),
            );
        }
        if rule.to() == To::LoUnlessInVrf {
            for address in ["127.0.0.1", "::1"] {
                if let Ok(ip) = address.parse() {
                    automatic(findings, &subject, vrf, ip);
                }
            }
        }
        the_address(findings, &subject, vrf, rule);
    }
    for (number, by) in list.shadowed() {
        let text = |number: usize| texts.get(number - 1).map_or("", String::as_str);
        findings.warn(
            Subject::Rules,
            format!(
                "rule {number}, \"{}\": never decides, because rule {by}, \"{}\", comes first and matches everything \
                 that it matches",
                text(number),
                text(by)
            ),
        );
    }
    moving(findings);
    Some(list)
}

/// The rule that would decide about a call.
pub(super) fn first_rule(
    list: &List,
    call: Call,
    ip: IpAddr,
    port: u16,
    protocol: Option<Protocol>,
) -> Option<Match> {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let address = Address {
        ip: ip.to_bits(),
        port,
    };
    let Ok(found) = list.first::<Infallible>(call, &address, || Ok(protocol));
    found
}

fn read(value: &OsStr) -> Result<Vec<u8>, String> {
    if !value.as_bytes().starts_with(b"/") {
        return Ok(value.as_bytes().to_owned());
    }
    let cannot = |error| format!("cannot be read: {error}");
    let file = file::open(Path::new(value)).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    match bytes.len() > LARGEST_FILE {
        true => Err("the file has more than 16 KiB".to_owned()),
        false => Ok(bytes),
    }
}

fn the_device(findings: &mut Findings, subject: &str, device: &DeviceName) {
    let shown = text(device.as_bytes());
    match sys::real_name(device) {
        Ok(_) => findings.ok(
            Subject::Rules,
            format!("{subject}: {shown} is a device of this network namespace"),
        ),
        Err(Errno::ENODEV) => findings.fail(
            Subject::Rules,
            format!(
                "{subject}: there is no device {shown} in this network namespace, and bind() or connect() would fail \
                 with ENODEV; `ip link show` lists the devices"
            ),
        ),
        Err(errno) => findings.warn(
            Subject::Rules,
            format!(
                "{subject}: cannot query whether there is a device {shown}: ioctl(SIOCGIFINDEX): {}",
                errno.desc()
            ),
        ),
    }
}

/// The device of `loopback auto` for an address.
fn automatic(findings: &mut Findings, subject: &str, vrf: &DeviceName, ip: IpAddr) {
    let shown = text(vrf.as_bytes());
    match has_address(vrf, Some(vrf), ip) {
        Ok(true) => findings.ok(
            Subject::Rules,
            format!("{subject}: {ip} stays in {shown}, which has it"),
        ),
        Ok(false) => findings.ok(
            Subject::Rules,
            format!("{subject}: {ip} is that of lo, {shown} does not have it"),
        ),
        Err(errno) => cannot_ask(findings, subject, &shown, ip, errno),
    }
}

fn the_address(findings: &mut Findings, subject: &str, vrf: &DeviceName, rule: &Rule) {
    let Some(ip) = rule.bound_to() else {
        return;
    };
    let ip = Ipv6Addr::from_bits(ip).to_canonical();
    let (device, shown) = match rule.to() {
        To::Device(device) => (Some(device), text(device.as_bytes())),
        To::Lo | To::LoUnlessInVrf => (DeviceName::new(b"lo").ok(), "lo".to_owned()),
        To::Default => (None, "the default VRF".to_owned()),
    };
    match has_address(vrf, device.as_ref(), ip) {
        Ok(true) => findings.ok(Subject::Rules, format!("{subject}: {ip} is an address of {shown}")),
        Ok(false) => findings.warn(
            Subject::Rules,
            format!(
                "{subject}: {ip} is not an address of {shown}, and bind() fails with EADDRNOTAVAIL; to add it, run `ip \
                 addr add {ip}/LENGTH dev DEVICE`"
            ),
        ),
        // This was reported for the device already.
        Err(Errno::ENODEV) => {}
        Err(errno) => cannot_ask(findings, subject, &shown, ip, errno),
    }
}

fn cannot_ask(findings: &mut Findings, subject: &str, device: &str, ip: IpAddr, errno: Errno) {
    findings.warn(
        Subject::Rules,
        format!(
            "{subject}: cannot query whether {ip} is an address of {device}: {}",
            errno.desc()
        ),
    );
}

/// Whether a socket on a device can be bound to an address.
fn has_address(vrf: &DeviceName, device: Option<&DeviceName>, ip: IpAddr) -> Result<bool, Errno> {
    let family = match ip {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    let socket = socket(vrf, device, family)?;
    if let Some(device) = device
        && !sys::is_on(&socket, device)
    {
        let name = OsStr::from_bytes(device.as_bytes()).to_owned();
        setsockopt(&socket, sockopt::BindToDevice, &name)?;
    }
    let bound = match ip {
        IpAddr::V4(ip) => bind(
            socket.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(ip, 0)),
        ),
        IpAddr::V6(ip) => bind(
            socket.as_raw_fd(),
            &SockaddrIn6::from(SocketAddrV6::new(ip, 0, 0, 0)),
        ),
    };
    match bound {
        Ok(()) => Ok(true),
        Err(Errno::EADDRNOTAVAIL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A supervisor would put the socket into the VRF, unless the call names another one.
fn socket(
    vrf: &DeviceName,
    device: Option<&DeviceName>,
    family: libc::c_int,
) -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    match (sys::seal_state(), device) {
        (SealState::Supervised, None) => sys::socket_in(Vrf::Default, family, kind),
        (SealState::Supervised, Some(device)) => sys::socket_in(Vrf::Device(*device), family, kind)
            .or_else(|_| sys::socket_in(Vrf::Device(*vrf), family, kind)),
        _ => sys::socket(family, kind, 0),
    }
}

/// How sockets are moved from one device to another.
fn moving(findings: &mut Findings) {
    if sys::has_capability(CAP_NET_RAW) {
        return findings.ok(
            Subject::Rules,
            "a socket is moved to a rule's device in one step, with CAP_NET_RAW; if a program gives up this capability, \
             its sockets are replaced instead (RULES in libvrfbind(7))",
        );
    }
    let lacks = match lacks_for_replacing() {
        Some(what) => format!(", and fewer sockets can be replaced: {what}"),
        None => String::new(),
    };
    findings.warn(
        Subject::Rules,
        format!(
            "without CAP_NET_RAW a socket cannot be moved to a rule's device. It is replaced by another socket where \
             this is safe; otherwise bind() or connect() fails with EPERM (RULES in libvrfbind(7)){lacks}"
        ),
    );
}

/// What is missing to find the socket's duplicates and its registrations in epoll.
fn lacks_for_replacing() -> Option<String> {
    let any = File::open("/").ok()?;
    let read = std::fs::read(format!("/proc/self/fdinfo/{}", any.as_raw_fd()));
    let error = read.err()?;
    Some(format!("/proc/self/fdinfo cannot be read ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_has_its_address() {
        let lo = DeviceName::new(b"lo").unwrap();
        let has = |ip: &str| has_address(&lo, Some(&lo), ip.parse().unwrap());
        assert_eq!(has("127.0.0.1"), Ok(true));
        assert_eq!(has("192.0.2.77"), Ok(false));
        assert_eq!(lacks_for_replacing(), None);
    }
}
