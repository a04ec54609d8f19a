//! The functions that our exports hide: the `socket`, `bind`, ... that come next after ours. They are libc's, or
//! those of another preload, so that preloads stack in either order. This replaces dlsym(RTLD_NEXT); for the reason see
//! [`objects`].
//!
//! [`find`] belongs into the constructor, since it walks the loader's list of objects. After it, a
//! call costs one load and an indirect jump.

use crate::libc::objects::{self, Function, Name};
use crate::sys::{self, Strings};
use core::ffi::{c_char, c_int, c_long, c_void};
use core::mem::transmute;
use core::ops::{ControlFlow, Range};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use syscalls::Errno;

/// One array, since an array of references would have to be relocated. Public for the code of our own `syscall`,
/// which reads the address of the first one at the beginning of the array.
pub static ORIGINALS: [Original; 9] = [
    Original::new(c"syscall"),
    Original::new(c"socket"),
    Original::new(c"bind"),
    Original::new(c"connect"),
    Original::new(c"listen"),
    Original::new(c"setsockopt"),
    Original::new(c"execve"),
    Original::new(c"execveat"),
    Original::new(c"fexecve"),
];

const SYSCALL: usize = 0;
pub const SOCKET: usize = 1;
pub const BIND: usize = 2;
pub const CONNECT: usize = 3;
pub const LISTEN: usize = 4;
pub const SETSOCKOPT: usize = 5;
const EXECVE: usize = 6;
const EXECVEAT: usize = 7;
const FEXECVE: usize = 8;

static ONLY_IN_LIBC: Name = Name::new(c"getauxval");
static SENDTO: Name = Name::new(c"sendto");
static SENDMSG: Name = Name::new(c"sendmsg");
static ONLY_IN_GLIBC: Name = Name::new(c"argp_parse");

/// Whether [`find`] has run. It is not run again: what it has not found stays missing.
static FOUND: AtomicBool = AtomicBool::new(false);

/// Which originals are libc's own, and not another preload's: a bit for each.
static LIBCS: AtomicU32 = AtomicU32::new(0);

/// The argument registers of a call. The function of this name may be a library's own instead of libc's, with more and
/// wider arguments.
pub type Arguments = [usize; 6];

/// Calls this original with these arguments, or fails with ENOSYS if there is none: the library was not loaded by
/// LD_PRELOAD, or this libc does not have the function. There is no unbound fallback.
///
/// # Safety
/// As for any call of it: the pointers are a program's that calls it.
#[inline(always)]
pub unsafe fn forward(original: usize, [a, b, c, d, e, f]: Arguments) -> usize {
    // SAFETY: as callers promise.
    unsafe { enter(a, b, c, d, e, f, original) }
}

/// The arguments are in the registers where the original expects them: it is entered by a jump.
///
/// # Safety
/// As for [`forward`].
#[inline(never)]
unsafe extern "C" fn enter(
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
    original: usize,
) -> usize {
    type Function = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize) -> usize;
    let address = ORIGINALS
        .get(original)
        .map_or(ptr::null_mut(), |it| it.address.load(Ordering::Relaxed));
    if address.is_null() {
        // SAFETY: as callers promise.
        return unsafe { enter_early(a, b, c, d, e, f, original) };
    }
    // SAFETY: it is called as its caller has called it.
    let function = unsafe { transmute::<*mut c_void, Function>(address) };
    // SAFETY: as callers promise.
    unsafe { function(a, b, c, d, e, f) }
}

/// For an original that is not known yet, or does not exist.
///
/// # Safety
/// As for [`forward`].
#[cold]
#[inline(never)]
unsafe extern "C" fn enter_early(
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
    original: usize,
) -> usize {
    if FOUND.load(Ordering::Relaxed) {
        return no_such_function() as usize;
    }
    find();
    // SAFETY: as callers promise.
    unsafe { enter(a, b, c, d, e, f, original) }
}

/// The address of this original. -1, with errno ENOSYS: there is none, as in [`forward`].
pub fn address(original: usize) -> usize {
    let function = ORIGINALS.get(original).and_then(Original::function);
    function.map_or_else(
        || no_such_function() as usize,
        |function| function.expose_provenance(),
    )
}

/// From now on the original connect(2), if it is libc's at this address, is called behind its prefix.
pub fn skip_prefix(address: usize, past: usize) {
    let original = &ORIGINALS[CONNECT].address;
    if original.load(Ordering::Relaxed).addr() == address {
        original.store(ptr::with_exposed_provenance_mut(past), Ordering::Relaxed);
    }
}

/// Whether calling the original socket(2) would be nothing but libc's system call.
pub fn socket_is_libcs() -> bool {
    is_libcs(SOCKET)
}

/// Whether this original is libc's own function.
pub fn is_libcs(original: usize) -> bool {
    LIBCS.load(Ordering::Relaxed) >> original & 1 == 1
}

/// The original execve(2). Not by [`forward`], whose frame would stay on the stack: libc's own execve jumps back to us, and
/// little stack may be left.
///
/// # Safety
/// As for any call of it: the pointers are a program's that calls it.
pub unsafe fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    type Execve = unsafe extern "C" fn(*const c_char, Strings, Strings) -> c_int;
    let Some(function) = ORIGINALS[EXECVE].function() else {
        return no_such_function();
    };
    // SAFETY: any definition of this name after ours has libc's signature.
    let function = unsafe { transmute::<*const c_void, Execve>(function) };
    // SAFETY: as callers promise.
    unsafe { function(path, argv, envp) }
}

/// The original execveat(2), or the system call. glibc has it since 2.34.
///
/// # Safety
/// As for any call of it: the pointers are a program's that calls it.
pub unsafe fn execveat(
    directory: c_int,
    path: *const c_char,
    argv: Strings,
    envp: Strings,
    flags: c_int,
) -> c_int {
    if ORIGINALS[EXECVEAT].function().is_none() {
        // A program that looks for the function finds ours although libc has none.
        sys::set_errno(sys::execveat(directory, path, argv, envp, flags));
        return -1;
    }
    let (path, argv, envp) = (
        path.expose_provenance(),
        argv.expose_provenance(),
        envp.expose_provenance(),
    );
    let arguments = [directory as usize, path, argv, envp, flags as usize, 0];
    // SAFETY: as callers promise.
    unsafe { forward(EXECVEAT, arguments) as c_int }
}

/// The original fexecve(3).
///
/// # Safety
/// As for any call of it: the pointers are a program's that calls it.
pub unsafe fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int {
    let arguments = [
        fd as usize,
        argv.expose_provenance(),
        envp.expose_provenance(),
        0,
        0,
        0,
    ];
    // SAFETY: as callers promise.
    unsafe { forward(FEXECVE, arguments) as c_int }
}

/// The original syscall(2), with all arguments that a system call can have.
///
/// # Safety
/// As for this system call.
pub unsafe fn syscall(number: c_long, arguments: [c_long; 6]) -> c_long {
    type Syscall =
        unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;
    let [a, b, c, d, e, f] = arguments;
    let Some(function) = ORIGINALS[SYSCALL].function() else {
        return no_such_function().into();
    };
    // SAFETY: any definition of this name after ours has libc's signature.
    let function = unsafe { transmute::<*const c_void, Syscall>(function) };
    // SAFETY: as callers promise.
    unsafe { function(number, a, b, c, d, e, f) }
}

#[cold]
fn no_such_function() -> c_int {
    sys::set_errno(Errno::ENOSYS);
    -1
}

/// What the constructor has to know about the loaded objects.
pub struct LoadedObjects {
    /// Our own segment of data.
    pub writable: Range<usize>,
    /// The path by which ld.so has found us, which stays in its memory.
    pub path: *const c_char,
    /// Whether libc is glibc; otherwise it is musl.
    pub is_glibc: bool,
    /// The path by which ld.so has found libc, which stays too.
    pub libc_path: *const c_char,
    /// libc's own socket(2).
    pub libc_socket: Option<Function>,
    /// libc's own execve(2).
    pub libc_execve: Option<Function>,
    /// glibc's own connect(2).
    pub libc_connect: Option<Function>,
    /// musl's own sendto(2) and sendmsg(2).
    pub libc_sends: [Option<Function>; 2],
    /// musl's code.
    pub libc_code: Range<usize>,
}

/// Finds all originals, and libc's own functions.
pub fn find() -> LoadedObjects {
    let mut found = LoadedObjects {
        writable: 0..0,
        path: c"".as_ptr(),
        is_glibc: false,
        libc_path: c"".as_ptr(),
        libc_socket: None,
        libc_execve: None,
        libc_connect: None,
        libc_sends: [const { None }; 2],
        libc_code: 0..0,
    };
    objects::each_object(|object| {
        if found.writable.is_empty() {
            if object.is_ours() {
                // SAFETY: it is. Of its segments the one that has this static is the writable one.
                let writable = unsafe { object.segment_with((&raw const ORIGINALS).addr()) };
                found.writable = writable.unwrap_or(0..0);
                found.path = object.path();
            }
            return ControlFlow::Continue(());
        }
        let Some(symbols) = object.symbols() else {
            return ControlFlow::Continue(());
        };
        // No preload has a reason to define this name.
        let is_libc = symbols.function(&ONLY_IN_LIBC).is_some();
        let mut libcs = 0;
        for (index, original) in ORIGINALS.iter().enumerate() {
            if original.address.load(Ordering::Relaxed).is_null()
                && let Some(function) = symbols.function(&original.name)
            {
                original.store(function);
                libcs |= 1 << index;
            }
        }
        if !is_libc {
            return ControlFlow::Continue(());
        }
        // Not fetch_or: see `arch::claim`. Of two threads that are here at once one may lose what the other has found, which
        // is then taken for another preload's.
        LIBCS.store(LIBCS.load(Ordering::Relaxed) | libcs, Ordering::Relaxed);
        found.is_glibc = symbols.function(&ONLY_IN_GLIBC).is_some();
        found.libc_path = object.path();
        found.libc_socket = symbols.function(&ORIGINALS[SOCKET].name);
        found.libc_execve = symbols.function(&ORIGINALS[EXECVE].name);
        if found.is_glibc {
            found.libc_connect = symbols.function(&ORIGINALS[CONNECT].name);
        } else if let Some(function) = symbols.function(&SENDTO) {
            // SAFETY: musl begins with its ELF header.
            let code = unsafe { object.segment_with(function.address) };
            found.libc_code = code.unwrap_or(0..0);
            found.libc_sends = [Some(function), symbols.function(&SENDMSG)];
        }
        ControlFlow::Break(())
    });
    FOUND.store(true, Ordering::Relaxed);
    found
}

/// One hidden function. Only the address is published, so no ordering is needed: the code was there before the program ran.
#[repr(C)]
pub struct Original {
    address: AtomicPtr<c_void>,
    name: Name,
}

impl Original {
    const fn new(name: &core::ffi::CStr) -> Self {
        Self {
            name: Name::new(name),
            address: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn store(&self, function: Function) {
        let address = ptr::with_exposed_provenance_mut(function.address);
        self.address.store(address, Ordering::Relaxed);
    }

    fn function(&self) -> Option<*const c_void> {
        let mut address = self.address.load(Ordering::Relaxed);
        if address.is_null() && !FOUND.load(Ordering::Relaxed) {
            // For a call before our constructor has run.
            find();
            address = self.address.load(Ordering::Relaxed);
        }
        (!address.is_null()).then_some(address.cast_const())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test binary comes before libc in the search order, as the library does.
    #[test]
    fn finds_libc_behind_us() {
        let found = find();
        assert!(found.writable.contains(&(&raw const ORIGINALS).addr()));
        let socket = libc::socket as *const c_void;
        assert_eq!(ORIGINALS[SOCKET].function(), Some(socket));
        assert_eq!(
            ORIGINALS[LISTEN].function(),
            Some(libc::listen as *const c_void)
        );
        assert_eq!(
            found.libc_socket.map(|function| function.address),
            Some(socket.addr())
        );
        assert!(socket_is_libcs());
    }
}
