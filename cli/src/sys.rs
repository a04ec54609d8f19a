//! The system calls that nix does not have, one typed function each, and C's way into the program.
//!
//! The seccomp notification protocol (seccomp_unotify(2)) is one system call and four ioctls; there is no
//! crate for it that does without the C library libseccomp. The structures are libc's.

pub mod existing;
pub mod other_process;

use nix::errno::Errno;
use nix::unistd::Pid;
use rules::DeviceName;
use rules::executable::CAPABILITIES_SIZE;
use rules::filter::{
    IS_KNOWN, Instruction, OfExisting, QUESTIONS, SEALED_ERRNO, SUPERVISED_WITH_RULES_ERRNO,
};
use rules::request::{self, Vrf};
use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use syscalls::{Sysno, syscall};

/// The entry point for C. A program that we execute would inherit what Rust does before its own `main`: it ignores
/// SIGPIPE, and opens /dev/null for a descriptor of 0 to 2 that is closed (std::rt).
///
/// `$run` gets the arguments.
#[cfg_attr(test, allow(unused_macros))]
macro_rules! starts {
    ($run:ident) => {
        #[allow(unsafe_code)]
        mod start {
            use std::ffi::{CStr, OsStr, c_char, c_int};
            use std::os::unix::ffi::OsStrExt;

            // SAFETY: no other object has a `main`, and the C runtime calls this one with these arguments.
            #[unsafe(no_mangle)]
            extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
                let arguments = (0..argc.unsigned_abs() as usize).map(|index| {
                    // SAFETY: `argv` has `argc` entries, each a string that stays where it is.
                    let argument = unsafe { CStr::from_ptr(*argv.add(index)) };
                    OsStr::from_bytes(argument.to_bytes()).to_owned()
                });
                super::$run(arguments.collect())
            }
        }
    };
}
#[cfg_attr(test, allow(unused_imports))]
pub(crate) use starts;

/// Tells the library, and `vrfbind exec`, that this program does not need to be preloaded into.
#[cfg(not(test))]
#[used]
// SAFETY: a section of notes is not code, and nothing in the program reads it.
#[unsafe(link_section = ".note.vrfbind")]
static NOTE: Note = Note(rules::EXEMPT_NOTE);

/// Notes begin at multiples of 4.
#[cfg(not(test))]
#[repr(C, align(4))]
struct Note([u8; rules::EXEMPT_NOTE.len()]);

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The environment as execve(2) has passed it, entry by entry, including entries without `=`, and duplicates.
pub fn environment() -> Vec<CString> {
    let mut entries = Vec::new();
    // SAFETY: libc has set it before `main`, and there is one thread, which changes nothing in it.
    let mut entry = unsafe { environ };
    // SAFETY: an array of strings with NULL at its end.
    while let Some(string) = unsafe { entry.as_ref() }.filter(|string| !string.is_null()) {
        // SAFETY: as above.
        entries.push(unsafe { CStr::from_ptr(*string) }.to_owned());
        // SAFETY: this one was not the last.
        entry = unsafe { entry.add(1) };
    }
    entries
}

/// The path of this command; without /proc, the path that execve(2) was called with.
pub fn own_path() -> Option<PathBuf> {
    std::env::current_exe().ok().or_else(|| {
        // SAFETY: takes a number.
        let path = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const c_char;
        if path.is_null() {
            return None;
        }
        // SAFETY: a string that the kernel has put above the stack, where it stays (getauxval(3)).
        let path = unsafe { CStr::from_ptr(path) };
        Some(OsStr::from_bytes(path.to_bytes()).into())
    })
}

// ---- Sockets, and the seal ----

/// socket(2) by the instruction itself: libc's function may be hooked by a library that is preloaded into this very
/// process.
pub fn socket(domain: c_int, sock_type: c_int, protocol: c_int) -> Result<OwnedFd, Errno> {
    socket_with(domain, sock_type, protocol, [0; 3])
}

/// The same, by a supervisor, to which the call names the VRF ([`rules::request`]).
pub fn socket_in(vrf: Vrf, domain: c_int, sock_type: c_int) -> Result<OwnedFd, Errno> {
    socket_with(domain, sock_type, 0, request::arguments(&vrf.name()))
}

fn socket_with(
    domain: c_int,
    sock_type: c_int,
    protocol: c_int,
    [fourth, fifth, sixth]: [u64; 3],
) -> Result<OwnedFd, Errno> {
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
    };
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.map_err(errno)? as c_int) })
}

fn errno(error: syscalls::Errno) -> Errno {
    Errno::from_raw(error.into_raw())
}

/// The seal of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealState {
    /// None.
    None,
    /// A seal that refuses unmarked sockets.
    Sealed,
    /// A seal with a supervisor.
    Supervised,
}

/// Queries the seal ([`rules::filter`]).
pub fn seal_state() -> SealState {
    match answer() {
        Some(SEALED_ERRNO) => SealState::Sealed,
        Some(_) => SealState::Supervised,
        None => SealState::None,
    }
}

/// Whether this process has a supervisor that is notified of addresses, which rules require.
pub fn has_supervisor_with_rules() -> bool {
    answer() == Some(SUPERVISED_WITH_RULES_ERRNO)
}

fn answer() -> Option<c_int> {
    QUESTIONS.into_iter().find_map(|(family, sock_type)| {
        // SAFETY: takes no pointers.
        let answer = unsafe { syscall!(Sysno::socket, family, sock_type, 0) };
        let answer = answer.err().map(syscalls::Errno::into_raw);
        answer.filter(|answer| (SEALED_ERRNO..=SUPERVISED_WITH_RULES_ERRNO).contains(answer))
    })
}

/// Whether io_uring_setup(2) is available: the seal answers ENOSYS, as does a kernel without it.
pub fn has_io_uring() -> bool {
    const NO_ENTRIES: usize = 0;
    // SAFETY: no ring of no entries is made, and the kernel looks at no address but this one, which it may not read.
    let result = unsafe { syscall!(Sysno::io_uring_setup, NO_ENTRIES, 0) };
    result != Err(syscalls::Errno::ENOSYS)
}

/// Installs the seal that refuses unmarked sockets, on this process and all that it starts, for good.
///
/// By prctl(2): seccomp(2) is not in systemd's SystemCallFilter=@system-service, which kills the process for it (systemd
/// 252).
pub fn seal(filter: &[Instruction]) -> Result<(), Errno> {
    with_program(filter, |program| {
        // SAFETY: the kernel copies the program.
        let result = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
                program,
                0,
                0,
            )
        };
        Errno::result(result).map(drop)
    })
}

/// Installs the seal with a supervisor, and returns the listener.
pub fn seal_and_listen(filter: &[Instruction]) -> Result<OwnedFd, Errno> {
    let install = |flags: libc::c_ulong| {
        with_program(filter, |program| {
            // SAFETY: the kernel copies the program.
            let fd = unsafe {
                libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    flags,
                    program,
                )
            };
            let fd = Errno::result(fd)?;
            // SAFETY: the descriptor is new (and close-on-exec), and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
        })
    };
    // Once the supervisor has received a call only SIGKILL interrupts it: otherwise it begins anew after every signal
    // with a handler, and Go's runtime sends one to itself each 10 ms. Since Linux 5.19; before, EINVAL.
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    match install(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::EINVAL) => install(listener),
        result => result,
    }
}

/// Without CAP_SYS_ADMIN the kernel accepts a filter only with no_new_privs (EACCES), so that nobody confuses a
/// set-user-ID program by a filter.
fn with_program<R>(
    filter: &[Instruction],
    install: impl Fn(*const libc::sock_fprog) -> Result<R, Errno>,
) -> Result<R, Errno> {
    if !IS_KNOWN {
        return Err(Errno::ENOSYS);
    }
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        // Instruction is laid out as struct sock_filter.
        filter: filter.as_ptr().cast_mut().cast(),
    };
    match install(&raw const program) {
        Err(Errno::EACCES) => {
            nix::sys::prctl::set_no_new_privs()?;
            install(&raw const program)
        }
        result => result,
    }
}

/// Whether the kernel has notifications, in the layout that we know: Linux 5.0. An inherited filter may refuse the query
/// (the error), or kill the process for it.
pub fn has_notifications() -> Result<bool, Errno> {
    let mut sizes = MaybeUninit::<libc::seccomp_notif_sizes>::zeroed();
    // SAFETY: the kernel writes the structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_NOTIF_SIZES,
            0,
            sizes.as_mut_ptr(),
        )
    };
    match Errno::result(result) {
        // EINVAL: seccomp(2) does not know the operation; it is there since Linux 3.17.
        Err(Errno::EINVAL | Errno::ENOSYS) => return Ok(false),
        Err(errno) => return Err(errno),
        Ok(_) => {}
    }
    // SAFETY: zeroes are a value, and so is what the kernel wrote.
    let sizes = unsafe { sizes.assume_init() };
    Ok(
        usize::from(sizes.seccomp_notif) == size_of::<libc::seccomp_notif>()
            && usize::from(sizes.seccomp_notif_resp) == size_of::<libc::seccomp_notif_resp>(),
    )
}

// ---- The notification protocol ----

mod ioctls {
    nix::ioctl_readwrite!(receive, b'!', 0, libc::seccomp_notif);
    nix::ioctl_readwrite!(send, b'!', 1, libc::seccomp_notif_resp);
    nix::ioctl_write_ptr!(is_valid, b'!', 2, u64);
    nix::ioctl_write_ptr!(addfd, b'!', 3, libc::seccomp_notif_addfd);
    // Its number encodes a pointer to 8 bytes, but it takes the flags themselves.
    nix::ioctl_write_int_bad!(set_flags, libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS);
}

/// A call of socket(2) that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The notification's ID, which is never reused.
    pub id: u64,
    /// The thread that calls, or 0 if it is not visible from here.
    pub thread: u32,
    /// socket(2)'s arguments. The kernel uses only their lower halves.
    pub domain: c_int,
    /// The type, with SOCK_CLOEXEC and SOCK_NONBLOCK in it.
    pub sock_type: c_int,
    /// The protocol.
    pub protocol: c_int,
    /// The VRF, if the caller names one in the call.
    pub vrf: Option<Vrf>,
}

/// A call on an existing socket that waits for its answer. Its arguments are those of the call; pointers are to the
/// caller's memory.
#[derive(Clone, Copy, Debug)]
pub struct CallOfExisting {
    /// As [`Call`] has them.
    pub id: u64,
    /// The thread that calls, or 0 if it is not visible from here.
    pub thread: u32,
    /// Which call.
    pub call: OfExisting,
    /// The socket's descriptor.
    pub fd: c_int,
    /// Of setsockopt(2), which option.
    pub option: c_int,
    /// The address in the caller's memory of the address or the value.
    pub address: usize,
    /// Its length, by the caller.
    pub length: c_int,
}

/// The notification of a listener.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// A new socket.
    Socket(Call),
    /// One that exists.
    Existing(CallOfExisting),
}

/// Waits for the next call. ENOENT: its thread was killed meanwhile, or (since Linux 6.11) there is nobody left who could
/// call.
pub fn receive(listener: &OwnedFd) -> Result<Question, Errno> {
    let mut notification = MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY: the kernel wants zeroes, and fills them in.
    let notification = unsafe {
        ioctls::receive(listener.as_raw_fd(), notification.as_mut_ptr())?;
        notification.assume_init()
    };
    let (id, thread, data) = (notification.id, notification.pid, notification.data);
    let [a, b, c, d, e, f] = data.args;
    let Some(call) = rules::filter::of_existing(data.arch, data.nr as u32) else {
        return Ok(Question::Socket(Call {
            id,
            thread,
            domain: a as c_int,
            sock_type: b as c_int,
            protocol: c as c_int,
            vrf: Vrf::of_arguments([d, e, f]),
        }));
    };
    let (option, address, length) = match call {
        OfExisting::Bind | OfExisting::Connect => (0, b, c),
        OfExisting::Setsockopt => (c as c_int, d, e),
    };
    Ok(Question::Existing(CallOfExisting {
        id,
        thread,
        call,
        fd: a as c_int,
        option,
        address: address as usize,
        length: length as c_int,
    }))
}

/// Adds `socket` to the caller's descriptor table and lets its call return the fd, in one step. ENOENT: the caller has
/// ended. EMFILE: its table is full, and it still waits.
pub fn addfd_send(listener: &OwnedFd, call: &Call, socket: impl AsFd) -> Result<(), Errno> {
    add(
        listener,
        call.id,
        socket.as_fd().as_raw_fd(),
        call.sock_type,
    )
}

fn add(listener: &OwnedFd, id: u64, fd: c_int, sock_type: c_int) -> Result<(), Errno> {
    let addfd = libc::seccomp_notif_addfd {
        id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: fd as u32,
        newfd: 0,
        // Close-on-exec is the descriptor's, not the socket's; the two flags are one bit.
        newfd_flags: (sock_type & libc::SOCK_CLOEXEC) as u32,
    };
    // SAFETY: the kernel reads the structure.
    unsafe { ioctls::addfd(listener.as_raw_fd(), &raw const addfd) }.map(drop)
}

/// Replaces a descriptor of the caller, which still waits, by `socket`.
pub fn put_in_place(
    listener: &OwnedFd,
    id: u64,
    socket: &OwnedFd,
    fd: c_int,
    is_close_on_exec: bool,
) -> Result<(), Errno> {
    let addfd = libc::seccomp_notif_addfd {
        id,
        flags: libc::SECCOMP_ADDFD_FLAG_SETFD as u32,
        srcfd: socket.as_raw_fd() as u32,
        newfd: fd as u32,
        newfd_flags: if is_close_on_exec {
            libc::O_CLOEXEC as u32
        } else {
            0
        },
    };
    // SAFETY: the kernel reads the structure.
    unsafe { ioctls::addfd(listener.as_raw_fd(), &raw const addfd) }.map(drop)
}

/// Whether the caller of this notification still waits: until then, what was read about its thread is about this thread.
pub fn is_waiting(listener: &OwnedFd, id: u64) -> bool {
    // SAFETY: the kernel reads the number.
    unsafe { ioctls::is_valid(listener.as_raw_fd(), &raw const id) }.is_ok()
}

/// Whether the kernel can answer with a descriptor in one step: Linux 5.14. Before, the flag is EINVAL; since then the
/// error is about the descriptor.
pub fn has_addfd_send(listener: &OwnedFd) -> bool {
    add(listener, 0, -1, 0) == Err(Errno::EBADF)
}

/// Makes the call fail.
pub fn fail(listener: &OwnedFd, id: u64, errno: Errno) -> Result<(), Errno> {
    respond(listener, id, -(errno as c_int), 0)
}

/// Makes the call return 0, without making it.
pub fn succeed(listener: &OwnedFd, id: u64) -> Result<(), Errno> {
    respond(listener, id, 0, 0)
}

/// Lets the kernel make the call. Since Linux 5.5.
pub fn go_on(listener: &OwnedFd, id: u64) -> Result<(), Errno> {
    respond(
        listener,
        id,
        0,
        libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    )
}

fn respond(listener: &OwnedFd, id: u64, error: c_int, flags: u32) -> Result<(), Errno> {
    let mut response = libc::seccomp_notif_resp {
        id,
        val: 0,
        error,
        flags,
    };
    // SAFETY: the kernel reads the structure.
    unsafe { ioctls::send(listener.as_raw_fd(), &raw mut response) }.map(drop)
}

/// Wakes the other side on this processor, since this side is about to wait. Since Linux 6.6; it matters for speed only.
pub fn wake_synchronously(listener: &OwnedFd) {
    const SYNC_WAKE_UP: c_int = 1; // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
    // SAFETY: takes a number.
    let _ = unsafe { ioctls::set_flags(listener.as_raw_fd(), SYNC_WAKE_UP) };
}

// ---- Processes, namespaces, files, devices ----

/// Returns unused memory of the heap to the kernel (malloc_trim(3), only in glibc).
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// fork(2) of a child that ends without a signal, and which no wait() finds without __WALL (wait(2)): neither ours nor
/// that of the program that we execute, even if it is PID 1 or a subreaper. This lasts until the child executes a
/// program, which it may not, or gets another parent, after us. None in the child.
///
/// # Safety
/// The process has one thread, so that in the child there is no lock that nobody holds. libc has not noticed: in the
/// child
/// it takes the main thread for one of the parent's number. So that does not use raise(3), abort(3) and recursive locks.
pub unsafe fn fork_silently() -> Result<Option<Pid>, Errno> {
    // SAFETY: no flag, no signal, no new stack: a copy of this process. The rest is as callers promise.
    let pid = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
    let pid = Errno::result(pid)?;
    Ok((pid != 0).then(|| Pid::from_raw(pid as c_int)))
}

/// fork(2). None in the child.
///
/// # Safety
/// The process has one thread, so that in the child there is no lock that nobody holds.
pub unsafe fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: as callers promise.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Some(child)),
        nix::unistd::ForkResult::Child => Ok(None),
    }
}

/// Whether a thread is the first one of its process, whose TID is the PID. Sends nothing (tgkill(2)).
pub fn is_first_thread(thread: u32) -> bool {
    // SAFETY: takes numbers.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, thread, thread, 0) };
    Errno::result(result) != Err(Errno::ESRCH)
}

/// 16 bytes of the memory of a thread. None: they cannot be read.
pub fn memory_of(thread: u32, address: usize) -> Option<[u8; 16]> {
    use nix::sys::uio::{RemoteIoVec, process_vm_readv};
    let mut bytes = [0; 16];
    let (base, len) = (address, bytes.len());
    let thread = Pid::from_raw(thread.cast_signed());
    let read = process_vm_readv(
        thread,
        &mut [IoSliceMut::new(&mut bytes)],
        &[RemoteIoVec { base, len }],
    );
    (read == Ok(len)).then_some(bytes)
}

/// Whether a capability of this process is in effect (capget(2)).
pub fn has_capability(number: u32) -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    // struct __user_cap_header_struct and two of __user_cap_data_struct, linux/capability.h: the process, which is this
    // one; effective, permitted and inheritable capabilities, 32 and 32.
    let mut header: [u32; 2] = [VERSION_3, 0];
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: the kernel reads and writes the header, and writes the sets.
    let result = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    let [[low, ..], [high, ..]] = sets;
    let effective = u64::from(high) << 32 | u64::from(low);
    result == 0 && effective >> number & 1 == 1
}

/// Closes all descriptors from `first` on, except these.
///
/// # Safety
/// None of those that are closed is used again.
pub unsafe fn close_all_but<const N: usize>(
    mut kept: [&OwnedFd; N],
    first: c_int,
) -> Result<(), Errno> {
    let close = |from: c_int, to: c_int| {
        if from > to {
            return Ok(());
        }
        // SAFETY: as callers promise.
        Errno::result(unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) }).map(drop)
    };
    kept.sort_by_key(|fd| fd.as_raw_fd());
    let mut from = first;
    for fd in kept {
        close(from, fd.as_raw_fd() - 1)?;
        from = fd.as_raw_fd() + 1;
    }
    close(from, c_int::MAX)
}

/// Occupies each standard descriptor that is closed, so that a file that is opened later does not become standard output.
/// Writing to it fails with EBADF, as if it were closed. A program that we execute finds the descriptor closed.
pub fn hold_standard() {
    use nix::fcntl::{OFlag, open};
    for standard in 0..=2 {
        // SAFETY: takes numbers.
        if unsafe { libc::fcntl(standard, libc::F_GETFD) } >= 0 {
            continue;
        }
        // This is the lowest free number.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        if let Ok(held) = open("/", flags, nix::sys::stat::Mode::empty()) {
            std::mem::forget(held);
        }
    }
}

/// Opens `fd` a second time, permanently, as the descriptor `number`, which is closed first if it is open.
///
/// # Safety
/// Nobody owns a descriptor of this number.
pub unsafe fn occupy(fd: &OwnedFd, number: c_int) -> Result<(), Errno> {
    // SAFETY: as callers promise.
    Errno::result(unsafe { libc::dup3(fd.as_raw_fd(), number, libc::O_CLOEXEC) }).map(drop)
}

mod namespaces {
    nix::ioctl_none!(owner, 0xb7, 1);
    nix::ioctl_none!(parent, 0xb7, 2);
}

/// The user namespace that owns this namespace (ioctl_ns(2), NS_GET_USERNS). EPERM: it is outside of ours.
pub fn owner_of_namespace(namespace: &impl AsRawFd) -> Result<File, Errno> {
    // SAFETY: takes no argument; the descriptor is new.
    unsafe { namespaces::owner(namespace.as_raw_fd()).map(|fd| File::from_raw_fd(fd)) }
}

/// The user namespace around this one (NS_GET_PARENT). EPERM: it is outside of ours, or there is none.
pub fn parent_of_namespace(namespace: &impl AsRawFd) -> Result<File, Errno> {
    // SAFETY: takes no argument; the descriptor is new.
    unsafe { namespaces::parent(namespace.as_raw_fd()).map(|fd| File::from_raw_fd(fd)) }
}

/// The file's capabilities (capabilities(7), security.capability), padded; zeros: none.
pub fn file_capabilities(path: &Path) -> [u8; CAPABILITIES_SIZE] {
    let mut value = [0; CAPABILITIES_SIZE];
    if let Ok(path) = CString::new(path.as_os_str().as_bytes()) {
        // SAFETY: two strings; the kernel writes at most CAPABILITIES_SIZE bytes to `value`. ENODATA if there is none.
        unsafe {
            libc::getxattr(
                path.as_ptr(),
                c"security.capability".as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        };
    }
    value
}

/// The driver of a device of our network namespace: "vrf" of a VRF. ENODEV: there is no such device;
/// EOPNOTSUPP: its driver gives no name.
pub fn driver(device: &DeviceName) -> Result<Vec<u8>, Errno> {
    const ETHTOOL_GDRVINFO: u32 = 3;
    // struct ethtool_drvinfo, linux/ethtool.h: the driver's name is at 4, and has 32 bytes.
    #[repr(C)]
    struct Driver {
        command: u32,
        name: [u8; 32],
        rest: [u8; 160],
    }
    let mut driver = Driver {
        command: ETHTOOL_GDRVINFO,
        name: [0; 32],
        rest: [0; 160],
    };
    let mut request = about(device);
    request.ifr_ifru.ifru_data = (&raw mut driver).cast();
    // SAFETY: the kernel writes struct ethtool_drvinfo, 196 bytes, where ifru_data points to.
    unsafe { ask(libc::SIOCETHTOOL, &mut request) }?;
    let _ = driver.rest;
    let name = driver.name.split(|&byte| byte == 0).next();
    Ok(name.unwrap_or_default().to_vec())
}

/// The name of the device that has this name, or this alternative name.
pub fn real_name(device: &DeviceName) -> Result<DeviceName, Errno> {
    let mut request = about(device);
    // SAFETY: these two write into the structure alone: a number, and a name that is padded with NULs.
    unsafe {
        ask(libc::SIOCGIFINDEX, &mut request)?;
        ask(libc::SIOCGIFNAME, &mut request)?;
    }
    let name = request.ifr_name.map(|byte| byte as u8);
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    DeviceName::new(name).map_err(|_| Errno::EINVAL)
}

/// Whether a socket of this thread's network namespace is on the device of this name, which may be an alternative one.
pub fn is_on(socket: &OwnedFd, device: &DeviceName) -> bool {
    use nix::sys::socket::{getsockopt, sockopt};
    let is = |name: &DeviceName, found: &OsStr| name.as_bytes() == found.as_bytes();
    getsockopt(socket, sockopt::BindToDevice).is_ok_and(|found| {
        is(device, &found) || real_name(device).is_ok_and(|real| is(&real, &found))
    })
}

fn about(device: &DeviceName) -> libc::ifreq {
    libc::ifreq {
        ifr_name: device.padded().map(|byte| byte as c_char),
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_ifindex: 0 },
    }
}

/// Queries one device, by a socket of any family (dev_ioctl, net/core/dev_ioctl.c): a unit may allow only some families
/// (RestrictAddressFamilies=). /sys/class/net may be another namespace's, and netlink's answer would have to be searched.
///
/// # Safety
/// What the request has the kernel write to is there.
unsafe fn ask(request: libc::c_ulong, about: &mut libc::ifreq) -> Result<(), Errno> {
    let make = |family| socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
    let socket = make(libc::AF_UNIX).or_else(|_| make(libc::AF_INET))?;
    // SAFETY: the kernel reads and writes a struct ifreq, and what the caller answers for.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request as libc::Ioctl, about) };
    Errno::result(result).map(drop)
}

/// Sets the user and the group of files and sockets that this thread creates (setfsuid(2)). The call does not report a
/// failure, so the result is checked.
pub fn set_owner(user: u32, group: u32) -> Result<(), Errno> {
    const NOBODY_AT_ALL: u32 = u32::MAX;
    // SAFETY: numbers only; the last pair changes nothing and returns what is set.
    let set = unsafe {
        // The group first: it requires CAP_SETGID, which does not depend on the user.
        libc::setfsgid(group);
        libc::setfsuid(user);
        (
            libc::setfsuid(NOBODY_AT_ALL) as u32,
            libc::setfsgid(NOBODY_AT_ALL) as u32,
        )
    };
    if set == (user, group) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// A duplicate, close-on-exec, of a descriptor that was open before this program.
pub fn inherited(fd: c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: takes no pointers.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    // SAFETY: the descriptor is new.
    Errno::result(copy).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A duplicate, close-on-exec, with the first free number from `first` on.
pub fn duplicate(fd: &OwnedFd, first: c_int) -> Result<OwnedFd, Errno> {
    let fd = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(first))?;
    // SAFETY: the descriptor is new.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Receives a message with one descriptor (SCM_RIGHTS). None: it has none, or the other end is closed.
pub fn receive_descriptor(socket: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut text = [0; 16];
    let mut parts = [IoSliceMut::new(&mut text)];
    let mut space = nix::cmsg_space!(c_int);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part
            && let [fd] = fds[..]
        {
            // SAFETY: the kernel has made it for this message.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(None)
}

/// Makes the last of `groups` the effective group of this thread, and the others its supplementary ones. By the
/// system calls themselves: libc's functions change all threads.
pub fn set_groups_of_thread(groups: &[u32]) -> Result<(), Errno> {
    let Some((&effective, supplementary)) = groups.split_last() else {
        return Err(Errno::EINVAL);
    };
    // SAFETY: the kernel reads so many numbers.
    let set = unsafe {
        libc::syscall(
            libc::SYS_setgroups,
            supplementary.len(),
            supplementary.as_ptr(),
        )
    };
    Errno::result(set)?;
    // SAFETY: takes numbers; the last one is "as it is".
    let set = unsafe { libc::syscall(libc::SYS_setresgid, effective, effective, u32::MAX) };
    Errno::result(set).map(drop)
}
