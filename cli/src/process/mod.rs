//! A process: whether it has the library, what the library reports there, which VRF it asks for, and whether it is
//! sealed.
//!
//! 1. /proc/PID/maps has the library's path and address. This requires the right to read the process.
//! 2. The file's symbol table has the address of `vrfbind_info` in it. The file is read only if it is the mapped one
//!    ([`Mapping::file`]): a library that was replaced since has its symbols elsewhere.
//! 3. /proc/PID/mem has `vrfbind_info` as it is in the process. This requires the right to attach. If it is refused, the
//!    version is the file's, and the rest is not known.
//! 4. `vrfbind_info` also has the address of the rules that the library has read ([`rule_list`]).
//! 5. /proc/PID/environ has the environment with which the process was started: for programs without the library, or
//!    whose library cannot be read.
//!
//! Nothing is guessed: what cannot be read is None, and [`Process::notes`] has the reason.
//!
//! The process is untrusted. It is read only through one [`Directory`], by a reader that may block for ever
//! ([`crate::process::apart`]), and [`MOST`] bytes at most; its text is printed only by [`crate::output`].

pub mod apart;
pub mod container;
mod directory;
mod maps;
pub mod netns;
mod rule_list;
pub mod sockets;

use crate::failure::{Failure, refuse};
use crate::output::{text, word};
use crate::proc_status::Status;
use crate::sys::SealState;
use crate::values::VrfSource;
use crate::{auxv, environ, library, supervisor};
pub use directory::{Directory, MOST};
use maps::{Mapping, Refusal};
pub use rule_list::Rules;
use rules::DEFAULT;
use rules::Info;
use std::fs::{self, File};
use std::io;
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// A process.
pub struct Process {
    pub directory: Directory,
    /// Its name in the kernel, at most 15 bytes.
    pub name: String,
    /// The library in it.
    pub library: Option<Library>,
    /// `VRFBIND_VRF` in the environment that it was started with.
    pub environment: Option<String>,
    /// The rules of its sockets, besides the VRF.
    pub rules: Option<Rules>,
    /// Whether it is sealed.
    pub seal: Option<SealState>,
    /// Its container: a part of its cgroup's path.
    pub container: Option<String>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// The library, as it is mapped into a process.
pub struct Library {
    pub path: String,
    pub version: Option<String>,
    pub info: Option<LibraryInfo>,
    /// The text of its rules.
    rules: Option<Vec<u8>>,
}

/// What the library reports (`vrfbind_info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryInfo {
    /// Whether libc's functions are patched, a value of [`rules::info`].
    pub socket: u32,
    pub execve: u32,
    /// One of the `SEAL_` values.
    pub seal: u32,
    /// One of the `STATE_` values.
    pub state: u32,
    /// The name of its device, if it has one.
    pub device: Option<String>,
    /// How many sockets without a device it has found in the process that were not meant for it.
    pub inherited: u32,
    /// The address of the text of its rules, and its length in bytes.
    rules: (u64, u32),
}

impl Process {
    /// Reads a process. An error: it does not exist, or may not be read.
    pub fn read(pid: u32) -> io::Result<Self> {
        let directory = Directory::open(pid)?;
        let mapping = Mapping::find(File::open(directory.path("maps"))?)?;
        let environ = directory.read("environ")?;
        let status = Status::parse(&directory.read("status")?);
        let has_filter = status.and_then(|status| status.has_filter);
        let name = directory.read("comm")?;
        let mut notes = Vec::new();
        let library = mapping.map(|mapping| Library::read(&directory, &mapping, &mut notes));
        let environment = variable(&environ, rules::VRF_VARIABLE);
        if environment.is_none() && environ.len() as u64 > MOST {
            notes.push(format!(
                "its environment is larger than 1 MiB; {} is not in the first MiB",
                rules::VRF_VARIABLE
            ));
        }
        if library.is_none() && auxv::is_of_32_bits(&directory.read("auxv")?) {
            notes.push(
                "it is a 32-bit program, into which only a 32-bit library can be loaded".to_owned(),
            );
        }
        let info = library.as_ref().and_then(|library| library.info.as_ref());
        let seal = match (info.map(|info| info.seal), has_filter) {
            (Some(rules::info::SEAL_MADE | rules::info::SEAL_FOUND), _) => Some(SealState::Sealed),
            (Some(rules::info::SEAL_SUPERVISED), _) => Some(SealState::Supervised),
            // Without any filter there is no seal.
            (_, Some(false)) => Some(SealState::None),
            _ => match supervisor(&directory, &environ) {
                Ok(seal) => Some(seal),
                Err(note) => {
                    notes.push(note);
                    None
                }
            },
        };
        let rules = Rules::of(&directory, &environ, library.as_ref(), &mut notes);
        Ok(Self {
            rules,
            name: text(name.strip_suffix(b"\n").unwrap_or(&name)),
            container: container::of(&directory),
            directory,
            library,
            environment,
            seal,
            notes,
        })
    }

    /// The name of the VRF that its sockets shall be in: the library's, or the environment's if there is no library to
    /// read. It may be `default`.
    pub fn wants(&self) -> Option<(&str, VrfSource)> {
        let info = self
            .library
            .as_ref()
            .and_then(|library| library.info.as_ref());
        let environment = self
            .environment
            .as_deref()
            .map(|vrf| (vrf, VrfSource::Environment));
        match info {
            None => environment,
            Some(info) => match (info.state, &info.device) {
                (rules::info::STATE_DEVICE, Some(device)) => Some((device, VrfSource::Library)),
                (rules::info::STATE_DEFAULT, _) => Some((DEFAULT, VrfSource::Library)),
                // The library is inert: by this value, or by AT_SECURE.
                _ => environment,
            },
        }
    }

    /// Whether it has the library, or was started to have its sockets in a VRF.
    pub fn is_ours(&self) -> bool {
        self.library.is_some() || self.environment.is_some()
    }
}

/// The seal of a process with a filter and without a library that reports it: supervised, if the process that its
/// environment names is a supervisor. Otherwise, why the seal is not known.
fn supervisor(process: &Directory, environ: &[u8]) -> Result<SealState, String> {
    let Some(named) = variable(environ, supervisor::VARIABLE) else {
        return Err(
            "it has a seccomp filter; without the library in it, it is unknown whether that is the seal"
                .to_owned(),
        );
    };
    let shown = word(&named);
    let named = named.parse().ok();
    let its_namespace = pid_namespace(&process.path("ns/pid"));
    if its_namespace != pid_namespace(Path::new("/proc/self/ns/pid")) {
        let there = its_namespace.zip(named);
        let found = there.and_then(|(namespace, pid)| process_in(namespace, pid));
        // A program may also be in a namespace below that of its supervisor: who is not found may not have ended.
        return match found.map(supervisor::is_listening) {
            Some(Ok(true)) => Ok(SealState::Supervised),
            _ => Err(format!(
                "it is in another PID namespace; it is unknown whether process {shown} there is its supervisor"
            )),
        };
    }
    let listens = named
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        .and_then(supervisor::is_listening);
    match listens {
        Ok(true) => Ok(SealState::Supervised),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "it is unknown whether process {shown} is its supervisor: {error}"
        )),
        _ => Err(format!(
            "its supervisor, process {shown}, has ended: this program cannot create IPv4 and IPv6 sockets any more"
        )),
    }
}

fn pid_namespace(path: &Path) -> Option<u64> {
    fs::metadata(path).map(|file| file.ino()).ok()
}

/// The PID here of the process that has this PID in that namespace.
fn process_in(namespace: u64, pid: u32) -> Option<u32> {
    let is_it = |here: u32| {
        let process = Directory::open(here).ok()?;
        let status = Status::parse(&process.read("status").ok()?)?;
        let is_it = status.own_pid == Some(pid)
            && pid_namespace(&process.path("ns/pid")) == Some(namespace);
        is_it.then_some(here)
    };
    all().ok()?.into_iter().find_map(is_it)
}

/// Fails unless /proc has this process among others: otherwise it would seem to be empty, or have other processes.
pub fn need_proc() -> Result<(), Failure> {
    match fs::read_link("/proc/self") {
        Ok(ours) if ours.as_os_str() == &*std::process::id().to_string() => Ok(()),
        Ok(_) => Err(refuse(
            "cannot see other processes: /proc is of another PID namespace; run `mount -t proc proc /proc`",
        )),
        Err(error) => Err(refuse(format!(
            "cannot see other processes: /proc/self: {error}; run `mount -t proc proc /proc`"
        ))),
    }
}

/// All processes but this one.
pub fn all() -> io::Result<Vec<u32>> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

impl Library {
    fn read(process: &Directory, mapping: &Mapping, notes: &mut Vec<String>) -> Self {
        let mut library = Self {
            path: text(mapping.path.as_os_str().as_bytes()),
            version: None,
            info: None,
            rules: None,
        };
        let file = match mapping.file(process) {
            Ok(file) => file,
            Err(refusal) => {
                notes.push(format!(
                    "its library's file {}: the library's state is unknown",
                    match refusal {
                        Refusal::IsGone => "is gone or was replaced".to_owned(),
                        Refusal::IsLarge => "is larger than 1 MiB and is not read".to_owned(),
                        Refusal::Error(error) => format!("cannot be read ({error})"),
                    }
                ));
                return library;
            }
        };
        let info = library::info_of_any(&file).and_then(|(address, bytes)| {
            let initial: [u8; size_of::<Info>()] =
                bytes.get(..size_of::<Info>())?.try_into().ok()?;
            Some((address, initial))
        });
        let Some((address, initial)) = info else {
            notes.push(format!("{} has no vrfbind_info", word(&library.path)));
            return library;
        };
        library.version = Some(version(&initial));
        let mut bytes = [0; size_of::<Info>()];
        // The library is linked at 0, so the address of its first byte is its load offset.
        let read = File::open(process.path("mem")).and_then(|memory| {
            memory.read_exact_at(&mut bytes, mapping.start.wrapping_add(address))?;
            Ok(memory)
        });
        match read {
            Err(error) => notes.push(format!(
                "its memory cannot be read ({error}): the library's state is unknown"
            )),
            Ok(_) if !bytes.starts_with(&rules::info::INFO_MAGIC) => {
                notes.push("vrfbind_info was not found in its library's memory".to_owned());
            }
            Ok(memory) => {
                library.version = Some(version(&bytes));
                let info = LibraryInfo::decode(&bytes);
                library.rules = info.rules(&memory, notes);
                library.info = Some(info);
            }
        }
        library
    }
}

impl LibraryInfo {
    fn decode(bytes: &[u8; size_of::<Info>()]) -> Self {
        let word = |at: usize| {
            let bytes = bytes
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            u32::from_ne_bytes(bytes.unwrap_or_default())
        };
        let long = |at: usize| {
            let bytes = bytes
                .get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok());
            u64::from_ne_bytes(bytes.unwrap_or_default())
        };
        let device = bytes.get(offset_of!(Info, device)..).unwrap_or_default();
        let device = device.split(|byte| *byte == 0).next().unwrap_or_default();
        Self {
            socket: word(offset_of!(Info, socket)),
            execve: word(offset_of!(Info, execve)),
            seal: word(offset_of!(Info, seal)),
            state: word(offset_of!(Info, state)),
            device: (!device.is_empty()).then(|| text(device)),
            inherited: word(offset_of!(Info, inherited)),
            rules: (
                long(offset_of!(Info, rules)),
                word(offset_of!(Info, rules_length)),
            ),
        }
    }

    /// The text of its rules, in the memory of the process.
    fn rules(&self, memory: &File, notes: &mut Vec<String>) -> Option<Vec<u8>> {
        let (address, length) = self.rules;
        // A variable has 128 KiB at most (MAX_ARG_STRLEN, execve(2)).
        const LONGEST: u32 = 128 << 10;
        let mut text = vec![0; length.min(LONGEST) as usize];
        if length == 0 {
            return None;
        }
        if let Err(error) = memory.read_exact_at(&mut text, address) {
            notes.push(format!("the rules of its library cannot be read: {error}"));
            return None;
        }
        Some(text)
    }
}

fn version(info: &[u8]) -> String {
    match info.get(offset_of!(Info, version)..) {
        Some([major, minor, patch, ..]) => format!("{major}.{minor}.{patch}"),
        _ => String::new(),
    }
}

/// The value of a variable, if it is not empty.
fn variable(environ: &[u8], name: &str) -> Option<String> {
    let value = environ::value(environ, name)?;
    (!value.is_empty()).then(|| text(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_none() {
        let environ = b"A=1\0VRFBIND_VRF=blue\0VRFBIND_VRF=red\0";
        assert_eq!(variable(environ, "VRFBIND_VRF").as_deref(), Some("blue"));
        assert_eq!(variable(b"VRFBIND_VRF=\0", "VRFBIND_VRF"), None);
        assert_eq!(variable(b"XVRFBIND_VRF=blue\0", "VRFBIND_VRF"), None);
        assert_eq!(variable(b"A=1\0VRFBIND_VRF=bl", "VRFBIND_VRF"), None, "cut");
    }

    #[test]
    fn decodes_what_the_library_says() {
        let mut bytes = [0; size_of::<Info>()];
        bytes[offset_of!(Info, socket)] = rules::info::PATCHED as u8;
        bytes[offset_of!(Info, state)] = rules::info::STATE_DEVICE as u8;
        bytes[offset_of!(Info, device)..][..4].copy_from_slice(b"blue");
        bytes[offset_of!(Info, inherited)] = 3;
        bytes[offset_of!(Info, rules)..][..8].copy_from_slice(&0x7f00_0000_1000_u64.to_ne_bytes());
        bytes[offset_of!(Info, rules_length)..][..4].copy_from_slice(&11_u32.to_ne_bytes());
        let info = LibraryInfo::decode(&bytes);
        assert_eq!(
            (info.socket, info.state),
            (rules::info::PATCHED, rules::info::STATE_DEVICE)
        );
        assert_eq!(info.device.as_deref(), Some("blue"));
        assert_eq!(info.inherited, 3);
        assert_eq!(info.rules, (0x7f00_0000_1000, 11));
    }

    #[test]
    fn mutated_environments() {
        let valid = b"A=1\0VRFBIND_VRF=blue\0VRFBIND_SUPERVISOR=7\0";
        crate::fuzz::each_input(&[valid], |environ| drop(variable(environ, "VRFBIND_VRF")));
    }
}
