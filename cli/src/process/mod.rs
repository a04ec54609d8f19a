//! A process, as far as it concerns us: whether it has the library, what the library says of itself there,
//! which VRF it wants, and what is around it.
//!
//! 1. /proc/PID/maps names the library and where it lies. That takes the right to read the process.
//! 2. The file's symbol table says where in it `vrfbind_info` is. It is read only if it is the file that is
//!    mapped ([`Mapping::file`]): a library that was replaced since has its symbols elsewhere.
//! 3. /proc/PID/mem gives `vrfbind_info` as it is in there. That takes the right to attach. Where it is
//!    refused, the version is the file's, and the rest is not known.
//! 4. It also says where the library keeps the rules that it has read ([`rule_list`]).
//! 5. /proc/PID/environ says what the process was started with: for programs without the library, or whose
//!    library cannot be asked.
//!
//! Nothing is guessed: what is not to be had is None, and [`Process::notes`] says why.
//!
//! The process is untrusted. All that is read of it is read through one [`Directory`], by a reader that may
//! wait for ever ([`crate::process::apart`]), and [`MOST`] bytes of it at the most; text of it leaves by
//! [`crate::output`].

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
use crate::sys::Around;
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
    /// What the kernel calls it, at most 15 bytes.
    pub name: String,
    /// The library in it.
    pub library: Option<Library>,
    /// `VRFBIND_VRF` in the environment that it was started with.
    pub environment: Option<String>,
    /// What its sockets come under, besides the VRF.
    pub rules: Option<Rules>,
    /// What is around it.
    pub seal: Option<Around>,
    /// The container that it is in: a part of its cgroup's path.
    pub container: Option<String>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// The library, as it is mapped into a process.
pub struct Library {
    pub path: String,
    pub version: Option<String>,
    pub says: Option<Says>,
    /// The text of its rules.
    rules: Option<Vec<u8>>,
}

/// What the library says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// What became of libc's functions, as [`rules::info`] has it.
    pub socket: u32,
    pub execve: u32,
    /// One of the `SEAL_` values.
    pub seal: u32,
    /// One of the `STATE_` values.
    pub state: u32,
    /// The name of its device, if it has one.
    pub device: Option<String>,
    /// How many sockets without a device it found in the process that were not meant for it.
    pub inherited: u32,
    /// Where the text of its rules is, and how many bytes it has.
    rules: (u64, u32),
}

impl Process {
    /// Looks at a process. An error: it is not there, or we may not even read it.
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
                "its environment has more than 1 MiB; {} is not in the first one",
                rules::VRF_VARIABLE
            ));
        }
        if library.is_none() && auxv::is_of_32_bits(&directory.read("auxv")?) {
            notes.push("it is a 32-bit program, which only a 32-bit library can be in".to_owned());
        }
        let says = library.as_ref().and_then(|library| library.says.as_ref());
        let seal = match (says.map(|says| says.seal), has_filter) {
            (Some(rules::info::SEAL_MADE | rules::info::SEAL_FOUND), _) => Some(Around::Seal),
            (Some(rules::info::SEAL_SUPERVISED), _) => Some(Around::Supervisor),
            // Without any filter there is no seal.
            (_, Some(false)) => Some(Around::Nothing),
            _ => match supervisor(&directory, &environ) {
                Ok(around) => Some(around),
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

    /// The name of the VRF that its sockets shall be in: the library's, or the environment's where there is
    /// no library to ask. `default` is one too.
    pub fn wants(&self) -> Option<(&str, VrfSource)> {
        let says = self
            .library
            .as_ref()
            .and_then(|library| library.says.as_ref());
        let environment = self
            .environment
            .as_deref()
            .map(|vrf| (vrf, VrfSource::Environment));
        match says {
            None => environment,
            Some(says) => match (says.state, &says.device) {
                (rules::info::STATE_DEVICE, Some(device)) => Some((device, VrfSource::Library)),
                (rules::info::STATE_DEFAULT, _) => Some((DEFAULT, VrfSource::Library)),
                // It does nothing: for this value, or because it may not (AT_SECURE).
                _ => environment,
            },
        }
    }

    /// Whether the library is in it, or it was started to have its sockets in a VRF.
    pub fn is_ours(&self) -> bool {
        self.library.is_some() || self.environment.is_some()
    }
}

/// What is around a process with a filter and without a library that could say: a supervisor, if the one that its
/// environment names is one. Otherwise, why that is not known.
fn supervisor(process: &Directory, environ: &[u8]) -> Result<Around, String> {
    let Some(named) = variable(environ, supervisor::VARIABLE) else {
        return Err(
            "a seccomp filter is around it; whether it is the seal only the library could say"
                .to_owned(),
        );
    };
    let shown = word(&named);
    let namespace = |path: &Path| fs::metadata(path).map(|file| file.ino()).ok();
    if namespace(&process.path("ns/pid")) != namespace(Path::new("/proc/self/ns/pid")) {
        return Err(format!(
            "it is in another PID namespace, and whether process {shown} there is its supervisor cannot be seen"
        ));
    }
    let listens = named
        .parse()
        .map_err(|_| io::Error::from(io::ErrorKind::NotFound))
        .and_then(supervisor::is_listening);
    match listens {
        Ok(true) => Ok(Around::Supervisor),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "whether its supervisor is process {shown} cannot be seen: {error}"
        )),
        _ => Err(format!(
            "its supervisor, process {shown}, is not there any more: new IP sockets fail"
        )),
    }
}

/// Fails unless /proc shows the processes that we are one of: without it there would seem to be none, or others.
pub fn need_proc() -> Result<(), Failure> {
    match fs::read_link("/proc/self") {
        Ok(ours) if ours.as_os_str() == &*std::process::id().to_string() => Ok(()),
        Ok(_) => Err(refuse(
            "other processes cannot be seen: /proc is of another PID namespace; mount -t proc proc /proc",
        )),
        Err(error) => Err(refuse(format!(
            "other processes cannot be seen: /proc/self: {error}; mount -t proc proc /proc"
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
            says: None,
            rules: None,
        };
        let file = match mapping.file(process) {
            Ok(file) => file,
            Err(refusal) => {
                notes.push(format!(
                    "its library's file {}: what the library says is out of reach",
                    match refusal {
                        Refusal::IsGone => "is gone or was replaced".to_owned(),
                        Refusal::IsLarge => "has more than 1 MiB and is not read".to_owned(),
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
        // The library is linked at 0, so the address of its first byte is what everything was moved by.
        let read = File::open(process.path("mem")).and_then(|memory| {
            memory.read_exact_at(&mut bytes, mapping.start.wrapping_add(address))?;
            Ok(memory)
        });
        match read {
            Err(error) => notes.push(format!(
                "its memory cannot be read ({error}): what its library says is not known"
            )),
            Ok(_) if !bytes.starts_with(&rules::info::INFO_MAGIC) => {
                notes.push("there is no vrfbind_info where its library should have it".to_owned());
            }
            Ok(memory) => {
                library.version = Some(version(&bytes));
                let says = Says::decode(&bytes);
                library.rules = says.rules(&memory, notes);
                library.says = Some(says);
            }
        }
        library
    }
}

impl Says {
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
        // A variable has 128 KiB at the most (MAX_ARG_STRLEN, execve(2)).
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
        let says = Says::decode(&bytes);
        assert_eq!(
            (says.socket, says.state),
            (rules::info::PATCHED, rules::info::STATE_DEVICE)
        );
        assert_eq!(says.device.as_deref(), Some("blue"));
        assert_eq!(says.inherited, 3);
        assert_eq!(says.rules, (0x7f00_0000_1000, 11));
    }

    #[test]
    fn mutated_environments() {
        let valid = b"A=1\0VRFBIND_VRF=blue\0VRFBIND_SUPERVISOR=7\0";
        crate::fuzz::each_input(&[valid], |environ| drop(variable(environ, "VRFBIND_VRF")));
    }
}
