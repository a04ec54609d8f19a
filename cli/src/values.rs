//! The words that `status` and `check` print for what they find, in lines, tables and JSON.
//!
//! Each list stands here once. vrfbind(1) explains every word of it and no other: the test below compares the two.

use serde::{Deserialize, Serialize};

/// Enumerations of words. `in PLACE`: where vrfbind(1) explains them.
macro_rules! values {
    ($(
        $(#[$about:meta])*
        $name:ident in $place:ident($what:literal) { $($(#[$meaning:meta])* $value:ident = $word:literal,)* }
    )*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub enum $name {
                $($(#[$meaning])* #[serde(rename = $word)] $value,)*
            }

            impl $name {
                #[allow(dead_code, reason = "not each list is walked")]
                pub const ALL: &[Self] = &[$(Self::$value),*];

                #[allow(dead_code, reason = "some only stand in JSON")]
                pub const fn word(self) -> &'static str {
                    match self {
                        $(Self::$value => $word,)*
                    }
                }
            }
        )*

        #[cfg(test)]
        const EXPLAINED: &[(tests::Place, &[&str])] = &[$((tests::Place::$place($what), &[$($word),*])),*];
    };
}

values! {
    /// Whether a socket is where it belongs.
    Verdict in Section("Verdicts") {
        Ok = "ok",
        /// It has no device.
        Unbound = "unbound",
        /// Its device is in no VRF.
        NoVrf = "no-vrf",
        /// It is in another VRF, or on another device than its rule says.
        WrongVrf = "wrong-vrf",
        /// Its device was deleted: it reaches nothing.
        DeviceDeleted = "device-deleted",
        /// Its device, or that device's VRF, cannot be found out.
        Unknown = "unknown",
    }

    /// Who names the VRF that a process is judged by.
    VrfSource in Member("vrf_from") {
        Option = "option",
        Library = "library",
        Environment = "environment",
    }

    /// Whose rules the sockets of a process come under.
    RulesSource in Member("from") {
        Library = "library",
        Environment = "environment",
    }

    /// What the library does in a process: the `STATE_` values of [`rules::info`].
    State in Member("state") {
        NotStarted = "not-started",
        Inert = "inert",
        Device = "device",
        Default = "default",
        Invalid = "invalid",
    }

    /// What became of one of libc's functions, as [`rules::info`] has it.
    Patch in Member("socket") {
        NotTried = "not-tried",
        Patched = "patched",
        PatchedByOtherCopy = "patched-by-other-copy",
        NotFound = "not-found",
        UnknownCode = "unknown-code",
        NotWritable = "not-writable",
    }

    /// Which calls of socket() reach the library.
    Coverage in Member("coverage") {
        /// Those within libc too.
        Libc = "libc",
        /// Those by the exported symbol only.
        Exports = "exports",
    }

    /// Which seccomp filter of vrfbind's a process has.
    Seal in Member("seal") {
        None = "none",
        Sealed = "sealed",
        Supervised = "supervised",
    }

    /// How the sockets of a process were read.
    Method in Member("method") {
        PidfdGetfd = "pidfd_getfd",
        SockDiag = "sock_diag",
    }

    /// The protocol of a socket; a protocol without a name here has a number. `/raw` is appended for a raw socket.
    ProtocolName in Member("protocol") {
        Tcp = "tcp",
        Udp = "udp",
        Udplite = "udplite",
        Icmp = "icmp",
        Icmp6 = "icmp6",
        Sctp = "sctp",
        Mptcp = "mptcp",
        Dccp = "dccp",
        /// A raw socket whose protocol is not known.
        Raw = "raw",
    }

    /// How serious a finding of `check` is.
    Level in Member("level") {
        Ok = "ok",
        Warn = "warn",
        Fail = "fail",
    }

    /// What a finding of `check` is about.
    Subject in Section("Subjects of check") {
        Kernel = "kernel",
        Netlink = "netlink",
        Vrfs = "VRFs",
        Vrf = "VRF",
        Table = "table",
        Devices = "devices",
        Addresses = "addresses",
        Loopback4 = "127.0.0.1",
        Loopback6 = "::1",
        Rules = "rules",
        Sysctl = "sysctl",
        Seccomp = "seccomp",
        Library = "library",
        Probe = "probe",
        Program = "program",
        AppArmor = "AppArmor",
        Names = "names",
        UdpPorts = "UDP ports",
        IpVrfExec = "ip vrf exec",
        Unit = "unit",
    }
}

impl State {
    pub const fn of(word: u32) -> Self {
        match word {
            rules::info::STATE_NOT_STARTED => Self::NotStarted,
            rules::info::STATE_INERT => Self::Inert,
            rules::info::STATE_DEVICE => Self::Device,
            rules::info::STATE_DEFAULT => Self::Default,
            _ => Self::Invalid,
        }
    }
}

impl Patch {
    pub const fn of(word: u32) -> Self {
        match word {
            rules::info::NOT_TRIED => Self::NotTried,
            rules::info::PATCHED => Self::Patched,
            rules::info::PATCHED_BY_OTHER_COPY => Self::PatchedByOtherCopy,
            rules::info::NOT_FOUND => Self::NotFound,
            rules::info::UNKNOWN_CODE => Self::UnknownCode,
            _ => Self::NotWritable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EXPLAINED;
    use std::collections::BTreeSet;

    /// Where vrfbind(1) explains words.
    #[derive(Debug)]
    pub enum Place {
        /// As the tagged paragraphs of a section.
        Section(&'static str),
        /// In quotes, in the paragraph of JSON of this member.
        Member(&'static str),
    }

    const PAGE: &str = include_str!("../../man/vrfbind.1");

    /// The lines of a section of the manual page, without its heading.
    fn section(heading: &str) -> Vec<&'static str> {
        let is_heading = |line: &&str| line.starts_with(".SH ") || line.starts_with(".SS ");
        let begins = |line: &&str| is_heading(line) && line.get(4..) == Some(heading);
        let lines = PAGE.lines().skip_while(|line| !begins(line)).skip(1);
        lines.take_while(|line| !is_heading(line)).collect()
    }

    /// The tagged paragraphs (.TP) in some lines: tag and text, without macros and fonts.
    fn paragraphs(lines: &[&str]) -> Vec<(String, String)> {
        let plain = |line: &str| {
            let is_macro = |word: &str| matches!(word, ".B" | ".I" | ".BR" | ".RB" | ".IR");
            let line = match line.split_once(' ') {
                Some((word, rest)) if is_macro(word) => rest,
                _ => line,
            };
            line.replace('"', "").replace("\\-", "-")
        };
        let parts = lines.split(|line| *line == ".TP").skip(1);
        let paragraph = |part: &[&str]| {
            let (tag, text) = part.split_first().unwrap();
            let text: Vec<_> = text.iter().map(|line| plain(line)).collect();
            (plain(tag), text.join(" "))
        };
        parts.map(paragraph).collect()
    }

    fn quoted(text: &str) -> BTreeSet<String> {
        let words = text.split("\\(dq").skip(1).step_by(2);
        words.map(str::to_owned).collect()
    }

    #[test]
    fn the_manual_explains_every_value_and_no_other() {
        let members: Vec<_> = ["JSON of status", "JSON of check"]
            .into_iter()
            .flat_map(|heading| paragraphs(&section(heading)))
            .collect();
        let of_member = |name: &str| {
            let is_named = |tag: &str| tag.split([' ', ',', '(']).any(|word| word == name);
            let mut found = members.iter().filter(|(tag, _)| is_named(tag));
            let paragraph = found.next().unwrap_or_else(|| panic!("no member {name}"));
            assert!(found.next().is_none(), "two members {name}");
            paragraph
        };
        let mut visited = BTreeSet::new();
        for (place, words) in EXPLAINED {
            let explained = match place {
                Place::Section(heading) => {
                    let tags = paragraphs(&section(heading));
                    tags.into_iter().map(|(tag, _)| tag).collect()
                }
                Place::Member(name) => {
                    let (tag, text) = of_member(name);
                    visited.insert(tag);
                    quoted(text)
                }
            };
            let words: BTreeSet<_> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(explained, words, "vrfbind(1), {place:?}");
        }
        for (tag, text) in &members {
            assert!(
                visited.contains(tag) || quoted(text).is_empty(),
                "no list of values for {tag} {text}"
            );
        }
    }
}
