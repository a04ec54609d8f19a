//! A program that this one becomes stays in the VRF, though its environment be scrubbed.
//!
//! At every execve: the environment it would get is read. If LD_PRELOAD holds the library and our
//! variables are there, it is passed on as it is. Otherwise a new array of pointers is made, with what is
//! missing put back: the library at the head of LD_PRELOAD, others kept behind it, and our
//! variables as they were at load. A child that says `VRFBIND_VRF=something` has spoken, and is
//! obeyed, be it another VRF or `default`; unset or empty counts as scrubbed. Of a variable that is
//! there twice, the first counts, as it will in the child ([`settings`](crate::settings)).
//!
//! The library is held by nothing but its own path: by a bare name, or by `$LIB`, ld.so may find another
//! file or none, and then it starts the program unbound.
//!
//! Where the new array lives is the difficulty. This runs in a child of vfork or posix_spawn too: of its
//! stack some hundred bytes may be left (musl's posix_spawnp with a long PATH), the heap's lock may be
//! held by a thread that does not exist here, and its memory is its parent's, where everything that is
//! not given back stays. And it cannot be given back, because a successful execve does not return. So each
//! thread has a block of memory of its own that is used over and over: a vfork child has its parent's
//! thread pointer (and so its errno's address, by which we know it), and the parent waits until the child
//! is gone. Nothing here may put a buffer on the stack; what needs one ([`program`]) gets its stack in
//! the block. The tables of blocks, and they, are the only memory of ours that is written after the
//! constructor, and nothing of the program's ever is. What they cost a process: 32 bytes and its largest
//! array for each thread address that has ever started a program.
//!
//! Not provided for: children of clone(CLONE_VM) without CLONE_VFORK that exec at the same time and have one
//! thread pointer (and so one errno, which no libc provides for either); and a child of vfork that is number
//! 1 of a new PID namespace after another such child looks as if it were the same, so that each of them
//! leaves its block behind.
//!
//! Answered by E2BIG: more than [`LARGEST`] bytes of pointers and new strings, or no memory for them.
//! Answered by EINVAL: the library lies where LD_PRELOAD cannot name it ([`is_nameable`]).

#[deny(unsafe_code)]
pub mod program;

use crate::arch;
use crate::libc::original::{self, Strings};
use crate::log::{self, Line};
use crate::{settings, sys};
use core::ffi::{c_char, c_void};
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use program::Program;
use rules::socket::Setting;
use rules::{DEFAULT, LOG_VARIABLE, SEAL_VARIABLE, VRF_VARIABLE};
use syscalls::Errno;

const PRELOAD: &[u8] = b"LD_PRELOAD";

/// The most bytes that a repaired environment may need, strings of the program's not counted. The kernel's
/// own limit for all strings and pointers is 6 MiB (execve(2)).
pub const LARGEST: usize = 8 << 20;

/// The library's path, as it shall stand in LD_PRELOAD.
static LIBRARY: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Notes, in the constructor, how children will find the library: by the path ld.so found it by, which
/// stays in ld.so's memory. A relative one would depend on where the program goes.
pub fn prepare(path: *const c_char) {
    let path = sys::absolute(path);
    if let Ok(table) = sys::map(size_of::<Table>()) {
        FIRST.store(table, Ordering::Relaxed);
    }
    LIBRARY.store(path.cast_mut(), Ordering::Relaxed);
    if !is_nameable(sys::string(path)) {
        complain(sys::string(path));
    }
}

#[cold]
#[inline(never)]
fn complain(path: &[u8]) {
    let mut line = Line::new();
    line.text(b"vrfbind: LD_PRELOAD cannot name \"");
    line.foreign(path);
    line.text(b"\" to the programs that this one starts (white space, ':', '$', not absolute): ");
    line.text(b"every execve() fails with EINVAL. Move the library.\n");
    line.write_to_stderr();
}

/// Before the constructor.
#[cold]
#[inline(never)]
fn prepare_early() {
    prepare(original::find().path);
}

/// Whether an entry of LD_PRELOAD can be this path and no other. glibc parts entries at blanks and
/// colons, musl at all white space, and glibc puts something else for `$LIB` and the like.
fn is_nameable(path: &[u8]) -> bool {
    let is_special = |byte: &u8| matches!(byte, b':' | b'$' | b' ' | 0x09..=0x0d);
    path.first() == Some(&b'/') && !path.iter().any(is_special)
}

/// Calls `exec`, which starts `program`, with an environment in which nothing of ours is missing.
pub fn with_environment<R>(
    program: Program,
    envp: Strings,
    exec: impl FnOnce(Strings) -> R,
) -> Result<R, Errno> {
    if settings::vrf() == Setting::Inert {
        return Ok(exec(envp));
    }
    if LIBRARY.load(Ordering::Relaxed).is_null() {
        prepare_early();
    }
    let path = LIBRARY.load(Ordering::Relaxed);
    let library = sys::string(path);
    // A child that could not be sealed either, or that we could not get into, is none.
    if !is_nameable(library) || settings::is_seal_refused() {
        return Err(Errno::EINVAL);
    }
    let found = Found::look(envp, library);
    let is_noticed = program::is_noticed();
    if found.is_complete() && !is_noticed {
        return Ok(exec(envp));
    }
    let stack = if is_noticed { STACK } else { 0 };
    let pointers = (found.count + 5) * size_of::<*const c_char>();
    let strings = 256 + log::LOG_SIZE + library.len() + found.preload.map_or(0, <[u8]>::len);
    let size = stack + pointers + strings;
    if size > LARGEST {
        return Err(Errno::E2BIG);
    }
    let Some(block) = Block::of_this_thread(size) else {
        // The notice is a favour, the repair is not.
        return if found.is_complete() {
            Ok(exec(envp))
        } else {
            Err(Errno::E2BIG)
        };
    };
    if is_noticed {
        let mut subject = (program, path);
        arch::on_stack(block.address + stack, notice, (&raw mut subject).cast());
    }
    let result = if found.is_complete() {
        exec(envp)
    } else {
        exec(found.repaired(envp, library, block.address + stack, pointers, strings))
    };
    // Here only if exec has failed.
    block.release();
    Ok(result)
}

/// The stack of [`program::notice`], and of signal handlers that come meanwhile.
const STACK: usize = 64 << 10;

extern "C" fn notice(subject: *mut c_void) {
    // SAFETY: `with_environment` passes such a pair.
    let (program, library) = unsafe { *subject.cast::<(Program, *const c_char)>() };
    program::notice(program, library);
}

/// What there is of ours in an environment.
struct Found<'a> {
    /// How many variables, all in all.
    count: usize,
    /// The value of LD_PRELOAD; the last one, if there are several, as glibc's ld.so has it.
    preload: Option<&'a [u8]>,
    /// Whether it has the library in it: each of them, since musl's ld.so takes the first.
    has_library: bool,
    has_vrf: bool,
    has_seal: bool,
    has_log: bool,
}

impl<'a> Found<'a> {
    fn look(envp: Strings, library: &[u8]) -> Self {
        let mut preload = None;
        let mut all_hold = true;
        let (mut count, mut vrf, mut seal, mut log) = (0, None, None, None);
        each(envp, |entry| {
            count += 1;
            if let Some(value) = sys::value(entry, PRELOAD) {
                preload = Some(value);
                all_hold &= holds(value, library);
            }
            let is_set =
                |name: &str| sys::value(entry, name.as_bytes()).map(|value| !value.is_empty());
            vrf = vrf.or_else(|| is_set(VRF_VARIABLE));
            seal = seal.or_else(|| is_set(SEAL_VARIABLE));
            log = log.or_else(|| is_set(LOG_VARIABLE));
        });
        Self {
            count,
            preload,
            has_library: preload.is_some() && all_hold,
            has_vrf: vrf == Some(true),
            // What the library was not asked for at load, its children are not either.
            has_seal: seal == Some(true) || !settings::is_seal_asked(),
            has_log: log == Some(true) || !log::is_on(),
        }
    }

    fn is_complete(&self) -> bool {
        self.has_library && self.has_vrf && self.has_seal && self.has_log
    }

    /// Writes the new environment at `address`: `pointers` bytes for the array, and behind it `strings`
    /// for strings of ours.
    fn repaired(
        &self,
        envp: Strings,
        library: &[u8],
        address: usize,
        pointers: usize,
        strings: usize,
    ) -> Strings {
        let mut array = Array::new(address, pointers);
        let mut text = Text::new(address + pointers, strings);
        // What is replaced is left out, in all its copies.
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
                Setting::Device(name) => {
                    device = name;
                    device.as_bytes()
                }
                Setting::Default | Setting::Inert => DEFAULT,
                // As little understood by the child as by us.
                Setting::Invalid => b"/",
            };
            array.push(text.string(&[VRF_VARIABLE.as_bytes(), b"=", value]));
        }
        if !self.has_seal {
            array.push(text.string(&[SEAL_VARIABLE.as_bytes(), b"=1"]));
        }
        if !self.has_log {
            array.push(text.string(&[LOG_VARIABLE.as_bytes(), b"=", log::path()]));
        }
        array.finish()
    }
}

/// Whether a value of LD_PRELOAD has the library's path in it.
fn holds(value: &[u8], library: &[u8]) -> bool {
    value
        .split(|&byte| byte == b':' || byte == b' ')
        .any(|entry| entry == library)
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

/// A thread's place in a table.
struct Slot {
    /// The thread, or 0. Once taken, never given back.
    owner: AtomicUsize,
    /// The process that is using the block, or 0. A vfork child that has become another program has
    /// left its number here.
    user: AtomicI32,
    address: AtomicUsize,
    size: AtomicUsize,
}

/// Places of some threads. Untouched, it costs address space and nothing else.
struct Table {
    slots: [Slot; 1023],
    /// The next table, for the threads that have no place in this one.
    next: AtomicUsize,
}

/// The first table, mapped in the constructor: all other data becomes read-only then.
static FIRST: AtomicUsize = AtomicUsize::new(0);

impl Block {
    fn of_this_thread(size: usize) -> Option<Self> {
        let slot = Slot::of_this_thread()?;
        let me = sys::getpid();
        let user = slot.user.load(Ordering::Relaxed);
        if user != 0 && (user == me || user == sys::getppid()) {
            // A signal handler that execs, or calls vfork, while this thread is about to exec.
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
    fn of_this_thread() -> Option<&'static Self> {
        let thread = sys::thread();
        let mut table = Table::noted(&FIRST)?;
        loop {
            if let Some(slot) = table.slot(thread) {
                return Some(slot);
            }
            // Each of its places belongs to another thread, and will.
            table = table.next()?;
        }
    }
}

impl Table {
    fn noted(place: &AtomicUsize) -> Option<&'static Self> {
        let table = ptr::with_exposed_provenance::<Self>(place.load(Ordering::Relaxed));
        // SAFETY: null, or a mapping of this size that is never given back. All zeroes are free slots.
        unsafe { table.as_ref() }
    }

    /// The next table, made if there is none.
    fn next(&self) -> Option<&'static Self> {
        if self.next.load(Ordering::Relaxed) == 0 {
            let new = sys::map(size_of::<Self>()).ok()?;
            if arch::take(&self.next, new) != 0 {
                // Another thread was faster.
                sys::unmap(new, size_of::<Self>());
            }
        }
        Self::noted(&self.next)
    }

    /// By open addressing: from the thread's own place on, the first that is its own or free.
    fn slot(&self, thread: usize) -> Option<&Slot> {
        let (before, from) = self
            .slots
            .split_at_checked((thread >> 6) % self.slots.len())?;
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
            b"libother.so:/usr/lib/libvrfbind.so",
            b"libother.so /usr/lib/libvrfbind.so libthird.so",
            b":/usr/lib/libvrfbind.so::",
        ] {
            assert!(holds(held, library), "{}", held.escape_ascii());
        }
        for not_held in [
            &b""[..],
            b"libother.so",
            b"libvrfbind.so",
            b"/elsewhere/libvrfbind.so",
            b"/usr/$LIB/libvrfbind.so",
            b"./libvrfbind.so",
            b"/usr/lib/libvrfbind.so.1",
        ] {
            assert!(!holds(not_held, library), "{}", not_held.escape_ascii());
        }
    }

    #[test]
    fn knows_what_a_preload_list_cannot_name() {
        assert!(is_nameable(b"/usr/lib/libvrfbind.so"));
        for path in [
            &b""[..],
            b"libvrfbind.so",
            b"/usr/my lib/libvrfbind.so",
            b"/usr/my\tlib/libvrfbind.so",
            b"/usr/a:b/libvrfbind.so",
            b"/usr/$LIB/libvrfbind.so",
        ] {
            assert!(!is_nameable(path), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn a_thread_keeps_its_place_however_many_there_are() {
        let first = AtomicUsize::new(sys::map(size_of::<Table>()).unwrap());
        let table = Table::noted(&first).unwrap();
        for thread in 1..=table.slots.len() {
            assert!(table.slot(thread << 6).is_some());
        }
        assert!(table.slot(1 << 20).is_none());
        let place = table.slot(7 << 6).unwrap();
        assert!(ptr::eq(place, table.slot(7 << 6).unwrap()));
        let second = table.next().unwrap();
        assert!(!ptr::eq(table, second) && second.slot(1 << 20).is_some());
        assert!(ptr::eq(second, table.next().unwrap()));
    }
}
