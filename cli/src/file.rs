//! Files with untrusted paths: a configuration, a library, a profile.
//!
//! Only regular files are opened, since opening any other can block, or have an effect (a FIFO, a tape, a watchdog). If
//! another file takes the place of a regular one meanwhile, the open does not wait for it (O_NONBLOCK, which breaks a
//! lease too, fcntl(2)). The number of bytes that are read is limited.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// The most bytes that are read. The longest file that is read, modules.dep, has less than 1 MiB.
const MOST: u64 = 4 << 20;

/// Opens a regular file for reading.
pub fn open(path: &Path) -> io::Result<File> {
    let is_regular = |file: fs::Metadata| match file.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is no regular file")),
    };
    is_regular(fs::metadata(path)?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    is_regular(file.metadata()?)?;
    Ok(file)
}

/// The beginning of a regular file, as text: bytes that are not UTF-8 are replaced.
pub fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a file in one step, so that nobody reads half of it: readable for everybody, or with owner and mode of the file
/// that it replaces. `path` must not be a link, which would itself be replaced.
pub fn replace(path: &Path, contents: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = Path::new(&name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)?;
    let mode = old.map_or(0o644, |old| old.mode() & 0o777);
    let written = file
        .write_all(contents)
        .and_then(|()| match old {
            Some(old) => fchown(&file, Some(old.uid()), Some(old.gid())),
            None => Ok(()),
        })
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(new, path));
    if written.is_err() {
        let _ = fs::remove_file(new);
    }
    written
}
