//! `vrfbind identify` and `vrfbind pids`: what `ip vrf identify` and `ip vrf pids` answer by a cgroup's
//! name, answered by the sockets themselves and by the library that binds the next ones.
//!
//! A process is in each VRF that one of its sockets is in, and in the one that its library is set to; also
//! in `default`, if a socket is in no VRF.

use crate::command::device::no_vrf;
use crate::command::status::{Entry, Unread};
use crate::failure::{Failure, refuse};
use crate::output::{self, line, text, word};
use crate::process::apart::look_at_each;
use crate::process::container;
use crate::process::netns::Netns;
use crate::process::sockets::{Reader, Vrf};
use crate::process::{self, Process};
use crate::values::Verdict;
use rules::DEFAULT;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// Print the VRFs that a process is in, one a line
///
/// These are the VRFs of its IPv4 and IPv6 sockets, and the VRF that its library binds new sockets to. "default"
/// stands for sockets in no VRF. The container of the process, if it is in one, follows the VRF.
#[derive(clap::Args)]
pub struct Identify {
    /// The process. By default the parent process, such as a shell
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
}

pub fn identify(args: Identify) -> Result<ExitCode, Failure> {
    process::need_proc()?;
    let pid = args.pid.unwrap_or_else(std::os::unix::process::parent_id);
    let mut reader = Reader::default();
    let answers = look_at_each(&[pid], |pid| {
        Vrfs::of(pid, &mut reader, false).map_err(|error| Unread::new(pid, &error))
    })?;
    let vrfs = answers
        .into_iter()
        .flatten()
        .next()
        .unwrap_or_else(|| Err(Unread::without_answer(pid)))
        .map_err(|unread| refuse(unread.sentence()))?;
    if vrfs.is_unknown {
        return Err(refuse(format!(
            "cannot find out the VRF of process {pid}; `vrfbind status {pid}` shows why"
        )));
    }
    let mut lines = String::new();
    for name in &vrfs.names {
        line(&mut lines, &format!("{}{}", word(name), vrfs.behind()));
    }
    output::print(&lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Print the processes that are in a VRF
#[derive(clap::Args)]
pub struct Pids {
    /// The VRF
    #[arg(value_name = "VRF")]
    vrf: OsString,
}

pub fn pids(args: Pids) -> Result<ExitCode, Failure> {
    let links = Netns::Current
        .links()
        .map_err(|errno| refuse(format!("RTM_GETLINK: {}", errno.desc())))?;
    let named = text(args.vrf.as_bytes());
    let Some(vrf) = links.get(&named).filter(|link| link.table.is_some()) else {
        return Err(no_vrf(&named));
    };
    process::need_proc()?;
    let mut reader = Reader::default();
    let all = process::all().map_err(|error| refuse(format!("read /proc: {error}")))?;
    let answers = look_at_each(&all, |pid| Vrfs::of(pid, &mut reader, true).ok())?;
    let mut lines = String::new();
    for (pid, answer) in all.into_iter().zip(answers) {
        match answer {
            Some(Some(vrfs)) if vrfs.names.contains(&vrf.name) => {
                let (process, container) = (&vrfs.process, vrfs.behind());
                line(&mut lines, &format!("{pid:>5}  {process}{container}"));
            }
            // Processes that end meanwhile, or belong to other users, are left out.
            Some(_) => {}
            None => output::say(&Unread::without_answer(pid).sentence()),
        }
    }
    output::print(&lines)?;
    Ok(ExitCode::SUCCESS)
}

/// The VRFs of a process.
#[derive(Serialize, Deserialize)]
struct Vrfs {
    /// The name of the process.
    process: String,
    container: Option<String>,
    names: BTreeSet<String>,
    is_unknown: bool,
}

impl Vrfs {
    /// The container, as text to append to a line.
    fn behind(&self) -> String {
        let container = self.container.as_deref().map(container::short);
        container.map_or_else(String::new, |container| format!("  {}", word(container)))
    }

    /// `only_here`: without VRFs of other network namespaces, which may have the same names.
    fn of(pid: u32, reader: &mut Reader, only_here: bool) -> io::Result<Self> {
        let process = Process::read(pid)?;
        let entry = Entry::new(&process, None, reader)?;
        let mut vrfs = Self {
            process: entry.name,
            container: entry.container,
            names: BTreeSet::new(),
            is_unknown: false,
        };
        for row in entry
            .sockets
            .iter()
            .filter(|row| !only_here || !row.other_netns)
        {
            match (&row.vrf, row.verdict) {
                (Some(vrf), _) => drop(vrfs.names.insert(vrf.clone())),
                // A deleted device is in no VRF.
                (None, Verdict::DeviceDeleted) => {}
                (None, Verdict::Unknown) => vrfs.is_unknown = true,
                (None, _) => drop(vrfs.names.insert(DEFAULT.to_owned())),
            }
        }
        if process.library.is_some()
            && (!only_here || reader.is_here(&process.directory))
            && let Some(device) = entry.vrf
        {
            match reader.vrf_of(&process.directory, &device) {
                Some(Vrf::Name(vrf)) => drop(vrfs.names.insert(vrf)),
                Some(Vrf::None) => drop(vrfs.names.insert(DEFAULT.to_owned())),
                Some(Vrf::Unknown) => vrfs.is_unknown = true,
                // Without the device the process gets no socket at all.
                None => {}
            }
        }
        Ok(vrfs)
    }
}
