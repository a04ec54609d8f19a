//! The library in a process's memory: its mapping in /proc/PID/maps, and the file that is mapped.
//!
//! The process chooses the path, and the file at this path. Nothing is opened that blocks or has an effect: the path is
//! resolved without opening its file (O_PATH), and only a regular file is opened, without waiting for the holder of a
//! lease on it. Only the mapped file is read, which is recognised by device and inode, and no more than [`MOST`] bytes of
//! it.
//!
//! Device and inode are compared as /proc/PID/maps has them, which is not always as stat(2) returns them: on overlayfs
//! and btrfs the devices differ. So the candidate is mapped into this process, and its line in /proc/self/maps is
//! compared. This memory is never accessed: it may have no file behind it, or a hostile one.

use super::directory::{Directory, MOST, open_below};
use crate::sys::other_process::Page;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The file's name, and with it the soname.
const LIBRARY: &str = "libvrfbind.so";

/// The longest line that is parsed. ld.so loads nothing by a path of more than 4096 bytes (PATH_MAX), but a file can be
/// mapped whose path has megabytes.
const LINE: u64 = 8 << 10;

/// The most bytes that are read from maps: 65,530 mappings (vm.max_map_count) with paths of 4 KiB have half of it.
const WHOLE: u64 = 512 << 20;

/// The library's first mapping in a process.
pub struct Mapping {
    pub start: u64,
    pub path: PathBuf,
    file: Identity,
}

/// Device, "major:minor", and inode, as maps shows them.
#[derive(PartialEq, Eq)]
struct Identity(Vec<u8>, Vec<u8>);

/// Why the file is not read.
pub enum Refusal {
    /// Its path has no file, or another one.
    IsGone,
    /// It has more than [`MOST`] bytes.
    IsLarge,
    Error(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Error(error)
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Error(errno.into())
    }
}

impl Mapping {
    /// Looks for the library in /proc/PID/maps: to the end, where preloaded objects stand.
    pub fn find(maps: impl Read) -> io::Result<Option<Self>> {
        find(maps, |line| {
            let path = line.path.strip_suffix(b" (deleted)").unwrap_or(line.path);
            let is_library = Path::new(OsStr::from_bytes(path)).file_name()? == LIBRARY;
            let is_first = line.offset.iter().all(|digit| *digit == b'0');
            (is_library && is_first).then(|| Self {
                start: line.start,
                path: OsStr::from_bytes(path).into(),
                file: line.identity(),
            })
        })
    }

    /// The file, if it is still the one that is mapped.
    pub fn file(&self, process: &Directory) -> Result<Vec<u8>, Refusal> {
        // By the process's own root, since it may be in a container; or by ours, by which the kernel names the file of a
        // process that has gone into a chroot, if it can.
        let file = match self.open_below(&process.path("root")) {
            Err(Refusal::IsGone) => self.open_below(Path::new("/")),
            result => result,
        }?;
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST {
            return Err(Refusal::IsLarge);
        }
        Ok(bytes)
    }

    fn open_below(&self, root: &Path) -> Result<File, Refusal> {
        let file = open_below(root, &self.path)?.ok_or(Refusal::IsGone)?;
        if identity(&file)?.as_ref() != Some(&self.file) {
            return Err(Refusal::IsGone);
        }
        Ok(file)
    }
}

fn identity(file: &File) -> Result<Option<Identity>, Refusal> {
    let page = Page::of(file)?;
    let maps = File::open("/proc/self/maps")?;
    let is_it = |line: &Line| line.start == page.address();
    Ok(find(maps, |line| is_it(line).then(|| line.identity()))?)
}

/// A line of proc_pid_maps(5): `start-end permissions offset device inode path`.
struct Line<'a> {
    start: u64,
    offset: &'a [u8],
    device: &'a [u8],
    inode: &'a [u8],
    path: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let addresses = str::from_utf8(words.next()?).ok()?;
        let _permissions = words.next()?;
        Some(Self {
            start: u64::from_str_radix(addresses.split_once('-')?.0, 16).ok()?,
            offset: words.next()?,
            device: words.next()?,
            inode: words.next()?,
            // The path may have blanks in it. The kernel writes a line feed as `\012`, and the library refuses a path
            // with one.
            path: words.next().unwrap_or_default().trim_ascii_start(),
        })
    }

    fn identity(&self) -> Identity {
        Identity(self.device.to_owned(), self.inode.to_owned())
    }
}

/// The first line that `wanted` accepts. The memory that this needs does not grow with the number of mappings.
fn find<T>(maps: impl Read, wanted: impl Fn(&Line) -> Option<T>) -> io::Result<Option<T>> {
    let mut maps = BufReader::new(maps.take(WHOLE));
    let mut line = Vec::new();
    loop {
        line.clear();
        if maps.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return match maps.get_ref().limit() {
                0 => Err(io::Error::other("its maps have more than 512 MiB")),
                _ => Ok(None),
            };
        }
        if line.pop_if(|last| *last == b'\n').is_none() {
            maps.skip_until(b'\n')?;
            continue;
        }
        if let Some(found) = Line::parse(&line).and_then(|line| wanted(&line)) {
            return Ok(Some(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0000001000 r-xp 00000000 08:01 99                         /usr/lib/libc.so.6
7f0000002000-7f0000003000 rw-p 00001000 08:01 7                          /opt/a b/libvrfbind.so
7f0000003000-7f0000004000 rw-p 00000000 00:00 0
7f0000001000-7f0000002000 r-xp 00000000 08:01 7                          /opt/a b/libvrfbind.so (deleted)
";

    #[test]
    fn finds_the_first_page_of_the_library() {
        let mapping = Mapping::find(MAPS.as_bytes()).unwrap().unwrap();
        assert_eq!(mapping.start, 0x7f00_0000_1000);
        assert!(mapping.file == Identity(b"08:01".to_vec(), b"7".to_vec()));
        assert_eq!(mapping.path, Path::new("/opt/a b/libvrfbind.so"));
        let other = "7f00-7f01 r-xp 00000000 08:01 9 /x/notlibvrfbind.so\n";
        assert!(Mapping::find(other.as_bytes()).unwrap().is_none());
    }

    #[test]
    fn a_line_that_is_too_long_hides_none_behind_it() {
        let long = "7f00-7f01 r-xp 00000000 08:01 9 /".to_owned() + &"x/".repeat(1 << 20);
        for ending in ["libvrfbind.so\n", "\n"] {
            let maps = long.clone() + ending + MAPS;
            let mapping = Mapping::find(maps.as_bytes()).unwrap().unwrap();
            assert_eq!(mapping.start, 0x7f00_0000_1000);
        }
    }

    #[test]
    fn maps_without_an_end_are_an_error() {
        assert!(Mapping::find(io::repeat(b'x')).is_err());
    }

    #[test]
    fn maps_that_are_none_have_no_library() {
        for maps in [
            "",
            "\n",
            "-",
            "7f00 /libvrfbind.so",
            "x-y r 0 08:01 9 /libvrfbind.so\n",
        ] {
            assert!(Mapping::find(maps.as_bytes()).unwrap().is_none(), "{maps}");
        }
    }

    #[test]
    fn a_file_is_known_by_a_page_of_it() {
        let (one, same) = (File::open("/proc/self/exe"), File::open("/proc/self/exe"));
        let other = File::open("/etc/passwd").unwrap();
        let known = |file: &File| identity(file).ok().flatten();
        let one = known(&one.unwrap());
        assert!(one.is_some());
        assert!(one == known(&same.unwrap()));
        assert!(one != known(&other));
    }

    #[test]
    fn mutated_maps() {
        crate::fuzz::each_input(&[MAPS.as_bytes()], |maps| drop(Mapping::find(maps)));
    }
}
