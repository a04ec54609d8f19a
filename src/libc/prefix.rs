//! libc's own `connect`, prefixed: whoever calls it inside libc, as the resolver does, has its socket prepared by the rules first.
//!
//! connect() is a cancellation point, so its body cannot be replaced as that of `socket` is ([`patch`](super::patch)): the
//! body itself has to make the system call. So a jump is written behind its first instruction, over instructions of a shape
//! that [`arch::cut`] knows. It leads to a stub of ours, which calls the preparation, does what those instructions did, and
//! goes back behind them, with the stack as it was: while the call waits, no frame of ours is there.
//!
//! Where there are no rules for connect(), libc's code stays as it is. What cannot be prefixed is left alone and said in
//! `vrfbind_info` and in the log: libc's own sockets then stay in the VRF.

use crate::arch::{self, Shape};
use crate::libc::objects::Function;
use crate::libc::original;
use crate::sys;
use core::sync::atomic::{AtomicUsize, Ordering};
use rules::info::{NOT_FOUND, NOT_WRITABLE, PATCHED, PATCHED_BY_OTHER_COPY, UNKNOWN_CODE};

/// Where `connect` goes on. Public for the code of the stubs.
pub static RESUME: AtomicUsize = AtomicUsize::new(0);

/// The addresses of the stubs for a shape.
pub struct Stubs {
    /// Where the jump leads.
    pub prepared: usize,
    /// What our own `connect` calls, which has made the preparation. None: where `connect` goes on.
    pub past: Option<usize>,
}

/// Prefixes `connect`, with the stubs that there are for the shape of its code. Returns what became of it.
///
/// # Safety
/// `function` is libc's `connect`, and nobody is in it. The stubs go on at [`RESUME`].
pub unsafe fn prefix(
    function: Option<Function>,
    stubs: fn(Shape) -> Stubs,
    writer: &sys::CodeWriter,
) -> u32 {
    let Some(Function { address, size, .. }) = function else {
        return NOT_FOUND;
    };
    // SAFETY: address and size are those of libc's symbol table, and libc stays loaded.
    let code = unsafe { sys::code(address, size) };
    if arch::is_cut(code) {
        return PATCHED_BY_OTHER_COPY;
    }
    let Some(cut) = arch::cut(code) else {
        return UNKNOWN_CODE;
    };
    let stubs = stubs(cut.shape);
    let resume = address + cut.resume;
    RESUME.store(resume, Ordering::Relaxed);
    let jump = arch::jump(stubs.prepared, cut.at);
    // SAFETY: these bytes are the function's, and nobody is in there or holds a reference to it any more.
    let written = unsafe { writer.write(address + cut.at, jump.without_signature()) };
    if written.is_err() {
        return NOT_WRITABLE;
    }
    original::skip_prefix(address, stubs.past.unwrap_or(resume));
    PATCHED
}
