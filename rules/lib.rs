//! Every decision that `libvrfbind.so` and the command `vrfbind` both take, and what they must agree on.
//!
//! Each file is one decision with the table of its unit tests. The library and the command gather facts and
//! act; what follows from the facts is decided here, once. Pure: no system call, no allocation, no unsafe code.
#![no_std]
#![forbid(unsafe_code)]

pub mod device;
pub mod executable;
pub mod filter;
pub mod info;
pub mod inherited;
pub mod list;
pub mod moving;
pub mod options;
pub mod preload;
pub mod registrations;
pub mod request;
pub mod settings;
pub mod settling;
pub mod socket;

pub use device::{BadName, DeviceName, NAME_SIZE};
pub use executable::EXEMPT_NOTE;
pub use info::Info;
pub use request::DEFAULT;
pub use settings::{LOG_VARIABLE, RULES_VARIABLE, SEAL_VARIABLE, VRF_VARIABLE};
