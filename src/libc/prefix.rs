//! Prefixes libc's own `connect` (glibc), and `sendto` and `sendmsg` (musl): before a call from inside libc, as by the
//! resolver, the socket is prepared by the rules.
//!
//! All are cancellation points, so the body cannot be replaced as that of `socket` is ([`patch`](super::patch)): the
//! body itself has to make the system call. So a jump is written behind its first instruction, or over it, over
//! instructions of a shape that [`arch::cut`] knows. The jump's target is a stub of ours, which calls the preparation, does what those
//! instructions did, and goes on behind them, with the stack unchanged: while the call waits, no frame of ours is there.
//!
//! musl's resolver sends by a socket that it does not connect. Since 1.2.4 it asks again by TCP if the answer is too long,
//! with sendmsg(MSG_FASTOPEN) (`start_tcp`, src/network/res_msend.c). Only these calls from inside libc are prepared: what
//! a program sends without connect() stays in the VRF. If the kernel's sendmsg() fails, the resolver calls connect(), which
//! is not prefixed: the socket stays where the preparation has put it. If the preparation fails, the errno is EINPROGRESS,
//! with which the resolver does not call connect(), and gives up. Where net.ipv4.tcp_fastopen is off for clients (setsockopt()
//! of TCP_FASTOPEN_CONNECT fails), it calls connect() alone, and asks from the VRF. Nor is its bind() prefixed: it names the
//! wildcard and no port, and each send puts the socket where its address belongs.
//!
//! Without rules for connect(), libc's code stays as it is. A function that cannot be prefixed is left alone: libc's own
//! sockets then stay in the VRF. `vrfbind_info` and the log report it, but not of `sendmsg`, whose unknown code may be that
//! of musl 1.2.3, where the resolver does not call it.

use crate::arch::{self, Cut, Shape};
use crate::libc::objects::Function;
use crate::libc::original;
use crate::sys;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use rules::info::{NOT_FOUND, NOT_WRITABLE, PATCHED, PATCHED_BY_OTHER_COPY, UNKNOWN_CODE};

/// The address where `connect` goes on. Public for the code of the stubs.
pub static RESUME: AtomicUsize = AtomicUsize::new(0);
/// The address where `sendto` goes on.
pub static RESUME_SENDTO: AtomicUsize = AtomicUsize::new(0);
/// The address where `sendmsg` goes on.
pub static RESUME_SENDMSG: AtomicUsize = AtomicUsize::new(0);

/// The beginning and the end of libc's code.
static LIBC: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// The addresses of the stubs for a shape.
pub struct Stubs {
    /// The target of the jump.
    pub prepared: usize,
    /// The function that our own `connect` calls after the preparation. None: the place where the function goes on.
    pub past: Option<usize>,
}

/// Prefixes glibc's `connect`, with the stubs that there are for the shape of its code. Returns what became of it.
///
/// # Safety
/// `function` is libc's `connect`, and nobody is in it. The stubs go on at [`RESUME`].
pub unsafe fn connect(
    function: &Option<Function>,
    stubs: fn(Shape) -> Stubs,
    writer: &sys::CodeWriter,
) -> u32 {
    // SAFETY: as callers promise.
    match unsafe { prefix(function, arch::cut, &RESUME, stubs, writer) } {
        Ok((address, past)) => {
            original::skip_prefix(address, past);
            PATCHED
        }
        Err(outcome) => outcome,
    }
}

/// Prefixes musl's `sendto` and `sendmsg`, of the libc whose code is there. Returns the outcome of the first. That of the other
/// is not reported, see above.
///
/// # Safety
/// The functions are libc's, and nobody is in them. The stubs go on at [`RESUME_SENDTO`] and [`RESUME_SENDMSG`].
pub unsafe fn sends(
    [sendto, sendmsg]: &[Option<Function>; 2],
    code: &Range<usize>,
    [sendto_stub, sendmsg_stub]: [fn(Shape) -> Stubs; 2],
    writer: &sys::CodeWriter,
) -> u32 {
    for (place, address) in LIBC.iter().zip([code.start, code.end]) {
        place.store(address, Ordering::Relaxed);
    }
    let resume = &RESUME_SENDMSG;
    // SAFETY: as callers promise.
    let _ = unsafe { prefix(sendmsg, arch::cut_sendmsg, resume, sendmsg_stub, writer) };
    let resume = &RESUME_SENDTO;
    // SAFETY: as callers promise.
    let result = unsafe { prefix(sendto, arch::cut_sendto, resume, sendto_stub, writer) };
    result.map_or_else(|outcome| outcome, |_| PATCHED)
}

/// Whether this address is in libc.
pub fn is_in_libc(address: usize) -> bool {
    let [start, end] = &LIBC;
    (start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&address)
}

/// Returns the address of the function and the place where it goes on without a preparation; or another outcome.
///
/// # Safety
/// `function` is libc's, and nobody is in it. The stub prepares the call and goes on where `resume` says.
#[inline(never)]
unsafe fn prefix(
    function: &Option<Function>,
    cut: fn(&[u8]) -> Option<Cut>,
    resume: &AtomicUsize,
    stubs: fn(Shape) -> Stubs,
    writer: &sys::CodeWriter,
) -> Result<(usize, usize), u32> {
    let &Function { address, size, .. } = function.as_ref().ok_or(NOT_FOUND)?;
    // SAFETY: address and size are those of libc's symbol table, and libc stays loaded.
    let code = unsafe { sys::code(address, size) };
    if arch::is_cut(code) {
        return Err(PATCHED_BY_OTHER_COPY);
    }
    let cut = cut(code).ok_or(UNKNOWN_CODE)?;
    let at = usize::from(cut.at);
    let goes_on = address + usize::from(cut.resume);
    resume.store(goes_on, Ordering::Relaxed);
    let Stubs { prepared, past } = stubs(cut.shape);
    let jump = arch::jump(prepared, at);
    // SAFETY: these bytes are the function's, and nobody is in there or holds a reference to it any more.
    let written = unsafe { writer.write(address + at, jump.without_signature()) };
    written.map_err(|_| NOT_WRITABLE)?;
    Ok((address, past.unwrap_or(goes_on)))
}
