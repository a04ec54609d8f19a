//! The kernel: its rule for SO_BINDTODEVICE, VRFs, sysctls, seccomp.

use super::Findings;
use crate::process::netns::Links;
use crate::values::{Level, Subject};
use crate::{file, sys};
use std::path::Path;

const CAP_NET_RAW: u32 = 13;

pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) version: (u32, u32),
}

impl Kernel {
    pub(super) fn running() -> Self {
        let release = nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        let version = (next(), next());
        Self { release, version }
    }
}

/// c427bfec18f2: the first SO_BINDTODEVICE of a socket requires no capability since Linux 5.7.
pub(super) fn kernel_rule(findings: &mut Findings, kernel: &Kernel) {
    let release = &kernel.release;
    if kernel.version >= (5, 7) {
        findings.ok(
            Subject::Kernel,
            format!("Linux {release}: binding a socket requires no privilege (since 5.7)"),
        );
    } else if sys::has_capability(CAP_NET_RAW) {
        findings.warn(
            Subject::Kernel,
            format!(
                "Linux {release}: binding a socket requires CAP_NET_RAW before 5.7; this process has it, but programs \
                 that drop it cannot create sockets"
            ),
        );
    } else {
        findings.fail(Subject::Kernel, format!(
            "Linux {release}: binding a socket requires CAP_NET_RAW before 5.7, which this process lacks; give the \
             program this capability, or use a newer kernel"
        ));
    }
}

/// Whether there are VRFs. Without support for them, one that is required cannot be there.
pub(super) fn vrf_support(findings: &mut Findings, links: Option<&Links>, is_required: bool) {
    let vrfs: Vec<_> = links
        .into_iter()
        .flat_map(Links::vrfs)
        .map(|link| link.name.as_str())
        .collect();
    let release = nix::sys::utsname::uname().map(|name| name.release().to_owned());
    let module = |list: &str| {
        let folder = Path::new("/lib/modules").join(release.as_deref().unwrap_or_default());
        file::read(&folder.join(list)).is_ok_and(|text| text.contains("/vrf.ko"))
    };
    if !vrfs.is_empty() {
        findings.ok(Subject::Vrfs, vrfs.join(", "));
    } else if Path::new("/sys/module/vrf").exists() || module("modules.builtin") {
        findings.ok(
            Subject::Vrfs,
            "none in this network namespace; the kernel supports VRFs",
        );
    } else if module("modules.dep") {
        findings.ok(
            Subject::Vrfs,
            "none in this network namespace; the kernel loads the module vrf when a VRF is created",
        );
    } else {
        let level = if is_required && links.is_some() {
            Level::Fail
        } else {
            Level::Warn
        };
        findings.add(
            level,
            Subject::Vrfs,
            "none in this network namespace, and the kernel seems to lack CONFIG_NET_VRF; use a kernel that has it"
                .to_owned(),
        );
    }
}

pub(super) fn sysctls(findings: &mut Findings) {
    for protocol in ["tcp", "udp", "raw"] {
        let name = format!("net.ipv4.{protocol}_l3mdev_accept");
        let path = format!("/proc/sys/net/ipv4/{protocol}_l3mdev_accept");
        let Ok(value) = file::read(Path::new(&path)) else {
            findings.warn(
                Subject::Sysctl,
                if Path::new("/proc/sys/net/ipv4").exists() {
                    format!("{name} does not exist: the kernel lacks CONFIG_NET_L3_MASTER_DEV")
                } else {
                    format!("{name} is unknown without /proc/sys")
                },
            );
            continue;
        };
        match (value.trim(), protocol) {
            ("0", _) => findings.ok(
                Subject::Sysctl,
                format!(
                    "{name}=0: sockets without a device receive nothing from VRFs"
                ),
            ),
            (_, "raw") => findings.ok(
                Subject::Sysctl,
                format!(
                    "{name}=1, the kernel's default: raw sockets without a device receive from every VRF"
                ),
            ),
            _ => findings.warn(
                Subject::Sysctl,
                format!(
                    "{name}=1: sockets without a device, in the default VRF, also receive from every VRF; to separate \
                     them, run `sysctl {name}=0`"
                ),
            ),
        }
    }
}
