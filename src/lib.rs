//! `libvrfbind.so`: a socket is born in its VRF, or it is not born.
//!
//! What happens, in order:
//!
//! 1. ld.so maps the library because LD_PRELOAD names it, and relocates it. Nothing of ours runs.
//! 2. The constructor, [`load`], runs: before that of any other object on glibc (DF_1_INITFIRST),
//!    in the ordinary order on musl. It finds the functions that our exports hide ([`libc::original`]), reads
//!    the environment once ([`settings`]), and says on stderr if that cannot be understood. If a VRF is
//!    asked for, it leads libc's own `socket` and `execve` to us ([`libc::patch`]), and seals the process
//!    if that is asked for too ([`rules::filter`]). Then it makes its page of data read-only (glibc only).
//!    Only here may anything be searched for or stored. libc may not be initialised yet: no
//!    stdio, no malloc, and on glibc `environ` is still NULL.
//! 3. The program runs. Each way into the library ([`hooks`]) asks [`rules::socket`] what to do, asks [`sys`] to
//!    do it, and calls the function it hides. Nothing here allocates, locks, prints (but for the log,
//!    which is off by default), reads the environment or can panic: socket() and bind() are
//!    async-signal-safe by POSIX, and threads, signal handlers and vfork children are all welcome at
//!    any point.
//! 4. The program becomes another one: execve, by whatever name, sees to it that the library and
//!    our variables go with it ([`exec`]).
//! 5. Nothing happens at exit. There is no destructor, so hooks work in other objects' destructors.
//!
//! A hook that is called before step 2 (glibc honours one DF_1_INITFIRST per process; another object
//! may own it and open sockets in a constructor) finds and reads for itself. Doing that twice is
//! harmless: the results are the same and each is published by atomic stores.
//!
//! The layers are kept apart: symbol (`hooks`), pure decision (`rules`), system call (`sys`). The
//! environment is read in `settings` only. Unsafe code is allowed where memory is not ours: `sys` (the
//! kernel's and libc's), `libc` (ld.so's), `exec` (a program's environment), `arch` (code), and in
//! the exports' signatures.
#![cfg_attr(not(test), no_std)]
// The unit tests run without the constructor and the exports, from which all else is reached; on a
// machine that is not known nothing is led.
#![cfg_attr(any(test, unknown_machine), allow(dead_code))]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod arch;
#[allow(unsafe_code)]
mod exec;
mod hooks;
mod libc;
mod log;
mod settings;
#[allow(unsafe_code)]
mod sys;

use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Runs at load. glibc passes what main() will get; musl passes nothing, so that `envp` is whatever was
/// in the register: [`sys::Environment`] looks at it only where libc has no `environ` yet.
extern "C" fn load(_argc: c_int, _argv: *const *const c_char, envp: *const *const c_char) {
    let around = libc::original::find();
    log::note_stderr();
    let environment = sys::Environment::at_load(envp);
    let asked = settings::read(&environment);
    if let Err(refusal) = &asked {
        refusal.print();
    }
    if settings::vrf() != rules::socket::Setting::Inert {
        // A setting that is not understood refuses sockets, to libc's own callers and to children too.
        start(&around, asked.ok());
    }
    // musl gives the unused ends of a writable segment's pages to malloc (reclaim_gaps,
    // ldso/dynlink.c): on these pages there may be data that is not ours.
    if around.is_glibc {
        sys::make_read_only(around.writable);
    }
}

fn start(around: &libc::original::Surroundings, asked: Option<settings::Asked<'_>>) {
    if let Some(path) = asked.as_ref().and_then(|asked| asked.log) {
        log::open(path);
    }
    log::prepare();
    exec::prepare(around.path);
    let writer = sys::CodeWriter::new();
    let lead = |name, function, number, target: usize, result: &AtomicU32| {
        let led = libc::patch::lead(function, number, target, &writer);
        result.store(led, Relaxed);
        if log::is_on() && !libc::patch::is_led(result) {
            log::not_led(name, led);
        }
    };
    let info = &settings::INFO;
    let socket = hooks::libc_socket as extern "C" fn(_, _, _) -> _ as usize;
    let execve = hooks::libc_execve as extern "C" fn(_, _, _) -> _ as usize;
    lead(
        "socket",
        around.libc_socket,
        ::libc::SYS_socket,
        socket,
        &info.socket,
    );
    lead(
        "execve",
        around.libc_execve,
        ::libc::SYS_execve,
        execve,
        &info.execve,
    );
    if asked.is_some_and(|asked| asked.seal) {
        settings::seal();
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
