//! Keeps the next program in the VRF when this one calls execve, even if the environment was scrubbed.
//!
//! At every execve: the environment that the program would get is read. If nothing of ours is missing in it, it is passed on
//! as it is. Otherwise a new array of pointers is made, with what is missing put back ([`environment`]), in memory that a
//! child of vfork may use ([`memory`]). If the library will not serve the program, a line reports it to stderr or the log
//! ([`program`]).
//!
//! This also runs in children of vfork and posix_spawn, which may have only some hundred bytes of stack left (musl's
//! posix_spawnp with a long PATH). Nothing here may put a buffer on the stack; [`program`], which needs buffers, gets a
//! stack in the arena.
//!
//! E2BIG: the pointers and new strings need more than [`LARGEST`] bytes, or there is no memory for them.
//! EINVAL: the library has a path that LD_PRELOAD cannot name ([`rules::preload`]).

pub mod environment;
mod memory;
pub mod program;

use crate::arch;
use crate::libc::original;
use crate::settings;
use crate::sys::{self, Strings};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering};
use environment::Scan;
use memory::Arena;
use program::Program;
use rules::DeviceName;
use rules::request::Vrf;
use rules::settings::Options;
use syscalls::Errno;

/// The most bytes that a repaired environment may need, not counting the program's own strings. The kernel's
/// limit for all strings and pointers is 6 MiB (execve(2)).
const LARGEST: usize = 8 << 20;

/// Whether [`prepare`] has run. It is not tried again: what it had no memory for stays missing.
static PREPARED: AtomicBool = AtomicBool::new(false);

/// For the constructor, if a VRF is asked for. `path` is the path by which ld.so has found the library. Returns the log's
/// path, in memory that stays.
///
/// # Safety
/// Called once. `path` is a string that stays.
pub unsafe fn prepare(path: *const c_char, options: &Options<'_>) -> Option<&'static CStr> {
    // In our page of data, where it takes no extra memory.
    static mut ROOM: [u8; 384] = [0; 384];
    PREPARED.store(true, Ordering::Relaxed);
    memory::prepare();
    let room = &raw mut ROOM;
    // SAFETY: nobody else sees this static, and this runs once.
    let room = unsafe { &mut *room };
    // SAFETY: as callers promise.
    unsafe { environment::prepare(path, options, room) }
}

/// For a hook before the constructor has run. After the constructor our data is read-only.
#[cold]
#[inline(never)]
fn prepare_early() -> Option<&'static CStr> {
    if PREPARED.load(Ordering::Relaxed) {
        return None;
    }
    memory::prepare();
    let path = original::find().path;
    // SAFETY: the path is ld.so's, which keeps it.
    unsafe { environment::prepare(path, &Options::default(), &mut []) };
    environment::library()
}

/// An environment for a program, and the memory of its new parts, which lives as long as this value.
pub struct Repaired {
    envp: Strings,
    _arena: Option<Arena>,
}

impl Repaired {
    /// The array for execve(2).
    pub fn envp(&self) -> Strings {
        self.envp
    }
}

/// The environment for `program`: `envp`, with what is missing of ours put back.
///
/// # Safety
/// The program's path, if it has one, is a string, and `envp` is NULL or an array of strings with a NULL at its end. Nobody
/// changes them while this runs, or `envp` as long as the result is used.
pub unsafe fn repair(program: Program, envp: Strings) -> Result<Repaired, Errno> {
    let as_it_is = Repaired { envp, _arena: None };
    if settings::is_inert() {
        return Ok(as_it_is);
    }
    let library = environment::library()
        .or_else(prepare_early)
        .ok_or(Errno::E2BIG)?;
    // Such a child could not be sealed either, or would not have the library: it is not started.
    if !rules::preload::is_nameable(library.to_bytes()) || settings::is_seal_refused() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: as callers promise.
    let mut scan = unsafe { Scan::new(envp, library.to_bytes()) };
    scan.read();
    announce(scan.vrf());
    let should_warn = program::should_warn();
    if scan.is_complete() && !should_warn {
        return Ok(as_it_is);
    }
    let stack = if should_warn { STACK } else { 0 };
    let size = stack + scan.size();
    if size > LARGEST {
        return Err(Errno::E2BIG);
    }
    let Some(mut arena) = Arena::of_this_thread(size) else {
        // Without memory for its stack the warning is left out; the repair never is.
        return if scan.is_complete() {
            Ok(as_it_is)
        } else {
            Err(Errno::E2BIG)
        };
    };
    let memory = arena.bytes().get_mut(stack..).ok_or(Errno::E2BIG)?;
    if should_warn {
        let mut subject = (program, library.as_ptr());
        // SAFETY: so many bytes are before this address in the arena, which begins with a page.
        unsafe { arch::call_on_stack(memory.as_ptr().addr(), warn, (&raw mut subject).cast()) };
    }
    let envp = if scan.is_complete() {
        envp
    } else {
        scan.repaired(memory).ok_or(Errno::E2BIG)?
    };
    Ok(Repaired {
        envp,
        _arena: Some(arena),
    })
}

/// Tells the supervisor that a program is about to be in another VRF than ours, in case the supervisor cannot read the
/// program's environment: asks it for a socket there, and closes it. In a frame of its own, since little stack may be left.
#[inline(never)]
fn announce(vrf: &[u8]) {
    const ANY_SOCKET: [c_int; 3] = [libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0];
    if settings::is_supervised()
        && let Ok(vrf) = DeviceName::new(vrf)
        && settings::vrf().device().unwrap_or(Vrf::Default.name()) != vrf
        && let Ok(fd) = sys::supervised_socket(&vrf, ANY_SOCKET)
    {
        sys::close(fd);
    }
}

/// The stack of [`program::warn_if_not_served`], and of signal handlers that come meanwhile.
const STACK: usize = 64 << 10;

/// # Safety
/// `subject` is what [`repair`] passes.
unsafe extern "C" fn warn(subject: *mut c_void) {
    // SAFETY: it is such a pair.
    let (program, library) = unsafe { *subject.cast::<(Program, *const c_char)>() };
    // SAFETY: the program's path is a string, and so is the library's.
    unsafe { program::warn_if_not_served(program, library) };
}
