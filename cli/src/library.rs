//! Where `libvrfbind.so` is, and whether ld.so will take it.
//!
//! ld.so's answer to a library that it cannot preload is one line and a program that runs without it. So
//! each reason it could have is looked for here, before there is a program: the file cannot be read,
//! is no ELF file of this machine, lies on a noexec mount, or has a name that LD_PRELOAD cannot hold. And one that
//! is ours: another version, which may not agree with this command about [`rules`].
//!
//! The version is read from the file. To load it would be to run it.

use crate::failure::{Failure, refuse};
use crate::sys;
use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD, SHT_DYNSYM};
use object::read::elf::{FileHeader, ProgramHeader, Sym};
use rules::Info;
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::mem::offset_of;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Names the library, for those who keep it elsewhere.
const VARIABLE: &str = "VRFBIND_LIBRARY";
const NAME: &str = "libvrfbind.so";

/// The library's path, as it can stand in LD_PRELOAD, after it was looked at.
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
                    "{NAME} is in none of its places ({}); name it by --library or {VARIABLE}",
                    display(&usual_places())
                ))
            })?,
    };
    let path = std::path::absolute(&path)
        .map_err(|error| refuse(format!("the library {}: {error}", path.display())))?;
    check(&path)?;
    Ok(path)
}

/// Beside the command, as in target/release; below the same prefix; and in the system's folders.
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
            "LD_PRELOAD cannot name a path with white space, ':' or '$' in it; move the library",
        ));
    }
    let file = File::open(path)
        .map_err(|error| fails(&format!("{error}; ld.so could not read it either")))?;
    let mount = nix::sys::statvfs::fstatvfs(&file)
        .map_err(|errno| fails(&format!("statvfs: {}", errno.desc())))?;
    // mmap(PROT_EXEC) fails with EPERM there, and ld.so goes on without the library.
    if mount
        .flags()
        .contains(nix::sys::statvfs::FsFlags::ST_NOEXEC)
    {
        return Err(fails(
            "it lies on a mount with the option noexec, from where ld.so cannot load it; move the library",
        ));
    }
    let [major, minor, patch, _] = rules::info::VERSION;
    let ours = [major, minor, patch];
    match version(&file) {
        None => Err(fails(&format!(
            "it is no libvrfbind.so for {}",
            env::consts::ARCH
        ))),
        Some(version) if version == ours => Ok(()),
        Some([major, minor, patch]) => Err(fails(&format!(
            "it is version {major}.{minor}.{patch}, and this command is {}; install both from one release",
            env!("CARGO_PKG_VERSION")
        ))),
    }
}

/// The value of LD_PRELOAD that has the library in it, and what was there.
pub fn preload(library: &Path, there: Option<OsString>) -> OsString {
    let there = there.unwrap_or_default();
    let parts = rules::preload::with(there.as_bytes(), library.as_os_str().as_bytes());
    OsString::from_vec(parts.concat())
}

/// The version in the file's `vrfbind_info`, if the file is a libvrfbind.so of this machine.
fn version(file: &File) -> Option<[u8; 3]> {
    // Ours has 32 KiB at the most. Read at once, since many small reads cost much on a network file system.
    let mut bytes = Vec::with_capacity(64 << 10);
    file.take(1 << 20).read_to_end(&mut bytes).ok()?;
    let (_, info) = info(&bytes)?;
    let [major, minor, patch, ..] = info.get(offset_of!(Info, version)..)? else {
        return None;
    };
    Some([*major, *minor, *patch])
}

/// `vrfbind_info` in the library's file: its address there, and its bytes before the library runs, with
/// whatever follows them. The file may be anything, and a hostile one.
pub fn info(file: &[u8]) -> Option<(u64, &[u8])> {
    let elf = FileHeader64::<Endianness>::parse(file).ok()?;
    let endian = elf.endian().ok()?;
    if Some(elf.e_machine(endian).0) != rules::executable::MACHINE {
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
    let address = symbol.st_value(endian);
    let segment = elf
        .program_headers(endian, file)
        .ok()?
        .iter()
        .find(|segment| {
            let start = segment.p_vaddr(endian);
            segment.p_type(endian) == PT_LOAD
                && (start..start.saturating_add(segment.p_filesz(endian))).contains(&address)
        })?;
    let offset = (address - segment.p_vaddr(endian)).checked_add(segment.p_offset(endian))?;
    let bytes = file.get(usize::try_from(offset).ok()?..)?;
    bytes
        .starts_with(&rules::info::INFO_MAGIC)
        .then_some((address, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_library_has_no_version() {
        assert_eq!(version(&File::open("/proc/self/exe").unwrap()), None);
        assert_eq!(version(&File::open("/etc/passwd").unwrap()), None);
    }
}
