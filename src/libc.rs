//! The libc that we live in: what it has loaded, which functions our exports hide, and its code, patched to call us.
//!
//! Not to be confused with the crate of that name, which has types and constants: modules see that as `libc`, and this
//! one as `crate::libc`. Only in lib.rs, which declares this one, the crate is `::libc`.

#[allow(unsafe_code)]
pub mod objects;
#[allow(unsafe_code)]
pub mod original;
pub mod patch;
