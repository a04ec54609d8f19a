//! The functions that our exports hide: the `socket`, `bind`, ... that come next after ours. They are libc's, or
//! those of another preload, so that preloads stack in either order. This is dlsym(RTLD_NEXT) done by
//! hand ([`objects`] says why).
//!
//! [`find`] belongs into the constructor, since it looks at the loader's list of objects. After it, a
//! call costs one load and an indirect jump.

use crate::libc::objects::{self, Function, Name};
use crate::sys::{self, Strings};
use core::ffi::{c_char, c_int, c_long, c_void};
use core::mem::transmute;
use core::ops::{ControlFlow, Range};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use libc::{sockaddr, socklen_t};
use syscalls::Errno;

static SOCKET: Original = Original::new(c"socket");
static BIND: Original = Original::new(c"bind");
static CONNECT: Original = Original::new(c"connect");
static LISTEN: Original = Original::new(c"listen");
/// Public for the code of our own `syscall`, which finds the address at the beginning.
pub static SYSCALL: Original = Original::new(c"syscall");
static EXECVE: Original = Original::new(c"execve");
static EXECVEAT: Original = Original::new(c"execveat");
static FEXECVE: Original = Original::new(c"fexecve");

static ALL: [&Original; 8] = [
    &SOCKET, &BIND, &CONNECT, &LISTEN, &SYSCALL, &EXECVE, &EXECVEAT, &FEXECVE,
];

static ONLY_IN_GLIBC: Name = Name::new(c"gnu_get_libc_version");

/// Whether [`find`] has run: what it has not found then, it never will.
static FOUND: AtomicBool = AtomicBool::new(false);

/// Whether the next `socket` is libc's own, and not another preload's.
static SOCKET_IS_LIBCS: AtomicBool = AtomicBool::new(false);

/// Calls an original function with the arguments of ours, or fails with ENOSYS if there is none: the
/// library was then loaded in some other way than by LD_PRELOAD, or it is a function that this libc
/// does not have. There is no unbound way round.
macro_rules! call {
    ($original:ident, $type:ty, $($argument:expr),*) => {
        match $original.function() {
            Some(function) => {
                // SAFETY: whoever defines this name after us means libc's signature for it.
                let function = unsafe { transmute::<*const c_void, $type>(function) };
                // SAFETY: numbers that any call of it may have, and pointers of which callers promise the same.
                unsafe { function($($argument),*) }
            }
            None => no_such_function().into(),
        }
    };
}

/// The original socket(2).
pub fn socket(domain: c_int, sock_type: c_int, protocol: c_int) -> c_int {
    type Socket = unsafe extern "C" fn(c_int, c_int, c_int) -> c_int;
    call!(SOCKET, Socket, domain, sock_type, protocol)
}

/// Whether calling the original socket(2) would be nothing but libc's system call.
pub fn socket_is_libcs() -> bool {
    SOCKET_IS_LIBCS.load(Ordering::Relaxed)
}

type WithAddress = unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int;

/// The original bind(2).
///
/// # Safety
/// As for any call of it: the pointers are a program's that calls it.
pub unsafe fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    call!(BIND, WithAddress, fd, address, length)
}

/// The original connect(2). libc's is a cancellation point, which a system call of ours would not be.
///
/// # Safety
/// As for any call of it: the pointers are a program's that calls it.
pub unsafe fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    call!(CONNECT, WithAddress, fd, address, length)
}

/// The original listen(2).
pub fn listen(fd: c_int, backlog: c_int) -> c_int {
    type Listen = unsafe extern "C" fn(c_int, c_int) -> c_int;
    call!(LISTEN, Listen, fd, backlog)
}

/// The original execve(2).
///
/// # Safety
/// As for any call of it: the pointers are a program's that calls it.
pub unsafe fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    type Execve = unsafe extern "C" fn(*const c_char, Strings, Strings) -> c_int;
    call!(EXECVE, Execve, path, argv, envp)
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
    type Execveat = unsafe extern "C" fn(c_int, *const c_char, Strings, Strings, c_int) -> c_int;
    if EXECVEAT.function().is_none() {
        // A program that looks for the function finds ours, where there is none of libc's.
        sys::set_errno(sys::execveat(directory, path, argv, envp, flags));
        return -1;
    }
    call!(EXECVEAT, Execveat, directory, path, argv, envp, flags)
}

/// The original fexecve(3).
///
/// # Safety
/// As for any call of it: the pointers are a program's that calls it.
pub unsafe fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int {
    type Fexecve = unsafe extern "C" fn(c_int, Strings, Strings) -> c_int;
    call!(FEXECVE, Fexecve, fd, argv, envp)
}

/// The original syscall(2), with all the arguments a system call can have.
///
/// # Safety
/// As for this system call.
pub unsafe fn syscall(number: c_long, arguments: [c_long; 6]) -> c_long {
    type Syscall =
        unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;
    let [a, b, c, d, e, f] = arguments;
    call!(SYSCALL, Syscall, number, a, b, c, d, e, f)
}

#[cold]
fn no_such_function() -> c_int {
    sys::set_errno(Errno::ENOSYS);
    -1
}

/// What the constructor has to know of the objects that are loaded.
pub struct LoadedObjects {
    /// Our own segment of data.
    pub writable: Range<usize>,
    /// The path that ld.so found us by, which stays in its memory.
    pub path: *const c_char,
    /// Whether libc is glibc, and not musl.
    pub is_glibc: bool,
    /// libc's own socket(2).
    pub libc_socket: Option<Function>,
    /// libc's own execve(2).
    pub libc_execve: Option<Function>,
}

/// Finds all originals, and libc's own functions.
pub fn find() -> LoadedObjects {
    let mut found = LoadedObjects {
        writable: 0..0,
        path: c"".as_ptr(),
        is_glibc: false,
        libc_socket: None,
        libc_execve: None,
    };
    objects::each_object(|object| {
        // Of all segments of all objects, the one that has this static is our writable one.
        if found.writable.is_empty() {
            if let Some(segment) = object.segment_with((&raw const SOCKET).addr()) {
                found.writable = segment;
                found.path = object.path();
            }
            return ControlFlow::Continue(());
        }
        let Some(symbols) = object.symbols() else {
            return ControlFlow::Continue(());
        };
        for original in ALL {
            if original.address.load(Ordering::Relaxed).is_null()
                && let Some(function) = symbols.function(&original.name)
            {
                original.store(function);
            }
        }
        // No preload has reason to have an errno of its own.
        let errno = libc::__errno_location as *const c_void;
        if object.segment_with(errno.addr()).is_none() {
            return ControlFlow::Continue(());
        }
        found.is_glibc = symbols.function(&ONLY_IN_GLIBC).is_some();
        found.libc_socket = symbols.function(&SOCKET.name);
        found.libc_execve = symbols.function(&EXECVE.name);
        let libc_socket = found.libc_socket.map_or(0, |function| function.address);
        let original = SOCKET.address.load(Ordering::Relaxed);
        SOCKET_IS_LIBCS.store(original.addr() == libc_socket, Ordering::Relaxed);
        ControlFlow::Break(())
    });
    FOUND.store(true, Ordering::Relaxed);
    found
}

/// One hidden function. The address is published alone, so no ordering is needed: what it points to
/// was there before the program ran.
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
            // Called before our constructor.
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
        assert!(found.writable.contains(&(&raw const SOCKET).addr()));
        let socket = libc::socket as *const c_void;
        assert_eq!(SOCKET.function(), Some(socket));
        assert_eq!(LISTEN.function(), Some(libc::listen as *const c_void));
        assert_eq!(
            found.libc_socket.map(|function| function.address),
            Some(socket.addr())
        );
        assert!(socket_is_libcs());
    }
}
