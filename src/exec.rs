//! A program that this one becomes stays in the VRF, though its environment be scrubbed.
//!
//! At every execve: the environment it would get is read. If LD_PRELOAD holds the library and our
//! variables are there, it is passed on as it is. Otherwise a new array of pointers is made, with what is
//! missing put back: the library at the head of LD_PRELOAD, others kept behind it, and our
//! variables as they were at load. A child that says `VRFBIND_VRF=something` has spoken, and is
//! obeyed, be it another VRF or `default`; unset or empty counts as scrubbed.
//!
//! Where the new array lives is the difficulty. This runs in a child of vfork or posix_spawn too: its stack may be as
//! small as 5 KiB (musl), the heap's lock may be held by a thread that does not exist here, and
//! its memory is its parent's, where everything that is not given back stays. And it cannot be
//! given back, because a successful execve does not return. So each thread has a block of memory of its own
//! that is used over and over: a vfork child has its parent's thread pointer (and so its errno's address, by which
//! we know it), and the parent waits until the child is gone. The table of blocks, and they, are the only
//! memory of ours that is written after the constructor, and nothing of the program's ever is.
//!
//! Bounds, answered by E2BIG: [`LARGEST`] bytes of pointers and new strings; [`THREADS`] threads of one
//! process that have ever needed a block.

use crate::arch;
use crate::log;
use crate::next::Strings;
use crate::policy::Vrf;
use crate::preloadable::{self, Program};
use crate::{settings, sys};
use abi::{DEFAULT, LOG_VARIABLE, SEAL_VARIABLE, VRF_VARIABLE};
use core::ffi::c_char;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use syscalls::Errno;

const PRELOAD: &[u8] = b"LD_PRELOAD";

/// The most bytes that a repaired environment may need, strings of the program's not counted. The kernel's
/// own limit for all strings and pointers is 6 MiB (execve(2)).
pub const LARGEST: usize = 8 << 20;

/// How many threads of a process can have a block.
pub const THREADS: usize = 1024;

/// The library's path, as it shall stand in LD_PRELOAD.
static LIBRARY: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Notes, in the constructor, how children will find the library: by the path ld.so found it by, which
/// stays in ld.so's memory. A relative one would depend on where the program goes.
pub fn prepare(path: *const c_char) {
    if let Ok(table) = sys::map(size_of::<[Slot; THREADS]>()) {
        TABLE.store(ptr::with_exposed_provenance_mut(table), Ordering::Relaxed);
    }
    LIBRARY.store(sys::absolute(path).cast_mut(), Ordering::Relaxed);
}

/// Calls `exec`, which starts `program`, with an environment in which nothing of ours is missing.
pub fn with_environment<R>(
    program: Program,
    envp: Strings,
    exec: impl FnOnce(Strings) -> R,
) -> Result<R, Errno> {
    let library = LIBRARY.load(Ordering::Relaxed);
    if library.is_null() || settings::vrf() == Vrf::Inert {
        return Ok(exec(envp));
    }
    preloadable::notice(program, library);
    let library = sys::string(library);
    let found = Found::look(envp, library);
    if found.is_complete() {
        return Ok(exec(envp));
    }
    let pointers = (found.count + 5) * size_of::<*const c_char>();
    let strings = 256 + log::LOG_SIZE + library.len() + found.preload.map_or(0, <[u8]>::len);
    let size = pointers + strings;
    if size > LARGEST {
        return Err(Errno::E2BIG);
    }
    let block = Block::of_this_thread(size).ok_or(Errno::E2BIG)?;
    let environment = found.repaired(envp, library, &block, pointers);
    let result = exec(environment);
    // Here only if exec has failed.
    block.release();
    Ok(result)
}

/// What there is of ours in an environment.
struct Found<'a> {
    /// How many variables, all in all.
    count: usize,
    /// The value of LD_PRELOAD. ld.so takes the last one, if there are several.
    preload: Option<&'a [u8]>,
    has_library: bool,
    has_vrf: bool,
    has_seal: bool,
    has_log: bool,
}

impl<'a> Found<'a> {
    fn look(envp: Strings, library: &[u8]) -> Self {
        let mut found = Self {
            count: 0,
            preload: None,
            has_library: false,
            has_vrf: false,
            // What the library was not asked for at load, its children are not either.
            has_seal: !settings::is_seal_asked(),
            has_log: !log::is_on(),
        };
        each(envp, |entry| {
            found.count += 1;
            if let Some(value) = sys::value(entry, PRELOAD) {
                found.preload = Some(value);
                found.has_library = holds(value, library);
            }
            let is_set = |name: &str| {
                sys::value(entry, name.as_bytes()).is_some_and(|value| !value.is_empty())
            };
            found.has_vrf |= is_set(VRF_VARIABLE);
            found.has_seal |= is_set(SEAL_VARIABLE);
            found.has_log |= is_set(LOG_VARIABLE);
        });
        found
    }

    fn is_complete(&self) -> bool {
        self.has_library && self.has_vrf && self.has_seal && self.has_log
    }

    /// Writes the new environment: strings of ours behind `pointers` bytes for the array.
    fn repaired(&self, envp: Strings, library: &[u8], block: &Block, pointers: usize) -> Strings {
        let mut array = Array::new(block.address, pointers);
        let mut text = Text::new(block.address + pointers, block.size - pointers);
        // What is replaced is left out: LD_PRELOAD in all its copies, and ours if they are empty.
        each(envp, |entry| {
            let replaced =
                |name: &[u8], is_there: bool| !is_there && sys::value(entry, name).is_some();
            if !(replaced(PRELOAD, self.has_library)
                || replaced(VRF_VARIABLE.as_bytes(), self.has_vrf)
                || replaced(SEAL_VARIABLE.as_bytes(), self.has_seal)
                || replaced(LOG_VARIABLE.as_bytes(), self.has_log))
            {
                array.push(entry);
            }
        });
        if !self.has_library {
            let others = self.preload.unwrap_or_default();
            let separator: &[u8] = if others.is_empty() { b"" } else { b":" };
            array.push(text.string(&[PRELOAD, b"=", library, separator, others]));
        }
        if !self.has_vrf {
            let device;
            let value = match settings::vrf() {
                Vrf::Device(name) => {
                    device = name;
                    device.as_bytes()
                }
                Vrf::Default | Vrf::Inert => DEFAULT,
                // As little understood by the child as by us.
                Vrf::Invalid => b"/",
            };
            array.push(text.string(&[VRF_VARIABLE.as_bytes(), b"=", value]));
        }
        if !self.has_seal {
            array.push(text.string(&[SEAL_VARIABLE.as_bytes(), b"=1"]));
        }
        if !self.has_log {
            let (path, length) = log::path();
            let path = path.get(..length).unwrap_or_default();
            array.push(text.string(&[LOG_VARIABLE.as_bytes(), b"=", path]));
        }
        array.finish()
    }
}

/// Whether a value of LD_PRELOAD has the library in it, by whatever path that is not relative.
fn holds(value: &[u8], library: &[u8]) -> bool {
    let name = |path: &[u8]| -> usize {
        path.iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |at| at + 1)
    };
    let ours = library.get(name(library)..).unwrap_or_default();
    value
        .split(|&byte| byte == b':' || byte == b' ')
        .any(|entry| {
            let start = name(entry);
            let is_fixed = start == 0 || matches!(entry.first(), Some(b'/' | b'$'));
            is_fixed && entry.get(start..) == Some(ours)
        })
}

fn each(envp: Strings, mut look: impl FnMut(*const c_char)) {
    let mut entry = envp;
    // Linux takes no array for an empty one (execve(2), NOTES).
    if entry.is_null() {
        return;
    }
    loop {
        // SAFETY: callers of execve pass an array of strings with a NULL at its end, and this is at
        // or before it.
        let string = unsafe { *entry };
        if string.is_null() {
            return;
        }
        look(string);
        // SAFETY: this entry was not the NULL, so there is a next one.
        entry = unsafe { entry.add(1) };
    }
}

/// The new array of pointers, in a block.
struct Array {
    next: *mut *const c_char,
    start: Strings,
    room: usize,
}

impl Array {
    fn new(address: usize, size: usize) -> Self {
        let next = ptr::with_exposed_provenance_mut(address);
        Self {
            next,
            start: next.cast_const(),
            room: size / size_of::<*const c_char>(),
        }
    }

    fn push(&mut self, string: *const c_char) {
        // The last place is for the NULL.
        if self.room > 1 {
            // SAFETY: there is room.
            unsafe { self.next.write(string) };
            // SAFETY: as above; at most one past the end.
            self.next = unsafe { self.next.add(1) };
            self.room -= 1;
        }
    }

    fn finish(self) -> Strings {
        // SAFETY: push() has left room for it.
        unsafe { self.next.write(ptr::null()) };
        self.start
    }
}

/// New strings, in a block.
struct Text {
    next: usize,
    room: usize,
}

impl Text {
    fn new(address: usize, size: usize) -> Self {
        Self {
            next: address,
            room: size,
        }
    }

    /// Joins the parts and ends them with a NUL.
    fn string(&mut self, parts: &[&[u8]]) -> *const c_char {
        let start = self.next;
        for part in parts.iter().chain(&[&b"\0"[..]]) {
            if part.len() <= self.room {
                let to = ptr::with_exposed_provenance_mut::<u8>(self.next);
                // SAFETY: there is room in the block, and `part` is not in it.
                unsafe { ptr::copy_nonoverlapping(part.as_ptr(), to, part.len()) };
                self.next += part.len();
                self.room -= part.len();
            }
        }
        ptr::with_exposed_provenance(start)
    }
}

/// A block of memory, in use.
struct Block {
    address: usize,
    size: usize,
    slot: Option<&'static Slot>,
}

/// A thread's place in the table.
struct Slot {
    /// The thread, or 0. Once taken, never given back.
    owner: AtomicUsize,
    /// The process that is using the block, or 0. A vfork child that has become another program has
    /// left its number here.
    user: AtomicI32,
    address: AtomicUsize,
    size: AtomicUsize,
}

/// The slots of all threads, mapped in the constructor: all other data becomes read-only then.
/// Untouched, it costs address space and nothing else.
static TABLE: AtomicPtr<[Slot; THREADS]> = AtomicPtr::new(ptr::null_mut());

impl Block {
    fn of_this_thread(size: usize) -> Option<Self> {
        let slot = Slot::of_this_thread()?;
        let me = sys::getpid();
        if slot.user.load(Ordering::Relaxed) == me {
            // A signal handler that execs, while this thread is about to.
            let address = sys::map(size).ok()?;
            return Some(Self {
                address,
                size,
                slot: None,
            });
        }
        slot.user.store(me, Ordering::Relaxed);
        let (address, old_size) = (&slot.address, &slot.size);
        if old_size.load(Ordering::Relaxed) < size {
            let new = match sys::map(size) {
                Ok(new) => new,
                Err(_) => {
                    slot.user.store(0, Ordering::Relaxed);
                    return None;
                }
            };
            // Nobody else is in this slot.
            let (old, unused) = (
                address.load(Ordering::Relaxed),
                old_size.load(Ordering::Relaxed),
            );
            address.store(new, Ordering::Relaxed);
            old_size.store(size, Ordering::Relaxed);
            if old != 0 {
                sys::unmap(old, unused);
            }
        }
        Some(Self {
            address: address.load(Ordering::Relaxed),
            size,
            slot: Some(slot),
        })
    }

    fn release(self) {
        match self.slot {
            Some(slot) => slot.user.store(0, Ordering::Relaxed),
            None => sys::unmap(self.address, self.size),
        }
    }
}

impl Slot {
    /// By open addressing: from the thread's own place on, the first that is its own or free.
    fn of_this_thread() -> Option<&'static Self> {
        // SAFETY: null, or a mapping of this size that is never given back. All zeroes are free slots.
        let slots = unsafe { TABLE.load(Ordering::Relaxed).as_ref() }?;
        let thread = sys::thread();
        let (before, from) = slots.split_at_checked((thread >> 6) % THREADS)?;
        from.iter().chain(before).find(|slot| {
            let owner = arch::take(&slot.owner, thread);
            owner == 0 || owner == thread
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself_in_a_preload_list() {
        let library = b"/usr/lib/libvrfbind.so";
        for held in [
            &b"/usr/lib/libvrfbind.so"[..],
            b"libvrfbind.so",
            b"/elsewhere/libvrfbind.so",
            b"/usr/$LIB/libvrfbind.so",
            b"libother.so:libvrfbind.so",
            b"libother.so /usr/lib/libvrfbind.so libthird.so",
        ] {
            assert!(holds(held, library), "{}", held.escape_ascii());
        }
        for not_held in [
            &b""[..],
            b"libother.so",
            b"libvrfbind.so.1",
            b"notlibvrfbind.so",
            // Where the child looks depends on where it is.
            b"./libvrfbind.so",
            b"lib/libvrfbind.so",
        ] {
            assert!(!holds(not_held, library), "{}", not_held.escape_ascii());
        }
    }
}
