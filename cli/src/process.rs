//! A process, as far as it concerns us: whether it has the library, what the library says of itself there,
//! which VRF it wants, and what is around it.
//!
//! 1. /proc/PID/maps names the library and where it lies. That takes the right to read the process.
//! 2. The file's symbol table says where in it `vrfbind_info` is. The file is taken by the process's own
//!    root (/proc/PID/root), for it may be in a container, and only if its inode is the one that is mapped:
//!    a library that was replaced since has its symbols elsewhere.
//! 3. /proc/PID/mem gives `vrfbind_info` as it is in there. That takes the right to attach. Where it is
//!    refused, the version is the file's, and the rest is not known.
//! 4. /proc/PID/environ says what the process was started with: for programs without the library, or whose
//!    library cannot be asked.
//!
//! Nothing is guessed: what is not to be had is None, and [`Process::notes`] says why.

use crate::sys::Around;
use crate::{library, supervise};
use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader};
use rules::Info;
use std::fs::{self, File};
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The file's name, and with it the soname.
const LIBRARY: &str = "libvrfbind.so";

/// A process.
pub struct Process {
    pub pid: u32,
    /// What the kernel calls it, at most 15 bytes.
    pub name: String,
    /// The library in it.
    pub library: Option<Library>,
    /// `VRFBIND_VRF` in the environment that it was started with.
    pub environment: Option<String>,
    /// What is around it.
    pub seal: Option<Around>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// The library, as it is mapped into a process.
pub struct Library {
    pub path: PathBuf,
    pub version: Option<String>,
    pub says: Option<Says>,
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
}

impl Process {
    /// Looks at a process. An error: it is not there, or we may not even read it.
    pub fn read(pid: u32) -> io::Result<Self> {
        let at = Path::new("/proc").join(pid.to_string());
        // A path is any bytes; the library's own are looked for as text.
        let maps = fs::read(at.join("maps"))?;
        let maps = String::from_utf8_lossy(&maps);
        let environ = fs::read(at.join("environ"))?;
        let status = String::from_utf8_lossy(&fs::read(at.join("status"))?).into_owned();
        let mut notes = Vec::new();
        let library = mapping(&maps).map(|mapping| Library::read(&at, &mapping, &mut notes));
        let says = library.as_ref().and_then(|library| library.says.as_ref());
        let seal = match (says.map(|says| says.seal), field(&status, "Seccomp:")) {
            (Some(rules::info::SEAL_MADE | rules::info::SEAL_FOUND), _) => Some(Around::Seal),
            (Some(rules::info::SEAL_SUPERVISED), _) => Some(Around::Supervisor),
            // Without any filter there is no seal.
            (_, Some("0")) => Some(Around::Nothing),
            _ => match supervisor(&environ) {
                Ok(around) => Some(around),
                Err(note) => {
                    notes.push(note);
                    None
                }
            },
        };
        Ok(Self {
            pid,
            name: String::from_utf8_lossy(fs::read(at.join("comm"))?.trim_ascii_end()).into_owned(),
            library,
            environment: variable(&environ, rules::VRF_VARIABLE),
            seal,
            notes,
        })
    }

    /// The name of the VRF that its sockets shall be in: the library's, or the environment's where there is
    /// no library to ask. `default` is one too.
    pub fn wants(&self) -> Option<(&str, &'static str)> {
        let says = self
            .library
            .as_ref()
            .and_then(|library| library.says.as_ref());
        let environment = self.environment.as_deref().map(|vrf| (vrf, "environment"));
        match says {
            None => environment,
            Some(says) => match (says.state, &says.device) {
                (rules::info::STATE_DEVICE, Some(device)) => Some((device, "library")),
                (rules::info::STATE_DEFAULT, _) => Some((DEFAULT, "library")),
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
fn supervisor(environ: &[u8]) -> Result<Around, String> {
    let Some(named) = variable(environ, supervise::VARIABLE) else {
        return Err(
            "a seccomp filter is around it; whether it is the seal only the library could say"
                .to_owned(),
        );
    };
    let listens = named
        .parse()
        .map_err(|_| io::Error::from(io::ErrorKind::NotFound))
        .and_then(supervise::is_listening);
    match listens {
        Ok(true) => Ok(Around::Supervisor),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "whether its supervisor is process {named} cannot be seen: {error}"
        )),
        _ => Err(format!(
            "its supervisor, process {named}, is not there any more: new IP sockets fail"
        )),
    }
}

/// [`rules::DEFAULT`] as text.
pub const DEFAULT: &str = "default";

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
    fn read(process: &Path, mapping: &Mapping, notes: &mut Vec<String>) -> Self {
        let mut library = Self {
            path: mapping.path.clone(),
            version: None,
            says: None,
        };
        let Some(file) = mapping.file(process) else {
            notes.push(
                "its library's file is gone or was replaced: what the library says is out of reach"
                    .to_owned(),
            );
            return library;
        };
        let info = library::info(&file).and_then(|(address, bytes)| {
            let initial: [u8; size_of::<Info>()] =
                bytes.get(..size_of::<Info>())?.try_into().ok()?;
            Some((address, initial))
        });
        let Some((address, initial)) = info else {
            notes.push(format!("{} has no vrfbind_info", mapping.path.display()));
            return library;
        };
        library.version = Some(version(&initial));
        let mut bytes = [0; size_of::<Info>()];
        // The library is linked at 0, so the address of its first byte is what everything was moved by.
        let read = File::open(process.join("mem"))
            .and_then(|memory| memory.read_exact_at(&mut bytes, mapping.start + address));
        match read {
            Err(error) => notes.push(format!(
                "its memory cannot be read ({error}): what its library says is not known"
            )),
            Ok(()) if !bytes.starts_with(&rules::info::INFO_MAGIC) => {
                notes.push("there is no vrfbind_info where its library should have it".to_owned());
            }
            Ok(()) => {
                library.version = Some(version(&bytes));
                library.says = Some(Says::decode(&bytes));
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
        let device = bytes.get(offset_of!(Info, device)..).unwrap_or_default();
        let device = device.split(|byte| *byte == 0).next().unwrap_or_default();
        Self {
            socket: word(offset_of!(Info, socket)),
            execve: word(offset_of!(Info, execve)),
            seal: word(offset_of!(Info, seal)),
            state: word(offset_of!(Info, state)),
            device: (!device.is_empty()).then(|| String::from_utf8_lossy(device).into_owned()),
        }
    }
}

fn version(info: &[u8]) -> String {
    match info.get(offset_of!(Info, version)..) {
        Some([major, minor, patch, ..]) => format!("{major}.{minor}.{patch}"),
        _ => String::new(),
    }
}

/// The ld.so that a program names (PT_INTERP), and thereby its libc.
pub fn interpreter(program: &Path) -> Option<Vec<u8>> {
    let file = fs::read(program).ok()?;
    let elf = FileHeader64::<Endianness>::parse(&*file).ok()?;
    let endian = elf.endian().ok()?;
    let segments = elf.program_headers(endian, &*file).ok()?;
    let interpreter = segments
        .iter()
        .find_map(|segment| segment.interpreter(endian, &*file).ok()?)?;
    Some(interpreter.to_owned())
}

/// The library's first mapping in a process.
struct Mapping {
    start: u64,
    inode: u64,
    path: PathBuf,
}

impl Mapping {
    /// The file, if it is still the one that is mapped.
    fn file(&self, process: &Path) -> Option<Vec<u8>> {
        let path = process.join("root").join(self.path.strip_prefix("/").ok()?);
        (fs::metadata(&path).ok()?.ino() == self.inode).then(|| fs::read(path).ok())?
    }
}

/// A line of proc_pid_maps(5): `start-end permissions offset device inode path`.
fn mapping(maps: &str) -> Option<Mapping> {
    maps.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (start, _) = words.next()?.split_once('-')?;
        let (_, offset, _, inode) = (words.next()?, words.next()?, words.next()?, words.next()?);
        // A path may have blanks in it. The kernel escapes line feeds, which no library's path has.
        let path = line.get(line.find('/')?..)?;
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let is_start = u64::from_str_radix(offset, 16) == Ok(0);
        let name = Path::new(path).file_name()?.to_str()?;
        (is_start && name == LIBRARY).then_some(Mapping {
            start: u64::from_str_radix(start, 16).ok()?,
            inode: inode.parse().ok()?,
            path: PathBuf::from(path),
        })
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| Some(line.strip_prefix(name)?.trim()))
}

/// The value of the first variable of this name, if it is not empty.
fn variable(environ: &[u8], name: &str) -> Option<String> {
    let value = environ
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0000001000 r-xp 00000000 08:01 99 /usr/lib/libc.so.6
7f0000002000-7f0000003000 rw-p 00001000 08:01 7 /opt/a b/libvrfbind.so
7f0000001000-7f0000002000 r-xp 00000000 08:01 7 /opt/a b/libvrfbind.so (deleted)
";

    #[test]
    fn finds_the_first_page_of_the_library() {
        let mapping = mapping(MAPS).unwrap();
        assert_eq!((mapping.start, mapping.inode), (0x7f00_0000_1000, 7));
        assert_eq!(mapping.path, Path::new("/opt/a b/libvrfbind.so"));
        assert!(super::mapping("7f00-7f01 r-xp 00000000 08:01 9 /x/notlibvrfbind.so\n").is_none());
    }

    #[test]
    fn an_empty_variable_is_none() {
        let environ = b"A=1\0VRFBIND_VRF=blue\0VRFBIND_VRF=red\0";
        assert_eq!(variable(environ, "VRFBIND_VRF").as_deref(), Some("blue"));
        assert_eq!(variable(b"VRFBIND_VRF=\0", "VRFBIND_VRF"), None);
        assert_eq!(variable(b"XVRFBIND_VRF=blue\0", "VRFBIND_VRF"), None);
    }

    #[test]
    fn decodes_what_the_library_says() {
        let mut bytes = [0; size_of::<Info>()];
        bytes[offset_of!(Info, socket)] = rules::info::PATCHED as u8;
        bytes[offset_of!(Info, state)] = rules::info::STATE_DEVICE as u8;
        bytes[offset_of!(Info, device)..][..4].copy_from_slice(b"blue");
        let says = Says::decode(&bytes);
        assert_eq!(
            (says.socket, says.state),
            (rules::info::PATCHED, rules::info::STATE_DEVICE)
        );
        assert_eq!(says.device.as_deref(), Some("blue"));
    }
}
