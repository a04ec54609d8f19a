//! An architecture whose code of `connect`, `sendto` and `sendmsg` is not known: libc's functions are not cut.

use super::Cut;

/// There is none.
#[derive(Clone, Copy)]
pub enum Shape {}

/// None.
pub fn cut(_code: &[u8]) -> Option<Cut> {
    None
}

/// Defines `connect_stubs`: there are none.
macro_rules! connect_stubs {
    ($before:path, $resume:path) => {
        fn connect_stubs(shape: $crate::arch::Shape) -> Stubs {
            let _ = ($before as *const (), &$resume);
            match shape {}
        }
    };
}
pub(crate) use connect_stubs;

/// None.
pub fn cut_sendto(_code: &[u8]) -> Option<Cut> {
    None
}

/// None.
pub fn cut_sendmsg(_code: &[u8]) -> Option<Cut> {
    None
}

/// Defines `sendto_stub`: there is none.
macro_rules! sendto_stub {
    ($before:path, $resume:path) => {
        fn sendto_stub(shape: $crate::arch::Shape) -> Stubs {
            let _ = ($before as *const (), &$resume);
            match shape {}
        }
    };
}
pub(crate) use sendto_stub;

/// Defines `sendmsg_stub`: there is none.
macro_rules! sendmsg_stub {
    ($before:path, $resume:path) => {
        fn sendmsg_stub(shape: $crate::arch::Shape) -> Stubs {
            let _ = ($before as *const (), &$resume);
            match shape {}
        }
    };
}
pub(crate) use sendmsg_stub;
