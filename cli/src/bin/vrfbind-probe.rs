//! `vrfbind-probe DEVICE`: what a program that is started here gets. `vrfbind check` starts it, with the library in its
//! environment; in a unit, with the environment that the unit has.
//!
//! It makes one socket, by libc's function as any program would, and reads the device back. It has to be another program
//! than `vrfbind`, which is linked statically: no library is preloaded into that one. It needs no /proc, no netlink and no
//! file, which a unit's sandbox may keep from it.
//!
//! Its answer is for `vrfbind check`: lines of standard output, each a level (`ok`, `warn`, `fail`), a tab and a
//! sentence.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket, sockopt};
use rules::Info;
use std::env;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering::Relaxed;

fn main() -> io::Result<()> {
    let device = env::args_os().nth(1).unwrap_or_default();
    let shown = device.display();
    let library = library();
    let mut answer = match bound() {
        Ok(name) if name == device => format!("ok\ta socket made here is bound to {shown}\n"),
        Ok(_) if library.is_none() => format!(
            "fail\ta socket made here is not bound to {shown}: the library is not loaded; check LD_PRELOAD, and whether \
             the file can be read and executed from here\n"
        ),
        Ok(_) => format!(
            "fail\ta socket made here is not bound to {shown}: {} does not name it\n",
            rules::VRF_VARIABLE
        ),
        Err(errno) => format!(
            "fail\tcannot create a socket bound to {shown}: {}\n",
            errno.desc()
        ),
    };
    answer += match library.map(|library| library.socket.load(Relaxed)) {
        None => "",
        Some(rules::info::PATCHED | rules::info::PATCHED_BY_OTHER_COPY) => {
            "ok\tsockets that libc itself creates (getaddrinfo) reach the library: libc is patched\n"
        }
        Some(_) => {
            "warn\tsockets that libc itself creates (getaddrinfo) do not reach the library: libc is not patched; \
             VRFBIND_LOG=stderr says why\n"
        }
    };
    io::stdout().write_all(answer.as_bytes())
}

/// The device of a socket as anybody makes it, of the family that a unit's RestrictAddressFamilies= leaves.
fn bound() -> Result<std::ffi::OsString, Errno> {
    let make = |family| socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    let made = match make(AddressFamily::Inet) {
        Err(Errno::EAFNOSUPPORT) => make(AddressFamily::Inet6),
        made => made,
    }?;
    let name = getsockopt(&made, sockopt::BindToDevice)?;
    // Up to the first NUL, if there is one.
    let name = name.as_bytes().split(|byte| *byte == 0).next();
    Ok(std::ffi::OsStr::from_bytes(name.unwrap_or_default()).to_owned())
}

/// What the library in this process says of itself, if there is one.
fn library() -> Option<&'static Info> {
    // SAFETY: the name is a string. What it stands for is looked at below.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"vrfbind_info".as_ptr()) };
    let found = found.cast::<Info>();
    // SAFETY: nobody else has an object of this name; it begins with the magic, is never freed, and what changes
    // in it is atomic.
    unsafe { found.as_ref() }.filter(|info| info.magic == rules::info::INFO_MAGIC)
}
