//! The libc that we live in: the objects that it has loaded, the functions that our exports hide, and its own code, which is
//! patched.
//!
//! Not to be confused with the crate of that name, which has types and constants: modules see that as `libc`, and this
//! one as `crate::libc`. Only in lib.rs, which declares this one, the crate is `::libc`.

pub mod objects;
pub mod original;
pub mod patch;
pub mod prefix;
