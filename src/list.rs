//! `VRFBIND_RULES`: read at load, and kept where nobody can write to it.
//!
//! The list lies in a mapping of its own, which is made read-only before anybody learns of it. So it is there on musl too,
//! where our data stays writable, and two threads that read it at once, before the constructor, each publish the same.
//! Behind it lies its text, which `vrfbind_info` names to other processes: the variable's memory is the program's, and a file
//! may change.
//! Without rules there is no mapping, and everything is as if there were no such variable.

use crate::log::Line;
use crate::sys;
use core::ffi::c_int;
use core::sync::atomic::{AtomicPtr, Ordering};
use core::{ptr, slice};
use rules::RULES_VARIABLE;
use rules::list::List;
use rules::list::parse::{self, Invalid, LARGEST_FILE};
use syscalls::Errno;

/// Null: there are no rules.
static LIST: AtomicPtr<List> = AtomicPtr::new(ptr::null_mut());

/// The rules, if there are any. To be called after [`settings::vrf`](crate::settings::vrf), which makes sure that they have
/// been read.
#[allow(unsafe_code)]
pub fn get() -> Option<&'static List> {
    // SAFETY: null, or a list that stays and that nobody can write to.
    unsafe { LIST.load(Ordering::Acquire).as_ref() }
}

/// Reads the rules that the variable has or names, and returns their text. None: it is invalid; `complain` gets the
/// message, without the end of the line.
pub fn read(value: &[u8], complain: fn(Line)) -> Option<&'static [u8]> {
    if value.first() != Some(&b'/') {
        return take(b"", value, complain);
    }
    let unreadable = |errno| complain(failure(value, b"reading it", errno));
    let mut memory = sys::Mapping::new(LARGEST_FILE + 1)
        .map_err(unreadable)
        .ok()?;
    let length = read_file(value, memory.bytes()).map_err(unreadable).ok()?;
    let text = memory.bytes().get(..length).unwrap_or_default();
    take(value, text, complain)
}

/// Parses the text and publishes the list.
fn take(path: &[u8], text: &[u8], complain: fn(Line)) -> Option<&'static [u8]> {
    let mut list = List::empty();
    parse::add(&mut list, text)
        .map_err(|why| complain(complaint(path, &why)))
        .ok()?;
    publish(&list, text)
        .map_err(|errno| complain(failure(path, b"mmap()", errno)))
        .ok()
}

/// Reads a file, which has to be smaller than the buffer. Returns how many bytes it has.
fn read_file(path: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    // A NUL follows the path: the buffer is zeroed.
    let place = buffer.get_mut(..path.len()).ok_or(Errno::ENAMETOOLONG)?;
    place.copy_from_slice(path);
    let fd = sys::open_to_read(libc::AT_FDCWD, buffer.as_ptr().cast())?;
    let mut length = 0;
    let result = loop {
        let rest = buffer.get_mut(length..).unwrap_or_default();
        if rest.is_empty() {
            break Err(Errno::EFBIG);
        }
        match sys::read_at(fd, rest, length as u64) {
            Ok(0) => break Ok(length),
            Ok(read) => length += read,
            Err(Errno::EINTR) => {}
            Err(errno) => break Err(errno),
        }
    };
    sys::close(fd);
    result
}

#[allow(unsafe_code)]
fn publish(list: &List, text: &[u8]) -> Result<&'static [u8], Errno> {
    let size = size_of::<List>() + text.len();
    let address = sys::map(size)?;
    let place = ptr::with_exposed_provenance_mut::<List>(address);
    // SAFETY: a new mapping, aligned to a page, which begins with room for a list.
    unsafe { place.write(*list) };
    let behind = ptr::with_exposed_provenance_mut::<u8>(address + size_of::<List>());
    // SAFETY: the rest of the mapping has room for the text, which lies elsewhere.
    unsafe { behind.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    // SAFETY: what has just been written. It stays.
    let copy = unsafe { slice::from_raw_parts(behind, text.len()) };
    // SAFETY: nobody writes there any more.
    unsafe { sys::make_read_only(address..address + size) };
    LIST.store(place, Ordering::Release);
    Ok(copy)
}

fn begin(path: &[u8]) -> Line {
    let mut line = Line::new(RULES_VARIABLE.as_bytes());
    if !path.is_empty() {
        line.text(b"=");
        quoted(&mut line, path, 60);
    }
    line
}

/// Adds at most `most` bytes of untrusted text: the reason has to fit into the line too.
#[inline(never)]
fn quoted(line: &mut Line, text: &[u8], most: usize) {
    line.text(b"\"");
    line.untrusted(text.get(..most).unwrap_or(text));
    line.text(if text.len() > most { b"...\"" } else { b"\"" });
}

fn failure(path: &[u8], what: &[u8], errno: Errno) -> Line {
    let mut line = begin(path);
    line.text(b": ");
    line.text(what);
    line.numbered(b" fails with errno ", errno.into_raw());
    line
}

fn complaint(path: &[u8], invalid: &Invalid<'_>) -> Line {
    let mut line = begin(path);
    line.numbered(b": rule ", invalid.number as c_int);
    if !invalid.rule.is_empty() {
        line.text(b", ");
        quoted(&mut line, invalid.rule, 60);
    }
    if invalid.place.is_empty() {
        line.text(b", at its end");
    } else {
        line.text(b", at ");
        quoted(&mut line, invalid.place, 40);
    }
    line.text(b": ");
    line.text(invalid.why.as_bytes());
    line
}
