//! Existing sockets, in a tree with rules (`VRFBIND_RULES`): bind(2), connect(2) and setsockopt(2) of programs without
//! the library.
//!
//! 1. The address, or the option's value, is read from the caller's memory (process_vm_readv(2)). If it is not an IP
//!    address, the kernel makes the call.
//! 2. The socket is duplicated (pidfd_getfd(2)): the duplicate is the same socket. If it is not an IP socket, the kernel
//!    makes the call.
//! 3. The caller's environment names the rules, as it names the VRF. Without rules the kernel makes the call. Then the
//!    notification is checked: if the caller still waits, all of this was read from the caller, and not from another
//!    process that has got its TID.
//! 4. The same code as in the library decides where the address belongs, and whether the socket may be moved there
//!    ([`rules::settling`], [`rules::socket`]).
//! 5. The socket is moved: from one device to the other, never without a device in between. Without CAP_NET_RAW it is
//!    replaced ([`replacing`]).
//! 6. The *kernel* makes the call, in the caller's thread (SECCOMP_USER_NOTIF_FLAG_CONTINUE).
//!
//! **Why the kernel makes it.** If we made the call on our duplicate, the address could not change between the check and
//! the call. But the call would have our capabilities (ports below 1024), our security label, our Landlock rules and our
//! signals. A connect() that waits could not be interrupted, since only SIGKILL wakes a caller whose call we are
//! answering; and each would need a thread of ours, so that one caller does not block the others. So it is the caller's
//! own call. Another thread of a program that wants to escape can put another address there in between: the seal guards
//! against accidents. Such an accident leaves the socket on the device of the VRF or of a rule, where we have put it: it
//! reaches another address, but never by another device. (Only if the address becomes one of AF_UNSPEC, or a link-local
//! one, the call takes the socket from its device.)
//!
//! The supervisor does not learn the result of the call. So a socket whose call fails stays where the rule has put it,
//! and the next bind() or connect() moves it again; the library moves it back at once.
//!
//! **Rights.** A socket is moved with our CAP_NET_RAW, which must give the caller nothing that it could not have: it
//! could have created a fresh socket there. Any other socket, and a raw one, is moved only if the caller itself has
//! CAP_NET_RAW, as without us.
//!
//! If the memory or the socket cannot be read, the call fails with EPERM and a line reports the reason: Yama
//! (kernel.yama.ptrace_scope=1 allows access to ancestors and CAP_SYS_PTRACE only), a process of another user, or one
//! that has given up its user and executed nothing since. One kind of call is made nevertheless: a connect() that may
//! wait, if the library is seen in the process. The library has judged such calls and cannot mark them, since a thread
//! can be cancelled there ([`rules::filter`]). A connect() by the instruction looks the same, and is made unjudged, by
//! the device that its socket has. The library marks all other calls that it has judged, unless another preloaded object
//! makes them.

mod replacing;

use super::caller::{Caller, as_owner};
use super::serve::{Answer, Belongs, Supervisor};
use crate::sys::existing::{self, End};
use crate::sys::{self, CallOfExisting};
use nix::errno::Errno;
use rules::filter::OfExisting;
use rules::list::{Address, Call, List, Protocol, To, wildcard};
use rules::moving::{Facts, State};
use rules::settling::{self, Disconnection, LO, Place, Socket as _, Subject};
use rules::socket::{self as rule, Rebinding, SOCKADDR_IN6};
use rules::{DeviceName, RULES_VARIABLE};
use std::cell::RefCell;
use std::ffi::c_int;
use std::os::fd::OwnedFd;

impl Supervisor {
    pub(super) fn judge(&self, listener: &OwnedFd, call: &CallOfExisting) -> Result<Answer, Errno> {
        let caller = self.caller(call.thread);
        // First, whether it concerns IP: the environment does not matter for any other call.
        let found = self.look(&caller, call);
        if matches!(found, Ok(None)) {
            return Ok(Answer::GoOn);
        }
        let ruled = match self.belongs(&caller)? {
            Belongs::To(_, None) => return Ok(Answer::GoOn),
            Belongs::To(vrf, Some(rules)) => Some((vrf.name(), rules)),
            Belongs::Unknown => None,
        };
        if !sys::is_waiting(listener, call.id) {
            return Err(Errno::ENOENT);
        }
        let (socket, bytes) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Answer::GoOn),
            Err(Errno::EPERM) if may_be_judged(&caller, call) => return Ok(Answer::GoOn),
            Err(Errno::EPERM) => {
                let sentence = format!(
                    "{} of {} fails with EPERM: its memory cannot be read, and rules need the address \
                     ({RULES_VARIABLE}). Start the tree with CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope=0",
                    name(call.call),
                    caller.name()
                );
                self.rules.say(&caller, &sentence);
                return Err(Errno::EPERM);
            }
            Err(errno) => return Err(errno),
        };
        let Some((vrf, rules)) = ruled else {
            // Its rules are not known, so nobody may move it: not the caller either.
            return match existing::device(&socket)? {
                Some(_) if !may_leave(call.call, &socket, &bytes)? => Ok(Answer::GoOn),
                _ => Err(Errno::EPERM),
            };
        };
        let list = self.rules.list(&rules, &caller).ok_or(Errno::EINVAL)?;
        let is_elsewhere = self.is_elsewhere(&caller)?;
        self.in_place_of(&caller, is_elsewhere, None, || {
            let existing = Existing {
                supervisor: self,
                listener,
                caller: &caller,
                call,
                socket: RefCell::new(socket),
            };
            match call.call {
                OfExisting::Bind => existing.addressed(&list, vrf, Call::Bind, &bytes),
                OfExisting::Connect => existing.addressed(&list, vrf, Call::Connect, &bytes),
                OfExisting::Setsockopt => existing.rebound(&list, &vrf, &bytes),
            }
        })
    }

    /// The socket, and the address or value. None: it is no IP socket, or there is no address of IP.
    fn look(
        &self,
        caller: &Caller,
        call: &CallOfExisting,
    ) -> Result<Option<(OwnedFd, Vec<u8>)>, Errno> {
        let mut bytes = vec![0; usize::try_from(call.length).unwrap_or(0).min(SOCKADDR_IN6)];
        let length = caller.memory(call.address, &mut bytes)?;
        bytes.truncate(length);
        if call.call != OfExisting::Setsockopt && !may_be_ip(&bytes) {
            return Ok(None);
        }
        match caller.duplicate(call.fd) {
            Err(Errno::EBADF) => Ok(None),
            socket => Ok(Some((socket?, bytes)).filter(|(socket, _)| is_ip(socket))),
        }
    }
}

fn name(call: OfExisting) -> &'static str {
    match call {
        OfExisting::Bind => "bind()",
        OfExisting::Connect => "connect()",
        OfExisting::Setsockopt => "setsockopt(SO_BINDTODEVICE)",
    }
}

/// Whether the library may have judged the call without being able to mark it.
fn may_be_judged(caller: &Caller, call: &CallOfExisting) -> bool {
    call.call == OfExisting::Connect
        && caller.has_library()
        && caller
            .flags(call.fd)
            .is_ok_and(|flags| flags & libc::O_NONBLOCK == 0)
}

/// Whether the call may take the socket from its device.
fn may_leave(call: OfExisting, socket: &OwnedFd, bytes: &[u8]) -> Result<bool, Errno> {
    Ok(match call {
        OfExisting::Setsockopt => true,
        OfExisting::Bind => rule::scope(&padded(bytes)).is_some(),
        OfExisting::Connect => {
            family(bytes) == Some(libc::AF_UNSPEC)
                && Disconnection::of(&facts(socket)?) != Disconnection::PassOn
        }
    })
}

fn padded(address: &[u8]) -> [u8; SOCKADDR_IN6] {
    let mut all = [0; SOCKADDR_IN6];
    let (there, _) = all.split_at_mut(address.len().min(SOCKADDR_IN6));
    there.copy_from_slice(address);
    all
}

/// The family of an address, if it has one.
fn family(address: &[u8]) -> Option<c_int> {
    let family = address.first_chunk()?;
    Some(u16::from_ne_bytes(*family).into())
}

fn may_be_ip(address: &[u8]) -> bool {
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_UNSPEC];
    family(address).is_some_and(|family| families.contains(&family))
}

fn is_ip(socket: &OwnedFd) -> bool {
    let domain = existing::number(socket, libc::SO_DOMAIN);
    matches!(domain, Ok(libc::AF_INET | libc::AF_INET6))
}

/// A socket of the caller. Everything happens in the caller's network namespace.
struct Existing<'a> {
    supervisor: &'a Supervisor,
    listener: &'a OwnedFd,
    caller: &'a Caller<'a>,
    call: &'a CallOfExisting,
    /// The duplicate. If the socket is replaced, the new one.
    socket: RefCell<OwnedFd>,
}

impl Existing<'_> {
    /// bind(2), connect(2).
    fn addressed(
        &self,
        list: &List,
        vrf: DeviceName,
        call: Call,
        bytes: &[u8],
    ) -> Result<Answer, Errno> {
        if call == Call::Connect && family(bytes) == Some(libc::AF_UNSPEC) {
            return match Disconnection::of(&self.facts().map_err(Errno::from_raw)?) {
                Disconnection::PassOn => Ok(Answer::GoOn),
                Disconnection::Done => Ok(Answer::Done),
                Disconnection::Refuse => {
                    let why = "AF_UNSPEC would take its device; use another socket";
                    self.fails(Errno::EPERM, why);
                    Err(Errno::EPERM)
                }
            };
        }
        let subject = Subject {
            list,
            vrf,
            call,
            is_listen: false,
            socket: self,
        };
        subject
            .settle(Address::of(call, bytes))
            .map_err(Errno::from_raw)?;
        if call == Call::Bind {
            self.stays(list, vrf, bytes)?;
        }
        Ok(Answer::GoOn)
    }

    /// Refuses an address whose scope would take an IPv6 socket out of its VRF ([`rule::scope`]).
    fn stays(&self, list: &List, vrf: DeviceName, bytes: &[u8]) -> Result<(), Errno> {
        let domain = existing::number(&self.socket.borrow(), libc::SO_DOMAIN);
        let Some(scope) = rule::scope(&padded(bytes)).filter(|_| domain == Ok(libc::AF_INET6))
        else {
            return Ok(());
        };
        let Some(device) = settling::judge_of_scope(list, Some(vrf), self.device()) else {
            return Ok(());
        };
        let in_vrf = || may_send_by(&device, scope).map_err(|errno| errno as c_int);
        rule::at_scope(scope, self.index(), in_vrf).map_err(|errno| {
            let errno = Errno::from_raw(errno);
            self.fails(
                errno,
                &format!("its address is of a device that is not in {device}"),
            );
            errno
        })
    }

    /// setsockopt(2) of SO_BINDTODEVICE or SO_BINDTOIFINDEX.
    fn rebound(&self, list: &List, vrf: &DeviceName, value: &[u8]) -> Result<Answer, Errno> {
        let fresh = scratch()?;
        existing::set(&fresh, libc::SOL_SOCKET, self.call.option, value)?;
        let asked = index(&fresh);
        // What leaves by lo comes in by lo.
        let in_vrf = |index| match index == LO && list.names(To::Lo) {
            true => Ok(()),
            false => may_send_by(vrf, index).map_err(|errno| errno as c_int),
        };
        match rule::rebinding(self.index(), asked, in_vrf) {
            Ok(Rebinding::AsAsked) => Ok(Answer::GoOn),
            Ok(Rebinding::Stays) => Ok(Answer::Done),
            Ok(Rebinding::ToVrf) => {
                let on_vrf = self.device() == Ok(Some(*vrf));
                let put = || self.put(Place::Device(*vrf), None).map_err(Errno::from_raw);
                if on_vrf { Ok(()) } else { put() }.map(|()| Answer::Done)
            }
            Err(errno) => {
                let errno = Errno::from_raw(errno);
                self.fails(errno, &format!("the device is not in VRF {vrf}"));
                Err(errno)
            }
        }
    }

    fn fails(&self, errno: Errno, why: &str) {
        self.supervisor.rules.say(
            self.caller,
            &format!(
                "{} of {} fails with {errno:?}: {why} ({RULES_VARIABLE})",
                name(self.call.call),
                self.caller.name()
            ),
        );
    }

    /// Whether it is a stream that is bound: the kernel would refuse to bind it again (EINVAL), and we would not learn of
    /// it. Its port may be its own, or left over from a failed connect(). As in the library, binding it to a port that
    /// another socket has on its device decides: EADDRINUSE if the port is not its own, and then a left-over address is
    /// forgotten.
    fn is_bound_stream(&self) -> Result<bool, Errno> {
        let socket = self.socket.borrow();
        let facts = facts(&socket)?;
        if facts.protocol != Some(Protocol::Tcp) || facts.is_fresh() {
            return Ok(false);
        }
        let number = |option| existing::number(&socket, option);
        let domain = number(libc::SO_DOMAIN)?;
        let kind = number(libc::SO_TYPE)? | libc::SOCK_CLOEXEC;
        let other = sys::socket(domain, kind, number(libc::SO_PROTOCOL)?)?;
        existing::put_on_index(&other, index(&socket).unwrap_or(0))?;
        existing::bind(&other, &wildcard(domain))?;
        match existing::bind(&socket, &existing::name(&other, End::Own)?) {
            Err(Errno::EINVAL) => Ok(true),
            Err(Errno::EADDRINUSE) => Ok(false),
            _ => Err(Errno::EPERM),
        }
    }

    /// Whether the caller could have brought this about without us.
    fn may_move(&self) -> Result<bool, Errno> {
        if existing::device(&self.socket.borrow()) == Ok(None) {
            return Ok(true);
        }
        let facts = self.facts().map_err(Errno::from_raw)?;
        let is_raw = facts.protocol == Some(Protocol::Raw);
        Ok(facts.is_fresh() && !is_raw || self.caller.has_net_raw()?)
    }

    fn move_to(&self, place: Place) -> Result<(), Errno> {
        if self.call.call == OfExisting::Bind && self.is_bound_stream()? {
            return Ok(());
        }
        if !self.may_move()? {
            return Err(Errno::EPERM);
        }
        let moved = put(&self.socket.borrow(), place);
        match moved {
            Err(Errno::EPERM) => self.replace(place),
            result => result,
        }
    }
}

impl settling::Socket for Existing<'_> {
    fn device(&self) -> Result<Option<DeviceName>, c_int> {
        existing::device(&self.socket.borrow()).map_err(|errno| errno as c_int)
    }

    fn index(&self) -> Option<u32> {
        index(&self.socket.borrow())
    }

    fn is_ip(&self) -> bool {
        is_ip(&self.socket.borrow())
    }

    fn protocol(&self) -> Result<Option<Protocol>, c_int> {
        protocol(&self.socket.borrow()).map_err(|errno| errno as c_int)
    }

    fn facts(&self) -> Result<Facts, c_int> {
        facts(&self.socket.borrow()).map_err(|errno| errno as c_int)
    }

    fn forget_address(&self) -> Result<Option<c_int>, c_int> {
        forget_address(&self.socket.borrow()).map_err(|errno| errno as c_int)
    }

    fn is_of_vrf(&self, vrf: &DeviceName, address: &Address) -> Result<bool, c_int> {
        has_address(vrf, address).map_err(|errno| errno as c_int)
    }

    fn put(&self, place: Place, rule: Option<usize>) -> Result<(), c_int> {
        let result = self.move_to(place);
        if let Err(errno) = result {
            let why = "cannot be moved: for a socket that has a device this requires CAP_NET_RAW";
            self.is_refused(place, rule, errno as c_int, why);
        }
        result.map_err(|errno| errno as c_int)
    }

    fn is_refused(&self, place: Place, rule: Option<usize>, errno: c_int, why: &'static str) {
        let device = place
            .device()
            .map_or_else(|| "no device".to_owned(), |device| device.to_string());
        let by = rule.map_or_else(
            || ", for no rule matches".to_owned(),
            |rule| format!(" by rule {rule}"),
        );
        let sentence = format!("its address belongs to {device}{by}, and the socket {why}");
        self.fails(Errno::from_raw(errno), &sentence);
    }
}

fn put(socket: &OwnedFd, place: Place) -> Result<(), Errno> {
    match place {
        Place::Device(device) => put_on(socket, &device),
        Place::Lo => existing::put_on_index(socket, LO),
        Place::Nowhere => existing::put_on_index(socket, 0),
        Place::Gone => Err(Errno::ENODEV),
    }
}

fn put_on(socket: &OwnedFd, device: &DeviceName) -> Result<(), Errno> {
    let result = existing::put_on(socket, device).map_err(|errno| errno as c_int);
    rule::is_bound(result, || sys::is_on(socket, device)).map_err(Errno::from_raw)
}

fn index(socket: &OwnedFd) -> Option<u32> {
    let index = existing::number(socket, libc::SO_BINDTOIFINDEX).ok()?;
    (index != 0).then_some(index.unsigned_abs())
}

fn protocol(socket: &OwnedFd) -> Result<Option<Protocol>, Errno> {
    let sock_type = existing::number(socket, libc::SO_TYPE)?;
    let protocol = existing::number(socket, libc::SO_PROTOCOL)?;
    Ok(Protocol::of(sock_type, protocol))
}

fn facts(socket: &OwnedFd) -> Result<Facts, Errno> {
    let protocol = protocol(socket)?;
    let address = existing::address(socket, End::Own)?.ok_or(Errno::EPERM)?;
    Ok(Facts {
        protocol,
        is_wildcard: address.is_wildcard(),
        port: address.port,
        state: state(socket, protocol),
        shares_port: existing::number(socket, libc::SO_REUSEPORT)? != 0,
    })
}

fn state(socket: &OwnedFd, protocol: Option<Protocol>) -> State {
    // net/tcp_states.h
    const TCP_CLOSE: u8 = 7;
    match protocol {
        Some(Protocol::Tcp) => {
            // tcpi_state, the first member of struct tcp_info. MPTCP has it since Linux 5.16.
            let mut state = [0];
            let asked = existing::option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state);
            match (asked, state) {
                (Ok(_), [TCP_CLOSE]) => State::Closed,
                (Ok(_), _) => State::Busy,
                (Err(_), _) => State::Unknown,
            }
        }
        Some(Protocol::Sctp) | None => State::Unknown,
        Some(_) => match existing::address(socket, End::Peer) {
            Ok(_) => State::Busy,
            Err(Errno::ENOTCONN) => State::Closed,
            Err(_) => State::Unknown,
        },
    }
}

/// As in the library: the next connect() would have made it forget the address.
fn forget_address(socket: &OwnedFd) -> Result<Option<c_int>, Errno> {
    let pending = existing::number(socket, libc::SO_ERROR)?;
    existing::disconnect(socket)?;
    let address = existing::address(socket, End::Own)?.ok_or(Errno::EPERM)?;
    Ok(address.is_wildcard().then_some(match pending {
        0 => libc::ECONNABORTED,
        pending => pending,
    }))
}

/// A new socket in this network namespace, without a device.
fn scratch() -> Result<OwnedFd, Errno> {
    sys::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
}

/// Whether a fresh socket on `device` may send by the device of this number ([`rule::at_scope`]).
fn may_send_by(device: &DeviceName, index: u32) -> Result<(), Errno> {
    // struct ip_mreqn.
    let mut request = [0; 12];
    let (_, last) = request.split_at_mut(8);
    last.copy_from_slice(&index.to_ne_bytes());
    let fresh = scratch()?;
    put_on(&fresh, device)?;
    existing::set(&fresh, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// Whether the VRF has this address itself: whether a fresh socket in it can be bound to it.
fn has_address(vrf: &DeviceName, address: &Address) -> Result<bool, Errno> {
    let (family, sockaddr) = address.sockaddr();
    let fresh = sys::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)?;
    match put_on(&fresh, vrf).and_then(|()| existing::bind(&fresh, &sockaddr)) {
        Ok(()) => Ok(true),
        Err(Errno::EADDRNOTAVAIL) => Ok(false),
        Err(errno) => Err(errno),
    }
}
