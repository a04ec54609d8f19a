//! `VRFBIND_RULES`: read at load, and kept where nobody can write to it.
//!
//! The list lies in a mapping of its own, which is made read-only before anybody learns of it. So it is there on musl too,
//! where our data stays writable, and two threads that read it at once, before the constructor, each publish the same.
//! Without rules there is no mapping, and everything is as if there were no such variable.

use crate::log::Line;
use crate::sys;
use core::ffi::c_int;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use rules::RULES_VARIABLE;
use rules::list::List;
use rules::list::parse::{Invalid, parse};
use syscalls::Errno;

/// Null: there are no rules.
static LIST: AtomicPtr<List> = AtomicPtr::new(ptr::null_mut());

/// The most bytes that a file may have: 64 rules of the longest kind, and as much again for comments.
const LARGEST: usize = 16 << 10;

/// The rules, if there are any. To be asked after [`settings::vrf`](crate::settings::vrf), which sees to it that they have
/// been read.
#[allow(unsafe_code)]
pub fn get() -> Option<&'static List> {
    // SAFETY: null, or a list that stays and that nobody can write to.
    unsafe { LIST.load(Ordering::Acquire).as_ref() }
}

/// Reads what the variable says. None: it is invalid, of which `complain` gets the line, without its end.
pub fn read(value: &[u8], complain: fn(Line)) -> Option<()> {
    if value.first() != Some(&b'/') {
        return take(b"", value, complain);
    }
    let unreadable = |errno| complain(failure(value, b"reading it", errno));
    let mut memory = sys::Mapping::new(LARGEST + 1).map_err(unreadable).ok()?;
    let length = read_file(value, memory.bytes()).map_err(unreadable).ok()?;
    let text = memory.bytes().get(..length).unwrap_or_default();
    take(value, text, complain)
}

/// Publishes the list that the text is.
fn take(path: &[u8], text: &[u8], complain: fn(Line)) -> Option<()> {
    let list = parse(text)
        .map_err(|why| complain(complaint(path, &why)))
        .ok()?;
    publish(&list)
        .map_err(|errno| complain(failure(path, b"mmap()", errno)))
        .ok()
}

/// Reads a file, which has to be smaller than the buffer. Returns how many bytes it has.
fn read_file(path: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    // With a NUL behind it: the buffer is zeroed.
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
fn publish(list: &List) -> Result<(), Errno> {
    let address = sys::map(size_of::<List>())?;
    let place = ptr::with_exposed_provenance_mut::<List>(address);
    // SAFETY: a new mapping of this size, aligned to a page.
    unsafe { place.write(*list) };
    // SAFETY: nobody writes there any more.
    unsafe { sys::make_read_only(address..address + size_of::<List>()) };
    LIST.store(place, Ordering::Release);
    Ok(())
}

fn begin(path: &[u8]) -> Line {
    let mut line = Line::new(RULES_VARIABLE.as_bytes());
    if !path.is_empty() {
        line.text(b"=");
        quoted(&mut line, path, 60);
    }
    line
}

/// So many bytes of what somebody else has written: the reason has to fit into the line.
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
    line.text(b" fails with errno ");
    line.number(errno.into_raw());
    line
}

fn complaint(path: &[u8], invalid: &Invalid<'_>) -> Line {
    let mut line = begin(path);
    line.text(b": rule ");
    line.number(invalid.number as c_int);
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
