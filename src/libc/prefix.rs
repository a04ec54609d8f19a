//! Prefixes libc's own `connect` (glibc) and `sendto` (musl): before a call from inside libc, as by the resolver, the
//! socket is prepared by the rules.
//!
//! Both are cancellation points, so the body cannot be replaced as that of `socket` is ([`patch`](super::patch)): the
//! body itself has to make the system call. So a jump is written behind its first instruction, over instructions of a
//! shape that [`arch::cut`] knows. The jump's target is a stub of ours, which calls the preparation, does what those
//! instructions did, and goes on behind them, with the stack unchanged: while the call waits, no frame of ours is there.
//!
//! musl's resolver sends by a socket that it does not connect. Only calls of `sendto` from inside libc are prepared: what
//! a program sends without connect() stays in the VRF.
//!
//! Without rules for connect(), libc's code stays as it is. A function that cannot be prefixed is left alone and reported
//! in `vrfbind_info` and in the log: libc's own sockets then stay in the VRF.

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

/// The beginning and the end of libc's code.
static LIBC: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// The addresses of the stubs for a shape.
pub struct Stubs {
    /// The target of the jump.
    pub prepared: usize,
    /// The function that our own `connect` calls after the preparation. None: the place where `connect` goes on.
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
    let result = unsafe {
        prefix(
            function,
            arch::cut,
            &RESUME,
            &|shape| stubs(shape).prepared,
            writer,
        )
    };
    match result {
        Ok((address, cut)) => {
            let past = stubs(cut.shape).past;
            original::skip_prefix(address, past.unwrap_or(address + cut.resume));
            PATCHED
        }
        Err(outcome) => outcome,
    }
}

/// Prefixes musl's `sendto`, of the libc whose code is there. Returns what became of it.
///
/// # Safety
/// `function` is libc's `sendto`, and nobody is in it. The stub goes on at [`RESUME_SENDTO`].
pub unsafe fn sendto(
    function: &Option<Function>,
    code: &Range<usize>,
    stub: fn(Shape) -> usize,
    writer: &sys::CodeWriter,
) -> u32 {
    for (place, address) in LIBC.iter().zip([code.start, code.end]) {
        place.store(address, Ordering::Relaxed);
    }
    // SAFETY: as callers promise.
    let result = unsafe { prefix(function, arch::cut_sendto, &RESUME_SENDTO, &stub, writer) };
    result.map_or_else(|outcome| outcome, |_| PATCHED)
}

/// Whether this address is in libc.
pub fn is_in_libc(address: usize) -> bool {
    let [start, end] = &LIBC;
    (start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&address)
}

/// Returns the address of the function and the cut; or another outcome.
///
/// # Safety
/// `function` is libc's, and nobody is in it. The stub prepares the call and goes on where `resume` says.
#[inline(never)]
unsafe fn prefix(
    function: &Option<Function>,
    cut: fn(&[u8]) -> Option<Cut>,
    resume: &AtomicUsize,
    stub: &dyn Fn(Shape) -> usize,
    writer: &sys::CodeWriter,
) -> Result<(usize, Cut), u32> {
    let &Function { address, size, .. } = function.as_ref().ok_or(NOT_FOUND)?;
    // SAFETY: address and size are those of libc's symbol table, and libc stays loaded.
    let code = unsafe { sys::code(address, size) };
    if arch::is_cut(code) {
        return Err(PATCHED_BY_OTHER_COPY);
    }
    let cut = cut(code).ok_or(UNKNOWN_CODE)?;
    resume.store(address + cut.resume, Ordering::Relaxed);
    let jump = arch::jump(stub(cut.shape), cut.at);
    // SAFETY: these bytes are the function's, and nobody is in there or holds a reference to it any more.
    let written = unsafe { writer.write(address + cut.at, jump.without_signature()) };
    written.map_err(|_| NOT_WRITABLE)?;
    Ok((address, cut))
}
