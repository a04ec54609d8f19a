//! The library's two hooks, made with redhook: a yardstick for bench.sh, and nothing to use.
//!
//! It reads the environment once, binds new IP sockets and those without a device that are passed to bind(), as the
//! library does. What the library has beyond that, it has not; and what redhook brings with it is why
//! the library is made without it: std, a lock at the first call, and a panic that is answered with an unbound socket.

use libc::{c_int, c_void, sockaddr, socklen_t};
use std::ffi::CString;
use std::sync::OnceLock;

fn vrf() -> Option<&'static CString> {
    static VRF: OnceLock<Option<CString>> = OnceLock::new();
    VRF.get_or_init(|| {
        let name = std::env::var("VRFBIND_VRF").ok()?;
        CString::new(name)
            .ok()
            .filter(|name| !name.as_bytes().is_empty())
    })
    .as_ref()
}

fn bind_to_vrf(fd: c_int) -> bool {
    let Some(vrf) = vrf() else { return true };
    let length = vrf.as_bytes_with_nul().len() as socklen_t;
    // SAFETY: the name lives for ever, and is as long as that.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            vrf.as_ptr() as *const c_void,
            length,
        )
    };
    result == 0
}

fn has_no_device(fd: c_int) -> bool {
    let mut device = [0_u8; libc::IFNAMSIZ];
    let mut length = device.len() as socklen_t;
    // SAFETY: the array is writable and as long as that.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            device.as_mut_ptr() as *mut c_void,
            &mut length,
        )
    };
    result == 0 && device[0] == 0
}

redhook::hook! {
    unsafe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int => vrf_socket {
        let fd = redhook::real!(socket)(domain, kind, protocol);
        if fd >= 0 && (domain == libc::AF_INET || domain == libc::AF_INET6) && !bind_to_vrf(fd) {
            let errno = *libc::__errno_location();
            libc::close(fd);
            *libc::__errno_location() = errno;
            return -1;
        }
        fd
    }
}

redhook::hook! {
    unsafe fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int => vrf_bind {
        if (*address).sa_family != libc::AF_UNIX as u16 && has_no_device(fd) && !bind_to_vrf(fd) {
            return -1;
        }
        redhook::real!(bind)(fd, address, length)
    }
}
