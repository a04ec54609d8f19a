//! `libvrfbind.so`: a socket is born in its VRF, or it is not born.
//!
//! What happens, in order:
//!
//! 1. ld.so maps the library because LD_PRELOAD names it, and relocates it. Nothing of ours runs.
//! 2. The constructor, [`load`], runs: before that of any other object on glibc (DF_1_INITFIRST),
//!    in the ordinary order on musl. It finds the functions that our exports hide ([`next`]), reads
//!    `VRFBIND_VRF` once ([`settings`]), and says on stderr if that cannot be understood. Then it makes
//!    its one page of data read-only (glibc only): the settings, those functions' addresses, the GOT.
//!    Only here may anything be searched for, printed or stored. libc may not be initialised yet: no
//!    stdio, no malloc, and on glibc `environ` is still NULL.
//! 3. The program runs. Each of the exports in [`hooks`] asks [`policy`] what to do, asks [`sys`] to
//!    do it, and calls the function it hides. Nothing here allocates, locks, prints, reads the
//!    environment or can panic: socket() and bind() are async-signal-safe by POSIX, and threads,
//!    signal handlers and vfork children are all welcome at any point.
//! 4. Nothing happens at exit. There is no destructor, so hooks work in other objects' destructors.
//!
//! A hook that is called before step 2 (glibc honours one DF_1_INITFIRST per process; another object
//! may own it and open sockets in a constructor) does step 2 for itself, without the line on stderr.
//! Doing it twice is harmless: the results are the same and each is published by atomic stores.
//!
//! The three layers are kept apart: symbol (`hooks`), pure decision (`policy`), system call (`sys`).
//! The environment is read in `settings` only. Unsafe code is allowed in `sys` and `next` only, and
//! in the exports' signatures.
#![cfg_attr(not(test), no_std)]
// The unit tests run without the constructor and the exports, from which all else is reached.
#![cfg_attr(test, allow(dead_code))]
#![deny(unsafe_code)]

mod hooks;
#[allow(unsafe_code)]
mod next;
mod policy;
mod settings;
#[allow(unsafe_code)]
mod sys;

use core::ffi::{c_char, c_int};

/// Runs at load. glibc passes what main() will get; musl passes nothing, so that `envp` is whatever was
/// in the register: [`sys::Environment`] looks at it only where libc has no `environ` yet.
extern "C" fn load(_argc: c_int, _argv: *const *const c_char, envp: *const *const c_char) {
    let around = next::find();
    if let Err(refusal) = settings::read(&sys::Environment::at_load(envp)) {
        refusal.print();
    }
    // musl gives the unused ends of a writable segment's pages to malloc (reclaim_gaps,
    // ldso/dynlink.c): on these pages there may be data that is not ours.
    if around.is_glibc {
        sys::make_read_only(around.writable);
    }
}

#[cfg(not(test))]
#[allow(unsafe_code)]
// SAFETY: the section is an array of pointers to functions, which ld.so calls with these arguments.
#[unsafe(link_section = ".init_array")]
#[used]
static LOAD: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = load;

/// Never linked in: no code of ours can panic, and a test sees that `abort` is not imported.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::abort()
}
