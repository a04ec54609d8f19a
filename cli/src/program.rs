//! The program of a command: the file that the kernel will start, and whether the library will work in it.
//!
//! The file is found as execvp(3) finds it. [`rules::executable`] decides the rest; the facts are gathered here. Nothing
//! is executed, and only regular files are opened.
//!
//! The check and the start are two system calls: if the file is replaced in between, the verdict is wrong. The seal does
//! not depend on it; only the message does.

use crate::failure::{Failure, NOT_EXECUTABLE, NOT_FOUND, refuse};
use crate::output::text;
use crate::sys::{self, SealState};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::prctl::get_no_new_privs;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, faccessat, getegid, geteuid, getgid, getuid};
use rules::executable::{self, Inode, Process, Server, Verdict};
use std::ffi::{CStr, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file that can be started.
pub struct Program {
    /// Its path, with a `/` in it.
    pub path: PathBuf,
    /// The file that the kernel will run: this file, or the interpreter of the script that it is.
    pub runs: PathBuf,
    /// The verdict on the library in this file.
    pub verdict: Verdict,
}

impl Program {
    /// Finds the program and looks at it.
    pub fn find(command: &OsStr, search: Option<OsString>) -> Result<Self, Failure> {
        let path = find(command, search)?;
        let process = Process {
            uid: getuid().as_raw(),
            euid: geteuid().as_raw(),
            gid: getgid().as_raw(),
            egid: getegid().as_raw(),
            no_new_privs: get_no_new_privs().unwrap_or(false),
        };
        let (verdict, file) = Candidate::open(path.clone())
            .and_then(|file| executable::judge(file, &process))
            .map_err(|missing| missing.failure(command, &path, "interpreter"))?;
        if !matches!(verdict, Verdict::OtherArchitecture | Verdict::Other)
            && let Some(loader) = loader_of(&file)
        {
            is_executable(&loader)
                .map_err(|errno| Missing(loader, errno).failure(command, &path, "loader"))?;
        }
        Ok(Self {
            path,
            runs: file.path,
            verdict,
        })
    }
}

/// The ld.so that a program names (PT_INTERP), which tells its libc; None also if it cannot be read.
pub fn loader(program: &Path) -> Option<PathBuf> {
    loader_of(&Candidate::open(program.to_owned()).ok()?)
}

fn loader_of(file: &Candidate) -> Option<PathBuf> {
    let path = executable::loader(file)?;
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    Some(OsStr::from_bytes(path.to_bytes()).into())
}

/// A file that execve(2) needs and cannot start.
struct Missing(PathBuf, Errno);

impl Missing {
    /// `path` is the command's; any other file is named.
    fn failure(self, command: &OsStr, path: &Path, what: &str) -> Failure {
        let Self(missing, errno) = self;
        let mut failure = cannot_start(command, errno);
        if missing != path {
            let (missing, command) = (text(missing.as_os_str().as_bytes()), command.display());
            let errno = errno.desc();
            failure.sentence = format!("cannot execute {command}: its {what} {missing}: {errno}");
        }
        failure
    }
}

/// A file that may be executed.
struct Candidate {
    path: PathBuf,
    /// The open file, if it may be read too.
    file: Option<File>,
}

impl Candidate {
    /// Opens it as execve(2) does, or fails with its error.
    fn open(path: PathBuf) -> Result<Self, Missing> {
        if let Err(errno) = is_executable(&path) {
            return Err(Missing(path, errno));
        }
        let mut options = OpenOptions::new();
        // If it is a FIFO by now, the open does not wait.
        options
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = match options.open(&path) {
            Ok(file) => Some(file),
            // It may be executed but not read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            Err(error) => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
                return Err(Missing(path, errno));
            }
        };
        Ok(Self { path, file })
    }
}

impl executable::File for Candidate {
    type Error = Missing;

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        self.file.as_ref()?.read_at(buffer, offset).ok()
    }

    fn inode(&self) -> Inode {
        let Ok(file) = self.path.metadata() else {
            return Inode::default();
        };
        let mount = statvfs(&self.path);
        Inode {
            mode: file.mode(),
            uid: file.uid(),
            gid: file.gid(),
            is_nosuid: mount.is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOSUID)),
            capabilities: sys::file_capabilities(&self.path),
        }
    }

    fn interpreter(self, path: &CStr) -> Result<Self, Missing> {
        Self::open(Path::new(OsStr::from_bytes(path.to_bytes())).to_owned())
    }
}

/// As execvp(3): a command with a `/` is a path; any other is searched for.
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
    // glibc's default, without the current directory (confstr(_CS_PATH)).
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

/// A failure with the status of shells.
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

/// Whether the library does not bind its sockets, or may not, and a supervisor can create them.
pub fn needs_supervisor(program: &Program) -> bool {
    program.verdict.server() == Server::Supervisor
}

/// Rejects a program that neither the library nor a supervisor can serve. A set-user-ID program can be served if it keeps
/// its privileges: if no_new_privs need not be set, which a seal requires without CAP_SYS_ADMIN.
pub fn reject_unsupported(program: &Program, seal: SealState) -> Result<(), Failure> {
    const CAP_SYS_ADMIN: u32 = 21;
    let runs = program.runs.display();
    let sentence = program.verdict.sentence();
    let may_gain_privileges = || {
        get_no_new_privs() == Ok(false)
            && (seal != SealState::None || sys::has_capability(CAP_SYS_ADMIN))
    };
    match program.verdict {
        Verdict::SetId if may_gain_privileges() => Ok(()),
        Verdict::SetId => Err(refuse(format!(
            "{runs} is {sentence}. It would lose its privilege, because the seal requires no_new_privs of everybody but \
             root; run vrfbind as the user that it changes to"
        ))),
        Verdict::OtherArchitecture => Err(refuse(format!(
            "{runs} is {sentence}; the library is for 64-bit {}",
            std::env::consts::ARCH
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let verdict = |path: &Path| Program::find(path.as_os_str(), None).unwrap().verdict;
        let myself = std::env::current_exe().unwrap();
        assert_eq!(verdict(&myself), Verdict::Preloaded);
        #[cfg(target_arch = "x86_64")]
        let ldso = "/lib64/ld-linux-x86-64.so.2";
        #[cfg(target_arch = "aarch64")]
        let ldso = "/lib/ld-linux-aarch64.so.1";
        assert_eq!(verdict(Path::new(ldso)), Verdict::Preloaded);
    }
}
