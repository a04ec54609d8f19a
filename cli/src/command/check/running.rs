//! `vrfbind check --running`: are the processes of this unit in the VRF? For ExecStartPost=, with `$MAINPID`.
//!
//! ExecStartPre= has tried another process, and some things are seen only in the real one: AT_SECURE set by a security
//! module's transition, on which ld.so drops the library; a program that a script has executed; sockets that systemd has
//! passed. In order:
//!
//! 1. The unit's processes are those in the cgroup that we are in ([`Unit`]).
//! 2. It waits while the main process is still systemd's, `vrfbind exec`, or in ld.so ([`Stage`]): with Type=simple
//!    systemd starts us as soon as it has forked. Only the unit's TimeoutStartSec= ends the wait.
//! 3. The main process has to have the library, with this VRF, or a supervisor; a program whose sockets bypass the
//!    library has to have the supervisor.
//! 4. The sockets of all processes that have an address have to be in the VRF, or on their rules' devices. A socket
//!    without an address may be about to get its device from the library at this moment.
//!
//! A process that ends meanwhile has no sockets. All are looked at from child processes ([`look_at_each`]).

use crate::command::status::Unread;
use crate::command::verdict::Judge;
use crate::failure::Failure;
use crate::output::{escape, word};
use crate::process::apart::look_at_each;
use crate::process::sockets::{Device, Reader, Socket, Vrf};
use crate::process::{self, Directory, Process};
use crate::program::Program;
use crate::{auxv, environ, supervisor, values};
use rules::executable::Verdict;
use rules::inherited::LISTEN_FDS;
use rules::list::Match;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// What is not in the VRF, a sentence each.
pub(super) fn outside(vrf: &str, main: Option<u32>) -> Result<Vec<String>, Failure> {
    let unit = Unit::of_us(main);
    let mut found = Vec::new();
    if let Some(main) = main {
        found.extend(wait_for(&unit, main, vrf)?);
    }
    let mut reader = Reader::default();
    let pids = unit.processes();
    let answers = look_at_each(&pids, |pid| {
        sockets_outside(&mut reader, pid, vrf).map_err(|error| Unread::new(pid, &error))
    })?;
    for (pid, answer) in pids.into_iter().zip(answers) {
        match answer.unwrap_or_else(|| Err(Unread::without_answer(pid))) {
            Ok(sentences) => found.extend(sentences),
            Err(Unread::Ended(_)) => {}
            Err(unread) => found.push(unread.sentence()),
        }
    }
    Ok(found)
}

fn sockets_outside(reader: &mut Reader, pid: u32, vrf: &str) -> io::Result<Vec<String>> {
    // A supervisor's sockets are about to be passed to other processes.
    if is_ours(pid) {
        return Ok(Vec::new());
    }
    let process = Process::read(pid)?;
    let mut sockets = reader.read(&process.directory)?.sockets;
    sockets.retain(|socket| socket.local.is_some() || socket.peer.is_some());
    let judge = Judge::of(&process, Some(vrf), reader);
    let verdicts = judge.verdicts(&mut sockets, reader);
    let environ = process.directory.read("environ")?;
    let passed = match environ::value(&environ, LISTEN_FDS) {
        Some(_) => "; if a socket unit has passed it, put that into the VRF too (vrfbind enable)",
        None => "",
    };
    let sentence = |socket: &Socket, rule: Option<Match>| {
        let address = socket.local.as_ref().or(socket.peer.as_ref());
        let address = address.map(ToString::to_string).unwrap_or_default();
        let place = match &socket.device {
            Device::None => "no VRF".to_owned(),
            Device::Deleted => "no VRF any more: its device was deleted".to_owned(),
            Device::Unknown => "an unknown VRF".to_owned(),
            Device::Bound(device, Vrf::Name(other)) => {
                format!("the VRF {}, by its device {}", word(other), word(device))
            }
            Device::Bound(device, _) => format!("no VRF, by its device {}", word(device)),
        };
        let belongs = match process.rules.as_ref().zip(rule) {
            None => format!("in {vrf}"),
            Some((rules, rule)) => format!(
                "where rule {} puts it (\"{}\")",
                rule.number,
                escape(rules.text(rule.number))
            ),
        };
        format!(
            "process {pid} ({}) has the socket {} {address} in {place}, and not {belongs}{passed}",
            word(&process.name),
            socket.protocol
        )
    };
    let judged = sockets.iter().zip(verdicts);
    let outside = judged.filter(|(_, (verdict, _))| *verdict != values::Verdict::Ok);
    Ok(outside
        .map(|(socket, (_, rule))| sentence(socket, rule))
        .collect())
}

// ---- The unit ----

/// The processes of a cgroup and of its descendants, and the main process, wherever it is.
struct Unit {
    cgroup: Option<String>,
    main: Option<u32>,
}

impl Unit {
    fn of_us(main: Option<u32>) -> Self {
        let own = cgroup(std::process::id());
        // If the unit's cgroup is delegated, systemd keeps its own commands apart from the service's.
        let cgroup = own.map(|path| path.strip_suffix("/.control").unwrap_or(&path).to_owned());
        Self { cgroup, main }
    }

    fn processes(&self) -> Vec<u32> {
        let is_within = |pid: u32| {
            let path = cgroup(pid)?;
            let rest = path.strip_prefix(self.cgroup.as_deref()?)?;
            Some(rest.is_empty() || rest.starts_with('/'))
        };
        let mut pids = process::all().unwrap_or_default();
        pids.retain(|&pid| self.main == Some(pid) || is_within(pid) == Some(true));
        pids
    }

    fn has_supervisor(&self) -> bool {
        let listens = |pid| is_ours(pid) && supervisor::is_listening(pid).unwrap_or(false);
        self.processes().into_iter().any(listens)
    }
}

/// The cgroup by which systemd knows the unit of a process: in systemd's own hierarchy without controllers, or in
/// cgroup2.
fn cgroup(pid: u32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let of = |hierarchy: &str| {
        let mut paths = text
            .lines()
            .filter_map(|line| line.split_once(':')?.1.strip_prefix(hierarchy));
        paths
            .next()
            .map(|path| path.trim_end_matches('/').to_owned())
    };
    of("name=systemd:").or_else(|| of(":"))
}

// ---- The main process ----

/// How far the main process has come.
#[derive(Serialize, Deserialize)]
enum Stage {
    /// It is not the program yet, or ld.so has not loaded the library yet.
    Early,
    /// Its sockets will be in the VRF.
    In,
    /// They will not be, for this reason.
    Out(String),
}

/// Waits until it is known whether its sockets will be in the VRF, and returns why not. A process that ends meanwhile
/// has none.
fn wait_for(unit: &Unit, main: u32, vrf: &str) -> Result<Option<String>, Failure> {
    loop {
        let look = |pid| stage(unit, pid, vrf).map_err(|error| Unread::new(pid, &error));
        let answer = look_at_each(&[main], look)?.pop().flatten();
        match answer.unwrap_or_else(|| Err(Unread::without_answer(main))) {
            Ok(Stage::Early) => sleep(Duration::from_millis(10)),
            Ok(Stage::In) | Err(Unread::Ended(_)) => return Ok(None),
            Ok(Stage::Out(why)) => return Ok(Some(why)),
            Err(unread) => return Ok(Some(unread.sentence())),
        }
    }
}

fn stage(unit: &Unit, main: u32, vrf: &str) -> io::Result<Stage> {
    let exe = fs::read_link(format!("/proc/{main}/exe"))?;
    let is_starting = is_starting(main, &exe);
    // Read before the search for the library: ld.so maps the library before the files that are counted here.
    let is_loaded = executables(&Directory::open(main)?.read("maps")?) >= ALL;
    let process = Process::read(main)?;
    // With the library it may be a systemd of its own, as in user@.service.
    if is_starting && process.library.is_none() {
        return Ok(Stage::Early);
    }
    if unit.has_supervisor() {
        return Ok(Stage::In);
    }
    let program = format!(
        "the main process, {main} ({}),",
        word(&exe.to_string_lossy())
    );
    let verdict = Program::find(process.directory.path("exe").as_os_str(), None);
    let verdict = verdict.map_or(Verdict::Unreadable, |program| program.verdict);
    Ok(match (&process.library, verdict) {
        (_, Verdict::Go | Verdict::Static) => Stage::Out(format!(
            "{program} is {}, and has no supervisor; start it with `vrfbind exec`",
            verdict.sentence()
        )),
        (Some(_), _) => match process.wants() {
            Some((wanted, _)) if wanted == vrf => Stage::In,
            Some((wanted, _)) => Stage::Out(format!(
                "{program} is in the VRF {}, and not in {vrf}",
                word(wanted)
            )),
            None => Stage::Out(format!(
                "{program} has the library, but the library does nothing in it"
            )),
        },
        (None, _) if is_secure(&process.directory)? => Stage::Out(format!(
            "{program} has AT_SECURE set, on which ld.so ignores LD_PRELOAD: by a security module's transition \
             (AppArmor, SELinux), a set-user-ID bit or capabilities; start it with `vrfbind exec`"
        )),
        (None, _) if is_loaded => Stage::Out(format!(
            "{program} was started without the library: LD_PRELOAD was removed, or ld.so could not load the library (an \
             AppArmor profile may forbid it)"
        )),
        (None, _) => Stage::Early,
    })
}

/// Whether a process is still systemd's, or `vrfbind exec`, and about to execute something else.
fn is_starting(pid: u32, exe: &Path) -> bool {
    const EXECUTOR: &str = "systemd-executor"; // since systemd 255
    let is_executor = exe.file_name().is_some_and(|name| name == EXECUTOR);
    is_executor || is_ours(pid) || is_same_program(pid, 1)
}

/// Whether a process is this command.
fn is_ours(pid: u32) -> bool {
    is_same_program(pid, std::process::id())
}

fn is_same_program(one: u32, other: u32) -> bool {
    let inode = |pid| {
        let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        Some((file.dev(), file.ino()))
    };
    inode(one).is_some() && inode(one) == inode(other)
}

/// The kernel maps the program and its ld.so, and ld.so maps preloads before everything else: with this many files, it
/// has got past the preloads.
const ALL: usize = 3;

/// How many files a process has mapped executable (proc_pid_maps(5)).
fn executables(maps: &[u8]) -> usize {
    let maps = String::from_utf8_lossy(maps);
    let files = maps.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (_address, permissions, _offset) = (words.next()?, words.next()?, words.next()?);
        let file = (words.next()?, words.next()?);
        let path = words.next()?;
        (permissions.contains('x') && path.starts_with('/')).then_some(file)
    });
    files.collect::<HashSet<_>>().len()
}

/// A process that has ended has no auxiliary vector, and is not called secure.
fn is_secure(process: &Directory) -> io::Result<bool> {
    let vector = process.read("auxv")?;
    Ok(!vector.is_empty() && auxv::is_secure(&vector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_ours_is_seen_as_it_is() {
        let child = std::process::Command::new("/bin/sleep").arg("60").spawn();
        let mut child = child.unwrap();
        let pid = child.id();
        let unit = Unit {
            cgroup: None,
            main: Some(pid),
        };
        // It waits until the child is /bin/sleep.
        let found = wait_for(&unit, pid, "blue").unwrap().unwrap();
        assert!(
            found.contains("sleep), was started without the library"),
            "{found}"
        );
        assert!(!is_secure(&Process::read(pid).unwrap().directory).unwrap());
        assert!(!is_ours(pid));
        assert_eq!(cgroup(pid), cgroup(std::process::id()));
        assert!(Unit::of_us(None).processes().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(wait_for(&unit, pid, "blue").unwrap(), None);
    }
}
