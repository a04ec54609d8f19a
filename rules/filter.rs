//! The seal: a seccomp filter that lets only the library's own system call create IP sockets. A socket that the library
//! cannot bind is not created: a static or Go binary, a raw system call, or a child whose preload the loader dropped gets
//! EPERM where it would have got an unbound socket.
//!
//! The kernel shows a filter all six argument registers (struct seccomp_data, linux/seccomp.h), and socket(2) has only
//! three arguments, so the sixth register is free to carry [`MARKER`]. It is a documented constant: the seal guards
//! against accident, not against a program that wants out. The register outlives the call, so the library clears it
//! before it returns, and fills it only where the filter asks for the marker ([`needs_marker`]).
//!
//! A filter is inherited by all children and survives execve, so a process tree needs one. It has two forms, which
//! differ in what becomes of an [`UnmarkedSocket`]: sealed, socket(2) fails with EPERM; supervised, another process
//! creates the socket (SECCOMP_RET_USER_NOTIF, Linux 5.0; the command's `exec`). A tree has one of them: a refusal
//! outranks a notification, and a second listener is EBUSY.
//!
//! A process finds out which by asking for a socket of the family [`ASK_FAMILY`], which does not exist. A sealed process
//! gets [`SEALED_ERRNO`], a supervised one [`SUPERVISED_ERRNO`], any other EAFNOSUPPORT. A filter that was installed
//! later and accepts only a list of families (RestrictAddressFamilies=, firejail) hides the answer. So the process asks
//! again in the IP families, by a type that does not exist, [`ASK_TYPE`] ([`QUESTIONS`]): if the list has neither, there
//! are no IP sockets anyway.
//!
//! Both forms also refuse:
//! - with EPERM what carries IP under another name: socket(AF_SMC, AF_RXRPC, AF_RDS), and socket(AF_INET, AF_INET6) of
//!   IPPROTO_SMC (Linux 6.11), whose data RDMA takes past the device;
//! - with ENOSYS io_uring, because the filter does not see the sockets that IORING_OP_SOCKET (Linux 5.19) creates: all of
//!   its calls, since a ring may be inherited. Programs can do without it; `vrfbind exec --allow-io-uring` allows it;
//! - i386's socketcall(SYS_SOCKET) for every family, since a filter cannot see which. i386's other calls are treated as
//!   those of the native architecture.
//!
//! **With rules** (`VRFBIND_RULES`, [`crate::list`]) the supervised form is longer ([`filter_with_rules`]). It notifies its
//! listener of three more calls: bind(2) and connect(2), of whatever family, since the address is in memory that a filter
//! cannot see; and setsockopt(2) of SO_BINDTODEVICE and SO_BINDTOIFINDEX. The three have fewer than six arguments, so calls
//! that the library has judged carry [`MARKER`] in the sixth register, as its socket(2) does. i386's socketcall() of the
//! three is refused.

/// What the library puts into the sixth argument register of its socket(2).
pub const MARKER: u64 = 0x7672_6662_696e_6421;

/// The family to ask by. Families end at 46 (AF_MAX, Linux 6.18).
pub const ASK_FAMILY: u32 = 0x7672;

/// The type to ask by in AF_INET and AF_INET6: to the kernel it has unknown flags (EINVAL).
pub const ASK_TYPE: u32 = 0x7672;

/// The families and types to ask by, one after the other.
pub const QUESTIONS: [(u32, u32); 3] = [(ASK_FAMILY, 0), (AF_INET, ASK_TYPE), (AF_INET6, ASK_TYPE)];

/// The answer in a sealed process: no errno of any architecture (they end at 1133, mips's EDQUOT), and within
/// what a filter may return (4095, MAX_ERRNO).
pub const SEALED_ERRNO: i32 = 0xb1d;

/// The answer in a supervised process.
pub const SUPERVISED_ERRNO: i32 = SEALED_ERRNO + 1;

/// The answer in a process that is supervised with rules.
pub const SUPERVISED_WITH_RULES_ERRNO: i32 = SEALED_ERRNO + 2;

/// Whether the filter asks for the marker of a socket of this family, whatever its type.
pub const fn needs_marker(family: i32) -> bool {
    family == AF_INET as i32 || family == AF_INET6 as i32
}

/// What becomes of an IP socket whose socket(2) carries no marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnmarkedSocket {
    /// It fails with EPERM.
    Deny,
    /// The listener of the filter creates it.
    Notify,
}

/// What becomes of io_uring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoUring {
    /// Its calls fail with ENOSYS.
    Deny,
    /// It is allowed, and nobody binds its sockets.
    Allow,
}

/// An instruction of classic BPF: `struct sock_filter`, linux/filter.h.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip if the condition holds.
    pub jt: u8,
    /// How many if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

// On other architectures no number is known, so there is no seal (IS_KNOWN).
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod numbers {
    pub const ARCH: u32 = 0;
    pub const SOCKET: u32 = 0;
    pub const BIND: u32 = 0;
    pub const CONNECT: u32 = 0;
    pub const SETSOCKOPT: u32 = 0;
    pub const X32_SETSOCKOPT: u32 = 0;
    pub const OTHER_ARCH: u32 = 0;
    pub const OTHER_SOCKET: u32 = 0;
    pub const OTHER_BIND: u32 = 0;
    pub const OTHER_CONNECT: u32 = 0;
    pub const OTHER_SETSOCKOPT: u32 = 0;
}

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub const ARCH: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
    pub const SOCKET: u32 = 41;
    pub const BIND: u32 = 49;
    pub const CONNECT: u32 = 42;
    pub const SETSOCKOPT: u32 = 54;
    pub const X32_SETSOCKOPT: u32 = 541;
    pub const OTHER_ARCH: u32 = 0x4000_0003; // AUDIT_ARCH_I386
    pub const OTHER_SOCKET: u32 = 359;
    pub const OTHER_BIND: u32 = 361;
    pub const OTHER_CONNECT: u32 = 362;
    pub const OTHER_SETSOCKOPT: u32 = 366;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    pub const ARCH: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64
    pub const SOCKET: u32 = 198;
    pub const BIND: u32 = 200;
    pub const CONNECT: u32 = 203;
    pub const SETSOCKOPT: u32 = 208;
    // No other ABI has another number.
    pub const X32_SETSOCKOPT: u32 = SETSOCKOPT;
    pub const OTHER_ARCH: u32 = 0x4000_0028; // AUDIT_ARCH_ARM
    pub const OTHER_SOCKET: u32 = 281;
    pub const OTHER_BIND: u32 = 282;
    pub const OTHER_CONNECT: u32 = 283;
    pub const OTHER_SETSOCKOPT: u32 = 294;
}

use numbers::{
    ARCH, BIND, CONNECT, OTHER_ARCH, OTHER_BIND, OTHER_CONNECT, OTHER_SETSOCKOPT, OTHER_SOCKET,
    SETSOCKOPT, SOCKET, X32_SETSOCKOPT,
};

/// io_uring_setup, io_uring_enter, io_uring_register: consecutive numbers, the same on all architectures.
const IO_URING_FIRST: u32 = 425;
const IO_URING_LAST: u32 = 427;

/// i386, and arm's old ABI; the first argument is the number of the call.
const SOCKETCALL: u32 = 102;
const SOCKETCALL_SOCKET: u32 = 1;
const SOCKETCALL_BIND: u32 = 2;
const SOCKETCALL_CONNECT: u32 = 3;
const SOCKETCALL_SETSOCKOPT: u32 = 14;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_RDS: u32 = 21;
const AF_RXRPC: u32 = 33;
const AF_SMC: u32 = 43;
const IPPROTO_SMC: u32 = 256;

// asm-generic/socket.h, which all of these architectures use.
const SOL_SOCKET: u32 = 1;
const SO_BINDTODEVICE: u32 = 25;
const SO_BINDTOIFINDEX: u32 = 62;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;

// Offsets in struct seccomp_data; both architectures are little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_0: u32 = 16;
const ARGUMENT_1: u32 = 24;
const ARGUMENT_2: u32 = 32;
const ARGUMENT_5_LOW: u32 = 56;
const ARGUMENT_5_HIGH: u32 = 60;

/// A line of the filter's source: an instruction whose jumps name labels, or a label.
#[derive(Clone, Copy)]
enum Line {
    /// The target of jumps to this label.
    At(Label),
    /// No instruction: another form of the filter has one here.
    Absent,
    /// Loads a word of struct seccomp_data.
    Load(u32),
    /// Masks what was loaded.
    And(u32),
    /// Compares what was loaded: equal, at least, greater. The jumps for true and false.
    IfEqual(u32, Label, Label),
    IfAtLeast(u32, Label, Label),
    IfGreater(u32, Label, Label),
    /// Ends with this answer.
    Return(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    /// The instruction that follows.
    Next,
    Native,
    Other,
    OtherSocketcall,
    IsIoUring,
    Socket,
    Internet,
    Marker,
    Allow,
    Deny,
    IoUring,
    Answer,
    Unmarked,
    Device,
}

impl Line {
    const fn is_instruction(self) -> bool {
        !matches!(self, Self::At(_) | Self::Absent)
    }

    /// `position` is this instruction's own.
    const fn assemble(self, source: &[Line], position: usize) -> Instruction {
        // BPF_CLASS and its modes, linux/bpf_common.h.
        const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
        const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
        const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
        const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
        const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
        const RETURN: u16 = 0x06; // BPF_RET | BPF_K
        let (code, k, yes, no) = match self {
            Self::At(_) | Self::Absent => panic!("it is no instruction"),
            Self::Load(k) => (LOAD, k, Label::Next, Label::Next),
            Self::And(k) => (AND, k, Label::Next, Label::Next),
            Self::IfEqual(k, yes, no) => (EQUAL, k, yes, no),
            Self::IfAtLeast(k, yes, no) => (AT_LEAST, k, yes, no),
            Self::IfGreater(k, yes, no) => (GREATER, k, yes, no),
            Self::Return(k) => (RETURN, k, Label::Next, Label::Next),
        };
        Instruction {
            code,
            jt: distance(source, position, yes),
            jf: distance(source, position, no),
            k,
        }
    }
}

/// How many instructions a jump to `label` skips, from the one at `position`. A jump backward, or over more than 255
/// instructions, fails the build.
const fn distance(source: &[Line], position: usize, label: Label) -> u8 {
    if matches!(label, Label::Next) {
        return 0;
    }
    let (mut index, mut target) = (0, 0);
    while index < source.len() {
        match source[index] {
            Line::At(here) if here as u8 == label as u8 => {
                assert!(target > position && target - position <= 256);
                return (target - position - 1) as u8;
            }
            Line::At(_) | Line::Absent => {}
            _ => target += 1,
        }
        index += 1;
    }
    panic!("no such label")
}

/// Whether the numbers of this architecture are known. Where they are not, no filter may be installed.
pub const IS_KNOWN: bool = ARCH != 0 && !cfg!(unknown_machine);

/// How many instructions a filter has.
pub const LENGTH: usize = length(&source(UnmarkedSocket::Deny, IoUring::Deny, None));

/// How many instructions a filter with rules has.
pub const LENGTH_WITH_RULES: usize = length(&with_rules(IoUring::Deny));

/// The filter.
pub const fn filter(unmarked: UnmarkedSocket, io_uring: IoUring) -> [Instruction; LENGTH] {
    assemble(&source(unmarked, io_uring, None))
}

/// The supervised form where there are rules.
pub const fn filter_with_rules(io_uring: IoUring) -> [Instruction; LENGTH_WITH_RULES] {
    assemble(&with_rules(io_uring))
}

const fn length(source: &[Line]) -> usize {
    let (mut index, mut length) = (0, 0);
    while index < source.len() {
        length += source[index].is_instruction() as usize;
        index += 1;
    }
    length
}

const fn assemble<const LENGTH: usize>(source: &[Line]) -> [Instruction; LENGTH] {
    let mut filter = [Line::Return(0).assemble(&[], 0); LENGTH];
    let (mut index, mut position) = (0, 0);
    while index < source.len() {
        if source[index].is_instruction() {
            filter[position] = source[index].assemble(source, position);
            position += 1;
        }
        index += 1;
    }
    filter
}

const fn with_rules(io_uring: IoUring) -> [Line; LINES] {
    source(UnmarkedSocket::Notify, io_uring, Some(Ruled))
}

/// That there are rules.
#[derive(Clone, Copy)]
struct Ruled;

const LINES: usize = 61;

const fn source(
    unmarked: UnmarkedSocket,
    io_uring: IoUring,
    rules: Option<Ruled>,
) -> [Line; LINES] {
    use Label::*;
    use Line::*;
    let (of_unmarked, answer) = match (unmarked, rules) {
        (UnmarkedSocket::Deny, _) => (RET_ERRNO | EPERM, SEALED_ERRNO),
        (UnmarkedSocket::Notify, None) => (RET_USER_NOTIF, SUPERVISED_ERRNO),
        (UnmarkedSocket::Notify, Some(Ruled)) => (RET_USER_NOTIF, SUPERVISED_WITH_RULES_ERRNO),
    };
    let of_io_uring = match io_uring {
        self::IoUring::Deny => RET_ERRNO | ENOSYS,
        self::IoUring::Allow => RET_ALLOW,
    };
    [
        Load(ARCHITECTURE),
        IfEqual(ARCH, Native, Other),
        // x32 is x86_64 with bit 30 in the number; other architectures have no number so high.
        At(Native),
        Load(NUMBER),
        And(!0x4000_0000),
        if_ruled(rules, IfEqual(BIND, Marker, Next)),
        if_ruled(rules, IfEqual(CONNECT, Marker, Next)),
        if_ruled(rules, IfEqual(SETSOCKOPT, Device, Next)),
        if_ruled(rules, IfEqual(X32_SETSOCKOPT, Device, Next)),
        IfEqual(SOCKET, Socket, IsIoUring),
        // The architecture's 32-bit calls; any other architecture is refused.
        At(Other),
        IfEqual(OTHER_ARCH, Next, Deny),
        Load(NUMBER),
        if_ruled(rules, IfEqual(OTHER_BIND, Marker, Next)),
        if_ruled(rules, IfEqual(OTHER_CONNECT, Marker, Next)),
        if_ruled(rules, IfEqual(OTHER_SETSOCKOPT, Device, Next)),
        IfEqual(OTHER_SOCKET, Socket, Next),
        IfEqual(SOCKETCALL, OtherSocketcall, IsIoUring),
        At(OtherSocketcall),
        Load(ARGUMENT_0),
        if_ruled(rules, IfEqual(SOCKETCALL_BIND, Deny, Next)),
        if_ruled(rules, IfEqual(SOCKETCALL_CONNECT, Deny, Next)),
        if_ruled(rules, IfEqual(SOCKETCALL_SETSOCKOPT, Deny, Next)),
        IfEqual(SOCKETCALL_SOCKET, Deny, Allow),
        At(IsIoUring),
        IfAtLeast(IO_URING_FIRST, Next, Allow),
        IfGreater(IO_URING_LAST, Allow, IoUring),
        // setsockopt(2), by level and option.
        At(Device),
        if_ruled(rules, Load(ARGUMENT_1)),
        if_ruled(rules, IfEqual(SOL_SOCKET, Next, Allow)),
        if_ruled(rules, Load(ARGUMENT_2)),
        if_ruled(rules, IfEqual(SO_BINDTODEVICE, Marker, Next)),
        if_ruled(rules, IfEqual(SO_BINDTOIFINDEX, Marker, Allow)),
        // socket(2), by family.
        At(Socket),
        Load(ARGUMENT_0),
        IfEqual(AF_INET, Internet, Next),
        IfEqual(AF_INET6, Internet, Next),
        IfEqual(AF_SMC, Deny, Next),
        IfEqual(AF_RXRPC, Deny, Next),
        IfEqual(AF_RDS, Deny, Next),
        IfEqual(ASK_FAMILY, Answer, Allow),
        At(Internet),
        Load(ARGUMENT_1),
        IfEqual(ASK_TYPE, Answer, Next),
        Load(ARGUMENT_2),
        IfEqual(IPPROTO_SMC, Deny, Marker),
        At(Marker),
        Load(ARGUMENT_5_LOW),
        IfEqual(MARKER as u32, Next, Unmarked),
        Load(ARGUMENT_5_HIGH),
        IfEqual((MARKER >> 32) as u32, Allow, Unmarked),
        At(Allow),
        Return(RET_ALLOW),
        At(Deny),
        Return(RET_ERRNO | EPERM),
        At(IoUring),
        Return(of_io_uring),
        At(Answer),
        Return(RET_ERRNO | answer as u32),
        At(Unmarked),
        Return(of_unmarked),
    ]
}

const fn if_ruled(rules: Option<Ruled>, line: Line) -> Line {
    match rules {
        Some(Ruled) => line,
        None => Line::Absent,
    }
}

/// The call of which the form with rules notifies its listener besides socket(2). None: it is socket(2).
pub const fn of_existing(architecture: u32, number: u32) -> Option<OfExisting> {
    let other = architecture == OTHER_ARCH;
    match number & !0x4000_0000 {
        BIND if !other => Some(OfExisting::Bind),
        CONNECT if !other => Some(OfExisting::Connect),
        SETSOCKOPT | X32_SETSOCKOPT if !other => Some(OfExisting::Setsockopt),
        OTHER_BIND if other => Some(OfExisting::Bind),
        OTHER_CONNECT if other => Some(OfExisting::Connect),
        OTHER_SETSOCKOPT if other => Some(OfExisting::Setsockopt),
        _ => None,
    }
}

/// A call on a socket that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OfExisting {
    /// bind(2).
    Bind,
    /// connect(2).
    Connect,
    /// setsockopt(2) of SO_BINDTODEVICE or SO_BINDTOIFINDEX.
    Setsockopt,
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: u32 = RET_ERRNO | EPERM;

    const SEAL: [Instruction; LENGTH] = filter(UnmarkedSocket::Deny, IoUring::Deny);
    const SUPERVISED: [Instruction; LENGTH] = filter(UnmarkedSocket::Notify, IoUring::Deny);

    fn run(arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        run_filter(&SEAL, arch, number, arguments)
    }

    /// What the kernel does with a filter, for the operations in it.
    fn run_filter(filter: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let fetch = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => arch,
            _ => {
                let (index, half) = ((offset - ARGUMENT_0) / 8, (offset - ARGUMENT_0) % 8);
                (arguments[index as usize] >> (half * 8)) as u32
            }
        };
        let (mut accumulator, mut position) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = filter[position];
            position += 1;
            match code {
                0x20 => accumulator = fetch(k),
                0x54 => accumulator &= k,
                0x15 => position += usize::from(if accumulator == k { jt } else { jf }),
                0x35 => position += usize::from(if accumulator >= k { jt } else { jf }),
                0x25 => position += usize::from(if accumulator > k { jt } else { jf }),
                0x06 => return k,
                _ => panic!("operation {code:#x}"),
            }
        }
    }

    fn socket(arch: u32, number: u32, family: u32, marker: u64) -> u32 {
        run(arch, number, [u64::from(family), 1, 0, 0, 0, marker])
    }

    #[test]
    fn an_ip_socket_needs_the_marker_whole() {
        for family in [AF_INET, AF_INET6] {
            assert!(needs_marker(family as i32));
            assert_eq!(socket(ARCH, SOCKET, family, MARKER), RET_ALLOW);
            for marker in [0, MARKER & 0xffff_ffff, MARKER & !0xffff_ffff, MARKER ^ 1] {
                assert_eq!(socket(ARCH, SOCKET, family, marker), REFUSED);
            }
        }
    }

    #[test]
    fn only_the_low_half_of_the_family_counts_as_in_the_kernel() {
        let arguments = [0xffff_ffff_0000_0000 | u64::from(AF_INET), 1, 0, 0, 0, 0];
        assert_eq!(run(ARCH, SOCKET, arguments), REFUSED);
    }

    #[test]
    fn families_that_carry_ip_are_refused_and_others_are_not() {
        for family in [AF_SMC, AF_RXRPC, AF_RDS] {
            assert_eq!(socket(ARCH, SOCKET, family, MARKER), REFUSED);
        }
        for family in [0, 1, 16, 17, 40, 46] {
            assert!(!needs_marker(family as i32));
            assert_eq!(socket(ARCH, SOCKET, family, 0), RET_ALLOW);
        }
    }

    #[test]
    fn answers_who_asks() {
        for (family, sock_type) in QUESTIONS {
            let question = [family.into(), sock_type.into(), 0, 0, 0, 0];
            let answer = |filter| run_filter(filter, ARCH, SOCKET, question);
            assert_eq!(answer(&SEAL), RET_ERRNO | SEALED_ERRNO as u32);
            assert_eq!(answer(&SUPERVISED), RET_ERRNO | SUPERVISED_ERRNO as u32);
        }
        const { assert!(SUPERVISED_ERRNO <= 4095) };
    }

    #[test]
    fn io_uring_is_not_there() {
        for number in IO_URING_FIRST..=IO_URING_LAST {
            for arch in [ARCH, OTHER_ARCH] {
                assert_eq!(run(arch, number, [0; 6]), RET_ERRNO | ENOSYS, "{number}");
            }
        }
    }

    #[test]
    fn smc_under_the_name_of_inet_is_refused() {
        for family in [AF_INET, AF_INET6] {
            let arguments = [family.into(), 1, IPPROTO_SMC.into(), 0, 0, MARKER];
            assert_eq!(run(ARCH, SOCKET, arguments), REFUSED);
        }
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn other_abis_make_no_ip_sockets() {
        assert_eq!(socket(OTHER_ARCH, OTHER_SOCKET, AF_INET, 0), REFUSED);
        assert_eq!(socket(OTHER_ARCH, OTHER_SOCKET, 1, 0), RET_ALLOW);
        assert_eq!(run(OTHER_ARCH, SOCKETCALL, [1, 0, 0, 0, 0, 0]), REFUSED);
        assert_eq!(run(OTHER_ARCH, SOCKETCALL, [3, 0, 0, 0, 0, 0]), RET_ALLOW);
        assert_eq!(socket(0x1234, SOCKET, 1, 0), REFUSED);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn x32_is_no_way_round() {
        assert_eq!(socket(ARCH, SOCKET | 0x4000_0000, AF_INET, 0), REFUSED);
        let io_uring = IO_URING_FIRST | 0x4000_0000;
        assert_eq!(run(ARCH, io_uring, [0; 6]), RET_ERRNO | ENOSYS);
    }

    #[test]
    fn the_forms_differ_in_unmarked_sockets_and_in_the_answer_alone() {
        let forms = [SEAL, SUPERVISED];
        let both = |arch, number, arguments| {
            forms.map(|filter| run_filter(&filter, arch, number, arguments))
        };
        for family in [0, 1, AF_INET, AF_INET6, 16, AF_RDS, AF_RXRPC, AF_SMC] {
            for protocol in [0, IPPROTO_SMC] {
                for marker in [0, MARKER] {
                    let arguments = [family.into(), 1, protocol.into(), 0, 0, marker];
                    for (arch, number) in [(ARCH, SOCKET), (OTHER_ARCH, OTHER_SOCKET)] {
                        let is_inet = family == AF_INET || family == AF_INET6;
                        let expected = match both(arch, number, arguments) {
                            [sealed, _] if marker == MARKER || !is_inet => [sealed; 2],
                            _ if protocol == IPPROTO_SMC => [REFUSED; 2],
                            _ => [REFUSED, RET_USER_NOTIF],
                        };
                        assert_eq!(both(arch, number, arguments), expected, "{arguments:x?}");
                    }
                }
            }
        }
        for number in [SOCKETCALL, IO_URING_FIRST, 0] {
            for arch in [ARCH, OTHER_ARCH] {
                let [sealed, supervised] = both(arch, number, [1, 0, 0, 0, 0, 0]);
                assert_eq!(sealed, supervised, "{number}");
            }
        }
    }

    const RULED: [Instruction; LENGTH_WITH_RULES] = filter_with_rules(IoUring::Deny);

    fn run_ruled(arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        run_filter(&RULED, arch, number, arguments)
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn rules_ask_about_addresses_and_devices_that_the_library_has_not_judged() {
        let asked = |arch, number, a: [u64; 3], marker| {
            let [first, second, third] = a;
            run_ruled(arch, number, [first, second, third, 0, 0, marker])
        };
        for (arch, numbers, options) in [
            (ARCH, [BIND, CONNECT], [SETSOCKOPT, X32_SETSOCKOPT]),
            (
                OTHER_ARCH,
                [OTHER_BIND, OTHER_CONNECT],
                [OTHER_SETSOCKOPT; 2],
            ),
        ] {
            for number in numbers {
                assert_eq!(asked(arch, number, [3, 4, 16], 0), RET_USER_NOTIF);
                assert_eq!(asked(arch, number, [3, 4, 16], MARKER), RET_ALLOW);
                assert_eq!(asked(arch, number, [3, 4, 16], MARKER ^ 1), RET_USER_NOTIF);
                assert_eq!(run(arch, number, [3, 4, 16, 0, 0, 0]), RET_ALLOW);
                assert!(of_existing(arch, number).is_some());
            }
            for number in options {
                for option in [SO_BINDTODEVICE, SO_BINDTOIFINDEX] {
                    let call = [3, SOL_SOCKET.into(), option.into()];
                    assert_eq!(asked(arch, number, call, 0), RET_USER_NOTIF);
                    assert_eq!(asked(arch, number, call, MARKER), RET_ALLOW);
                    assert_eq!(asked(arch, number, [3, 0, option.into()], 0), RET_ALLOW);
                }
                assert_eq!(asked(arch, number, [3, SOL_SOCKET.into(), 2], 0), RET_ALLOW);
                assert_eq!(of_existing(arch, number), Some(OfExisting::Setsockopt));
            }
        }
        for (call, expected) in [(2, REFUSED), (3, REFUSED), (14, REFUSED), (4, RET_ALLOW)] {
            let arguments = [call, 0, 0, 0, 0, MARKER];
            assert_eq!(run_ruled(OTHER_ARCH, SOCKETCALL, arguments), expected);
        }
        assert_eq!(of_existing(ARCH, SOCKET), None);
        assert_eq!(of_existing(OTHER_ARCH, OTHER_SOCKET), None);
        assert_eq!(of_existing(OTHER_ARCH, BIND), None);
        assert_eq!(
            of_existing(ARCH, BIND | 0x4000_0000),
            Some(OfExisting::Bind)
        );
    }

    #[test]
    fn all_else_is_as_without_rules() {
        let judged = [BIND, CONNECT, SETSOCKOPT, X32_SETSOCKOPT];
        let judged_other = [OTHER_BIND, OTHER_CONNECT, OTHER_SETSOCKOPT, SOCKETCALL];
        for number in 0..1024 {
            for (arch, judged) in [(ARCH, judged), (OTHER_ARCH, judged_other)] {
                for first in [1, AF_INET.into(), AF_SMC.into(), ASK_FAMILY.into()] {
                    let arguments = [first, 1, 0, 0, 0, 0];
                    let supervised = run_filter(&SUPERVISED, arch, number, arguments);
                    let expected = match supervised {
                        _ if judged.contains(&number) => continue,
                        answer if answer == RET_ERRNO | SUPERVISED_ERRNO as u32 => {
                            RET_ERRNO | SUPERVISED_WITH_RULES_ERRNO as u32
                        }
                        answer => answer,
                    };
                    let ruled = run_ruled(arch, number, arguments);
                    assert_eq!(ruled, expected, "{arch:x} {number} {first}");
                }
            }
        }
    }

    #[test]
    fn io_uring_is_there_for_who_asks() {
        for unmarked in [UnmarkedSocket::Deny, UnmarkedSocket::Notify] {
            let filter = filter(unmarked, IoUring::Allow);
            for number in IO_URING_FIRST..=IO_URING_LAST {
                assert_eq!(run_filter(&filter, ARCH, number, [0; 6]), RET_ALLOW);
            }
        }
    }

    #[test]
    fn every_other_call_is_untouched() {
        let io_uring = IO_URING_FIRST..=IO_URING_LAST;
        for number in (0..1024).filter(|number| !io_uring.contains(number)) {
            if number != SOCKET {
                assert_eq!(run(ARCH, number, [u64::MAX; 6]), RET_ALLOW, "{number}");
            }
            if number != OTHER_SOCKET {
                assert_eq!(
                    run(OTHER_ARCH, number, [u64::MAX; 6]),
                    RET_ALLOW,
                    "{number}"
                );
            }
        }
        // A tracer's "do nothing".
        assert_eq!(run(ARCH, u32::MAX, [0; 6]), RET_ALLOW);
    }
}
