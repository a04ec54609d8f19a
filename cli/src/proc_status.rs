//! The parts of /proc/PID/status (proc_pid_status(5)) that are used here. The name in it may be any bytes.

/// The status of a process or a thread.
pub struct Status {
    /// The process of a thread (thread group).
    pub process: Option<u32>,
    /// The PID in the PID namespace that it is in.
    pub own_pid: Option<u32>,
    /// The real user.
    pub user: u32,
    /// The supplementary groups and, as the last one, the effective group.
    pub groups: Vec<u32>,
    /// The effective capabilities.
    pub capabilities: u64,
    /// Whether it has a seccomp filter. None: the kernel does not tell.
    pub has_filter: Option<bool>,
}

impl Status {
    /// None: the text is not a status.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let line = |name| text.lines().find_map(|line| line.strip_prefix(name));
        // Real, effective, saved, of the file system.
        let user = *numbers(line("Uid:")?).first()?;
        let mut groups = numbers(line("Groups:")?);
        groups.push(*numbers(line("Gid:")?).get(1)?);
        Some(Self {
            process: line("Tgid:").and_then(|process| process.trim().parse().ok()),
            // From the PID namespace of /proc inwards.
            own_pid: line("NSpid:").and_then(|pids| numbers(pids).last().copied()),
            user,
            groups,
            capabilities: u64::from_str_radix(line("CapEff:")?.trim(), 16).ok()?,
            has_filter: line("Seccomp:").map(|mode| mode.trim() != "0"),
        })
    }
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_a_thread() {
        let status = b"Name:\t\xc3\nUid:\t4\t5\t6\t7\nGid:\t1\t2\t3\t4\nGroups:\t7 8 \nCapEff:\t0000000000002001\n";
        let status = Status::parse(status).unwrap();
        assert_eq!((status.user, status.groups), (4, vec![7, 8, 2]));
        assert_eq!(status.capabilities, 0x2001);
        assert_eq!((status.own_pid, status.has_filter), (None, None));
        assert!(Status::parse(b"Name:\tx\n").is_none());
        let myself = std::fs::read("/proc/self/status").unwrap();
        let myself = Status::parse(&myself).unwrap();
        assert!(myself.has_filter.is_some());
        assert_eq!(myself.process, Some(std::process::id()));
        assert_eq!(myself.own_pid, myself.process);
    }

    #[test]
    fn mutated_statuses() {
        let valid = b"Name:\tx\nUid:\t4\t5\t6\t7\nGid:\t1\t2\t3\t4\nGroups:\t7 8 \
                      \nCapEff:\t0000000000002001\nSeccomp:\t2\n";
        crate::fuzz::each_input(&[valid], |status| drop(Status::parse(status)));
    }
}
