//! Whether ld.so preloads the library into a program, and whether the library then sees the program's sockets.
//!
//! [`judge`] looks at a file as execve(2) will. In order: it follows `#!` to the interpreter; reads the ELF header, the
//! program headers and the notes; and works out from the IDs of the process and the file whether the kernel will set
//! AT_SECURE, on which ld.so ignores LD_PRELOAD. The caller gathers the facts: a [`File`] and the [`Process`] that is
//! about to execute it.
//!
//! The file is untrusted. However long it claims its tables to be, a fixed number of entries is read, and none past
//! its end; a broken file gets an answer like any other. The library asks in vfork children: less than 2 KiB of stack
//! is used.
//!
//! Not seen from here: AT_SECURE set by a security module (AppArmor, SELinux); that the owner of a set-user-ID file has
//! no ID in our user namespace, where the kernel ignores the bit; a library in Go that a program in C loads; and whether
//! ld.so finds the library.

use core::ffi::CStr;

/// The ELF note (elf(5), PT_NOTE) of a static program that creates no IP sockets of its own, and so does not need the
/// library. The command `vrfbind` has it. Owner "vrfbind", type 1, empty.
pub const EXEMPT_NOTE: [u8; 20] = *b"\x08\0\0\0\0\0\0\0\x01\0\0\0vrfbind\0";

/// What the library can do in a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// ld.so preloads it. Also for ld.so itself, which preloads into the program that it is given.
    Preloaded,
    /// ld.so preloads it, but the program's sockets bypass it: Go's runtime makes system calls itself.
    Go,
    /// There is no ld.so.
    Static,
    /// There is no ld.so, and the program creates no IP sockets of its own ([`EXEMPT_NOTE`]).
    Exempt,
    /// The kernel sets AT_SECURE, because the file gives the process another user or group.
    SetId,
    /// The kernel sets AT_SECURE, because the file gives the process capabilities.
    FileCapabilities,
    /// The kernel sets AT_SECURE, because the process has real and effective IDs that differ.
    OtherIds,
    /// It is for another architecture than the library.
    OtherArchitecture,
    /// It may be executed but not read.
    Unreadable,
    /// The kernel or a shell knows what to do with it (binfmt_misc, a script without `#!`), or it cannot be executed.
    Other,
}

impl Verdict {
    /// Why the library does not serve such a program, to be put after "PROGRAM is".
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Preloaded => "dynamically linked",
            Self::Go => {
                "a Go program: it makes its sockets by the system call instruction, which libvrfbind.so does not see"
            }
            Self::Static => "statically linked: libvrfbind.so cannot be preloaded into it",
            Self::Exempt => "vrfbind, which makes no IP sockets of its own",
            Self::SetId => "set-user-ID or set-group-ID: ld.so ignores LD_PRELOAD in it",
            Self::FileCapabilities => {
                "a program with file capabilities: ld.so ignores LD_PRELOAD in it"
            }
            Self::OtherIds => {
                "started with real and effective IDs that differ: ld.so ignores LD_PRELOAD then"
            }
            Self::OtherArchitecture => {
                "for another architecture or of another ELF class: libvrfbind.so cannot be loaded into it"
            }
            Self::Unreadable => {
                "not readable: whether libvrfbind.so can be preloaded into it is not known"
            }
            Self::Other => {
                "no ELF program: what runs it decides whether libvrfbind.so is preloaded"
            }
        }
    }

    /// Who binds the sockets of such a program.
    pub const fn server(self) -> Server {
        match self {
            Self::Preloaded | Self::Exempt | Self::Other => Server::Library,
            Self::Go
            | Self::Static
            | Self::SetId
            | Self::FileCapabilities
            | Self::OtherIds
            | Self::Unreadable => Server::Supervisor,
            Self::OtherArchitecture => Server::Nobody,
        }
    }
}

/// Who puts a program's sockets into the VRF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    /// The library does, or nobody has to.
    Library,
    /// A supervisor can.
    Supervisor,
    /// Nobody can: a supervisor does not see the calls of another architecture.
    Nobody,
}

/// A file that is about to be executed.
pub trait File: Sized {
    /// Why a file cannot be executed.
    type Error;

    /// pread(2): how many bytes there were from `offset` on, 0 at the end. None: the file cannot be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize>;

    /// What the kernel compares with the process.
    fn inode(&self) -> Inode;

    /// The file at `path`, which runs this script. Only a regular file may be opened: opening any other can block, or have
    /// an effect.
    fn interpreter(self, path: &CStr) -> Result<Self, Self::Error>;
}

/// What the kernel looks at besides the file's bytes. The default gives nobody anything.
#[derive(Clone, Copy, Default)]
pub struct Inode {
    /// st_mode.
    pub mode: u32,
    /// st_uid.
    pub uid: u32,
    /// st_gid.
    pub gid: u32,
    /// Whether it lies on a mount with the option nosuid.
    pub is_nosuid: bool,
    /// The value of its extended attribute `security.capability`, padded; zeros: it has none.
    pub capabilities: [u8; CAPABILITIES_SIZE],
}

/// The size of the longest value of `security.capability`, struct vfs_ns_cap_data in linux/capability.h.
pub const CAPABILITIES_SIZE: usize = 24;

/// The process that is about to execute a file.
#[derive(Clone, Copy, Default)]
pub struct Process {
    /// The real user.
    pub uid: u32,
    /// The effective user.
    pub euid: u32,
    /// The real group.
    pub gid: u32,
    /// The effective group.
    pub egid: u32,
    /// PR_GET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
}

/// The verdict if `process` executes `file`, and the file that runs in the end: `file` itself, or the interpreter of
/// the script.
pub fn judge<F: File>(mut file: F, process: &Process) -> Result<(Verdict, F), F::Error> {
    for _ in 0..=SCRIPTS {
        let mut first = [0; FIRST_BYTES];
        let verdict = match file.read_at(&mut first, 0) {
            None => Verdict::Unreadable,
            Some(_) => {
                if let Some(path) = interpreter(&mut first) {
                    file = file.interpreter(path)?;
                    continue;
                }
                of_bytes(&file, &first)
            }
        };
        let verdict = match verdict {
            Verdict::Exempt | Verdict::OtherArchitecture | Verdict::Other => verdict,
            _ => of_ids(&file.inode(), process).unwrap_or(verdict),
        };
        return Ok((verdict, file));
    }
    // ELOOP.
    Ok((Verdict::Other, file))
}

// ---- Scripts ----

/// How many scripts may run one another (exec_binprm, fs/exec.c).
const SCRIPTS: usize = 5;

/// How much of a file the kernel looks at (BINPRM_BUF_SIZE; 256 bytes since Linux 5.1, 128 before).
pub const FIRST_BYTES: usize = 256;

/// The path of a script's interpreter, as load_script of fs/binfmt_script.c finds it in the first bytes of a file; a
/// shorter file is padded with NULs. A NUL is written behind the path.
fn interpreter(first: &mut [u8; FIRST_BYTES]) -> Option<&CStr> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let is_end = |byte: &u8| is_blank(byte) || matches!(byte, b'\n' | 0);
    let line = first.strip_prefix(b"#!")?;
    let start = line.iter().position(|byte| !is_blank(byte))?;
    let name = line.get(start..)?;
    // Without an end the path may be cut off: ENOEXEC, since Linux 5.0.
    let length = name.iter().position(is_end)?;
    if name.starts_with(b"\n") {
        return None;
    }
    let path = first.get_mut(2 + start..)?;
    *path.get_mut(length)? = 0;
    CStr::from_bytes_until_nul(path).ok()
}

// ---- The file's own headers ----

/// e_machine (elf.h) of the architecture that this was built for. None: it is not known, or not of 64 bits; its
/// programs are then not looked into.
pub const MACHINE: Option<u16> = if cfg!(unknown_machine) {
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

// ELF files of 64 bits, elf(5). The architectures above are little-endian.
const IDENTIFICATION: &[u8] = b"\x7fELF\x02\x01";
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
const ET_EXEC: u64 = 2;
const ET_DYN: u64 = 3;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_NOTE: u64 = 4;
const DT_NULL: u64 = 0;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
const DF_1_PIE: u64 = 0x0800_0000;
const SHT_PROGBITS: u64 = 1;
const SHF_ALLOC: u64 = 2;

// How many entries of a table are read. Programs have some 12 program headers, 30 sections, 30 dynamic entries and 3 notes.
const PROGRAM_HEADERS: u64 = 128;
const SECTION_HEADERS: u64 = 256;
const DYNAMIC_ENTRIES: u64 = 256;
const NOTES: u64 = 16;

/// The section `.go.buildinfo` begins with this, and at a multiple of 16 (cmd/link).
const GO_BUILD_INFO: [u8; 14] = *b"\xff Go buildinf:";

#[inline(never)]
fn of_bytes<F: File>(file: &F, header: &[u8; FIRST_BYTES]) -> Verdict {
    let Some(machine) = MACHINE.filter(|_| header.starts_with(b"\x7fELF")) else {
        return Verdict::Other;
    };
    if !header.starts_with(IDENTIFICATION) || number(header, 18, 2) != machine.into() {
        return Verdict::OtherArchitecture;
    }
    let kind = number(header, 16, 2);
    let is_known = kind == ET_EXEC || kind == ET_DYN;
    if !is_known || number(header, 54, 2) != PROGRAM_HEADER as u64 {
        // ENOEXEC (load_elf_phdrs, fs/binfmt_elf.c).
        return Verdict::Other;
    }
    let (mut has_interpreter, mut is_exempt, mut is_go, mut dynamic) = (false, false, false, None);
    any_segment(file, header, |segment| {
        match number(segment, 0, 4) {
            PT_INTERP => has_interpreter = true,
            PT_DYNAMIC => dynamic = Some(*segment),
            PT_NOTE => each_note(file, segment, |note| {
                is_exempt |= *note == EXEMPT_NOTE;
                is_go |= is_go_build_id(note);
            }),
            _ => {}
        }
        false
    });
    if has_interpreter {
        return if is_go || has_go_build_info(file, header) {
            Verdict::Go
        } else {
            Verdict::Preloaded
        };
    }
    if is_exempt {
        Verdict::Exempt
    } else if kind == ET_EXEC || dynamic.is_none_or(|segment| is_pie(file, &segment)) {
        Verdict::Static
    } else {
        Verdict::Preloaded
    }
}

/// Whether a segment has this property.
fn any_segment<F: File>(
    file: &F,
    header: &[u8; FIRST_BYTES],
    holds: impl FnMut(&[u8; PROGRAM_HEADER]) -> bool,
) -> bool {
    let count = number(header, 56, 2).min(PROGRAM_HEADERS);
    any_entry(file, number(header, 32, 8), count, holds)
}

/// The beginning of the path of the ld.so that a program names, which tells its libc too; padded with NULs.
pub fn loader<F: File>(file: &F) -> Option<[u8; FIRST_BYTES]> {
    let mut header = [0; FIRST_BYTES];
    file.read_at(&mut header, 0)?;
    let (mut offset, mut size) = (0, 0);
    let is_interpreter = |segment: &[u8; PROGRAM_HEADER]| {
        (offset, size) = (number(segment, 8, 8), number(segment, 32, 8));
        number(segment, 0, 4) == PT_INTERP
    };
    if !any_segment(file, &header, is_interpreter) {
        return None;
    }
    let mut path = [0; FIRST_BYTES];
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    file.read_at(path.get_mut(..size.min(FIRST_BYTES))?, offset)?;
    Some(path)
}

/// Whether a file with a dynamic section is a program, and no shared object (DF_1_PIE, since binutils 2.26).
fn is_pie<F: File>(file: &F, dynamic: &[u8; PROGRAM_HEADER]) -> bool {
    const ENTRY: usize = 16;
    let count = (number(dynamic, 32, 8) / ENTRY as u64).min(DYNAMIC_ENTRIES);
    let mut is_pie = false;
    any_entry(file, number(dynamic, 8, 8), count, |entry: &[u8; ENTRY]| {
        let (tag, value) = (number(entry, 0, 8), number(entry, 8, 8));
        is_pie = tag == DT_FLAGS_1 && value & DF_1_PIE != 0;
        is_pie || tag == DT_NULL
    });
    is_pie
}

/// The beginning of a note: sizes of the owner's name and of the description, type, and 8 bytes of the name.
const NOTE_SIZE: usize = EXEMPT_NOTE.len();

/// Passes the beginning of each note of a segment to a function.
fn each_note<F: File>(
    file: &F,
    segment: &[u8; PROGRAM_HEADER],
    mut look: impl FnMut(&[u8; NOTE_SIZE]),
) {
    let start = number(segment, 8, 8);
    let end = start.saturating_add(number(segment, 32, 8));
    let alignment: u64 = if number(segment, 48, 8) == 8 { 8 } else { 4 };
    let mut at = start;
    for _ in 0..NOTES {
        if at.saturating_add(NOTE_SIZE as u64) > end {
            return;
        }
        let Some(note) = read(file, at) else {
            return;
        };
        look(&note);
        let (name, description) = (number(&note, 0, 4), number(&note, 4, 4));
        let length = (12 + name).next_multiple_of(alignment) + description;
        at = at.saturating_add(length.next_multiple_of(alignment));
    }
}

/// Whether cmd/link has written this note into `.note.go.buildid`: owner "Go", type 4. `-ldflags=-buildid=` leaves it out.
fn is_go_build_id(note: &[u8; NOTE_SIZE]) -> bool {
    number(note, 0, 4) == 4 && note.get(8..16) == Some(b"\x04\0\0\0Go\0\0")
}

/// Whether the file has the section that `go version -m` reads. It is in no segment of its own, and strip(1) leaves it.
fn has_go_build_info<F: File>(file: &F, header: &[u8; FIRST_BYTES]) -> bool {
    let count = number(header, 60, 2).min(SECTION_HEADERS);
    let start = number(header, 40, 8);
    any_entry(file, start, count, |section: &[u8; SECTION_HEADER]| {
        number(section, 4, 4) == SHT_PROGBITS
            && number(section, 8, 8) & SHF_ALLOC != 0
            && number(section, 48, 8) == 16
            && read(file, number(section, 24, 8)) == Some(GO_BUILD_INFO)
    })
}

/// Whether an entry of a table has this property, as far as the file contains the table. The search ends at the first
/// such entry.
fn any_entry<F: File, const SIZE: usize>(
    file: &F,
    start: u64,
    count: u64,
    mut holds: impl FnMut(&[u8; SIZE]) -> bool,
) -> bool {
    let mut holds = |entry: &[u8]| entry.first_chunk().is_some_and(&mut holds);
    any_of_size(file, start, count, SIZE, &mut holds).is_some()
}

/// [`any_entry`] for entries of any size, so that the code is there only once. None: no entry has the property. Several
/// entries are read at once.
#[inline(never)]
fn any_of_size<F: File>(
    file: &F,
    start: u64,
    count: u64,
    size: usize,
    holds: &mut dyn FnMut(&[u8]) -> bool,
) -> Option<()> {
    let mut buffer = [0; 512];
    let (mut at, mut length) = (0, 0);
    for index in 0..count {
        if at + size > length {
            let offset = start.checked_add(index * size as u64)?;
            (at, length) = (0, file.read_at(&mut buffer, offset)?);
        }
        if holds(buffer.get(at..length)?.get(..size)?) {
            return Some(());
        }
        at += size;
    }
    None
}

/// These bytes of the file, if they are there.
fn read<F: File, const SIZE: usize>(file: &F, offset: u64) -> Option<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    (file.read_at(&mut bytes, offset)? == SIZE).then_some(bytes)
}

/// A little-endian number of `size` bytes, or 0 where there are none.
fn number(bytes: &[u8], offset: usize, size: usize) -> u64 {
    let mut number = [0; 8];
    if let Some(bytes) = bytes.get(offset..).and_then(|rest| rest.get(..size)) {
        for (to, from) in number.iter_mut().zip(bytes) {
            *to = *from;
        }
    }
    u64::from_le_bytes(number)
}

// ---- What the kernel makes of the IDs ----

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o0010;

/// Why the kernel will set AT_SECURE, if it will (bprm_fill_uid, fs/exec.c; cap_bprm_creds_from_file, security/commoncap.c).
fn of_ids(file: &Inode, process: &Process) -> Option<Verdict> {
    let may_give_ids = !file.is_nosuid && !process.no_new_privs;
    let gives = |bits: u32| may_give_ids && file.mode & bits == bits;
    // Without the group's execute permission the bit once meant mandatory locking. In a process whose real and effective
    // IDs differ, Linux 6.1 compares the real ones, 6.18 both.
    let gives_user = gives(S_ISUID) && file.uid != process.euid;
    let gives_group = gives(S_ISGID | S_IXGRP) && file.gid != process.egid;
    if gives_user || gives_group {
        return Some(Verdict::SetId);
    }
    if process.uid != process.euid || process.gid != process.egid {
        return Some(Verdict::OtherIds);
    }
    // What root executes gains nothing by them.
    (process.uid != 0 && !file.is_nosuid && gives_capabilities(&file.capabilities, process))
        .then_some(Verdict::FileCapabilities)
}

/// The effective flag alone sets AT_SECURE, also under no_new_privs, which takes the capabilities away.
fn gives_capabilities(value: &[u8; CAPABILITIES_SIZE], process: &Process) -> bool {
    const REVISION_OF_A_NAMESPACE: u8 = 3;
    let [effective, _, _, revision, sets @ ..] = value;
    let has_permitted = sets.chunks(4).step_by(2).take(2).any(|set| set != [0; 4]);
    // In the user namespace that the capabilities are for, getxattr(2) returns another revision.
    *revision != REVISION_OF_A_NAMESPACE
        && (effective & 1 != 0 || has_permitted && !process.no_new_privs)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::{String, ToString};
    use std::vec::Vec;
    use std::{format, vec};

    /// The contents of a file, or that it cannot be read; and the files that its scripts may name, by their path.
    #[derive(Clone, Default)]
    struct Bytes {
        bytes: Option<Vec<u8>>,
        inode: Inode,
        others: Vec<(String, Bytes)>,
        reads: std::rc::Rc<std::cell::Cell<usize>>,
    }

    impl File for Bytes {
        type Error = String;

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
            self.reads.set(self.reads.get() + 1);
            let bytes = self.bytes.as_ref()?;
            let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..));
            let rest = rest.unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Some(length)
        }

        fn inode(&self) -> Inode {
            self.inode
        }

        fn interpreter(self, path: &CStr) -> Result<Self, String> {
            let path = path.to_str().unwrap();
            let found = self.others.iter().find(|(name, _)| name == path);
            let found = found.map(|(_, file)| file.clone());
            found
                .map(|file| Self {
                    others: self.others,
                    reads: self.reads,
                    ..file
                })
                .ok_or(path.to_string())
        }
    }

    fn file(bytes: impl Into<Vec<u8>>) -> Bytes {
        Bytes {
            bytes: Some(bytes.into()),
            ..Bytes::default()
        }
    }

    fn verdict(file: Bytes) -> Verdict {
        judge(file, &Process::default())
            .unwrap_or_else(|path| panic!("{path}"))
            .0
    }

    const LD_SO: (u64, &[u8]) = (PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0");

    /// An ELF file of this architecture with these segments, their bytes behind the headers.
    fn elf(kind: u64, segments: &[(u64, &[u8])]) -> Vec<u8> {
        let mut file = vec![0; 64 + segments.len() * PROGRAM_HEADER];
        file[..6].copy_from_slice(IDENTIFICATION);
        put(&mut file, 16, kind, 2);
        put(&mut file, 18, MACHINE.unwrap_or(0).into(), 2);
        put(&mut file, 32, 64, 8);
        put(&mut file, 54, PROGRAM_HEADER as u64, 2);
        put(&mut file, 56, segments.len() as u64, 2);
        for (index, (kind, bytes)) in segments.iter().enumerate() {
            let header = 64 + index * PROGRAM_HEADER;
            let at = file.len() as u64;
            put(&mut file, header, *kind, 4);
            put(&mut file, header + 8, at, 8);
            put(&mut file, header + 32, bytes.len() as u64, 8);
            put(&mut file, header + 48, 4, 8);
            file.extend_from_slice(bytes);
        }
        file
    }

    fn put(file: &mut [u8], at: usize, value: u64, size: usize) {
        file[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }

    fn note(owner: &[u8], kind: u64, description: &[u8]) -> Vec<u8> {
        let mut note = vec![0; 12];
        put(&mut note, 0, owner.len() as u64, 4);
        put(&mut note, 4, description.len() as u64, 4);
        put(&mut note, 8, kind, 4);
        for part in [owner, description] {
            note.extend_from_slice(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    fn dynamic(entries: &[(u64, u64)]) -> Vec<u8> {
        let words = entries.iter().flat_map(|(tag, value)| [*tag, *value]);
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Puts a section behind the file.
    fn with_section(mut file: Vec<u8>, kind: u64, flags: u64, bytes: &[u8]) -> Vec<u8> {
        let at = file.len() as u64;
        file.extend_from_slice(bytes);
        let table = file.len();
        file.resize(table + 2 * SECTION_HEADER, 0);
        put(&mut file, 40, table as u64, 8);
        put(&mut file, 60, 2, 2);
        let header = table + SECTION_HEADER;
        put(&mut file, header + 4, kind, 4);
        put(&mut file, header + 8, flags, 8);
        put(&mut file, header + 24, at, 8);
        put(&mut file, header + 48, 16, 8);
        file
    }

    // Files are not looked into where the architecture is not known.
    fn is_known() -> bool {
        MACHINE.is_some()
    }

    #[test]
    fn an_elf_file_says_whether_ld_so_is_there() {
        let pie = dynamic(&[(1, 1), (DT_FLAGS_1, DF_1_PIE | 1), (0, 0)]);
        let shared = dynamic(&[(14, 1), (DT_FLAGS_1, 1), (0, 0)]);
        // What is behind the end is not part of it.
        let ended = dynamic(&[(0, 0), (DT_FLAGS_1, DF_1_PIE)]);
        let old = dynamic(&[(1, 1)]);
        for (kind, segments, expected) in [
            (ET_EXEC, &[][..], Verdict::Static),
            (ET_EXEC, &[LD_SO], Verdict::Preloaded),
            (ET_DYN, &[LD_SO, (PT_DYNAMIC, &pie)], Verdict::Preloaded),
            (ET_DYN, &[(PT_DYNAMIC, &pie)], Verdict::Static),
            (ET_DYN, &[(PT_DYNAMIC, &shared)], Verdict::Preloaded),
            (ET_DYN, &[(PT_DYNAMIC, &ended)], Verdict::Preloaded),
            (ET_DYN, &[(PT_DYNAMIC, &old)], Verdict::Preloaded),
            (ET_EXEC, &[(PT_DYNAMIC, &shared)], Verdict::Static),
            (ET_DYN, &[], Verdict::Static),
            (1, &[LD_SO], Verdict::Other),
        ] {
            let expected = if is_known() { expected } else { Verdict::Other };
            let found = verdict(file(elf(kind, segments)));
            assert_eq!(found, expected, "{kind} {segments:x?}");
        }
    }

    #[test]
    fn a_program_names_its_loader() {
        let mut path = [0; FIRST_BYTES];
        path[..LD_SO.1.len()].copy_from_slice(LD_SO.1);
        assert_eq!(
            loader(&file(elf(ET_EXEC, &[LD_SO, (1, b"code")]))),
            Some(path)
        );
        let mut long = elf(ET_EXEC, &[(PT_INTERP, &[b'x'; 300])]);
        put(&mut long, 64 + 32, 1 << 62, 8);
        assert_eq!(loader(&file(long)), Some([b'x'; FIRST_BYTES]));
        assert_eq!(loader(&file(elf(ET_EXEC, &[]))), None);
        assert_eq!(loader(&file("")), None);
    }

    #[test]
    fn notes_tell_go_and_who_is_exempt() {
        let build_id = note(b"GNU\0", 3, &[7; 20]);
        let go = note(b"Go\0\0", 4, &[b'x'; 83]);
        let cases: [(&[&[u8]], Verdict, Verdict); 8] = [
            (&[], Verdict::Static, Verdict::Preloaded),
            (&[&build_id], Verdict::Static, Verdict::Preloaded),
            (&[&EXEMPT_NOTE], Verdict::Exempt, Verdict::Preloaded),
            (
                &[&build_id, &EXEMPT_NOTE],
                Verdict::Exempt,
                Verdict::Preloaded,
            ),
            (&[&go], Verdict::Static, Verdict::Go),
            (&[&build_id, &go], Verdict::Static, Verdict::Go),
            (
                &[&note(b"Go\0\0", 3, b"1234")],
                Verdict::Static,
                Verdict::Preloaded,
            ),
            (&[&note(b"", 0, &go)], Verdict::Static, Verdict::Preloaded),
        ];
        for (notes, alone, with_ld_so) in cases.into_iter().filter(|_| is_known()) {
            let notes = notes.concat();
            let found = verdict(file(elf(ET_EXEC, &[(PT_NOTE, &notes)])));
            assert_eq!(found, alone, "{}", notes.escape_ascii());
            let found = verdict(file(elf(
                ET_EXEC,
                &[LD_SO, (PT_NOTE, b""), (PT_NOTE, &notes)],
            )));
            assert_eq!(found, with_ld_so, "{}", notes.escape_ascii());
        }
        // A name of 4 bytes and 16 bytes of .note.gnu.property, where 8 is the alignment.
        let mut aligned = elf(
            ET_EXEC,
            &[(
                PT_NOTE,
                &[note(b"abcd", 5, &[0; 12]), vec![0; 4], EXEMPT_NOTE.into()].concat(),
            )],
        );
        put(&mut aligned, 64 + 48, 8, 8);
        assert_eq!(
            verdict(file(aligned)),
            if is_known() {
                Verdict::Exempt
            } else {
                Verdict::Other
            }
        );
    }

    #[test]
    fn go_without_its_note_is_told_by_its_build_info() {
        let info = [&GO_BUILD_INFO[..], &[8, 2, 0, 0]].concat();
        let program = |kind, flags, bytes: &[u8]| {
            verdict(file(with_section(
                elf(ET_EXEC, &[LD_SO]),
                kind,
                flags,
                bytes,
            )))
        };
        if is_known() {
            assert_eq!(program(SHT_PROGBITS, SHF_ALLOC | 1, &info), Verdict::Go);
            assert_eq!(program(SHT_PROGBITS, SHF_ALLOC, &info), Verdict::Go);
            assert_eq!(program(SHT_PROGBITS, 0, &info), Verdict::Preloaded);
            assert_eq!(program(8, SHF_ALLOC, &info), Verdict::Preloaded);
            assert_eq!(
                program(SHT_PROGBITS, SHF_ALLOC, &info[1..]),
                Verdict::Preloaded
            );
            let fixed = with_section(elf(ET_EXEC, &[]), SHT_PROGBITS, SHF_ALLOC, &info);
            assert_eq!(verdict(file(fixed)), Verdict::Static);
        }
    }

    #[test]
    fn other_files_are_left_to_the_kernel() {
        let changed = |at: usize, byte: u8| {
            let mut bytes = elf(ET_EXEC, &[LD_SO]);
            bytes[at] = byte;
            bytes
        };
        for (bytes, expected) in [
            (vec![], Verdict::Other),
            (b"echo\n".to_vec(), Verdict::Other),
            (b"\x7fEL".to_vec(), Verdict::Other),
            (b"\x7fELF".to_vec(), Verdict::OtherArchitecture),
            (changed(4, 1), Verdict::OtherArchitecture),
            (changed(5, 2), Verdict::OtherArchitecture),
            (changed(18, 40), Verdict::OtherArchitecture),
            (changed(54, 32), Verdict::Other),
        ] {
            let expected = if is_known() { expected } else { Verdict::Other };
            assert_eq!(
                verdict(file(bytes.clone())),
                expected,
                "{}",
                bytes.escape_ascii()
            );
        }
        assert_eq!(verdict(Bytes::default()), Verdict::Unreadable);
    }

    /// A file that claims the largest number of everything, and what is read of it.
    #[test]
    fn what_is_read_is_bounded() {
        let most = |kind| {
            let mut bytes = elf(ET_DYN, &[(kind, b"")]);
            put(&mut bytes, 56, 0xffff, 2);
            put(&mut bytes, 64 + 32, 1 << 62, 8);
            put(&mut bytes, 60, 0xffff, 2);
            bytes
        };
        for kind in [PT_DYNAMIC, PT_NOTE, PT_INTERP] {
            // All segments are like the first, and there is no end of zeros behind them.
            let mut bytes = most(kind);
            let header = bytes[64..120].to_vec();
            bytes.splice(64.., header.repeat(0x10000));
            bytes.resize(64 << 20, 0);
            let bytes = file(bytes);
            let reads = bytes.reads.clone();
            verdict(bytes);
            assert!(reads.get() < 4096, "{kind}: {}", reads.get());
            // The end of the file is the end of all.
            let bytes = file(most(kind));
            let reads = bytes.reads.clone();
            verdict(bytes);
            assert!(reads.get() < 16, "{kind}: {}", reads.get());
        }
        for (at, size) in [(32, 8), (40, 8), (64 + 8, 8)] {
            let mut bytes = most(PT_NOTE);
            put(&mut bytes, at, u64::MAX - 7, size);
            verdict(file(bytes));
        }
    }

    #[test]
    fn scripts_are_followed_as_the_kernel_follows_them() {
        let found = |first: &[u8]| {
            let mut bytes = [0; FIRST_BYTES];
            let length = first.len().min(FIRST_BYTES);
            bytes[..length].copy_from_slice(&first[..length]);
            interpreter(&mut bytes).map(|path| path.to_str().unwrap().to_string())
        };
        let padded = |length: usize, end: &str| format!("#!{}{end}", "x".repeat(length - 2));
        for (first, expected) in [
            ("#!/bin/sh\necho", Some("/bin/sh")),
            ("#!/bin/sh", Some("/bin/sh")),
            ("#! /bin/sh -e\n", Some("/bin/sh")),
            ("#!\t/usr/bin/env python3", Some("/usr/bin/env")),
            ("#!/bin/sh\0x\n", Some("/bin/sh")),
            ("#!/bin/sh\r\n", Some("/bin/sh\r")),
            ("#!\0/bin/sh\n", Some("")),
            ("#!\n/bin/sh", None),
            ("#! \t\n/bin/sh", None),
            ("#", None),
            ("echo", None),
            (&padded(255, ""), Some(&"x".repeat(253))),
            (&padded(255, "\n"), Some(&"x".repeat(253))),
            (&padded(256, ""), None),
            (&padded(256, "\n"), None),
        ] {
            assert_eq!(found(first.as_bytes()).as_deref(), expected, "{first}");
        }
        assert_eq!(found(&[b"#!".as_slice(), &[b' '; 300]].concat()), None);
    }

    #[test]
    fn five_scripts_may_run_one_another() {
        let mut others = vec![("0".to_string(), file(elf(ET_EXEC, &[])))];
        for number in 1..=6 {
            let script = file(format!("#!{} argument\n", number - 1));
            others.push((number.to_string(), script));
        }
        let expected = if is_known() {
            Verdict::Static
        } else {
            Verdict::Other
        };
        for (name, script) in others.clone().into_iter().skip(1) {
            let expected = if name == "6" {
                Verdict::Other
            } else {
                expected
            };
            let others = others.clone();
            assert_eq!(verdict(Bytes { others, ..script }), expected, "{name}");
        }
        let nowhere = judge(file("#!nowhere\n"), &Process::default());
        assert_eq!(nowhere.err().as_deref(), Some("nowhere"));
    }

    /// Each row is what Linux 6.18 did, by getauxval(AT_SECURE) in the program (c-tests/facts/execve.c).
    #[test]
    fn ids_and_capabilities_set_at_secure() {
        const NOBODY: u32 = 65534;
        let ids = |uid, euid, gid, egid| Process {
            uid,
            euid,
            gid,
            egid,
            no_new_privs: false,
        };
        let root = ids(0, 0, 0, 0);
        let nobody = ids(NOBODY, NOBODY, NOBODY, NOBODY);
        let confined = Process {
            no_new_privs: true,
            ..nobody
        };
        let owned = |mode, uid, gid| Inode {
            mode,
            uid,
            gid,
            ..Inode::default()
        };
        let capable = |effective: u8, permitted: u8, inheritable: u8, revision: u8| {
            let mut capabilities = [0; CAPABILITIES_SIZE];
            (capabilities[0], capabilities[3]) = (effective, revision);
            (capabilities[5], capabilities[9]) = (permitted, inheritable);
            Inode {
                capabilities,
                ..owned(0o755, 0, 0)
            }
        };
        let nosuid = |inode| Inode {
            is_nosuid: true,
            ..inode
        };
        let plain = owned(0o755, 0, 0);
        let (set_id, capabilities) = (Some(Verdict::SetId), Some(Verdict::FileCapabilities));
        let other_ids = Some(Verdict::OtherIds);
        for (name, process, inode, expected) in [
            ("root", root, plain, None),
            ("nobody", nobody, plain, None),
            ("root's, by root", root, owned(0o4755, 0, 0), None),
            ("root's, by nobody", nobody, owned(0o4755, 0, 0), set_id),
            ("under no_new_privs", confined, owned(0o4755, 0, 0), None),
            (
                "on a nosuid mount",
                nobody,
                nosuid(owned(0o6755, 0, 0)),
                None,
            ),
            ("nobody's, by root", root, owned(0o4755, NOBODY, 0), set_id),
            (
                "nobody's, by nobody",
                nobody,
                owned(0o4755, NOBODY, 0),
                None,
            ),
            ("set-group-ID", nobody, owned(0o2755, 0, 0), set_id),
            (
                "without the group's permission",
                nobody,
                owned(0o2745, 0, 0),
                None,
            ),
            (
                "set-group-ID under no_new_privs",
                confined,
                owned(0o2755, 0, 0),
                None,
            ),
            (
                "other effective user",
                ids(0, NOBODY, 0, 0),
                plain,
                other_ids,
            ),
            (
                "other effective user, root's",
                ids(0, NOBODY, 0, 0),
                owned(0o4755, 0, 0),
                set_id,
            ),
            ("effective root", ids(NOBODY, 0, 0, 0), plain, other_ids),
            (
                "effective root, nobody's",
                ids(NOBODY, 0, 0, 0),
                owned(0o4755, NOBODY, 0),
                set_id,
            ),
            (
                "other effective group",
                ids(0, 0, 0, NOBODY),
                plain,
                other_ids,
            ),
            (
                "other effective user on nosuid",
                ids(0, NOBODY, 0, 0),
                nosuid(plain),
                other_ids,
            ),
            ("capabilities", nobody, capable(1, 0x20, 0, 2), capabilities),
            ("capabilities, by root", root, capable(1, 0x20, 0, 2), None),
            (
                "capabilities on nosuid",
                nobody,
                nosuid(capable(1, 0x20, 0, 2)),
                None,
            ),
            (
                "capabilities under no_new_privs",
                confined,
                capable(1, 0x20, 0, 2),
                capabilities,
            ),
            (
                "permitted alone",
                nobody,
                capable(0, 0x20, 0, 2),
                capabilities,
            ),
            (
                "permitted alone under no_new_privs",
                confined,
                capable(0, 0x20, 0, 2),
                None,
            ),
            ("inheritable alone", nobody, capable(0, 0, 0x20, 2), None),
            (
                "inheritable and effective",
                nobody,
                capable(1, 0, 0x20, 2),
                capabilities,
            ),
            ("effective alone", nobody, capable(1, 0, 0, 2), capabilities),
            (
                "of another user namespace",
                nobody,
                capable(1, 0x20, 0, 3),
                None,
            ),
        ] {
            assert_eq!(of_ids(&inode, &process), expected, "{name}");
        }
        // AT_SECURE counts for each program that ld.so is in, and for none that needs no library.
        let owned_by_root = |bytes| Bytes {
            inode: owned(0o4755, 0, 0),
            ..file(bytes)
        };
        let judged = |file| {
            judge(file, &nobody)
                .unwrap_or_else(|path| panic!("{path}"))
                .0
        };
        if is_known() {
            assert_eq!(
                judged(owned_by_root(elf(ET_EXEC, &[LD_SO]))),
                Verdict::SetId
            );
            assert_eq!(judged(owned_by_root(elf(ET_EXEC, &[]))), Verdict::SetId);
            assert_eq!(
                judged(owned_by_root(elf(ET_EXEC, &[(PT_NOTE, &EXEMPT_NOTE)]))),
                Verdict::Exempt
            );
        }
        assert_eq!(
            judged(Bytes {
                bytes: None,
                ..owned_by_root(vec![])
            }),
            Verdict::SetId
        );
    }
}
