//! The kernel: its rule for SO_BINDTODEVICE, VRFs, sysctls, seccomp.

use super::Findings;
use crate::process::netns::Links;
use crate::sys::{self, Around};
use std::fs;
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

/// c427bfec18f2: the first SO_BINDTODEVICE of a socket takes no capability since Linux 5.7.
pub(super) fn kernel_rule(findings: &mut Findings, kernel: &Kernel) {
    let release = &kernel.release;
    if kernel.version >= (5, 7) {
        findings.ok(
            "kernel",
            format!("Linux {release}: binding a socket takes no privilege (since 5.7)"),
        );
    } else if sys::has_capability(CAP_NET_RAW) {
        findings.warn(
            "kernel",
            format!(
                "Linux {release}: binding a socket takes CAP_NET_RAW before 5.7; you have it, \
             programs that drop it will not"
            ),
        );
    } else {
        findings.fail("kernel", format!(
            "Linux {release}: binding a socket takes CAP_NET_RAW before 5.7, which you lack; give \
             the program that capability, or use a newer kernel"
        ));
    }
}

pub(super) fn vrf_support(findings: &mut Findings, links: Option<&Links>) {
    let vrfs: Vec<_> = links
        .into_iter()
        .flat_map(Links::vrfs)
        .map(|link| link.name.as_str())
        .collect();
    let release = nix::sys::utsname::uname().map(|name| name.release().to_owned());
    let module = |list: &str| {
        let folder = Path::new("/lib/modules").join(release.as_deref().unwrap_or_default());
        fs::read_to_string(folder.join(list)).is_ok_and(|text| text.contains("/vrf.ko"))
    };
    if !vrfs.is_empty() {
        findings.ok("VRFs", vrfs.join(", "));
    } else if Path::new("/sys/module/vrf").exists() || module("modules.builtin") {
        findings.ok(
            "VRFs",
            "none in this network namespace; the kernel has the driver",
        );
    } else if module("modules.dep") {
        findings.ok(
            "VRFs",
            "none in this network namespace; the driver is a module, to be loaded when one is made",
        );
    } else {
        findings.warn(
            "VRFs",
            "none in this network namespace, and no driver is to be seen; the kernel needs \
             CONFIG_NET_VRF",
        );
    }
}

pub(super) fn sysctls(findings: &mut Findings) {
    for protocol in ["tcp", "udp", "raw"] {
        let name = format!("net.ipv4.{protocol}_l3mdev_accept");
        let path = format!("/proc/sys/net/ipv4/{protocol}_l3mdev_accept");
        let Ok(value) = fs::read_to_string(path) else {
            findings.warn(
                "sysctl",
                format!(
                    "{name} is not there: the kernel has no CONFIG_NET_L3_MASTER_DEV, or \
                     /proc/sys is hidden"
                ),
            );
            continue;
        };
        match (value.trim(), protocol) {
            ("0", _) => findings.ok(
                "sysctl",
                format!(
                    "{name}=0: sockets without a device hear nothing from \
            VRFs"
                ),
            ),
            (_, "raw") => findings.ok(
                "sysctl",
                format!(
                    "{name}=1, the kernel's default: raw sockets without \
            a device hear every VRF"
                ),
            ),
            _ => findings.warn(
                "sysctl",
                format!(
                    "{name}=1: sockets without a device, in the default VRF, hear every VRF too; \
                 sysctl {name}=0 keeps them apart"
                ),
            ),
        }
    }
}

/// Whether what needs a supervisor would have one.
pub(super) fn seccomp(findings: &mut Findings, kernel: &Kernel) -> bool {
    match sys::around() {
        Around::Nothing => {}
        Around::Seal => {
            findings.ok(
                "seccomp",
                "this tree is sealed already: programs go on under the same seal, and static ones get \
                 no IP socket",
            );
            return false;
        }
        Around::Supervisor => {
            findings.ok(
                "seccomp",
                "this tree is supervised already: programs go on under the same supervisor",
            );
            return true;
        }
    }
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let has = |action: &str| actions.split_whitespace().any(|other| other == action);
    if !has("errno") {
        findings.fail(
            "seccomp",
            "no filters (CONFIG_SECCOMP_FILTER, /proc/sys/kernel/seccomp): nothing can be sealed; \
             vrfbind exec --no-seal does without",
        );
        return false;
    }
    findings.ok("seccomp", "filters are there: programs can be sealed");
    // SECCOMP_ADDFD_FLAG_SEND.
    let can_supervise = has("user_notif") && kernel.version >= (5, 14);
    match (can_supervise, kernel.version >= (5, 19)) {
        (false, _) => findings.warn(
            "seccomp",
            "static and Go programs cannot be supervised: that takes user notifications and Linux \
             5.14; vrfbind exec only seals",
        ),
        (true, false) => findings.warn(
            "seccomp",
            "static programs can be supervised; before Linux 5.19 signals interrupt their \
             socket()s, as Go's do all the time",
        ),
        (true, true) => findings.ok(
            "seccomp",
            "user notifications are there: static and Go programs can be supervised",
        ),
    }
    can_supervise
}
