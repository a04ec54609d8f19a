//! Runs the test programs, each on every tier it belongs to, and shows each as a test.
//!
//! | tier  | where                                                  | needs                               |
//! |-------|--------------------------------------------------------|-------------------------------------|
//! | file  | the built library, looked at from outside; glibc 2.31   | nm, readelf; Debian's archive       |
//! | lo    | here, bound to `lo`; compiled for glibc and for musl    | nothing                             |
//! | netns | a network namespace with veth devices (netns.sh)        | root, or user namespaces            |
//! | vrf   | network namespaces with two VRFs (topology.sh)          | a kernel with VRFs: this, or a guest's |
//!
//! `programs` lists them. A program prints its results as TAP (testanything.org), which `tap` reads and `verdict`
//! judges: a test passes if all points are `ok`, as many as planned, at least one, and the exit status is 0.
//!
//! A tier that is not available is a skip with a reason. With VRFBIND_MUST_RUN=1 it is a failure, and so is every skip
//! of a program.

mod file;
mod here;
mod machine;
mod place;
mod programs;
mod tap;
mod verdict;
mod vrf;

use libtest_mimic::Arguments;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let place = match place::Place::new() {
        Ok(place) => Arc::new(place),
        Err(why) => {
            eprintln!("vrfbind-tests: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = file::trials(&place);
    trials.extend(here::trials(&place));
    trials.extend(vrf::trials(&place, &arguments));
    libtest_mimic::run(&arguments, trials).exit_code()
}
