//! Warns if the library will not serve a program that is about to be started: if ld.so will not preload it, or if it does
//! but the program's sockets bypass it, as Go's do. Such sockets are not bound, or fail under a seal; without a warning
//! nobody would understand the EPERM of socket().
//!
//! [`rules::executable`] decides; the facts are gathered here, and only if the warning would go somewhere: under a seal or
//! with a log. Nothing is refused here: execve itself fails if a file cannot be opened or read.
//! This runs in vfork children, on a stack from [`exec`](crate::exec) (3 KiB are needed): it allocates no memory, and
//! closes its descriptors.

use crate::log::{self, Line};
use crate::{settings, sys};
use core::ffi::{CStr, c_char, c_int};
use rules::executable::{self, Inode, Server, Verdict};

/// A program, as execve and its like name it.
#[derive(Clone, Copy)]
pub enum Program {
    /// A path relative to this directory, or AT_FDCWD.
    At(c_int, *const c_char),
    /// An open file.
    Fd(c_int),
}

/// Whether a warning would go somewhere.
pub fn should_warn() -> bool {
    settings::is_sealed() || log::is_on()
}

/// Warns if `library` will not serve `program`.
///
/// # Safety
/// The path of `program`, if it has one, is a string.
pub unsafe fn warn_if_not_served(program: Program, library: *const c_char) {
    let is_sealed = settings::is_sealed();
    let Some(obstacle) = Obstacle::of(program, library) else {
        return;
    };
    let is_served = obstacle.is_supervisable
        && if settings::rules().is_some() {
            sys::is_supervised_with_rules()
        } else {
            sys::is_supervised()
        };
    if is_sealed && is_served {
        return;
    }
    let mut line = Line::new(b"");
    match program {
        // SAFETY: as callers promise.
        Program::At(_, path) => line.untrusted(unsafe { sys::string(path) }),
        Program::Fd(fd) => {
            line.numbered(b"descriptor ", fd);
        }
    }
    line.text(b" is ");
    line.text(obstacle.sentence.as_bytes());
    if is_sealed {
        line.text(b". Its IPv4 and IPv6 sockets fail with EPERM (VRFBIND_SEAL)");
        if obstacle.is_supervisable && sys::is_supervised() {
            line.text(b"; the supervisor of its tree was started without rules (VRFBIND_RULES)");
        } else if obstacle.is_supervisable {
            line.text(b"; a supervisor would serve it, see vrfbind(1)");
        }
        line.text(b"\n");
    } else {
        line.text(b". Its sockets are not bound\n");
    }
    line.write(is_sealed);
}

/// Why the library does not serve a program.
struct Obstacle {
    /// To be put after "PROGRAM is".
    sentence: &'static str,
    /// Whether a supervisor can bind its sockets; it cannot see i386's socketcall().
    is_supervisable: bool,
}

impl Obstacle {
    fn of(program: Program, library: *const c_char) -> Option<Self> {
        let file = File::open(program)?;
        let (verdict, _) = executable::judge(file, &sys::process()).ok()?;
        let sentence = match verdict {
            Verdict::Preloaded if !sys::is_there(library) => {
                "not preloaded: libvrfbind.so is not to be found from here, by the path it was loaded from"
            }
            Verdict::Preloaded | Verdict::Exempt | Verdict::Unreadable | Verdict::Other => {
                return None;
            }
            verdict => verdict.sentence(),
        };
        Some(Self {
            sentence,
            is_supervisable: verdict.server() != Server::Nobody,
        })
    }
}

/// A file that is open, by us or by the program.
struct File {
    fd: c_int,
    is_ours: bool,
}

impl File {
    fn open(program: Program) -> Option<Self> {
        match program {
            Program::At(directory, path) => Self::open_at(directory, path),
            Program::Fd(fd) => Some(Self { fd, is_ours: false }),
        }
    }

    /// Only a regular file: opening any other may block, or have an effect (a watchdog, a tape).
    fn open_at(directory: c_int, path: *const c_char) -> Option<Self> {
        if !sys::is_regular(directory, path) {
            return None;
        }
        let fd = sys::open_to_read(directory, path).ok()?;
        Some(Self { fd, is_ours: true })
    }
}

impl executable::File for File {
    type Error = ();

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        sys::read_at(self.fd, buffer, offset).ok()
    }

    fn inode(&self) -> Inode {
        let Ok(file) = sys::stat(self.fd) else {
            return Inode::default();
        };
        Inode {
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
            is_nosuid: sys::is_nosuid(self.fd),
            capabilities: sys::file_capabilities(self.fd),
        }
    }

    fn interpreter(self, path: &CStr) -> Result<Self, ()> {
        Self::open_at(libc::AT_FDCWD, path.as_ptr()).ok_or(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.is_ours {
            sys::close(self.fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // i386's files are not looked into (executable::MACHINE).
    #[cfg(not(target_arch = "x86"))]
    #[test]
    fn has_nothing_against_a_dynamic_program_and_its_loader() {
        let myself = c"/proc/self/exe";
        let program = Program::At(libc::AT_FDCWD, myself.as_ptr());
        assert!(Obstacle::of(program, myself.as_ptr()).is_none());
        let obstacle = Obstacle::of(program, c"/no/such/library".as_ptr()).unwrap();
        assert!(obstacle.sentence.contains("not to be found"));
        #[cfg(target_arch = "x86_64")]
        let ldso = c"/lib64/ld-linux-x86-64.so.2";
        #[cfg(target_arch = "aarch64")]
        let ldso = c"/lib/ld-linux-aarch64.so.1";
        #[cfg(target_arch = "riscv64")]
        let ldso = c"/lib/ld-linux-riscv64-lp64d.so.1";
        let ldso = Program::At(libc::AT_FDCWD, ldso.as_ptr());
        assert!(Obstacle::of(ldso, myself.as_ptr()).is_none());
    }
}
