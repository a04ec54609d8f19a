//! `libvrfbind.so`: a socket is born in its VRF, or it is not born.
//!
//! What happens, in order:
//!
//! 1. ld.so maps the library because LD_PRELOAD names it, and relocates it. Nothing of ours runs.
//! 2. The constructor, [`load`], runs: before that of any other object on glibc (DF_1_INITFIRST), in the ordinary order on
//!    musl. It finds the functions that our exports hide ([`libc::original`]), reads the environment once ([`settings`]) and
//!    the rules ([`list`]), and complains on stderr if a setting is invalid. If a VRF is asked for, it prepares the strings
//!    that a scrubbed environment will need ([`exec::environment`]), patches libc's own `socket` and `execve` so that they
//!    jump to us ([`libc::patch`]), seals the process if that is asked for too ([`rules::filter`]), and binds the inherited
//!    sockets that were meant for it ([`inherited`]). Then it makes our data read-only (glibc only). All lookups are done
//!    here, and all our data is written here. libc may not be initialised yet: no stdio, no malloc, and on glibc `environ`
//!    is still NULL.
//! 3. The program runs. Each entry point of the library ([`hooks`]) asks [`rules::socket`] what to do, calls [`sys`] to do
//!    it, and calls the function that it hides. Nothing here locks, uses the heap, reads the environment, looks symbols up
//!    or can panic: socket() and bind() are async-signal-safe by POSIX, and threads, signal handlers and vfork children may
//!    call a hook at any point.
//! 4. The program executes another one: execve, by whatever name, passes the library and our variables on ([`exec`]).
//! 5. Nothing happens at exit. There is no destructor, so hooks work in other objects' destructors.
//!
//! A hook puts a socket onto its device. The complete list of what else it may do:
//!
//! - execve and its like map memory, if the environment lacks something of ours or there is a seal or a log: once for each
//!   thread, and again when it needs more ([`exec`]). They look into the program's file, if there is a seal or a log
//!   ([`exec::program`]). If there is a supervisor and the environment names another VRF, they tell the supervisor, by a
//!   socket that is closed again.
//! - bind() to a link-local address of a device that is not the socket's own, and setsockopt() that names a device, open
//!   sockets of their own, to ask the kernel whether the device is in the VRF, and close them again ([`sys::may_send_by`]).
//! - Under rules, bind(), connect() and listen() inspect the socket before they move it ([`sys::state`]). connect() makes
//!   it forget the address that a failed connection has left. `loopback auto` opens a socket of its own, to ask whether the
//!   VRF has an address, and closes it again. Without CAP_NET_RAW a new socket takes over the old one's descriptors: the
//!   hook looks at /proc and each descriptor, and makes the program's registrations in epoll again ([`replacing`]).
//! - A line goes to stderr, where that should neither block nor kill ([`log::Line::write_to_stderr`]): the first time that a
//!   bind() is refused because of its address's device, or a setsockopt() because of its device ([`log::outside`]); the first
//!   time that a call is refused because its socket cannot be moved ([`log::not_moved`]); and each time that a sealed process
//!   executes a program which neither the library nor a supervisor will serve ([`exec::program`]).
//! - A line goes to the log, if there is one: for each socket that gets a device or is refused, and for every line that
//!   goes to stderr. The log's file is opened and closed again.
//!
//! Only mappings of their own are written after the constructor: the memory for execve, and the flags for lines that
//! stderr has had already. The rules lie in a read-only mapping ([`list`]).
//!
//! A hook may be called before step 2: glibc honours one DF_1_INITFIRST per process; another object may own it and open
//! sockets in a constructor. Such a hook does the lookups and reads the settings itself, and an execve prepares its strings
//! itself. Doing that twice is harmless: the results are the same, and each is published by atomic stores.
//!
//! The layers are kept apart: symbol (`hooks`), pure decision (`rules`), system call (`sys`). Imports run one way: `make
//! lint` looks for circles. The environment is read in `settings` only. A safe function is sound for all arguments; any
//! other is an `unsafe fn`. Descriptors are plain integers here, since they are the program's. A function that writes our
//! data is for the constructor and before; after it the kernel stops the write (SIGSEGV). Unsafe code is allowed where
//! memory is not ours: in `sys` (the kernel's, libc's and the program's), `libc` (ld.so's, and code), `exec` (the
//! environment of a program, and untyped memory), `arch` (registers, the stack), and `hooks` and `moving` (the program's
//! pointers). Elsewhere it is only in [`load`] and what it calls here, in `settings::early`, in `log::path` and in `list`,
//! and in the names of exported symbols.
#![cfg_attr(not(test), no_std)]
// The unit tests run without the constructor and the exports, which call everything else; on an unknown
// architecture nothing is patched.
#![cfg_attr(any(test, unknown_machine), allow(dead_code))]
#![deny(unsafe_code)]
#![deny(
    clippy::missing_safety_doc,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks
)]

#[allow(unsafe_code)]
mod arch;
#[allow(unsafe_code)]
mod exec;
#[allow(unsafe_code)]
mod hooks;
mod inherited;
#[allow(unsafe_code)]
mod libc;
mod list;
mod log;
#[allow(unsafe_code)]
mod moving;
mod replacing;
mod settings;
#[allow(unsafe_code)]
mod sys;

use core::ffi::c_int;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use libc::prefix;
use rules::list::Call;
use rules::settings::Options;
use sys::Strings;

/// Runs at load. glibc passes what main() will get; musl passes nothing, so that the arguments are whatever was
/// in the registers.
///
/// # Safety
/// ld.so calls this, once.
#[allow(unsafe_code)]
unsafe extern "C" fn load(_argc: c_int, _argv: Strings, envp: Strings) {
    let objects = libc::original::find();
    log::record_stderr();
    // If no libc comes after us, we were loaded by dlopen(3); libc has set its `environ` by then.
    let envp = objects.is_glibc.then_some(envp);
    // SAFETY: what changes the environment in another thread while a library is loaded breaks getenv(3) there as well.
    let environment = unsafe { sys::Environment::at_load(envp) };
    let options = settings::read(&environment, settings::complain).unwrap_or_default();
    if !settings::is_inert() {
        // An invalid setting refuses sockets, to libc's own callers and to children too.
        // SAFETY: this is the one call, and the objects are those that `find` has found.
        unsafe { start(&objects, &options) };
        inherited::settle(&environment);
    }
    // musl gives the unused ends of a writable segment's pages to malloc (reclaim_gaps,
    // ldso/dynlink.c): on these pages there may be data that is not ours.
    if objects.is_glibc {
        // SAFETY: it is our own data, which is written here and before.
        unsafe { sys::make_read_only(objects.writable) };
    }
}

/// # Safety
/// Called once, and the objects are those that are loaded.
#[allow(unsafe_code)]
unsafe fn start(objects: &libc::original::LoadedObjects, options: &Options<'_>) {
    // SAFETY: as callers promise, and ld.so keeps the path.
    let log = unsafe { exec::prepare(objects.path, options) };
    log::prepare(log);
    sys::WORDS.map();
    let writer = sys::CodeWriter::new();
    let info = &settings::INFO;
    let redirect = |name, function, number, hook, result| {
        // SAFETY: the function is libc's, and the hook takes the same arguments. For who could be in it, see `patch`.
        let outcome =
            unsafe { libc::patch::redirect(function, objects.libc_path, number, &hook, &writer) };
        became(name, result, outcome);
    };
    let (socket, execve) = (hooks::socket_hook(), hooks::execve_hook());
    let (of_socket, of_execve) = (::libc::SYS_socket, ::libc::SYS_execve);
    redirect(
        "socket",
        &objects.libc_socket,
        of_socket,
        socket,
        &info.socket,
    );
    redirect(
        "execve",
        &objects.libc_execve,
        of_execve,
        execve,
        &info.execve,
    );
    if settings::rules().is_some_and(|list| list.has_any(Call::Connect)) {
        let (name, outcome) = if objects.is_glibc {
            let stubs = hooks::CONNECT_STUBS;
            // SAFETY: the function is libc's, and the stubs go on behind the prefix. For who could be in it, see `patch`.
            let outcome = unsafe { prefix::connect(&objects.libc_connect, stubs, &writer) };
            ("connect (resolver)", outcome)
        } else {
            let (code, stubs) = (&objects.libc_code, hooks::SEND_STUBS);
            // SAFETY: as above.
            let outcome = unsafe { prefix::sends(&objects.libc_sends, code, stubs, &writer) };
            ("sendto (resolver)", outcome)
        };
        became(name, &info.connect, outcome);
    }
    if options.seal {
        settings::seal();
    }
}

/// Reports whether one of libc's functions is patched.
fn became(name: &str, result: &AtomicU32, outcome: u32) {
    result.store(outcome, Relaxed);
    if log::is_on() && !libc::patch::is_patched(result) {
        log::not_patched(name, outcome);
    }
}

#[cfg(not(test))]
#[allow(unsafe_code)]
// SAFETY: the section is an array of pointers to functions, which ld.so calls with these arguments or, musl's, with none.
#[unsafe(link_section = ".init_array")]
#[used]
static LOAD: unsafe extern "C" fn(c_int, Strings, Strings) = load;

/// Never linked in: no code of ours can panic, and a test checks that `abort` is not imported.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::abort()
}
