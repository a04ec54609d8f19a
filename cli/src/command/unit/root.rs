//! The directory that units are looked for in and written to: `/`, or what `--root` names, such as an image.
//!
//! The files below `--root` are untrusted: their links are followed as a system that runs there would follow them, and so
//! do not leave the root (openat2(2) with RESOLVE_IN_ROOT, Linux 5.6). Every path is opened anew from the directory's
//! descriptor; no earlier check of a path is relied on.

use crate::failure::{Failure, refuse};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The most bytes that are read; every file that is read here has less.
const MOST: u64 = 1 << 20;

pub struct Root {
    path: PathBuf,
    directory: OwnedFd,
    /// Whether it is our own root directory, out of which no path leads.
    pub is_host: bool,
}

/// An entry of a directory.
pub struct Entry {
    pub name: String,
    /// Its target, if it is a symbolic link.
    pub link: Option<PathBuf>,
}

impl Root {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = |path: &Path| {
            let directory = open(path, flags, Mode::empty())?;
            let inode = fstat(&directory)?;
            Ok((directory, (inode.st_dev, inode.st_ino)))
        };
        let fails = |errno: Errno| refuse(format!("open {}: {}", path.display(), errno.desc()));
        let (_, host) = directory(Path::new("/")).map_err(fails)?;
        let (directory, inode) = directory(path).map_err(fails)?;
        let root = Self {
            path: path.to_owned(),
            directory,
            is_host: inode == host,
        };
        match root.open_at(Path::new("."), flags) {
            Err(Errno::ENOSYS) => Err(refuse(format!(
                "--root {}: without openat2(2), which Linux has since 5.6, links could lead out of it; run vrfbind in \
                 it by chroot(8)",
                path.display()
            ))),
            Err(errno) => Err(fails(errno)),
            Ok(_) => Ok(root),
        }
    }

    /// The form in which a path below it is shown to the user.
    pub fn shown(&self, path: &Path) -> PathBuf {
        self.path.join(relative(path))
    }

    /// Opens a file, without waiting for the other end of a FIFO, and without making a terminal the controlling one.
    pub fn open_at(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let path = relative(path);
        if self.is_host {
            return openat(&self.directory, path, flags, Mode::empty());
        }
        // openat2(2) fails with EINVAL for flags that open(2) ignores with O_PATH.
        let flags = match flags.contains(OFlag::O_PATH) {
            true => flags & !(OFlag::O_NONBLOCK | OFlag::O_NOCTTY),
            false => flags,
        };
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        openat2(&self.directory, path, how)
    }

    /// A regular file. None: there is none.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
        let fails =
            |error: io::Error| refuse(format!("read {}: {error}", self.shown(path).display()));
        match self.open_at(path, OFlag::O_RDONLY) {
            Err(errno) if is_missing(errno) => Ok(None),
            Err(errno) => Err(fails(errno.into())),
            Ok(file) => contents(file).map_err(fails),
        }
    }

    /// The entries of a directory; none if it does not exist.
    pub fn list(&self, path: &Path) -> Vec<Entry> {
        let Ok(directory) = self.open_at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) else {
            return Vec::new();
        };
        let Ok(mut entries) = Dir::from_fd(directory) else {
            return Vec::new();
        };
        let names = entries.iter().flatten();
        let names = names.filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned()));
        let names: Vec<_> = names.filter(|name| name != "." && name != "..").collect();
        let entry = |name: String| Entry {
            link: readlinkat(&entries, &*name).ok().map(PathBuf::from),
            name,
        };
        names.into_iter().map(entry).collect()
    }

    /// The file's status, following links.
    pub fn stat(&self, path: &Path) -> Result<FileStat, Errno> {
        fstat(self.open_at(path, OFlag::O_PATH)?)
    }

    pub fn exists(&self, path: &Path) -> bool {
        self.stat(path).is_ok()
    }

    /// Opens the directory, and creates it if it does not exist.
    fn make(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mut made = PathBuf::from("/");
        let mut directory = self.open_at(&made, flags)?;
        for name in relative(path) {
            made.push(name);
            directory = match self.open_at(&made, flags) {
                Err(Errno::ENOENT) => {
                    mkdirat(&directory, name, Mode::from_bits_truncate(0o755))?;
                    self.open_at(&made, flags)?
                }
                opened => opened?,
            };
        }
        Ok(directory)
    }

    /// Writes a file in one step, so that nobody reads half of it. A file of its name must have passed [`read_own`].
    pub fn write(&self, directory: &Path, name: &str, text: &str) -> io::Result<()> {
        let directory = self.make(directory)?;
        let new = format!("{name}.{}", std::process::id());
        // A new file, and no link.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(&directory, &*new, flags, Mode::from_bits_truncate(0o644))?;
        let mut file = File::from(file);
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat(&directory, &*new, &directory, name)?));
        if written.is_err() {
            let _ = unlinkat(&directory, &*new, UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Removes a file, and its directory if nothing else is in it.
    pub fn remove(&self, directory: &Path, name: &str) -> Result<(), Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        unlinkat(
            self.open_at(directory, flags)?,
            name,
            UnlinkatFlags::NoRemoveDir,
        )?;
        if let (Some(parent), Some(name)) = (directory.parent(), directory.file_name())
            && let Ok(parent) = self.open_at(parent, flags)
        {
            let _ = unlinkat(parent, name, UnlinkatFlags::RemoveDir);
        }
        Ok(())
    }

    /// A file of a directory, unless it is a link. None: it does not exist.
    pub fn read_own(&self, directory: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let directory = match self.open_at(directory, flags) {
            Err(errno) if is_missing(errno) => return Ok(None),
            directory => directory?,
        };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(&directory, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => Ok(None),
            // A link.
            Err(Errno::ELOOP) => Ok(Some(Vec::new())),
            file => Ok(Some(contents(file?)?.unwrap_or_default())),
        }
    }
}

fn relative(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
}

/// None if it is not a regular file.
fn contents(file: OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let kind = SFlag::from_bits_truncate(fstat(&file)?.st_mode);
    if kind & SFlag::S_IFMT != SFlag::S_IFREG {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::from(file).take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    Ok(Some(bytes))
}
