//! System calls, and reads of memory that is not ours, one typed function each. Elsewhere are the system call with the
//! seal's marker ([`arch`]), the loader's tables ([`libc::objects`](crate::libc::objects)), and the environment that a
//! program is passed ([`exec::environment`](crate::exec::environment)).
//!
//! System calls are made directly: another preload cannot get between us and the kernel here, and
//! errno, which belongs to the program, is only ever written by [`set_errno`]. Errors are values.
//! Callable from signal handlers and vfork children, except where a function says otherwise.
//!
//! A pointer that only the kernel follows may be invalid: the call fails with EFAULT. A function that follows a pointer
//! itself is an `unsafe fn`.

pub mod descriptors;
pub mod options;
pub mod state;

use crate::arch;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::size_of_val;
use core::ops::{Range, RangeInclusive};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use descriptors::Own;
use libc::{SO_BINDTODEVICE, SO_BINDTOIFINDEX, SO_DOMAIN, SO_TYPE, SOL_SOCKET};
use rules::executable::{CAPABILITIES_SIZE, Process};
use rules::socket::Device;
use rules::{DeviceName, NAME_SIZE, filter, request};
#[cfg(not(target_arch = "x86"))]
use syscalls::Sysno::{
    fstat as FSTAT, getresgid as GETRESGID, getresuid as GETRESUID, mmap as MMAP,
};
#[cfg(target_arch = "x86")]
use syscalls::Sysno::{
    fstat64 as FSTAT, getresgid32 as GETRESGID, getresuid32 as GETRESUID, mmap2 as MMAP,
};
use syscalls::{Errno, Sysno, syscall};

/// The struct that fstat(2) fills. i386 has several; this one has inodes of 64 bits.
#[cfg(target_arch = "x86")]
type Stat = libc::stat64;
#[cfg(not(target_arch = "x86"))]
type Stat = libc::stat;

/// Arrays of strings, as execve(2) expects them.
pub type Strings = *const *const c_char;

/// Puts the socket into `device`.
///
/// socket(7): ENODEV if there is no such device. EPERM without CAP_NET_RAW, until Linux 5.7 always,
/// since then (c427bfec18f2) only if the socket has a device already, be it the same.
fn bind_to_device(fd: c_int, device: &DeviceName) -> Result<(), Errno> {
    let name = device.padded();
    let length = size_of_val(name);
    // SAFETY: the kernel reads so many bytes of `name`, which is borrowed until then.
    unsafe {
        setsockopt(
            fd,
            SOL_SOCKET,
            SO_BINDTODEVICE,
            name.as_ptr().cast(),
            length,
        )
    }
}

/// Puts the socket into `device`, unless somebody has done so before ([`rules::socket::is_bound`]).
pub fn bind_or_is_bound(fd: c_int, device: &DeviceName) -> Result<(), Errno> {
    let result = bind_to_device(fd, device).map_err(Errno::into_raw);
    rules::socket::is_bound(result, || is_on(fd, device)).map_err(Errno::new)
}

/// Whether the socket is on the device of this name, which may be an alternative name (since Linux 5.5) that getsockopt(2)
/// does not return.
fn is_on(fd: c_int, device: &DeviceName) -> bool {
    let has_number =
        |index| domain(fd).and_then(|domain| device_index(domain, device)) == Ok(index);
    bound_device(fd) == Ok(Some(*device)) || bound_index(fd).is_some_and(has_number)
}

/// The device of the socket, if it has one. ENODEV: it had one, which has been deleted since; the
/// socket reaches nothing any more. Since Linux 3.8 (c91f6df2db49).
pub fn bound_device(fd: c_int) -> Result<Option<DeviceName>, Errno> {
    let mut name = [0; NAME_SIZE];
    // The kernel writes the name with its NUL, at most NAME_SIZE bytes, or sets the length to 0 if there is no device.
    let length = getsockopt(fd, SO_BINDTODEVICE, &mut name)?;
    Ok((length > 0).then(|| DeviceName::from_padded(name)))
}

/// The device of the socket, if it has one. By its number, which is cheaper than its name; before Linux 5.1, which has no
/// SO_BINDTOIFINDEX, as [`bound_device`].
pub fn bound(fd: c_int) -> Result<Option<Device>, Errno> {
    match number(fd, SO_BINDTOIFINDEX) {
        Ok(index) => Ok((index != 0).then_some(Device::Number(index as u32))),
        Err(Errno::ENOPROTOOPT) => Ok(bound_device(fd)?.map(|_| Device::Vrf)),
        Err(errno) => Err(errno),
    }
}

/// Puts the socket on the device of this number, or with 0 on none. Since Linux 5.1.
pub fn bind_to_index(fd: c_int, index: u32) -> Result<(), Errno> {
    let length = size_of_val(&index);
    // SAFETY: the kernel reads a number.
    unsafe {
        setsockopt(
            fd,
            SOL_SOCKET,
            SO_BINDTOIFINDEX,
            (&raw const index).cast(),
            length,
        )
    }
}

/// The number of the socket's device, if it has one. Since Linux 5.1 (SO_BINDTOIFINDEX).
#[inline(never)]
pub fn bound_index(fd: c_int) -> Option<u32> {
    match number(fd, SO_BINDTOIFINDEX) {
        Ok(index) if index != 0 => Some(index as u32),
        _ => None,
    }
}

/// Whether a fresh socket that is bound to `device` may send multicast by the device of number `index`:
/// setsockopt(IP_MULTICAST_IF), whose result is the same for IPv6. Requires no privilege, sends nothing.
pub fn may_send_by(device: &DeviceName, index: u32) -> Result<(), Errno> {
    // struct ip_mreqn.
    let request = [0, 0, index];
    let socket = Own::scratch(libc::AF_INET)?;
    bind_or_is_bound(socket.0, device)?;
    let (value, length) = (request.as_ptr().cast(), size_of_val(&request));
    let (level, option) = (libc::IPPROTO_IP, libc::IP_MULTICAST_IF);
    // SAFETY: the kernel reads so many bytes.
    unsafe { setsockopt(socket.0, level, option, value, length) }
}

/// The number of the device that setsockopt(2) with this option and value would put a socket on, if on any; or the errno of
/// the call. It is tried on a fresh socket, which requires no privilege since Linux 5.7.
pub fn device_asked(
    option: c_int,
    value: *const c_void,
    length: libc::socklen_t,
) -> Result<Option<u32>, Errno> {
    let socket = Own::scratch(libc::AF_INET)?;
    // SAFETY: the kernel reads at `value`, or fails with EFAULT.
    unsafe { setsockopt(socket.0, SOL_SOCKET, option, value, length as usize) }?;
    Ok(bound_index(socket.0))
}

/// setsockopt(2), with the marker that a seal with rules requires for SO_BINDTODEVICE and SO_BINDTOIFINDEX.
///
/// # Safety
/// The kernel may read so many bytes at `value`, or fail with EFAULT.
#[inline(never)]
pub unsafe fn setsockopt(
    fd: c_int,
    level: c_int,
    option: c_int,
    value: *const c_void,
    length: usize,
) -> Result<(), Errno> {
    let value = value.expose_provenance();
    let arguments = [fd as usize, level as usize, option as usize, value, length];
    // SAFETY: as callers promise.
    unsafe { arch::marked(Sysno::setsockopt, arguments) }?;
    Ok(())
}

/// The name of the device of number `index` in the network namespace of the process (netdevice(7)).
pub fn device_name(index: u32) -> Result<DeviceName, Errno> {
    interface(libc::AF_INET6, libc::SIOCGIFNAME, [0; NAME_SIZE], index)
        .map(|(name, _)| DeviceName::from_padded(name))
}

/// The number of the device that has this name, or this alternative name, in this network namespace.
fn device_index(domain: c_int, device: &DeviceName) -> Result<u32, Errno> {
    interface(domain, libc::SIOCGIFINDEX, *device.padded(), 0).map(|(_, index)| index)
}

/// SIOCGIFNAME or SIOCGIFINDEX, which writes the name or the number. By a socket of our own: if the program replaced its
/// descriptor meanwhile, this number could mean another ioctl(2) there.
fn interface(
    domain: c_int,
    request: libc::c_ulong,
    name: [u8; NAME_SIZE],
    index: u32,
) -> Result<([u8; NAME_SIZE], u32), Errno> {
    // struct ifreq: the name, and a union of 24 bytes that begins with the number.
    #[repr(C)]
    struct Interface {
        name: [u8; NAME_SIZE],
        index: u32,
        rest: [u32; 5],
    }
    let mut interface = Interface {
        name,
        index,
        rest: [0; 5],
    };
    let socket = Own::scratch(domain)?;
    // SAFETY: the kernel reads and writes a struct ifreq, which is no larger.
    unsafe { syscall!(Sysno::ioctl, socket.0, request, &raw mut interface) }?;
    let _ = interface.rest;
    Ok((interface.name, interface.index))
}

/// The family of the socket. Since Linux 2.6.32.
pub fn domain(fd: c_int) -> Result<c_int, Errno> {
    number(fd, SO_DOMAIN)
}

/// The type of the socket, without flags.
pub fn sock_type(fd: c_int) -> Result<c_int, Errno> {
    number(fd, SO_TYPE)
}

#[inline(never)]
fn number(fd: c_int, option: c_int) -> Result<c_int, Errno> {
    let mut number = [0; size_of::<c_int>()];
    getsockopt(fd, option, &mut number)?;
    Ok(c_int::from_ne_bytes(number))
}

fn getsockopt(fd: c_int, option: c_int, value: &mut [u8]) -> Result<libc::socklen_t, Errno> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, and then `length`; both are
    // borrowed exclusively until then.
    unsafe {
        syscall!(
            Sysno::getsockopt,
            fd,
            SOL_SOCKET,
            option,
            value.as_mut_ptr(),
            &raw mut length
        )
    }?;
    Ok(length)
}

/// Ends all sending and receiving. A datagram socket that is not connected gives ENOTCONN, and is shut down
/// all the same (inet_shutdown, net/ipv4/af_inet.c).
pub fn shutdown(fd: c_int) {
    // SAFETY: takes no pointers.
    let _ = unsafe { syscall!(Sysno::shutdown, fd, libc::SHUT_RDWR) };
}

/// The family of an address.
///
/// # Safety
/// It has been read just now, and no other thread takes it away or writes to it.
pub unsafe fn family(address: *const libc::sockaddr) -> c_int {
    // SAFETY: as callers promise. It need not be aligned.
    unsafe { address.cast::<libc::sa_family_t>().read_unaligned() }.into()
}

/// Closes a descriptor of ours. Nothing can be done about an error, and on Linux the descriptor is
/// gone whatever close(2) returns.
#[inline(never)]
pub fn close(fd: c_int) {
    // SAFETY: takes no pointers.
    let _ = unsafe { syscall!(Sysno::close, fd) };
}

/// Sets errno, which is libc's and belongs to the thread.
pub fn set_errno(errno: Errno) {
    // SAFETY: glibc and musl return the address of this thread's errno, from any context.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: see above; it is valid as long as the thread is.
    unsafe { *location = errno.into_raw() };
}

/// errno, as a call that has failed has left it.
pub fn errno() -> Errno {
    // SAFETY: as in `set_errno`.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: see above.
    Errno::new(unsafe { *location })
}

/// A value that the kernel passed at exec, or 0 (getauxval(3)): glibc since 2.16, musl since 1.0.
pub fn auxiliary(kind: core::ffi::c_ulong) -> usize {
    // SAFETY: reads what ld.so keeps.
    unsafe { libc::getauxval(kind) as usize }
}

/// Whether the process is more privileged than its caller: set-user-ID, set-group-ID, file capabilities, or by the decision
/// of a security module.
pub fn is_secure_execution() -> bool {
    auxiliary(libc::AT_SECURE) != 0
}

fn page_size() -> usize {
    auxiliary(libc::AT_PAGESZ)
}

/// Makes the pages of a segment of ours read-only for good. An error does no harm: the pages of every other library stay
/// writable.
///
/// # Safety
/// Nothing in these pages is written any more.
pub unsafe fn make_read_only(segment: Range<usize>) {
    let start = segment.start & page_size().wrapping_neg();
    // SAFETY: as callers promise.
    let _ = unsafe { syscall!(Sysno::mprotect, start, segment.end - start, libc::PROT_READ) };
}

/// Ends the process for the panic handler. The import of abort(3) shows whether the handler was linked in.
#[cfg(not(test))]
pub fn abort() -> ! {
    // SAFETY: abort(3) has no preconditions.
    unsafe { libc::abort() }
}

/// The environment of this process, as it is while this value lives: an array of strings with a NULL at its end, or NULL.
pub struct Environment(Strings);

impl Environment {
    /// For the constructor. glibc has not set `environ` yet if ours is the first constructor, but passes `envp`. musl passes
    /// nothing, but has set `environ` long before (__dls3, ldso/dynlink.c). After clearenv(3) and dlopen(3) there is
    /// neither: the environment is empty.
    ///
    /// # Safety
    /// As for [`Environment::now`]; and `envp`, if libc passes it, is the environment, or NULL.
    pub unsafe fn at_load(envp: Option<Strings>) -> Self {
        // SAFETY: as callers promise.
        unsafe { Self::now() }.unwrap_or(Self(envp.unwrap_or(ptr::null())))
    }

    /// By libc's `environ`, if libc has set it already.
    ///
    /// # Safety
    /// Nobody changes the environment as long as the result is used.
    pub unsafe fn now() -> Option<Self> {
        unsafe extern "C" {
            #[link_name = "__environ"]
            static environ: Strings;
        }
        // SAFETY: exported by both libcs, and of this type; nobody writes it, as callers promise.
        let environment = unsafe { environ };
        (!environment.is_null()).then_some(Self(environment))
    }

    /// The value of the first variable of this name, which is the one getenv(3) returns.
    #[inline(never)]
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        let mut entry = self.0;
        if entry.is_null() {
            return None;
        }
        loop {
            // SAFETY: `entry` points into the array, at or before the NULL at its end, and the array is as it was.
            let string = unsafe { *entry };
            if string.is_null() {
                return None;
            }
            // SAFETY: the entries before the NULL are strings.
            let string = unsafe { CStr::from_ptr(string) }.to_bytes();
            if let Some(value) = string
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(b"="))
            {
                return Some(value);
            }
            entry = entry.wrapping_add(1);
        }
    }
}

/// write(2), once.
pub fn write(fd: c_int, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads bytes.len() bytes of `bytes`.
    unsafe { syscall!(Sysno::write, fd, bytes.as_ptr(), bytes.len()) }
}

/// The bytes of a string.
///
/// # Safety
/// It is a string, and stays as it is as long as the result is used.
pub unsafe fn string<'a>(string: *const c_char) -> &'a [u8] {
    // SAFETY: as callers promise.
    unsafe { CStr::from_ptr(string) }.to_bytes()
}

/// Whether it is no string, or has nothing in it.
///
/// # Safety
/// It is null or a string.
pub unsafe fn is_empty(string: *const c_char) -> bool {
    // SAFETY: as callers promise; one byte is looked at.
    string.is_null() || unsafe { *string } == 0
}

/// Opens a file, relative to `directory`, to read it. Not for a file whose opening would block or have an effect.
#[inline(never)]
pub fn open_to_read(directory: c_int, path: *const c_char) -> Result<c_int, Errno> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: the kernel reads a string at `path`, or fails with EFAULT.
    let fd = unsafe { syscall!(Sysno::openat, directory, path, flags, 0) }?;
    Ok(fd as c_int)
}

/// pread(2), once.
pub fn read_at(fd: c_int, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most buffer.len() bytes to `buffer`.
    unsafe {
        syscall!(
            Sysno::pread64,
            fd,
            buffer.as_mut_ptr(),
            buffer.len(),
            offset,
            // The upper half of the offset on 32-bit architectures; ignored on others.
            offset >> 32
        )
    }
}

/// Which file it is, whose, and its mode.
pub struct File {
    pub device: u64,
    pub inode: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// fstat(2).
pub fn stat(fd: c_int) -> Result<File, Errno> {
    let mut stat = core::mem::MaybeUninit::<Stat>::uninit();
    // SAFETY: libc's struct is the kernel's.
    unsafe { syscall!(FSTAT, fd, stat.as_mut_ptr()) }?;
    // SAFETY: fstat has succeeded.
    let stat = unsafe { stat.assume_init() };
    Ok(File {
        device: stat.st_dev,
        inode: stat.st_ino,
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
    })
}

/// Whether it is a regular file. Another file may take its place before it is opened. Since Linux 4.11.
pub fn is_regular(directory: c_int, path: *const c_char) -> bool {
    let mut statx = core::mem::MaybeUninit::<libc::statx>::uninit();
    // SAFETY: the kernel reads a string at `path`, or fails with EFAULT, and writes the struct, which is libc's.
    let result = unsafe {
        syscall!(
            Sysno::statx,
            directory,
            path,
            0,
            libc::STATX_TYPE,
            statx.as_mut_ptr()
        )
    };
    if result.is_err() {
        return false;
    }
    // SAFETY: statx has succeeded.
    let mode = unsafe { statx.assume_init() }.stx_mode;
    u32::from(mode) & libc::S_IFMT == libc::S_IFREG
}

/// Whether the file lies on a mount with the option nosuid. Since Linux 2.6.36.
pub fn is_nosuid(fd: c_int) -> bool {
    let mut statfs = core::mem::MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: libc's struct is the kernel's.
    #[cfg(not(target_arch = "x86"))]
    let result = unsafe { syscall!(Sysno::fstatfs, fd, statfs.as_mut_ptr()) };
    // SAFETY: likewise, of the size that the kernel is told.
    #[cfg(target_arch = "x86")]
    let result = unsafe {
        syscall!(
            Sysno::fstatfs64,
            fd,
            size_of::<libc::statfs64>(),
            statfs.as_mut_ptr()
        )
    };
    if result.is_err() {
        return false;
    }
    // SAFETY: fstatfs has succeeded.
    let flags = unsafe { statfs.assume_init() }.f_flags;
    flags as libc::c_ulong & libc::ST_NOSUID != 0
}

/// The file's capabilities (capabilities(7)), padded; zeros: none.
pub fn file_capabilities(fd: c_int) -> [u8; CAPABILITIES_SIZE] {
    let mut value = [0; CAPABILITIES_SIZE];
    let name = c"security.capability";
    // SAFETY: the kernel reads the name, and writes at most value.len() bytes to `value`; ENODATA if there is none.
    let _ = unsafe {
        syscall!(
            Sysno::fgetxattr,
            fd,
            name.as_ptr(),
            value.as_mut_ptr(),
            value.len()
        )
    };
    value
}

/// Whether the real user and group can read the file, by faccessat(2).
pub fn is_there(path: *const c_char) -> bool {
    // SAFETY: the kernel reads a string at `path`, or fails with EFAULT.
    unsafe { syscall!(Sysno::faccessat, libc::AT_FDCWD, path, libc::R_OK) }.is_ok()
}

/// The IDs of this process that execve compares with a file.
pub fn process() -> Process {
    let ids = |call: Sysno| {
        let (mut real, mut effective, mut saved) = (0_u32, 0_u32, 0_u32);
        // SAFETY: the kernel writes three numbers, of 32 bits each.
        let _ = unsafe { syscall!(call, &raw mut real, &raw mut effective, &raw mut saved) };
        (real, effective)
    };
    let (uid, euid) = ids(GETRESUID);
    let (gid, egid) = ids(GETRESGID);
    // SAFETY: takes no pointers.
    let no_new_privs = unsafe { syscall!(Sysno::prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    Process {
        uid,
        euid,
        gid,
        egid,
        no_new_privs: no_new_privs == Ok(1),
    }
}

/// Opens a file to append to it, and creates it if it does not exist. Does not wait for the reader of a FIFO.
pub fn open_to_append(path: *const c_char) -> Result<c_int, Errno> {
    let flags = libc::O_WRONLY
        | libc::O_APPEND
        | libc::O_CREAT
        | libc::O_CLOEXEC
        | libc::O_NOCTTY
        | libc::O_NONBLOCK;
    open(path, flags)
}

/// openat(2) relative to the current directory, with mode 0600 for a new file. EFAULT: `path` is an invalid pointer.
#[inline(never)]
pub fn open(path: *const c_char, flags: c_int) -> Result<c_int, Errno> {
    // SAFETY: the kernel reads a string at `path`, or fails with EFAULT.
    let fd = unsafe { syscall!(Sysno::openat, libc::AT_FDCWD, path, flags, 0o600) }?;
    Ok(fd as c_int)
}

/// getpid(2).
#[inline(never)]
pub fn getpid() -> c_int {
    // SAFETY: no preconditions, no failure.
    unsafe { syscall!(Sysno::getpid) }.unwrap_or(0) as c_int
}

/// getppid(2).
pub fn getppid() -> c_int {
    // SAFETY: no preconditions, no failure.
    unsafe { syscall!(Sysno::getppid) }.unwrap_or(0) as c_int
}

/// Whether a write would neither block nor fail. A pipe is writable if it has room for PIPE_BUF (4,096) bytes, more than
/// a line of ours; POLLERR means that nobody reads.
pub fn is_writable(fd: c_int) -> bool {
    ready(fd, libc::POLLOUT) == Ok(libc::POLLOUT)
}

/// The events, of these and of errors, that poll(2) reports at once.
pub fn ready(fd: c_int, events: i16) -> Result<i16, Errno> {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: one pollfd, borrowed exclusively, and a timespec; no signal mask, hence its size is 0.
    // ppoll, because aarch64 has no poll.
    unsafe { syscall!(Sysno::ppoll, &raw mut poll, 1, &raw const now, 0, 0) }?;
    Ok(poll.revents)
}

/// socket(2), with the seal's marker if the seal requires it for this family.
pub fn socket(domain: c_int, sock_type: c_int, protocol: c_int) -> Result<c_int, Errno> {
    let fd = if filter::needs_marker(domain) {
        let arguments = [domain as usize, sock_type as usize, protocol as usize, 0, 0];
        // SAFETY: takes no pointers.
        unsafe { arch::marked(Sysno::socket, arguments) }
    } else {
        // SAFETY: takes no pointers.
        unsafe { syscall!(Sysno::socket, domain, sock_type, protocol) }
    };
    fd.map(|fd| fd as c_int)
}

/// socket(2) by the supervisor, which reads the VRF from the arguments. They may stay in the registers: a later call with
/// them asks for the same VRF again.
pub fn supervised_socket(
    vrf: &DeviceName,
    [domain, sock_type, protocol]: [c_int; 3],
) -> Result<c_int, Errno> {
    let [fourth, fifth, sixth] = request::arguments(vrf);
    // SAFETY: takes no pointers.
    let fd = unsafe {
        syscall!(
            Sysno::socket,
            domain,
            sock_type,
            protocol,
            fourth,
            fifth,
            sixth
        )
    }?;
    Ok(fd as c_int)
}

/// Whether this process is sealed, in any form.
#[inline(never)]
pub fn is_sealed() -> bool {
    answer().is_some()
}

/// Whether the seal has a supervisor, which creates the sockets that the library does not.
#[inline(never)]
pub fn is_supervised() -> bool {
    answer().is_some_and(|answer| answer != filter::SEALED_ERRNO)
}

/// Whether the supervisor also moves sockets by rules.
pub fn is_supervised_with_rules() -> bool {
    answer() == Some(filter::SUPERVISED_WITH_RULES_ERRNO)
}

/// The seal's answer to [`QUESTIONS`](rules::filter::QUESTIONS), if there is a seal.
#[inline(never)]
fn answer() -> Option<c_int> {
    const ANSWERS: RangeInclusive<c_int> =
        filter::SEALED_ERRNO..=filter::SUPERVISED_WITH_RULES_ERRNO;
    filter::QUESTIONS.iter().find_map(|&(family, sock_type)| {
        // SAFETY: takes no pointers.
        let answer = unsafe { syscall!(Sysno::socket, family, sock_type, 0) };
        let answer = answer.err().map(Errno::into_raw);
        answer.filter(|answer| ANSWERS.contains(answer))
    })
}

/// Whether connect(2) may wait for the peer: of a stream that is not non-blocking.
pub fn may_wait(fd: c_int) -> bool {
    // SAFETY: takes no pointers.
    let flags = unsafe { syscall!(Sysno::fcntl, fd, libc::F_GETFL) };
    flags.is_ok_and(|flags| flags as c_int & libc::O_NONBLOCK == 0)
        && !matches!(sock_type(fd), Ok(libc::SOCK_DGRAM | libc::SOCK_RAW))
}

/// Seals this process and all its children: since Linux 3.5 (seccomp filters), for good.
///
/// By prctl(2), which systemd's SystemCallFilter=@system-service allows, unlike seccomp(2). Without
/// CAP_SYS_ADMIN the kernel requires no_new_privs first (EACCES), so that nobody can confuse a set-user-ID
/// program by a filter. Other threads are not sealed, so there should be none yet.
pub fn install_seal() -> Result<(), Errno> {
    const SEAL: [filter::Instruction; filter::LENGTH] =
        filter::filter(filter::UnmarkedSocket::Deny, filter::IoUring::Deny);
    if !filter::IS_KNOWN {
        return Err(Errno::ENOSYS);
    }
    let program = libc::sock_fprog {
        len: SEAL.len() as u16,
        filter: SEAL.as_ptr().cast_mut().cast(),
    };
    let install = || {
        // SAFETY: the kernel copies the filter, and does not write to it.
        unsafe {
            syscall!(
                Sysno::prctl,
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
                0,
                0
            )
        }
    };
    match install() {
        Err(Errno::EACCES) => {
            // SAFETY: takes no pointers.
            unsafe { syscall!(Sysno::prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }?;
            install()?;
        }
        result => {
            result?;
        }
    }
    // The proof is what the kernel does now.
    if is_sealed() {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

/// execve(2). Returns only with an error.
pub fn execve(path: *const c_char, argv: Strings, envp: Strings) -> Errno {
    // SAFETY: the kernel reads the strings, or fails with EFAULT.
    match unsafe { syscall!(Sysno::execve, path, argv, envp) } {
        Err(errno) => errno,
        Ok(_) => Errno::ENOEXEC,
    }
}

/// execveat(2). Returns only with an error.
pub fn execveat(
    directory: c_int,
    path: *const c_char,
    argv: Strings,
    envp: Strings,
    flags: c_int,
) -> Errno {
    // SAFETY: the kernel reads the strings, or fails with EFAULT.
    match unsafe { syscall!(Sysno::execveat, directory, path, argv, envp, flags) } {
        Err(errno) => errno,
        Ok(_) => Errno::ENOEXEC,
    }
}

/// The code of a function.
///
/// # Safety
/// It has so many bytes at this address, that can be read and that nobody writes to as long as the result is used.
pub unsafe fn code<'a>(address: usize, size: usize) -> &'a [u8] {
    // SAFETY: as callers promise.
    unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(address), size) }
}

/// A way to write over code that nobody is in: through /proc/self/mem, else by making its pages writable.
///
/// Through the file, the kernel writes to pages that are not writable, and makes them private (FOLL_FORCE, in
/// all versions; proc_mem.force_override= can forbid it since Linux 6.12). It also keeps the instruction cache
/// coherent. The file is opened once, since opening it costs the most.
pub struct CodeWriter(Result<c_int, Errno>);

impl CodeWriter {
    /// Cannot fail: without the file, mprotect(2) is used.
    pub fn new() -> Self {
        let flags = libc::O_RDWR | libc::O_CLOEXEC;
        Self(open(c"/proc/self/mem".as_ptr(), flags))
    }

    /// Writes `code` to `address`.
    ///
    /// # Safety
    /// There is code of this length there, which nobody is in and nobody holds a reference to.
    pub unsafe fn write(&self, address: usize, code: &[u8]) -> Result<(), Errno> {
        let through_file = self.0.and_then(|fd| {
            // SAFETY: the kernel reads code.len() bytes of `code`, and writes as many as callers promise.
            unsafe { syscall!(Sysno::pwrite64, fd, code.as_ptr(), code.len(), address) }
        });
        match through_file {
            Ok(length) if length == code.len() => Ok(()),
            // SAFETY: as callers promise.
            _ => unsafe { write_by_mprotect(address, code) },
        }
    }
}

impl Drop for CodeWriter {
    fn drop(&mut self) {
        if let Ok(fd) = self.0 {
            close(fd);
        }
    }
}

/// # Safety
/// As for [`CodeWriter::write`].
unsafe fn write_by_mprotect(address: usize, code: &[u8]) -> Result<(), Errno> {
    let start = address & page_size().wrapping_neg();
    let length = address - start + code.len();
    let protect = |protection: c_int| {
        // SAFETY: the pages stay readable and executable all the time.
        unsafe { syscall!(Sysno::mprotect, start, length, protection) }
    };
    let executable = libc::PROT_READ | libc::PROT_EXEC;
    protect(executable | libc::PROT_WRITE)?;
    let to = ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: writable now, and as callers promise as long as `code`, with nobody in there.
    let to = unsafe { core::slice::from_raw_parts_mut(to, code.len()) };
    to.copy_from_slice(code);
    flush_instructions(to);
    // The code is written, whether or not the page gets its old protection back: nothing allows the former and refuses the
    // latter.
    let _ = protect(executable);
    Ok(())
}

/// x86 keeps its instruction cache coherent. On an unknown architecture no code is written.
#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
fn flush_instructions(_code: &[u8]) {}

#[cfg(target_arch = "aarch64")]
fn flush_instructions(code: &[u8]) {
    // No cache line is shorter than four bytes.
    for line in code.iter().step_by(4).map(ptr::from_ref) {
        // SAFETY: cleaning and invalidating cache lines of readable memory changes nothing else; Linux
        // allows it in user space (SCTLR_EL1.UCI).
        unsafe {
            core::arch::asm!("dc cvau, {0}", "dsb ish", "ic ivau, {0}", "dsb ish", "isb", in(reg) line)
        };
    }
}

/// Of all harts: another one may run the thread next (riscv_flush_icache(2), Linux 4.15).
#[cfg(target_arch = "riscv64")]
fn flush_instructions(code: &[u8]) {
    let code = code.as_ptr_range();
    // SAFETY: reads and writes nothing.
    let _ = unsafe { syscall!(Sysno::riscv_flush_icache, code.start, code.end, 0) };
}

/// The value of `entry`, if it is the same variable as `other`, NAME=VALUE. Reads no further than it must.
///
/// # Safety
/// Both are strings, and stay as they are as long as the result is used.
pub unsafe fn value_of_same<'a>(entry: *const c_char, other: *const c_char) -> Option<&'a [u8]> {
    let (mut entry, mut other) = (entry.cast::<u8>(), other.cast::<u8>());
    loop {
        // SAFETY: no byte before this one was the NUL at the end of the string.
        let byte = unsafe { *entry };
        // SAFETY: as above; all bytes before this one were the same.
        if byte != unsafe { *other } || byte == 0 {
            return None;
        }
        (entry, other) = (entry.wrapping_add(1), other.wrapping_add(1));
        if byte == b'=' {
            // SAFETY: the rest of a string.
            return Some(unsafe { string(entry.cast()) });
        }
    }
}

/// `path` as an absolute path: itself, or a copy with the current directory before it, in memory that is never
/// freed. A relative path stays relative if the current directory has no path.
///
/// # Safety
/// It is a string that stays as it is.
pub unsafe fn absolute(path: *const c_char) -> &'static [u8] {
    const SIZE: usize = 4096; // PATH_MAX
    // SAFETY: as callers promise.
    let path = unsafe { string(path) };
    if path.first() == Some(&b'/') {
        return path;
    }
    let Ok(memory) = map(SIZE) else {
        return path;
    };
    let buffer = ptr::with_exposed_provenance_mut::<u8>(memory);
    // SAFETY: a new mapping of this size, which nobody else knows of.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer, SIZE) };
    // SAFETY: the kernel writes at most SIZE bytes.
    let length = unsafe { syscall!(Sysno::getcwd, buffer.as_mut_ptr(), SIZE) };
    // The length counts the NUL, which the slash replaces. An unreachable directory ("(unreachable)...") has no '/' first.
    if let Ok(length) = length
        && buffer.first() == Some(&b'/')
        && let Some([slash, rest @ ..]) = buffer.get_mut(length - 1..)
        && let Some(rest) = rest.get_mut(..path.len())
    {
        *slash = b'/';
        rest.copy_from_slice(path);
        return buffer.get(..length + path.len()).unwrap_or_default();
    }
    // SAFETY: as above, and nobody has it any more.
    unsafe { unmap(memory, SIZE) };
    path
}

/// Identifies a thread, and is the same in its vfork children: the address of its errno.
pub fn thread() -> usize {
    // SAFETY: glibc and musl return the address, from any context.
    unsafe { libc::__errno_location() }.addr()
}

/// Words that are written after the constructor, which makes our data read-only: they lie in a mapping of their own.
pub struct Words(AtomicUsize);

/// Those of this process.
pub static WORDS: Words = Words(AtomicUsize::new(0));

/// What each is for.
#[derive(Clone, Copy)]
pub enum Word {
    /// Whether stderr has had a line about a refused bind().
    RefusedBind,
    /// The same about a refused setsockopt().
    RefusedSetsockopt,
    /// The same about a socket that was not moved.
    NotMoved,
    /// The number of the page that [`state::Sockaddr::read`] was last told to be readable.
    ReadablePage,
}

impl Words {
    const COUNT: usize = Word::ReadablePage as usize + 1;

    /// Makes the mapping, in the constructor.
    pub fn map(&self) {
        if let Ok(address) = map(size_of::<[AtomicUsize; Self::COUNT]>()) {
            self.0.store(address, Ordering::Relaxed);
        }
    }

    /// The word, 0 at first. None: there is no mapping.
    pub fn get(&self, word: Word) -> Option<&AtomicUsize> {
        let address = self.0.load(Ordering::Relaxed);
        let words = ptr::with_exposed_provenance::<[AtomicUsize; Self::COUNT]>(address);
        // SAFETY: null, or the mapping, which is never given back.
        let words = unsafe { words.as_ref() };
        words.map(|words| &words[word as usize])
    }

    /// Whether this is the first call for this word. Without a mapping, always false.
    #[inline(never)]
    pub fn is_first(&self, word: Word) -> bool {
        self.get(word).is_some_and(|word| arch::claim(word, 1) == 0)
    }
}

/// A new anonymous mapping, zeroed.
pub fn map(size: usize) -> Result<usize, Errno> {
    const NO_FILE: c_int = -1;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, where the kernel likes.
    unsafe { syscall!(MMAP, 0, size, protection, flags, NO_FILE, 0) }
}

/// A new anonymous mapping, unmapped when this is dropped.
pub struct Mapping {
    address: usize,
    size: usize,
}

impl Mapping {
    pub fn new(size: usize) -> Result<Self, Errno> {
        map(size).map(|address| Self { address, size })
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        let memory = ptr::with_exposed_provenance_mut::<u8>(self.address);
        // SAFETY: a mapping of this size, of which nobody else knows.
        unsafe { core::slice::from_raw_parts_mut(memory, self.size) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is mapped, and no slice of it outlives this value.
        unsafe { unmap(self.address, self.size) };
    }
}

/// Unmaps a mapping.
///
/// # Safety
/// It is a whole mapping of this size, and nobody uses it any more.
pub unsafe fn unmap(address: usize, size: usize) {
    // SAFETY: as callers promise.
    let _ = unsafe { syscall!(Sysno::munmap, address, size) };
}
