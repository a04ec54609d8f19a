//! Whether ld.so will preload the library into a program that is about to be started, as far as that
//! can be seen in the program's file. Where it will not, the program's sockets are not bound, or, under
//! a seal, not to be had; a line says so and why, because EPERM from socket() would be a riddle.
//!
//! Looked at only if somebody may hear of it: sealed, or with a log. Nothing is refused here, and
//! what cannot be opened or read is left for execve to complain about. Runs in vfork children, on a stack
//! that [`exec`](crate::exec) has for it (it needs 3 KiB): no memory, and the descriptor is closed again.

use crate::log::{self, Line};
use crate::{settings, sys};
use core::ffi::{CStr, c_char, c_int};
use rules::{NOTE, SEAL_VARIABLE};

/// A program, as execve and its like name it.
#[derive(Clone, Copy)]
pub enum Program {
    /// From this folder, or AT_FDCWD.
    Path(c_int, *const c_char),
    /// Open already.
    Open(c_int),
}

/// Whether somebody would hear of it.
pub fn is_noticed() -> bool {
    settings::is_sealed() || log::is_on()
}

/// Says, if it is so, that ld.so will not preload `library` into `program`, and why.
///
/// # Safety
/// The path of `program`, if it has one, is a string.
pub unsafe fn notice(program: Program, library: *const c_char) {
    let is_sealed = settings::is_sealed();
    let Some(reason) = obstacle(program, library) else {
        return;
    };
    // A supervisor binds what we do not; i386's socketcall() it cannot see.
    if is_sealed && reason != OTHER_MACHINE && sys::is_supervised() {
        return;
    }
    let mut line = Line::new();
    line.text(b"vrfbind: ");
    match program {
        // SAFETY: as callers promise.
        Program::Path(_, path) => line.foreign(unsafe { sys::string(path) }),
        Program::Open(fd) => {
            line.text(b"descriptor ");
            line.number(fd);
        }
    }
    line.text(b" is not preloaded: ");
    line.text(reason.as_bytes());
    if is_sealed {
        line.text(b". Its IPv4 and IPv6 sockets fail with EPERM (");
        line.text(SEAL_VARIABLE.as_bytes());
        line.text(b")");
        if reason != OTHER_MACHINE {
            line.text(b"; `vrfbind exec --supervise` serves it");
        }
        line.text(b"\n");
        line.write_to_stderr();
    } else {
        line.text(b". Its sockets are not bound\n");
    }
    if log::is_on() && !(is_sealed && log::is_stderr()) {
        line.write_to_log();
    }
}

/// How deep the kernel follows `#!` (exec_binprm, fs/exec.c).
const SCRIPTS: usize = 5;

fn obstacle(program: Program, library: *const c_char) -> Option<&'static str> {
    let mut line = [0; 256];
    let mut fd = match program {
        Program::Path(folder, path) => sys::open_to_read(folder, path).ok()?,
        Program::Open(fd) => fd,
    };
    let mut is_ours = matches!(program, Program::Path(..));
    let mut result = None;
    for _ in 0..SCRIPTS {
        let length = sys::read_at(fd, &mut line, 0).unwrap_or(0);
        let Some(interpreter) = line.get(..length).and_then(script_interpreter) else {
            result = of_elf(fd, &line, library);
            break;
        };
        let next = sys::open_to_read(libc::AT_FDCWD, interpreter.as_ptr());
        if is_ours {
            sys::close(fd);
        }
        fd = next.ok()?;
        is_ours = true;
        line = [0; 256];
    }
    if is_ours {
        sys::close(fd);
    }
    result
}

/// The interpreter in the first line of a script; `line` is what the kernel looks at (BINPRM_BUF_SIZE,
/// 256 bytes since Linux 5.1).
fn script_interpreter(line: &[u8]) -> Option<Interpreter> {
    let rest = line.strip_prefix(b"#!")?;
    let end = rest
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(rest.len());
    let words = rest.get(..end)?;
    let word = words
        .split(|&byte| byte == b' ' || byte == b'\t')
        .find(|word| !word.is_empty())?;
    let mut interpreter = Interpreter([0; 256]);
    // The last byte stays NUL: two have been taken by `#!`.
    for (to, from) in interpreter.0.iter_mut().zip(word) {
        *to = *from;
    }
    Some(interpreter)
}

struct Interpreter([u8; 256]);

impl Interpreter {
    fn as_ptr(&self) -> *const c_char {
        CStr::from_bytes_until_nul(&self.0)
            .unwrap_or_default()
            .as_ptr()
    }
}

/// Offsets in the header of a 64-bit ELF file (elf(5)).
const IDENT: &[u8] = b"\x7fELF\x02\x01";
const TYPE: usize = 16;
const MACHINE: usize = 18;
const PROGRAM_HEADERS: usize = 32;
const PROGRAM_HEADER_SIZE: usize = 54;
const PROGRAM_HEADER_COUNT: usize = 56;

const OUR_MACHINE: Option<u64> = if cfg!(unknown_machine) {
    None
} else if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else if cfg!(target_arch = "riscv64") {
    Some(243)
} else {
    None
};

const OTHER_MACHINE: &str =
    "it is for another machine, or of another ELF class, than libvrfbind.so";

fn of_elf(fd: c_int, header: &[u8], library: *const c_char) -> Option<&'static str> {
    if !header.starts_with(b"\x7fELF") {
        // Not for us to judge: binfmt_misc, or ENOEXEC.
        return None;
    }
    let our_machine = OUR_MACHINE?;
    if !header.starts_with(IDENT) || number(header, MACHINE, 2)? != our_machine {
        return Some(OTHER_MACHINE);
    }
    if !has_interpreter(fd, header)? {
        // ld.so itself is a shared object, and will preload into the program it is given.
        let lacks_us = is_program(fd, header)? && !needs_nothing(fd, header)?;
        return lacks_us.then_some("it is statically linked");
    }
    let file = sys::stat(fd).ok()?;
    let is_root = sys::getuid() == 0;
    let gains_user = file.mode & libc::S_ISUID != 0 && file.uid != sys::getuid();
    let gains_group = file.mode & libc::S_ISGID != 0 && file.gid != sys::getgid();
    // The kernel ignores both under no_new_privs, and ld.so then honours LD_PRELOAD.
    if (gains_user || gains_group) && !sys::has_no_new_privs() {
        return Some("it is set-user-ID or set-group-ID, where ld.so ignores LD_PRELOAD");
    }
    if !is_root && sys::has_file_capabilities(fd) {
        return Some("it has file capabilities, where ld.so ignores LD_PRELOAD");
    }
    if !sys::is_there(library) {
        return Some("libvrfbind.so is not to be found from here, by the path it was loaded from");
    }
    None
}

fn has_interpreter(fd: c_int, header: &[u8]) -> Option<bool> {
    Some(program_header(fd, header, libc::PT_INTERP)?.is_some())
}

/// Whether the file is a program, position-independent (DF_1_PIE, since binutils 2.26) or not, and no
/// shared object.
fn is_program(fd: c_int, header: &[u8]) -> Option<bool> {
    const ET_EXEC: u64 = 2;
    const DT_FLAGS_1: u64 = 0x6fff_fffb;
    const DF_1_PIE: u64 = 0x0800_0000;
    if number(header, TYPE, 2)? == ET_EXEC {
        return Some(true);
    }
    let Some(dynamic) = program_header(fd, header, libc::PT_DYNAMIC)? else {
        return Some(true);
    };
    let (start, size) = (number(&dynamic, 8, 8)?, number(&dynamic, 32, 8)?);
    let mut entry = [0; 16];
    for offset in (0..size).step_by(entry.len()) {
        sys::read_at(fd, &mut entry, start + offset).ok()?;
        match number(&entry, 0, 8)? {
            0 => break,
            DT_FLAGS_1 => return Some(number(&entry, 8, 8)? & DF_1_PIE != 0),
            _ => {}
        }
    }
    Some(false)
}

/// Whether a program says of itself that it makes no IP sockets ([`rules::NOTE`]).
fn needs_nothing(fd: c_int, header: &[u8]) -> Option<bool> {
    let found = find_program_header(fd, header, libc::PT_NOTE, |notes| {
        let mut bytes = [0; 256];
        let (Some(start), Some(size)) = (number(notes, 8, 8), number(notes, 32, 8)) else {
            return false;
        };
        let length = sys::read_at(fd, &mut bytes, start).unwrap_or(0);
        let notes = bytes.get(..length.min(size as usize)).unwrap_or_default();
        notes.windows(NOTE.len()).any(|note| note == NOTE)
    })?;
    Some(found.is_some())
}

/// The program header of this type, if there is one.
fn program_header(fd: c_int, header: &[u8], kind: u32) -> Option<Option<[u8; 56]>> {
    find_program_header(fd, header, kind, |_| true)
}

/// The first program header of this type that is accepted.
fn find_program_header(
    fd: c_int,
    header: &[u8],
    kind: u32,
    accept: impl Fn(&[u8; 56]) -> bool,
) -> Option<Option<[u8; 56]>> {
    let start = number(header, PROGRAM_HEADERS, 8)?;
    let size = number(header, PROGRAM_HEADER_SIZE, 2)?;
    let count = number(header, PROGRAM_HEADER_COUNT, 2)?;
    let mut found = [0; 56];
    for index in 0..count {
        sys::read_at(fd, &mut found, start + index * size).ok()?;
        if number(&found, 0, 4)? == u64::from(kind) && accept(&found) {
            return Some(Some(found));
        }
    }
    Some(None)
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(offset..)?.get(..size)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_line_of_a_script_as_the_kernel_does() {
        let interpreter = |line: &[u8]| {
            script_interpreter(line).map(|interpreter| {
                CStr::from_bytes_until_nul(&interpreter.0)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
        };
        assert_eq!(interpreter(b"#!/bin/sh\necho").as_deref(), Some("/bin/sh"));
        assert_eq!(interpreter(b"#! /bin/sh -e\n").as_deref(), Some("/bin/sh"));
        assert_eq!(
            interpreter(b"#!\t/usr/bin/env python3").as_deref(),
            Some("/usr/bin/env")
        );
        assert_eq!(interpreter(b"#!\n"), None);
        assert_eq!(interpreter(b"echo"), None);
        let long = [b"#!".as_slice(), &[b'x'; 254]].concat();
        assert_eq!(interpreter(&long).unwrap().len(), 254);
    }

    // i386's files are not looked into (OUR_MACHINE).
    #[cfg(not(target_arch = "x86"))]
    #[test]
    fn has_nothing_against_a_dynamic_program_and_its_loader() {
        let myself = c"/proc/self/exe";
        let program = Program::Path(libc::AT_FDCWD, myself.as_ptr());
        assert_eq!(obstacle(program, myself.as_ptr()), None);
        assert!(
            obstacle(program, c"/no/such/library".as_ptr())
                .unwrap()
                .contains("not to be found")
        );
        #[cfg(target_arch = "x86_64")]
        let ldso = c"/lib64/ld-linux-x86-64.so.2";
        #[cfg(target_arch = "aarch64")]
        let ldso = c"/lib/ld-linux-aarch64.so.1";
        #[cfg(target_arch = "riscv64")]
        let ldso = c"/lib/ld-linux-riscv64-lp64d.so.1";
        let ldso = Program::Path(libc::AT_FDCWD, ldso.as_ptr());
        assert_eq!(obstacle(ldso, myself.as_ptr()), None);
    }
}
