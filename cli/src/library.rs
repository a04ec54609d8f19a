//! Finds `libvrfbind.so`, and checks whether ld.so will load it.
//!
//! If ld.so cannot preload a library, it prints one line and runs the program without it. So each possible reason is
//! checked here, before the program starts: the file cannot be read, is not an ELF file of this architecture, lies on a
//! noexec mount, or has a name that LD_PRELOAD cannot contain. One reason is our own: the library has another version,
//! which may not agree with this command about [`rules`].
//!
//! The version is read from the file; loading the library would run it.

use crate::failure::{Failure, refuse};
use crate::{file, sys};
use object::elf::{DT_NEEDED, FileHeader32, FileHeader64, PT_LOAD, SHT_DYNSYM};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Sym};
use object::{Endianness, ReadCache};
use rules::Info;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::mem::offset_of;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Names the library, for those who keep it elsewhere.
const VARIABLE: &str = "VRFBIND_LIBRARY";
const NAME: &str = "libvrfbind.so";

/// The library's path for LD_PRELOAD, after the checks.
pub fn find(option: Option<&Path>) -> Result<PathBuf, Failure> {
    let variable = env::var_os(VARIABLE).filter(|path| !path.is_empty());
    let path = match (option, variable) {
        (Some(path), _) => path.to_owned(),
        (None, Some(path)) => path.into(),
        (None, None) => usual_places()
            .into_iter()
            .find(|place| place.exists())
            .ok_or_else(|| {
                refuse(format!(
                    "{NAME} was not found in: {}; give its path with --library or {VARIABLE}",
                    display(&usual_places())
                ))
            })?,
    };
    let path = std::path::absolute(&path)
        .map_err(|error| refuse(format!("the library {}: {error}", path.display())))?;
    check(&path)?;
    Ok(path)
}

/// Beside the command, as in target/release; below the same prefix; and in the system's directories.
fn usual_places() -> Vec<PathBuf> {
    let multiarch = format!("{}-linux-gnu", env::consts::ARCH);
    let mut folders = Vec::new();
    if let Some(command) = sys::own_path()
        && let Some(folder) = command.parent()
    {
        folders.push(folder.to_owned());
        if let Some(prefix) = folder.parent() {
            folders.push(prefix.join("lib"));
            folders.push(prefix.join("lib").join(&multiarch));
        }
    }
    for prefix in ["/usr/local/lib", "/usr/lib"] {
        folders.push(prefix.into());
        folders.push(Path::new(prefix).join(&multiarch));
    }
    let mut places = Vec::new();
    for place in folders.into_iter().map(|folder| folder.join(NAME)) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn display(places: &[PathBuf]) -> String {
    let places: Vec<_> = places.iter().map(|place| place.to_string_lossy()).collect();
    places.join(", ")
}

fn check(path: &Path) -> Result<(), Failure> {
    let fails = |why: &str| refuse(format!("the library {}: {why}", path.display()));
    if !rules::preload::is_nameable(path.as_os_str().as_bytes()) {
        return Err(fails(
            "LD_PRELOAD cannot contain a path with white space, ':' or '$'; move the library",
        ));
    }
    let file = file::open(path).map_err(|error| fails(&error.to_string()))?;
    let mount = nix::sys::statvfs::fstatvfs(&file)
        .map_err(|errno| fails(&format!("statvfs: {}", errno.desc())))?;
    // mmap(PROT_EXEC) fails with EPERM on such a mount, and ld.so continues without the library.
    if mount
        .flags()
        .contains(nix::sys::statvfs::FsFlags::ST_NOEXEC)
    {
        return Err(fails(
            "it is on a file system that is mounted noexec, and ld.so cannot load it; move the library",
        ));
    }
    let [major, minor, patch, _] = rules::info::VERSION;
    let ours = [major, minor, patch];
    match version(&file) {
        None => Err(fails(&format!(
            "it is not a libvrfbind.so for {}",
            env::consts::ARCH
        ))),
        Some(version) if version == ours => Ok(()),
        Some([major, minor, patch]) => Err(fails(&format!(
            "it is version {major}.{minor}.{patch}, and this command is {}; install both from one release",
            env!("CARGO_PKG_VERSION")
        ))),
    }
}

/// The value of LD_PRELOAD with the library added to its present entries. `first` is a library that has to come first.
pub fn preload(library: &Path, there: Option<OsString>, first: Option<&OsStr>) -> OsString {
    let there = there.unwrap_or_default();
    let parts = rules::preload::with(there.as_bytes(), library.as_os_str().as_bytes());
    let list = OsString::from_vec(parts.concat());
    let Some(first) = first else {
        return list;
    };
    // The library that has to come first stays first.
    let mut names: Vec<_> = list
        .as_bytes()
        .split(|byte| matches!(byte, b':' | b' '))
        .filter(|name| !is_sanitizer(OsStr::from_bytes(name)) && !name.is_empty())
        .collect();
    names.insert(0, first.as_bytes());
    OsString::from_vec(names.join(&b':'))
}

/// Whether it is gcc's AddressSanitizer.
fn is_sanitizer(path: &OsStr) -> bool {
    let file = path.as_bytes().rsplit(|byte| *byte == b'/').next();
    file.is_some_and(|file| file.starts_with(b"libasan.so"))
}

/// The sanitizer that a program is linked with: it ends the program unless it comes first of all libraries.
pub fn sanitizer(program: &Path) -> Option<OsString> {
    // Only a small part of a large file is read.
    let file = &ReadCache::new(file::open(program).ok()?);
    let elf = FileHeader64::<Endianness>::parse(file).ok()?;
    let endian = elf.endian().ok()?;
    let sections = elf.sections(endian, file).ok()?;
    let (dynamic, strings) = sections.dynamic(endian, file).ok()??;
    let strings = sections.strings(endian, file, strings).ok()?;
    dynamic
        .iter()
        .filter(|entry| entry.tag(endian) == DT_NEEDED)
        .filter_map(|entry| strings.get(entry.val32(endian)?).ok())
        .map(OsStr::from_bytes)
        .find(|name| is_sanitizer(name))
        .map(OsStr::to_owned)
}

/// The version in the file's `vrfbind_info`, if the file is a libvrfbind.so of this architecture.
fn version(file: &File) -> Option<[u8; 3]> {
    // The library has 48 KiB at most. It is read at once, since many small reads are slow on a network file system.
    let mut bytes = Vec::with_capacity(64 << 10);
    file.take(1 << 20).read_to_end(&mut bytes).ok()?;
    let (_, info) = info(&bytes)?;
    let [major, minor, patch, ..] = info.get(offset_of!(Info, version)..)? else {
        return None;
    };
    Some([*major, *minor, *patch])
}

/// `vrfbind_info` in the library's file: its address there, and the bytes from it on, as they are before the library
/// runs. The file is untrusted.
fn info(file: &[u8]) -> Option<(u64, &[u8])> {
    info_of::<FileHeader64<Endianness>>(file, rules::executable::MACHINE)
}

/// The same in the library of another process, which may be a 32-bit one.
pub fn info_of_any(file: &[u8]) -> Option<(u64, &[u8])> {
    const EM_386: u16 = 3;
    let machine = cfg!(target_arch = "x86_64").then_some(EM_386);
    info(file).or_else(|| info_of::<FileHeader32<Endianness>>(file, machine))
}

fn info_of<Elf: FileHeader<Endian = Endianness>>(
    file: &[u8],
    machine: Option<u16>,
) -> Option<(u64, &[u8])> {
    let elf = Elf::parse(file).ok()?;
    let endian = elf.endian().ok()?;
    if Some(elf.e_machine(endian).0) != machine {
        return None;
    }
    let symbols = elf
        .sections(endian, file)
        .ok()?
        .symbols(endian, file, SHT_DYNSYM)
        .ok()?;
    // The library has some 20. Names may overlap, so that many cost the square of the file's size.
    let symbol = symbols
        .iter()
        .take(1000)
        .find(|symbol| symbol.name(endian, symbols.strings()) == Ok(b"vrfbind_info"))?;
    let address: u64 = symbol.st_value(endian).into();
    let segment = elf
        .program_headers(endian, file)
        .ok()?
        .iter()
        .find(|segment| {
            let start: u64 = segment.p_vaddr(endian).into();
            let size: u64 = segment.p_filesz(endian).into();
            segment.p_type(endian) == PT_LOAD
                && (start..start.saturating_add(size)).contains(&address)
        })?;
    let (start, offset): (u64, u64) = (
        segment.p_vaddr(endian).into(),
        segment.p_offset(endian).into(),
    );
    let offset = (address - start).checked_add(offset)?;
    let bytes = file.get(usize::try_from(offset).ok()?..)?;
    bytes
        .starts_with(&rules::info::INFO_MAGIC)
        .then_some((address, bytes))
}

/// The smallest ELF file that is accepted as the library, with words of this many bytes: headers, a segment, sections,
/// symbols, names, and `vrfbind_info`.
#[cfg(test)]
pub fn example(word: usize) -> Vec<u8> {
    use rules::executable::MACHINE;
    let is_64 = word == 8;
    let pick = |of_64: usize, of_32: usize| if is_64 { of_64 } else { of_32 };
    let (header, segment, section, symbol) =
        (pick(64, 52), pick(56, 32), pick(64, 40), pick(24, 16));
    let sections = header + segment;
    let symbols = sections + 3 * section;
    let names = symbols + 2 * symbol;
    let info = (names + 14).next_multiple_of(8);
    let mut file = vec![0; info];
    file.extend(rules::info::INFO_MAGIC);
    file.resize(info + size_of::<Info>(), 0);
    let mut put = |at: usize, size: usize, value: usize| {
        file[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    };
    let machine = if is_64 { MACHINE.unwrap_or(0) } else { 3 };
    put(0, 4, 0x464c_457f);
    put(4, 3, if is_64 { 0x01_01_02 } else { 0x01_01_01 });
    put(16, 2, 3);
    put(18, 2, machine.into());
    put(20, 4, 1);
    put(24 + word, word, header);
    put(24 + 2 * word, word, sections);
    for (index, value) in [header, segment, 1, section, 3, 2].into_iter().enumerate() {
        put(28 + 3 * word + 2 * index, 2, value);
    }
    // PT_LOAD of the whole file, at 0.
    put(header, 4, 1);
    put(header + pick(32, 16), word, info + size_of::<Info>());
    // SHT_DYNSYM with its SHT_STRTAB.
    for (index, kind, start, size, entry) in
        [(1, 11, symbols, 2 * symbol, symbol), (2, 3, names, 14, 0)]
    {
        let at = sections + index * section;
        put(at + 4, 4, kind);
        put(at + 8 + 2 * word, word, start);
        put(at + 8 + 3 * word, word, size);
        put(at + 8 + 4 * word, 4, 2);
        put(at + section - word, word, entry);
    }
    put(symbols + symbol, 4, 1);
    put(symbols + symbol + pick(8, 4), word, info);
    file[names + 1..names + 13].copy_from_slice(b"vrfbind_info");
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sanitizer_comes_first() {
        let library = Path::new("/usr/lib/libvrfbind.so");
        for (there, expected) in [
            (None, "libasan.so.8:/usr/lib/libvrfbind.so"),
            (Some("a.so"), "libasan.so.8:/usr/lib/libvrfbind.so:a.so"),
            (
                Some("/lib/libasan.so.8"),
                "libasan.so.8:/usr/lib/libvrfbind.so",
            ),
            (
                Some("libasan.so.8 a.so:/usr/lib/libvrfbind.so"),
                "libasan.so.8:a.so:/usr/lib/libvrfbind.so",
            ),
        ] {
            let first = Some(OsStr::new("libasan.so.8"));
            assert_eq!(preload(library, there.map(OsString::from), first), expected);
        }
    }

    #[test]
    fn a_file_that_is_no_library_has_no_version() {
        assert_eq!(version(&File::open("/proc/self/exe").unwrap()), None);
        assert_eq!(version(&File::open("/etc/passwd").unwrap()), None);
    }

    #[test]
    fn a_library_is_known_by_what_it_says_of_itself() {
        for word in [4, 8] {
            let library = example(word);
            let (address, bytes) = info_of_any(&library).unwrap();
            assert_eq!(&library[address as usize..], bytes);
        }
        assert!(info(&example(8)).is_some());
        assert!(info(&example(4)).is_none(), "ours has 64 bits");
    }

    #[test]
    fn mutated_libraries() {
        let valid = [example(8), example(4)];
        crate::fuzz::each_input(&valid.each_ref().map(Vec::as_slice), |file| {
            info_of_any(file);
        });
    }
}
