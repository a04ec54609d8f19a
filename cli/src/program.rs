//! What a command is: which file the kernel will start, and whether ld.so will preload the library into it.
//!
//! The file is found as execvp(3) finds it, and followed through `#!` as the kernel follows it. What
//! runs in the end is looked at in its ELF header and in its inode. Nothing is executed.
//!
//! Who looks and who starts are two system calls: a file that is replaced in between is judged wrongly.
//! The seal does not depend on it; the sentence does.

use crate::failure::{Failure, NOT_EXECUTABLE, NOT_FOUND, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{AccessFlags, faccessat, getegid, geteuid};
use object::elf::{FileHeader64, PT_INTERP, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

#[cfg(target_arch = "x86_64")]
pub const OUR_MACHINE: object::elf::Machine = object::elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
pub const OUR_MACHINE: object::elf::Machine = object::elf::EM_AARCH64;

/// A file that can be started.
pub struct Program {
    /// Its path, with a `/` in it.
    pub path: PathBuf,
    /// What the kernel will run: this file, or the interpreter of the script that it is.
    pub runs: PathBuf,
    /// What that is.
    pub kind: Kind,
}

/// What becomes of the library in a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// ld.so preloads it.
    Preloadable,
    /// There is no ld.so: a static program, as Go makes them.
    Static,
    /// A static program that makes no IP sockets ([`rules::NOTE`]): this command.
    Launcher,
    /// ld.so sees AT_SECURE and drops it.
    FileCapabilities,
    /// The same, and the program lives by a privilege that no_new_privs takes.
    SetId,
    /// For a machine that the library was not built for.
    OtherMachine,
    /// It cannot be read or is no ELF file: the kernel knows what to do with it (binfmt_misc), or fails.
    Unknown,
}

impl Kind {
    /// What such a program is, to be put after "is"; of what can be preloaded there is nothing to say.
    pub fn description(self) -> &'static str {
        match self {
            Self::Preloadable => "dynamically linked",
            Self::Static => "statically linked",
            Self::Launcher => "vrfbind, which makes no IP sockets",
            Self::FileCapabilities => "a program with file capabilities",
            Self::SetId => "set-user-ID or set-group-ID",
            Self::OtherMachine => "for another machine or of another ELF class",
            Self::Unknown => "not to be read",
        }
    }
}

/// How deep the kernel follows `#!` (exec_binprm, fs/exec.c).
const SCRIPTS: usize = 5;

/// How much of a file it looks at (BINPRM_BUF_SIZE; 256 bytes since Linux 5.1).
const FIRST_BYTES: usize = 256;

impl Program {
    /// Finds the program and looks at it.
    pub fn find(command: &OsStr, search: Option<OsString>) -> Result<Self, Failure> {
        let path = find(command, search)?;
        let mut runs = path.clone();
        for _ in 0..=SCRIPTS {
            let Ok(file) = File::open(&runs) else {
                break;
            };
            let mut first = [0; FIRST_BYTES];
            let length = file.read_at(&mut first, 0).unwrap_or(0);
            let first = first.get(..length).unwrap_or_default();
            if let Some(interpreter) = interpreter(first) {
                runs = interpreter;
                continue;
            }
            let kind = if first.starts_with(b"\x7fELF") {
                of_elf(&file)
            } else {
                Kind::Unknown
            };
            return Ok(Self { path, runs, kind });
        }
        let kind = Kind::Unknown;
        Ok(Self { path, runs, kind })
    }
}

/// As execvp(3): a command with a `/` is a path, another is searched for.
fn find(command: &OsStr, search: Option<OsString>) -> Result<PathBuf, Failure> {
    if command.as_bytes().contains(&b'/') {
        return match is_executable(Path::new(command)) {
            Ok(()) => Ok(command.into()),
            Err(errno) => Err(cannot_start(command, errno)),
        };
    }
    if command.is_empty() {
        return Err(cannot_start(command, Errno::ENOENT));
    }
    // glibc's default, without the current folder (confstr(_CS_PATH)).
    let search = search.unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut result = Errno::ENOENT;
    for folder in search.as_bytes().split(|&byte| byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let path = Path::new(OsStr::from_bytes(folder)).join(command);
        match is_executable(&path) {
            Ok(()) => return Ok(path),
            Err(Errno::EACCES) => result = Errno::EACCES,
            _ => {}
        }
    }
    Err(cannot_start(command, result))
}

fn is_executable(path: &Path) -> Result<(), Errno> {
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)?;
    match path.metadata() {
        Ok(file) if file.is_file() => Ok(()),
        _ => Err(Errno::EACCES),
    }
}

/// With the status that shells have for it.
pub fn cannot_start(command: &OsStr, errno: Errno) -> Failure {
    let is_missing = matches!(errno, Errno::ENOENT | Errno::ENOTDIR);
    Failure {
        status: if is_missing {
            NOT_FOUND
        } else {
            NOT_EXECUTABLE
        },
        sentence: format!("cannot execute {}: {}", command.display(), errno.desc()),
    }
}

/// The first word of a script's first line.
fn interpreter(first: &[u8]) -> Option<PathBuf> {
    let line = first
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let word = line
        .split(|byte| matches!(byte, b' ' | b'\t' | 0))
        .find(|word| !word.is_empty())?;
    Some(OsStr::from_bytes(word).into())
}

fn of_elf(file: &File) -> Kind {
    match linkage(file) {
        None => return Kind::OtherMachine,
        Some(_) if is_set_id(file) => return Kind::SetId,
        Some(Kind::Preloadable) => {}
        Some(kind) => return kind,
    }
    // What root executes gains nothing by them (capabilities(7)).
    if !geteuid().is_root() && sys::has_file_capabilities(file) {
        return Kind::FileCapabilities;
    }
    Kind::Preloadable
}

/// What an ELF file says of itself: it names an ld.so or not; nothing of a file that the library was not built for.
fn linkage(file: &File) -> Option<Kind> {
    let data = ReadCache::new(file);
    let data = &data;
    let elf = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = elf.endian().ok()?;
    if elf.e_machine(endian) != OUR_MACHINE {
        return None;
    }
    let segments = elf.program_headers(endian, data).ok()?;
    let has = |kind| {
        segments
            .iter()
            .filter(move |segment| segment.p_type(endian) == kind)
    };
    if has(PT_INTERP).next().is_some() {
        return Some(Kind::Preloadable);
    }
    let is_launcher = has(PT_NOTE).any(|segment| {
        let notes = segment.data(endian, data).unwrap_or_default();
        notes
            .windows(rules::NOTE.len())
            .any(|note| note == rules::NOTE)
    });
    Some(if is_launcher {
        Kind::Launcher
    } else {
        Kind::Static
    })
}

/// Whether the file gives somebody else's identity (bprm_fill_uid, fs/exec.c).
fn is_set_id(file: &File) -> bool {
    let Ok(inode) = file.metadata() else {
        return false;
    };
    let is_ignored = fstatvfs(file).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOSUID));
    let bits = inode.mode();
    let gives_user = bits & libc::S_ISUID != 0 && inode.uid() != geteuid().as_raw();
    let set_group = libc::S_ISGID | libc::S_IXGRP;
    let gives_group = bits & set_group == set_group && inode.gid() != getegid().as_raw();
    !is_ignored && (gives_user || gives_group)
}

/// Refuses what neither the library nor a supervisor can serve.
pub fn refuse_hopeless(program: &Program) -> Result<(), Failure> {
    let runs = program.runs.display();
    let what = program.kind.description();
    match program.kind {
        Kind::SetId => Err(refuse(format!(
            "{runs} is {what}: ld.so ignores LD_PRELOAD in it, and under no_new_privs, which the seal takes from \
             everybody but root, it would lose its privilege; run vrfbind as the user that it becomes"
        ))),
        Kind::OtherMachine => Err(refuse(format!(
            "{runs} is {what}: libvrfbind.so, which is for 64-bit {}, cannot be loaded into it",
            std::env::consts::ARCH
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_line_of_a_script_as_the_kernel_does() {
        let interpreter = |first: &[u8]| interpreter(first).map(|path| path.display().to_string());
        assert_eq!(interpreter(b"#!/bin/sh\necho").as_deref(), Some("/bin/sh"));
        assert_eq!(interpreter(b"#! /bin/sh -e\n").as_deref(), Some("/bin/sh"));
        assert_eq!(
            interpreter(b"#!\t/usr/bin/env python3").as_deref(),
            Some("/usr/bin/env")
        );
        assert_eq!(interpreter(b"#!\n/bin/sh"), None);
        assert_eq!(interpreter(b"echo"), None);
    }

    #[test]
    fn finds_commands_as_execvp_does() {
        let status = |command: &str, search: &str| match Program::find(
            command.as_ref(),
            Some(search.into()),
        ) {
            Ok(program) => Err(program.path),
            Err(failure) => Ok(failure.status),
        };
        assert_eq!(status("sh", "/nowhere:/bin"), Err("/bin/sh".into()));
        assert_eq!(status("/bin/sh", ""), Err("/bin/sh".into()));
        assert_eq!(status("no-such-command", "/bin"), Ok(NOT_FOUND));
        assert_eq!(status("/etc/passwd/sh", "/bin"), Ok(NOT_FOUND));
        assert_eq!(status("", "/bin"), Ok(NOT_FOUND));
        assert_eq!(status("passwd", "/etc"), Ok(NOT_EXECUTABLE));
        assert_eq!(status("/etc", "/bin"), Ok(NOT_EXECUTABLE));
    }

    #[test]
    fn tells_what_a_program_is() {
        let kind = |path: &Path| Program::find(path.as_os_str(), None).unwrap().kind;
        assert_eq!(kind(&std::env::current_exe().unwrap()), Kind::Preloadable);
        #[cfg(target_arch = "x86_64")]
        let ldso = "/lib64/ld-linux-x86-64.so.2";
        #[cfg(target_arch = "aarch64")]
        let ldso = "/lib/ld-linux-aarch64.so.1";
        assert_eq!(kind(Path::new(ldso)), Kind::Static);
    }
}
