//! The device that an argument names.

use crate::failure::{Failure, refuse};
use crate::output::{text, word};
use crate::process::netns::Netns;
use rules::DeviceName;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The name of a device, be there one or not.
pub fn name(argument: &OsStr) -> Result<DeviceName, Failure> {
    DeviceName::new(argument.as_bytes()).map_err(|why| {
        refuse(format!(
            "\"{}\" is not a device name: {}",
            text(argument.as_bytes()),
            why.reason()
        ))
    })
}

/// Whether there is no such device in this network namespace. The name may be misspelt.
pub fn is_missing(name: &str) -> bool {
    Netns::Current
        .links()
        .is_ok_and(|links| links.get(name).is_none())
}

/// For a name that nothing has.
pub fn no_vrf(name: &str) -> Failure {
    refuse(format!(
        "there is no VRF {} in this network namespace; `ip vrf show` lists the VRFs",
        word(name)
    ))
}
