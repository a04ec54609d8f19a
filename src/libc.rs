//! The libc of this process: the objects that it has loaded, the functions that our exports hide, and its own code, which is
//! patched.
//!
//! Not the crate `libc`, which has types and constants. Modules see the crate as `libc`, and this module as `crate::libc`.
//! Only in lib.rs, which declares this module, the crate is `::libc`.

pub mod objects;
pub mod original;
pub mod patch;
pub mod prefix;
