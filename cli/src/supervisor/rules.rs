//! The lists of a tree with rules: each value of `VRFBIND_RULES` in an environment is parsed once. A file is read when
//! the first program that names it uses a socket, and not again. And the messages to the user.
//!
//! The supervisor has no standard error: otherwise the reader of a pipe would wait for the supervisor's end. It keeps the
//! initial standard error as a descriptor without access (O_PATH), which keeps no pipe and no terminal open, and opens it
//! anew for a line. If it may not, or if this is a socket, it borrows the caller's standard error, if that is the same
//! file. Otherwise the line goes to the system's log. It never waits for a reader.

use super::caller::Caller;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use rules::RULES_VARIABLE;
use rules::list::List;
use rules::list::parse::parse;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

/// The most values, and the most lines, that are remembered: programs may invent any number.
const MOST: usize = 64;

/// The most bytes that a file may have, as in the library.
const LARGEST: u64 = 16 << 10;

/// A list, or None: it is invalid, and every IP socket fails with EINVAL.
type Parsed = Option<Arc<List>>;

#[derive(Default)]
pub(super) struct Rules {
    lists: Mutex<Vec<(Vec<u8>, Parsed)>>,
    written: Mutex<BTreeSet<String>>,
}

impl Rules {
    /// The list of this value.
    pub(super) fn list(&self, value: &[u8], caller: &Caller) -> Parsed {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, list)) = lists.iter().find(|(known, _)| known == value) {
            return list.clone();
        }
        let list = match read(value, caller) {
            Ok(list) => Some(Arc::new(list)),
            Err(why) => {
                let name = caller.name();
                let sentence = format!(
                    "{RULES_VARIABLE} of {name}: {why}. Its IPv4 and IPv6 sockets fail with EINVAL"
                );
                self.say(caller, &sentence);
                None
            }
        };
        if lists.len() == MOST {
            lists.remove(0);
        }
        lists.push((value.to_vec(), list.clone()));
        list
    }

    /// Writes the sentence to the initial standard error of the tree, once.
    pub(super) fn say(&self, caller: &Caller, sentence: &str) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() == MOST || !written.insert(sentence.to_owned()) {
            return;
        }
        let line = format!("vrfbind: {sentence}\n");
        match standard_error(caller) {
            Some(stderr) => {
                let _ = nix::unistd::write(stderr, line.as_bytes());
            }
            None => log(sentence),
        }
    }
}

/// The initial standard error, if it can be opened, or is the caller's, and can be written to at once.
fn standard_error(caller: &Caller) -> Option<OwnedFd> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let at_start = format!("self/fd/{}", libc::STDERR_FILENO);
    if let Ok(stderr) = openat(caller.proc, at_start.as_str(), flags, Mode::empty()) {
        return Some(stderr);
    }
    let file = |stat: FileStat| (stat.st_dev, stat.st_ino);
    let at_start = fstatat(caller.proc, at_start.as_str(), AtFlags::empty()).ok()?;
    let stderr = caller.duplicate(libc::STDERR_FILENO).ok()?;
    if file(fstat(&stderr).ok()?) != file(at_start) {
        return None;
    }
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let ready = poll(&mut polled, PollTimeout::ZERO);
    let [polled] = polled;
    (ready == Ok(1) && polled.revents() == Some(PollFlags::POLLOUT)).then_some(stderr)
}

/// Writes to the system's log, if that does not block (syslog(3): LOG_DAEMON, LOG_WARNING).
fn log(sentence: &str) {
    if let Ok(socket) = UnixDatagram::unbound()
        && socket.set_nonblocking(true).is_ok()
    {
        let line = format!("<28>vrfbind[{}]: {sentence}", process::id());
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}

fn read(value: &[u8], caller: &Caller) -> Result<List, String> {
    if value.first() != Some(&b'/') {
        return parsed(value);
    }
    let cannot = |errno: Errno| format!("{}: {}", value.escape_ascii(), errno.desc());
    let file = caller.open_file(Path::new(OsStr::from_bytes(value)));
    let mut text = Vec::new();
    let mut file = file.map_err(cannot)?.take(LARGEST + 1);
    file.read_to_end(&mut text)
        .map_err(|_| cannot(Errno::EIO))?;
    if text.len() as u64 > LARGEST {
        return Err(cannot(Errno::EFBIG));
    }
    parsed(&text).map_err(|why| format!("{}: {why}", value.escape_ascii()))
}

fn parsed(text: &[u8]) -> Result<List, String> {
    parse(text).map_err(|invalid| invalid.to_string())
}
